"""The command line ``neffos-wire``: finds the command, and says what its end means.

Exit codes: 0 all passed, 1 something failed or was refused, 2 a usage error or nothing ran,
3 the harness itself broke.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Final, NoReturn

import click

EXIT_PASS: Final = 0
EXIT_USAGE: Final = 2
EXIT_BROKEN: Final = 3

COMMANDS: Final = {
    "check": "cli.check",
    "client": "cli.test_client",
    "codec": "cli.test_codec",
    "codec-adapter": "cli.codec_adapter",
    "decode": "cli.frames",
    "driver": "reference.client_driver",
    "encode": "cli.frames",
    "explain": "cli.listing",
    "import": "cli.import_har",
    "list": "cli.listing",
    "matrix": "cli.matrix",
    "record": "cli.record",
    "replay": "cli.replay",
    "serve": "cli.serve",
    "server": "cli.test_server",
    "show": "cli.show",
}
"""The commands, and the modules that hold them under the name ``<command>_command``."""


class Commands(click.Group):
    """Loads a command when it is called: all of them together take most of a second."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the names, in the order of the alphabet."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"neffos_conformance.{COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, f"{cmd_name.replace('-', '_')}_command")
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="neffos-wire")
def cli() -> None:
    """Check implementations of the neffos wire protocol, and look into its frames."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit; what nobody foresaw is a broken harness."""
    try:
        cli.main(args=list(arguments) if arguments is not None else None, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_USAGE)
    except click.Abort:
        click.echo("neffos-wire: interrupted; this says nothing of the peer", err=True)
        sys.exit(EXIT_BROKEN)
    except ModuleNotFoundError:  # a command is loaded when it is called; see entry.py
        raise
    except Exception:  # whatever it is, the exit code must not look like a verdict
        traceback.print_exc()
        click.echo("neffos-wire: the suite itself broke; this says nothing of the peer", err=True)
        sys.exit(EXIT_BROKEN)
    sys.exit(EXIT_PASS)
