"""Runs one test sequence on a peer, and checks what arrives against the monitor and the model.

After each action, or burst of actions, every connection gets a barrier: what the peer sent before
its answer is all that it sent. The first failure ends the sequence. How the suite reaches the
peer is up to ``links``: it dials a server, or accepts a client that it controls through a driver.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, NoReturn

from neffos_codec import Message, Native
from neffos_conformance.cases.script import native_of
from neffos_conformance.model_based import failures, frames
from neffos_conformance.model_based.actions import (
    ActionKind,
    ActionSequence,
    DriverLog,
    Expectation,
    Output,
    Payload,
    SuiteAction,
)
from neffos_conformance.model_based.failures import FailureFound, KnownFailures, SequenceResult
from neffos_conformance.model_based.model import SutModel
from neffos_conformance.model_based.script import ScriptWriter
from neffos_conformance.model_based.state import IN_ORDER, ConnectionState
from neffos_conformance.runner.driver_protocol import DriverError, Values
from neffos_conformance.runner.playback import NORMAL_CLOSURE, Playback, Timeouts
from neffos_conformance.wire.barrier import BARRIERS, is_barrier_reply
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.payloads import frame_of, short
from neffos_conformance.wire.transcript import ConnectionOpened
from neffos_conformance.wire.transport import Received, Transport
from neffos_conformance.wire.waiting import cancel
from neffos_protocol import Monitor, Role
from neffos_protocol.names import CHANGE_OF

_OWN_TOKEN: Final = re.compile(r"\$!?(?:early)?(\d+)")
_FRAMES: Final = frozenset({None, *BARRIERS.values()})
"""The barriers whose replies are frames."""

_NO_ASKS: Final = frozenset({"dial", "emit", "native", "close"})
"""The operations of a driver for which a client sends no ask."""

_HARMLESS_TO_MISS: Final = frozenset(
    {"NS-17", "AR-7", "AR-10", "AR-11", "EV-2", "EV-6", "EV-9", "TR-10"}
)
"""The requirements on messages that change no membership."""


class SequenceRunner:
    """Runs one test sequence. A subclass for each role knows how to reach the peer.

    Args:
        model: of the peer under test.
        known: failures that are not reported again.
        timeouts: how long to wait.

    Attributes:
        model: see above.
        script: writes the sequence down.
        result: what the sequence has shown so far.
        playback: the suite's side of the connections.
        last: the last action on each connection.
    """

    def __init__(self, model: SutModel, known: KnownFailures, timeouts: Timeouts) -> None:
        self.model = model
        self.known = known
        self.timeouts = timeouts
        self.script = ScriptWriter(model)
        self.result = SequenceResult()
        self.last: dict[int, int] = {}
        self.playback = Playback(model.role.value, timeouts, self.result.log)
        # A peer that floods is held back here, and then by TCP.
        self.playback.events = asyncio.Queue(failures.MAX_RECEIVED)
        self._monitors: dict[int, Monitor] = {}
        self._barriers: dict[int, str] = {}
        self._held_back: set[int] = set()
        self._sent_on: dict[int, None] = {}
        self._is_unsettled = self._has_broadcast = False
        self._pending_since: dict[int, float] = {}
        self._is_overdue = False
        self._is_held_back = False
        self._count = 0
        self._ours = Role.SERVER if model.is_client else Role.CLIENT
        self._tasks: set[asyncio.Task[None]] = set()

    # ------------------------------------------------------------ reaching the peer

    async def open(self, action: SuiteAction) -> bool:
        """Open the connection of an action; say whether it is open."""
        raise NotImplementedError

    def outgoing(self, payload: Payload) -> Payload:
        """Give a message as it is sent to the peer."""
        return payload

    def incoming(self, payload: Payload) -> Payload | None:
        """Give a message of the peer as the model has it; ``None`` if it is passed over."""
        return payload

    def command(self, number: int, action: int, operation: Values) -> None:
        """Have the driver of a client perform an operation."""

    def due_operation(self) -> DriverLog | None:
        """Give an operation of a client that must end now."""
        return None

    async def check_reports(self) -> None:
        """Check what a client reported to its application."""

    # ------------------------------------------------------------ running

    async def run(self, sequence: ActionSequence) -> None:
        """Perform all actions; the result says what they showed.

        Raises:
            DriverError: the driver broke its contract, or ended.
        """
        try:
            for action in sequence:
                await self._perform(action)
            await self._sync()
        except FailureFound as found:
            # Else the peer may have given up an ask, or may withhold one, and rightly so.
            if not self._is_overdue and not self._is_held_back:
                self.result.failure = found.failure
            await self._drain()
        finally:
            await cancel(self._tasks)
            await self.playback.release()
            self.script.settled()
            if self.result.failure:
                self.result.lines = self.script.lines
            self.result.reached = self.model.reached

    def _note_pending(self) -> None:
        """See how long the asks of the peer have been pending."""
        now = asyncio.get_running_loop().time()
        for number, ask in self.model.asks.items():
            if ask.state == "pending":
                since = self._pending_since.setdefault(number, now)
                self._is_overdue |= now - since > failures.OVERDUE

    async def _perform(self, action: SuiteAction) -> None:
        self._note_pending()
        if self._is_known_to_fail(action):
            # An ask that nobody answers would keep a peer from what comes after it.
            action = replace(action, how="done")
            if action.kind is not ActionKind.ANSWER or self._is_known_to_fail(action):
                return
        is_command = action.kind in (ActionKind.OPEN, ActionKind.COMMAND)
        is_broadcast = action.event.startswith("broadcast")
        if self.model.is_client:
            # A command may overtake a message, and an answer may cross what a client sends.
            may_cross = self._is_unsettled and (is_command or action.kind is ActionKind.ANSWER)
        else:
            # A server may handle the messages of two connections in either order.
            is_elsewhere = bool(self._sent_on.keys() - {action.connection})
            may_cross = is_elsewhere and (is_broadcast or self._has_broadcast)
        if may_cross:
            await self._sync()
        outputs = self.model.perform(action)
        if outputs is None:
            return
        self.result.performed.add(action.number)
        self.last[action.connection] = action.number
        is_opening = action.kind is ActionKind.OPEN
        if is_opening and not await self.open(action):
            await self._sync()
            return
        self._has_broadcast |= is_broadcast
        for output in outputs:
            number = output.connection
            self.last[number] = action.number
            if isinstance(output.content, ConnectionClosed):
                await self._end(number, output.content.code)
            elif isinstance(output.content, dict):
                self.command(number, action.number, output.content)
                await self._await_due()
            else:
                self.script.sent(output, is_opening=is_opening)
                await self._send(output)
        self._is_unsettled = True
        if not action.is_followed or is_command:
            await self._sync()

    def _is_known_to_fail(self, action: SuiteAction) -> bool:
        """Whether an action is like one that leads to a known failure."""
        if not self.known.leads_astray:
            return False
        trial, number = self.model.fork(), action.number
        trial.perform(action)
        return self.known.skips(
            trial.signatures.get(number, ""), trial.forbidden_by.get(number, "")
        )

    async def _drain(self) -> None:
        """Log what else arrives after a failure, and close, so that a recording is whole."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.timeouts.after_barrier):
                while self._barriers:
                    number, seen = await self.playback.next_event()
                    self._is_barrier_reply(number, seen)
        for number, transport in self.playback.connections.items():
            if transport.is_open:
                await self.playback.close(number, NORMAL_CLOSURE)

    # ------------------------------------------------------------ acting

    def attach(self, number: int, transport: Transport, opened: ConnectionOpened) -> None:
        """Take over a connection that is open."""
        log = self.playback.log_received if self.model.is_client else self.playback.log_sent
        log(number, opened)
        native = Native.NEVER
        if self.model.reports_native:
            native = native_of(self.model.role.value, [self.model.connections[number].path])
        self._monitors[number] = Monitor(native=native, at=self._ours)
        self.playback.connections[number] = transport
        self.playback.watch(number)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something until the sequence is over."""
        self._tasks.add(asyncio.create_task(work))

    async def _send(self, output: Output) -> None:
        """Send a message."""
        number, payload = output.connection, output.content
        if not isinstance(payload, str | bytes):
            raise TypeError("commands and ends of connections are not messages")
        self._monitors[number].feed(self._ours, payload)
        self.result.messages += 1
        self._sent_on[number] = None
        is_text = isinstance(payload, str)
        payload = self.outgoing(payload)
        try:
            async with asyncio.timeout(self.timeouts.case):
                if output.is_fragmented:
                    parts = frames.fragments(payload)
                    await self.playback.send_parts(number, parts, is_text=is_text)
                else:
                    await self.playback.send(number, payload, is_held=output.is_held)
        except TimeoutError:
            self._stalls(number)

    async def _end(self, number: int, code: int | None) -> None:
        """End a connection, once the operations have ended that must end before."""
        is_refused = self.model.connections[number].ending == "HS-16"
        due = self.due_operation() if is_refused else None
        if due is not None and due.connection == number:
            await self.wait_for(due, self.timeouts.after_barrier)
        self.script.ended(number, code)
        await self.playback.close(number, code)
        if code is None:
            self.model.ended(number)

    # ------------------------------------------------------------ waiting

    async def until(self, is_done: Callable[[], bool], seconds: float) -> bool:
        """Check what arrives until a condition holds; ``False`` where the time runs out."""
        try:
            async with asyncio.timeout(seconds):
                while not is_done():
                    self._take(*await self.playback.next_event())
        except TimeoutError:
            return False
        return True

    async def _sync(self) -> None:
        """Ask a barrier on every connection, and see that everything arrived that is due."""
        self._is_unsettled = False
        sent_on, self._sent_on = list(self._sent_on), {}
        connections = self.model.connections
        order = [*sent_on, *(number for number in connections if number not in sent_on)]
        if self._has_broadcast and len(connections) > 1:
            order += connections  # the barriers above show that the broadcasts were sent
        self._has_broadcast = False
        try:
            for number in order:
                if not connections[number].is_usable:
                    await self._await_due(number)
                if connections[number].is_usable:
                    await self.barrier(number)
            await self._await_due()
            await self.check_reports()
            for number in connections:
                self.model.settled(number)
        finally:
            self.script.settled()

    async def barrier(self, number: int) -> None:
        """Ask a barrier on a connection, and check everything that comes before its reply."""
        if self.known.holds_back and self.model.waits(number):
            return
        barrier = BARRIERS[self.model.role.value]
        if self.model.connections[number].endpoint.exchanges == "native":
            barrier = f"barrier {self.result.messages}"
        else:
            self.script.barrier(number)
        self._barriers[number] = barrier
        await self._send(Output(number, barrier))
        self._sent_on.pop(number)
        seconds = self.timeouts.case / (
            failures.KNOWN_STALL if self.known.stalls else failures.STALL
        )
        if await self.until(lambda: number not in self._barriers, seconds):
            return
        if not self.model.blocked(number):
            self._stalls(number)
        # Its handler waits for the suite, and the barrier for the handler.
        self.known.holds_back = True
        self._held_back.add(number)

    def _is_barrier_reply(self, number: int, seen: Received) -> bool:
        barrier = self._barriers.get(number)
        is_reply = seen == barrier if barrier not in _FRAMES else is_barrier_reply(seen)
        if is_reply and number in self._held_back:
            self._held_back.remove(number)
        elif is_reply or isinstance(seen, ConnectionClosed):
            self._barriers.pop(number, None)
        return is_reply

    async def _await_due(self, number: int = 0) -> None:
        """Wait for what is due and has not arrived, on one connection or on all."""

        def has_changed() -> bool:
            return self._due(number) is not due

        while (due := self._due(number)) is not None:
            seconds = self.timeouts.after_barrier
            if isinstance(due, ConnectionState):
                is_short = due.ending == "TR-16" or self.model.is_client
                seconds = self.timeouts.close if is_short else self.timeouts.case
            elif isinstance(due, DriverLog) or due.is_deferred:
                seconds += self.timeouts.before_barrier
            elif not self.model.connections[due.connection].is_usable:
                seconds = self.timeouts.case
            if not await self.until(has_changed, seconds):
                self._miss(due)

    async def wait_for(self, due: Expectation | DriverLog, seconds: float) -> None:
        """Wait for one thing, and fail the sequence where it does not come."""

        def is_settled() -> bool:
            if isinstance(due, DriverLog):
                return due.is_over
            return due not in self.model.connections[due.connection].expected

        if not await self.until(is_settled, seconds):
            self._miss(due)

    def _due(self, only: int) -> Expectation | DriverLog | ConnectionState | None:
        """Give what must come now: a message, an end of a connection or of an operation."""
        for number, connection in self.model.connections.items():
            if connection.is_over or only not in (0, number):
                continue
            if (expected := self.next_due(connection.messages)) is not None:
                return expected
            if connection.ending and number in self.playback.connections:
                return connection
        return None if only else self.due_operation()

    def next_due(self, expected: list[Expectation]) -> Expectation | None:
        """Give the first that must come now, and is not known to be missing."""
        for each in expected:
            if not self.model.is_due(each):
                continue
            is_known = self.known.permit(each.requirement, failures.missing(each))
            if each.undecided is not None or not is_known:
                return each
            self.model.connections[each.connection].expected.remove(each)
        return None

    def _take(self, number: int, seen: Received | Callable[[], None] | DriverError) -> None:
        """Check what happens next: on a connection, or on the link."""
        if isinstance(seen, DriverError):
            raise seen
        if callable(seen):
            seen()
            return
        if self.model.connections[number].is_over:
            return
        if not isinstance(seen, ConnectionClosed):
            translated = self.incoming(seen)
            if translated is None:
                return
            seen = translated
        self._count += 1
        if self._count > failures.MAX_RECEIVED:
            text = f"more than {failures.MAX_RECEIVED} messages arrived"
            self.fail("AR-22", "a flood", text, self.last.get(number, 0))
        if self._is_barrier_reply(number, seen) and not isinstance(seen, ConnectionClosed):
            self._check_monitor(number, seen)
        elif isinstance(seen, ConnectionClosed):
            self._closed(number, seen)
        else:
            self._received(number, seen)

    # ------------------------------------------------------------ checking messages

    def _received(self, number: int, seen: Payload) -> None:
        """Check a message against the monitor and the model."""
        connection = self.model.connections[number]
        message = frame_of(seen) if connection.endpoint.exchanges != "native" else None
        expected = frames.matching(connection.messages, seen, message)
        if expected is None and not self.model.is_client:
            cause = self._cause(number, message)
            if not any(each.number == cause for each in connection.expected):
                self._check_forbidden(cause, seen)
        self._check_monitor(number, seen, expected)
        if expected is None:
            self._unexpected(connection, seen, message)
            return
        if isinstance(expected.answers[0], Message) and message is not None:
            failure = frames.encoding_failure(message, seen)
            if failure is not None:
                self.fail(*failure, expected.number)
        if expected.overtaken:
            requirement, text, cause = expected.overtaken
            self.fail(requirement, "another order", text, cause)
        for earlier in self._overtaken_by(expected):
            text = f"{short(seen)} arrived before an earlier message"
            is_of_reply = self.model.is_client or expected.order == IN_ORDER
            requirement = "EV-1" if is_of_reply else expected.requirement
            earlier.overtaken = requirement, text, expected.number
        self.script.arrived(expected, message)
        for answer in self.model.arrived(expected, message or seen):
            output = Output(number, answer)
            self.script.sent(output)
            self.start(self._send(output))

    def _check_monitor(
        self, number: int, seen: Payload, expected: Expectation | None = None
    ) -> None:
        for finding in self._monitors[number].feed(self.model.role, seen):
            if expected and (finding.requirement, expected.requirement) == ("NS-13", "NS-17"):
                continue  # the monitor cannot tell a refused disconnect from an unknown namespace
            if finding.role is self.model.role:
                cause = self._cause(number, frame_of(seen)) or self.last.get(number, 0)
                # Another run words the quoted parts differently.
                kind = re.sub(r"'[^']*'", "…", finding.explanation)
                self.fail(finding.requirement, kind, f"{kind}: {short(seen)}", cause)

    def _check_forbidden(self, cause: int, seen: Payload) -> None:
        """See that a message is not from an action that must cause no (further) messages."""
        requirement = self.model.forbidden_by.get(cause)
        if cause and requirement:
            text = f"expected nothing (more), actual {short(seen)}"
            self.fail(requirement, "unasked", text, cause)

    def _overtaken_by(self, expected: Expectation) -> list[Expectation]:
        """Give what must come earlier in the same order, and has not: it is late, or missing."""
        others = self.model.connections[expected.connection].expected
        before = others[: others.index(expected)]
        return [each for each in before if each.must and each.order == expected.order != ""]

    def _unexpected(
        self, connection: ConnectionState, seen: Payload, message: Message | None
    ) -> None:
        """Say what is wrong with a message that no expectation permits."""
        number = connection.number
        for expected in connection.messages:
            answer, is_ask = expected.answers[0], expected.is_ask
            if not isinstance(answer, Message):
                if answer in (frames.ACCEPTANCE, "M"):
                    text = f"expected {short(answer)}, actual {short(seen)}"
                    self.fail(expected.requirement, "another message", text, expected.number)
                continue
            is_news = expected.requirement == "EV-9"
            if message is None or not expected.requirement:
                continue
            if not frames.is_similar(answer, message, is_ask=is_ask, is_broadcast=is_news):
                continue
            if is_ask and not expected.must and frames.tags(answer) != frames.tags(message):
                continue
            requirement, what = frames.difference(
                expected.requirement, answer, message, is_ask=is_ask
            )
            text = f"{what} differs: expected {answer!r}, actual {message!r}"
            self.fail(requirement, f"{what} differs", text, expected.number)
        cause = self._cause(number, message)
        self._check_forbidden(cause, seen)
        if not self.model.is_client and message is not None:
            is_reply = message.wait.startswith("$")
            is_closing = connection.ending == "TR-16" and not self.model.waits(number)
            if is_closing and message.event in CHANGE_OF and not is_reply:
                text = f"expected a close frame only, actual {short(seen)}"
                self.fail("TR-15", "frames before a close", text, self.last[number])
            if cause or not is_reply:
                return  # a server may send events and asks of its own accord
        cause = cause or self.last.get(number, 0)
        self._check_forbidden(cause, seen)
        requirement = "AR-22" if self.model.is_client else "FR-16"
        text = f"expected nothing (more), actual {short(seen)}"
        self.fail(requirement, "unasked", text, cause)

    def _cause(self, number: int, message: Message | None) -> int:
        """Give the action that a message comes from; 0 where nothing in it says so."""
        if message is None:
            return 0
        if not self.model.is_client and (found := _OWN_TOKEN.match(message.wait)):
            return int(found[1])
        for action, ask in self.model.asks.items():
            if ask.connection == number and ask.message.wait == message.wait != "":
                return ask.answered_by or action
        return self.model.tokens.get(message.wait) or frames.action_named_in(message)

    def _closed(self, number: int, closed: ConnectionClosed) -> None:
        """Check the end of a connection by the peer."""
        connection = self.model.connections[number]
        ending = connection.ending
        missing = next((each for each in connection.messages if each.must), None)
        self.model.ended(number)
        self.script.closed(number, is_confirmed=ending == "TR-16")
        last = self.last.get(number, 0)
        if not ending or closed.cut:
            requirement = self.model.forbidden_by.get(last, "FR-16")
            requirement = missing.requirement if missing else requirement
            text = f"the connection was {closed}"
            self.fail(requirement, "the connection ended", text, last)
        if missing is not None:
            self._miss(missing)
        is_close = ending in ("TR-12", "TR-16")
        if self.model.is_client and not is_close:
            return
        requirement = ending if is_close else "TR-12"
        if closed.code is None and not self.known.permit(requirement, failures.NO_CLOSE_FRAME):
            text = "the connection ended without a close frame"
            self.fail(requirement, failures.NO_CLOSE_FRAME, text, last)
        if self.model.is_client and ending == "TR-12" and closed.code not in (None, 1000):
            text = f"expected close code 1000, the connection was {closed}"
            self.fail("TR-13", "another close code", text, last)

    # ------------------------------------------------------------ failures

    def _miss(self, due: Expectation | DriverLog | ConnectionState) -> None:
        """Say that something that was due did not come."""
        self._is_held_back = self._may_hold_back(due)
        if isinstance(due, ConnectionState):
            if due.ending == "TR-16":
                self._closed(due.number, ConnectionClosed(None))
                return
            last = self.last.get(due.number, 0)
            text = "the peer must end the connection, and has not"
            self.fail(due.ending, "is not ended", text, last)
        if isinstance(due, DriverLog):
            action = next(number for number, each in self.model.operations.items() if each is due)
            text = f"expected {due}, which is still pending"
            self.fail(due.requirement, failures.PENDING, text, self.model.answered_by(action))
        answer = due.answers[0]
        wanted = repr(answer) if isinstance(answer, Message) else short(answer)
        is_harmless = due.undecided is None and due.requirement in _HARMLESS_TO_MISS
        kind = failures.MISSING if is_harmless else "a message is missing"
        self.fail(due.requirement, kind, f"expected {wanted}, nothing arrived", due.number)

    def _may_hold_back(self, due: Expectation | DriverLog | ConnectionState) -> bool:
        """Whether a client may not have begun yet with what is due.

        No requirement has a client send an ask while an earlier one of its own is pending.
        """
        if isinstance(due, DriverLog):
            actions = [number for number, each in self.model.operations.items() if each is due]
            is_begun = due.op in _NO_ASKS or not self.model.asks.keys().isdisjoint(actions)
        else:
            is_begun = not (isinstance(due, Expectation) and due.is_ask)
        pending = (ask for ask in self.model.asks.values() if ask.state == "pending")
        return self.model.is_client and not is_begun and any(pending)

    def failure(self, requirement: str, kind: str, text: str, number: int = 0) -> failures.Failure:
        """Give the failure that an action shows, the last one by default.

        What misled the peer before explains it, where that was a violation (AR-19).
        """
        number = number or max([0, *self.last.values()])
        if number in self.model.blames:
            requirement = self.model.blames[number]
            kind = "a reply that is neither empty nor an error counts as success"
        signature = self.model.signatures.get(number, "")
        return failures.Failure(requirement, kind, text, number, signature)

    def fail(self, requirement: str, kind: str, text: str, number: int = 0) -> NoReturn:
        """End the sequence with a failure that an action shows."""
        raise FailureFound(self.failure(requirement, kind, text, number))

    def _stalls(self, number: int) -> NoReturn:
        text = f"no answer to the barrier within {self.timeouts.case / failures.STALL:g} s"
        self.fail("SEC-16", failures.STALLS, text, self.last.get(number, 0))
