"""Plays one program to a server, and holds what comes against the monitor and the model.

Behind each action, or burst of actions, a barrier is asked of every connection: what the server
sent before its answer is all that it sent. The first fault ends the program.
"""

from __future__ import annotations

import asyncio
import copy
import re
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from neffos_codec import DecodeError, Message, Native, decode, encode
from neffos_conformance.connection import Closed, Connection, DialError
from neffos_conformance.exploring.actions import Action, Do, Program
from neffos_conformance.exploring.coverage import Transition
from neffos_conformance.exploring.model import (
    MIXED,
    NATIVE,
    NEWS,
    TURNED_AWAY,
    End,
    Expected,
    Model,
)
from neffos_conformance.exploring.script import Script
from neffos_conformance.recordings.relay import below
from neffos_conformance.recordings.transcript import Opened
from neffos_conformance.showing import short
from neffos_conformance.suite.barrier import BARRIER, BARRIER_TOKENS, answers
from neffos_conformance.suite.result import Noted
from neffos_conformance.suite.stage import Patience
from neffos_protocol import Monitor, Role
from neffos_protocol.names import CHANGE_OF

MAX_HEARD: Final = 2000
"""Messages of a server in one program; a correct one sends some dozens, more is a flood."""

STALLED: Final = 2.0
"""A barrier is answered within a case's time divided by this: a server that stops reading until a
time limit of its own ends that, of five seconds or more, is to be seen."""

KNOWN_TO_STALL: Final = 8.0
"""Likewise for a server that is known to stall, of which nothing new is learned by waiting."""

Payload = str | bytes

_TAG: Final = re.compile(r"\bt(\d+)\b")
"""What names the action in a body, or in the name of an event."""

_OWN_TOKEN: Final = re.compile(r"\$!?(?:early)?(\d+)")

