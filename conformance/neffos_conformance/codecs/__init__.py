"""The tests of codecs: the vectors as requests, and the answers of an adapter."""
