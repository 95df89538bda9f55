"""The command ``import``: the WebSocket messages that a browser saved, as recordings.

A HAR file holds all that a page loaded. It is read entry by entry, so that memory is needed for
the largest entry, not for the file. What identifies a person (cookies, other headers, the values
of the query) is left behind; what the messages hold is kept as it was.
"""

from __future__ import annotations

import base64
import binascii
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import SplitResult, quote, unquote_plus, urlsplit

import click
import ijson  # type: ignore[import-untyped]

from neffos_codec import (
    CodecError,
    Decoding,
    HandshakeRequest,
    Message,
    Native,
    decode,
    decode_handshake,
)
from neffos_conformance.recordings.sequence import shorten, visible
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.transcript import (
    KEPT_HEADERS,
    ConnectionOpened,
    Content,
    Entry,
    Header,
    header,
    save,
)
from neffos_protocol.names import CHANGE_OF

HOW: Final = "neffos-wire import"

HOW_TO_SAVE: Final = """\
Chrome, Edge and others on Chromium save them: open the developer tools and their Network panel,
reload the page so that the connection opens under their eyes, use it, and choose "Export HAR".
Firefox saves the connections, but not their messages. mitmproxy and Playwright save them, too."""

PARAMETER_PREFIX: Final = "x-websocket-header-"
"""Query parameters of browsers that become request headers begin with this."""

_LOOKED_AT: Final = 50
"""Messages within which a conversation shows whether it is neffos: the handshake is the first
two, and in a HAR that begins later a namespace is connected soon."""

_TEXT: Final = 1
_BINARY: Final = 2
_CLOSE: Final = 8

_MILLISECONDS: Final = 1e11
"""A time above this is in milliseconds, as Playwright writes it: in seconds it is the year 5138."""

_BROWSERS: Final = re.compile(r"\b(Edg|OPR|Vivaldi|Firefox|HeadlessChrome|Chrome)/([\d.]+)")
"""The products of a user agent that name the browser, where the HAR names only its engine. The
last one counts: each browser on Chromium calls itself Chrome first."""


class HarError(ValueError):
    """A HAR, or a part of it, that cannot be used; the text names the entry and the message."""


@dataclass(frozen=True, slots=True)
class Browser:
    """What saved a HAR.

    Attributes:
        peer: its name.
        version: its version, or empty.
        saved_by: name and version of what wrote the file, where that is something else.
    """

    peer: str = "unknown browser"
    version: str = ""
    saved_by: str = ""

    def values(self) -> dict[str, str]:
        """Give it as the header of a recording has it."""
        values = {"peer": self.peer, "version": self.version, "saved by": self.saved_by}
        return {key: value for key, value in values.items() if value}


@dataclass(slots=True)
class Har:
    """A HAR that is being read.

    Attributes:
        creator: what wrote it; known once the entries begin, if it stands before them.
        browser: what it was written for, likewise; empty where that is not said.
        entries: how many entries were read.
    """

    creator: dict[str, Any] = field(default_factory=dict)
    browser: dict[str, Any] = field(default_factory=dict)
    entries: int = 0


def read_entries(stream: BinaryIO, har: Har) -> Iterator[tuple[int, dict[str, Any]]]:
    """Give the entries of a HAR one by one, with their numbers from 1; fill ``har`` on the way.

    Raises:
        HarError: this is no JSON, or no HAR.
        OSError: it cannot be read.
    """
    builder: Any = None
    inside = ""
    found = False
    try:
        for prefix, event, value in ijson.parse(stream, use_float=True):
            if builder is None:
                if prefix == "log.entries" and event == "start_array":
                    found = True
                if prefix in _PARTS and event == "start_map":
                    builder, inside = ijson.ObjectBuilder(), prefix
                elif prefix == "log.entries.item":
                    har.entries += 1
                    raise HarError(f"entry {har.entries} is no object")
            if builder is None:
                continue
            builder.event(event, value)
            if prefix == inside and event == "end_map":
                whole, builder = builder.value, None
                if inside == "log.entries.item":
                    har.entries += 1
                    yield har.entries, whole
                elif inside == "log.creator":
                    har.creator = whole
                else:
                    har.browser = whole
    except ijson.JSONError as error:
        where = f" behind entry {har.entries}" if har.entries else ""
        raise HarError(f"no JSON{where}: {_first_line(error)}") from error
    if not found:
        raise HarError("no HAR: it has no log with entries")


_PARTS: Final = frozenset({"log.creator", "log.browser", "log.entries.item"})


@dataclass(frozen=True, slots=True)
class Conversation:
    """A WebSocket connection of a HAR.

    Attributes:
        url: where to.
        headers: the request's headers, names in lower case.
        began: when, if that is said.
        contents: seconds since the beginning, whether the client sent it, and what.
        ignored: messages of other kinds than those of a recording.
    """

    url: SplitResult
    headers: Mapping[str, str]
    began: datetime | None
    contents: tuple[tuple[float, bool, Content], ...]
    ignored: int = 0

    @property
    def speaks_neffos(self) -> bool:
        """Whether it begins with a handshake, or shows a change of namespaces or rooms."""
        first = True
        for _, from_client, content in self.contents[:_LOOKED_AT]:
            if not isinstance(content, str | bytes) or not content:
                continue
            if first and from_client and _is_request(content):
                return True
            first = False
            if _is_change(content):
                return True
        return False


