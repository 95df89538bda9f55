"""One end of a neffos connection, as small as it can be: it stands in for your library.

The templates of the driver and of the server run on it until yours takes its place. It keeps
neither limits nor deadlines, so that nothing but a test should.
"""

import asyncio
import itertools

from codec import Refused, decode, encode

CONNECT, DISCONNECT = "_OnNamespaceConnect", "_OnNamespaceDisconnect"
JOIN, LEAVE = "_OnRoomJoin", "_OnRoomLeave"
CHANGES = {CONNECT: "connected", DISCONNECT: "disconnected", JOIN: "joined", LEAVE: "left"}
ANY_EVENT = "*"


class ReplyError(Exception):
    """An error as a reply: raised by a handler to send one, and by an ask that gets one."""


class Peer:
    """A connection whose handshake is done.

    ``handlers`` has the coroutine functions by namespace and event; each is given this object
    and the message, and returns the reply's body, or None to send nothing. Those for connect,
    disconnect, join and leave may refuse with ReplyError.
    """

    def __init__(self, send, handlers, is_client):
        self.send = send  # a coroutine function that takes a payload
        self.handlers = handlers
        self.changed = lambda what, namespace, room: None
        self.rooms = {}  # the rooms that are joined, by connected namespace
        self._tokens = (f"{'$' if is_client else ''}{number}" for number in itertools.count(1))
        self._asks = {}
        self._queue = asyncio.Queue()
        self._worker = asyncio.create_task(self._work())

    def receive(self, payload):
        """Take a payload from the connection; one that is no frame is dropped."""
        try:
            message = decode(payload)
        except Refused:
            return
        answer = self._asks.pop(message["wait"], None)
        if answer is None:
            self._queue.put_nowait(message)
        elif not answer.done():
            answer.set_result(message)

    def end(self):
        """Tell that the connection is gone."""
        self._worker.cancel()
        for answer in self._asks.values():
            if not answer.done():
                answer.set_exception(ReplyError("the connection is closed"))

    # What this end does.

    async def emit(self, namespace, event, body, room=""):
        """Send an event."""
        if namespace not in self.rooms:
            raise ReplyError("bad namespace")
        await self._write("", namespace, room, event, body)

    async def ask(self, namespace, event, body="", room=""):
        """Send an event, and give the reply."""
        if namespace not in self.rooms and event != CONNECT:
            raise ReplyError("bad namespace")
        token = next(self._tokens)
        # It stays where nobody waits any more: a late reply is a reply all the same.
        answer = self._asks[token] = asyncio.get_running_loop().create_future()
        await self._write(token, namespace, room, event, body)
        message = await answer
        if message["is_error"]:
            raise ReplyError(text_of(message["body"]))
        return message

    async def change(self, event, namespace, room=""):
        """Ask to connect or disconnect a namespace, or to join or leave a room."""
        await self.ask(namespace, event, room=room)
        self._change(event, namespace, room)

    async def _write(self, wait, namespace, room, event, body, is_error=False):
        names = {"wait": wait, "namespace": namespace, "room": room, "event": event}
        await self.send(encode({**names, "is_error": is_error, "is_no_op": False, "body": body}))

    # What the other end does.

    async def _work(self):
        while True:
            message = await self._queue.get()
            try:
                body = await self._handle(message)
                is_error = False
            except (ReplyError, Refused) as error:
                body, is_error = str(error), True
            if body is None:
                continue
            if isinstance(message["body"], bytes) and isinstance(body, str):
                body = body.encode()
            await self.send(encode({**message, "is_error": is_error, "body": body}))

    async def _handle(self, message):
        namespace, event, room = message["namespace"], message["event"], message["room"]
        is_connected = namespace in self.rooms
        if event in CHANGES:
            if not message["wait"] or message["is_no_op"]:
                return None
            if event == CONNECT and namespace not in self.handlers:
                raise ReplyError("bad namespace")
            if event in (JOIN, LEAVE) and not is_connected:
                raise ReplyError("bad namespace")
            if self._would_change(event, namespace, room):
                if allow := self.handlers[namespace].get(event):
                    await allow(self, message)
                self._change(event, namespace, room)
            await self.send(message["wait"] + ";;;;;;")
        elif is_connected:
            handlers = self.handlers[namespace]
            if handler := handlers.get(event, handlers.get(ANY_EVENT)):
                return await handler(self, message)
        elif message["wait"]:
            raise ReplyError("bad namespace")
        return None

    def _would_change(self, event, namespace, room):
        if event in (CONNECT, DISCONNECT):
            return (namespace in self.rooms) != (event == CONNECT)
        return (room in self.rooms[namespace]) != (event == JOIN)

    def _change(self, event, namespace, room):
        if event == CONNECT:
            self.rooms.setdefault(namespace, set())
        elif event == DISCONNECT:
            self.rooms.pop(namespace, None)
        elif event == JOIN:
            self.rooms[namespace].add(room)
        else:
            self.rooms[namespace].discard(room)
        self.changed(CHANGES[event], namespace, room)


def text_of(body):
    """Give a body as text."""
    return body.decode("utf-8", "replace") if isinstance(body, bytes) else body
