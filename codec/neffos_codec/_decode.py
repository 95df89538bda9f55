"""Payloads to messages: ``decode``.

A frame is ``wait;namespace;room;event;isError;isNoOp;body`` (FR-1). The body is delivered byte for
byte (FR-10). Bytes and decoded text give the same message (FR-15). This module knows no
connection: whether a frame makes sense at a moment is the session's to say.
"""

from __future__ import annotations

from typing import Final, Literal, NoReturn, overload

from neffos_codec._errors import DecodeError, Reason
from neffos_codec._limits import FrameLimits, check_limits, check_size
from neffos_codec._message import ESCAPE, FIELDS, SEPARATORS, Message
from neffos_codec._native import NativeMessage
from neffos_codec._options import Decoding, Native
from neffos_codec._utf8 import first_surrogate

Payload = str | bytes | bytearray | memoryview
"""What a WebSocket library hands over: ``str`` for text, the others for binary."""

_HEAD: Final = 400
"""Where to look for the separators of a large payload before looking further. Longer than
any head seen from a tested implementation, short enough that Python's allocator for small objects
(up to 512 bytes with their header) serves it: a sixth of the time to decode a large payload."""

_EAGER: Final = 2048
"""Up to this size the body is cut out at once; that is cheaper than remembering it."""

# Looking these up in their enumerations at every call would show in the benchmark.
_LENIENT: Final = Decoding.LENIENT
_NEVER: Final = Native.NEVER
_FALLBACK: Final = Native.FALLBACK
_ONLY: Final = Native.ONLY

_blank: Final = object.__new__

_WHOLE: Final = slice(None)

_FLAGS: Final = ("0", "1")
"""How flags are written (FR-6)."""


@overload
def decode(
    payload: Payload,
    *,
    decoding: Decoding = Decoding.LENIENT,
    native: Literal[Native.NEVER] = Native.NEVER,
    limits: FrameLimits | None = None,
) -> Message: ...


@overload
def decode(
    payload: Payload,
    *,
    decoding: Decoding = Decoding.LENIENT,
    native: Literal[Native.ONLY],
    limits: FrameLimits | None = None,
) -> NativeMessage: ...


@overload
def decode(
    payload: Payload,
    *,
    decoding: Decoding = Decoding.LENIENT,
    native: Native,
    limits: FrameLimits | None = None,
) -> Message | NativeMessage: ...


def decode(
    payload: object,
    *,
    decoding: Decoding = _LENIENT,
    native: Native = _NEVER,
    limits: FrameLimits | None = None,
) -> Message | NativeMessage:
    """Read one WebSocket message.

    A body is copied at most once, and that of a large payload only when it is first read.

    Args:
        payload: the message: ``str`` if it came as text, else its bytes. Text that was
            not UTF-8 can be given with surrogate escapes; lenient decoding keeps them.
        decoding: lenient, as the Go peer reads, or strict, as the grammar says.
        native: what becomes of a payload that is not a frame.
        limits: sizes above which to refuse before copying.

    Returns:
        A ``Message``; with ``native`` other than ``NEVER`` possibly a ``NativeMessage``.

    Raises:
        DecodeError: the payload is not acceptable. No other exception comes out, whatever
            the payload is.
    """
    if isinstance(payload, str):
        if type(payload) is not str:
            payload = str.__str__(payload)  # a subclass may do anything in its methods
        if limits is not None:
            check_limits(payload, ";", limits, native)
        if native is _ONLY:
            return _native(payload, decoding)
        if decoding is not _LENIENT and not payload.isascii():
            return _text(payload, decoding, native)
        head = payload if len(payload) <= _EAGER else payload[:_HEAD]
        try:
            wait, namespace, room, event, error, no_op, body = head.split(";", SEPARATORS)
        except ValueError:
            return _text(payload, decoding, native)  # a head of unusual length, or not a frame
        if decoding is not _LENIENT and (error not in _FLAGS or no_op not in _FLAGS):
            return _text(payload, decoding, native)  # the empty reply, or no strict frame
        if "@" in head:
            namespace = namespace.replace(ESCAPE, ";")
            room = room.replace(ESCAPE, ";")
            event = event.replace(ESCAPE, ";")
        # Without a call of the constructor, which would be a fifth of the whole.
        message = _blank(Message)
        message._wait = wait
        message._namespace = namespace
        message._room = room
        message._event = event
        message._is_error = error == "1"
        message._is_no_op = no_op == "1"
        message._body = body
        if head is not payload:
            message._body = (payload, _HEAD - len(body))
        return message
    if isinstance(payload, bytes):
        if type(payload) is not bytes:
            payload = bytes.__getitem__(payload, _WHOLE)
        if limits is not None:
            check_limits(payload, b";", limits, native)
        if native is _ONLY:
            return _native(payload, decoding)
        return _octets(payload, decoding, native)
    if isinstance(payload, (bytearray, memoryview)):
        if isinstance(payload, bytearray) and type(payload) is not bytearray:
            payload = bytearray.__getitem__(payload, _WHOLE)
        return _buffer(payload, decoding, native, limits)
    raise DecodeError(
        Reason.PAYLOAD_TYPE,
        f"a payload is str, bytes, bytearray or memoryview, not {type(payload).__name__}",
    )