def is_web_socket(entry: Mapping[str, Any]) -> bool:
    """Tell whether an entry of a HAR is a WebSocket connection."""
    if "_webSocketMessages" in entry or entry.get("_resourceType") == "websocket":
        return True
    request = entry.get("request")
    url = request.get("url") if isinstance(request, dict) else None
    return isinstance(url, str) and url.lower().startswith(("ws:", "wss:"))


def conversation(number: int, entry: Mapping[str, Any]) -> Conversation:
    """Read the WebSocket connection of an entry.

    Args:
        number: the number of the entry, for the errors.
        entry: an entry for which ``is_web_socket`` holds.

    Raises:
        HarError: it is damaged.
    """
    request = entry.get("request")
    if not isinstance(request, dict) or not isinstance(request.get("url"), str):
        raise HarError(f"entry {number} has no request with a url")
    try:
        url = urlsplit(request["url"])
        host = url.hostname
    except ValueError as error:
        raise HarError(f"entry {number}: the url is none: {error}") from error
    if not host:
        raise HarError(f"entry {number}: the url has no host: {_clean(request['url'])}")
    listed = entry.get("_webSocketMessages") or []
    if not isinstance(listed, list):
        raise HarError(f"entry {number}: _webSocketMessages is no array")
    began = _began(entry.get("startedDateTime"))
    contents: list[tuple[float, bool, Content]] = []
    ignored = 0
    start = began.timestamp() if began else None
    now = 0.0
    for index, message in enumerate(listed, 1):
        where = f"entry {number}, message {index}"
        if not isinstance(message, dict):
            raise HarError(f"{where} is no object")
        content = _content(message, where)
        if content is None:
            ignored += 1
            continue
        seconds = _seconds(message.get("time"), where)
        if seconds is not None:
            if start is None or not 0 <= seconds - start < _DAY:
                start = seconds - now  # the two clocks have nothing to do with each other
            now = max(now, seconds - start)
        contents.append((now, _is_sent(message, where), content))
    return Conversation(url, _headers(request.get("headers")), began, tuple(contents), ignored)


_DAY: Final = 86_400.0


def transcript(
    talk: Conversation, scenario: str, har: Har, *, native: str = "never", keep_query: bool = False
) -> tuple[Header, list[Entry]]:
    """Give a conversation as a recording: its header and its entries.

    Args:
        talk: the conversation.
        scenario: what it is about.
        har: where it comes from.
        native: what becomes of payloads that are no frames, as ``neffos_codec.Native`` has it.
        keep_query: keep the values of all query parameters, secret or not.
    """
    first = header(
        scenario=scenario,
        client=_browser(har, talk.headers.get("user-agent", "")).values(),
        server={"peer": talk.url.netloc.rpartition("@")[2]},
        how=HOW,
        native=native,
    )
    if talk.began is not None:
        first["recorded"] = talk.began.astimezone(UTC).isoformat(timespec="seconds")
    kept = {key: value for key, value in talk.headers.items() if key.startswith(KEPT_HEADERS)}
    opened = ConnectionOpened(_path(talk.url, keep_query=keep_query), kept)
    contents = [(0.0, True, opened), *talk.contents]
    return first, [Entry(0, time, 1, sent, content) for time, sent, content in contents]


# -------------------------------------------------------------------- what a HAR holds


def _content(message: Mapping[str, Any], where: str) -> str | bytes | ConnectionClosed | None:
    """Read a message; ``None`` where it is a ping or the like."""
    if message.get("type") == "error":  # Chrome's word for a connection that broke
        return ConnectionClosed(None)
    opcode = message.get("opcode", _TEXT)
    if opcode == _CLOSE:
        code = message.get("code")
        return ConnectionClosed(code if type(code) is int else None)
    if opcode not in (_TEXT, _BINARY):
        return None
    data = message.get("data")
    if not isinstance(data, str):
        raise HarError(f"{where} has no data")
    if opcode == _TEXT:
        return data
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise HarError(f"{where} is binary, but its data is no base64: {error}") from error


def _is_sent(message: Mapping[str, Any], where: str) -> bool:
    kind = message.get("type")
    if kind in ("send", "receive", "error"):
        return bool(kind == "send")
    raise HarError(f"{where}: type is send or receive, not {_clean(repr(kind))}")


def _seconds(value: Any, where: str) -> float | None:
    """Give a time in seconds; ``None`` where it was left out, which Playwright writes as -1."""
    if value is None or value == -1:
        return None
    if type(value) not in (int, float) or not 0 <= value < _MILLISECONDS * 1000:
        raise HarError(f"{where}: time is seconds since 1970, not {_clean(repr(value))}")
    return float(value / 1000 if value > _MILLISECONDS else value)


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


