"""Whether a session goes as a recorded one did.

One of the two sides is played from the recording, the other is live. This file is told what is
played and what the live side does, and says where that differs. It knows no socket and no clock.

What is equal: frames whose seven fields are, and other messages that are as they stand, both up
to the names that ``renaming.py`` deals with; ends with the same close code. What may change its
place: replies to different asks, as long as none comes before its ask or before the handshake is
over. Between connections there is no order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from neffos_codec import FIELDS, HandshakeAccept
from neffos_conformance.recordings.id_mapping import IdMapping, TokenMapping, is_alike, renamed
from neffos_conformance.recordings.session import (
    Part,
    RecordedSession,
    RecordedStep,
    connections,
    frame,
    id_of,
    shaken,
)
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.transcript import Entry
from neffos_protocol import Role

KEPT: Final = 12
"""Rows that are kept of what went well, to show what led to a difference."""

LOOKED_AHEAD: Final = 64
"""Lines among which one that came too early is looked for."""

MISSING: Final = 3
"""Lines named of those that did not come."""

NEAR: Final = 2
"""Fields in which a message may differ from the one that it is taken for; with more it is another
message."""

Content = str | bytes | ConnectionClosed
Value = str | bytes | bool | int | None


@dataclass(frozen=True, slots=True)
class Contrast:
    """One respect in which two messages differ.

    Attributes:
        name: the field, or ``payload``, ``kind``, ``form``, ``id`` or ``code``.
        expected: its value as recorded, with the names of now.
        now: its value now.
        why: what is wrong with it, where that is not plain to see.
    """

    name: str
    expected: Value
    now: Value
    why: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where the live side did something else.

    Attributes:
        connection: on which connection.
        explanation: what is different, in a sentence.
        line: the recorded line that it is compared with; ``None`` where nothing is like it.
        now: what came; ``None`` where nothing did.
        contrasts: how the two differ.
    """

    connection: int
    explanation: str
    line: RecordedStep | None = None
    now: Content | None = None
    contrasts: tuple[Contrast, ...] = ()


class DifferentError(Exception):
    """The live side did something else than in the recording."""

    def __init__(self, difference: Difference) -> None:
        super().__init__(difference.explanation)
        self.difference = difference


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """A recorded line, and what became of it: ``None`` in place of either where there is none."""

    connection: int
    from_client: bool
    line: RecordedStep | None
    now: Content | None


@dataclass(slots=True)
class _Talk:
    """What is still to be seen on one connection, and what was."""

    lanes: dict[str, deque[RecordedStep]] = field(default_factory=dict)
    tokens: TokenMapping = field(default_factory=TokenMapping)
    asked: dict[str, RecordedStep] = field(default_factory=dict)
    is_open: bool = True
    was_accepted: bool = False
    was_refused: bool = False
    is_over: bool = False

    def heads(self) -> Iterator[RecordedStep]:
        return (lane[0] for lane in self.lanes.values() if lane)


