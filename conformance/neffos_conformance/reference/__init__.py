"""The reference server and client under the suite: conformance application, driver and adapter."""

from __future__ import annotations

import platform
from typing import Final

from neffos_conformance import SUITE, VERSION

PEER: Final = SUITE
"""The name of the reference peers."""


def identity() -> dict[str, str]:
    """Give what a reference peer says about itself: name, version and runtime."""
    return {
        "peer": PEER,
        "version": VERSION,
        "runtime": f"Python {platform.python_version()}",
    }
