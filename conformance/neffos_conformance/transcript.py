"""Recorded sessions: one JSON object per line, kept as they went by.

The first line says where the recording comes from, each further one is a message or the end
of a connection. The schema is ``data/schema/transcript.json``.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from neffos_conformance.connection import Closed
from neffos_conformance.run import Line

TRANSCRIPT_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a transcript after its header.

    Attributes:
        time: seconds since the first line.
        connection: the number of the connection, from 1.
        from_client: who sent it, or who ended the connection.
        content: the payload as it was, or the end.
    """

    time: float
    connection: int
    from_client: bool
    content: str | bytes | Closed


@dataclass(frozen=True, slots=True)
class Transcript:
    """A recording: its header as it stands in the file, and its entries."""

    header: dict[str, Any]
    entries: tuple[Entry, ...]


def write_transcript(
    path: Path, *, scenario: str, server: dict[str, Any], how: str, exchange: Sequence[Line]
) -> None:
    """Write one exchange of the suite with a server as a transcript.

    Args:
        path: the file, written anew.
        scenario: what the session is about, in a sentence.
        server: who the server is: peer, version and whatever else is known.
        how: the command that recorded it.
        exchange: what went by.
    """
    header = {
        "format": TRANSCRIPT_FORMAT,
        "scenario": scenario,
        "client": {"peer": "neffos-wire", "version": version("neffos-wire")},
        "server": server,
        "recorded": datetime.now(UTC).isoformat(timespec="seconds"),
        "how": how,
    }
    lines = [header, *(_entry_values(line) for line in exchange)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def read_transcript(path: Path) -> Transcript:
    """Read a transcript.

    Raises:
        ValueError: a line is not what the format says; the message names the line.
    """
    with path.open(encoding="utf-8", newline="\n") as file:
        values = list(_objects(path, file))
    if not values or values[0].get("format") != TRANSCRIPT_FORMAT:
        raise ValueError(f"{path.name}, line 1: not a transcript of format {TRANSCRIPT_FORMAT}")
    entries = []
    for number, value in enumerate(values[1:], start=2):
        try:
            entries.append(_entry(value))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path.name}, line {number}: {error!r}") from error
    return Transcript(values[0], tuple(entries))


def _objects(path: Path, lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, start=1):
        try:
            value = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{path.name}, line {number}: {error}") from error
        if not isinstance(value, dict):
            raise ValueError(f"{path.name}, line {number}: not an object")
        yield value


def _entry(value: dict[str, Any]) -> Entry:
    content: str | bytes | Closed
    if "closed" in value:
        content = Closed(value["closed"]["code"], value["closed"]["reason"])
    elif "text" in value:
        content = value["text"]
    else:
        octets = base64.b64decode(value["base64"], validate=True)
        broken_text = value.get("kind") == "text"
        content = octets.decode("utf-8", "surrogateescape") if broken_text else octets
    return Entry(value["time"], value["connection"], value["from"] == "client", content)


def _entry_values(line: Line) -> dict[str, Any]:
    values: dict[str, Any] = {
        "time": round(line.time, 6),
        "connection": 1,
        "from": "client" if line.sent else "server",
    }
    match line.content:
        case Closed(code, reason):
            values["closed"] = {"code": code, "reason": reason}
        case bytes(octets):
            values |= {"kind": "binary", "base64": base64.b64encode(octets).decode()}
        case str(text):
            try:
                text.encode()
                values["text"] = text
            except UnicodeEncodeError:
                octets = text.encode("utf-8", "surrogateescape")
                values |= {"kind": "text", "base64": base64.b64encode(octets).decode()}
    return values
