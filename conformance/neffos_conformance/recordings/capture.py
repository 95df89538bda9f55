"""Reads captures of packets (pcap and pcapng) as recordings; the number of a line is the packet's.

A capture is read packet by packet. Data counts once the other peer's data that its sender had
acknowledged is there, so a reply never precedes its ask, in whatever order packets were captured.
Where packets are missing, the connection ends as unknown. So it does where it is not known from
its beginning: seen from the middle, a conforming peer may seem to violate a requirement.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, BinaryIO, Final, NamedTuple

from websockets.exceptions import WebSocketException
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Close, Frame, Opcode
from websockets.headers import parse_extension
from websockets.http11 import Request, Response
from websockets.protocol import CLIENT, SERVER, Protocol
from websockets.streams import StreamReader

from neffos_conformance.recordings.har import is_handshake_request
from neffos_conformance.recordings.packet_file import LINKS, Tcp, read_packets, tcp_of
from neffos_conformance.recordings.packets import COMMENT
from neffos_conformance.recordings.shares import ALL, MAX_SHARES, Share
from neffos_conformance.recordings.tls import KeyLog, MissingKeysError, Tls, TlsError
from neffos_conformance.wire.connection import MAX_MESSAGE, ConnectionClosed
from neffos_conformance.wire.packed import InputError
from neffos_conformance.wire.payloads import payload_text
from neffos_conformance.wire.secrets import kept, masked_target
from neffos_conformance.wire.transcript import (
    MAX_TIME,
    ConnectionOpened,
    Entry,
    Header,
    UnreadableLine,
    header,
    read_header,
)

HOW: Final = "neffos-wire import"

MAX_WAITING: Final = 4096
"""Packets of a connection that wait for a missing one: some MiB, more than most windows have."""

LANES: Final = MAX_SHARES
"""Groups of TCP connections, by their addresses and ports. Nothing in one depends on another, so
that a share of them gives what all would give of it."""

MAX_LANE: Final = 64
"""TCP connections of a lane that are followed. Beyond that, its oldest is given up."""

MAX_HEAD: Final = 1 << 16
"""Bytes of the head of a request or a response; servers take some kilobytes."""

MISSING: Final = "packets are missing from the capture; what follows is unknown"
TOO_MANY: Final = "the capture has too many connections at a time; what follows is unknown"
UNDECRYPTED: Final = "the TLS records cannot be decrypted; what follows is unknown"
MALFORMED: Final = "the WebSocket frames cannot be read; what follows is unknown"


_TLS_HANDSHAKE: Final = 0x16
"""The first byte of a client that uses TLS; that of a request is a letter."""


class _Segment(NamedTuple):
    is_client: bool
    sequence: int
    acknowledged: int | None
    data: bytes
    ends: bool
    resets: bool
    packet: int
    time: float


@dataclass(slots=True)
class _Side:
    """What one peer of a connection sends.

    Attributes:
        next: the sequence number of the next byte, without overflow; ``None`` before its SYN.
        head: the beginning, until its HTTP head is whole.
        protocol: reads its frames.
        message: the fragments of a message that is not whole.
        is_text: whether that is text.
    """

    next: int | None = None
    head: bytearray = field(default_factory=bytearray)
    protocol: Protocol | None = None
    message: list[bytes] = field(default_factory=list)
    is_text: bool = False

    def place(self, number: int) -> int | None:
        """Give a sequence number without overflow: the one that is nearest to the next byte."""
        if self.next is None:
            return None
        return self.next + ((number - self.next + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)


class Capture:
    """A capture that is being read.

    Args:
        stream: the file, unpacked.
        name: its name, for the header.
        take_all: also give WebSocket connections that do not begin with a handshake request.
        native: what becomes of payloads that are not frames, as ``neffos_codec.Native`` has it.
        keep_query: keep the values of all query parameters, secret or not.
        keys: decrypt TLS; those that the capture itself has are added.
        share: follow only the connections in these lanes.

    Attributes:
        unit: what the number of a line counts.
        others: WebSocket connections that do not look like neffos.
        encrypted: connections with TLS whose keys are not known.
        unknown: connections whose beginning is not in the capture.
        unlinked: packets of a link that is not understood, such as Bluetooth; the first share
            counts them.
        ended: the time of the last packet, in seconds after the first one.
    """

    unit = "packet"

    def __init__(
        self,
        stream: BinaryIO,
        name: str,
        *,
        take_all: bool = False,
        native: str = "never",
        keep_query: bool = False,
        keys: KeyLog | None = None,
        share: Share = ALL,
    ) -> None:
        self.keys = keys or KeyLog()
        self.others = self.encrypted = self.unknown = self.unlinked = 0
        self._stream, self._name, self._native = stream, name, native
        self.take_all, self.keep_query = take_all, keep_query
        self.ended = 0.0
        self._share = share
        self._lanes: list[dict[tuple[Any, ...], _Flow]] = [{} for _ in range(LANES)]
        self._opened = 0
        self._place = 0

    def place(self, _: object = None) -> int:
        """Give the place where the reader is: in the same order in every share."""
        return self._place

    def left_out(self) -> Iterator[tuple[str, int]]:
        """Say which connections are not in the recording and why, and give their numbers."""
        for count, why in (
            (self.unknown, "their beginnings are not in the capture"),
            (self.encrypted, f"they use TLS, {self._no_keys()}"),
            (self.others, "they are WebSocket connections that do not look like neffos"),
        ):
            yield f"TCP connections were not read: {why}", count
        yield "packets were not read: their link is not Ethernet or the like", self.unlinked

    def _no_keys(self) -> str:
        if self.keys:
            return "and the key log does not have their keys"
        return "and there are no keys. Try: --keylog FILE, or neffos-wire record"

    def items(self) -> Iterator[Header | Entry | UnreadableLine]:
        """Give the header, and what happened on each connection.

        Raises:
            InputError: a package is missing, or this is no capture.
        """
        number, began = 0, None
        packets = read_packets(self._stream, self.keys.add)
        try:
            for number, packet in enumerate(packets, 1):
                self._place = number
                if began is None:
                    began = packet.time
                    yield self._exported(packet.comment) or self._header(began)
                self.ended = time = min(max(packet.time - began, 0.0), MAX_TIME / 2)
                if packet.link not in LINKS:
                    self.unlinked += not self._share.number
                    continue
                tcp = tcp_of(packet.link, packet.data)
                if tcp is not None:
                    yield from self._take(tcp, number, time)
        except InputError:
            raise
        except (ValueError, OverflowError, OSError, struct.error) as error:
            if began is None:
                text = f"{self._name} is not a capture: {error}. Try: another file"
                raise InputError(text) from error
            if not self._share.number:
                yield UnreadableLine(number + 1, f"not a packet: {error}")
        waiting = (each for lane in self._lanes for each in lane.values() if each.waiting)
        for flow in sorted(waiting, key=attrgetter("number")):
            self._place = number + flow.number
            yield from flow.lose(MISSING)

    def _exported(self, comment: bytes) -> Header | None:
        """Give the header of the recording that was written as this capture, if one was."""
        if not comment.startswith(COMMENT):
            return None
        with suppress(ValueError, RecursionError):  # another comment, which looks like it
            first = read_header(comment.removeprefix(COMMENT))
            self.take_all = True  # a recording may begin in any way
            return first
        return None

    def _header(self, began: float) -> Header:
        unknown = {"peer": "unknown"}
        scenario = f"the capture {self._name}"
        first = header(
            scenario=scenario, client=unknown, server=unknown, how=HOW, native=self._native
        )
        first["recorded"] = datetime.fromtimestamp(began, UTC).isoformat(timespec="seconds")
        return first

    def _take(self, tcp: Tcp, number: int, time: float) -> Iterator[Entry]:
        source, target, _, _, flags, data = tcp
        syn, ack = flags & 2, flags & 16
        self._opened += syn and not ack
        number_of_lane = lane_of(source, target)
        if number_of_lane not in self._share:
            return
        lane = self._lanes[number_of_lane]
        key = (source, target)
        flow = lane.get(key)
        is_client = flow is not None
        if syn and not ack:
            if flow is not None and flow.began == tcp.sequence:  # it is sent again
                return
            if flow is not None and flow.waiting:
                yield from flow.lose(MISSING)
            here = _Segment(True, 0, None, b"", False, False, number, time)
            yield from _follow(lane, key, _Flow(self, tcp.sequence, self._opened), here)
            return
        if flow is None:
            flow = lane.get((target, source))
        if flow is None:
            if data:
                self.unknown += 1
                flow = _Flow(self, tcp.sequence, 0)
                flow.is_over = True
                here = _Segment(True, 0, None, b"", False, False, number, time)
                yield from _follow(lane, key, flow, here)
            return
        if syn:
            if flow.server.next is None:
                flow.server.next = tcp.sequence + 1
            return
        if flow.is_over or not (data or flags & 5):
            return
        sender, other = flow.sides(is_client)
        sequence = sender.place(tcp.sequence)
        acknowledged = other.place(tcp.acknowledged) if ack else None
        if sequence is None or (ack and acknowledged is None):
            yield from flow.lose(MISSING)
            return
        ends, resets = bool(flags & 1), bool(flags & 4)
        segment = _Segment(is_client, sequence, acknowledged, data, ends, resets, number, time)
        yield from flow.take(segment)


def lane_of(source: tuple[bytes, int], target: tuple[bytes, int]) -> int:
    """Give the number of the lane of a TCP connection: the same in every process, and both ways."""
    return (zlib.crc32(*source) ^ zlib.crc32(*target)) % LANES


def _follow(
    lane: dict[tuple[Any, ...], _Flow], key: tuple[Any, ...], flow: _Flow, here: _Segment
) -> Iterator[Entry]:
    """Follow a connection, in place of one that is over, or else of the oldest of its lane."""
    lane[key] = flow
    if len(lane) > MAX_LANE:
        over = (key for key, flow in lane.items() if flow.is_over)
        yield from lane.pop(next(over, next(iter(lane)))).lose(TOO_MANY, here)


class _Flow:
    """One TCP connection.

    Args:
        capture: the capture.
        began: the sequence number of the client's SYN.
        number: the number of that SYN, which every share counts.
    """

    def __init__(self, capture: Capture, began: int, number: int) -> None:
        self.began = began
        self.number = number
        self.is_over = False
        self.waiting: list[_Segment] = []
        self.client, self.server = _Side(began + 1), _Side()
        self._capture = capture
        self._tls: Tls | None = None
        self._request: Request | None = None
        self._opened: Entry | None = None  # until it is known whether this is neffos
        self._is_read = False

    def sides(self, is_client: bool) -> tuple[_Side, _Side]:
        """Give a peer and the other one."""
        return (self.client, self.server) if is_client else (self.server, self.client)

    def take(self, segment: _Segment) -> Iterator[Entry]:
        """Take a packet, and give what is whole by it."""
        self.waiting.append(segment)
        while not self.is_over:
            ready = next((each for each in self.waiting if self._is_ready(each)), None)
            if ready is None:
                break
            self.waiting.remove(ready)
            yield from self._deliver(ready)
        if self.is_over:  # nothing of it is needed any more
            self.waiting.clear()
            self.client, self.server = _Side(), _Side()
        elif len(self.waiting) > MAX_WAITING:
            yield from self.lose(MISSING)

    def _is_ready(self, segment: _Segment) -> bool:
        sender, other = self.sides(segment.is_client)
        if sender.next is None or segment.sequence > sender.next:
            return False
        seen = segment.acknowledged
        return seen is None or (other.next is not None and seen <= other.next)

    def _deliver(self, segment: _Segment) -> Iterator[Entry]:
        sender, _ = self.sides(segment.is_client)
        assert sender.next is not None  # noqa: S101  # it is ready
        new = segment.data[sender.next - segment.sequence :]
        end = segment.sequence + len(segment.data)
        if new:
            sender.next += len(new)
            yield from self._read(segment, sender, new)
        if (segment.ends or segment.resets) and end >= sender.next and not self.is_over:
            yield from self._end(segment, ConnectionClosed(None))

    def _read(self, segment: _Segment, sender: _Side, data: bytes) -> Iterator[Entry]:
        if segment.is_client and data[0] == _TLS_HANDSHAKE and not (sender.head or self._request):
            if not self._capture.keys:
                self._capture.encrypted += 1
                self.is_over = True
                return
            self._tls = self._tls or Tls(self._capture.keys)
        if self._tls is not None:
            try:
                data = self._tls.feed(segment.is_client, data)
            except MissingKeysError:
                self._capture.encrypted += 1
                self.is_over = True
            except TlsError:
                yield from self.lose(UNDECRYPTED, segment)
            if self.is_over or not data:
                return
        if sender.protocol is None:
            sender.head += data
            if not self._read_head(segment, sender):
                return
            data = bytes(sender.head)
            sender.head.clear()
        protocol = sender.protocol
        assert protocol is not None  # noqa: S101  # its head was read
        if data:
            protocol.receive_data(data)
        protocol.data_to_send()
        for frame in protocol.events_received():
            yield from self._frame(segment, sender, frame)
            if self.is_over:
                return
        if protocol.parser_exc is not None:
            yield from self.lose(MALFORMED, segment)

    def _read_head(self, segment: _Segment, sender: _Side) -> bool:
        """Read a request, or its response; say whether frames follow."""
        end = sender.head.find(b"\r\n\r\n") + 4
        if self.is_over or end < 4:
            self.is_over |= len(sender.head) > MAX_HEAD
            return False
        head = bytes(sender.head[:end])
        del sender.head[:end]
        try:
            if segment.is_client:
                self._request = _parsed(Request, head)
                return False
            self._open(segment, _parsed(Response, head))
        except (ValueError, EOFError, WebSocketException):  # other HTTP
            self.is_over = True
        return not self.is_over

    def _open(self, segment: _Segment, response: Any) -> None:
        if response.status_code != 101 or self._request is None:
            raise ValueError("no WebSocket")
        accepted = ", ".join(response.headers.get_all("Sec-WebSocket-Extensions"))
        ours: dict[str, Any] = {}
        for name, parameters in parse_extension(accepted) if accepted else ():
            if name != "permessage-deflate":
                raise ValueError("an unknown extension")
            ours = {"permessage-deflate": True} | dict(parameters)
        for side, kind, remote, local in (
            (self.client, SERVER, "client", "server"),
            (self.server, CLIENT, "server", "client"),
        ):
            side.protocol = Protocol(kind, max_size=MAX_MESSAGE)
            if ours:
                deflate = PerMessageDeflate(
                    f"{remote}_no_context_takeover" in ours,
                    f"{local}_no_context_takeover" in ours,
                    int(ours.get(f"{remote}_max_window_bits") or 15),
                    int(ours.get(f"{local}_max_window_bits") or 15),
                )
                side.protocol.extensions = [deflate]
        path = self._request.path
        path = path if self._capture.keep_query else masked_target(path)
        content = ConnectionOpened(path, kept(self._request.headers.raw_items()))
        self._opened = Entry(segment.packet, segment.time, self.number, True, content)

    def _frame(self, segment: _Segment, sender: _Side, frame: Any) -> Iterator[Entry]:
        if not isinstance(frame, Frame):
            return
        if frame.opcode is Opcode.CLOSE:
            closed = Close.parse(frame.data)
            yield from self._end(segment, ConnectionClosed(int(closed.code), closed.reason))
        elif frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            if frame.opcode is not Opcode.CONT:
                sender.is_text = frame.opcode is Opcode.TEXT
            sender.message.append(bytes(frame.data))
            if frame.fin:
                data = b"".join(sender.message)
                sender.message.clear()
                yield from self._say(segment, payload_text(data) if sender.is_text else data)

    def _say(self, segment: _Segment, content: str | bytes) -> Iterator[Entry]:
        if self._opened is not None:
            is_neffos = segment.is_client and is_handshake_request(content)
            if not (is_neffos or self._capture.take_all):
                self._capture.others += 1
                self.is_over = True
                return
            self._is_read = True
            yield self._opened
            self._opened = None
        yield Entry(segment.packet, segment.time, self.number, segment.is_client, content)

    def _end(self, segment: _Segment, content: ConnectionClosed) -> Iterator[Entry]:
        if self._is_read:
            yield Entry(segment.packet, segment.time, self.number, segment.is_client, content)
        self.is_over = True

    def lose(self, why: str, segment: _Segment | None = None) -> Iterator[Entry]:
        """End the connection as unknown, at the packet that cannot be read."""
        at = segment or (self.waiting[0] if self.waiting else None)
        if not self.is_over and not self._is_read:
            self._capture.unknown += 1
        elif not self.is_over and at is not None:
            yield from self._end(at, ConnectionClosed(None, "", why))
        self.waiting.clear()
        self.is_over = True


def _parsed(kind: Any, head: bytes) -> Any:
    reader = StreamReader()
    reader.feed_data(head)
    reader.feed_eof()
    more = () if kind is Request else (reader.read_exact, reader.read_to_eof)
    parser = kind.parse(reader.read_line, *more)
    try:
        next(parser)
    except StopIteration as done:
        return done.value
    raise ValueError("it is not whole")
