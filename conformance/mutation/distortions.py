"""The commonest ways to be wrong: what is made of a correct server's answers."""

from __future__ import annotations

from collections.abc import Callable

from neffos_codec import DecodeError, Message, decode, encode
from neffos_conformance.reference.embedded import Distort, Serve

Payloads = list[str | bytes]


def frame_of(payload: str | bytes) -> Message | None:
    """Read a payload as a frame, if it is one."""
    try:
        return decode(payload)
    except DecodeError:
        return None


def changing(change: Callable[[Message], Message | None]) -> Distort:
    """Change, or drop, each frame that is sent."""

    def distort(serve: Serve) -> Serve:
        def wrong(payload: str | bytes) -> Payloads:
            sent: Payloads = []
            for each in serve(payload):
                message = frame_of(each)
                if message is None:
                    sent.append(each)
                elif changed := change(message):
                    sent.append(encode(changed))
            return sent

        return wrong

    return distort


def answering(answer: Callable[[Message], Message | None]) -> Distort:
    """Give an answer of one's own to some frames, in place of the server's."""

    def distort(serve: Serve) -> Serve:
        def wrong(payload: str | bytes) -> Payloads:
            message = frame_of(payload)
            own = answer(message) if message else None
            return serve(payload) if own is None else [encode(own)]

        return wrong

    return distort
