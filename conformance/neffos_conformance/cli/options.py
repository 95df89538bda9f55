"""The options of all commands, in one form: a metavar, a type, a help text and a default."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from neffos_codec import Native
from neffos_conformance.cli.refusals import refusing
from neffos_conformance.wire.packed import InputError, find, find_with_urls

Command = TypeVar("Command", bound=Callable[..., Any])
Decorator = Callable[[Command], Command]

KINDS: Final[dict[str, Any]] = {
    "FILE": click.Path(dir_okay=False, path_type=Path),
    "FOLDER": click.Path(file_okay=False, path_type=Path),
    "LINE": click.IntRange(min=1),
    "N": click.IntRange(min=1),
    "PORT": click.IntRange(0, 65535),
    "SECONDS": click.FloatRange(min=0, min_open=True),
}
"""The types of values, by their metavars; any other is a text."""

EXISTING_FILE: Final = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)
"""The type of a file that a command reads."""


def option(names: str, text: str, metavar: str = "", **more: Any) -> Decorator[Any]:
    """Give a command an option; its default is part of the help.

    Args:
        names: its names and that of its parameter, with spaces between them.
        text: its help: a noun phrase, or "Run only …".
        metavar: the name of its value, as in ``KINDS``; empty for a flag.
        more: further arguments of ``click.option``.
    """
    if metavar:
        shown = more.get("default", "") != ""
        more = {"metavar": metavar, "type": KINDS.get(metavar), "show_default": shown, **more}
    return click.option(*names.split(), is_flag=not metavar, help=text, **more)


def existing_files(*suffixes: str, urls: bool = False) -> Decorator[Any]:
    """Give a command the argument ``files``: the paths of files to read, each once.

    Args:
        suffixes: what files in a folder end with.
        urls: also take URLs, as ``Url``.
    """

    def found(_: click.Context, __: click.Parameter, names: tuple[str, ...]) -> Sequence[Any]:
        with refusing(InputError):
            return find_with_urls(names, *suffixes) if urls else find(names, *suffixes)

    return click.argument("files", nargs=-1, required=True, metavar="FILE…", callback=found)


def choice(names: str, text: str, values: list[str], default: str) -> Decorator[Any]:
    """Give a command an option with a choice of values."""
    kind = click.Choice(values)
    return click.option(*names.split(), type=kind, default=default, show_default=True, help=text)


def selection_options(verb: str) -> Decorator[Any]:
    """Give a command the options ``patterns`` and ``tags``, which select the cases it uses."""
    tags = option("--tag tags", f"{verb} only cases with this tag.", "TAG", multiple=True)
    patterns = option(
        "--case patterns",
        f"{verb} only these cases: a case ID, a requirement, a family such as NS, or a pattern "
        "with * and ?.",
        "PATTERN",
        multiple=True,
    )
    return lambda command: patterns(tags(command))


JSON: Final = option("--json as_json", "Output as JSON.")

READY: Final = option("--json as_json", "Ready line in JSON; the command ends with standard input.")

HOST: Final = option("--host", "Address to listen on.", "NAME", default="127.0.0.1")

PORT: Final = option("--port", "Port to listen on; 0 for any free one.", "PORT", default=0)

NATIVE: Final = choice(
    "--native",
    "Native messages: none, payloads that are not frames, or all payloads.",
    [mode.value for mode in Native],
    "never",
)


KEYLOG: Final = option(
    "--keylog", "Keys of TLS in captures, as SSLKEYLOGFILE names them.", "FILE", default=None
)

CLIENT: Final = "--client"

_COMMAND: Final = "neffos_conformance.cli.options.command"
"""The key of the driver's command: everything after ``--client``."""


class LastClient(click.Command):
    """Takes everything after ``--client`` as the command of a driver, options included."""

    usage = ""
    """What the usage line says of the peer."""

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Add the peer to the usage line."""
        return [*super().collect_usage_pieces(ctx), self.usage]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the driver's command out of the arguments."""
        before = args[: args.index("--")] if "--" in args else args
        if CLIENT in before:
            index = args.index(CLIENT)
            command = args[index + 1 :]
            ctx.meta[_COMMAND] = command[1:] if command[:1] == ["--"] else command
            args = args[: index + 1]
        return super().parse_args(ctx, args)


def driver_command(ctx: click.Context) -> list[str]:
    """Give what followed ``--client``; empty if nothing did."""
    command: list[str] = ctx.meta.get(_COMMAND, [])
    return command
