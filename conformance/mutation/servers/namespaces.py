"""Servers with a fault in namespaces."""

from __future__ import annotations

from mutation import hooks as on
from mutation import operators as do
from mutation.hooks import CONNECT, DISCONNECT, JOIN, LEAVE, Effect, ServerContext
from mutation.registry import mutant, mutants
from neffos_codec import Message
from neffos_protocol.names import CHANGE_OF

UNKNOWN, CLOSED, STICKY = "bad namespace", "namespace is closed", "namespace is sticky"
"""The texts of refusals: an unknown namespace's, and those of the conformance application."""

OTHERS = (DISCONNECT, JOIN, LEAVE)
"""The events of system asks, except that of a connect."""


def _is_other(event: str) -> bool:
    return event != CONNECT


@mutant("NS-1", on.receive, event=CONNECT, wait=bool)
def connects_only_once(c: ServerContext, m: Message) -> Effect:
    """Reports that a namespace is connected again, and leaves it as it was."""
    if m.namespace in c.seen and not c.is_connected:
        return m.empty_reply()
    c.seen.add(m.namespace)
    return None


@mutant("NS-1", on.receive)
def refused_once_and_for_all(c: ServerContext, m: Message) -> Effect:
    """Treats a client's refusal of a connect as final."""
    if c.ask and c.answers == CONNECT and m.is_error:
        c.seen.add(c.ask.namespace)
    if m.event != CONNECT or m.namespace not in c.seen or c.ask:
        return None
    return () if m.is_error else m.error_reply("you did not want it")


@mutant("NS-1", on.moved)
def one_namespace_at_a_time(c: ServerContext) -> Effect:
    """Disconnects one namespace when another is connected."""
    before = {name for name, _ in c.before}
    due = before if set(c.namespaces) - before else ()
    return [sent for name in due for sent in c.aside(DISCONNECT, name)]


@mutant("NS-5", on.receive)
def connect_calls_disconnect_off(c: ServerContext, m: Message) -> Effect:
    """Forgets its own disconnect when the client connects meanwhile."""
    if m.wait in c.seen:
        return ()
    if m.event == CONNECT:
        c.seen |= {token for token, ask in c.server_asks.items() if ask.event == DISCONNECT}
    return m.empty_reply() if m.event == CONNECT and c.seen else None


def _disconnected(c: ServerContext) -> set[str]:
    """Give the namespaces that the current frame has disconnected."""
    return {name for name, _ in c.before}.difference(c.namespaces)


@mutant("NS-7", on.receive, namespace="sticky")
def sticky_disconnected(c: ServerContext, m: Message) -> Effect:
    """Reports that a disconnect is refused, and performs it."""
    if m.event == DISCONNECT:
        c.count()
    return m.error_reply(UNKNOWN) if c.counts and m.event == JOIN and m.wait else None


@mutant("NS-7", on.receive, event=DISCONNECT, wait=bool)
def all_are_sticky(c: ServerContext, m: Message) -> Effect:
    """Refuses every disconnect once one was refused."""
    if m.namespace == "sticky":
        c.count()
        return None
    return m.error_reply(STICKY) if c.counts else None


@mutant("NS-9", on.after)
def unconnected_kept(c: ServerContext, m: Message) -> Effect:
    """Keeps events for a namespace until it is connected."""
    if c.is_accepted and m.event not in CHANGE_OF and not m.wait:
        if not c.is_connected:
            c.kept.append(m)
        return ()
    due = [each for each in c.kept if c.is_in(each.namespace)]
    c.kept = [each for each in c.kept if not c.is_in(each.namespace)]
    return [sent for each in due for sent in c.serve(each)]


@mutant("NS-9", on.receive)
def refusal_taken_for_acceptance(c: ServerContext, m: Message) -> Effect:
    """Handles the events of a namespace that the client refused, as Go servers do."""
    if c.ask and c.answers == CONNECT and m.is_error:
        c.seen.add(c.ask.namespace)
    is_stray = m.namespace in c.seen and not c.is_connected
    return m.reply(m.event) if is_stray and m.event not in CHANGE_OF else None


@mutant("NS-9", on.receive, event=do.is_event)
def early_event_connects(c: ServerContext, m: Message) -> Effect:
    """Treats an event as the acceptance of the connect that is pending."""
    is_early = m.namespace in {ask.namespace for ask in c.pending(CONNECT)}
    return [*c.aside(CONNECT, m.namespace), *c.serve()] if is_early else None


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


