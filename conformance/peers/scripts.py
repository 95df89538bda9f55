r"""Sessions as scripts: what a client and a server say to each other, line by line.

A script is played by the suite at one end, with a real peer at the other: the suite is the
client of a server under test, or the server of a client that a driver moves. Each line is the
number of a connection, a verb, and what goes with it:

    1 dial /mixed Header: value     the client opens it; path and headers may be left out
    1 > text      1 >b \x00text    the client says this, as text or in binary
    1 < text      1 <b \x00text    the server says this
    1 >t \xfftext                   the client says this as text, be it UTF-8 or not
    1 quiet                         the server says nothing before the answer to an ask sent now
    1 close 1000                    the suite ends it with this code
    1 cut                           the suite ends TCP
    1 closed 1000                   the peer ends it, with this code; "none" without, "any" however
    1 do ask app echo hi            the client is made to do this: see OPERATIONS
    1 did                           and it was done; what it gave may follow
    1 failed text                   or it was not, for a reason that holds this text
    1 saw event app news hi         the client told its application of this

``<<name>>`` stands for what the peer chooses; the same name later is the same text. What is
said by the side that the suite plays is sent, what the other says is expected.
"""

from __future__ import annotations

import asyncio
import codecs
import shlex
import tomllib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from neffos_codec import DecodeError, decode
from neffos_conformance.connection import Closed, Connection
from neffos_conformance.driving import Driver, OperationError, fields_of
from neffos_conformance.recordings.relay import below
from neffos_conformance.suite.barrier import BARRIER, BARRIER_TOKEN
from neffos_conformance.suite.match import Bindings, difference, fill

DEADLINE: Final = 10.0
"""Seconds for a whole script; each takes milliseconds."""

OPERATIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "connect": ("namespace",),
    "disconnect": ("namespace",),
    "join": ("namespace", "room"),
    "leave": ("namespace", "room"),
    "leave-all": ("namespace",),
    "emit": ("namespace", "event", "text", "room"),
    "ask": ("namespace", "event", "text", "room"),
    "native": ("text",),
    "close": (),
}
"""What a driver can be told, with the names of what follows, of which the last may be missing."""

SIGHTS: Final[Mapping[str, tuple[str, ...]]] = {
    "event": ("namespace", "event", "text"),
    "native": ("text",),
    "connected": ("namespace",),
    "disconnected": ("namespace",),
    "joined": ("namespace", "room"),
    "left": ("namespace", "room"),
    "reconnected": (),
    "closed": (),
}
"""What a driver tells that its client saw, likewise."""


class ScriptError(Exception):
    """The peer did not do what the script says; the text names the line."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a script.

    Attributes:
        number: its number in the script.
        connection: which connection it is about.
        verb: what happens.
        rest: what goes with it.
    """

    number: int
    connection: int
    verb: str
    rest: str


@dataclass(frozen=True, slots=True)
class Session:
    """A script with what it is about.

    Attributes:
        id: names it, and the file of its recording.
        title: what happens, in a sentence.
        shows: the requirements that it shows.
        lines: what happens.
        peers: the peers that it is recorded with; empty for all.
        native: the mode of its endpoint.
        defects: requirements that are broken in it, and by which role.
    """

    id: str
    title: str
    shows: tuple[str, ...]
    lines: tuple[Line, ...]
    peers: tuple[str, ...] = ()
    native: str = "never"
    defects: Mapping[str, str] = field(default_factory=dict)


def load(path: Path) -> list[Session]:
    """Read the sessions of a file.

    Raises:
        ValueError: a line has no form that is known.
    """
    return [
        Session(
            entry["id"],
            entry["title"],
            tuple(entry["shows"]),
            tuple(_line(number, text) for number, text in enumerate(_texts(entry["script"]), 1)),
            tuple(entry.get("peers", ())),
            entry.get("native", "never"),
            entry.get("defects", {}),
        )
        for entry in tomllib.loads(path.read_text("utf-8"))["session"]
    ]


def _texts(script: str) -> list[str]:
    return [line for line in script.splitlines() if line.strip()]


