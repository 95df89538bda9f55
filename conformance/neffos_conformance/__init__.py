"""The conformance suite for neffos."""
