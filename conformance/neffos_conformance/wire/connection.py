"""One WebSocket connection of the suite to a peer, be it a server or a client.

Built on the I/O-free half of ``websockets``, because the suite must see what a more
convenient library hides: text that is not UTF-8, and whether a close frame preceded the end of TCP.
It knows messages, not frames.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from neffos_conformance.wire.closing import ConnectionClosed as ConnectionClosed
from neffos_conformance.wire.payloads import payload_bytes, payload_text
from neffos_conformance.wire.reach import Target, cause, replaced
from neffos_conformance.wire.waiting import is_cancelled

MAX_MESSAGE: Final = 64 << 20
"""Bytes of one incoming message: far above the largest case (1 MiB), far below memory."""

MAX_WAITING: Final = 10_000
"""Messages held for a case that does not read them; more is a flood, and fails the connection."""

MAX_WAITING_BYTES: Final = 128 << 20
"""Their bytes together, likewise: two of the largest messages."""

MAX_HELD: Final = 1 << 20
"""Bytes held by a connection that makes its peer wait, apart from the last message. What is between
two peers must not hide that one of them limits what it keeps (SEC-8)."""

MAX_PARTS: Final = 10_000
"""Fragments of one message; a peer that sends more is hostile."""

MAX_BACKLOG: Final = 4 << 20
"""Bytes of answers to pings that a peer does not read, before the suite ends the connection."""

CLOSE_DEADLINE: Final = 1.0
"""Seconds for a close frame to reach a peer; one that does not read never gets it."""

CLOSE_GRACE: Final = 2.0
"""Seconds for a peer that has sent a close frame first to end TCP. Some peers wait 10 s for a close
frame that they do not read, which is longer than a case."""

SUBPROTOCOL: Final = "Sec-WebSocket-Protocol"
"""The header with the subprotocols that a client offers, and with the server's choice."""

_PHRASES: Final = {each.value: each.phrase for each in HTTPStatus}

REQUEST_DEADLINE: Final = 10.0
"""Seconds for a client's request to be whole."""

READ_SIZE: Final = 1 << 16
"""Bytes read from the socket at a time."""

TURN: Final = 1 << 10
"""Bytes that a patient connection handles at a time, before others have their turn: up to 170
frames, which take about a millisecond. A message passes a relay in some ten turns of others."""

LARGE_TURN: Final = 8 << 10
"""The same of a large frame of which as many were received before: each turn has its own cost."""


class ConnectError(Exception):
    """The server could not be reached, or did not upgrade the connection.

    Attributes:
        response: the server's response, if it sent one other than an upgrade.
    """

    def __init__(self, explanation: str, response: Response | None = None) -> None:
        super().__init__(explanation)
        self.response = response

    @property
    def status(self) -> int | None:
        """The HTTP status that the server sent instead of 101, if any."""
        return None if self.response is None else self.response.status_code


_BROKEN: Final = frozenset({CloseCode.PROTOCOL_ERROR, CloseCode.INVALID_DATA})
"""The codes with which a connection is failed for frames that no network makes of others."""


