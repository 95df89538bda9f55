"""What plays programs, whoever they are for: what went by is noted, and held against the models.

How a peer is reached, and when it is waited for, is for those to say who play to a server or a
client.
"""

from __future__ import annotations

import copy
import time
from typing import Generic, NoReturn

from neffos_codec import Message
from neffos_conformance.model_based.actions import Action
from neffos_conformance.model_based.expected import Expected, Payload
from neffos_conformance.model_based.faults import (
    HANGS,
    KNOWN_TO_STALL,
    MAX_HEARD,
    STALLED,
    Failure,
    FailureFound,
    Known,
    Played,
)
from neffos_conformance.model_based.frames import difference, frame, other_form, stable
from neffos_conformance.model_based.states import AnyModel
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.result import LogEntry, Remark
from neffos_conformance.wire.barrier import BARRIER_TOKENS, is_barrier_reply
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.payloads import short
from neffos_conformance.wire.transcript import ConnectionOpened
from neffos_protocol import Monitor, Role


class SequenceRunner(Generic[AnyModel]):
    """Plays one program.

    Attributes:
        model: what is expected.
    """

    def __init__(
        self, ours: Role, model: AnyModel, known: Known, patience: Timeouts, played: Played
    ) -> None:
        self.model = model
        self._ours = ours
        self._theirs = Role.SERVER if ours is Role.CLIENT else Role.CLIENT
        self._known = known
        self._patience = patience
        self._played = played
        self._began = time.perf_counter()
        self._monitors: dict[int, Monitor] = {}
        self._last: dict[int, int] = {}
        self._barriers: set[int] = set()
        self._heard_count = 0

    # ------------------------------------------------------------ doing

    def _is_muted(self, action: Action) -> bool:
        """Whether an action is known to lead to a fault that was found."""
        if not self._known.shapes:
            return False
        trial = copy.deepcopy(self.model)
        trial.take(action)
        return trial.shapes.get(action.number) in self._known.shapes

    def _said(self, number: int, payload: Payload) -> None:
        """Take note of what this side says."""
        self._note(number, payload, is_ours=True)
        self._monitors[number].feed(self._ours, payload)
        self._played.messages += 1

    # ------------------------------------------------------------ what came

    def _seen(self, number: int, seen: Payload | ConnectionClosed) -> None:
        """Take note of what came, before it is held against anything."""
        self._note(number, seen, is_ours=False)
        if isinstance(seen, ConnectionClosed) or is_barrier_reply(seen, BARRIER_TOKENS):
            self._barriers.discard(number)

    def _count(self, number: int) -> None:
        """Count what came, of which there is a bound."""
        self._heard_count += 1
        if self._heard_count > MAX_HEARD:
            text = f"more than {MAX_HEARD} messages came"
            self._fail("AR-22", "a flood", text, self._last.get(number, 0))

    def _judge(self, number: int, seen: Payload, expected: Expected | None = None) -> None:
        """Hold what came against the monitor; and know what it was expected by."""
        for finding in self._monitors[number].feed(self._theirs, seen):
            if finding.requirement == "NS-13" and expected and expected.requirement == "NS-17":
                continue  # the monitor does not know which of the two a refusal is
            if finding.role is self._theirs:
                cause = self._cause(number, frame(seen)) or self._last.get(number, 0)
                told = stable(finding.explanation)
                self._fail(finding.requirement, told, f"{told}: {short(seen)}", cause)

    def _check_form(self, expected: Expected, seen: Payload, message: Message | None) -> None:
        """See that a frame is written in the one way in which it can be."""
        if isinstance(expected.answers[0], Message) and message is not None:
            wrong = other_form(message, seen)
            if wrong is not None:
                self._fail(*wrong, expected.number)

    def _has_overtaken(self, expected: Expected) -> bool:
        """Whether something has to come that was to come before, in the same lane."""
        if not expected.lane:
            return False
        for other in self.model.peers[expected.connection].expected:
            if other is expected:
                break
            if other.lane == expected.lane and other.must:
                return True
        return False

    def _differs(
        self, requirement: str, expected: Expected, answer: Message, message: Message
    ) -> NoReturn:
        """Say in what a message differs from the one that it is meant to be."""
        requirement, what = difference(requirement, answer, message, is_ask=expected.is_ask)
        text = f"{what} differs: expected {answer!r}, {message!r} came"
        self._fail(requirement, f"{what} differs", text, expected.number)

    def _cause(self, number: int, message: Message | None) -> int:
        """Give the action that a message comes of; 0 where it is not known."""
        raise NotImplementedError

    def _cause_of_ask(self, number: int, message: Message) -> int:
        """Give the action that an ask comes of, or that it was answered by; 0 where it is none."""
        for action, ask in self.model.asked.items():
            if ask.connection == number and ask.message.wait == message.wait != "":
                return ask.answered_by or action
        return 0

    # ------------------------------------------------------------ faults

    def fault(self, requirement: str, kind: str, text: str, number: int) -> Failure:
        """Make a fault of what an action showed."""
        return Failure(requirement, kind, text, number, self.model.shapes.get(number, ""))

    def _fail(self, requirement: str, kind: str, text: str, number: int) -> NoReturn:
        raise FailureFound(self.fault(requirement, kind, text, number))

    def _hangs(self, number: int) -> NoReturn:
        text = f"the barrier was not answered within {self._patience.case / STALLED:g} s"
        self._fail("SEC-16", HANGS, text, self._last.get(number, 0))

    def _stalls_after(self) -> float:
        """Give the seconds within which a barrier is answered."""
        is_known = any(kind == HANGS for _, kind in self._known.kinds)
        return self._patience.case / (KNOWN_TO_STALL if is_known else STALLED)

    def _is_borne(self, requirement: str, kind: str) -> bool:
        """Whether a fault was found that is passed over."""
        return (requirement, kind) in self._known.borne

    # ------------------------------------------------------------ noting

    def _note(
        self,
        number: int,
        content: Payload | ConnectionClosed | ConnectionOpened | Remark,
        *,
        is_ours: bool,
    ) -> None:
        now = time.perf_counter() - self._began
        is_of_client = is_ours == (self._ours is Role.CLIENT)
        self._played.exchange.append(LogEntry(now, number, is_of_client, content, 0))
