"""Messages to payloads: ``encode``.

A ``Message`` that exists is sound, so that there is little to check here. Can be compiled
ahead of time together with the decoder.
"""

from __future__ import annotations

from typing import Final

from neffos_codec._errors import EncodeError, Reason
from neffos_codec._message import SEPARATORS, Message, escape
from neffos_codec._native import NativeMessage
from neffos_codec._options import Native
from neffos_codec._utf8 import first_surrogate

_FLAGS: Final = ("0;0", "0;1", "1;0", "1;1")
_NEVER: Final = Native.NEVER
_FALLBACK: Final = Native.FALLBACK
_ONLY: Final = Native.ONLY


def encode(message: Message | NativeMessage, *, native: Native = _NEVER) -> str | bytes:
    """Write one WebSocket message: ``str`` to be sent as text, ``bytes`` as binary.

    What comes out decodes, under the same ``native`` mode, to an equal message. An empty
    reply takes its short form (FR-13). The body is copied once.

    Args:
        message: the message to send.
        native: the mode of the peer that is to read it.

    Raises:
        EncodeError: the receiving peer would not read this as what it is: a native message
            for a peer that reads only frames, or a frame for one that reads none (NM-1); a
            native message that is empty (FR-14), is no UTF-8 (FR-12), or reads as a frame (NM-3).
        TypeError: this is no message.
    """
    if isinstance(message, Message):
        if native is _ONLY:
            raise EncodeError(Reason.NATIVE_MODE, "a peer in native-only mode reads no frames")
        body = message.body
        if isinstance(body, bytes):
            return _head(message).encode("utf-8", "surrogateescape") + body
        namespace = message._namespace
        room = message._room
        event = message._event
        if (
            message._is_error
            or message._is_no_op
            or not event
            or ";" in namespace
            or ";" in room
            or ";" in event
        ):
            return _head(message) + body
        return f"{message._wait};{namespace};{room};{event};0;0;{body}"
    if isinstance(message, NativeMessage):
        return _native(message.payload, native)
    raise TypeError(f"this is no message: {type(message).__name__}")


def _head(message: Message) -> str:
    """Write what stands before the body."""
    if message.is_empty_reply:
        return f"{message._wait};;;;;;"
    flags = _FLAGS[2 * message._is_error + message._is_no_op]
    return (
        f"{message._wait};{escape(message._namespace)};{escape(message._room)};"
        f"{escape(message._event)};{flags};"
    )


def _native(payload: str | bytes, native: Native) -> str | bytes:
    if native is _NEVER:
        raise EncodeError(Reason.NATIVE_MODE, "this peer reads frames only, no native message")
    if isinstance(payload, str):
        bad = first_surrogate(payload)
        if bad >= 0:
            raise EncodeError(Reason.UTF8, "a surrogate has no UTF-8 form", offset=bad)
    if not payload:
        raise EncodeError(Reason.EMPTY, "an empty payload is no message")
    if native is _FALLBACK:
        separators = payload.count(";") if isinstance(payload, str) else payload.count(b";")
        if separators >= SEPARATORS:
            raise EncodeError(
                Reason.NATIVE_LOOKS_LIKE_FRAME,
                f"a native message with {separators} ';' reads as a frame",
            )
    return payload
