"""Servers with a fault in asks and replies, events and broadcasts, and tokens between servers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any, Final

from mutation import hooks as on
from mutation import operators as do
from mutation.hooks import CONNECT, DISCONNECT, JOIN, LEAVE, Effect, Hooks, ServerContext, when
from mutation.operators import is_client_token
from mutation.registry import mutant, mutants
from neffos_asyncio.limits import DEFAULT
from neffos_codec import Message
from neffos_conformance.reference.embedded import NOTHING
from neffos_protocol.names import CHANGE_OF, LOCAL_ONLY

LONG: Final = 64
"""Characters for which one of these servers has room in a token."""

VERY_LONG: Final = 20_000
"""Characters from which on one of these servers lets the next message overtake a body."""

DEADLINE: Final = DEFAULT.ask or 0.0
"""Seconds that the server gives its own asks."""

REFUSALS: Final = frozenset({"bad namespace", "room is locked"})
"""Texts with which the server refuses on its own, or a room."""

UNHANDLED: Final = ("no such event", "nobody-handles-this")
"""Events that nothing handles."""

CHANGES: Final = tuple(CHANGE_OF)
"""The events of system asks."""

IN_TEXT: Final = do.change(body=lambda body: body.decode(errors="replace"))
"""Sends a binary body as text."""


@mutant("AR-8", on.receive)
def one_change_at_a_time(c: ServerContext, m: Message) -> Effect:
    """Answers two joins in a row only once."""
    was_join, c.values["is join"] = c.values.get("is join", False), m.event == JOIN
    return do.silently(c, m) if was_join and m.event == JOIN else None


@mutant("AR-11", on.receive, event=CONNECT, wait=is_client_token)
def crossing_ask_taken(c: ServerContext, m: Message) -> Effect:
    """Treats a client's own ask to connect as the reply to that of the server."""
    for ask in (*c.settled.values(), *c.pending(CONNECT)):
        if (ask.event, ask.namespace) == (CONNECT, m.namespace) and ask.wait not in c.seen:
            c.seen.add(ask.wait)
            return c.serve(ask.empty_reply())
    return None


def _now() -> float:
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:  # session vectors are played without a clock
        return 0.0


def _note_time(c: ServerContext, m: Message) -> None:
    c.values[m.wait] = _now()


def _drop_late(c: ServerContext, m: Message) -> Effect:
    return () if _now() - c.values.get(m.wait, _now()) >= DEADLINE else None


def _owner_receives(c: ServerContext, m: Message) -> Any:
    owner = c.server.values.pop(m.wait, None)
    return owner.serve(c.payload) if owner else None


def _oldest_receives(c: ServerContext, m: Message) -> Effect:
    owner, wait = c.server.kept.pop(0)
    sent = owner.serve(m.replace(wait=wait))
    return sent if owner is c else ()


def _drop_foreign(c: ServerContext, m: Message) -> Effect:
    is_odd = "!" in m.wait or m.wait in ("", "M")
    return () if not is_odd and m.wait not in c.seen and m.wait[0] not in "$n" else None


def _note_command(c: ServerContext, m: Message) -> Effect:
    if m.event.startswith("broadcast-"):
        is_word = m.wait[:1] == "$" and m.wait[1:].isalpha()
        c.server.values[str(m.body).rpartition(" ")[2]] = m.wait if is_word else ""
    return None


def _with_token(c: ServerContext, m: Message) -> Effect:
    wait = c.server.values.get(str(m.body).rpartition(" ")[2]) if m.event == "news" else None
    return m.replace(wait=wait) if wait else None


@mutant("AR-17", on.turn)
def refusals_for_all(c: ServerContext) -> on.Payloads:
    """Sends what it answers one client to all others, too, as the next that they get."""
    sent = c.serve()
    for each in c.server.connections:
        if each is not c:
            each.kept += [payload for payload in sent if str(payload).startswith("$secret;")]
    return on.payloads(c.release()) + sent


