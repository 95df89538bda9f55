"""What the reference server bounds, and by how much, from the constants themselves."""

from __future__ import annotations

from neffos_asyncio import Limits
from neffos_asyncio.budget import PROCESS_BYTES
from neffos_asyncio.failures import FAILURES, PERIOD
from neffos_asyncio.handler_queue import TURN, TURN_SIZE
from neffos_asyncio.limits import MESSAGE_RATE
from neffos_asyncio.server import MAX_CONNECTIONS
from neffos_protocol.text import LOGGED


def size(value: float) -> str:
    """Write a number of bytes."""
    for unit, bytes_ in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if value >= bytes_:
            return f"{value / bytes_:g} {unit}"
    return f"{value:g} bytes"


def seconds(value: float | None) -> str:
    """Write a time."""
    return "none" if value is None else f"{value:g} s"


def table() -> str:
    """Return the table of all bounds, in Markdown."""
    limits = Limits()
    session = limits.session
    rows = [
        ("`session.payload`", size(session.payload), "refused before it is read, code 1009"),
        (
            "`session.held`, `session.held_size`: before the handshake is complete",
            f"{session.held} messages, {size(session.held_size)}",
            "closed with 1008 or 1009",
        ),
        ("`session.namespaces`", f"{session.namespaces}", "the connect is refused"),
        (
            "`session.rooms`, of all namespaces together",
            f"{session.rooms:,}",
            "the join is refused",
        ),
        (
            "`session.name`: a namespace, a room or an event",
            f"{session.name} characters",
            "dropped or refused",
        ),
        ("`handshake`", seconds(limits.handshake), "closed with 1008"),
        (
            "`message`: for an unfinished message to go on",
            f"{seconds(limits.message)}, {size(MESSAGE_RATE)} a second",
            "closed with 1008",
        ),
        (
            "`queue_length`, `queue_size`: messages that wait for a slow handler, with their heads",
            f"{limits.queue_length:,}, {size(limits.queue_size)}",
            "nothing more is read",
        ),
        ("`high_water`: unread by the peer", size(limits.high_water), "nothing more is read"),
        ("`backlog`: unread by the peer", size(limits.backlog), "closed with 1008"),
        ("`write`: for the peer to read", seconds(limits.write), "closed with 1008"),
        (
            "`heartbeat`, `heartbeat_timeout`",
            f"{seconds(limits.heartbeat)}, {seconds(limits.heartbeat_timeout)}",
            "a peer that answers no ping counts as lost",
        ),
        ("`read`: without any message", seconds(limits.read), "closed with 1008"),
        ("`ask`", seconds(limits.ask), "the ask raises `DeadlineError`"),
        ("`handler`", seconds(limits.handler), "cancelled, and an ask gets an error"),
        (
            "`grace`: handlers of a connection that has ended",
            seconds(limits.grace),
            "cancelled; what waits is dropped, at once after a reset",
        ),
        (
            "`budget`: unfinished, waiting and unread messages of all connections",
            size(PROCESS_BYTES),
            "the connection that holds most is reset",
        ),
        (
            "`max_connections`, with those whose handlers still run",
            f"{MAX_CONNECTIONS:,}",
            "HTTP status 503",
        ),
        (
            "messages of one connection in a row",
            f"{TURN}, {size(TURN_SIZE)}",
            "other connections have their turn",
        ),
        (
            "a peer's text in a log line",
            f"{LOGGED} characters",
            "cut; control characters are escaped",
        ),
        (
            "failures of handlers in the log",
            f"{FAILURES} in {seconds(PERIOD)}",
            "counted, not logged",
        ),
    ]
    lines = ["| bound | default | what is over it |", "| --- | --- | --- |"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])
