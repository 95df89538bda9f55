"""A small server with the conformance application, so that the suite runs anywhere.

It answers what the cases ask, on one connection at a time and without broadcast. The codec
does the reading and writing; the state of a connection is a set of namespaces and of rooms.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from secrets import token_bytes
from typing import Final

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from neffos_codec import (
    DecodeError,
    HandshakeAccept,
    HandshakeRefuse,
    HandshakeRequest,
    Message,
    WaitTokens,
    decode,
    decode_handshake,
    encode,
    encode_handshake,
)

MAX_SIZE: Final = 16 << 20
"""Octets of one message: sixteen times the largest of the cases."""

MAX_QUEUED: Final = 64
"""Messages held before the handshake (SEC): a client has a handful to say that early."""

Serve = Callable[[str | bytes], list[str | bytes]]
"""What a server does with one payload: the payloads that it sends."""

Answer = Message | None
Handler = Callable[["Peer", Message], Answer]


class _RefusedError(Exception):
    """What the application says no with."""


def _echo(_: Peer, message: Message) -> Answer:
    return message.reply(message.body)


def _fail(_: Peer, message: Message) -> Answer:
    body = message.body
    return message.error_reply(body if isinstance(body, str) else body.decode(errors="replace"))


def _silent(_: Peer, message: Message) -> Answer:
    return None


def _whoami(peer: Peer, message: Message) -> Answer:
    return message.reply(peer.id)


def _ask_me(peer: Peer, message: Message) -> Answer:
    question = message.replace(wait=peer.tokens(), event="question")
    peer.asked.add(question.wait)
    return question


APPLICATION: Final[dict[str, dict[str, Handler]]] = {
    "app": {
        "echo": _echo,
        "fail": _fail,
        "silent": _silent,
        "whoami": _whoami,
        "ask-me": _ask_me,
    },
    "refused": {},
    "sticky": {},
    "semi;colon": {"ec;ho": _echo},
}
"""Namespaces, events and handlers of the conformance application."""


class Peer:
    """What the server knows of one client."""

    def __init__(self, connection_id: str, refusal: str | None) -> None:
        self.id = connection_id
        self.refusal = refusal
        self.accepted = False
        self.ended = False
        self.queue: list[str | bytes] = []
        self.rooms: dict[str, set[str]] = {}
        self.tokens = WaitTokens(client=False, clock=time.time_ns, entropy=token_bytes)
        self.asked: set[str] = set()

    def receive(self, payload: str | bytes) -> list[str | bytes]:
        """Take one payload and give those to send."""
        if not payload:
            return []
        if not self.accepted:
            try:
                return self._before_handshake(payload)
            except _RefusedError as refused:
                self.ended = True
                return [encode_handshake(HandshakeRefuse(str(refused)))]
        try:
            message = decode(payload)
        except DecodeError:
            return []
        answer = self._answer(message)
        return [encode(answer)] if answer else []

    def _before_handshake(self, payload: str | bytes) -> list[str | bytes]:
        try:
            first = decode_handshake(payload)
        except DecodeError:
            if len(self.queue) >= MAX_QUEUED:
                raise _RefusedError("too many messages before the handshake") from None
            self.queue.append(payload)
            return []
        if not isinstance(first, HandshakeRequest):
            raise _RefusedError("a client begins with M")
        if self.refusal is not None:
            raise _RefusedError(self.refusal)
        self.accepted = True
        sent: list[str | bytes] = [encode_handshake(HandshakeAccept(self.id))]
        for queued in self.queue:
            sent += self.receive(queued)
        self.queue.clear()
        return sent

    def _answer(self, message: Message) -> Answer:
        if message.wait in self.asked:
            self.asked.remove(message.wait)
            return message.replace(wait="", event="answer")
        match message.event:
            case "_OnNamespaceConnect" | "_OnNamespaceDisconnect" | "_OnRoomJoin" | "_OnRoomLeave":
                if not message.wait or message.is_no_op:
                    return None
                try:
                    return message.empty_reply() if self._change(message) else None
                except _RefusedError as refused:
                    return message.error_reply(str(refused))
        if message.namespace not in self.rooms:
            return None
        handler = APPLICATION[message.namespace].get(message.event)
        return handler(self, message) if handler else None

    def _change(self, message: Message) -> bool:
        """Do what a system event asks; false where it is to be dropped."""
        namespace, room = message.namespace, message.room
        connected = self.rooms.get(namespace)
        match message.event:
            case "_OnNamespaceConnect" if connected is None:
                if namespace not in APPLICATION:
                    raise _RefusedError("bad namespace")
                if namespace == "refused":
                    raise _RefusedError("namespace is closed")
                self.rooms[namespace] = set()
            case "_OnNamespaceDisconnect" if connected is not None:
                if namespace == "sticky":
                    raise _RefusedError("namespace is sticky")
                del self.rooms[namespace]
            case "_OnRoomJoin" | "_OnRoomLeave" if connected is None:
                return False
            case "_OnRoomJoin" if connected is not None and room not in connected:
                if room == "locked":
                    raise _RefusedError("room is locked")
                connected.add(room)
            case "_OnRoomLeave" if connected is not None and room in connected:
                if room == "sticky":
                    raise _RefusedError("room is sticky")
                connected.remove(room)
        return True


def _unchanged(serve: Serve) -> Serve:
    return serve


@asynccontextmanager
async def embedded_server(
    host: str = "127.0.0.1", *, distort: Callable[[Serve], Serve] = _unchanged
) -> AsyncIterator[str]:
    """Run the server on a free port and give its URL; it is gone when the block is left.

    Args:
        host: the address to listen on.
        distort: makes each connection's behaviour wrong in some way, to test the suite.
    """

    async def client(connection: ServerConnection) -> None:
        headers = connection.request.headers if connection.request else {}
        peer = Peer(
            headers.get("X-Conformance-Id") or str(uuid.uuid4()),
            headers.get("X-Conformance-Refuse"),
        )
        receive = distort(peer.receive)
        try:
            async for payload in connection:
                for sent in receive(payload):
                    await connection.send(sent)
                if peer.ended:
                    break
        except ConnectionClosed:
            pass

    async with serve(client, host, 0, ping_interval=None, max_size=MAX_SIZE) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"ws://{host}:{port}/"
