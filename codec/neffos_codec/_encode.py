"""Messages to payloads: ``encode``.

A ``Message`` that exists is sound, so that there is little to check here.
"""

from __future__ import annotations

from typing import Final

from neffos_codec._errors import EncodeError, Reason
from neffos_codec._message import ESCAPE, SEPARATORS, Message
from neffos_codec._native import NativeMessage
from neffos_codec._options import Native
from neffos_codec._utf8 import first_surrogate

_FLAGS: Final = ("0;0;", "0;1;", "1;0;", "1;1;")
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
            native message that is empty (NM-3), is not UTF-8 (FR-12), or reads as a frame (NM-3).
        TypeError: this is not a message.
    """
    if isinstance(message, Message):
        if native is _ONLY:
            raise EncodeError(Reason.NATIVE_MODE, "a peer in native-only mode does not read frames")
        namespace = message._namespace
        if ";" in namespace:
            namespace = namespace.replace(";", ESCAPE)
        room = message._room
        if ";" in room:
            room = room.replace(";", ESCAPE)
        event = message._event
        if ";" in event:
            event = event.replace(";", ESCAPE)
        flags = "0;0;"
        if message._is_error or message._is_no_op or not event:
            number = 2 * message._is_error + message._is_no_op
            flags = ";;" if message.is_empty_reply else _FLAGS[number]
        body = message._body
        if isinstance(body, tuple):
            body = message.body
        if isinstance(body, str):
            return f"{message._wait};{namespace};{room};{event};{flags}{body}"
        head = f"{message._wait};{namespace};{room};{event};{flags}"
        return head.encode("utf-8", "surrogateescape") + body
    if isinstance(message, NativeMessage):
        return _native(message.payload, native)
    raise TypeError(f"this is not a message: {type(message).__name__}")


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
