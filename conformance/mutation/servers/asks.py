"""Servers with a fault in asks and replies, and in tokens that belong between servers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mutation import hooks as on
from mutation import operators as do
from mutation.hooks import CONNECT, JOIN, LEAVE, Effect, Hooks, ServerContext
from mutation.registry import mutant, mutants
from neffos_codec import Message
from neffos_protocol.names import CHANGE_OF

LONG: Final = 64
"""Characters for which one of these servers has room in a token."""

REFUSALS: Final = frozenset({"bad namespace", "room is locked"})
"""Texts with which the server refuses on its own, or a room."""

CHANGES: Final = tuple(CHANGE_OF)
"""The events of system asks."""

IN_TEXT: Final = do.change(body=lambda body: body.decode(errors="replace"))
"""Sends a binary body as text."""


def _is_of_client(wait: str) -> bool:
    return wait.startswith("$")


@mutant("AR-1", on.receive, wait=_is_of_client)
def token_used_up(c: ServerContext, m: Message) -> Effect:
    """Drops an ask with a token that an earlier ask had."""
    if m.wait in c.seen:
        return ()
    c.seen.add(m.wait)
    return None


@mutant("AR-7", on.turn)
def replies_swapped(c: ServerContext) -> on.Payloads:
    """Holds the first of two replies back until the second is there."""
    sent = c.serve()
    if isinstance(c.payload, str) and c.payload.endswith("first"):
        c.kept += sent
        return []
    return sent + c.release()


@mutant("AR-8", on.receive)
def one_change_at_a_time(c: ServerContext, m: Message) -> Effect:
    """Answers two joins in a row only once."""
    was_join, c.values["is join"] = c.values.get("is join", False), m.event == JOIN
    return do.silently(c, m) if was_join and m.event == JOIN else None


def _note_question(c: ServerContext, m: Message) -> Effect:
    if m.event == "question":
        c.values["asked"] = m.wait
    return None


def _take_next(c: ServerContext, m: Message) -> Effect:
    is_taken = m.event == "question" and "asked" in c.values
    return c.serve(m.replace(wait=c.values.pop("asked"))) if is_taken else None


@mutant("AR-11", on.receive, event=CONNECT, wait=_is_of_client)
def crossing_ask_taken(c: ServerContext, m: Message) -> Effect:
    """Treats a client's own ask to connect as the reply to that of the server."""
    for ask in (*c.settled.values(), *c.pending(CONNECT)):
        if (ask.event, ask.namespace) == (CONNECT, m.namespace) and ask.wait not in c.seen:
            c.seen.add(ask.wait)
            return c.serve(ask.empty_reply())
    return None


def _note_owner(c: ServerContext, m: Message) -> Effect:
    if m.wait in c.server_asks:
        c.server.values[m.wait] = c
    return None


def _take_of_any(c: ServerContext, m: Message) -> Effect:
    owner = c.server.values.pop(m.wait, None)
    sent: Effect = owner.serve(c.payload) if owner else None
    return sent


def _note_token(c: ServerContext, m: Message) -> Effect:
    c.seen.add(m.wait)
    return None


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


def _successful(is_wrongly: Callable[[Message, Message], bool]) -> Hooks:
    """Treat some replies to system asks as success."""
    return do.replies(
        lambda reply, ask: (
            reply.empty_reply() if ask.event in CHANGE_OF and is_wrongly(reply, ask) else reply
        )
    )


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


def _twice(c: ServerContext, m: Message) -> Effect:
    is_reply = c.message is not None and m.wait == c.message.wait != "$barrier"
    return [m, m] if is_reply else None


SENDER: Final = "neffos(0x"
"""The begin of the name of a connection between servers (SX-1)."""


def _names_sender(wait: str) -> bool:
    return wait.startswith(SENDER)


