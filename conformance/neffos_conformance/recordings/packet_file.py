"""Reads the packets of a capture (pcap and pcapng), and the TCP segments in them."""

from __future__ import annotations

import io
import logging
import struct
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Final, NamedTuple

from neffos_conformance.wire.packed import InputError

MAX_BLOCK: Final = 16 << 20
"""Bytes that are read at once. A packet has 64 KiB; a block with keys of TLS may be larger."""


class _Bounded:
    """A stream that reads no block that no honest program writes.

    Attributes:
        is_cut: the last block is not whole.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.name = ""
        self.is_cut = False

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_BLOCK:
            raise ValueError(f"a block has more than {MAX_BLOCK} bytes")
        data = self._stream.read(size)
        self.is_cut |= 0 < len(data) < size
        return data

    def close(self) -> None:
        pass  # it belongs to the caller

    def tell(self) -> int:
        raise io.UnsupportedOperation


_SECRETS: Final = 10
_KEY_LOG: Final = 0x544C534B
"""The block of pcapng that has secrets, and the kind of them that is a key log."""


class Packet(NamedTuple):
    """A packet.

    Attributes:
        time: seconds since 1970.
        link: a number of the registry of link types of libpcap.
        data: what was captured of it.
        comment: the first comment on it.
    """

    time: float
    link: int
    data: bytes
    comment: bytes = b""


def read_packets(stream: BinaryIO, take_keys: Callable[[BinaryIO], None]) -> Iterator[Packet]:
    """Give the packets; a link is a number of the registry of link types of libpcap.

    Args:
        stream: the capture.
        take_keys: called with each key log that is in the capture.
    """
    try:
        logging.getLogger("scapy.runtime").setLevel(logging.ERROR)
        from scapy.error import Scapy_Exception  # it belongs to an extra
        from scapy.utils import RawPcapReader
    except ImportError as error:
        text = "captures of packets need a package. Try: pip install 'neffos-wire[captures]'"
        raise InputError(text) from error
    bounded = _Bounded(stream)
    try:
        reader: Any = RawPcapReader(bounded)  # type: ignore[arg-type]

        def take_secrets(block: bytes, _: int) -> None:
            kind, size = struct.unpack_from(f"{reader.endian}II", block)
            if kind == _KEY_LOG:
                take_keys(io.BytesIO(block[8 : 8 + size]))

        if hasattr(reader, "blocktypes"):  # pcapng; scapy's own reader wants its layers of TLS
            reader.blocktypes[_SECRETS] = take_secrets
        while True:
            # The public iterator cuts packets at 64 KiB, which those of a loopback exceed.
            data, about = reader._read_packet(MAX_BLOCK)
            if hasattr(about, "sec"):
                time = about.sec + about.usec / (1e9 if reader.nano else 1e6)
                yield Packet(time, reader.linktype, data)
            else:
                ticks = ((about.tshigh or 0) << 32) + (about.tslow or 0)
                time = ticks / (about.tsresol or 1e6)
                yield Packet(time, about.linktype, data, *(about.comments or ())[:1])
    except EOFError as error:  # also where the length of a packet is wrong
        if bounded.is_cut or stream.read(1):
            raise ValueError("the capture is damaged, or ends in the middle of it") from error
    except Scapy_Exception as error:
        raise ValueError(str(error)) from error


class Tcp(NamedTuple):
    """A TCP segment, with its fields as they are on the wire.

    Attributes:
        source, target: address and port of either side.
        sequence, acknowledged, flags: as in RFC 9293, 3.1.
        data: its data.
    """

    source: tuple[bytes, int]
    target: tuple[bytes, int]
    sequence: int
    acknowledged: int
    flags: int
    data: bytes


_ETHERNET: Final = 1
_KIND_AND_SIZE: Final = {_ETHERNET: (12, 14), 113: (14, 16), 276: (0, 20)}
"""By link: where its header says what follows, and its size; the others are of Linux's "any"."""

_BARE: Final = {0: 4, 108: 4, 12: 0, 14: 0, 101: 0, 228: 0, 229: 0}
"""The sizes of headers after which there is IP: of BSD's loopback, and none."""

LINKS: Final = frozenset({*_KIND_AND_SIZE, *_BARE})
"""The links that are understood."""

_IP: Final = (0x0800, 0x86DD)
_VLAN: Final = (0x8100, 0x88A8)
_OPTIONS: Final = (0, 43, 60)
"""Headers of IPv6 before TCP: hop by hop, routing, destination."""


def tcp_of(link: int, data: bytes) -> Tcp | None:
    """Give the TCP segment of a packet; ``None`` if it has none, or a part of one.

    Without scapy's classes: with them, a packet takes half a millisecond.
    """
    try:
        if link in _BARE:
            at = _BARE[link]
        else:
            place, at = _KIND_AND_SIZE[link]
            kind = _two(data, place)
            while kind in _VLAN and link == _ETHERNET:
                kind, at = _two(data, at + 2), at + 4
            if kind not in _IP:
                return None
        version, end = data[at] >> 4, len(data)
        if version == 4:
            size = _two(data, at + 2)
            is_part = _two(data, at + 6) & 0x3FFF
            protocol, hosts, width = data[at + 9], at + 12, 4
            start = at + (data[at] & 15) * 4
        else:
            size = _two(data, at + 4)
            size += 40 if size else 0
            is_part, protocol, hosts, width, start = 0, data[at + 6], at + 8, 16, at + 40
            while protocol in _OPTIONS:
                protocol, start = data[start], start + (data[start + 1] + 1) * 8
        if protocol != 6 or is_part or version not in (4, 6):
            return None
        if (
            size
        ):  # the network card, which cuts large packets, writes it later; what follows is filler
            end = at + size
        source, target, sequence, acknowledged, offset, flags = struct.unpack_from(
            "!HHIIBB", data, start
        )
    except (IndexError, struct.error):  # the capture has only its beginning
        return None
    return Tcp(
        (data[hosts : hosts + width], source),
        (data[hosts + width : hosts + 2 * width], target),
        sequence,
        acknowledged,
        flags,
        data[start + (offset >> 4) * 4 : end],
    )


def _two(data: bytes, at: int) -> int:
    return data[at] << 8 | data[at + 1]
