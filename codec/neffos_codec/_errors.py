"""The exception family of the codec, and the reasons that it carries.

This module owns *what can be wrong* with a payload or a message. It does not know how
either is read or written.
"""

from __future__ import annotations

from enum import StrEnum, unique
from typing import Final


@unique
class Reason(StrEnum):
    """Why a payload or a message was refused; stable words, also used by the vectors."""

    # Reading any payload.
    EMPTY = "empty"
    PAYLOAD_TYPE = "payload-type"
    PAYLOAD_TOO_LARGE = "payload-too-large"
    FIELD_TOO_LONG = "field-too-long"
    UTF8 = "utf8"
    # Reading a frame.
    SEPARATORS = "separators"
    FLAG = "flag"
    # Reading or writing a handshake message.
    HANDSHAKE_LETTER = "handshake-letter"
    HANDSHAKE_TRAILING = "handshake-trailing"
    HANDSHAKE_BINARY = "handshake-binary"
    HANDSHAKE_ID = "handshake-id"
    # Writing a frame.
    WAIT_SEPARATOR = "wait-separator"
    ESCAPE_LITERAL = "escape-literal"
    EMPTY_ERROR_TEXT = "empty-error-text"
    NO_WAIT = "no-wait"
    # Writing a native message.
    NATIVE_MODE = "native-mode"
    NATIVE_LOOKS_LIKE_FRAME = "native-looks-like-frame"


REQUIREMENT_OF: Final[dict[Reason, str]] = {
    Reason.EMPTY: "FR-14",
    Reason.PAYLOAD_TYPE: "FR-11",
    Reason.PAYLOAD_TOO_LARGE: "SEC-1",
    Reason.FIELD_TOO_LONG: "SEC-1",
    Reason.UTF8: "FR-12",
    Reason.SEPARATORS: "FR-2",
    Reason.FLAG: "FR-6",
    Reason.HANDSHAKE_LETTER: "HS-1",
    Reason.HANDSHAKE_TRAILING: "HS-2",
    Reason.HANDSHAKE_BINARY: "HS-5",
    Reason.HANDSHAKE_ID: "HS-6",
    Reason.WAIT_SEPARATOR: "FR-5",
    Reason.ESCAPE_LITERAL: "FR-4",
    Reason.EMPTY_ERROR_TEXT: "FR-9",
    Reason.NO_WAIT: "FR-13",
    Reason.NATIVE_MODE: "NM-1",
    Reason.NATIVE_LOOKS_LIKE_FRAME: "NM-3",
}
"""The requirement that each reason rests on, by its id in the catalogue."""


class CodecError(ValueError):
    """Every refusal of the codec, with what, where and which requirement.

    Attributes:
        reason: the kind of trouble.
        requirement: the id of the requirement that was not met, for example ``"FR-2"``.
        offset: where it was noticed, in characters of a text payload or bytes of a binary
            one; for a refused *field* of a message, the place inside that field.
        field: the name of the field concerned, or ``None`` where no single one is.
        explanation: the sentence, without the place.
    """

    def __init__(
        self, reason: Reason, explanation: str, offset: int = 0, field: str | None = None
    ) -> None:
        self.reason = reason
        self.requirement = REQUIREMENT_OF[reason]
        self.offset = offset
        self.field = field
        self.explanation = explanation
        where = f"field {field!r}, offset {offset}" if field else f"offset {offset}"
        super().__init__(f"{explanation} ({reason.value}, {where}, {self.requirement})")

    def __reduce__(self) -> tuple[object, ...]:
        # The default would call the class with the finished sentence alone.
        return type(self), (self.reason, self.explanation, self.offset, self.field)


class DecodeError(CodecError):
    """A payload that the chosen decoding does not accept."""


class EncodeError(CodecError):
    """A message that no payload can carry unchanged."""
