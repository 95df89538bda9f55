"""Which cases and variations can show a fault: those in which its trigger is met.

Until a fault acts for the first time, its peer is the correct peer, and in memory the same case has
the same conversation each time. So the correct peer's conversations tell where a fault can act: a
case in which no message fits its operator and its trigger plays as with the correct peer, which
passes it, and need not be played again.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache, partial
from itertools import product, zip_longest
from typing import Any, Final

from mutation import memory_loop
from mutation.client_faults import ClientFault
from mutation.generated import triggers
from mutation.generated.messages import MessageMutant, PeerRole, history_of
from mutation.generated.parts import Condition
from mutation.generated.situation import NAMED, Sender, Situation
from mutation.hooks import Hooks, Payload, is_own_reply
from neffos_conformance.cases.covering import few
from neffos_conformance.cases.definition import Case, base_of, cases_of
from neffos_conformance.cases.dimensions import names_in, rebuilt, values

Met = dict[str, dict[int, int]]
"""How often a connection had messages that meet the same conditions, by direction and kind."""

ANYWHERE: Final = frozenset({"even-connection"})
"""The conditions that a case meets by chance: a server numbers the connections of all cases."""


@cache
def bits() -> dict[str, int]:
    """Give the bit of each condition."""
    return {name: 1 << number for number, name in enumerate(triggers.ALL)}


@lru_cache(maxsize=4096)
def _of_value(name: str, value: str, situation: _Alike) -> int:
    """Give the conditions that the value of a field meets."""
    return sum(bit for bit, test in _OF_VALUES[name] if test(situation.it))


@dataclass(frozen=True, slots=True)
class _Alike:
    """A situation that is equal to every other, so that a result is kept by the value alone."""

    it: Situation = field(compare=False)


def _tests_of(*dimensions: str) -> tuple[tuple[int, triggers.Test], ...]:
    those = [each for each in triggers.ALL.values() if each.dimension in dimensions]
    return tuple((bits()[each.name], each.test) for each in those)


_OF_VALUES: Final = {
    name: _tests_of(f"{name} characters", f"{name} size") for name in (*NAMED, "body")
}

_OTHERS: Final = _tests_of(
    *{each.dimension for each in triggers.ALL.values()}
    - {f"{name} {of}" for name in _OF_VALUES for of in ("characters", "size")}
)


def met_by(situation: Situation) -> int:
    """Give all conditions that a situation meets."""
    found = sum(bit for bit, test in _OTHERS if test(situation))
    alike = _Alike(situation)
    for name in _OF_VALUES:
        found |= _of_value(name, situation.text(name), alike)
    return found


@dataclass(slots=True)
class Notes:
    """Notes what the correct peer's messages meet, in its hooks.

    Attributes:
        role: of the peer.
        connections: what each connection met since the last case, by its number.
    """

    role: PeerRole
    connections: dict[Any, Met] = field(default_factory=dict)

    def received(self, context: Any, payload: Payload) -> None:
        """Note a payload that the peer receives."""
        sender: Sender = "client" if self.role == "server" else "server"
        self._note(context, sender, payload, "in")

    def sent(self, context: Any, payload: Payload) -> None:
        """Note a payload that the peer sends."""
        if not is_own_reply(payload):
            self._note(context, self.role, payload, "out")

    def _note(self, context: Any, sender: Sender, payload: Payload, way: str) -> None:
        history = history_of(context)
        situation = history.look(sender, payload)
        met = self.connections.setdefault(id(history), {})
        masks = met.setdefault(f"{way} {situation.kind}", {})
        mask = met_by(situation)
        masks[mask] = masks.get(mask, 0) + 1
        history.follow(sender, payload)

    def taken(self) -> Met:
        """Give what the connections of a case met at most, and begin with the next case."""
        found: Met = {}
        for met in self.connections.values():
            for key, masks in met.items():
                most = found.setdefault(key, {})
                for mask, count in masks.items():
                    most[mask] = max(most.get(mask, 0), count)
        self.connections.clear()
        return found


def noted(role: PeerRole, cases: Sequence[Case]) -> dict[str, Met]:
    """Play cases with the correct peer, each alone; give what is met in those that it passes."""
    logging.disable()  # cases make handlers fail, and each failure would be logged
    notes = Notes(role)
    make = Hooks if role == "server" else ClientFault
    peer = make(receive_raw=notes.received, send_raw=notes.sent)
    found = {}

    async def play() -> None:
        async with peer.stage() as run:
            for case in cases:
                notes.taken()
                result = await run(case)
                if not (result.is_broken or result.violations):
                    found[case.id] = notes.taken()

    memory_loop.run(play())
    return found


def _meets(met: Met, key: str, condition: Condition) -> bool:
    masks = met.get(key, {})
    if condition.nth:
        return sum(masks.values()) >= condition.nth
    return any(mask & bits()[condition.name] for mask in masks)


def can_act(met: Met, mutant: MessageMutant) -> bool:
    """Whether a mutant can act where these conditions are met."""
    needed = sum(
        bits()[each.name]
        for each in mutant.conditions
        if not each.nth and not _is_by_chance(mutant.role, each)
    )
    masks = met.get(_key(mutant), {})
    times = sum(count for mask, count in masks.items() if mask & needed == needed)
    return times >= max((each.nth for each in mutant.conditions), default=1) and times > 0


def _is_by_chance(role: PeerRole, condition: Condition) -> bool:
    return role == "server" and condition.name in ANYWHERE


@dataclass(slots=True)
class Reachable:
    """What the cases and variations of a usual run meet.

    Attributes:
        role: of the peer.
        by_id: what each meets.
    """

    role: PeerRole
    by_id: dict[str, Met]
    _values: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def of(self, mutant: MessageMutant) -> list[str]:
        """Give the IDs of those in which a mutant can act."""
        return [id_ for id_, met in self.by_id.items() if can_act(met, mutant)]

    def likely(self, mutant: MessageMutant) -> Iterator[str]:
        """Give the IDs of variations by two values at most that are likely to meet a trigger.

        A thorough run has every two values of each case. Of these, the values come here that have
        met a part of the trigger in a usual run, where the case as it is written does not meet it.
        Some of the IDs are of no variation: the case cannot have the values.
        """
        key = _key(mutant)
        wanted = [each for each in _wanted(mutant) if not _is_by_chance(self.role, each)]
        bases = []
        for id_, met in self.by_id.items():
            base = base_of(id_)
            if key in met and base not in bases:
                bases.append(base)
        yield from self._in_turns(
            self._of_base(base, [each for each in wanted if not self._has(base, key, each)], key)
            for base in bases
        )

    def _has(self, base: str, key: str, condition: Condition) -> bool:
        return base in self.by_id and _meets(self.by_id[base], key, condition)

    def _of_base(self, base: str, missing: Sequence[Condition], key: str) -> Iterator[str]:
        lists = [self.values_for(key, each) for each in missing]
        together = product(*lists)
        if not missing:  # each is met, but maybe not by one message
            together = ((name,) for name in values())  # type: ignore[assignment]
        for names in together:
            chosen = sorted(set(names), key=[*values()].index)
            dimensions = {values()[name].dimension for name in chosen}
            if 1 <= len(chosen) == len(dimensions) <= MOST_VALUES:
                yield f"{base}[{','.join(chosen)}]"

    def values_for(self, key: str, condition: Condition) -> list[str]:
        """Give the values that bring a condition about, those first that most often do.

        Where no message of the kind has met it in a usual run, messages of other kinds count.
        """
        at = (key, condition.name)
        if at not in self._values:
            every = {each for met in self.by_id.values() for each in met}
            self._values[at] = self._bringing([key], condition) or self._bringing(every, condition)
        return self._values[at]

    def _bringing(self, keys: Iterable[str], condition: Condition) -> list[str]:
        brought: Counter[str] = Counter()
        there: Counter[str] = Counter()
        for key in keys:
            for id_, met in self.by_id.items():
                base = base_of(id_)
                if id_ == base or key not in met or self._has(base, key, condition):
                    continue
                there.update(names_in(id_))
                if _meets(met, key, condition):
                    brought.update(names_in(id_))
        share = {name: count / there[name] for name, count in brought.items()}
        return sorted(share, key=lambda name: (-share[name], name))[:VALUES_OF_ONE]

    @staticmethod
    def _in_turns(of_bases: Iterable[Iterator[str]]) -> Iterator[str]:
        for turn in zip_longest(*of_bases):
            yield from filter(None, turn)


MOST_VALUES: Final = 2
"""Values of a variation: a thorough run has every two."""

VALUES_OF_ONE: Final = 6
"""Values that are tried for one condition: of those that a usual run has, few bring it about."""


def _key(mutant: MessageMutant) -> str:
    return f"{'out' if mutant.operator.is_sent else 'in'} {mutant.kind}"


def _wanted(mutant: MessageMutant) -> list[Condition]:
    """Give the conditions of a mutant's trigger, and of what its operator changes."""
    needs = triggers.ALL.get(f"{mutant.operator.field}-{mutant.operator.needs}")
    named = {each.name: each for each in mutant.conditions}
    if needs is not None:
        named[needs.name] = needs
    return [*named.values()]


