"""The command ``replay``: replays one peer of recordings to a live peer instead of the other."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
from rich.text import Text

from neffos_conformance import SUITE, VERSION
from neffos_conformance.cli.options import (
    CLIENT,
    JSON,
    LastClient,
    driver_command,
    existing_files,
    option,
)
from neffos_conformance.cli.reaching import reaching, target_at
from neffos_conformance.recordings.columns import side_by_side
from neffos_conformance.recordings.comparison import Content, Contrast, Mismatch
from neffos_conformance.recordings.replay import (
    DEADLINE,
    ReplayBroker,
    Replayed,
    ReplayOutcome,
    replay_to_client,
    replay_to_servers,
)
from neffos_conformance.recordings.session import RecordedStep
from neffos_conformance.runner.pace import Way
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.console import Terminal
from neffos_conformance.wire.payloads import payload_values, text_if_utf8
from neffos_conformance.wire.reach_options import Reached
from neffos_conformance.wire.secrets import masked, masked_url
from neffos_conformance.wire.terminal import echo
from neffos_conformance.wire.text import counted, wrap
from neffos_conformance.wire.transcript import (
    ConnectionOpened,
    Header,
    Published,
    Transcript,
    TranscriptError,
    read_transcript,
)
from neffos_conformance.wire.waiting import at_most
from neffos_protocol import Role
from neffos_protocol.text import ascii_json, visible

REPLAY_FORMAT: Final = 1

EXIT_SAME: Final = 0
EXIT_DIFFERENT: Final = 1
EXIT_NOTHING: Final = 2

_STYLES: Final = {
    ReplayOutcome.SAME: "green",
    ReplayOutcome.DIFFERENT: "red",
    ReplayOutcome.EXPLAINED: "yellow",
    ReplayOutcome.UNSUPPORTED: "cyan",
    ReplayOutcome.ERROR: "magenta",
}


@dataclass(frozen=True, slots=True)
class _ReplayReport:
    """The replay of one recording.

    Attributes:
        path: the file.
        replayed: the result.
        header: its header; empty if it cannot be read.
        defects: the requirements that the replaced peer is known to violate in it.
    """

    path: Path
    replayed: Replayed
    header: Header = field(default_factory=dict)
    defects: tuple[str, ...] = ()

    @property
    def verdict(self) -> ReplayOutcome:
        """The outcome of the replay."""
        return self.replayed.outcome


_ReplayOne = Callable[[Transcript], Awaitable[Replayed]]


class _Replay(LastClient):
    """Takes a server or a client."""

    usage = "(--server URL | --client COMMAND…)"


@click.command("replay", cls=_Replay)
@existing_files(".jsonl")
@option(
    "--server servers",
    "Server under test, which the recorded clients are replayed to. With a recording of several "
    "servers, once for each.",
    "URL",
    multiple=True,
)
@option("--broker", "Redis or NATS that they share; what they publish is compared, too.", "URL")
@option("--prefix", "What the compared channels begin with.", "TEXT", show_default="all channels")
@reaching
@option("--timeout", "Time limit for each next message of the peer.", "SECONDS", default=DEADLINE)
@option("--jobs", "Number of recordings that are replayed concurrently.", "N", default=1)
@option("--strict", "Differences fail even if the recorded peer had a known defect.")
@JSON
@option(
    f"{CLIENT} is_client",
    "Client under test, which the recorded server is replayed to. The COMMAND of its driver "
    "follows, so this option comes last.",
)
@click.pass_context
def replay_command(
    ctx: click.Context,
    files: list[Path],
    servers: tuple[str, ...],
    broker: str | None,
    prefix: str | None,
    timeout: float,
    jobs: int,
    strict: bool,
    as_json: bool,
    is_client: bool,
    reached: Reached,
) -> None:
    """Replay recordings to a server or client, and compare.

    FILE is a recording, plain or compressed, a folder of them, or a pattern.
    Connection IDs and tokens may differ, and replies may arrive in another order. A recording
    that goes another way counts as failed, and so does an unreachable peer. A recording of several
    servers is replayed to as many; its n-th server is the n-th --server.
    """
    command: list[str] = driver_command(ctx)
    if bool(servers) is is_client or (is_client and not command):
        raise click.UsageError(
            "a live peer is missing. Try: --server URL or, at the end, --client COMMAND…"
        )
    if is_client and reached.typed:
        raise click.UsageError(f"{reached.typed[0]} is of no use without --server URL")
    if broker is None and prefix:
        raise click.UsageError("--prefix is of no use without --broker URL")
    if broker and is_client:
        raise click.UsageError("--broker is of no use without --server URL")
    targets = [target_at(each, reached) for each in servers]
    live = Role.CLIENT if is_client else Role.SERVER
    replay: Callable[[Transcript], Awaitable[Replayed]] = partial(
        replay_to_servers,
        servers=targets,
        broker=ReplayBroker(broker, prefix or "") if broker else None,
        deadline=timeout,
        way=Way(Timeouts(case=timeout)),
    )
    if is_client:
        replay = partial(replay_to_client, command=command, deadline=timeout)
    reports = asyncio.run(_replay_all(files, live, replay, jobs, strict=strict))
    if as_json:
        echo(ascii_json(_values(reports, servers, command)))
    else:
        console = Terminal(highlight=False, markup=False, emoji=False)
        for each in reports:
            _show(console, each)
        _sum_up(console, reports)
    sys.exit(_exit_code(reports))


def _exit_code(reports: Sequence[_ReplayReport]) -> int:
    verdicts = {each.verdict for each in reports}
    if not verdicts - {ReplayOutcome.UNSUPPORTED, ReplayOutcome.ERROR}:
        return EXIT_NOTHING
    return (
        EXIT_DIFFERENT if verdicts & {ReplayOutcome.DIFFERENT, ReplayOutcome.ERROR} else EXIT_SAME
    )


# -------------------------------------------------------------------- the work


async def _replay_all(
    files: Sequence[Path],
    live: Role,
    replay: _ReplayOne,
    jobs: int,
    *,
    strict: bool,
) -> list[_ReplayReport]:
    async def one(path: Path) -> _ReplayReport:
        try:
            transcript = read_transcript(path)
        except (TranscriptError, OSError) as error:
            return _ReplayReport(path, Replayed(ReplayOutcome.ERROR, str(error)))
        header = transcript.header
        if not transcript.entries:
            replayed = Replayed(ReplayOutcome.ERROR, "the recording is empty")
            return _ReplayReport(path, replayed, header)
        replayed = await replay(transcript)
        known = header.get("defects") or {}
        defects = tuple(each for each, role in known.items() if role == live)
        if replayed.outcome is ReplayOutcome.DIFFERENT and defects and not strict:
            replayed = replace(replayed, outcome=ReplayOutcome.EXPLAINED)
        return _ReplayReport(path, replayed, header, defects)

    return list(await asyncio.gather(*map(at_most(jobs, one), files)))


# -------------------------------------------------------------------- for people


def _show(console: Terminal, report: _ReplayReport) -> None:
    width, ascii_only = console.width, console.options.ascii_only
    replayed = report.replayed
    path = visible(str(report.path), ascii_only=ascii_only)
    title = Text.assemble((report.verdict.value, _STYLES[report.verdict]), f" {path}")
    console.print(title, soft_wrap=True)
    for part in _sentences(report):
        for line in wrap(visible(part, ascii_only=ascii_only), max(width - 2, 1)):
            console.print(Text(f"  {line}"), soft_wrap=True)
    if replayed.difference is None:
        return
    for line in side_by_side(
        replayed.difference, replayed.rows, replayed.following, width, ascii_only=ascii_only
    ):
        console.print(Text(line, "bold" if line.startswith("!") else ""), soft_wrap=True)


def _sentences(report: _ReplayReport) -> list[str]:
    defects = ", ".join(report.defects)
    sentences = [report.replayed.explanation] if report.replayed.explanation else []
    if report.verdict is ReplayOutcome.EXPLAINED:
        sentences.append(f"different, which is known: the recorded peer violated {defects}")
    elif report.verdict is ReplayOutcome.SAME and report.defects:
        sentences.append(
            f"the recorded peer is known to have violated {defects}, and this one does the same"
        )
    return sentences


def _sum_up(console: Terminal, reports: Sequence[_ReplayReport]) -> None:
    verdicts = [each.verdict for each in reports]
    counts = ", ".join(
        f"{verdicts.count(each)} {each.value}" for each in ReplayOutcome if each in verdicts
    )
    console.print(Text(f"{counted(len(reports), 'recording')}: {counts}"))


# -------------------------------------------------------------------- for programs


def _values(
    reports: Sequence[_ReplayReport], servers: Sequence[str], command: Sequence[str]
) -> dict[str, Any]:
    return {
        "format": REPLAY_FORMAT,
        "suite": {"name": SUITE, "version": VERSION},
        "against": (
            _servers_values(servers) if servers else {"client": list(map(masked, command))}
        ),
        "recordings": [
            {
                "file": str(each.path),
                "verdict": each.verdict.value,
                "explanation": each.replayed.explanation,
                "header": each.header,
                "defects": each.defects,
                "peer": dict(each.replayed.peer),
                "ids": dict(each.replayed.ids),
                "seconds": round(each.replayed.seconds, 6),
                "difference": each.replayed.difference and _difference(each.replayed.difference),
            }
            for each in reports
        ],
    }


def _servers_values(servers: Sequence[str]) -> dict[str, Any]:
    first, *others = map(masked_url, servers)
    return {"server": first} | ({"other_servers": others} if others else {})


def _difference(difference: Mismatch) -> dict[str, Any]:
    return {
        "connection": difference.connection,
        "recorded": difference.step and _line(difference.step),
        "now": None if difference.now is None else _content(difference.now),
        "contrasts": [_contrast(each) for each in difference.contrasts],
    }


def _line(line: RecordedStep) -> dict[str, Any]:
    content = line.entry.content
    values = {} if isinstance(content, ConnectionOpened) else _content(content)
    return {"line": line.entry.line, "part": line.part.value, **values}


def _content(content: Content | Published) -> dict[str, Any]:
    if isinstance(content, ConnectionClosed):
        return {"closed": {"code": content.code, "reason": content.reason, "cut": content.cut}}
    if isinstance(content, Published):
        published = payload_values(text_if_utf8(content.payload))
        return {"published": {"channel": content.channel, **published}}
    return payload_values(content)


def _contrast(contrast: Contrast) -> dict[str, Any]:
    values = {
        name: payload_values(value) if isinstance(value, str | bytes) else value
        for name, value in (("recorded", contrast.expected), ("now", contrast.now))
    }
    return {"name": contrast.name, **values, "why": contrast.why}
