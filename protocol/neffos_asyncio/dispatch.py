"""Calls the application's handlers for the events of its connections.

One dispatcher serves all connections of a server, or the one of a client. What a handler returns or
raises becomes a reply, a decision, or an entry in the log. The reply leaves after what the handler
has sent (EV-11). The order of events is the connection's ``HandlerQueue``'s.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from neffos_asyncio.connection import Connection, Hook, Namespace
from neffos_asyncio.errors import PeerError, ReplyError
from neffos_asyncio.failures import FailureLog
from neffos_asyncio.handler_queue import Work
from neffos_asyncio.handlers import (
    ON_NAMESPACE_CONNECTED,
    ON_NAMESPACE_DISCONNECT,
    ON_NATIVE_MESSAGE,
    ON_ROOM_JOINED,
    ON_ROOM_LEFT,
    Application,
    ReplyBody,
)
from neffos_asyncio.limits import Limits
from neffos_asyncio.link import REFUSED
from neffos_asyncio.transport import log
from neffos_codec import EncodeError, Message, Native, first_surrogate
from neffos_protocol import (
    Asked,
    Cause,
    Change,
    ChangeAsked,
    Changed,
    Closed,
    Event,
    HandshakeAsked,
    MisuseError,
    NativeReceived,
    Opened,
    Received,
    Role,
)
from neffos_protocol.names import BAD_ROOM, REQUEST_EVENT
from neffos_protocol.text import logged

INTERNAL_ERROR: Final = "internal error"
"""What a peer gets for an exception that was not meant for it (SEC-17)."""

HANDLER_TIMEOUT: Final = "the handler took too long"
"""What a peer gets for a handler that was cancelled."""

_CHANGED: Final = {
    Change.CONNECT: ON_NAMESPACE_CONNECTED,
    Change.DISCONNECT: ON_NAMESPACE_DISCONNECT,
    Change.JOIN: ON_ROOM_JOINED,
    Change.LEAVE: ON_ROOM_LEFT,
}

Call = Callable[[], Any] | None
"""A handler with its arguments, if there is a handler."""

Then = Callable[[Any], Work | None]
"""Continues with what a handler returned, or with the error text that the peer gets."""


def _nothing(_: object) -> None:
    """Do nothing further."""


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """Calls the handlers of an application.

    Attributes:
        application: the handlers.
        limits: the bounds of a connection.
        broadcast: see ``Namespace.broadcast``.
        observe: notes a change of membership, or the end, before any handler is called.
        on_handshake: decides on each handshake; raises ``ReplyError`` to refuse it.
        on_open: called when a connection is open.
        on_closed: called when a connection has ended.
        connecting: allows a connect to a namespace, at once or later; see ``Cluster.connecting``.
        subscribed: what this server's own connects wait for; see ``Cluster.subscribed``.
        failures: where errors of the application are logged.
    """

    application: Application
    limits: Limits
    broadcast: Callable[[Connection, str, str, str | bytes, str, str], None]
    observe: Callable[[Connection, Changed | Closed], None]
    on_handshake: Hook | None = None
    on_open: Hook | None = None
    on_closed: Callable[[Connection, Cause], Awaitable[None] | None] | None = None
    connecting: Callable[[str, Callable[[], None]], Work | None] = lambda _, allow: allow()
    subscribed: Callable[[str], AbstractAsyncContextManager[None]] = lambda _: nullcontext()
    failures: FailureLog = field(default_factory=lambda: FailureLog(log))

    def handle(self, connection: Connection, event: Event) -> Work | None:
        """Handle an event; return the rest of the work if that takes time."""
        if type(event) is Asked:  # most are
            return self._message(connection, event, event.message)
        match event:
            case Received(message):
                return self._message(connection, None, message)
            case NativeReceived(payload, namespace):
                handler = self.application.system_handler(namespace, ON_NATIVE_MESSAGE)
                message = Message(namespace=namespace, event=ON_NATIVE_MESSAGE, body=payload)
                call = _bound(handler, connection.space(namespace), message)
                return self._call(connection, call, partial(_native_reply, connection))
            case ChangeAsked():
                return self._change_asked(connection, event)
            case Changed():
                return self._changed(connection, event)
            case HandshakeAsked():
                call = _bound(self.on_handshake, connection)
                refuse = partial(_refuse_handshake, connection)
                return self._call(connection, call, partial(_accept, connection), refuse)
            case Opened() if connection.is_open:
                return self._opened(connection)
            case Closed(cause):
                return self._call(connection, _bound(self.on_closed, connection, cause))
            case _:
                return None

    async def build(self, namespace: Namespace) -> None:
        """Make what the controllers of a namespace depend on, unless that was done.

        Raises:
            Exception: whatever a factory raises.
        """
        for build in self.application.builders.get(namespace.name, ()):
            await _finished(build(namespace))

    # ------------------------------------------------------------ events

    def _message(
        self, connection: Connection, asked: Asked | None, message: Message
    ) -> Work | None:
        handler = self.application.handler(message.namespace, message.event)
        if handler is None:
            _reply(connection, asked, message, None)  # AR-9
            return None
        namespace = connection.space(message.namespace)
        room = message.room
        if room and not connection.link.session.is_member(message.namespace, room):  # RM-9
            if asked is not None:
                _error_reply(connection, asked, message, BAD_ROOM)
            return None
        try:  # `_call`, without the cost of its arguments for a handler that returns at once
            given = handler(namespace, message)
        except (Exception, asyncio.CancelledError) as error:
            _error_reply(connection, asked, message, _error_text(connection, error))
            return None
        if given is None or isinstance(given, (str, bytes)) or not inspect.isawaitable(given):
            _reply(connection, asked, message, given)
            return None
        reply = partial(_reply, connection, asked, message)
        failed = partial(_error_reply, connection, asked, message)
        return self._wait(connection, given, reply, failed)

    def _change_asked(self, connection: Connection, asked: ChangeAsked) -> Work | None:
        name = asked.namespace
        namespace = connection.space(name)
        handler = self.application.system_handler(name, REQUEST_EVENT[asked.change])
        call = _bound(handler, namespace, asked)
        allow, deny = partial(self._allow, connection, asked), partial(_deny, connection, asked)
        if asked.change is Change.CONNECT and name in self.application.builders:
            work = self.build(namespace)
            then = partial(self._call_then, connection, call, allow, deny)
            return self._wait(connection, work, then, deny)
        return self._call(connection, call, allow, deny)

    def _changed(self, connection: Connection, event: Changed) -> Work | None:
        name = event.namespace
        namespace = connection.space(name)
        if event.change is Change.DISCONNECT:
            # After a forced end, a reconnection may restore the namespace: the object lives on.
            if event.cause is not Cause.FORCED and not namespace.is_connected:
                connection.forget(name)
            if event.cause is Cause.PEER and connection.role is Role.SERVER:
                return None  # its handler was called when the peer asked
        handler = self.application.system_handler(name, _CHANGED[event.change])
        return self._call(connection, _bound(handler, namespace, event))

    def _opened(self, connection: Connection) -> Work | None:
        connection.was_open = True
        call = _bound(self.on_open, connection)
        if self.application.native is Native.ONLY and "" in self.application.builders:
            # No peer connects the one namespace of a native-only endpoint.
            work = self.build(connection.space(""))
            refuse = partial(_refuse_handshake, connection)
            then = partial(self._call_then, connection, call, _nothing, _nothing)
            return self._wait(connection, work, then, refuse)
        return self._call(connection, call)

    def _allow(self, connection: Connection, asked: ChangeAsked, _: object) -> Work | None:
        allow = partial(_decide, connection, partial(connection.link.session.allow, asked))
        if asked.change is Change.CONNECT:
            return self.connecting(asked.namespace, allow)
        allow()
        return None

    # ------------------------------------------------------------ calling the application

    def _call_then(
        self, connection: Connection, call: Call, done: Then, failed: Then, _: object
    ) -> Work | None:
        return self._call(connection, call, done, failed)

    def _call(
        self, connection: Connection, call: Call, done: Then = _nothing, failed: Then = _nothing
    ) -> Work | None:
        """Call a handler, and continue with its result; without a handler, with ``None``."""
        try:
            given = None if call is None else call()
        except (Exception, asyncio.CancelledError) as error:  # it may raise anything
            return failed(_error_text(connection, error))
        if given is None or isinstance(given, (str, bytes)) or not inspect.isawaitable(given):
            return done(given)
        return self._wait(connection, given, done, failed)

    async def _wait(
        self, connection: Connection, work: Awaitable[Any], done: Then, failed: Then
    ) -> None:
        try:
            async with asyncio.timeout(self.limits.handler) as limit:
                given = await _finished(work)
        except asyncio.CancelledError:  # by the grace of an ended connection, or by others
            log.warning("%r: a handler was cancelled", connection)
            failed(INTERNAL_ERROR)
            connection.link.wake()
            raise
        except Exception as error:
            more = failed(HANDLER_TIMEOUT if limit.expired() else _error_text(connection, error))
        else:
            more = done(given)
        if more is not None:
            await more


def _bound(handler: Callable[..., Any] | None, *arguments: Any) -> Call:
    return None if handler is None else partial(handler, *arguments)


async def _finished(work: Awaitable[Any]) -> Any:
    """Await a handler; a cancellation from within it is an error of the handler."""
    try:
        return await work
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise RuntimeError("what a handler waited for was cancelled") from error


def _error_text(connection: Connection, error: BaseException) -> str:
    """Return what the peer gets for an exception, and log one that is not for it (SEC-17)."""
    match error:
        case PeerError():
            pass
        case ReplyError(text=text) if first_surrogate(text) < 0:
            return text or INTERNAL_ERROR
    connection.failures.note("a handler failed", error)
    return INTERNAL_ERROR


# -------------------------------------------------------------------- what handlers' results do


def _reply(connection: Connection, asked: Asked | None, message: Message, body: ReplyBody) -> None:
    """Send what a handler returned, if that is still possible."""
    link = connection.link
    try:
        if body is None:
            if asked is not None:
                link.session.ignore(asked)
            return
        if asked is not None:
            link.session.reply(asked, body)
        elif not message.room or link.session.is_member(message.namespace, message.room):  # RM-10
            body = message.reply(body).body
            link.session.emit(message.namespace, message.event, body, room=message.room)
        else:
            return
        link.count(len(body))
    except MisuseError as error:  # the namespace, or the connection, has ended
        log.debug("%r: a reply that no peer waits for any more: %s", connection, logged(error))
    except (EncodeError, TypeError) as error:
        connection.failures.note(f"{connection!r}: a handler returned what cannot be sent", error)
        _error_reply(connection, asked, message, INTERNAL_ERROR)


def _error_reply(connection: Connection, asked: Asked | None, message: Message, text: str) -> None:
    session = connection.link.session
    with suppress(MisuseError):  # the namespace, or the connection, has ended
        if asked is not None:
            session.reply_error(asked, text)
        else:
            body = message.error_reply(text).body
            session.emit(message.namespace, message.event, body, room=message.room, is_error=True)


def _native_reply(connection: Connection, body: ReplyBody) -> None:
    if body is None:
        return
    try:
        if not isinstance(body, (str, bytes)):
            raise TypeError(f"a native message is text or bytes, not {body!r}")
        connection.link.session.send_native(body)  # NM-7
        connection.link.count(len(body))
    except MisuseError:  # the connection has ended
        return
    except (EncodeError, TypeError) as error:
        connection.failures.note(f"{connection!r}: a handler returned what cannot be sent", error)


def _deny(connection: Connection, asked: ChangeAsked, text: str) -> None:
    _decide(connection, partial(connection.link.session.deny, asked, text))


def _decide(connection: Connection, decide: Callable[[], list[Event]]) -> None:
    try:
        connection.link.take(decide())
    except MisuseError as error:  # the peer has withdrawn it
        text = "%r: a decision that no peer waits for any more: %s"
        log.debug(text, connection, logged(error))


def _accept(connection: Connection, _: object) -> None:
    if not connection.is_open:
        with suppress(MisuseError):  # the client has left
            connection.link.take(connection.link.session.accept())


def _refuse_handshake(connection: Connection, text: str) -> None:
    if connection.is_open:
        connection.link.end(REFUSED, text)
        return
    with suppress(MisuseError):
        connection.link.refuse(text)
