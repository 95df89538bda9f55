"""Whether a mutant's HTTP or WebSocket breaks a requirement: random sessions with a server.

The mutant and the correct server have the same sessions, and what comes back is compared. This
reaches upgrades, headers, origins, control frames, fragments and closings. Limits of time,
reconnection and TLS are out of its reach, and so is what a client does with all of this: there is
no proxy behind a client.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random
from typing import Final

from mutation import memory_loop
from mutation.generated.transport import CODES, SIZES, TransportMutant
from neffos_conformance.cases.features import ID_HEADER
from neffos_conformance.reference.embedded import embedded_server
from neffos_conformance.wire.connection import ConnectError, ConnectionClosed, WireConnection

ORIGINS: Final = {
    "own": "http://127.0.0.1:{port}",
    "other": "https://elsewhere.example",
    "null": "null",
    "upper": "HTTP://127.0.0.1:{port}",
    "port": "http://127.0.0.1:1",
}
"""Origins, of which only the server's own may connect (SEC-9)."""

URL_IDS: Final = ("q%2520%2Bid", "caf%C3%A9")
"""Connection IDs that a client chooses by the URL. A header of the request itself has ASCII alone:
what other bytes in it mean is up to the server (RFC 9110, 5.5)."""

SESSIONS: Final = 160
"""Sessions with a mutant, before it is undecided: one in 50 has a given ID and a given header."""


async def observed(url: str, seed: str) -> list[str]:
    """Hold a random session with a server, and give what comes back."""
    random = Random(seed)  # noqa: S311  # no secret
    seen: list[str] = []
    for number in range(2):
        path = random.choice(("", "", "", "mixed", "native"))
        chosen = (f"?X-Websocket-Header-{ID_HEADER}={each}" for each in URL_IDS)
        query = random.choice(("", "", "?a=1", *chosen))
        headers = {}
        if random.random() < 0.5:
            port = url.rpartition(":")[2].strip("/")
            headers["Origin"] = random.choice(list(ORIGINS.values())).format(port=port)
        if random.random() < 0.4:
            headers[ID_HEADER] = random.choice(("Own", "a;b", "a%20b", "x.y"))
            headers[ID_HEADER] += f"-{number}"
        if random.random() < 0.2:
            headers["Sec-WebSocket-Protocol"] = "chat, superchat"
        if random.random() < 0.2:
            headers["Cookie"] = "a=b"
        try:
            link = await WireConnection.dial(f"{url}{path}{query}", headers)
        except ConnectError as error:
            seen.append(f"{number} no upgrade {error.status}")
            continue
        try:
            await _session(link, random, seen, path == "native")
        finally:
            await link.close()
    return seen


async def _session(link: WireConnection, random: Random, seen: list[str], is_native: bool) -> None:
    seen.append(str(link.headers.get("Sec-WebSocket-Protocol")) if link.headers else "")
    is_own = False
    if not is_native:
        await link.send("M")
        await _note(link, seen)
        await link.send("$1;any;;_OnNamespaceConnect;0;0;")
        await _note(link, seen)
        is_own = True
    for number in range(random.randint(3, 14)):
        size = random.choice((*SIZES, 5))
        kind = random.choice(("text", "binary", "ping", "parts", "parts"))
        head = f"${number + 2};any;;e;0;0;" if is_own else ""
        body = head + "x" * max(0, size - len(head))
        if kind == "ping":
            payload = b"p" * min(size, 125)
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    seen.append(f"pong {await link.ping(payload)}")
        elif kind == "parts":
            third = max(1, len(body) // random.choice((2, 3, 5)))
            parts = [body[at : at + third].encode() for at in range(0, len(body), third)]
            if parts:
                await link.send_parts(parts, is_text=random.random() < 0.5)
                await _note(link, seen)
        elif body:
            await link.send(body if kind == "text" else body.encode())
            await _note(link, seen)
        if not link.is_open:
            return
    code = random.choice((*CODES, None))
    if code is None:
        link.abort()
        return
    await link.send_close(code, random.choice(("", "bye")))
    await _note(link, seen, is_answer=True)


async def _note(link: WireConnection, seen: list[str], *, is_answer: bool = False) -> None:
    """Note the next message, or that there is none; IDs differ.

    The answer to a close frame need not repeat its code (RFC 6455, 5.5.1).
    """
    try:
        async with asyncio.timeout(1):
            received = await link.receive()
    except TimeoutError:
        seen.append("nothing")
        return
    if isinstance(received, ConnectionClosed):
        is_any = is_answer and received.code is not None
        seen.append(f"closed {'some' if is_any else received.code}")
    elif isinstance(received, str) and received.startswith("A") and len(received) > 20:
        seen.append("accepted")
    else:
        seen.append(f"{type(received).__name__} {len(received)} {received[:60]!r}")


def differs(mutant: TransportMutant, seed: int) -> tuple[list[str], list[str]] | None:
    """Find a session in which a mutant does other things than the correct server; give both."""

    async def both(name: str) -> tuple[list[str], list[str]]:
        async with embedded_server() as url:
            correct = await observed(url, name)
        async with mutant.proxy().run() as url:
            return correct, await observed(url, name)

    for index in range(SESSIONS):
        correct, actual = memory_loop.run(both(f"{mutant.name}/{seed}/{index}"))
        if correct != actual and mutant.count:
            return correct, actual
    return None
