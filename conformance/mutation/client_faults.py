"""A correct client behind a liar, which makes it a wrong one.

The liar stands at three places: before the connection, where it changes what the client says and
what it hears; before the client's HTTP requests; and before its driver, where it changes what the
client is told to do and what it tells. The client itself is the reference client in this process,
a new one for each case, so that many liars can be judged at the same time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

from websockets.datastructures import Headers
from websockets.http11 import Request

from mutation.registry import SOON, Mutant, about, register, words
from neffos_asyncio.limits import DEFAULT, Limits
from neffos_codec import DecodeError, Message, decode, encode, first_surrogate
from neffos_conformance.cases.definition import Case
from neffos_conformance.reference.client_driver import ReferenceDriver
from neffos_conformance.runner.client_steps import Between, ClientDriver
from neffos_conformance.runner.driver_protocol import (
    OperationError,
    UnsupportedError,
    Values,
    has_fields,
)
from neffos_conformance.runner.result import Result
from neffos_conformance.runner.run import Run, run_client_case
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.transport import Transport, UpgradeRequest

Payload = str | bytes
Said = Payload | ConnectionClosed
"""What goes by on a connection: a message, or its end."""

LIMITS: Final = replace(DEFAULT, ask=2.0)
"""The limits of a client behind a liar, which does not wait long for whoever does not answer."""

PATIENCE: Final = replace(SOON, case=6.0, close=2.0)
"""How long a case waits for a liar, whatever it says of itself: this client comes back at once."""

AT_ONCE: Final = 4
"""Cases that are played to a liar at the same time. All of a case, and of its client, is work of
this process: with many at once, each would take long."""

GONE: Final = ConnectionClosed(None)
"""The end of TCP. A client that says this hears nothing more."""

Do = Callable[..., Awaitable[Values]]
"""Makes the client do something: takes an operation and its fields, and gives the result."""


def _one(each: Any) -> list[Any]:
    return [each]


def _none(_: Any) -> list[Any]:
    return []


def _same(each: Any) -> Any:
    return each


async def _honestly(do: Do, op: str, fields: Values) -> Values:
    return await do(op, **fields)


@dataclass(frozen=True, slots=True)
class ClientFault:
    """What is made of a correct client; whatever is left out is left as it is.

    Attributes:
        says: what is made of each thing that the client says.
        hears: what is made of each message that it is sent.
        interjects: what it says of its own accord to a message that it is sent.
        gathers: what is made of the fragments of a message that it is sent; of none, nothing.
        requests: changes the headers of its request for an upgrade.
        heeds: whether it takes the status that its probe got for a sign of life.
        does: has an operation done.
        tells: what is made of each line that tells what the client saw.
        pause: seconds before each thing that it says.
        limits: of the client below.
    """

    says: Callable[[Said], Sequence[Said]] = _one
    hears: Callable[[Payload], Sequence[Payload]] = _one
    interjects: Callable[[Payload], Sequence[Said]] = _none
    gathers: Callable[[Sequence[bytes]], Sequence[bytes]] = _same
    requests: Callable[[Headers], object] = _none
    heeds: Callable[[int], bool] = bool
    does: Callable[[Do, str, Values], Awaitable[Values]] = _honestly
    tells: Callable[[Values], Sequence[Values]] = _one
    pause: float = 0.0
    limits: Limits = LIMITS


@dataclass(slots=True)
class Hand:
    """What a liar can do, and see, beside what passes through it.

    Attributes:
        connections: those that the client has opened, in order.
        current: the number of the one that something goes by on, from 0.
        was_left: whether the suite has begun to end a connection.
        sights: takes what the client tells.
    """

    connections: list[_Spoken] = field(default_factory=list)
    current: int = 0
    was_left: bool = False
    sights: Callable[[Values], object] = _none

    def say(self, *said: Said) -> None:
        """Say something on the connection that was opened last."""
        self.connections[-1].put(said)

    def say_elsewhere(self, said: Said) -> None:
        """Say something on all connections but the current one."""
        for number, each in enumerate(self.connections):
            if number != self.current:
                each.put([said])

    def tell(self, **sight: Any) -> None:
        """Tell that the client saw something on its first connection."""
        self.sights({"connection": 1, **sight})


MakeFault = Callable[[Hand], ClientFault]
"""Makes the lies of a client, anew for each case."""

CLIENT_FAULTS: Final[dict[str, MakeFault]] = {}
"""What makes the lies of each mutant that is a client, by the mutant's name."""


