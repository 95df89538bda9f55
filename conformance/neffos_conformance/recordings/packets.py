"""Writes a recording as a capture of packets (pcapng): Ethernet, IP, TCP, HTTP and WebSocket.

The packets are made up: addresses and ports say which connection and which server it is. The header
of the recording is the comment of the first packet, where ``capture.py`` finds it, so that the
capture gets the verdict of the recording.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from ipaddress import IPv4Address
from typing import BinaryIO, Final
from urllib.parse import quote

from websockets.exceptions import ProtocolError
from websockets.frames import Close, CloseCode, Frame, Opcode
from websockets.utils import accept_key

from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.payloads import payload_bytes
from neffos_conformance.wire.transcript import ConnectionOpened, Entry, Header, Published, line_of

COMMENT: Final = b"neffos-wire recording: "
"""Begins the comment that has the header of a recording."""

SEGMENT: Final = 32 << 10
"""Bytes of a message in one packet; an IP packet has less than 64 KiB."""

MAX_FORMER: Final = 1 << 14
"""Ended connections that are remembered, as ``checking.py`` does."""

_CLIENTS: Final = int(IPv4Address("10.0.0.0"))
_SERVERS: Final = int(IPv4Address("192.0.2.0"))  # RFC 5737: for documentation
_ADDRESSES: Final = 1 << 24
_PORTS: Final = 50_000
_KEY: Final = "bmVmZm9zLXdpcmUgMTIzNA=="
_SYN, _ACK, _FIN, _PUSH = 2, 16, 1, 8
_VISIBLE: Final = "".join(map(chr, range(0x21, 0x7F)))


def save_capture(stream: BinaryIO, first: Header, entries: Iterable[Entry]) -> tuple[int, int]:
    """Write a recording as a capture.

    Args:
        stream: the file.
        first: the header; what it says of a broker is left out, as the published messages are.
        entries: the other lines.

    Returns:
        The number of packets, and that of the published messages that were left out.
    """
    began = 0.0
    with suppress(ValueError):  # an unknown date
        began = datetime.fromisoformat(first.get("recorded", "")).timestamp()
    stream.write(_block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)))
    stream.write(_block(1, struct.pack("<HHI", 1, 0, 0)))  # Ethernet, without a bound
    comment = COMMENT + line_of(_without_broker(first)).strip()
    count = published = 0
    following = _Connections()
    for entry in entries:
        published += isinstance(entry.content, Published)
        time = int((began + entry.time) * 1e6)
        for packet in following.packets(entry):
            size = len(packet)
            head = struct.pack("<IIIII", 0, time >> 32 & 0xFFFFFFFF, time & 0xFFFFFFFF, size, size)
            options = _option(1, comment) if not count else b""
            stream.write(_block(6, head + _filled(packet) + options))
            count += 1
    return count, published


def _without_broker(first: Header) -> Header:
    defects = {id_: role for id_, role in first.get("defects", {}).items() if id_[:3] != "SX-"}
    kept = {name: each for name, each in first.items() if name not in ("broker", "defects")}
    return kept | ({"defects": defects} if defects else {})


def _block(kind: int, body: bytes) -> bytes:
    size = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + size + body + size


def _option(code: int, value: bytes) -> bytes:
    value = value[:0xFFFF]  # its length has 16 bits
    return struct.pack("<HH", code, len(value)) + _filled(value) + bytes(4)


def _filled(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


class _Connections:
    """Makes the packets of connections; of an ended one only the number is kept."""

    def __init__(self) -> None:
        self._open: dict[int, _Connection] = {}
        self._former: dict[int, None] = {}

    def packets(self, entry: Entry) -> Iterator[bytes]:
        """Give the packets of a line."""
        content, number = entry.content, entry.connection
        if isinstance(content, Published) or number in self._former:
            return
        connection = self._open.get(number)
        if connection is None:
            opened = content if isinstance(content, ConnectionOpened) else ConnectionOpened("", {})
            connection = self._open[number] = _Connection(number, opened.node)
            yield from connection.open(opened)
        if isinstance(content, str | bytes):
            opcode = Opcode.TEXT if isinstance(content, str) else Opcode.BINARY
            yield from connection.say(entry.from_client, Frame(opcode, payload_bytes(content)))
        elif isinstance(content, ConnectionClosed):
            yield from connection.close(entry.from_client, content)
            del self._open[number]
            self._former[number] = None
            if len(self._former) > MAX_FORMER:
                del self._former[next(iter(self._former))]


class _Connection:
    """One TCP connection.

    Args:
        number: the number of the connection.
        node: the number of its server.
    """

    def __init__(self, number: int, node: int) -> None:
        client = (_CLIENTS + number % _ADDRESSES).to_bytes(4, "big")
        server = (_SERVERS + node).to_bytes(4, "big")
        self._hosts = {True: client + server, False: server + client}
        ports = _PORTS + number // _ADDRESSES % 0x2000, 80
        self._ports = {True: ports, False: ports[::-1]}
        self._next = {True: 0, False: 0}

    def open(self, opened: ConnectionOpened) -> Iterator[bytes]:
        """Give the packets of the opening."""
        yield from self._send(True, b"", _SYN)
        yield from self._send(False, b"", _SYN | _ACK)
        path = quote(opened.path, safe=_VISIBLE, errors="surrogateescape")
        # A header may be anything, since a recording may come from a stranger.
        headers = "".join(
            f"{quote(name, safe=_VISIBLE)}: {' '.join(value.split())}\r\n"
            for name, value in opened.headers.items()
        )
        request = (
            f"GET {'' if path.startswith('/') else '/'}{path} HTTP/1.1\r\nHost: server\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {_KEY}\r\n{headers}\r\n"
        )
        response = (
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Accept: {accept_key(_KEY)}\r\n\r\n"
        )
        yield from self._send(True, request.encode("utf-8", "replace"))
        yield from self._send(False, response.encode())

    def say(self, from_client: bool, frame: Frame) -> Iterator[bytes]:
        """Give the packets of a WebSocket frame."""
        yield from self._send(from_client, frame.serialize(mask=from_client))

    def close(self, from_client: bool, closed: ConnectionClosed) -> Iterator[bytes]:
        """Give the packets of an end: of a close frame, if there was one, and of TCP."""
        if closed.cut:  # neither peer ended it
            return
        if closed.code is not None:
            data = b""
            if closed.code != CloseCode.NO_STATUS_RCVD:
                with suppress(ProtocolError):  # a code that a close frame cannot have
                    data = Close(closed.code, closed.reason).serialize()
            yield from self.say(from_client, Frame(Opcode.CLOSE, data))
        yield from self._send(from_client, b"", _FIN | _ACK)

    def _send(self, from_client: bool, data: bytes, flags: int = _ACK | _PUSH) -> Iterator[bytes]:
        for at in range(0, max(len(data), 1), SEGMENT):
            part = data[at : at + SEGMENT]
            yield self._packet(from_client, part, flags)
            self._next[from_client] += len(part) + bool(flags & (_SYN | _FIN))

    def _packet(self, from_client: bool, data: bytes, flags: int) -> bytes:
        sequence = self._next[from_client] & 0xFFFFFFFF
        seen = self._next[not from_client] & 0xFFFFFFFF if flags & _ACK else 0
        hosts, ports = self._hosts[from_client], self._ports[from_client]
        tcp = struct.pack("!HHIIBBHHH", *ports, sequence, seen, 5 << 4, flags, 0xFFFF, 0, 0) + data
        both = struct.pack("!8sHH", hosts, 6, len(tcp))
        tcp = tcp[:16] + _checksum(both + tcp) + tcp[18:]
        head = struct.pack("!BBHHHBBH8s", 0x45, 0, 20 + len(tcp), 0, 0x4000, 64, 6, 0, hosts)
        head = head[:10] + _checksum(head) + head[12:]
        macs = bytes([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1])
        return (macs if from_client else macs[6:] + macs[:6]) + b"\x08\x00" + head + tcp


def _checksum(data: bytes) -> bytes:
    """Give the checksum of IP and TCP: a remainder by 0xFFFF is a sum with the carry added."""
    words = int.from_bytes(data + bytes(len(data) % 2), "big")
    return (0xFFFF - words % 0xFFFF).to_bytes(2, "big")
