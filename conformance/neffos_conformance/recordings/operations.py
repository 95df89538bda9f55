"""The operations that make a client do what a recorded client did.

The client under test runs the client's part of the conformance application
(``spec/docs/application.md``); its handlers act without an operation. A step that no operation
brings about is named, and is not a difference between two clients.
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
from neffos_protocol import Change, Conversation, PeerState
from neffos_protocol.names import BAD_NAMESPACE, CHANGE_OF, LOCAL_ONLY, NATIVE_EVENT

REQUEST: Final = "M"

RELAY: Final = "relay"
RELAYED: Final = "echo"
"""The handler that asks the server itself, and what it asks."""

HANDLED: Final = frozenset({"echo", "question", "fail", RELAY})
"""The events that the client's handlers answer."""

RECONNECTION: Final = "x-websocket-reconnect"


class CannotError(Exception):
    """No operation brings about what a recorded client did; the text says where and what."""

    def __init__(self, step: RecordedStep, why: str) -> None:
        super().__init__(f"line {step.entry.line}: {why}")


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

    conversation: Conversation = field(default_factory=Conversation)
    is_dialled: bool = False
    was_requested: bool = False
    answered: set[int] = field(default_factory=set)
    was_closed: bool = False
    # What the server sent and a handler has yet to answer: asks by their numbers, and frames
    # without a token by namespace, room and event (AR-10).
    asks: dict[int, RecordedStep] = field(default_factory=dict)
    emitted: dict[tuple[str, str, str], list[RecordedStep]] = field(default_factory=dict)
    to_relay: Counter[tuple[str, str | bytes]] = field(default_factory=Counter)

    @property
    def state(self) -> PeerState:
        return self.conversation.client


def operations(session: RecordedSession) -> dict[int, Operation]:
    """Give the operations, each by the number of the step that it brings about.

    Args:
        session: a session whose live peer is the client.

    Raises:
        CannotError: there is none for one of its steps.
    """
    clients: dict[int, _Client] = {}
    found: dict[int, Operation] = {}
    for step in session.steps:
        client = clients.setdefault(step.entry.connection, _Client())
        if step.part is Part.LATE:
            continue
        client.was_closed |= step.part is Part.END and not step.is_live
        operation = _operation(client, step, session) if step.is_live else None
        if operation is not None:
            found[step.number] = operation
        if isinstance(step.entry.content, str | bytes):
            client.conversation.take("client" if step.is_live else "server", step.entry.content)
        if not step.is_live:
            _receive(client, step)
    for client in clients.values():
        left = [
            *client.asks.values(),
            *(each for queue in client.emitted.values() for each in queue),
        ]
        if left and not client.was_closed:
            raise CannotError(left[0], "the application under test would answer this")
    return found


def _operation(client: _Client, step: RecordedStep, session: RecordedSession) -> Operation | None:
    content = step.entry.content
    if isinstance(content, ConnectionOpened):
        client.is_dialled = True
        return _dial(step, content)
    if step.part is Part.REQUEST:
        if content != REQUEST:
            raise CannotError(step, f"a driver's client begins with {REQUEST!r} (HS-2)")
        client.was_requested = True
        is_first, client.is_dialled = not client.is_dialled, True
        return Operation("dial", {"path": ""}) if is_first else None
    if client.conversation.is_refused and step.part is Part.END:
        return None
    if not client.was_requested:
        raise CannotError(step, "a driver's client begins with the handshake (HS-1)")
    if not client.conversation.is_accepted:
        raise CannotError(step, "a driver's client does not go on before the acceptance (HS-11)")
    if step.part is Part.END:
        return Operation("close")
    if step.message is None:
        if not client.state.is_connected(""):
            raise CannotError(step, "no driver can be told to send a native message here")
        assert isinstance(content, str | bytes)  # noqa: S101  # only messages are left
        return Operation("native", _body(step, content))
    if step.part is Part.REPLY:
        _reply(client, step, step.message, session)
        return None
    if step.message.is_no_op or step.message.event in LOCAL_ONLY | {NATIVE_EVENT}:
        raise CannotError(step, "no driver can be told to send such a frame")
    if step.token and parse_wait(step.token).kind is not WaitKind.CLIENT_ASK:
        raise CannotError(step, f"a driver's client makes no token such as {step.token!r} (AR-2)")
    if step.message.event in CHANGE_OF:
        return _change(client, step, step.message)
    return _event(client, step, step.message)