class Comparison:
    """Compares one session with a script, as it goes.

    Args:
        script: the recorded session.
    """

    def __init__(self, script: RecordedSession) -> None:
        self.rows: deque[ComparisonRow] = deque(maxlen=KEPT)
        self._script = script
        self._ids = IdMapping(script.ids if script.live is Role.SERVER else ())
        self._talks = {number: _Talk() for number in connections(script.lines)}
        self._left: dict[int, RecordedStep] = {}  # by number, ascending
        self._chosen = _chosen_tokens(script)
        self._makers: dict[str, TokenMapping] = {}
        self._barriers = 0
        for line in script.lines:
            talk = self._talks[line.entry.connection]
            if line.part in (Part.ACCEPTANCE, Part.REFUSAL):
                talk.is_open = False
            if line.is_live and line.part not in (Part.OPENING, Part.LATE):
                talk.lanes.setdefault(line.lane, deque()).append(line)
                self._left[line.number] = line

    @property
    def ids(self) -> dict[str, str]:
        """The ids of now by those of the recording."""
        return self._ids.known()

    # ------------------------------------------------------------ the played side

    def is_due(self, number: int | None = None) -> bool:
        """Whether the live side did all that was recorded before a line, or all there is."""
        first = next(iter(self._left), None)
        return first is None or (number is not None and first >= number)

    @property
    def left(self) -> int:
        """How many things the live side has still to do."""
        return len(self._left)

    def play(self, line: RecordedStep) -> Content | None:
        """Take note that a line of the played side is played now, and give it as it is now.

        ``None`` stands for what there is nothing to send for.
        """
        talk = self._talks[line.entry.connection]
        content = line.entry.content
        now: Content | None
        match line.part:
            case Part.OPENING | Part.LATE | Part.BARRIER:
                return None
            case Part.END:
                self._leave(talk)
                now = content if isinstance(content, ConnectionClosed) else None
            case _:
                assert isinstance(content, str | bytes)  # noqa: S101  # the parts of messages
                now = renamed(content, self._maker(talk, line), self._ids)
        if line.part is Part.REPLY:
            talk.tokens.answered(line.token)
        elif line.part is Part.ASK:
            talk.asked[self._token(talk, line)] = line
        self._shake(talk, line)
        self._note(line, now)
        return now

    def expect_answer(self, connection: int, token: str) -> None:
        """Take note that an ask goes out to see whether anything else is on its way."""
        self._talks[connection].asked[token] = self._expect(connection, token, token)

    def expect_echo(self, connection: int, payload: str) -> None:
        """Take note that a message goes out which comes back as it is, likewise."""
        self._expect(connection, "", payload)

    def expect_end(self, connection: int) -> None:
        """Take note that a close frame goes out, which is to be answered, likewise."""
        self._expect(connection, "", ConnectionClosed(None))

    def is_open(self, connection: int) -> bool:
        """Whether the connection goes on, as far as this side knows."""
        return not self._talks[connection].is_over

    def was_accepted(self, connection: int) -> bool:
        """Whether the handshake went well."""
        return self._talks[connection].was_accepted

    def missing(self, number: int | None, why: str) -> Difference:
        """Say what did not come of that which was recorded before a line, or of all.

        Args:
            number: of that line; ``None`` for all lines.
            why: until when or for what reason, such as ``within 5 s``.

        Raises:
            ValueError: nothing is missing; ``is_due`` says so.
        """
        left = [line for line in self._left.values() if number is None or line.number < number]
        if not left:
            raise ValueError("nothing is missing")
        first = left[0]
        names = ", ".join(line.name() for line in left[:MISSING])
        more = f" and {len(left) - MISSING} more" if len(left) > MISSING else ""
        explanation = f"{names}{more} did not come {why}"
        if first.part is Part.BARRIER:
            explanation = f"what was sent to see that nothing else comes was not answered {why}"
        self._note(first, None)
        return Difference(first.entry.connection, explanation, first)

    # ------------------------------------------------------------ the live side

    def see(self, connection: int, now: Content) -> Difference | None:
        """Take what the live side did; say how that differs from what it did in the recording."""
        talk = self._talks[connection]
        if talk.is_over:
            return None  # it crossed the end that this side made
        line = self._place(talk, now)
        contrasts = self._contrasts(talk, line, now) if line else ()
        if line is not None and not contrasts:
            self._took(talk, line, now)
            return self._ended(talk, line) if isinstance(now, ConnectionClosed) else None
        if isinstance(now, ConnectionClosed) and talk.was_refused and not self._is_owing(talk):
            self._leave(talk)  # the end that follows a refusal, recorded or not (HS-4)
            return None
        difference = self._different(connection, talk, line, now)
        from_client = self._script.live is Role.CLIENT
        self.rows.append(ComparisonRow(connection, from_client, difference.line, now))
        return difference

    def _is_owing(self, talk: _Talk) -> bool:
        return any(line.part is not Part.BARRIER for line in talk.heads())

    def _place(self, talk: _Talk, now: Content) -> RecordedStep | None:
        """Give the line that this one ought to be."""
        if not talk.is_open:  # nothing changes its place before the handshake is over (HS-12)
            return min(talk.heads(), key=lambda line: line.number, default=None)
        message = None if isinstance(now, ConnectionClosed) else frame(now)
        asked = talk.asked.get(message.wait) if message is not None else None
        return next(iter(talk.lanes.get(asked.token if asked else "", ())), None)

    def _maker(self, talk: _Talk, line: RecordedStep) -> TokenMapping | None:
        """Give the tokens among which that of a line is, if the live side made it.

        A client may send a token on another connection than that on which it was asked (AR-12).
        """
        return talk.tokens if line.part is Part.REPLY else self._makers.get(line.token)

    def _token(self, talk: _Talk, line: RecordedStep) -> str:
        """Give the token of a line as it is now."""
        maker = self._maker(talk, line)
        return maker.put(line.token) if maker else line.token

    def _took(self, talk: _Talk, line: RecordedStep, now: Content) -> None:
        talk.lanes[line.lane].popleft()
        del self._left[line.number]
        self._shake(talk, line)
        self._note(line, now)

    def _ended(self, talk: _Talk, end: RecordedStep) -> Difference | None:
        rest = next(talk.heads(), None)
        self._leave(talk)
        if rest is None or rest.part is Part.BARRIER:
            return None
        text = f"{rest.name()} had not come when the connection ended"
        return Difference(end.entry.connection, text, rest)

    def _shake(self, talk: _Talk, line: RecordedStep) -> None:
        if line.part in (Part.ACCEPTANCE, Part.REFUSAL):
            talk.is_open = True
            talk.was_accepted = line.part is Part.ACCEPTANCE
            talk.was_refused = line.part is Part.REFUSAL

    def _leave(self, talk: _Talk) -> None:
        talk.is_over = True
        for lane in talk.lanes.values():
            for line in lane:
                self._left.pop(line.number, None)

    def _expect(self, connection: int, lane: str, content: Content) -> RecordedStep:
        self._barriers += 1
        number = len(self._script.lines) + self._barriers
        entry = Entry(0, 0.0, connection, self._script.live is Role.CLIENT, content)
        message = frame(f"{lane};;;;;;") if lane else None
        line = RecordedStep(number, entry, True, Part.BARRIER, message)
        self._talks[connection].lanes.setdefault(line.lane, deque()).append(line)
        self._left[number] = line
        return line

    def _note(self, line: RecordedStep, now: Content | None) -> None:
        if line.part is not Part.BARRIER:
            entry = line.entry
            self.rows.append(ComparisonRow(entry.connection, entry.from_client, line, now))

    # ------------------------------------------------------------ comparing

    def _contrasts(self, talk: _Talk, line: RecordedStep, now: Content) -> tuple[Contrast, ...]:
        """Say how what came differs from a line; where it does not, learn the names in it."""
        then = line.entry.content
        if isinstance(then, ConnectionClosed) or isinstance(now, ConnectionClosed):
            return _ends(line, now)
        assert isinstance(then, str | bytes)  # noqa: S101  # openings are not seen
        found: list[Contrast] = []
        if isinstance(then, str) != isinstance(now, str):
            found.append(Contrast("kind", _kind(then), _kind(now)))
            now = _as_kind(now, then)
        if line.part is Part.BARRIER:
            is_answer = bool(line.lane) or (then == now and not found)
            return () if is_answer else (Contrast("payload", then, now),)
        if line.part is Part.ACCEPTANCE:
            return (*found, *self._acceptance(line, then, now))
        if line.message is None:
            return (*found, *self._values("payload", then, now))
        message = frame(now)
        if message is None:
            return (Contrast("form", "a frame", "no frame"),)
        fields = zip(FIELDS, line.message.fields(), message.fields(), strict=True)
        for name, want, have in islice(fields, 1, None):
            found += self._values(name, want, have)
        return (*found, *self._wait(talk, line, message.wait, learn=not found))

    def _acceptance(
        self, line: RecordedStep, then: str | bytes, now: str | bytes
    ) -> tuple[Contrast, ...]:
        accepted = shaken(now)
        if not isinstance(accepted, HandshakeAccept):
            return (Contrast("payload", then, now),)
        if not accepted.id or self._script.live is Role.CLIENT:
            return () if accepted.id == id_of(line) else (Contrast("id", id_of(line), accepted.id),)
        why = self._ids.learn(id_of(line), accepted.id)
        return (Contrast("id", id_of(line), accepted.id, why),) if why else ()

    def _values(self, name: str, want: Value, have: Value) -> tuple[Contrast, ...]:
        if isinstance(want, str | bytes) and type(want) is type(have):
            assert isinstance(have, str | bytes)  # noqa: S101  # for the type checker
            learnt = self._ids.fits(_text(want), _text(have))
            if learnt is None:
                return (Contrast(name, renamed(want, None, self._ids), have),)
            for recorded, new in learnt.items():
                if why := self._ids.learn(recorded, new):
                    return (Contrast(name, want, have, why),)
            return ()
        return () if want == have else (Contrast(name, want, have),)

    def _wait(
        self, talk: _Talk, line: RecordedStep, wait: str, *, learn: bool
    ) -> tuple[Contrast, ...]:
        token = line.token
        if line.part is not Part.ASK or token not in self._chosen:
            maker = self._makers.get(token)
            expected = maker.put(token) if maker else token
            return () if wait == expected else (Contrast("wait", expected, wait),)
        if not wait:
            return (Contrast("wait", token, wait),)
        if not is_alike(token, wait):
            why = "the beginning of a token says who asks"
            return (Contrast("wait", token, wait, why),)
        why = talk.tokens.learn(token, wait) if learn else ""
        if learn:
            self._makers[token] = talk.tokens
        return (Contrast("wait", token, wait, why),) if why else ()

    # ------------------------------------------------------------ saying what is different

    def _different(
        self, connection: int, talk: _Talk, line: RecordedStep | None, now: Content
    ) -> Difference:
        """Say what is different; nothing is compared behind a difference any more."""
        waiting = line or min(talk.heads(), key=lambda each: each.number, default=None)
        if waiting is not None and waiting.part is Part.BARRIER:
            waiting = None
        if isinstance(now, ConnectionClosed):
            return _different_end(connection, waiting, now)
        if early := self._early(connection, talk, now):
            return Difference(connection, early, None, now)
        message = frame(now)
        asked = talk.asked.get(message.wait) if message is not None else None
        if asked is not None and asked.part is Part.ASK and not talk.lanes.get(asked.token):
            text = f"a reply to {asked.name()} came that was not recorded"
            return Difference(connection, text, None, now)
        nearest = self._nearest(talk, line, now)
        if nearest is not None:
            found, contrasts = nearest
            names = " and ".join(contrast.name for contrast in contrasts)
            return Difference(
                connection, f"{found.name()} differs in {names}", found, now, contrasts
            )
        if waiting is None:
            text = "a message came that was not recorded, behind all that was"
        else:
            text = f"another message came while {waiting.name()} was waited for"
        return Difference(connection, text, waiting, now)

    def _nearest(
        self, talk: _Talk, line: RecordedStep | None, now: Content
    ) -> tuple[RecordedStep, tuple[Contrast, ...]] | None:
        """Give the line that is likeliest meant, and how it differs from what came."""
        near = []
        for each in dict.fromkeys((*filter(None, (line,)), *talk.heads())):
            was_asked = not each.lane or each is line or self._token(talk, each) in talk.asked
            if each.part in (Part.BARRIER, Part.END) or not was_asked:
                continue
            found = self._contrasts(talk, each, now)
            is_meant = each is line and bool(each.lane)  # its token says so (AR-11)
            if is_meant or (0 < len(found) <= NEAR and found[0].name != "form"):
                near.append((each, found))
        return min(near, key=lambda pair: len(pair[1]), default=None)

    def _early(self, connection: int, talk: _Talk, now: Content) -> str:
        """Say for which line it came too early; nothing where it is like none to come."""
        message = None if isinstance(now, ConnectionClosed) else frame(now)
        if message is None:
            return ""
        for each in self._script.lines:
            is_ask = each.part is Part.ASK and each.entry.connection == connection
            if is_ask and not each.is_live and each.token == message.wait not in talk.asked:
                return f"a reply to {each.name()} came before its ask was sent"
        for head in talk.heads():
            for each in islice(talk.lanes[head.lane], 1, LOOKED_AHEAD):
                if each.message == message:
                    return f"{each.name()} came before {head.name()}"
        return ""


