"""The matrix as values, and as the tables that are made of them.

A recorded one comes with the package, ``data/matrix.json``: of all clients and servers that are
known, as they were when it was last run on them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any, Final

from neffos_conformance.interop.interop_runs import Talk
from neffos_conformance.runner.run_report import RunReport

MATRIX_FORMAT: Final = 1
"""The version of the form; ``data/schema/matrix.json`` has it."""

ABOUT: Final = ("peer", "version", "runtime")
"""What a driver says of itself that stands in a matrix."""

Values = dict[str, Any]


@cache
def recorded() -> Values:
    """Give the matrix that comes with the package."""
    text = files("neffos_conformance.data").joinpath("matrix.json").read_text("utf-8")
    values: Values = json.loads(text)
    return values


def matrix_values(talks: Iterable[Talk], judgements: Mapping[str, RunReport]) -> Values:
    """Give a run as values.

    Args:
        talks: what came of the conversations.
        judgements: what the suite found, by the names of systems under test: a client's, or
            ``peer/endpoint`` for a server, or ``codec of peer``.
    """
    ordered = sorted(talks, key=lambda talk: (talk.client, talk.endpoint.peer, talk.endpoint.name))
    clients = {talk.client: about(talk.ready) for talk in ordered if talk.ready}
    servers = {server_name(talk): {"peer": talk.endpoint.peer} for talk in ordered}
    return {
        "format": MATRIX_FORMAT,
        "recorded": datetime.now(UTC).date().isoformat(),
        "suite": version("neffos-wire"),
        "clients": {
            name: {**values, **_judged(judgements.get(name))} for name, values in clients.items()
        },
        "servers": {
            name: {**values, **_judged(judgements.get(name))} for name, values in servers.items()
        },
        "talks": [_talk_values(talk) for talk in ordered],
    }


def about(ready: Mapping[str, Any]) -> Values:
    """Give what a peer says of itself, as far as it says the same at each run."""
    return {name: str(ready[name]) for name in ABOUT if name in ready}


def server_name(talk: Talk) -> str:
    """Give the name of a server's endpoint."""
    return "/".join(filter(None, (talk.endpoint.peer, talk.endpoint.name)))


def _judged(judgement: RunReport | None) -> Values:
    if judgement is None:
        return {}
    closing = Counter(result.closing.verdict.value for result in judgement.results)
    return {
        "peer": dict(judgement.peer).get("peer", "unknown"),
        "version": dict(judgement.peer).get("version", ""),
        "verdicts": {verdict.value: n for verdict, n in sorted(judgement.counts().items())},
        "closing": dict(sorted(closing.items())),
        "requirements": {
            id_: [
                result.case.id
                for result in judgement.results
                if result.is_broken and id_ in result.case.requirements
            ]
            for id_ in sorted(
                {
                    id_
                    for result in judgement.results
                    if result.is_broken
                    for id_ in result.case.requirements
                }
            )
        },
    }


def _talk_values(talk: Talk) -> Values:
    return {
        "client": talk.client,
        "server": server_name(talk),
        "steps": len(talk.outcomes),
        "failed": {each.step: each.failure for each in talk.outcomes if each.failure},
        "unsupported": [each.step for each in talk.outcomes if each.is_unsupported],
    }


def rows(values: Values) -> tuple[list[str], list[list[str]]]:
    """Give the table of clients and servers: its head, and a row for each client.

    A cell says how many steps of the conversation went well, of those that the client can take,
    and which did not.
    """
    servers = list(values["servers"])
    cells = {(each["client"], each["server"]): _cell(each) for each in values["talks"]}
    return ["client", *servers], [
        [client, *(cells.get((client, server), "") for server in servers)]
        for client in values["clients"]
    ]


def _cell(talk: Values) -> str:
    possible = talk["steps"] - len(talk["unsupported"])
    failed = sorted(talk["failed"])
    text = f"{possible - len(failed)} of {possible}"
    return f"{text}: {', '.join(failed)}" if failed else text


def markdown(values: Values) -> str:
    """Give the table as Markdown."""
    head, body = rows(values)
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def differences(was: Values, now: Values) -> list[str]:
    """Say in what two matrices differ, as far as two runs on the same peers have to agree.

    What is in the first alone was left out of the second. Days and runtimes are left aside, and so
    are the words in which a step fails, which may hold ids, and how connections ended.
    """
    found = []
    for kind in ("clients", "servers"):
        for name, values in now[kind].items():
            before, after = _telling(was[kind].get(name, {})), _telling(values)
            if before != after:
                found.append(f"{kind[:-1]} {name}: recorded {before}, now {after}")
    talks = {(each["client"], each["server"]): _steps(each) for each in was["talks"]}
    for each in now["talks"]:
        had = talks.get((each["client"], each["server"]))
        if had != _steps(each):
            who = f"{each['client']} with {each['server']}"
            found.append(f"{who}: recorded {had}, now {_steps(each)}")
    return found


def _telling(subject: Values) -> Values:
    return {name: subject.get(name) for name in ("peer", "version", "verdicts")}


def _steps(talk: Values) -> Values:
    return {**talk, "failed": sorted(talk["failed"])}
