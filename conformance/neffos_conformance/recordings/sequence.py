"""A recorded session as a sequence diagram: who sent what to whom, in the words of the protocol.

This module owns the model (lifelines, arrows, what is written on them) and where its parts stand
in a picture. It does not draw: ``show.py`` does, on a terminal and as SVG.

What peers sent is hostile until shown otherwise. It goes through ``visible`` before it stands in
a sentence, and is kept up to a bound.
"""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import Any, BinaryIO, Final

from rich.cells import cell_len, chop_cells, set_cell_size

from neffos_codec import (
    FIELDS,
    DecodeError,
    HandshakeAccept,
    HandshakeRefuse,
    Message,
    Native,
    NativeMessage,
    Reason,
    WaitKind,
    decode,
    decode_handshake,
    parse_wait,
)
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.transcript import ConnectionOpened, Damage, Entry, Header, read_lines
from neffos_protocol import Change, Monitor
from neffos_protocol.catalogue import requirement
from neffos_protocol.names import CHANGE_OF

DEFAULT_LIMIT: Final = 200
"""Rows of a diagram: as many as somebody will look at."""

KEPT: Final = 4096
"""Characters or octets that are kept of a payload or a field: enough to see what it is, little
enough that a page with ``DEFAULT_LIMIT`` of them opens at once."""

MAX_TALKS: Final = 1024
"""Connections that are listened to at the same time; of further ones the messages are shown, but
not judged, so that memory has a bound."""

MAX_ASKS: Final = 1024
"""Asks of one connection whose replies are recognised; the oldest are forgotten."""

MAX_TIME: Final = 1e10
"""Seconds. No recording lasts for centuries; what says so is damaged."""

_SHOWN_NAME: Final = 36
"""Cells of a name, an id or a token in a sentence: a UUID is shown whole."""

_SHOWN_BODY: Final = 40
"""Cells of a body or an error text in a sentence."""

_PLAIN: Final = re.compile(r"[\w.$#!@:+-]+", re.ASCII)
"""Names that need no quotes in a sentence."""


@unique
class Kind(StrEnum):
    """What an arrow stands for."""

    OPENING = "opening"
    HANDSHAKE = "handshake"
    ASK = "ask"
    REPLY = "reply"
    EVENT = "event"
    ERROR = "error"
    """A refused handshake, an error reply, or an error that answers nothing."""
    NATIVE = "native"
    STRAY = "stray"
    """A message that is neither of the handshake nor a frame nor native."""
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Fault:
    """A requirement that an arrow breaks.

    Attributes:
        requirement: its id.
        sentence: its text, on one line.
        role: who broke it: ``"client"`` or ``"server"``.
        explanation: what that peer did, fit to be shown.
        is_known: the recording's header says that this peer breaks it here.
    """

    requirement: str
    sentence: str
    role: str
    explanation: str
    is_known: bool


@dataclass(frozen=True, slots=True)
class Arrow:
    """What one peer did to the other.

    Attributes:
        line: the line of the recording.
        time: seconds since the recording began.
        connection: the number of the connection.
        from_client: the direction.
        kind: what it is.
        words: the same in a sentence, fit to be shown.
        payload: the message as it went by, or its first ``KEPT`` characters or octets; ``None``
            where this is no message.
        size: the length of the whole message, in characters (text) or octets (binary).
        fields: the seven fields by name, where it is a frame; a text is cut as the payload is.
        faults: what is wrong with it.
    """

    line: int
    time: float
    connection: int
    from_client: bool
    kind: Kind
    words: str
    payload: str | bytes | None = None
    size: int = 0
    fields: tuple[tuple[str, str | bytes | bool], ...] = ()
    faults: tuple[Fault, ...] = ()

    @property
    def octets(self) -> bytes:
        """The octets of what is kept of the message."""
        return octets_of(self.payload or b"")


