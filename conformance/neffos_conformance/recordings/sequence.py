"""A recorded session as the model of a sequence diagram: its lifelines, arrows and violations.

``neffos_protocol.conversation`` says what each message is, and the monitor what it violates. This
module puts both into words. It does not draw: ``show.py`` draws on a terminal, ``page.py`` as SVG.

Recordings are untrusted. Their text goes through ``visible`` before it is part of a sentence, and
is kept up to a bound.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import Any, BinaryIO, Final

from neffos_codec import FIELDS, HandshakeAccept, HandshakeRefuse, Message, Native, Reason
from neffos_conformance.cases.script import BROKER
from neffos_conformance.recordings.check_report import RecordedViolation, remarks, violations
from neffos_conformance.recordings.checking import MAX_CONNECTIONS, Monitors
from neffos_conformance.wire.closing import ConnectionClosed
from neffos_conformance.wire.payloads import frame_of, payload_bytes, text_if_utf8
from neffos_conformance.wire.text import shorten
from neffos_conformance.wire.transcript import (
    ConnectionOpened,
    Entry,
    Header,
    Published,
    UnreadableLine,
    read_lines,
)
from neffos_protocol import (
    Change,
    Conversation,
    MessageKind,
    ObservedAsk,
    TrackedMessage,
    Violation,
)
from neffos_protocol.exchange import PublishedFrame
from neffos_protocol.names import CHANGE_OF
from neffos_protocol.text import cut, visible

DEFAULT_LIMIT: Final = 200
"""Rows of a diagram: as many as a person will look at."""

KEPT: Final = 4096
"""Characters or bytes that are kept of a payload or a field: enough to see what it is, little
enough that a page with ``DEFAULT_LIMIT`` of them opens at once."""

_SHOWN_NAME: Final = 36
"""Cells of a name, an ID or a token in a sentence: a UUID is shown whole."""

_SHOWN_BODY: Final = 40
"""Cells of a body or an error text in a sentence."""

_SHOWN_REASON: Final = 400
"""Characters of an explanation."""

MAX_SHOWN_SERVERS: Final = 8
"""Servers of a cluster that are named in a title; tested ones have two."""

_PLAIN: Final = re.compile(r"[\w.$#!@:+-]+", re.ASCII)
"""Names that need no quotes in a sentence."""


@unique
class ArrowKind(StrEnum):
    """What an arrow stands for."""

    OPENING = "opening"
    HANDSHAKE = "handshake"
    ASK = "ask"
    REPLY = "reply"
    EVENT = "event"
    ERROR = "error"
    """A handshake refusal, an error reply, or an error that answers nothing."""
    NATIVE = "native"
    STRAY = "stray"
    """A message that belongs neither to the handshake nor to frames, nor is native."""
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Arrow:
    """What one peer did.

    Attributes:
        line: the line of the recording.
        time: seconds since the recording began.
        connection: the number of the connection, or ``BROKER``.
        from_client: the direction.
        node: the number of the server that it is from or to; 0 if that is unknown.
        kind: what it is.
        words: the same in a sentence, fit to be shown.
        payload: the message, or its first ``KEPT`` characters or bytes; ``None`` if this is not a
            message.
        size: the length of the whole message, in characters (text) or bytes (binary).
        fields: the seven fields of a frame by name; texts are cut as the payload is.
        violations: the requirements that it violates.
    """

    line: int
    time: float
    connection: int
    from_client: bool
    node: int
    kind: ArrowKind
    words: str
    payload: str | bytes | None = None
    size: int = 0
    fields: tuple[tuple[str, str | bytes | bool], ...] = ()
    violations: tuple[RecordedViolation, ...] = ()

    @property
    def data(self) -> bytes:
        """The bytes of the payload, as far as it is kept."""
        return payload_bytes(self.payload or b"")

    @property
    def numbered_words(self) -> str:
        """The sentence with the number of the connection."""
        return self.words if self.is_published else f"#{self.connection} {self.words}"

    @property
    def is_published(self) -> bool:
        """Whether it goes from a server to the broker."""
        return self.connection == BROKER

    @property
    def where(self) -> str:
        """Where it passes: ``connection 1, from the client``, or ``published by server 2``."""
        if self.is_published:
            return f"published by server {self.node}" if self.node else "published"
        sender = "client" if self.from_client else "server"
        return f"connection {self.connection}, from the {sender}"


DiagramRow = Arrow | UnreadableLine


@dataclass(slots=True)
class Diagram:
    """A recorded session, or a part of it.

    Attributes:
        header: where the recording comes from; empty if it cannot be read.
        rows: the rows shown, in the order of the recording.
        before: the number of rows left out before those shown.
        after: the number of rows left out after them, as far as the recording was read.
        is_read_whole: the recording was read to its end.
        violations: how often each requirement was violated, shown or not.
        hidden_violations: how many of these are in rows left out.
        unreadable: the number of lines that cannot be read, shown or not.
        remarks: sentences on asks without a reply.
        unchecked: connections that were not checked to their end, there being too many.
        is_empty: the recording has no line at all.
    """

    header: Header
    rows: list[DiagramRow]
    before: int = 0
    after: int = 0
    is_read_whole: bool = True
    violations: Counter[str] = field(default_factory=Counter)
    hidden_violations: int = 0
    unreadable: int = 0
    remarks: Sequence[str] = ()
    unchecked: int = 0
    is_empty: bool = True

    @property
    def arrows(self) -> list[Arrow]:
        """The rows that are arrows."""
        return [row for row in self.rows if isinstance(row, Arrow)]

    @property
    def connections(self) -> list[int]:
        """The numbers of the connections shown, ascending: a lifeline each."""
        return sorted({arrow.connection for arrow in self.arrows} - {BROKER})

    @property
    def ends(self) -> list[int]:
        """The servers and the broker as they are drawn: ``BROKER`` follows the first server."""
        named = 1 + len(self.header.get("other_servers", ()))
        servers = range(1, max([named, *(arrow.node for arrow in self.arrows)]) + 1)
        has_broker = "broker" in self.header or any(arrow.is_published for arrow in self.arrows)
        return [*servers[:1], *([BROKER] if has_broker else []), *servers[1:]]


def read_diagram(
    stream: BinaryIO,
    *,
    connection: int | None = None,
    first: int = 1,
    last: int | None = None,
    limit: int = DEFAULT_LIMIT,
    whole: bool = False,
    shown: Callable[[DiagramRow, SequenceReader], DiagramRow | None] = lambda row, _: row,
    is_ended_by_limit: bool = False,
) -> Diagram:
    """Read a recording. Rows left out are checked, too: the rest depends on them.

    Args:
        stream: the recording.
        connection: show this one only.
        first: the first line to show.
        last: the last one; the lines after it are not read.
        limit: show no more rows than this.
        whole: keep payloads whole.
        shown: is called with each row that may be shown and with its reader, and gives the row
            to show instead, if any.
        is_ended_by_limit: do not read the lines after the last row that is shown.

    Raises:
        OSError: the recording cannot be read.
    """
    diagram = Diagram({}, [])
    reader = SequenceReader(whole=whole)
    for item in read_lines(stream):
        diagram.is_empty = False
        if isinstance(item, dict):
            diagram.header = item
            reader = SequenceReader(item, whole=whole)
            continue
        if last is not None and item.line > last:
            diagram.is_read_whole = False
            break
        diagram.unreadable += isinstance(item, UnreadableLine)
        if isinstance(item, Entry) and connection not in (None, item.connection):
            continue
        is_full = len(diagram.rows) == limit
        if is_full and is_ended_by_limit:
            diagram.is_read_whole = False
            break
        if is_full or item.line < first:
            # To check a line is five times as fast as to find words for it.
            hidden = reader.check(item) if is_full else reader.skip(item)
            diagram.after += is_full
            diagram.before += not is_full
            diagram.hidden_violations += len(hidden)
            diagram.violations.update(hidden)
            continue
        row = shown(reader.read(item), reader)
        if row is not None:
            diagram.rows.append(row)
        if isinstance(row, Arrow):
            diagram.violations.update(each.requirement for each in row.violations)
    diagram.unchecked = reader.unchecked
    diagram.remarks = reader.finish() if diagram.is_read_whole else ()
    return diagram


class SequenceReader:
    """Turns the lines of a recording into rows; its memory is bounded.

    Args:
        header: the recording's header; empty if it is unknown.
        whole: keep payloads whole.
    """

    def __init__(self, header: Header | None = None, *, whole: bool = False) -> None:
        self._header = header or {}
        self._native = Native(self._header.get("native", Native.NEVER))
        self._kept = None if whole else KEPT
        self._monitors = Monitors(self._header)
        self._conversations: dict[int, Conversation] = {}
        self._nodes: dict[int, int] = {}

    @property
    def unchecked(self) -> int:
        """The number of connections that were not checked to their end, there being too many."""
        return self._monitors.given_up

    def finish(self) -> Sequence[str]:
        """Take the end of the recording, and give a sentence on each ask without a reply."""
        monitors = self._monitors
        monitors.finish()
        asks = remarks(monitors.pending_asks, monitors.pending_ask_count)
        return [*monitors.suspicions, *asks]

    def read(self, item: Entry | UnreadableLine) -> DiagramRow:
        """Give the row of one line; nothing is raised, whatever is in it."""
        if isinstance(item, UnreadableLine):
            return UnreadableLine(item.line, cut(visible(item.reason), _SHOWN_REASON))
        line, time, number, from_client, content = item
        found = self._monitors.feed(item)
        match content:
            case ConnectionOpened(path, _, node):
                self._open(number, node)
                kind, words = ArrowKind.OPENING, "opens " + shorten(visible(path[:KEPT]), 60)
            case Published():
                return self._published(item, content, found)
            case ConnectionClosed():
                kind, words = ArrowKind.CLOSE, _end(content)
            case _:
                tracked = self._tracked(item, content)
                kind, words = _words(tracked, content)
                return Arrow(
                    line,
                    time,
                    number,
                    from_client,
                    self._nodes.get(number, 1),
                    kind,
                    words,
                    content[: self._kept],
                    len(content),
                    tuple(self._fields(tracked.message)),
                    tuple(violations(found, item, content, self._header)),
                )
        return Arrow(line, time, number, from_client, self._nodes.get(number, 1), kind, words)

    def _published(self, entry: Entry, content: Published, found: Sequence[Violation]) -> Arrow:
        cluster = self._monitors.cluster
        frame = None if cluster is None else cluster.frame
        payload = text_if_utf8(content.payload)
        if frame is None:
            kind, words = ArrowKind.STRAY, "not a frame"
        else:
            kind, words = _published_words(frame, content.channel)
        return Arrow(
            entry.line,
            entry.time,
            BROKER,
            False,
            0 if cluster is None else cluster.publisher,
            kind,
            f"{name(content.channel)}: {words}",
            payload[: self._kept],
            len(payload),
            tuple(self._fields(frame_of(payload) if frame is not None else None)),
            tuple(violations(found, entry, payload, self._header)),
        )

    def skip(self, item: Entry | UnreadableLine) -> list[str]:
        """Take one line without words for it, and give the requirements that it violates."""
        found = self.check(item)
        if isinstance(item, Entry):
            if isinstance(item.content, str | bytes):
                self._track(item, item.content)
            elif isinstance(item.content, ConnectionOpened):
                self._open(item.connection, item.content.node)
        return found

    def check(self, item: Entry | UnreadableLine) -> list[str]:
        """Give the requirements that one line violates. After that, ``read`` no more."""
        if isinstance(item, UnreadableLine):
            return []
        found = self._monitors.feed(item)
        return [each.requirement for each in found]

    def _open(self, number: int, node: int) -> None:
        self._nodes[number] = node
        if len(self._nodes) > MAX_CONNECTIONS:
            del self._nodes[next(iter(self._nodes))]

    def conversation(self, number: int) -> Conversation:
        """Give what is known of a connection up to the line that was read last."""
        found = self._conversations.get(number)
        return self._remember(number, Conversation(native=self._native)) if found is None else found

    def _remember(self, number: int, seen: Conversation) -> Conversation:
        self._conversations[number] = seen
        if len(self._conversations) > MAX_CONNECTIONS:
            del self._conversations[next(iter(self._conversations))]
        return seen

    def _track(self, entry: Entry, payload: str | bytes) -> MessageKind:
        """Say what a message is, which the monitors have taken: after the end they do not."""
        monitor = self._monitors.monitor(entry.connection)
        if monitor is None:
            seen = self.conversation(entry.connection)
            return seen.take("client" if entry.from_client else "server", payload)
        if self._conversations.get(entry.connection) is not monitor.conversation:
            self._remember(entry.connection, monitor.conversation)
        return monitor.kind

    def _tracked(self, entry: Entry, payload: str | bytes) -> TrackedMessage:
        kind = self._track(entry, payload)
        sender = "client" if entry.from_client else "server"
        return self.conversation(entry.connection).tracked(sender, kind)

    def _fields(self, message: Message | None) -> Iterator[tuple[str, str | bytes | bool]]:
        for name, value in zip(FIELDS, message.fields() if message else (), strict=bool(message)):
            yield name, value if isinstance(value, bool) else value[: self._kept]


# -------------------------------------------------------------------- words


def _words(tracked: TrackedMessage, payload: str | bytes) -> tuple[ArrowKind, str]:
    match tracked.handshake:
        case HandshakeAccept(id):
            return ArrowKind.HANDSHAKE, f"accepted with ID {name(id)}"
        case HandshakeRefuse(text):
            return ArrowKind.ERROR, f"handshake refused: {quoted(text)}"
    message, error = tracked.message, tracked.error
    if message is not None:
        kind, words = _frame(tracked, message)
        return kind, f"{words}, a no-op" if message.is_no_op else words
    match tracked.kind:
        case MessageKind.REQUEST:
            return ArrowKind.HANDSHAKE, "handshake request"
        case MessageKind.NATIVE:
            return ArrowKind.NATIVE, f"native message {quoted(payload)}"
        case MessageKind.AFTER_REFUSAL:
            return ArrowKind.STRAY, "a message after the handshake was refused"
    if error is None or error.reason is Reason.EMPTY:
        return ArrowKind.STRAY, "an empty message, which is ignored"
    return ArrowKind.STRAY, f"not a frame: {cut(visible(error.explanation), 80)}"


def _frame(tracked: TrackedMessage, message: Message) -> tuple[ArrowKind, str]:
    token = name(message.wait)
    is_stray = tracked.kind is MessageKind.STRAY_REPLY
    if tracked.kind is MessageKind.REPLY and tracked.ask is not None:
        return _reply(message, f"{token} ({subject(tracked.ask)})")
    if is_stray and tracked.repeats:
        return _reply(message, f"{token}, which is settled")
    if is_stray and (message.is_empty_reply or message.is_error):
        return _reply(message, f"{token}, which is not pending")
    what = subject(message)
    if message.is_error:
        return ArrowKind.ERROR, f"error in {what}: {quoted(message.body)}"
    change = CHANGE_OF.get(message.event)
    if change is not None and not message.wait:
        return ArrowKind.ASK, f"wants to {what}, without a token"
    body = f" {quoted(message.body)}" if message.body else ""
    if not message.wait:
        return ArrowKind.EVENT, what + body
    if is_stray:
        return ArrowKind.EVENT, f"{what}{body}, with a client's token {token}"
    asks = "asks with" if change is None else "asks to"
    return ArrowKind.ASK, f"{asks} {what}{body} ({token})"


def _published_words(frame: PublishedFrame, channel: str) -> tuple[ArrowKind, str]:
    message = frame.message
    what = subject(message)
    if message.is_error:
        return ArrowKind.ERROR, f"error in {what}: {quoted(message.body)}"
    body = f" {quoted(message.body)}" if message.body else ""
    if frame.token:
        return ArrowKind.ASK, f"asks with {what}{body} ({name(frame.token)})"
    return (ArrowKind.REPLY if ".ask." in channel else ArrowKind.EVENT), what + body


def _reply(message: Message, to: str) -> tuple[ArrowKind, str]:
    if message.is_error:
        return ArrowKind.ERROR, f"error reply {quoted(message.body)} to {to}"
    if message.is_empty_reply:
        return ArrowKind.REPLY, f"empty reply to {to}"
    return ArrowKind.REPLY, f"reply {quoted(message.body)} to {to}"


def subject(frame: Message | ObservedAsk) -> str:
    """Say what a frame or an ask is about: a change of a membership, or an event."""
    namespace = name(frame.namespace) if frame.namespace else "the empty namespace"
    match CHANGE_OF.get(frame.event):
        case Change.CONNECT:
            return f"connect {namespace}"
        case Change.DISCONNECT:
            return f"disconnect {namespace}"
        case Change.JOIN:
            return f"join room {name(frame.room)} of {namespace}"
        case Change.LEAVE:
            return f"leave room {name(frame.room)} of {namespace}"
    room = f"/{name(frame.room)}" if frame.room else ""
    return f"event {name(frame.event)} in {namespace}{room}"


def _end(closed: ConnectionClosed) -> str:
    if closed.cut:
        return f"is ended by the recorder: {cut(visible(closed.cut), 80)}"
    if closed.code is None:
        return "ends without a close frame"
    reason = f" {quoted(closed.reason)}" if closed.reason else ""
    return f"close {closed.code}{reason}"


def name(text: str) -> str:
    """Give a name, an ID or a token as a part of a sentence; quoted unless it is plain."""
    text = text[:KEPT]
    if _PLAIN.fullmatch(text):
        return shorten(text, _SHOWN_NAME)
    return f'"{shorten(visible(text), _SHOWN_NAME)}"'


def quoted(body: str | bytes) -> str:
    """Give a body or a text as a part of a sentence."""
    if isinstance(body, bytes):
        return f"[{len(body)} byte{'' if len(body) == 1 else 's'}]"
    return f'"{shorten(visible(body[:KEPT]), _SHOWN_BODY)}"'


# -------------------------------------------------------------------- the header


def peer_name(header: Header, role: str) -> str:
    """Give name and version of a peer, as far as the header has them."""
    peer = header.get(role)
    if not isinstance(peer, dict):
        return "unknown"
    parts = (peer.get(key) for key in ("peer", "version"))
    return visible(" ".join(cut(str(part), 80) for part in parts if part)) or "unknown"


def server_names(header: Header) -> str:
    """Give name and version of all servers of a recording, each once."""
    others = ({"server": each} for each in header.get("other_servers", ()))
    names = dict.fromkeys(peer_name(each, "server") for each in (header, *others))
    return ", ".join(list(names)[:MAX_SHOWN_SERVERS])


def facts(header: Header) -> list[tuple[str, str]]:
    """Give the parts of the header, as pairs of a name and a text fit to be shown."""
    found = [(key, _fact(header[key])) for key in _FACTS if header.get(key)]
    return [(key, shorten(visible(text), 400)) for key, text in found]


_FACTS: Final = (
    "client",
    "server",
    "other_servers",
    "broker",
    "recorded",
    "how",
    "native",
    "shows",
    "defects",
)


def _fact(value: Any) -> str:
    if isinstance(value, dict):
        if "kind" in value:
            return ", ".join(str(each) for each in value.values())
        if "peer" in value:
            rest = {key: each for key, each in value.items() if key not in ("peer", "version")}
            named = " ".join(str(value[key]) for key in ("peer", "version") if value.get(key))
            return ", ".join([named, *(f"{key} {each}" for key, each in rest.items())])
        return ", ".join(f"{key} ({each})" for key, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(_fact, value))
    return str(value)
