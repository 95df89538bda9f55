"""Recordings as people pass them on: without visible secrets, and small ones as part of a link."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from neffos_conformance.wire.closing import ConnectionClosed
from neffos_conformance.wire.payloads import payload_bytes
from neffos_conformance.wire.secrets import kept, masked, masked_body, masked_target
from neffos_conformance.wire.transcript import (
    ConnectionOpened,
    Entry,
    Published,
    UnreadableLine,
    lines,
    read_lines,
)

MAX_LINK: Final = 16_000
"""Characters of a recording in a link. Browsers take more, but what people send links with cuts
longer ones off."""

MAX_LINKED: Final = 64 << 20
"""Bytes that a link may unpack to: a thousand times what an honest one does."""

_FIELDS: Final = 6
"""Separators of a frame: a mask must not swallow one."""


def masked_lines(stream: BinaryIO) -> Iterator[bytes]:
    """Give the lines of a recording without the secrets that one can see.

    Lines that cannot be read are left out: what is in them is unknown.
    """
    for item in read_lines(stream):
        match item:
            case Entry():
                yield from _lines(item._replace(content=_masked_content(item.content)))
            case UnreadableLine():
                pass
            case _:
                yield from lines(_masked_values(item), ())


def _lines(entry: Entry) -> Iterator[bytes]:
    _, *rest = lines({}, (entry,))
    yield from rest


def _masked_content(content: Any) -> Any:
    match content:
        case str():
            return _masked_payload(content)
        case bytes():
            return _masked_bytes(content)
        case ConnectionOpened(path, headers, node):
            return ConnectionOpened(masked_target(path), kept(headers.items()), node)
        case ConnectionClosed(code, reason, cut):
            return ConnectionClosed(code, masked(reason), masked(cut))
        case Published(channel, payload):
            return Published(channel, _masked_bytes(payload))
    return content


def _masked_payload(payload: str) -> str:
    """Mask each field of a frame by itself."""
    return ";".join(map(masked_body, payload.split(";", _FIELDS)))


def _masked_bytes(payload: bytes) -> bytes:
    try:
        return payload_bytes(_masked_payload(payload.decode()))
    except UnicodeDecodeError:
        return payload


def _masked_values(value: Any) -> Any:
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, dict):
        return {key: _masked_values(each) for key, each in value.items()}
    return [_masked_values(each) for each in value] if isinstance(value, list) else value


def pack(data: bytes) -> str:
    """Give a recording as the part of a link; empty if that would be too long."""
    packed = base64.urlsafe_b64encode(zlib.compress(data, 9)).decode().rstrip("=")
    return packed if len(packed) <= MAX_LINK else ""


def unpack(text: str) -> bytes:
    """Give the recording of a link.

    Raises:
        ValueError: there is none in it, or one that is too large.
    """
    try:
        stream = zlib.decompressobj()
        packed = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
        data = stream.decompress(packed, MAX_LINKED)
    except (ValueError, zlib.error) as error:
        raise ValueError("the link is damaged. Try: the whole link") from error
    if stream.unconsumed_tail or not stream.eof:
        raise ValueError("the recording in the link is cut off, or too large. Try: a file")
    return data
