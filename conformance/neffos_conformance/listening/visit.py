"""One client that has connected: its connections in one case, and the verbs that open them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import InitVar, dataclass, field, replace
from functools import partial
from typing import Final

from neffos_codec import Message, encode
from neffos_conformance.cases.script import Step
from neffos_conformance.listening.introduction import own_namespace
from neffos_conformance.listening.served import ServedConnection
from neffos_conformance.runner.client_steps import headers_of
from neffos_conformance.runner.playback import MismatchError, Playback, Timeouts
from neffos_conformance.runner.result import Remark
from neffos_conformance.runner.script_runner import ScriptRunner
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.payloads import frame_of
from neffos_conformance.wire.secrets import kept, masked_target
from neffos_conformance.wire.transcript import ConnectionOpened
from neffos_conformance.wire.transport import UpgradeRequest
from neffos_protocol import Role
from neffos_protocol.events import Change
from neffos_protocol.names import REQUEST_EVENT

PONG_SECONDS: Final = 10.0
"""Seconds for a pong. A client that gives none is not measured."""

MAX_PROBES: Final = 3
"""Answered HEAD requests after which a client that dials nevertheless not has seen no server in
them (TR-5)."""

OWN_TIMEOUT: Final = 5.0
"""Seconds at most for a client to connect its namespace by itself, once it has done so. Afterwards
the suite does it: a client restores only what it had, and a case may have left it without. That
fails nobody, so it is less for a client that took less time at first."""

MIN_OWN_TIMEOUT: Final = 0.5
"""The same for a client that took no time; then a busy machine may take some."""

OWN_TIMES: Final = 8
"""Times the seconds that it took at first."""


def own_timeout_after(seconds: float) -> float:
    """Give the seconds to wait for a client that took so many at first."""
    return min(OWN_TIMEOUT, max(MIN_OWN_TIMEOUT, OWN_TIMES * seconds))


@dataclass(eq=False, slots=True)
class Visit:
    """One connection of a client, and those that it opens in its place.

    Attributes:
        who: the address and the name of the client.
        request: the request that is not accepted yet.
        returning: by client, the connection that a case waits for.
        timeouts: the time limits at the beginning.
        playback: the suite's side.
        runner: plays the script.
        served: the connections by number.
        probe_status: the status for its HEAD requests.
        probes: the HEAD requests that were answered since the connection was lost.
        probed: is set at each of them.
        trip: the longest round trip, in seconds.
        own_timeout: seconds for the client to connect its namespace by itself.
        is_crowded: whether the same client has opened another connection meanwhile, so that nobody
            can tell which one comes back.
        is_waiting: whether it waits for the client to come back.
        own: the identities of the log's entries that no case sees.
    """

    who: str
    request: UpgradeRequest | None
    returning: dict[str, asyncio.Future[UpgradeRequest]]
    timeouts: InitVar[Timeouts]
    playback: Playback = field(init=False)
    runner: ScriptRunner = field(init=False)
    served: dict[int, ServedConnection] = field(default_factory=dict)
    probe_status: int = 200
    probes: int = 0
    probed: asyncio.Event = field(default_factory=asyncio.Event)
    trip: float = 0.0
    own_timeout: float = OWN_TIMEOUT
    is_waiting: bool = False
    is_crowded: bool = False
    own: set[int] = field(default_factory=set)

    def __post_init__(self, timeouts: Timeouts) -> None:
        self.playback = Playback("client", timeouts)
        self.runner = ScriptRunner(self.playback)
        self.runner.verbs |= {
            "arrive": self._arrive,
            "settle": self._settle,
            "own": self._own,
            "own!": self._restored,
            "free": self._free,
            "alive": self._alive,
            "return": self._return,
            "head": self._head,
        }

    # ---- verbs

    async def _arrive(self, step: Step, _: int) -> None:
        number = step.connection
        request, self.request = self.request, None
        if request is None:
            raise MismatchError("the connection is accepted already")
        headers = headers_of(request)
        self.runner.headers[number] = headers
        # A browser puts what it is known by into the URL, and others into headers.
        path = masked_target(request.request.path)
        self.playback.log_received(number, ConnectionOpened(path, kept(headers)))
        transport = request.accept()
        if transport is None:
            await request.close()
            raise MismatchError("expected a request for an upgrade, actual another one")
        served = ServedConnection(transport, partial(self._log, number))
        self.playback.connections[number] = self.served[number] = served
        served.start()

    def _log(self, number: int, payload: str | bytes, sender: Role) -> None:
        log = self.playback.log_received if sender is Role.CLIENT else self.playback.log_sent
        log(number, payload)
        entry = self.playback.log[-1] = replace(self.playback.log[-1], step=0)  # of no step
        self.own.add(id(entry))

    def put_in_order(self) -> None:
        """Put the log into the order in which the messages came.

        A case logs a message when it looks at it, which may be after a later one was served.
        """
        log = self.playback.log
        arrivals = {number: iter(each.arrivals) for number, each in self.served.items()}
        for index, entry in enumerate(log):
            is_seen = entry.from_client and isinstance(entry.content, str | bytes)
            if is_seen and id(entry) not in self.own:
                came = next(arrivals[entry.connection], self.playback.began + entry.time)
                log[index] = replace(entry, time=came - self.playback.began)
        log.sort(key=lambda entry: entry.time)

    async def _settle(self, step: Step, _: int) -> None:
        """Wait for a pong: what the client had sent before is here, and the pace is known."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        with suppress(TimeoutError):
            async with asyncio.timeout(PONG_SECONDS):
                await self.playback.connections[step.connection].ping(b"settle")
        self.trip = max(self.trip, loop.time() - began)

    async def _own(self, step: Step, _: int) -> None:
        number, namespace = step.connection, None
        with suppress(TimeoutError):
            async with asyncio.timeout(self.own_timeout):
                namespace = await own_namespace(self.served[number], step.rest)
        if namespace is None:
            await self._change(number, Change.CONNECT, step.rest)
        await self._alive(step, 1)  # what follows the reply too closely is for NS-16 to test

    async def _restored(self, step: Step, _: int) -> None:
        if await own_namespace(self.served[step.connection], step.rest) is None:
            raise MismatchError("the client closed the connection before it connected a namespace")
        await self._alive(step, 1)

    async def _free(self, step: Step, _: int) -> None:
        """Disconnect a namespace, and do not let the client connect it again by itself."""
        self.served[step.connection].kept_free = step.rest
        await self._change(step.connection, Change.DISCONNECT, step.rest)

    async def _change(self, number: int, change: Change, namespace: str) -> None:
        """Have the client connect or disconnect its namespace."""
        token = f"suite-{change}"
        await self.playback.send(
            number, encode(Message(token, namespace, "", REQUEST_EVENT[change]))
        )
        received = await self.playback.receive_soon(number)
        message = None if isinstance(received, ConnectionClosed) else frame_of(received)
        if message is None or message.wait != token or message.is_error:
            raise MismatchError(f"the client did not let the suite {change} its namespace")

    async def _alive(self, step: Step, _: int) -> None:
        number = step.connection
        self.playback.handshaken.add(number)  # an acceptance in a binary message is one, too
        if not await self.playback.settle(number):
            raise MismatchError("the client closed the connection")

    async def _return(self, step: Step, time: int) -> None:
        """Wait until the client has opened its connection again, by itself."""
        self.probes = 0
        self.is_waiting = True
        coming = self.returning[self.who] = asyncio.get_running_loop().create_future()
        try:
            while not coming.done():
                self.probed.clear()
                probed = asyncio.create_task(self.probed.wait())
                await asyncio.wait([coming, probed], return_when=asyncio.FIRST_COMPLETED)
                probed.cancel()
                if self.probes >= MAX_PROBES and not coming.done():
                    text = f"the client asked with HEAD {MAX_PROBES} times and did not dial"
                    raise MismatchError(text, f"{MAX_PROBES} HEAD requests")
            self.request = coming.result()
        finally:
            del self.returning[self.who]
            if coming.done() and not coming.cancelled():
                self.request = coming.result()  # nobody else answers it
            coming.cancel()
        self.is_waiting = False
        await self._arrive(step, time)

    async def _head(self, step: Step, _: int) -> None:
        self.probe_status = int(step.rest)

    def log_probe(self) -> None:
        """Log a HEAD request and its answer, and see that it came."""
        number = max(self.served, default=1)
        self.playback.log_received(number, Remark("HEAD"))
        self.playback.log_sent(number, Remark(f"HTTP {self.probe_status}"))
        self.probes += 1
        self.probed.set()
