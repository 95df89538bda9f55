"""What makes programs, whoever they are for: they grow by what can be done where they stand.

The model walks along and takes everything for come that it expects. What is drawn, and how often,
is for those to say who make programs for a server or a client.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, Final, Generic

from neffos_codec import Message
from neffos_conformance.model_based.actions import Action, Do
from neffos_conformance.model_based.bodies import filled
from neffos_conformance.model_based.expected import Payload
from neffos_conformance.model_based.states import AnyModel

MAX_TRIES: Final = 50
"""Actions that are tried until one can be done where a program stands; some nearly always can."""


class SequenceGenerator(Generic[AnyModel]):
    """Makes one program.

    Attributes:
        random: what is drawn by.
        model: what can be done.
        actions: the program so far.
    """

    def __init__(self, random: Random, model: AnyModel) -> None:
        self.random = random
        self.model = model
        self.actions: list[Action] = []

    # ------------------------------------------------------------ growing

    def _grow(self, makers: Mapping[Callable[[], Action | None], int]) -> bool:
        """Add one action, drawn from what makes some, by how often each is to."""
        for _ in range(MAX_TRIES):
            maker = self.random.choices(list(makers), list(makers.values()))[0]
            action = maker()
            if action is not None and self._add(action):
                return True
        return False  # every connection has ended

    def _add(self, action: Action) -> bool:
        """Add an action, if it can be done, and take everything for come."""
        if self.model.take(action) is None:
            return False
        self.actions.append(action)
        if not action.is_followed:
            for number, peer in self.model.peers.items():
                self._let_come(number)
                if peer.ending:
                    self.model.ended(number)
        return True

    def _let_come(self, number: int) -> None:
        """Take everything for come that has to on a connection."""
        peer = self.model.peers[number]
        for expected in list(peer.expected):
            is_put_off = expected.is_deferred and self.model.blocked(number)
            if expected not in peer.expected or (is_put_off and expected.place is None):
                continue
            if not expected.must:
                continue
            answer = expected.answers[0]
            if isinstance(answer, Message) and expected.is_ask:
                answer = answer.replace(wait=f"{answer.wait}{expected.number}")
            self.model.came(expected, answer)
        self.model.settled(number)

    def _answer_all(self) -> None:
        """Answer what is open, so that what waits for it can come."""
        for _ in range(MAX_TRIES):
            open_, _others = self._asks()
            if not open_ or not self._add(self._answer_to(open_[0], "done")):
                return

    # ------------------------------------------------------------ actions

    def _action(self, connection: int, do: Do, how: str = "", **values: Any) -> Action:
        return Action(len(self.actions) + 1, connection, do, how, **values)

    def _answer_to(self, number: int, how: str) -> Action:
        """Answer the ask that an action caused."""
        return self._action(self.model.asked[number].connection, Do.ANSWER, how, of=number)

    def _noise_of(self, payloads: Sequence[Payload]) -> Action:
        body = self._filled(self.random.choice(payloads))
        return self._action(self._connection(), Do.NOISE, body=body)

    def _end(self) -> Action:
        return self._action(self._connection(), self.random.choice((Do.CLOSE, Do.CUT)))

    # ------------------------------------------------------------ parts

    def _asks(self) -> tuple[list[int], list[int]]:
        """Give the actions that caused asks: those that are open, and the others."""
        asked = self.model.asked.items()
        return (
            [number for number, each in asked if each.state == "open"],
            [number for number, each in asked if each.state != "open"],
        )

    def _connection(self) -> int:
        live = [n for n, peer in self.model.peers.items() if not peer.is_over and not peer.ending]
        return self.random.choice(live or [1])

    def _filled(self, body: Payload) -> Payload:
        """Fill the number of the action that is being made into a body."""
        return filled(body, len(self.actions) + 1)
