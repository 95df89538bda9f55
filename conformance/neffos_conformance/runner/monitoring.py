"""What the monitor finds in the connections of a case, whatever its script tests.

It listens to the log, so that a report which is evaluated again has the same findings. The log
has the observations of a client that its messages do not explain.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from neffos_conformance.cases.script import native_of
from neffos_conformance.runner.playback import Playback
from neffos_conformance.runner.result import Finding, Remark
from neffos_conformance.wire.payloads import short
from neffos_conformance.wire.transcript import ConnectionOpened
from neffos_protocol import Monitor

BYTES: Final = "bytes "
"""Begins the remark on bytes that the suite sent as they are."""

REPORTED: Final = "reported more often than it happened: "
"""Begins the remark on an observation of a client that has no cause. The requirement follows."""

UNEXPECTED: Final = "a message that the case does not expect: "
"""Begins the explanation of a remark."""


def monitored(playback: Playback) -> Iterator[Finding]:
    """Give what the system under test violated, and what else is remarkable, as it came.

    A connection on which the suite sends bytes as they are is not monitored from then on: they
    may be a message, or part of one.
    """
    role = playback.role
    monitors: dict[int, Monitor | None] = {}
    for place, entry in enumerate(playback.log):
        content, number = entry.content, entry.connection
        if isinstance(content, str | bytes):
            monitor = monitors.get(number)
            if monitor is None or place in playback.foreign:
                continue
            sender = "client" if entry.from_client else "server"
            found = monitor.feed(sender, content)
            if sender != role:
                continue
            if not content:
                yield Finding("FR-14", "an empty message", number, monitor.number)
                continue
            for each in found:
                yield Finding(each.requirement, each.explanation, number, each.number)
            if place in playback.unexpected and not found and not _was_asked_for(monitor):
                yield Finding("", f"{UNEXPECTED}{short(content)}", number, monitor.number)
        elif isinstance(content, ConnectionOpened):
            monitors[number] = Monitor(native=native_of(role, [content.path]))
        elif isinstance(content, Remark) and content.text.startswith(BYTES):
            monitors[number] = None
        elif isinstance(content, Remark) and content.text.startswith(REPORTED):
            requirement, _space, what = content.text.removeprefix(REPORTED).partition(" ")
            yield Finding(requirement, f"{REPORTED}{what}", number)


def _was_asked_for(monitor: Monitor) -> bool:
    """Whether the last message is a reply, or of the handshake: a script may leave these open."""
    seen = monitor.conversation
    is_reply = seen.ask is not None and seen.ask.number != seen.number
    return is_reply or seen.handshake is not None
