"""Classes as handlers, as Iris has them.

A controller names its namespace, by an attribute or a method, and its methods are events. There
is one instance for each connection and namespace, made when the namespace is connected; its
``__init__`` gets what it needs by type annotation.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from neffos_asyncio.connection import Connection, Namespace
from neffos_asyncio.dependencies import Dependencies, Factory, Made, needs_of
from neffos_asyncio.errors import DependencyError
from neffos_asyncio.handlers import SYSTEM_EVENTS, Answer, Builder, Handler
from neffos_asyncio.request import UpgradeRequest

Matcher = Callable[[str], str | None]
"""Gives the event that a method of that name answers, or ``None`` where it is no handler."""

Method = TypeVar("Method", bound=Callable[..., Any])

_EVENT: Final = "__neffos_event__"

SCOPES: Final = (frozenset({Connection, UpgradeRequest}), frozenset({Namespace}))
"""What each connection of a server, and each namespace of one, bring along for controllers."""

CLIENT_SCOPES: Final = (frozenset({Connection}), frozenset({Namespace}))
"""Likewise of a client, which has no upgrade request to look at."""

_MADE: Final = "neffos dependencies"
"""Where a connection, and a namespace of one, keep what was made for them."""

_MAKING: Final = "neffos lock"
"""Where a connection keeps the lock under which that is made."""


def event(name: str) -> Callable[[Method], Method]:
    """Make a method the handler of the event with that name, whatever the matcher says."""

    def mark(method: Method) -> Method:
        # The function itself has it, also where it was made a static or class method before.
        setattr(getattr(method, "__func__", method), _EVENT, name)
        return method

    return mark


def whole_name(method: str) -> str | None:
    """Match each public method with the event of its name (EV-10): what holds by default."""
    return method


def trim_prefix(prefix: str) -> Matcher:
    """Match the methods with that prefix with the event of the rest of their name.

    With ``on_``, a method ``on_chat`` answers ``chat``, and methods without it are no handlers.
    """
    return lambda method: method.removeprefix(prefix) if method.startswith(prefix) else None


def camel_case(method: str) -> str | None:
    """Match ``on_chat`` with ``OnChat``: what an Iris controller's method would be called."""
    return "".join(part.capitalize() for part in method.split("_"))


@dataclass(frozen=True, slots=True)
class Controller:
    """A class with how it is to be used; see ``controller``."""

    cls: type
    namespace: str
    matcher: Matcher


def controller(
    cls: type, *, namespace: str | None = None, matcher: Matcher = whole_name
) -> Controller:
    """Say how a class is to be used as a controller.

    Args:
        cls: the class.
        namespace: its namespace, where the class does not name it.
        matcher: which methods are events; the decorator ``event`` goes before it. Methods that
            begin with ``_`` are none, and what happens to a namespace or a room has fixed
            names: ``on_namespace_connected`` or ``OnNamespaceConnected``, and so on.

    Raises:
        DependencyError: there is no namespace, or it is no text.
    """
    return Controller(cls, _namespace_of(cls) if namespace is None else namespace, matcher)


def handlers_of(used: Controller, dependencies: Dependencies) -> tuple[dict[str, Handler], Builder]:
    """Give a controller's handlers by event, and what makes an instance of it.

    Raises:
        DependencyError: something that it needs cannot be found, it has no events, or a method
            takes more than there is to give.
    """
    cls = used.cls
    factory = Factory(cls, needs_of(cls))
    dependencies.check(factory, cls.__qualname__)
    handlers: dict[str, Handler] = {}
    for name, method in inspect.getmembers(cls, inspect.isroutine):
        if name.startswith("_") or name == "namespace":
            continue
        answered = getattr(method, _EVENT, None) or _SYSTEM.get(_folded(name))
        answered = answered or used.matcher(name)
        if answered is None:
            continue
        if answered in handlers:
            raise DependencyError(f"{cls.__qualname__} has two methods for event {answered!r}")
        handlers[answered] = _handler(cls, name, method)
    if not handlers:
        raise DependencyError(f"{cls.__qualname__} has no method that is an event")

    async def build(namespace: Namespace) -> None:
        connection = namespace.connection
        made: Made = connection.values.setdefault(_MADE, {Connection: connection})
        if connection.request is not None:
            made[UpgradeRequest] = connection.request
        own: Made = namespace.values.setdefault(_MADE, {Namespace: namespace})
        # Whoever connects at the same time shares what is made, and does not make it again.
        async with connection.values.setdefault(_MAKING, asyncio.Lock()):
            if cls not in namespace.values:
                namespace.values[cls] = await dependencies.make(factory, (made, own))

    return handlers, build


def _handler(cls: type, name: str, method: Callable[..., Any]) -> Handler:
    """Call a method of the namespace's own instance with as much as it takes."""
    is_bound = isinstance(inspect.getattr_static(cls, name), staticmethod | classmethod)
    parameters = list(inspect.signature(method).parameters.values())
    count = len([each for each in parameters if each.kind is not each.KEYWORD_ONLY]) - (
        0 if is_bound else 1
    )
    if count == 0:
        return lambda namespace, _: _call(namespace, cls, name)
    if count == 1:
        return lambda namespace, message: _call(namespace, cls, name, message)
    if count == 2:  # namespace and message
        return lambda namespace, message: _call(namespace, cls, name, namespace, message)
    raise DependencyError(
        f"{cls.__qualname__}.{name} takes {count} values; an event has a namespace and a message"
    )


def _call(namespace: Namespace, cls: type, name: str, *values: Any) -> Answer:
    answer: Answer = getattr(namespace.values[cls], name)(*values)
    return answer


def _namespace_of(cls: type) -> str:
    """Give what an attribute or a method called ``namespace`` says."""
    named = getattr(cls, "namespace", None)
    if callable(named):
        is_bound = isinstance(inspect.getattr_static(cls, "namespace"), staticmethod | classmethod)
        # As in Iris, it is asked before there is any instance with values.
        named = named() if is_bound else named(object.__new__(cls))
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
