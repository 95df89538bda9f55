"""Servers that are wrong about asks, replies and events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from mutation.distortions import Payloads, answering, changing, frame_of
from mutation.registry import distorted, served
from neffos_codec import Message, encode
from neffos_conformance.reference.embedded import NOTHING, Serve, embedded_server
from neffos_protocol.names import CHANGE_OF

LONG: Final = 64
"""Characters for which one of these servers has room in a token."""

REFUSALS: Final = frozenset({"bad namespace", "room is locked"})
"""Texts with which the server refuses on its own, or a room."""


def _of(payload: str | bytes, *events: str) -> Message | None:
    """Read a frame that has one of these events."""
    message = frame_of(payload)
    return message if message is not None and message.event in events else None


def _retokened(
    make: Callable[[str], str],
    *,
    is_of_changes: bool = False,
    kind: type[str] | type[bytes] = str,
) -> Callable[[Serve], Serve]:
    """Give the server's own questions, or its asks about namespaces and rooms, other tokens."""

    def distort(serve: Serve) -> Serve:
        theirs: set[str] = set()
        mine: dict[str, str] = {}

        def told(payload: str | bytes) -> str | bytes:
            message = frame_of(payload) if isinstance(payload, kind) else None
            is_ask = message is not None and (
                _is_change(message) if is_of_changes else message.event == "question"
            )
            if (
                message is None
                or not is_ask
                or not message.wait[:1].isdigit()
                or message.wait in theirs
            ):
                return payload
            token = make(message.wait)
            mine[token] = message.wait
            return encode(message.replace(wait=token))

        def wrong(payload: str | bytes) -> Payloads:
            message = frame_of(payload)
            if message is not None and message.wait in mine:
                payload = encode(message.replace(wait=mine[message.wait]))
            elif message is not None:
                theirs.add(message.wait)
            return [told(sent) for sent in serve(payload)]

        return wrong

    return distort


def _is_change(message: Message) -> bool:
    return message.event in CHANGE_OF


def _replying(change: Callable[[Message, Message], Message | None]) -> Callable[[Serve], Serve]:
    """Hand the reply to an ask of the server, and the ask, to somebody who may change it."""

    def distort(serve: Serve) -> Serve:
        asks: dict[str, Message] = {}

        def wrong(payload: str | bytes) -> Payloads:
            message = frame_of(payload)
            if message is not None and message.wait in asks:
                changed = change(message, asks.pop(message.wait))
                if changed is None:
                    return []
                payload = encode(changed)
            sent = serve(payload)
            for each in sent:
                ask = frame_of(each)
                if ask is not None and ask.wait[:1].isdigit():
                    asks[ask.wait] = ask
            return sent

        return wrong

    return distort


# -------------------------------------------------------------------- tokens of the client


@distorted("AR-1")
def token_lost(serve: Serve) -> Serve:
    """Replies without the token of the ask, to handlers' events."""
    return changing(lambda m: m.replace(wait="") if m.event == "echo" else m)(serve)


@distorted("AR-1")
def token_cut(serve: Serve) -> Serve:
    """Keeps the first 64 characters of a token."""
    return changing(lambda m: m.replace(wait=m.wait[:LONG]))(serve)


@distorted("AR-1")
def token_in_ascii(serve: Serve) -> Serve:
    """Puts question marks in place of what is not ASCII in tokens."""
    return changing(lambda m: m.replace(wait=m.wait.encode("ascii", "replace").decode()))(serve)


@distorted("AR-1")
def token_trimmed(serve: Serve) -> Serve:
    """Trims tokens."""
    return changing(lambda m: m.replace(wait=m.wait.strip()))(serve)


@distorted("AR-1")
def token_used_up(serve: Serve) -> Serve:
    """Drops an ask with a token that there was before."""
    seen: set[str] = set()

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        wait = message.wait if message else ""
        if wait.startswith("$") and wait in seen:
            return []
        seen.add(wait)
        return serve(payload)

    return wrong


# -------------------------------------------------------------------- tokens of the server


@distorted("AR-1")
def asks_without_token(serve: Serve) -> Serve:
    """Asks its question without a token."""
    return changing(lambda m: m.replace(wait="") if m.event == "question" else m)(serve)


@distorted("AR-3")
def asks_like_a_client(serve: Serve) -> Serve:
    """Begins its tokens with $."""
    return _retokened(lambda token: f"${token}")(serve)


@distorted("AR-3")
def connects_like_a_client(serve: Serve) -> Serve:
    """Begins the tokens of its asks about namespaces and rooms with $."""
    return _retokened(lambda token: f"${token}", is_of_changes=True)(serve)


