"""Runs a test sequence on a server: the suite dials it."""

from __future__ import annotations

import asyncio
from typing import Final, NoReturn

from neffos_conformance.model_based.actions import Action, ActionSequence
from neffos_conformance.model_based.expected import DriverCommand, DriverLog
from neffos_conformance.model_based.failures import UNREACHABLE, KnownFailures, SequenceResult
from neffos_conformance.model_based.model import SutModel
from neffos_conformance.model_based.opening import CONNECTED_AT_ONCE, REFUSAL_TEXT
from neffos_conformance.model_based.runner import SequenceRunner
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.wire.connection import ConnectError, WireConnection
from neffos_conformance.wire.relay import below
from neffos_conformance.wire.transcript import ConnectionOpened
from neffos_protocol import Role

_HEADERS: Final = {
    "chosen": ("X-Conformance-Id", "own;{}"),
    "connecting": ("X-Conformance-Connect", CONNECTED_AT_ONCE),
    "refused": ("X-Conformance-Refuse", REFUSAL_TEXT),
}
"""The header of the upgrade request, by how a connection is opened."""


async def run_on_server(
    url: str, sequence: ActionSequence, known: KnownFailures, timeouts: Timeouts
) -> SequenceResult:
    """Run a test sequence on fresh connections to a server.

    Args:
        url: of the server.
        sequence: what to do.
        known: failures that are not reported again.
        timeouts: how long to wait.
    """
    runner = SequenceRunner(SutModel(Role.SERVER), known, timeouts)
    runner.link = DialledServer(runner, url)
    await runner.run(sequence)
    return runner.result


class DialledServer:
    """The link to a server under test."""

    def __init__(self, runner: SequenceRunner, url: str) -> None:
        self._runner = runner
        self._url = url

    async def open(self, action: Action) -> bool:
        """Dial the server."""
        runner = self._runner
        headers = {}
        if action.how in _HEADERS:
            name, value = _HEADERS[action.how]
            headers[name] = value.format(action.number)
        runner.script.dialled(action, headers)
        try:
            async with asyncio.timeout(runner.timeouts.case):
                transport = await WireConnection.dial(below(self._url, action.path), headers)
        except (ConnectError, TimeoutError) as error:
            explanation = str(error) or "it accepts no connection"
            runner.fail("SEC-16", UNREACHABLE, explanation, action.number)
        runner.attach(action.connection, transport, ConnectionOpened(action.path, headers))
        return True

    def command(self, number: int, action: int, command: DriverCommand) -> NoReturn:
        """Servers have no driver."""
        raise NotImplementedError

    def due(self) -> None:
        """Nothing: servers have no driver."""

    def miss(self, due: DriverLog) -> NoReturn:
        """Servers have no driver."""
        raise NotImplementedError

    async def settle(self) -> None:
        """Nothing: servers report nothing."""

    async def close(self) -> None:
        """Nothing: the runner closes the connections."""
