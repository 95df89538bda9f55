"""Whether a live session goes as a recorded one did.

The suite plays one peer from the recording, the other is live. The caller reports what is played
and what the live peer does, and this file says where that differs. It knows no socket and no clock.

Frames are equal if their seven fields are, other messages if their payloads are, both up to the
IDs and tokens of ``id_mapping``. Closings are equal if their codes are. Replies to different asks
may change their order, as long as none precedes its ask or the end of the handshake. Between
connections there is no order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from neffos_codec import FIELDS, HandshakeAccept
from neffos_conformance.cases.script import BROKER
from neffos_conformance.recordings.id_mapping import IdMapping, TokenMapping, is_alike, renamed
from neffos_conformance.recordings.publications import Publication, PublicationReader
from neffos_conformance.recordings.session import (
    RecordedSession,
    RecordedStep,
    StepKind,
    handshake_of,
    id_of,
    reply_token,
)
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.payloads import frame_of, payload_bytes, payload_text, type_of
from neffos_conformance.wire.transcript import Entry, Published
from neffos_protocol import Role

KEPT: Final = 12
"""Rows that are kept, to show what led to a difference."""

LOOKED_AHEAD: Final = 64
"""Steps that are searched for one that came too early."""

MISSING: Final = 3
"""Missing steps that are named."""

NEAR: Final = 2
"""Fields in which a message may differ from the step that it is compared with; with more it is
another message."""

Content = str | bytes | ConnectionClosed
Value = str | bytes | bool | int | None


@dataclass(frozen=True, slots=True)
class Contrast:
    """One respect in which two messages differ.

    Attributes:
        name: the field, or ``payload``, ``kind``, ``form``, ``id`` or ``code``.
        expected: its value as recorded, with the IDs and tokens of now.
        now: its value now.
        why: what is wrong with it, if the values do not show that.
    """

    name: str
    expected: Value
    now: Value
    why: str = ""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The first thing that the live peer did differently.

    Attributes:
        connection: on which connection.
        explanation: what is different, in a sentence.
        step: the recorded step that it is compared with; ``None`` if none is similar.
        now: what came; ``None`` if nothing did.
        contrasts: how the two differ.
    """

    connection: int
    explanation: str
    step: RecordedStep | None = None
    now: Content | Published | None = None
    contrasts: tuple[Contrast, ...] = ()


class DifferentError(Exception):
    """The live peer differs from the recording."""

    def __init__(self, difference: Mismatch) -> None:
        super().__init__(difference.explanation)
        self.difference = difference


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """A recorded step beside what is sent or received now; ``None`` if either is missing."""

    connection: int
    from_client: bool
    step: RecordedStep | None
    now: Content | Published | None


@dataclass(slots=True)
class _Connection:
    """What is still expected on one connection, and what was received."""

    lanes: dict[str, deque[RecordedStep]] = field(default_factory=dict)
    tokens: TokenMapping = field(default_factory=TokenMapping)
    asked: dict[str, RecordedStep] = field(default_factory=dict)
    is_open: bool = True
    handshake: StepKind | None = None  # the acceptance or the refusal, once it happened
    is_over: bool = False

    def heads(self) -> Iterator[RecordedStep]:
        return (lane[0] for lane in self.lanes.values() if lane)


