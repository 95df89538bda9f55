"""Joins mappings and controllers into one application, for either end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from neffos_asyncio.controllers import Controller, controller, handlers_of
from neffos_asyncio.dependencies import Dependencies
from neffos_asyncio.handlers import Application, Handlers


def joined(
    parts: Iterable[Handlers | Controller | type], dependencies: Dependencies
) -> Application:
    """Join mappings and controllers into one application.

    Raises:
        ValueError: an event has two handlers.
        DependencyError: a controller needs what is not there.
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
