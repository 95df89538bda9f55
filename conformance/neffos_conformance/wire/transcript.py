"""Transcripts: recorded sessions as JSON Lines.

The first line is the header. Each further line is the opening of a connection, a message, the
end of a connection, or what a server published on the broker of its cluster. The schema is
``data/schema/transcript.json``. Lines are written as they happen and read one at a time, so that a
recording of any size needs no more memory than its longest line. An unreadable line does not keep
the rest from being read.
"""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final, Literal, NamedTuple

import msgspec

from neffos_codec import Native, first_surrogate
from neffos_conformance.wire.closing import ConnectionClosed
from neffos_conformance.wire.files import EncodingError, without_mark
from neffos_conformance.wire.packed import (
    DamagedError,
    InputError,
    open_file,
    open_packed,
    unpacked,
)
from neffos_conformance.wire.payloads import payload_bytes, payload_text

TRANSCRIPT_FORMAT: Final = 2

MAX_LINE: Final = 128 << 20
"""Bytes of a line. A message of 16 MiB takes six times as many when JSON has to escape each of
its characters; a longer line is skipped."""

MAX_HEADERS: Final = 1 << 20
"""Bytes of the first line, and of the headers of a request: what is built of them takes some thirty
times as much memory. Servers take some kilobytes of headers."""

MAX_TIME: Final = 1e10
"""Seconds. No recording takes centuries; a line with more is not read."""

MAX_NODE: Final = 1 << 10
"""The highest number of a server in a cluster; tested ones have two."""

MAX_CONNECTION: Final = (1 << 53) - 1
"""The highest number of a connection: what every reader of JSON has exactly."""

MAX_CODE: Final = 0xFFFF
"""A close code has two bytes (RFC 6455, 5.5.1)."""


class ConnectionOpened(NamedTuple):
    """A client opened a connection.

    Attributes:
        path: path and query of its request, relative to the server's URL.
        headers: those of its headers that change what the server does.
        node: the number of the server in its cluster, from 1.
    """

    path: str
    headers: Mapping[str, str]
    node: int = 1


class Published(NamedTuple):
    """Something was published on the broker of a cluster.

    Attributes:
        channel: the channel of Redis, or the subject of NATS.
        payload: what was published there.
    """

    channel: str
    payload: bytes


Content = str | bytes | ConnectionClosed | ConnectionOpened
"""A message (bytes of text that are not UTF-8 as surrogates), or the end or the opening of a
connection."""


class Entry(NamedTuple):
    """One line of a transcript after its header.

    Attributes:
        line: its number in the file; 0 if it comes from no file.
        time: seconds since the recording began.
        connection: the number of the connection, from 1; 0 for what was published.
        from_client: whether the client sent it, or opened or ended the connection.
        content: what happened.
    """

    line: int
    time: float
    connection: int
    from_client: bool
    content: Content | Published


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
    broker: Mapping[str, str] | None = None,
    other_servers: Sequence[Mapping[str, str]] = (),
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
        broker: the broker of a cluster: its ``kind``, ``redis`` or ``nats``, and as far as they
            are known its ``url`` without secrets and the ``prefix`` of the channels.
        other_servers: the servers of the cluster but the first, which is ``server``.
    """
    optional = {
        "native": native if native != "never" else "",
        "shows": list(shows),
        "defects": dict(defects or {}),
        "difference": difference,
        "broker": {name: value for name, value in (broker or {}).items() if value},
        "other_servers": [dict(each) for each in other_servers],
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
        self._lines = 0
        self._write(line_of(first))

    def write(self, connection: int, from_client: bool, content: Content | Published) -> Entry:
        """Write what has just happened, and give it as an entry.

        Raises:
            OSError: it cannot be written.
        """
        now = time.monotonic() - self._began
        entry = Entry(self._lines + 1, now, connection, from_client, content)
        self._write(line_of(values_of(entry)))
        return entry

    def _write(self, line: bytes) -> None:
        self._stream.write(line)
        self._stream.flush()
        self._lines += 1


def lines(first: Header, entries: Iterable[Entry]) -> Iterator[bytes]:
    """Give a session as the lines of a transcript."""
    for values in (first, *map(values_of, entries)):
        yield line_of(values)


def save(path: Path, first: Header, entries: Iterable[Entry], *, is_new: bool = False) -> None:
    """Write a session as a transcript, which only its owner can read.

    Args:
        path: the file; compressed if it ends with ``.gz`` or ``.zst``.
        first: the header.
        entries: the other lines.
        is_new: replace nothing.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_packed(path, is_new=is_new) as stream:
        for line in lines(first, entries):
            stream.write(line)


