"""The engine for clients: a correct client, with hooks at which a fault changes what it does.

There are hooks on the messages that the client receives and sends, on its HTTP requests, and on
its driver. The reference client runs in this process, a new one for each case. This module knows
no fault.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, Literal, cast

from websockets.datastructures import Headers

from mutation import hooks, operators
from mutation.hooks import Effect, FrameHook, Payload, PayloadHook, PeerContext, Sent, Traffic
from mutation.registry import SOON
from neffos_asyncio.limits import DEFAULT, Limits
from neffos_codec import Message, encode
from neffos_conformance.cases.definition import Case
from neffos_conformance.reference.client_driver import ReferenceDriver
from neffos_conformance.runner.client_steps import Between
from neffos_conformance.runner.driver_protocol import (
    ClientDriver,
    OperationError,
    Values,
    result_of,
    take_seen,
)
from neffos_conformance.runner.pace import Way
from neffos_conformance.runner.result import Result
from neffos_conformance.runner.run import Run, run_client_case
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.transport import Transport, UpgradeRequest
from neffos_conformance.wire.waiting import at_most

OperationHook = Callable[["ClientContext", str, Values], Any]
Observe = Callable[["ClientContext", Values], Values | Sequence[Values] | None]

LIMITS: Final = replace(DEFAULT, ask=2.0)
"""The limits of a faulty client, which does not wait long for a peer that does not reply."""

TIMEOUTS: Final = replace(SOON, case=6.0, close=2.0)
"""How long a case waits for a faulty client, whatever the case says: this one is back at once."""

CONCURRENT_CASES: Final = 4
"""Cases that run concurrently against a faulty client. Each needs a client in this process."""

GONE: Final = ConnectionClosed(None)
"""The end of TCP. A client that sends this receives nothing more."""

HANG: Final[Values] = {"hangs": True}
"""In place of a result: the operation never ends."""


class ClientContext(PeerContext):
    """A faulty client in one case: what its traffic shows, and what a hook can do.

    Attributes:
        current: the number of the connection that the message is on, from 0.
        is_closing: whether the suite has begun to close a connection.
        operations: what the driver was told to do, in order.
        running: the operations that have not ended, with their fields.
        done: the operations that have succeeded, in order.
        observe: takes an observation that the driver reports.
    """

    role = "client"

    def __init__(self) -> None:
        super().__init__()
        self.current = 0
        self.is_closing = False
        self.operations: list[str] = []
        self.running: list[tuple[str, Values]] = []
        self.done: list[str] = []
        self.observe: Callable[[Values], object] = bool
        self._served: list[Payload] = []

    @property
    def is_connecting(self) -> bool:
        """Whether an operation still connects the namespace of the current frame."""
        names = [fields["namespace"] for op, fields in self.running if op == "connect"]
        return self.message is not None and self.message.namespace in names

    def serve(self, given: Message | Payload | None = None) -> list[Payload]:
        """Have the correct client receive a message, or the current one; give nothing to send."""
        if given is None or given == self.message:
            given = self.payload  # as it was written
        self._served.append(encode(given) if isinstance(given, Message) else given)
        return []

    def say(self, effect: Effect) -> None:
        """Send something as well, on the current connection."""
        self.connections[self.current].put(hooks.payloads(effect))

    def say_last(self, effect: Effect) -> None:
        """Send something on the connection that was opened last."""
        self.connections[-1].put(hooks.payloads(effect))

    def say_elsewhere(self, effect: Effect) -> None:
        """Send something on all connections but the current one."""
        for number, each in enumerate(self.connections):
            if number != self.current:
                each.put(hooks.payloads(effect))

    def tell(self, saw: str, **fields: Any) -> None:
        """Report an observation of the client on its first connection."""
        self.observe({"connection": 1, "saw": saw, **fields})

    # For the engine.

    def turn_to(self, number: int, traffic: Traffic) -> None:
        """Make a connection the current one."""
        self.current, self.traffic = number, traffic

    def take_served(self) -> list[Payload]:
        """Give what the client is to receive, once."""
        served, self._served = self._served, []
        return served


@dataclass(frozen=True, slots=True)
class ClientFault(hooks.MessageHooks):
    """A client with a fault: hooks in a correct one; those that are left out change nothing.

    Attributes:
        close: what takes the place of the end of a connection.
        fragments: what takes the place of the fragments of a message that it receives.
        raw: what takes the place of WebSocket frames that it receives, as bytes.
        is_deaf_to_pings: whether it answers no ping.
        request: changes the headers of its upgrade request.
        target: takes headers away, and gives the query that it sends in their place.
        is_alive: whether an HTTP status makes it believe that the server is up again.
        in_turn: operations that it performs on a connection only one after the other.
        before: is called with each operation before the client performs it; it may raise.
        failed: gives a result in place of the failure of an operation; ``None`` lets it fail.
        result: what takes the place of the result of an operation; ``None`` leaves it alone.
        observes: what takes the place of an observation that its driver reports; a trigger can
            name its fields.
        delay: seconds before each thing that it sends.
        limits: of the correct client.
    """

    close: Callable[[ClientContext, ConnectionClosed], ConnectionClosed] | None = None
    fragments: Callable[[Sequence[bytes]], Sequence[bytes]] | None = None
    raw: Callable[[bytes], bytes] | None = None
    is_deaf_to_pings: bool = False
    request: Callable[[Headers], object] | None = None
    target: Callable[[Headers], str] | None = None
    is_alive: Callable[[int], bool] | None = None
    in_turn: frozenset[str] = frozenset()
    before: OperationHook | None = None
    failed: OperationHook | None = None
    result: OperationHook | None = None
    observes: Observe | None = None
    delay: float = 0.0
    limits: Limits = LIMITS
    role: Literal["client"] = field(default="client", init=False)

    @asynccontextmanager
    async def stage(self) -> AsyncIterator[Run]:
        """Give the function that runs a case against the client."""
        yield at_most(CONCURRENT_CASES, partial(play, self))


async def play(fault: ClientFault, case: Case) -> Result:
    """Run a case against a faulty client."""
    async with faulty_client(fault) as (client, between):
        hasty = replace(case, seconds=0.0)
        way = Way(TIMEOUTS, "client")
        return await run_client_case(client, hasty, between=between, way=way)


@asynccontextmanager
async def faulty_client(fault: ClientFault) -> AsyncIterator[tuple[ClientDriver, Between]]:
    """Start a client with a fault; give its driver, and what changes its connections."""
    context = ClientContext()
    client = _FaultyDriver(fault, context)
    try:
        yield (
            client,
            lambda request: cast("UpgradeRequest", _FaultyRequest(request, fault, context)),
        )
    finally:
        client.end()


# -------------------------------------------------------------------- makers


receive, receive_raw = hooks.seeds(ClientFault, "receive"), hooks.seeds(ClientFault, "receive_raw")
send, send_raw = hooks.seeds(ClientFault, "send"), hooks.seeds(ClientFault, "send_raw")
observes = hooks.seeds(ClientFault, "observes")
retokened = partial(operators.retokened, peer=ClientFault)


def beside(hook: FrameHook, **trigger: Any) -> ClientFault:
    """Seed a fault in what a client sends as well when it receives a frame."""
    return receive(lambda c, m: c.say(hook(c, m)), **trigger)


def beside_raw(hook: PayloadHook, **trigger: Any) -> ClientFault:
    """Seed a fault in what a client sends as well when it receives a payload."""
    return receive_raw(lambda c, payload: c.say(hook(c, payload)), **trigger)


def header(name: str, value: str | None, *, is_added: bool = True) -> ClientFault:
    """Replace a header of the upgrade request, or leave it out.

    Args:
        name: of the header.
        value: its value; ``None`` leaves it out.
        is_added: whether a request without the header gets it as well.
    """

    def request(headers: Headers) -> None:
        was_there = headers.pop(name, None) is not None
        if value is not None and (was_there or is_added):
            headers[name] = value

    return ClientFault(request=request)


def in_url(parameter: Callable[[str, str], str]) -> ClientFault:
    """Send the headers of the application in the URL, as browsers do.

    Args:
        parameter: gives the query parameter for the name and the value of a header.
    """

    def target(headers: Headers) -> str:
        own = [each for each in headers.raw_items() if each[0].lower().startswith("x-conformance-")]
        for name, _ in own:
            headers.pop(name, None)
        return "&".join(parameter(name, value) for name, value in own)

    return ClientFault(target=target)


# -------------------------------------------------------------------- the client


class _FaultyDriver:
    """The reference client with its driver, in this process, with the hooks of a fault."""

    def __init__(self, fault: ClientFault, context: ClientContext) -> None:
        self.seen: list[Values] = []
        self._fault = fault
        self._context = context
        self._number = 0
        self._answers: dict[int, asyncio.Future[Values]] = {}
        self._news = asyncio.Event()
        self._turns: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._driver = ReferenceDriver(self._take, limits=fault.limits)
        context.observe = self._observe

    def end(self) -> None:
        """End the client."""
        self._driver.end()

    async def do(self, op: str, **fields: Any) -> Values:
        """Have the client perform an operation, as the fault has it."""
        context, fault, running = self._context, self._fault, (op, fields)
        context.operations.append(op)
        context.running.append(running)
        try:
            if fault.before:
                fault.before(context, op, fields)
            turn = self._turns[fields["connection"]] if op in fault.in_turn else nullcontext()
            async with turn:
                values = await self._do(op, **fields)
        except OperationError:
            instead = fault.failed(context, op, fields) if fault.failed else None
            if instead is HANG:
                await asyncio.Event().wait()
            if instead is None:
                raise
            return dict(instead)
        finally:
            context.running.remove(running)
        context.done.append(op)
        effect = fault.result(context, op, values) if fault.result else None
        return values if effect is None else dict(effect)

    async def saw(self, seconds: float = 0.0, **fields: Any) -> Values:
        """Wait until the client has observed something."""
        async with asyncio.timeout(seconds):
            while (seen := take_seen(self.seen, fields)) is None:
                self._news.clear()
                await self._news.wait()
            return seen

    def _observe(self, seen: Values) -> None:
        self.seen.append(seen)
        self._news.set()

    async def _do(self, op: str, **fields: Any) -> Values:
        self._number += 1
        number = self._number
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        self._driver.take(json.dumps({"id": number, "op": op, **fields}).encode())
        return result_of(op, await answer)

    def _take(self, line: str) -> None:
        values = json.loads(line)
        if "saw" in values:
            observes = self._fault.observes
            effect = observes(self._context, values) if observes else None
            given = values if effect is None else effect
            for each in [given] if isinstance(given, dict) else given:
                self._observe(each)
            return
        answer = self._answers.pop(values["id"])
        if not answer.done():
            answer.set_result(values)


class _FaultyRequest:
    """An HTTP request of a faulty client."""

    def __init__(self, arrived: UpgradeRequest, fault: ClientFault, context: ClientContext) -> None:
        self._arrived = arrived
        self._fault = fault
        self._context = context
        headers = arrived.request.headers.copy()
        if fault.request:
            fault.request(headers)
        path = arrived.request.path
        if fault.target:
            path += ("&" if "?" in path else "?") + fault.target(headers)
        self.request = replace(arrived.request, headers=headers, path=path)

    def accept(self) -> Transport | None:
        """Upgrade the connection."""
        transport = self._arrived.accept()
        faulty = transport and _FaultyTransport(transport, self._fault, self._context)
        return cast("Transport | None", faulty)

    async def refuse(self, status: int) -> None:
        """Answer with an HTTP status, if the client is to believe it."""
        if self._fault.is_alive is None or self._fault.is_alive(status):
            await self._arrived.refuse(status)
        else:
            self._arrived.abort()

    def __getattr__(self, name: str) -> Any:
        """Leave everything else to the request of the correct client."""
        return getattr(self._arrived, name)


class _FaultyTransport:
    """A connection of a faulty client, as the suite sees it."""

    def __init__(self, transport: Transport, fault: ClientFault, context: ClientContext) -> None:
        self.traffic = Traffic()
        self._transport = transport
        self._fault = fault
        self._context = context
        self._number = len(context.connections)
        self._is_gone = False
        self._sent: asyncio.Queue[Sent] = asyncio.Queue()
        context.connections.append(self)
        self._pump = asyncio.create_task(self._listen(), name="listen to a client")

    async def send(self, payload: Payload, *, is_held: bool = False) -> None:
        """Have the client receive a message, as the fault has it."""
        context = self._context
        context.turn_to(self._number, self.traffic)
        context.begin(payload)
        effect = self._fault.received(context)
        served = context.take_served() if effect is not None else [payload]
        self.traffic.feed("server", payload)
        self.put(hooks.payloads(effect))
        for each in served:
            await self._transport.send(each, is_held=is_held)

    async def send_parts(self, parts: Sequence[bytes], *, is_text: bool) -> None:
        """Send a message in fragments."""
        left = self._fault.fragments(parts) if self._fault.fragments else parts
        if left:
            await self._transport.send_parts(left, is_text=is_text)

    async def send_raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        await self._transport.send_raw(self._fault.raw(data) if self._fault.raw else data)

    async def ping(self, payload: bytes) -> bool:
        """Send a ping, which nothing answers if that is the fault."""
        if self._fault.is_deaf_to_pings:
            await asyncio.Event().wait()
        return await self._transport.ping(payload)

    async def receive(self) -> Sent:
        """Receive what the client sends, as the fault has it."""
        sent = await self._sent.get()
        if isinstance(sent, ConnectionClosed):
            self._sent.put_nowait(sent)
        return sent

    def put(self, sent: Iterable[Sent]) -> None:
        """Have the client send something."""
        for each in sent:
            if self._is_gone:
                return
            self._sent.put_nowait(each)
            if isinstance(each, ConnectionClosed):
                self._is_gone = True
                self._transport.abort()

    def abort(self) -> None:
        """End TCP."""
        self._context.is_closing = True
        self._transport.abort()

    async def send_close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame."""
        self._context.is_closing = True
        await self._transport.send_close(code, reason)

    async def close(self) -> None:
        """Close the socket."""
        self._pump.cancel()
        with suppress(asyncio.CancelledError):
            await self._pump
        await self._transport.close()

    def __getattr__(self, name: str) -> Any:
        """Leave everything else to the connection of the correct client."""
        return getattr(self._transport, name)

    async def _listen(self) -> None:
        fault, context = self._fault, self._context
        while True:
            sent = await self._transport.receive()
            if fault.delay:
                await asyncio.sleep(fault.delay)
            context.turn_to(self._number, self.traffic)
            if isinstance(sent, ConnectionClosed):
                self.put([fault.close(context, sent) if fault.close else sent])
                return
            effect = fault.sent(context, sent)
            self.traffic.feed("client", sent)
            self.put([sent] if effect is None else hooks.payloads(effect))
