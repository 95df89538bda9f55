"""What is bounded, and by how much, from the constants themselves."""

from __future__ import annotations

from generate.text import table as markdown
from neffos_asyncio import Limits
from neffos_asyncio.budget import PROCESS_BYTES
from neffos_asyncio.failures import FAILURES, PERIOD
from neffos_asyncio.handler_queue import TURN, TURN_SIZE
from neffos_asyncio.limits import LINE_RATE, MESSAGE_RATE
from neffos_asyncio.server import MAX_CONNECTIONS
from neffos_conformance.recordings import capture, check_report, checking, packet_file
from neffos_conformance.recordings.har import MAX_VALUES
from neffos_conformance.wire import networks as network_data
from neffos_conformance.wire import packed, relay, transcript
from neffos_conformance.wire.cluster import MAX_PUBLISHED
from neffos_conformance.wire.connection import MAX_BACKLOG, MAX_MESSAGE
from neffos_conformance.wire.json_bounds import MAX_DEPTH, MAX_DOCUMENT, MAX_NUMBER, MAX_STRING
from neffos_protocol.text import LOGGED


def size(value: float) -> str:
    """Write a number of bytes."""
    for unit, bytes_ in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if value >= bytes_:
            return f"{value / bytes_:g} {unit}"
    return f"{value:g} bytes"


def seconds(value: float | None) -> str:
    """Write a time."""
    return "none" if value is None else f"{value:g} s"


def table() -> str:
    """Return the table of the reference server's bounds, in Markdown."""
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
            f"{seconds(limits.heartbeat)}, {seconds(limits.heartbeat_timeout)}, "
            f"and a second for each {size(LINE_RATE)} under way",
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
    return markdown(("bound", "default", "what is over it"), rows)


def of_relay() -> str:
    """Return the table of the bounds of the command ``record``."""
    rows = [
        ("a message", size(MAX_MESSAGE), "the relay ends the connection"),
        ("a published message", size(MAX_PUBLISHED), "not recorded"),
        (
            "unread answers to the pings of a peer",
            size(MAX_BACKLOG),
            "the relay ends the connection",
        ),
        (
            "for the server to respond to a request",
            seconds(relay.RESPONSE_DEADLINE),
            f"the client gets {relay.NO_SERVER}",
        ),
        (
            "the body of a response that is not an upgrade",
            size(relay.MAX_BODY),
            f"the client gets {relay.NO_SERVER}",
        ),
        (
            "for a peer to close after the other",
            seconds(relay.CLOSE_DEADLINE),
            "the relay resets the connection",
        ),
    ]
    return markdown(("bound", "value", "what is over it"), rows)


def of_files() -> str:
    """Return the table of the bounds of recordings and HAR files that are read."""
    rows = [
        ("a line of a recording, once unpacked", size(transcript.MAX_LINE), "unreadable"),
        ("the window of a file compressed with Zstandard", size(packed.WINDOW), "unreadable"),
        (
            "connections that are open at the same time",
            f"{checking.MAX_CONNECTIONS:,}",
            "not checked, and counted",
        ),
        (
            "listed violations, pending asks and unreadable lines",
            f"{check_report.MAX_VIOLATIONS} of each",
            "counted, not listed",
        ),
        (
            "packets of a connection that wait for a missing one",
            f"{capture.MAX_WAITING:,}",
            "what follows is unknown",
        ),
        (
            "TCP connections of a capture at the same time",
            f"{capture.LANES * capture.MAX_LANE:,}",
            f"the oldest in its group, of {capture.LANES}, is unknown from there",
        ),
        ("a block of a capture", size(packet_file.MAX_BLOCK), "unreadable"),
        ("a HAR", size(MAX_DOCUMENT), "refused"),
        ("arrays and objects inside each other in a HAR", f"{MAX_DEPTH}", "refused"),
        ("a string of a HAR", size(MAX_STRING), "refused"),
        ("a number of a HAR", f"{MAX_NUMBER:,} characters", "refused"),
        ("the values of an entry of a HAR", f"{MAX_VALUES:,}", "refused"),
    ]
    return markdown(("bound", "value", "what is over it"), rows)


def networks() -> str:
    """Return the table of the networks that ``record`` can put before its relay."""
    rows = [(f"`{each.name}`", each.about) for each in network_data.networks().values()]
    return markdown(("name", "network"), rows)
