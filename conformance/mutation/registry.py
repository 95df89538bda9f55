"""The bank: peers that are wrong on purpose, each in one way, to test the suite itself.

Each is derived from a requirement that it breaks. A case that fails on none would prove nothing;
and of each requirement that can be tested, some mutant fails on no case but those that name it.
This module knows what a mutant is, and none of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from neffos_conformance.cases.definition import Role
from neffos_conformance.reference.embedded import Distort, embedded_server
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.run import Run, to_server

SOON: Final = Timeouts(case=8.0, before_barrier=0.2, after_barrier=0.6, close=1.0)
"""How long a case waits for a mutant. It runs in this process, or beside it, and what it does not
do at once it does not do; but many of them share the machine."""

Served = Callable[[], AbstractAsyncContextManager[str]]
"""Runs a server and gives its URL; it is gone when the block is left."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A peer that is wrong, or odd.

    Attributes:
        name: its name, in words.
        role: what it is.
        breaks: the requirement that it breaks; empty where it breaks none.
        about: what it does, in a sentence.
        stage: makes it ready, and gives what runs a case against it.
        distort: how a server is distorted, where that is all.
    """

    name: str
    role: Role
    breaks: str
    about: str
    stage: Callable[[], AbstractAsyncContextManager[Run]]
    distort: Distort | None = None


BANK: Final[dict[str, Mutant]] = {}
"""Every mutant by its name; filled by the modules of this package as they are imported."""


def register(mutant: Mutant) -> None:
    """Put a mutant into the bank.

    Raises:
        ValueError: there is one of that name.
    """
    if mutant.name in BANK:
        raise ValueError(f"there are two mutants {mutant.name}")
    BANK[mutant.name] = mutant


def distorted(requirement: str) -> Callable[[Distort], Distort]:
    """Register a server by what it makes of a correct one's answers, which breaks a requirement.

    An empty requirement makes it odd, and not wrong.
    """

    def put(distort: Distort) -> Distort:
        @asynccontextmanager
        async def stage() -> AsyncIterator[Run]:
            async with embedded_server(distort=distort) as url:
                yield to_server(url, SOON)

        register(Mutant(words(distort), "server", requirement, about(distort), stage, distort))
        return distort

    return put


def served(requirement: str) -> Callable[[Served], Served]:
    """Register a server by how it is run, which breaks a requirement; empty makes it odd."""

    def put(serve: Served) -> Served:
        @asynccontextmanager
        async def stage() -> AsyncIterator[Run]:
            async with serve() as url:
                yield to_server(url, SOON)

        register(Mutant(words(serve), "server", requirement, about(serve), stage))
        return serve

    return put


def words(function: Callable[..., object]) -> str:
    """Give the name of a function in words."""
    return function.__name__.replace("_", "-")


def about(function: Callable[..., object]) -> str:
    """Give what a function is about: the first line of its docstring."""
    return (function.__doc__ or "").partition("\n")[0]
