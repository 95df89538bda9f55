"""Servers with a fault in namespaces and rooms."""

from __future__ import annotations

from typing import Any, Final

from mutation import hooks as on
from mutation import operators as do
from mutation.hooks import CONNECT, DISCONNECT, JOIN, LEAVE, Effect, Hooks, ServerContext, when
from mutation.operators import DISCONNECT_ALL, namespaces, rooms
from mutation.registry import mutant, mutants
from neffos_codec import Message
from neffos_protocol.names import CHANGE_OF

UNKNOWN, CLOSED, STICKY = "bad namespace", "namespace is closed", "namespace is sticky"
"""The texts of refusals: an unknown namespace's, and those of the conformance application."""

LOCKED, STICKY_ROOM = "room is locked", "room is sticky"
"""The texts with which the conformance application refuses a join, and a leave."""

CHANGES = tuple(CHANGE_OF)
"""The events of system asks."""

OTHERS = (DISCONNECT, JOIN, LEAVE)
"""These events, except that of a connect."""

PLAIN: Final = {"is_no_op": False, "is_error": False}
"""The trigger of frames without a flag."""

REFUSED: Final[dict[str, Any]] = {"same": "namespace", "answers": CONNECT, "is_error": True}
"""After the client has refused to connect a namespace, in frames for that."""

OUTSIDER: Final = {"is_connected": True, "is_member": False}
"""The trigger of frames for a room that is not joined, in a connected namespace."""

OUTSIDE: Final = {"is_accepted": True, "is_connected": False}
"""The trigger of frames after the handshake whose namespace is not connected."""


@mutant("NS-5", on.receive)
def connect_calls_disconnect_off(c: ServerContext, m: Message) -> Effect:
    """Forgets its own disconnect when the client connects meanwhile."""
    if m.wait in c.seen:
        return ()
    if m.event == CONNECT:
        c.seen |= {token for token, ask in c.server_asks.items() if ask.event == DISCONNECT}
    return m.empty_reply() if m.event == CONNECT and c.seen else None


@mutant("NS-19", on.receive, event="echo")
def deaf_while_it_disconnects(c: ServerContext, m: Message) -> Effect:
    """Drops the events of a namespace that it asks to disconnect."""
    return () if any(ask.namespace == m.namespace for ask in c.pending(DISCONNECT)) else None


@mutant("NS-19", on.receive, event="echo", room=bool)
def deaf_while_it_leaves(c: ServerContext, m: Message) -> Effect:
    """Drops the events of a room that it asks a client to leave."""
    asks = [(ask.namespace, ask.room) for ask in c.pending(LEAVE)]
    return () if (m.namespace, m.room) in asks else None


@mutant("NS-16", on.receive)
def slow_to_connect(c: ServerContext, m: Message) -> Effect:
    """Misses an event in namespace any that follows closely on the reply to its connect."""
    follows, c.values["replied"] = c.values.get("replied", False), c.answers == CONNECT
    return () if follows and m.namespace == "any" and not m.wait else None


@mutant("RM-14", on.receive)
def slow_to_join(c: ServerContext, m: Message) -> Effect:
    """Misses an event in a room that follows closely on the reply to its own join."""
    follows, c.values["joined"] = c.values.get("joined", False), c.answers == JOIN
    return () if follows and m.room and m.body == "at once" else None


@mutant("NS-9", on.after)
def unconnected_kept(c: ServerContext, m: Message) -> Effect:
    """Keeps events for a namespace until it is connected."""
    if c.is_accepted and m.event not in CHANGE_OF and not m.wait:
        if not c.is_connected:
            c.kept.append(m)
        return ()
    return [sent for each in _due(c) for sent in c.serve(each)]


@mutant("RM-6", on.after)
def early_join_kept(c: ServerContext, m: Message) -> Effect:
    """Performs a join once its namespace is connected."""
    if m.event == JOIN and (m.namespace, "") not in c.before:
        c.kept.append(m)
    return [sent for each in _due(c) for sent in _perform(c, each)]


def _due(c: ServerContext) -> list[Message]:
    """Release the frames that were kept whose namespace is connected now."""
    kept = c.release()
    c.kept = [each for each in kept if not c.is_in(each.namespace)]
    return [each for each in kept if c.is_in(each.namespace)]


