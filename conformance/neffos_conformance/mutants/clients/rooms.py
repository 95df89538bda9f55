"""Clients that are wrong about rooms."""

from __future__ import annotations

from neffos_codec import Message, encode
from neffos_conformance.driving import OperationError, Values
from neffos_conformance.mutants.liars import (
    Do,
    Hand,
    Lies,
    Payload,
    Said,
    answered,
    changed,
    dropped,
    frame_of,
    lying,
    untold,
)

JOIN = "_OnRoomJoin"
LEAVE = "_OnRoomLeave"


def _speaking(hand: Hand, rooms: set[str]) -> Lies:
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

    return Lies(does=does)


@lying("RM-1")
def joined_without_notice(_: Hand) -> Lies:
    """Does not tell its application that a room is joined."""
    return Lies(tells=untold(saw="joined"))


@lying("RM-2")
def speaks_where_it_was_taken_out(hand: Hand) -> Lies:
    """Goes on speaking in a room that the server took it out of."""
    left: set[str] = set()

    def hears(payload: Payload) -> list[Payload]:
        message = frame_of(payload)
        if message and message.event == LEAVE and message.wait and not message.is_error:
            left.add(message.room)
        return [payload]

    return Lies(hears=hears, does=_speaking(hand, left).does)


@lying("RM-3")
def application_not_asked_of_rooms(_: Hand) -> Lies:
    """Joins the rooms that its application refuses."""

    def answer(message: Message) -> Message | None:
        is_one = message.event == JOIN and message.room == "unwanted"
        return message.empty_reply() if is_one else None

    return answered(answer)


@lying("RM-4")
def joined_once(_: Hand) -> Lies:
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


@lying("RM-5")
def nothing_to_leave(_: Hand) -> Lies:
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
    return Lies(says=says, hears=lies.hears, interjects=lies.interjects)


@lying("RM-6")
def rooms_without_namespace(hand: Hand) -> Lies:
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

    return Lies(hears=hears, says=says, does=_speaking(hand, joined).does)


@lying("RM-8")
def leaves_one_room_for_all(_: Hand) -> Lies:
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

    return Lies(does=does, says=dropped(is_one_too_many))


@lying("RM-8")
def leaves_twice(_: Hand) -> Lies:
    """Asks twice to leave a room."""
    state: list[str] = []

    async def does(do: Do, op: str, fields: Values) -> Values:
        state[:] = [op]
        return await do(op, **fields)

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        is_one = message and message.event == LEAVE and state == ["leave"]
        return [said, said] if is_one else [said]

    return Lies(does=does, says=says)


@lying("RM-8")
def leaves_by_notice(_: Hand) -> Lies:
    """Leaves all rooms with _OnRoomLeft."""
    state: list[str] = []

    async def does(do: Do, op: str, fields: Values) -> Values:
        if op == "leave-all":
            state.append(op)
        return await do(op, **fields)

    return Lies(
        does=does,
        says=changed(lambda m: m.replace(event="_OnRoomLeft") if m.event == LEAVE and state else m),
    )


@lying("RM-9")
def hears_from_outside(_: Hand) -> Lies:
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

    return Lies(says=says, hears=changed(change))


@lying("RM-10")
def speaks_from_outside(hand: Hand) -> Lies:
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

    return Lies(says=says, hears=hears, does=does)


@lying("RM-12")
def room_without_name(_: Hand) -> Lies:
    """Joins the room without a name."""
    return answered(
        lambda m: m.empty_reply() if m.event == JOIN and not m.room and m.wait else None
    )
