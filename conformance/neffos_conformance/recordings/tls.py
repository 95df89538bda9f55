"""Reads what is inside TLS in a capture, with the keys that one of the peers wrote down.

tlslite-ng decrypts the records. This file only follows the handshake, to know which keys are next.
It knows nothing of packets: each peer's bytes arrive in their order.
"""

from __future__ import annotations

import binascii
import errno
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO, Final

from neffos_conformance.wire.packed import DamagedError, InputError, open_file, unpacked

MAX_KEY_LINE: Final = 1 << 12
"""Bytes of a line of a key log; a correct one has less than 300."""

MAX_HANDSHAKE: Final = 1 << 18
"""Bytes of a handshake message; the largest one has a chain of certificates."""

_CHANGE_CIPHER, _HANDSHAKE, _DATA = 20, 22, 23
"""Types of records (RFC 8446, 5.1)."""

_CLIENT_HELLO, _SERVER_HELLO, _FINISHED, _KEY_UPDATE = 1, 2, 20, 24
"""Types of handshake messages (RFC 8446, 4)."""

_RANDOM: Final = slice(5, 37)
"""The random number of a hello (RFC 8446, 4.1.2), after its length and version."""

_TLS_1_3: Final = (3, 4)


class TlsError(ValueError):
    """Bytes that cannot be decrypted; the text says why."""


class MissingKeysError(TlsError):
    """The keys of a connection are not known."""


class KeyLog:
    """The keys of TLS connections, as browsers and libraries write them to ``SSLKEYLOGFILE``."""

    def __init__(self) -> None:
        self._secrets: dict[tuple[bytes, bytes], bytes] = {}

    def add(self, stream: BinaryIO) -> None:
        """Add the lines of a key log; others, such as comments, are passed over.

        Raises:
            InputError: it is compressed and damaged.
        """
        try:
            while line := stream.readline(MAX_KEY_LINE):
                words = line.split()
                if len(words) == 3 and not line.startswith(b"#"):
                    try:
                        random, secret = map(binascii.unhexlify, words[1:])
                    except binascii.Error:
                        continue
                    self._secrets[words[0], random] = secret
        except DamagedError as error:
            raise InputError(str(error)) from error

    def __bool__(self) -> bool:
        return bool(self._secrets)

    def secret(self, label: bytes, random: bytes) -> bytearray:
        """Give a secret of the connection whose client began with a random number.

        Raises:
            MissingKeysError: it is not in the log.
        """
        try:
            return bytearray(self._secrets[label, random])
        except KeyError as error:
            raise MissingKeysError(f"the key log has no {label.decode()}") from error


def read_keys(path: Path | None) -> KeyLog:
    """Read a key log, plain or compressed; without a file it is empty.

    Raises:
        InputError: it cannot be read.
    """
    keys = KeyLog()
    if path is not None:
        with open_file(path) as file:
            keys.add(unpacked(file))
    return keys


