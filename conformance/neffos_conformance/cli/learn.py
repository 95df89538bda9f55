"""The command ``learn``: learns the state machine of a peer, and compares it."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from neffos_conformance import VERSION
from neffos_conformance.cases.profile import STANDARD
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.cli import testing
from neffos_conformance.cli.main import EXIT_FAIL, EXIT_PASS, EXIT_USAGE
from neffos_conformance.cli.options import (
    CLIENT,
    JSON,
    LastClient,
    driver_command,
    option,
)
from neffos_conformance.cli.profiles import profile_of
from neffos_conformance.cli.reaching import reaching, target_at
from neffos_conformance.cli.refusals import refusing, writing
from neffos_conformance.cli.run_options import JOBS, RunOptions
from neffos_conformance.cli.servers import ServerUnderTest, listed_features, opened_servers
from neffos_conformance.learning.alphabet import Scene
from neffos_conformance.learning.observing import (
    DRIVERS,
    SECONDS,
    LiveClient,
    LivePeer,
    LiveServer,
    NotObservedError,
    together,
)
from neffos_conformance.model_based.renaming import modelled
from neffos_conformance.reference import identity
from neffos_conformance.runner.driver_pool import DriverPool
from neffos_conformance.runner.driver_protocol import DriverError
from neffos_conformance.runner.result import transcript_entries
from neffos_conformance.runner.run import DEFAULT_TIMEOUTS
from neffos_conformance.wire.reach_options import Reached
from neffos_conformance.wire.terminal import echo
from neffos_conformance.wire.transcript import header, save
from neffos_protocol import Role
from neffos_protocol.text import ascii_json

if TYPE_CHECKING:  # AALpy is an extra, and the help of all commands does without
    from neffos_conformance.learning.lesson import Lesson

FOLDER: Final = Path("reports") / "learned"
"""Default folder of the recordings of unexplained transitions."""


class _Learn(LastClient):
    """Takes a server or a client."""

    usage = "[--client COMMAND…]"


@click.command("learn", cls=_Learn)
@click.argument("url", required=False, metavar="[URL]")
@option(
    "--features listed",
    "Features of the server, with commas, or all.",
    "LIST",
    show_default="detected",
)
@option("--namespace", "Namespace of the server, to be used instead of app.", "NAME")
@option("--profile profile_path", "Names of the server for what inputs use (TOML).", "FILE")
@option(
    "--scene scenes",
    "Learn only this machine: handshake, asks, names, own-asks or own-connect.",
    "NAME",
    multiple=True,
    type=click.Choice([each.value for each in Scene]),
)
@option("--seconds", "Time limit for all machines.", "SECONDS", default=SECONDS)
@option("--mermaid mermaid_path", "Diagrams of the machines (Mermaid).", "FILE")
@option(
    "--save-recordings folder",
    "Folder for a recording of each unexplained transition.",
    "FOLDER",
    default=FOLDER,
)
@option("-v --verbose", "Machines in full, also where they are the specification's.")
@JSON
@reaching
@option(
    f"{CLIENT} is_client",
    "Learn a client. The COMMAND of its driver follows, so this option comes last.",
)
@click.pass_context
def learn_command(
    ctx: click.Context,
    url: str | None,
    listed: str | None,
    namespace: str | None,
    profile_path: Path | None,
    scenes: tuple[str, ...],
    seconds: float,
    mermaid_path: Path | None,
    folder: Path,
    verbose: bool,
    as_json: bool,
    is_client: bool,
    reached: Reached,
) -> None:
    """Learn the state machine of a server or a client.

    The command asks the peer thousands of short words of abstract inputs, each on a connection of
    its own, and infers the machine. It prints where that differs from the specification's, with
    the requirement and the known difference that explains it. An unexplained transition that
    violates a MUST counts as failed. A peer that answers one word differently is reported as
    unknown. Without a URL, the reference server is learned.
    """
    command = driver_command(ctx)
    if is_client and (url or not command):
        text = "--client takes the COMMAND of a driver, and no URL. Try: learn --client COMMAND…"
        raise click.UsageError(text)
    if reached.typed and not url:
        raise click.UsageError(f"{reached.typed[0]} is of no use without a URL")
    if is_client and (listed or namespace or profile_path):
        raise click.UsageError("--features, --namespace and --profile are of no use with --client")
    wanted = [Scene(each) for each in scenes] or list(Scene)
    if is_client:
        opening = _client(command)
    else:
        server = ServerUnderTest(
            (target_at(url, reached),) if url else (),
            profile_of(profile_path, namespace) if profile_path or namespace else STANDARD,
            listed_features(listed if url or listed is not None else "all"),
            _run_options(),
            None,
            None,
        )
        opening = _server(server)
    with refusing(NotObservedError, DriverError, end=testing.NothingRanError), writing(folder):
        peer, found = asyncio.run(_learn(opening, wanted, seconds, folder))
    if not found:
        raise testing.NothingRanError("nothing ran: the server lacks what these machines need")
    if mermaid_path is not None:
        from neffos_conformance.learning.drawing import mermaid

        with writing(mermaid_path):
            mermaid_path.write_text("\n".join(map(mermaid, found)), "utf-8")
    if as_json:
        echo(ascii_json(values(peer, found)))
    else:
        _show(found, verbose=verbose)
    sys.exit(status(found))


def _run_options() -> RunOptions:
    """Give the options of a run that has no cases: what finds features needs its limits."""
    case = DEFAULT_TIMEOUTS.case
    jobs = JOBS["server"]
    return RunOptions((), (), False, False, {}, (), None, case, None, jobs=jobs)


# -------------------------------------------------------------------- the peer

Opened = tuple[LivePeer, dict[str, str], frozenset[str] | None]
"""A peer, what is known about it, and its features; ``None`` for all."""


@asynccontextmanager
async def _server(server: ServerUnderTest) -> AsyncIterator[Opened]:
    async with opened_servers(server) as ((target,), has, way):
        about = {"peer": "unknown"} if server.targets else identity()
        peer = LiveServer(target, lambda: way.timeouts, has.profile)
        yield peer, about, modelled(has.there, has.profile)


@asynccontextmanager
async def _client(command: Sequence[str]) -> AsyncIterator[Opened]:
    from neffos_conformance.interop.table import about

    pool = DriverPool(command, DRIVERS)
    try:
        async with pool.take() as driver:
            ready = about(driver.ready)
        yield LiveClient(pool, lambda: DEFAULT_TIMEOUTS), ready, None
    finally:
        await pool.stop()


async def _learn(
    opening: AbstractAsyncContextManager[Opened],
    scenes: Sequence[Scene],
    seconds: float,
    folder: Path,
) -> tuple[dict[str, str], list[Lesson]]:
    from neffos_conformance.learning.lesson import scenes_of, study_live

    async with opening as (peer, about, features):
        found = [each for each in scenes_of(peer.role, features) if each.scene in scenes]
        deadline = time.monotonic() + seconds
        await together(study_live(lesson, peer.ask_all, deadline) for lesson in found)
        for lesson in found:
            await _record(peer, lesson, about, folder)
        return about, found


async def _record(peer: LivePeer, lesson: Lesson, about: dict[str, str], folder: Path) -> None:
    """Ask for each unexplained transition again, and write what is sent and received.

    Of those that differ alike one is enough.
    """
    left = [each for each, *_ in lesson.grouped() if each.explanation is None]
    for number, each in enumerate(left, 1):
        word = lesson.showing(each)
        outputs, log = await peer.ask(lesson.scene, lesson.word(word))
        if list(outputs) == lesson.specified.machine.after(word)[0]:
            lesson.unknown = f"not seen again: {', '.join(word)}"
            lesson.differing.remove(each)
            continue
        ours = {"peer": "neffos-wire", "version": VERSION}
        is_server = peer.role is Role.SERVER
        path = folder / f"{peer.role}-{lesson.scene}-{number}.jsonl"
        first = header(
            scenario=f"learned, {lesson.scene}: {', '.join(word)}",
            client=ours if is_server else about,
            server=about if is_server else ours,
            how="neffos-wire learn",
            shows=(each.requirement,),
        )
        save(path, first, transcript_entries(log))
        each.recording = str(path)


# -------------------------------------------------------------------- the report


def status(found: Sequence[Lesson]) -> int:
    """Give the exit status: 1 for a violated MUST, else 2 for a machine that is unknown."""
    verdicts = {each.verdict for lesson in found for each in lesson.differing}
    if Verdict.FAIL in verdicts:
        return EXIT_FAIL
    return EXIT_USAGE if any(lesson.unknown for lesson in found) else EXIT_PASS


def values(peer: dict[str, str], found: Sequence[Lesson]) -> dict[str, object]:
    """Give the report for JSON."""
    from neffos_conformance.learning.lesson import FORMAT

    return {
        "format": FORMAT,
        "suite": {"name": "neffos-wire", "version": VERSION},
        "peer": peer,
        "machines": [
            {**each.values(), "words": each.learned.words if each.learned else 0} for each in found
        ],
    }


def _show(found: Sequence[Lesson], *, verbose: bool) -> None:
    from neffos_conformance.learning.drawing import difference_lines, lines
    from neffos_conformance.wire.console import Terminal

    console = Terminal(highlight=False, markup=False, emoji=False)

    def say(text: str = "") -> None:
        console.print(text, soft_wrap=True)

    for lesson in found:
        if lesson.learned is None or lesson.machine is None:
            say(f"{lesson.scene}: unknown: {lesson.unknown}")
            for answers, times in lesson.trace.answers.most_common() if lesson.trace else ():
                say(f"  {times} times: {', '.join(answers)}")
            continue
        learned = lesson.learned
        say(
            f"{lesson.scene}: {len(lesson.machine.rows)} states, {len(lesson.inputs)} inputs; "
            f"{learned.words} words, {learned.inputs} inputs asked, {learned.votes} votes; "
            f"{len(lesson.differing)} differing transitions"
        )
        if verbose or lesson.differing or len(found) == 1:
            for line in lines(lesson.machine, lesson.names()):
                say(f"  {line}")
        for alike in lesson.grouped():
            for line in difference_lines(lesson, alike):
                say(f"  ! {line}")
    every = [each for lesson in found for each in lesson.differing]
    left = [each for each in every if each.explanation is None]
    unknown = sum(bool(lesson.unknown) for lesson in found)
    word = {EXIT_PASS: "PASS", EXIT_FAIL: "FAIL", EXIT_USAGE: "UNKNOWN"}[status(found)]
    text = f"{len(every)} transitions differ from the specification's, {len(left)} unexplained"
    say(f"{word}: {text}{f', {unknown} machines unknown' if unknown else ''}")
