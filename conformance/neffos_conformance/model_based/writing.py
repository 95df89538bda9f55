"""Writes what was said in the language of cases, so that it can be pasted and read."""

from __future__ import annotations

import re
from typing import Final

from neffos_conformance.cases.matching import Bindings, unfill
from neffos_conformance.model_based.expected import Payload

_LONG: Final = re.compile(r"([^>\s])\1{99,}")
_CONTROL: Final = re.compile(r"[\x00-\x1f]+|^ +| +$|[\u0300-\u036f]+")
"""What would not be seen in a line, or not as it is."""


def saying(verb: str, payload: Payload, bindings: Bindings) -> str:
    """Give the verb and the payload of a line with which somebody says something.

    Args:
        verb: who says it, and how; for octets, ``b`` is put behind it.
        payload: what is said.
        bindings: what is chosen at each run, by the names of its places.
    """
    if isinstance(payload, bytes):
        text = payload.decode("latin-1").encode("unicode_escape").decode()
        return f"{verb}b {unfill(text, bindings)}"
    return f"{verb} {unfill(shown(payload), bindings)}"


def ending(number: int, code: int | None) -> str:
    """Give the line with which this side ends a connection: with a close frame, or without."""
    return f"{number} cut" if code is None else f"{number} close {code}"


def shown(text: str) -> str:
    """Write a text so that all of it is seen: long runs as such, control characters escaped."""
    text = _LONG.sub(lambda run: f"<<*{len(run[0])} {run[1]}>>", text)
    return _CONTROL.sub(_escaped, text)


def _escaped(characters: re.Match[str]) -> str:
    octets = characters[0].encode("unicode_escape").decode()
    return "<<" + octets.replace(" ", r"\x20") + ">>"
