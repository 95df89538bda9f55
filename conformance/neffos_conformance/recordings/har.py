"""Reads the WebSocket messages that a browser saved in a HAR, as recordings.

A HAR contains all that a page loaded. It is read entry by entry, so that memory is needed for
the largest entry, not for the file. What identifies a person (cookies, other headers, the values
of the query) is left out. The messages are kept as they are.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, BinaryIO, Final, Literal
from urllib.parse import SplitResult, urlsplit, urlunsplit

import ijson  # type: ignore[import-untyped]
import msgspec

from neffos_codec import (
    CodecError,
    Decoding,
    HandshakeRequest,
    decode_handshake,
)
from neffos_conformance.recordings.shares import ALL, Share
from neffos_conformance.wire.closing import ConnectionClosed
from neffos_conformance.wire.files import EncodingError
from neffos_conformance.wire.json_bounds import BoundedJson, JsonBoundsError
from neffos_conformance.wire.packed import DamagedError
from neffos_conformance.wire.payloads import frame_of
from neffos_conformance.wire.secrets import kept, masked, masked_target, masked_url
from neffos_conformance.wire.text import shorten
from neffos_conformance.wire.transcript import (
    ConnectionOpened,
    Content,
    Entry,
    Header,
    UnreadableLine,
    header,
)
from neffos_protocol.names import CHANGE_OF
from neffos_protocol.text import visible

HOW: Final = "neffos-wire import"

_LOOKED_AT: Final = 50
"""Messages within which a connection shows whether it is neffos. The handshake is the first two,
and in a HAR that begins later a namespace is connected soon."""

_TEXT: Final = 1
_BINARY: Final = 2
_CLOSE: Final = 8

_MILLISECONDS: Final = 1e11
"""A time above this is in milliseconds, as Playwright writes it; in seconds it is the year 5138."""

_BROWSERS: Final = re.compile(r"\b(Edg|OPR|Vivaldi|Firefox|HeadlessChrome|Chrome)/([\d.]+)")
"""The products of a user agent that name the browser, where the HAR names only its engine. The
last one counts: each browser on Chromium calls itself Chrome first."""


class HarError(ValueError):
    """A HAR, or a part of it, that cannot be used; the text names the entry and the message."""


@dataclass(slots=True)
class Har:
    """A HAR that is being read.

    Attributes:
        creator: what wrote it; known once the entries begin, if it precedes them.
        browser: the browser, likewise; empty if the HAR does not name it.
        entries: how many entries were read.
    """

    creator: dict[str, Any] = field(default_factory=dict)
    browser: dict[str, Any] = field(default_factory=dict)
    entries: int = 0


def read_entries(
    stream: BinaryIO, har: Har, share: Share = ALL
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Give the entries of a HAR one by one, with their numbers from 1; fill ``har`` on the way.

    Args:
        stream: the HAR.
        har: what is filled.
        share: give only the entries of these numbers.

    Raises:
        HarError: this is not JSON, or not a HAR, or it cannot be read.
    """
    builder: Any = None
    found = is_used = is_read = False
    values = 0
    path: list[str] = []  # the key in each open object; an open array has ""
    try:
        for event, value in ijson.basic_parse(BoundedJson(stream), use_float=True):
            if event in _ENDS:
                path.pop()
            elif event == "map_key":
                path[-1] = value
            is_deep = len(path) > len(_ENTRY) + 1  # inside a member of an entry, as nearly all is
            if builder is not None:
                if not is_deep:
                    is_used = _is_used(path)
                if is_used:
                    values += 1
                    if values > MAX_VALUES:
                        raise HarError(f"entry {har.entries + 1} has more than {MAX_VALUES} values")
                    if is_read:
                        builder.event(event, value)
                if not is_deep and event in _ENDS and path in _PARTS:
                    whole, builder = builder.value, None
                    if path != _ENTRY:
                        setattr(har, path[1], whole)
                        continue
                    har.entries += 1
                    if is_read:
                        yield har.entries, whole
            elif event == "start_map" and path in _PARTS:
                builder, values = ijson.ObjectBuilder(), 0
                builder.event(event, value)
                is_read = path != _ENTRY or har.entries + 1 in share
            elif path == _ENTRY and event not in _ENDS:
                raise HarError(f"entry {har.entries + 1} is not an object")
            found |= path == _LIST and event == "start_array"
            if event in _STARTS:
                path.append("")
    except (ijson.JSONError, JsonBoundsError, EncodingError, DamagedError, OSError) as error:
        where = f" after entry {har.entries}" if har.entries else ""
        what = "cannot be read" if isinstance(error, DamagedError | OSError) else "not JSON"
        raise HarError(f"{what}{where}: {_first_line(error)}") from error
    if not found:
        raise HarError("not a HAR: it has no log with entries")


