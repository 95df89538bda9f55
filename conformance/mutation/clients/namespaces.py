"""Clients that are wrong about namespaces."""

from __future__ import annotations

import asyncio

from mutation.client_faults import (
    ClientFault,
    Do,
    Hand,
    Payload,
    Said,
    answered,
    changed,
    client_fault,
    dropped,
    frame_of,
)
from neffos_codec import Message, encode
from neffos_conformance.runner.driver_protocol import OperationError, Values

CONNECT = "_OnNamespaceConnect"
DISCONNECT = "_OnNamespaceDisconnect"
JOIN = "_OnRoomJoin"
LEAVE = "_OnRoomLeave"
REQUESTS = frozenset({CONNECT, DISCONNECT, JOIN, LEAVE})


def _tokened(event: str, *, is_no_op: bool) -> ClientFault:
    """Make lies that carry out a request which is to be ignored, without answering it."""

    def change(message: Message) -> Message:
        if message.event != event or not (message.is_no_op if is_no_op else not message.wait):
            return message
        return message.replace(wait="own", is_no_op=False)

    return ClientFault(hears=changed(change), says=dropped(lambda m: m.wait == "own"))


@client_fault("NS-1")
def deaf_where_it_was_put(_: Hand) -> ClientFault:
    """Drops the events of a namespace that the server connected it to."""
    first: list[str] = []

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        if message and message.event == CONNECT:
            first.append("client")
        return [said]

    def is_unwanted(message: Message) -> bool:
        if message.event == CONNECT and message.wait and message.namespace == "app":
            first.append("server")
        is_event = message.event not in REQUESTS and not message.wait.startswith("$")
        return is_event and message.namespace == "app" and first[:1] == ["server"]

    return ClientFault(says=says, hears=dropped(is_unwanted))


@client_fault("NS-2")
def connects_without_token(_: Hand) -> ClientFault:
    """Carries out a connect that has no token."""
    return _tokened(CONNECT, is_no_op=False)


@client_fault("NS-2")
def connects_with_no_op(_: Hand) -> ClientFault:
    """Carries out a connect with isNoOp."""
    return _tokened(CONNECT, is_no_op=True)


@client_fault("NS-3")
def another_text_for_unknown(_: Hand) -> ClientFault:
    """Refuses an unknown namespace in other words."""

    def change(message: Message) -> Message:
        is_one = message.event == CONNECT and message.body == "bad namespace"
        return message.replace(body="no such namespace") if is_one else message

    return ClientFault(says=changed(change))


@client_fault("NS-4")
def application_not_asked(_: Hand) -> ClientFault:
    """Connects what its application refuses."""

    def answer(message: Message) -> Message | None:
        is_one = message.event == CONNECT and message.namespace == "unwanted"
        return message.empty_reply() if is_one else None

    return answered(answer)


@client_fault("NS-5")
def connected_once(_: Hand) -> ClientFault:
    """Refuses to be connected to a namespace that is connected, or about to be."""
    connected: set[str] = set()

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        if message and message.event == CONNECT and message.wait.startswith("$"):
            connected.add(message.namespace)
        return [said]

    def answer(message: Message) -> Message | None:
        if message.event == DISCONNECT:
            connected.discard(message.namespace)
        is_one = message.event == CONNECT and message.namespace in connected
        is_ask = message.wait and not message.wait.startswith("$")
        return message.error_reply("connected already") if is_one and is_ask else None

    lies = answered(answer)
    return ClientFault(says=says, hears=lies.hears, interjects=lies.interjects)


@client_fault("NS-6")
def events_outlive_their_namespace(_: Hand) -> ClientFault:
    """Goes on handling the events of a namespace that was disconnected."""
    disconnected: set[str] = set()

    def answer(message: Message) -> Message | None:
        if message.event == DISCONNECT:
            disconnected.add(message.namespace)
        is_late = message.event == "echo" and message.namespace in disconnected
        return message if is_late and not message.wait else None

    return answered(answer)


@client_fault("NS-8")
def nothing_to_disconnect(_: Hand) -> ClientFault:
    """Refuses to disconnect what is not connected."""
    connected: set[str] = set()

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        if message and message.event == CONNECT:
            connected.add(message.namespace)
        return [said]

    def answer(message: Message) -> Message | None:
        if message.event == CONNECT:
            connected.add(message.namespace)
        is_one = message.event == DISCONNECT and message.namespace not in connected
        return message.error_reply("it is not connected") if is_one and message.wait else None

    lies = answered(answer)
    return ClientFault(says=says, hears=lies.hears, interjects=lies.interjects)


