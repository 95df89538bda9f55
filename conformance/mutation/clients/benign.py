"""Benign variants: clients that are correct but unusual, and pass every case."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote

from websockets.datastructures import Headers

from mutation import client_faults as on
from mutation.client_faults import LIMITS, ClientContext, ClientFault
from mutation.clients.values import renamed
from mutation.registry import mutant, mutants
from neffos_conformance.runner.driver_protocol import Values


def _chatty(headers: Headers) -> None:
    headers["Origin"] = "https://example.com"
    headers["User-Agent"] = "odd/1.0"
    headers["X-Odd"] = "yes"
    headers["Accept-Encoding"] = "br"


mutants(
    "",
    "tokens-of-another-shape: Makes tokens with all kinds of characters, and of odd lengths.",
    renamed(lambda c, token: f"$!neffos(0x{len(c.values):x})/ {token[-3:]} é#"),
    "slow-to-speak: Is slow in everything that it sends.",
    ClientFault(delay=0.02),
    "chatty-in-http: Sends headers of its own, and an Origin.",
    ClientFault(request=_chatty),
    "headers-in-the-url: Sends the headers of its application in the URL, as in a browser.",
    on.in_url(lambda name, value: f"x-websocket-header-{name}={quote(value, safe='')}"),
    "beats-like-a-heart: Sends a ping all the time.",
    ClientFault(limits=replace(LIMITS, heartbeat=0.005)),
)


@mutant("", on.observes)
def tells_more_than_it_must(_: ClientContext, seen: Values) -> list[Values]:
    """Reports each room that it leaves because its namespace is disconnected."""
    if seen["saw"] != "disconnected":
        return [seen]
    return [seen, {**seen, "saw": "left", "room": "lobby"}]
