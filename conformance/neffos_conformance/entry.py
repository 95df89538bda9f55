"""Where the command ``neffos-wire`` begins, also where only the codec is installed."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line, or say what it needs."""
    try:
        from neffos_conformance import cli
    except ModuleNotFoundError as error:
        if error.name not in (
            "click",
            "ijson",
            "jinja2",
            "jsonschema",
            "orjson",
            "rich",
            "websockets",
        ):
            raise
        sys.stderr.write(
            f"neffos-wire: the suite needs {error.name}; install neffos-wire[conformance]\n"
        )
        sys.exit(3)
    cli.main()