@distorted("AR-4")
def asks_for_confirmation(serve: Serve) -> Serve:
    """Begins the tokens of its binary asks with #."""
    return _retokened(lambda token: f"#{token}", kind=bytes)(serve)


@distorted("SX-1")
def asks_as_a_sender(serve: Serve) -> Serve:
    """Makes the tokens of its binary asks of a connection's name between servers."""
    return _retokened(lambda token: f"neffos(0x{token})", kind=bytes)(serve)


@distorted("AR-5")
def one_token_for_all(serve: Serve) -> Serve:
    """Asks everybody under the same token."""
    return _retokened(lambda _: "1")(serve)


# -------------------------------------------------------------------- replies


@distorted("AR-7")
def error_without_flag(serve: Serve) -> Serve:
    """Sends an error text as if it were a body."""
    return changing(lambda m: m.replace(is_error=False))(serve)


@distorted("AR-7")
def replies_swapped(serve: Serve) -> Serve:
    """Holds the first of two replies back until the second is there."""
    held: Payloads = []

    def wrong(payload: str | bytes) -> Payloads:
        sent = serve(payload)
        if isinstance(payload, str) and payload.endswith("first"):
            held.extend(sent)
            return []
        sent += held
        held.clear()
        return sent

    return wrong


@distorted("AR-7")
def flag_not_repeated(serve: Serve) -> Serve:
    """Clears the flag isNoOp in replies."""
    return changing(lambda m: m.replace(is_no_op=False) if m.wait == "$1" else m)(serve)


@distorted("AR-7")
def event_not_repeated(serve: Serve) -> Serve:
    """Names no event in replies to asks."""
    return changing(
        lambda m: m.replace(event="") if m.wait.startswith("$") and not m.is_error else m
    )(serve)


@distorted("AR-7")
def room_not_repeated(serve: Serve) -> Serve:
    """Names no room in errors."""
    return changing(lambda m: m.replace(room="") if m.event == "fail" else m)(serve)


@distorted("AR-7")
def tenth_reply_lost(serve: Serve) -> Serve:
    """Loses every tenth reply."""
    count = 0

    def change(message: Message) -> Message | None:
        nonlocal count
        count += message.event == "echo"
        return None if message.event == "echo" and count % 10 == 0 else message

    return changing(change)(serve)


# -------------------------------------------------------------------- the empty reply


@distorted("AR-8")
def binary_leave_unanswered(serve: Serve) -> Serve:
    """Answers a binary ask to leave a room with nothing."""

    def wrong(payload: str | bytes) -> Payloads:
        sent = serve(payload)
        return [] if isinstance(payload, bytes) and _of(payload, "_OnRoomLeave") else sent

    return wrong


@distorted("AR-8")
def one_change_at_a_time(serve: Serve) -> Serve:
    """Answers two asks about rooms that come one behind the other only once."""
    was_join = False

    def wrong(payload: str | bytes) -> Payloads:
        nonlocal was_join
        sent = serve(payload)
        if payload is NOTHING:
            return sent
        is_join = _of(payload, "_OnRoomJoin") is not None
        is_lost, was_join = was_join and is_join, is_join
        return [] if is_lost else sent

    return wrong


# -------------------------------------------------------------------- silence


@distorted("AR-9")
def silence_answered(serve: Serve) -> Serve:
    """Sends an empty reply where the handler returned nothing."""
    return answering(
        lambda m: m.empty_reply() if m.event == "silent" and m.wait.startswith("$") else None
    )(serve)


@distorted("AR-9")
def unhandled_refused(serve: Serve) -> Serve:
    """Sends an error for an ask that nothing handles."""

    def answer(message: Message) -> Message | None:
        is_unknown = message.event == "no such event" and bool(message.wait)
        return message.error_reply("no such event") if is_unknown else None

    return answering(answer)(serve)


@distorted("AR-9")
def asking_back_answered(serve: Serve) -> Serve:
    """Sends an empty reply once a handler has asked back."""

    def wrong(payload: str | bytes) -> Payloads:
        sent = serve(payload)
        asked = _of(payload, "ask-me")
        return [*sent, encode(asked.empty_reply())] if asked and asked.wait else sent

    return wrong


# -------------------------------------------------------------------- without a token


@distorted("AR-10")
def tokenless_unanswered(serve: Serve) -> Serve:
    """Sends no reply to a message without a token."""
    return changing(lambda m: None if m.event == "echo" and not m.wait else m)(serve)


@distorted("AR-10")
def error_event_lost(serve: Serve) -> Serve:
    """Sends errors only to asks."""
    return changing(lambda m: None if m.is_error and not m.wait else m)(serve)


