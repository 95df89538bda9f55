"""The command ``replay``: replays one peer of recordings to a live peer instead of the other."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import click
from rich.text import Text

from neffos_conformance.cli.options import EXISTING_FILE, JSON, option
from neffos_conformance.cli.reaching import reaching, target_at
from neffos_conformance.recordings.columns import side_by_side
from neffos_conformance.recordings.comparison import Content, Contrast, Mismatch
from neffos_conformance.recordings.replay import (
    DEADLINE,
    Replayed,
    ReplayOutcome,
    replay_to_client,
    replay_to_server,
)
from neffos_conformance.recordings.session import RecordedStep
from neffos_conformance.runner.pace import Way
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.payloads import payload_values
from neffos_conformance.wire.reach import Target
from neffos_conformance.wire.reach_options import Reached
from neffos_conformance.wire.secrets import masked, masked_url
from neffos_conformance.wire.terminal import Terminal, echo
from neffos_conformance.wire.text import wrap
from neffos_conformance.wire.transcript import Header, Transcript, TranscriptError, read_transcript
from neffos_protocol import Role
from neffos_protocol.text import ascii_json, visible

REPLAY_FORMAT: Final = 1

EXIT_SAME: Final = 0
EXIT_DIFFERENT: Final = 1
EXIT_NOTHING: Final = 2

_CLIENT: Final = "--client"
_COMMAND: Final = "neffos_conformance.cli.replay.command"
"""The key of the driver's command: everything after ``--client``."""


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


class _Replay(click.Command):
    """Takes everything after ``--client`` as the command of a driver, options included."""

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "(--server URL | --client COMMAND…)"]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        before = args[: args.index("--")] if "--" in args else args
        if _CLIENT in before:
            index = args.index(_CLIENT)
            command = args[index + 1 :]
            ctx.meta[_COMMAND] = command[1:] if command[:1] == ["--"] else command
            args = args[: index + 1]
        return super().parse_args(ctx, args)


@click.command("replay", cls=_Replay)
@click.argument("files", nargs=-1, required=True, type=EXISTING_FILE, metavar="FILE…")
@option("--server", "Server under test, which the recorded clients are replayed to.", "URL")
@reaching
@option("--timeout", "Time limit for each next message of the peer.", "SECONDS", default=DEADLINE)
@option("--jobs", "Number of recordings that are replayed concurrently.", "N", default=1)
@option("--strict", "Differences fail even if the recorded peer had a known defect.")
@JSON
@option(
    f"{_CLIENT} is_client",
    "Client under test, which the recorded server is replayed to. The COMMAND of its driver "
    "follows, so this option comes last.",
)
@click.pass_context
def replay_command(
    ctx: click.Context,
    files: tuple[Path, ...],
    server: str | None,
    timeout: float,
    jobs: int,
    strict: bool,
    as_json: bool,
    is_client: bool,
    reached: Reached,
) -> None:
    """Replay recordings to a server or client, and compare.

    Connection IDs and tokens may differ, and replies may arrive in another order. A recording
    that goes another way counts as failed, and so does an unreachable peer.
    """
    command: list[str] = ctx.meta.get(_COMMAND, [])
    if (server is None) is not is_client or (is_client and not command):
        raise click.UsageError(
            "a live peer is missing. Try: --server URL or, at the end, --client COMMAND…"
        )
    if is_client and reached.typed:
        raise click.UsageError(f"{reached.typed[0]} is of no use without --server URL")
    target = Target.of("") if server is None else target_at(server, reached)
    live = Role.CLIENT if is_client else Role.SERVER
    replay: Callable[[Transcript], Awaitable[Replayed]] = partial(
        replay_to_server,
        server=target,
        deadline=timeout,
        way=Way(Timeouts(case=timeout)),
    )
    if is_client:
        replay = partial(replay_to_client, command=command, deadline=timeout)
    reports = asyncio.run(_replay_all(files, live, replay, jobs, strict=strict))
    if as_json:
        echo(ascii_json(_values(reports, server, command)))
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
    slots = asyncio.Semaphore(jobs)

    async def one(path: Path) -> _ReplayReport:
        async with slots:
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

    return list(await asyncio.gather(*map(one, files)))


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
    console.print(Text(f"{len(reports)} recording{'' if len(reports) == 1 else 's'}: {counts}"))


# -------------------------------------------------------------------- for programs


def _values(
    reports: Sequence[_ReplayReport], server: str | None, command: Sequence[str]
) -> dict[str, Any]:
    return {
        "format": REPLAY_FORMAT,
        "suite": {"name": "neffos-wire", "version": version("neffos-wire")},
        "against": (
            {"client": list(map(masked, command))}
            if server is None
            else {"server": masked_url(server)}
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


def _difference(difference: Mismatch) -> dict[str, Any]:
    return {
        "connection": difference.connection,
        "recorded": difference.step and _line(difference.step),
        "now": None if difference.now is None else _content(difference.now),
        "contrasts": [_contrast(each) for each in difference.contrasts],
    }


def _line(line: RecordedStep) -> dict[str, Any]:
    content = line.entry.content
    values = _content(content) if isinstance(content, str | bytes | ConnectionClosed) else {}
    return {"line": line.entry.line, "part": line.part.value, **values}


def _content(content: Content) -> dict[str, Any]:
    if isinstance(content, ConnectionClosed):
        return {"closed": {"code": content.code, "reason": content.reason, "cut": content.cut}}
    return payload_values(content)


def _contrast(contrast: Contrast) -> dict[str, Any]:
    values = {
        name: payload_values(value) if isinstance(value, str | bytes) else value
        for name, value in (("recorded", contrast.expected), ("now", contrast.now))
    }
    return {"name": contrast.name, **values, "why": contrast.why}
