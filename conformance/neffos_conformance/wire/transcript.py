"""Recordings: one JSON object per line.

The first line is the header, each further one is the opening of a connection, a message, or an
closing. The schema is ``data/schema/transcript.json``. Lines are written as they happen and read
one at a time: a recording of any size needs no more memory than its longest line, and one that was
cut off, or damaged in the middle, is read as far as it goes and beyond the damage.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import orjson

from neffos_codec import Native, first_surrogate
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.payloads import payload_bytes, payload_text

TRANSCRIPT_FORMAT: Final = 1

MAX_LINE: Final = 128 << 20
"""Bytes of a line. A message of 16 MiB takes six times as many when JSON has to escape each of its
characters; a longer line is not of this format, and is skipped."""

KEPT_HEADERS: Final = ("x-conformance-", "x-websocket-")
"""The beginnings of the names of request headers that are recorded. Others may be secrets."""


class ConnectionOpened(NamedTuple):
    """A client opened a connection.

    Attributes:
        path: path and query of its request, below the URL of the server.
        headers: those of its headers that the conformance application reads.
    """

    path: str
    headers: Mapping[str, str]


Content = str | bytes | ConnectionClosed | ConnectionOpened
"""A message (text with bytes that are not UTF-8 as surrogates), a closing, or an opening."""


class Entry(NamedTuple):
    """One line of a transcript after its header.

    Attributes:
        line: its number in the file; 0 if there is no file.
        time: seconds since the recording began.
        connection: the number of the connection, from 1.
        from_client: whether the client did it.
        content: what was sent or done.
    """

    line: int
    time: float
    connection: int
    from_client: bool
    content: Content


@dataclass(frozen=True, slots=True)
class Damage:
    """A line that cannot be read.

    Attributes:
        line: its number in the file.
        what: what is wrong with it.
    """

    line: int
    what: str


Header = dict[str, Any]
"""The first line: where the recording comes from."""


class TranscriptError(ValueError):
    """A transcript that cannot be used; the text names file and line."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """A whole recording."""

    header: Header
    entries: tuple[Entry, ...]


def header(
    *,
    scenario: str,
    client: Mapping[str, str],
    server: Mapping[str, str],
    how: str,
    native: str = "never",
    shows: tuple[str, ...] = (),
    defects: Mapping[str, str] | None = None,
    divergence: str = "",
) -> Header:
    """Make the header of a recording that begins now.

    Args:
        scenario: what happens in the session, in a sentence.
        client: the client: ``peer``, ``version`` and whatever else is known.
        server: the server, likewise.
        how: the command that records.
        native: the mode of native messages, a value of ``neffos_codec.Native``.
        shows: the requirements that the session covers.
        defects: requirements that one of the peers is known to violate here, and its role.
        divergence: the difference that it shows: a peer violates all its requirements here,
            whether the messages alone prove it or not.
    """
    values: Header = {
        "format": TRANSCRIPT_FORMAT,
        "scenario": scenario,
        "client": dict(client),
        "server": dict(server),
        "recorded": datetime.now(UTC).isoformat(timespec="seconds"),
        "how": how,
    }
    if native != "never":
        values["native"] = native
    if shows:
        values["shows"] = list(shows)
    if defects:
        values["defects"] = dict(defects)
    if divergence:
        values["divergence"] = divergence
    return values


class Writer:
    """Writes a recording, each line as it happens.

    Args:
        stream: where to write; each line is flushed, so that a recording that is cut off ends
            after a whole line, or nearly so.
        first: the header.
    """

    def __init__(self, stream: BinaryIO, first: Header) -> None:
        self._stream = stream
        self._began = time.monotonic()
        self._write(first)

    def write(self, connection: int, from_client: bool, content: Content) -> None:
        """Write what has just happened.

        Raises:
            OSError: it cannot be written.
        """
        now = time.monotonic() - self._began
        self._write(values_of(Entry(0, now, connection, from_client, content)))

    def _write(self, values: Mapping[str, Any]) -> None:
        self._stream.write(_line(values))
        self._stream.flush()


def lines(first: Header, entries: Iterable[Entry]) -> Iterator[bytes]:
    """Give a header and entries as the lines of a transcript."""
    for values in (first, *map(values_of, entries)):
        yield _line(values)


def save(path: Path, first: Header, entries: Iterable[Entry]) -> None:
    """Write a header and entries as a transcript.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        stream.writelines(lines(first, entries))