def _line(number: int, text: str) -> Line:
    connection, _, rest = text.lstrip().partition(" ")
    verb, _, rest = rest.partition(" ")
    if not connection.isdigit() or verb not in _VERBS:
        raise ValueError(f"line {number}: {text!r} is no line of a script")
    return Line(number, int(connection), verb, rest)


# -------------------------------------------------------------------- playing


class Play:
    """A script at work: the connections, and what they agreed on so far."""

    def __init__(self) -> None:
        self.bindings: Bindings = {}
        self.connections: dict[int, Connection] = {}

    def connection(self, line: Line) -> Connection:
        """Give the connection that a line is about."""
        return self.connections[line.connection]

    async def say(self, line: Line) -> None:
        """Send what the line says."""
        payload = _payload(line)
        if isinstance(payload, bytes):  # a token in it is ASCII, and the rest stays as it is
            filled = str(fill(payload.decode("latin-1"), self.bindings))
            await self.connection(line).send(filled.encode("latin-1"))
        else:
            await self.connection(line).send(fill(payload, self.bindings))

    async def hear(self, line: Line) -> None:
        """Receive what the line says."""
        expected = _payload(line)
        seen = await self.connection(line).receive()
        if isinstance(seen, Closed):
            raise ScriptError(f"the connection was {seen}")
        found = difference(expected, seen, self.bindings)
        if found:
            raise ScriptError(f"{found}, in {seen!r}")

    async def hear_end(self, line: Line) -> None:
        """See the peer end the connection."""
        seen = await self.connection(line).receive()
        if not isinstance(seen, Closed):
            raise ScriptError(f"{seen!r} came")
        wanted = (
            {"any": seen.code, "none": None}.get(line.rest)
            if line.rest
            in (
                "any",
                "none",
            )
            else int(line.rest)
        )
        if seen.code != wanted:
            raise ScriptError(f"it was {seen}")

    async def end(self, line: Line) -> None:
        """End the connection with a code."""
        await self.connection(line).say_goodbye(int(line.rest or 1000))

    async def cut(self, line: Line) -> None:
        """End TCP."""
        self.connection(line).abort()

    async def quiet(self, line: Line) -> None:
        """See that nothing comes before the answer to an ask that is sent now."""
        await self.connection(line).send(BARRIER)
        seen = await self.connection(line).receive()
        try:
            answered = not isinstance(seen, Closed) and decode(seen).wait == BARRIER_TOKEN
        except DecodeError:
            answered = False
        if not answered:
            raise ScriptError(f"{seen!r} came")

    async def finish(self) -> None:
        """Let go of what is still open."""
        for connection in self.connections.values():
            await connection.close()


Act = Callable[[Line], Any]


async def play_client(session: Session, url: str) -> None:
    """Play the client's side to the server at a URL.

    Raises:
        ScriptError: the server did not do what the script says.
    """
    play = Play()

    async def dial(line: Line) -> None:
        path, headers = _target(line.rest)
        connection = await Connection.dial(below(url, path), headers)
        play.connections[line.connection] = connection

    acts: dict[str, Act] = {
        "dial": dial,
        ">": play.say,
        ">b": play.say,
        ">t": play.say,
        "<": play.hear,
        "<b": play.hear,
        "quiet": play.quiet,
        "close": play.end,
        "cut": play.cut,
        "closed": play.hear_end,
    }
    await _act(session, acts, play)


