"""The entry point of the command ``neffos-wire``, which works where only the codec is installed."""

from __future__ import annotations

import gc
import sys
from typing import Final

YOUNG: Final = 20_000
"""Objects that are made between two looks for garbage. What a command imports and reads lives until
its end, and looking through it at every 700, as Python does, takes a tenth of a short command."""


def main() -> None:
    """Run the command line, or name the package that it lacks."""
    gc.set_threshold(YOUNG)
    try:
        from neffos_conformance.cli import main as cli

        cli.main()
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package.startswith("neffos_"):  # a bug, and no package that can be installed
            raise
        extra = "learn" if package == "aalpy" else "conformance"
        sys.stderr.write(
            f"neffos-wire: the suite needs {package}. Try: pip install 'neffos-wire[{extra}]'\n"
        )
        sys.exit(3)
