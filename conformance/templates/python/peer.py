"""A peer of a neffos connection, as small as it can be, instead of your library.

The templates of the driver and of the server run on it until you replace it with yours. It uses a
connection of the package websockets.
"""

import asyncio
import secrets
from collections import deque

from codec import FIELDS, NAMES, Refused, decode, encode, first_not_utf8
from websockets.exceptions import ConnectionClosed

CONNECT, DISCONNECT = "_OnNamespaceConnect", "_OnNamespaceDisconnect"
JOIN, LEAVE = "_OnRoomJoin", "_OnRoomLeave"
CHANGES = {CONNECT: "connected", DISCONNECT: "disconnected", JOIN: "joined", LEAVE: "left"}
NATIVE = "_OnNativeMessage"
ANY_EVENT = "*"
NO_EVENTS = {"_OnNamespaceConnected", "_OnRoomJoined", "_OnRoomLeft", "_OnAnyEvent"}
"""Local events, which a frame never carries."""

ROOMS, ASKS, UNSENT = 1000, 1000, 16 << 20
"""Limits: rooms of all namespaces, pending asks, and bytes kept for a slow reader."""


class ReplyError(Exception):
    """An error as a reply: raised by a handler to send one, and by an ask that gets one."""


class Peer:
    """A connection whose handshake is complete, or about to be.

    ``handlers`` has the coroutine functions by namespace and event; each is given this object
    and the message, and returns the reply's body, or None to send nothing. Those for connect,
    disconnect, join and leave are plain functions, and may refuse with ReplyError. If the
    empty namespace has one for NATIVE, a payload that is not a frame is a native message.
    """

    def __init__(self, socket, handlers, is_client):
        self.socket, self.handlers = socket, handlers
        self.changed = lambda what, namespace, room: None
        self.rooms = {}  # the rooms that are joined, by connected namespace
        self._is_mixed = NATIVE in handlers.get("", ())
        self._is_client = is_client
        self._asks = {}  # what was asked, and the future of the reply, by token
        self._ended = deque(maxlen=ASKS)  # tokens whose late replies are no asks
        self._unsent, self._size = asyncio.Queue(), 0
        self._tasks = set()
        self.start(self._write())

    def start(self, work):
        """Run a coroutine until it ends, or the connection does."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def send(self, payload):
        """Send a payload after all others; reset the connection of a peer that reads too slowly."""
        self._size += len(payload)
        if self._size > UNSENT:
            self.socket.transport.abort()
        self._unsent.put_nowait(payload)

    def close(self, code=1000):
        """Close the connection after all that is sent."""
        self._unsent.put_nowait(code)

    def end(self):
        """Report that the connection has ended."""
        for namespace in list(self.rooms):
            self._change(DISCONNECT, namespace, "")
        self._drop(list(self._asks), "the connection is closed")
        for task in self._tasks:
            task.cancel()

    async def _write(self):
        try:
            while isinstance(payload := await self._unsent.get(), str | bytes):
                await self.socket.send(payload)
                self._size -= len(payload)
            await self.socket.close(payload)
        except ConnectionClosed:
            pass  # the reader sees that too

    # Commands of this peer.

    def emit(self, namespace, event, body, room=""):
        """Send an event."""
        self._say("", namespace, room, event, body)

    def native(self, body):
        """Send a native message."""
        if "" not in self.rooms or not self._is_mixed:
            raise ReplyError("bad namespace")
        try:
            decode(body)
        except Refused as refused:
            if str(refused) != "empty":
                self.send(body)
        else:
            raise ReplyError("this would be taken for a frame")

    async def ask(self, namespace, event, body="", room=""):
        """Send an event, and return the reply."""
        if len(self._asks) == ASKS:
            raise ReplyError("too many asks wait for a reply")
        token = ("$" if self._is_client else "") + secrets.token_hex(16)
        self._say(token, namespace, room, event, body)
        # It stays after the caller gave up: a late reply must not count as an ask.
        answer = asyncio.get_running_loop().create_future()
        self._asks[token] = (event, namespace, room), answer
        return await answer

    async def change(self, event, namespace, room=""):
        """Ask to connect or disconnect a namespace, or to join or leave a room."""
        await self.ask(namespace, event, room=room)

    def _say(self, wait, namespace, room, event, body):
        rooms = self.rooms.get(namespace)
        if event in NO_EVENTS or (event in CHANGES and not wait):
            raise ReplyError("bad event")
        if rooms is None and event != CONNECT:
            raise ReplyError("bad namespace")
        if room and event not in CHANGES and room not in rooms:
            raise ReplyError("bad room")
        names = {"wait": wait, "namespace": namespace, "room": room, "event": event}
        self.send(encode({**names, "is_error": False, "is_no_op": False, "body": body}))

    # Messages of the other peer.

    async def receive(self, payload):
        """Begin to handle a payload; a handler that waits does not delay later payloads."""
        message = self._read(payload)
        if message is None:
            return
        wait = message["wait"]
        if ask := self._asks.pop(wait, None):
            self._ended.append(wait)
            self._replied(*ask, message)
        elif wait not in self._ended:
            self.start(self._answer(message))
        await asyncio.sleep(0)  # it begins before the next payload is read

    def _read(self, payload):
        try:
            message = decode(payload)
        except Refused as refused:
            if str(refused) == "empty" or not self._is_mixed:
                return None
            message = dict.fromkeys(FIELDS, "") | {"event": NATIVE, "body": payload}
        wait = message["wait"]
        if wait[1:2] == "!" and wait[0].isascii() and wait[2:] and not self._is_client:
            message["wait"] = wait[0] + wait[2:]  # a marker in this byte is for the server alone
        if first_not_utf8("".join(message[name] for name in FIELDS[:4])) is not None:
            return None
        return message

    def _replied(self, asked, answer, message):
        error = text_of(message["body"]) if message["is_error"] else None
        if asked[0] in CHANGES and error is None:
            if any(message[name] for name in (*NAMES, "body")):
                error = "this is no answer to a change"
            elif self._would_change(*asked):
                self._change(*asked)
        if answer.done():
            return
        if error is None:
            answer.set_result(message)
        else:
            answer.set_exception(ReplyError(error))

    async def _answer(self, message):
        wait, namespace, room = message["wait"], message["namespace"], message["room"]
        rooms = self.rooms.get(namespace)
        try:
            body = await self._handle(message, rooms)
            is_error = False
        except (ReplyError, Refused) as error:
            body, is_error = str(error) or "no text was given", True
        if body is None or (rooms is not None and self.rooms.get(namespace) is not rooms):
            return  # there is no reply, or the namespace was disconnected meanwhile
        if message["event"] == NATIVE and self._is_mixed and not wait:
            if not is_error:
                self.native(body)
        elif wait or not room or room in rooms:  # else it was left meanwhile
            if isinstance(message["body"], bytes) and isinstance(body, str):
                body = body.encode()
            self.send(encode({**message, "is_error": is_error, "body": body}))

    async def _handle(self, message, rooms):
        asked = event, namespace, room = [message[name] for name in ("event", "namespace", "room")]
        may_answer = message["wait"] and not message["is_error"]
        if event in CHANGES:
            if may_answer and not message["is_no_op"]:
                self._agree(message, *asked)
                self.send(message["wait"] + ";;;;;;")
        elif rooms is None:
            if may_answer:
                raise ReplyError("bad namespace")
        elif event not in NO_EVENTS and (not room or room in rooms):
            handlers = self.handlers[namespace]
            is_native = event == NATIVE and self._is_mixed
            other = None if is_native else handlers.get(ANY_EVENT)
            if handler := handlers.get(event, other):
                return await handler(self, message)
        return None

    def _agree(self, message, event, namespace, room):
        known = self.handlers if event == CONNECT else self.rooms
        if namespace not in known and event != DISCONNECT:
            raise ReplyError("bad namespace")
        if event == JOIN and not room:
            raise ReplyError("bad room")
        if self._would_change(event, namespace, room):
            if event == JOIN and sum(map(len, self.rooms.values())) == ROOMS:
                raise ReplyError("too many rooms")
            if allow := self.handlers[namespace].get(event):
                allow(self, message)
            asked = event, namespace, room
            ended = [token for token, (same, _) in self._asks.items() if same == asked]
            self._drop(ended)  # both peers asked for it, and it has happened now
            self._change(*asked)

    def _would_change(self, event, namespace, room):
        if event in (CONNECT, DISCONNECT):
            return (namespace in self.rooms) != (event == CONNECT)
        return (room in self.rooms[namespace]) != (event == JOIN)

    def _change(self, event, namespace, room):
        if event == CONNECT:
            self.rooms[namespace] = set()
        elif event == DISCONNECT:
            del self.rooms[namespace]
            ended = [
                token
                for token, ((what, where, _), _) in self._asks.items()
                if where == namespace and what not in (CONNECT, DISCONNECT)
            ]
            self._drop(ended, "the namespace is disconnected")
        elif event == JOIN:
            self.rooms[namespace].add(room)
        else:
            self.rooms[namespace].remove(room)
        self.changed(CHANGES[event], namespace, room)

    def _drop(self, tokens, error=None):
        for token in tokens:
            _, answer = self._asks.pop(token)
            self._ended.append(token)
            if answer.done():
                continue
            if error is None:
                answer.set_result(None)
            else:
                answer.set_exception(ReplyError(error))


def text_of(body):
    """Return a body as text."""
    return body.decode("utf-8", "replace") if isinstance(body, bytes) else body
