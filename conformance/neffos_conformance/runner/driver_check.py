"""Speaks the driver protocol to a driver step by step, and says which line and field is wrong.

Each step makes the client do one thing at a server with the conformance application. It compares
what the driver writes with what the page on the driver protocol says.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from typing import Any, Final

from neffos_conformance.cases.features import ID_HEADER
from neffos_conformance.runner.driver_pool import NO_CONNECTION
from neffos_conformance.runner.driver_protocol import (
    ANSWER_DEADLINE,
    MADE_UP,
    Values,
    fields_of,
)
from neffos_conformance.runner.line_check import (
    Line,
    LineFinding,
    LinePipe,
    LineProtocol,
    Lines,
    LineSteps,
    StepEnd,
)

PAGE: Final = "The driver protocol"
FIRST_LINE: Final = "The first line"
OPERATIONS: Final = "Operations"
SEEN: Final = "What the client saw"
"""The page that explains the steps, and its sections."""

SILENT_TIMEOUT: Final = 60.0
"""Seconds for the reply to an ask that has none: longer than a driver that answers one operation
after the other is waited for."""

ID: Final = "driver check;1"
"""The connection ID that the server gives: an acceptance is not escaped (HS-5)."""

TEXT: Final = "text; with a semicolon, and é"
BYTES: Final = b"\x00\xff;bytes"
"""Bodies: those that a driver garbles if it has a wrong idea of text or of bytes."""

_OPTIONAL: Final = frozenset({"left", "disconnected", "closed"})
"""Observations that may come with the end of a namespace or of a connection."""

_DRIVER: Final = LineProtocol(
    "driver",
    "the driver",
    "an operation",
    PAGE,
    {"saw": SEEN, "id": OPERATIONS, "ready": FIRST_LINE},
)


async def examine_driver(
    pipe: LinePipe, url: str, *, deadline: float = ANSWER_DEADLINE
) -> AsyncIterator[LineFinding]:
    """Yield what each step on a driver shows.

    Args:
        pipe: the driver.
        url: of a server with the conformance application.
        deadline: seconds for each line of the driver.
    """
    lines = Lines(pipe, deadline, _DRIVER)
    async for finding in lines.perform(_Check(lines, url).steps()):
        yield finding


class _Check(LineSteps):
    """The steps on one driver."""

    def __init__(self, lines: Lines, url: str) -> None:
        super().__init__(lines)
        self._url = url
        self._seen: list[Line] = []
        self._connections: list[int] = []
        self._is_connected = False
        self._lacking: set[str] = set()

    def steps(self) -> Iterator[tuple[str, str, Callable[[], Awaitable[str]]]]:
        """Give the steps; without a connection, none follows on ``dial``."""
        for step, section, perform in _STEPS:
            yield step, section, partial(perform, self)
            if perform is _Check.dial and not self._connections:
                return

    # ------------------------------------------------------------ lines

    def _take(self, line: Line, number: int | None) -> None:
        """Keep observations, and take late answers."""
        if "saw" in line.values:
            self._seen.append(line)
        elif line.values["id"] in self._lines.unanswered:
            self._lines.unanswered.discard(line.values["id"])
        else:
            text = "no operation with this id waits for an answer"
            self._lines.fault(text, line, "id", json.dumps(number))

    async def _ask(self, op: str, **fields: Any) -> Line:
        """Give the answer to an operation; one that is not supported ends the step."""
        if op in self._lacking:
            raise StepEnd(f"the client does not support {op}")
        line = await self._answer(await self._send({"op": op, **fields}), op)
        if "unsupported" in line.values:
            self._lacking.add(op)
            raise StepEnd(f"the client does not support {op}; cases that need it are skipped")
        return line

    async def _do(self, op: str, **fields: Any) -> Line:
        """Give the result of an operation; anything else ends the step."""
        line = await self._ask(op, **fields)
        if "error" in line.values:
            self._lines.fault(
                f"{op} failed, though the server did its part", line, "error", "a result"
            )
            raise StepEnd
        return line

    async def _fails(self, op: str, reason: str, /, **fields: Any) -> None:
        """See that an operation fails, with a text of the peer if it gave one."""
        line = await self._ask(op, **fields)
        if "error" not in line.values:
            self._lines.fault(f"{op} cannot succeed here", line, "result", "an error")
        elif reason not in line.values["error"]:
            expected = f"a text that contains {json.dumps(reason, ensure_ascii=False)}"
            self._lines.fault("the text of the peer is missing", line, "error", expected)

    async def _saw(self, word: str, otherwise: str = "", /, **fields: Any) -> None:
        """Wait for an observation, and compare all its fields.

        Without it the step is a fault, or a note that says ``otherwise``.
        """
        expected = {"saw": word, "connection": self._connection, **fields}
        shown = json.dumps(expected, ensure_ascii=False)
        while not (found := [each for each in self._seen if each.values["saw"] == word]):
            try:
                line = await self._lines.wait(f"the line {shown}", StepEnd)
            except StepEnd:
                if otherwise:
                    self._lines.forget()
                raise StepEnd(otherwise) from None
            if "saw" in line.values:
                self._seen.append(line)
            elif line.values.get("id") in self._lines.unanswered:
                self._lines.unanswered.discard(line.values["id"])
            else:
                self._lines.fault("no operation waits for this", line, "id", f"the line {shown}")
        self._seen.remove(found[0])
        self._lines.compare(found[0], found[0].values, expected)

    @property
    def _connection(self) -> int:
        """The client's number for the latest connection."""
        if not self._connections:
            raise StepEnd("there is no connection")
        return self._connections[-1]

    # ------------------------------------------------------------ steps

    async def dial(self) -> str:
        """Open a connection, whose ID is known."""
        line = await self._do("dial", url=self._url, headers={ID_HEADER: ID})
        self._opened(line, ID)
        return f"connection {self._connection}"

    def _opened(self, line: Line, id_: str = "") -> None:
        result = line.values["result"]
        for name in ("connection", "connection_id"):
            if name not in result:
                self._lines.fault(
                    "a field is missing", line, f"result/{name}", "what the table says"
                )
        if id_ and result.get("connection_id", id_) != id_:
            expected = f"{json.dumps(id_)}: the server uses the header {ID_HEADER} of headers"
            self._lines.fault("a field is wrong", line, "result/connection_id", expected)
        if (number := result.get("connection")) in self._connections:
            self._lines.fault(
                "the number names two connections", line, "result/connection", "another"
            )
        elif number is not None:
            self._connections.append(number)

    async def unknown_connection(self) -> str:
        """Use a connection that is not there."""
        await self._fails("connect", "", connection=NO_CONNECTION, namespace="app")
        return "answers an error"

    async def connect(self) -> str:
        """Connect a namespace."""
        await self._do("connect", connection=self._connection, namespace="app")
        self._is_connected = True
        await self._saw("connected", namespace="app")
        return "app is connected"

    async def refused(self) -> str:
        """Have the server refuse a room."""
        await self._fails("join", "room is locked", **self._in_app, room="locked")
        return "answers with the text of the server"

    async def _replied(self, event: str, body: str | bytes, reply: str | bytes) -> None:
        line = await self._do("ask", **self._in_app, event=event, **fields_of(body))
        self._lines.compare(line, line.values["result"], fields_of(reply), "result/")

    @property
    def _in_app(self) -> Values:
        if not self._is_connected:
            raise StepEnd("the namespace app is not connected")
        return {"connection": self._connection, "namespace": "app"}

    async def ask(self) -> str:
        """Ask with a text."""
        await self._replied("echo", TEXT, TEXT)
        return "the reply arrives"

    async def ask_in_binary(self) -> str:
        """Ask with bytes."""
        await self._replied("echo", BYTES, BYTES)
        return "the reply arrives"

    async def ask_fails(self) -> str:
        """Have the server reply with an error."""
        await self._fails("ask", TEXT, **self._in_app, event="fail", text=TEXT)
        return "answers with the text of the server"

    async def event(self) -> str:
        """Have the server send an event of each type."""
        for kind, sent in (("push-text", "pushed"), ("push-bytes", b"pushed")):
            name = kind.encode() if isinstance(sent, bytes) else kind
            await self._do("ask", **self._in_app, event="push", **fields_of(name))
            await self._saw("event", namespace="app", room="", event=kind, **fields_of(sent))
        return "events reach a handler"

    async def emit(self) -> str:
        """Have the server ask the client, and see the reply that the client gave."""
        await self._do("emit", **self._in_app, event="ask-me", text=TEXT)
        for name in ("question", "answer"):
            await self._saw("event", namespace="app", room="", event=name, text=TEXT)
        return "the server's question is answered"

    async def rooms(self) -> str:
        """Join a room and leave it."""
        if not self._is_connected:
            raise StepEnd("the namespace app is not connected")
        room = {"namespace": "app", "room": "lobby"}
        await self._do("join", connection=self._connection, **room)
        await self._saw("joined", **room)
        await self._do("leave", connection=self._connection, **room)
        await self._saw("left", **room)
        return "joined and left"

    async def all_rooms(self) -> str:
        """Leave all rooms. Whether a client that leaves none (DV-18) is wrong is not asked here."""
        await self._do("leave-all", **self._in_app)
        return "answers"

    async def at_once(self) -> str:
        """Have it do something while an ask waits for its reply."""
        if "ask" in self._lacking:
            raise StepEnd("the client does not support ask")
        silent = {"event": "silent", "text": "", "timeout": SILENT_TIMEOUT}
        waiting = await self._send({"op": "ask", **self._in_app, **silent})
        number = await self._send({"op": MADE_UP})
        line = await self._answer(number, f"{MADE_UP}, while an ask waits")
        if waiting not in self._lines.unanswered:
            self._lines.fault("an ask without a reply was answered first", line, "id", str(waiting))
        return "does not wait for earlier operations"

    async def disconnect(self) -> str:
        """Disconnect the namespace."""
        await self._do("disconnect", **self._in_app)
        await self._saw("disconnected", namespace="app")
        return "app is disconnected"

    async def native(self) -> str:
        """Send a native message, and receive it."""
        self._opened(await self._do("dial", url=f"{self._url.rstrip('/')}/mixed"))
        await self._do("connect", connection=self._connection, namespace="")
        await self._saw("connected", namespace="")
        await self._do("native", connection=self._connection, text="a native message")
        otherwise = "no native message arrived; some clients have no handler for it (DV-30)"
        await self._saw("native", otherwise, text="a native message")
        return "sent and received"

    async def close(self) -> str:
        """Close the latest connection."""
        await self._do("close", connection=self._connection)
        await self._saw("closed")
        return "closed"

    async def end(self) -> str:
        """End its input, and see that it ends and has reported nothing that nothing caused."""
        late: list[Line] = []
        try:
            await self._lines.end(late)
        finally:
            for line in [*self._seen, *late]:
                if line.values.get("saw", "left") not in _OPTIONAL:
                    text = "nothing happened that this reports"
                    self._lines.fault(text, line, "saw", "no such line")
        return "ended, with status 0"


_STEPS: Final = (
    ("first line", FIRST_LINE, _Check.ready),
    ("unknown operation", OPERATIONS, _Check.made_up),
    ("malformed line", OPERATIONS, _Check.malformed),
    ("dial", OPERATIONS, _Check.dial),
    ("unknown connection", OPERATIONS, _Check.unknown_connection),
    ("connect", SEEN, _Check.connect),
    ("refused join", OPERATIONS, _Check.refused),
    ("ask", OPERATIONS, _Check.ask),
    ("ask in binary", OPERATIONS, _Check.ask_in_binary),
    ("error reply", OPERATIONS, _Check.ask_fails),
    ("event", SEEN, _Check.event),
    ("emit", SEEN, _Check.emit),
    ("rooms", SEEN, _Check.rooms),
    ("all rooms", OPERATIONS, _Check.all_rooms),
    ("two operations", OPERATIONS, _Check.at_once),
    ("disconnect", SEEN, _Check.disconnect),
    ("native", SEEN, _Check.native),
    ("close", SEEN, _Check.close),
    ("end", FIRST_LINE, _Check.end),
)
"""The steps, each with its name and the section that explains it."""
