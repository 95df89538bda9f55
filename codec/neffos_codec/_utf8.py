"""Whether a ``str`` can be sent as UTF-8 at all (requirement FR-12).

A Python string can hold surrogates, which no UTF-8 text has. They appear when a transport
decoded broken text with the ``surrogateescape`` handler, and lenient decoding keeps them.
"""

from __future__ import annotations

from typing import Final

_SLICE: Final = 1 << 16
"""Characters checked at a time, so that the check never copies a large body whole."""


def first_surrogate(text: str) -> int:
    """Give the index of the first surrogate in ``text``, or -1 where there is none."""
    if text.isascii():
        return -1
    for start in range(0, len(text), _SLICE):
        try:
            text[start : start + _SLICE].encode()
        except UnicodeEncodeError as error:
            return start + error.start
    return -1
