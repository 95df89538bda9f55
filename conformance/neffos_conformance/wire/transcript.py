"""Transcripts: recorded sessions as JSON Lines.

The first line is the header. Each further line is the opening of a connection, a message, or the
end of a connection. The schema is ``data/schema/transcript.json``. Lines are written as they
happen and read one at a time, so that a recording of any size needs no more memory than its
longest line. An unreadable line does not keep the rest from being read.
"""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final, Literal, NamedTuple

import msgspec

from neffos_codec import Native, first_surrogate
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.payloads import payload_bytes, payload_text

TRANSCRIPT_FORMAT: Final = 2

MAX_LINE: Final = 128 << 20
"""Bytes of a line. A message of 16 MiB takes six times as many when JSON has to escape each of
its characters; a longer line is skipped."""

MAX_TIME: Final = 1e10
"""Seconds. No recording takes centuries; a line with more is not read."""

KEPT_HEADERS: Final = ("x-conformance-", "x-websocket-")
"""Prefixes of the request headers that are recorded. Others may be secrets."""


class ConnectionOpened(NamedTuple):
    """A client opened a connection.

    Attributes:
        path: path and query of its request, relative to the server's URL.
        headers: those of its headers that change what the server does.
    """

    path: str
    headers: Mapping[str, str]


Content = str | bytes | ConnectionClosed | ConnectionOpened
"""A message (bytes of text that are not UTF-8 as surrogates), or the end or the opening of a
connection."""


class Entry(NamedTuple):
    """One line of a transcript after its header.

    Attributes:
        line: its number in the file; 0 if it comes from no file.
        time: seconds since the recording began.
        connection: the number of the connection, from 1.
        from_client: whether the client sent it, or opened or ended the connection.
        content: what happened.
    """

    line: int
    time: float
    connection: int
    from_client: bool
    content: Content


@dataclass(frozen=True, slots=True)
class UnreadableLine:
    """A line that is not what the format says.

    Attributes:
        line: its number in the file.
        reason: what is wrong with it.
    """

    line: int
    reason: str


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
    difference: str = "",
) -> Header:
    """Make the header of a recording that begins now.

    Args:
        scenario: the subject of the session, in a sentence.
        client: the client: ``peer``, ``version`` and whatever else is known.
        server: the server, likewise.
        how: the command that records.
        native: what becomes of payloads that are not frames, as ``neffos_codec.Native`` has it.
        shows: the requirements that the session shows.
        defects: the requirements that a peer is known to violate in it, with the peer's role.
        difference: the difference (DV-n) that it shows, whether the messages alone prove it or
            not.
    """
    optional = {
        "native": native if native != "never" else "",
        "shows": list(shows),
        "defects": dict(defects or {}),
        "difference": difference,
    }
    return {
        "format": TRANSCRIPT_FORMAT,
        "scenario": scenario,
        "client": dict(client),
        "server": dict(server),
        "recorded": datetime.now(UTC).isoformat(timespec="seconds"),
        "how": how,
        **{name: value for name, value in optional.items() if value},
    }


class Writer:
    """Writes a recording, each line as it happens.

    Args:
        stream: the file; each line is flushed, so that a recording that is cut off is complete
            but for its last line.
        first: the header.
    """

    def __init__(self, stream: BinaryIO, first: Header) -> None:
        self._stream = stream
        self._began = time.monotonic()
        self._write(_line(first))

    def write(self, connection: int, from_client: bool, content: Content) -> None:
        """Write what has just happened.

        Raises:
            OSError: it cannot be written.
        """
        now = time.monotonic() - self._began
        self._write(_line(values_of(Entry(0, now, connection, from_client, content))))

    def _write(self, line: bytes) -> None:
        self._stream.write(line)
        self._stream.flush()


def lines(first: Header, entries: Iterable[Entry]) -> Iterator[bytes]:
    """Give a session as the lines of a transcript."""
    for values in (first, *map(values_of, entries)):
        yield _line(values)


