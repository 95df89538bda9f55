"""Plays one program to a client, and holds what comes against the monitor and the model.

The suite is its server, and its driver moves it. Behind each action, or burst of actions, a
barrier is asked on every connection: what the client said before its answer is all that it said;
and the driver is asked something that it does not know: what it told of before its answer is all
that the client saw. The first fault ends the program.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from neffos_codec import Message, Native
from neffos_conformance.model_based.actions import Action, Do, Program
from neffos_conformance.model_based.clients.model import UNAVAILABLE, Model
from neffos_conformance.model_based.clients.moving import Take
from neffos_conformance.model_based.clients.script import Script, pieces
from neffos_conformance.model_based.clients.told import (
    Doing,
    DriverLog,
    Observation,
    Outcome,
    Tell,
    Values,
)
from neffos_conformance.model_based.expected import End, Expected, Payload
from neffos_conformance.model_based.faults import (
    CRASHED,
    HANGS,
    MAX_HEARD,
    MISSING,
    NO_CLOSE_FRAME,
    NOT_OVER,
    SUBPROTOCOL,
    UNTOLD,
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
    tags,
)
from neffos_conformance.model_based.playing import SequenceRunner
from neffos_conformance.runner.client_steps import (
    OPERATION_TIMEOUT,
    ClientDriver,
    accepting_clients,
)
from neffos_conformance.runner.driver_protocol import (
    MADE_UP,
    DriverEndedError,
    DriverError,
    OperationError,
    UnsupportedError,
    body_of,
    has_fields,
)
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.result import Remark
from neffos_conformance.wire.barrier import BARRIER_TOKENS, BARRIERS, is_barrier_reply
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.payloads import short
from neffos_conformance.wire.transcript import ConnectionOpened
from neffos_conformance.wire.transport import Transport, UpgradeRequest
from neffos_protocol import Monitor, Role


async def play(
    take: Take,
    program: Program,
    known: Known,
    patience: Timeouts,
    operations: frozenset[str] | None,
) -> Played:
    """Play a program on fresh connections.

    Args:
        take: gives what moves the client.
        program: what is done.
        known: what is passed over.
        patience: how long is waited.
        operations: what the client can be told; ``None`` for all.
    """
    played = Played()
    try:
        async with take() as (moved, between), accepting_clients(between) as (url, incoming):
            player = _Player(moved, url, incoming, known, patience, played, operations)
            try:
                await player.run(program)
            except FailureFound as found:
                played.fault = found.fault
                await player.wind_up()
            except DriverEndedError as error:
                text = f"the client ended with its driver: {error}"
                played.fault = player.fault("SEC-16", CRASHED, text)
            finally:
                await player.leave()
                player.script.settled(player.model)
                played.lines = player.script.lines
                played.reached = player.model.reached
    except DriverError as error:
        if played.fault is None:
            played.trouble = str(error)
    return played


@dataclass(frozen=True, slots=True)
class _Ended:
    """An operation came to an end: with what it gave, or why it failed."""

    action: int
    result: Values | None
    error: str = ""


class _Player(SequenceRunner[Model]):
    def __init__(
        self,
        moved: ClientDriver,
        url: str,
        incoming: asyncio.Queue[UpgradeRequest],
        known: Known,
        patience: Timeouts,
        played: Played,
        operations: frozenset[str] | None,
    ) -> None:
        super().__init__(Role.SERVER, Model(operations), known, patience, played)
        self.script = Script()
        self._moved = moved
        self._url = url
        self._incoming = incoming
        self._native = (
            Native.FALLBACK if operations is None or "native" in operations else Native.NEVER
        )
        self._connections: dict[int, Transport] = {}
        self._names: dict[int, int] = {}
        self._is_unsettled = False
        # Whoever floods waits here, and is cut off by the connection.
        self._news: asyncio.Queue[tuple[int, Payload | ConnectionClosed | _Ended | DriverError]] = (
            asyncio.Queue(MAX_HEARD)
        )
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, program: Program) -> None:
        """Play all actions.

        Raises:
            FailureFound: one of them showed a fault.
            DriverError: the driver broke its contract, or ended.
        """
        for action in program:
            if self._is_muted(action):
                continue
            if self._is_unsettled and action.do in (Do.OPEN, Do.TELL, Do.ANSWER):
                # What the client is told may come to it before what it is sent; and an answer
                # may cross what the client says to what was sent before it.
                await self._sync()
            todo = self.model.take(action)
            if todo is None:
                continue
            self._played.steps += 1
            self._played.done.add(action.number)
            self._last[action.connection] = action.number
            if action.do is Do.OPEN and not await self._let_in(action):
                await self._sync()
                continue
            for each in todo:
                if isinstance(each.content, End):
                    await self._finish(each.connection)
                    await self._end(each.connection, each.content.code)
                elif isinstance(each.content, Tell):
                    self._tell(each.connection, action.number, each.content)
                    await self._come()
                else:
                    self.script.said(each)
                    await self._say(each)
            self._is_unsettled = True
            if not action.is_followed or action.do in (Do.OPEN, Do.TELL):
                await self._sync()
        await self._sync()

    async def wind_up(self) -> None:
        """See what else comes behind a fault, and end all, so that a transcript is whole."""
        with suppress(TimeoutError, DriverError, FailureFound):
            async with asyncio.timeout(self._patience.after_barrier):
                while self._barriers:
                    number, seen = await self._news.get()
                    if not isinstance(seen, _Ended | DriverError):
                        self._seen(number, seen)
        for number, connection in self._connections.items():
            if connection.is_open:
                self._note(number, ConnectionClosed(1000), is_ours=True)
                await connection.send_close()

    async def leave(self) -> None:
        """Let go of all connections, and of what the client was told."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(each.close() for each in self._connections.values()))

    def fault(self, requirement: str, kind: str, text: str, number: int = 0) -> Failure:
        """Make a fault of what an action showed; by default the last one."""
        return super().fault(requirement, kind, text, number or max([0, *self._last.values()]))

    # ------------------------------------------------------------ doing

    async def _let_in(self, action: Action) -> bool:
        """Have the client dial, and upgrade its connection; tell whether that was done."""
        number = action.connection
        tell = Tell("dial", {"url": self._url, "headers": {}})
        self._tell(number, action.number, tell)
        arrived = await self._arrival(action)
        if action.how == "unavailable":
            self.script.refused(number, UNAVAILABLE)
            self._note(number, Remark(f"HTTP {UNAVAILABLE}"), is_ours=True)
            await arrived.refuse(UNAVAILABLE)
            return False
        try:
            self._check_request(arrived, action)
            connection = arrived.accept()
            if connection is None:
                text = "the client's request was none for an upgrade"
                self._fail("TR-1", "no upgrade", text, action.number)
        except FailureFound:
            await arrived.close()
            raise
        self._note(number, ConnectionOpened("", {}), is_ours=False)
        self._connections[number] = connection
        self._monitors[number] = Monitor(native=self._native, at=Role.SERVER)
        self._start(self._pump(number, connection))
        peer = self.model.peers[number]
        while request := next((each for each in peer.expected if each.answers == ("M",)), None):
            try:
                async with asyncio.timeout(self._patience.case):
                    await self._next()
            except TimeoutError:
                self._miss(request)
        return True

    def _check_request(self, arrived: UpgradeRequest, action: Action) -> None:
        headers = arrived.request.headers
        version = headers.get("Sec-WebSocket-Version")
        if version != "13":
            text = f"the client speaks version {version} of WebSocket"
            self._fail("TR-1", "another version of WebSocket", text, action.number)
        is_offered = "Sec-WebSocket-Protocol" in headers
        if is_offered and not self._is_borne("TR-2", SUBPROTOCOL):
            self._fail("TR-2", SUBPROTOCOL, "the client offers a subprotocol", action.number)

    async def _arrival(self, action: Action) -> UpgradeRequest:
        """Give the client's request; whoever only looks is told that somebody is here."""
        told = self.model.told[action.number]
        try:
            async with asyncio.timeout(self._patience.case):
                while True:
                    coming = asyncio.ensure_future(self._incoming.get())
                    ending = asyncio.ensure_future(self._news.get())
                    try:
                        await asyncio.wait([coming, ending], return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        ending.cancel()
                        coming.cancel()
                    if ending.done() and not ending.cancelled():
                        try:
                            self._take(*ending.result())
                        except FailureFound:
                            if coming.done() and not coming.cancelled():
                                coming.result().abort()
                            raise
                    if coming.done() and not coming.cancelled():
                        if coming.result().request.method != "HEAD":
                            return coming.result()
                        await coming.result().refuse(200)
        except TimeoutError:
            pass
        text = f"the client does not dial ({told.op})"
        raise FailureFound(self.fault("TR-1", "does not dial", text, action.number))

    def _tell(self, number: int, action: int, tell: Tell) -> None:
        self.script.told(number, action, tell)
        words = " ".join(str(each) for each in tell.values.values() if each)
        told = "dial" if tell.op == "dial" else f"{tell.op} {words}".rstrip()
        self._note(number, Remark(f"told to {told[:200]}"), is_ours=True)
        values = dict(tell.values)
        if tell.op != "dial":
            values["connection"] = self._names.get(number, 0)
        self._start(self._operate(number, action, tell.op, values))

    async def _operate(self, number: int, action: int, op: str, values: Values) -> None:
        ended: _Ended | DriverError
        try:
            ended = _Ended(
                action, await self._moved.do(op, **{"timeout": OPERATION_TIMEOUT, **values})
            )
        except OperationError as error:
            ended = _Ended(action, None, str(error))
        except UnsupportedError:
            ended = _Ended(action, None, f"{op} is not supported")
        except DriverEndedError as error:
            ended = error
        except DriverError:
            try:
                await self._moved.do(MADE_UP)
            except (UnsupportedError, OperationError):
                return  # it only has not answered yet, as it need not
            except DriverError as error:
                ended = error
        await self._news.put((number, ended))

    async def _pump(self, number: int, connection: Transport) -> None:
        while True:
            seen = await connection.receive()
            await self._news.put((number, seen))
            if isinstance(seen, ConnectionClosed):
                return

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.add(asyncio.create_task(work))

    async def _say(self, each: Doing) -> None:
        number, payload = each.connection, each.content
        if not isinstance(payload, str | bytes):
            return
        self._said(number, payload)
        connection = self._connections[number]
        try:
            async with asyncio.timeout(self._patience.case):
                if each.is_cut_up:
                    await connection.send_parts(pieces(payload), is_text=isinstance(payload, str))
                else:
                    await connection.send(payload, is_held=each.is_held)
        except TimeoutError:
            self._hangs(number)

    async def _finish(self, number: int) -> None:
        """Wait for the end of what has to end before this side ends a connection."""
        for told in self.model.told.values():
            while told.connection == number and told.must and not told.is_over:
                if self.model.peers[number].ending != "HS-16":
                    return  # it ends with the connection
                try:
                    async with asyncio.timeout(self._patience.after_barrier):
                        await self._next()
                except TimeoutError:
                    self._miss(told)

    async def _end(self, number: int, code: int | None) -> None:
        self._note(number, ConnectionClosed(code), is_ours=True)
        connection = self._connections[number]
        self.script.ended(number, code)
        if code is None:
            connection.abort()
            self.model.ended(number)
            return
        await connection.send_close(code)

    # ------------------------------------------------------------ seeing

    async def _sync(self) -> None:
        """Ask a barrier on every connection, and see that all came that is due."""
        self._is_unsettled = False
        try:
            for number, peer in self.model.peers.items():
                if not peer.is_over and not peer.ending and peer.phase == "open":
                    await self._barrier(number)
            await self._come()
            await self._look()
            for number in self.model.peers:
                self.model.settled(number)
        finally:
            self.script.settled(self.model)

    async def _barrier(self, number: int) -> None:
        await self._say(Doing(number, BARRIERS["client"]))
        self._barriers.add(number)
        self.script.asked_barrier(number)
        try:
            async with asyncio.timeout(self._stalls_after()):
                while number in self._barriers:
                    await self._next()
        except TimeoutError:
            self._hangs(number)

    async def _come(self) -> None:
        """Wait a while for what is due and has not come."""
        while (due := self._due()) is not None:
            patience = self._patience.after_barrier
            if isinstance(due, int):  # the end of a connection
                patience = self._patience.close
            elif not isinstance(due, Expected) or due.is_deferred:
                patience += self._patience.before_barrier
            try:
                async with asyncio.timeout(patience):
                    await self._next()
            except TimeoutError:
                self._miss(due)

    def _due(self) -> Expected | DriverLog | int | None:
        """Give what has to come now: a message, the end of an operation or of a connection."""
        for number, peer in self.model.peers.items():
            if peer.is_over:
                continue
            is_held_up = self.model.held_up(number)
            for expected in list(peer.expected):
                if not expected.must or (expected.is_deferred and is_held_up):
                    continue
                if self._is_borne(expected.requirement, MISSING) and expected.place is None:
                    peer.expected.remove(expected)
                    continue
                return expected
            if peer.ending and number in self._connections:
                return number
        for told in self.model.told.values():
            if told.must and not told.is_over:
                # Without its name for the connection, a client can be told nothing more on it.
                if told.op == "dial" or not self._is_borne(told.requirement, NOT_OVER):
                    return told
                told.is_over = True
        return None

    async def _next(self) -> None:
        """Take what happens next."""
        self._take(*await self._news.get())

    def _take(self, number: int, seen: Payload | ConnectionClosed | _Ended | DriverError) -> None:
        if isinstance(seen, DriverError):
            raise seen
        if isinstance(seen, _Ended):
            self._over(number, seen)
            return
        self._count(number)
        self._seen(number, seen)
        if isinstance(seen, ConnectionClosed):
            self._closed(number, seen)
        elif is_barrier_reply(seen, BARRIER_TOKENS):
            self._judge(number, seen)
        else:
            self._heard(number, seen)

    # ------------------------------------------------------------ messages

    def _heard(self, number: int, seen: Payload) -> None:
        """Hold a message against the monitor and the model."""
        message = frame(seen)
        peer = self.model.peers[number]
        expected = matching(peer.expected, seen, message)
        self._judge(number, seen, expected)
        if expected is None:
            self._unexpected(number, seen, message)
            return
        self._check_form(expected, seen, message)
        if self._has_overtaken(expected):
            text = f"{short(seen)} came before what was asked earlier"
            self._fail("EV-1", "another order", text, expected.number)
        self.script.came(expected, message)
        for answer in self.model.came(expected, message or seen):
            doing = Doing(number, answer)
            self.script.said(doing)
            self._start(self._say(doing))

    def _unexpected(self, number: int, seen: Payload, message: Message | None) -> None:
        peer = self.model.peers[number]
        for expected in peer.expected:
            answer = expected.answers[0]
            if not isinstance(answer, Message):
                if answer == "M":
                    text = f"expected {short(answer)}, {short(seen)} came"
                    self._fail(expected.requirement, "another message", text, expected.number)
                continue
            if message is None or not is_like(answer, message, is_ask=expected.is_ask):
                continue
            if expected.is_ask and not expected.must and tags(answer) != tags(message):
                continue
            if expected.requirement:
                self._differs(expected.requirement, expected, answer, message)
        cause = self._cause(number, message) or self._last.get(number, 0)
        text = f"nothing (more) was to come of it: {short(seen)}"
        self._fail(self.model.silences.get(cause) or "AR-22", "unasked", text, cause)

    def _cause(self, number: int, message: Message | None) -> int:
        """Give the action that a message comes of, by the token or by what is in it."""
        if message is None:
            return 0
        cause = self._cause_of_ask(number, message) or self.model.tokens.get(message.wait)
        return cause or named_in(message)

    # ------------------------------------------------------------ operations

    def _over(self, number: int, ended: _Ended) -> None:
        """Hold the end of an operation against the model."""
        told = self.model.told[ended.action]
        given: Payload | None = None
        if ended.result is None:
            self._note(number, Remark(f"failed: {ended.error}"), is_ours=False)
        else:
            given = _given(ended.result)
            words = f": {given!r}" if given else ""
            self._note(number, Remark(f"did it{words}"), is_ours=False)
            if told.op == "dial":
                self._names[number] = ended.result["connection"]
        told.is_over = True
        for outcome in told.outcomes:
            if _is(outcome, ended, given):
                self.script.came_to(number, ended.action, outcome)
                return
        came = f"failed with {ended.error!r}" if ended.result is None else "was done"
        if ended.result is not None and given is not None:
            came += f", giving {given!r}"
        if not told.outcomes:
            text = f"{told.op} was to go on, it {came}"
            self._fail(told.requirement, f"{told.op} ends before its time", text, ended.action)
        wanted = " or ".join(str(each) for each in told.outcomes)
        kind = "was to fail"
        if told.outcomes[0].is_done:
            kind = "was to be done" if ended.result is None else "gives something else"
        elif ended.result is None:
            kind = "fails with another text"
        self.script.came_to(number, ended.action, told.outcomes[0])
        text = f"{told.op} was to be {wanted}, it {came}"
        self._fail(told.requirement, f"{told.op} {kind}", text, self._answered_by(ended.action))

    def _answered_by(self, action: int) -> int:
        ask = self.model.asked.get(action)
        return (ask.answered_by if ask else 0) or action

    # ------------------------------------------------------------ sights

    async def _look(self) -> None:
        """See that the client told its application what there was to tell, and nothing else."""
        await self._catch_up()
        while True:
            seen, self._moved.seen[:] = list(self._moved.seen), []
            for line in seen:
                self._told_of(line)
            due = self._due_sight()
            if due is None:
                return
            values = {"connection": self._names[due.connection], **due.values}
            try:
                async with asyncio.timeout(self._patience.after_barrier):
                    await self._moved.saw(self._patience.after_barrier, **values)
            except DriverEndedError:
                raise
            except (DriverError, TimeoutError):
                kind = f"{UNTOLD} {due.values['saw']}"
                text = f"the application was to be told: {_shown(due.values)}"
                number = self._number_of(due)
                raise FailureFound(self.fault(due.requirement, kind, text, number)) from None
            self._saw(due)

    async def _catch_up(self) -> None:
        """Have the driver answer something: it takes lines, and tells what it saw, in order."""
        try:
            async with asyncio.timeout(self._patience.case):
                await self._moved.do(MADE_UP)
        except (UnsupportedError, OperationError):
            return
        except TimeoutError:
            text = f"the driver does not answer within {self._patience.case:g} s"
            raise FailureFound(self.fault("SEC-16", HANGS, text)) from None

    def _due_sight(self) -> Observation | None:
        for number, peer in self.model.peers.items():
            is_held_up = self.model.held_up(number)
            for sight in list(peer.sights):
                if not sight.must or (sight.is_deferred and is_held_up):
                    continue
                if number not in self._names:
                    continue
                if self._is_borne(sight.requirement, f"{UNTOLD} {sight.values['saw']}"):
                    peer.sights.remove(sight)
                    continue
                return sight
        return None

    def _told_of(self, line: Values) -> None:
        number = next((n for n, name in self._names.items() if name == line["connection"]), 0)
        if not number:
            return  # of a connection that was never open, or of an earlier program
        peer = self.model.peers[number]
        # What has to come is what came, before what may.
        for sight in sorted(peer.sights, key=lambda each: not each.must):
            if not has_fields(line, sight.values):
                continue
            if sight.is_event and not sight.is_deferred:
                for other in peer.sights:
                    if other is sight:
                        break
                    if other.is_event and other.must and not other.is_deferred:
                        text = f"told of {_shown(sight.values)} before {_shown(other.values)}"
                        self._fail("EV-1", "told in another order", text, sight.number)
            self._saw(sight)
            return
        self._unseen(number, line)

    def _saw(self, sight: Observation) -> None:
        self._note(sight.connection, Remark(f"saw {_shown(sight.values)}"), is_ours=False)
        self.script.saw(sight)
        self.model.was_seen(sight)

    def _unseen(self, number: int, line: Values) -> None:
        """Say what is wrong with a line that tells of what was not to be."""
        values = {name: value for name, value in line.items() if name != "connection"}
        told = f"the application was told: {_shown(values)}"
        self._note(number, Remark(f"saw {_shown(values)}"), is_ours=False)
        kind = values["saw"]
        last = self._last.get(number, 0)
        peer = self.model.peers[number]
        for sight in peer.sights:
            alike = sight.must and sight.values["saw"] == kind
            if alike and _is_meant(sight.values, values):
                text = f"{told}; it was to be told: {_shown(sight.values)}"
                requirement = sight.requirement
                if kind in ("event", "native") and body_of(sight.values) != body_of(values):
                    requirement = "FR-10"
                self._fail(requirement, f"{kind} is told otherwise", text, sight.number)
        cause = last
        if kind in ("event", "native"):
            named = Message(event=values.get("event", ""), body=body_of(values))
            cause = named_in(named) or last
        elif "namespace" in values and self.model.silences.get(last, "") in _OF_REPLIES:
            place = values["namespace"], values.get("room")
            cause = self.model.changed_by.get((number, place), last)
        requirement = self.model.silences.get(cause, "")
        if requirement in _OF_REPLIES:
            requirement = _OF_SIGHTS.get(kind, "EV-2")
        sight = Observation(cause, number, values, requirement)
        self.script.saw(sight, is_wanted=False)
        self._fail(requirement, f"{kind} told of that was not", told, cause)

    def _number_of(self, sight: Observation) -> int:
        """Give the action that a sight comes of."""
        return sight.number or self._last.get(sight.connection, 0)

    # ------------------------------------------------------------ faults

    def _closed(self, number: int, closed: ConnectionClosed) -> None:
        peer = self.model.peers[number]
        if peer.is_over:
            return
        ending = peer.ending
        missing = next((each for each in peer.expected if each.must), None)
        self.model.ended(number)
        self.script.closed(number)
        last = self._last.get(number, 0)
        if not ending or closed.cut:
            requirement = missing.requirement if missing else "FR-16"
            requirement = self.model.silences.get(last) or requirement
            self._fail(requirement, "the connection ended", f"the connection was {closed}", last)
        if missing is not None:
            self._miss(missing)
        if ending not in ("TR-12", "TR-16"):
            return
        if closed.code is None and not self._is_borne(ending, NO_CLOSE_FRAME):
            text = "the connection ended without a close frame"
            self._fail(ending, NO_CLOSE_FRAME, text, last)
        if ending == "TR-12" and closed.code not in (None, 1000):
            text = f"the connection was {closed}, by who was told to close it"
            self._fail("TR-13", "another close code", text, last)

    def _miss(self, due: Expected | DriverLog | int) -> None:
        if isinstance(due, int):
            text = "the connection was to be ended, and was not"
            self._fail(self.model.peers[due].ending, "is not ended", text, self._last.get(due, 0))
        elif isinstance(due, DriverLog):
            action = next(number for number, each in self.model.told.items() if each is due)
            wanted = " or ".join(str(each) for each in due.outcomes)
            text = f"{due.op} was to be {wanted}, and is not over"
            self._fail(due.requirement, NOT_OVER, text, self._answered_by(action))
        elif isinstance(due, Expected):
            answer = due.answers[0]
            told = repr(answer) if isinstance(answer, Message) else short(answer)
            is_plain = due.place is None and due.requirement in _PLAIN
            kind = MISSING if is_plain else "a message is missing"
            self._fail(due.requirement, kind, f"{told} did not come", due.number)


_PLAIN: Final = frozenset({"NS-17", "AR-7", "AR-10"})
"""The requirements whose answers change no state."""

_OF_REPLIES: Final = frozenset({"", "AR-9", "AR-22", "HS-11", "NM-5", "TR-15"})
"""The requirements on an action's silence that say nothing of what the application is told."""

_OF_SIGHTS: Final = {
    "connected": "NS-1",
    "disconnected": "NS-6",
    "joined": "RM-1",
    "left": "RM-2",
    "native": "NM-2",
    "closed": "TR-14",
    "reconnected": "TR-11",
}


def _is(outcome: Outcome, ended: _Ended, given: Payload | None) -> bool:
    if outcome.is_done:
        return ended.result is not None and outcome.given in (None, given)
    return ended.result is None and outcome.text in ended.error


def _given(result: Values) -> Payload | None:
    if "connection_id" in result:
        return str(result["connection_id"])
    return body_of(result) if "text" in result or "base64" in result else None


def _is_meant(wanted: Values, told: Values) -> bool:
    """Whether a line is meant to tell of something, and tells it otherwise."""
    names = ("namespace", "event", "text", "base64", "room")
    same = sum(1 for name in names if wanted.get(name) == told.get(name))
    return same >= len(names) - 1


def _shown(values: Values) -> str:
    return " ".join(short(str(each), shown=60).strip("'") for each in values.values() if each)
