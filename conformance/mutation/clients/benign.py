"""Clients that are odd, and not wrong: no case may fail on them."""

from __future__ import annotations

from dataclasses import replace

from websockets.datastructures import Headers

from mutation.client_faults import LIMITS, ClientFault, Hand, changed, client_fault
from neffos_codec import Message
from neffos_conformance.runner.driver_protocol import Values


@client_fault("")
def tokens_of_another_shape(_: Hand) -> ClientFault:
    """Makes tokens with all kinds of characters, and of odd lengths."""
    real: dict[str, str] = {}

    def out(message: Message) -> Message:
        if not message.wait.startswith("$"):
            return message
        token = f"$!neffos(0x{len(real):x})/ {message.wait[-3:]} é#"
        real[token] = message.wait
        return message.replace(wait=token)

    return ClientFault(
        says=changed(out),
        hears=changed(lambda m: m.replace(wait=real.get(m.wait, m.wait))),
    )


@client_fault("")
def slow_to_speak(_: Hand) -> ClientFault:
    """Is slow in everything that it says."""
    return ClientFault(pause=0.02)


@client_fault("")
def chatty_in_http(_: Hand) -> ClientFault:
    """Sends headers of its own, and an Origin."""

    def requests(headers: Headers) -> None:
        headers["Origin"] = "https://example.com"
        headers["User-Agent"] = "odd/1.0"
        headers["X-Odd"] = "yes"
        headers["Accept-Encoding"] = "br"

    return ClientFault(requests=requests)


@client_fault("")
def beats_like_a_heart(_: Hand) -> ClientFault:
    """Sends a ping all the time."""
    return ClientFault(limits=replace(LIMITS, heartbeat=0.005))


@client_fault("")
def tells_more_than_it_must(_: Hand) -> ClientFault:
    """Tells of each room that a namespace's end has it leave."""

    def tells(sight: Values) -> list[Values]:
        if sight["saw"] != "disconnected":
            return [sight]
        return [sight, {**sight, "saw": "left", "room": "lobby"}]

    return ClientFault(tells=tells)