@dataclass(frozen=True, slots=True)
class Remark:
    """A line of the recording that cannot be read.

    Attributes:
        line: its number.
        text: what is wrong with it, fit to be shown.
    """

    line: int
    text: str


Row = Arrow | Remark


@dataclass(slots=True)
class Diagram:
    """A recorded session, or a part of it.

    Attributes:
        header: where the recording comes from; empty where that cannot be read.
        rows: what is shown, in the order of the recording.
        before: rows left out before those shown.
        after: rows left out behind them, as far as the recording was read.
        is_read_whole: the recording was read to its end.
        faults: how often each requirement was broken, whether shown or not.
        hidden_faults: those of them that were broken in rows left out.
        unjudged: lines of connections that are too many to be judged.
        is_empty: there is no line at all.
    """

    header: Header
    rows: list[Row]
    before: int = 0
    after: int = 0
    is_read_whole: bool = True
    faults: Counter[str] = field(default_factory=Counter)
    hidden_faults: int = 0
    unjudged: int = 0
    is_empty: bool = True

    @property
    def arrows(self) -> list[Arrow]:
        """The rows that are no remarks."""
        return [row for row in self.rows if isinstance(row, Arrow)]

    @property
    def connections(self) -> list[int]:
        """The numbers of the connections shown, ascending: a lifeline each."""
        return sorted({arrow.connection for arrow in self.arrows})


# -------------------------------------------------------------------- reading


def read_diagram(
    stream: BinaryIO,
    *,
    connection: int | None = None,
    first: int = 1,
    last: int | None = None,
    limit: int = DEFAULT_LIMIT,
    whole: bool = False,
) -> Diagram:
    """Read a recording; what is left out is still heard, so that the rest is judged rightly.

    Args:
        stream: the recording.
        connection: show this one only.
        first: the first line to show.
        last: the last one; what comes behind it is not read.
        limit: show no more rows than this.
        whole: keep payloads whole.

    Raises:
        OSError: it cannot be read.
    """
    diagram = Diagram({}, [])
    listener = Listener(whole=whole)
    for item in read_lines(stream):
        diagram.is_empty = False
        if isinstance(item, dict):
            listener.header = diagram.header = item
            continue
        if last is not None and item.line > last:
            diagram.is_read_whole = False
            break
        if isinstance(item, Entry) and connection not in (None, item.connection):
            continue
        if len(diagram.rows) == limit:
            broken = listener.judge(item)  # five times as fast as finding words for it
            diagram.after += 1
            diagram.hidden_faults += len(broken)
            diagram.faults.update(broken)
            continue
        row = listener.hear(item)
        faults = row.faults if isinstance(row, Arrow) else ()
        diagram.faults.update(fault.requirement for fault in faults)
        if first <= row.line:
            diagram.rows.append(row)
        else:
            diagram.before += 1
            diagram.hidden_faults += len(faults)
    diagram.unjudged = listener.unjudged
    return diagram


class _Talk:
    """What is known of one connection so far."""

    __slots__ = ("asks", "is_open", "monitor")

    def __init__(self, native: Native) -> None:
        self.monitor: Monitor | None = Monitor(native=native)
        self.is_open = native is Native.ONLY
        # What is asked for, by who asked (is it the client?) and the token.
        self.asks: OrderedDict[tuple[bool, str], str] = OrderedDict()


