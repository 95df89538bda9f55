"""JSON of strangers, bounded before a parser builds anything.

A parser's memory and time may grow with the square of the depth of a document, or of the length
of a string. ``BoundedJson`` looks at a document's brackets and strings only, at the speed of
reading, and stops what no honest program writes. It does not know what a document means.
"""

from __future__ import annotations

import re
from typing import BinaryIO, Final

from neffos_conformance.wire.files import without_mark

MAX_DEPTH: Final = 256
"""Arrays and objects inside each other. A HAR has some ten; the call stacks in one, a few more."""

MAX_STRING: Final = 128 << 20
"""Bytes of one string: that of a message of 16 MiB, each of whose characters is escaped."""

MAX_NUMBER: Final = 4096
"""Characters of a number: no program writes a tenth of that."""

MAX_DOCUMENT: Final = 4 << 30
"""Bytes of a document. It takes a minute to read; nothing that people save is as large."""

_INSIDE: Final = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_WHOLE: Final = re.compile(rb'(?:[^"]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
# Each is tried once, from its beginning.
_LONG_NUMBER: Final = re.compile(rb"(?<![0-9A-Za-z.+-])[0-9A-Za-z.+-]{%d}" % (MAX_NUMBER + 1))
_OPENING: Final = b"[{"
_OTHERS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")


class JsonBoundsError(ValueError):
    """A document that is too deep or too large; the text says which."""


class BoundedJson:
    """A stream of JSON for a parser, which reads it by ``read``.

    A string is never split between two reads, since parsers begin it again at each.

    Args:
        stream: the document.
        depth: arrays and objects inside each other, at most.
        string: bytes of one string, at most.
        document: bytes of all, at most.
    """

    def __init__(
        self,
        stream: BinaryIO,
        *,
        depth: int = MAX_DEPTH,
        string: int = MAX_STRING,
        document: int = MAX_DOCUMENT,
    ) -> None:
        self._stream = stream
        self._max_depth, self._max_string, self._left = depth, string, document
        self._depth = 0
        self._rest = b""  # begins with a string that is not whole yet
        self._has_begun = False

    def read(self, size: int) -> bytes:
        """Read on; more or fewer bytes than asked for.

        Raises:
            JsonBoundsError: the document is beyond a bound.
            EncodingError: it is UTF-16.
        """
        if not size:  # a parser asks whether these are bytes
            return b""
        data = self._rest or self._more(size)
        whole = _end(_WHOLE, data)
        if not whole and data:
            data = self._whole_string(data, size)
            whole = _end(_WHOLE, data)
            if not whole:  # it has no end, and the parser says so
                self._rest = b""
                return data
        data, self._rest = data[:whole], data[whole:]
        outside = _STRING.sub(b"", data)
        if _LONG_NUMBER.search(outside):
            raise JsonBoundsError(f"a number has more than {MAX_NUMBER} characters")
        for byte in outside.translate(None, _OTHERS):
            self._depth += 1 if byte in _OPENING else -1
            if self._depth > self._max_depth:
                raise JsonBoundsError(f"it is more than {self._max_depth} levels deep")
        return data

    def _whole_string(self, data: bytes, size: int) -> bytes:
        """Read on until the string at the start of ``data`` is whole."""
        end = _end(_INSIDE, data, 1)
        while data[end : end + 1] != b'"':
            if end > self._max_string:
                raise JsonBoundsError(f"a string has more than {self._max_string} bytes")
            # As much as there is: the string is copied a few times only, however long it is.
            more = self._more(max(len(data), size))
            if not more:
                break
            data += more
            end = _end(_INSIDE, data, end)
        return data

    def _more(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise JsonBoundsError("the document is too large")
        if not self._has_begun:
            self._has_begun = True
            data = without_mark(data)
        return data


def _end(pattern: re.Pattern[bytes], data: bytes, start: int = 0) -> int:
    found = pattern.match(data, start)
    return found.end() if found else start
