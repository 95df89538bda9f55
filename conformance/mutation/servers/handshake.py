"""Servers that are wrong about the handshake."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final
from uuid import uuid4

from mutation.distortions import Payloads, changing, frame_of
from mutation.registry import distorted, served
from neffos_asyncio import ON_NATIVE_MESSAGE, Server
from neffos_codec import ESCAPE, Message, encode
from neffos_conformance.reference.application import echo, servers
from neffos_conformance.reference.embedded import Serve, embedded_server

OWN_ID: Final = re.compile(r"A?[0-9a-f]{8}-[0-9a-f-]{27}")
"""The id that the server chose itself where nobody else did, also behind an A."""


def _answers(change: Callable[[str], Payloads]) -> Callable[[Serve], Serve]:
    """Change the answer to the handshake request."""

    def distort(serve: Serve) -> Serve:
        is_over = False

        def wrong(payload: str | bytes) -> Payloads:
            nonlocal is_over
            sent: Payloads = []
            for each in serve(payload):
                is_answer = not is_over and isinstance(each, str) and each[:1] in ("A", "H")
                is_over = is_over or is_answer
                sent += change(str(each)) if is_answer else [each]
            return sent

        return wrong

    return distort


def _tells_own_id(message: Message) -> bool:
    return message.event == "whoami" and bool(OWN_ID.fullmatch(str(message.body)))


def _first(payload: str | bytes) -> str:
    octets = payload.encode("utf-8", "replace") if isinstance(payload, str) else payload
    return octets[:1].decode("latin-1")


# -------------------------------------------------------------------- the acceptance


@distorted("HS-3")
def handshake_unanswered(serve: Serve) -> Serve:
    """Accepts without saying so."""
    return lambda payload: [] if payload == "M" else serve(payload)


@distorted("HS-3")
def accepted_twice(serve: Serve) -> Serve:
    """Says twice that it accepts."""
    return _answers(lambda sent: [sent, sent] if sent.startswith("A") else [sent])(serve)


@distorted("HS-3")
def id_and_more(serve: Serve) -> Serve:
    """Puts a line end behind the id."""
    return _answers(lambda sent: [f"{sent}\n"] if sent.startswith("A") else [sent])(serve)


@distorted("HS-3")
def id_escaped(serve: Serve) -> Serve:
    """Escapes the semicolons of an id as it does those of a name."""
    return _answers(lambda sent: [sent.replace(";", ESCAPE) if sent[0] == "A" else sent])(serve)


@distorted("HS-3")
def id_told_later(serve: Serve) -> Serve:
    """Sends the acceptance and the id in two messages."""
    return _answers(lambda sent: ["A", sent[1:]] if sent.startswith("A") else [sent])(serve)


@distorted("HS-3")
def other_id(serve: Serve) -> Serve:
    """Announces one id and goes by another."""
    return _answers(lambda sent: [f"{sent}x"] if sent.startswith("A") else [sent])(serve)


@distorted("HS-6")
def id_missing(serve: Serve) -> Serve:
    """Gives connections an empty id."""
    nameless = changing(lambda m: m.replace(body="") if _tells_own_id(m) else m)(serve)
    return _answers(lambda sent: ["A"] if OWN_ID.fullmatch(sent) else [sent])(nameless)


@distorted("HS-20")
def one_id_for_all(serve: Serve) -> Serve:
    """Gives every connection the same id."""
    same = changing(lambda m: m.replace(body="server") if _tells_own_id(m) else m)(serve)
    return _answers(lambda sent: ["Aserver"] if OWN_ID.fullmatch(sent) else [sent])(same)


@asynccontextmanager
async def _marking(change: Callable[[str], str]) -> AsyncIterator[str]:
    """Run a server that gives ids of its own at the mixed endpoint, and change these."""
    odd = Server(
        {"": {"echo": echo, ON_NATIVE_MESSAGE: echo}}, id_generator=lambda _: f"mixed-{uuid4()}"
    )
    endpoints = {**servers(), "/mixed": odd}
    distort = _answers(lambda sent: [change(sent) if sent.startswith("Amixed-") else sent])
    async with embedded_server(distort=distort, served=endpoints) as url:
        yield url


@served("HS-6")
@asynccontextmanager
async def id_missing_at_an_endpoint() -> AsyncIterator[str]:
    """Gives connections of one endpoint an empty id."""
    async with _marking(lambda _: "A") as url:
        yield url


@served("HS-20")
@asynccontextmanager
async def one_id_at_an_endpoint() -> AsyncIterator[str]:
    """Gives all connections of one endpoint the same id."""
    async with _marking(lambda _: "Amixed") as url:
        yield url


# -------------------------------------------------------------------- the refusal


@distorted("HS-4")
def refusal_accepted(serve: Serve) -> Serve:
    """Says A where it means H."""
    return _answers(lambda sent: ["A1"] if sent.startswith("H") else [sent])(serve)


@distorted("HS-4")
def refusal_in_own_words(serve: Serve) -> Serve:
    """Refuses without the application's text."""
    return _answers(lambda sent: ["Hrefused"] if sent.startswith("H") else [sent])(serve)