class Listener:
    """Turns a recording into rows, line by line; holds a bounded amount.

    Args:
        whole: keep payloads whole.
    """

    def __init__(self, *, whole: bool = False) -> None:
        self.header: Header = {}
        self.unjudged = 0
        self._kept = None if whole else KEPT
        self._talks: dict[int, _Talk] = {}

    def hear(self, item: Entry | Damage) -> Row:
        """Give the row of one line; nothing is raised, whatever is in it."""
        if isinstance(item, Damage):
            return Remark(item.line, _cut(visible(item.what), 400))
        if trouble := _unsound(item):
            return Remark(item.line, f"not a line of a transcript: {trouble}")
        line, time, connection, from_client, content = item
        talk = self._talk(connection)
        match content:
            case ConnectionOpened():
                text = "opens " + shorten(visible(content.path[:KEPT]), 60)
                return Arrow(line, time, connection, from_client, Kind.OPENING, text)
            case ConnectionClosed():
                talk.monitor = None  # the other side's messages may still be on their way
                return Arrow(line, time, connection, from_client, Kind.CLOSE, _end(content))
            case _:
                return self._message(item, content, talk)

    def judge(self, item: Entry | Damage) -> list[str]:
        """Give the requirements that one line breaks, and no row; what is asked is not kept."""
        if isinstance(item, Damage) or _unsound(item):
            return []
        talk = self._talk(item.connection)
        if isinstance(item.content, ConnectionClosed):
            talk.monitor = None
        if talk.monitor is None or not isinstance(item.content, str | bytes):
            return []
        sender = "client" if item.from_client else "server"
        return [each.requirement for each in talk.monitor.feed(sender, item.content)]

    def _talk(self, connection: int) -> _Talk:
        talk = self._talks.get(connection)
        if talk is None:
            talk = _Talk(self._native)
            if len(self._talks) < MAX_TALKS:
                self._talks[connection] = talk
            else:
                talk.monitor = None
                talk.is_open = True  # the likelier half of what is not remembered
                self.unjudged += 1
        return talk

    def _message(self, entry: Entry, payload: str | bytes, talk: _Talk) -> Arrow:
        kind, words, message = _read(payload, entry.from_client, talk, self._native)
        sender = "client" if entry.from_client else "server"
        found = talk.monitor.feed(sender, payload) if talk.monitor else []
        defects = self.header.get("defects")
        known = defects if isinstance(defects, dict) else {}
        return Arrow(
            entry.line,
            entry.time,
            entry.connection,
            entry.from_client,
            kind,
            words,
            payload[: self._kept],
            len(payload),
            tuple(self._fields(message)) if message else (),
            tuple(
                Fault(
                    each.requirement,
                    " ".join(requirement(each.requirement).text.split()),
                    str(each.role),
                    _cut(visible(each.explanation), 400),
                    known.get(each.requirement) == str(each.role),
                )
                for each in found
            ),
        )

    def _fields(self, message: Message) -> Iterator[tuple[str, str | bytes | bool]]:
        for name, value in zip(FIELDS, message.fields(), strict=True):
            yield name, value if isinstance(value, bool) else value[: self._kept]

    @property
    def _native(self) -> Native:
        try:
            return Native(self.header.get("native", "never"))
        except ValueError:
            return Native.NEVER


def _unsound(entry: Entry) -> str:
    """Say what is wrong with a line that only looks like one of a transcript."""
    if type(entry.time) not in (int, float) or not 0 <= entry.time < MAX_TIME:
        return f"time is seconds since the beginning, not {_cut(visible(repr(entry.time)), 40)}"
    match entry.content:
        case ConnectionOpened(path, headers) if not isinstance(path, str) or not isinstance(
            headers, dict
        ):
            return "an opening has a path and headers"
        case ConnectionClosed(code, reason) if not (
            (code is None or type(code) is int) and isinstance(reason, str)
        ):
            return "an end has a code and a reason"
        case _:
            return ""


# -------------------------------------------------------------------- words