@mutant("AR-20", on.receive, event=CHANGES, body=bool)
def body_sent_back(c: ServerContext, m: Message) -> Effect:
    """Answers a connect, disconnect, join or leave ask that has a body with that body."""
    return [m.reply(m.body) if each == f"{m.wait};;;;;;" else each for each in c.serve()]


def _as_an_ask(c: ServerContext, m: Message) -> Effect:
    if m.wait in c.seen:
        return c.serve(m.replace(wait=f"past{m.wait}"))
    if c.ask:
        c.seen.add(m.wait)
    return None


SENDER: Final = "neffos(0x"
"""The begin of the name of a connection between servers (SX-1)."""


def _reading(read: Callable[[str], str]) -> Hooks:
    """Read another token out of the wait field of an ask, and reply with that."""

    def hook(c: ServerContext, m: Message) -> Effect:
        sent = on.frames_of(c.serve(m.replace(wait="$marked")))
        return [
            frame.replace(wait=read(m.wait)) if frame and frame.wait == "$marked" else each
            for each, frame in sent
        ]

    return on.receive(hook, wait=do.has("!"))


def _without(wait: str) -> str:
    return wait[0] + wait[2:] if wait[1:2] == "!" else wait


mutants(
    "AR-1 token-used-up: Drops an ask with a token that an earlier ask had.",
    on.receive(do.once(do.drop, "wait"), wait=is_client_token),
    "EV-1 replies-swapped: Holds the first of two replies back until the second is there.",
    on.receive_raw(do.late(payload=lambda payload: str(payload).endswith("first"))),
    "AR-1 token-lost: Replies without the token of the ask, to handlers' events.",
    on.send(do.change(wait=""), event="echo"),
    "AR-1 replies-without-token: Replies without the token of the ask.",
    on.send(do.change(wait=""), wait=is_client_token),
    "AR-1 token-cut: Keeps the first 64 characters of a token.",
    on.send(do.change(wait=lambda wait: wait[:LONG])),
    "AR-1 token-in-ascii: Replaces what is not ASCII in tokens by question marks.",
    on.send(do.change(wait=lambda wait: wait.encode("ascii", "replace").decode())),
    "AR-1 token-trimmed: Trims tokens.",
    on.send(do.change(wait=str.strip)),
    "AR-5 asks-without-token: Asks its question without a token.",
    on.send(do.change(wait=""), event="question"),
    "AR-3 asks-like-a-client: Begins its tokens with $.",
    do.retokened(lambda token: f"${token}", event="question", is_binary=False),
    "AR-3 connects-like-a-client: Begins the tokens of its asks about namespaces and rooms with $.",
    do.retokened(lambda token: f"${token}", event=CHANGES),
    "AR-4 asks-for-confirmation: Begins the tokens of its binary asks with #.",
    do.retokened(lambda token: f"#{token}", event="question", is_binary=True),
    "SX-1 asks-as-a-sender: Makes a connection's name between servers the token of binary asks.",
    do.retokened(lambda token: f"neffos(0x{token})", event="question", is_binary=True),
    "AR-23 asks-with-a-marker: Makes tokens with an exchange marker for binary asks.",
    do.retokened(lambda token: f"{token[0]}!{token[1:]}", event="question", is_binary=True),
    "AR-5 one-token-for-all: Uses the same token for all its asks.",
    do.retokened(lambda _: "1", event="question", is_binary=False),
    "AR-7 error-without-flag: Sends an error text as if it were a body.",
    on.send(do.change(is_error=False)),
    "AR-7 flag-not-repeated: Clears the flag isNoOp in replies.",
    on.send(do.change(is_no_op=False), wait="$1"),
    "AR-7 flag-not-repeated-in-errors: Clears the flag isNoOp in errors.",
    on.send(do.change(is_no_op=False), is_error=True, namespace="app", event="fail"),
    "AR-7 event-not-repeated: Names no event in replies to asks.",
    on.send(do.change(event=""), wait=is_client_token, is_error=False),
    "AR-7 room-not-repeated: Names no room in errors.",
    on.send(do.change(room=""), event="fail"),
    "AR-7 tenth-reply-lost: Loses every tenth reply.",
    on.send(do.every(10, do.drop), event="echo"),
    "AR-8 binary-leave-unanswered: Does not answer a binary ask to leave a room.",
    on.receive(do.silently, event=LEAVE, is_binary=True),
    "AR-8 empty-replies-lost: Performs what a client asks for, and sends no empty reply.",
    on.send(do.drop, is_empty_reply=True),
    "AR-9 silence-answered: Sends an empty reply where the handler returned nothing.",
    on.receive(do.empty_reply, event="silent", wait=is_client_token),
    "AR-9 unhandled-refused: Sends an error for an ask that has no handler.",
    on.receive(do.refuse("no such event"), event=UNHANDLED, wait=bool),
    "AR-9 asking-back-answered: Sends an empty reply once a handler has asked back.",
    on.after(do.empty_reply, event="ask-me", wait=bool),
    "AR-10 tokenless-unanswered: Sends no reply to a message without a token.",
    on.send(do.drop, event="echo", wait=""),
    "AR-10 error-event-lost: Sends errors only to asks.",
    on.send(do.drop, is_error=True, wait=""),
    "AR-10 room-lost: Forgets the room of the message that it answers.",
    on.send(do.change(room=""), event="echo"),
    "AR-10 token-invented: Answers a message without a token with a token of its own.",
    on.send(do.change(wait="17"), event="fail", wait=""),
    "AR-10 tokenless-binary-unanswered: Sends no reply to a binary message without a token.",
    on.send(do.drop, event="echo", wait="", is_binary=True),
    "EV-6 error-taken-for-body: Gives an error's text to a handler as the body.",
    do.received_text(do.swap("echo;1;0;", "echo;0;0;")),
    "AR-11 reply-by-namespace: Accepts a reply only with the namespace of the ask.",
    on.receive(
        lambda c, m: c.serve(m.replace(wait="$0")) if m.namespace != c.ask.namespace else None,
        namespace=bool,
        ask=bool,
    ),
    "AR-11 reply-by-event: Accepts no empty reply as the reply to an event.",
    on.receive(do.drop, event="", answers="question"),
    "AR-11 replies-in-order: Treats a reply as that to its oldest ask, of whichever connection.",
    Hooks(
        receive=when(_oldest_receives, answers="question"),
        send=when(lambda c, m: c.server.kept.append((c, m.wait)), event="question"),
    ),
    "AR-11 next-message-taken: Treats the next event of that name as the reply, despite its token.",
    Hooks(
        receive=when(
            lambda c, m: c.serve(m.replace(wait=c.kept.pop().wait)), kept=bool, event="question"
        ),
        send=when(do.keep, event="question"),
    ),
    "AR-12 one-table-for-all: Accepts the reply of any connection to an ask sent to another.",
    Hooks(
        receive=lambda c, m: (
            ((owner := c.server.values.pop(m.wait, c)) is not c and owner.serve(c.payload)) or None
        ),
        send=lambda c, m: c.server.values.update({m.wait: c} if m.wait in c.server_asks else {}),
    ),
    "AR-13 foreign-tokens-dropped: Treats every token without a $ as one of its own settled asks.",
    Hooks(receive=_drop_foreign, send=do.remember("wait")),
    "AR-16 refusal-in-text: Refuses in text whatever the type of the ask.",
    on.send(IN_TEXT, is_binary=True, body=lambda body: body.decode(errors="replace") in REFUSALS),
    "AR-16 error-in-text: Sends a handler's error in text whatever the type of the ask.",
    on.send(IN_TEXT, is_binary=True, event="fail"),
    "AR-16 replies-in-text: Replies in text to every ask.",
    on.send(IN_TEXT, is_binary=True, wait=is_client_token),
    "AR-16 own-replies-in-text: Sends in text every body but that of the ask.",
    on.send(IN_TEXT, is_binary=True, namespace="any"),
    "AR-17 broadcasts-with-token: Broadcasts with the token of the ask, unless it has a digit.",
    Hooks(receive=_note_command, send=_with_token),
    "AR-19 body-is-success: Treats a reply with a body as success.",
    on.receive(do.accept, answers=CHANGES, body=bool, is_error=False),
    "AR-19 ask-sent-back-is-success: Treats a connect ask that is sent back unchanged as success.",
    on.receive(lambda c, m: do.accept(c, m) if m == c.ask else None, answers=CHANGES),
    "AR-19 refusal-is-success: Treats an error reply as success.",
    on.receive(do.accept, answers=CHANGES, is_error=True),
    "AR-19 body-alone-is-success: Treats a reply of a token and a body as success.",
    on.receive(do.accept, answers=CHANGES, event="", body=bool, is_error=False),
    "AR-19 disconnect-body-is-success: Treats a reply with a body to its disconnect as success.",
    on.receive(do.accept, answers=DISCONNECT, body=bool, is_error=False),
    "AR-21 second-reply-taken-for-ask: Forgets the tokens of its asks once they are settled.",
    Hooks(receive=_as_an_ask, send=do.change(wait=lambda wait: wait.removeprefix("past"))),
    "AR-22 answers-twice: Sends every reply twice.",
    on.send(lambda _, m: [m, m], wait=re.compile(r"\$(?!barrier)").match),
    "AR-22 reply-handled-too: Gives the reply to its ask to a handler of the event it names, too.",
    on.after(lambda _, m: m.error_reply(str(m.body)), answers="question", event="fail"),
    "AR-22 sticky-leave-answered-twice: Replies twice to a leave of a room that nobody may leave.",
    on.after(lambda _, m: m.empty_reply(), event=LEAVE, room="sticky", wait=bool, is_member=False),
    "EV-5 told-of-no-room: Sends a local event after a join that names no room.",
    on.after(
        lambda _, m: Message(namespace=m.namespace, event="_OnRoomJoined"), event=JOIN, room=""
    ),
    "RM-10 last-words: Sends an event for a room after it was left, if its name has a hyphen.",
    on.after(
        lambda _, m: Message(namespace=m.namespace, room=m.room, event="farewell"),
        event=LEAVE,
        room=do.has("-"),
    ),
    "NS-11 last-words-of-a-namespace: Sends an event after a namespace was disconnected.",
    on.after(lambda _, m: Message(namespace=m.namespace, event="farewell"), event=DISCONNECT),
    "SX-1 sender-named: Leaves the name of a broadcast's sender in what clients get.",
    on.send(do.change(wait=f"{SENDER}c000123456)"), event="news"),
    "SX-2 marker-kept: Ignores the exchange marker.",
    _reading(lambda wait: wait),
    "SX-2 all-markers-taken: Takes every exclamation mark out of a token.",
    _reading(lambda wait: wait.replace("!", "") if len(wait) > 2 else wait),
    "SX-2 lone-marker-taken: Takes the marker out where nothing follows it, too.",
    _reading(lambda wait: _without(wait) if wait[0].isascii() else wait),
    "SX-2 marker-behind-any-character: Takes the marker out after a character of several bytes.",
    _reading(lambda wait: _without(wait) if len(wait) > 2 else wait),
    "SX-10 sender-taken: Treats what looks like a sender as one, and answers without a token.",
    on.send(do.change(wait=""), wait=do.begins(SENDER)),
    "SX-10 sender-not-answered: Treats an ask of what looks like a sender as one without a token.",
    on.receive(do.serve_with(wait=""), wait=do.begins(SENDER)),
    "SX-10 sender-left-out: Leaves a connection out of a broadcast that a client says it sent.",
    Hooks(
        receive=lambda c, m: c.server.seen.add((m.wait, m.body)),
        send=when(
            lambda c, m: () if (SENDER + c.id, m.body) in c.server.seen else None, event="news"
        ),
    ),
)


