"""Test vectors for sessions in any language; README.md says how to read them."""