def _read(
    payload: str | bytes, from_client: bool, talk: _Talk, native: Native
) -> tuple[Kind, str, Message | None]:
    if not talk.is_open:
        try:
            first = decode_handshake(payload)
        except DecodeError:
            pass  # a frame before its time, which the monitor tells of
        else:
            if isinstance(first, HandshakeAccept):
                talk.is_open = True
                return Kind.HANDSHAKE, f"accepted with id {name(first.id)}", None
            if isinstance(first, HandshakeRefuse):
                return Kind.ERROR, f"handshake refused: {quoted(first.text)}", None
            return Kind.HANDSHAKE, "handshake request", None
    try:
        message = decode(payload, native=native)
    except DecodeError as error:
        if error.reason is Reason.EMPTY:
            return Kind.STRAY, "an empty message, which is ignored", None
        return Kind.STRAY, f"no frame: {_cut(visible(error.explanation), 80)}", None
    if isinstance(message, NativeMessage):
        return Kind.NATIVE, f"native message {quoted(message.payload)}", None
    kind, words = _words(message, from_client, talk)
    if message.is_no_op:
        words += ", nothing to be done"
    return kind, words, message


def _words(message: Message, from_client: bool, talk: _Talk) -> tuple[Kind, str]:
    wait = message.wait
    token = name(wait)
    meaning = parse_wait(wait)
    if wait:
        asked = talk.asks.pop((not from_client, wait), None)
        if asked is None:
            asked = talk.asks.pop((not from_client, meaning.token), None)
        foreign = WaitKind.SERVER_ASK if from_client else WaitKind.CLIENT_ASK
        if asked is not None:
            return _reply(message, f"{token} ({asked})")
        if message.is_empty_reply or (message.is_error and meaning.kind is foreign):
            return _reply(message, f"{token}, for which no ask waits")
    change = CHANGE_OF.get(message.event)
    if change is not None:
        what = _about(change, message)
        if not wait:
            return Kind.ASK, f"wants to {what}, without a token"
    else:
        what = f"event {name(message.event)} in {_place(message)}"
    if message.is_error:
        return Kind.ERROR, f"error in {what}: {quoted(message.body)}"
    body = f" {quoted(message.body)}" if message.body else ""
    if not wait:
        return Kind.EVENT, what + body
    if not from_client and meaning.kind is WaitKind.CLIENT_ASK:
        return Kind.EVENT, f"{what}{body}, with a client's token {token}"
    talk.asks[from_client, wait] = what
    if len(talk.asks) > MAX_ASKS:
        talk.asks.popitem(last=False)
    asks = "asks to" if change is not None else "asks with"
    return Kind.ASK, f"{asks} {what}{body} ({token})"


def _reply(message: Message, to: str) -> tuple[Kind, str]:
    if message.is_error:
        return Kind.ERROR, f"error reply {quoted(message.body)} to {to}"
    if message.is_empty_reply:
        return Kind.REPLY, f"empty reply to {to}"
    return Kind.REPLY, f"reply {quoted(message.body)} to {to}"


def _about(change: Change, message: Message) -> str:
    match change:
        case Change.CONNECT:
            return f"connect {_namespace(message)}"
        case Change.DISCONNECT:
            return f"disconnect {_namespace(message)}"
        case Change.JOIN:
            return f"join room {name(message.room)} of {_namespace(message)}"
        case Change.LEAVE:
            return f"leave room {name(message.room)} of {_namespace(message)}"


def _namespace(message: Message) -> str:
    return name(message.namespace) if message.namespace else "the empty namespace"


def _place(message: Message) -> str:
    return f"{_namespace(message)}/{name(message.room)}" if message.room else _namespace(message)


def _end(closed: ConnectionClosed) -> str:
    if closed.code is None:
        return "ends without a close frame"
    reason = f" {quoted(closed.reason)}" if closed.reason else ""
    return f"close {closed.code}{reason}"


def name(text: str) -> str:
    """Give a name, an id or a token as it stands in a sentence; quoted where it is not plain."""
    text = text[:KEPT]
    if _PLAIN.fullmatch(text):
        return shorten(text, _SHOWN_NAME)
    return f'"{shorten(visible(text), _SHOWN_NAME)}"'


