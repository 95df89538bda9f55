"""Clients that are wrong about the connection below."""

from __future__ import annotations

from collections.abc import Callable

from websockets.datastructures import Headers

from mutation.client_faults import (
    GONE,
    ClientFault,
    Do,
    Hand,
    Payload,
    Said,
    answered,
    client_fault,
    frame_of,
)
from neffos_codec import Message
from neffos_conformance.runner.driver_protocol import Values
from neffos_conformance.wire.connection import ConnectionClosed

CONNECT = "_OnNamespaceConnect"
ORDERLY = 1000
"""The close code in the ordinary course."""


def _ending(change: Callable[[ConnectionClosed], ConnectionClosed]) -> ClientFault:
    return ClientFault(
        says=lambda said: [change(said) if isinstance(said, ConnectionClosed) else said]
    )


def _with(name: str, value: str | None) -> ClientFault:
    """Make lies that replace, or leave out, a header."""

    def requests(headers: Headers) -> None:
        if value is None:
            headers.pop(name, None)
        else:
            headers.pop(name, None)
            headers[name] = value

    return ClientFault(requests=requests)


@client_fault("TR-1")
def version_8(_: Hand) -> ClientFault:
    """Asks for WebSocket version 8."""
    return _with("Sec-WebSocket-Version", "8")


@client_fault("TR-2")
def subprotocol_offered(_: Hand) -> ClientFault:
    """Offers a subprotocol."""
    return _with("Sec-WebSocket-Protocol", "neffos")


@client_fault("TR-5")
def probe_must_be_redirected(_: Hand) -> ClientFault:
    """Believes a probe only where it is redirected."""
    return ClientFault(heeds=lambda status: status == 302)


@client_fault("TR-5")
def probe_must_not_be_redirected(_: Hand) -> ClientFault:
    """Does not believe a probe that is redirected."""
    return ClientFault(heeds=lambda status: status != 302)


@client_fault("TR-9")
def return_not_announced(_: Hand) -> ClientFault:
    """Does not say that it comes back."""
    return _with("X-Websocket-Reconnect", None)


@client_fault("TR-9")
def tries_from_0(_: Hand) -> ClientFault:
    """Counts its tries from 0."""

    def requests(headers: Headers) -> None:
        if "X-Websocket-Reconnect" in headers:
            del headers["X-Websocket-Reconnect"]
            headers["X-Websocket-Reconnect"] = "0"

    return ClientFault(requests=requests)


@client_fault("TR-11")
def rooms_forgotten(hand: Hand) -> ClientFault:
    """Comes back without its rooms."""

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        return [] if message and message.event == "_OnRoomJoin" and hand.current else [said]

    return ClientFault(says=says)


@client_fault("TR-11")
def handshake_taken_for_granted(hand: Hand) -> ClientFault:
    """Comes back without a handshake."""
    return ClientFault(says=lambda said: [] if said == "M" and hand.current else [said])


@client_fault("TR-11")
def too_much_restored(hand: Hand) -> ClientFault:
    """Connects what it had disconnected, when it comes back."""

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        is_back = message and message.event == CONNECT and message.wait.startswith("$")
        return [said, f"$own;any;;{CONNECT};0;0;"] if is_back and hand.current else [said]

    return ClientFault(says=says)


@client_fault("TR-12")
def goes_without_goodbye(hand: Hand) -> ClientFault:
    """Ends TCP where it is to end the connection."""
    return _ending(lambda end: GONE if end.code == ORDERLY and not hand.was_left else end)


@client_fault("TR-13")
def code_of_its_own(hand: Hand) -> ClientFault:
    """Ends the connection with a code of its own."""
    return _ending(
        lambda end: ConnectionClosed(4000) if end.code == ORDERLY and not hand.was_left else end
    )


@client_fault("TR-14")
def end_of_tcp_unnoticed(hand: Hand) -> ClientFault:
    """Does not notice the end of TCP."""
    return ClientFault(
        tells=lambda sight: [] if hand.was_left and sight["saw"] == "closed" else [sight]
    )


@client_fault("TR-15")
def namespaces_outlive_the_connection(hand: Hand) -> ClientFault:
    """Counts its namespaces as connected when the connection has ended."""
    return ClientFault(
        tells=lambda sight: [] if hand.was_left and sight["saw"] == "disconnected" else [sight]
    )


@client_fault("TR-15")
def leaves_before_it_goes(hand: Hand) -> ClientFault:
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

    return ClientFault(hears=hears, does=does)


@client_fault("TR-15")
def takes_up_where_it_was(hand: Hand) -> ClientFault:
    """Handles events on a connection that came back before their namespace is connected."""
    connected: list[bool] = []

    def answer(message: Message) -> Message | None:
        if hand.current and message.wait.startswith("$"):
            connected.append(True)
        is_early = hand.current and message.event == "echo" and not connected
        return message if is_early and not message.wait else None

    return answered(answer)


@client_fault("TR-16")
def goodbye_not_returned(hand: Hand) -> ClientFault:
    """Ends TCP where it gets a close frame."""
    return _ending(lambda end: GONE if hand.was_left else end)


@client_fault("TR-17")
def broken_text_is_a_protocol_error(_: Hand) -> ClientFault:
    """Calls text that is not UTF-8 an error of the protocol."""
    return _ending(lambda end: ConnectionClosed(1002) if end.code == 1007 else end)


@client_fault("TR-18")
def version_asked_for(_: Hand) -> ClientFault:
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
    return ClientFault(says=says, interjects=interjects)


@client_fault("SX-1")
def sender_named_in_events(_: Hand) -> ClientFault:
    """Names itself as if it were a server, in the wait field of an event."""

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        is_event = message and message.event == "news" and not message.wait
        return [f"neffos(0x1){said}"] if is_event and isinstance(said, str) else [said]

    return ClientFault(says=says)