@client_fault("NS-9")
def errors_from_nowhere(_: Hand) -> ClientFault:
    """Handles an event of a namespace that is not connected, and sends its error."""
    return answered(
        lambda m: (
            m.error_reply(str(m.body))
            if m.event == "fail" and m.namespace == "any" and not m.wait
            else None
        )
    )


@client_fault("NS-9")
def errors_answered(_: Hand) -> ClientFault:
    """Answers an error for a namespace that is not connected with an error."""
    connected: list[bool] = []

    def answer(message: Message) -> Message | None:
        if message.wait.startswith("$"):
            connected.append(True)
        is_one = message.is_error and message.event == "echo" and message.wait and not connected
        return message.error_reply("bad namespace") if is_one else None

    return answered(answer)


@client_fault("NS-9")
def deaf_while_it_connects(_: Hand) -> ClientFault:
    """Reads nothing more once an event comes for a namespace that it is connecting."""
    connecting: set[str] = set()
    is_deaf: list[bool] = []

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        if said == "M":
            connecting.clear()
            is_deaf.clear()
        elif message and message.event == CONNECT and message.wait.startswith("$"):
            connecting.add(message.namespace)
        return [said]

    def is_missed(message: Message) -> bool:
        if message.wait.startswith("$"):
            connecting.clear()
        if message.namespace in connecting and message.event not in REQUESTS and not message.wait:
            is_deaf.append(True)
        return bool(is_deaf)

    return ClientFault(says=says, hears=dropped(is_missed))


@client_fault("NS-10")
def disconnects_without_token(_: Hand) -> ClientFault:
    """Carries out a disconnect that has no token."""
    return _tokened(DISCONNECT, is_no_op=False)


@client_fault("NS-10")
def joins_without_token(_: Hand) -> ClientFault:
    """Carries out a join that has no token."""
    return _tokened(JOIN, is_no_op=False)


@client_fault("NS-10")
def leaves_with_no_op(_: Hand) -> ClientFault:
    """Carries out a leave with isNoOp."""
    return _tokened(LEAVE, is_no_op=True)


@client_fault("NS-11")
def speaks_where_it_is_not(hand: Hand) -> ClientFault:
    """Sends events and asks for namespaces that are not connected."""

    async def does(do: Do, op: str, fields: Values) -> Values:
        try:
            return await do(op, **fields)
        except OperationError:
            if op in ("emit", "ask") and not fields.get("room") and not hand.was_left:
                token = "$own" if op == "ask" else ""
                place = {"namespace": fields["namespace"], "event": fields["event"]}
                if token == "" or fields["namespace"] == "any":
                    hand.say(encode(Message(wait=token, **place, body=fields["text"])))
            raise

    return ClientFault(does=does)


@client_fault("NS-12")
def errors_carried_out(_: Hand) -> ClientFault:
    """Carries out a request with isError."""

    def change(message: Message) -> Message:
        is_own = message.wait.startswith("$")
        is_one = message.event in REQUESTS and not is_own
        return message.replace(is_error=False, body="") if is_one else message

    return ClientFault(hears=changed(change))


@client_fault("NS-13")
def stays_where_its_rooms_are(_: Hand) -> ClientFault:
    """Refuses to be disconnected while it is in a room."""
    rooms: set[str] = set()

    def answer(message: Message) -> Message | None:
        if message.event == JOIN and message.wait:
            rooms.add(message.room)
        if message.event == LEAVE:
            rooms.discard(message.room)
        is_one = message.event == DISCONNECT and rooms and message.wait
        return message.error_reply("I like it here") if is_one else None

    return answered(answer)


@client_fault("NS-13")
def leaves_no_room(_: Hand) -> ClientFault:
    """Refuses to leave a room that it has joined."""
    rooms: set[str] = set()

    def answer(message: Message) -> Message | None:
        if message.event == JOIN and message.wait:
            rooms.add(message.room)
        is_one = message.event == LEAVE and message.room in rooms and message.wait
        return message.error_reply("I like it here") if is_one else None

    return answered(answer)


