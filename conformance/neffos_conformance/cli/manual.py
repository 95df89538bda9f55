"""The commands ``man`` and ``completion``: the manual and completions, from the program itself."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Final

import click
from click.shell_completion import get_completion_class

from neffos_conformance import VERSION
from neffos_conformance.cli.main import EXIT_STATUS, cli
from neffos_conformance.wire.terminal import echo

PROGRAM: Final = "neffos-wire"
"""The name under which the command is installed."""

SHELLS: Final = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
def completion_command(shell: str) -> None:
    """Print what completes commands and options in a shell.

    For bash: eval "$(neffos-wire completion bash)" in ~/.bashrc. For zsh: the same
    with zsh, in ~/.zshrc. For fish:
    neffos-wire completion fish > ~/.config/fish/completions/neffos-wire.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"this version of click knows no {shell}. Try: a newer click")
    echo(kind(cli, {}, PROGRAM, "_NEFFOS_WIRE_COMPLETE").source())


@click.command("man")
def man_command() -> None:
    """Print the manual page.

    neffos-wire man > ~/.local/share/man/man1/neffos-wire.1 installs it for man neffos-wire.
    """
    echo("\n".join(_manual()))


def contexts(context: click.Context) -> Iterator[click.Context]:
    """Give the context of every command that is not a group, in the order of the help."""
    command = context.command
    if not isinstance(command, click.Group):
        yield context
        return
    for name in command.list_commands(context):
        if found := command.get_command(context, name):
            yield from contexts(click.Context(found, context, info_name=name))


def _manual() -> Iterator[str]:
    """Give the lines of the page, in the macros of man."""
    top = click.Context(cli, info_name=PROGRAM)
    yield f'.TH NEFFOS\\-WIRE 1 "" "{PROGRAM} {VERSION}"'
    yield from (".SH NAME", _roff(f"{PROGRAM} - {cli.get_short_help_str(99)}"))
    yield from (".SH SYNOPSIS", _roff(f"{PROGRAM} COMMAND [OPTIONS] [ARGS]…"), ".SH COMMANDS")
    for context in contexts(top):
        command = context.command
        pieces = " ".join(command.collect_usage_pieces(context))
        yield from (f".SS {_roff(context.command_path.removeprefix(f'{PROGRAM} '))}", ".B")
        yield _roff(f"{context.command_path} {pieces}")
        for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
            yield from (".PP", _roff(" ".join(paragraph.split())))
        for each in command.get_params(context):
            is_option = isinstance(each, click.Option)
            if is_option and (record := each.get_help_record(context)):
                yield from (".TP", f".B {_roff(record[0])}", _roff(record[1]))
    yield from (".SH EXIT STATUS", _roff(EXIT_STATUS.removeprefix("Exit status: ")))


def _roff(text: str) -> str:
    """Escape a line, so that nothing in it is a request of roff."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
    return f"\\&{text}" if text.startswith((".", "'")) else text
