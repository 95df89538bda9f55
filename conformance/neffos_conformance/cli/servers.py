"""The servers of ``test server`` and ``test exchange``: how they are reached, what they have."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from neffos_conformance.cases.features import features_listed
from neffos_conformance.cases.profile import Profile, ProfileError
from neffos_conformance.cli import testing
from neffos_conformance.cli.options import Decorator, option
from neffos_conformance.cli.profiles import write_draft
from neffos_conformance.cli.refusals import refusing
from neffos_conformance.cli.run_options import RunOptions
from neffos_conformance.runner.discovery import Detected, NotAdmittedError, discovered
from neffos_conformance.runner.instances import common
from neffos_conformance.runner.pace import Way
from neffos_conformance.runner.run import opened
from neffos_conformance.wire.connection import ConnectError
from neffos_conformance.wire.reach import Gate, Target

Features = frozenset[str]


@dataclass(frozen=True, slots=True)
class ServerUnderTest:
    """The server, and what its owner says about it.

    Attributes:
        targets: where each instance is, and how it is reached; empty for the reference server.
        profile: its own names.
        features: what it has; ``None`` to detect that.
        options: the options of the run.
        draft_path: the file for a draft of a profile.
        gate: what connections wait at, and a sign that the run is gentle; ``None`` if it is not.
    """

    targets: tuple[Target, ...]
    profile: Profile
    features: Features | None
    options: RunOptions
    draft_path: Path | None
    gate: Gate | None


def features_option(what: str) -> Decorator[Any]:
    """Give a command the argument ``listed``: the features of its server, or servers."""
    text = f"Features of the {what}, with commas, or all."
    return option("--features listed", text, "LIST", show_default="detected")


def name_option(what: str) -> Decorator[Any]:
    """Give a command the argument ``name``, that of its server, or servers."""
    return option("--name", f"Name of the {what} in the reports.", "NAME", default="")


def listed_features(text: str | None) -> Features | None:
    """Read the list of features; ``None`` if they are to be detected.

    Raises:
        click.UsageError: it names what is no feature.
    """
    with refusing(ValueError):
        return None if text is None else features_listed(text)


@asynccontextmanager
async def opened_servers(
    server: ServerUnderTest,
) -> AsyncGenerator[tuple[Sequence[Target], Detected, Way]]:
    """Give the instances and the features that they have in common, and the way to them.

    Raises:
        NothingRanError: the server cannot be reached.
        click.UsageError: the profile is not that of the server.
    """
    gate, found = server.gate, []
    async with nullcontext() if server.targets else _reference() as own:
        targets = [each.behind(gate) for each in server.targets or [Target.of(own or "")]]
        way = Way(server.options.timeouts, interval=gate.interval if gate else 0.0)
        for target in targets:
            await _reached(target, way)
            found.append(await _features(server, target, way))
        has = common(found)
        if server.draft_path is not None:
            write_draft(server.draft_path, has)
        yield targets, has, way


def _reference() -> AbstractAsyncContextManager[str]:
    from neffos_conformance.reference.embedded import embedded_server

    return embedded_server()


async def _reached(target: Target, way: Way) -> None:
    """Open a connection to a server, and measure the way to it.

    Raises:
        NothingRanError: the server cannot be reached.
    """
    try:
        async with asyncio.timeout(way.measure_timeout), opened(target):
            pass
    except (ConnectError, TimeoutError) as error:
        explanation = str(error) or f"no upgrade within {way.measure_timeout:g} s"
        raise testing.NothingRanError(
            f"no server at {target}: {explanation}. Try: neffos-wire doctor URL"
        ) from error
    await way.check(partial(opened, target))


async def _features(server: ServerUnderTest, target: Target, way: Way) -> Detected:
    with refusing(ProfileError), refusing(NotAdmittedError, end=testing.NothingRanError):
        return await discovered(
            target, way, server.profile, jobs=server.options.jobs, listed=server.features
        )