@client_fault("NS-14")
def leaves_rooms_one_by_one(_: Hand) -> ClientFault:
    """Says that it leaves its rooms when their namespace is disconnected."""
    rooms: dict[str, None] = {}
    ends: set[str] = set()

    def hears(payload: Payload) -> list[Payload]:
        message = frame_of(payload)
        if message and message.wait:
            if message.event == JOIN:
                rooms[message.room] = None
            elif message.event == LEAVE:
                rooms.pop(message.room, None)
            elif message.event == DISCONNECT:
                ends.add(message.wait)
        return [payload]

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        if message is None or not (message.wait in ends or message.event == DISCONNECT):
            return [said]
        return [said, *(f"$own;app;{room};_OnRoomLeave;0;0;" for room in rooms)]

    return ClientFault(hears=hears, says=says)


@client_fault("NS-14")
def rooms_outlive_their_namespace(hand: Hand) -> ClientFault:
    """Counts its rooms as joined when their namespace is connected again."""
    disconnected: list[bool] = []

    def hears(payload: Payload) -> list[Payload]:
        message = frame_of(payload)
        if message and message.event == DISCONNECT and message.wait and not message.is_error:
            disconnected.append(True)
        return [payload]

    async def does(do: Do, op: str, fields: Values) -> Values:
        try:
            return await do(op, **fields)
        except OperationError:
            if op == "emit" and fields.get("room") and disconnected:
                return {}
            raise

    return ClientFault(hears=hears, does=does)


@client_fault("NS-15")
def empty_namespace_is_always_there(_: Hand) -> ClientFault:
    """Handles the events of the empty namespace before it is connected."""
    connected: list[bool] = []

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        if message and message.event == CONNECT and not message.namespace:
            connected.append(True)
        return [said]

    def answer(message: Message) -> Message | None:
        is_one = message.event == "echo" and not message.namespace and not connected
        return message if is_one else None

    lies = answered(answer)
    return ClientFault(says=says, hears=lies.hears, interjects=lies.interjects)


@client_fault("NS-15")
def no_namespace_without_name(_: Hand) -> ClientFault:
    """Has no namespace without a name."""
    return answered(
        lambda m: (
            m.error_reply("bad namespace")
            if m.event == CONNECT and not m.namespace and m.wait
            else None
        )
    )


@client_fault("NS-16")
def slow_to_connect(_: Hand) -> ClientFault:
    """Misses events that follow closely on the reply to its connect."""
    connecting: list[str] = []

    def is_early(message: Message) -> bool:
        is_event = bool(message.event) and message.event not in REQUESTS
        return is_event and message.namespace in connecting

    async def does(do: Do, op: str, fields: Values) -> Values:
        if op != "connect":
            return await do(op, **fields)
        connecting.append(fields["namespace"])
        try:
            return await do(op, **fields)
        finally:
            connecting.remove(fields["namespace"])

    return ClientFault(hears=dropped(is_early), does=does)


@client_fault("NS-17")
def silent_where_it_is_not(_: Hand) -> ClientFault:
    """Does not answer asks in a namespace that is not connected."""
    return ClientFault(says=dropped(lambda m: m.body == "bad namespace" and m.event != CONNECT))


@client_fault("NS-18")
def asks_outlive_their_namespace(_: Hand) -> ClientFault:
    """Leaves its asks pending when their namespace is disconnected."""
    disconnected: list[bool] = []

    def hears(payload: Payload) -> list[Payload]:
        message = frame_of(payload)
        if message and message.event == DISCONNECT and message.wait:
            disconnected.append(True)
        return [payload]

    async def does(do: Do, op: str, fields: Values) -> Values:
        try:
            return await do(op, **fields)
        except OperationError:
            if op == "ask" and disconnected:
                await asyncio.Event().wait()
            raise

    return ClientFault(hears=hears, does=does)


@client_fault("NS-18")
def replies_outlive_their_namespace(_: Hand) -> ClientFault:
    """Sends the reply of a handler whose namespace was disconnected meanwhile."""
    asked: list[Message] = []
    disconnected: list[bool] = []

    def interjects(payload: Payload) -> list[Payload]:
        message = frame_of(payload)
        if message is None:
            return []
        if message.event == "relay":
            asked.append(message)
        if message.event == DISCONNECT:
            disconnected.append(True)
        is_late = message.wait.startswith("$") and disconnected and asked
        return [encode(asked.pop())] if is_late else []

    return ClientFault(interjects=interjects)