@distorted("HS-4")
def refusal_escaped(serve: Serve) -> Serve:
    """Escapes the semicolons of a refusal's text."""
    return _answers(lambda sent: [sent.replace(";", ESCAPE) if sent[0] == "H" else sent])(serve)


@distorted("HS-4")
def refusal_unsaid(serve: Serve) -> Serve:
    """Ends the connection without a word."""
    return _answers(lambda sent: [] if sent.startswith("H") else [sent])(serve)


@distorted("HS-4")
def refusal_said_on(serve: Serve) -> Serve:
    """Explains a refusal at length."""
    return _answers(lambda sent: [sent, "Hgo away"] if sent.startswith("H") else [sent])(serve)


@distorted("HS-15")
def bare_refusal(serve: Serve) -> Serve:
    """Refuses without a text where the application has none."""
    return _answers(lambda sent: ["H"] if sent == "Hinternal error" else [sent])(serve)


# -------------------------------------------------------------------- text and binary


@distorted("HS-5")
def binary_acceptance(serve: Serve) -> Serve:
    """Accepts in the kind of the request."""

    def wrong(payload: str | bytes) -> Payloads:
        return [
            sent.encode() if payload == b"M" and isinstance(sent, str) else sent
            for sent in serve(payload)
        ]

    return wrong


@distorted("HS-7")
def deaf_to_binary_handshake(serve: Serve) -> Serve:
    """Takes an M only as text."""
    return lambda payload: [] if payload == b"M" else serve(payload)


# -------------------------------------------------------------------- what counts as a request


@distorted("HS-7")
def wants_exactly_m(serve: Serve) -> Serve:
    """Takes nothing but a lone M."""
    return lambda payload: (
        [] if isinstance(payload, str) and payload.startswith("Mx") else serve(payload)
    )


@distorted("HS-7")
def tail_decoded(serve: Serve) -> Serve:
    """Drops a request that is no UTF-8."""

    def wrong(payload: str | bytes) -> Payloads:
        is_request = isinstance(payload, bytes) and payload.startswith(b"M")
        is_utf8 = isinstance(payload, str) or payload.decode(errors="ignore").encode() == payload
        return [] if is_request and not is_utf8 else serve(payload)

    return wrong


@distorted("HS-7")
def request_read_as_frame(serve: Serve) -> Serve:
    """Takes a request that goes on like a frame for a frame that came early."""
    is_open = False

    def wrong(payload: str | bytes) -> Payloads:
        nonlocal is_open
        if not is_open and frame_of(payload):
            return []
        is_open = is_open or _first(payload) == "M"
        return serve(payload)

    return wrong


@distorted("HS-7")
def request_of_one_buffer(serve: Serve) -> Serve:
    """Has room for a request of 128 octets."""
    return lambda payload: [] if len(payload) > 128 and payload[:2] == "MM" else serve(payload)


# -------------------------------------------------------------------- after the handshake


@distorted("HS-8")
def second_request_answered(serve: Serve) -> Serve:
    """Answers every M, not only the first."""
    return lambda payload: serve(payload) or (["Aagain"] if payload == "M" else [])


@distorted("HS-8")
def id_taken_over(serve: Serve) -> Serve:
    """Takes the id that a client sends behind a late A."""
    id_ = ""

    def wrong(payload: str | bytes) -> Payloads:
        nonlocal id_
        if isinstance(payload, str) and payload.startswith("A") and not frame_of(payload):
            id_ = payload[1:]
        return changing(lambda m: m.replace(body=id_) if m.event == "whoami" and id_ else m)(serve)(
            payload
        )

    return wrong


@distorted("HS-8")
def late_refusal_obeyed(serve: Serve) -> Serve:
    """Ends when a client sends a late H."""

    def wrong(payload: str | bytes) -> Payloads:
        if isinstance(payload, str) and payload.startswith("Hgo"):
            raise ConnectionError("refused")
        return serve(payload)

    return wrong


@distorted("HS-8")
def letters_reserved(serve: Serve) -> Serve:
    """Drops whatever begins like a handshake message, frames and native messages included."""
    is_open = False

    def wrong(payload: str | bytes) -> Payloads:
        nonlocal is_open
        if is_open and _first(payload) in ("M", "A", "H"):
            return []
        is_open = is_open or _first(payload) == "M"
        return serve(payload)

    return wrong


# -------------------------------------------------------------------- what only servers send


