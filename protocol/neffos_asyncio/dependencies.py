"""What controllers need, found by type annotation.

An application registers services (values, used as they are) and factories (classes and
functions, whose parameters are found in the same way). What a factory makes lives as long as
what it was made from: once for the application where nothing of a connection went into it,
otherwise once for each connection, or for each namespace of one.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin

from neffos_asyncio.errors import DependencyError

Made = dict[type, Any]
"""What there is, by type."""


@dataclass(frozen=True, slots=True)
class Need:
    """A parameter to find a value for.

    Attributes:
        name: the parameter's name.
        type: its annotation.
        is_needed: whether it has no default.
    """

    name: str
    type: type
    is_needed: bool


@dataclass(frozen=True, slots=True)
class Factory:
    """Something that makes a value.

    Attributes:
        make: what to call.
        needs: its parameters.
    """

    make: Callable[..., Any]
    needs: tuple[Need, ...]


class Dependencies:
    """Services and factories of an application.

    Args:
        things: what there is to inject. A class is a factory of itself, and a function one of
            what its return annotation says; everything else is a service under its own type.
        scopes: the types that a connection, and a namespace of one, bring along, from the
            longest life to the shortest.

    Raises:
        DependencyError: two things have one type, a function does not say what it makes, or a
            parameter cannot be found.
    """

    def __init__(self, things: Iterable[object], scopes: tuple[frozenset[type], ...]) -> None:
        self._scopes: Final = scopes
        self._services: Made = {}
        self._factories: dict[type, Factory] = {}
        self._lock: asyncio.Lock | None = None
        for thing in things:
            self._add(thing)
        for made, factory in self._factories.items():
            self.check(factory, f"the factory of {made.__name__}", (made,))

    def _add(self, thing: object) -> None:
        if inspect.isclass(thing):
            made, factory = thing, Factory(thing, needs_of(thing))
        elif inspect.isroutine(thing):
            result = _signature(thing).return_annotation
            if not inspect.isclass(result) or result is inspect.Signature.empty:
                raise DependencyError(
                    f"{_name(thing)} does not say which type it makes; annotate what it returns"
                )
            made, factory = result, Factory(thing, needs_of(thing))
        else:
            made, factory = type(thing), None
        if made in self._services or made in self._factories:
            raise DependencyError(f"{made.__name__} was registered twice")
        if factory is None:
            self._services[made] = thing
        else:
            self._factories[made] = factory

    def check(self, factory: Factory, whose: str, path: tuple[type, ...] = ()) -> int:
        """See that all that a factory needs can be found; give the index of its scope.

        The scope of what it makes is the shortest-lived of what goes into it; 0 is the
        application's.

        Raises:
            DependencyError: something cannot be found, or needs itself.
        """
        scope = 0
        for need in factory.needs:
            found = self._find(need.type)
            if found in path:
                names = " → ".join(each.__name__ for each in (*path, found))
                raise DependencyError(f"{names}: what is made here needs itself")
            if found in self._factories:
                scope = max(scope, self.check(self._factories[found], whose, (*path, found)))
            elif found in self._services:
                continue
            elif brought := self._scope_of(need.type):
                scope = max(scope, brought)
            elif need.is_needed:
                raise DependencyError(
                    f"{whose} needs {need.name}: {_name(need.type)}, which is not registered; "
                    "give the server a value of it, or a function that makes one"
                )
        return scope

    async def make(self, factory: Factory, scopes: tuple[Made, ...]) -> Any:
        """Call a factory with what it needs.

        Args:
            factory: one that ``check`` has seen.
            scopes: what the connection, and its namespace, have brought along or had made, from
                the longest life to the shortest. What is made is added to them.

        Raises:
            Exception: whatever a factory raises.
        """
        arguments = {}
        for need in factory.needs:
            found = self._find(need.type)
            value = _in(scopes, found)
            if value is None:
                value = self._services.get(found)
            if value is None and found in self._factories:
                value = await self._made(found, scopes)
            if value is not None or need.is_needed:
                arguments[need.name] = value
        made = factory.make(**arguments)
        return await made if inspect.isawaitable(made) else made

    async def _made(self, wanted: type, scopes: tuple[Made, ...]) -> Any:
        factory = self._factories[wanted]
        scope = self.check(factory, wanted.__name__, (wanted,))
        if scope:
            value = scopes[scope - 1][wanted] = await self.make(factory, scopes)
            return value
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:  # two connections at once share the one service
            if wanted not in self._services:
                self._services[wanted] = await self._make_alone(factory)
        return self._services[wanted]

    async def _make_alone(self, factory: Factory) -> Any:
        """Make a service of the application, and before it what it needs; the lock is held."""
        for need in factory.needs:
            found = self._find(need.type)
            if found in self._factories and found not in self._services:
                self._services[found] = await self._make_alone(self._factories[found])
        return await self.make(factory, ())

    def _find(self, wanted: type) -> type:
        """Give the type under which something is registered that will do."""
        if wanted in self._services or wanted in self._factories:
            return wanted
        fitting = [
            each
            for each in (*self._services, *self._factories)
            if inspect.isclass(wanted) and wanted is not object and _will_do(each, wanted)
        ]
        return fitting[0] if len(fitting) == 1 else wanted

    def _scope_of(self, wanted: type) -> int:
        for index, types in enumerate(self._scopes, start=1):
            if wanted in types:
                return index
        return 0


def needs_of(thing: Callable[..., Any]) -> tuple[Need, ...]:
    """Give what a class or a function is to be called with.

    Raises:
        DependencyError: a parameter without a default says no type.
    """
    needs = []
    for parameter in _signature(thing).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        is_needed = parameter.default is parameter.empty
        if parameter.annotation is parameter.empty:
            if is_needed:
                raise DependencyError(
                    f"{_name(thing)} needs {parameter.name}, but does not say of which type"
                )
            continue
        needs.append(Need(parameter.name, _without_none(parameter.annotation), is_needed))
    return tuple(needs)


def _signature(thing: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(thing, eval_str=True)
    except NameError as error:
        raise DependencyError(
            f"{_name(thing)}: the annotation {error.name!r} names nothing where it was written; "
            "define it in the module, not in a function"
        ) from error


def _will_do(there: type, wanted: type) -> bool:
    try:
        return issubclass(there, wanted)
    except TypeError:  # a Protocol that is for type checkers alone
        return False


def _without_none(annotation: Any) -> Any:
    """Give what ``X | None`` is about, so that a default of ``None`` hides nothing."""
    if get_origin(annotation) in (Union, UnionType):
        others = [each for each in get_args(annotation) if each is not NoneType]
        if len(others) == 1:
            return others[0]
    return annotation


def _in(scopes: tuple[Mapping[type, Any], ...], wanted: type) -> Any:
    return next((scope[wanted] for scope in scopes if wanted in scope), None)


def _name(thing: Any) -> str:
    return getattr(thing, "__qualname__", str(thing))