def quoted(body: str | bytes) -> str:
    """Give a body or a text as it stands in a sentence."""
    if isinstance(body, bytes):
        return f"[{len(body)} octet{'' if len(body) == 1 else 's'}]"
    return f'"{shorten(visible(body[:KEPT]), _SHOWN_BODY)}"'


# -------------------------------------------------------------------- text


def visible(text: str, *, ascii_only: bool = False) -> str:
    r"""Give a text in which everything can be seen, and nothing steers who shows it.

    Control characters, marks of writing direction and the like become escapes such as ``\n`` or
    ``\u{202e}``; an octet that is no UTF-8 becomes ``\xff``.

    Args:
        text: anything; octets that are no UTF-8 are surrogate escapes.
        ascii_only: escape whatever is not ASCII as well.
    """
    if text.isprintable() and (text.isascii() or not ascii_only):
        return text
    return "".join(
        each if each.isprintable() and (each.isascii() or not ascii_only) else _escape(each)
        for each in text
    )


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code & 0xFF:02x}"
    if character in _LETTERS:
        return _LETTERS[character]
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{{{code:x}}}"


_LETTERS: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def text_of(payload: str | bytes) -> str:
    """Give a payload as text; octets that are no UTF-8 become surrogate escapes."""
    return payload if isinstance(payload, str) else payload.decode("utf-8", "surrogateescape")


def octets_of(payload: str | bytes) -> bytes:
    """Give the octets of a payload as they went over the wire."""
    return payload.encode("utf-8", "surrogateescape") if isinstance(payload, str) else payload


def shorten(text: str, cells: int) -> str:
    """Cut a text that takes more than so many cells (wide characters take two)."""
    return text if cell_len(text) <= cells else set_cell_size(text, cells - 1).rstrip() + "…"


def wrap(text: str, cells: int) -> list[str]:
    """Break a text into lines of at most so many cells, between words where that goes."""
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if cell_len(longer) <= cells:
            line = longer
            continue
        if line:
            lines.append(line)
        *whole, line = chop_cells(word, cells) or [""]
        lines += whole
    return [*lines, line]


def clock(seconds: float) -> str:
    """Give a time since the beginning, in at most ten characters."""
    if seconds < 1:
        return f"{seconds * 1000:.2f} ms"
    if seconds < 1000:
        return f"{seconds:.3f} s"
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours < 10_000 else f"{seconds:.0f} s"


def hexdump(octets: bytes, width: int = 8) -> Iterator[tuple[int, str, str]]:
    """Give octets in rows: the offset, the octets in hex, and those that are printable ASCII."""
    for start in range(0, len(octets), width):
        row = octets[start : start + width]
        shown = "".join(chr(each) if 0x20 <= each < 0x7F else "·" for each in row)
        yield start, row.hex(" "), shown


def peer_name(header: Header, role: str) -> str:
    """Give name and version of a peer, as far as the header tells."""
    peer = header.get(role)
    if not isinstance(peer, dict):
        return "unknown"
    parts = (peer.get(key) for key in ("peer", "version"))
    return visible(" ".join(_cut(str(part), 80) for part in parts if part)) or "unknown"


def facts(header: Header) -> list[tuple[str, str]]:
    """Give what the header says, as pairs of a name and a sentence fit to be shown."""
    found = [(key, _fact(header[key])) for key in _FACTS if header.get(key)]
    return [(key, shorten(visible(text), 400)) for key, text in found]


_FACTS: Final = ("client", "server", "recorded", "how", "native", "shows", "defects")


def _fact(value: Any) -> str:
    if isinstance(value, dict):
        if "peer" in value:
            rest = {key: each for key, each in value.items() if key not in ("peer", "version")}
            named = " ".join(str(value[key]) for key in ("peer", "version") if value.get(key))
            return ", ".join([named, *(f"{key} {each}" for key, each in rest.items())])
        return ", ".join(f"{key} ({each})" for key, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - 1] + "…"


# -------------------------------------------------------------------- a picture