@mutant("NS-14", on.moved)
def rooms_survive(c: ServerContext) -> Effect:
    """Has a client join its old rooms when it connects again."""
    gone = _disconnected(c)
    for name in gone:
        c.values[name] = [room for where, room in sorted(c.before) if where == name and room]
    due = [(name, room) for name in c.namespaces for room in c.values.pop(name, ())]
    return [sent for name, room in due for sent in c.aside(JOIN, name, room)]


@mutant("NS-14", on.moved)
def rooms_left_aloud(c: ServerContext) -> Effect:
    """Reports each room that ends with its namespace."""
    gone = [each for each in sorted(c.before) if each[1] and not c.is_in(each[0])]
    return [Message(namespace=name, room=room, event="_OnRoomLeft") for name, room in gone]


@mutant("NS-14", on.moved)
def rooms_end_everywhere(c: ServerContext) -> Effect:
    """Takes a client out of its rooms in all namespaces when one is disconnected."""
    due = [each for each in sorted(c.memberships) if each[1]] if _disconnected(c) else []
    return [sent for each in due for sent in c.aside(LEAVE, *each)]


@mutant("NS-18", on.after)
def ended_asks_refused(c: ServerContext, m: Message) -> Effect:
    """Answers the pending asks of a namespace with errors when it is disconnected."""
    is_over = (m.namespace, "") in c.before and not c.is_connected
    asks = [ask for ask in c.client_asks.values() if ask.event not in CHANGE_OF]
    return [ask.error_reply("disconnected") for ask in asks if is_over]


