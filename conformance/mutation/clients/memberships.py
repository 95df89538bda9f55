"""Clients with a fault in namespaces and rooms."""

from __future__ import annotations

from typing import Final, cast

from mutation import client_faults as on
from mutation import operators as do
from mutation.client_faults import HANG, ClientContext, ClientFault
from mutation.hooks import CONNECT, DISCONNECT, JOIN, LEAVE, UNKNOWN, Effect, when
from mutation.operators import is_client_token, is_server_token
from mutation.registry import mutant, mutants
from neffos_codec import Message
from neffos_conformance.runner.driver_protocol import OperationError, Values
from neffos_protocol.names import CHANGE_OF

REFUSAL: Final = "I like it here"
"""The text with which some of these clients refuse to leave a namespace or a room."""


def _performed(**trigger: object) -> ClientFault:
    """Perform a system ask that is to be ignored, without a reply."""
    return ClientFault(
        receive=when(do.serve_with(wait="own", is_no_op=False), **trigger),
        send=when(do.drop, wait="own"),
    )


def _undone(asked: str, instead: str, **trigger: object) -> ClientFault:
    """Perform another ask when a late reply refuses the client's own, whose end came before."""
    return ClientFault(
        receive=when(
            do.serve_with(wait="own", event=instead, is_error=False, body=""),
            event=asked,
            answers=asked,
            is_error=True,
            **trigger,
        ),
        send=when(do.drop, wait="own"),
    )


def _calling_off(event: str, by: str) -> ClientFault:
    """Give an own ask up when the server asks for the contrary, which changes nothing."""

    def hook(c: ClientContext, m: Message) -> Effect:
        for ask in c.pending(event):
            if (ask.namespace, ask.room) == (m.namespace, m.room):
                c.serve(Message(wait=ask.wait, is_error=True, body="called off"))
        return c.serve()

    return on.receive(hook, event=by, wait=is_server_token)


def _kept_for_connect(c: ClientContext, m: Message) -> Effect:
    if c.is_awaited and not c.answers and do.is_event(m.event):
        c.kept.append(m)
        return ()
    if c.answers != CONNECT:
        return None
    return [sent for each in (None, *c.release()) for sent in c.serve(each)]


def _event(op: str, fields: Values) -> Message:
    """Give the event that an operation is to send."""
    names = {name: fields.get(name, "") for name in ("namespace", "room", "event")}
    return Message(wait="$own" if op == "ask" else "", **names, body=fields["text"])


# -------------------------------------------------------------------- namespaces


@mutant("NS-19", on.receive, event="echo")
def deaf_while_it_disconnects(c: ClientContext, m: Message) -> Effect:
    """Drops the events of a namespace that it asks to disconnect."""
    return () if any(ask.namespace == m.namespace for ask in c.pending(DISCONNECT)) else None


@mutant("NS-19", on.receive, event="echo", room=bool)
def deaf_while_it_leaves(c: ClientContext, m: Message) -> Effect:
    """Drops the events of a room that it asks to leave."""
    asks = [(ask.namespace, ask.room) for ask in c.pending(LEAVE)]
    return () if (m.namespace, m.room) in asks else None


@mutant("NS-19", on.receive, event="", answers=(CONNECT, JOIN))
def late_reply_ends_another(c: ClientContext, m: Message) -> Effect:
    """Ends its disconnect, or leave, at the late reply to a connect, or join, of the same."""
    asked = cast("Message", c.ask)
    pending = c.pending(DISCONNECT if asked.event == CONNECT else LEAVE)
    same = [ask for ask in pending if (ask.namespace, ask.room) == (asked.namespace, asked.room)]
    return c.serve(m.replace(wait=same[0].wait)) if same else None


def _too_late(c: ClientContext, m: Message) -> Effect:
    """Perform the connect whose empty reply comes after a later connect of the same."""
    ended = [ask for ask in c.kept[:-1] if ask.wait == m.wait]
    is_same = bool(ended) and ended[0].namespace == c.kept[-1].namespace
    return c.serve(ended[0].replace(wait="own")) if is_same else None


