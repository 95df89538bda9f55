"""The command ``verify``: evaluates a report again, from its own traffic."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from neffos_conformance.cli.main import EXIT_FAIL, EXIT_PASS, EXIT_USAGE
from neffos_conformance.cli.options import EXISTING_FILE
from neffos_conformance.reports.findings import bounded
from neffos_conformance.reports.verification import ReportError, read_report, verified
from neffos_conformance.wire.terminal import echo

SHOWN = 100
"""Differences that are printed; the others are counted."""


@click.command("verify")
@click.argument("report", type=EXISTING_FILE, metavar="FILE")
def verify_command(report: Path) -> None:
    """Evaluate a JSON report again, without the peer.

    Each case is played against the messages that the report FILE has of the peer. Verdicts that
    do not follow from them, missing cases and wrong counts are differences.
    """
    try:
        with report.open("rb") as stream:
            found = verified(read_report(stream))
    except (ReportError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise click.UsageError(bounded(f"{report} cannot be evaluated again: {reason}")) from error
    for name, text in found.differences[:SHOWN]:
        echo(bounded(f"{name}: {text}"))
    if len(found.differences) > SHOWN:
        echo(f"and {len(found.differences) - SHOWN} more differences")
    for reason, ids in found.unchecked.items():
        echo(bounded(f"not evaluated again, {reason}: {', '.join(ids)}"))
    counts = f"{found.same} cases evaluated again, {len(found.differences)} differences"
    if found.differences:
        echo(f"FAIL: {counts}")
        sys.exit(EXIT_FAIL)
    if found.claims or not found.same:
        echo(f"INCOMPLETE: {counts}")
        sys.exit(EXIT_USAGE)
    echo(f"PASS: {counts}")
    sys.exit(EXIT_PASS)
