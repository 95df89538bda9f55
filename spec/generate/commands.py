"""The command line as Markdown, from the program itself: its help is written once.

mkdocs-click does the same, but writes click's internal mark for "no default" into the page.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Final

import click

from generate.text import one_line, verbatim
from neffos_conformance.cli.main import cli

PROGRAM: Final = "neffos-wire"
"""The name under which the command is installed."""


def commands() -> str:
    """Give every command with its help, arguments and options."""
    context = click.Context(cli, info_name=PROGRAM)
    found = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    shown = {name: command for name, command in found.items() if command and not command.hidden}
    parts = [_overview(shown)]
    for name, command in shown.items():
        parts.append(_command(command, click.Context(command, context, info_name=name)))
    return "\n\n".join(parts)


def _overview(shown: Mapping[str, click.Command]) -> str:
    lines = ["| command | |", "| --- | --- |"]
    lines += [
        f"| [`{name}`](#{name}) | {verbatim(command.get_short_help_str(200))} |"
        for name, command in shown.items()
    ]
    return "\n".join(lines)


def _command(command: click.Command, context: click.Context) -> str:
    usage = one_line(command.get_usage(context)).removeprefix("Usage: ")
    parts = [f"## {context.info_name} {{#{context.info_name}}}", f"```text\n{usage}\n```"]
    parts += _help(command.help or "")
    options = [each for each in command.get_params(context) if isinstance(each, click.Option)]
    records = [each.get_help_record(context) for each in options]
    shown = [record for record in records if record]
    if shown:
        lines = ["| option | |", "| --- | --- |"]
        lines += [f"| <code>{verbatim(name)}</code> | {verbatim(text)} |" for name, text in shown]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _help(text: str) -> list[str]:
    """Give the paragraphs of a help text; one that click must not wrap stays as it stands."""
    found = []
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text.partition("\f")[0])):
        if paragraph.startswith("\b"):
            kept = paragraph.removeprefix("\b").strip("\n")
            found.append(f"```text\n{kept}\n```")
        else:
            found.append(verbatim(one_line(paragraph)))
    return found
