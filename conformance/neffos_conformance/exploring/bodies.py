"""What frames hold in programs, whoever they are for: bodies, and odd flags."""

from __future__ import annotations

from typing import Final

BODIES: Final[tuple[str | bytes, ...]] = (
    "t{}",
    "",
    "t{} ; and; more;",
    "t{} @%!semicolon@%! stays",
    "t{} é☃\U0001f600",
    " t{} with spaces ",
    "t{}\r\nline\n",
    "t{} e\u0301 %20 +",
    "t{} " + "x" * 70_000,
    b"t{} \x00\xff;",
    b"t{} \x00\xff;",
    b"t{}",
)
"""Bodies, with a place for the number of the action that they are found by."""

FLAGS: Final = ("x;y", ";", "true;true", "2;01")
"""What stands for two flags that are false (FR-7)."""


def filled(body: str | bytes, number: int) -> str | bytes:
    """Fill the number of an action into a body."""
    if isinstance(body, bytes):
        return body.replace(b"{}", str(number).encode())
    return body.replace("{}", str(number))