MAX_LIFELINES: Final = 6
"""Clients side by side in a picture; of more, one line stands for all, and each arrow tells whose
it is."""

SERVER_X: Final = 97.0
_FIRST_X: Final = 3.0
_STEP_X: Final = 5.0
"""Where lifelines stand, in per cent of the picture's width: it fits a telephone and a desk."""

_LINE: Final = 17
_ARROW: Final = 12
_GAP: Final = 20
_HEAD: Final = 40
"""Heights in pixels: a line of text, what an arrow needs, between two rows, above the first."""

_TEXT: Final = 40
"""Cells of text beside one lifeline on a telephone of 360 pixels."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A row and where it stands; heights are in pixels, widths in per cent.

    Attributes:
        row: what stands there.
        y: its upper edge.
        height: its height.
        words: its sentence in lines, above the arrow.
        arrow_y: the arrow, below the upper edge.
        from_x: where the arrow begins.
        to_x: where it ends.
        below: what the line below the arrow says behind the time: the payload.
        notes: the faults in lines; empty strings stand between them.
    """

    row: Row
    y: int
    height: int
    words: tuple[str, ...]
    arrow_y: int = 0
    from_x: float = 0
    to_x: float = 0
    below: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """A diagram with a place for each of its parts.

    Attributes:
        height: in pixels; the width is whatever there is.
        lifelines: the clients' lines: what is written above each, and where it stands.
        text_x: where text begins.
        text_width: how wide it may be.
        rows: what hangs on the lines.
    """

    height: int
    lifelines: tuple[tuple[str, float], ...]
    text_x: float
    text_width: float
    rows: tuple[Placed, ...]


def place(diagram: Diagram) -> Picture:
    """Find a place for each part of a diagram."""
    numbers = diagram.connections
    are_apart = 0 < len(numbers) <= MAX_LIFELINES
    lines = numbers if are_apart else [0]
    places = {number: _FIRST_X + _STEP_X * index for index, number in enumerate(lines)}
    text_x = places[lines[-1]] + 2.5
    width = SERVER_X - 2 - text_x
    cells = int(_TEXT * width / (SERVER_X - _FIRST_X - 4.5))
    placed: list[Placed] = []
    y = _HEAD
    for row in diagram.rows:
        if isinstance(row, Remark):
            words = tuple(wrap(f"Line {row.line} cannot be read: {row.text}", cells))
            each = Placed(row, y, _LINE * len(words), words)
        else:
            each = _placed(row, y, cells, places.get(row.connection, _FIRST_X), not are_apart)
        placed.append(each)
        y += each.height + _GAP
    labels = ((str(number), places[number]) for number in lines) if len(lines) > 1 else ()
    return Picture(y, tuple(labels) or (("", _FIRST_X),), text_x, round(width, 2), tuple(placed))


def _placed(arrow: Arrow, y: int, cells: int, client_x: float, is_marked: bool) -> Placed:
    words = tuple(wrap(marked(arrow) if is_marked else arrow.words, cells))
    below = ""
    if arrow.payload is not None:
        below = shorten(visible(text_of(arrow.payload[:KEPT])), 120)
    notes: list[str] = []
    for fault in arrow.faults:
        notes += wrap(told(fault), cells)
    arrow_y = _LINE * len(words) + 4
    height = _LINE * (len(words) + 1 + len(notes)) + _ARROW - 2
    ends = (client_x, SERVER_X) if arrow.from_client else (SERVER_X, client_x)
    return Placed(arrow, y, height, words, arrow_y, *ends, below, tuple(notes))


def marked(arrow: Arrow) -> str:
    """Give an arrow's sentence with the number of its connection."""
    return f"#{arrow.connection} {arrow.words}"


def told(fault: Fault) -> str:
    """Give a fault in a sentence."""
    known = ", as is known" if fault.is_known else ""
    return f"{fault.requirement} broken by the {fault.role}{known}: {fault.explanation}"
