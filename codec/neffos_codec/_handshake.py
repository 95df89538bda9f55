"""The three handshake messages, which are not frames (requirements HS-1 to HS-6).

Whether a payload belongs to the handshake depends on the moment, not on its form: an ``M``
after the handshake is not a handshake message. The caller knows the moment.
"""

from __future__ import annotations

from typing import Final

from neffos_codec._decode import Payload
from neffos_codec._errors import DecodeError, EncodeError, Reason
from neffos_codec._options import Decoding
from neffos_codec._utf8 import first_surrogate
from neffos_codec._value import Value, store

REQUEST_LETTER: Final = "M"
ACCEPT_LETTER: Final = "A"
REFUSE_LETTER: Final = "H"


class HandshakeRequest(Value):
    """``M``: the client requests the handshake (HS-1)."""

    __slots__ = ()


class HandshakeAccept(Value):
    """``A`` and an id: the server lets the client in (HS-3).

    Attributes:
        id: the connection's id, as the server's id generator made it.
    """

    __match_args__ = ("id",)
    __slots__ = __match_args__
    id: str

    def __init__(self, id: str) -> None:  # noqa: A002  # the protocol's own word
        store(self, "id", id)


class HandshakeRefuse(Value):
    """``H`` and a text: the server does not let the client in, and closes (HS-4).

    Attributes:
        text: the error text, for people; possibly empty.
    """

    __match_args__ = ("text",)
    __slots__ = __match_args__
    text: str

    def __init__(self, text: str) -> None:
        store(self, "text", text)


Handshake = HandshakeRequest | HandshakeAccept | HandshakeRefuse
"""Any of the three."""


def decode_handshake(payload: Payload, *, decoding: Decoding = Decoding.LENIENT) -> Handshake:
    """Read a payload that arrived before the handshake was complete.

    The lenient decoding looks at the first letter alone, as the Go peer does: ``Mxyz`` is a
    request, and a binary message is as good as text. Strict decoding wants text (HS-5),
    nothing after ``M`` (HS-2) and an ID after ``A`` (HS-6).

    Raises:
        DecodeError: this is none of the three. A server holds such a payload back until
            the handshake is complete; no other exception comes out.
    """
    if isinstance(payload, str):
        text = str.__str__(payload)  # a subclass may do anything in its methods
    elif isinstance(payload, (bytes, bytearray, memoryview)):
        try:
            text = bytes(memoryview(payload)).decode("utf-8", "surrogateescape")
        except ValueError:
            raise DecodeError(Reason.PAYLOAD_TYPE, "the memoryview has been released") from None
    else:
        raise DecodeError(
            Reason.PAYLOAD_TYPE,
            f"a payload is str, bytes, bytearray or memoryview, not {type(payload).__name__}",
        )
    if not text:
        raise DecodeError(Reason.EMPTY, "an empty payload is no message")
    letter, rest = text[0], text[1:]
    if letter not in (REQUEST_LETTER, ACCEPT_LETTER, REFUSE_LETTER):
        raise DecodeError(
            Reason.HANDSHAKE_LETTER,
            f"a handshake message begins with M, A or H, not {letter!r}",
        )
    if decoding is not Decoding.LENIENT:
        if not isinstance(payload, str):
            raise DecodeError(Reason.HANDSHAKE_BINARY, "a handshake message is text")
        bad = first_surrogate(text)
        if bad >= 0:
            raise DecodeError(Reason.UTF8, "text must be UTF-8; a surrogate is not", offset=bad)
        if letter == REQUEST_LETTER and rest:
            raise DecodeError(Reason.HANDSHAKE_TRAILING, "nothing follows the M", offset=1)
        if letter == ACCEPT_LETTER and not rest:
            raise DecodeError(Reason.HANDSHAKE_ID, "an A is followed by an id", offset=1)
    if letter == REQUEST_LETTER:
        return HandshakeRequest()
    return HandshakeAccept(rest) if letter == ACCEPT_LETTER else HandshakeRefuse(rest)


def encode_handshake(message: Handshake) -> str:
    """Write a handshake message; it is to be sent as text (HS-5).

    Raises:
        EncodeError: the id is empty (HS-6), or a text has no UTF-8 form (FR-12).
        TypeError: this is not a handshake message.
    """
    match message:
        case HandshakeRequest():
            return REQUEST_LETTER
        case HandshakeAccept(id=rest):
            if rest == "":
                raise EncodeError(Reason.HANDSHAKE_ID, "a connection has an id", field="id")
            letter, field = ACCEPT_LETTER, "id"
        case HandshakeRefuse(text=rest):
            letter, field = REFUSE_LETTER, "text"
        case _:
            raise TypeError(f"this is not a handshake message: {type(message).__name__}")
    if not isinstance(rest, str):
        raise TypeError(f"{field} must be str, not {type(rest).__name__}")
    bad = first_surrogate(rest)
    if bad >= 0:
        raise EncodeError(
            Reason.UTF8, "a surrogate has no UTF-8 form and cannot be sent", offset=bad, field=field
        )
    return letter + rest
