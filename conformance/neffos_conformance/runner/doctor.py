"""Goes the way of a client to a server step by step, and says where it ends and why.

Each step is one diagnosis. The first that fails ends the way: what is after it was not reached.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum, unique
from typing import Final
from urllib.parse import urlsplit

from websockets.proxy import Proxy

from neffos_codec import Message, encode
from neffos_conformance.runner.refusals import refusal
from neffos_conformance.wire.connection import ConnectError, ConnectionClosed, WireConnection
from neffos_conformance.wire.payloads import frame_of, short
from neffos_conformance.wire.reach import (
    FROM_ENVIRONMENT,
    ProxyFailedError,
    Target,
    is_address,
)
from neffos_protocol.events import Change
from neffos_protocol.names import REQUEST_EVENT

DEADLINE: Final = 10.0
"""Seconds for one step: enough for every network, and for a person who waits."""

MAX_BODY: Final = 400
"""Bytes of a response's body that are looked at: refusals are short, pages are not."""

BY_URL: Final = "?X-Websocket-Header-X-Neffos-Wire=doctor"
"""A header given by URL (TR-8). It is harmless: real ones would stay in the logs of proxies."""


@unique
class Health(StrEnum):
    """The outcome of a step."""

    OK = "ok"
    NOTE = "note"
    """It is refused, which some clients can do without."""
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What a step showed.

    Attributes:
        step: the step, in a word or two.
        outcome: its outcome.
        text: what was seen, in a few words.
        reason: why it fails, in a sentence; empty if it does not.
        remedy: what to do about it, likewise.
    """

    step: str
    outcome: Health
    text: str
    reason: str = ""
    remedy: str = ""


class EndError(Exception):
    """The way ends here."""

    def __init__(self, diagnosis: Diagnosis) -> None:
        super().__init__(diagnosis.text)
        self.diagnosis = diagnosis


async def examine(
    target: Target, namespaces: Sequence[str] = (), *, deadline: float = DEADLINE
) -> AsyncIterator[Diagnosis]:
    """Go the way to a server, and yield what each step shows.

    Args:
        target: the server. Its URL is that of a WebSocket.
        namespaces: those that are connected at the end.
        deadline: seconds for each step.
    """
    way = Examination(target, deadline)
    try:
        async for diagnosis in way.steps(namespaces):
            yield diagnosis
    except EndError as end:
        yield end.diagnosis


class Examination:
    """The steps to one server.

    Args:
        target: the server.
        deadline: seconds for each step.
    """

    def __init__(self, target: Target, deadline: float) -> None:
        self._target = target
        self._deadline = deadline

    async def steps(self, namespaces: Sequence[str]) -> AsyncIterator[Diagnosis]:
        """Yield the diagnoses; ``EndError`` has the last one if something fails."""
        yield await self._name()
        async for diagnosis in self._connect():
            yield diagnosis
        async for diagnosis in self._upgrades():
            yield diagnosis
        connection = await self._dial("upgrade", self._target)
        try:
            yield await self.handshake(connection)
            for number, name in enumerate(namespaces, 1):
                yield await self._namespace(connection, number, name)
        finally:
            await connection.close()

    async def _name(self) -> Diagnosis:
        reach, uri = self._target.reach, self._target.uri
        host = reach.address_of(uri)
        if reach.unix_socket:
            return Diagnosis("name", Health.OK, "not needed for a Unix socket")
        if is_address(host):
            return Diagnosis("name", Health.OK, f"{uri.host}: the address {host}")
        proxy = self._proxy()
        if proxy is not None and proxy.scheme not in ("socks5", "socks4"):
            return Diagnosis("name", Health.OK, f"{host} is resolved by the proxy")
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._deadline):
                found = await loop.getaddrinfo(host, uri.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            text = f"{host}: {getattr(error, 'strerror', None) or error or 'no answer in time'}"
            raise self._failed("name", text, error=text) from error
        addresses = dict.fromkeys(str(each[4][0]) for each in found)
        return Diagnosis("name", Health.OK, f"{host} is {', '.join(addresses)}")

    def _proxy(self) -> Proxy | None:
        try:
            return self._target.reach.proxy_for(self._target.uri)
        except ProxyFailedError as error:
            raise self._failed("proxy", str(error), error=str(error)) from error

    async def _connect(self) -> AsyncIterator[Diagnosis]:
        """Open a connection: through a proxy or not, and with TLS or not."""
        target, uri = self._target, self._target.uri
        reach = target.reach
        proxy = self._proxy()
        if proxy is not None:
            source = " of the environment" if reach.proxy == FROM_ENVIRONMENT else ""
            where = f"{proxy.scheme}://{proxy.host}:{proxy.port}{source}"
            carrier = Diagnosis("proxy", Health.OK, f"{where} leads to {uri.host}:{uri.port}")
        else:
            where = reach.unix_socket or f"{reach.address_of(uri)} port {uri.port}"
            carrier = Diagnosis("TCP", Health.OK, f"connected to {where}")
        try:
            async with asyncio.timeout(self._deadline):
                _, writer = await target.connect()
        except ProxyFailedError as error:
            status = str(error.status or "")
            raise self._failed("proxy", str(error), error=str(error), status=status) from error
        except TimeoutError as error:
            text = str(error) or f"no answer within {self._deadline:g} s"
            raise self._failed(carrier.step, text, error=text) from error
        except (OSError, UnicodeError) as error:
            text = str(error) or "the connection ended"
            ends = (ssl.SSLError, ConnectionResetError, ConnectionAbortedError)
            if not (uri.secure and isinstance(error, ends)):
                raise self._failed("TCP", text, error=text) from error
            yield carrier
            shown = getattr(error, "verify_message", "") or text
            raise self._failed("TLS", shown, error=text) from error
        tls = writer.get_extra_info("ssl_object")
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()
        yield carrier
        if tls is not None:
            yield Diagnosis("TLS", Health.OK, _certificate(tls, reach.is_insecure))

    async def _upgrades(self) -> AsyncIterator[Diagnosis]:
        """Upgrade with an Origin and without, and with a header in the URL."""
        target = self._target
        uri = target.uri
        headers = target.reach.headers
        given = next((value for name, value in headers if name.lower() == "origin"), "")
        host = urlsplit(target.url).netloc.rpartition("@")[2]
        origin = given or f"{'https' if uri.secure else 'http'}://{host}"
        rest = tuple(each for each in headers if each[0].lower() != "origin")
        without = replace(target, reach=replace(target.reach, headers=rest))
        with_origin = replace(
            target, reach=replace(target.reach, headers=(*rest, ("Origin", origin)))
        )
        plain, browser = (
            await self._tried("upgrade", without),
            await self._tried("upgrade", with_origin),
        )
        if plain.outcome is not Health.OK and browser.outcome is not Health.OK:
            raise EndError(browser if given else plain)
        if plain.outcome is Health.OK:
            yield replace(plain, text="101, without an Origin")
        else:
            known = refusal("without Origin", {})
            outcome = Health.NOTE
            yield Diagnosis(
                "upgrade", outcome, f"{plain.text}, without an Origin", known.reason, known.remedy
            )
        if browser.outcome is Health.OK:
            yield Diagnosis("Origin", Health.OK, f"101, with the Origin {origin}")
        else:
            known = refusal("Origin", {})
            text = f"{browser.text}, with the Origin {origin}"
            outcome = Health.FAIL if given else Health.NOTE
            diagnosis = Diagnosis("Origin", outcome, text, known.reason, known.remedy)
            if given:
                raise EndError(diagnosis)
            yield diagnosis
        if browser.outcome is not Health.OK or not given:
            self._target = without if plain.outcome is Health.OK else with_origin
        by_url = await self._tried("upgrade", self._target.below(BY_URL))
        if by_url.outcome is Health.OK:
            yield Diagnosis(
                "headers by URL", Health.OK, "101, with X-Websocket-Header-… in the URL"
            )
        else:
            known = refusal("headers by URL", {})
            yield Diagnosis("headers by URL", Health.NOTE, by_url.text, known.reason, known.remedy)

    async def _tried(self, step: str, target: Target) -> Diagnosis:
        try:
            connection = await self._dial(step, target)
        except EndError as end:
            return end.diagnosis
        await connection.close()
        return Diagnosis(step, Health.OK, "101")

    async def _dial(self, step: str, target: Target) -> WireConnection:
        try:
            async with asyncio.timeout(self._deadline):
                return await WireConnection.dial(target)
        except TimeoutError as error:
            text = f"no answer within {self._deadline:g} s"
            raise self._failed(step, text, error=text) from error
        except ConnectError as error:
            response = error.response
            if response is None:
                raise self._failed(step, str(error), error=str(error)) from error
            body = bytes(response.body or b"")[:MAX_BODY].decode("utf-8", "replace")
            facts = {
                "status": str(response.status_code),
                "body": body,
                "type": response.headers.get("Content-Type", ""),
                "version": response.headers.get("Sec-WebSocket-Version", ""),
                "location": response.headers.get("Location", ""),
            }
            text = f"HTTP {response.status_code}"
            if location := facts["location"]:
                text += f" to {location}"
            elif "text/plain" in facts["type"] and body.strip():
                text += f": {' '.join(body.split())}"
            raise self._failed(step, text, **facts) from error

    async def handshake(self, connection: WireConnection) -> Diagnosis:
        """Ask to be accepted.

        Raises:
            EndError: the server does something else.
        """
        await connection.send("M")
        answer = await self._received(connection)
        if isinstance(answer, str) and answer.startswith("A"):
            text = f"A{answer[1:]}" if len(answer) > 1 else "A, without an ID"
            return Diagnosis("handshake", Health.OK, text)
        text = f"expected A and an ID, actual {_shown(answer)}"
        raise self._failed("handshake", text, answer=_fact(answer))

    async def _namespace(self, connection: WireConnection, number: int, name: str) -> Diagnosis:
        wait = f"${number}"
        ask = Message(wait=wait, namespace=name, event=REQUEST_EVENT[Change.CONNECT])
        await connection.send(encode(ask))
        answer = await self._received(connection, wait)
        shown = f"{name or 'the empty one'}"
        frame = frame_of(answer)
        if frame is not None and not frame.is_error:
            return Diagnosis("namespace", Health.OK, f"{shown}: connected")
        text = str(frame.body) if frame is not None else _fact(answer)
        found = self._failed("namespace", f"{shown}: {text}", answer=text).diagnosis
        if frame is None:
            raise EndError(found)
        return found

    async def _received(
        self, connection: WireConnection, wait: str = ""
    ) -> str | bytes | ConnectionClosed | None:
        """Wait for the next message, or for the reply with a token; ``None`` if none comes."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._deadline):
                while True:
                    received = await connection.receive()
                    frame = frame_of(received)
                    if isinstance(received, ConnectionClosed) or not wait:
                        return received
                    if frame is not None and frame.wait == wait:
                        return received
        return None

    def _failed(self, step: str, text: str, **facts: str) -> EndError:
        known = refusal(step, facts)
        return EndError(Diagnosis(step, Health.FAIL, text, known.reason, known.remedy))


def _fact(answer: str | bytes | ConnectionClosed | None) -> str:
    if answer is None:
        return "silence"
    return answer if isinstance(answer, str) else _shown(answer)


def _shown(answer: str | bytes | ConnectionClosed | None) -> str:
    if answer is None:
        return "silence"
    return str(answer) if isinstance(answer, ConnectionClosed) else short(answer)


def _certificate(tls: ssl.SSLObject, is_insecure: bool) -> str:
    version = (tls.version() or "TLS").replace("TLSv", "TLS ")
    if is_insecure:
        return f"{version}, whatever the certificate says"
    certificate = tls.getpeercert() or {}
    return f"{version}, with a certificate until {certificate.get('notAfter', 'an unknown date')}"