MAX_VALUES: Final = 2_000_000
"""Values of an entry, which are built in memory: some 400,000 messages of one connection."""

_LIST: Final = ["log", "entries"]
_ENTRY: Final = [*_LIST, ""]
_PARTS: Final = (_ENTRY, ["log", "creator"], ["log", "browser"])
_USED: Final = frozenset(
    {"request", "startedDateTime", "_resourceType", "_webSocketMessages"},
)
"""The members of an entry that are built; the others may be large, such as what a page loaded."""

_STARTS: Final = frozenset({"start_map", "start_array"})
_ENDS: Final = frozenset({"end_map", "end_array"})


def _is_used(path: list[str]) -> bool:
    """Whether a value of a part is built."""
    return path[: len(_LIST)] != _LIST or len(path) == len(_ENTRY) or path[len(_ENTRY)] in _USED


@dataclass(frozen=True, slots=True)
class HarConnection:
    """A WebSocket connection of a HAR.

    Attributes:
        url: the server's URL.
        headers: the request's headers, names in lower case.
        began: when, if the HAR says so.
        contents: seconds since the beginning, whether the client sent it, and what.
        ignored: the number of frames that a recording does not contain, such as pings.
    """

    url: SplitResult
    headers: Mapping[str, str]
    began: datetime | None
    contents: tuple[tuple[float, bool, Content], ...]
    ignored: int = 0

    @property
    def speaks_neffos(self) -> bool:
        """Whether it begins with a handshake, or contains a system event."""
        payloads = (content for _, _, content in self.contents[:_LOOKED_AT])
        frames = filter(None, map(frame_of, filter(None, payloads)))
        return self.begins or any(frame.event in CHANGE_OF for frame in frames)

    @property
    def begins(self) -> bool:
        """Whether its first message is the handshake request."""
        _, from_client, content = next(
            (each for each in self.contents if isinstance(each[2], str | bytes) and each[2]),
            (0.0, False, ""),
        )
        return from_client and is_handshake_request(content)  # type: ignore[arg-type]  # a message


def is_web_socket(entry: Mapping[str, Any]) -> bool:
    """Whether an entry of a HAR is a WebSocket connection."""
    if "_webSocketMessages" in entry or entry.get("_resourceType") == "websocket":
        return True
    request = entry.get("request")
    url = request.get("url") if isinstance(request, dict) else None
    return isinstance(url, str) and url.lower().startswith(("ws:", "wss:"))


def read_connection(number: int, entry: Mapping[str, Any]) -> HarConnection:
    """Read the WebSocket connection of an entry.

    Args:
        number: the number of the entry, for the errors.
        entry: an entry for which ``is_web_socket`` holds.

    Raises:
        HarError: the entry is damaged.
    """
    try:
        saved = msgspec.convert(entry, _SavedConnection)
        url = urlsplit(saved.request.url)
        if not url.hostname:
            raise ValueError(f"the url has no host: {masked_url(saved.request.url)}")
        contents = [(each, each.content()) for each in saved.messages or ()]
    except ValueError as error:
        raise HarError(f"entry {number}: {clean(str(error))}") from error
    began = _began(saved.started)
    start = began.timestamp() if began else None
    now = 0.0
    kept: list[tuple[float, bool, Content]] = []
    for message, content in contents:
        if content is None:
            continue
        seconds = message.seconds
        if seconds is not None:
            if start is None or not 0 <= seconds - start < _DAY:
                start = seconds - now  # the two clocks are unrelated
            now = max(now, seconds - start)
        kept.append((now, message.type == "send", content))
    headers = _headers(saved.request.headers)
    return HarConnection(url, headers, began, tuple(kept), len(contents) - len(kept))


