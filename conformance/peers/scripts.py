"""The sessions that the corpus records: scripts in the language of the cases.

A session is played by the suite at one end, with a real peer at the other, as a case is
(``neffos_conformance.cases.script`` has the language). But it is no test: a peer that does
otherwise, be it in the code with which it ends a connection, makes no recording.
"""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from neffos_conformance.cases.definition import Case, Role
from neffos_conformance.cases.script import read_script
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.runner.driver_protocol import DriverProcess
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.result import Result
from neffos_conformance.runner.run import run_arriving_client_case, to_server
from neffos_conformance.wire.transport import UpgradeRequest

PATIENCE: Final = Timeouts(case=10.0, before_barrier=10.0)
"""Each session takes milliseconds. What the suite asks of its own accord, where a peer is long in
saying something, does not belong into a recording."""

STRICT: Final = frozenset({"TR-12", "TR-13"})
"""What a line ``closed`` holds a peer to. That it answers the suite's own goodbye is no part of a
session."""


class ScriptError(Exception):
    """The peer did not do what the script says; the text names the line."""


@dataclass(frozen=True, slots=True)
class Session:
    """A script with what it is about.

    Attributes:
        case: the script, its title, and the requirements that it shows.
        peers: the peers that it is recorded with; empty for all.
        native: the mode of its endpoint.
        defects: requirements that are broken in it, and by which role.
        divergence: the divergence that it shows, if any; then `peers` are some that have it.
    """

    case: Case
    peers: tuple[str, ...] = ()
    native: str = "never"
    defects: Mapping[str, str] = field(default_factory=dict)
    divergence: str = ""


def load(path: Path, role: Role) -> list[Session]:
    """Read the sessions of a file, for real peers of a role.

    Raises:
        ValueError: a line has no form that is known.
    """
    return [
        Session(
            Case(
                id=entry["id"],
                title=entry["title"],
                requirements=tuple(entry["shows"]),
                role=role,
                steps=read_script(entry["script"], role),
            ),
            tuple(entry.get("peers", ())),
            entry.get("native", "never"),
            entry.get("defects", {}),
            entry.get("divergence", ""),
        )
        for entry in tomllib.loads(path.read_text("utf-8"))["session"]
    ]


async def play_client(session: Session, url: str) -> None:
    """Play the client's side to the server at a URL.

    Raises:
        ScriptError: the server did not do what the script says.
    """
    _hold(await to_server(url, PATIENCE, is_alone=True)(session.case))


async def play_server(
    session: Session, driver: DriverProcess, url: str, incoming: asyncio.Queue[UpgradeRequest]
) -> None:
    """Play the server's side to a client that is moved by a driver.

    Args:
        session: what happens.
        driver: moves the client.
        url: where the client is to dial, from where it reaches us.
        incoming: the clients that come.

    Raises:
        ScriptError: the client did not do what the script says.
    """
    _hold(await run_arriving_client_case(driver, session.case, url, incoming, PATIENCE))


def _hold(result: Result) -> None:
    if result.verdict is not Verdict.PASS:
        where = f"line {result.step} ({result.expected[:80]})"
        raise ScriptError(f"{result.case.id}, {where}: {result.explanation}")
    if result.closing.requirement in STRICT:
        raise ScriptError(f"{result.case.id}: {result.closing.explanation}")