def _ended(c: ClientContext, m: Message) -> Effect:
    """Perform the ask whose late empty reply comes though the contrary was done since."""
    asked = cast("Message", c.ask)
    is_ended = c.traffic.conversation.client.pending[m.wait].is_superseded
    is_undone = c.is_in(asked.namespace, asked.room) is (asked.event in (LEAVE, DISCONNECT))
    return c.serve(asked.replace(wait="own")) if is_ended and is_undone else None


def _joins_late(c: ClientContext, m: Message) -> Effect:
    """Join the room at the empty reply to a join whose namespace was disconnected since."""
    if m.event == DISCONNECT:
        c.seen.add(m.namespace)
    late = [ask for ask in c.kept if ask.wait == m.wait and ask.namespace in c.seen]
    return c.serve(late[0].replace(wait="own")) if late else None


def _keeps_rooms(c: ClientContext, op: str, fields: Values) -> Values | None:
    """Accept an event to a room that was joined before its namespace was disconnected."""
    return {} if op == "emit" and fields.get("room") and c.seen == {JOIN, DISCONNECT} else None


def _server_first(c: ClientContext, m: Message) -> Effect:
    if m.event == CONNECT and m.wait:
        c.kept.append("server")
    is_event = m.event not in CHANGE_OF and not is_client_token(m.wait)
    return () if is_event and c.kept[:1] == ["server"] else None


def _once(c: ClientContext, m: Message) -> Effect:
    if m.event == DISCONNECT:
        c.seen.discard(m.namespace)
    is_refused = m.namespace in c.seen and is_server_token(m.wait) and not m.is_no_op
    return m.error_reply("connected already") if is_refused else None


def _lost_elsewhere(c: ClientContext, op: str, fields: Values) -> None:
    """Refuse to send to a room of another namespace than one that the server disconnected."""
    if op == "emit" and fields.get("room") and c.seen - {fields["namespace"]}:
        raise OperationError("the room is not joined")


def _speaks(c: ClientContext, op: str, fields: Values) -> None:
    is_meant = op in ("emit", "ask") and not fields.get("room") and not c.is_closing
    if is_meant and not c.is_in(fields["namespace"]):
        c.say_last(_event(op, fields))


@mutant("RM-14", on.receive)
def slow_to_join(c: ClientContext, m: Message) -> Effect:
    """Misses an event in a room that follows closely on the reply to its own join."""
    follows, c.values["joined"] = c.values.get("joined", False), c.answers == JOIN
    return () if follows and m.room and m.body == "at once" else None


@mutant("NS-14", on.send)
def leaves_rooms_one_by_one(c: ClientContext, m: Message) -> Effect:
    """Sends a leave for each room when its namespace is disconnected."""
    ask = c.server_asks.get(m.wait, m)
    leaves = [f"$own;app;{room};{LEAVE};0;0;" for room in c.rooms("app")]
    return [m, *leaves] if ask.event == DISCONNECT and leaves else None


@mutant("NS-18", on.receive)
def replies_outlive_their_namespace(c: ClientContext, m: Message) -> Effect:
    """Sends the reply of a handler whose namespace was disconnected meanwhile."""
    if m.event == "relay":
        c.kept.append(m)
    if m.event == DISCONNECT:
        c.count()
    if is_client_token(m.wait) and c.counts[""] and c.kept:
        c.say(c.kept.pop())
    return None


