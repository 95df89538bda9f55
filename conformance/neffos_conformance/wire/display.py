"""How payloads and verdicts look, on a terminal and in JSON."""

from __future__ import annotations

from typing import Any, Final

from neffos_codec import first_surrogate
from neffos_conformance.cases.verdict import Verdict

COLOURS: Final = {
    Verdict.PASS: "green",
    Verdict.FAIL: "red",
    Verdict.NON_STRICT: "yellow",
    Verdict.INFORMATIONAL: "cyan",
    Verdict.SKIPPED: "dim",
    Verdict.ERROR: "magenta",
}

SHOWN: Final = 160
"""Characters of a payload on the terminal."""


def short(payload: str | bytes, size: int | None = None, *, shown: int = SHOWN) -> str:
    """Give a payload on one line, cut where it is long.

    Args:
        payload: the payload, or its beginning.
        size: that of the whole.
        shown: characters that are shown.
    """
    whole = len(payload) if size is None else size
    text = repr(payload) if isinstance(payload, str) else f"binary {payload!r}"
    if len(text) <= shown and whole == len(payload):
        return text
    return f"{text[:shown]}… ({whole} in all)"


def payload_values(payload: str | bytes) -> dict[str, Any]:
    """Give a payload as values for JSON: text, octets in hex, or text that is no UTF-8 in hex."""
    if isinstance(payload, bytes):
        return {"hex": payload.hex()}
    if first_surrogate(payload) < 0:
        return {"text": payload}
    return {"broken_text_hex": payload.encode("utf-8", "surrogateescape").hex()}
