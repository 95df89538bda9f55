"""The steps of a case that is rewritten, and a value of a dimension: what all rewrites share.

This module plays nothing, and knows no rewrite.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from neffos_conformance.cases.features import features
from neffos_conformance.cases.frame_texts import split
from neffos_conformance.cases.script import CUT, ENDPOINTS, MESSAGE_VERBS, Step, target

Steps = tuple[Step, ...]


class NotApplicableError(ValueError):
    """A case cannot have a value; the text says why."""


@dataclass(frozen=True, slots=True)
class DimensionValue:
    """A value of a dimension, as ``data/dimensions.toml`` has it.

    Attributes:
        name: its name, which no other value has.
        about: what is so; it continues "the case, where".
        dimension: the ID of its dimension.
        rewrite: the name of its rewrite.
        place: where lines are inserted.
        server: the lines for a server under test.
        client: the lines for a client under test.
        without: a regular expression; a case with a line that has it does not have the value.
        text: what becomes of a token, a name, a body or the flags.
        size: how many bytes it becomes; ``None`` if that does not matter.
        is_whole: whether the size is that of the whole message.
        words: what the names or bodies become, one after the other.
        cut: where messages are cut.
        shown_by: the IDs of cases; a peer that fails one of them is not given the value.
    """

    name: str
    about: str
    dimension: str
    rewrite: str
    place: str = ""
    server: str = ""
    client: str = ""
    without: str = ""
    text: str = ""
    size: int | None = None
    is_whole: bool = False
    words: tuple[str, ...] = ()
    cut: str = ""
    shown_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Script:
    """The steps of a case, and what rewrites ask about them.

    Attributes:
        steps: with ``handshake`` and ``app`` spelled out.
        role: of the system under test.
        mark_size: the bytes of the value of ``<<case>>``.
    """

    steps: Steps
    role: str
    mark_size: int

    def is_sent(self, step: Step) -> bool:
        """Whether the suite sends the message of a step."""
        return step.verb in MESSAGE_VERBS and step.is_from_client == (self.role == "server")

    def frames(self) -> Iterator[tuple[Step, list[str]]]:
        """Give the steps with frames, and their fields."""
        for step in self.steps:
            if step.verb in MESSAGE_VERBS and (fields := split(step.rest)) is not None:
                yield step, fields

    def early(self) -> Iterator[list[str]]:
        """Give the fields of the frames that the suite sends to a server before the acceptance."""
        accepted: set[int] = set()
        for step in self.steps if self.role == "server" else ():
            if step.verb == "enter" or (step.verb.startswith("<") and step.rest.startswith("A")):
                accepted.add(step.connection)
            elif self.is_sent(step) and step.connection not in accepted:
                fields = split(step.rest)
                if fields is not None:
                    yield fields

    def is_opening(self, step: Step) -> bool:
        """Whether a message belongs to the handshake, or is the setup's connect of ``app``."""
        wait = step.rest.partition(";")[0]
        own = "$app" if self.role == "server" else f"<<app{step.connection}>>"
        return ";" not in step.rest or wait == own

    def check_texts(self) -> None:
        """Check that all that is sent, and what comes back of it, is in frames that can be read.

        Raises:
            NotApplicableError: something is not.
        """
        if any(step.verb in ("raw", "fewer") or CUT in step.rest for step in self.steps):
            raise NotApplicableError("it has bytes, cuts or counts, which cannot be rewritten")
        if any(endpoint(step) in ENDPOINTS for step in self.steps):
            raise NotApplicableError("it has native messages")


def endpoint(step: Step) -> str:
    """Give the endpoint that a step dials; empty if it dials none."""
    return target(step.rest)[0].partition("?")[0] if step.verb == "dial" else ""


@cache
def special_rooms() -> frozenset[str]:
    """Give the rooms that the application treats in a way of its own, and no room."""
    return frozenset({"", "unwanted"}.union(*(each.rooms for each in features())))
