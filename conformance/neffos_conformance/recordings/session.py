"""A recorded session as a script: what each entry is to the two peers, before it is played.

This file knows no socket and no second session.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import Final

from neffos_codec import (
    DecodeError,
    Handshake,
    HandshakeAccept,
    Message,
    Native,
    decode_handshake,
    parse_wait,
)
from neffos_conformance.wire.barrier import BARRIER_TOKEN
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.transcript import ConnectionOpened, Entry, Published, Transcript
from neffos_protocol import Conversation, MessageKind, Role
from neffos_protocol.names import CLIENT_PREFIX

NO_ASK: Final = -1
"""Stands for the number of a step if the step answers none."""


@unique
class StepKind(StrEnum):
    """What a step is in the session."""

    OPENING = "the opening"
    REQUEST = "the handshake request"
    ACCEPTANCE = "the acceptance"
    REFUSAL = "the refusal"
    ASK = "an ask"
    REPLY = "a reply"
    EVENT = "an event"
    OTHER = "a message that is not a frame"
    END = "the closing"
    LATE = "a message after the closing"
    """It crossed the other peer's closing, or it is a barrier of the suite. It is ignored."""
    PUBLISHED = "what was published"
    """A server's message on the broker."""
    BARRIER = "the reply to the barrier"
    """No entry of a recording: it proves that nothing else was sent."""


_PARTS: Final = {
    MessageKind.REQUEST: StepKind.OTHER,
    MessageKind.ACCEPTANCE: StepKind.ACCEPTANCE,
    MessageKind.REFUSAL: StepKind.REFUSAL,
    MessageKind.SYSTEM_ASK: StepKind.ASK,
    MessageKind.EVENT_ASK: StepKind.ASK,
    MessageKind.REPLY: StepKind.REPLY,
    MessageKind.STRAY_REPLY: StepKind.ASK,
    MessageKind.EVENT: StepKind.EVENT,
    MessageKind.NATIVE: StepKind.OTHER,
    MessageKind.NOT_A_FRAME: StepKind.OTHER,
    MessageKind.AFTER_REFUSAL: StepKind.OTHER,
}
"""What a message is, by its kind; a server sends no request, and a client no other handshake
message. A stray reply to an ask that was not recorded may be an ask as well."""

_HANDSHAKE: Final = frozenset({MessageKind.REQUEST, MessageKind.ACCEPTANCE, MessageKind.REFUSAL})


@dataclass(frozen=True, slots=True)
class RecordedStep:
    """One step of a script.

    Attributes:
        number: its number, from 0.
        entry: as it was recorded.
        is_live: the peer that is replaced did it: it is expected, not played.
        part: what it is.
        message: its fields, if it is a frame outside the handshake.
        asked: the number of the ask that it replies to, or ``NO_ASK``.
    """

    number: int
    entry: Entry
    is_live: bool
    part: StepKind
    message: Message | None = None
    asked: int = NO_ASK

    @property
    def token(self) -> str:
        """Its token; empty if it has none."""
        return self.message.wait if self.message else ""

    @property
    def lane(self) -> str:
        """The token of the ask that it replies to; empty if its order is fixed.

        Replies to different asks come in any order, whatever is between them (AR-11);
        everything else of one peer keeps its order on a connection (EV-1).
        """
        return self.token if self.part in (StepKind.REPLY, StepKind.BARRIER) else ""

    def name(self) -> str:
        """Say which one it is: ``line 7 (a reply)``."""
        return f"line {self.entry.line} ({self.part})"


@dataclass(frozen=True, slots=True)
class RecordedSession:
    """A session that can be replayed.

    Attributes:
        live: the role that is replaced.
        steps: all entries of the recording, in order.
        ids: the connection IDs that the recorded server chose.
        echoing: connections without a handshake on which the server returned a message unchanged:
            the only way to prove that such a connection is silent.
    """

    live: Role
    steps: tuple[RecordedStep, ...]
    ids: frozenset[str]
    echoing: frozenset[int]


