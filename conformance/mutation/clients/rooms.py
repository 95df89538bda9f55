"""Clients that are wrong about rooms."""

from __future__ import annotations

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
    untold,
)
from neffos_codec import Message, encode
from neffos_conformance.runner.driver_protocol import OperationError, Values

JOIN = "_OnRoomJoin"
LEAVE = "_OnRoomLeave"


def _speaking(hand: Hand, rooms: set[str]) -> ClientFault:
    """Make lies that send events to some rooms though they are not joined."""

    async def does(do: Do, op: str, fields: Values) -> Values:
        try:
            return await do(op, **fields)
        except OperationError:
            room = fields.get("room", "")
            if op != "emit" or room not in rooms:
                raise
            place = {"namespace": fields["namespace"], "event": fields["event"], "room": room}
            hand.say(encode(Message(**place, body=fields["text"])))
            return {}

    return ClientFault(does=does)


@client_fault("RM-1")
def joined_without_notice(_: Hand) -> ClientFault:
    """Does not tell its application that a room is joined."""
    return ClientFault(tells=untold(saw="joined"))


@client_fault("RM-2")
def speaks_where_it_was_taken_out(hand: Hand) -> ClientFault:
    """Goes on speaking in a room that the server took it out of."""
    left: set[str] = set()

    def hears(payload: Payload) -> list[Payload]:
        message = frame_of(payload)
        if message and message.event == LEAVE and message.wait and not message.is_error:
            left.add(message.room)
        return [payload]

    return ClientFault(hears=hears, does=_speaking(hand, left).does)


@client_fault("RM-3")
def application_not_asked_of_rooms(_: Hand) -> ClientFault:
    """Joins the rooms that its application refuses."""

    def answer(message: Message) -> Message | None:
        is_one = message.event == JOIN and message.room == "unwanted"
        return message.empty_reply() if is_one else None

    return answered(answer)


@client_fault("RM-4")
def joined_once(_: Hand) -> ClientFault:
    """Refuses to join a room that is joined."""
    joined: set[str] = set()

    def answer(message: Message) -> Message | None:
        if message.event != JOIN or not message.wait:
            return None
        if message.room in joined:
            return message.error_reply("joined already")
        joined.add(message.room)
        return None

    return answered(answer)


@client_fault("RM-5")
def nothing_to_leave(_: Hand) -> ClientFault:
    """Refuses to leave a room that is not joined."""
    joined: set[str] = set()

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        if message and message.event == JOIN:
            joined.add(message.room)
        return [said]

    def answer(message: Message) -> Message | None:
        if message.event == JOIN:
            joined.add(message.room)
        is_one = message.event == LEAVE and message.room not in joined and message.wait
        return message.error_reply("bad room") if is_one else None

    lies = answered(answer)
    return ClientFault(says=says, hears=lies.hears, interjects=lies.interjects)


@client_fault("RM-6")
def rooms_without_namespace(hand: Hand) -> ClientFault:
    """Counts a room as joined that it was asked to join in a namespace that is not connected."""
    joined: set[str] = set()
    connected: set[str] = set()

    def hears(payload: Payload) -> list[Payload]:
        message = frame_of(payload)
        if message and message.event == "_OnNamespaceConnect":
            connected.add(message.namespace)
        if message and message.event == JOIN and not connected and not hand.was_left:
            joined.add(message.room)
        return [payload]

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        if message and message.event == "_OnNamespaceConnect":
            connected.add(message.namespace)
        return [said]

    return ClientFault(hears=hears, says=says, does=_speaking(hand, joined).does)


@client_fault("RM-8")
def leaves_one_room_for_all(_: Hand) -> ClientFault:
    """Leaves one room where it is to leave all."""
    state: list[str] = []

    async def does(do: Do, op: str, fields: Values) -> Values:
        if op == "leave-all":
            state.append(op)
        return await do(op, **fields)

    def is_one_too_many(message: Message) -> bool:
        if message.event != LEAVE or not state:
            return False
        state.append(message.room)
        return len(state) > 2

    return ClientFault(does=does, says=dropped(is_one_too_many))


@client_fault("RM-8")
def leaves_twice(_: Hand) -> ClientFault:
    """Asks twice to leave a room."""
    state: list[str] = []

    async def does(do: Do, op: str, fields: Values) -> Values:
        state[:] = [op]
        return await do(op, **fields)

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        is_one = message and message.event == LEAVE and state == ["leave"]
        return [said, said] if is_one else [said]

    return ClientFault(does=does, says=says)


@client_fault("RM-8")
def leaves_by_notice(_: Hand) -> ClientFault:
    """Leaves all rooms with _OnRoomLeft."""
    state: list[str] = []

    async def does(do: Do, op: str, fields: Values) -> Values:
        if op == "leave-all":
            state.append(op)
        return await do(op, **fields)

    return ClientFault(
        does=does,
        says=changed(lambda m: m.replace(event="_OnRoomLeft") if m.event == LEAVE and state else m),
    )


@client_fault("RM-9")
def hears_from_outside(_: Hand) -> ClientFault:
    """Delivers events for rooms that it has not joined."""
    joined: set[str] = set()

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        if message and message.event == JOIN:
            joined.add(message.room)
        return [said]

    def change(message: Message) -> Message:
        if message.event == JOIN:
            joined.add(message.room)
        is_event = message.room and not message.wait and not message.event.startswith("_")
        return message.replace(room="") if is_event and message.room not in joined else message

    return ClientFault(says=says, hears=changed(change))


@client_fault("RM-10")
def speaks_from_outside(hand: Hand) -> ClientFault:
    """Sends events, and asks, for rooms that it has never joined."""
    known: set[str] = set()

    def hears(payload: Payload) -> list[Payload]:
        message = frame_of(payload)
        if message:
            known.add(message.room.lower())
        return [payload]

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        if message:
            known.add(message.room.lower())
        return [said]

    async def does(do: Do, op: str, fields: Values) -> Values:
        try:
            return await do(op, **fields)
        except OperationError:
            room = fields.get("room", "")
            if op in ("emit", "ask") and room and room.lower() not in known:
                place = {"namespace": fields["namespace"], "event": fields["event"]}
                token = "$own" if op == "ask" else ""
                hand.say(encode(Message(wait=token, **place, room=room, body=fields["text"])))
            raise

    return ClientFault(says=says, hears=hears, does=does)


@client_fault("RM-12")
def room_without_name(_: Hand) -> ClientFault:
    """Joins the room without a name."""
    return answered(
        lambda m: m.empty_reply() if m.event == JOIN and not m.room and m.wait else None
    )
