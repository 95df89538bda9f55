"""What a case has on its hands while it is played, whichever side the suite plays.

The connections by their numbers, what the places hold, and everything that went by. Where an
expected message is long in coming, the peer is asked something that it has to answer in order;
once it has, there is little left to wait for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from neffos_conformance.cases.definition import Role
from neffos_conformance.cases.matching import Bindings, difference, expand, fill, unfill
from neffos_conformance.cases.script import MAY_END, Step
from neffos_conformance.cases.verdict import verdict_on
from neffos_conformance.runner.result import Closing, LogEntry, Remark
from neffos_conformance.wire.barrier import (
    BARRIER_TOKENS,
    BARRIERS,
    DOUBT_TOKENS,
    DOUBTS,
    answers,
)
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.display import short
from neffos_conformance.wire.transcript import ConnectionOpened
from neffos_conformance.wire.transport import Transport

ORDERLY: Final = 1000
"""The close code in the ordinary course (TR-13)."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a case waits, in seconds.

    Attributes:
        case: for all of it. A peer on this machine answers in milliseconds; one behind a slow
            link has time for the few round trips of a case.
        doubt: for a message, before the peer is asked whether it still answers.
        grace: for that message to come once it did: what a handler does beside the reading of
            the connection may be later than the reader, but not by much.
        goodbye: for the answer to a close frame.
        taking: for a message to be taken by a peer that nothing is read from; then it is counted
            among those that read nothing themselves meanwhile.
    """

    case: float = 5.0
    doubt: float = 0.3
    grace: float = 0.7
    goodbye: float = 1.0
    taking: float = 0.5


class MismatchError(Exception):
    """The system under test did not do what a line says.

    Attributes:
        seen: what it did; empty where it did nothing.
    """

    def __init__(self, explanation: str, seen: str = "") -> None:
        super().__init__(explanation)
        self.seen = seen


async def _at_once() -> None:
    pass


class _Answered:
    """The answer to a doubt came."""


@dataclass(slots=True)
class ScriptRunner:
    """A case at work.

    Attributes:
        role: of the system under test.
        patience: how long it is waited for.
        exchange: what went by.
        bindings: what the places hold.
        connections: by their numbers.
        headers: the HTTP headers of the other side, by the numbers of connections.
        is_shaken: the connections on which the handshake is complete, so that asks are answered.
        closing: what was wrong with how connections ended.
        stalled: the connections that the suite does not read.
        clogged: the connections whose other side takes nothing more, which it may while it
            cannot say anything either.
        line: the line that is being played.
        held: what was received and not yet looked at, by the numbers of connections.
        mark: what stands in the place ``case``: no other case has it, in no run. Broadcasts
            without it are those of others, and are passed over.
        catch_up: waits until the peer has begun with all that it was told beside the messages.
        is_alone: nobody else is on the server, so that no broadcast is another's.
        began: when, on the clock of ``time.perf_counter``.
    """

    role: Role
    patience: Timeouts
    exchange: list[LogEntry]
    bindings: Bindings = field(default_factory=dict)
    connections: dict[int, Transport] = field(default_factory=dict)
    headers: dict[int, list[tuple[str, str]]] = field(default_factory=dict)
    is_shaken: set[int] = field(default_factory=set)
    closing: Closing = field(default_factory=Closing)
    stalled: set[int] = field(default_factory=set)
    clogged: set[int] = field(default_factory=set)
    line: Step | None = None
    held: dict[int, list[str | bytes | ConnectionClosed]] = field(default_factory=dict)
    mark: str = ""
    is_alone: bool = False
    catch_up: Callable[[], Awaitable[None]] = field(default=_at_once)
    began: float = field(default_factory=time.perf_counter)

    # ---- noting

    def note(
        self, number: int, content: str | bytes | ConnectionClosed | ConnectionOpened | Remark
    ) -> None:
        """Note what the suite's side has just sent or done."""
        self._note(number, content, is_ours=True)

    def _note(
        self,
        number: int,
        content: str | bytes | ConnectionClosed | ConnectionOpened | Remark,
        *,
        is_ours: bool,
    ) -> None:
        line = self.line.number if self.line else 0
        now = time.perf_counter() - self.began
        from_client = is_ours == (self.role == "server")
        self.exchange.append(LogEntry(now, number, from_client, content, line))

    def note_received(self, number: int, content: str | bytes) -> None:
        """Note what the other side said, where nobody waited for it here."""
        self._note(number, content, is_ours=False)

    def note_opened(self, number: int, content: ConnectionOpened) -> None:
        """Note that a client under test has opened a connection."""
        self._note(number, content, is_ours=False)

    def remark(self, number: int, text: str, *, is_ours: bool) -> None:
        """Note what happened beside the messages."""
        self._note(number, Remark(text), is_ours=is_ours)

    def stable(self, text: str) -> str:
        """Put the names of places where their content stands, so that two runs say the same."""
        return unfill(text, self.bindings)

    # ---- the verbs of both roles

    def is_ours(self, line: Step) -> bool:
        """Say whether the suite's side says what the line says."""
        return line.is_from_client == (self.role == "server")

    async def say(self, line: Step, time: int) -> None:
        """Send what the suite's side says."""
        connection = self.connections[line.connection]
        if line.connection in self.clogged or not connection.is_open:
            return
        payload = line.payloads(time)
        if isinstance(payload, list):
            parts = [_octets(fill(part, self.bindings)) for part in payload]
            whole = b"".join(parts)
            is_text = not line.verb.endswith("b")
            self.note(line.connection, whole.decode() if is_text else whole)
            await self._taken(line.connection, connection.send_parts(parts, is_text=is_text))
        else:
            filled = fill(payload, self.bindings)
            self.note(line.connection, filled)
            await self._taken(line.connection, connection.send(filled, is_held="+" in line.verb))

    async def _taken(self, number: int, sending: Awaitable[None]) -> None:
        """Send, and wait until it is taken; not for long, where the suite takes nothing itself."""
        if not self.stalled:
            await sending
            return
        try:
            async with asyncio.timeout(self.patience.taking):
                await sending
        except TimeoutError:
            self.clogged.add(number)
            self.remark(number, "nothing more is taken", is_ours=False)

    async def hear(self, line: Step, time: int, *, may_end: bool = False) -> None:
        """Receive what the other side is to say, or, where that will do, its end.

        Raises:
            MismatchError: it says nothing, or something else.
        """
        number = line.connection
        seen = await (self._message(number) if "~" in line.verb else self.next(number))
        if isinstance(seen, ConnectionClosed):
            if may_end:
                return
            raise MismatchError(f"the connection was {seen}", str(seen))
        found = self._difference(line, time, seen)
        if found:
            raise MismatchError(self.stable(found), self.stable(short(seen)))

    async def hear_any(self, lines: list[Step]) -> None:
        """Receive what several lines say, in any order.

        Raises:
            MismatchError: one of them does not come, or something else does.
        """
        left = list(lines)
        while left:
            seen = await self.next(left[0].connection)
            if isinstance(seen, ConnectionClosed):
                raise MismatchError(f"the connection was {seen}", str(seen))
            same = next((each for each in left if not self._difference(each, 1, seen)), None)
            if same is None:
                raise MismatchError(
                    f"none of what is still to come is {self.stable(short(seen))}",
                    self.stable(short(seen)),
                )
            left.remove(same)

    async def quiet(self, line: Step, _: int) -> None:
        """See that nothing comes before the answer to an ask that is sent now.

        Raises:
            MismatchError: something does.
        """
        seen = await self._barrier(line.connection)
        if isinstance(seen, ConnectionClosed):
            raise MismatchError(f"nothing was to come, but the connection was {seen}", str(seen))
        if not answers(seen, BARRIER_TOKENS):
            told = self.stable(short(seen))
            raise MismatchError(f"nothing was to come, but {told} came", told)

    async def hear_maybe(self, lines: list[Step]) -> None:
        """Receive what several lines say, in their order, as far as it comes, and nothing else.

        Raises:
            MismatchError: something else comes before the answer to an ask that is sent now.
        """
        number = lines[0].connection
        left = iter(lines)
        seen = await self._barrier(number)
        while not isinstance(seen, ConnectionClosed):
            if answers(seen, BARRIER_TOKENS):
                return
            if all(each.verb == MAY_END or self._difference(each, 1, seen) for each in left):
                told = self.stable(short(seen))
                raise MismatchError(f"none of what may still come is {told}", told)
            seen = await self._message(number)
        if lines[-1].verb != MAY_END:
            raise MismatchError(f"the connection was {seen}", str(seen))

    async def _barrier(self, number: int) -> str | bytes | ConnectionClosed:
        """Ask for the answer that ends a silence, and receive the first thing that comes."""
        barrier = BARRIERS[self.role]
        self.note(number, barrier)
        await self.connections[number].send(barrier)
        return await self._message(number)

    async def fewer(self, line: Step, _: int) -> None:
        """Count what is like this before the answer to an ask that is sent now, or the end.

        Raises:
            MismatchError: there is as much of it as there was to be less than.
        """
        limit, _space, text = line.rest.partition(" ")
        wanted, count = expand(text), 0
        seen = await self._barrier(line.connection)
        while not (isinstance(seen, ConnectionClosed) or answers(seen, BARRIER_TOKENS)):
            if difference(wanted, seen, dict(self.bindings)) is None:
                count += 1
                if count >= int(limit):
                    told = self.stable(short(seen))
                    few = f"there were to be fewer than {limit} of these"
                    raise MismatchError("this was not to come" if limit == "1" else few, told)
            seen = await self._message(line.connection)

    async def raw(self, line: Step, time: int) -> None:
        """Send octets as they are."""
        connection = self.connections[line.connection]
        if line.connection in self.clogged or not connection.is_open:
            return
        self.remark(line.connection, f"octets {line.rest}", is_ours=True)
        sending = connection.send_raw(line.octets(time))
        await self._taken(line.connection, sending)

    async def end(self, line: Step, _: int) -> None:
        """End the connection with a code."""
        code = int(line.rest or ORDERLY)
        self.note(line.connection, ConnectionClosed(code))
        await self.connections[line.connection].say_goodbye(code)

    async def cut(self, line: Step, _: int) -> None:
        """End TCP."""
        self.note(line.connection, ConnectionClosed(None))
        self.is_shaken.discard(line.connection)  # nobody is there to be asked any more
        self.connections[line.connection].abort()

    async def stall(self, line: Step, _: int) -> None:
        """Stop reading."""
        self.remark(line.connection, "reads nothing more", is_ours=True)
        self.stalled.add(line.connection)
        self.connections[line.connection].stall()

    async def resume(self, line: Step, _: int) -> None:
        """Read again."""
        self.remark(line.connection, "reads again", is_ours=True)
        self.stalled.discard(line.connection)
        self.clogged.clear()
        self.connections[line.connection].resume()

    async def closed(self, line: Step, _: int) -> None:
        """See the other side end the connection; with which code is judged on its own.

        Raises:
            MismatchError: it does not end it, or the code matters and is another.
        """
        number = line.connection
        seen = await self.next(number)
        if not isinstance(seen, ConnectionClosed):
            told = self.stable(short(seen))
            raise MismatchError(f"the connection was to end, but {told} came", told)
        wanted = line.rest.removesuffix("!")
        if wanted in ("", "any") or wanted == ("none" if seen.code is None else str(seen.code)):
            return
        if wanted == "some":
            if seen.code is None:
                raise MismatchError("it was to be closed with a close frame", str(seen))
            return
        text = f"it was to be closed with {wanted}, but it was {seen}"
        if line.rest.endswith("!"):
            raise MismatchError(text, str(seen))
        self.misses("TR-12" if seen.code is None else "TR-13", text)

    async def has(self, line: Step, _: int) -> None:
        """See that the other side's headers hold something.

        Raises:
            MismatchError: they do not.
        """
        name, _colon, value = line.rest.partition(":")
        wanted = value.strip().lower()
        there = [each for key, each in self.headers[line.connection] if key == name.lower()]
        tokens = {token.strip().lower() for each in there for token in each.split(",")}
        if not there or (wanted and wanted not in tokens | {each.lower() for each in there}):
            told = f"{name}: {', '.join(there)}" if there else f"no {name}"
            raise MismatchError(f"the header {line.rest} was to be there, there was {told}", told)

    async def lacks(self, line: Step, _: int) -> None:
        """See that the other side's headers lack one.

        Raises:
            MismatchError: it is there.
        """
        for key, value in self.headers[line.connection]:
            if key == line.rest.lower():
                told = f"{line.rest}: {value}"
                raise MismatchError(f"there was to be no such header, there was {told}", told)

    # ---- the end

    def misses(self, requirement: str, text: str) -> None:
        """Note what is wrong with an end; the first of it stays."""
        if not self.closing.explanation:
            self.closing = Closing(verdict_on([requirement]), self.stable(text), requirement)

    async def goodbye(self) -> None:
        """End in good order what is still open, and see that the other side answers (TR-16)."""
        for number, connection in self.connections.items():
            if connection.is_open:
                self.note(number, ConnectionClosed(ORDERLY))
                with suppress(TimeoutError):
                    async with asyncio.timeout(self.patience.goodbye):
                        await connection.say_goodbye(ORDERLY)
        for number, connection in self.connections.items():
            if self._is_over(number):
                continue
            connection.resume()
            try:
                async with asyncio.timeout(self.patience.goodbye):
                    while not isinstance(seen := await self._receive(number), ConnectionClosed):
                        pass
            except TimeoutError:
                text = "the close frame was not answered"
                if connection.has_heard_goodbye:
                    text = "TCP was not ended behind the close frames"
                self.misses("TR-16", text)
                continue
            if seen.code is None:
                self.misses("TR-16", "the close frame was answered by no close frame")

    async def leave(self) -> None:
        """Let go of all sockets."""
        await asyncio.gather(*(each.close() for each in self.connections.values()))

    def _is_over(self, number: int) -> bool:
        return any(
            isinstance(each.content, ConnectionClosed)
            and each.connection == number
            and (each.content.code is None or each.from_client == (self.role == "client"))
            for each in self.exchange
        )

    # ---- receiving

    async def next(self, number: int) -> str | bytes | ConnectionClosed:
        """Receive the next thing; ask whether there is any, where it is long in coming.

        Raises:
            MismatchError: what was asked meanwhile was answered, and nothing else came.
        """
        if number not in self.is_shaken:
            return await self._message(number)
        try:
            async with asyncio.timeout(self.patience.doubt):
                return await self._message(number)
        except TimeoutError:
            pass
        await self._doubt(number)
        seen = await self._receive(number)
        if not isinstance(seen, _Answered):
            return seen
        try:
            async with asyncio.timeout(self.patience.grace):
                return await self._message(number)
        except TimeoutError:
            raise MismatchError("nothing came, though a later ask was answered") from None

    async def settle(self, number: int) -> bool:
        """Ask the peer something and wait for the answer; what comes before stays to be heard.

        Returns:
            whether the answer came, and not the end of the connection.
        """
        await self._doubt(number)
        kept: list[str | bytes | ConnectionClosed] = []
        while not isinstance(seen := await self._receive(number), _Answered):
            kept.append(seen)
            if isinstance(seen, ConnectionClosed):
                self.is_shaken.discard(number)
                break
        self.held[number] = kept
        return number in self.is_shaken

    async def _doubt(self, number: int) -> None:
        await self.catch_up()
        doubt = DOUBTS[self.role]
        self.note(number, doubt)
        await self.connections[number].send(doubt)

    async def _message(self, number: int) -> str | bytes | ConnectionClosed:
        while isinstance(seen := await self._receive(number), _Answered):
            pass
        return seen

    def _is_foreign(self, seen: str | bytes | ConnectionClosed) -> bool:
        """Say whether this is a broadcast that another case, or the peer itself, has made."""
        if self.is_alone or self.role != "server" or isinstance(seen, ConnectionClosed):
            return False
        octets = _octets(seen, "surrogateescape")
        is_news = octets.startswith(_BROADCAST) and _NEWS in octets
        return is_news and self.mark.encode() not in octets

    async def _receive(self, number: int) -> str | bytes | ConnectionClosed | _Answered:
        if self.held.get(number):
            return self.held[number].pop(0)
        while True:
            seen = await self.connections[number].receive()
            if not (isinstance(seen, ConnectionClosed) and self._is_over(number)):
                self._note(number, seen, is_ours=False)
            if not self._is_foreign(seen):
                break
        if answers(seen, DOUBT_TOKENS):
            return _Answered()
        return seen

    def _difference(self, line: Step, time: int, seen: str | bytes) -> str | None:
        payload = line.payloads(time)
        if isinstance(payload, list):
            whole = b"".join(payload)
            payload = whole if line.verb.endswith("b") else whole.decode()
        return difference(payload, seen, self.bindings, exact="=" in line.verb)


_BROADCAST: Final = b";app;"
_NEWS: Final = b";news;0;0;"
"""What every broadcast of the conformance application holds."""


def _octets(payload: str | bytes, errors: str = "strict") -> bytes:
    return payload.encode("utf-8", errors) if isinstance(payload, str) else payload
