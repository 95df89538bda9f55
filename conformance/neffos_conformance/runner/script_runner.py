"""Plays a script: sends what the suite's side says, and compares what it receives.

The verbs here are those that cases for servers and for clients share; ``server_steps``,
``client_steps`` and the interop conversation add their own.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from neffos_conformance.cases.definition import base_of
from neffos_conformance.cases.matching import Bindings, difference, expand, fill, unfill
from neffos_conformance.cases.profile import STANDARD, Profile
from neffos_conformance.cases.script import MAY_CLOSE, MESSAGE_VERBS, Step, expanded
from neffos_conformance.runner.playback import NORMAL_CLOSURE, PONG, MismatchError, Playback
from neffos_conformance.runner.result import Finding, Remark
from neffos_conformance.runner.witness import Witness
from neffos_conformance.wire.barrier import is_barrier_reply
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.payloads import payload_bytes, short
from neffos_conformance.wire.transport import Received

Verb = Callable[[Step, int], Awaitable[None]]
"""Plays a step; the number says which repetition it is, from 1."""

YIELD_EVERY: Final = 32
"""Repetitions of a step after which other tasks run: they may read that the peer has closed."""

_NEWS_AFTER: Final = 2
"""Separators before the event: those after the token and the namespace."""

HEADER: Final = "header "
"""Begins the remark on a header."""

_CASELESS: Final = frozenset({"connection", "upgrade"})
"""The headers whose values are compared without regard to letter case (RFC 6455, 4.2)."""

MARK_SIZE: Final = 4
"""Random bytes in a case's mark: concurrent cases have different ids anyway."""

_MARK: Final = re.compile(rb"[A-Za-z0-9.]-[0-9a-f]{%d}" % (2 * MARK_SIZE))
"""The end of a mark, whichever case has it: the last letter of its ID, and random bytes."""


def mark_of(case_id: str) -> str:
    """Make a mark for a case; a variation has one like that of its case."""
    return f"{base_of(case_id)}-{secrets.token_hex(MARK_SIZE)}"


