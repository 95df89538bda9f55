"""Where the command ``neffos-wire`` begins, also where only the codec is installed."""

from __future__ import annotations

import sys
from typing import Final

NEEDED: Final = (
    "click",
    "h11",
    "ijson",
    "jinja2",
    "jsonschema",
    "junitparser",
    "msgspec",
    "rich",
    "tomli_w",
    "websockets",
)
"""What the suite needs beside the codec."""


def main() -> None:
    """Run the command line, or say what it needs."""
    try:
        from neffos_conformance.cli import main as cli

        cli.main()
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in NEEDED:
            raise
        sys.stderr.write(
            f"neffos-wire: the suite needs {package}; install neffos-wire[conformance]\n"
        )
        sys.exit(3)
