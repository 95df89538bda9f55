"""The data of the suite: cases and the schemas of its files."""