@distorted("AR-10")
def room_lost(serve: Serve) -> Serve:
    """Forgets the room of the message that it answers."""
    return changing(lambda m: m.replace(room="") if m.event == "echo" else m)(serve)


@distorted("AR-10")
def token_invented(serve: Serve) -> Serve:
    """Answers a message without a token under one of its own."""
    return changing(lambda m: m.replace(wait="17") if m.event == "fail" and not m.wait else m)(
        serve
    )


@distorted("AR-10")
def tokenless_binary_unanswered(serve: Serve) -> Serve:
    """Sends no reply to a binary message without a token."""
    return changing(
        lambda m: None if m.event == "echo" and not m.wait and isinstance(m.body, bytes) else m
    )(serve)


@distorted("EV-6")
def error_taken_for_body(serve: Serve) -> Serve:
    """Gives an error's text to a handler as the body."""
    return lambda payload: serve(
        payload.replace("echo;1;0;", "echo;0;0;")
        if isinstance(payload, str) and payload is not NOTHING
        else payload
    )


# -------------------------------------------------------------------- which reply is whose


@distorted("AR-11")
def reply_by_namespace(serve: Serve) -> Serve:
    """Takes for a reply only what has the namespace of the ask."""
    return _replying(
        lambda reply, ask: (
            reply.replace(wait="$0") if reply.namespace not in (ask.namespace, "") else reply
        )
    )(serve)


@distorted("AR-11")
def reply_by_event(serve: Serve) -> Serve:
    """Takes no empty reply for the reply to an event."""
    return _replying(
        lambda reply, ask: None if not reply.event and ask.event == "question" else reply
    )(serve)


@distorted("AR-11")
def next_message_taken(serve: Serve) -> Serve:
    """Takes the next event of that name for the reply, whatever its token."""
    pending = ""

    def wrong(payload: str | bytes) -> Payloads:
        nonlocal pending
        message = frame_of(payload)
        if message is not None and pending and message.event == "question":
            payload, pending = encode(message.replace(wait=pending)), ""
        sent = serve(payload)
        for each in sent:
            asked = _of(each, "question")
            pending = asked.wait if asked else pending
        return sent

    return wrong


@distorted("AR-11")
def crossing_ask_taken(serve: Serve) -> Serve:
    """Takes a client's own ask to connect for the reply to that of the server."""
    pending: dict[str, str] = {}

    def wrong(payload: str | bytes) -> Payloads:
        asked = _of(payload, "_OnNamespaceConnect")
        if asked and asked.wait.startswith("$") and asked.namespace in pending:
            return serve(f"{pending.pop(asked.namespace)};;;;;;")
        sent = serve(payload)
        for each in sent:
            mine = _of(each, "_OnNamespaceConnect")
            if mine and not mine.wait.startswith("$"):
                pending[mine.namespace] = mine.wait
        return sent

    return wrong


@served("AR-12")
@asynccontextmanager
async def one_table_for_all() -> AsyncIterator[str]:
    """Takes the reply of any connection to an ask that it sent to another."""
    asked: dict[str, Serve] = {}

    def distort(serve: Serve) -> Serve:
        def wrong(payload: str | bytes) -> Payloads:
            message = frame_of(payload)
            wait = message.wait if message else ""
            if wait in asked:
                return asked.pop(wait)(payload)
            sent = serve(payload)
            for each in sent:
                mine = frame_of(each)
                if mine is not None and mine.wait != wait and mine.wait[:1].isdigit():
                    asked[mine.wait] = serve
            return sent

        return wrong

    async with embedded_server(distort=distort) as url:
        yield url


@distorted("AR-13")
def foreign_tokens_dropped(serve: Serve) -> Serve:
    """Takes every token without a $ for one of its own asks that is over."""
    mine: set[str] = set()

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        wait = message.wait if message else ""
        is_odd = "!" in wait or wait in ("", "M")
        if not is_odd and wait not in mine and wait[0] not in "$n":
            return []
        sent = serve(payload)
        mine.update(each.wait for each in map(frame_of, sent) if each)
        return sent

    return wrong


# -------------------------------------------------------------------- kinds


@distorted("AR-16")
def refusal_in_text(serve: Serve) -> Serve:
    """Refuses in text whatever the kind of the ask."""
    return changing(
        lambda m: (
            m.replace(body=m.body.decode())
            if isinstance(m.body, bytes) and m.body.decode(errors="replace") in REFUSALS
            else m
        )
    )(serve)


@distorted("AR-16")
def error_in_text(serve: Serve) -> Serve:
    """Sends a handler's error in text whatever the kind of the ask."""
    return changing(
        lambda m: (
            m.replace(body=m.body.decode(errors="replace"))
            if isinstance(m.body, bytes) and m.event == "fail"
            else m
        )
    )(serve)