_DAY: Final = 86_400.0


class HarSource:
    """A HAR as one recording: a connection has the number of its entry, a line that of a message.

    Only connections that begin with the handshake request of neffos are in it: seen from the
    middle, a conforming peer may seem to violate a requirement.

    Args:
        stream: the file, unpacked.
        name: its name, for the header.
        native: what becomes of payloads that are not frames, as ``neffos_codec.Native`` has it.
        share: read only the entries of these numbers.

    Attributes:
        unit: what the number of a line counts.
        ended: 0, since the end of each connection is known.
        others: WebSocket connections that do not look like neffos.
        silent: WebSocket connections without messages.
        unknown: connections of neffos that begin before the HAR.
    """

    unit = "message"
    ended = 0.0

    def __init__(
        self, stream: BinaryIO, name: str, *, native: str = "never", share: Share = ALL
    ) -> None:
        self.others = self.silent = self.unknown = 0
        self._stream, self._name, self._native, self._share = stream, name, native, share
        self._har = Har()

    def place(self, _: object = None) -> int:
        """Give the number of the entry where the reader is."""
        return self._har.entries

    def items(self) -> Iterator[Header | Entry | UnreadableLine]:
        """Give a header, and what happened on each connection, one after the other.

        A part that cannot be read is an unreadable line with the number of its entry.
        """
        har = self._har
        entries = read_entries(self._stream, har, self._share)
        is_first = True
        while True:
            try:
                number, entry = next(entries)
            except StopIteration:
                return
            except HarError as error:
                if not self._share.number:
                    yield UnreadableLine(har.entries + 1, str(error))
                return
            try:
                if not is_web_socket(entry) or not self._is_read(
                    connection := read_connection(number, entry)
                ):
                    continue
            except HarError as error:
                yield UnreadableLine(number, str(error))
                continue
            first, found = transcript(connection, f"the HAR {self._name}", har, native=self._native)
            if is_first:
                yield first
            is_first = False
            for message, each in enumerate(found):
                yield each._replace(line=message, connection=number)
            if not isinstance(each.content, ConnectionClosed):  # nothing more of it is known
                end = ConnectionClosed(None)
                yield each._replace(line=message + 1, connection=number, content=end)

    def _is_read(self, connection: HarConnection) -> bool:
        if not connection.contents:
            self.silent += 1
        elif not connection.speaks_neffos:
            self.others += 1
        elif not connection.begins:
            self.unknown += 1
        else:
            return True
        return False

    def left_out(self) -> Iterator[tuple[str, int]]:
        """Say which connections are not in the recording and why, and give their numbers."""
        for count, why in (
            (self.silent, "the HAR does not have their messages"),
            (self.unknown, "their beginnings are not in the HAR"),
            (self.others, "they do not look like neffos"),
        ):
            yield f"WebSocket connections were not read: {why}", count


def transcript(
    connection: HarConnection,
    scenario: str,
    har: Har,
    *,
    native: str = "never",
    keep_query: bool = False,
) -> tuple[Header, list[Entry]]:
    """Give a connection as a recording: its header and its entries.

    Args:
        connection: the connection.
        scenario: its description.
        har: the HAR that it comes from.
        native: what becomes of payloads that are not frames, as ``neffos_codec.Native`` has it.
        keep_query: keep the values of all query parameters, secret or not.
    """
    first = header(
        scenario=scenario,
        client=_browser(har, connection.headers.get("user-agent", "")),
        server={"peer": connection.url.netloc.rpartition("@")[2]},
        how=HOW,
        native=native,
    )
    if connection.began is not None:
        first["recorded"] = connection.began.astimezone(UTC).isoformat(timespec="seconds")
    target = urlunsplit(connection.url._replace(scheme="", netloc="", fragment=""))
    if not target.startswith("/"):
        target = f"/{target}"
    path = target if keep_query else masked_target(target)
    opened = ConnectionOpened(path, kept(connection.headers.items()))
    contents = [(0.0, True, opened), *connection.contents]
    return first, [Entry(0, time, 1, sent, content) for time, sent, content in contents]


