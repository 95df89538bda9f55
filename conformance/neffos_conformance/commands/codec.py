"""The command ``codec``: judges a codec by the vectors."""

from __future__ import annotations

import json
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from neffos_conformance.codecs.judging import AdapterError, Answered, Judged, judge_codec
from neffos_conformance.showing import COLOURS
from neffos_conformance.suite.verdict import Verdict
from neffos_protocol.catalogue import requirement

CODEC_REPORT_FORMAT: Final = 1

REFERENCE: Final = (str(Path(sys.argv[0]).with_name("neffos-wire")), "codec-adapter")
"""The adapter of our own codec, beside this program."""

_SHOWN: Final = 20
"""Answers that are shown; ``--json`` has all."""
_LENGTH: Final = 300
"""Characters of a request or an answer that are shown."""


@click.command("codec", context_settings={"ignore_unknown_options": True})
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- CMD…]")
def codec_command(as_json: bool, command: tuple[str, ...]) -> None:
    """Judge the codec behind an adapter, CMD, by every vector; by default our own.

    See the page "The codec protocol" of the specification. What the adapter does not support is
    not judged. Exit code 1 where a MUST is broken, 2 where nothing was answered.
    """
    try:
        judged = judge_codec(command or REFERENCE)
    except AdapterError as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        click.echo(json.dumps(_values(judged), ensure_ascii=False))
    else:
        _show(Console(), judged)
    verdicts = {each.verdict for each in judged.answered}
    if verdicts == {Verdict.UNSUPPORTED}:
        raise click.UsageError("the codec supports nothing of what it was asked")
    sys.exit(1 if Verdict.FAIL in verdicts else 0)


def _show(console: Console, judged: Judged) -> None:
    wrong = [
        each for each in judged.answered if each.verdict not in (Verdict.PASS, Verdict.UNSUPPORTED)
    ]
    for each in wrong[:_SHOWN]:
        _show_wrong(console, each)
    if len(wrong) > _SHOWN:
        console.print(f"… and {len(wrong) - _SHOWN} more; --json has all")
    table = Table(title="questions by operation", title_justify="left")
    table.add_column("operation")
    for verdict in Verdict:
        table.add_column(verdict.value, justify="right", style=COLOURS[verdict])
    operations = dict.fromkeys(each.question.request["op"] for each in judged.answered)
    for operation in operations:
        counts = Counter(
            each.verdict for each in judged.answered if each.question.request["op"] == operation
        )
        table.add_row(operation, *(str(counts[verdict] or "") for verdict in Verdict))
    counts = Counter(each.verdict for each in judged.answered)
    table.add_section()
    table.add_row("all", *(str(counts[verdict]) for verdict in Verdict), style="bold")
    console.print(table)
    about = f"{judged.ready['peer']} {judged.ready['version']}"
    console.print(
        f"{about}: {counts[Verdict.PASS]} of {len(judged.answered)} questions answered as wanted",
        markup=False,
    )


def _show_wrong(console: Console, answered: Answered) -> None:
    vector = answered.question.vector
    colour = COLOURS[answered.verdict]
    console.print(
        f"[bold {colour}]{answered.verdict.value}[/] [bold]{vector['id']}[/] "
        f"{escape(vector['about'])}"
    )
    for id_ in vector["requirements"]:
        console.print(f"  {id_}: {escape(requirement(id_).text)}")
    for name, values in (
        ("asked", answered.question.request),
        ("wanted", answered.question.wanted),
        ("got", answered.got),
    ):
        text = json.dumps(values, ensure_ascii=False)
        shown = text if len(text) <= _LENGTH else f"{text[:_LENGTH]}…"
        console.print(f"  {name + ':':8}{shown}", markup=False, soft_wrap=True)
    console.print()


def _values(judged: Judged) -> dict[str, Any]:
    counts = Counter(each.verdict.value for each in judged.answered)
    return {
        "format": CODEC_REPORT_FORMAT,
        "suite": {"name": "neffos-wire", "version": version("neffos-wire")},
        "codec": judged.ready,
        "counts": dict(counts),
        "wrong": [
            {
                "vector": each.question.vector["id"],
                "requirements": each.question.vector["requirements"],
                "verdict": each.verdict.value,
                "request": each.question.request,
                "wanted": each.question.wanted,
                "got": each.got,
            }
            for each in judged.answered
            if each.verdict not in (Verdict.PASS, Verdict.UNSUPPORTED)
        ],
    }
