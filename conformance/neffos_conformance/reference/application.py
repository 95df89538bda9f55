"""The conformance application on the reference server.

Names and texts are those of ``spec/docs/application.md``, byte for byte.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from neffos_asyncio import (
    ON_ANY_EVENT,
    ON_NAMESPACE_CONNECT,
    ON_NAMESPACE_DISCONNECT,
    ON_NATIVE_MESSAGE,
    ON_ROOM_JOIN,
    ON_ROOM_LEAVE,
    Connection,
    Handlers,
    Limits,
    Namespace,
    NeffosError,
    ReplyBody,
    ReplyError,
    Server,
    UpgradeRequest,
    random_id,
    text_of,
)
from neffos_asyncio.exchange import Exchange
from neffos_codec import EncodeError, Message
from neffos_conformance.cases.features import CONNECT_HEADER, ID_HEADER, REFUSE_HEADER
from neffos_protocol import ChangeAsked, MisuseError

NEWS: Final = "news"
"""The event of every broadcast."""

DONE: Final = "done"
"""The reply that confirms that something was sent."""


def servers(
    path: str = "/",
    *,
    limits: Limits | None = None,
    exchange: Callable[[str], Exchange] | None = None,
    make: Callable[..., Server] = Server,
) -> dict[str, Server]:
    """Return the three endpoints by their paths: the application, mixed, and native-only.

    Args:
        path: of the first; the others are below it.
        limits: the bounds of each connection.
        exchange: makes the exchange of an endpoint, by its path, if it has one.
        make: makes each server, with the arguments of ``Server``, to test variants of it.
    """
    below = path.rstrip("/")
    endpoints: dict[str, Handlers] = {
        path: APPLICATION,
        f"{below}/mixed": {"": {"echo": echo, ON_NATIVE_MESSAGE: echo}},
        f"{below}/native": {"": {ON_NATIVE_MESSAGE: echo}},
    }
    made: dict[str, Server] = {}
    if exchange is not None:
        ask_all = _asking_all(lambda: made[path])
        endpoints[path] = {**APPLICATION, "app": {**APPLICATION["app"], "ask-all": ask_all}}
    made |= {
        each: make(
            handlers,
            id_generator=_connection_id,
            on_connect=_admit,
            on_open=_connect_at_once,
            limits=limits or Limits(),
            exchange=exchange(each) if exchange else None,
        )
        for each, handlers in endpoints.items()
    }
    return made


# -------------------------------------------------------------------- the connection


def _connection_id(request: UpgradeRequest) -> str:
    return request.headers.get(ID_HEADER) or random_id(request)


def _header(connection: Connection, name: str) -> tuple[str, ...]:
    return connection.request.headers.get_all(name) if connection.request else ()


def _admit(connection: Connection) -> None:
    for text in _header(connection, REFUSE_HEADER):
        raise ReplyError(text)


def _connect_at_once(connection: Connection) -> Awaitable[None] | None:
    names = _header(connection, CONNECT_HEADER)
    return _connect_all(connection, names) if names else None


async def _connect_all(connection: Connection, names: tuple[str, ...]) -> None:
    for name in names:
        await _tried(connection.connect(name))


# -------------------------------------------------------------------- events


def echo(_: Namespace, message: Message) -> ReplyBody:
    """Reply with the body of the ask, unless it is an error (EV-6)."""
    return "" if message.is_error else message.body


def fail(_: Namespace, message: Message) -> ReplyBody:
    """Send an error reply."""
    raise ReplyError(text_of(message.body) or "no text was given")


def _header_of(namespace: Namespace, message: Message) -> ReplyBody:
    return ", ".join(_header(namespace.connection, text_of(message.body)))


def _push(namespace: Namespace, message: Message) -> ReplyBody:
    try:
        namespace.emit(text_of(message.body), b"pushed" if message.is_binary else "pushed")
    except EncodeError as error:  # the client chose a name that cannot be written (FR-4)
        raise ReplyError(str(error)) from error
    except MisuseError:  # it has left before its message was handled, or may not have this event
        pass
    return DONE


async def _ask_me(namespace: Namespace, message: Message) -> None:
    body: str | bytes
    try:
        event, body = "answer", (await namespace.ask("question", message.body)).body
    except MisuseError:  # the client has left, or disconnected the namespace
        return
    except NeffosError as error:
        event, body = "answer-error", str(error)
        if message.is_binary:
            body = body.encode()
    with suppress(MisuseError):  # as above
        namespace.emit(event, body)


def _asking_all(server: Callable[[], Server]) -> Callable[[Namespace, Message], ReplyBody]:
    """Give the handler that asks every client in a room, of all servers with one exchange."""
    pending: set[asyncio.Task[None]] = set()

    async def ask(namespace: Namespace, message: Message) -> None:
        body: str | bytes
        try:
            room, _, text = text_of(message.body).partition(" ")
            reply = await server().ask(namespace.name, NEWS, text, room=room)
            event, body = "answer", reply.body
        except NeffosError as error:
            event, body = "answer-error", str(error)
        with suppress(MisuseError):  # the client has left
            namespace.emit(event, body)

    def handle(namespace: Namespace, message: Message) -> ReplyBody:
        task = asyncio.create_task(ask(namespace, message))
        pending.add(task)
        task.add_done_callback(pending.discard)
        return DONE

    return handle


def _changing(
    change: Callable[[Namespace, str], Awaitable[object]],
) -> Callable[[Namespace, Message], Awaitable[None]]:
    """Give the handler that changes the membership which the body of its message names."""

    async def handle(namespace: Namespace, message: Message) -> None:
        await _tried(change(namespace, text_of(message.body)))

    return handle


async def _tried(change: Awaitable[object]) -> None:
    """Await a change of membership; the client may refuse it, or have left."""
    with suppress(NeffosError, MisuseError):
        await change


# -------------------------------------------------------------------- broadcasts


def _broadcast_others(namespace: Namespace, message: Message) -> ReplyBody:
    namespace.broadcast(NEWS, message.body)
    return DONE


def _broadcast_all(namespace: Namespace, message: Message) -> ReplyBody:
    _broadcast_others(namespace, message)
    with suppress(MisuseError):  # as above
        namespace.emit(NEWS, message.body)
    return DONE


def _broadcast_room(namespace: Namespace, message: Message) -> ReplyBody:
    namespace.broadcast(NEWS, message.body, room=message.room)
    return DONE


def _broadcast_to(namespace: Namespace, message: Message) -> ReplyBody:
    body = message.body
    if isinstance(body, str):
        to, _, text = body.partition(" ")
        namespace.broadcast(NEWS, text, to=to)
    else:
        name, _, rest = body.partition(b" ")
        namespace.broadcast(NEWS, rest, to=text_of(name))
    return DONE


# -------------------------------------------------------------------- refusals


def _refusing(text: str, room: str = "") -> Callable[[Namespace, object], ReplyBody]:
    """Give the handler that refuses a change with a text; of rooms, only that of one room."""

    def handle(_: Namespace, asked: object) -> ReplyBody:
        # The end of a connection is not an ask, and cannot be refused.
        if isinstance(asked, ChangeAsked) and room in ("", asked.room):
            raise ReplyError(text)
        return None

    return handle


APPLICATION: Final[Handlers] = {
    "app": {
        ON_ROOM_JOIN: _refusing("room is locked", "locked"),
        ON_ROOM_LEAVE: _refusing("room is sticky", "sticky"),
        "echo": echo,
        "fail": fail,
        "silent": lambda *_: None,
        "whoami": lambda namespace, _: namespace.connection.id,
        "tries": lambda namespace, _: str(namespace.connection.tries),
        "header": _header_of,
        "push": _push,
        "broadcast-others": _broadcast_others,
        "broadcast-all": _broadcast_all,
        "broadcast-room": _broadcast_room,
        "broadcast-to": _broadcast_to,
        "ask-me": _ask_me,
        "join-me": _changing(Namespace.join),
        "leave-me": _changing(Namespace.leave),
        "connect-me": _changing(lambda namespace, name: namespace.connection.connect(name)),
        "disconnect-me": _changing(lambda namespace, _: namespace.disconnect()),
        "close-me": lambda namespace, _: namespace.connection.close(),
    },
    "any": {ON_ANY_EVENT: lambda _, message: message.event},
    "refused": {ON_NAMESPACE_CONNECT: _refusing("namespace is closed")},
    "sticky": {ON_NAMESPACE_DISCONNECT: _refusing("namespace is sticky")},
    "semi;colon": {"ec;ho": echo},
}
"""Namespaces, events and handlers of the first endpoint."""
