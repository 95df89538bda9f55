"""The dependencies of controllers, found by type annotation.

An application registers services (values, used as they are) and factories (classes and functions,
whose parameters are found in the same way). A made value lives as long as its shortest-lived
dependency: the application, a connection, or a namespace of one.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin

from neffos_asyncio.errors import DependencyError

Made = dict[type, Any]
"""The values of a scope, by type."""


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
    """A class or a function that makes a value.

    Attributes:
        make: what to call.
        needs: its parameters.
    """

    make: Callable[..., Any]
    needs: tuple[Need, ...]


class Dependencies:
    """Services and factories of an application.

    Args:
        things: what can be injected. A class is a factory of itself, and a function one of its
            return annotation; everything else is a service under its own type.
        scopes: the types that a connection, and a namespace of one, provide, from the longest
            life to the shortest.

    Raises:
        DependencyError: two things have one type, a function has no return type, or no value
            can be found for a parameter.
    """

    def __init__(self, things: Iterable[object], scopes: tuple[frozenset[type], ...]) -> None:
        self._scopes: Final = scopes
        self._services: Made = {}
        self._factories: dict[type, Factory] = {}
        self._locks: defaultdict[type, asyncio.Lock] = defaultdict(asyncio.Lock)
        for thing in things:
            self._add(thing)
        for made, factory in self._factories.items():
            self.check(factory, f"the factory of {made.__name__}", (made,))

    def _add(self, thing: object) -> None:
        made = thing if inspect.isclass(thing) else type(thing)
        if inspect.isroutine(thing):
            made = _signature(thing).return_annotation
            if not inspect.isclass(made) or made is inspect.Signature.empty:
                raise DependencyError(
                    f"{_name(thing)} does not say which type it makes; annotate what it returns"
                )
        if made in self._services or made in self._factories:
            raise DependencyError(f"{made.__name__} was registered twice")
        if inspect.isclass(thing) or inspect.isroutine(thing):
            self._factories[made] = factory_of(thing)
        else:
            self._services[made] = thing

    def check(self, factory: Factory, whose: str, path: tuple[type, ...] = ()) -> int:
        """Check that all that a factory needs can be found; return the index of its scope.

        The scope of the made value is the one of its shortest-lived dependency; 0 is the
        application's.

        Raises:
            DependencyError: a dependency cannot be found, or depends on itself.
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
            elif provided := self._scope_of(need.type):
                scope = max(scope, provided)
            elif need.is_needed:
                raise DependencyError(
                    f"{whose} needs {need.name}: {_name(need.type)}, which is not registered; "
                    "give the server a value of it, or a function that makes one"
                )
        return scope

    async def make(self, factory: Factory, scopes: tuple[Made, ...]) -> Any:
        """Call a factory with what it needs.

        Args:
            factory: one that ``check`` accepted.
            scopes: the values of the connection, and of its namespace, from the longest life to
                the shortest. Values made here are added to them.

        Raises:
            Exception: whatever a factory raises.
        """
        arguments = {}
        for need in factory.needs:
            value = await self._value(self._find(need.type), scopes)
            if value is not None or need.is_needed:
                arguments[need.name] = value
        made = factory.make(**arguments)
        return await made if inspect.isawaitable(made) else made

    async def _value(self, wanted: type, scopes: tuple[Made, ...]) -> Any:
        for known in (*scopes, self._services):
            if wanted in known:
                return known[wanted]
        factory = self._factories.get(wanted)
        if factory is None:
            return None  # the parameter's default does
        scope = self.check(factory, wanted.__name__, (wanted,))
        if scope:
            value = scopes[scope - 1][wanted] = await self.make(factory, scopes)
            return value
        async with self._locks[wanted]:  # connections made at the same time share the service
            if wanted not in self._services:
                self._services[wanted] = await self.make(factory, scopes)
        return self._services[wanted]

    def _find(self, wanted: type) -> type:
        """Return the registered type for a wanted one: itself, or its only subclass."""
        known = (*self._services, *self._factories)
        if wanted in known or not inspect.isclass(wanted) or wanted is object:
            return wanted
        fitting = [each for each in known if _is_subclass(each, wanted)]
        return fitting[0] if len(fitting) == 1 else wanted

    def _scope_of(self, wanted: type) -> int:
        levels = enumerate(self._scopes, start=1)
        return next((level for level, types in levels if wanted in types), 0)


def factory_of(thing: Callable[..., Any]) -> Factory:
    """Return a class or a function as a factory, with its parameters.

    Raises:
        DependencyError: a parameter has neither a type nor a default.
    """
    needs = []
    for parameter in _signature(thing).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        is_needed = parameter.default is parameter.empty
        if parameter.annotation is not parameter.empty:
            needs.append(Need(parameter.name, _without_none(parameter.annotation), is_needed))
        elif is_needed:
            raise DependencyError(
                f"{_name(thing)} needs {parameter.name}, but does not say of which type"
            )
    return Factory(thing, tuple(needs))


def _signature(thing: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(thing, eval_str=True)
    except NameError as error:
        raise DependencyError(
            f"{_name(thing)}: the annotation {error.name!r} names nothing where it was written; "
            "define it in the module, not in a function"
        ) from error


def _is_subclass(registered: type, wanted: type) -> bool:
    try:
        return issubclass(registered, wanted)
    except TypeError:  # a Protocol that is for type checkers alone
        return False


def _without_none(annotation: Any) -> Any:
    """Return ``X`` of ``X | None``, so that a registered ``X`` replaces a default of ``None``."""
    if get_origin(annotation) in (Union, UnionType):
        others = [each for each in get_args(annotation) if each is not NoneType]
        if len(others) == 1:
            return others[0]
    return annotation


def _name(thing: Any) -> str:
    return getattr(thing, "__qualname__", str(thing))
