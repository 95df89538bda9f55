"""The sizes at which the model is checked, and what is checked of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from neffos_protocol.state_machines import machines
from proving.faults import LIVE
from proving.promela import ASSERTED, Size, model
from proving.spin import Search, SearchResult, search


@dataclass(frozen=True, slots=True)
class Configuration:
    """One size of the model, and what is checked of it.

    Attributes:
        name: what it is called.
        size: how much there is of everything.
        properties: what is checked: all assertions together, or one property of liveness.
        is_searched: by bitstate, since not all of its states fit into memory.
        is_share: it takes some seconds, and CI runs it.
    """

    name: str
    size: Size
    properties: tuple[str, ...] = ASSERTED
    is_searched: bool = False
    is_share: bool = False

    @property
    def is_live(self) -> bool:
        """Whether it says that something happens in the end."""
        return self.properties[0] in LIVE

    def run(self) -> SearchResult:
        """Check it."""
        how = Search(
            is_live=self.is_live,
            is_bitstate=self.is_searched,
            is_long=not self.is_share,
        )
        return search(model(machines(), self.size, self.properties), how)


def _all(**numbers: int) -> Size:
    return Size(**numbers, events=True, event_asks=True, cuts=True)


CONFIGURATIONS: Final = (
    Configuration("room", _all(rooms=1), is_share=True),
    Configuration("crossing-asks", Size(asks=2, event_asks=True, cuts=True)),
    Configuration("two-rooms", _all(rooms=2)),
    Configuration("crossing-joins", Size(rooms=1, asks=2, events=True, cuts=True)),
    Configuration("two-namespaces", Size(namespaces=2, rooms=1, events=True, cuts=True)),
    Configuration("two-clients", Size(connections=2, rooms=1)),
    Configuration("asks-end", _all(), ("asks",), is_share=True),
    Configuration("changes-settle", Size(rooms=1, cuts=True), ("changes",), is_share=True),
    # Lost connections multiply its states: half an hour of a busy machine was too little for them.
    Configuration("crossing-asks-end", Size(asks=2, event_asks=True), ("asks",)),
    Configuration("crossing-joins-end", Size(rooms=1, asks=2, cuts=True), ("asks",)),
    Configuration("crossing-joins-settle", Size(rooms=1, asks=2, cuts=True), ("changes",)),
    Configuration("largest", _all(connections=2, namespaces=2, rooms=2, asks=2), is_searched=True),
)