def _browser(har: Har, agent: str) -> Browser:
    creator, browser = _named(har.creator), _named(har.browser)
    saved_by = " ".join(part for part in creator if part)
    if browser[0]:
        return Browser(browser[0], browser[1], "" if browser[0] == creator[0] else saved_by)
    if named := _BROWSERS.findall(agent):
        return Browser(named[-1][0], named[-1][1], saved_by)
    return Browser(creator[0], creator[1]) if creator[0] else Browser()


def _named(part: Mapping[str, Any]) -> tuple[str, str]:
    name, version = part.get("name"), part.get("version")
    return name if isinstance(name, str) else "", version if isinstance(version, str) else ""


def _path(url: SplitResult, *, keep_query: bool) -> str:
    path = url.path or "/"
    if not url.query:
        return path
    if keep_query:
        return f"{path}?{url.query}"
    return f"{path}?{'&'.join(map(_parameter, url.query.split('&')))}"


def _parameter(parameter: str) -> str:
    """Leave out the value of a query parameter, but where it is one of the headers kept."""
    key, separator, _ = parameter.partition("=")
    plain = unquote_plus(key).lower()
    steers = plain.removeprefix(PARAMETER_PREFIX).startswith(KEPT_HEADERS)
    if plain.startswith(PARAMETER_PREFIX) and steers:
        return parameter
    return f"{quote(unquote_plus(key))}=***" if separator else "***"


def _is_request(payload: str | bytes) -> bool:
    try:
        return decode_handshake(payload, decoding=Decoding.STRICT) == HandshakeRequest()
    except CodecError:
        return False


def _is_change(payload: str | bytes) -> bool:
    try:
        message = decode(payload, native=Native.NEVER)
    except CodecError:
        return False
    return isinstance(message, Message) and message.event in CHANGE_OF


def _first_line(error: Exception) -> str:
    """Give what a parser says; it quotes the input in further lines, perhaps as octets."""
    said = error.args[0] if error.args else ""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    return _clean(text.partition("\n")[0])


def _clean(text: str) -> str:
    return shorten(visible(" ".join(text[:400].split())), 100)


# -------------------------------------------------------------------- the command


@click.command("import")
@click.argument("file", type=click.File("rb"))
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    metavar="FOLDER",
    help="Folder for the recordings.  [default: the current folder]",
)
@click.option("--all", "take_all", is_flag=True, help="Connections without neffos, too.")
@click.option(
    "--native",
    type=click.Choice([mode.value for mode in Native]),
    default="never",
    show_default=True,
    help="Native messages: none, payloads that are not frames, or all payloads.",
)
@click.option(
    "--keep-query", is_flag=True, help="Query parameters with their values, which may be secrets."
)
def import_command(
    file: BinaryIO, folder: Path, take_all: bool, native: str, keep_query: bool
) -> None:
    """Import recordings from FILE, a HAR file of a browser.

    Each neffos connection becomes a recording. Cookies, other headers and the values of query
    parameters are removed. Messages are not changed: read them before you publish a recording. No
    file is overwritten. A damaged entry counts as failed.
    """
    name = getattr(file, "name", "<stdin>")
    is_piped = name == "<stdin>"
    source = Path("standard input" if is_piped else name)
    stem = "imported" if is_piped else source.stem
    har = Har()
    written = others = silent = 0
    is_bad = False
    entries = read_entries(file, har)
    while True:
        try:
            number, entry = next(entries)
            if not is_web_socket(entry):
                continue
            talk = conversation(number, entry)
            shown = f"entry {number}, {_clean(talk.url._replace(query='', fragment='').geturl())}"
            if not talk.contents:
                silent += 1
                continue
            if not take_all and not talk.speaks_neffos:
                others += 1
                click.echo(f"{shown}: does not look like neffos; --all takes it, too")
                continue
            written += 1
            path = folder / f"{stem}-{written}.jsonl"
            _write(path, talk, f"{source.name}, {shown}", har, native, keep_query)
            ignored = f", {talk.ignored} other frames left out" if talk.ignored else ""
            click.echo(f"{shown}: {len(talk.contents)} messages{ignored} → {visible(str(path))}")
        except StopIteration:
            break
        except HarError as error:
            is_bad = True
            click.echo(f"neffos-wire: {visible(source.name)}: {error}", err=True)
    if is_bad:
        sys.exit(1)
    if not written and not others:
        found = f"WebSocket connections ({silent}), but not their" if silent else "no WebSocket"
        raise click.UsageError(f"{visible(source.name)} has {found} messages.\n{HOW_TO_SAVE}")
    if not written:
        sys.exit(2)


def _write(
    path: Path, talk: Conversation, scenario: str, har: Har, native: str, keep_query: bool
) -> None:
    if path.exists():
        raise click.UsageError(f"{path} is there already; recordings are not overwritten")
    try:
        save(path, *transcript(talk, scenario, har, native=native, keep_query=keep_query))
    except OSError as error:
        raise click.UsageError(f"{path} cannot be written: {error.strerror}") from error