def line_of(values: Mapping[str, Any]) -> bytes:
    """Give the values of a line as JSON, with its end."""
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
        case ConnectionClosed(code, reason, cut):
            values["closed"] = {"code": code, "reason": reason} | ({"cut": cut} if cut else {})
        case ConnectionOpened(path, headers, node):
            number = {} if node == 1 else {"node": node}
            values["opened"] = {"path": path, "headers": dict(headers)} | number
        case Published(channel, payload):
            values["published"] = {"channel": channel} | _payload_values(payload)
        case bytes(payload):
            values |= {"kind": "binary", "base64": b64encode(payload).decode()}
        case str(text) if first_surrogate(text) < 0:
            values["text"] = text
        case str(text):
            values |= {"kind": "text", "base64": b64encode(payload_bytes(text)).decode()}
    return values


def _payload_values(payload: bytes) -> dict[str, str]:
    try:
        return {"text": payload.decode()}
    except UnicodeDecodeError:
        return {"base64": b64encode(payload).decode()}


# -------------------------------------------------------------------- reading


class _Opened(msgspec.Struct, forbid_unknown_fields=True):
    path: str
    headers: msgspec.Raw  # not built before its size is known
    node: Annotated[int, msgspec.Meta(ge=1, le=MAX_NODE)] = 1


class _Published(msgspec.Struct, forbid_unknown_fields=True):
    channel: str
    text: str | None = None
    base64: bytes | None = None


class _Closed(msgspec.Struct, forbid_unknown_fields=True):
    code: Annotated[int, msgspec.Meta(ge=0, le=MAX_CODE)] | None
    reason: str
    cut: str = ""


_HEADERS: Final = msgspec.json.Decoder(dict[str, str])


class _Line(msgspec.Struct, gc=False, forbid_unknown_fields=True):  # it is part of no cycle
    time: Annotated[float, msgspec.Meta(ge=0, lt=MAX_TIME)]
    connection: Annotated[int, msgspec.Meta(ge=0, le=MAX_CONNECTION)]
    sender: Literal["client", "server"] = msgspec.field(name="from")
    text: str | None = None
    kind: Literal["text", "binary"] | None = None
    base64: bytes | None = None
    closed: _Closed | None = None
    opened: _Opened | None = None
    published: _Published | None = None

    def content(self) -> Content | Published:
        """Give what happened; of its forms, a line has exactly one."""
        text, payload, closed, opened = self.text, self.base64, self.closed, self.opened
        if self.published is not None or not self.connection:
            return self._published()
        found = 4 - (text, payload, closed, opened).count(None)
        if not found or (payload is None) is not (self.kind is None):
            raise ValueError("it is neither a message nor the opening or the end of a connection")
        if found > 1:
            raise ValueError("it is more than one message, opening or end of a connection")
        if text is not None:
            return text
        if payload is not None:
            return payload_text(payload) if self.kind == "text" else payload
        if closed is not None:
            return ConnectionClosed(closed.code, closed.reason, closed.cut)
        assert opened is not None  # noqa: S101  # the only one left
        if self.sender != "client":
            raise ValueError("a server opens no connection")
        if len(memoryview(opened.headers)) > MAX_HEADERS:
            raise ValueError(f"the headers have more than {MAX_HEADERS} bytes")
        return ConnectionOpened(opened.path, _HEADERS.decode(opened.headers), opened.node)

    def _published(self) -> Published:
        found = self.published
        others = (self.text, self.kind, self.base64, self.closed, self.opened)
        if found is None or self.connection or others.count(None) < len(others):
            raise ValueError("what was published is all there is on connection 0, and only there")
        if self.sender != "server":
            raise ValueError("a client publishes nothing")
        if (found.text is None) is (found.base64 is None):
            raise ValueError("what was published has either a text or base64")
        return Published(found.channel, found.base64 or (found.text or "").encode())


