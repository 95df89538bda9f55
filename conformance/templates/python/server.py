"""The conformance application on a server in Python, to start your own from.

Run it with ``python3 server.py``; ``neffos-wire server URL`` judges it. The handlers are the
tables of spec/docs/application.md, and stay; the server below them runs on the peer beside this
file and on the package websockets, and yours goes in its place. The mixed and the native-only
endpoint and headers in the URL are left out.
"""

import asyncio
import json
import platform
import secrets
import sys
from contextlib import suppress

import websockets
from peer import ANY_EVENT, CONNECT, DISCONNECT, JOIN, LEAVE, Peer, ReplyError, text_of
from websockets.asyncio.server import serve

# ---- The application ----


async def echo(peer, message):
    return "" if message["is_error"] else message["body"]


async def fail(peer, message):
    raise ReplyError(text_of(message["body"]) or "no text was given")


async def silent(peer, message):
    return None


async def whoami(peer, message):
    return peer.id


async def tries(peer, message):
    return peer.headers.get("X-Websocket-Reconnect", "0")


async def header(peer, message):
    return ", ".join(peer.headers.get_all(text_of(message["body"])))


async def push(peer, message):
    body = b"pushed" if isinstance(message["body"], bytes) else "pushed"
    await peer.emit("app", text_of(message["body"]), body)
    return "done"


async def broadcast(peers, body, room=""):
    for peer in peers:
        if "app" in peer.rooms and (not room or room in peer.rooms["app"]):
            with suppress(websockets.ConnectionClosed):  # one that has just gone
                await peer.emit("app", "news", body, room)
    return "done"


async def broadcast_others(peer, message):
    return await broadcast(peer.all - {peer}, message["body"])


async def broadcast_all(peer, message):
    return await broadcast(peer.all, message["body"])


async def broadcast_room(peer, message):
    return await broadcast(peer.all - {peer}, message["body"], message["room"])


async def broadcast_to(peer, message):
    body = message["body"]
    to, _, rest = body.partition(b" " if isinstance(body, bytes) else " ")
    return await broadcast([each for each in peer.all if each.id == text_of(to)], rest)


async def ask_me(peer, message):
    try:
        event, body = "answer", (await peer.ask("app", "question", message["body"]))["body"]
    except ReplyError as error:
        event, body = "answer-error", str(error)
        if isinstance(message["body"], bytes):
            body = body.encode()
    await peer.emit("app", event, body)


def ask_to(event):
    async def handler(peer, message):
        name = text_of(message["body"])
        namespace = name if event == CONNECT else "app"
        with suppress(ReplyError):
            await peer.change(event, namespace, name if event in (JOIN, LEAVE) else "")

    return handler


async def close_me(peer, message):
    await peer.close()


async def name_of(peer, message):
    return message["event"]


def refuse(text, room=None):
    async def handler(peer, message):
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

# ---- The server: put yours in its place ----

PEERS = set()


async def handle(socket):
    """Serve a connection."""
    headers = socket.request.headers
    async for payload in socket:
        if payload[:1] in ("M", b"M"):
            break
    else:
        return
    if text := headers.get("X-Conformance-Refuse"):
        await socket.send("H" + text)
        return
    peer = Peer(socket.send, APPLICATION, is_client=False)
    peer.id = headers.get("X-Conformance-Id") or secrets.token_hex(16)
    peer.headers, peer.close, peer.all = headers, socket.close, PEERS
    PEERS.add(peer)
    try:
        await socket.send("A" + peer.id)
        if namespace := headers.get("X-Conformance-Connect"):
            at_once = asyncio.create_task(peer.change(CONNECT, namespace))
            at_once.add_done_callback(lambda task: task.exception())  # it may be refused
        async for payload in socket:
            peer.receive(payload)
    except websockets.ConnectionClosed:
        pass
    finally:
        PEERS.discard(peer)
        peer.end()


async def main():
    """Serve until standard input ends, so that whoever started this need not end it."""
    async with serve(handle, "127.0.0.1", 0, max_size=None) as server:
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
