"""The command ``badge``: a report in a line, for a README."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from neffos_conformance.cases.classes import ConformanceClass
from neffos_conformance.cli.main import EXIT_FAIL
from neffos_conformance.cli.options import EXISTING_FILE, JSON, option
from neffos_conformance.cli.refusals import refusing, writing
from neffos_conformance.reports import badge
from neffos_conformance.reports.verification import ReportError, report_in, verified
from neffos_conformance.wire.terminal import echo
from neffos_protocol.text import ascii_json


@click.command("badge")
@click.argument("report", type=EXISTING_FILE, metavar="FILE")
@click.option(
    "--class",
    "name",
    type=click.Choice([each.value for each in ConformanceClass]),
    help="Class of conformance [default: the widest that is met].",
)
@JSON
@option("-o --output output", "File to write.", "FILE")
@option("--unverified", "Badge of a report that is not evaluated again.")
def badge_command(
    report: Path, name: str | None, output: Path | None, *, as_json: bool, unverified: bool
) -> None:
    """Draw a badge from a JSON report, as SVG.

    It says the class of conformance, the requirement set, and how many requirements of the class
    were shown. With --json, it is what an endpoint badge of shields.io reads. The report FILE is
    evaluated again first, as verify does, and one that does not follow from its messages gets none.
    """
    with refusing(ReportError):
        values = report_in(report)
        found = None if unverified else verified(values)
    if values["selection"]:
        text = f"{report} is on a selection of cases. Try: a report on all cases"
        raise click.UsageError(text)
    if found is not None and (found.differences or found.claims):
        number = len(found.differences) + found.claims
        text = f"{report}: {number} verdicts do not follow from its messages"
        echo(f"neffos-wire: {text}. Try: neffos-wire verify {report}", err=True)
        sys.exit(EXIT_FAIL)
    made = badge.badge(values, ConformanceClass(name) if name else None)
    drawn = ascii_json(badge.endpoint(made)) + "\n" if as_json else badge.svg(made) + "\n"
    if output is None:
        echo(drawn, nl=False)
        return
    with writing(output):
        output.write_text(drawn, "utf-8")
