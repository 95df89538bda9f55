"""Clients with a fault in the handshake and the connection below, or that a server can harm."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from websockets.frames import Opcode

from mutation import client_faults as on
from mutation import operators as do
from mutation.client_faults import GONE, ClientContext, ClientFault
from mutation.hooks import CONNECT, JOIN, LEAVE, UNKNOWN, Effect, Payload, when
from mutation.operators import is_server_token
from mutation.registry import mutants
from neffos_codec import encode
from neffos_conformance.runner.driver_protocol import OperationError, Values
from neffos_conformance.wire.connection import ConnectionClosed

FIRST_ID: Final = "A7"
"""The acceptance of the first connection of a case."""

ORDERLY: Final = 1000
"""The close code in the ordinary course."""

SHORTEST_OF_TWO: Final = 126
"""Bytes of the shortest message whose length takes two bytes (RFC 6455, 5.2)."""

OPCODE: Final = 0x0F
"""The bits of the first byte of a WebSocket frame that are its opcode (RFC 6455, 5.2)."""

MANY: Final = 1000
"""Separators that are too many for a client that recurses over them."""


# -------------------------------------------------------------------- handshake


def _first_request(*sent: Payload) -> ClientFault:
    """Send something in place of the first handshake request."""
    return on.send_raw(lambda c, _: sent if c.count() == 1 else None, payload="M")


def _id(change: Any) -> ClientFault:
    """Change the connection ID that an operation gives."""
    given = {"connection_id": change}
    return ClientFault(
        result=when(lambda _, __, values: do.changed(values, given), connection_id=bool)
    )


def _last_first(c: ClientContext, payload: Payload) -> Effect:
    if c.message is not None and not c.is_accepted:
        c.kept.append(payload)
        return ()
    return [sent for each in (None, *c.release()[::-1]) for sent in c.serve(each)]


def _fail_to_dial(_: object, op: str, __: object) -> None:
    if op == "dial":
        raise OperationError("it did not work")


mutants(
    "HS-1 frame-before-request: Sends an event before its handshake request.",
    _first_request(";app;;hello;0;0;", "M"),
    "HS-2 name-behind-request: Puts its name after the M.",
    _first_request("Mneffos"),
    "HS-5 binary-request: Sends its handshake request in a binary message.",
    _first_request(b"M"),
    "HS-7 binary-acceptance-missed: Accepts only an acceptance in a text message.",
    on.receive_raw(do.drop, payload=b"A7"),
    "HS-7 binary-refusal-is-acceptance: Treats a refusal in a binary message as an acceptance.",
    on.receive_raw(lambda c, _: c.serve("A7"), payload=do.begins(b"H"), is_accepted=False),
    "HS-8 second-acceptance-taken: Sends a handshake request again at another acceptance.",
    on.beside_raw(do.give("M"), payload="A9", is_accepted=True),
    "HS-8 late-refusal-heeded: Fails the connection at an H that comes after the acceptance.",
    on.beside_raw(do.give(GONE), payload=do.begins("H"), is_accepted=True),
    "HS-9 request-ends-reading: Receives nothing more after an M that came before the acceptance.",
    on.receive_raw(do.deaf_after("M", "Mxyz")),
    "HS-8 late-request-answered: Answers an M that comes after the acceptance as a server would.",
    on.beside_raw(do.give("A1"), payload=("M", b"M"), is_accepted=True),
    "HS-9 request-answered: Answers an M that comes before the acceptance as a server would.",
    on.beside_raw(do.give("A1"), payload=("M", b"M"), is_accepted=False),
    "HS-10 anything-is-acceptance: Treats any word but a refusal as the acceptance.",
    on.receive_raw(
        lambda c, payload: c.serve(f"A{payload}"),
        payload=lambda p: isinstance(p, str) and p[:1].isalpha() and p[0] not in "AHM",
        message=None,
        is_accepted=False,
    ),
    "HS-10 frame-is-acceptance: Treats a frame that comes before the acceptance as one.",
    on.receive_raw(
        lambda c, payload: [*c.serve("A7"), *c.serve(payload)],
        message=lambda message: message is not None,
        is_accepted=False,
    ),
    "HS-11 speaks-too-soon: Sends an event before it has received the acceptance.",
    on.beside_raw(do.give(";app;;hello;0;0;"), payload=FIRST_ID),
    "HS-11 early-ask-answered: Replies at once to asks that come before the acceptance.",
    on.receive(lambda _, m: f"{m.wait};;;;;;", is_accepted=False, namespace="app"),
    "HS-14 early-ask-lost: Loses frames that come before the acceptance.",
    on.receive(do.drop, is_accepted=False),
    "HS-14 early-ask-ends-it: Fails the connection at a frame that comes before the acceptance.",
    on.beside(do.give(GONE), is_accepted=False),
    "HS-14 last-early-ask-first: Handles frames from before the acceptance in reverse order.",
    on.receive_raw(_last_first),
    "HS-16 refused-and-answering: Answers asks although the server has refused it.",
    on.receive(do.refuse(UNKNOWN), is_accepted=False, namespace="nowhere"),
    "HS-16 refusal-is-acceptance: Treats a refusal as an acceptance.",
    on.receive_raw(lambda c, _: c.serve("A7"), payload=do.begins("H"), is_accepted=False),
    "HS-16 bare-refusal-missed: Waits indefinitely after an H without a text.",
    on.receive_raw(do.drop, payload="H"),
    "HS-16 refusal-without-its-text: Does not report why the server refused it.",
    ClientFault(failed=_fail_to_dial),
    "HS-18 slow-to-begin: Misses messages that come directly after the acceptance.",
    on.receive_raw(  # not a barrier: the suite would wait for its reply
        do.drop, is_accepted=True, done=[], payload=lambda sent: not str(sent).startswith("doubt;")
    ),
    "HS-19 id-ends-at-separator: Ends the ID at the first semicolon.",
    _id(lambda id_: id_.partition(";")[0]),
    "HS-19 ids-of-ascii: Reads an ID as ASCII.",
    _id(lambda id_: id_.encode("ascii", "replace").decode()),
    "HS-19 empty-id-refused: Treats an acceptance with an empty ID as a refusal.",
    on.receive_raw(lambda c, _: c.serve("Hno ID"), payload="A", is_accepted=False),
)


# -------------------------------------------------------------------- the connection below


def _own_close(end: ConnectionClosed) -> ClientFault:
    """Close the connection in another way, where the suite has not closed it."""
    return ClientFault(
        close=lambda c, sent: end if sent.code == ORDERLY and not c.is_closing else sent
    )


def _leave_rooms(c: ClientContext, op: str, _: Values) -> None:
    if op == "close" and not c.is_closing:
        c.say_last([f"$own;app;{room};_OnRoomLeave;0;0;" for room in c.seen])


mutants(
    "TR-19 header-dropped: Drops a header that the application sets.",
    on.header("X-Conformance-Note", None),
    "TR-19 url-header-misnamed: Writes the name of a header in the URL before the prefix.",
    on.in_url(lambda name, value: f"{name}X-Websocket-Header-={quote(value)}"),
    "TR-19 url-header-in-small-letters: Writes the value of a header in the URL in small letters.",
    on.in_url(lambda name, value: f"X-Websocket-Header-{name}={quote(value.lower())}"),
    "TR-19 url-header-not-escaped: Writes the value of a header into the URL as it is.",
    on.in_url(lambda name, value: f"X-Websocket-Header-{name}={value}"),
    "TR-1 version-8: Asks for WebSocket version 8.",
    on.header("Sec-WebSocket-Version", "8"),
    "TR-1 shortest-of-two-bytes-dropped: Drops messages of 126 bytes.",
    on.receive_raw(do.drop, payload=lambda payload: len(payload) == SHORTEST_OF_TWO),
    "TR-1 broken-frames-ignored: Ignores WebSocket frames at which it is to close the connection.",
    ClientFault(raw=lambda data: data if data[0] & OPCODE == Opcode.CLOSE else b""),
    "TR-1 pings-unanswered: Answers no ping.",
    ClientFault(is_deaf_to_pings=True),
    "TR-2 subprotocol-offered: Offers a subprotocol.",
    on.header("Sec-WebSocket-Protocol", "neffos"),
    "TR-5 probe-must-be-redirected: Believes a probe only where it is redirected.",
    ClientFault(is_alive=lambda status: status == 302),
    "TR-5 probe-must-not-be-redirected: Does not believe a probe that is redirected.",
    ClientFault(is_alive=lambda status: status != 302),
    "TR-9 return-not-announced: Does not announce that it reconnects.",
    on.header("X-Websocket-Reconnect", None),
    "TR-9 first-dial-announced: Announces each connection as a reconnection.",
    on.header("X-Websocket-Reconnect", "1"),
    "TR-9 tries-from-0: Counts its tries from 0.",
    on.header("X-Websocket-Reconnect", "0", is_added=False),
    "TR-11 rooms-forgotten: Reconnects without its rooms.",
    on.send(do.drop, event=JOIN, current=bool),
    "TR-11 handshake-taken-for-granted: Reconnects without a handshake.",
    on.send_raw(do.drop, payload="M", current=bool),
    "TR-11 too-much-restored: Connects a disconnected namespace when it reconnects.",
    on.send(lambda _, m: [m, f"$own;any;;{CONNECT};0;0;"], event=CONNECT, wait=bool, current=bool),
    "TR-11 own-asks-alone: Reconnects without the namespaces for which the server had asked.",
    on.send(do.drop, event=CONNECT, namespace="any", current=bool),
    "TR-12 goes-without-goodbye: Ends TCP where it is to close the connection.",
    _own_close(GONE),
    "TR-13 code-of-its-own: Closes the connection with a code of its own.",
    _own_close(ConnectionClosed(4000)),
    "TR-14 end-of-tcp-unnoticed: Does not notice the end of TCP.",
    on.observes(do.drop, saw="closed", is_closing=True),
    "TR-15 namespaces-outlive-the-connection: Keeps its namespaces when the connection closes.",
    on.observes(do.drop, saw="disconnected", is_closing=True),
    "TR-15 leaves-before-it-goes: Leaves its rooms one by one before it closes the connection.",
    ClientFault(receive=when(do.remember("room"), event=JOIN), before=_leave_rooms),
    "TR-15 takes-up-where-it-was: Handles events on a new connection before it connects.",
    on.receive(lambda _, m: m, event="echo", wait="", current=bool, is_connected=False),
    "TR-16 goodbye-not-returned: Ends TCP where it receives a close frame.",
    ClientFault(close=lambda c, sent: GONE if c.is_closing else sent),
    "TR-16 code-of-an-application-not-returned: Ends TCP at a close frame with an unknown code.",
    ClientFault(close=lambda _, sent: GONE if (sent.code or 0) >= do.PRIVATE_CODES else sent),
    "TR-17 broken-text-is-a-protocol-error: Closes with a protocol error at text not in UTF-8.",
    ClientFault(close=lambda _, sent: ConnectionClosed(1002) if sent.code == 1007 else sent),
    "TR-18 version-asked-for: Asks the server for its version when it has connected a namespace.",
    on.beside(
        do.give("$version;any;;version;0;0;"),
        event="",
        ask={"event": CONNECT, "namespace": "any"},
        current=0,
    ),
    "SX-1 sender-named-in-events: Names itself as a server, in the wait field of an event.",
    on.send(lambda _, m: f"neffos(0x1){encode(m)!s}", event="news", wait="", is_binary=False),
)


# -------------------------------------------------------------------- hostile servers


mutants(
    "SEC-15 namespace-looked-up-escaped: Looks a namespace up as it is written in the frame.",
    on.receive(do.refuse(UNKNOWN), event=CONNECT, namespace=do.has(";"), wait=is_server_token),
    "SEC-15 room-looked-up-escaped: Looks a room up as it is written in the frame.",
    on.receive(do.empty_reply, event=LEAVE, room=do.has(";"), wait=bool),
    "SEC-16 two-flags-end-reading: Receives nothing more after a frame with both flags.",
    on.receive(do.once(do.drop, is_error=True, is_no_op=True)),
    "SEC-16 binary-request-ends-reading: Receives nothing more after an M in a binary message.",
    on.receive_raw(do.deaf_from(payload=b"M")),
    "SEC-16 separators-end-it: Ends when a message has very many separators.",
    on.beside_raw(do.give(GONE), payload=lambda payload: str(payload).count(";") > MANY),
    "SEC-16 prototype-ends-it: Ends when a namespace is named like a member of every JavaScript "
    "object.",
    on.beside(do.give(GONE), namespace="__proto__"),
)