mutants(
    "NS-1 deaf-where-it-was-put: Drops the events of a namespace that the server connected.",
    ClientFault(send=when(do.keep, event=CONNECT), receive=when(_server_first, namespace="app")),
    "NS-1 late-refusal-disconnects: Disconnects a namespace at the late refusal of its connect.",
    _undone(CONNECT, DISCONNECT, is_connected=True),
    "NS-2 connects-without-token: Performs a connect that has no token.",
    _performed(event=CONNECT, wait=""),
    "NS-2 connects-with-no-op: Performs a connect with isNoOp.",
    _performed(event=CONNECT, is_no_op=True),
    "NS-2 connected-no-op-answered: Replies to a connect with isNoOp of a connected namespace.",
    on.receive(do.empty_reply, event=CONNECT, is_no_op=True, is_connected=True),
    "NS-2 undeclared-no-op-refused: Refuses a connect with isNoOp of an undeclared namespace.",
    on.receive(do.refuse(UNKNOWN), event=CONNECT, namespace="nowhere", is_no_op=True),
    "NS-3 another-text-for-unknown: Refuses an unknown namespace with another text.",
    on.send(do.change(body="no such namespace"), event=CONNECT, body=UNKNOWN),
    "NS-4 application-not-asked: Connects a namespace that its application refuses.",
    on.receive(do.empty_reply, event=CONNECT, namespace="unwanted", wait=bool),
    "NS-5 connected-once: Refuses a connect of a namespace that it has connected, or connects.",
    ClientFault(
        send=when(do.remember("namespace"), event=CONNECT, wait=is_client_token),
        receive=when(_once, event=(CONNECT, DISCONNECT)),
    ),
    "NS-5 connect-waits-for-disconnect: Holds a connect back while its disconnect is pending.",
    on.receive(do.held_while_asking(CONNECT, DISCONNECT, is_connected=True)),
    "NS-6 connect-calls-disconnect-off: Gives its disconnect up when the server connects.",
    _calling_off(DISCONNECT, by=CONNECT),
    "NS-6 events-outlive-their-namespace: Handles the events of a disconnected namespace.",
    on.receive(
        do.once(
            when(lambda _, m: m, event="echo", wait="", is_connecting=False),
            "namespace",
            event=DISCONNECT,
        )
    ),
    "NS-8 nothing-to-disconnect: Refuses to disconnect a namespace that is not connected.",
    on.receive(do.refuse("it is not connected"), event=DISCONNECT, wait=bool, is_connected=False),
    "NS-8 disconnect-waits-for-connect: Holds a disconnect back while its connect is pending.",
    on.receive(do.held_while_asking(DISCONNECT, CONNECT, is_connected=False)),
    "NS-1 disconnect-calls-connect-off: Gives its connect up when the server disconnects.",
    _calling_off(CONNECT, by=DISCONNECT),
    "NS-9 early-events-kept: Keeps the events of a namespace that it connects.",
    on.receive(_kept_for_connect),
    "NS-9 errors-from-nowhere: Sends the error of an event whose namespace is not connected.",
    on.receive(lambda _, m: m.error_reply(str(m.body)), event="fail", namespace="any", wait=""),
    "NS-9 undeclared-event-answered: Answers an event without a token of an undeclared namespace.",
    on.receive(do.refuse(UNKNOWN), event="news", namespace="nowhere", wait=""),
    "NS-9 errors-answered: Replies to an error for a namespace that is not connected.",
    on.receive(do.refuse(UNKNOWN), is_error=True, event="echo", wait=bool, is_connected=False),
    "SEC-16 deaf-while-it-connects: Reads no more after an event of a namespace that it connects.",
    on.receive(do.deaf_from(event=do.is_event, wait="", is_awaited=True)),
    "NS-10 disconnects-without-token: Performs a disconnect that has no token.",
    _performed(event=DISCONNECT, wait=""),
    "NS-10 joins-without-token: Performs a join that has no token.",
    _performed(event=JOIN, wait=""),
    "NS-10 leaves-with-no-op: Performs a leave with isNoOp.",
    _performed(event=LEAVE, is_no_op=True),
    "NS-10 undeclared-leave-answered: Answers a leave without a token in an undeclared namespace.",
    on.receive(do.refuse(UNKNOWN), event=LEAVE, namespace="nowhere", wait=""),
    "NS-11 speaks-where-it-is-not: Sends events and asks for namespaces that are not connected.",
    ClientFault(failed=_speaks),
    "NS-12 errors-carried-out: Performs what a frame with isError names.",
    on.receive(
        do.serve_with(is_error=False, body=""), event=tuple(CHANGE_OF), is_error=True, answers=""
    ),
    "NS-13 stays-where-its-rooms-are: Refuses a disconnect while it has joined a room.",
    on.receive(
        do.refuse(REFUSAL),
        event=DISCONNECT,
        namespace="app",
        wait=bool,
        rooms=lambda of: of("app"),
    ),
    "NS-13 disconnect-waits-for-handler: Holds a disconnect back while a handler waits.",
    on.receive(do.held_while_asking(DISCONNECT, "echo")),
    "NS-13 leaves-no-room: Refuses to leave a room that the server had it join.",
    on.receive(do.once(when(do.refuse(REFUSAL), event=LEAVE), "room", event=JOIN), wait=bool),
    "NS-14 rooms-outlive-their-namespace: Keeps its rooms when their namespace is connected again.",
    ClientFault(
        receive=when(do.remember("event"), event=(JOIN, DISCONNECT), wait=bool, is_error=False),
        failed=_keeps_rooms,
    ),
    "NS-14 rooms-outlive-its-own-disconnect: Keeps its rooms when it disconnects their namespace.",
    ClientFault(
        receive=when(do.remember("event"), event=JOIN, wait=bool, is_error=False),
        send=when(do.remember("event"), event=DISCONNECT, is_error=False),
        failed=_keeps_rooms,
    ),
    "NS-14 rooms-end-everywhere: Leaves its rooms in all namespaces when one is disconnected.",
    ClientFault(
        receive=when(do.remember("namespace"), event=DISCONNECT, wait=bool, is_error=False),
        before=_lost_elsewhere,
    ),
    "NS-15 empty-namespace-is-always-there: Handles events of the empty namespace too early.",
    on.receive(lambda _, m: m, event="echo", namespace="", is_connected=False),
    "NS-15 no-namespace-without-name: Has no namespace without a name.",
    on.receive(do.refuse(UNKNOWN), event=CONNECT, namespace="", wait=bool),
    "NS-16 slow-to-connect: Misses events that follow closely on the reply to its connect.",
    on.receive(do.drop, event=do.isnt("", *CHANGE_OF), is_connecting=True),
    "NS-17 silent-where-it-is-not: Does not reply to asks in an unconnected namespace.",
    on.send(do.drop, body=UNKNOWN, event=do.isnt(CONNECT)),
    "NS-18 asks-outlive-their-namespace: Leaves asks pending when their namespace is disconnected.",
    ClientFault(
        receive=when(do.remember("namespace"), event=DISCONNECT, wait=bool),
        failed=lambda c, op, _: HANG if op == "ask" and c.seen else None,
    ),
    "NS-18 joins-outlive-their-namespace: Leaves joins pending when their namespace ends.",
    ClientFault(
        receive=when(do.remember("namespace"), event=DISCONNECT, wait=bool),
        failed=lambda c, op, _: HANG if op == "join" and c.seen else None,
    ),
    "NS-18 joins-too-late: Joins a room at the reply to a join that ended with its namespace.",
    ClientFault(
        receive=_joins_late,
        send=lambda c, m: () if m.wait == "own" else do.keep(c, m) if m.event == JOIN else None,
    ),
    "NS-18 disconnects-too-late: Disconnects at the reply to a disconnect that has ended.",
    ClientFault(receive=when(_ended, event="", answers=DISCONNECT), send=when(do.drop, wait="own")),
    "NS-18 connects-too-late: Connects a namespace at the reply to a connect that ended with it.",
    ClientFault(
        receive=when(_too_late, event="", is_error=False),
        send=lambda c, m: () if m.wait == "own" else do.keep(c, m) if m.event == CONNECT else None,
    ),
)