@distorted("HS-9")
def acceptance_taken(serve: Serve) -> Serve:
    """Lets a client in that sends A and an id, under that id, refused or not."""
    id_ = ""
    is_open = False

    def wrong(payload: str | bytes) -> Payloads:
        nonlocal id_, is_open
        message = frame_of(payload)
        is_open = is_open or _first(payload) == "M"
        if not is_open and payload == "Amine":
            id_ = payload[1:]
            return []
        if id_ and message and message.event == "whoami":
            return [f"{message.wait};app;;whoami;0;0;{id_}"]
        if id_ and message and message.namespace == "app":
            return [f"{message.wait};;;;;;"]
        return [] if id_ and payload == "M" else serve(payload)

    return wrong


@distorted("HS-9")
def refusal_taken_for_request(serve: Serve) -> Serve:
    """Completes the handshake, without a word, on any handshake message."""
    is_open = False

    def wrong(payload: str | bytes) -> Payloads:
        nonlocal is_open
        if not is_open and payload == "Hno":
            is_open = True
            serve("M")
            return []
        return serve(payload)

    return wrong


# -------------------------------------------------------------------- before the acceptance


EARLY: Final = frozenset({"any", "app", "refused", "semi;colon", "sticky"})
"""The namespaces whose early frames these servers hold back."""


def _holding(release: Callable[[Payloads], Payloads]) -> Callable[[Serve], Serve]:
    """Hold back what comes early, and release it in another way."""

    def distort(serve: Serve) -> Serve:
        held: Payloads = []
        is_open = False

        def wrong(payload: str | bytes) -> Payloads:
            nonlocal is_open
            message = frame_of(payload)
            is_request = _first(payload) == "M"
            if not is_open and not is_request and message and message.namespace in EARLY:
                held.append(payload)
                return []
            sent = serve(payload)
            if not is_open and is_request:
                is_open = True
                for each in release(held):
                    sent += serve(each)
            return sent

        return wrong

    return distort


@distorted("HS-12")
def early_frames_answered_first(serve: Serve) -> Serve:
    """Answers an ask to connect that comes early at once."""
    is_open = False

    def wrong(payload: str | bytes) -> Payloads:
        nonlocal is_open
        is_open = is_open or _first(payload) in ("M", "A", "H")
        message = frame_of(payload)
        if message and not is_open and message.namespace == "app":
            return [encode(message.empty_reply())]
        return serve(payload)

    return wrong


@distorted("HS-12")
def early_frames_complained_of(serve: Serve) -> Serve:
    """Says at once that a frame has come too early."""
    is_open = False

    def wrong(payload: str | bytes) -> Payloads:
        nonlocal is_open
        is_open = is_open or _first(payload) in ("M", "A", "H")
        message = frame_of(payload)
        early = not is_open and message is not None and message.namespace == "app"
        return [";;;error;1;0;shake hands first", *serve(payload)] if early else serve(payload)

    return wrong


@distorted("HS-13")
def kinds_apart(serve: Serve) -> Serve:
    """Handles early text before early binary."""
    return _holding(lambda held: sorted(held, key=lambda each: isinstance(each, bytes)))(serve)


@distorted("HS-13")
def last_early_frame_first(serve: Serve) -> Serve:
    """Handles early frames from the last to the first."""
    return _holding(lambda held: held[::-1])(serve)


@served("HS-12")
@asynccontextmanager
async def broadcasts_to_sockets() -> AsyncIterator[str]:
    """Sends a broadcast to whoever has not shaken hands yet, too."""
    waiting: dict[int, Payloads] = {}

    def distort(serve: Serve) -> Serve:
        number = len(waiting)
        waiting[number] = []
        is_open = False

        def wrong(payload: str | bytes) -> Payloads:
            nonlocal is_open
            message = frame_of(payload)
            if message and message.event == "broadcast-others":
                for each in waiting.values():
                    each.append(f";app;;news;0;0;{message.body!s}")
            if not is_open and _first(payload) == "M":
                is_open = True
                return waiting[number] + serve(payload)
            return serve(payload)

        return wrong

    async with embedded_server(distort=distort) as url:
        yield url


# -------------------------------------------------------------------- the application's check


@served("HS-17")
@asynccontextmanager
async def broadcast_lets_in() -> AsyncIterator[str]:
    """Takes a connection for allowed once a broadcast was made while it waited."""
    reached: list[bool] = []

    def distort(serve: Serve) -> Serve:
        place = len(reached)
        reached.append(False)

        def wrong(payload: str | bytes) -> Payloads:
            message = frame_of(payload)
            if message and message.event == "broadcast-others":
                reached[:] = [True] * len(reached)
            sent = serve(payload)
            if payload == "M" and reached[place] and sent[:1] == ["Hnot today"]:
                return ["A1"]
            return sent

        return wrong

    async with embedded_server(distort=distort) as url:
        yield url


@distorted("HS-17")
def accepts_before_it_checks(serve: Serve) -> Serve:
    """Accepts while the application's check still runs, and refuses then."""
    return _answers(lambda sent: ["A1", sent] if sent.startswith("H") else [sent])(serve)