def save(path: Path, first: Header, entries: Iterable[Entry]) -> None:
    """Write a session as a transcript.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        stream.writelines(lines(first, entries))


def _line(values: Mapping[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(values) + b"\n"
    except UnicodeEncodeError:
        return msgspec.json.encode(_with_utf8(values)) + b"\n"


def _with_utf8(value: Any) -> Any:
    """Replace what has no UTF-8 form, in names, headers, reasons: JSON cannot hold it."""
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
        case bytes(payload):
            values |= {"kind": "binary", "base64": b64encode(payload).decode()}
        case str(text) if first_surrogate(text) < 0:
            values["text"] = text
        case str(text):
            values |= {"kind": "text", "base64": b64encode(payload_bytes(text)).decode()}
    return values


# -------------------------------------------------------------------- reading


class _Opened(msgspec.Struct):
    path: str
    headers: dict[str, str]


class _Closed(msgspec.Struct):
    code: int | None
    reason: str


class _Line(msgspec.Struct, gc=False):  # nothing in it can be part of a cycle
    time: Annotated[float, msgspec.Meta(ge=0, lt=MAX_TIME)]
    connection: Annotated[int, msgspec.Meta(ge=1)]
    sender: Literal["client", "server"] = msgspec.field(name="from")
    text: str | None = None
    kind: Literal["text", "binary"] | None = None
    base64: bytes | None = None
    closed: _Closed | None = None
    opened: _Opened | None = None

    def content(self) -> Content:
        """Give what happened, if that is not a plain text."""
        if self.base64 is not None and self.kind is not None:
            return payload_text(self.base64) if self.kind == "text" else self.base64
        if self.closed is not None:
            return ConnectionClosed(self.closed.code, self.closed.reason)
        if self.opened is not None:
            return ConnectionOpened(self.opened.path, self.opened.headers)
        raise ValueError("it is neither a message nor the opening or the end of a connection")


class _HeaderForm(msgspec.Struct):
    """The parts of a header that are used; the schema describes all of it."""

    format: Literal[2]  # TRANSCRIPT_FORMAT
    scenario: str
    client: dict[str, str]
    server: dict[str, str]
    native: Native = Native.NEVER
    shows: list[str] = []
    defects: dict[str, Literal["client", "server"]] = {}

    def __post_init__(self) -> None:
        for name, peer in (("client", self.client), ("server", self.server)):
            if "peer" not in peer:
                raise ValueError(f"{name} has no peer")


def read_lines(stream: BinaryIO) -> Iterator[Header | Entry | UnreadableLine]:
    """Read a recording line by line: first the header, or what is wrong with it."""
    decode = msgspec.json.Decoder(_Line).decode
    new = tuple.__new__  # an Entry without the call of its constructor, a tenth of the whole
    number = 0
    while line := stream.readline(MAX_LINE):
        number += 1
        if len(line) == MAX_LINE and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = stream.readline(1 << 16)
            yield UnreadableLine(number, f"the line has more than {MAX_LINE} bytes")
            continue
        try:
            if number == 1:
                first: Header = msgspec.json.decode(line)
                msgspec.convert(first, _HeaderForm)
            else:
                values = decode(line)
                content = values.content() if values.text is None else values.text
        except (ValueError, RecursionError) as error:
            yield UnreadableLine(number, _complaint(line, number, error))
            continue
        if number == 1:
            yield first
        else:
            is_client = values.sender == "client"
            yield new(Entry, (number, values.time, values.connection, is_client, content))


def _complaint(line: bytes, number: int, error: Exception) -> str:
    if not line.endswith(b"\n"):
        return f"not JSON: the recording ends in the middle of the line: {error}"
    try:
        msgspec.json.decode(line)
    except (ValueError, RecursionError) as malformed:
        return f"not JSON: {malformed}"
    what = f"the header of a transcript of format {TRANSCRIPT_FORMAT}"
    return f"not {what if number == 1 else 'a line of a transcript'}: {error}"


def read_transcript(path: Path) -> Transcript:
    """Read a whole recording.

    Raises:
        TranscriptError: a line cannot be read; the text names it.
        OSError: the file cannot be read.
    """
    found: Header | None = None
    entries: list[Entry] = []
    with path.open("rb") as stream:
        for item in read_lines(stream):
            match item:
                case Entry():
                    entries.append(item)
                case UnreadableLine(line, reason):
                    raise TranscriptError(f"{path.name}, line {line}: {reason}")
                case _:
                    found = item
    if found is None:
        raise TranscriptError(f"{path.name} is empty")
    return Transcript(found, tuple(entries))
