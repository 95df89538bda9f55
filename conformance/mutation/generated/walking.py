"""Which walks of the suite can show a fault, and which one does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from mutation import memory_loop
from mutation.client_faults import ClientFault
from mutation.generated import oracle, reaching
from mutation.generated.messages import MessageMutant, PeerRole
from mutation.generated.reaching import Met, Notes
from mutation.hooks import Hooks
from neffos_conformance.model_based.walks import THOROUGH, USUAL, walk
from neffos_protocol import Role

_met: dict[tuple[PeerRole, int], Met] = {}


def met_in(role: PeerRole, number: int) -> Met:
    """Give what the correct peer's messages meet in a walk; nothing where it fails the walk."""
    if (role, number) not in _met:
        _met[role, number] = _noted(role, number)
    return _met[role, number]


def note(role: PeerRole, map_: Callable[..., Iterable[Met]], *, is_thorough: bool) -> None:
    """Note what is met in the walks of a run, for ``met_in``; the map of a pool plays them."""
    numbers = range(_count(role, is_thorough=is_thorough))
    for number, met in zip(numbers, map_(partial(_noted, role), numbers), strict=True):
        _met[role, number] = met


def _count(role: PeerRole, *, is_thorough: bool) -> int:
    return THOROUGH if is_thorough else USUAL[Role(role)]


def _noted(role: PeerRole, number: int) -> Met:
    notes = Notes(role)
    make: Any = Hooks if role == "server" else ClientFault
    peer = make(receive_raw=notes.received, send_raw=notes.sent)
    result = memory_loop.run(oracle.converse(peer, role, walk(Role(role), number)))
    return {} if result.failure else notes.taken()


def reached(mutant: MessageMutant, *, is_thorough: bool) -> Iterator[int]:
    """Give the numbers of the walks in which a mutant can act."""
    for number in range(_count(mutant.role, is_thorough=is_thorough)):
        if reaching.can_act(met_in(mutant.role, number), mutant):
            yield number


def killer(mutant: MessageMutant, *, is_thorough: bool) -> tuple[str, bool]:
    """Give the walk that kills a mutant, if any does, and whether it is one of a usual run."""
    for number in reached(mutant, is_thorough=is_thorough):
        peer, _ = mutant.peer()
        sequence = walk(Role(mutant.role), number)
        if memory_loop.run(oracle.converse(peer, mutant.role, sequence)).failure:
            return f"walk {number}", number < USUAL[Role(mutant.role)]
    return "", False