def _reading(read: Callable[[str], str]) -> Hooks:
    """Read another token out of the wait field of an ask, and reply with that."""

    def hook(c: ServerContext, m: Message) -> Effect:
        sent = on.frames_of(c.serve(m.replace(wait="$marked")))
        return [
            frame.replace(wait=read(m.wait)) if frame and frame.wait == "$marked" else each
            for each, frame in sent
        ]

    return on.receive(hook, wait=lambda wait: "!" in wait)


def _without(wait: str) -> str:
    return wait[0] + wait[2:] if wait[1:2] == "!" else wait


def _note_sender(c: ServerContext, m: Message) -> Effect:
    if _names_sender(m.wait):
        c.server.values[str(m.body)] = m.wait.removeprefix(SENDER)
    return None


def _leave_out(c: ServerContext, m: Message) -> Effect:
    is_out = m.event == "news" and c.server.values.get(str(m.body)) == c.id
    return () if is_out else None


mutants(
    "AR-1",
    "token-lost: Replies without the token of the ask, to handlers' events.",
    on.send(do.change(wait=""), event="echo"),
    "token-cut: Keeps the first 64 characters of a token.",
    on.send(do.change(wait=lambda wait: wait[:LONG])),
    "token-in-ascii: Replaces what is not ASCII in tokens by question marks.",
    on.send(do.change(wait=lambda wait: wait.encode("ascii", "replace").decode())),
    "token-trimmed: Trims tokens.",
    on.send(do.change(wait=str.strip)),
    "asks-without-token: Asks its question without a token.",
    on.send(do.change(wait=""), event="question"),
    "AR-3",
    "asks-like-a-client: Begins its tokens with $.",
    do.retokened(lambda token: f"${token}", event="question", is_binary=False),
    "connects-like-a-client: Begins the tokens of its asks about namespaces and rooms with $.",
    do.retokened(lambda token: f"${token}", event=CHANGES),
    "AR-4",
    "asks-for-confirmation: Begins the tokens of its binary asks with #.",
    do.retokened(lambda token: f"#{token}", event="question", is_binary=True),
    "SX-1",
    "asks-as-a-sender: Makes the tokens of its binary asks of a connection's name between servers.",
    do.retokened(lambda token: f"neffos(0x{token})", event="question", is_binary=True),
    "AR-5",
    "one-token-for-all: Uses the same token for all its asks.",
    do.retokened(lambda _: "1", event="question", is_binary=False),
    "AR-7",
    "error-without-flag: Sends an error text as if it were a body.",
    on.send(do.change(is_error=False)),
    "flag-not-repeated: Clears the flag isNoOp in replies.",
    on.send(do.change(is_no_op=False), wait="$1"),
    "event-not-repeated: Names no event in replies to asks.",
    on.send(do.change(event=""), wait=_is_of_client, is_error=False),
    "room-not-repeated: Names no room in errors.",
    on.send(do.change(room=""), event="fail"),
    "tenth-reply-lost: Loses every tenth reply.",
    on.send(do.every(10, do.drop), event="echo"),
    "AR-8",
    "binary-leave-unanswered: Does not answer a binary ask to leave a room.",
    on.receive(do.silently, event=LEAVE, is_binary=True),
    "AR-9",
    "silence-answered: Sends an empty reply where the handler returned nothing.",
    on.receive(do.empty_reply, event="silent", wait=_is_of_client),
    "unhandled-refused: Sends an error for an ask that has no handler.",
    on.receive(do.refuse("no such event"), event="no such event", wait=bool),
    "asking-back-answered: Sends an empty reply once a handler has asked back.",
    on.after(do.empty_reply, event="ask-me", wait=bool),
    "AR-10",
    "tokenless-unanswered: Sends no reply to a message without a token.",
    on.send(do.drop, event="echo", wait=""),
    "error-event-lost: Sends errors only to asks.",
    on.send(do.drop, is_error=True, wait=""),
    "room-lost: Forgets the room of the message that it answers.",
    on.send(do.change(room=""), event="echo"),
    "token-invented: Answers a message without a token with a token of its own.",
    on.send(do.change(wait="17"), event="fail", wait=""),
    "tokenless-binary-unanswered: Sends no reply to a binary message without a token.",
    on.send(do.drop, event="echo", wait="", is_binary=True),
    "EV-6",
    "error-taken-for-body: Gives an error's text to a handler as the body.",
    do.received_text(lambda text: text.replace("echo;1;0;", "echo;0;0;")),
    "AR-11",
    "reply-by-namespace: Accepts a reply only with the namespace of the ask.",
    do.replies(
        lambda reply, ask: (
            reply.replace(wait="$0") if reply.namespace not in (ask.namespace, "") else reply
        )
    ),
    "reply-by-event: Accepts no empty reply as the reply to an event.",
    do.replies(lambda reply, ask: None if not reply.event and ask.event == "question" else reply),
    "next-message-taken: Treats the next event of that name as the reply, whatever its token.",
    Hooks(receive=_take_next, send=_note_question),
    "AR-12",
    "one-table-for-all: Accepts the reply of any connection to an ask that it sent to another.",
    Hooks(receive=_take_of_any, send=_note_owner),
    "AR-13",
    "foreign-tokens-dropped: Treats every token without a $ as one of its own settled asks.",
    Hooks(receive=_drop_foreign, send=_note_token),
    "AR-16",
    "refusal-in-text: Refuses in text whatever the type of the ask.",
    on.send(IN_TEXT, is_binary=True, body=lambda body: body.decode(errors="replace") in REFUSALS),
    "error-in-text: Sends a handler's error in text whatever the type of the ask.",
    on.send(IN_TEXT, is_binary=True, event="fail"),
    "own-replies-in-text: Sends in text every body but that of the ask.",
    on.send(IN_TEXT, is_binary=True, namespace="any"),
    "AR-17",
    "broadcasts-with-token: Broadcasts with the token of the ask, unless it contains a number.",
    Hooks(receive=_note_command, send=_with_token),
    "AR-19",
    "body-is-success: Treats a reply with a body as success.",
    _successful(lambda reply, _: bool(reply.body) and not reply.is_error),
    "ask-sent-back-is-success: Treats a connect ask that is sent back unchanged as success.",
    _successful(lambda reply, ask: reply.replace(body="") == ask and not reply.body),
    "refusal-is-success: Treats an error reply as success.",
    _successful(lambda reply, _: reply.is_error),
    "AR-21",
    "second-reply-taken-for-ask: Forgets the tokens of its asks once they are settled.",
    Hooks(
        receive=_as_an_ask,
        send=do.change(wait=lambda wait: wait.removeprefix("past")),
    ),
    "AR-22",
    "answers-twice: Sends every reply twice.",
    on.send(_twice, wait=_is_of_client),
    "reply-handled-too: Gives the reply to its ask to the handler of the event that it names, too.",
    on.after(lambda _, m: m.error_reply(str(m.body)), answers="question", event="fail"),
    "SX-1",
    "sender-named: Leaves the name of a broadcast's sender in what clients get.",
    on.send(do.change(wait=f"{SENDER}c000123456)"), event="news"),
    "SX-2",
    "marker-kept: Ignores the exchange marker.",
    _reading(lambda wait: wait),
    "all-markers-taken: Takes every exclamation mark out of a token.",
    _reading(lambda wait: wait.replace("!", "") if len(wait) > 2 else wait),
    "lone-marker-taken: Takes the marker out where nothing follows it, too.",
    _reading(lambda wait: _without(wait) if wait[0].isascii() else wait),
    "marker-behind-any-character: Takes the marker out after a character of several bytes, too.",
    _reading(lambda wait: _without(wait) if len(wait) > 2 else wait),
    "SX-10",
    "sender-taken: Treats what looks like a sender as one, and answers without a token.",
    on.send(do.change(wait=""), wait=_names_sender),
    "sender-not-answered: Treats an ask of what looks like a sender as one without a token.",
    on.receive(do.serve_with(wait=""), wait=_names_sender),
    "sender-left-out: Leaves the connection out of a broadcast that a client names as its sender.",
    Hooks(receive=_note_sender, send=_leave_out),
)
