"""The command ``replay``: plays one side of recordings to a live peer on the other.

The work is ``replaying.py``'s; this file reads arguments, prints, and gives the exit code.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum, unique
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click
from rich.console import Console
from rich.text import Text

from neffos_conformance.recordings.columns import side_by_side
from neffos_conformance.recordings.comparison import Content, Contrast, Difference
from neffos_conformance.recordings.replay import (
    DEADLINE,
    Replayed,
    ReplayOutcome,
    replay_to_client,
    replay_to_server,
)
from neffos_conformance.recordings.sequence import visible, wrap
from neffos_conformance.recordings.session import RecordedStep
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.payloads import payload_values
from neffos_conformance.wire.transcript import Header, TranscriptError, read_transcript
from neffos_protocol import Role

REPLAY_FORMAT: Final = 1

EXIT_SAME: Final = 0
EXIT_DIFFERENT: Final = 1
EXIT_NOTHING: Final = 2

_CLIENT: Final = "--client"
_COMMAND: Final = "neffos_conformance.cli.replay.command"
"""Where the driver's command is kept, since everything behind ``--client`` is its own."""

_FILE: Final = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)


@unique
class Verdict(StrEnum):
    """What is said of a recording."""

    SAME = "same"
    DIFFERENT = "different"
    EXPLAINED = "explained"
    """It differs, and its header says that the recorded peer was not as it should be."""
    UNSUPPORTED = "unsupported"
    ERROR = "error"


_STYLES: Final = {
    Verdict.SAME: "green",
    Verdict.DIFFERENT: "red",
    Verdict.EXPLAINED: "yellow",
    Verdict.UNSUPPORTED: "cyan",
    Verdict.ERROR: "magenta",
}


@dataclass(frozen=True, slots=True)
class _Told:
    """A recording and what came of it.

    Attributes:
        path: the file.
        header: its first line; empty where it could not be read.
        replayed: what came of it.
        defects: what the replaced side is known to have broken in it.
        verdict: what is said of it.
    """

    path: Path
    header: Header
    replayed: Replayed
    defects: tuple[str, ...]
    verdict: Verdict


class _Replay(click.Command):
    """Takes everything behind ``--client`` for the command of a driver, options included."""

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "(--server URL | --client CMD…)"]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        before = args[: args.index("--")] if "--" in args else args
        if _CLIENT in before:
            place = args.index(_CLIENT)
            command = args[place + 1 :]
            ctx.meta[_COMMAND] = command[1:] if command[:1] == ["--"] else command
            args = args[: place + 1]
        return super().parse_args(ctx, args)


@click.command("replay", cls=_Replay)
@click.argument("files", nargs=-1, required=True, type=_FILE, metavar="FILE…")
@click.option("--server", metavar="URL", help="Play the recorded clients to the server at URL.")
@click.option(
    "--deadline",
    type=click.FloatRange(min=0, min_open=True),
    default=DEADLINE,
    show_default=True,
    help="Seconds for each next thing that the peer is to do.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Recordings at the same time. A broadcast of one reaches the others on one server.",
)
@click.option("--strict", is_flag=True, help="A known defect of the recorded peer excuses nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print what came of it as JSON.")
@click.option(
    _CLIENT,
    "is_client",
    is_flag=True,
    help="Play the recorded server to a client. What follows, CMD…, is the command of its driver, "
    "options included; so this comes last.",
)
@click.pass_context
def replay_command(
    ctx: click.Context,
    files: tuple[Path, ...],
    server: str | None,
    deadline: float,
    jobs: int,
    strict: bool,
    as_json: bool,
    is_client: bool,
) -> None:
    """Play one side of recordings to a live peer, and see whether it does what was recorded.

    Ids of connections and tokens may be others, and replies may come in another order. Exit code
    0 where all recordings that could be replayed go the same way, 1 where one does not, or where
    the peer of one among others could not be reached, 2 where nothing could be replayed.
    """
    command: list[str] = ctx.meta.get(_COMMAND, [])
    if (server is None) is not is_client or (is_client and not command):
        raise click.UsageError("say either --server URL or, last, --client CMD…")
    if server is not None and urlsplit(server).scheme not in ("ws", "wss"):
        raise click.UsageError(f"{server!r} is not a WebSocket URL (ws://… or wss://…)")
    live = Role.CLIENT if is_client else Role.SERVER
    told = asyncio.run(_replay_all(files, live, server or "", command, deadline, jobs, strict))
    if as_json:
        click.echo(json.dumps(_values(told, server, command), ensure_ascii=False))
    else:
        console = Console(highlight=False, markup=False, emoji=False)
        for each in told:
            _show(console, each)
        _sum_up(console, told)
    sys.exit(_exit_code(told))


