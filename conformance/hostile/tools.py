"""Attacks on the relay, and on the commands that read files of strangers.

The relay is a target of its own, with victims behind it. A command ends by itself: each attack on
one gives it hostile files, and looks at its exit status, its memory and every byte that it writes.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

from hostile.attacks import CHUNK, Aim, Tool, attack, dialled, frame, together
from neffos_asyncio import Server, listening
from neffos_conformance.wire.relay import relaying

PEAK: Final = 256 << 20
"""Bytes of memory that a command may take: four times what its imports take, and less than a
document of some megabytes took before documents were bounded."""

EVIL: Final = "\x1bc\x1b]0;owned\x07\u202e\u2066\x9b2J\r\nneffos-wire: all is well"
"""A full reset, a title, bidi controls, C1, and a line of one's own."""

SECRET: Final = "s3cretValue"  # noqa: S105  # planted, to be found nowhere

LINES: Final[tuple[dict[str, Any], ...]] = (
    {"format": 2, "scenario": "s", "client": {"peer": "c"}, "server": {"peer": "p"}},
    {"time": 1, "connection": 1, "from": "client", "opened": {"path": "/", "headers": {"a": "b"}}},
    {"time": 1, "connection": 1, "from": "client", "text": "M"},
    {"time": 1, "connection": 1, "from": "server", "text": "A1"},
    {"time": 1, "connection": 1, "from": "client", "text": "$1;app;;_OnNamespaceConnect;0;0;"},
    {"time": 1, "connection": 1, "from": "server", "kind": "binary", "base64": "AAAA"},
    {"time": 1, "connection": 1, "from": "server", "closed": {"code": 1000, "reason": ""}},
)
LONG: Final = "x" * 70_000
ODD: Final[tuple[Any, ...]] = (None, -1, 1e300, 10**400, EVIL, [], {}, [[]] * 9, "\ud800", LONG)


# -------------------------------------------------------------------- the relay


@asynccontextmanager
async def relay() -> AsyncIterator[dict[str, str]]:
    """Run the target: a server with a relay before it."""
    handlers = {"app": {"echo": lambda _, message: message.body}}
    async with (
        listening(Server(handlers), grace=0.2) as listener,
        relaying(listener.url(), lambda *_: None) as running,
    ):
        yield {"url": f"{running.url}/"}


@attack("relay")
async def fragments_of_a_byte(aim: Aim) -> None:
    """Four clients send one message without end, in fragments of a byte."""
    part = frame(b"x", 0, fin=False) * 4096

    async def client() -> None:
        async with dialled(aim.url) as connection:
            await connection.write(frame(b"x", fin=False))
            while await aim.write(connection, part):
                pass

    await together(*(client() for _ in range(4)))


@attack("relay")
async def messages_that_nobody_reads(aim: Aim) -> None:
    """Eight clients ask for long echoes, and read none."""
    ask = frame(b";app;;echo;0;0;" + b"x" * CHUNK)

    async def client() -> None:
        async with dialled(aim.url) as connection:
            while await aim.write(connection, ask, seconds=0.5):
                pass

    await together(*(client() for _ in range(8)))


@attack("relay")
async def pings_that_nobody_reads(aim: Aim) -> None:
    """Four clients send pings, and read no answer."""
    pings = frame(b"x" * 125, 9) * 512

    async def client() -> None:
        while not aim.is_over:
            async with dialled(aim.url) as connection:
                while await aim.write(connection, pings):
                    pass

    await together(*(client() for _ in range(4)))


@attack("relay")
async def requests_that_come_and_go(aim: Aim) -> None:
    """Clients send halves of requests, and requests that no server upgrades."""
    host, _, port = aim.url.removeprefix("ws://").rstrip("/").partition(":")
    heads = (b"GET / HTTP/1.1\r\nHost: x\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" * 99)

    async def client(head: bytes) -> None:
        while not aim.is_over:
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(head)
            await asyncio.sleep(0.01)
            writer.transport.abort()

    await together(*(client(head) for head in heads * 4))


# -------------------------------------------------------------------- commands


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _command(*arguments: str | Path) -> Sequence[str]:
    code = "from neffos_conformance.cli.entry import main; main()"
    return [sys.executable, "-c", code, *map(str, arguments)]


def _wrong(
    tool: Tool, what: str, statuses: Sequence[int] = (0, 1, 2), encoding: str = "utf-8"
) -> str:
    """Say what is wrong with a command that read something hostile; empty if nothing is."""
    text = tool.output.decode(encoding, "surrogateescape")
    found = {each for each in text if not (each.isprintable() or each == "\n")}
    faults = (
        (tool.code not in statuses, f"status {tool.code}"),
        (tool.peak > PEAK, f"{tool.peak >> 20} MiB"),
        (bool(found), f"wrote {sorted(map(ascii, found))}"),
        ("Traceback" in text, "a traceback"),
        ("\nneffos-wire: all is well" in text, "a forged line"),
        (SECRET in text, "a secret"),
    )
    wrong = [fault for is_so, fault in faults if is_so]
    return f"{what}: {', '.join(wrong)}; " if wrong else ""


def _recording(lines: Sequence[Any]) -> str:
    return "".join(json.dumps(each) + "\n" for each in lines)