@mutant("NS-9", on.receive, event=do.is_event)
def early_event_ends_connect(c: ServerContext, m: Message) -> Effect:
    """Gives its connect up when an event comes before the answer."""
    for ask in c.pending(CONNECT):
        if ask.namespace == m.namespace:
            c.serve(Message(wait=ask.wait, is_error=True, body="given up"))
    return None


def _perform(c: ServerContext, m: Message) -> on.Payloads:
    """Have the system ask handled that a frame would be with a token and without flags."""
    return c.aside(m.event, m.namespace, m.room)


def _perform_aloud(c: ServerContext, m: Message) -> on.Payloads:
    return _perform(c, m) + on.payloads(m.empty_reply() if m.wait else ())


@mutant("NS-14", on.moved)
def rooms_survive(c: ServerContext) -> Effect:
    """Has a client join its old rooms when it connects again."""
    for name, _ in namespaces(c.ended):
        c.values[name] = [each for each in rooms(c.before) if each[0] == name]
    due = [each for name in c.namespaces for each in c.values.pop(name, ())]
    return [sent for each in due for sent in c.aside(JOIN, *each)]


@mutant("NS-18", on.after)
def ended_asks_refused(c: ServerContext, m: Message) -> Effect:
    """Answers the pending asks of a namespace with errors when it is disconnected."""
    is_over = (m.namespace, "") in c.ended
    asks = [ask for ask in c.client_asks.values() if ask.event not in CHANGE_OF]
    return [ask.error_reply("disconnected") for ask in asks if is_over]


@mutant("FR-18", on.receive)
def rooms_folded(c: ServerContext, m: Message) -> Effect:
    """Treats rooms as one that differ in their case, or in blanks."""
    folded = m.room.strip().lower()
    if m.room == folded:
        return None
    sent = on.frames_of(c.serve(m.replace(room=folded)))
    return [frame.replace(room=m.room) if frame and frame.room else each for each, frame in sent]


def _ended_elsewhere(event: str, by: str, **trigger: object) -> Hooks:
    """End the server's asks of all other connections at a client's ask for the same room."""

    def end(c: ServerContext, m: Message) -> None:
        for owner, ask in c.server.values.values():
            if owner is not c and ask.room == m.room:
                owner.serve(Message(wait=ask.wait, is_error=True, body="ended elsewhere"))

    def keep(c: ServerContext, m: Message) -> None:
        c.server.values[m.wait] = c, m

    return Hooks(
        receive=when(end, event=by, wait=bool),
        send=when(keep, event=event, wait=do.is_server_token, **trigger),
    )


def _for_all(c: ServerContext, m: Message) -> None:
    """Perform a client's ask for all other clients, too."""
    for each in c.server.connections:
        if each is not c:
            each.aside(m.event, m.namespace, m.room)


def _let_in(c: ServerContext, m: Message) -> on.Payloads:
    """Have an outsider's event handled as a member's, and give what is sent."""
    joined = c.aside(JOIN, m.namespace, m.room)
    return [*joined, *c.serve(), *c.aside(LEAVE, m.namespace, m.room)]


def _let_in_silently(c: ServerContext, m: Message) -> Effect:
    sent = on.frames_of(_let_in(c, m))
    return [each for each, frame in sent if frame is None or not frame.room]


def _outsiders(
    event: object = do.is_event, hook: on.FrameHook = _let_in, **trigger: object
) -> Hooks:
    """Do something with the events of clients for rooms that they have not joined."""
    return on.receive(hook, event=event, room=bool, **OUTSIDER, **trigger)