# -------------------------------------------------------------------- events and broadcasts


NEWS = "news"
"""The event of the conformance application's broadcasts."""

TO_OTHERS, TO_ROOM, TO_ONE = "broadcast-others", "broadcast-room", "broadcast-to"
"""Its commands to broadcast, except that to all."""


NOTICES: Final = ("_OnNamespaceConnected", "_OnRoomJoined", "_OnRoomLeft")
"""The local events that report a membership."""

ON: Final = re.compile("_on", re.IGNORECASE).match
"""Tests that an event begins like a system event."""

HANDLED: Final = {"namespace": "any", "is_connected": True}
"""The trigger of frames for a namespace that has a handler of every event."""

IN_ANY, IN_APP = do.in_namespace("any"), do.in_namespace("app")


Leaks = Callable[[Message, ServerContext], bool]
"""Whether a broadcast, by its command, reaches a connection that it should not."""


def _news(command: Message) -> Message:
    body = command.body
    if command.event == TO_ONE:
        body = body.partition(" ")[2] if isinstance(body, str) else body.partition(b" ")[2]
    room = command.room if command.event == TO_ROOM else ""
    return Message(namespace="app", room=room, event=NEWS, body=body)


def _leaking(leaks: Leaks, *, to_maker: bool = False, is_addressed: bool = True) -> Hooks:
    """Run a server whose broadcasts reach connections that they should not.

    A leak is sent as late as possible: before the next payload to that connection.

    Args:
        leaks: whether it reaches a connection.
        to_maker: it reaches nobody but the one that asks for it, in place of all others.
        is_addressed: whether it reaches those whom the command names, or the others.
    """

    def hook(c: ServerContext) -> on.Payloads:
        m = c.message
        if m and m.event.startswith("broadcast-") and c.is_in("app"):
            for each in c.server.connections:
                is_meant = (each is c) == to_maker and _is_addressed(m, each) == is_addressed
                if is_meant and leaks(m, each):
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


