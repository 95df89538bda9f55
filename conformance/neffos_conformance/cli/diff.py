"""The command ``diff``: what a release made better or worse, by two reports."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click

from neffos_conformance.cli.main import EXIT_FAIL, EXIT_PASS, EXIT_USAGE
from neffos_conformance.cli.options import EXISTING_FILE, option
from neffos_conformance.cli.refusals import refusing
from neffos_conformance.reports import changes
from neffos_conformance.reports.verification import ReportError, report_in
from neffos_conformance.wire.terminal import echo

STATUS: Final = {"PASS": EXIT_PASS, "FAIL": EXIT_FAIL, "INCOMPLETE": EXIT_USAGE}


@click.command("diff")
@click.argument("old", type=EXISTING_FILE, metavar="FILE")
@click.argument("new", type=EXISTING_FILE, metavar="FILE")
@option("--markdown as_markdown", "Output as Markdown.")
def diff_command(old: Path, new: Path, *, as_markdown: bool) -> None:
    """Compare two JSON reports on one server, client or codec.

    The first FILE is of the older version. Each case that got worse or better is listed, and each
    that only one report shows. A verdict that is unknown is not worse, but no longer shown. The
    status is 1 if something got worse, and 2 if a case is no longer shown.
    """
    with refusing(ReportError, changes.NotComparableError):
        before, after = report_in(old), report_in(new)
        found = changes.changes(before, after)
    render = changes.markdown if as_markdown else changes.text
    echo(render(found, before, after))
    sys.exit(STATUS[found.outcome])
