"""What a report holds of long messages, so that a case can be evaluated again without the peer.

Messages of tests repeat themselves, so they compress to a thousandth. Both directions are bounded:
what is packed, and what a stranger's report unpacks to.
"""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any, Final

MAX_PACKED: Final = 512 << 10
"""Bytes of a case. The largest of a correct peer packs 50 MB of floods into a tenth of that."""

MAX_WHOLE: Final = 64 << 20
"""Bytes of one message that are kept whole: more than any limit of a peer that a case tests."""

MAX_UNPACKED: Final = 256 << 20
"""Bytes that a case may unpack to: three times the largest flood, in hex."""


class TrafficError(ValueError):
    """Traffic that cannot be read; the text says why."""


def pack(values: list[Any]) -> str | None:
    """Pack values for JSON; give ``None`` if there is too much of them."""
    text = json.dumps(values, separators=(",", ":"))
    packed = zlib.compress(text.encode(), 9)
    return base64.b64encode(packed).decode() if len(packed) <= MAX_PACKED else None


def unpack(text: str) -> list[Any]:
    """Unpack what ``pack`` gave.

    Raises:
        TrafficError: it did not, or there is too much.
    """
    try:
        packed = base64.b64decode(text, validate=True)
        stream = zlib.decompressobj()
        data = stream.decompress(packed, MAX_UNPACKED)
        if stream.unconsumed_tail or not stream.eof:
            raise TrafficError(f"it has more than {MAX_UNPACKED} bytes, or is cut off")
        values = json.loads(data)
    except TrafficError:
        raise
    except (ValueError, RecursionError, zlib.error) as error:
        raise TrafficError(f"it cannot be unpacked: {error}") from error
    if not isinstance(values, list):
        raise TrafficError("it is not a list")
    return values