class Tls:
    """One connection.

    Args:
        keys: the key log.

    Raises:
        InputError: the package that decrypts is missing.
    """

    def __init__(self, keys: KeyLog) -> None:
        self._keys = keys
        self._random = b""
        self._suite = 0
        self._version = (0, 0)
        self._traffic: Any = ()
        self._peers = {True: _Peer(is_client=True), False: _Peer(is_client=False)}

    def feed(self, from_client: bool, data: bytes) -> bytes:
        """Take the next bytes of a peer, and give what is whole of its data.

        Raises:
            MissingKeysError: the keys are not in the log.
            TlsError: the bytes cannot be decrypted.
        """
        peer = self._peers[from_client]
        found = bytearray()
        try:
            for kind, content in peer.records(data):
                if kind == _DATA:
                    found += content
                elif kind == _HANDSHAKE:
                    for message, body in peer.messages(content):
                        self._follow(peer, message, body)
                elif kind == _CHANGE_CIPHER and self._version < _TLS_1_3:
                    peer.layer.changeReadState()
        except TlsError:
            raise
        # What is malformed also shows as an assertion or a syntax error of the library.
        except (_library().TLSError, ValueError, AssertionError, SyntaxError) as error:
            raise TlsError(f"{type(error).__name__}: {error}") from error
        return bytes(found)

    def _follow(self, peer: _Peer, message: int, body: bytearray) -> None:
        if message == _CLIENT_HELLO:
            self._random = bytes(body[_RANDOM])  # the rest may be newer than the library
        elif message == _SERVER_HELLO:
            self._begin(_library().ServerHello().parse(_library().Parser(body)))
        elif self._version < _TLS_1_3:
            return
        elif message == _FINISHED:
            labels = b"CLIENT_TRAFFIC_SECRET_0", b"SERVER_TRAFFIC_SECRET_0"
            self._traffic = self._traffic or tuple(
                self._keys.secret(each, self._random) for each in labels
            )
            self._change(peer, *self._traffic)
        elif message == _KEY_UPDATE:
            update = peer.layer.calcTLS1_3KeyUpdate_sender
            self._traffic = update(self._suite, *self._traffic)

    def _begin(self, hello: Any) -> None:
        """Take the choice of the server: version and ciphers."""
        if bytes(hello.random) == bytes(_library().TLS_1_3_HRR):  # it asks for another hello
            return
        chosen = hello.getExtension(_library().ExtensionType.supported_versions)
        self._version = chosen.version if chosen else hello.server_version
        self._suite = hello.cipher_suite
        if self._version >= _TLS_1_3:
            labels = b"CLIENT_HANDSHAKE_TRAFFIC_SECRET", b"SERVER_HANDSHAKE_TRAFFIC_SECRET"
            secrets = [self._keys.secret(each, self._random) for each in labels]
        else:
            secrets = [self._keys.secret(b"CLIENT_RANDOM", self._random)]
        mac_is_last = hello.getExtension(_library().ExtensionType.encrypt_then_mac)
        for peer in self._peers.values():
            peer.layer.version = self._version
            if self._version >= _TLS_1_3:
                peer.layer.tls13record = True
                self._change(peer, *secrets)
                continue
            peer.layer.encryptThenMAC = mac_is_last is not None
            randoms = bytearray(self._random), hello.random
            peer.layer.calcPendingStates(self._suite, *secrets, *randoms, None)

    def _change(self, peer: _Peer, client: bytearray, server: bytearray) -> None:
        peer.layer.calcTLS1_3PendingState(self._suite, client, server, None)
        peer.layer.changeReadState()


class _Peer:
    """What one peer sends: its records, and the handshake messages in them.

    Attributes:
        layer: the record layer of the library, on the side of the other peer.
    """

    def __init__(self, *, is_client: bool) -> None:
        self._received = bytearray()
        self._handshake = bytearray()
        self.layer = _library().RecordLayer(self)
        self.layer.client = not is_client
        self._records = self.layer.recvRecord()

    def recv(self, size: int) -> bytes:
        """Give bytes that arrived, as a socket does."""
        if not self._received:
            raise BlockingIOError(errno.EWOULDBLOCK, "")
        data = bytes(self._received[:size])
        del self._received[:size]
        return data

    def records(self, data: bytes) -> Iterator[tuple[int, bytearray]]:
        """Take bytes, and give type and content of each record that is whole."""
        self._received += data
        for record in self._records:
            if record in (0, 1):
                return
            header, content = record
            yield header.type, content.bytes

    def messages(self, data: bytearray) -> Iterator[tuple[int, bytearray]]:
        """Take a part of a handshake, and give type and body of each message that is whole."""
        self._handshake += data
        while len(self._handshake) >= 4:
            size = int.from_bytes(self._handshake[1:4], "big")
            if size > MAX_HANDSHAKE:
                raise TlsError(f"a handshake message has more than {MAX_HANDSHAKE} bytes")
            if len(self._handshake) < 4 + size:
                return
            kind, body = self._handshake[0], self._handshake[1 : 4 + size]
            del self._handshake[: 4 + size]
            yield kind, body


@cache
def _library() -> Any:
    try:
        from tlslite.constants import TLS_1_3_HRR, ExtensionType  # it belongs to an extra
        from tlslite.errors import BaseTLSException
        from tlslite.messages import ServerHello
        from tlslite.recordlayer import RecordLayer
        from tlslite.utils.codec import Parser
    except ImportError as error:
        text = "a key log needs a package. Try: pip install 'neffos-wire[captures]'"
        raise InputError(text) from error
    return SimpleNamespace(
        TLS_1_3_HRR=TLS_1_3_HRR,
        ExtensionType=ExtensionType,
        TLSError=BaseTLSException,
        ServerHello=ServerHello,
        RecordLayer=RecordLayer,
        Parser=Parser,
    )