def _dial(step: RecordedStep, opened: ConnectionOpened) -> Operation:
    names = [name.lower() for name in opened.headers]
    if RECONNECTION in names or RECONNECTION in unquote(opened.path).lower():
        raise CannotError(step, "when a client reconnects, no operation says")
    fields: dict[str, Any] = {"path": opened.path}
    if opened.headers:
        fields["headers"] = dict(opened.headers)
    return Operation("dial", fields)


def _change(client: _Client, step: RecordedStep, message: Message) -> Operation:
    change = CHANGE_OF[message.event]
    of_room = change in (Change.JOIN, Change.LEAVE)
    is_usual = step.token and not message.is_error and message.body == ""
    if not is_usual or (message.room and not of_room):
        raise CannotError(step, f"no driver can be told to {change} like this")
    name, room = message.namespace, message.room
    state = client.state
    is_there = state.is_joined(name, room) if of_room else state.is_connected(name)
    is_pending = any(
        (each.namespace, each.room, each.change) == (name, room, change)
        for each in state.pending.values()
    )
    if change is Change.CONNECT and name not in NAMESPACES:
        raise CannotError(step, f"the application under test does not declare {name!r}")
    if of_room and not room:
        raise CannotError(step, "a driver's client names a room (RM-12)")
    if of_room and not state.is_connected(name):
        raise CannotError(step, f"{name!r} is not connected (RM-2)")
    if is_there is (change in (Change.CONNECT, Change.JOIN)) or is_pending:
        raise CannotError(step, f"a driver's client has no need to {change} here")
    return Operation(change.value, {"namespace": name, **({"room": room} if of_room else {})})


def _event(client: _Client, step: RecordedStep, message: Message) -> Operation | None:
    name, room, event = key = message.namespace, message.room, message.event
    if not step.token and client.emitted.get(key):
        _handled(step, client.emitted[key].pop(0).message, message)
        return None
    relayed = name, message.body
    if step.token and event == RELAYED and not room and client.to_relay[relayed]:
        client.to_relay[relayed] -= 1
        return None
    if message.is_error:
        raise CannotError(step, "no driver can be told to send an error that answers nothing")
    if not client.state.is_connected(name):
        raise CannotError(step, f"{name!r} is not connected, and no client sends there (NS-11)")
    if room and not client.state.is_joined(name, room):
        raise CannotError(step, f"{room!r} is not joined, and no client sends there (RM-10)")
    fields = {"namespace": name, "event": event, **_body(step, message.body)}
    if room:
        fields["room"] = room
    return Operation("ask" if step.token else "emit", fields)


def _body(step: RecordedStep, body: str | bytes) -> dict[str, Any]:
    if isinstance(body, str) and first_surrogate(body) >= 0:
        raise CannotError(step, "no driver can be told to send text that is no UTF-8 (FR-10)")
    return fields_of(body)


def _reply(client: _Client, step: RecordedStep, reply: Message, session: RecordedSession) -> None:
    asked = session.steps[step.asked].message
    if asked is None or step.asked in client.answered:
        raise CannotError(step, "no driver can be told to reply twice (AR-22)")
    client.answered.add(step.asked)
    client.asks.pop(step.asked, None)
    if asked.event not in CHANGE_OF:
        _handled(step, asked, reply)
    elif not reply.is_empty_reply and reply.body != BAD_NAMESPACE:
        raise CannotError(step, "the application under test refuses nothing that a server asks")


def _handled(step: RecordedStep, asked: Message | None, reply: Message) -> None:
    """See that the handler of the application under test would give this reply."""
    if asked is None or asked.event not in HANDLED:
        event = asked and asked.event
        raise CannotError(step, f"the application under test does not answer {event!r}")
    if asked.event == RELAY or asked.is_error:
        return
    if reply.is_error is not (asked.event == "fail") or reply.body != asked.body:
        raise CannotError(step, f"the application under test answers {asked.event!r} otherwise")


def _receive(client: _Client, step: RecordedStep) -> None:
    """Record what the client has to answer."""
    message = step.message
    if message is None or step.asked != NO_ASK:
        return
    if message.event in CHANGE_OF:
        if message.wait and not message.is_no_op:
            client.asks[step.number] = step
        return
    if message.event not in HANDLED or not client.state.is_connected(message.namespace):
        return
    if message.event == RELAY:
        client.to_relay[message.namespace, message.body] += 1
    if message.wait:
        client.asks[step.number] = step
    else:
        key = message.namespace, message.room, message.event
        client.emitted.setdefault(key, []).append(step)
