"""Plays one program to a server, and holds what comes against the monitor and the model.

Behind each action, or burst of actions, a barrier is asked of every connection: what the server
sent before its answer is all that it sent. The first fault ends the program.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import Final

from neffos_codec import Message, Native
from neffos_conformance.model_based.actions import Action, Do, Program
from neffos_conformance.model_based.expected import End, Expected, Payload
from neffos_conformance.model_based.faults import (
    GONE,
    MISSING,
    NO_CLOSE_FRAME,
    Failure,
    FailureFound,
    Known,
    Played,
)
from neffos_conformance.model_based.frames import (
    frame,
    is_like,
    matching,
    named_in,
)
from neffos_conformance.model_based.playing import SequenceRunner
from neffos_conformance.model_based.servers.application import MIXED, NATIVE, TURNED_AWAY
from neffos_conformance.model_based.servers.model import Model
from neffos_conformance.model_based.servers.script import Script
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.wire.barrier import BARRIER, BARRIER_TOKENS, is_barrier_reply
from neffos_conformance.wire.connection import ConnectError, ConnectionClosed, WireConnection
from neffos_conformance.wire.payloads import short
from neffos_conformance.wire.relay import below
from neffos_conformance.wire.transcript import ConnectionOpened
from neffos_protocol import Monitor, Role
from neffos_protocol.names import CHANGE_OF

_OWN_TOKEN: Final = re.compile(r"\$!?(?:early)?(\d+)")

_NATIVE_MODES: Final = {MIXED: Native.FALLBACK, NATIVE: Native.ONLY}


async def play(url: str, program: Program, known: Known, patience: Timeouts) -> Played:
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
    except FailureFound as found:
        played.fault = found.fault
        await player.wind_up()
    finally:
        await player.leave()
    played.lines = player.script.lines
    played.reached = player.model.reached
    return played


class _Player(SequenceRunner[Model]):
    def __init__(self, url: str, known: Known, patience: Timeouts, played: Played) -> None:
        super().__init__(Role.CLIENT, Model(), known, patience, played)
        self.script = Script()
        self._url = url
        self._connections: dict[int, WireConnection] = {}
        self._spoken: dict[int, None] = {}
        self._broadcasts = False

    async def run(self, program: Program) -> None:
        """Play all actions.

        Raises:
            FailureFound: one of them showed a fault.
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
                async with asyncio.timeout(self._patience.after_barrier):
                    while number in self._barriers and connection.is_open:
                        await self._see(number)
            if connection.is_open:
                self._note(number, ConnectionClosed(1000), is_ours=True)
                await connection.send_close()

    async def leave(self) -> None:
        """Let go of all connections."""
        await asyncio.gather(*(each.close() for each in self._connections.values()))

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
                connection = await WireConnection.dial(below(self._url, action.path), headers)
        except (ConnectError, TimeoutError) as error:
            told = str(error) or "it does not accept connections"
            raise FailureFound(Failure("SEC-16", GONE, told, action.number)) from error
        self._note(number, ConnectionOpened(action.path, headers), is_ours=True)
        self._connections[number] = connection
        self._monitors[number] = Monitor(
            native=_NATIVE_MODES.get(action.path, Native.NEVER), at=Role.CLIENT
        )

    async def _say(self, number: int, payload: Payload) -> None:
        self._said(number, payload)
        self._spoken[number] = None
        try:
            async with asyncio.timeout(self._patience.case):
                await self._connections[number].send(payload)
        except TimeoutError:
            self._hangs(number)

    async def _end(self, number: int, code: int | None) -> None:
        self._note(number, ConnectionClosed(code), is_ours=True)
        self._spoken.pop(number, None)
        connection = self._connections[number]
        self.script.ended(number, code)
        if code is None:
            connection.abort()
            self.model.ended(number)
            return
        await connection.send_close(code)
        try:
            async with asyncio.timeout(self._patience.close):
                while not isinstance(seen := await self._receive(number), ConnectionClosed):
                    self._check_goodbye(number, seen)
                    self._heard(number, seen)
        except TimeoutError:
            seen = ConnectionClosed(None)
        self._closed(number, seen)

    def _check_goodbye(self, number: int, seen: Payload) -> None:
        message = frame(seen)
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
        try:
            async with asyncio.timeout(self._stalls_after()):
                while True:
                    seen = await self._receive(number)
                    if isinstance(seen, ConnectionClosed):
                        self._closed(number, seen)
                        return
                    if seen == barrier if is_native else is_barrier_reply(seen, BARRIER_TOKENS):
                        self._judge(number, seen)
                        return
                    self._heard(number, seen)
        except TimeoutError:
            self._hangs(number)

    async def _come(self, number: int) -> None:
        """Wait a while for what is due and has not come."""
        peer = self.model.peers[number]
        while due := self._due(number):
            if isinstance(due, Expected) and self._is_passed_over(due):
                peer.expected.remove(due)
                continue
            is_asked = peer.phase == "open" and not peer.ending
            patience = self._patience.after_barrier if is_asked else self._patience.case
            if isinstance(due, Expected) and due.is_deferred:
                patience += self._patience.before_barrier
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

    async def _see(self, number: int) -> Payload | ConnectionClosed:
        seen = await self._connections[number].receive()
        self._seen(number, seen)
        return seen

    async def _receive(self, number: int) -> Payload | ConnectionClosed:
        seen = await self._see(number)
        self._count(number)
        return seen

    def _heard(self, number: int, seen: Payload | ConnectionClosed) -> None:
        """Hold what came against the monitor and the model."""
        if isinstance(seen, ConnectionClosed):
            self._closed(number, seen)
            return
        message = frame(seen) if self.model.peers[number].path != NATIVE else None
        expected = matching(self.model.peers[number].expected, seen, message)
        if expected is None:
            self._check_unasked(number, seen, message)
        self._judge(number, seen)
        if expected is None:
            self._unexpected(number, seen, message)
            return
        self._check_form(expected, seen, message)
        if self._has_overtaken(expected):
            text = f"{short(seen)} came before what was sent earlier"
            self._fail(expected.requirement, "another order", text, expected.number)
        self.script.came(number, expected, message)
        self.model.came(expected, message or seen)
        if isinstance(seen, str) and self.model.peers[number].phase == "awaiting":
            self.model.opened(number)

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
            elif message is not None and is_like(answer, message, is_ask=expected.is_ask):
                requirement = expected.requirement or self.model.silences[expected.number]
                self._differs(requirement, expected, answer, message)
        cause = self._cause(number, message)
        if cause and cause in self.model.silences:
            text = f"nothing (more) was to come of it: {short(seen)}"
            self._fail(self.model.silences[cause], "unasked", text, cause)
        if message is None or (message.wait.startswith("$") and not cause):
            last = self._last.get(number, 0)
            requirement = self.model.silences.get(last, "FR-16")
            self._fail(requirement, "unasked", f"nothing was to come: {short(seen)}", last)
        # Else it is an event, or an ask, of the server's own accord.

    def _cause(self, number: int, message: Message | None) -> int:
        """Give the action that a message comes of, by the token or by what is in it."""
        if message is None:
            return 0
        if found := _OWN_TOKEN.match(message.wait):
            return int(found[1])
        return self._cause_of_ask(number, message) or named_in(message)

    # ------------------------------------------------------------ faults

    def _closed(self, number: int, closed: ConnectionClosed) -> None:
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
        if closed.code is None and not self._is_borne(requirement, NO_CLOSE_FRAME):
            text = "the connection ended without a close frame"
            self._fail(requirement, NO_CLOSE_FRAME, text, last)

    def _is_passed_over(self, expected: Expected) -> bool:
        return expected.place is None and self._is_borne(expected.requirement, MISSING)

    def _miss(self, expected: Expected) -> None:
        answer = expected.answers[0]
        told = repr(answer) if isinstance(answer, Message) else short(answer)
        # What says a change of state is no answer that one can do without.
        is_plain = expected.requirement in _PLAIN
        kind = MISSING if is_plain else "a reply to a change is missing"
        self._fail(expected.requirement, kind, f"{told} did not come", expected.number)

    def fault(self, requirement: str, kind: str, text: str, number: int) -> Failure:
        """Make a fault of what an action showed, or of what misled the server before it."""
        if number in self.model.blames:
            requirement = self.model.blames[number]
            kind = "a reply that is neither empty nor an error is taken for success"
        return super().fault(requirement, kind, text, number)


_PLAIN: Final = frozenset({"NS-17", "AR-7", "AR-10", "AR-11", "EV-2", "EV-6", "EV-9", "TR-10"})
"""The requirements whose answers change no state."""
