"""What a check of recordings found, as a table in Parquet for databases."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from neffos_conformance.cases.verdict import verdict_on
from neffos_conformance.recordings.check_report import CheckReport
from neffos_conformance.wire.files import cannot_be_written, open_private
from neffos_conformance.wire.packed import InputError

COLUMNS: Final = {
    "file": "string",
    "recorded": "string",
    "client": "string",
    "client_version": "string",
    "server": "string",
    "server_version": "string",
    "messages": "int64",
    "recording_verdict": "string",
    "requirement": "string",
    "role": "string",
    "verdict": "string",
    "known": "bool",
    "count": "int64",
    "first_line": "int64",
    "first_connection": "int64",
    "explanation": "string",
}
"""The columns and their types in Arrow. Those from ``requirement`` on are null in the row of a
recording without violations."""


def save_parquet(path: Path, reports: Iterable[tuple[str, CheckReport]]) -> None:
    """Write a row for each recording, requirement and role: its violations, and where the first is.

    Args:
        path: the file.
        reports: the names of the recordings, and their reports.

    Raises:
        InputError: a package is missing, or the file cannot be written.
    """
    try:
        import pyarrow as arrow  # it belongs to an extra
        from pyarrow import parquet
    except ImportError as error:
        text = "Parquet needs a package. Try: pip install 'neffos-wire[cluster]'"
        raise InputError(text) from error
    schema = arrow.schema([(name, kind) for name, kind in COLUMNS.items()])
    rows = [row for name, report in reports for row in _rows(name, report)]
    table = arrow.Table.from_pylist(rows, schema)
    try:
        with open_private(path) as stream:
            parquet.write_table(table, stream)
    except OSError as error:
        raise InputError(cannot_be_written(path, error)) from error


def _rows(name: str, report: CheckReport) -> Iterable[dict[str, Any]]:
    first = report.header or {}
    client, server = first.get("client", {}), first.get("server", {})
    recording = {
        "file": name,
        "recorded": first.get("recorded"),
        "client": client.get("peer"),
        "client_version": client.get("version"),
        "server": server.get("peer"),
        "server_version": server.get("version"),
        "messages": report.messages,
        "recording_verdict": report.verdict.value,
    }
    if not report.counts:
        yield recording
    for (requirement, role), count in report.counts.items():
        shown = next(
            each
            for each in report.violations  # the first of each is always there
            if (each.requirement, each.role) == (requirement, role)
        )
        yield recording | {
            "requirement": requirement,
            "role": role,
            "verdict": verdict_on((requirement,)).value,
            "known": shown.is_known,
            "count": count,
            "first_line": shown.line,
            "first_connection": shown.connection,
            "explanation": shown.explanation,
        }
