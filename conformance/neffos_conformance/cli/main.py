"""The command line ``neffos-wire``: finds a command, runs it and maps its end to an exit status."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from io import StringIO
from typing import Any, Final, NoReturn

import click

from neffos_conformance import VERSION
from neffos_conformance.wire.terminal import echo, flush, set_up

EXIT_PASS: Final = 0
EXIT_FAIL: Final = 1
EXIT_USAGE: Final = 2
EXIT_BROKEN: Final = 3

EXIT_STATUS: Final = (
    "Exit status: 0 passed; 1 failed; 2 usage error or nothing ran; 3 internal error."
)
"""The last paragraph of every help text."""

TESTS: Final = {
    "server": "cli.test_server",
    "client": "cli.test_client",
    "codec": "cli.test_codec",
    "exchange": "cli.test_exchange",
}
"""The commands of ``test``, as in ``COMMANDS``."""

COMMANDS: Final = {
    "test": "cli.main",
    "replay": "cli.replay",
    "matrix": "cli.matrix",
    "learn": "cli.learn",
    "bisect": "cli.bisect",
    "doctor": "cli.doctor",
    "driver-check": "cli.driver_check",
    "init": "cli.init",
    "new": "cli.new",
    "record": "cli.record",
    "import": "cli.import_har",
    "export": "cli.export",
    "check": "cli.check",
    "verify": "cli.verify",
    "diff": "cli.diff",
    "badge": "cli.badge",
    "cite": "cli.cite",
    "show": "cli.show",
    "decode": "cli.frames",
    "encode": "cli.frames",
    "list": "cli.listing",
    "explain": "cli.listing",
    "serve": "cli.serve",
    "driver": "reference.client_driver",
    "codec-adapter": "reference.codec_adapter",
    "completion": "cli.manual",
    "man": "cli.manual",
}
"""The commands, and the modules that define each as ``<command>_command``."""

GROUPS: Final = {
    "Test": (
        "test",
        "replay",
        "matrix",
        "learn",
        "bisect",
        "doctor",
        "driver-check",
        "init",
        "new",
    ),
    "Record": ("record", "import", "export"),
    "Inspect": ("check", "verify", "diff", "badge", "cite", "show", "decode", "encode"),
    "Reference": ("list", "explain", "serve", "driver", "codec-adapter", "completion", "man"),
}
"""The commands of the help text, by what they are for."""


class LazyGroup(click.Group):
    """A group that imports a command on its first use: all imports together take 0.7 s.

    Args:
        modules: the module of each command, as in ``COMMANDS``.
        groups: the commands under each heading of the help text.
        further: the arguments of ``click.Group``.
    """

    def __init__(
        self,
        *,
        modules: Mapping[str, str],
        groups: Mapping[str, Sequence[str]],
        **further: Any,
    ) -> None:
        super().__init__(epilog=EXIT_STATUS, **further)
        self.modules = modules
        self.groups = groups

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the names, in the order of the help text."""
        return list(self.modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command, and end its help text with the exit status."""
        if cmd_name not in self.modules:
            return None
        module = import_module(f"neffos_conformance.{self.modules[cmd_name]}")
        command: click.Command = getattr(module, f"{cmd_name.replace('-', '_')}_command")
        command.epilog = EXIT_STATUS
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each command with its whole summary, under the heading of its group."""
        for heading, names in self.groups.items():
            found = [(name, self.get_command(ctx, name)) for name in names]
            with formatter.section(heading):
                formatter.write_dl(
                    [(name, each.get_short_help_str(sys.maxsize)) for name, each in found if each]
                )


_CONTEXT: Final = {"help_option_names": ["-h", "--help"]}


@click.group(cls=LazyGroup, modules=COMMANDS, groups=GROUPS, context_settings=_CONTEXT)
@click.version_option(VERSION)
def cli() -> None:
    """Test implementations of the neffos wire protocol."""


@click.group("test", cls=LazyGroup, modules=TESTS, groups={"Commands": tuple(TESTS)})
def test_command() -> None:
    """Test a server, a client, a codec or an exchange."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit; an exception that no command expects is an internal error."""
    set_up()
    status: int | str | None
    try:
        cli.main(args=list(arguments) if arguments is not None else None, standalone_mode=False)
        status = EXIT_PASS
    except SystemExit as end:
        status = end.code
    except click.ClickException as error:
        shown = StringIO()
        error.show(shown)
        from neffos_conformance.wire.secrets import masked  # few commands end like this

        echo(masked(shown.getvalue()), err=True, nl=False)
        status = EXIT_USAGE
    except click.Abort:
        echo("neffos-wire: interrupted: the test is incomplete", err=True)
        status = EXIT_BROKEN
    except BrokenPipeError:  # of a driver or an adapter whose parent has gone
        status = EXIT_BROKEN
    except ModuleNotFoundError:  # a command is imported on its first use; see entry.py
        raise
    except Exception:  # the exit status of a bug must not look like a verdict
        import traceback

        from neffos_conformance.wire.secrets import masked

        echo(masked(traceback.format_exc()), err=True, nl=False)
        echo("neffos-wire: internal error: this is not a verdict on the peer", err=True)
        status = EXIT_BROKEN
    flush()
    sys.exit(status)