# -------------------------------------------------------------------- rooms


def _emits(c: ClientContext, op: str, fields: Values) -> Values | None:
    """Send an event to a room that the fault remembers, though it is not joined."""
    if op != "emit" or fields.get("room", "") not in c.seen:
        return None
    c.say_last(_event(op, fields))
    return {}


def _joins(c: ClientContext, m: Message) -> None:
    if CONNECT not in c.seen and not c.is_closing:
        c.seen.add(m.room or m.event)


def _room(c: ClientContext, m: Message) -> None:
    c.seen.add(m.room.lower())


def _left_elsewhere(c: ClientContext, op: str, fields: Values) -> None:
    """Refuse to send to a room whose namesake in another namespace was left."""
    if op == "emit" and fields["namespace"] == "any" and fields.get("room", "") in c.seen:
        raise OperationError("the room is not joined")


def _speaks_outside(c: ClientContext, op: str, fields: Values) -> None:
    room = fields.get("room", "")
    if op in ("emit", "ask") and room and room.lower() not in c.seen:
        c.say_last(_event(op, fields))


mutants(
    "RM-1 joined-without-notice: Does not tell its application that a room is joined.",
    on.observes(do.drop, saw="joined"),
    "RM-1 late-refusal-leaves: Leaves a room at the late refusal of its join.",
    _undone(JOIN, LEAVE, is_member=True),
    "RM-2 speaks-where-it-was-taken-out: Sends events to a room that the server had it leave.",
    ClientFault(
        receive=when(do.remember("room"), event=LEAVE, wait=bool, is_error=False), failed=_emits
    ),
    "RM-3 application-not-asked-of-rooms: Joins the rooms that its application refuses.",
    on.receive(do.empty_reply, event=JOIN, room="unwanted", wait=bool),
    "RM-4 joined-once: Refuses to join a joined room.",
    on.receive(
        do.refuse("joined already"), event=JOIN, room=bool, wait=is_server_token, is_member=True
    ),
    "RM-4 join-waits-for-leave: Holds a join back while its leave is pending.",
    on.receive(do.held_while_asking(JOIN, LEAVE, is_member=True)),
    "RM-2 join-calls-leave-off: Gives its leave up when the server has it join.",
    _calling_off(LEAVE, by=JOIN),
    "RM-5 nothing-to-leave: Refuses to leave a room that nobody has asked to join.",
    ClientFault(
        send=when(do.remember("room"), event=JOIN),
        receive=when(
            do.until(
                when(do.refuse("bad room"), event=LEAVE, is_connected=True), "room", event=JOIN
            ),
            wait=bool,
        ),
    ),
    "RM-5 nameless-leave-disconnects: Treats a leave that names no room as a disconnect.",
    on.receive(do.serve_with(event=DISCONNECT), event=LEAVE, room="", wait=bool, is_error=False),
    "RM-5 leave-waits-for-join: Holds a leave back while its join is pending.",
    on.receive(do.held_while_asking(LEAVE, JOIN, is_member=False)),
    "RM-5 leave-calls-join-off: Gives its join up when the server has it leave.",
    _calling_off(JOIN, by=LEAVE),
    "RM-6 rooms-without-namespace: Treats a room as joined whose namespace is not connected.",
    ClientFault(
        receive=when(_joins, event=(CONNECT, JOIN)),
        send=when(do.remember("event"), event=CONNECT),
        failed=_emits,
    ),
    "RM-6 leaves-without-namespace: Reports a leave in a namespace that is not connected.",
    on.receive(do.empty_reply, event=LEAVE, room="hall", wait=bool, is_connected=False),
    "RM-8 leaves-one-room-for-all: Leaves one room where it is to leave all.",
    on.send(do.from_number(2, do.drop), event=LEAVE, operations=do.has("leave-all")),
    "RM-8 leaves-twice: Sends two asks to leave a room.",
    on.send(lambda _, m: [m, m], event=LEAVE, operations=lambda names: names[-1:] == ["leave"]),
    "RM-8 leaves-by-notice: Leaves all rooms with _OnRoomLeft.",
    on.send(do.change(event="_OnRoomLeft"), event=LEAVE, operations=do.has("leave-all")),
    "RM-9 hears-from-outside: Delivers events for rooms that it has not joined.",
    on.receive(do.serve_with(room=""), room=bool, wait="", event="news", is_member=False),
    "RM-9 hears-asks-from-outside: Delivers asks for rooms that it has not joined.",
    on.receive(do.serve_with(room=""), room=bool, wait=bool, event="news", is_member=False),
    "RM-10 speaks-from-outside: Sends events, and asks, for rooms that it has never joined.",
    ClientFault(receive=_room, send=_room, failed=_speaks_outside),
    "RM-11 rooms-of-all-namespaces: Leaves the rooms of that name in all namespaces.",
    ClientFault(
        receive=when(do.remember("room"), event=LEAVE, namespace="app", wait=bool, is_error=False),
        before=_left_elsewhere,
    ),
    "RM-11 joined-in-all-namespaces: Joins the rooms of that name in all namespaces.",
    ClientFault(
        receive=when(do.remember("room"), event=JOIN, namespace="app", wait=bool, is_error=False),
        failed=lambda c, op, fields: (
            _emits(c, op, fields) if fields.get("namespace") == "any" else None
        ),
    ),
    "RM-13 ended-asks-carried-out: Joins or leaves at the late reply to an ask that has ended.",
    ClientFault(
        receive=when(_ended, event="", answers=(JOIN, LEAVE)), send=when(do.drop, wait="own")
    ),
    "RM-12 room-without-name: Joins the room without a name.",
    on.receive(do.empty_reply, event=JOIN, room="", wait=bool),
)
