"""The command line as Markdown, from the program itself.

mkdocs-click does the same, but writes click's internal mark for "no default" into the page.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from generate.text import one_line, table, verbatim, with_options
from neffos_conformance.cli.main import EXIT_STATUS, cli
from neffos_conformance.cli.manual import PROGRAM, contexts


def commands() -> str:
    """Give every command with its help, arguments and options."""
    found = {
        context.command_path.removeprefix(f"{PROGRAM} "): context
        for context in contexts(click.Context(cli, info_name=PROGRAM))
    }
    parts = []
    for heading, names in cli.groups.items():
        rows = (
            (f"[`{path}`](#{_anchor(path)})", verbatim(context.command.get_short_help_str(99)))
            for path, context in found.items()
            if path.split()[0] in names
        )
        parts.append(table((heading, ""), rows))
    sections = [part for path, context in found.items() for part in _section(path, context)]
    return "\n\n".join([*parts, EXIT_STATUS, *sections])


def _anchor(path: str) -> str:
    return path.replace(" ", "-")


def _section(path: str, context: click.Context) -> Iterator[str]:
    yield f"## {path} {{#{_anchor(path)}}}"
    yield f"```text\n{one_line(context.command.get_usage(context)).removeprefix('Usage: ')}\n```"
    for paragraph in inspect.cleandoc(context.command.help or "").split("\n\n"):
        yield with_options(one_line(paragraph))
    options = [each for each in context.command.params if isinstance(each, click.Option)]
    if records := [record for each in options if (record := each.get_help_record(context))]:
        rows = ((f"<code>{verbatim(name)}</code>", with_options(text)) for name, text in records)
        yield table(("option", ""), rows)
