"""Test vectors for codecs in any language; README.md says how to read them."""
