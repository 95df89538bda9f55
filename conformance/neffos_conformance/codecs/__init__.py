"""The tests of codecs: the vectors as questions, and the answers of an adapter."""
