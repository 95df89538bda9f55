"""The proof of the state tables: its figures, and the counterexamples of faulty tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from generate import recordings
from generate.text import count, table
from neffos_conformance.wire.transcript import read_transcript
from neffos_protocol.state_machines import machines
from proving import results
from proving.configurations import CONFIGURATIONS, Configuration
from proving.faults import FAULTS, LIVE, PROPERTIES
from proving.promela import row_name, rows_of
from proving.recorded_paths import SUITE, departures

_EXTRAS: Final = {"events": "events", "event_asks": "event asks", "cuts": "lost connections"}


@dataclass(frozen=True, slots=True)
class RefutedTable(recordings.Recording):
    """The recording of a counterexample."""

    @property
    def path(self) -> Path:
        """The file."""
        return results.FOLDER / f"{self.name}.jsonl"

    @property
    def uri(self) -> str:
        """Its page, from the root of the site."""
        return f"counterexamples/{self.name}.html"


@cache
def counterexamples() -> Mapping[str, RefutedTable]:
    """Give the counterexample of each fault by its name."""
    found = {}
    for each in FAULTS:
        transcript = read_transcript(results.FOLDER / f"{each.name}.jsonl")
        found[each.name] = RefutedTable(each.name, transcript.header, len(transcript.entries))
    return found


def figure(name: str, root: str) -> str:
    """Draw a counterexample."""
    return recordings.figure(counterexamples()[name], root, key=f"proof-{name}")


def properties() -> str:
    """List what is proved."""
    rows = [
        (f"*{name}*", about, "weak fairness" if name in LIVE else "in every state")
        for name, about in PROPERTIES.items()
    ]
    return table(("property", "meaning", "holds"), rows)


def configurations() -> str:
    """Give the figures of the last run of each configuration."""
    figures = results.load()["configuration"]
    rows = [_row(each, figures.get(each.name)) for each in CONFIGURATIONS]
    head = ("configuration", "size", "what", "states", "transitions", "depth", "s", "MiB")
    return table(head, rows, numbers=5)


def _row(each: Configuration, figures: dict[str, Any] | None) -> tuple[str, ...]:
    size = each.size
    parts = [
        count(size.connections, "client"),
        count(size.namespaces, "namespace"),
        f"{count(size.rooms, 'room')} in each" if size.rooms else "",
        f"{count(size.asks, 'ask')} of each end",
        *(words for name, words in _EXTRAS.items() if getattr(size, name)),
    ]
    what = "*searched*" if each.is_searched else "proved"
    if figures is None:
        what = f"to be {what}"
    if each.is_live:
        what += f": {each.properties[0]}"
    names = ("states", "transitions", "depth", "seconds", "mebibytes")
    numbers = [f"{figures[name]:,}" if figures else "" for name in names]
    return each.name, ", ".join(part for part in parts if part), what, *numbers


def recordings_on_paths() -> str:
    """Say how many recordings are paths of the model, and what leaves it in the others."""
    found = [[*departures(each.path, machines())] for each in recordings.recordings().values()]
    left = [each[0].reason for each in found if each]
    ours = left.count(SUITE)
    return (
        f"Of {count(len(found), 'recording')}, {len(found) - len(left)} are paths of the model. In "
        f"{ours} others, the suite leaves the model on purpose, and in {len(left) - ours}, a peer "
        "leaves it by a [difference](differences.md) or a violation that the recording names."
    )


def rows() -> str:
    """Say how many rows of the tables two correct ends take, of all."""
    return f"{len(results.load()['taken'])} of the {len(rows_of(machines()))} rows"


def untaken() -> str:
    """Name the rows that no correct ends take."""
    taken = {*results.load()["taken"]}
    found = [
        (machine, row.state, row.input, row.guard)
        for machine, row in rows_of(machines())
        if row_name(machine, row) not in taken
    ]
    return table(("table", "in state", "on", "if"), found)


def faults(root: str) -> str:
    """List the tables with one wrong row, each with its counterexample."""
    found = [
        (
            f"*{each.property}*",
            each.about,
            row_name(each.row[0], _named(each.row)),
            each.violation or "",
            f"[{count(counterexamples()[each.name].rows, 'message')}]"
            f"({root}{counterexamples()[each.name].uri})",
        )
        for each in FAULTS
    ]
    return table(("refuted", "a peer that …", "row", "the monitor sees", "counterexample"), found)


def _named(row: tuple[str, str, str, str]) -> Any:
    name, state, input_, guard = row
    [found] = [each for each in machines()[name].rows[state, input_] if each.guard == guard]
    return found