@dataclass(slots=True)
class ScriptRunner:
    """Plays one script.

    Attributes:
        playback: the connections and the log.
        bindings: the values of the placeholders.
        headers: the HTTP headers of the system under test, by connection.
        findings: what was found beside what the script looks at.
        step: the step that is being played.
        mark: the value of the placeholder ``case``, unique to a case and a run. A broadcast
            with the mark of another case is skipped.
        is_alone: no other case uses the server, so that every broadcast is the case's own.
        witness: receives what other clients broadcast; without it, any broadcast may be theirs.
        profile: the names that the server has.
        verbs: plays each verb.
        look_further: logs what the system under test did beside its messages.
        holds_back: whether a client may withhold the message of a step: an ask of its own, while an
            earlier one is pending.
        payloads_of: gives the message of a step and a repetition, as ``Step.payloads`` does.
    """

    playback: Playback
    bindings: Bindings = field(default_factory=dict)
    headers: dict[int, list[tuple[str, str]]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    step: Step | None = None
    mark: str = ""
    is_alone: bool = False
    witness: Witness | None = None
    profile: Profile = STANDARD
    verbs: dict[str, Verb] = field(default_factory=dict)
    look_further: Callable[[], None] = lambda: None
    holds_back: Callable[[Step], bool] = lambda _: False
    payloads_of: Callable[[Step, int], str | bytes | list[bytes]] = Step.payloads

    def __post_init__(self) -> None:
        self.playback.is_foreign = self._is_foreign
        self.verbs |= {
            **dict.fromkeys(MESSAGE_VERBS, self._message),
            "raw": self._raw,
            "ping": self._ping,
            "expect-nothing": self._expect_nothing,
            "fewer": self._fewer,
            "close": self._end,
            "cut": self._end,
            "stall": self._pause,
            "resume": self._pause,
            "closed": self._closed,
            "has": self._has,
            "lacks": self._lacks,
        }

    async def play(self, steps: Iterable[Step]) -> None:
        """Play some steps, in order.

        Raises:
            MismatchError: the system under test does not do what a step says.
        """
        left = list(steps)

        def following(is_in_group: Callable[[Step], bool]) -> list[Step]:
            group: list[Step] = []
            while left and left[0].connection == step.connection and is_in_group(left[0]):
                group.append(left.pop(0))
            return group

        while left:
            step = self.step = left.pop(0)
            self.playback.step = step.number
            is_expected = not self._is_sent(step)
            if step.is_unordered and is_expected:
                group = [step, *following(lambda each: each.is_unordered)]
                await self._expect_any(group)
            elif step.verb == MAY_CLOSE or (step.is_optional and is_expected):
                group = [step, *following(lambda each: each.is_optional)]
                await self._expect_maybe(group)
            elif step.verb in MESSAGE_VERBS and is_expected and left and left[0].verb == MAY_CLOSE:
                left.pop(0)
                await self._expect(step, 1, may_close=True)
            else:
                await self._repeat(step)

    async def _repeat(self, step: Step) -> None:
        steps = expanded(step, self.playback.role)
        for time in range(1, step.times + 1):
            for each in steps:
                await self.verbs[each.verb](each, time)
            if not time % YIELD_EVERY:
                await asyncio.sleep(0)

    def stable(self, text: str) -> str:
        """Replace the values of placeholders by their names, so that two runs say the same."""
        return unfill(text, self.bindings)

    def find(self, finding: Finding) -> None:
        """Keep a finding: the first of each requirement, the first closing, and each remark."""
        finding = replace(finding, explanation=self.stable(finding.explanation))
        if all(_kind(each) != _kind(finding) for each in self.findings):
            self.findings.append(finding)

    def shown(self, received: Received) -> str:
        """Give what was received as failure messages have it."""
        if isinstance(received, ConnectionClosed):
            return str(received)
        return self.stable(short(received))

    # ---- messages

    def _is_sent(self, step: Step) -> bool:
        """Whether the suite's side sends the message of a step."""
        return step.is_from_client == (self.playback.role == "server")

    async def _message(self, step: Step, time: int) -> None:
        await (self._send if self._is_sent(step) else self._expect)(step, time)
        if step.rest.startswith("A") and not step.is_from_client:
            self.playback.handshaken.add(step.connection)

    async def _send(self, step: Step, time: int) -> None:
        payload = step.payloads(time)
        if isinstance(payload, list):
            parts = [payload_bytes(fill(part, self.bindings)) for part in payload]
            is_text = not step.verb.endswith("b")
            await self.playback.send_parts(step.connection, parts, is_text=is_text)
        else:
            filled = fill(payload, self.bindings)
            await self.playback.send(step.connection, filled, is_held="+" in step.verb)

    async def _expect(self, step: Step, time: int, *, may_close: bool = False) -> None:
        """Receive the message of a step, or the closing if that may come instead."""
        receive = self.playback.receive if "~" in step.verb else self.playback.receive_soon
        received = await receive(step.connection)
        if isinstance(received, ConnectionClosed):
            if not may_close:
                raise _closing_mismatch(received)
        elif found := self._difference(step, time, received):
            raise MismatchError(self.stable(found), self.shown(received))

    async def _expect_any(self, steps: list[Step]) -> None:
        """Receive the messages of several steps, in any order."""
        left = list(steps)
        while left:
            received = await self.playback.receive_soon(left[0].connection)
            if isinstance(received, ConnectionClosed):
                raise _closing_mismatch(received)
            same = next((each for each in left if not self._difference(each, 1, received)), None)
            if same is None:
                shown = self.shown(received)
                raise MismatchError(
                    f"expected one of the unordered messages, actual {shown}", shown
                )
            left.remove(same)

    async def _expect_maybe(self, steps: list[Step]) -> None:
        """Receive the messages of several steps in order, any of which may be missing."""
        number = steps[0].connection
        left = iter(steps)
        received = await self._after_barrier(number)
        while not isinstance(received, ConnectionClosed):
            if is_barrier_reply(received):
                return
            if all(each.verb == MAY_CLOSE or self._difference(each, 1, received) for each in left):
                shown = self.shown(received)
                raise MismatchError(f"expected an optional message or none, actual {shown}", shown)
            received = await self.playback.receive(number)
        if steps[-1].verb != MAY_CLOSE:
            raise _closing_mismatch(received)

    async def _expect_nothing(self, step: Step, _: int) -> None:
        received = await self._after_barrier(step.connection)
        if not is_barrier_reply(received):
            shown = self.shown(received)
            is_closed = isinstance(received, ConnectionClosed)
            actual = "but the connection was" if is_closed else "actual"
            raise MismatchError(f"expected nothing, {actual} {shown}", shown)

    async def _fewer(self, step: Step, _: int) -> None:
        """Count the messages of a kind before the reply to a barrier, or the closing."""
        limit, _space, text = step.rest.partition(" ")
        expected, count, number = expand(text), 0, step.connection
        is_accepted = number in self.playback.handshaken
        if is_accepted:
            await self.playback.send_barrier(number)
        while True:
            received = await self.playback.receive(number)
            if isinstance(received, ConnectionClosed) or is_barrier_reply(received):
                return
            if not is_accepted and isinstance(received, str) and received.startswith("A"):
                # Before its acceptance, a server may drop a barrier (HS-13).
                is_accepted = True
                self.playback.handshaken.add(number)
                await self.playback.send_barrier(number)
            elif difference(expected, received, dict(self.bindings)) is None:
                count += 1
                if count >= int(limit):
                    few = f"expected fewer than {limit} of these messages"
                    explanation = "expected no such message" if limit == "1" else few
                    raise MismatchError(explanation, self.shown(received))

    async def _after_barrier(self, number: int) -> Received:
        """Send a barrier, and receive the first message after that."""
        await self.playback.send_barrier(number)
        return await self.playback.receive(number)

    def _difference(self, step: Step, time: int, received: str | bytes) -> str | None:
        payload = self.payloads_of(step, time)
        if isinstance(payload, list):
            whole = b"".join(payload)
            payload = whole if step.verb.endswith("b") else whole.decode()
        return difference(payload, received, self.bindings, exact="=" in step.verb)

    async def _is_foreign(self, received: Received) -> bool:
        """Say whether this is a broadcast of another case, or of a client that is none of ours.

        Every case marks what it has broadcast. A broadcast without a mark that did not reach the
        witness is the server's own doing.
        """
        if self.is_alone or self.playback.role != "server":
            return False
        if isinstance(received, ConnectionClosed):
            return False
        if self.profile.is_ignored(received):
            return True
        data = payload_bytes(received)
        # A server may leave the token of the ask that caused the broadcast in it.
        before = data.find(self.profile.news_mark)
        is_news = before >= 0 and data.count(b";", 0, before) == _NEWS_AFTER
        if not is_news or self.mark.encode() in data:
            return False
        if _MARK.search(data) is not None or self.witness is None:
            return True
        return await self.witness.may_have_seen(data)

    # ---- the connection

    async def _raw(self, step: Step, time: int) -> None:
        await self.playback.send_raw(step.connection, step.raw_bytes(time), step.rest)

    async def _ping(self, step: Step, _: int) -> None:
        """See the pong to a ping: soon after the reply to a barrier, which the peer reads later."""
        payload = payload_bytes(expand(step.rest))
        pong = await self.playback.ping(step.connection, payload)
        try:
            received = await self._after_barrier(step.connection)
            if isinstance(received, ConnectionClosed):
                raise _closing_mismatch(received)
            if not is_barrier_reply(received):
                shown = self.shown(received)
                raise MismatchError(f"expected the pong alone, actual {shown}", shown)
            await asyncio.wait([pong], timeout=self.playback.timeouts.close)
            if not pong.done() or not pong.result():
                raise MismatchError("expected a pong with the bytes of the ping, actual none")
            self.playback.log_received(step.connection, Remark(PONG))
        finally:
            pong.cancel()

    async def _end(self, step: Step, _: int) -> None:
        code = None if step.verb == "cut" else int(step.rest or NORMAL_CLOSURE)
        await self.playback.close(step.connection, code)

    async def _pause(self, step: Step, _: int) -> None:
        (self.playback.stall if step.verb == "stall" else self.playback.resume)(step.connection)

    async def _closed(self, step: Step, _: int) -> None:
        """See the peer close; unless the step insists on the code, that has its own verdict."""
        received = await self.playback.receive_soon(step.connection)
        shown = self.shown(received)
        if not isinstance(received, ConnectionClosed):
            raise MismatchError(f"expected the connection to close, actual {shown}", shown)
        expected = step.rest.removesuffix("!")
        if expected in ("", "any", "none" if received.code is None else str(received.code)):
            return
        if expected == "some":
            if received.code is None:
                raise MismatchError("expected a close frame, actual none", shown)
            return
        text = f"expected close code {expected}, but the connection was {received}"
        if step.rest.endswith("!"):
            raise MismatchError(text, shown)
        self.find(Finding("TR-12" if received.code is None else "TR-13", text, step.connection))

    async def _has(self, step: Step, _: int) -> None:
        name, _colon, value = step.rest.partition(":")
        expected = value.strip()
        there = [each for key, each in self.headers[step.connection] if key == name.lower()]
        self._log_headers(step.connection, name, there)
        found = {*there, *(token.strip() for each in there for token in each.split(","))}
        if name.lower() in _CASELESS:
            expected, found = expected.lower(), {each.lower() for each in found}
        if not there or (expected and expected not in found):
            actual = f"{name}: {', '.join(there)}" if there else f"no {name}"
            raise MismatchError(f"expected the header {step.rest}, actual {actual}", actual)

    def _log_headers(self, number: int, name: str, values: Iterable[str]) -> None:
        """Log what a step looks at; other headers may be secrets, and are not logged."""
        for each in values:
            self.playback.log_received(number, Remark(f"{HEADER}{name}: {each}"))

    async def _lacks(self, step: Step, _: int) -> None:
        for key, value in self.headers[step.connection]:
            if key == step.rest.lower():
                self._log_headers(step.connection, step.rest, [value])
                actual = f"{step.rest}: {value}"
                text = f"expected no such header, actual {actual}"
                raise MismatchError(text, actual)


def _kind(finding: Finding) -> str:
    return "closing" if finding.is_closing else finding.requirement or finding.explanation


def _closing_mismatch(received: ConnectionClosed) -> MismatchError:
    return MismatchError(f"the connection was {received}", str(received))