@distorted("AR-16")
def own_replies_in_text(serve: Serve) -> Serve:
    """Sends in text what is not the body that came."""
    return changing(
        lambda m: (
            m.replace(body=m.body.decode(errors="replace"))
            if isinstance(m.body, bytes) and m.namespace == "any"
            else m
        )
    )(serve)


# -------------------------------------------------------------------- a token stays where it is


@served("AR-17")
@asynccontextmanager
async def broadcasts_with_token() -> AsyncIterator[str]:
    """Broadcasts with the token of the ask, where there is no number in it."""
    asked: dict[str, str] = {}

    def distort(serve: Serve) -> Serve:
        def leaked(sent: str | bytes) -> str | bytes:
            news = _of(sent, "news")
            wait = asked.get(str(news.body).rpartition(" ")[2]) if news else None
            return encode(news.replace(wait=wait)) if news and wait else sent

        def wrong(payload: str | bytes) -> Payloads:
            message = frame_of(payload)
            if message is not None and message.event.startswith("broadcast-"):
                is_word = message.wait[:1] == "$" and message.wait[1:].isalpha()
                asked[str(message.body).rpartition(" ")[2]] = message.wait if is_word else ""
            return [leaked(sent) for sent in serve(payload)]

        return wrong

    async with embedded_server(distort=distort) as url:
        yield url


# -------------------------------------------------------------------- what is success


def _successful(
    is_wrongly: Callable[[Message, Message], bool],
) -> Callable[[Serve], Serve]:
    """Take some answers to asks about namespaces and rooms for success."""
    return _replying(
        lambda reply, ask: (
            reply.empty_reply() if _is_change(ask) and is_wrongly(reply, ask) else reply
        )
    )


@distorted("AR-19")
def body_is_success(serve: Serve) -> Serve:
    """Takes a reply with a body for success."""
    return _successful(lambda reply, _: bool(reply.body) and not reply.is_error)(serve)


@distorted("AR-19")
def ask_sent_back_is_success(serve: Serve) -> Serve:
    """Takes a connect ask that comes back as it was for success."""
    return _successful(lambda reply, ask: reply.replace(body="") == ask and not reply.body)(serve)


@distorted("AR-19")
def refusal_is_success(serve: Serve) -> Serve:
    """Takes a refusal for success."""
    return _successful(lambda reply, _: reply.is_error)(serve)


# -------------------------------------------------------------------- what a server answers


@distorted("AR-20")
def body_sent_back(serve: Serve) -> Serve:
    """Answers a connect, disconnect, join or leave ask that has a body with that body."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        sent = serve(payload)
        if message is None or not _is_change(message) or not message.body:
            return sent
        return [
            encode(message.reply(message.body)) if each == f"{message.wait};;;;;;" else each
            for each in sent
        ]

    return wrong


# -------------------------------------------------------------------- late and second replies


@distorted("AR-21")
def second_reply_taken_for_ask(serve: Serve) -> Serve:
    """Forgets the tokens of its asks once they are answered."""
    pending: set[str] = set()
    past: set[str] = set()

    def told(sent: str | bytes) -> str | bytes:
        message = frame_of(sent)
        if message is None or not message.wait.startswith("past"):
            return sent
        return encode(message.replace(wait=message.wait.removeprefix("past")))

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        wait = message.wait if message else ""
        if message is not None and wait in past:
            payload = encode(message.replace(wait=f"past{wait}"))
        if wait in pending:
            pending.discard(wait)
            past.add(wait)
        sent = serve(payload)
        for each in sent:
            mine = frame_of(each)
            if mine is not None and mine.wait[:1].isdigit() and mine.wait != wait:
                pending.add(mine.wait)
        return [told(each) for each in sent]

    return wrong


@distorted("AR-22")
def answers_twice(serve: Serve) -> Serve:
    """Sends every reply twice."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        wait = message.wait if message else ""
        sent: Payloads = []
        for each in serve(payload):
            reply = frame_of(each)
            is_reply = wait.startswith("$") and reply is not None and reply.wait == wait
            sent += [each, each] if is_reply and wait != "$barrier" else [each]
        return sent

    return wrong


@distorted("AR-22")
def reply_handled_too(serve: Serve) -> Serve:
    """Gives the reply to its ask to the handler of the event that it names, too."""
    asks: set[str] = set()

    def wrong(payload: str | bytes) -> Payloads:
        sent = serve(payload)
        reply = _of(payload, "fail")
        if reply is not None and reply.wait in asks:
            sent.append(encode(reply.error_reply(str(reply.body))))
        asks.update(ask.wait for each in sent if (ask := _of(each, "question")))
        return sent

    return wrong