class _Head(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A line whose message is not built, which takes a quarter of the time."""

    time: Annotated[float, msgspec.Meta(ge=0, lt=MAX_TIME)]
    connection: Annotated[int, msgspec.Meta(ge=0, le=MAX_CONNECTION)]
    sender: Literal["client", "server"] = msgspec.field(name="from")
    text: msgspec.Raw


@dataclass(slots=True)
class Sieve:
    """What a reader passes over, because another process checks it: texts on some connections.

    Attributes:
        is_first: this process also reports unreadable lines that are not those of ``own``.
        own: its open connections.
        others: those of other processes.
        passed: the last line that was passed over; empty if an entry follows it.
    """

    is_first: bool
    own: set[int] = field(default_factory=set)
    others: set[int] = field(default_factory=set)
    passed: bytes = b""

    def open(self, connection: int, *, is_own: bool) -> None:
        """Take the beginning of a connection."""
        (self.own if is_own else self.others).add(connection)

    def close(self, connection: int) -> None:
        """Take its end: further lines are read by all."""
        self.own.discard(connection)
        self.others.discard(connection)

    def last_time(self) -> float | None:
        """Give the time of a line that was passed over after all entries, if one was."""
        try:
            values = msgspec.json.decode(self.passed, type=_Line)
            values.content()
        except ValueError:  # it is empty, or unreadable
            return None
        return values.time


_UNKNOWN_DATE: Final = "0000-00-00T"


class _Broker(msgspec.Struct, forbid_unknown_fields=True):
    kind: Literal["redis", "nats"]
    url: str = ""
    prefix: str = ""


class _HeaderForm(msgspec.Struct, forbid_unknown_fields=True):
    """A header, as the schema describes it."""

    format: Literal[2]  # TRANSCRIPT_FORMAT
    scenario: Annotated[str, msgspec.Meta(min_length=1)]
    client: dict[str, str]
    server: dict[str, str]
    recorded: Annotated[str, msgspec.Meta(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}T")] = _UNKNOWN_DATE
    how: Annotated[str, msgspec.Meta(min_length=1)] = "unknown"
    native: Native = Native.NEVER
    shows: list[str] = []
    defects: dict[str, Literal["client", "server"]] = {}
    difference: Annotated[str, msgspec.Meta(pattern="^DV-[1-9][0-9]*$")] = "DV-1"
    broker: _Broker | None = None
    other_servers: Annotated[list[dict[str, str]], msgspec.Meta(max_length=MAX_NODE - 1)] = []

    def __post_init__(self) -> None:
        servers = (("other_servers", each) for each in self.other_servers)
        for name, peer in (("client", self.client), ("server", self.server), *servers):
            if not peer.get("peer"):
                raise ValueError(f"{name} has no peer")


def read_lines(
    stream: BinaryIO, sieve: Sieve | None = None
) -> Iterator[Header | Entry | UnreadableLine]:
    """Read a recording line by line: first the header, or what is wrong with it.

    Each line has the one form that the schema describes, or is unreadable. Empty lines and the
    mark of UTF-8 at the start are passed over: editors add both. Where a compressed recording is
    damaged, or a file cannot be read on, the line that it breaks off in is the last one.

    Args:
        stream: the recording, unpacked.
        sieve: what is passed over.
    """
    decode = msgspec.json.Decoder(_Line).decode
    new = tuple.__new__  # an Entry without the call of its constructor, a tenth of the whole
    decode_head = msgspec.json.Decoder(_Head).decode
    is_reported = is_first = sieve is None or sieve.is_first
    own, others = (sieve.own, sieve.others) if sieve else ((), ())
    number = 0
    is_header = True
    while True:
        try:
            line = stream.readline(MAX_LINE)
        except DamagedError as error:
            if is_first:
                yield UnreadableLine(number + 1, str(error))
            return
        except OSError as error:
            if is_first:
                yield UnreadableLine(number + 1, f"the file cannot be read on: {error}")
            return
        if not line:
            return
        number += 1
        if len(line) == MAX_LINE and not line.endswith(b"\n"):
            with suppress(DamagedError, OSError):  # the next line says so
                while line and not line.endswith(b"\n"):
                    line = stream.readline(1 << 16)
            if is_first:
                yield UnreadableLine(number, f"the line has more than {MAX_LINE} bytes")
            is_header = False
            continue
        if sieve is not None and not is_header:
            is_reported = is_first
            try:
                connection = decode_head(line).connection
                if connection in others:
                    sieve.passed = line
                    continue
                is_reported |= connection in own
            except (ValueError, RecursionError):  # it has another form, or none
                pass
        try:
            if is_header:
                first = read_header(without_mark(line) if number == 1 else line)
            else:
                values = decode(line)
                content: Content | Published | None = values.text
                if (  # nearly every line is a text and nothing else
                    content is None
                    or values.kind is not None
                    or values.base64 is not None
                    or values.closed is not None
                    or values.opened is not None
                    or values.published is not None
                    or not values.connection
                ):
                    content = values.content()
                if sieve is not None:
                    sieve.passed = b""
        except EncodingError as error:
            if is_first:
                yield UnreadableLine(number, str(error))
            return
        except (ValueError, RecursionError) as error:
            if not line or line.isspace():
                continue
            if is_reported:
                yield UnreadableLine(number, _complaint(line, is_header, error))
            is_header = False
            continue
        if is_header:
            is_header = False
            yield first
        else:
            is_client = values.sender == "client"
            yield new(Entry, (number, values.time, values.connection, is_client, content))


def read_header(line: bytes) -> Header:
    """Read a header.

    Raises:
        ValueError: it is too large, or not a header; the text says why.
        RecursionError: it is nested too deeply.
    """
    if len(line) > MAX_HEADERS:
        raise ValueError(f"it has more than {MAX_HEADERS} bytes")
    first = _upgraded(msgspec.json.decode(line))
    msgspec.convert(first, _HeaderForm)
    return first


def _upgraded(first: Any) -> Header:
    """Give a header in the present format, without the members that only format 1 had."""
    if not isinstance(first, dict) or first.get("format") != 1 or first["format"] is True:
        return first  # type: ignore[no-any-return]  # it is checked next
    known = {name: first[name] for name in _HeaderForm.__struct_fields__ if name in first}
    return known | {"format": TRANSCRIPT_FORMAT}


def _complaint(line: bytes, is_header: bool, error: Exception) -> str:
    if not line.endswith(b"\n"):
        return f"not JSON: the recording ends in the middle of the line: {error}"
    try:
        msgspec.json.decode(line, type=msgspec.Raw)
    except (ValueError, RecursionError) as malformed:
        return f"not JSON: {malformed}"
    what = f"the header of a transcript of format {TRANSCRIPT_FORMAT}"
    return f"not {what if is_header else 'a line of a transcript'}: {error}"


def read_transcript(path: Path) -> Transcript:
    """Read a whole recording, plain or compressed.

    Raises:
        TranscriptError: the file or a line cannot be read; the text names it.
    """
    found: Header | None = None
    entries: list[Entry] = []
    try:
        with open_file(path) as file:
            for item in read_lines(unpacked(file)):
                match item:
                    case Entry():
                        entries.append(item)
                    case UnreadableLine(line, reason):
                        raise TranscriptError(f"{path.name}, line {line}: {reason}")
                    case _:
                        found = item
    except InputError as error:
        raise TranscriptError(str(error)) from error
    if found is None:
        raise TranscriptError(f"{path.name} is empty")
    return Transcript(found, tuple(entries))
