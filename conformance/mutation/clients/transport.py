"""Clients with a fault in the connection below."""

from __future__ import annotations

from urllib.parse import quote

from mutation import client_faults as on
from mutation import operators as do
from mutation.client_faults import GONE, ClientContext, ClientFault
from mutation.clients.values import is_own, is_text, remember
from mutation.hooks import CONNECT, JOIN, Effect
from mutation.registry import mutant, mutants
from neffos_codec import Message, encode
from neffos_conformance.runner.driver_protocol import Values
from neffos_conformance.wire.connection import ConnectionClosed

ORDERLY = 1000
"""The close code in the ordinary course."""


def _own_close(end: ConnectionClosed) -> ClientFault:
    """Close the connection in another way, where the suite has not closed it."""
    return ClientFault(
        close=lambda c, sent: end if sent.code == ORDERLY and not c.is_closing else sent
    )


def _unnoticed(saw: str) -> ClientFault:
    """Keep an observation back once the suite closes the connection."""
    return on.observes(lambda c, seen: [] if c.is_closing and seen["saw"] == saw else [seen])


def _leave_rooms(c: ClientContext, op: str, _: Values) -> None:
    if op == "close" and not c.is_closing:
        c.say_last([f"$own;app;{room};_OnRoomLeave;0;0;" for room in c.seen])


@mutant("TR-18", on.beside, event="", answers=CONNECT)
def version_asked_for(c: ClientContext, m: Message) -> Effect:
    """Asks the server for its version when it has connected a namespace."""
    is_meant = c.ask is not None and c.ask.namespace == "any"
    return "$version;any;;version;0;0;" if is_meant else None


mutants(
    "TR-19",
    "header-dropped: Drops a header that the application sets.",
    on.header("X-Conformance-Note", None),
    "url-header-misnamed: Writes the name of a header in the URL before the prefix.",
    on.in_url(lambda name, value: f"{name}X-Websocket-Header-={quote(value)}"),
    "url-header-not-escaped: Writes the value of a header into the URL as it is.",
    on.in_url(lambda name, value: f"X-Websocket-Header-{name}={value}"),
    "TR-1",
    "version-8: Asks for WebSocket version 8.",
    on.header("Sec-WebSocket-Version", "8"),
    "TR-2",
    "subprotocol-offered: Offers a subprotocol.",
    on.header("Sec-WebSocket-Protocol", "neffos"),
    "TR-5",
    "probe-must-be-redirected: Believes a probe only where it is redirected.",
    ClientFault(is_alive=lambda status: status == 302),
    "probe-must-not-be-redirected: Does not believe a probe that is redirected.",
    ClientFault(is_alive=lambda status: status != 302),
    "TR-9",
    "return-not-announced: Does not announce that it reconnects.",
    on.header("X-Websocket-Reconnect", None),
    "tries-from-0: Counts its tries from 0.",
    on.header("X-Websocket-Reconnect", "0", is_added=False),
    "TR-11",
    "rooms-forgotten: Reconnects without its rooms.",
    on.send(do.drop, event=JOIN, current=bool),
    "handshake-taken-for-granted: Reconnects without a handshake.",
    on.send_raw(lambda c, payload: () if payload == "M" and c.current else None),
    "too-much-restored: Connects a disconnected namespace when it reconnects.",
    on.send(
        lambda _, m: [m, f"$own;any;;{CONNECT};0;0;"], event=CONNECT, wait=is_own, current=bool
    ),
    "TR-12",
    "goes-without-goodbye: Ends TCP where it is to close the connection.",
    _own_close(GONE),
    "TR-13",
    "code-of-its-own: Closes the connection with a code of its own.",
    _own_close(ConnectionClosed(4000)),
    "TR-14",
    "end-of-tcp-unnoticed: Does not notice the end of TCP.",
    _unnoticed("closed"),
    "TR-15",
    "namespaces-outlive-the-connection: Keeps its namespaces when the connection closes.",
    _unnoticed("disconnected"),
    "leaves-before-it-goes: Leaves its rooms one by one before it closes the connection.",
    ClientFault(receive=remember("room", event=JOIN), before=_leave_rooms),
    "takes-up-where-it-was: Handles events on a new connection before it connects.",
    on.receive(lambda _, m: m, event="echo", wait="", current=bool, is_connected=False),
    "TR-16",
    "goodbye-not-returned: Ends TCP where it receives a close frame.",
    ClientFault(close=lambda c, sent: GONE if c.is_closing else sent),
    "TR-17",
    "broken-text-is-a-protocol-error: Closes with a protocol error at text that is not UTF-8.",
    ClientFault(close=lambda _, sent: ConnectionClosed(1002) if sent.code == 1007 else sent),
    "SX-1",
    "sender-named-in-events: Names itself as if it were a server, in the wait field of an event.",
    on.send(lambda _, m: f"neffos(0x1){encode(m)!s}", event="news", wait="", body=is_text),
)