# -------------------------------------------------------------------- parts of a HAR


class _Request(msgspec.Struct):
    url: str
    headers: Any = None


class _SavedMessage(msgspec.Struct):
    type: Literal["send", "receive", "error"]
    time: Annotated[float, msgspec.Meta(ge=-1, lt=1000 * _MILLISECONDS)] | None = None
    opcode: int = _TEXT
    data: str | None = None
    code: Any = None

    @property
    def seconds(self) -> float | None:
        """The time in seconds since 1970; Playwright writes -1 if it has none."""
        if self.time is None or self.time < 0:
            return None
        return self.time / 1000 if self.time > _MILLISECONDS else self.time

    def content(self) -> str | bytes | ConnectionClosed | None:
        """Give the content of the message; ``None`` if it is a ping or the like.

        Raises:
            ValueError: the message has no data, or is binary and not base64.
        """
        if self.type == "error":  # Chrome's word for a connection that broke
            return ConnectionClosed(None)
        if self.opcode == _CLOSE:
            return ConnectionClosed(self.code if type(self.code) is int else None)
        if self.opcode not in (_TEXT, _BINARY):
            return None
        if self.data is None:
            raise ValueError("a message has no data")
        return self.data if self.opcode == _TEXT else base64.b64decode(self.data, validate=True)


class _SavedConnection(msgspec.Struct):
    request: _Request
    started: Any = msgspec.field(name="startedDateTime", default=None)
    messages: list[_SavedMessage] | None = msgspec.field(name="_webSocketMessages", default=None)


def _began(value: Any) -> datetime | None:
    try:
        began = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return began if began.tzinfo else began.replace(tzinfo=UTC)


def _headers(listed: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in listed if isinstance(listed, list) else ():
        if isinstance(each, dict):
            key, value = each.get("name"), each.get("value")
            if isinstance(key, str) and isinstance(value, str):
                found[key.lower()] = value
    return found


def _browser(har: Har, agent: str) -> dict[str, str]:
    """Give the browser as a header has it, from the HAR or the user agent."""
    creator, browser = _name_and_version(har.creator), _name_and_version(har.browser)
    saved_by = " ".join(filter(None, creator))
    if browser[0]:
        saved_by = "" if browser[0] == creator[0] else saved_by
    elif named := _BROWSERS.findall(agent):
        browser = named[-1]
    else:
        browser, saved_by = (creator[0] or "unknown browser", creator[1]), ""
    values = {"peer": browser[0], "version": browser[1], "saved by": saved_by}
    return {key: value for key, value in values.items() if value}


def _name_and_version(part: Mapping[str, Any]) -> tuple[str, str]:
    name, version = part.get("name"), part.get("version")
    return name if isinstance(name, str) else "", version if isinstance(version, str) else ""


def is_handshake_request(payload: str | bytes) -> bool:
    """Whether a message begins the handshake of neffos."""
    try:
        return decode_handshake(payload, decoding=Decoding.STRICT) == HandshakeRequest()
    except CodecError:
        return False


def _first_line(error: Exception) -> str:
    """Give a parser's message; it quotes the input in further lines, perhaps as bytes."""
    said = error.args[0] if error.args else ""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    return clean(text.partition("\n")[0])


def clean(text: str) -> str:
    """Give a text of the HAR on one line, fit to be shown."""
    return shorten(visible(masked(" ".join(text[:400].split()))), 100)
