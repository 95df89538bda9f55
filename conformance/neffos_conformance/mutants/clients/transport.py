"""Clients that are wrong about the connection below."""

from __future__ import annotations

from collections.abc import Callable

from websockets.datastructures import Headers

from neffos_codec import Message
from neffos_conformance.connection import Closed
from neffos_conformance.driving import Values
from neffos_conformance.mutants.liars import (
    GONE,
    Do,
    Hand,
    Lies,
    Payload,
    Said,
    answered,
    frame_of,
    lying,
)

CONNECT = "_OnNamespaceConnect"
ORDERLY = 1000
"""The close code in the ordinary course."""


def _ending(change: Callable[[Closed], Closed]) -> Lies:
    return Lies(says=lambda said: [change(said) if isinstance(said, Closed) else said])


def _with(name: str, value: str | None) -> Lies:
    """Make lies that replace, or leave out, a header."""

    def requests(headers: Headers) -> None:
        if value is None:
            headers.pop(name, None)
        else:
            headers.pop(name, None)
            headers[name] = value

    return Lies(requests=requests)


@lying("TR-1")
def version_8(_: Hand) -> Lies:
    """Asks for WebSocket version 8."""
    return _with("Sec-WebSocket-Version", "8")


@lying("TR-2")
def subprotocol_offered(_: Hand) -> Lies:
    """Offers a subprotocol."""
    return _with("Sec-WebSocket-Protocol", "neffos")


@lying("TR-5")
def probe_must_be_redirected(_: Hand) -> Lies:
    """Believes a probe only where it is redirected."""
    return Lies(heeds=lambda status: status == 302)


@lying("TR-5")
def probe_must_not_be_redirected(_: Hand) -> Lies:
    """Does not believe a probe that is redirected."""
    return Lies(heeds=lambda status: status != 302)


@lying("TR-9")
def return_not_announced(_: Hand) -> Lies:
    """Does not say that it comes back."""
    return _with("X-Websocket-Reconnect", None)


@lying("TR-9")
def tries_from_0(_: Hand) -> Lies:
    """Counts its tries from 0."""

    def requests(headers: Headers) -> None:
        if "X-Websocket-Reconnect" in headers:
            del headers["X-Websocket-Reconnect"]
            headers["X-Websocket-Reconnect"] = "0"

    return Lies(requests=requests)


@lying("TR-11")
def rooms_forgotten(hand: Hand) -> Lies:
    """Comes back without its rooms."""

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        return [] if message and message.event == "_OnRoomJoin" and hand.current else [said]

    return Lies(says=says)


@lying("TR-11")
def handshake_taken_for_granted(hand: Hand) -> Lies:
    """Comes back without a handshake."""
    return Lies(says=lambda said: [] if said == "M" and hand.current else [said])


@lying("TR-11")
def too_much_restored(hand: Hand) -> Lies:
    """Connects what it had disconnected, when it comes back."""

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        is_back = message and message.event == CONNECT and message.wait.startswith("$")
        return [said, f"$own;any;;{CONNECT};0;0;"] if is_back and hand.current else [said]

    return Lies(says=says)


@lying("TR-12")
def goes_without_goodbye(hand: Hand) -> Lies:
    """Ends TCP where it is to end the connection."""
    return _ending(lambda end: GONE if end.code == ORDERLY and not hand.was_left else end)


@lying("TR-13")
def code_of_its_own(hand: Hand) -> Lies:
    """Ends the connection with a code of its own."""
    return _ending(lambda end: Closed(4000) if end.code == ORDERLY and not hand.was_left else end)


@lying("TR-14")
def end_of_tcp_unnoticed(hand: Hand) -> Lies:
    """Does not notice the end of TCP."""
    return Lies(tells=lambda sight: [] if hand.was_left and sight["saw"] == "closed" else [sight])


@lying("TR-15")
def namespaces_outlive_the_connection(hand: Hand) -> Lies:
    """Counts its namespaces as connected when the connection has ended."""
    return Lies(
        tells=lambda sight: [] if hand.was_left and sight["saw"] == "disconnected" else [sight]
    )


@lying("TR-15")
def leaves_before_it_goes(hand: Hand) -> Lies:
    """Leaves its rooms one by one before it ends the connection."""
    rooms: list[str] = []

    def hears(payload: Payload) -> list[Payload]:
        message = frame_of(payload)
        if message and message.event == "_OnRoomJoin":
            rooms.append(message.room)
        return [payload]

    async def does(do: Do, op: str, fields: Values) -> Values:
        if op == "close" and not hand.was_left:
            hand.say(*(f"$own;app;{room};_OnRoomLeave;0;0;" for room in rooms))
        return await do(op, **fields)

    return Lies(hears=hears, does=does)


@lying("TR-15")
def takes_up_where_it_was(hand: Hand) -> Lies:
    """Handles events on a connection that came back before their namespace is connected."""
    connected: list[bool] = []

    def answer(message: Message) -> Message | None:
        if hand.current and message.wait.startswith("$"):
            connected.append(True)
        is_early = hand.current and message.event == "echo" and not connected
        return message if is_early and not message.wait else None

    return answered(answer)


@lying("TR-16")
def goodbye_not_returned(hand: Hand) -> Lies:
    """Ends TCP where it gets a close frame."""
    return _ending(lambda end: GONE if hand.was_left else end)


@lying("TR-17")
def broken_text_is_a_protocol_error(_: Hand) -> Lies:
    """Calls text that is not UTF-8 an error of the protocol."""
    return _ending(lambda end: Closed(1002) if end.code == 1007 else end)


@lying("TR-18")
def version_asked_for(_: Hand) -> Lies:
    """Asks the server for its version when it has connected a namespace."""

    def interjects(payload: Payload) -> list[Payload]:
        message = frame_of(payload)
        is_reply = message and message.wait in asked and not message.event
        return ["$version;any;;version;0;0;"] if is_reply else []

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        if message and message.event == CONNECT and message.namespace == "any":
            asked.add(message.wait)
        return [said]

    asked: set[str] = set()
    return Lies(says=says, interjects=interjects)


@lying("SX-1")
def sender_named_in_events(_: Hand) -> Lies:
    """Names itself as if it were a server, in the wait field of an event."""

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        is_event = message and message.event == "news" and not message.wait
        return [f"neffos(0x1){said}"] if is_event and isinstance(said, str) else [said]

    return Lies(says=says)