class WireConnection:
    """An upgraded connection: payloads out, payloads and at last a ``ConnectionClosed`` in.

    Args:
        protocol: the WebSocket protocol, of either role.
        reader: reads from the peer.
        writer: writes to it.
        is_patient: make a peer that sends too fast wait; by default it is cut off.

    Attributes:
        headers: of the peer's half of the upgrade, once received.
        request: of a client, once received: method, path and headers.
    """

    def __init__(
        self,
        protocol: ClientProtocol | ServerProtocol,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        is_patient: bool = False,
    ) -> None:
        self._protocol = protocol
        self._reader = reader
        self._writer = writer
        self._is_patient = is_patient
        self._has_room = asyncio.Event()
        self._incoming: asyncio.Queue[str | bytes | ConnectionClosed] = asyncio.Queue()
        self._waiting_bytes = 0
        self._cut = ""
        self._is_leaving = False
        self._parts = bytearray()  # of a message in fragments, each of which may be a byte
        self._part_count = 0
        self._pong_bytes = 0  # not read by the peer yet
        self._type = Opcode.TEXT
        self._pongs: dict[bytes, asyncio.Future[bool]] = {}
        self._task: asyncio.Task[None] | None = None
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.headers = Headers()
        self.request = Request("", self.headers)

    @classmethod
    async def dial(
        cls,
        server: Target | str,
        headers: Mapping[str, str] | None = None,
        *,
        is_patient: bool = False,
    ) -> WireConnection:
        """Open a TCP (or TLS) connection and upgrade it.

        Args:
            server: the server, or its URL, ``ws://…`` or ``wss://…``.
            headers: further headers of the request; they replace those of the same name. The
                server may choose one of the subprotocols in them.
            is_patient: see above.

        Raises:
            ConnectError: with the HTTP status if the server responded without an upgrade.
        """
        target = Target.of(server)
        try:
            uri = target.uri
        except ValueError as error:
            raise ConnectError(str(error)) from error
        host, port = uri.host, uri.port
        try:
            reader, writer = await target.connect()
        except (OSError, UnicodeError) as error:
            raise ConnectError(f"no connection to {host}:{port}: {cause(error)}") from error
        protocol = ClientProtocol(uri, max_size=MAX_MESSAGE)
        connection = cls(protocol, reader, writer, is_patient=is_patient)
        request = protocol.connect()
        request.headers = replaced(request.headers, target.request_headers(headers or {}))
        if offered := request.headers.get_all(SUBPROTOCOL):
            protocol.available_subprotocols = [
                Subprotocol(each.strip()) for each in ",".join(offered).split(",")
            ]
        protocol.send_request(request)
        connection._flush()
        try:
            while protocol.state is State.CONNECTING and protocol.handshake_exc is None:
                connection._feed(await reader.read(READ_SIZE))
        except OSError as error:
            await connection.close()
            raise ConnectError(f"{host}:{port} dropped the connection: {error}") from error
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        if protocol.handshake_exc is not None:
            await connection.close()
            response = getattr(protocol.handshake_exc, "response", None)
            raise ConnectError(_why(protocol.handshake_exc), response) from protocol.handshake_exc
        connection._task = asyncio.create_task(connection._read(), name=f"read {host}:{port}")
        return connection

    @classmethod
    async def incoming(
        cls,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        is_patient: bool = False,
    ) -> WireConnection | None:
        """Read the request of a client that has connected; ``None`` if it is not whole in time.

        The connection is not upgraded until ``accept``.
        """
        protocol = ServerProtocol(max_size=MAX_MESSAGE)
        connection = cls(protocol, reader, writer, is_patient=is_patient)
        try:
            async with asyncio.timeout(REQUEST_DEADLINE):
                while not connection.request.path and protocol.handshake_exc is None:
                    # By lines: what follows the request is handled after its response.
                    connection._feed(await reader.readuntil(b"\n"))
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            pass
        if not connection.request.path:
            await connection.close()
            return None
        return connection

    def accept(self, headers: Headers | None = None) -> WireConnection | None:
        """Upgrade a client's connection; ``None``, after an error response, if that fails.

        Args:
            headers: further headers of the response; they replace those of the same name.
        """
        assert isinstance(self._protocol, ServerProtocol)  # noqa: S101  # see ``incoming``
        response = self._protocol.accept(self.request)
        if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS and headers:
            response.headers = replaced(response.headers, headers)
        self._protocol.send_response(response)
        self._flush()
        if self._protocol.state is not State.OPEN:
            return None
        self._task = asyncio.create_task(self._read(), name="read client")
        return self

    async def refuse(
        self,
        status: int,
        headers: Headers | None = None,
        *,
        reason: str | None = None,
        body: bytes = b"",
    ) -> None:
        """Respond to a client's request with an HTTP status instead of an upgrade, and close.

        Args:
            status: any status that is final, registered or not.
            headers: further headers of the response; they replace those of the same name.
            reason: the text of the status line; ``None`` for the registered one.
            body: the body.
        """
        assert isinstance(self._protocol, ServerProtocol)  # noqa: S101  # see ``incoming``
        if reason is None:
            reason = _PHRASES.get(status, "")
        own = [
            ("Date", formatdate(usegmt=True)),
            ("Connection", "close"),
            ("Content-Length", str(len(body))),
            ("Content-Type", "text/plain; charset=utf-8"),
        ]
        merged = replaced(Headers(own), headers or Headers())
        self._protocol.send_response(Response(status, reason, merged, body))
        self._flush()
        await self.close()

    @property
    def is_open(self) -> bool:
        """Whether neither peer has begun to close it."""
        return self._protocol.state is State.OPEN

    @property
    def backlog(self) -> int:
        """How many sent bytes wait here, since the peer does not read them."""
        return self._writer.transport.get_write_buffer_size()

    async def send(self, payload: str | bytes, *, is_held: bool = False) -> None:
        """Send one message: ``str`` as text (surrogate escapes as their bytes), else binary.

        A message to a peer that has gone is lost, as on any network; ``receive`` gives the
        closing.

        Args:
            payload: the message.
            is_held: it goes out together with the next message.
        """
        if self._protocol.state is not State.OPEN:
            return
        if isinstance(payload, str):
            self._protocol.send_text(payload_bytes(payload))
        else:
            self._protocol.send_binary(payload)
        if is_held:
            return
        await self._drain()

    async def send_parts(self, parts: Sequence[bytes], *, is_text: bool) -> None:
        """Send one message in fragments."""
        if self._protocol.state is not State.OPEN:
            return
        for number, part in enumerate(parts):
            is_last = number == len(parts) - 1
            if number:
                self._protocol.send_continuation(part, fin=is_last)
            elif is_text:
                self._protocol.send_text(part, fin=is_last)
            else:
                self._protocol.send_binary(part, fin=is_last)
            self._flush()
        await self._drain()

    async def send_raw(self, data: bytes) -> None:
        """Send bytes as they are, whatever WebSocket makes of them."""
        if self._protocol.close_rcvd or self._writer.is_closing():
            return  # no one reads them
        self._writer.write(data)
        await self._drain()

    async def ping(self, payload: bytes) -> bool:
        """Send a ping and wait for its pong; tell whether it came before the connection ended.

        Args:
            payload: up to 125 bytes, which no other ping that is under way has.
        """
        if not self.is_open or self._task is None or self._task.done():
            return False
        pong: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._pongs[payload] = pong
        try:
            self._protocol.send_ping(payload)
            await self._drain()
            return await pong
        finally:
            self._pongs.pop(payload, None)

    def stall(self) -> None:
        """Read nothing more, until ``resume``."""
        self._flowing.clear()

    def resume(self) -> None:
        """Read again."""
        self._flowing.set()

    async def receive(self) -> str | bytes | ConnectionClosed:
        """Wait for the next message, or for the closing, which every later call gives again."""
        item = await self._incoming.get()
        if isinstance(item, ConnectionClosed):
            self._incoming.put_nowait(item)
        else:
            self._waiting_bytes -= len(payload_bytes(item))
            if not self._is_full():
                self._has_room.set()
        return item

    @property
    def has_received_close(self) -> bool:
        """Whether a close frame was received; ``receive`` waits for the end of TCP as well."""
        return self._protocol.close_rcvd is not None

    @property
    def has_broken_protocol(self) -> bool:
        """Whether the suite failed the connection for what the peer sent (RFC 6455, 7.1.7)."""
        sent = self._protocol.close_sent
        return sent is not None and self._is_failed() and sent.code in _BROKEN

    def abort(self) -> None:
        """End TCP immediately, without a close frame."""
        self._writer.transport.abort()

    async def send_close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame if that is still possible; ``receive`` gives the answer."""
        if self._protocol.state is State.OPEN:
            self._is_leaving = True
            self._protocol.send_close(code, reason)
            await self._drain()

    async def close(self) -> None:
        """Send a close frame if that is still possible, and release the socket."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(1000)
            self._flush()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])  # raises if this task is cancelled meanwhile
        self._protocol.reader.discard()  # likewise what came of the next frame
        self._writer.close()
        try:
            async with asyncio.timeout(0 if is_cancelled() else CLOSE_DEADLINE):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            self._writer.transport.abort()

    async def _read(self) -> None:
        try:
            self._check_harm()  # a message may have come with the upgrade
            while not self._cut:
                await self._flowing.wait()
                data = await self._more()
                self._feed(data)
                self._check_harm()
                if self._is_patient:
                    await asyncio.sleep(0)  # reading from a full buffer waits for nothing
                if not data:
                    break
                while self._is_patient and self._is_full():
                    self._has_room.clear()
                    await self._has_room.wait()
        except OSError:
            pass
        for pong in self._pongs.values():
            if not pong.done():
                pong.set_result(False)
        received = self._protocol.close_rcvd
        if self._cut:
            self._writer.transport.abort()
            self._incoming.put_nowait(ConnectionClosed(None, cut=self._cut))
        elif received:
            self._incoming.put_nowait(ConnectionClosed(received.code, received.reason))
        else:
            self._incoming.put_nowait(ConnectionClosed(None))

    async def _more(self) -> bytes:
        """Read what comes; a peer that closes, and keeps TCP, has said all with its close frame."""
        size = self._turn() if self._is_patient else READ_SIZE
        grace = CLOSE_GRACE if self._protocol.close_rcvd_then_sent else None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                return await self._reader.read(size)
        return b""

    def _turn(self) -> int:
        return min(max(len(self._protocol.reader.buffer), TURN), LARGE_TURN)

    def _is_full(self) -> bool:
        size = MAX_HELD if self._is_patient else MAX_WAITING_BYTES
        return self._incoming.qsize() > MAX_WAITING or self._waiting_bytes > size

    def _check_harm(self) -> None:
        if self._is_full() and not self._is_patient:
            self._cut = "more messages than any case expects"
        elif self._part_count > MAX_PARTS and not self._is_patient:
            self._cut = "a message in too many fragments"
        elif self._is_failed():
            sent = self._protocol.close_sent
            if sent is not None and sent.code == CloseCode.MESSAGE_TOO_BIG:
                self._cut = f"it sent a message of more than {MAX_MESSAGE >> 20} MiB"
            else:
                self._cut = f"it broke the WebSocket protocol ({sent})"
        elif (self._pong_bytes if self._is_patient else self.backlog) > MAX_BACKLOG:
            self._cut = "it sends, but does not read"

    def _is_failed(self) -> bool:
        """Whether the protocol object failed the connection: the peer violated RFC 6455."""
        sent = self._protocol.close_sent and not self._protocol.close_rcvd
        return bool(sent) and not self._is_leaving

    def _feed(self, data: bytes) -> None:
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._take(event)
            elif isinstance(event, Request):
                self.request = event
                self.headers = event.headers
            elif isinstance(event, Response):
                self.headers = event.headers
        self._flush()

    def _take(self, frame: Frame) -> None:
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._type = frame.opcode
            self._parts, self._part_count = bytearray(frame.data), 1
        elif frame.opcode is Opcode.CONT:
            self._parts += frame.data
            self._part_count += 1
        else:  # the protocol object answers pings and closings
            pong = self._pongs.get(bytes(frame.data)) if frame.opcode is Opcode.PONG else None
            if pong is not None and not pong.done():
                pong.set_result(True)
            if frame.opcode is Opcode.PING:
                # What a relay forwards may wait as long as it takes; only these answers add up.
                self._pong_bytes = len(frame.data) + (self._pong_bytes if self.backlog else 0)
            return
        frame.data = b""  # the parser keeps the last frame until the garbage collector comes by
        if frame.fin:
            data = bytes(self._parts)
            self._parts = bytearray()
            self._waiting_bytes += len(data)
            is_text = self._type is Opcode.TEXT
            self._incoming.put_nowait(payload_text(data) if is_text else data)

    async def _drain(self) -> None:
        """Write what is left, and wait until the peer takes enough of it."""
        self._flush()
        with contextlib.suppress(OSError):
            await self._writer.drain()

    def _flush(self) -> None:
        pieces = self._protocol.data_to_send()
        data = b"".join(pieces)
        if data and not self._writer.is_closing():  # asyncio logs what it cannot send
            self._writer.write(data)  # in one piece, so that held messages go out together
        if b"" in pieces and self._writer.can_write_eof():
            with contextlib.suppress(OSError):
                self._writer.write_eof()


def _why(error: Exception) -> str:
    if isinstance(error, InvalidHandshake):
        return f"the server did not upgrade the connection: {error}"
    return f"the upgrade failed: {error}"
