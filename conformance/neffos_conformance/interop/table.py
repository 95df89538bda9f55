"""The matrix as values and as tables.

The package has a recorded one, ``data/matrix.json``: all known clients and servers, as they were
when it was last recorded. It holds what fails, so that a new case or step does not make it stale.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

from neffos_conformance import VERSION
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.data import read_data
from neffos_conformance.interop.interop_runs import InteropRun, interop_steps
from neffos_conformance.runner.run_report import RunReport

MATRIX_FORMAT: Final = 2
"""The version of the format; ``data/schema/matrix.json`` has it."""

ABOUT: Final = ("peer", "version", "runtime")
"""What a matrix has of the first line of a driver."""

Values = dict[str, Any]


@cache
def recorded() -> Values:
    """Give the matrix in the package."""
    values: Values = json.loads(read_data("matrix.json"))
    return values


def matrix_values(runs: Iterable[InteropRun], reports: Mapping[str, RunReport]) -> Values:
    """Give a matrix as values.

    Args:
        runs: the conversations.
        reports: the reports of the suite, by the names of systems under test: a client's, or
            ``peer/endpoint`` of a server.
    """
    ordered = sorted(runs, key=lambda run: (run.client, run.endpoint.peer, run.endpoint.name))
    clients = {run.client: about(run.ready) for run in ordered if run.ready}
    servers = {str(run.endpoint): {"peer": run.endpoint.peer} for run in ordered}
    cases = {report.role: len(report.results) for report in reports.values()}
    return {
        "format": MATRIX_FORMAT,
        "recorded": datetime.now(UTC).date().isoformat(),
        "suite": VERSION,
        "ran": {"steps": len(interop_steps()), **{k: cases[k] for k in sorted(cases)}},
        "clients": {name: {**each, **_found(reports.get(name))} for name, each in clients.items()},
        "servers": {name: {**each, **_found(reports.get(name))} for name, each in servers.items()},
        "runs": [values for run in ordered if (values := _run_values(run))],
    }


def about(ready: Mapping[str, Any]) -> Values:
    """Give what a peer says of itself, as far as it says the same at each run."""
    return {name: str(ready[name]) for name in ABOUT if name in ready}


def _found(report: RunReport | None) -> Values:
    if report is None:
        return {}
    failed: dict[str, list[str]] = {}
    closing = Counter(each.closing.verdict.value for each in report.results if each.closing)
    for result in report.results:
        if result.verdict not in (Verdict.PASS, Verdict.SKIPPED):
            failed.setdefault(result.verdict.value, []).append(result.case.id)
    return {
        "peer": dict(report.peer).get("peer", "unknown"),
        "version": dict(report.peer).get("version", ""),
        "failed": dict(sorted(failed.items())),
        "unsupported": report.counts()[Verdict.SKIPPED],
        "closing": dict(sorted(closing.items())),
    }


def _run_values(run: InteropRun) -> Values:
    failed = {each.step: each.failure for each in run.outcomes if each.failure}
    unsupported = [each.step for each in run.outcomes if each.is_unsupported]
    if not failed and not unsupported:
        return {}
    endpoints = {"client": run.client, "server": str(run.endpoint)}
    return {**endpoints, "failed": failed, "unsupported": unsupported}


def verdict_counts(values: Values, kind: str, name: str) -> dict[str, int]:
    """Give how many cases of the recorded run got each verdict.

    Args:
        values: the matrix.
        kind: ``servers`` or ``clients``.
        name: of the system under test.
    """
    subject = values[kind][name]
    counts = {verdict: len(cases) for verdict, cases in subject["failed"].items()}
    counts[Verdict.SKIPPED.value] = subject["unsupported"]
    counts[Verdict.PASS.value] = values["ran"][kind.removesuffix("s")] - sum(counts.values())
    return counts


def rows(values: Values) -> tuple[list[str], list[list[str]]]:
    """Give the table of clients and servers: its head, and a row for each client.

    A cell says how many steps of the conversation pass, of those that the client supports, and
    which fail.
    """
    servers, steps = list(values["servers"]), values["ran"]["steps"]
    found = {(each["client"], each["server"]): each for each in values["runs"]}
    return ["client", *servers], [
        [client, *(_cell(found.get((client, server), {}), steps) for server in servers)]
        for client in values["clients"]
    ]


def _cell(run: Values, steps: int) -> str:
    possible = steps - len(run.get("unsupported", ()))
    failed = sorted(run.get("failed", ()))
    text = f"{possible - len(failed)} of {possible}"
    return f"{text}: {', '.join(failed)}" if failed else text


def markdown(values: Values) -> str:
    """Give the table as Markdown."""
    head, body = rows(values)
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def differences(
    was: Values, now: Values, pairs: Collection[tuple[str, str]] | None = None
) -> list[str]:
    """Give the differences of two matrices in what two runs on the same peers must agree on.

    The second may omit systems under test of the first. Days, runtimes and the way connections
    closed are ignored, and so is the text of a failure, which may contain IDs.

    Args:
        was: the first matrix.
        now: the second one.
        pairs: the clients and servers that ran together in the second; ``None`` for all.
    """
    found = []
    for kind in ("clients", "servers"):
        for name, values in now[kind].items():
            before, after = _compared(was[kind].get(name, {})), _compared(values)
            if before != after:
                found.append(f"{kind[:-1]} {name}: recorded {before}, now {after}")
    for client in now["clients"]:
        for server in now["servers"]:
            if pairs is not None and (client, server) not in pairs:
                continue
            before, after = _steps(was, client, server), _steps(now, client, server)
            if before != after:
                found.append(f"{client} with {server}: recorded {before}, now {after}")
    return found


def _compared(subject: Values) -> Values:
    return {name: subject.get(name) for name in ("peer", "version", "failed")}


def _steps(values: Values, client: str, server: str) -> Values:
    runs = (each for each in values["runs"] if (each["client"], each["server"]) == (client, server))
    run: Values = next(runs, {})
    return {
        "failed": sorted(run.get("failed", ())),
        "unsupported": sorted(run.get("unsupported", ())),
    }