def _has_refused(command: Message, other: ServerContext) -> bool:
    asked = [(ask.event, ask.room) for ask in other.settled.values()]
    return (JOIN, _room(command)) in asked and not other.is_in("app", command.room)


@mutant("EV-9", on.turn)
def never_told_by_oneself(c: ServerContext) -> on.Payloads:
    """Sends no client a broadcast that it made itself."""
    if c.payload is not NOTHING:
        c.values["is own"] = c.message and c.message.event in ("broadcast-all", TO_ONE)
    sent = on.frames_of(c.serve())
    is_own = c.values.get("is own")
    return [each for each, frame in sent if not (is_own and frame and frame.event == NEWS)]


@mutant("EV-9", on.turn)
def latest_broadcast_alone(c: ServerContext) -> on.Payloads:
    """Sends only the latest of the broadcasts that wait, as the Go server does."""
    sent = on.frames_of(c.serve())
    news = [at for at, (_, frame) in enumerate(sent) if frame and frame.event == NEWS]
    return [each for at, (each, _) in enumerate(sent) if at not in news[:-1]]


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


mutants(
    "EV-1 connects-overtake-disconnects: Connects before the disconnect that came first.",
    _overtaken(DISCONNECT, CONNECT, namespace="any"),
    "EV-1 joins-overtake-leaves: Joins a room before it leaves it, as it was asked to.",
    _overtaken(LEAVE, JOIN, namespace="app"),
    "EV-1 seventh-falls-behind: Answers every seventh ask only after the next.",
    on.receive(do.late(event="echo", wait=bool, count=lambda count: count() % 7 == 0)),
    "EV-1 seventh-refusal-falls-behind: Refuses each seventh unknown namespace after the next ask.",
    on.receive(
        do.late(event=CONNECT, is_connected=False, count=lambda count: count() % 7 == 0), wait=bool
    ),
    "EV-1 octets-in-a-lane-of-their-own: Lets a text overtake the binary message before it.",
    on.receive(do.late(is_binary=True), event="echo"),
    "EV-1 joins-first: Lets a join overtake the event before it.",
    on.receive(do.late(event="echo", wait="", is_member=False)),
    "EV-1 joins-fall-behind: Performs a join only after the next message.",
    on.receive(do.late(event=JOIN)),
    "EV-1 failures-fall-behind: Handles what fails, or gets no reply, after the next other event.",
    on.receive(do.late(event=("fail", "silent"))),
    "EV-1 long-messages-fall-behind: Handles a long message only after the next.",
    on.receive(do.late(event="echo", body=lambda body: len(body) >= VERY_LONG)),
    "EV-2 one-object-for-all: Gives the handlers of all clients the object of the last one.",
    on.send(lambda c, m: m.replace(body=c.server.connections[-1].id), event="whoami"),
    "EV-2 handlers-by-event-alone: Gives an event to the handler of that name in any namespace.",
    on.receive(lambda _, m: m.reply(m.body), namespace="any", event="echo", is_error=False),
    "EV-2 commands-everywhere: Gives the events of a namespace to the handlers of another.",
    on.receive(do.drop, namespace="any", event=re.compile(".*-me").fullmatch),
    "EV-2 events-folded: Treats events as one that differ in their case, or in blanks.",
    on.receive(do.serve_with(event="echo"), event=("Echo", " echo"), is_in=IN_APP),
    "EV-2 events-of-one-word: Drops events whose names are not one word of ASCII.",
    on.receive(do.drop, namespace="any", event=re.compile("[^!-~]").search, is_connected=True),
    "EV-2 bodiless-dropped: Drops an event without a body.",
    on.receive(do.drop, event="echo", is_error=False, is_in=IN_APP, body=lambda body: not body),
    "EV-3 every-system-name-is-taken: Treats every event that begins like a system event as one.",
    on.receive(when(do.drop, event=do.isnt(*CHANGES, *LOCAL_ONLY)), event=ON, is_in=IN_ANY),
    "EV-3 disconnects-read-loosely: Treats every event that has the name of a disconnect as one.",
    on.receive(
        do.empty_reply,
        event=lambda event: "namespacedisconnect" in event.lower() and event != DISCONNECT,
        wait=bool,
    ),
    "EV-3 requests-reach-handlers: Gives a system ask to the handler of every event too.",
    on.receive(
        lambda c, m: [m.reply(m.event), *c.serve()], event=(JOIN, LEAVE), wait=bool, **HANDLED
    ),
    "EV-3 connected-connects: Connects a namespace that a client reports as connected.",
    on.receive(do.aside(CONNECT), event="_OnNamespaceConnected"),
    "EV-3 joined-joins: Has a client join a room that it reports as joined.",
    on.receive(do.aside(JOIN), event="_OnRoomJoined"),
    "EV-3 left-leaves: Has a client leave a room that it reports as left.",
    on.receive(do.aside(LEAVE), event="_OnRoomLeft"),
    "EV-4 notices-delivered: Gives a client's local events to the handler of every event.",
    on.receive(do.event_as_body, event=NOTICES, **HANDLED),
    "EV-4 any-event-delivered: Treats the name of the handler of every event as an event, as Go.",
    on.receive(do.event_as_body, event="_OnAnyEvent", **HANDLED),
    "EV-4 notices-confirmed: Answers a local event that is an ask with the empty reply.",
    on.receive(do.empty_reply, event=tuple(LOCAL_ONLY), wait=bool, is_in=IN_ANY),
    "EV-4 notices-confirmed-elsewhere: Answers so in a namespace that handles nothing of the kind.",
    on.receive(do.empty_reply, event=tuple(LOCAL_ONLY), wait=bool, is_in=IN_APP),
    "EV-6 error-text-taken-for-body: Gives an error's text to a handler as the body.",
    on.receive(do.serve_with(is_error=False), event="echo", is_error=True, is_in=IN_APP),
    "EV-2 errors-dropped: Gives an error to no handler.",
    on.receive(do.drop, event=do.is_event, is_error=True, is_connected=True),
    "EV-8 strangers-told: Broadcasts to clients, too, that have not connected the namespace.",
    _leaking(lambda m, to: m.event != TO_ROOM and to.is_accepted and not to.is_in("app")),
    "EV-8 maker-told: Broadcasts to the maker, too, what is for the others.",
    _leaking(lambda m, _: m.event in (TO_OTHERS, TO_ROOM), to_maker=True),
    "EV-8 rooms-overlooked: Broadcasts to all what is for a room.",
    _leaking(lambda m, to: m.event == TO_ROOM and to.is_in("app") and not to.is_in("app", m.room)),
    "EV-8 ids-overlooked: Broadcasts to all what is for one.",
    _leaking(lambda _, to: to.is_in("app"), is_addressed=False),
    "EV-8 once-a-member-always-a-member: Broadcasts to all that were in the namespace or room.",
    _leaking(lambda m, to: ("app", _room(m)) in to.seen - to.memberships),
    "EV-8 told-while-joining: Counts a client as a member once it is asked to join, or to connect.",
    _leaking(_is_asked),
    "EV-8 told-though-refused: Counts a client as a member that has refused to join.",
    _leaking(_has_refused),
    "EV-9 not-told-when-asked-to-connect: Broadcasts nothing to clients that the server connected.",
    on.send(do.drop, event=NEWS, settled=lambda asks: CONNECT in {m.event for m in asks.values()}),
    "FR-10 broadcasts-as-text: Broadcasts binary bodies as text.",
    on.send(do.change(body=lambda body: body.decode("latin-1")), event=NEWS, is_binary=True),
    "EV-8 broadcasts-by-command: Broadcasts with a room that no client named.",
    on.send(do.change(room="all"), event=NEWS, room=""),
    "EV-8 told-for-each-connect: Sends a broadcast once for each connect of the namespace.",
    Hooks(
        moved=when(lambda c: c.kept.append(""), begun=lambda begun: ("app", "") in begun),
        send=when(lambda c, m: [m] * max(len(c.kept), 1), event=NEWS),
    ),
    "EV-9 broadcasts-lost: Sends no broadcast.",
    on.send(do.drop, event=NEWS),
    "EV-9 second-broadcast-later: Sends the second broadcast after the third.",
    on.send(do.delayed(count=lambda count: count() == 2), event=NEWS),
    "EV-5 local-event-pushed: Sends an event that is named like a local event.",
    on.receive(do.give(";app;;_OnRoomJoined;0;0;pushed"), event="push", body="_OnRoomJoined"),
    "EV-5 any-event-pushed: Sends an event that is named like the handler of every event.",
    on.receive(do.give(";app;;_OnAnyEvent;0;0;pushed"), event="push", body="_OnAnyEvent"),
    "EV-5 leave-noticed: Sends the local event of a room that a client has left.",
    on.after(
        lambda _, m: m.replace(wait="", event="_OnRoomLeft"),
        event=LEAVE,
        wait=bool,
        room=do.begins("hall "),
    ),
    "AR-15 waits-for-ever: Waits indefinitely for the reply to an ask.",
    do.limited(ask=None),
    "AR-15 late-joins-forgotten: Drops the reply to its own join after the deadline.",
    Hooks(
        send=when(_note_time, event=JOIN, wait=bool),
        receive=when(_drop_late, is_empty_reply=True),
    ),
    "EV-11 reply-first: Sends the reply of a handler before what the handler sent.",
    on.receive(lambda c, _: c.serve()[::-1], event="push", body=do.begins("pushed-")),
    "EV-9 every-tenth-broadcast-lost: Loses one broadcast of ten.",
    on.send(do.every(10, do.drop), event=NEWS),
)
