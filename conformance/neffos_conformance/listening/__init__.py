"""Tests a client that nobody drives: the suite listens, and whoever connects is tested."""
