"""Servers with a fault in rooms."""

from __future__ import annotations

from mutation import hooks as on
from mutation import operators as do
from mutation.hooks import CONNECT, DISCONNECT, JOIN, LEAVE, Effect, Hooks, Payloads, ServerContext
from mutation.registry import mutant, mutants
from neffos_codec import Message

LOCKED, STICKY = "room is locked", "room is sticky"
"""The texts with which the conformance application refuses a join, and a leave."""


@mutant("RM-1", on.moved)
def nine_rooms(c: ServerContext) -> Effect:
    """Takes a client out of a room when it joins a tenth."""
    crowded = [(name, c.rooms(name)[0]) for name in c.namespaces if len(c.rooms(name)) > 9]
    return [sent for name, room in crowded for sent in c.aside(LEAVE, name, room)]


@mutant("RM-1", on.receive)
def rooms_folded(c: ServerContext, m: Message) -> Effect:
    """Treats rooms as one that differ in their case, or in blanks."""
    folded = m.room.strip().lower()
    if m.room == folded:
        return None
    sent = on.frames_of(c.serve(m.replace(room=folded)))
    return [frame.replace(room=m.room) if frame and frame.room else each for each, frame in sent]


@mutant("RM-2", on.after, event=LEAVE)
def leave_without_effect(c: ServerContext, m: Message) -> Effect:
    """Reports that a room is left, and keeps the client in it."""
    was_in = (m.namespace, m.room) in c.before
    return c.aside(JOIN, m.namespace, m.room) if was_in else ()


@mutant("RM-7", on.receive, room="sticky", event=(LEAVE, "echo"))
def sticky_room_left(c: ServerContext, m: Message) -> Effect:
    """Refuses a leave, and does not count the client as a member any more."""
    if m.event == LEAVE:
        c.count()
        return None
    return () if c.counts else None


def _count_joins(c: ServerContext, m: Message) -> Effect:
    if m.event == JOIN and c.is_connected:
        c.count(m.room)
    return None


def _is_same_room(c: ServerContext, leave: Message, join: Message) -> bool:
    return leave.room == join.room and c.is_in(leave.namespace, leave.room)


@mutant("RM-5", on.receive, room="sticky", wait=bool)
def sticky_for_outsiders(c: ServerContext, m: Message) -> Effect:
    """Asks the application about the leave of a room that was not joined."""
    if m.event == JOIN:
        c.count()
    return m.error_reply(STICKY) if m.event == LEAVE and not c.counts else None


@mutant("RM-6", on.after)
def early_join_kept(c: ServerContext, m: Message) -> Effect:
    """Performs a join once its namespace is connected."""
    if m.event == JOIN and (m.namespace, "") not in c.before:
        c.kept.append(m)
    due = [each for each in c.kept if c.is_in(each.namespace)]
    c.kept = [each for each in c.kept if each not in due]
    return [sent for each in due for sent in c.aside(JOIN, each.namespace, each.room)]


def _let_in(c: ServerContext, m: Message) -> Payloads:
    """Have an outsider's event handled as a member's, and give what is sent."""
    joined = c.aside(JOIN, m.namespace, m.room)
    return [*joined, *c.serve(), *c.aside(LEAVE, m.namespace, m.room)]


@mutant("RM-9", on.receive, event=("push", "broadcast-room"), room=bool, is_connected=True)
def outsiders_heard(c: ServerContext, m: Message) -> Effect:
    """Runs the handler for an outsider's event, as the Go server does."""
    if c.is_member:
        return None
    sent = on.frames_of(_let_in(c, m))
    return [each for each, frame in sent if frame is None or not frame.room]


def _outsiders(event: object = do.is_event, **trigger: object) -> Hooks:
    return on.receive(
        _let_in, event=event, room=bool, is_connected=True, is_member=False, **trigger
    )


@mutant("RM-11", on.moved)
def rooms_of_all_namespaces(c: ServerContext) -> Effect:
    """Has a client join the room of that name in all its namespaces."""
    new = [room for _, room in sorted(c.memberships - c.before) if room]
    due = [(name, room) for room in new for name in c.namespaces if not c.is_in(name, room)]
    return [sent for each in due for sent in c.aside(JOIN, *each)]


@mutant("RM-11", on.after, event=(LEAVE, DISCONNECT))
def left_in_all_namespaces(c: ServerContext, _: Message) -> Effect:
    """Has a client leave the room of that name in all its namespaces."""
    left = {room for _, room in c.before - c.memberships if room}
    due = [each for each in sorted(c.memberships) if each[1] in left]
    return [sent for each in due for sent in c.aside(LEAVE, *each)]


