"""The registry: faulty peers, each with one fault, on which the suite itself is tested.

Each fault violates one requirement. A case that kills no mutant proves nothing, and each
requirement that can be tested has a mutant that only its own cases kill.
This module knows what a mutant is, and no mutant.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Final, Protocol, TypeVar

from neffos_conformance.cases.definition import Role
from neffos_conformance.reference.embedded import Distort
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.run import Run

SOON: Final = Timeouts(case=8.0, before_barrier=0.2, after_barrier=0.6, close=1.0)
"""How long a case waits for a mutant. It runs in this process, or beside it, and what it does not
do at once it does not do; but many of them share the machine."""

Made = TypeVar("Made", bound=Callable[..., object])


class Peer(Protocol):
    """A peer in which a fault is seeded."""

    @property
    def role(self) -> Role:
        """What it is."""

    def stage(self) -> AbstractAsyncContextManager[Run]:
        """Start it, and give the function that runs a case against it."""


@dataclass(frozen=True, slots=True)
class Staged:
    """A peer without hooks.

    Attributes:
        role: what it is.
        stage: starts it, and gives the function that runs a case against it.
    """

    role: Role
    stage: Callable[[], AbstractAsyncContextManager[Run]]


@dataclass(frozen=True, slots=True)
class Mutant:
    """A faulty peer, or a benign variant.

    Attributes:
        name: its name, in words.
        breaks: the requirement that it violates; empty for a benign variant.
        about: what it does, in a sentence.
        peer: the peer with its hooks.
    """

    name: str
    breaks: str
    about: str
    peer: Peer

    @property
    def role(self) -> Role:
        """What the peer is."""
        return self.peer.role

    @property
    def distort(self) -> Distort | None:
        """How the server in this process is changed, where that is the whole of the fault."""
        distort: Distort | None = getattr(self.peer, "distort", None)
        return distort

    def stage(self) -> AbstractAsyncContextManager[Run]:
        """Start the peer, and give the function that runs a case against it."""
        return self.peer.stage()


BANK: Final[dict[str, Mutant]] = {}
"""Every mutant by its name; filled by the modules of this package as they are imported."""


def register(name: str, requirement: str, about: str, peer: Peer) -> str:
    """Register a mutant, and give its full name: its role precedes it, unless it is a server.

    Raises:
        ValueError: a mutant has this name already.
    """
    words = name.replace("_", "-")
    full = words if peer.role == "server" else f"{peer.role}-{words}"
    if full in BANK:
        raise ValueError(f"two mutants have the name {full}")
    BANK[full] = Mutant(full, requirement, about, peer)
    return full


def mutant(requirement: str, make: Callable[..., Peer], **options: Any) -> Callable[[Made], Made]:
    """Register a function as a mutant: its name, and the first line of its docstring.

    Args:
        requirement: the one that the mutant violates; empty for a benign variant.
        make: makes a peer of the function, which becomes its hook.
        options: further arguments of ``make``, such as a trigger.
    """

    def put(function: Made) -> Made:
        about = (function.__doc__ or "").partition("\n")[0]
        register(function.__name__, requirement, about, make(function, **options))
        return function

    return put


def mutants(*rows: str | Peer) -> None:
    """Register a table of mutants.

    Args:
        rows: for each mutant the requirement that it violates, its name and what it does, such as
            "AR-22 answers-twice: Sends each reply twice.", and its peer. A benign variant has no
            requirement.

    Raises:
        ValueError: a row has no peer, or a peer has no name.
    """
    for title, peer in zip_longest(rows[::2], rows[1::2]):
        head, colon, about = str(title).partition(": ")
        if not colon:
            raise ValueError(f"a mutant has no name: {title}")
        if peer is None or isinstance(peer, str):
            raise ValueError(f"a mutant has no peer: {title}")
        requirement, _, name = head.rpartition(" ")
        register(name, requirement, about, peer)
