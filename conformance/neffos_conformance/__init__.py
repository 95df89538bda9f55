"""The conformance suite for neffos."""

from typing import Final

SUITE: Final = "neffos-wire"
"""The name of the package, of its command and of the reference peers."""

VERSION: Final = "1.0.0rc1"
"""The version of the whole package, which ``pyproject.toml`` takes from here.

Looking it up in the package's metadata takes as long as all the rest of a small command.
"""