def client_fault(requirement: str) -> Callable[[MakeFault], MakeFault]:
    """Register a client by the lies that make it break a requirement; empty makes it odd."""

    def put(liar: MakeFault) -> MakeFault:
        @asynccontextmanager
        async def stage() -> AsyncIterator[Run]:
            slots = asyncio.Semaphore(AT_ONCE)

            async def run(case: Case) -> Result:
                async with slots:
                    return await play(liar, case)

            yield run

        name = f"client-{words(liar)}"  # a server can be wrong in the same way
        register(Mutant(name, "client", requirement, about(liar), stage))
        CLIENT_FAULTS[name] = liar
        return liar

    return put


async def play(liar: MakeFault, case: Case) -> Result:
    """Play a case to a liar."""
    hasty = replace(case, seconds=0.0)
    async with standing(liar) as (client, between):
        return await run_client_case(client, hasty, PATIENCE, between=between)


@asynccontextmanager
async def standing(liar: MakeFault) -> AsyncIterator[tuple[ClientDriver, Between]]:
    """Give what moves a client behind a liar, and what the liar puts before it."""
    hand = Hand()
    lies = liar(hand)
    client = _Client(lies)
    hand.sights = client.see
    try:
        yield client, lambda arrived: _Arrived(arrived, lies, hand)
    finally:
        client.end()


# -------------------------------------------------------------------- the commonest lies


def frame_of(said: Said) -> Message | None:
    """Read what was said as a frame, if it is one that could be written as well."""
    if isinstance(said, ConnectionClosed):
        return None
    try:
        message = decode(said)
    except DecodeError:
        return None
    text = said if isinstance(said, str) else "".join(map(str, message.fields()[:4]))
    return message if first_surrogate(text) < 0 else None


def is_empty_reply(message: Message) -> bool:
    """Say whether a frame is the empty reply to some ask."""
    return bool(message.wait) and not any(message.fields()[1:])


def changed(change: Callable[[Message], Message | None]) -> Callable[[Any], list[Any]]:
    """Make what changes, or drops, each frame that goes by."""

    def wrong(said: Said) -> list[Said]:
        message = frame_of(said)
        if message is None:
            return [said]
        now = change(message)
        if now is None:
            return []
        return [said if now == message else encode(now)]

    return wrong


def dropped(is_dropped: Callable[[Message], bool]) -> Callable[[Any], list[Any]]:
    """Make what drops some frames that go by."""
    return changed(lambda message: None if is_dropped(message) else message)


def answered(answer: Callable[[Message], Payload | Message | None]) -> ClientFault:
    """Make lies that answer some frames in place of the client, which does not hear them."""

    def own(payload: Payload) -> list[Payload]:
        message = frame_of(payload)
        given = answer(message) if message else None
        if given is None:
            return []
        return [encode(given) if isinstance(given, Message) else given]

    def hears(payload: Payload) -> list[Payload]:
        answers[:] = own(payload)
        return [] if answers else [payload]

    answers: list[Payload] = []
    # It is heard first: what is answered is decided once, since an answer may change what follows.
    return ClientFault(hears=hears, interjects=lambda _: answers)


def untold(**fields: Any) -> Callable[[Values], list[Values]]:
    """Make what keeps back the lines with these fields."""
    return lambda sight: [] if has_fields(sight, fields) else [sight]


# -------------------------------------------------------------------- where the liar stands


class _Client:
    """The reference client with its driver, in this process, behind a liar."""

    def __init__(self, lies: ClientFault) -> None:
        self.seen: list[Values] = []
        self._lies = lies
        self._number = 0
        self._answers: dict[int, asyncio.Future[Values]] = {}
        self._news = asyncio.Event()
        self._driver = ReferenceDriver(self._take, limits=lies.limits)

    def end(self) -> None:
        """Let go of everything."""
        self._driver.end()

    async def do(self, op: str, **fields: Any) -> Values:
        """Make the client do something, or what the liar makes of that."""
        return await self._lies.does(self._do, op, fields)

    async def saw(self, seconds: float = 0.0, **fields: Any) -> Values:
        """Wait until the client told that it saw something."""
        async with asyncio.timeout(seconds):
            while True:
                for index, sight in enumerate(self.seen):
                    if has_fields(sight, fields):
                        return self.seen.pop(index)
                self._news.clear()
                await self._news.wait()

    def see(self, sight: Values) -> None:
        """Take what the client tells."""
        self.seen.append(sight)
        self._news.set()

    async def _do(self, op: str, **fields: Any) -> Values:
        self._number += 1
        number = self._number
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        self._driver.take(json.dumps({"id": number, "op": op, **fields}).encode())
        values = await answer
        if "unsupported" in values:
            raise UnsupportedError(op)
        if "error" in values:
            raise OperationError(values["error"])
        result: Values = values["result"]
        return result

    def _take(self, line: str) -> None:
        values = json.loads(line)
        if "saw" in values:
            for each in self._lies.tells(values):
                self.see(each)
            return
        answer = self._answers.pop(values["id"])
        if not answer.done():
            answer.set_result(values)