def _text(payload: str, decoding: Decoding, native: Native) -> Message | NativeMessage:
    """Read a text payload of any size, in either decoding."""
    head = payload[:_HEAD] if len(payload) > _EAGER else payload
    parts = head.split(";", SEPARATORS)
    if len(parts) <= SEPARATORS:
        head = payload  # a head of unusual length, or not a frame
        parts = payload.split(";", SEPARATORS)
        if len(parts) <= SEPARATORS:
            return _not_a_frame(payload, len(parts) - 1, decoding, native)
    start = len(head) - len(parts[SEPARATORS])
    if decoding is not _LENIENT:
        if not payload.isascii():
            _check_text(payload, True)
        if parts[4] not in _FLAGS or parts[5] not in _FLAGS:
            _check_flags(parts, sum([len(field) for field in parts[:4]]) + 4, start < len(payload))
    message = _unescaped(parts)
    message._body = parts[SEPARATORS] if head is payload else (payload, start)
    return message


def _octets(payload: bytes, decoding: Decoding, native: Native) -> Message | NativeMessage:
    """Read a binary payload of any size, in either decoding."""
    head = payload[:_HEAD] if len(payload) > _EAGER else payload
    if decoding is _LENIENT:
        # Latin-1 maps bytes to characters one to one, which shows where the fields are
        # and is right for those that are ASCII.
        text = head.decode("latin-1")
        fields = text.split(";", SEPARATORS)
        if len(fields) > SEPARATORS:
            start = len(text) - len(fields[SEPARATORS])
            if text[:start].isascii():
                message = _unescaped(fields)
                message._body = payload[start:] if head is payload else (payload, start)
                return message
    parts = head.split(b";", SEPARATORS)
    if len(parts) <= SEPARATORS:
        head = payload  # a head of unusual length, or not a frame
        parts = payload.split(b";", SEPARATORS)
        if len(parts) <= SEPARATORS:
            return _not_a_frame(payload, len(parts) - 1, decoding, native)
    start = len(head) - len(parts[SEPARATORS])
    message = _octet_head(head[:start], decoding, start < len(payload))
    message._body = parts[SEPARATORS] if head is payload else (payload, start)
    return message


def _octet_head(head: bytes, decoding: Decoding, has_body: bool) -> Message:
    """Read what stands before the body of a binary frame."""
    if decoding is _LENIENT:
        text = head.decode("utf-8", "surrogateescape")
        return _unescaped(text.split(";", SEPARATORS))
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        raise DecodeError(
            Reason.UTF8,
            "the fields before the body must be UTF-8",
            offset=error.start,
            field=FIELDS[head.count(b";", 0, error.start)],
        ) from None
    parts = text.split(";", SEPARATORS)
    data = head.split(b";", SEPARATORS)
    _check_flags(parts, sum([len(field) for field in data[:4]]) + 4, has_body)
    return _unescaped(parts)


