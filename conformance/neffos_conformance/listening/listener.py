"""The socket at which clients arrive, and the page about the run on the same port.

Whoever connects may be hostile. So there is a bound on the connections at a time, on the seconds of
a request, and on what a client may send; ``wire.connection`` and ``served`` have the last.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from ipaddress import ip_address
from socket import AF_INET, AF_INET6, SOCK_DGRAM, socket
from typing import Final

from websockets.datastructures import Headers

from neffos_conformance.listening.page import Page
from neffos_conformance.listening.session import ListeningSession
from neffos_conformance.wire.connection import WireConnection
from neffos_conformance.wire.waiting import cancel

MAX_CLIENTS: Final = 16
"""Clients that are tested at a time, as many as cases run concurrently against a server. Each may
hold the two largest messages of ``wire.connection`` in memory."""

MAX_SOCKETS: Final = 128
"""TCP connections at a time, those for the page included; a further one is reset."""

NEIGHBOUR: Final = "192.0.2.1"
NEIGHBOUR_6: Final = "2001:db8::1"
"""Addresses of nobody (RFC 5737, RFC 3849). Which address this machine would use to reach them is
its own address in its network; nothing is sent."""


def reachable_address(host: str) -> str:
    """Give the address by which others reach a listener.

    Args:
        host: the address that it listens on; an unspecified one is replaced by that of this machine
            in its network, or by loopback where it has none.
    """
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    family, other = (AF_INET, NEIGHBOUR) if address.version == 4 else (AF_INET6, NEIGHBOUR_6)
    with suppress(OSError), socket(family, SOCK_DGRAM) as probe:
        probe.connect((other, 9))
        return str(probe.getsockname()[0])
    return "127.0.0.1" if address.version == 4 else "::1"


@asynccontextmanager
async def listening_for_clients(
    session: ListeningSession, host: str, port: int, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Page]:
    """Listen for the clients of a run; give the page, which has the address.

    Args:
        session: takes the clients.
        host: the address to listen on.
        port: the port; 0 for any free one.
        tls: listen with TLS.

    Raises:
        OSError: it cannot listen there.
    """
    tasks: set[asyncio.Task[None]] = set()
    page: Page | None = None

    async def arrived(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert page is not None  # noqa: S101  # it is there before the first client
        if task is None or len(tasks) >= MAX_SOCKETS:
            writer.transport.abort()
            return
        tasks.add(task)
        try:
            peer = writer.get_extra_info("peername")
            incoming = await WireConnection.incoming(reader, writer)
            if incoming is not None:
                await _answer(incoming, str(peer[0]) if peer else "", session, page)
        except OSError:
            pass
        except asyncio.CancelledError:
            writer.transport.abort()  # the run is over
        finally:
            tasks.discard(task)

    listener = await asyncio.start_server(arrived, host, port, ssl=tls)
    bound = listener.sockets[0].getsockname()[1]
    page = Page(session, reachable_address(host), bound, is_secure=tls is not None)
    try:
        yield page
    finally:
        listener.close()
        await cancel(tasks)


async def _answer(
    incoming: WireConnection, address: str, session: ListeningSession, page: Page
) -> None:
    request = incoming.request
    if request.method == "HEAD":
        await session.head(incoming, address)
    elif "websocket" in request.headers.get("Upgrade", "").lower():
        if session.clients >= MAX_CLIENTS:
            await incoming.refuse(HTTPStatus.SERVICE_UNAVAILABLE)
        else:
            await session.take(incoming, address)
    else:
        status, kind, body, policy = page.get(request.path.partition("?")[0])
        headers = Headers(
            {
                "Content-Type": kind,
                "Cache-Control": "no-store",
                "X-Content-Type-Options": "nosniff",
                "Referrer-Policy": "no-referrer",
                "Content-Security-Policy": policy,
            }
        )
        await incoming.refuse(status, headers, body=body)