class _Arrived:
    """A client's request, behind a liar."""

    def __init__(self, arrived: UpgradeRequest, lies: ClientFault, hand: Hand) -> None:
        self._arrived = arrived
        self._lies = lies
        self._hand = hand
        headers = arrived.request.headers.copy()
        lies.requests(headers)
        self.request: Request = replace(arrived.request, headers=headers)

    def accept(self) -> Transport | None:
        """Upgrade the connection."""
        spoken = self._arrived.accept()
        return spoken and _Spoken(spoken, self._lies, self._hand)

    def abort(self) -> None:
        """End TCP."""
        self._arrived.abort()

    async def close(self) -> None:
        """Let go of the socket."""
        await self._arrived.close()

    async def refuse(self, status: int) -> None:
        """Answer with an HTTP status, if the client is to hear of it."""
        if self._lies.heeds(status):
            await self._arrived.refuse(status)
        else:
            self.abort()


class _Spoken:
    """A connection with a client, behind a liar."""

    def __init__(self, spoken: Transport, lies: ClientFault, hand: Hand) -> None:
        self._spoken = spoken
        self._lies = lies
        self._hand = hand
        self._number = len(hand.connections)
        self._is_gone = False
        self._said: asyncio.Queue[Said] = asyncio.Queue()
        hand.connections.append(self)
        self._pump = asyncio.create_task(self._listen(), name="listen to a client")

    @property
    def is_open(self) -> bool:
        """Whether neither side has begun to end it."""
        return self._spoken.is_open

    @property
    def has_received_close(self) -> bool:
        """Whether a close frame came."""
        return self._spoken.has_received_close

    async def send(self, payload: Payload, *, is_held: bool = False) -> None:
        """Send what the liar makes of a message."""
        self._hand.current = self._number
        heard = self._lies.hears(payload)
        self.put(self._lies.interjects(payload))
        for each in heard:
            await self._spoken.send(each, is_held=is_held)

    async def send_parts(self, parts: Sequence[bytes], *, is_text: bool) -> None:
        """Send a message in fragments."""
        left = self._lies.gathers(parts)
        if left:
            await self._spoken.send_parts(left, is_text=is_text)

    async def send_raw(self, octets: bytes) -> None:
        """Send octets as they are."""
        await self._spoken.send_raw(octets)

    async def receive(self) -> Said:
        """Receive what the liar makes of what the client says."""
        said = await self._said.get()
        if isinstance(said, ConnectionClosed):
            self._said.put_nowait(said)
        return said

    def put(self, said: Sequence[Said]) -> None:
        """Have the client say something."""
        for each in said:
            if self._is_gone:
                return
            self._said.put_nowait(each)
            if isinstance(each, ConnectionClosed):
                self._is_gone = True
                self._spoken.abort()

    def stall(self) -> None:
        """Read nothing more."""
        self._spoken.stall()

    def resume(self) -> None:
        """Read again."""
        self._spoken.resume()

    def abort(self) -> None:
        """End TCP."""
        self._hand.was_left = True
        self._spoken.abort()

    async def send_close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame."""
        self._hand.was_left = True
        await self._spoken.send_close(code, reason)

    async def close(self) -> None:
        """Let go of the socket."""
        self._pump.cancel()
        with suppress(asyncio.CancelledError):
            await self._pump
        await self._spoken.close()

    async def _listen(self) -> None:
        while True:
            said = await self._spoken.receive()
            if self._lies.pause:
                await asyncio.sleep(self._lies.pause)
            self._hand.current = self._number
            self.put(self._lies.says(said))
            if isinstance(said, ConnectionClosed):
                return
