"""The entry point of the command ``neffos-wire``, which works where only the codec is installed."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line, or name the package that it lacks."""
    try:
        from neffos_conformance.cli import main as cli

        cli.main()
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package.startswith("neffos_"):  # a bug, and no package that can be installed
            raise
        sys.stderr.write(
            f"neffos-wire: the suite needs {package}. Try: pip install 'neffos-wire[conformance]'\n"
        )
        sys.exit(3)
