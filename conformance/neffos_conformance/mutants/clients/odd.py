"""Clients that are odd, and not wrong: no case may fail on them."""

from __future__ import annotations

from dataclasses import replace

from websockets.datastructures import Headers

from neffos_codec import Message
from neffos_conformance.driving import Values
from neffos_conformance.mutants.liars import LIMITS, Hand, Lies, changed, lying


@lying("")
def tokens_of_another_shape(_: Hand) -> Lies:
    """Makes tokens with all kinds of characters, and of odd lengths."""
    real: dict[str, str] = {}

    def out(message: Message) -> Message:
        if not message.wait.startswith("$"):
            return message
        token = f"$!neffos(0x{len(real):x})/ {message.wait[-3:]} é#"
        real[token] = message.wait
        return message.replace(wait=token)

    return Lies(
        says=changed(out),
        hears=changed(lambda m: m.replace(wait=real.get(m.wait, m.wait))),
    )


@lying("")
def slow_to_speak(_: Hand) -> Lies:
    """Is slow in everything that it says."""
    return Lies(pause=0.02)


@lying("")
def chatty_in_http(_: Hand) -> Lies:
    """Sends headers of its own, and an Origin."""

    def requests(headers: Headers) -> None:
        headers["Origin"] = "https://example.com"
        headers["User-Agent"] = "odd/1.0"
        headers["X-Odd"] = "yes"
        headers["Accept-Encoding"] = "br"

    return Lies(requests=requests)


@lying("")
def beats_like_a_heart(_: Hand) -> Lies:
    """Sends a ping all the time."""
    return Lies(limits=replace(LIMITS, heartbeat=0.005))


@lying("")
def tells_more_than_it_must(_: Hand) -> Lies:
    """Tells of each room that a namespace's end has it leave."""

    def tells(sight: Values) -> list[Values]:
        if sight["saw"] != "disconnected":
            return [sight]
        return [sight, {**sight, "saw": "left", "room": "lobby"}]

    return Lies(tells=tells)