def _exit_code(told: Sequence[_Told]) -> int:
    verdicts = {each.verdict for each in told}
    if not verdicts - {Verdict.UNSUPPORTED, Verdict.ERROR}:
        return EXIT_NOTHING
    return EXIT_DIFFERENT if verdicts & {Verdict.DIFFERENT, Verdict.ERROR} else EXIT_SAME


# -------------------------------------------------------------------- the work


async def _replay_all(
    files: Sequence[Path],
    live: Role,
    server: str,
    command: Sequence[str],
    deadline: float,
    jobs: int,
    strict: bool,
) -> list[_Told]:
    slots = asyncio.Semaphore(jobs)

    async def one(path: Path) -> _Told:
        async with slots:
            try:
                transcript = read_transcript(path)
            except (TranscriptError, OSError) as error:
                replayed = Replayed(ReplayOutcome.ERROR, str(error))
                return _Told(path, {}, replayed, (), Verdict.ERROR)
            if not transcript.entries:
                replayed = Replayed(ReplayOutcome.ERROR, "there is nothing in it")
                return _Told(path, transcript.header, replayed, (), Verdict.ERROR)
            if live is Role.SERVER:
                replayed = await replay_to_server(transcript, server, deadline=deadline)
            else:
                replayed = await replay_to_client(transcript, command, deadline=deadline)
            known = transcript.header.get("defects") or {}
            defects = tuple(each for each, role in known.items() if role == live)
            verdict = Verdict(replayed.outcome.value)
            if verdict is Verdict.DIFFERENT and defects and not strict:
                verdict = Verdict.EXPLAINED
            return _Told(path, transcript.header, replayed, defects, verdict)

    return list(await asyncio.gather(*map(one, files)))


# -------------------------------------------------------------------- for people


def _show(console: Console, told: _Told) -> None:
    width, ascii_only = console.width, console.options.ascii_only
    replayed = told.replayed
    path = visible(str(told.path), ascii_only=ascii_only)
    title = Text.assemble((told.verdict.value, _STYLES[told.verdict]), f" {path}")
    console.print(title, soft_wrap=True)
    for part in _sentences(told):
        for line in wrap(visible(part, ascii_only=ascii_only), max(width - 2, 1)):
            console.print(Text(f"  {line}"), soft_wrap=True)
    if replayed.difference is None:
        return
    for line in side_by_side(
        replayed.difference, replayed.rows, replayed.following, width, ascii_only=ascii_only
    ):
        console.print(Text(line, "bold" if line.startswith("!") else ""), soft_wrap=True)


def _sentences(told: _Told) -> list[str]:
    defects = ", ".join(told.defects)
    said = [told.replayed.explanation] if told.replayed.explanation else []
    if told.verdict is Verdict.EXPLAINED:
        said.append(f"different, as its defects explain: the recorded peer broke {defects}")
    elif told.verdict is Verdict.SAME and told.defects:
        said.append(
            f"the recorded peer is said to have broken {defects}, and yet this one does the same"
        )
    return said


def _sum_up(console: Console, told: Sequence[_Told]) -> None:
    verdicts = [each.verdict for each in told]
    counts = ", ".join(
        f"{verdicts.count(each)} {each.value}" for each in Verdict if each in verdicts
    )
    console.print(Text(f"{len(told)} recording{'' if len(told) == 1 else 's'}: {counts}"))


# -------------------------------------------------------------------- for programs


def _values(told: Sequence[_Told], server: str | None, command: Sequence[str]) -> dict[str, Any]:
    return {
        "format": REPLAY_FORMAT,
        "suite": {"name": "neffos-wire", "version": version("neffos-wire")},
        "against": {"client": list(command)} if server is None else {"server": server},
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
            for each in told
        ],
    }


def _difference(difference: Difference) -> dict[str, Any]:
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
