"""Clients with a fault in rooms."""

from __future__ import annotations

from mutation import client_faults as on
from mutation import operators as do
from mutation.client_faults import ClientContext, ClientFault
from mutation.clients.values import is_user_event, remember
from mutation.hooks import CONNECT, JOIN, LEAVE, Effect, when
from mutation.registry import mutants
from neffos_codec import Message
from neffos_conformance.runner.driver_protocol import Values


def _event(fields: Values, token: str = "") -> Message:
    """Give the event that an operation is to send."""
    names = {name: fields.get(name, "") for name in ("namespace", "room", "event")}
    return Message(wait=token, **names, body=fields["text"])


def _emits(c: ClientContext, op: str, fields: Values) -> Values | None:
    """Send an event to a room that the fault remembers, though it is not joined."""
    if op != "emit" or fields.get("room", "") not in c.seen:
        return None
    c.say_last(_event(fields))
    return {}


def _leaves_nothing(c: ClientContext, m: Message) -> Effect:
    if m.event == JOIN:
        c.seen.add(m.room)
    return m.error_reply("bad room") if m.event == LEAVE and m.room not in c.seen else None


def _connects(c: ClientContext, _: Message) -> None:
    c.count()


def _joins(c: ClientContext, m: Message) -> None:
    if m.event == CONNECT:
        c.count()
    elif not c.counts[""] and not c.is_closing:
        c.seen.add(m.room)


def _room(c: ClientContext, m: Message) -> None:
    c.seen.add(m.room.lower())


def _speaks(c: ClientContext, op: str, fields: Values) -> None:
    room = fields.get("room", "")
    if op in ("emit", "ask") and room and room.lower() not in c.seen:
        c.say_last(_event(fields, "$own" if op == "ask" else ""))


mutants(
    "RM-8",
    "leaves-one-room-for-all: Leaves one room where it is to leave all.",
    on.send(
        lambda c, _: () if "leave-all" in c.operations and c.count() > 1 else None, event=LEAVE
    ),
    "leaves-twice: Sends two asks to leave a room.",
    on.send(lambda c, m: [m, m] if c.operations[-1:] == ["leave"] else None, event=LEAVE),
    "leaves-by-notice: Leaves all rooms with _OnRoomLeft.",
    on.send(
        lambda c, m: m.replace(event="_OnRoomLeft") if "leave-all" in c.operations else None,
        event=LEAVE,
    ),
    "RM-1",
    "joined-without-notice: Does not tell its application that a room is joined.",
    on.unobserved(saw="joined"),
    "RM-2",
    "speaks-where-it-was-taken-out: Goes on sending events to a room that the server had it leave.",
    ClientFault(receive=remember("room", event=LEAVE, wait=bool, is_error=False), failed=_emits),
    "RM-3",
    "application-not-asked-of-rooms: Joins the rooms that its application refuses.",
    on.receive(do.empty_reply, event=JOIN, room="unwanted", wait=bool),
    "RM-4",
    "joined-once: Refuses to join a joined room.",
    on.receive(do.refuse("joined already"), event=JOIN, room=bool, wait=bool, is_member=True),
    "RM-5",
    "nothing-to-leave: Refuses to leave a room that nobody has asked to join.",
    ClientFault(
        send=remember("room", event=JOIN),
        receive=when(_leaves_nothing, event=(JOIN, LEAVE), wait=bool),
    ),
    "RM-6",
    "rooms-without-namespace: Treats a room as joined whose namespace is not connected.",
    ClientFault(
        receive=when(_joins, event=(CONNECT, JOIN)),
        send=when(_connects, event=CONNECT),
        failed=_emits,
    ),
    "RM-9",
    "hears-from-outside: Delivers events for rooms that it has not joined.",
    on.receive(do.serve_with(room=""), room=bool, wait="", event=is_user_event, is_member=False),
    "RM-10",
    "speaks-from-outside: Sends events, and asks, for rooms that it has never joined.",
    ClientFault(receive=_room, send=_room, failed=_speaks),
    "RM-12",
    "room-without-name: Joins the room without a name.",
    on.receive(do.empty_reply, event=JOIN, room="", wait=bool),
)