class Comparison:
    """Compares a live session with a recorded one, as it goes.

    Args:
        session: the recorded session.
    """

    def __init__(self, session: RecordedSession) -> None:
        self.rows: deque[ComparisonRow] = deque(maxlen=KEPT)
        self._session = session
        self._ids = IdMapping(session.ids if session.live is Role.SERVER else ())
        self._connections = {each.entry.connection: _Connection() for each in session.steps}
        self._left: dict[int, RecordedStep] = {}  # by number, ascending
        self._chosen = _chosen_tokens(session)
        self._makers: dict[str, TokenMapping] = {}
        self._publications: dict[int, Publication] = {}  # those that are missing, by their steps
        self._barriers = 0
        for step in session.steps:
            state = self._connections[step.entry.connection]
            if step.part in (StepKind.ACCEPTANCE, StepKind.REFUSAL):
                state.is_open = False
            if step.part is StepKind.PUBLISHED:
                self._left[step.number] = step
            elif step.is_live and step.part not in (StepKind.OPENING, StepKind.LATE):
                state.lanes.setdefault(step.lane, deque()).append(step)
                self._left[step.number] = step

    @property
    def ids(self) -> dict[str, str]:
        """The IDs of now by those of the recording."""
        return self._ids.known()

    # ------------------------------------------------------------ the suite's steps

    def is_due(self, number: int | None = None) -> bool:
        """Whether the live peer did all that was recorded before a step, or all there is."""
        first = next(iter(self._left), None)
        return first is None or (number is not None and first >= number)

    @property
    def left(self) -> int:
        """How many steps of the live peer are still missing."""
        return len(self._left)

    def play(self, step: RecordedStep) -> Content | None:
        """Record that a step is played now, and give its content as it is now.

        ``None`` means that there is nothing to send.
        """
        state = self._connections[step.entry.connection]
        content = step.entry.content
        now: Content | None
        match step.part:
            case StepKind.OPENING | StepKind.LATE | StepKind.BARRIER:
                return None
            case StepKind.END:
                self._close(state)
                now = content if isinstance(content, ConnectionClosed) else None
            case _:
                assert isinstance(content, str | bytes)  # noqa: S101  # the parts of messages
                now = renamed(content, self._maker(state, step), self._ids)
        if step.part is StepKind.REPLY:
            state.tokens.answered(step.token)
        elif step.part is StepKind.ASK:
            state.asked[reply_token(self._token(state, step))] = step
        self._handshake(state, step)
        self._add_row(step, now)
        return now

    def expect(self, connection: int, content: Content, token: str = "") -> None:
        """Expect the response to a barrier that is sent now.

        Args:
            connection: on which it is sent.
            content: the echo of a message, or the closing; any reply to an ask will do.
            token: of that ask.
        """
        state = self._connections[connection]
        self._barriers += 1
        number = len(self._session.steps) + self._barriers
        entry = Entry(0, 0.0, connection, self._session.live is Role.CLIENT, content)
        message = frame_of(f"{token};;;;;;") if token else None
        step = RecordedStep(number, entry, True, StepKind.BARRIER, message)
        state.lanes.setdefault(step.lane, deque()).append(step)
        self._left[number] = step
        if token:
            state.asked[token] = step

    def is_open(self, connection: int) -> bool:
        """Whether neither peer has closed the connection."""
        return not self._connections[connection].is_over

    def was_accepted(self, connection: int) -> bool:
        """Whether the server sent an acceptance."""
        return self._connections[connection].handshake is StepKind.ACCEPTANCE

    def missing(self, number: int | None, why: str) -> Mismatch:
        """Say which steps are missing of those recorded before a step, or of all.

        Args:
            number: of that step; ``None`` for all steps.
            why: until when or for what reason, such as ``within 5 s``.

        Raises:
            ValueError: nothing is missing; ``is_due`` says so.
        """
        left = [step for step in self._left.values() if number is None or step.number < number]
        if not left:
            raise ValueError("nothing is missing")
        first = left[0]
        names = ", ".join(step.name() for step in left[:MISSING])
        more = f" and {len(left) - MISSING} more" if len(left) > MISSING else ""
        explanation = f"{names}{more} did not come {why}"
        if first.part is StepKind.BARRIER:
            explanation = f"what was sent to see that nothing else comes was not answered {why}"
        self._add_row(first, None)
        return Mismatch(first.entry.connection, explanation, first)

    # ------------------------------------------------------------ the live peer

    def see(self, connection: int, now: Content) -> Mismatch | None:
        """Compare what the live peer did with the recording; give the difference, if any."""
        state = self._connections[connection]
        if state.is_over:
            return None  # it crossed the closing of the suite
        step = self._expected(state, now)
        contrasts = self._contrasts(state, step, now) if step else ()
        if step is not None and not contrasts:
            state.lanes[step.lane].popleft()
            del self._left[step.number]
            self._handshake(state, step)
            self._add_row(step, now)
            return self._ended(state, step) if isinstance(now, ConnectionClosed) else None
        was_refused = state.handshake is StepKind.REFUSAL
        is_owing = any(each.part is not StepKind.BARRIER for each in state.heads())
        if isinstance(now, ConnectionClosed) and was_refused and not is_owing:
            self._close(state)  # the closing after a refusal, recorded or not (HS-4)
            return None
        difference = self._different(connection, state, step, now)
        from_client = self._session.live is Role.CLIENT
        self.rows.append(ComparisonRow(connection, from_client, difference.step, now))
        return difference

    def expect_published(self, reader: PublicationReader) -> None:
        """Expect what was published in the recording, in whatever order.

        Args:
            reader: reads it.
        """
        ids = {id_: id_ for id_ in self._session.ids}
        for step in self._session.steps:
            content = step.entry.content
            if step.part is StepKind.PUBLISHED and isinstance(content, Published):
                publication = reader.read(content, ids)
                if publication is None:
                    del self._left[step.number]
                else:
                    self._publications[step.number] = publication

    def see_published(self, reader: PublicationReader, now: Published) -> Mismatch | None:
        """Compare what is published with the recording; give the difference, if any."""
        ids = {new: recorded for recorded, new in self._ids.known().items()}
        publication = reader.read(now, ids)
        if publication is None:
            return None  # anyone may publish that
        nearest: tuple[RecordedStep, list[Contrast]] | None = None
        for number, expected in self._publications.items():
            step, found = self._left[number], self._publication_contrasts(expected, publication)
            if not found:
                del self._publications[number], self._left[number]
                self.rows.append(ComparisonRow(BROKER, False, step, now))
                return None
            if len(found) <= NEAR and (nearest is None or len(found) < len(nearest[1])):
                nearest = step, found
        self.rows.append(ComparisonRow(BROKER, False, nearest and nearest[0], now))
        if nearest is None:
            return Mismatch(BROKER, "a frame was published that was not recorded", None, now)
        step, found = nearest
        text = f"{step.name()} differs in {' and '.join(each.name for each in found)}"
        return Mismatch(BROKER, text, step, now, tuple(found))

    def _publication_contrasts(self, expected: Publication, now: Publication) -> list[Contrast]:
        found = []
        if expected.place != now.place:
            found.append(Contrast("channel", expected.place, now.place))
        if expected.is_ask != now.is_ask:
            why = "the marker of an ask is missing" if expected.is_ask else "it is marked as an ask"
            found.append(Contrast("wait", expected.is_ask, now.is_ask, why))
        for name, recorded in expected.fields.items():
            want, have = self._ids.put(recorded), now.fields[name]
            if want != have:
                found.append(Contrast(name, want, have))
        return found

    def _expected(self, state: _Connection, now: Content) -> RecordedStep | None:
        """Give the step that is expected now."""
        if not state.is_open:  # the order is fixed before the handshake is over (HS-12)
            return min(state.heads(), key=lambda step: step.number, default=None)
        message = None if isinstance(now, ConnectionClosed) else frame_of(now)
        asked = state.asked.get(message.wait) if message is not None else None
        return next(iter(state.lanes.get(reply_token(asked.token) if asked else "", ())), None)

    def _maker(self, state: _Connection, step: RecordedStep) -> TokenMapping | None:
        """Give the mapping that has the token of a step, if the live peer made it.

        A client may send a token on another connection than that on which it was asked (AR-12).
        """
        return state.tokens if step.part is StepKind.REPLY else self._makers.get(step.token)

    def _token(self, state: _Connection, step: RecordedStep) -> str:
        """Give the token of a step as it is now."""
        maker = self._maker(state, step)
        return maker.put(step.token) if maker else step.token

    def _ended(self, state: _Connection, end: RecordedStep) -> Mismatch | None:
        rest = next(state.heads(), None)
        self._close(state)
        if rest is None or rest.part is StepKind.BARRIER:
            return None
        text = f"{rest.name()} had not come when the connection ended"
        return Mismatch(end.entry.connection, text, rest)

    def _handshake(self, state: _Connection, step: RecordedStep) -> None:
        if step.part in (StepKind.ACCEPTANCE, StepKind.REFUSAL):
            state.is_open, state.handshake = True, step.part

    def _close(self, state: _Connection) -> None:
        state.is_over = True
        for lane in state.lanes.values():
            for step in lane:
                self._left.pop(step.number, None)

    def _add_row(self, step: RecordedStep, now: Content | None) -> None:
        if step.part is not StepKind.BARRIER:
            entry = step.entry
            self.rows.append(ComparisonRow(entry.connection, entry.from_client, step, now))

    # ------------------------------------------------------------ comparing

    def _contrasts(
        self, state: _Connection, step: RecordedStep, now: Content
    ) -> tuple[Contrast, ...]:
        """Say how a message differs from a step; if it does not, learn its IDs and token."""
        then = step.entry.content
        if isinstance(then, ConnectionClosed) or isinstance(now, ConnectionClosed):
            return _ends(step, now)
        assert isinstance(then, str | bytes)  # noqa: S101  # openings are not seen
        found: list[Contrast] = []
        if isinstance(then, str) != isinstance(now, str):
            found.append(Contrast("kind", _kind(then), _kind(now)))
            now = payload_text(now) if isinstance(then, str) else payload_bytes(now)
        if step.part is StepKind.BARRIER:
            is_answer = bool(step.lane) or (then == now and not found)
            return () if is_answer else (Contrast("payload", then, now),)
        if step.part is StepKind.ACCEPTANCE:
            return (*found, *self._acceptance(step, then, now))
        if step.message is None:
            return (*found, *self._values("payload", then, now))
        message = frame_of(now)
        if message is None:
            return (Contrast("form", "a frame", "not a frame"),)
        fields = zip(FIELDS, step.message.fields(), message.fields(), strict=True)
        for name, want, have in islice(fields, 1, None):
            found += self._values(name, want, have)
        return (*found, *self._wait(state, step, message.wait, learn=not found))

    def _acceptance(
        self, step: RecordedStep, then: str | bytes, now: str | bytes
    ) -> tuple[Contrast, ...]:
        accepted = handshake_of(now)
        if not isinstance(accepted, HandshakeAccept):
            return (Contrast("payload", then, now),)
        if not accepted.id or self._session.live is Role.CLIENT:
            return () if accepted.id == id_of(step) else (Contrast("id", id_of(step), accepted.id),)
        why = self._ids.learn(id_of(step), accepted.id)
        return (Contrast("id", id_of(step), accepted.id, why),) if why else ()

    def _values(self, name: str, want: Value, have: Value) -> tuple[Contrast, ...]:
        if isinstance(want, str | bytes) and type(want) is type(have):
            assert isinstance(have, str | bytes)  # noqa: S101  # for the type checker
            learnt = self._ids.fits(payload_text(want), payload_text(have))
            if learnt is None:
                return (Contrast(name, renamed(want, None, self._ids), have),)
            for recorded, new in learnt.items():
                if why := self._ids.learn(recorded, new):
                    return (Contrast(name, want, have, why),)
            return ()
        return () if want == have else (Contrast(name, want, have),)

    def _wait(
        self, state: _Connection, step: RecordedStep, wait: str, *, learn: bool
    ) -> tuple[Contrast, ...]:
        token = step.token
        if step.part is not StepKind.ASK or token not in self._chosen:
            maker = self._makers.get(token)
            expected = maker.put(token) if maker else token
            return () if wait == expected else (Contrast("wait", expected, wait),)
        if not wait:
            return (Contrast("wait", token, wait),)
        if not is_alike(token, wait):
            why = "the beginning of a token says who asks"
            return (Contrast("wait", token, wait, why),)
        why = state.tokens.learn(token, wait) if learn else ""
        if learn:
            self._makers[token] = state.tokens
        return (Contrast("wait", token, wait, why),) if why else ()

    # ------------------------------------------------------------ describing a difference

    def _different(
        self, connection: int, state: _Connection, step: RecordedStep | None, now: Content
    ) -> Mismatch:
        """Describe a difference, which ends the comparison."""
        waiting = step or min(state.heads(), key=lambda each: each.number, default=None)
        if waiting is not None and waiting.part is StepKind.BARRIER:
            waiting = None
        if isinstance(now, ConnectionClosed):
            return _different_end(connection, waiting, now)
        if early := self._early(connection, state, now):
            return Mismatch(connection, early, None, now)
        message = frame_of(now)
        asked = state.asked.get(message.wait) if message is not None else None
        if (
            asked is not None
            and asked.part is StepKind.ASK
            and not state.lanes.get(reply_token(asked.token))
        ):
            text = f"a reply to {asked.name()} came that was not recorded"
            return Mismatch(connection, text, None, now)
        nearest = self._nearest(state, step, now)
        if nearest is not None:
            found, contrasts = nearest
            names = " and ".join(contrast.name for contrast in contrasts)
            return Mismatch(connection, f"{found.name()} differs in {names}", found, now, contrasts)
        if waiting is None:
            text = "a message came that was not recorded, after all that was"
        else:
            text = f"another message came while {waiting.name()} was waited for"
        return Mismatch(connection, text, waiting, now)

    def _nearest(
        self, state: _Connection, step: RecordedStep | None, now: Content
    ) -> tuple[RecordedStep, tuple[Contrast, ...]] | None:
        """Give the most similar step, and how the message differs from it."""
        near = []
        for each in dict.fromkeys((*filter(None, (step,)), *state.heads())):
            was_asked = not each.lane or each is step or self._token(state, each) in state.asked
            if each.part in (StepKind.BARRIER, StepKind.END) or not was_asked:
                continue
            found = self._contrasts(state, each, now)
            is_meant = each is step and bool(each.lane)  # its token says so (AR-11)
            if is_meant or (0 < len(found) <= NEAR and found[0].name != "form"):
                near.append((each, found))
        return min(near, key=lambda pair: len(pair[1]), default=None)

    def _early(self, connection: int, state: _Connection, now: Content) -> str:
        """Say for which step a message is too early; empty if it is like none to come."""
        message = None if isinstance(now, ConnectionClosed) else frame_of(now)
        if message is None:
            return ""
        for each in self._session.steps:
            is_ask = each.part is StepKind.ASK and each.entry.connection == connection
            if is_ask and not each.is_live and each.token == message.wait not in state.asked:
                return f"a reply to {each.name()} came before its ask was sent"
        for head in state.heads():
            for each in islice(state.lanes[head.lane], 1, LOOKED_AHEAD):
                if each.message == message:
                    return f"{each.name()} came before {head.name()}"
        return ""


