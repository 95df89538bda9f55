"""What a driver is to be told so that its client does what a recorded client did.

The client under test runs the client's side of the conformance application
(``spec/docs/application.md``); what its handlers do of themselves needs no operation. What no
driver can be told to do is named, and is no difference between two clients.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote

from neffos_codec import Message, WaitKind, first_surrogate, parse_wait
from neffos_conformance.recordings.session import NO_ASK, Part, RecordedSession, RecordedStep
from neffos_conformance.reference.client_driver import NAMESPACES
from neffos_conformance.runner.driver_protocol import fields_of
from neffos_conformance.wire.transcript import ConnectionOpened
from neffos_protocol import Change
from neffos_protocol.names import BAD_NAMESPACE, CHANGE_OF, LOCAL_ONLY, NATIVE_EVENT

REQUEST: Final = "M"

RELAY: Final = "relay"
RELAYED: Final = "echo"
"""The handler that asks the server itself, and what it asks."""

HANDLED: Final = frozenset({"echo", "question", "fail", RELAY})
"""The events that the client's handlers answer."""

RECONNECTION: Final = "x-websocket-reconnect"


class CannotError(Exception):
    """A recorded client did what no driver can be told to do; the text says where and what."""

    def __init__(self, line: RecordedStep, why: str) -> None:
        super().__init__(f"line {line.entry.line}: {why}")


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation of the driver protocol.

    Attributes:
        op: its name.
        fields: its fields but for ``connection``; a ``dial`` has ``path`` in place of ``url``.
    """

    op: str
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _Client:
    """What is known of the recorded client on one connection."""

    is_dialled: bool = False
    was_asked_in: bool = False
    was_accepted: bool = False
    was_refused: bool = False
    namespaces: set[str] = field(default_factory=set)
    rooms: set[tuple[str, str]] = field(default_factory=set)
    changing: dict[int, Message] = field(default_factory=dict)
    answered: set[int] = field(default_factory=set)
    was_ended: bool = False
    # What the server sent and a handler has yet to answer: asks by their numbers, and frames
    # without a token by namespace, room and event (AR-10).
    asks: dict[int, RecordedStep] = field(default_factory=dict)
    untold: dict[tuple[str, str, str], list[RecordedStep]] = field(default_factory=dict)
    to_relay: Counter[tuple[str, str | bytes]] = field(default_factory=Counter)


def operations(script: RecordedSession) -> dict[int, Operation]:
    """Give the operations, each by the number of the line that it is to bring about.

    Args:
        script: a session whose live side is the client.

    Raises:
        CannotError: there is none for one of its lines.
    """
    clients: dict[int, _Client] = {}
    found: dict[int, Operation] = {}
    for line in script.lines:
        client = clients.setdefault(line.entry.connection, _Client())
        if line.part is Part.LATE:
            continue
        client.was_ended |= line.part is Part.END and not line.is_live
        operation = _operation(client, line, script) if line.is_live else None
        if operation is not None:
            found[line.number] = operation
        if not line.is_live:
            _hear(client, line)
    for client in clients.values():
        left = [
            *client.asks.values(),
            *(each for queue in client.untold.values() for each in queue),
        ]
        if left and not client.was_ended:
            raise CannotError(left[0], "the application under test would answer this")
    return found


def _operation(client: _Client, line: RecordedStep, script: RecordedSession) -> Operation | None:
    content = line.entry.content
    if isinstance(content, ConnectionOpened):
        client.is_dialled = True
        return _dial(line, content)
    if line.part is Part.REQUEST:
        if content != REQUEST:
            raise CannotError(line, f"a driver's client asks to be let in with {REQUEST!r} (HS-2)")
        client.was_asked_in = True
        is_first, client.is_dialled = not client.is_dialled, True
        return Operation("dial", {"path": ""}) if is_first else None
    if client.was_refused and line.part is Part.END:
        return None
    if not client.was_asked_in:
        raise CannotError(line, "a driver's client begins with the handshake (HS-1)")
    if not client.was_accepted:
        raise CannotError(line, "a driver's client does not go on before it is let in (HS-11)")
    if line.part is Part.END:
        return Operation("close")
    if line.message is None:
        if "" not in client.namespaces:
            raise CannotError(line, "no driver can be told to send what is no frame here")
        assert isinstance(content, str | bytes)  # noqa: S101  # what is left are messages
        return Operation("native", _body(line, content))
    if line.part is Part.REPLY:
        _reply(client, line, line.message, script)
        return None
    if line.message.is_no_op or line.message.event in LOCAL_ONLY | {NATIVE_EVENT}:
        raise CannotError(line, "no driver can be told to send such a frame")
    if line.token and parse_wait(line.token).kind is not WaitKind.CLIENT_ASK:
        raise CannotError(line, f"a driver's client makes no token such as {line.token!r} (AR-2)")
    if line.message.event in CHANGE_OF:
        return _change(client, line, line.message)
    return _event(client, line, line.message)


def _dial(line: RecordedStep, opened: ConnectionOpened) -> Operation:
    names = [name.lower() for name in opened.headers]
    if RECONNECTION in names or RECONNECTION in unquote(opened.path).lower():
        raise CannotError(line, "when a client reconnects, no operation says")
    fields: dict[str, Any] = {"path": opened.path}
    if opened.headers:
        fields["headers"] = dict(opened.headers)
    return Operation("dial", fields)


def _change(client: _Client, line: RecordedStep, message: Message) -> Operation:
    change = CHANGE_OF[message.event]
    of_room = change in (Change.JOIN, Change.LEAVE)
    is_usual = line.token and not message.is_error and message.body == ""
    if not is_usual or (message.room and not of_room):
        raise CannotError(line, f"no driver can be told to {change} like this")
    name, room = message.namespace, message.room
    is_there = (name, room) in client.rooms if of_room else name in client.namespaces
    is_pending = any(
        (each.namespace, each.room, each.event) == (name, room, message.event)
        for each in client.changing.values()
    )
    if change is Change.CONNECT and name not in NAMESPACES:
        raise CannotError(line, f"the application under test does not declare {name!r}")
    if of_room and not room:
        raise CannotError(line, "a driver's client names a room (RM-12)")
    if of_room and name not in client.namespaces:
        raise CannotError(line, f"{name!r} is not connected (RM-2)")
    if is_there is (change in (Change.CONNECT, Change.JOIN)) or is_pending:
        raise CannotError(line, f"a driver's client has no need to {change} here")
    client.changing[line.number] = message
    return Operation(change.value, {"namespace": name, **({"room": room} if of_room else {})})


def _event(client: _Client, line: RecordedStep, message: Message) -> Operation | None:
    name, room, event = where = message.namespace, message.room, message.event
    if not line.token and client.untold.get(where):
        _handled(line, client.untold[where].pop(0).message, message)
        return None
    relayed = name, message.body
    if line.token and event == RELAYED and not room and client.to_relay[relayed]:
        client.to_relay[relayed] -= 1
        return None
    if message.is_error:
        raise CannotError(line, "no driver can be told to send an error that answers nothing")
    if name not in client.namespaces:
        raise CannotError(line, f"{name!r} is not connected, and no client sends there (NS-11)")
    if room and (name, room) not in client.rooms:
        raise CannotError(line, f"{room!r} is not joined, and no client sends there (RM-10)")
    fields = {"namespace": name, "event": event, **_body(line, message.body)}
    if room:
        fields["room"] = room
    return Operation("ask" if line.token else "emit", fields)


def _body(line: RecordedStep, body: str | bytes) -> dict[str, Any]:
    if isinstance(body, str) and first_surrogate(body) >= 0:
        raise CannotError(line, "no driver can be told to send text that is no UTF-8 (FR-10)")
    return fields_of(body)


def _reply(client: _Client, line: RecordedStep, reply: Message, script: RecordedSession) -> None:
    asked = script.lines[line.asked].message
    if asked is None or line.asked in client.answered:
        raise CannotError(line, "no driver can be told to reply twice (AR-22)")
    client.answered.add(line.asked)
    client.asks.pop(line.asked, None)
    if asked.event not in CHANGE_OF:
        _handled(line, asked, reply)
    elif reply.is_empty_reply:
        _apply(client, asked)
    elif reply.body != BAD_NAMESPACE:
        raise CannotError(line, "the application under test refuses nothing that a server asks")


def _handled(line: RecordedStep, asked: Message | None, reply: Message) -> None:
    """See that the handler of the application under test would answer like this."""
    if asked is None or asked.event not in HANDLED:
        event = asked and asked.event
        raise CannotError(line, f"the application under test does not answer {event!r}")
    if asked.event == RELAY or asked.is_error:
        return
    if reply.is_error is not (asked.event == "fail") or reply.body != asked.body:
        raise CannotError(line, f"the application under test answers {asked.event!r} otherwise")


def _hear(client: _Client, line: RecordedStep) -> None:
    """Take note of what the server did."""
    client.was_accepted |= line.part is Part.ACCEPTANCE
    client.was_refused |= line.part is Part.REFUSAL
    message = line.message
    if message is None:
        return
    if line.asked != NO_ASK:
        asked = client.changing.pop(line.asked, None)
        if asked is not None and message.is_empty_reply:
            _apply(client, asked)
        return
    if message.event in CHANGE_OF:
        if message.wait and not message.is_no_op:
            client.asks[line.number] = line
        return
    if message.event not in HANDLED or message.namespace not in client.namespaces:
        return
    if message.event == RELAY:
        client.to_relay[message.namespace, message.body] += 1
    if message.wait:
        client.asks[line.number] = line
    else:
        where = message.namespace, message.room, message.event
        client.untold.setdefault(where, []).append(line)


def _apply(client: _Client, asked: Message) -> None:
    name, room = asked.namespace, asked.room
    match CHANGE_OF[asked.event]:
        case Change.CONNECT:
            client.namespaces.add(name)
        case Change.DISCONNECT:
            client.namespaces.discard(name)
            client.rooms = {each for each in client.rooms if each[0] != name}
        case Change.JOIN:
            client.rooms.add((name, room))
        case Change.LEAVE:
            client.rooms.discard((name, room))
