"""What a peer does when a connection opens, when it ends, and with payloads that are not frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from neffos_codec import Message, encode
from neffos_conformance.model_based import tables
from neffos_conformance.model_based.actions import Action, ActionKind
from neffos_conformance.model_based.expected import (
    FAILURE,
    ConnectionEnd,
    DriverLog,
    OperationOutcome,
    Output,
    Payload,
)
from neffos_conformance.model_based.frames import ACCEPTANCE, handshake_input
from neffos_conformance.model_based.state import SutState
from neffos_protocol.events import Change
from neffos_protocol.names import BAD_NAMESPACE, REQUEST_EVENT
from neffos_protocol.state_machines import MEMBERSHIP

REFUSAL_TEXT: Final = "not; today"
"""The text of a handshake refusal, by the suite or on its request."""

UNAVAILABLE: Final = 503
"""The HTTP status of a refused upgrade."""

POLICY_VIOLATION: Final = 1008
"""The close code after a handshake refusal (TR-13)."""

FIRST_ID: Final = 6
"""Added to a connection's number to make its ID."""

CONNECTED_AT_ONCE: Final = "any"
"""The namespace that one of the peers connects while the connection opens."""


def open_connection(state: SutState, action: Action) -> list[Output] | None:
    """Open a connection; ``None`` as for ``SutModel.perform``."""
    if action.connection in state.connections:
        return None
    state.connect(action)
    state.note(action, f"open {action.path} {action.how}")
    opened = _open_to_client if state.is_client else _open_to_server
    outputs = opened(state, action)
    return [
        each if isinstance(each, Output) else Output(action.connection, each) for each in outputs
    ]


# -------------------------------------------------------------------- to a server


def _open_to_server(state: SutState, action: Action) -> list[Payload | ConnectionEnd | Output]:
    connection = state.connections[action.connection]
    state.forbidden_by[action.number] = _FORBIDDEN_BY.get(action.how, "HS-12")
    if connection.phase == "open":  # the native-only endpoint has no handshake
        return []
    how, sent = action.how, list(_SENT.get(action.how, ("M",)))
    if how == "leaving":
        return [ConnectionEnd(None)]
    if how in ("accepting", "refusing"):
        state.handshake(connection, handshake_input(sent[0]))
        connection.ending = "HS-9"
    elif how == "refused":
        state.handshake(connection, "request")
        state.handshake(connection, "refuse")
        state.expect(action, f"H{REFUSAL_TEXT}", "HS-4")
        connection.ending = "HS-4"
    else:
        state.expect(action, ACCEPTANCE, "HS-3")
        if how == "noisy":
            state.handshake(connection, "other")
        elif how == "early":
            sent = [*_early_frames(state, action), *sent]
        elif how == "connecting":
            expect_system_ask(state, action, Change.CONNECT, (CONNECTED_AT_ONCE, None))
    return [*sent]


_SENT: Final[Mapping[str, Sequence[Payload]]] = {
    "long": ("Mxyz",),
    "binary": (b"M",),
    "doubled": ("M", "M"),
    "noisy": ("", "noise", b"\x00\xff", "M"),
    "accepting": ("Aown id",),
    "refusing": ("Hno",),
}
"""What is sent to a server instead of its request, by how a connection is opened."""

_FORBIDDEN_BY: Final = {
    "accepting": "HS-9",
    "refusing": "HS-9",
    "refused": "HS-4",
    "doubled": "HS-8",
    "noisy": "FR-16",
}
"""The requirement that forbids messages of a server, by how a connection is opened."""


def _early_frames(state: SutState, action: Action) -> list[Payload]:
    """Give frames that precede the request, and expect their replies after the acceptance."""
    connection = state.connections[action.connection]
    state.handshake(connection, "other")
    token, space = f"$early{action.number}", CONNECTED_AT_ONCE
    connect = Message(token, space, "", REQUEST_EVENT[Change.CONNECT])
    event = Message(f"${action.number}", space, "", f"t{action.number}", body=b"\x00")
    # A server need not hold back frames that come early.
    connected = state.expect(action, connect.empty_reply(), "HS-13", must=False)
    connected.scope, connected.change = (space, None), Change.CONNECT
    connection.undecided.add((space, None))
    # The event may arrive while the server still decides on the connect.
    replies = event.reply(event.event.encode()), event.error_reply(BAD_NAMESPACE)
    state.expect(action, replies, "HS-13", must=False)
    return [encode(connect), encode(event)]


def expect_system_ask(
    state: SutState, action: Action, change: Change, scope: tuple[str, str | None]
) -> bool:
    """Expect a system ask of a server where the tables permit one; say whether they do."""
    connection = state.connections[action.connection]
    if MEMBERSHIP.row(connection.state(scope), change.direction, lambda _: False) is None:
        return False
    if any(each.is_ask for each in connection.expected):
        return False
    asked = Message("?", scope[0], scope[1] or "", REQUEST_EVENT[change])
    state.expect(action, asked, tables.ASK_REQUIREMENTS[change], is_ask=True)
    return True


# -------------------------------------------------------------------- to a client


