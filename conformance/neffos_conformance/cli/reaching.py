"""The options that say how a server is reached, as one decorator for every command that dials."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from neffos_conformance.cli.options import option
from neffos_conformance.cli.refusals import refusing
from neffos_conformance.wire.reach import Target, check_web_socket
from neffos_conformance.wire.reach_options import Reached, read_reach
from neffos_conformance.wire.reach_table import REACH_OPTIONS


def reaching(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options, as one argument ``reached`` of type ``Reached``."""

    @wraps(command)
    def run(**arguments: Any) -> Any:
        return command(reached=_read(arguments), **arguments)

    for each in reversed(REACH_OPTIONS):
        more = {"multiple": True} if each.is_multiple else {}
        run = option(f"--{each.name} reach_{each.key}", each.text, each.metavar, **more)(run)
    return run


def _read(arguments: dict[str, Any]) -> Reached:
    """Take the options out of the arguments of a command."""
    with refusing(ValueError):
        return read_reach({each.key: arguments.pop(f"reach_{each.key}") for each in REACH_OPTIONS})


def target_at(url: str, reached: Reached) -> Target:
    """Give the server at a URL.

    Raises:
        click.UsageError: the URL is not one of a WebSocket.
    """
    with refusing(ValueError):
        check_web_socket(url)
    return reached.target(url)
