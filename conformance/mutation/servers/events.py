"""Servers with a fault in events and broadcasts."""

from __future__ import annotations

from collections.abc import Callable

from mutation import hooks as on
from mutation import operators as do
from mutation.hooks import (
    CONNECT,
    DISCONNECT,
    JOIN,
    LEAVE,
    Effect,
    Hooks,
    Payloads,
    ServerContext,
)
from mutation.registry import mutant, mutants
from neffos_codec import Message
from neffos_conformance.reference.embedded import NOTHING
from neffos_protocol.names import CHANGE_OF, LOCAL_ONLY

NEWS = "news"
"""The event of the conformance application's broadcasts."""

TO_OTHERS, TO_ROOM, TO_ONE = "broadcast-others", "broadcast-room", "broadcast-to"
"""Its commands to broadcast, except that to all."""


@mutant("EV-1", on.turn)
def seventh_falls_behind(c: ServerContext) -> Payloads:
    """Answers every seventh ask only after the next."""
    sent = c.serve()
    if c.message and c.message.event == "echo" and c.message.wait and c.count() % 7 == 0:
        c.kept += sent
        return []
    return sent + c.release()


@mutant("EV-1", on.receive, event="echo")
def octets_in_a_lane_of_their_own(c: ServerContext, m: Message) -> Effect:
    """Lets a text overtake the binary message before it."""
    if m.is_binary and c.counts:
        c.kept.append(c.payload)
        return ()
    if m.is_binary:
        return None
    c.count()
    return [*c.serve(), *(sent for each in c.release() for sent in c.serve(each))]


@mutant("EV-1", on.turn)
def joins_first(c: ServerContext) -> Payloads:
    """Lets a join overtake the event before it."""
    m = c.message
    if m and m.event == "echo" and not m.wait and not c.is_member:
        c.kept.append(c.payload)
        return []
    return c.serve() + [sent for each in c.release() for sent in c.serve(each)]


def _overtaken(leaving: str, entering: str, **trigger: str) -> Hooks:
    """Lets one request overtake another while a handler waits for the client's answer."""

    def hook(c: ServerContext, m: Message) -> Effect:
        is_waiting = any(ask.event == "question" for ask in c.server_asks.values())
        if is_waiting and m.event == leaving:
            c.kept.append(c.payload)
            return ()
        if m.event == entering:
            return [*c.serve(), *(sent for each in c.release() for sent in c.serve(each))]
        return None

    return on.receive(hook, **trigger)


def _is_command(event: str) -> bool:
    return event.endswith("-me")


def _is_odd(event: str) -> bool:
    return not event.isascii() or " " in event.strip()


IN_ANY, IN_APP = do.in_namespace("any"), do.in_namespace("app")


def _give_event(_: ServerContext, m: Message) -> Effect:
    """Reply with the event, as the handler of every event does."""
    return m.reply(m.event)


Leaks = Callable[[Message, ServerContext], bool]
"""Whether a broadcast, by its command, reaches a connection that it should not."""


def _news(command: Message) -> Message:
    body = command.body
    if command.event == TO_ONE:
        body = body.partition(" ")[2] if isinstance(body, str) else body.partition(b" ")[2]
    room = command.room if command.event == TO_ROOM else ""
    return Message(namespace="app", room=room, event=NEWS, body=body)


def _leaking(leaks: Leaks, *, to_maker: bool = False) -> Hooks:
    """Run a server whose broadcasts reach connections that they should not.

    A leak is sent as late as possible: before the next payload to that connection.

    Args:
        leaks: whether it reaches a connection.
        to_maker: it reaches nobody but the one that asks for it, in place of all others.
    """

    def hook(c: ServerContext) -> Payloads:
        m = c.message
        if m and m.event.startswith("broadcast-") and c.is_in("app"):
            for each in c.server.connections:
                if (each is c) == to_maker and leaks(m, each):
                    each.kept.append(_news(m))
        sent = c.serve()
        c.seen |= c.memberships
        return on.payloads(c.release()) + sent if sent and c.is_accepted else sent

    return on.turn(hook)


