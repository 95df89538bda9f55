"""Clients with a fault in namespaces."""

from __future__ import annotations

from mutation import client_faults as on
from mutation import operators as do
from mutation.client_faults import HANG, ClientContext, ClientFault
from mutation.clients.values import is_foreign, is_own, remember
from mutation.hooks import CONNECT, DISCONNECT, JOIN, LEAVE, Effect, when
from mutation.registry import mutant, mutants
from neffos_codec import Message
from neffos_conformance.runner.driver_protocol import Values
from neffos_protocol.names import CHANGE_OF


def _is_system(event: str) -> bool:
    return event in CHANGE_OF


def _is_event(event: str) -> bool:
    return bool(event) and not _is_system(event)


def _performed(**trigger: object) -> ClientFault:
    """Perform a system ask that is to be ignored, without a reply."""
    return ClientFault(
        receive=when(do.serve_with(wait="own", is_no_op=False), **trigger),
        send=when(do.drop, wait="own"),
    )


def _client_first(c: ClientContext, _: Message) -> None:
    c.kept.append("client")


def _server_first(c: ClientContext, m: Message) -> Effect:
    if m.event == CONNECT and m.wait:
        c.kept.append("server")
    is_event = not _is_system(m.event) and not is_own(m.wait)
    return () if is_event and c.kept[:1] == ["server"] else None


def _once(c: ClientContext, m: Message) -> Effect:
    if m.event == DISCONNECT:
        c.seen.discard(m.namespace)
        return None
    is_refused = m.namespace in c.seen and is_foreign(m.wait)
    return m.error_reply("connected already") if is_refused else None


@mutant("NS-6", on.receive, event=(DISCONNECT, "echo"))
def events_outlive_their_namespace(c: ClientContext, m: Message) -> Effect:
    """Goes on handling the events of a disconnected namespace."""
    if m.event == DISCONNECT:
        c.seen.add(m.namespace)
    is_late = m.event == "echo" and not m.wait and m.namespace in c.seen
    return m if is_late else None


@mutant("NS-9", on.receive)
def deaf_while_it_connects(c: ClientContext, m: Message) -> Effect:
    """Receives nothing more after an event of a namespace that it is connecting."""
    if (
        not _is_system(m.event)
        and not m.wait
        and m.namespace in [ask.namespace for ask in c.pending(CONNECT)]
    ):
        c.seen.add(c.current)
    return () if c.current in c.seen else None


def _speaks(c: ClientContext, op: str, fields: Values) -> None:
    if op not in ("emit", "ask") or fields.get("room") or c.is_closing:
        return
    if op == "emit" or fields["namespace"] == "any":
        names = {name: fields[name] for name in ("namespace", "event")}
        token = "$own" if op == "ask" else ""
        c.say_last(Message(wait=token, **names, body=fields["text"]))


@mutant("NS-13", on.receive, event=(JOIN, LEAVE), wait=bool)
def leaves_no_room(c: ClientContext, m: Message) -> Effect:
    """Refuses to leave a room that the server had it join."""
    if m.event == JOIN:
        c.seen.add(m.room)
    return m.error_reply("I like it here") if m.event == LEAVE and m.room in c.seen else None


@mutant("NS-14", on.send)
def leaves_rooms_one_by_one(c: ClientContext, m: Message) -> Effect:
    """Sends a leave for each room when its namespace is disconnected."""
    ask = c.server_asks.get(m.wait, m)
    leaves = [f"$own;app;{room};{LEAVE};0;0;" for room in c.rooms("app")]
    return [m, *leaves] if ask.event == DISCONNECT and leaves else None


def _left_behind(c: ClientContext, op: str, fields: Values) -> Values | None:
    return {} if op == "emit" and fields.get("room") and c.seen else None


@mutant("NS-16", on.receive, event=_is_event)
def slow_to_connect(c: ClientContext, m: Message) -> Effect:
    """Misses events that follow closely on the reply to its connect."""
    connecting = [fields["namespace"] for op, fields in c.running if op == "connect"]
    return () if m.namespace in connecting else None


