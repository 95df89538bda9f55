"""The command ``cite``: which requirements sources cite, and what is known of each."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import click

from neffos_conformance.cases.definition import Role
from neffos_conformance.cli.main import EXIT_FAIL, EXIT_PASS
from neffos_conformance.cli.options import EXISTING_FILE, JSON, option
from neffos_conformance.cli.refusals import refusing, writing
from neffos_conformance.codecs.catalogue import EVERY_ROLE
from neffos_conformance.reports import traceability
from neffos_conformance.reports.citations import CitationError
from neffos_conformance.reports.traceability import Traces
from neffos_conformance.reports.verification import ReportError, report_in
from neffos_conformance.wire.packed import cannot_be_read
from neffos_conformance.wire.terminal import echo
from neffos_protocol.text import ascii_json

USUAL_ROLES: Final[tuple[Role, ...]] = ("server", "client", "codec")
"""The roles without ``--role``; a program that shares a broker has to name that one."""


@click.command("cite")
@click.argument(
    "sources",
    nargs=-1,
    required=True,
    metavar="SOURCE…",
    type=click.Path(exists=True, path_type=Path),
)
@click.option(
    "--role",
    "roles",
    multiple=True,
    type=click.Choice(EVERY_ROLE),
    help="Role of the program, whose requirements must be cited [default: server, client, codec].",
)
@option(
    "--requirement patterns",
    "Requirements that must be cited: an ID, a family such as NS, or a pattern with * and ?.",
    "PATTERN",
    multiple=True,
)
@option(
    "--without without",
    "Requirements that need not be cited, as the program lacks what they are about.",
    "PATTERN",
    multiple=True,
)
@option(
    "--report reports",
    "JSON report of a run: its verdicts decide what is tested.",
    "FILE",
    multiple=True,
    type=EXISTING_FILE,
)
@option(
    "--kills kills_path",
    "Kill matrix of make kills, in place of the recorded proofs.",
    "FILE",
    type=EXISTING_FILE,
)
@JSON
@option("--markdown markdown_path", "Markdown file to write.", "FILE")
@option("--html html_path", "HTML page to write.", "FILE")
def cite_command(
    sources: Sequence[Path],
    roles: Sequence[Role],
    patterns: Sequence[str],
    without: Sequence[str],
    reports: Sequence[Path],
    kills_path: Path | None,
    as_json: bool,
    markdown_path: Path | None,
    html_path: Path | None,
) -> None:
    """Find the requirements that comments in sources cite.

    Each SOURCE is a file or a folder, in any language. A comment cites a requirement by its ID. A
    requirement is tested if a case of the suite covers it. Its test can fail if one of its cases
    kills a faulty peer. Errors are requirements without a citation, IDs that are unknown or were
    withdrawn, and cited requirements with the verdict fail.
    """
    roles = roles or USUAL_ROLES
    with refusing(CitationError, ReportError):
        kills = None
        if kills_path is not None:
            try:
                with kills_path.open("rb") as stream:
                    kills = traceability.read_kills(stream, roles)
            except CitationError as error:
                raise CitationError(f"{kills_path}: {error}") from error
            except OSError as error:
                raise CitationError(cannot_be_read(kills_path, error)) from error
        needed = traceability.needed(roles, patterns, without)
        found = traceability.traced(sources, roles, needed, list(map(report_in, reports)), kills)
    _write(markdown_path, traceability.markdown, found)
    _write(html_path, traceability.page, found)
    if as_json:
        echo(ascii_json(traceability.values_of(found), indent=1))
    else:
        _show(found)
    sys.exit(EXIT_FAIL if found.problems else EXIT_PASS)


def _write(path: Path | None, render: Callable[[Traces], str], found: Traces) -> None:
    if path is not None:
        with writing(path):
            path.write_text(render(found), "utf-8")


def _show(found: Traces) -> None:
    for trace in found.traces:
        id_, cited, tested, mutants = found.row(trace)
        echo(f"{id_:7} cited: {cited}; tested: {tested}; the test kills: {mutants}")
    for each in found.problems:
        echo(each)
    echo(f"{'FAIL' if found.problems else 'PASS'}: {found.summary}")
