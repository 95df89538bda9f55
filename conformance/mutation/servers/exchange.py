"""Servers that are wrong about what belongs between servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from mutation.distortions import Payloads, changing, frame_of
from mutation.registry import distorted, served
from neffos_codec import Message, encode
from neffos_conformance.reference.embedded import Serve, embedded_server

SENDER: Final = "neffos(0x"
"""What the name of a connection between servers begins with (SX-1)."""


def _reading(read: Callable[[str], str]) -> Callable[[Serve], Serve]:
    """Read another token out of the wait field of an ask, and reply with that."""

    def distort(serve: Serve) -> Serve:
        def wrong(payload: str | bytes) -> Payloads:
            message = frame_of(payload)
            if message is None or "!" not in message.wait:
                return serve(payload)
            token = read(message.wait)
            sent: Payloads = []
            for each in serve(encode(message.replace(wait="$marked"))):
                reply = frame_of(each)
                is_reply = reply is not None and reply.wait == "$marked"
                sent.append(encode(reply.replace(wait=token)) if reply and is_reply else each)
            return sent

        return wrong

    return distort


@distorted("SX-1")
def sender_named(serve: Serve) -> Serve:
    """Leaves the name of a broadcast's sender in what clients get."""
    return changing(lambda m: m.replace(wait=f"{SENDER}c000123456)") if m.event == "news" else m)(
        serve
    )


@distorted("SX-2")
def marker_kept(serve: Serve) -> Serve:
    """Knows no marker."""
    return _reading(lambda wait: wait)(serve)


@distorted("SX-2")
def all_markers_taken(serve: Serve) -> Serve:
    """Takes every exclamation mark out of a token."""
    return _reading(lambda wait: wait.replace("!", "") if len(wait) > 2 else wait)(serve)


@distorted("SX-2")
def lone_marker_taken(serve: Serve) -> Serve:
    """Takes the marker out where nothing follows it, too."""
    return _reading(lambda wait: _without(wait) if wait[0].isascii() else wait)(serve)


@distorted("SX-2")
def marker_behind_any_character(serve: Serve) -> Serve:
    """Takes the marker out behind a character of several octets, too."""
    return _reading(lambda wait: _without(wait) if len(wait) > 2 else wait)(serve)


def _without(wait: str) -> str:
    return wait[0] + wait[2:] if wait[1:2] == "!" else wait


@distorted("SX-10")
def sender_taken(serve: Serve) -> Serve:
    """Takes what looks like a sender for one, and answers without a token."""
    return changing(lambda m: m.replace(wait="") if m.wait.startswith(SENDER) else m)(serve)


@distorted("SX-10")
def sender_not_answered(serve: Serve) -> Serve:
    """Takes an ask of what looks like a sender for one without a token."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        if message is not None and message.wait.startswith(SENDER):
            payload = encode(message.replace(wait=""))
        return serve(payload)

    return wrong


@served("SX-10")
@asynccontextmanager
async def sender_left_out() -> AsyncIterator[str]:
    """Leaves the connection out of a broadcast that a client names as its sender."""
    left_out: dict[str, str] = {}

    def distort(serve: Serve) -> Serve:
        id_ = ""

        def is_for_it(message: Message) -> bool:
            return message.event != "news" or left_out.get(str(message.body)) != id_

        def wrong(payload: str | bytes) -> Payloads:
            nonlocal id_
            message = frame_of(payload)
            if message is not None and message.wait.startswith(SENDER):
                left_out[str(message.body)] = message.wait.removeprefix(SENDER)
            sent = [
                each
                for each in serve(payload)
                if (read := frame_of(each)) is None or is_for_it(read)
            ]
            if not id_ and sent and isinstance(sent[0], str) and sent[0].startswith("A"):
                id_ = sent[0][1:]
            return sent

        return wrong

    async with embedded_server(distort=distort) as url:
        yield url