@mutant("NS-18", on.receive)
def replies_outlive_their_namespace(c: ClientContext, m: Message) -> Effect:
    """Sends the reply of a handler whose namespace was disconnected meanwhile."""
    if m.event == "relay":
        c.kept.append(m)
    if m.event == DISCONNECT:
        c.count()
    if is_own(m.wait) and c.counts[""] and c.kept:
        c.say(c.kept.pop())
    return None


mutants(
    "NS-13",
    "stays-where-its-rooms-are: Refuses a disconnect while it has joined a room.",
    on.receive(
        lambda c, m: m.error_reply("I like it here") if c.rooms("app") else None,
        event=DISCONNECT,
        wait=bool,
    ),
    "NS-1",
    "deaf-where-it-was-put: Drops the events of a namespace that the server connected.",
    ClientFault(
        send=when(_client_first, event=CONNECT), receive=when(_server_first, namespace="app")
    ),
    "NS-2",
    "connects-without-token: Performs a connect that has no token.",
    _performed(event=CONNECT, wait=""),
    "connects-with-no-op: Performs a connect with isNoOp.",
    _performed(event=CONNECT, is_no_op=True),
    "NS-3",
    "another-text-for-unknown: Refuses an unknown namespace with another text.",
    on.send(do.change(body="no such namespace"), event=CONNECT, body="bad namespace"),
    "NS-4",
    "application-not-asked: Connects a namespace that its application refuses.",
    on.receive(do.empty_reply, event=CONNECT, namespace="unwanted", wait=bool),
    "NS-5",
    "connected-once: Refuses a connect of a namespace that it has connected, or is connecting.",
    ClientFault(
        send=remember("namespace", event=CONNECT, wait=is_own),
        receive=when(_once, event=(CONNECT, DISCONNECT)),
    ),
    "NS-8",
    "nothing-to-disconnect: Refuses to disconnect a namespace that is not connected.",
    on.receive(do.refuse("it is not connected"), event=DISCONNECT, wait=bool, is_connected=False),
    "NS-9",
    "errors-from-nowhere: Sends the error of an event whose namespace is not connected.",
    on.receive(lambda _, m: m.error_reply(str(m.body)), event="fail", namespace="any", wait=""),
    "errors-answered: Replies with an error to an error for a namespace that is not connected.",
    on.receive(
        do.refuse("bad namespace"), is_error=True, event="echo", wait=bool, is_connected=False
    ),
    "NS-10",
    "disconnects-without-token: Performs a disconnect that has no token.",
    _performed(event=DISCONNECT, wait=""),
    "joins-without-token: Performs a join that has no token.",
    _performed(event=JOIN, wait=""),
    "leaves-with-no-op: Performs a leave with isNoOp.",
    _performed(event=LEAVE, is_no_op=True),
    "NS-11",
    "speaks-where-it-is-not: Sends events and asks for namespaces that are not connected.",
    ClientFault(failed=_speaks),
    "NS-12",
    "errors-carried-out: Performs a system ask with isError.",
    on.receive(
        do.serve_with(is_error=False, body=""),
        event=_is_system,
        wait=lambda token: not is_own(token),
    ),
    "NS-14",
    "rooms-outlive-their-namespace: Keeps its rooms when their namespace is connected again.",
    ClientFault(
        receive=remember("namespace", event=DISCONNECT, wait=bool, is_error=False),
        failed=_left_behind,
    ),
    "NS-15",
    "empty-namespace-is-always-there: Handles events of the empty namespace too early.",
    on.receive(lambda _, m: m, event="echo", namespace="", is_connected=False),
    "no-namespace-without-name: Has no namespace without a name.",
    on.receive(do.refuse("bad namespace"), event=CONNECT, namespace="", wait=bool),
    "NS-17",
    "silent-where-it-is-not: Does not reply to asks in a namespace that is not connected.",
    on.send(do.drop, body="bad namespace", event=lambda event: event != CONNECT),
    "NS-18",
    "asks-outlive-their-namespace: Leaves its asks pending when their namespace is disconnected.",
    ClientFault(
        receive=remember("namespace", event=DISCONNECT, wait=bool),
        failed=lambda c, op, _: HANG if op == "ask" and c.seen else None,
    ),
)