def _different_end(
    connection: int, waiting: RecordedStep | None, now: ConnectionClosed
) -> Mismatch:
    if waiting is None:
        text = f"the connection was {now}, and in the recording it was not"
        return Mismatch(connection, text, None, now)
    if waiting.part is StepKind.END:
        contrasts = _ends(waiting, now)
        return Mismatch(connection, f"{waiting.name()} differs in code", waiting, now, contrasts)
    return Mismatch(connection, f"the connection was {now} before {waiting.name()}", waiting, now)


def _ends(step: RecordedStep, now: Content) -> tuple[Contrast, ...]:
    then = step.entry.content
    if isinstance(then, ConnectionClosed) and isinstance(now, ConnectionClosed):
        is_same = (then.code == now.code and not now.cut) or step.part is StepKind.BARRIER
        return () if is_same else (Contrast("code", then.code, now.code, now.cut),)
    return (Contrast("kind", _kind(then), _kind(now)),)


def _kind(content: object) -> str:
    return type_of(content) if isinstance(content, str | bytes) else "an end"


def _chosen_tokens(session: RecordedSession) -> set[str]:
    """Give the recorded tokens that the live peer made: it was the first to send them."""
    first: dict[str, bool] = {}
    for step in session.steps:
        if step.part is StepKind.ASK:
            first.setdefault(step.token, step.is_live)
    return {token for token, is_live in first.items() if is_live}
