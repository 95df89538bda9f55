"""Generates the dissector for Wireshark from the registry of the protocol."""

from __future__ import annotations

from typing import Final

from neffos_conformance import VERSION
from neffos_conformance.recordings.page import environment
from neffos_protocol.registry import constants

_EVENTS: Final = ("request-event", "notification-event", "pseudo-event")


def dissector() -> str:
    """Give the dissector: one file in Lua, which needs nothing else."""
    known = constants().values()
    return (
        environment()
        .get_template("neffos.lua")
        .render(
            version=VERSION,
            lua=_lua,
            constant={each.name: each.value for each in known},
            events=[each for each in known if each.group in _EVENTS],
        )
    )


def _lua(text: str) -> str:
    """Give a text as Lua writes it: what is not plain ASCII as the numbers of its bytes."""
    plain = (
        chr(each) if 32 <= each < 127 and each not in b'"\\' else f"\\{each:03}"
        for each in text.encode()
    )
    return f'"{"".join(plain)}"'
