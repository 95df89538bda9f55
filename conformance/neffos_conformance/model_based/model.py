"""What a correct peer with the conformance application does: the oracle of a test sequence.

The model follows the state tables for each connection, namespace and room, and knows the
application (``data/application.toml``). For each action it says what the suite sends, and what
the peer must send or report. It does no I/O: the runner tells it what arrived.

A peer may handle messages one after the other, or go on while a handler waits for the suite. So
while a handler's ask is pending, what is due may come now or after the answer. The model refuses
actions whose effect would depend on which of the two a peer does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from neffos_codec import ESCAPE, Message, encode
from neffos_conformance.cases.features import CONNECT_HEADER, ID_HEADER, REFUSE_HEADER
from neffos_conformance.model_based import tables
from neffos_conformance.model_based.actions import (
    EITHER,
    FAILURE,
    SUCCESS,
    ActionKind,
    Content,
    DriverLog,
    Expectation,
    OperationOutcome,
    Output,
    Payload,
    Scope,
    SuiteAction,
    is_room_of,
)
from neffos_conformance.model_based.frames import ACCEPTANCE, handshake_input
from neffos_conformance.model_based.sending import answer, send
from neffos_conformance.model_based.state import ConnectionState, PeerAsk, SutState
from neffos_conformance.runner.driver_protocol import Values, fields_of
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.payloads import frame_of
from neffos_protocol import Role
from neffos_protocol.events import Change, MembershipKey
from neffos_protocol.names import BAD_NAMESPACE, CHANGE_OF, LOCAL_ONLY, REQUEST_EVENT
from neffos_protocol.state_machines import HANDSHAKE, MEMBERSHIP, OUTGOING_ASK, MembershipState

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


# -------------------------------------------------------------------- opening


@dataclass(frozen=True, slots=True)
class Opening:
    """How a connection opens.

    Attributes:
        requirement: forbids (further) messages of a server; connects a client.
        sent: to a server, instead of its request; to a client, before the acceptance.
        after: sent to a client after the acceptance.
        closed: how the suite ends it then, if it does.
        ending: the requirement by which the connection ends, if it does.
        header: of the upgrade request, name and value; ``{}`` becomes the number of the action.
        needs: the features of a server that it needs.
    """

    requirement: str
    sent: Sequence[Payload] = ()
    after: Sequence[Payload] = ()
    closed: ConnectionClosed | None = None
    ending: str = ""
    header: tuple[str, str] | None = None
    needs: tuple[str, ...] = ()


def _to_server(requirement: str = "HS-12", *sent: Payload, **values: Any) -> Opening:
    return Opening(requirement, sent or ("M",), **values)


def _refusing(refusal: str) -> Opening:
    return Opening("HS-16", (refusal,), closed=ConnectionClosed(POLICY_VIOLATION), ending="HS-16")


OPENINGS: Final[Mapping[Role, Mapping[str, Opening]]] = {
    Role.SERVER: {
        "plain": _to_server(),
        "long": _to_server("HS-12", "Mxyz"),
        "binary": _to_server("HS-12", b"M"),
        "doubled": _to_server("HS-8", "M", "M"),
        "early": _to_server(needs=("any-event",)),  # frames precede the request
        "noisy": _to_server("FR-16", "", "noise", b"\x00\xff", "M"),
        "chosen": _to_server(header=(ID_HEADER, "own;{}"), needs=("chosen-ids",)),
        "connecting": _to_server(
            header=(CONNECT_HEADER, CONNECTED_AT_ONCE), needs=("connecting", "any-event")
        ),
        "refused": _to_server(
            "HS-4", ending="HS-4", header=(REFUSE_HEADER, REFUSAL_TEXT), needs=("refuse",)
        ),
        "accepting": _to_server("HS-9", "Aown id", ending="HS-9"),
        "refusing": _to_server("HS-9", "Hno", ending="HS-9"),
        "leaving": Opening("HS-12", closed=ConnectionClosed(None)),
    },
    Role.CLIENT: {
        "plain": Opening("HS-19"),
        "odd": Opening("HS-19"),  # an unusual ID
        "binary": Opening("HS-7"),  # the acceptance
        "noisy": Opening("HS-10", ("welcome", "", b"\x00\xff", "a6", ";;;;;")),
        "asking": Opening("HS-9", ("M",)),
        "doubled": Opening("HS-8", after=("A9", b"A", "Hno")),
        "early": Opening("HS-14"),  # an ask before the acceptance
        "joined": Opening("HS-18"),  # or in one piece with it
        "refused": _refusing(f"H{REFUSAL_TEXT}"),
        "refused-silently": _refusing("H"),
        "unavailable": Opening("TR-1", ending="TR-1"),
        "reset": Opening("TR-14", closed=ConnectionClosed(None), ending="TR-14"),
        "closed": Opening("TR-16", closed=ConnectionClosed(1000), ending="TR-16"),
    },
}
"""How a connection opens, by the role of the peer under test. The native-only endpoint of a server
has no handshake."""


def open_connection(state: SutState, action: SuiteAction) -> list[Output] | None:
    """Open a connection; ``None`` as for ``SutModel.perform``."""
    if action.connection in state.connections:
        return None
    endpoint = state.endpoints[action.path]
    start = "native-only" if endpoint.exchanges == "native" else state.role.value
    opened = ConnectionState(action.connection, endpoint, HANDSHAKE.initial[start])
    state.connections[action.connection] = opened
    state.note(action, f"open {action.path} {action.how}")
    outputs = (_open_to_client if state.is_client else _open_to_server)(state, action)
    return [
        each if isinstance(each, Output) else Output(action.connection, each) for each in outputs
    ]


def _open_to_server(state: SutState, action: SuiteAction) -> list[Content | Output]:
    connection = state.connections[action.connection]
    how, opening = action.how, OPENINGS[Role.SERVER][action.how]
    state.forbidden_by[action.number] = opening.requirement
    if connection.phase == "open":
        return []
    connection.ending = opening.ending
    if opening.closed:
        return [opening.closed]
    sent = list(opening.sent)
    if how in ("accepting", "refusing"):
        state.handshake(connection, handshake_input(sent[0]))
    elif how == "refused":
        state.handshake(connection, "request")
        state.handshake(connection, "refuse")
        state.expect(action, f"H{REFUSAL_TEXT}", opening.requirement)
    else:
        state.expect(action, ACCEPTANCE, "HS-3")
        if how == "noisy":
            state.handshake(connection, "other")
        elif how == "early":
            sent = [*_early_frames(state, action), *sent]
        elif how == "connecting":
            state.expect_system_ask(action, Change.CONNECT, (CONNECTED_AT_ONCE, None))
    return [*sent]


def _early_frames(state: SutState, action: SuiteAction) -> list[Payload]:
    """Give frames that precede the request, and expect their replies after the acceptance."""
    state.handshake(state.connections[action.connection], "other")
    space = CONNECTED_AT_ONCE
    event = Message(f"${action.number}", space, "", f"t{action.number}", body=b"\x00")
    # A server need not hold back frames that come early.
    connect = _connect_frame(state, action, f"$early{action.number}", "HS-13", must=False)
    # The event may arrive while the server still decides on the connect.
    replies = event.reply(event.event.encode()), event.error_reply(BAD_NAMESPACE)
    state.expect(action, replies, "HS-13", must=False)
    return [connect, encode(event)]


def _open_to_client(state: SutState, action: SuiteAction) -> list[Content | Output]:
    connection = state.connections[action.connection]
    number, how, opening = action.connection, action.how, OPENINGS[Role.CLIENT][action.how]
    is_disturbed = how in ("noisy", "asking", "doubled")
    state.forbidden_by[action.number] = opening.requirement if is_disturbed else "HS-11"
    dialled = state.operations[action.number] = DriverLog(number, "dial")
    connection.ending = opening.ending
    if how == "unavailable":
        connection.is_over = True
        dialled.settle("TR-1", FAILURE)
        return []
    state.handshake(connection, "start")
    state.expect(action, "M", "HS-1")
    before = list(opening.sent)
    if opening.ending == "HS-16":
        state.handshake(connection, "refusal")
        text = REFUSAL_TEXT if how == "refused" else ""
        dialled.settle("HS-16", OperationOutcome(False, text=text))
    elif opening.closed:
        dialled.outcomes = (FAILURE,)
    if opening.closed:
        return [*before, opening.closed]
    connection.id = f" an id; with {number} é" if how == "odd" else f"{FIRST_ID + number}"
    accept: Payload = f"A{connection.id}"
    if how == "binary":
        accept = f"A{connection.id}".encode()
    after = list(opening.after)
    if how in ("early", "joined"):
        connect = _connect_frame(state, action, f"{action.number}", opening.requirement)
        (before if how == "early" else after).append(connect)
    dialled.settle(opening.requirement, OperationOutcome(True, given=connection.id))
    for each in (*before[:1], "A", *after):
        state.handshake(connection, handshake_input(each))
    return [*before, Output(number, accept, is_held=how == "joined"), *after]


def _connect_frame(
    state: SutState, action: SuiteAction, token: str, requirement: str, *, must: bool = True
) -> Payload:
    """Give a connect ask that comes with the handshake, and expect the reply."""
    scope: Scope = (CONNECTED_AT_ONCE, None)
    connect = Message(token, CONNECTED_AT_ONCE, "", REQUEST_EVENT[Change.CONNECT])
    expected = state.expect(action, connect.empty_reply(), requirement, must=must)
    expected.undecided = Change.CONNECT, scope
    state.connections[action.connection].undecided.add(scope)
    return encode(connect)


# -------------------------------------------------------------------- ends and non-frames


def end_connection(state: SutState, action: SuiteAction) -> list[Output]:
    """End a connection, with a close frame or without."""
    connection = state.connections[action.connection]
    is_close = action.kind is ActionKind.CLOSE
    state.note(action, f"{action.kind} {connection.path}", "TR-15")
    connection.ending = "TR-16" if is_close else "TR-14"
    state.release(connection)
    return [Output(action.connection, ConnectionClosed(1000 if is_close else None))]


def send_non_frame(state: SutState, action: SuiteAction) -> list[Output] | None:
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
            requirement = "NM-6" if exchanges == "native" else "NM-2"
            state.expect(action, payload, requirement, order="native")
    return [Output(action.connection, payload)]


# -------------------------------------------------------------------- operations of a client


def command(state: SutState, action: SuiteAction) -> list[Output] | None:
    """Have the client do something; ``None`` as for ``SutModel.perform``."""
    connection = state.connections[action.connection]
    op = action.how
    scope: Scope = (action.namespace, None)
    log = DriverLog(action.connection, op)
    before = connection.state(scope)
    if op == "close":
        state.forbidden_by[action.number] = "TR-15"
        log.settle("TR-12", SUCCESS)
        connection.ending = "TR-12"
        state.release(connection)
    else:
        expect = _EXPECT.get(op, _system_ask)
        if scope in connection.undecided or not expect(state, action, log):
            return None
    endpoint = connection.endpoint
    state.note(
        action,
        f"command {op} {endpoint.kind_of(scope)} {before} {bool(action.room)} "
        f"{type(action.body).__name__} {endpoint.kind_of_event(action.event)} "
        f"{frame_of(action.body) is not None}",
    )
    state.operations[action.number] = log
    return [Output(action.connection, _operation(action))]


def _system_ask(state: SutState, action: SuiteAction, log: DriverLog) -> bool:
    """Have the client send a system ask, where the tables permit one."""
    connection = state.connections[action.connection]
    change, namespace = Change(action.how), action.namespace
    is_room = change.is_of_room
    scope: Scope = (namespace, action.room if is_room else None)
    endpoint = connection.endpoint
    is_declared = namespace in endpoint.handlers and not endpoint.refusal(
        scope, MembershipState.DISCONNECTED, Change.JOIN if is_room else Change.CONNECT
    )
    if not is_declared or scope in connection.undecided:
        return False
    if is_room and connection.state((namespace, None)) != MembershipState.CONNECTED:
        return False
    if any(scope in rooms for rooms in connection.leaving.values()):
        return False
    pending = state.pending_asks(action.connection)
    if any(ask.change is not None and ask.scope == scope for _, ask in pending):
        return False  # the tables do not say which of two asks a late reply would settle
    if MEMBERSHIP.row(connection.state(scope), change.direction, lambda _: False) is None:
        return False
    asked = Message("$", namespace, scope[1] or "", REQUEST_EVENT[change])
    state.expect(action, asked, tables.ASK_REQUIREMENTS[change], is_ask=True)
    state.forbidden_by[action.number] = "NS-14" if change is Change.DISCONNECT else "AR-22"
    state.changed_by[action.connection, scope] = action.number
    return True


def _leave_all(state: SutState, action: SuiteAction, log: DriverLog) -> bool:
    connection = state.connections[action.connection]
    namespace = action.namespace
    rooms = [each for each in connection.memberships if is_room_of(each, namespace)]
    if connection.state((namespace, None)) != MembershipState.CONNECTED:
        return False
    if any(is_room_of(each, namespace) for each in connection.undecided):
        return False
    if any(connection.state(each) != MembershipState.CONNECTED for each in rooms):
        return False
    state.forbidden_by[action.number] = "RM-8"
    if not rooms:
        log.settle("RM-8", *EITHER)
        return True
    connection.leaving[action.number] = list(rooms)
    for scope in rooms:
        asked = Message("$", namespace, scope[1] or "", REQUEST_EVENT[Change.LEAVE])
        state.expect(action, asked, "RM-8", is_ask=True)
        state.changed_by[action.connection, scope] = action.number
    return True


def _event(state: SutState, action: SuiteAction, log: DriverLog) -> bool:
    """Have the client send an event, with a token or without."""
    connection = state.connections[action.connection]
    namespace, room, number = action.namespace, action.room, action.number
    before = connection.state((namespace, None))
    inside = connection.state((namespace, room)) if room else MembershipState.CONNECTED
    if {before, inside} - {MembershipState.CONNECTED, MembershipState.DISCONNECTED} or (
        namespace,
        room,
    ) in connection.undecided:
        return False
    requirement = ""
    if before == MembershipState.DISCONNECTED:
        requirement = "NS-11"
    elif inside == MembershipState.DISCONNECTED:
        requirement = "RM-10"
    elif ESCAPE in action.event:
        requirement = "FR-4"
    elif action.event in LOCAL_ONLY:
        requirement = "EV-5"
    if requirement:
        state.forbidden_by[number] = requirement
        log.settle(requirement, *(EITHER if requirement == "EV-5" else (FAILURE,)))
        return True
    is_ask = action.how == "ask"
    event = Message("$" if is_ask else "", namespace, room, action.event, body=action.body)
    state.expect(action, event, "FR-10", is_ask=is_ask)
    state.forbidden_by[number] = "AR-22"
    if not is_ask:
        log.settle("AR-11", SUCCESS)
    return True


def _native(state: SutState, action: SuiteAction, log: DriverLog) -> bool:
    connection = state.connections[action.connection]
    if (
        connection.state(("", None)) != MembershipState.CONNECTED
        or action.namespace
        or not action.body
    ):
        return False
    state.forbidden_by[action.number] = "NM-3"
    if frame_of(action.body) is not None:
        log.settle("NM-3", FAILURE)
        return True
    state.expect(action, action.body, "FR-11")
    log.settle("AR-11", SUCCESS)
    return True


_EXPECT: Final = {"leave-all": _leave_all, "emit": _event, "ask": _event, "native": _native}
"""What to expect of each operation that sends no system ask."""


def _operation(action: SuiteAction) -> Values:
    """Give an operation with its fields, without its connection."""
    op = action.how
    operation: Values = {"op": op}
    if op not in ("close", "native"):
        operation["namespace"] = action.namespace
        if op in ("join", "leave") or action.room:
            operation["room"] = action.room
    if op in ("emit", "ask"):
        operation["event"] = action.event
    return operation | (fields_of(action.body) if op in ("emit", "ask", "native") else {})


class SutModel(SutState):
    """The model of one peer under test while one test sequence runs."""

    def perform(self, action: SuiteAction) -> list[Output] | None:
        """Give what the suite does in an action, and expect what follows.

        ``None`` where the action is impossible now, or nothing can be said of what follows. Then
        nothing has changed but the notes on the action.
        """
        if action.kind is ActionKind.OPEN:
            return open_connection(self, action)
        connection = self.connections.get(action.connection)
        if connection is None or not connection.is_usable:
            return None
        if action.kind in (ActionKind.CLOSE, ActionKind.RESET):
            return end_connection(self, action)
        if action.kind is ActionKind.NON_FRAME:
            return send_non_frame(self, action)
        if connection.endpoint.exchanges == "native":
            return None
        if action.kind is ActionKind.ANSWER:
            return answer(self, action)
        act = command if action.kind is ActionKind.COMMAND else send
        return act(self, action)

    def arrived(self, expected: Expectation, message: Message | Payload) -> list[Payload]:
        """Note that an expected message arrived; give what the suite answers immediately."""
        connection = self.connections[expected.connection]
        connection.expected.remove(expected)
        connection.held.pop(expected.number, None)
        if not self.is_client and connection.phase == "awaiting" and isinstance(message, str):
            if message.startswith("A"):
                connection.id = message[1:]
            self.handshake(connection, "request")
            self.handshake(connection, "accept")
        if not isinstance(message, Message):
            return []
        if expected.is_ask:
            return self._asked(expected, message)
        if expected.undecided is not None:
            change, scope = expected.undecided
            connection.undecided.discard(scope)
            self.change(expected.number, connection, change, scope)
        return []

    def _asked(self, expected: Expectation, message: Message) -> list[Payload]:
        connection = self.connections[expected.connection]
        number = expected.number
        change = CHANGE_OF.get(message.event)
        scope = MembershipKey.of(change, message.namespace, message.room)
        self.follow(OUTGOING_ASK, "none", "send")
        if number not in connection.leaving:
            self.asks[number] = PeerAsk(expected.connection, message, change, scope)
            if change is not None:
                self.step(number, connection, scope, change.direction)
            return []
        # The asks of leave-all are answered immediately: the sequence does not name each of them.
        rooms = connection.leaving[number]
        rooms.remove(scope)
        self.step(number, connection, scope, "disconnect")
        self.step(number, connection, scope, "disconnect-done")
        self.follow(OUTGOING_ASK, "pending", "reply")
        connection.last_ended = 0
        if not rooms:
            del connection.leaving[number]
            self.operations[number].settle("RM-8", SUCCESS)
        return [encode(message.empty_reply())]