mutants(
    "NS-1",
    "connect-without-effect: Reports that a namespace is connected, and drops its events.",
    on.send(do.drop, event="echo"),
    "acceptance-overlooked: Ignores a client's acceptance of the server's connect.",
    on.receive(do.drop, answers=CONNECT, is_empty_reply=True),
    "one-connect-at-a-time: Refuses a client's connect while its own is pending.",
    do.refused_while_asking(CONNECT, answers=""),
    "refused-disconnect-obeyed: Disconnects a client that has refused that, as Go counts it.",
    on.after(do.aside(DISCONNECT), answers=DISCONNECT, is_error=True),
    "NS-2",
    "tokenless-connect-taken: Connects a namespace without an ask for a reply.",
    on.receive(do.aside(CONNECT), event=CONNECT, wait=""),
    "no-op-connect-taken: Connects a namespace though the frame asks for nothing to be done.",
    on.receive(do.serve_with(is_no_op=False), event=CONNECT, is_no_op=True),
    "tokenless-connect-answered: Complains about a connect without a token.",
    on.receive(do.refuse("no token"), event=CONNECT, wait=""),
    "NS-3",
    "other-text-for-unknown: Refuses an unknown namespace in words of its own.",
    on.send(do.change(body="not found"), body=UNKNOWN, event=CONNECT),
    "events-are-namespaces: Lets a client connect the name of an event.",
    on.receive(do.empty_reply, event=CONNECT, namespace="echo", wait=bool),
    "empty-stands-for-default: Treats the empty namespace as the name of its first one.",
    on.send(do.empty_reply, event=CONNECT, namespace="", is_error=True),
    "patience-with-unknown-ends: Refuses an unknown namespace in other words from the tenth time.",
    on.send(
        lambda c, m: m.replace(body="too many mistakes") if c.count() >= 10 else None,
        event=CONNECT,
        body=UNKNOWN,
    ),
    "unknown-disconnects-all: Disconnects everything when it refuses an unknown namespace.",
    on.after(do.disconnect_all, event=CONNECT, namespace="nowhere"),
    "NS-4",
    "refusal-ignored: Connects a namespace that the application refused.",
    on.send(do.empty_reply, body=CLOSED),
    "refusal-told-otherwise: Refuses what the application refused as if it were unknown.",
    on.send(do.change(body=UNKNOWN), body=CLOSED),
    "refused-the-first-time: Connects a refused namespace at the second ask.",
    do.accepted_from_the_second(CLOSED),
    "refused-and-connected: Reports that a namespace is refused, and lets its rooms be joined.",
    on.receive(do.empty_reply, event=JOIN, namespace="refused", wait=bool),
    "refusal-disconnects-all: Disconnects everything when the application refuses a namespace.",
    on.after(do.disconnect_all, event=CONNECT, namespace="refused"),
    "NS-5",
    "second-connect-refused: Treats a second connect as a mistake.",
    on.receive(do.refuse_ask("connected already"), event=CONNECT, is_connected=True),
    "second-connect-counts: Counts connects, and wants as many disconnects.",
    do.counted(CONNECT, DISCONNECT, is_connected=True),
    "NS-6",
    "disconnect-takes-all: Disconnects every namespace when one is disconnected.",
    on.moved(lambda c: do.disconnect_all(c) if _disconnected(c) else ()),
    "disconnect-without-effect: Reports a disconnect, and goes on with the namespace's events.",
    on.receive(
        do.empty_reply,
        event=DISCONNECT,
        namespace=("app", ""),
        wait=bool,
        is_no_op=False,
        is_error=False,
    ),
    "own-disconnect-without-effect: Goes on with a namespace that a client left when asked to.",
    do.after_acceptance(DISCONNECT, CONNECT),
    "disconnect-refused-while-asking: Refuses a client's disconnect while its own is pending.",
    do.refused_while_asking(DISCONNECT, wait=bool),
    "NS-7",
    "sticky-released: Reports the disconnect of a namespace that the application refused.",
    on.send(do.empty_reply, body=STICKY),
    "sticky-once: Refuses a disconnect once, and no second time.",
    do.accepted_from_the_second(STICKY),
    "NS-8",
    "needless-disconnect-refused: Refuses to disconnect a namespace that is not connected.",
    on.receive(
        do.refuse("not connected"), event=DISCONNECT, is_connected=False, wait=bool, answers=""
    ),
    "unknown-disconnect-refused: Refuses to disconnect an unknown namespace.",
    on.receive(do.refuse(UNKNOWN), event=DISCONNECT, namespace="nowhere", wait=bool),
    "disconnect-calls-connect-off: Forgets its own connect when the client disconnects meanwhile.",
    do.calling_off(CONNECT, by=DISCONNECT),
    "NS-9",
    "unconnected-answered: Answers events for a namespace that is not connected.",
    on.receive(
        do.refuse(UNKNOWN), event=do.is_event, wait="", is_accepted=True, is_connected=False
    ),
    "unconnected-errors-answered: Answers errors too for a namespace that is not connected.",
    on.receive(
        do.refuse(UNKNOWN),
        event=do.is_event,
        is_error=True,
        is_accepted=True,
        is_connected=False,
    ),
    "NS-17",
    "unconnected-unanswered: Drops asks for a namespace that is not connected, as Go does.",
    on.send(do.drop, body=UNKNOWN, event=_is_other),
    "unconnected-in-own-words: Refuses asks for an unconnected namespace in words of its own.",
    on.send(do.change(body="not connected"), body=UNKNOWN, event=_is_other),
    "NS-10",
    "tokenless-requests-taken: Performs a disconnect, a join and a leave that ask for no reply.",
    on.receive(_perform, event=OTHERS, wait=""),
    "no-op-requests-taken: Performs a disconnect, a join and a leave that are to do nothing.",
    on.receive(do.serve_with(is_no_op=False), event=OTHERS, is_no_op=True),
    "NS-12",
    "errors-carried-out: Performs system asks that are marked as errors, as the Go server does.",
    on.receive(
        lambda c, m: [*_perform(c, m), *([m.empty_reply()] if m.wait else [])],
        event=tuple(CHANGE_OF),
        is_error=True,
        answers="",
    ),
    "errors-carried-out-in-silence: Performs system asks that are errors, and does not answer.",
    on.receive(_perform, event=tuple(CHANGE_OF), is_error=True, answers=""),
    "NS-18",
    "ended-disconnect-carried-out: Disconnects at a late reply, though the client did so before.",
    do.after_acceptance(DISCONNECT, DISCONNECT),
    "NS-15",
    "empty-namespace-always-there: Treats the empty namespace as connected from the start.",
    do.returned(";;;echo;0;0;hi"),
    "empty-namespace-refused: Refuses the empty name.",
    on.receive(do.refuse(UNKNOWN), event=CONNECT, namespace="", wait=bool),
    "empty-namespace-without-rooms: Has no rooms in the empty namespace.",
    on.receive(do.refuse("bad room"), event=JOIN, namespace="", wait=bool),
)
