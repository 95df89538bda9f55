"""A recorded session as a script: what each line is to the two sides, before anything is played.

Whether a frame is an ask, a reply or neither is said by what went before it on its connection
(AR-11), never by the form of its token. This file knows of no socket and of no second session.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import Final

from neffos_codec import (
    DecodeError,
    Handshake,
    HandshakeAccept,
    HandshakeRefuse,
    Message,
    Native,
    decode,
    decode_handshake,
)
from neffos_conformance.wire.barrier import BARRIER_TOKEN
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.transcript import ConnectionOpened, Entry, Transcript
from neffos_protocol import Role

NO_ASK: Final = -1
"""In place of the number of a line, where a line answers none."""


@unique
class Part(StrEnum):
    """What a line is in the session."""

    OPENING = "the opening"
    REQUEST = "the handshake request"
    ACCEPTANCE = "the acceptance"
    REFUSAL = "the refusal"
    ASK = "an ask"
    REPLY = "a reply"
    EVENT = "an event"
    OTHER = "a message that is no frame"
    END = "the end"
    LATE = "what came behind the end"
    """It crossed the other side's end, or proved the suite something: it is of no account."""
    BARRIER = "the answer to the barrier"
    """No line of a recording: what proves that nothing else came."""


@dataclass(frozen=True, slots=True)
class RecordedStep:
    """One line of a script.

    Attributes:
        number: its place, from 0.
        entry: as it was recorded.
        is_live: it is the doing of the side that is replaced: to be seen, not to be played.
        part: what it is.
        message: its fields, where it is a frame outside the handshake.
        asked: the number of the ask that it replies to, or ``NO_ASK``.
    """

    number: int
    entry: Entry
    is_live: bool
    part: Part
    message: Message | None = None
    asked: int = NO_ASK

    @property
    def token(self) -> str:
        """What stands in its wait field; empty where it is no frame."""
        return self.message.wait if self.message else ""

    @property
    def lane(self) -> str:
        """The token of the ask that it replies to; empty where it has a fixed place.

        Replies to different asks come in any order, whatever stands between them (AR-11);
        everything else of one side keeps its order on a connection (EV-1).
        """
        return self.token if self.part in (Part.REPLY, Part.BARRIER) else ""

    def name(self) -> str:
        """Say which one it is: ``line 7 (a reply)``."""
        return f"line {self.entry.line} ({self.part})"


@dataclass(frozen=True, slots=True)
class RecordedSession:
    """A session that can be played again.

    Attributes:
        live: the side that is replaced.
        lines: all lines of the recording, in order.
        ids: the connection ids that the recorded server chose.
        echoing: connections without a handshake on which the server sent a message back as it
            was: the one thing by which such a connection can be seen to be silent.
    """

    live: Role
    lines: tuple[RecordedStep, ...]
    ids: frozenset[str]
    echoing: frozenset[int]


@dataclass(slots=True)
class _Talk:
    """What is known of one connection while its lines are read."""

    has_handshake: bool
    is_open: bool = False
    has_ended: bool = False
    # The last ask with each token, by who asked: is it the client?
    asks: dict[bool, dict[str, int]] = field(default_factory=lambda: {True: {}, False: {}})
    sent: set[str | bytes] = field(default_factory=set)


def read_script(transcript: Transcript, live: Role) -> RecordedSession:
    """Say what each line of a recording is.

    Args:
        transcript: the recording.
        live: the side that another peer takes the place of.
    """
    is_native = transcript.header.get("native") == Native.ONLY.value
    talks: dict[int, _Talk] = {}
    lines: list[RecordedStep] = []
    ids: set[str] = set()
    echoing: set[int] = set()
    for number, entry in enumerate(transcript.entries):
        talk = talks.setdefault(entry.connection, _Talk(not is_native))
        is_live = entry.from_client == (live is Role.CLIENT)
        part, message, asked = _read(entry, number, talk)
        if live is Role.CLIENT and message is not None and message.wait == BARRIER_TOKEN:
            part = Part.LATE  # the suite's own, which no client sends
        line = RecordedStep(number, entry, is_live, part, message, asked)
        lines.append(line)
        if part is Part.ACCEPTANCE:
            ids.add(id_of(line))
            echoing.discard(entry.connection)
        elif part is Part.OTHER or (message is not None and not talk.is_open):
            payload = entry.content
            if entry.from_client and isinstance(payload, str | bytes):
                talk.sent.add(payload)
            elif payload in talk.sent and not talk.is_open:
                echoing.add(entry.connection)
    return RecordedSession(live, tuple(lines), frozenset(ids - {""}), frozenset(echoing))


def _read(entry: Entry, number: int, talk: _Talk) -> tuple[Part, Message | None, int]:
    content = entry.content
    if isinstance(content, ConnectionOpened):
        return Part.OPENING, None, NO_ASK
    if talk.has_ended:
        return Part.LATE, None, NO_ASK
    if isinstance(content, ConnectionClosed):
        talk.has_ended = True
        return Part.END, None, NO_ASK
    if talk.has_handshake and not talk.is_open:
        match shaken(content):
            case HandshakeAccept() if not entry.from_client:
                talk.is_open = True
                return Part.ACCEPTANCE, None, NO_ASK
            case HandshakeRefuse() if not entry.from_client:
                talk.is_open = True
                return Part.REFUSAL, None, NO_ASK
            case None:
                pass
            case _:
                return Part.REQUEST if entry.from_client else Part.OTHER, None, NO_ASK
    message = frame(content) if talk.has_handshake else None
    if message is None:
        return Part.OTHER, None, NO_ASK
    token = message.wait
    if not token:
        return Part.EVENT, message, NO_ASK
    asked = talk.asks[not entry.from_client].get(token)
    if asked is not None:
        return Part.REPLY, message, asked
    talk.asks[entry.from_client][token] = number
    return Part.ASK, message, NO_ASK


def frame(payload: str | bytes) -> Message | None:
    """Read a payload as a frame, leniently; ``None`` where it is none."""
    try:
        return decode(payload)
    except DecodeError:
        return None


def shaken(payload: str | bytes) -> Handshake | None:
    """Read a payload as a message of the handshake; ``None`` where it is none (HS-7)."""
    try:
        return decode_handshake(payload)
    except DecodeError:
        return None


def id_of(line: RecordedStep) -> str:
    """Give the id in an acceptance (HS-3); empty where there is none."""
    content = line.entry.content
    accepted = shaken(content) if isinstance(content, str | bytes) else None
    return accepted.id if isinstance(accepted, HandshakeAccept) else ""


def connections(lines: Iterable[RecordedStep]) -> Iterator[int]:
    """Give the numbers of the connections, in the order in which they begin."""
    yield from dict.fromkeys(line.entry.connection for line in lines)
