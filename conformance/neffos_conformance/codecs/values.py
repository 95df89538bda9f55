"""The form of texts, bytes, messages and wait fields in the lines of the codec protocol."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

from neffos_codec import FIELDS, Wait, first_surrogate

Values = dict[str, Any]


def content_of(value: Any) -> str | bytes:
    """Give the text or the bytes that a value of a line represents.

    Bytes that are not UTF-8 become surrogate escapes.

    Raises:
        ValueError: the value represents neither.
    """
    match value:
        case str():
            if first_surrogate(value) >= 0:
                raise ValueError(
                    "a string contains a surrogate: write text that is not UTF-8 as hex"
                )
            return value
        case {"hex": str(digits), **rest} if not rest:
            return bytes.fromhex(digits).decode("utf-8", "surrogateescape")
        case {"base64": str(digits), **rest} if not rest:
            return base64.b64decode(digits, validate=True)
    raise ValueError(f"neither text, nor hex, nor base64: {str(value)[:80]}")


def value_of(content: str | bytes) -> Any:
    """Give the value that represents text or bytes in a line."""
    if isinstance(content, bytes):
        return {"base64": base64.b64encode(content).decode()}
    if first_surrogate(content) < 0:
        return content
    return {"hex": content.encode("utf-8", "surrogateescape").hex()}


def message_values(fields: Iterable[Any]) -> Values:
    """Give the seven fields of a message as values of a line."""
    *names, is_error, is_no_op, body = fields
    values = [*map(value_of, names), is_error, is_no_op, value_of(body)]
    return dict(zip(FIELDS, values, strict=True))


def wait_values(wait: Wait) -> Values:
    """Give the parts of a wait field as values of a line."""
    return {
        "kind": wait.kind.value,
        "token": value_of(wait.token),
        "from_exchange": wait.from_exchange,
        "sender": value_of(wait.sender),
    }