async def play_server(
    session: Session, driver: Driver, url: str, incoming: asyncio.Queue[Connection]
) -> None:
    """Play the server's side to a client that is moved by a driver.

    Args:
        session: what happens.
        driver: moves the client.
        url: where the client is to dial, from where it reaches us.
        incoming: the connections that come.

    Raises:
        ScriptError: the client did not do what the script says.
    """
    play = Play()
    doing: dict[int, asyncio.Task[dict[str, Any]]] = {}
    numbers: dict[int, int] = {}

    async def dial(line: Line) -> None:
        if line.rest != "again":  # a client that comes back by itself
            path, headers = _target(line.rest.removesuffix(" reconnect"))
            options = {"reconnect": True} if line.rest.endswith("reconnect") else {}
            doing[line.connection] = asyncio.create_task(
                driver.do("dial", url=url + path, headers=dict(headers), **options)
            )
        play.connections[line.connection] = await incoming.get()

    async def do(line: Line) -> None:
        op, *words = shlex.split(line.rest)
        values = dict(zip(OPERATIONS[op], words, strict=False))
        if op in ("emit", "ask", "native"):
            values |= fields_of(values.pop("text", ""))
        doing[line.connection] = asyncio.create_task(
            driver.do(op, connection=numbers[line.connection], **values)
        )

    async def did(line: Line) -> None:
        try:
            result = await doing.pop(line.connection)
        except OperationError as error:
            raise ScriptError(f"it failed: {error}") from error
        if "connection" in result:
            numbers[line.connection] = result["connection"]
        if line.rest and line.rest not in (result.get("text"), result.get("connection_id")):
            raise ScriptError(f"it gave {result}")

    async def failed(line: Line) -> None:
        try:
            result = await doing.pop(line.connection)
        except OperationError as error:
            if line.rest not in str(error):
                raise ScriptError(f"it failed otherwise: {error}") from error
        else:
            raise ScriptError(f"it was done: {result}")

    async def saw(line: Line) -> None:
        kind, *words = shlex.split(line.rest)
        wanted: dict[str, Any] = dict(zip(SIGHTS[kind], words, strict=False))
        await driver.saw(saw=kind, connection=numbers[line.connection], **wanted)

    acts: dict[str, Act] = {
        "dial": dial,
        ">": play.hear,
        ">b": play.hear,
        "<": play.say,
        "<b": play.say,
        "close": play.end,
        "cut": play.cut,
        "closed": play.hear_end,
        "do": do,
        "did": did,
        "failed": failed,
        "saw": saw,
    }
    try:
        await _act(session, acts, play)
    finally:
        for number in numbers.values():
            with suppress(OperationError):  # most are closed
                await driver.do("close", connection=number, timeout=1)


@asynccontextmanager
async def awaiting() -> AsyncIterator[tuple[str, asyncio.Queue[Connection]]]:
    """Listen for clients; give the URL, and a queue of those that were upgraded."""
    queue: asyncio.Queue[Connection] = asyncio.Queue()

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        incoming = await Connection.incoming(reader, writer)
        if incoming is None:
            return
        if incoming.request.method != "GET":
            await incoming.refuse(200)
            return
        connection = incoming.accept()
        if connection is not None:
            queue.put_nowait(connection)

    listener = await asyncio.start_server(client, "127.0.0.1", 0)
    try:
        host, port = listener.sockets[0].getsockname()
        yield f"ws://{host}:{port}", queue
    finally:
        listener.close()


async def _act(session: Session, acts: Mapping[str, Act], play: Play) -> None:
    line = session.lines[0]
    try:
        async with asyncio.timeout(DEADLINE):
            for line in session.lines:
                await acts[line.verb](line)
    except TimeoutError:
        raise _at(line, session, f"nothing came within {DEADLINE:g} s") from None
    except ScriptError as error:
        raise _at(line, session, str(error)) from error
    finally:
        await play.finish()


def _at(line: Line, session: Session, what: str) -> ScriptError:
    text = f"{line.connection} {line.verb} {line.rest}"
    return ScriptError(f"{session.id}, line {line.number} ({text[:80]}): {what}")


def _payload(line: Line) -> str | bytes:
    if line.verb in (">b", "<b", ">t"):
        octets = codecs.decode(line.rest, "unicode_escape").encode("latin-1")
        return octets.decode("utf-8", "surrogateescape") if line.verb == ">t" else octets
    return line.rest


def _target(rest: str) -> tuple[str, Mapping[str, str]]:
    """Give path and headers of a dial."""
    path, _, more = rest.partition(" ") if rest.startswith("/") else ("", "", rest)
    headers = {
        part.partition(": ")[0].strip(): part.partition(": ")[2] for part in more.split(" | ")
    }
    headers.pop("", None)
    return path, headers


_VERBS: Final = frozenset(
    [
        "dial",
        ">",
        ">b",
        ">t",
        "<",
        "<b",
        "quiet",
        "close",
        "cut",
        "closed",
        "do",
        "did",
        "failed",
        "saw",
    ]
)
