"""The conformance application on a server in Python, to start your own from.

Run it with ``python3 server.py``; ``neffos-wire test server URL`` tests it. The handlers are the
tables of spec/docs/application.md: keep them. The server below them runs on peer.py and on the
package websockets: replace it with yours.
"""

import asyncio
import json
import platform
import re
import secrets
import sys
from contextlib import suppress
from urllib.parse import parse_qsl, urlsplit

from peer import ANY_EVENT, CONNECT, DISCONNECT, JOIN, LEAVE, NATIVE, Peer, ReplyError, text_of
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, InvalidHeaderValue

# ---- The application ----


async def echo(peer, message):
    return "" if message["is_error"] else message["body"]


async def fail(peer, message):
    raise ReplyError(text_of(message["body"]))


async def silent(peer, message):
    return None


async def whoami(peer, message):
    return peer.id


async def tries(peer, message):
    value = ", ".join(peer.headers.get_all("X-Websocket-Reconnect"))
    return str(int(value)) if value.isascii() and value.isdigit() else "0"


async def header(peer, message):
    return ", ".join(peer.headers.get_all(text_of(message["body"])))


async def push(peer, message):
    body = b"pushed" if isinstance(message["body"], bytes) else "pushed"
    peer.emit("app", text_of(message["body"]), body)
    return "done"


def broadcast(peers, body, room=""):
    for peer in peers:
        if "app" in peer.rooms and (not room or room in peer.rooms["app"]):
            peer.emit("app", "news", body, room)
    return "done"


async def broadcast_others(peer, message):
    return broadcast(peer.all - {peer}, message["body"])


async def broadcast_all(peer, message):
    return broadcast(peer.all, message["body"])


async def broadcast_room(peer, message):
    return broadcast(peer.all - {peer}, message["body"], message["room"])


async def broadcast_to(peer, message):
    body = message["body"]
    to, _, rest = body.partition(b" " if isinstance(body, bytes) else " ")
    return broadcast([each for each in peer.all if each.id == text_of(to)], rest)


async def ask_me(peer, message):
    try:
        event, body = "answer", (await peer.ask("app", "question", message["body"]))["body"]
    except ReplyError as error:
        event, body = "answer-error", str(error)
        if isinstance(message["body"], bytes):
            body = body.encode()
    peer.emit("app", event, body)


def ask_to(event):
    async def handler(peer, message):
        name = text_of(message["body"])
        namespace = name if event == CONNECT else "app"
        with suppress(ReplyError):
            await peer.change(event, namespace, name if event in (JOIN, LEAVE) else "")

    return handler


async def close_me(peer, message):
    peer.close()


async def name_of(peer, message):
    return message["event"]


def refuse(text, room=None):
    def handler(peer, message):
        if room is None or message["room"] == room:
            raise ReplyError(text)

    return handler


APPLICATION = {
    "app": {
        JOIN: refuse("room is locked", "locked"),
        LEAVE: refuse("room is sticky", "sticky"),
        "echo": echo,
        "fail": fail,
        "silent": silent,
        "whoami": whoami,
        "tries": tries,
        "header": header,
        "push": push,
        "broadcast-others": broadcast_others,
        "broadcast-all": broadcast_all,
        "broadcast-room": broadcast_room,
        "broadcast-to": broadcast_to,
        "ask-me": ask_me,
        "join-me": ask_to(JOIN),
        "leave-me": ask_to(LEAVE),
        "connect-me": ask_to(CONNECT),
        "disconnect-me": ask_to(DISCONNECT),
        "close-me": close_me,
    },
    "any": {ANY_EVENT: name_of},
    "refused": {CONNECT: refuse("namespace is closed")},
    "sticky": {DISCONNECT: refuse("namespace is sticky")},
    "semi;colon": {"ec;ho": echo},
}
MIXED = {"": {"echo": echo, NATIVE: echo}}

# ---- The server: replace it with yours ----

PEERS = set()
HANDSHAKE_TIMEOUT = 10.0
"""Seconds for a client to begin the handshake."""

URL_HEADER = re.compile(
    "x-websocket-header-(?!(?:connection|cookie|forwarded|host|origin|upgrade)$|sec-|x-forwarded-)"
    r"([\w!#$%&'*+.^`|~-]+)",
    re.IGNORECASE | re.ASCII,
)
"""A query parameter that stands for a header, except headers that proxies or HTTP use."""


def check(socket, request):
    """Refuse pages of other origins."""
    for origin in request.headers.get_all("Origin"):
        if origin.partition("://")[2] != request.headers.get("Host"):
            return socket.respond(403, "this page may not connect\n")
    return None


def headers_of(request):
    """Return the headers of a request, also those in its URL."""
    headers = request.headers.copy()
    for name, value in parse_qsl(urlsplit(request.path).query, keep_blank_values=True):
        found = URL_HEADER.fullmatch(name)
        if found and found[1] not in request.headers:
            with suppress(InvalidHeaderValue):
                headers[found[1]] = value
    return headers


async def handle(socket):
    """Serve a connection."""
    path = urlsplit(socket.request.path).path
    with suppress(ConnectionClosed, TimeoutError):
        if path == "/native":
            async for payload in socket:
                if payload:  # an empty message is ignored (FR-14)
                    await socket.send(payload)
        else:
            await serve_frames(socket, MIXED if path == "/mixed" else APPLICATION)


async def serve_frames(socket, application):
    """Serve a connection from the handshake on."""
    async with asyncio.timeout(HANDSHAKE_TIMEOUT):
        while (await socket.recv())[:1] not in ("M", b"M"):
            pass
    headers = headers_of(socket.request)
    refusal = ", ".join(headers.get_all("X-Conformance-Refuse"))
    id_ = headers.get("X-Conformance-Id") or secrets.token_hex(16)
    if any(each.id == id_ for each in PEERS):
        refusal = "this connection id is in use"
    if refusal or "X-Conformance-Refuse" in headers:
        await socket.send("H" + (refusal or "no text was given"))
        await socket.close(1008)
        return
    peer = Peer(socket, application, is_client=False)
    peer.id, peer.headers, peer.all = id_, headers, PEERS
    PEERS.add(peer)
    try:
        peer.send("A" + peer.id)
        if namespace := headers.get("X-Conformance-Connect"):
            peer.start(connect_at_once(peer, namespace))
        async for payload in socket:
            await peer.receive(payload)
    finally:
        PEERS.discard(peer)
        peer.end()


async def connect_at_once(peer, namespace):
    """Ask the client to connect a namespace, which it may refuse."""
    with suppress(ReplyError):
        await peer.change(CONNECT, namespace)


async def main():
    """Serve until standard input ends, so that no process remains when the caller ends."""
    async with serve(handle, "127.0.0.1", 0, process_request=check) as server:
        port = server.sockets[0].getsockname()[1]
        ready = {
            "ready": True,
            "peer": "template",
            "version": "1",
            "runtime": f"Python {platform.python_version()}",
            "endpoints": {"template": f"ws://127.0.0.1:{port}/"},
        }
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.buffer.read)


if __name__ == "__main__":
    asyncio.run(main())
