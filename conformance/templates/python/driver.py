"""The driver of a client in Python, to start your own from; ``python3 driver.py`` runs it.

The lines are those of spec/docs/driver.md. The client below them runs on peer.py and on the
package websockets; replace it with yours. Reconnections are left out.
"""

import asyncio
import base64
import json
import platform
import sys

from codec import Refused
from peer import ANY_EVENT, CONNECT, DISCONNECT, JOIN, LEAVE, NATIVE, Peer, ReplyError, text_of
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake, InvalidURI, WebSocketException

TIMEOUT = 10.0
UNWANTED = "unwanted"  # a namespace and a room that this client refuses
NAMESPACES = ("app", "any", "semi;colon", UNWANTED, "")

# ---- The client: replace it with yours ----


async def dial(url, headers, handlers, changed, on_close):
    """Open a connection, and return it once the handshake is complete."""
    socket = await connect(url, additional_headers=headers)
    await socket.send("M")
    early = []
    while (answer := text_of(payload := await socket.recv()))[:1] not in ("A", "H"):
        early.append(payload)
    if answer.startswith("H"):
        await socket.close()
        raise ReplyError(answer[1:])
    peer = Peer(socket, handlers, is_client=True)
    peer.id, peer.changed = answer[1:], changed
    peer.reader = asyncio.create_task(read(peer, early, on_close))
    return peer


async def read(peer, early, on_close):
    """Handle what arrived before the acceptance, and what arrives until the connection ends."""
    try:
        for payload in early:
            await peer.receive(payload)
        async for payload in peer.socket:
            await peer.receive(payload)
    except WebSocketException:
        pass
    peer.end()
    on_close()


# ---- The client's side of the conformance application ----


def application(see):
    """Return the handlers; each reports its message before it acts."""

    async def silent(peer, message):
        see(message)

    async def echo(peer, message):
        see(message)
        return "" if message["is_error"] else message["body"]

    async def fail(peer, message):
        see(message)
        raise ReplyError(text_of(message["body"]))

    async def relay(peer, message):
        see(message)
        return (await peer.ask(message["namespace"], "echo", message["body"]))["body"]

    def unwanted(peer, message):
        if message["room" if message["event"] == JOIN else "namespace"] == UNWANTED:
            raise ReplyError("not wanted")

    events = {"echo": echo, "question": echo, "fail": fail, "relay": relay, ANY_EVENT: silent}
    events[JOIN] = unwanted
    namespaces = dict.fromkeys(NAMESPACES, events)
    return {**namespaces, UNWANTED: {**events, CONNECT: unwanted}, "": {**events, NATIVE: silent}}


# ---- The driver protocol ----


class Unsupported(Exception):  # noqa: N818
    """An operation that this driver does not know, or its client does not support."""


PEERS = {}


def tell(**line):
    """Write a line."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def body_of(operation):
    """Return the body of an operation."""
    if "base64" in operation:
        return base64.b64decode(operation["base64"], validate=True)
    return operation["text"]


def body_fields(body):
    """Return the fields that stand for a body."""
    if isinstance(body, bytes):
        return {"base64": base64.b64encode(body).decode()}
    return {"text": body}


async def do_dial(operation):
    """Open a connection."""
    if operation.get("reconnect"):
        raise Unsupported
    number = len(PEERS) + 1
    PEERS[number] = None  # taken, also if the dial fails

    def see(message):
        if message["event"] == NATIVE:
            return tell(saw="native", connection=number, **body_fields(message["body"]))
        names = {name: message[name] for name in ("namespace", "room", "event")}
        error = {"error": True} if message["is_error"] else {}
        fields = {**names, **body_fields(message["body"]), **error}
        return tell(saw="event", connection=number, **fields)

    def changed(what, namespace, room):
        fields = {"room": room} if what in ("joined", "left") else {}
        tell(saw=what, connection=number, namespace=namespace, **fields)

    def closed():
        tell(saw="closed", connection=number)

    headers = operation.get("headers")
    peer = await dial(operation["url"], headers, application(see), changed, closed)
    PEERS[number] = peer
    return {"connection": number, "connection_id": peer.id}


def changing(event):
    """Return the operation that asks for a change of membership."""

    async def operate(operation):
        await peer_of(operation).change(event, operation["namespace"], operation.get("room", ""))

    return operate


async def do_leave_all(operation):
    """Leave every room."""
    peer, namespace = peer_of(operation), operation["namespace"]
    for room in sorted(peer.rooms.get(namespace, ())):
        await peer.change(LEAVE, namespace, room)


async def do_emit(operation):
    """Send an event."""
    where = operation["namespace"], operation["event"]
    peer_of(operation).emit(*where, body_of(operation), operation.get("room", ""))


async def do_ask(operation):
    """Send an event, and return the reply's body."""
    where = operation["namespace"], operation["event"]
    room = operation.get("room", "")
    return body_fields((await peer_of(operation).ask(*where, body_of(operation), room))["body"])


async def do_native(operation):
    """Send a native message."""
    peer_of(operation).native(body_of(operation))


async def do_close(operation):
    """Close a connection."""
    peer_of(operation).close()
    await peer_of(operation).socket.wait_closed()


def peer_of(operation):
    """Return the connection of an operation."""
    if PEERS.get(operation["connection"]) is None:
        raise ValueError(f"there is no connection {operation['connection']}")
    return PEERS[operation["connection"]]


OPERATIONS = {
    "dial": do_dial,
    "connect": changing(CONNECT),
    "disconnect": changing(DISCONNECT),
    "join": changing(JOIN),
    "leave": changing(LEAVE),
    "leave-all": do_leave_all,
    "emit": do_emit,
    "ask": do_ask,
    "native": do_native,
    "close": do_close,
}


async def operate(operation):
    """Perform an operation, and report its result."""
    number = operation["id"]
    try:
        if operation["op"] not in OPERATIONS:
            raise Unsupported
        async with asyncio.timeout(operation.get("timeout", TIMEOUT)):
            result = await OPERATIONS[operation["op"]](operation)
        tell(id=number, result=result or {})
    except Unsupported:
        tell(id=number, unsupported=True)
    except TimeoutError:
        tell(id=number, error="the time for the operation ran out")
    except Refused as refused:
        tell(id=number, error=f"a frame cannot carry this: {refused.reason} in {refused.field}")
    except (ReplyError, OSError, InvalidHandshake, InvalidURI, WebSocketException) as error:
        tell(id=number, error=str(error))
    except (KeyError, TypeError, ValueError) as error:
        tell(id=number, error=f"the operation lacks something: {error!r}")


async def main():
    """Report that it is ready, then start the operation of each line until there are no more."""
    runtime = f"Python {platform.python_version()}"
    tell(ready=True, driver=1, peer="template", version="1", runtime=runtime)
    tasks = set()
    while line := await asyncio.to_thread(sys.stdin.buffer.readline):
        try:
            operation = json.loads(line)
            if type(operation["id"]) is not int or not isinstance(operation["op"], str):
                raise TypeError("id is a whole number, and op a text")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            tell(id=None, error=f"not an operation: {error!r}")
            continue
        task = asyncio.create_task(operate(operation))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


if __name__ == "__main__":
    asyncio.run(main())
