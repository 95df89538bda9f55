"""A small server with the conformance application, so that the suite runs anywhere.

It answers what the cases ask, on one connection at a time and without broadcast. The session
does the protocol; this module is the application on it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from secrets import token_bytes
from typing import Final

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from neffos_codec import Message, WaitTokens
from neffos_protocol import (
    DEFAULT_LIMITS,
    Asked,
    Change,
    ChangeAsked,
    Event,
    HandshakeAsked,
    MisuseError,
    Received,
    Replied,
    Role,
    Session,
)

Serve = Callable[[str | bytes], list[str | bytes]]
"""What a server does with one payload: the payloads that it sends."""

Answer = Message | None
Handler = Callable[["Peer", Message], Answer]
"""What the application does with an event: its reply, or ``None`` for none."""


def _echo(_: Peer, message: Message) -> Answer:
    return message.reply("" if message.is_error else message.body)  # EV-6


def _fail(_: Peer, message: Message) -> Answer:
    body = message.body
    text = body if isinstance(body, str) else body.decode(errors="replace")
    return message.error_reply(text or "no text was given")


def _silent(_: Peer, message: Message) -> Answer:
    return None


def _whoami(peer: Peer, message: Message) -> Answer:
    return message.reply(peer.session.id)


def _ask_me(peer: Peer, message: Message) -> Answer:
    try:
        peer.session.ask(message.namespace, "question", message.body)
    except MisuseError as error:  # too many asks are open
        return message.error_reply(str(error))
    return None


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

REFUSED: Final = {
    (Change.CONNECT, "refused", ""): "namespace is closed",
    (Change.DISCONNECT, "sticky", ""): "namespace is sticky",
    (Change.JOIN, "app", "locked"): "room is locked",
    (Change.LEAVE, "app", "sticky"): "room is sticky",
}
"""What the application does not let happen, and what it says to that."""


class Peer:
    """One connection of the server: a session, and the application on it.

    Args:
        connection_id: the id that the client gets.
        refusal: the text to turn the client away with, or ``None`` to let it in.
    """

    def __init__(self, connection_id: str, refusal: str | None) -> None:
        self.refusal = refusal
        self.session = Session(
            Role.SERVER,
            tokens=WaitTokens(client=False, clock=time.time_ns, entropy=token_bytes),
            id=connection_id,
            namespaces=APPLICATION,
            decides=frozenset(Change),
            decides_handshake=True,
        )

    def receive(self, payload: str | bytes) -> list[str | bytes]:
        """Take one payload and give those to send."""
        self._handle(self.session.receive(payload))
        return self.session.outgoing()

    def _handle(self, events: Iterable[Event]) -> None:
        session = self.session
        for event in events:
            match event:
                case HandshakeAsked():
                    refusal = self.refusal
                    self._handle(
                        session.let_in() if refusal is None else session.turn_away(refusal)
                    )
                case ChangeAsked(change, namespace, room):
                    text = REFUSED.get((change, namespace, room))
                    self._handle(session.deny(event, text) if text else session.allow(event))
                case Asked(message):
                    self._answer(event, self._call(message))
                case Received(message):
                    self._send(self._call(message))
                case Replied(message=message):
                    session.emit(message.namespace, "answer", message.body)

    def _send(self, answer: Answer) -> None:
        """Send what a handler gave to an event that asked for no reply (AR-10)."""
        if answer is None:
            return
        namespace, room = answer.namespace, answer.room
        if not room or room in self.session.joined(namespace):  # RM-10
            is_error = answer.is_error
            self.session.emit(namespace, answer.event, answer.body, room=room, is_error=is_error)

    def _call(self, message: Message) -> Answer:
        handler = APPLICATION[message.namespace].get(message.event)
        return handler(self, message) if handler else None

    def _answer(self, asked: Asked, answer: Answer) -> None:
        if answer is None:
            self.session.ignore(asked)
        elif answer.is_error:
            self.session.refuse(asked, str(answer.body))
        else:
            self.session.reply(asked, answer.body)


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
                if peer.session.is_closed:
                    break
        except ConnectionClosed:
            pass

    async with serve(
        client, host, 0, ping_interval=None, max_size=DEFAULT_LIMITS.payload
    ) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"ws://{host}:{port}/"
