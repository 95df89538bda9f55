"""Controllers: classes as handlers, as in Iris.

A controller names its namespace, by an attribute or a method, and its methods are events. There
is one instance for each connection and namespace, made when the namespace is connected. Its
``__init__`` gets its dependencies by type annotation.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from neffos_asyncio.connection import Connection, Namespace
from neffos_asyncio.dependencies import Dependencies, Made, factory_of
from neffos_asyncio.errors import DependencyError
from neffos_asyncio.handlers import (
    SYSTEM_EVENTS,
    Application,
    Builder,
    Handler,
    Handlers,
    ReplyBody,
)
from neffos_asyncio.request import UpgradeRequest

Matcher = Callable[[str], str | None]
"""Returns the event that a method of that name handles, or ``None`` if it is no handler."""

Method = TypeVar("Method", bound=Callable[..., Any])

_EVENT: Final = "__neffos_event__"

SCOPES: Final = (frozenset({Connection, UpgradeRequest}), frozenset({Namespace}))
"""What each connection of a server, and each namespace of one, provide to controllers."""

CLIENT_SCOPES: Final = (frozenset({Connection}), frozenset({Namespace}))
"""Likewise of a client, which has no upgrade request."""

_MADE: Final = "neffos dependencies"
"""Where a connection, and a namespace of one, keep what was made for them."""

_LOCK: Final = "neffos lock"
"""Where a connection keeps the lock for that."""


def event(name: str) -> Callable[[Method], Method]:
    """Make a method the handler of the event with that name, whatever the matcher says."""

    def mark(method: Method) -> Method:
        # The function itself is marked, also inside a static or class method.
        setattr(getattr(method, "__func__", method), _EVENT, name)
        return method

    return mark


def whole_name(method: str) -> str | None:
    """Match each public method with the event of its name (EV-10): the default."""
    return method


def trim_prefix(prefix: str) -> Matcher:
    """Match the methods with that prefix with the event of the rest of their name.

    With ``on_``, a method ``on_chat`` handles ``chat``, and methods without it are not handlers.
    """
    return lambda method: method.removeprefix(prefix) if method.startswith(prefix) else None


def camel_case(method: str) -> str | None:
    """Match ``on_chat`` with ``OnChat``, the name of an Iris controller's method."""
    return "".join(part.capitalize() for part in method.split("_"))


@dataclass(frozen=True, slots=True)
class Controller:
    """A class with its namespace and its matcher; see ``controller``."""

    cls: type
    namespace: str
    matcher: Matcher


Part = Handlers | Controller | type
"""Handlers as a mapping, or a controller: what an application is made of."""


def controller(
    cls: type, *, namespace: str | None = None, matcher: Matcher = whole_name
) -> Controller:
    """Configure a class as a controller.

    Args:
        cls: the class.
        namespace: its namespace, if the class does not name it.
        matcher: which methods are events. The decorator ``event`` overrides it. Methods that
            begin with ``_`` are none. Handlers of system events have fixed names:
            ``on_namespace_connected`` or ``OnNamespaceConnected``, and so on.

    Raises:
        DependencyError: there is no namespace, or it is not a string.
    """
    return Controller(cls, _namespace_of(cls) if namespace is None else namespace, matcher)


def application_of(parts: Iterable[Part], dependencies: Dependencies) -> Application:
    """Join mappings and controllers into one application.

    Raises:
        ValueError: an event has two handlers.
        DependencyError: a dependency of a controller is not registered.
        TypeError: a part is neither.
    """
    application = Application()
    for part in parts:
        if isinstance(part, Mapping):
            application.add(part)
        elif isinstance(part, type | Controller):
            used = part if isinstance(part, Controller) else controller(part)
            handlers, build = handlers_of(used, dependencies)
            application.add({used.namespace: handlers})
            application.builders.setdefault(used.namespace, []).append(build)
        else:
            raise TypeError(f"{part!r} is neither a mapping of handlers nor a controller class")
    return application


def handlers_of(used: Controller, dependencies: Dependencies) -> tuple[dict[str, Handler], Builder]:
    """Return a controller's handlers by event, and what makes an instance of it.

    Raises:
        DependencyError: a dependency cannot be found, there are no events, or a method has too
            many parameters.
    """
    cls = used.cls
    factory = factory_of(cls)
    dependencies.check(factory, cls.__qualname__)
    handlers: dict[str, Handler] = {}
    for name, method in inspect.getmembers(cls, inspect.isroutine):
        if name.startswith("_") or name == "namespace":
            continue
        handled = getattr(method, _EVENT, None) or _SYSTEM.get(_folded(name)) or used.matcher(name)
        if handled is None:
            continue
        if handled in handlers:
            raise DependencyError(f"{cls.__qualname__} has two methods for event {handled!r}")
        handlers[handled] = _handler(cls, name, method)
    if not handlers:
        raise DependencyError(f"{cls.__qualname__} has no method that is an event")

    async def build(namespace: Namespace) -> None:
        connection = namespace.connection
        made: Made = connection.values.setdefault(_MADE, {Connection: connection})
        if connection.request is not None:
            made[UpgradeRequest] = connection.request
        own: Made = namespace.values.setdefault(_MADE, {Namespace: namespace})
        # Namespaces that are connected at the same time share what is made.
        async with connection.values.setdefault(_LOCK, asyncio.Lock()):
            if cls not in namespace.values:
                namespace.values[cls] = await dependencies.make(factory, (made, own))

    return handlers, build


def _handler(cls: type, name: str, method: Callable[..., Any]) -> Handler:
    """Call a method of the namespace's own instance, with as many arguments as it has."""
    parameters = inspect.signature(method).parameters.values()
    count = sum(each.kind is not each.KEYWORD_ONLY for each in parameters)
    count -= not _is_bound(cls, name)
    if count not in (0, 1, 2):
        raise DependencyError(
            f"{cls.__qualname__}.{name} takes {count} values; an event has a namespace and "
            "a message"
        )

    def call(namespace: Namespace, message: Any) -> ReplyBody:
        reply: ReplyBody = getattr(namespace.values[cls], name)(*(namespace, message)[2 - count :])
        return reply

    return call


def _is_bound(cls: type, name: str) -> bool:
    return isinstance(inspect.getattr_static(cls, name), staticmethod | classmethod)


def _namespace_of(cls: type) -> str:
    """Return the attribute ``namespace``, or the result of the method of that name."""
    named = getattr(cls, "namespace", None)
    if callable(named):
        # As in Iris, it is called before there is any instance with values.
        named = named() if _is_bound(cls, "namespace") else named(object.__new__(cls))
    if not isinstance(named, str):
        raise DependencyError(
            f"{cls.__qualname__} does not say which namespace it is for; give it an attribute "
            "or a method called namespace, or give controller() one"
        )
    return named


def _folded(name: str) -> str:
    return re.sub("_", "", name).lower()


_SYSTEM: Final = {_folded(name): name for name in SYSTEM_EVENTS}
"""``on_room_joined`` and ``OnRoomJoined`` both stand for ``_OnRoomJoined``."""