mutants(
    "NS-11 pushes-where-it-is-not: Sends an event in a namespace that is not connected.",
    on.receive(
        lambda _, m: m.replace(event=str(m.body), body="pushed"), event="push", is_connected=False
    ),
    "NS-20 system-event-pushed: Sends an event that is named like a join.",
    on.receive(do.give(f";app;;{JOIN};0;0;pushed"), event="push", body=JOIN),
    "NS-18 asks-end-on-all-connections: Ends asks at a disconnect on another connection.",
    _ended_elsewhere("question", by=DISCONNECT, body="elsewhere?"),
    "NS-20 other-system-events-pushed: Sends events that are named like the other system asks.",
    on.receive(
        lambda c, m: [Message(namespace="app", event=str(m.body)), *c.serve()],
        event="push",
        body=(LEAVE, CONNECT, DISCONNECT),
    ),
    "NS-20 system-asks-without-token: Asks to join and to leave in frames without a token.",
    on.send(do.change(wait=""), event=(JOIN, LEAVE), room=do.begins("asked ")),
    "RM-8 takes-out-by-notice: Asks a client to leave a room with _OnRoomLeft.",
    on.send(do.change(event="_OnRoomLeft"), event=LEAVE, room=do.begins("hall ")),
    "RM-8 takes-out-twice: Asks a client twice to leave a room.",
    on.send(lambda _, m: [m, m], event=LEAVE, room=do.begins("hall ")),
    "NS-1 connects-only-once: Reports that a namespace is connected again, and leaves it alone.",
    on.receive(
        do.once(when(do.empty_reply, is_connected=False), "namespace"), event=CONNECT, wait=bool
    ),
    "NS-1 refused-once-and-for-all: Treats a client's refusal of a connect as final.",
    on.receive(
        do.once(when(do.refuse("you did not want it"), event=CONNECT, is_error=False), **REFUSED)
    ),
    "NS-1 one-namespace-at-a-time: Disconnects one namespace when another is connected.",
    on.moved(do.asides(DISCONNECT, lambda c: namespaces(c.before)), begun=namespaces),
    "NS-1 connect-without-effect: Reports that a namespace is connected, and drops its events.",
    on.send(do.drop, event="echo"),
    "NS-1 acceptance-overlooked: Ignores a client's acceptance of the server's connect.",
    on.receive(do.drop, answers=CONNECT, is_empty_reply=True),
    "NS-1 one-connect-at-a-time: Refuses a client's connect while its own is pending.",
    do.refused_while_asking(CONNECT, answers=""),
    "NS-1 connect-waits-for-connect: Holds a client's connect back while its own is pending.",
    on.receive(do.held_while_asking(CONNECT, CONNECT, namespace="semi;colon")),
    "NS-1 refused-disconnect-obeyed: Disconnects a client that has refused that, as Go counts it.",
    on.after(do.aside(DISCONNECT), answers=DISCONNECT, is_error=True),
    "NS-2 tokenless-connect-taken: Connects a namespace without an ask for a reply.",
    on.receive(do.aside(CONNECT), event=CONNECT, wait=""),
    "NS-2 no-op-connect-taken: Connects a namespace though the frame asks for nothing to be done.",
    on.receive(do.serve_with(is_no_op=False), event=CONNECT, is_no_op=True),
    "NS-2 tokenless-connect-answered: Complains about a connect without a token.",
    on.receive(do.refuse("no token"), event=CONNECT, wait=""),
    "NS-2 connected-no-op-answered: Replies to a connect with isNoOp of a connected namespace.",
    on.receive(do.empty_reply, event=CONNECT, is_no_op=True, is_connected=True),
    "NS-3 other-text-for-unknown: Refuses an unknown namespace in words of its own.",
    on.send(do.change(body="not found"), body=UNKNOWN, event=CONNECT),
    "NS-3 events-are-namespaces: Lets a client connect the name of an event.",
    on.receive(do.empty_reply, event=CONNECT, namespace="echo", wait=bool),
    "NS-3 empty-stands-for-default: Treats the empty namespace as the name of its first one.",
    on.send(do.empty_reply, event=CONNECT, namespace="", is_error=True),
    "NS-3 patience-with-unknown-ends: Refuses unknown namespaces in other words after nine times.",
    on.send(do.from_number(10, do.change(body="too many")), event=CONNECT, body=UNKNOWN),
    "NS-3 unknown-disconnects-all: Disconnects everything when it refuses an unknown namespace.",
    on.after(DISCONNECT_ALL, event=CONNECT, namespace="nowhere"),
    "NS-4 refusal-ignored: Connects a namespace that the application refused.",
    on.send(do.empty_reply, body=CLOSED),
    "NS-4 refusal-told-otherwise: Refuses what the application refused as if it were unknown.",
    on.send(do.change(body=UNKNOWN), body=CLOSED),
    "NS-4 refused-the-first-time: Connects a refused namespace at the second ask.",
    on.send(do.from_number(2, do.empty_reply), body=CLOSED),
    "NS-4 refused-and-connected: Reports that a namespace is refused, and allows joins in it.",
    on.receive(do.empty_reply, event=JOIN, namespace="refused", wait=bool),
    "NS-4 refusal-disconnects-all: Disconnects everything when a namespace is refused.",
    on.after(DISCONNECT_ALL, event=CONNECT, namespace="refused"),
    "NS-5 connect-waits-for-disconnect: Holds a connect back while its disconnect is pending.",
    on.receive(do.held_while_asking(CONNECT, DISCONNECT, is_connected=True)),
    "NS-5 second-connect-refused: Treats a second connect as a mistake.",
    on.receive(do.refuse_ask("connected already"), event=CONNECT, is_connected=True),
    "NS-5 second-connect-counts: Counts connects, and wants as many disconnects.",
    do.counted(CONNECT, DISCONNECT, is_connected=True),
    "NS-6 disconnect-waits-for-disconnect: Holds a disconnect back while its own is pending.",
    on.receive(do.held_while_asking(DISCONNECT, DISCONNECT, rooms=lambda of: of("app"))),
    "NS-1 disconnect-takes-all: Disconnects every namespace when one is disconnected.",
    on.moved(DISCONNECT_ALL, ended=namespaces),
    "NS-6 disconnect-without-effect: Reports a disconnect, and goes on with the namespace.",
    on.receive(do.empty_reply, event=DISCONNECT, namespace=("app", ""), wait=bool, **PLAIN),
    "NS-6 own-disconnect-without-effect: Goes on with a namespace that a client left as asked.",
    do.after_acceptance(DISCONNECT, CONNECT),
    "NS-6 events-outlive-own-disconnect: Handles events after a client has disconnected as asked.",
    on.receive(do.once(when(lambda _, m: m, event="echo", wait="", **OUTSIDE), answers=DISCONNECT)),
    "NS-6 disconnect-refused-while-asking: Refuses a client's disconnect while its own is pending.",
    do.refused_while_asking(DISCONNECT, wait=bool),
    "NS-7 sticky-disconnected: Reports that a disconnect is refused, and performs it.",
    on.receive(
        do.once(when(do.refuse(UNKNOWN), event=JOIN, wait=bool), event=DISCONNECT),
        namespace="sticky",
    ),
    "NS-6 disconnects-everyone: Disconnects a namespace for all clients when one disconnects it.",
    on.after(_for_all, event=DISCONNECT, wait=bool, is_connected=False),
    "NS-6 all-are-sticky: Refuses every disconnect once one was refused.",
    on.receive(
        do.once(when(do.refuse(STICKY), namespace=do.isnt("sticky")), namespace="sticky"),
        event=DISCONNECT,
        wait=bool,
    ),
    "NS-7 sticky-released: Reports the disconnect of a namespace that the application refused.",
    on.send(do.empty_reply, body=STICKY),
    "NS-7 sticky-once: Refuses a disconnect once, and no second time.",
    on.send(do.from_number(2, do.empty_reply), body=STICKY),
    "NS-8 needless-disconnect-refused: Refuses to disconnect a namespace that is not connected.",
    on.receive(do.refuse("no"), event=DISCONNECT, is_connected=False, wait=bool, answers=""),
    "NS-8 unknown-disconnect-refused: Refuses to disconnect an unknown namespace.",
    on.receive(do.refuse(UNKNOWN), event=DISCONNECT, namespace="nowhere", wait=bool),
    "NS-8 disconnect-waits-for-connect: Holds a disconnect back while its connect is pending.",
    on.receive(do.held_while_asking(DISCONNECT, CONNECT, is_connected=False)),
    "NS-1 disconnect-calls-connect-off: Forgets its own connect when the client disconnects.",
    do.calling_off(CONNECT, by=DISCONNECT),
    "NS-9 refusal-taken-for-acceptance: Handles the events of a refused namespace, as Go does.",
    on.receive(do.once(when(do.event_as_body, event=do.is_event, is_connected=False), **REFUSED)),
    "NS-9 early-event-connects: Treats an event as the acceptance of the connect that is pending.",
    on.receive(
        lambda c, m: [*c.aside(CONNECT, m.namespace), *c.serve()],
        event=do.is_event,
        is_awaited=True,
        answers="",
    ),
    "SEC-16 deaf-while-it-connects: Reads no more after an event of a namespace that it connects.",
    on.receive(do.deaf_from(event=do.is_event, wait="", is_awaited=True)),
    "NS-9 unconnected-answered: Answers events for a namespace that is not connected.",
    on.receive(do.refuse(UNKNOWN), event=do.is_event, wait="", **OUTSIDE),
    "NS-9 unconnected-errors-answered: Answers errors too for a namespace that is not connected.",
    on.receive(do.refuse(UNKNOWN), event=do.is_event, is_error=True, **OUTSIDE),
    "NS-17 unconnected-unanswered: Drops asks for a namespace that is not connected, as Go does.",
    on.send(do.drop, body=UNKNOWN, event=do.isnt(CONNECT)),
    "NS-17 unconnected-in-own-words: Refuses asks for unconnected namespaces in its own words.",
    on.send(do.change(body="not connected"), body=UNKNOWN, event=do.isnt(CONNECT)),
    "NS-10 tokenless-requests-taken: Performs a disconnect, a join and a leave without a token.",
    on.receive(_perform, event=OTHERS, wait=""),
    "NS-10 no-op-requests-taken: Performs a disconnect, a join and a leave that are to do nothing.",
    on.receive(do.serve_with(is_no_op=False), event=OTHERS, is_no_op=True),
    "NS-10 unknown-answered: Refuses a join without a token in an unknown namespace.",
    on.receive(do.refuse(UNKNOWN), event=JOIN, namespace="nowhere", wait=""),
    "NS-10 unknown-no-op-answered: Refuses a leave with isNoOp in an unknown namespace.",
    on.receive(do.refuse(UNKNOWN), event=LEAVE, namespace="nowhere", is_no_op=True),
    "NS-12 unknown-errors-answered: Refuses a join or leave with isError in an unknown namespace.",
    on.receive(do.refuse(UNKNOWN), event=(JOIN, LEAVE), namespace="nowhere", is_error=True),
    "NS-12 errors-carried-out: Performs what a frame with isError names, as Go does.",
    on.receive(_perform_aloud, event=CHANGES, is_error=True, answers=""),
    "NS-12 errors-carried-out-in-silence: Performs what an error frame names, without a reply.",
    on.receive(_perform, event=CHANGES, is_error=True, answers=""),
    "NS-14 rooms-left-aloud: Reports each room that ends with its namespace.",
    on.moved(
        lambda c: [
            Message(namespace=name, room=room, event="_OnRoomLeft")
            for name, room in rooms(c.ended)
            if not c.is_in(name)
        ]
    ),
    "RM-1 rooms-end-everywhere: Takes a client out of all rooms when a namespace is disconnected.",
    on.moved(do.asides(LEAVE, lambda c: rooms(c.memberships)), ended=namespaces),
    "NS-18 ended-disconnect-carried-out: Disconnects at a late reply, after the client did so.",
    do.after_acceptance(DISCONNECT, DISCONNECT),
    "NS-18 ended-join-carried-out-later: Joins a room at a late reply, once the namespace is back.",
    Hooks(
        receive=when(lambda c, m: c.kept.append(c.values.get(m.wait)), is_empty_reply=True),
        send=when(lambda c, m: c.values.update({m.wait: m}), event=JOIN, wait=do.is_server_token),
        moved=lambda c: [
            sent
            for ask in c.kept
            if ask and (ask.namespace, "") in c.begun
            for sent in c.aside(JOIN, ask.namespace, ask.room)
        ],
    ),
    "NS-18 ended-connect-carried-out: Connects at a late reply, after the client has disconnected.",
    do.after_acceptance(CONNECT, CONNECT),
    "NS-15 empty-namespace-always-there: Treats the empty namespace as connected from the start.",
    on.receive_raw(lambda _, payload: payload, payload=";;;echo;0;0;hi"),
    "NS-15 empty-namespace-refused: Refuses the empty name.",
    on.receive(do.refuse(UNKNOWN), event=CONNECT, namespace="", wait=bool),
    "NS-15 empty-namespace-without-rooms: Has no rooms in the empty namespace.",
    on.receive(do.refuse("bad room"), event=JOIN, namespace="", wait=bool),
    "RM-1 nine-rooms: Takes a client out of a room when it joins a tenth.",
    on.moved(
        do.asides(
            LEAVE,
            lambda c: [(name, c.rooms(name)[0]) for name in c.namespaces if len(c.rooms(name)) > 9],
        )
    ),
    "RM-1 join-unanswered: Joins a room without answering.",
    on.receive(do.silently, event=JOIN),
    "RM-1 join-without-effect: Reports that a room is joined, and leaves the client outside.",
    on.after(do.aside(LEAVE), event=JOIN, is_member=True),
    "RM-1 accepted-join-forgotten: Does not count a client that has joined as the server asked.",
    on.after(do.aside(LEAVE), answers=JOIN, is_empty_reply=True),
    "RM-1 join-waits-for-join: Holds a client's join back while its own is pending.",
    on.receive(do.held_while_asking(JOIN, JOIN, room=do.begins("crossing "))),
    "RM-1 connect-empties-rooms: Takes a client out of its rooms when it connects once more.",
    on.after(do.leave_all, event=CONNECT, wait=bool),
    "RM-1 refused-leave-obeyed: Takes a client out of a room that it refused to leave.",
    on.after(do.aside(LEAVE), answers=LEAVE, is_error=True),
    "RM-1 one-join-at-a-time: Refuses a client's join while its own is pending.",
    do.refused_while_asking(JOIN, answers=""),
    "RM-13 ended-leave-carried-out: Performs a leave at a late reply, though the client is back.",
    do.after_acceptance(LEAVE, LEAVE),
    "RM-13 ended-join-carried-out: Performs a join at a late reply, though the client has left.",
    do.after_acceptance(JOIN, JOIN),
    "RM-13 joins-end-on-all-connections: Ends its join at a join on another connection.",
    _ended_elsewhere(JOIN, by=JOIN),
    "RM-2 leave-waits-for-leave: Holds a client's leave back while its own is pending.",
    on.receive(do.held_while_asking(LEAVE, LEAVE, room=do.begins("crossing "))),
    "RM-2 leave-without-effect: Reports that a room is left, and keeps the client in it.",
    on.after(do.asides(JOIN, lambda c: c.ended), event=LEAVE),
    "RM-2 accepted-leave-forgotten: Goes on counting a client that has left as the server asked.",
    on.after(do.aside(JOIN), answers=LEAVE, is_empty_reply=True),
    "RM-2 leave-leaves-all: Takes a client out of all its rooms when it leaves one.",
    on.after(do.leave_all, event=LEAVE, wait=bool, **PLAIN),
    "RM-2 leaves-for-everyone: Takes all clients out of a room when one leaves it.",
    on.after(_for_all, event=LEAVE, wait=bool, **PLAIN),
    "RM-2 one-leave-at-a-time: Refuses a client's leave while its own is pending.",
    do.refused_while_asking(LEAVE, answers=""),
    "RM-3 lock-overlooked: Reports that a room is joined which the application refused.",
    on.send(do.empty_reply, body=LOCKED),
    "RM-3 lock-in-own-words: Refuses a room without the application's text.",
    on.send(do.change(body="bad room"), body=LOCKED),
    "RM-3 locked-and-joined: Reports that a room is refused, and counts the client as a member.",
    on.receive_raw(lambda _, payload: payload, payload=";app;locked;echo;0;0;hi"),
    "RM-3 lock-opens: Refuses a room once, and no second time.",
    on.send(do.from_number(2, do.empty_reply), body=LOCKED),
    "RM-1 lock-empties-rooms: Takes a client out of its rooms when one is refused.",
    on.after(do.leave_all, event=JOIN, room="locked"),
    "RM-1 lock-in-every-namespace: Looks for the handler of a join by the room alone.",
    on.receive(do.refuse(LOCKED), event=JOIN, namespace="any", room="locked", wait=bool),
    "RM-7 sticky-room-left: Refuses a leave, and does not count the client as a member any more.",
    on.receive(do.once(when(do.drop, event="echo"), event=LEAVE), room="sticky"),
    "RM-7 sticky-room-released: Reports that a room is left whose leave the application refused.",
    on.send(do.empty_reply, body=STICKY_ROOM),
    "RM-7 sticky-room-in-own-words: Refuses a leave without the application's text.",
    on.send(do.change(body="bad room"), body=STICKY_ROOM),
    "RM-7 sticky-room-once: Refuses a leave once, and no second time.",
    on.send(do.from_number(2, do.empty_reply), body=STICKY_ROOM),
    "RM-4 join-waits-for-leave: Holds a client's join back while its leave is pending.",
    on.receive(do.held_while_asking(JOIN, LEAVE, is_member=True)),
    "RM-4 second-join-refused: Treats a second join as a mistake.",
    on.receive(do.refuse_ask("joined already"), event=JOIN, room=bool, is_member=True),
    "RM-2 joins-counted: Counts joins, and wants as many leaves.",
    do.counted(JOIN, LEAVE, is_member=True),
    "EV-8 joined-twice-told-twice: Sends a broadcast as often as the room was joined.",
    Hooks(
        receive=when(lambda c, m: c.count(m.room) and None, event=JOIN, is_connected=True),
        send=when(lambda c, m: [m] * max(c.counts[m.room], 1), event="news", room=bool),
    ),
    "RM-2 join-calls-leave-off: Forgets its own leave when the client joins meanwhile.",
    do.calling_off(
        LEAVE,
        by=JOIN,
        is_off=lambda c, leave, m: leave.room == m.room and c.is_in(m.namespace, m.room),
    ),
    "RM-5 sticky-for-outsiders: Asks the application about the leave of a room not joined.",
    on.receive(
        do.until(when(do.refuse(STICKY_ROOM), event=LEAVE), event=JOIN), room="sticky", wait=bool
    ),
    "RM-5 needless-leave-refused: Refuses a client's leave of a room that it is not in.",
    on.receive(do.refuse("not joined"), event=LEAVE, wait=bool, answers="", **OUTSIDER),
    "RM-5 nameless-leave-disconnects: Treats a leave that names no room as a disconnect.",
    on.receive(lambda c, m: c.serve(m.replace(event=DISCONNECT)), event=LEAVE, room="", **PLAIN),
    "RM-5 leave-waits-for-join: Holds a client's leave back while its join is pending.",
    on.receive(do.held_while_asking(LEAVE, JOIN, is_member=False)),
    "RM-5 leave-calls-join-off: Forgets its own join when the client leaves meanwhile.",
    do.calling_off(JOIN, by=LEAVE),
    "RM-6 joined-without-namespace: Reports a join, or a leave, in an unconnected namespace.",
    on.receive(do.empty_reply, event=(JOIN, LEAVE), wait=bool, **OUTSIDE),
    "RM-6 unknown-namespace-means-first: Joins a room of the first namespace for an unknown one.",
    on.after(lambda c, m: c.aside(JOIN, "app", m.room), event=JOIN, namespace="nowhere"),
    "RM-12 nameless-room-joined: Joins a room without a name, as the Go server does.",
    on.send(do.empty_reply, event=JOIN, body="bad room", room=""),
    "RM-12 nameless-room-unanswered: Does not answer the join of a room without a name.",
    on.send(do.drop, event=JOIN, body="bad room", room=""),
    "RM-9 outsiders-heard: Runs the handler for an outsider's event, as the Go server does.",
    _outsiders(("push", "broadcast-room"), _let_in_silently),
    "RM-10 outsiders-answered: Runs the handler for an outsider's event, and sends the result.",
    _outsiders(),
    "RM-10 outsiders-told-errors: Sends an outsider the error of a handler.",
    _outsiders("fail"),
    "RM-10 outsiders-told-octets: Answers an outsider in a binary message.",
    _outsiders(is_binary=True),
    "RM-11 rooms-of-all-namespaces: Has a client join the room of that name in all its namespaces.",
    on.moved(
        do.asides(JOIN, lambda c: {(n, room) for _, room in rooms(c.begun) for n in c.namespaces})
    ),
    "RM-11 left-in-all-namespaces: Has a client leave the room of that name in all its namespaces.",
    on.after(
        do.asides(
            LEAVE,
            lambda c: (
                c.memberships & {(n, room) for _, room in rooms(c.ended) for n in c.namespaces}
            ),
        ),
        event=(LEAVE, DISCONNECT),
    ),
    "AR-19 refused-join-carried-out: Has a client join a room that it has refused.",
    on.after(do.aside(JOIN), answers=JOIN, is_error=True),
)