def _is_addressed(command: Message, other: ServerContext) -> bool:
    body = command.body if isinstance(command.body, str) else command.body.decode("latin-1")
    return command.event != TO_ONE or body.startswith(f"{other.id} ")


def _room(command: Message) -> str:
    return command.room if command.event == TO_ROOM else ""


def _is_asked(command: Message, other: ServerContext) -> bool:
    asks = other.pending(JOIN if _room(command) else CONNECT)
    return ("app", _room(command)) in [(ask.namespace, ask.room) for ask in asks]


def _count_connects(c: ServerContext) -> Effect:
    if c.is_in("app") and ("app", "") not in c.before:
        c.count()
    return None


@mutant("EV-8", on.turn)
def never_told_by_oneself(c: ServerContext) -> Payloads:
    """Sends no client a broadcast that it made itself."""
    if c.payload is not NOTHING:
        c.values["is own"] = c.message and c.message.event in ("broadcast-all", TO_ONE)
    sent = on.frames_of(c.serve())
    is_own = c.values.get("is own")
    return [each for each, frame in sent if not (is_own and frame and frame.event == NEWS)]


@mutant("EV-9", on.send, event=NEWS)
def second_broadcast_later(c: ServerContext, m: Message) -> Effect:
    """Sends the second broadcast after the third."""
    if c.count() == 2:
        c.kept.append(m)
        return ()
    return [m, *c.release()]


@mutant("EV-9", on.turn)
def latest_broadcast_alone(c: ServerContext) -> Payloads:
    """Sends only the latest of the broadcasts that wait, as the Go server does."""
    sent = on.frames_of(c.serve())
    news = [at for at, (_, frame) in enumerate(sent) if frame and frame.event == NEWS]
    return [each for at, (each, _) in enumerate(sent) if at not in news[:-1]]