@dataclass(slots=True)
class _Reader:
    """Reads the entries of one connection."""

    conversation: Conversation
    is_over: bool = False
    numbers: list[int] = field(default_factory=list)  # of the steps, by the messages' numbers
    sent: set[str | bytes] = field(default_factory=set)  # by the client

    @property
    def is_handshaken(self) -> bool:
        return self.conversation.is_accepted or self.conversation.is_refused

    def read(self, number: int, entry: Entry) -> tuple[StepKind, Message | None, int]:
        content = entry.content
        if isinstance(content, ConnectionOpened):
            return StepKind.OPENING, None, NO_ASK
        if isinstance(content, Published):
            return StepKind.PUBLISHED, None, NO_ASK
        if self.is_over:
            return StepKind.LATE, None, NO_ASK
        if isinstance(content, ConnectionClosed):
            self.is_over = True
            # What the recorder ended proves nothing of either peer.
            return StepKind.LATE if content.cut else StepKind.END, None, NO_ASK
        self.numbers.append(number)
        tracked = self.conversation.feed("client" if entry.from_client else "server", content)
        if tracked.kind in _HANDSHAKE and entry.from_client:
            return StepKind.REQUEST, None, NO_ASK
        answered = tracked.repeats
        if tracked.kind is MessageKind.REPLY and tracked.ask is not None:
            answered = tracked.ask.number
        if answered:
            return StepKind.REPLY, tracked.message, self.numbers[answered - 1]
        return _PARTS[tracked.kind], tracked.message, NO_ASK


def read_session(
    transcript: Transcript, live: Role, *, has_broker: bool = False
) -> RecordedSession:
    """Say what each entry of a recording is.

    Args:
        transcript: the recording.
        live: the role that another peer takes over.
        has_broker: what is published is compared, too.
    """
    is_native = transcript.header.get("native") == Native.ONLY.value
    native = Native.ONLY if is_native else Native.NEVER
    readers: dict[int, _Reader] = {}
    steps: list[RecordedStep] = []
    ids: set[str] = set()
    echoing: set[int] = set()
    for number, entry in enumerate(transcript.entries):
        reader = readers.setdefault(entry.connection, _Reader(Conversation(native=native)))
        is_live = entry.from_client == (live is Role.CLIENT)
        part, message, asked = reader.read(number, entry)
        if live is Role.CLIENT and message is not None and message.wait == BARRIER_TOKEN:
            part = StepKind.LATE  # the suite's own, which no client sends
        if part is StepKind.PUBLISHED and not (has_broker and is_live):
            part = StepKind.LATE  # nobody hears it
        step = RecordedStep(number, entry, is_live, part, message, asked)
        steps.append(step)
        if part is StepKind.ACCEPTANCE:
            ids.add(id_of(step))
            echoing.discard(entry.connection)
        elif part is StepKind.OTHER or (message is not None and not reader.is_handshaken):
            payload = entry.content
            if entry.from_client and isinstance(payload, str | bytes):
                reader.sent.add(payload)
            elif payload in reader.sent and not reader.is_handshaken:
                echoing.add(entry.connection)
    return RecordedSession(live, tuple(steps), frozenset(ids - {""}), frozenset(echoing))


def handshake_of(payload: object) -> Handshake | None:
    """Decode a handshake message; ``None`` if a payload is not one (HS-7)."""
    try:
        return decode_handshake(payload) if isinstance(payload, str | bytes) else None
    except DecodeError:
        return None


def reply_token(token: str) -> str:
    """Give the token of the reply to an ask: a client's loses its exchange marker (SX-2)."""
    return parse_wait(token).token if token.startswith(CLIENT_PREFIX) else token


def id_of(step: RecordedStep) -> str:
    """Give the ID in an acceptance (HS-3); empty if there is none."""
    accepted = handshake_of(step.entry.content)
    return accepted.id if isinstance(accepted, HandshakeAccept) else ""