def _open_to_client(state: SutState, action: Action) -> list[Payload | ConnectionEnd | Output]:
    connection = state.connections[action.connection]
    number, how = action.connection, action.how
    is_disturbed = how in ("noisy", "asking", "doubled")
    state.forbidden_by[action.number] = _ACCEPTED[how] if is_disturbed else "HS-11"
    dialled = state.operations[action.number] = DriverLog(number, "dial")
    if how == "unavailable":
        connection.ending = "TR-1"
        connection.is_over = True
        dialled.settle("TR-1", FAILURE)
        return []
    state.handshake(connection, "start")
    state.expect(action, "M", "HS-1")
    if how.startswith("refused"):
        state.handshake(connection, "refusal")
        connection.ending = "HS-16"
        text = REFUSAL_TEXT if how == "refused" else ""
        dialled.settle("HS-16", OperationOutcome(False, text=text))
        return [f"H{text}", ConnectionEnd(POLICY_VIOLATION)]
    if how in ("reset", "closed"):
        connection.ending = "TR-14" if how == "reset" else "TR-16"
        dialled.outcomes = (FAILURE,)
        return [ConnectionEnd(None if how == "reset" else 1000)]
    connection.id = f" an id; with {number} é" if how == "odd" else f"{FIRST_ID + number}"
    accept: Payload = f"A{connection.id}"
    if how == "binary":
        accept = f"A{connection.id}".encode()
    before = list(_BEFORE.get(how, ()))
    after: list[Payload] = ["A9", b"A", "Hno"] if how == "doubled" else []
    if how in ("early", "joined"):
        (before if how == "early" else after).append(_connect_frame(state, action, _ACCEPTED[how]))
    dialled.settle(_ACCEPTED.get(how, "HS-19"), OperationOutcome(True, given=connection.id))
    for each in before[:1]:
        state.handshake(connection, handshake_input(each))
    state.handshake(connection, "acceptance")
    for each in after:
        state.handshake(connection, handshake_input(each))
    return [*before, Output(number, accept, is_held=how == "joined"), *after]


_BEFORE: Final[Mapping[str, Sequence[Payload]]] = {
    "noisy": ("welcome", "", b"\x00\xff", "a6", ";;;;;"),
    "asking": ("M",),
}
"""What is sent to a client before the acceptance, by how the server opens the connection."""

_ACCEPTED: Final = {
    "binary": "HS-7",
    "noisy": "HS-10",
    "asking": "HS-9",
    "doubled": "HS-8",
    "early": "HS-14",
    "joined": "HS-18",
}
"""The requirement by which a client is connected, by how the server opens the connection."""


def _connect_frame(state: SutState, action: Action, requirement: str) -> Payload:
    """Give a connect ask of the server that comes with the acceptance, and expect the reply."""
    connection = state.connections[action.connection]
    connect = Message(f"{action.number}", CONNECTED_AT_ONCE, "", REQUEST_EVENT[Change.CONNECT])
    expected = state.expect(action, connect.empty_reply(), requirement)
    expected.scope, expected.change = (CONNECTED_AT_ONCE, None), Change.CONNECT
    connection.undecided.add((CONNECTED_AT_ONCE, None))
    return encode(connect)


# -------------------------------------------------------------------- ends and non-frames


def end_connection(state: SutState, action: Action) -> list[Output]:
    """End a connection, with a close frame or without."""
    connection = state.connections[action.connection]
    is_close = action.kind is ActionKind.CLOSE
    state.note(action, f"{action.kind} {connection.path}", "TR-15")
    connection.ending = "TR-16" if is_close else "TR-14"
    state.release(connection)
    return [Output(action.connection, ConnectionEnd(1000 if is_close else None))]


def send_non_frame(state: SutState, action: Action) -> list[Output] | None:
    """Send a payload that is not a frame, and expect it back or reported where it is native."""
    connection = state.connections[action.connection]
    payload = action.body
    exchanges = connection.endpoint.exchanges
    empty = ("", None)
    if exchanges == "both" and (
        empty in connection.undecided or connection.state(empty) in tables.CHANGING
    ):
        return None
    is_native = exchanges == "native" or (exchanges == "both" and connection.is_live(""))
    first = handshake_input(payload)
    if not payload:
        kind, forbidden_by = "empty", "FR-14"
    elif isinstance(payload, str) and payload.count(";") == 5:
        kind, forbidden_by = "five separators", "FR-2"
    elif first == "other" or (payload not in ("M", b"M") and not state.is_client):
        kind = "other"
        forbidden_by = "NM-4" if connection.path and exchanges == "both" else "FR-16"
    else:
        kind, forbidden_by = first, "HS-8"
        if state.is_client and first == "request":
            forbidden_by = "HS-9"
    like = f"{kind} {type(payload).__name__} {connection.path} {is_native}"
    state.note(action, like, forbidden_by)
    state.handshake(connection, first)
    if is_native and payload:
        if state.is_client:
            state.observe_native(action, "NM-2", payload)
        else:
            state.expect(action, payload, "NM-6" if exchanges == "native" else "NM-2")
    return [Output(action.connection, payload)]
