"""Generated faults of servers and clients: an operator, the kind of message, and a trigger.

A mutant is a value with a name, such as ``server:drop-reply@binary,after-leave``. The name alone
makes it again, and a seed draws names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any, Final, Literal, get_args

from mutation.client_faults import ClientFault
from mutation.generated import operators, possible, triggers
from mutation.generated.parts import (
    Condition,
    Operator,
    drawn_count,
    drawn_operator,
    drawn_trigger,
    name_of,
    parts_of,
)
from mutation.generated.situation import History, Sender
from mutation.hooks import Hooks, Payload, is_own_reply, payloads

PeerRole = Literal["server", "client"]

HISTORY: Final = "history"


@dataclass(frozen=True, slots=True)
class MessageMutant:
    """A peer with one generated fault.

    Attributes:
        role: of the peer.
        operator: what it does.
        kind: of the messages to which it does that.
        conditions: when.
    """

    role: PeerRole
    operator: Operator
    kind: str
    conditions: tuple[Condition, ...] = ()

    @property
    def name(self) -> str:
        """What identifies it."""
        return name_of(self.role, self.operator, self.kind, self.conditions)

    @property
    def family(self) -> str:
        """Of its operator."""
        return self.operator.family

    def peer(self, first: int = 1) -> tuple[Any, Acts]:
        """Give a peer with the fault, and what counts how often it acted."""
        acts = Acts(self, first)
        make = Hooks if self.role == "server" else ClientFault
        return make(receive_raw=acts.received, send_raw=acts.sent), acts


@dataclass(slots=True)
class Acts:
    """The hooks of a fault.

    Attributes:
        mutant: the fault.
        first: the number of the peer's first connection.
        count: how often it has changed something.
    """

    mutant: MessageMutant
    first: int = 1
    count: int = 0

    def received(self, context: Any, payload: Payload) -> Any:
        """Do what the fault does with a received payload."""
        history = history_of(context, self.first)
        sender: Sender = "client" if self.mutant.role == "server" else "server"
        held = [] if self.mutant.operator.is_sent else list(history.kept)
        effect = self._effect(context, history, sender, payload, is_sent=False)
        history.follow(sender, payload)
        _, late = _due(history, held)
        if not late:
            return effect
        done = context.serve() if effect is None else payloads(effect)
        return [*done, *(sent for each in late for sent in context.serve(each))]

    def sent(self, context: Any, payload: Payload) -> Any:
        """Do what the fault does with a payload that is to be sent."""
        if is_own_reply(payload):
            return ()  # the reply to an ask that nobody made
        history, role = history_of(context, self.first), self.mutant.role
        held = list(history.kept) if self.mutant.operator.is_sent else []
        effect = self._effect(context, history, role, payload, is_sent=True)
        history.follow(role, payload)
        now, late = _due(history, held)
        if not now and not late:
            return effect
        return [*now, *([payload] if effect is None else payloads(effect)), *late]

    def _effect(
        self, context: Any, history: History, sender: Sender, payload: Payload, *, is_sent: bool
    ) -> Any:
        mutant = self.mutant
        if mutant.operator.is_sent is not is_sent:
            return None
        situation = history.look(sender, payload)
        if situation.kind != mutant.kind:
            return None
        if not all(each.test(situation) for each in mutant.conditions):
            return None
        nth = max((each.nth for each in mutant.conditions), default=0)
        history.counts[HISTORY] += 1
        if nth and history.counts[HISTORY] != nth:
            return None
        effect = mutant.operator.act(context, history, situation)
        if effect is not None:
            self.count += 1
        return effect


def _due(history: History, held: list[Any]) -> tuple[list[Payload], list[Payload]]:
    """Take what was held back long enough: what comes before the current message, and after it."""
    now = [payload for left, payload in held if left == 0]
    for each in held:
        each[0] -= 1
    late = [payload for left, payload in held if left == 0]
    history.kept = [each for each in history.kept if each[0] > 0 or each not in held]
    return now, late


def history_of(context: Any, first: int = 1) -> History:
    """Give what is known of the current connection of a peer."""
    key = (HISTORY, getattr(context, "current", 0))
    if key not in context.values:
        siblings = operators.context_siblings(context)
        context.values[key] = History(len(siblings) + first)
        siblings.append(context.values[key])
    found: History = context.values[key]
    return found


# -------------------------------------------------------------------- which there are


def mutant_of(name: str) -> MessageMutant:
    """Make the mutant that has a name.

    Raises:
        ValueError: none has it.
    """
    role = name.partition(":")[0]
    operator, kind, conditions = parts_of(name, lambda _: operators.ALL, lambda _: triggers.ALL)
    if role not in get_args(PeerRole) or kind not in operator.kinds:
        raise ValueError(f"{name} is not a generated mutant: no {role} has {operator.name}-{kind}")
    return MessageMutant(role, operator, kind, conditions)  # type: ignore[arg-type]


@cache
def _usable(role: PeerRole, name: str, kind: str) -> tuple[Condition, ...]:
    """Give the conditions that an operator can have on messages of a kind."""
    operator = operators.ALL[name]
    field, needs = operator.field, operator.needs
    return tuple(
        each
        for each in triggers.possible(kind, role)
        if possible.can_meet(role, operator, kind, each)
        and (
            not needs
            or each.dimension not in (f"{field} characters", f"{field} size")
            or each.name == f"{field}-{needs}"
        )
    )


def _kinds(role: PeerRole, operator: Operator) -> list[str]:
    return [each for each in operator.kinds if possible.is_visible(role, operator, each)]


def count(role: PeerRole) -> int:
    """Say how many mutants of a role have one condition at most; with two, there are millions."""
    return sum(
        1 + len(_usable(role, each.name, kind))
        for each in operators.ALL.values()
        for kind in _kinds(role, each)
    )


def drawn(role: PeerRole, seed: int) -> Iterator[MessageMutant]:
    """Draw mutants, without end and none twice."""
    random = Random(f"{role}/{seed}")  # noqa: S311  # no secret
    usable = [each for each in operators.ALL.values() if _kinds(role, each)]
    seen: set[str] = set()
    while True:
        operator = drawn_operator(random, usable)
        kind = random.choice(_kinds(role, operator))
        found = MessageMutant(role, operator, kind, _some(random, role, operator, kind))
        if found.name not in seen:
            seen.add(found.name)
            yield found


def _some(random: Random, role: PeerRole, operator: Operator, kind: str) -> tuple[Condition, ...]:
    """Draw a trigger, dimension by dimension."""
    usable = _usable(role, operator.name, kind)
    wanted = drawn_count(random)
    while True:
        conditions = drawn_trigger(random, usable, wanted)
        if triggers.agree(conditions):
            return conditions