mutants(
    "EV-1",
    "connects-overtake-disconnects: Connects before the disconnect that it was asked for first.",
    _overtaken(DISCONNECT, CONNECT, namespace="any"),
    "joins-overtake-leaves: Joins a room before it leaves it, as it was asked to.",
    _overtaken(LEAVE, JOIN, namespace="app"),
    "EV-2",
    "one-object-for-all: Gives the handlers of all clients the object of the last one.",
    on.send(lambda c, m: m.replace(body=c.server.connections[-1].id), event="whoami"),
    "handlers-by-event-alone: Gives an event to the handler of that name in whatever namespace.",
    on.receive(lambda _, m: m.reply(m.body), namespace="any", event="echo", is_error=False),
    "commands-everywhere: Gives events of a namespace to the handlers of those names in another.",
    on.receive(do.drop, namespace="any", event=_is_command),
    "events-folded: Treats events as one that differ in their case, or in blanks.",
    on.receive(do.serve_with(event="echo"), event=("Echo", " echo"), is_in=IN_APP),
    "events-of-one-word: Drops events whose names are not one word of ASCII.",
    on.receive(do.drop, namespace="any", event=_is_odd, is_connected=True),
    "bodiless-dropped: Drops an event without a body.",
    on.receive(do.drop, event="echo", is_error=False, is_in=IN_APP, body=lambda body: not body),
    "EV-3",
    "every-system-name-is-taken: Treats every event that begins like a system event as one.",
    on.receive(
        do.drop,
        event=lambda event: (
            event.lower().startswith("_on") and event not in CHANGE_OF and event not in LOCAL_ONLY
        ),
        is_in=IN_ANY,
    ),
    "requests-reach-handlers: Gives a system ask to the handler of every event too.",
    on.receive(
        lambda c, m: [m.reply(m.event), *c.serve()],
        event=(JOIN, LEAVE),
        wait=bool,
        namespace="any",
        is_connected=True,
    ),
    "connected-connects: Connects a namespace that a client reports as connected.",
    on.receive(do.aside(CONNECT), event="_OnNamespaceConnected"),
    "joined-joins: Has a client join a room that it reports as joined.",
    on.receive(do.aside(JOIN), event="_OnRoomJoined"),
    "left-leaves: Has a client leave a room that it reports as left.",
    on.receive(do.aside(LEAVE), event="_OnRoomLeft"),
    "EV-4",
    "notices-delivered: Gives a client's local events to the handler of every event.",
    on.receive(
        _give_event,
        event=("_OnNamespaceConnected", "_OnRoomJoined", "_OnRoomLeft"),
        namespace="any",
        is_connected=True,
    ),
    "any-event-delivered: Treats the name of the handler of every event as an event, as Go does.",
    on.receive(_give_event, event="_OnAnyEvent", namespace="any", is_connected=True),
    "notices-confirmed: Answers a local event that is an ask with the empty reply.",
    on.receive(do.empty_reply, event=tuple(LOCAL_ONLY), wait=bool, is_in=IN_ANY),
    "EV-6",
    "error-text-taken-for-body: Gives an error's text to a handler as the body.",
    on.receive(do.serve_with(is_error=False), event="echo", is_error=True, is_in=IN_APP),
    "errors-dropped: Gives an error to no handler.",
    on.receive(do.drop, event=do.is_event, is_error=True, is_connected=True),
    "EV-8",
    "strangers-told: Broadcasts to clients, too, that have not connected the namespace.",
    _leaking(
        lambda m, other: (
            (other.is_accepted and not other.is_in("app"))
            and (m.event != TO_ROOM and _is_addressed(m, other))
        )
    ),
    "maker-told: Broadcasts to the maker, too, what is for the others.",
    _leaking(lambda m, _: m.event in (TO_OTHERS, TO_ROOM), to_maker=True),
    "rooms-overlooked: Broadcasts to all what is for a room.",
    _leaking(
        lambda m, other: (
            m.event == TO_ROOM and other.is_in("app") and not other.is_in("app", m.room)
        )
    ),
    "ids-overlooked: Broadcasts to all what is for one.",
    _leaking(
        lambda m, other: m.event == TO_ONE and other.is_in("app") and not _is_addressed(m, other)
    ),
    "once-a-member-always-a-member: Broadcasts to all that were ever in the namespace or room.",
    _leaking(
        lambda m, other: (
            ("app", _room(m)) in other.seen
            and not other.is_in("app", _room(m))
            and _is_addressed(m, other)
        )
    ),
    "told-while-joining: Counts a client as a member once it is asked to join, or to connect.",
    _leaking(lambda m, other: _is_asked(m, other) and _is_addressed(m, other)),
    "told-though-refused: Counts a client as a member that has refused to join.",
    _leaking(
        lambda m, other: (
            m.event == TO_ROOM
            and (JOIN, m.room) in [(ask.event, ask.room) for ask in other.settled.values()]
            and not other.is_in("app", m.room)
        )
    ),
    "not-told-when-asked-to-connect: Broadcasts nothing to a client that the server has connected.",
    on.send(
        do.drop,
        event=NEWS,
        settled=lambda asks: any(ask.event == CONNECT for ask in asks.values()),
    ),
    "broadcasts-as-text: Broadcasts binary bodies as text.",
    on.send(do.change(body=lambda body: body.decode("latin-1")), event=NEWS, is_binary=True),
    "broadcasts-by-command: Broadcasts with a room that no client named.",
    on.send(do.change(room="all"), event=NEWS, room=""),
    "told-for-each-connect: Sends a broadcast once for each time that the namespace was connected.",
    Hooks(
        moved=_count_connects,
        send=lambda c, m: [m] * max(c.counts[""], 1) if m.event == NEWS else None,
    ),
    "EV-9",
    "every-tenth-broadcast-lost: Loses one broadcast of ten.",
    do.every_tenth_lost(NEWS),
)
