"""The reference server and client under the suite: conformance application, driver and adapter."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Final

PEER: Final = "neffos-wire"
"""The name of the reference peers."""


def identity() -> dict[str, str]:
    """Give what a reference peer says about itself: name, version and runtime."""
    return {
        "peer": PEER,
        "version": version("neffos-wire"),
        "runtime": f"Python {platform.python_version()}",
    }
