"""Which rows of the tables the cases lead a live peer through, and paths for what they lack.

The cases are played to the reference server and to the reference client. Whichever row their
sessions follow is taken. A path that correct ends take, and no case, is a script here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any, Final
from unittest.mock import patch

from mutation import memory_loop
from mutation.client_faults import ClientFault
from mutation.hooks import Hooks
from neffos_codec import (
    DecodeError,
    HandshakeAccept,
    HandshakeRefuse,
    HandshakeRequest,
    decode_handshake,
)
from neffos_conformance.cases.definition import Case, client_cases, server_cases
from neffos_conformance.cases.script import read_script
from neffos_conformance.model_based.tables import key_of, why_unreachable
from neffos_protocol import Session, _asks, _handshake, _memberships
from neffos_protocol.events import Role
from neffos_protocol.state_machines import (
    HANDSHAKE,
    INCOMING_ASK,
    MEMBERSHIP,
    Input,
    Transition,
    machines,
)
from proving.promela import row_name, rows_of

Row = Transition[Any]

_INPUTS: Final = {
    HandshakeRequest: Input.REQUEST,
    HandshakeAccept: Input.ACCEPTANCE,
    HandshakeRefuse: Input.REFUSAL,
}


PATHS: Final = (
    Case(
        "RM-2.path",
        "a server survives the end of a connection while its own leave ask is pending",
        ("TR-15", "NS-18"),
        "server",
        read_script(
            """
            1 app
            1 > $1;app;<<case>>;_OnRoomJoin;0;0;
            1 < $1;;;;;;
            1 > ;app;;leave-me;0;0;<<case>>
            1 < <<token:server-token>>;app;<<case>>;_OnRoomLeave;0;0;
            ---
            1 close 1000
            2 app
            2 > $2;app;;echo;0;0;on a new connection
            2 < $2;app;;echo;0;0;on a new connection
            """,
            "server",
        ),
    ),
)
"""Paths of the model that no case of the suite takes, as cases of a live server."""

UNSEEN: Final[Mapping[str, str]] = {
    "membership: ask-connect in disconnected": "the reference application decides on every ask",
    "membership: closed in disconnected": "nothing happens, and a session visits what it has",
    "outgoing-ask: closed in none": "nothing happens, and a session visits what it has",
    "incoming-ask: closed in none": "nothing happens, and a session visits what it has",
}
"""Why the sessions of the reference peers are not seen to take a row, by its name."""


class _Noted:
    """A table, or the rows of asks, which notes the rows that a session follows."""

    def __init__(self, rows: Any, note: Callable[[Row], None]) -> None:
        self._rows, self._note = rows, note

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rows, name)

    def follow(self, *of: Any) -> Row:
        return self._taken(self._rows.follow(*of))

    def __getitem__(self, key: Any) -> Row:
        return self._taken(self._rows[key])

    def get(self, key: Any) -> Row | None:
        return self._taken(self._rows[key]) if key in self._rows else None

    def _taken(self, row: Row) -> Row:
        self._note(row)
        return row


class _Asked(list[Any]):
    """What is done on an event ask, likewise."""

    def __init__(self, values: list[Any], note: Callable[[Row], None]) -> None:
        super().__init__(values)
        self._note = note

    def __getitem__(self, is_full: Any) -> Any:
        full, usual = INCOMING_ASK.rows["none", Input.ASKED]
        self._note(full if is_full else usual)
        return super().__getitem__(is_full)


@contextmanager
def watched() -> Iterator[set[int]]:
    """Give the identities of the rows that sessions follow meanwhile."""
    taken: set[int] = set()

    def note(row: Row) -> None:
        taken.add(id(row))

    plain = Session._read

    @wraps(plain)
    def read(self: Session, payload: Any, events: Any) -> None:
        try:
            input_ = _INPUTS[type(decode_handshake(payload))]
        except DecodeError:
            input_ = Input.OTHER
        note(HANDSHAKE.rows["open", input_][0])  # an open session reads without the table
        plain(self, payload, events)

    with (
        patch.object(_memberships, "MEMBERSHIP", _Noted(MEMBERSHIP, note)),
        patch.object(_handshake, "HANDSHAKE", _Noted(HANDSHAKE, note)),
        patch.object(
            _asks, "_OUTGOING_ROWS", [_Noted(each, note) for each in _asks._OUTGOING_ROWS]
        ),
        patch.object(
            _asks, "_INCOMING_ROWS", [_Noted(each, note) for each in _asks._INCOMING_ROWS]
        ),
        patch.object(_asks, "_ON_ASKED", _Asked(_asks._ON_ASKED, note)),
        patch.object(Session, "_read", read),
    ):
        yield taken


async def _played(role: Role) -> list[str]:
    peer, cases = (
        (Hooks(), (*server_cases(), *PATHS))
        if role is Role.SERVER
        else (ClientFault(), client_cases())
    )
    async with peer.stage() as run:
        results = [await run(case) for case in cases if not case.is_flood]
    return [result.case.id for result in results if result.is_broken]


def taken_by_cases() -> frozenset[str]:
    """Play every case, and give the names of the rows that the peers followed.

    Raises:
        AssertionError: a reference peer fails a case.
    """
    with watched() as taken:
        failed = [each for role in Role for each in memory_loop.run(_played(role))]
    if failed:
        raise AssertionError(f"the reference peers fail {', '.join(failed)}")
    return frozenset(row_name(*each) for each in rows_of(machines()) if id(each[1]) in taken)


def why_untaken(machine: str, row: Row) -> str:
    """Say why no case leads a live peer through a row; empty where one could."""
    key = key_of(machines()[machine], row)
    reasons = [why_unreachable(key, role) for role in Role]
    return UNSEEN.get(row_name(machine, row), "") or next(filter(None, reasons), "")
