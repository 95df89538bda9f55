"""The test cases, and the language in which they are written."""