mutants(
    "RM-1",
    "join-unanswered: Joins a room without answering.",
    on.receive(do.silently, event=JOIN),
    "join-without-effect: Reports that a room is joined, and leaves the client outside.",
    on.after(do.aside(LEAVE), event=JOIN, is_member=True),
    "accepted-join-forgotten: Does not count a client that has joined as the server asked.",
    on.after(do.aside(LEAVE), answers=JOIN, is_empty_reply=True),
    "connect-empties-rooms: Takes a client out of its rooms when it asks to connect once more.",
    on.after(do.aside_from_all(LEAVE), event=CONNECT, wait=bool),
    "refused-leave-obeyed: Takes a client out of a room that it refused to leave.",
    on.after(do.aside(LEAVE), answers=LEAVE, is_error=True),
    "one-join-at-a-time: Refuses a client's join while its own is pending.",
    do.refused_while_asking(JOIN, answers=""),
    "ended-leave-carried-out: Performs a leave at a late reply, though the client is back.",
    do.after_acceptance(LEAVE, LEAVE),
    "RM-2",
    "accepted-leave-forgotten: Goes on counting a client that has left as the server asked.",
    on.after(do.aside(JOIN), answers=LEAVE, is_empty_reply=True),
    "leave-leaves-all: Takes a client out of all its rooms when it leaves one.",
    on.after(do.aside_from_all(LEAVE), event=LEAVE, wait=bool, is_no_op=False, is_error=False),
    "one-leave-at-a-time: Refuses a client's leave while its own is pending.",
    do.refused_while_asking(LEAVE, answers=""),
    "RM-3",
    "lock-overlooked: Reports that a room is joined which the application refused.",
    on.send(do.empty_reply, body=LOCKED),
    "lock-in-own-words: Refuses a room without the application's text.",
    on.send(do.change(body="bad room"), body=LOCKED),
    "locked-and-joined: Reports that a room is refused, and counts the client as a member.",
    do.returned(";app;locked;echo;0;0;hi"),
    "lock-opens: Refuses a room once, and no second time.",
    do.accepted_from_the_second(LOCKED),
    "lock-empties-rooms: Takes a client out of its rooms when one is refused.",
    on.after(do.aside_from_all(LEAVE), event=JOIN, room="locked"),
    "lock-in-every-namespace: Looks for the handler of a join by the room alone.",
    on.receive(do.refuse(LOCKED), event=JOIN, namespace="any", room="locked", wait=bool),
    "RM-7",
    "sticky-room-released: Reports that a room is left whose leave the application refused.",
    on.send(do.empty_reply, body=STICKY),
    "sticky-room-in-own-words: Refuses a leave without the application's text.",
    on.send(do.change(body="bad room"), body=STICKY),
    "sticky-room-once: Refuses a leave once, and no second time.",
    do.accepted_from_the_second(STICKY),
    "RM-4",
    "second-join-refused: Treats a second join as a mistake.",
    on.receive(do.refuse_ask("joined already"), event=JOIN, room=bool, is_member=True),
    "joins-counted: Counts joins, and wants as many leaves.",
    do.counted(JOIN, LEAVE, is_member=True),
    "joined-twice-told-twice: Sends a broadcast as often as the room was joined.",
    Hooks(
        receive=_count_joins,
        send=lambda c, m: [m] * max(c.counts[m.room], 1) if m.event == "news" and m.room else None,
    ),
    "join-calls-leave-off: Forgets its own leave when the client joins meanwhile.",
    do.calling_off(LEAVE, by=JOIN, is_off=_is_same_room),
    "RM-5",
    "needless-leave-refused: Refuses a client's leave of a room that it is not in.",
    on.receive(
        lambda c, m: m.error_reply("not joined") if c.is_connected and m.wait else None,
        event=LEAVE,
        answers="",
        is_member=False,
    ),
    "leave-calls-join-off: Forgets its own join when the client leaves meanwhile.",
    do.calling_off(JOIN, by=LEAVE),
    "RM-6",
    "joined-without-namespace: Reports a join, or a leave, in a namespace that is not connected.",
    on.receive(
        do.empty_reply, event=(JOIN, LEAVE), wait=bool, is_accepted=True, is_connected=False
    ),
    "unknown-namespace-means-first: Joins a room of the first namespace for one of an unknown one.",
    on.after(
        lambda c, m: c.aside(JOIN, "app", m.room) if c.is_in("app") else (),
        event=JOIN,
        namespace="nowhere",
    ),
    "RM-12",
    "nameless-room-joined: Joins a room without a name, as the Go server does.",
    on.send(do.empty_reply, event=JOIN, body="bad room", room=""),
    "nameless-room-unanswered: Does not answer the join of a room without a name.",
    on.send(do.drop, event=JOIN, body="bad room", room=""),
    "RM-10",
    "outsiders-answered: Runs the handler for an outsider's event, and sends the result.",
    _outsiders(),
    "outsiders-told-errors: Sends an outsider the error of a handler.",
    _outsiders("fail"),
    "outsiders-told-octets: Answers an outsider in a binary message.",
    _outsiders(is_binary=True),
    "AR-19",
    "refused-join-carried-out: Has a client join a room that it has refused.",
    on.after(do.aside(JOIN), answers=JOIN, is_error=True),
)
