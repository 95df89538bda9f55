"""Clients that are wrong about events."""

from __future__ import annotations

from mutation.client_faults import (
    ClientFault,
    Do,
    Hand,
    Payload,
    Said,
    changed,
    client_fault,
    frame_of,
    is_empty_reply,
    untold,
)
from neffos_codec import Message
from neffos_conformance.runner.driver_protocol import OperationError, Values, has_fields


def _kept_back(is_kept_back: type[bytes] | None) -> ClientFault:
    """Make lies that let a reply be overtaken by the next, where more are to come."""
    open_: set[str] = set()
    kept: list[Said] = []

    def hears(payload: Payload) -> list[Payload]:
        message = frame_of(payload)
        if message and message.wait and not message.wait.startswith("$"):
            open_.add(message.wait)
        return [payload]

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        if message is None or message.wait not in open_:
            return [said]
        open_.discard(message.wait)
        is_one = isinstance(said, bytes) if is_kept_back else is_empty_reply(message)
        if is_one and open_ and not kept:
            kept.append(said)
            return []
        later, kept[:] = list(kept), []
        return [said, *later]

    return ClientFault(hears=hears, says=says)


@client_fault("EV-1")
def binary_comes_last(_: Hand) -> ClientFault:
    """Lets text frames overtake binary ones."""
    return _kept_back(bytes)


@client_fault("EV-1")
def requests_come_last(_: Hand) -> ClientFault:
    """Lets events overtake requests."""
    return _kept_back(None)


@client_fault("EV-2")
def event_lost(_: Hand) -> ClientFault:
    """Does not deliver an event."""
    return ClientFault(tells=untold(saw="event", event="other"))


@client_fault("EV-2")
def event_in_another_namespace(_: Hand) -> ClientFault:
    """Delivers events of one namespace to the handlers of another."""
    return ClientFault(
        tells=lambda sight: [
            {**sight, "namespace": "app"} if sight.get("namespace") == "any" else sight
        ]
    )


@client_fault("EV-2")
def handler_not_told_of_room(_: Hand) -> ClientFault:
    """Does not tell a handler of the room."""
    return ClientFault(
        tells=lambda sight: [
            {**sight, "room": ""} if has_fields(sight, {"saw": "event", "room": "lobby"}) else sight
        ]
    )


@client_fault("EV-3")
def notice_joins(hand: Hand) -> ClientFault:
    """Counts a room as joined because of a notification."""
    joined: set[str] = set()

    def hears(payload: Payload) -> list[Payload]:
        message = frame_of(payload)
        if message and message.event == "_OnRoomJoined":
            joined.add(message.room)
        return [payload]

    async def does(do: Do, op: str, fields: Values) -> Values:
        try:
            return await do(op, **fields)
        except OperationError:
            if fields.get("room") in joined:
                return {}
            raise

    return ClientFault(hears=hears, does=does)


@client_fault("EV-3")
def notice_leaves(_: Hand) -> ClientFault:
    """Counts a room as left because of a notification."""
    left: set[str] = set()

    def hears(payload: Payload) -> list[Payload]:
        message = frame_of(payload)
        if message and message.event == "_OnRoomLeft":
            left.add(message.room)
        return [payload]

    async def does(do: Do, op: str, fields: Values) -> Values:
        if fields.get("room") in left:
            raise OperationError("bad room")
        return await do(op, **fields)

    return ClientFault(hears=hears, does=does)


@client_fault("EV-3")
def requests_in_other_letters(_: Hand) -> ClientFault:
    """Takes a request for one whatever the case of its letters."""

    def change(message: Message) -> Message:
        is_one = message.event == "_onNamespaceDisconnect"
        return message.replace(event="_OnNamespaceDisconnect") if is_one else message

    return ClientFault(hears=changed(change))


@client_fault("EV-4")
def notices_delivered(hand: Hand) -> ClientFault:
    """Runs the handlers of notifications that come from outside."""
    sights = {
        "_OnRoomJoined": "joined",
        "_OnRoomLeft": "left",
        "_OnNamespaceConnected": "connected",
    }

    def hears(payload: Payload) -> list[Payload]:
        message = frame_of(payload)
        if message and message.event in sights:
            room = {"room": message.room} if message.room else {}
            hand.tell(saw=sights[message.event], namespace=message.namespace, **room)
        elif message and message.event == "_OnAnyEvent":
            place = {"namespace": message.namespace, "room": "", "event": message.event}
            hand.tell(saw="event", **place, text=message.body)
        return [payload]

    return ClientFault(hears=hears)


@client_fault("EV-5")
def notices_sent(_: Hand) -> ClientFault:
    """Tells the server of the rooms that it has left."""
    state: list[str] = []

    async def does(do: Do, op: str, fields: Values) -> Values:
        if op == "leave-all":
            state.append(op)
        return await do(op, **fields)

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        if not state or message is None or message.event != "_OnRoomLeave":
            return [said]
        return [said, f";{message.namespace};{message.room};_OnRoomLeft;0;0;"]

    return ClientFault(does=does, says=says)


@client_fault("EV-6")
def errors_delivered_as_bodies(_: Hand) -> ClientFault:
    """Delivers an error as if its text were a body."""
    return ClientFault(tells=lambda sight: [{k: v for k, v in sight.items() if k != "error"}])