def _line(values: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(values) + b"\n"
    except orjson.JSONEncodeError:  # the likeliest cause is the only one that is not our mistake
        return orjson.dumps(_with_utf8(values)) + b"\n"


def _with_utf8(value: Any) -> Any:
    """Replace text without a UTF-8 form, in names, headers, reasons: JSON cannot hold it."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, Mapping):
        return {_with_utf8(key): _with_utf8(each) for key, each in value.items()}
    return [_with_utf8(each) for each in value] if isinstance(value, list) else value


def values_of(entry: Entry) -> dict[str, Any]:
    """Give an entry as values for JSON."""
    values: dict[str, Any] = {
        "time": round(entry.time, 6),
        "connection": entry.connection,
        "from": "client" if entry.from_client else "server",
    }
    match entry.content:
        case ConnectionClosed(code, reason):
            values["closed"] = {"code": code, "reason": reason}
        case ConnectionOpened(path, headers):
            values["opened"] = {"path": path, "headers": dict(headers)}
        case bytes(data):
            values |= {"kind": "binary", "base64": base64.b64encode(data).decode()}
        case str(text) if first_surrogate(text) < 0:
            values["text"] = text
        case str(text):
            data = payload_bytes(text)
            values |= {"kind": "text", "base64": base64.b64encode(data).decode()}
    return values


def read_lines(stream: BinaryIO) -> Iterator[Header | Entry | Damage]:
    """Give a recording line by line: first the header, or what is wrong with it."""
    loads = orjson.loads
    new = tuple.__new__  # an Entry without the call of its constructor, a tenth of the whole
    number = 0
    while line := stream.readline(MAX_LINE):
        number += 1
        if len(line) == MAX_LINE and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = stream.readline(1 << 16)
            yield Damage(number, f"the line has more than {MAX_LINE} bytes")
            continue
        try:
            values = loads(line)
        except orjson.JSONDecodeError as error:
            cut = "" if line.endswith(b"\n") else "; the recording ends in the middle of it"
            yield Damage(number, f"not JSON: {error}{cut}")
            continue
        if number == 1:
            yield _header(values)
            continue
        try:
            connection, text = values["connection"], values.get("text")
            if type(connection) is not int:
                raise TypeError(f"connection is a whole number, not {connection!r}")
            content = text if type(text) is str else _content(values)
            yield new(Entry, (number, values["time"], connection, _FROM[values["from"]], content))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            yield Damage(number, f"not a line of a transcript: {error!r}")


def read_transcript(path: Path) -> Transcript:
    """Read a whole recording, without damage.

    Raises:
        TranscriptError: a line is not of the format; the message names the line.
        OSError: the file cannot be read.
    """
    found: Header | None = None
    entries: list[Entry] = []
    with path.open("rb") as stream:
        for item in read_lines(stream):
            match item:
                case Entry():
                    entries.append(item)
                case Damage(line, what):
                    raise TranscriptError(f"{path.name}, line {line}: {what}")
                case _:
                    found = item
    if found is None:
        raise TranscriptError(f"{path.name} is empty")
    return Transcript(found, tuple(entries))


_FROM: Final = {"client": True, "server": False}


def _header(values: Any) -> Header | Damage:
    if not isinstance(values, dict) or values.get("format") != TRANSCRIPT_FORMAT:
        return Damage(1, f"not the header of a transcript of format {TRANSCRIPT_FORMAT}")
    for key, (form, is_of_form) in _FORMS.items():
        if (key in values or key in _REQUIRED) and not is_of_form(values.get(key)):
            return Damage(1, f"not the header of a transcript: {key} is {form}")
    return values


def _is_text(value: Any) -> bool:
    return type(value) is str


def _is_peer(value: Any) -> bool:
    return isinstance(value, dict) and "peer" in value and all(map(_is_text, value.values()))


def _is_native(value: Any) -> bool:
    return value in _NATIVE


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _are_defects(value: Any) -> bool:
    return isinstance(value, dict) and all(each in tuple(_FROM) for each in value.values())


_NATIVE: Final = tuple(mode.value for mode in Native)
_REQUIRED: Final = ("scenario", "client", "server")
_FORMS: Final[Mapping[str, tuple[str, Callable[[Any], bool]]]] = {
    "scenario": ("a text", _is_text),
    "client": ("an object of texts, with a peer", _is_peer),
    "server": ("an object of texts, with a peer", _is_peer),
    "native": (f"one of {', '.join(_NATIVE)}", _is_native),
    "shows": ("a list of texts", _are_texts),
    "defects": ("an object with the role that breaks each requirement", _are_defects),
}
"""The forms that users of a header rely on. The schema says more, but would have to be loaded."""


def _content(values: Mapping[str, Any]) -> Content:
    if "base64" in values:
        data = base64.b64decode(values["base64"], validate=True)
        return payload_text(data) if values["kind"] == "text" else data
    if "closed" in values:
        return ConnectionClosed(values["closed"]["code"], values["closed"]["reason"])
    return ConnectionOpened(values["opened"]["path"], values["opened"]["headers"])