def _different_end(
    connection: int, waiting: RecordedStep | None, now: ConnectionClosed
) -> Difference:
    if waiting is None:
        text = f"the connection was {now}, and in the recording it was not"
        return Difference(connection, text, None, now)
    if waiting.part is Part.END:
        contrasts = _ends(waiting, now)
        return Difference(connection, f"{waiting.name()} differs in code", waiting, now, contrasts)
    return Difference(connection, f"the connection was {now} before {waiting.name()}", waiting, now)


def _ends(line: RecordedStep, now: Content) -> tuple[Contrast, ...]:
    then = line.entry.content
    if isinstance(then, ConnectionClosed) and isinstance(now, ConnectionClosed):
        is_same = (then.code == now.code and not now.cut) or line.part is Part.BARRIER
        return () if is_same else (Contrast("code", then.code, now.code, now.cut),)
    return (Contrast("kind", _kind(then), _kind(now)),)


def _kind(content: object) -> str:
    if isinstance(content, ConnectionClosed):
        return "an end"
    return "text" if isinstance(content, str) else "binary"


def _as_kind(payload: str | bytes, wanted: str | bytes) -> str | bytes:
    """Give the octets of a payload in the kind of another."""
    text = _text(payload)
    return text if isinstance(wanted, str) else text.encode("utf-8", "surrogateescape")


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")


def _chosen_tokens(script: RecordedSession) -> set[str]:
    """Give the recorded tokens that the live side made: it was the first to send them."""
    first: dict[str, bool] = {}
    for line in script.lines:
        if line.part is Part.ASK:
            first.setdefault(line.token, line.is_live)
    return {token for token, is_live in first.items() if is_live}