def _unescaped(parts: list[str]) -> Message:
    """Build a message that only lacks its body."""
    return Message(
        parts[0],
        parts[1].replace(ESCAPE, ";"),
        parts[2].replace(ESCAPE, ";"),
        parts[3].replace(ESCAPE, ";"),
        parts[4] == "1",
        parts[5] == "1",
        "",
        True,
    )


def _buffer(
    payload: bytearray | memoryview, decoding: Decoding, native: Native, limits: FrameLimits | None
) -> Message | NativeMessage:
    # The owner of a buffer may change it later: what the message keeps is copied now, once.
    try:
        view = memoryview(payload)
    except ValueError:
        raise DecodeError(Reason.PAYLOAD_TYPE, "the memoryview has been released") from None
    with view:  # a view left behind in a traceback would keep its owner from resizing it
        if limits is not None:
            check_size(view.nbytes, limits)
        if view.ndim != 1 or view.itemsize != 1:
            return decode(view.tobytes(), decoding=decoding, native=native, limits=limits)
        head = view[:_HEAD].tobytes()
        if limits is not None and limits.field is not None and native is not _ONLY:
            # As much as is needed to see all six fields, or one that is over the limit.
            check_limits(head, b";", limits, native)
            while head.count(b";") < SEPARATORS and len(head) < len(view):
                head = view[: 4 * len(head)].tobytes()
                check_limits(head, b";", limits, native)
        data = head.split(b";", SEPARATORS)
        if native is not _NEVER or len(data) <= SEPARATORS:
            return decode(view.tobytes(), decoding=decoding, native=native, limits=limits)
        start = len(head) - len(data[SEPARATORS])
        message = _octet_head(head[:start], decoding, start < len(view))
        message._body = view[start:].tobytes()
        return message


def _native(payload: str | bytes, decoding: Decoding) -> NativeMessage:
    if not payload:
        _refuse_empty()
    if decoding is not _LENIENT and isinstance(payload, str):
        _check_text(payload, False)
    return NativeMessage(payload)


def _not_a_frame(
    payload: str | bytes, separators: int, decoding: Decoding, native: Native
) -> NativeMessage:
    if not payload:
        _refuse_empty()
    if native is _FALLBACK:
        return _native(payload, decoding)
    raise DecodeError(
        Reason.SEPARATORS,
        f"a frame has {SEPARATORS} ';' before its body, this has {separators}",
        offset=len(payload),
        field=FIELDS[separators],
    )


def _refuse_empty() -> NoReturn:
    raise DecodeError(Reason.EMPTY, "an empty payload is no message")


def _check_text(payload: str, is_frame: bool) -> None:
    """Refuse text that has no UTF-8 form (FR-12)."""
    bad = first_surrogate(payload)
    if bad >= 0:
        field = FIELDS[min(payload.count(";", 0, bad), SEPARATORS)] if is_frame else None
        raise DecodeError(
            Reason.UTF8, "text must be UTF-8; a surrogate is not", offset=bad, field=field
        )


def _check_flags(parts: list[str], offset: int, has_body: bool) -> None:
    """Refuse flags other than ``0`` and ``1``, but for the short empty reply (FR-6, FR-13).

    ``offset`` is the place of the first flag in the payload.
    """
    if parts[4] == "" and parts[5] == "" and not has_body:
        wait, namespace, room, event = parts[:4]
        if wait and not (namespace or room or event):
            return
    for index in (4, 5):
        if parts[index] not in _FLAGS:
            raise DecodeError(
                Reason.FLAG,
                f"a flag is '0' or '1', not {parts[index][:8]!r}",
                offset=offset,
                field=FIELDS[index],
            )
        offset += len(parts[index]) + 1  # the first flag is one byte wherever the second is read