@attack("tool")
async def hars_beyond_all_bounds(aim: Aim) -> str:
    """Import reads documents that are too deep, too long, or too many."""
    start = b'{"log":{"entries":['
    documents = {
        "brackets": start + b"[" * 40_000,
        "objects": start + b'{"request":' * 40_000,
        "a string": start + b'{"response":"' + b"x" * (32 << 20) + b'"}]}}',
        "a string of escapes": start + b'{"response":"' + b"\\n" * (8 << 20) + b'"}]}}',
        "a number": start + b'{"request":' + b"1" * (8 << 20) + b"}]}}",
        "values": start + b'{"request":[' + b"{}," * 3_000_000 + b"0]}]}}",
        "a long name": start
        + b'{"'
        + b"n" * (4 << 20)
        + b'":{'
        + b'"a":0,' * 200_000
        + b'"b":0}}]}}',
    }
    wrong = ""
    with _folder() as folder:
        for name, document in documents.items():
            (folder / "a.har").write_bytes(document)
            tool = await aim.run(_command("import", folder / "a.har", "-o", folder))
            wrong += _wrong(tool, name)
    return wrong


@attack("tool")
async def recordings_of_any_form(aim: Aim) -> str:
    """Check, show and replay read recordings in which any value may be any other."""
    chance = random.Random(7)  # noqa: S311  # the same recordings each time
    wrong = ""
    with _folder() as folder:
        while not aim.is_over:
            lines = [_changed(each, chance) for each in LINES]
            path = folder / "a.jsonl"
            path.write_text(_recording(lines), "utf-8", "surrogatepass")
            for command in (
                _command("check", "-v", "--jobs", "1", path),
                _command("check", "--json", "--jobs", "1", path),
                _command("show", "-v", path),
                _command("replay", path, "--server", aim.url or "ws://127.0.0.1:1"),
            ):
                wrong += _wrong(await aim.run(command), f"{command[3]} of {lines}")
    return wrong


def _changed(values: Any, chance: random.Random) -> Any:
    if chance.random() < 0.1:
        return chance.choice(ODD)
    if not isinstance(values, dict):
        return values
    return {
        key: _changed(each, chance) for key, each in values.items() if chance.random() > 0.02
    } | ({EVIL: chance.choice(ODD)} if chance.random() < 0.05 else {})


@attack("tool")
async def texts_that_control_terminals(aim: Aim) -> str:
    """Every text of a recording and its name control a terminal, in several encodings."""
    text = EVIL.replace("\ud800", "")
    lines = [
        LINES[0] | {"scenario": text, "client": {"peer": text}, "how": text, "defects": {}},
        LINES[1] | {"opened": {"path": text, "headers": {text: text}}},
        LINES[2] | {"text": f"M{text}"},
        LINES[2] | {"text": f";{text};{text};{text};0;0;{text}"},
        LINES[6] | {"closed": {"code": 1000, "reason": text}},
        {text: text},
    ]
    wrong = ""
    with _folder() as folder:
        path = folder / f"{text.replace('/', '')}.jsonl"
        path.write_text(_recording(lines), "utf-8")
        for command in ("check", "show", "import"):
            for encoding in ("utf-8", "cp1252"):
                run = ["env", f"PYTHONIOENCODING={encoding}", *_command(command, path)]
                tool = await aim.run(run)
                wrong += _wrong(tool, f"{command} in {encoding}", encoding=encoding)
    return wrong


@attack("tool")
async def readers_that_go(aim: Aim) -> str:
    """Whoever reads the output goes after a byte, or before it."""
    wrong = ""
    for command in ("list --json", "explain HS-1", "matrix --json", "--help"):
        code = "from neffos_conformance.cli.entry import main; main()"
        for reader in ("head -c 1", "true"):
            script = f"{sys.executable} -c '{code}' {command} | {reader}"
            wrong += _wrong(await aim.run(["sh", "-c", script]), f"{command} | {reader}", (0,))
    return wrong


@attack("tool")
async def secrets_in_urls(aim: Aim) -> str:
    """A URL has a password and a token; no output, report or recording may have them."""
    url = f"ws://me:{SECRET}@127.0.0.1:1/?token={SECRET}&{SECRET}"
    wrong = ""
    with _folder() as folder:
        har = {"request": {"url": url}, "_webSocketMessages": [{"type": "send", "data": "M"}]}
        (folder / "a.har").write_text(json.dumps({"log": {"entries": [har]}}))
        (folder / "b.jsonl").write_text(_recording(LINES))
        reports = [f"--{form}={folder / form}" for form in ("report", "html", "junit", "markdown")]
        for command in (
            _command("test", "server", url, "--features", "all", "--case", "HS", *reports),
            _command("import", folder / "a.har", "-o", folder),
            _command("replay", folder / "b.jsonl", "--server", url, "--json"),
            _command("matrix", "--server", f"mine={url}", "--json"),
        ):
            wrong += _wrong(await aim.run(command), command[3])
        for path in folder.rglob("*"):
            if path.name != "a.har" and path.is_file() and SECRET in path.read_text("utf-8"):
                wrong += f"{path.name} has the secret; "
    return wrong
