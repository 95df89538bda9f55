"""Plays a case to a server under test: the suite is its clients."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from neffos_conformance.cases.matching import expand, fill
from neffos_conformance.cases.script import SAYING, Step, target
from neffos_conformance.runner.script_runner import MismatchError, ScriptRunner
from neffos_conformance.wire.connection import ConnectError, WireConnection
from neffos_conformance.wire.http import NoAnswerError, ask
from neffos_conformance.wire.relay import below
from neffos_conformance.wire.transcript import ConnectionOpened

Act = Callable[[Step, int], Awaitable[None]]

CONNECT_TOKEN: Final = "$app"  # noqa: S105  # no password
"""The token of the ask that the verb ``app`` sends."""

RETRY: Final = 0.05
"""Seconds between two tries of the verb ``enter``: what a server does in less is not held up."""


def acts(stage: ScriptRunner, url: str) -> Mapping[str, Act]:
    """Give what to do for each verb, to the server at a URL."""

    def there(line: Step) -> tuple[str, dict[str, str]]:
        return target(str(fill(expand(line.rest), stage.bindings)))

    async def dial(line: Step, _: int) -> None:
        path, headers = there(line)
        stage.note(line.connection, ConnectionOpened(path, headers))
        connection = await WireConnection.dial(below(url, path), headers)
        stage.connections[line.connection] = connection
        stage.headers[line.connection] = _pairs(connection)

    async def handshake(line: Step, time: int) -> None:
        await dial(line, time)
        await say(line, ">", "M")
        await say(line, "<", f"A<<id{line.connection}>>")

    async def app(line: Step, time: int) -> None:
        await handshake(line, time)
        await say(line, ">", f"{CONNECT_TOKEN};app;;_OnNamespaceConnect;0;0;")
        await say(line, "<", f"{CONNECT_TOKEN};;;;;;")

    async def enter(line: Step, _: int) -> None:
        number = line.connection
        path, headers = there(line)
        while True:
            try:
                connection = await WireConnection.dial(below(url, path), headers)
            except ConnectError:
                await asyncio.sleep(RETRY)
                continue
            stage.connections[number] = connection  # which is closed with the others in any case
            await connection.send("M")
            seen = await connection.receive()
            if isinstance(seen, str) and seen.startswith("A"):
                break
            await connection.close()
            await asyncio.sleep(RETRY)
        stage.note(number, ConnectionOpened(path, headers))
        stage.note(number, "M")
        stage.note_received(number, seen)
        stage.headers[number] = _pairs(connection)
        stage.bindings[f"id{number}"] = seen[1:]
        stage.is_shaken.add(number)

    async def say(line: Step, verb: str, rest: str) -> None:
        await speak(Step(line.number, line.connection, verb, rest), 1)

    async def speak(line: Step, time: int) -> None:
        if stage.is_ours(line):
            await stage.say(line, time)
            return
        await stage.hear(line, time)
        if line.rest.startswith("A"):
            stage.is_shaken.add(line.connection)

    async def request(line: Step, *, is_upgrade: bool) -> None:
        method, _, rest = line.rest.partition(" ")
        path, headers = target(str(fill(rest, stage.bindings)))
        stage.remark(line.connection, f"{method} {path or '/'}", is_ours=True)
        try:
            answer = await ask(below(url, path), method, headers, is_upgrade=is_upgrade)
        except NoAnswerError as error:
            raise MismatchError(str(error)) from error
        stage.remark(line.connection, f"HTTP {answer.status}", is_ours=False)
        stage.headers[line.connection] = [(":status", str(answer.status)), *answer.headers]

    async def http(line: Step, _: int) -> None:
        await request(line, is_upgrade=False)

    async def upgrade(line: Step, _: int) -> None:
        await request(line, is_upgrade=True)

    async def status(line: Step, _: int) -> None:
        seen = dict(stage.headers[line.connection])[":status"]
        if not any(_is_status(seen, wanted) for wanted in line.rest.split(" or ")):
            raise MismatchError(f"the status was to be {line.rest}, it was {seen}", seen)

    return {
        "dial": dial,
        "handshake": handshake,
        "app": app,
        "enter": enter,
        **dict.fromkeys(SAYING, speak),
        "http": http,
        "upgrade": upgrade,
        "status": status,
    }


def _is_status(seen: str, wanted: str) -> bool:
    return len(seen) == len(wanted) and all(
        want in ("x", have) for want, have in zip(wanted, seen, strict=True)
    )


def _pairs(connection: WireConnection) -> list[tuple[str, str]]:
    return [(name.lower(), value) for name, value in connection.headers.raw_items()]