_NATIVE_MODES: Final = {MIXED: Native.FALLBACK, NATIVE: Native.ONLY}


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that a server did wrong.

    Attributes:
        requirement: what it broke.
        kind: in which way: faults of one requirement and one kind are one.
        explanation: a sentence.
        number: the action that shows it.
        shape: what that action was like.
    """

    requirement: str
    kind: str
    explanation: str
    number: int = 0
    shape: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """By what it is told from others."""
        return self.requirement, self.kind


@dataclass(slots=True)
class Known:
    """What was found already, and is not to be found again.

    Attributes:
        borne: faults that change no state, and are passed over.
        shapes: what actions were like that led to the others; they are left out.
        kinds: all of them, by requirement and kind.
    """

    borne: set[tuple[str, str]] = field(default_factory=set)
    shapes: set[str] = field(default_factory=set)
    kinds: set[tuple[str, str]] = field(default_factory=set)

    def add(self, fault: Fault) -> None:
        """Remember a fault."""
        self.kinds.add(fault.key)
        if fault.kind in BORNE:
            self.borne.add(fault.key)
        elif fault.shape:
            self.shapes.add(fault.shape)


MISSING: Final = "an answer is missing"
NO_CLOSE_FRAME: Final = "no close frame"
BORNE: Final = frozenset({MISSING, NO_CLOSE_FRAME})
"""The kinds of faults behind which server and model still agree on what is connected."""

HANGS: Final = "nothing is answered any more"
GONE: Final = "the server is gone"


@dataclass(slots=True)
class Played:
    """A program that was played.

    Attributes:
        fault: what was wrong, if anything.
        exchange: all that went by.
        messages: how many messages the suite sent.
        steps: how many actions were done.
        done: their numbers.
        lines: the conversation in the language of cases, as it should have been.
        reached: the rows of the tables that were taken.
    """

    fault: Fault | None = None
    exchange: list[Noted] = field(default_factory=list)
    messages: int = 0
    steps: int = 0
    done: set[int] = field(default_factory=set)
    lines: list[str] = field(default_factory=list)
    reached: set[Transition] = field(default_factory=set)


class _FaultFound(Exception):  # noqa: N818  # it ends a program, and no error is made of it
    def __init__(self, fault: Fault) -> None:
        self.fault = fault


async def play(url: str, program: Program, known: Known, patience: Patience) -> Played:
    """Play a program on fresh connections.

    Args:
        url: of the server.
        program: what is done.
        known: what is passed over.
        patience: how long is waited.
    """
    played = Played()
    player = _Player(url, known, patience, played)
    try:
        await player.run(program)
    except _FaultFound as found:
        played.fault = found.fault
        await player.wind_up()
    finally:
        await player.leave()
    played.lines = player.script.lines
    played.reached = player.model.reached
    return played


class _Player:
    def __init__(self, url: str, known: Known, patience: Patience, played: Played) -> None:
        self.model = Model()
        self.script = Script()
        self._url = url
        self._known = known
        self._patience = patience
        self._played = played
        self._began = time.perf_counter()
        self._connections: dict[int, Connection] = {}
        self._monitors: dict[int, Monitor] = {}
        self._last: dict[int, int] = {}
        self._spoken: dict[int, None] = {}
        self._barriers: set[int] = set()
        self._heard_count = 0
        self._broadcasts = False

    async def run(self, program: Program) -> None:
        """Play all actions.

        Raises:
            _FaultFound: one of them showed a fault.
        """
        for action in program:
            if self._is_muted(action):
                continue
            sent = self.model.take(action)
            if sent is None:
                continue
            self._played.steps += 1
            self._played.done.add(action.number)
            if action.do is Do.OPEN:
                await self._dial(action)
            self._broadcasts |= action.event.startswith("broadcast")
            for each in sent:
                self._last[each.connection] = action.number
                if isinstance(each.content, End):
                    await self._end(each.connection, each.content.code)
                else:
                    await self._say(each.connection, each.content)
                    self.script.said(each.connection, each.content, is_shaken=action.do is Do.OPEN)
            if not action.is_followed or action.do is Do.OPEN:
                await self._sync()
        await self._sync()

    async def wind_up(self) -> None:
        """See what else comes behind a fault, and end all, so that a transcript is whole."""
        for number, connection in self._connections.items():
            with suppress(TimeoutError):
                async with asyncio.timeout(self._patience.grace):
                    while number in self._barriers and connection.is_open:
                        await self._see(number)
            if connection.is_open:
                self._note(number, Closed(1000), is_ours=True)
                await connection.say_goodbye()

    async def leave(self) -> None:
        """Let go of all connections."""
        await asyncio.gather(*(each.close() for each in self._connections.values()))

    def _is_muted(self, action: Action) -> bool:
        if not self._known.shapes:
            return False
        trial = copy.deepcopy(self.model)
        trial.take(action)
        return trial.shapes.get(action.number) in self._known.shapes

    # ------------------------------------------------------------ doing

    async def _dial(self, action: Action) -> None:
        number = action.connection
        headers = {
            "chosen": {"X-Conformance-Id": f"own;{action.number}"},
            "connecting": {"X-Conformance-Connect": "any"},
            "refused": {"X-Conformance-Refuse": TURNED_AWAY},
        }.get(action.how, {})
        self.script.dialled(number, action, headers)
        try:
            async with asyncio.timeout(self._patience.case):
                connection = await Connection.dial(below(self._url, action.path), headers)
        except (DialError, TimeoutError) as error:
            told = str(error) or "it does not accept connections"
            raise _FaultFound(Fault("SEC-16", GONE, told, action.number)) from error
        self._note(number, Opened(action.path, headers), is_ours=True)
        self._connections[number] = connection
        self._monitors[number] = Monitor(
            native=_NATIVE_MODES.get(action.path, Native.NEVER), at=Role.CLIENT
        )

    async def _say(self, number: int, payload: Payload) -> None:
        self._note(number, payload, is_ours=True)
        self._monitors[number].feed(Role.CLIENT, payload)
        self._played.messages += 1
        self._spoken[number] = None
        try:
            async with asyncio.timeout(self._patience.case):
                await self._connections[number].send(payload)
        except TimeoutError:
            self._hangs(number)

    async def _end(self, number: int, code: int | None) -> None:
        self._note(number, Closed(code), is_ours=True)
        self._spoken.pop(number, None)
        connection = self._connections[number]
        self.script.ended(number, code)
        if code is None:
            connection.abort()
            self.model.ended(number)
            return
        await connection.say_goodbye(code)
        try:
            async with asyncio.timeout(self._patience.goodbye):
                while not isinstance(seen := await self._receive(number), Closed):
                    self._check_goodbye(number, seen)
                    self._heard(number, seen)
        except TimeoutError:
            seen = Closed(None)
        self._closed(number, seen)

    def _check_goodbye(self, number: int, seen: Payload) -> None:
        message = _frame(seen)
        if message is None or message.event not in CHANGE_OF or self.model.waits(number):
            return
        if message.wait.startswith("$"):
            return  # a reply
        text = f"a frame for what ends with its connection: {short(seen)}"
        self._fail("TR-15", "a goodbye in frames", text, self._last.get(number, 0))

    # ------------------------------------------------------------ seeing

    async def _sync(self) -> None:
        """Ask a barrier of every connection, and see that all came that is due."""
        spoken, self._spoken = list(self._spoken), {}
        try:
            for number in spoken:
                await self._settle(number)
            is_heard_elsewhere, self._broadcasts = self._broadcasts, False
            for number in list(self._connections):
                if number not in spoken or (is_heard_elsewhere and len(self._connections) > 1):
                    await self._settle(number)
        finally:
            self.script.settled(self.model)

    async def _settle(self, number: int) -> None:
        peer = self.model.peers[number]
        if peer.is_over:
            return
        if peer.phase != "open" or peer.ending:
            await self._come(number)
        if peer.phase == "open" and not peer.is_over:
            await self._barrier(number)
            await self._come(number)
            self.model.settled(number)

    async def _barrier(self, number: int) -> None:
        is_native = self.model.peers[number].path == NATIVE
        barrier = f"barrier {self._played.messages}" if is_native else BARRIER
        await self._say(number, barrier)
        self._barriers.add(number)
        self._spoken.pop(number, None)
        self.script.asked_barrier(number, is_native=is_native)
        is_known = any(kind == HANGS for _, kind in self._known.kinds)
        patience = self._patience.case / (STALLED if not is_known else KNOWN_TO_STALL)
        try:
            async with asyncio.timeout(patience):
                while True:
                    seen = await self._receive(number)
                    if seen == barrier if is_native else answers(seen, BARRIER_TOKENS):
                        self._judge(number, seen)
                        return
                    self._heard(number, seen)
                    if isinstance(seen, Closed):
                        return
        except TimeoutError:
            self._hangs(number)

    async def _come(self, number: int) -> None:
        """Wait a while for what is due and has not come."""
        peer = self.model.peers[number]
        while due := self._due(number):
            if isinstance(due, Expected) and self._is_borne(due, MISSING):
                peer.expected.remove(due)
                continue
            is_asked = peer.phase == "open" and not peer.ending
            patience = self._patience.grace if is_asked else self._patience.case
            if isinstance(due, Expected) and due.is_deferred:
                patience += self._patience.doubt
            try:
                async with asyncio.timeout(patience):
                    seen = await self._receive(number)
            except TimeoutError:
                if isinstance(due, Expected):
                    self._miss(due)
                else:
                    text = "the connection was to be ended, and was not"
                    self._fail(due, "is not ended", text, self._last[number])
                return
            self._heard(number, seen)

    def _due(self, number: int) -> Expected | str | None:
        """Give what has to come now: a message, or, by the requirement on it, the end."""
        peer = self.model.peers[number]
        if peer.is_over:
            return None
        is_blocked = self.model.blocked(number)
        for expected in peer.expected:
            if expected.must and not (expected.is_deferred and is_blocked):
                return expected
        return peer.ending or None

    async def _see(self, number: int) -> Payload | Closed:
        seen = await self._connections[number].receive()
        self._note(number, seen, is_ours=False)
        if isinstance(seen, Closed) or answers(seen, BARRIER_TOKENS):
            self._barriers.discard(number)
        return seen

    async def _receive(self, number: int) -> Payload | Closed:
        seen = await self._see(number)
        self._heard_count += 1
        if self._heard_count > MAX_HEARD:
            text = f"more than {MAX_HEARD} messages came"
            self._fail("AR-22", "a flood", text, self._last.get(number, 0))
        return seen

    def _heard(self, number: int, seen: Payload | Closed) -> None:
        """Hold what came against the monitor and the model."""
        if isinstance(seen, Closed):
            self._closed(number, seen)
            return
        message = _frame(seen) if self.model.peers[number].path != NATIVE else None
        expected = self._matching(number, seen, message)
        if expected is None:
            self._check_unasked(number, seen, message)
        self._judge(number, seen)
        if expected is None:
            self._unexpected(number, seen, message)
            return
        answer = expected.answers[0]
        if isinstance(answer, Message) and message is not None:
            self._check_form(expected, message, seen)
        if expected.lane:
            for other in self.model.peers[number].expected:
                if other is expected:
                    break
                if other.lane == expected.lane and other.must:
                    text = f"{short(seen)} came before what was sent earlier"
                    self._fail(expected.requirement, "another order", text, expected.number)
        self.script.came(number, expected, message)
        self.model.came(expected, message or seen)
        if isinstance(seen, str) and self.model.peers[number].phase == "awaiting":
            self.model.opened(number)

    def _judge(self, number: int, seen: Payload | Closed) -> None:
        if isinstance(seen, Closed):
            return
        for finding in self._monitors[number].feed(Role.SERVER, seen):
            if finding.role is Role.SERVER:
                cause = self._cause(number, _frame(seen)) or self._last.get(number, 0)
                told = _stable(finding.explanation)
                self._fail(finding.requirement, told, f"{told}: {short(seen)}", cause)

    def _check_form(self, expected: Expected, message: Message, seen: Payload) -> None:
        """See that a frame is written in the one way in which it can be."""
        if seen == encode(message):
            return
        requirement = "FR-13" if message.is_empty_reply else "FR-6"
        text = f"{short(seen)} is written in another way than {short(encode(message))}"
        self._fail(requirement, "written otherwise", text, expected.number)

    def _matching(self, number: int, seen: Payload, message: Message | None) -> Expected | None:
        for expected in self.model.peers[number].expected:
            for answer in expected.answers:
                if isinstance(answer, Message):
                    wanted = answer
                    if expected.is_ask and message is not None and message.wait:
                        wanted = answer.replace(wait=message.wait)
                    if wanted == message and type(wanted.body) is type(message.body):
                        return expected
                elif answer == "A":
                    if isinstance(seen, str) and seen.startswith("A") and seen != "A":
                        return expected
                elif answer == seen and type(answer) is type(seen):
                    return expected
        return None

    def _check_unasked(self, number: int, seen: Payload, message: Message | None) -> None:
        """See that a message is not of an action of which nothing (more) was to come."""
        peer = self.model.peers[number]
        cause = self._cause(number, message)
        if cause not in self.model.silences or any(each.number == cause for each in peer.expected):
            return
        text = f"nothing (more) was to come of it: {short(seen)}"
        self._fail(self.model.silences[cause], "unasked", text, cause)

    def _unexpected(self, number: int, seen: Payload, message: Message | None) -> None:
        peer = self.model.peers[number]
        for expected in peer.expected:
            answer = expected.answers[0]
            if not isinstance(answer, Message):
                if peer.phase == "awaiting":
                    text = f"expected {short(answer)}, {short(seen)} came"
                    self._fail(expected.requirement, "another message", text, expected.number)
            elif message is not None and _is_like(answer, message, is_ask=expected.is_ask):
                self._differs(expected, answer, message)
        cause = self._cause(number, message)
        if cause and cause in self.model.silences:
            text = f"nothing (more) was to come of it: {short(seen)}"
            self._fail(self.model.silences[cause], "unasked", text, cause)
        if message is None or (message.wait.startswith("$") and not cause):
            last = self._last.get(number, 0)
            requirement = self.model.silences.get(last, "FR-16")
            self._fail(requirement, "unasked", f"nothing was to come: {short(seen)}", last)
        # Else it is an event, or an ask, of the server's own accord.

    def _differs(self, expected: Expected, answer: Message, message: Message) -> None:
        requirement = expected.requirement or self.model.silences[expected.number]
        if (answer.wait != message.wait and not expected.is_ask) or (
            expected.is_ask and not message.wait
        ):
            requirement, what = "AR-1", "wait"
        elif answer.is_binary != message.is_binary:
            requirement, what = "AR-16", "the kind"
        elif answer.is_error != message.is_error:
            what = "isError"
        elif answer.body != message.body:
            what = "body"
            if requirement in ("AR-7", "AR-10") and not answer.is_error:
                requirement = "FR-10"
        else:
            what = "another field"
        text = f"{what} differs: expected {answer!r}, {message!r} came"
        self._fail(requirement, f"{what} differs", text, expected.number)

    def _cause(self, number: int, message: Message | None) -> int:
        """Give the action that a message comes of, by the token or by what is in it."""
        if message is None:
            return 0
        if found := _OWN_TOKEN.match(message.wait):
            return int(found[1])
        for number_, ask in self.model.asked.items():
            if ask.connection == number and ask.message.wait == message.wait != "":
                return ask.answered_by or number_
        body = message.body if isinstance(message.body, str) else message.body.decode("latin-1")
        if found := _TAG.search(f"{body} {message.event}"):
            return int(found[1])
        return 0

    # ------------------------------------------------------------ faults

    def _closed(self, number: int, closed: Closed) -> None:
        peer = self.model.peers[number]
        if peer.is_over:
            return
        ending = peer.ending
        missing = next((each for each in peer.expected if each.must), None)
        self.model.ended(number)
        self.script.closed(number, is_ours=ending == "TR-16")
        last = self._last.get(number, 0)
        if not ending or closed.cut:
            requirement = missing.requirement if missing else "FR-16"
            self._fail(requirement, "the connection ended", f"the connection was {closed}", last)
        if missing is not None:
            self._miss(missing)
        requirement = "TR-16" if ending == "TR-16" else "TR-12"
        if closed.code is None and (requirement, NO_CLOSE_FRAME) not in self._known.borne:
            text = "the connection ended without a close frame"
            self._fail(requirement, NO_CLOSE_FRAME, text, last)

    def _hangs(self, number: int) -> None:
        text = f"the barrier was not answered within {self._patience.case / STALLED:g} s"
        self._fail("SEC-16", HANGS, text, self._last.get(number, 0))

    def _is_borne(self, expected: Expected, kind: str) -> bool:
        return expected.place is None and (expected.requirement, kind) in self._known.borne

    def _miss(self, expected: Expected) -> None:
        answer = expected.answers[0]
        told = repr(answer) if isinstance(answer, Message) else short(answer)
        # What says a change of state is no answer that one can do without.
        is_plain = expected.requirement in _PLAIN
        kind = MISSING if is_plain else "a reply to a change is missing"
        self._fail(expected.requirement, kind, f"{told} did not come", expected.number)

    def _fail(self, requirement: str, kind: str, explanation: str, number: int) -> None:
        if number in self.model.blames:
            requirement = self.model.blames[number]
            kind = "a reply that is neither empty nor an error is taken for success"
        shape = self.model.shapes.get(number, "")
        raise _FaultFound(Fault(requirement, kind, explanation, number, shape))

    # ------------------------------------------------------------ noting

    def _note(self, number: int, content: Payload | Closed | Opened, *, is_ours: bool) -> None:
        now = time.perf_counter() - self._began
        self._played.exchange.append(Noted(now, number, is_ours, content, 0))


_PLAIN: Final = frozenset({"NS-17", "AR-7", "AR-10", "AR-11", "EV-2", "EV-6", "EV-9", "TR-10"})
"""The requirements whose answers change no state."""


def _is_like(answer: Message, message: Message, *, is_ask: bool) -> bool:
    """Whether a message is meant to be another one."""
    if answer.wait and not is_ask and answer.wait == message.wait:
        return True
    same_event = answer.event == message.event and answer.namespace == message.namespace
    if is_ask:
        return same_event and bool(answer.event)
    if answer.wait and message.wait:
        return False
    tags = _tags(message)
    if not tags and answer.event != NEWS:  # a broadcast of somebody else's has none of ours
        tags = _tags(answer)
    return same_event and bool(answer.event) and _tags(answer) == tags


def _tags(message: Message) -> list[str]:
    body = message.body if isinstance(message.body, str) else message.body.decode("latin-1")
    return _TAG.findall(body)


def _stable(text: str) -> str:
    """Leave out of an explanation what another run says otherwise."""
    return re.sub(r"'[^']*'", "…", text)


def _frame(payload: Payload) -> Message | None:
    try:
        return decode(payload)
    except DecodeError:
        return None