@cache
def usual(role: PeerRole) -> dict[str, Case]:
    """Give the cases and variations of a usual run, by their IDs."""
    base = [case for case in cases_of(role) if not case.is_flood]  # floods take longer than all
    return {case.id: case for case in (*base, *few(base))}


PARTS: Final = 16
"""Parts in which the usual run is noted: several for each processor, as some take longer."""

_of_usual: dict[PeerRole, Reachable] = {}


def note_usual(role: PeerRole, map_: Callable[..., Iterable[dict[str, Met]]] = map) -> None:
    """Note what the cases and variations of a usual run meet, for ``of_usual``.

    Args:
        role: of the peer.
        map_: plays the parts of the run; that of a pool plays them concurrently.
    """
    ids = list(usual(role))
    parts = map_(partial(_noted_by_id, role), [ids[n::PARTS] for n in range(PARTS)])
    found = {id_: met for part in parts for id_, met in part.items()}
    _of_usual[role] = Reachable(role, {id_: found[id_] for id_ in ids if id_ in found})


def _noted_by_id(role: PeerRole, ids: Iterable[str]) -> dict[str, Met]:
    return noted(role, [usual(role)[id_] for id_ in ids])


def of_usual(role: PeerRole) -> Reachable:
    """Give what the cases and variations of a usual run meet."""
    if role not in _of_usual:
        note_usual(role)
    return _of_usual[role]


@cache
def _by_id(role: PeerRole) -> dict[str, Case]:
    return {case.id: case for case in cases_of(role)}


def case_of(role: PeerRole, id_: str) -> Case:
    """Give the case or variation with an ID.

    Raises:
        NotApplicableError: there is no such variation.
    """
    return usual(role).get(id_) or rebuilt(_by_id(role), id_)
