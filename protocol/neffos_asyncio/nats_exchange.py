"""Servers that share a NATS server: ``Server(…, exchange=NatsExchange("nats://127.0.0.1"))``.

It needs the extra ``nats``.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from itertools import count
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from nats.aio.client import PING_PROTO, Client
from nats.protocol.command import sub_cmd, unsub_cmd

from neffos_asyncio.broker import CONNECT_TIME, STALL_TIME, BrokerAttachment, discards, reset
from neffos_asyncio.exchange import PREFIX, Attachment, Deliver
from neffos_asyncio.transport import log
from neffos_protocol.broker_urls import check_urls, shown_urls, split_urls
from neffos_protocol.exchange import nats_subjects
from neffos_protocol.text import logged


class NatsExchange:
    """The servers that use one NATS server, or cluster, and one prefix.

    Args:
        url: ``nats://`` or, with TLS, ``tls://``; several are separated by commas. A URL may have a
            user and a password, and options for TLS: see ``NATS_OPTIONS`` of ``broker_urls``.
        prefix: what subjects begin with: the prefix of neffos in Go.
        tls: certificates for TLS, if neither those of the system nor those of the URL.

    Raises:
        ValueError: a URL or a file that it names is invalid, or a subject cannot begin with the
            prefix.
    """

    def __init__(
        self, url: str, prefix: str = PREFIX, *, tls: ssl.SSLContext | None = None
    ) -> None:
        self.channels: Final = nats_subjects(prefix)
        self._urls = split_urls(url)
        self._tls = tls or tls_of(url)
        self._name = shown_urls(url)

    def __repr__(self) -> str:
        return f"<NatsExchange {self._name}>"

    def attach(self, deliver: Deliver) -> Attachment:
        """Attach a server."""

        async def connect() -> _Nats:
            broker = _Nats(deliver)
            await broker.open(self._urls, self._tls)
            return broker

        return BrokerAttachment(connect, self._name)


def tls_of(urls: str) -> ssl.SSLContext | None:
    """Return what the options of URLs give for TLS; ``None`` if they have none.

    Raises:
        ValueError: a URL is invalid, or a file that it names.
    """
    check_urls(urls)
    options = dict(pair for each in split_urls(urls) for pair in parse_qsl(urlsplit(each).query))
    if not options:
        return None
    try:
        context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
        if "ssl_certfile" in options:
            context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
    except OSError as error:  # those of `ssl` are among them
        raise ValueError(f"a file that its URL names cannot be used: {error.strerror}") from error
    return context


class NatsClient(Client):
    """A client of the library that does what its connection is for, or ends."""

    async def open(self, urls: Sequence[str], tls: ssl.SSLContext | None, **options: Any) -> None:
        """Connect once, with options of the library, and leave nothing open if that fails.

        Raises:
            Exception: whatever the library raises.
        """
        if tls is not None:
            options["tls"] = tls
        try:
            # To connect again is the work of `BrokerAttachment`, for each broker alike.
            await self.connect(list(urls), allow_reconnect=False, **options)
        except BaseException:
            reset(self.writer)
            raise

    def _connect_command(self) -> bytes:
        """Give what has the password: with the one that was meant, and to whom it was meant.

        The library does not decode the user and password of a URL. It speaks without TLS, whatever
        the URL, to a server that asks for none: to whoever stands between.
        """
        assert self._current_server is not None  # noqa: S101  # it has just been connected
        uri = self._current_server.uri
        is_plain = self.writer is None or self.writer.get_extra_info("ssl_object") is None
        if is_plain and (uri.scheme == "tls" or "tls" in self.options):
            raise ConnectionError("it offers no TLS")
        if uri.username is not None and uri.password is None:
            self.options["token"] = unquote(uri.username)
        elif uri.username is not None and uri.password is not None:
            self.options.update(user=unquote(uri.username), password=unquote(uri.password))
        return super()._connect_command()

    async def _process_connect_init(self) -> None:
        """Connect, also if something else comes before the reply to the first ping.

        The library then counts as neither connected nor closed: it sends nothing any more, hears
        nothing, and reports success.
        """
        await super()._process_connect_init()
        if not self.is_connected:
            self._status = Client.CONNECTED
            self._pongs.append(asyncio.Future())  # its reply is still to come
            await self._process_ping()  # that may have come before; a pong too many is no harm

    async def _send_ping(self, future: asyncio.Future[bool] | None = None) -> None:
        """Send a ping after what waits to be sent. The library sends it before.

        Its reply would confirm neither a subscription nor that messages were taken.
        """
        self._pongs.append(future or asyncio.Future())
        await self._send_command(PING_PROTO)
        await self._flush_pending()

    async def _process_pong(self) -> None:
        """Take the reply to a ping, also to one whose sender has stopped waiting.

        The library then stops reading, without an end of the connection.
        """
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = asyncio.Future()
        await super()._process_pong()

    @property
    def writer(self) -> asyncio.StreamWriter | None:
        """What it writes to, in whatever state the connection is."""
        return getattr(self._transport, "_io_writer", None)


class _Client(NatsClient):
    """A client that delivers in the order of arrival, and always reports its end.

    The library has a queue and a task for each subscription: memory for each client, and the
    messages of two subjects in any order (EV-9). It does not call ``closed_cb`` if what it still
    sends at the end fails: a server that publishes nothing would never know.
    """

    def __init__(self, deliver: Deliver) -> None:
        super().__init__()
        self.ended = asyncio.Event()
        self._deliver = deliver

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        try:
            await super()._close(status, do_cbs)
        finally:
            self.ended.set()

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        self._deliver(bytes(subject).decode(), bytes(data))


class _Nats:
    """A connection to NATS; see ``BrokerConnection``."""

    def __init__(self, deliver: Deliver) -> None:
        self._client = _Client(deliver)
        self._subscriptions: dict[str, int] = {}
        self._numbers = count(1)
        self._is_large_noted = False

    async def open(self, urls: Sequence[str], tls: ssl.SSLContext | None) -> None:
        await self._client.open(
            urls,
            tls,
            no_echo=True,
            connect_timeout=int(CONNECT_TIME),
            ping_interval=int(STALL_TIME),
            max_outstanding_pings=1,
            error_cb=_note_error,
        )
        # The library closes a silent connection by itself. Whatever was published was flushed.
        discards(self._client.writer)

    async def subscribe(self, channels: Sequence[str]) -> None:
        # The library keeps 4 KiB for each subscription, mostly for a queue that is not used here.
        for channel in channels:
            number = self._subscriptions[channel] = next(self._numbers)
            await self._client._send_command(sub_cmd(channel, "", number))
        await self._client.flush(int(STALL_TIME))

    async def unsubscribe(self, channels: Sequence[str]) -> None:
        for channel in channels:
            await self._client._send_command(unsub_cmd(self._subscriptions.pop(channel), 0))
        await self._client._flush_pending()

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        for channel, payload in messages:
            if len(payload) > self._client.max_payload:
                self._note_large(len(payload))
                continue
            await self._client.publish(channel, payload)
        await self._client.flush(int(STALL_TIME))  # else its buffer has no bound

    async def watch(self) -> None:
        await self._client.ended.wait()
        raise ConnectionError(self._client.last_error or "it ended the connection")

    async def close(self) -> None:
        await self._client.close()

    def reset(self) -> None:
        reset(self._client.writer)

    def _note_large(self, size: int) -> None:
        if not self._is_large_noted:
            self._is_large_noted = True
            text = "a message of %d bytes was not published, nor are others above the limit, %d"
            log.warning(text, size, self._client.max_payload)


async def _note_error(error: Exception) -> None:
    log.debug("NATS: %s", logged(error))
