"""The verbs of cases for a server under test: the suite is its clients."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from typing import Final

from neffos_conformance.cases.matching import expand, fill
from neffos_conformance.cases.script import Step, target
from neffos_conformance.runner.playback import MismatchError
from neffos_conformance.runner.result import Remark
from neffos_conformance.runner.script_runner import ScriptRunner, Verb
from neffos_conformance.wire.connection import ConnectError, WireConnection
from neffos_conformance.wire.http import NoAnswerError, ask
from neffos_conformance.wire.reach import Target
from neffos_conformance.wire.transcript import ConnectionOpened

REFUSED: Final = "not opened: "
"""Begins the remark on a connection or a request that got no answer, or another one."""

RETRY: Final = 0.05
"""Seconds between two tries of the verb ``enter``: short, so that a quick server is not kept
waiting."""


def server_verbs(runner: ScriptRunner, servers: Sequence[Target]) -> Mapping[str, Verb]:
    """Give the verbs that connect to a server, or to several: connection n to the n-th.

    Args:
        runner: plays the case.
        servers: the instances; after the last comes the first again.
    """
    playback = runner.playback

    def below(step: Step, path: str) -> Target:
        return servers[(step.connection - 1) % len(servers)].below(path)

    def filled(step: Step, rest: str) -> tuple[str, dict[str, str]]:
        bindings = {**runner.bindings, "origin": below(step, "").origin}
        return target(str(fill(rest, bindings)))

    def opening(step: Step) -> tuple[str, dict[str, str]]:
        return filled(step, expand(step.rest))

    def add(number: int, connection: WireConnection) -> None:
        playback.connections[number] = connection
        runner.headers[number] = [
            (name.lower(), value) for name, value in connection.headers.raw_items()
        ]

    async def dial(step: Step, _: int) -> None:
        path, headers = opening(step)
        playback.log_sent(step.connection, ConnectionOpened(path, headers))
        try:
            connection = await WireConnection.dial(below(step, path), headers)
        except ConnectError as error:
            playback.log_received(step.connection, Remark(f"{REFUSED}{error}"))
            raise
        add(step.connection, connection)

    async def enter(step: Step, _: int) -> None:
        number = step.connection
        path, headers = opening(step)
        while True:
            try:
                connection = await WireConnection.dial(below(step, path), headers)
            except ConnectError:
                await asyncio.sleep(RETRY)
                continue
            add(number, connection)  # now, so that it is released in any case
            await connection.send("M")
            received = await connection.receive()
            if isinstance(received, str) and received.startswith("A"):
                break
            await connection.close()
            await asyncio.sleep(RETRY)
        playback.log_sent(number, ConnectionOpened(path, headers))
        playback.log_sent(number, "M")
        playback.log_received(number, received)
        runner.bindings[f"id{number}"] = received[1:]
        playback.handshaken.add(number)

    async def request(step: Step, *, is_upgrade: bool) -> None:
        method, _, rest = step.rest.partition(" ")
        path, headers = filled(step, rest)
        playback.log_sent(step.connection, Remark(f"{method} {path or '/'}"))
        try:
            response = await ask(below(step, path), method, headers, is_upgrade=is_upgrade)
        except NoAnswerError as error:
            playback.log_received(step.connection, Remark(f"{REFUSED}{error}"))
            raise MismatchError(str(error)) from error
        playback.log_received(step.connection, Remark(f"HTTP {response.status}"))
        runner.headers[step.connection] = [(":status", str(response.status)), *response.headers]

    async def http(step: Step, _: int) -> None:
        await request(step, is_upgrade=False)

    async def upgrade(step: Step, _: int) -> None:
        await request(step, is_upgrade=True)

    async def status(step: Step, _: int) -> None:
        actual = dict(runner.headers[step.connection])[":status"]
        expected = (each.replace("x", "?") for each in step.rest.split(" or "))
        if not any(fnmatch(actual, each) for each in expected):
            raise MismatchError(f"expected status {step.rest}, actual {actual}", actual)

    return {"dial": dial, "enter": enter, "http": http, "upgrade": upgrade, "status": status}
