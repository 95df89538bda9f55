"""Checks recordings: who violated which requirement, in which line, with which bytes.

A recording is read once, line by line. Each of its connections has its own monitor, and the broker
of a cluster has one beside them. Lines that cannot be read are reported, and the rest is checked
nevertheless.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from neffos_codec import Native
from neffos_conformance.cases.script import BROKER
from neffos_conformance.recordings.check_report import (
    MAX_VIOLATIONS,
    CheckReport,
    UnansweredAsk,
    place_of,
    violations,
)
from neffos_conformance.recordings.openings import opening_violations
from neffos_conformance.recordings.shares import ALL, PLAIN, Reading, Share
from neffos_conformance.wire.closing import ConnectionClosed
from neffos_conformance.wire.packed import is_capture, is_har, open_file, shown, unpacked
from neffos_conformance.wire.payloads import text_if_utf8
from neffos_conformance.wire.remote import Url
from neffos_conformance.wire.transcript import (
    ConnectionOpened,
    Entry,
    Header,
    Published,
    Sieve,
    UnreadableLine,
    read_lines,
)
from neffos_protocol import Monitor, Role, Violation
from neffos_protocol.cluster_monitor import ClusterMonitor
from neffos_protocol.conversation import ObservedAsk
from neffos_protocol.exchange import CHANNELS
from neffos_protocol.text import visible

if TYPE_CHECKING:
    from neffos_conformance.recordings.capture import Capture
    from neffos_conformance.recordings.har import HarSource

MAX_NAME: Final = 80
"""Characters of a name or a token in a sentence."""

MAX_PENDING_ASKS: Final = 4096
"""Asks of a connection whose line and time are remembered; a correct peer has a handful."""

MAX_CONNECTIONS: Final = 1024
"""Connections that are checked at the same time. Beyond that, the oldest is given up."""

MAX_FORMER: Final = 16_384
"""Closed connections that are remembered: some MiB. Of older ones only the highest number is,
since connections are numbered in the order in which they open."""

_LAST: Final = 1 << 62
"""The place after everything in a file."""

PROGRESS_LINES: Final = 8192
"""Lines between two reports of progress: some milliseconds."""


def _kind_of(ask: ObservedAsk) -> str:
    """Say what an ask asks for."""
    names = [visible(each, limit=MAX_NAME) for each in (ask.event, ask.namespace, ask.room)]
    event, namespace, room = names
    where = namespace or "the empty namespace"
    if ask.change is None:
        return f"event {event} in {where}{'/' if room else ''}{room}"
    return f"{ask.change} of {f'room {room} of ' if ask.room else ''}{where}"


def _line(entry: Entry) -> int:
    return entry.line


class Monitors:
    """Checks connections concurrently, each until a peer ends it; its memory is bounded.

    After the end of a connection, messages of the other peer may still arrive; they prove nothing.
    A connection that was given up is not checked again: seen from the middle, a conforming peer
    may seem to violate a requirement.

    Args:
        header: of the recording.
        share: the connections that are checked; the bounds are those of all. What servers share by
            a broker concerns all connections, so the first share has them all then.
        source: where it is given, it bounds the connections itself, never comes back to one that
            has ended, and gives the places.
        sieve: takes which connections are open.

    Attributes:
        given_up: the number of connections given up.
        pending_asks: the first asks without a reply at the end of their connection, and of all
            others after ``finish``.
        pending_ask_count: their number.
        pending_order: for each of ``pending_asks``, where its connection ended, and its number.
        suspicions: as in ``CheckReport``, the first ones.
        cluster: observes what is published, if the servers have a broker.
        foreign: the number of messages on connections of other shares.
    """

    def __init__(
        self,
        header: Header,
        share: Share = ALL,
        source: Capture | HarSource | None = None,
        sieve: Sieve | None = None,
    ) -> None:
        self.given_up = self.foreign = 0
        self.suspicions: list[str] = []
        self.cluster: ClusterMonitor | None = None
        if broker := header.get("broker"):
            self.cluster = ClusterMonitor(CHANNELS[broker["kind"]], broker.get("prefix", ""))
            share = ALL if not share.number else share
        self.pending_asks: list[UnansweredAsk] = []
        self.pending_ask_count = 0
        self.pending_order: list[tuple[int, int]] = []
        self._share = share
        self._sieve = sieve
        self._place = _line if source is None else source.place
        self._bounds_itself = source is not None
        self._now = 0.0
        self._asked: dict[int, dict[int, tuple[int, float]]] = {BROKER: {}}
        self._native = Native(header.get("native", Native.NEVER))
        self._open: dict[int, Monitor | None] = {}  # of another share, there is no monitor
        self._former: dict[int, None] = {}
        self._highest_forgotten = 0

    def feed(self, entry: Entry) -> Sequence[Violation]:
        """Take the next line of a connection, and give its violations."""
        line, time, connection, from_client, content = entry
        self._now = time
        monitor = self._open.get(connection)
        if monitor is None:
            if type(content) is Published:
                return self._published(entry, content)
            if connection not in self._open:
                monitor = self._begin(connection)
            if monitor is None:
                if type(content) is str or type(content) is bytes:
                    self.foreign += connection not in self._share
                elif type(content) is ConnectionClosed and connection in self._open:
                    self._end(connection, line)
                    self._remember(connection)
                return ()
        if type(content) is str or type(content) is bytes:
            sender = "client" if from_client else "server"
            found = monitor.feed(sender, content)
            seen = monitor.conversation
            if self.cluster is not None:
                found += self.cluster.observe(connection, sender, seen, found)
                if self.cluster.remark and len(self.suspicions) < MAX_VIOLATIONS:
                    where = f"line {line}, connection {connection}"
                    self.suspicions.append(f"{where}: {self.cluster.remark}")
            ask = seen.ask
            if ask is not None or seen.handshake is not None:
                number = seen.number if ask is None else ask.number
                if number == seen.number:
                    self._remember_ask(connection, number, line, time)
                else:
                    self._asked[connection].pop(number, None)
            return found
        if type(content) is ConnectionOpened:
            if self.cluster is not None:
                self.cluster.open(connection, content.node)
            return list(opening_violations(content))
        if type(content) is ConnectionClosed:
            self._end(connection, self._place(entry))
            self._remember(connection)
        return ()

    def monitor(self, connection: int) -> Monitor | None:
        """Give the monitor of a connection; ``None`` if it is not checked, or not any more."""
        return self._open.get(connection)

    def finish(self, time: float | None = None) -> None:
        """Take the end of the recording, and its time if that is not that of the last entry."""
        self._now = self._now if time is None else time
        for connection in sorted(self._open):
            self._end(connection, _LAST)
        if self.cluster is not None:
            where = _LAST, _LAST
            for ask in self.cluster.pending.values():
                self._note(BROKER, ask.number, Role.SERVER, ask.token, _kind_of(ask), where)

    def _published(self, entry: Entry, content: Published) -> Sequence[Violation]:
        cluster = self.cluster
        if cluster is None:
            return ()
        found = cluster.publish(*content)
        if cluster.frame is not None and cluster.frame.token:
            self._remember_ask(entry.connection, cluster.number, entry.line, entry.time)
        return found

    def _remember_ask(self, connection: int, number: int, line: int, time: float) -> None:
        asked = self._asked[connection]
        asked[number] = line, time
        if len(asked) > MAX_PENDING_ASKS:
            del asked[next(iter(asked))]

    def _end(self, connection: int, place: int) -> None:
        """Note the asks of a connection that have no reply."""
        monitor = self._open.pop(connection)
        if monitor is None:
            return
        seen, asked = monitor.conversation, self._asked[connection]
        if self.cluster is not None:
            self.cluster.close(connection)
        found = [
            (ask.number, state.role, ask.token, _kind_of(ask))
            for state in (seen.client, seen.server)
            for ask in state.pending.values()
        ]
        if not (seen.is_accepted or seen.is_refused) and seen.client.handshake != "new":
            found += [(number, seen.client.role, "", "handshake request") for number in asked][:1]
        for number, role, token, kind in sorted(found):
            self._note(connection, number, role, token, kind, (place, connection))
        del self._asked[connection]

    def _note(
        self,
        connection: int,
        number: int,
        role: Role,
        token: str,
        kind: str,
        where: tuple[int, int],
    ) -> None:
        """Note an ask that has no reply, unless there were too many to remember it."""
        if number not in self._asked[connection]:
            return
        line, time = self._asked[connection][number]
        self.pending_ask_count += 1
        if len(self.pending_asks) < MAX_VIOLATIONS:
            waited = max(self._now - time, 0.0)
            ask = UnansweredAsk(
                line,
                connection,
                str(role),
                visible(token, limit=MAX_NAME),
                kind,
                round(waited, 6),
            )
            self.pending_asks.append(ask)
            self.pending_order.append(where)

    def _begin(self, connection: int) -> Monitor | None:
        if connection in self._former:
            return None
        if connection <= self._highest_forgotten:  # it may have been checked, or not
            self.given_up += 1
            self._remember(connection)
            return None
        if len(self._open) >= MAX_CONNECTIONS and not self._bounds_itself:
            oldest = next(iter(self._open))
            del self._open[oldest]
            self._asked.pop(oldest, None)
            if self.cluster is not None:
                self.cluster.close(oldest)
            self._remember(oldest)
            self.given_up += 1
        is_own = connection in self._share
        if self._sieve is not None:
            self._sieve.open(connection, is_own=is_own)
        if not is_own:
            self._open[connection] = None
            return None
        self._asked[connection] = {}
        monitor = self._open[connection] = Monitor(native=self._native)
        return monitor

    def _remember(self, connection: int) -> None:
        if self._bounds_itself:
            return
        if self._sieve is not None:
            self._sieve.close(connection)
        self._former[connection] = None
        if len(self._former) > MAX_FORMER:
            oldest = next(iter(self._former))
            del self._former[oldest]
            self._highest_forgotten = max(self._highest_forgotten, oldest)


def check(
    path: Path | Url,
    progress: Callable[[int], None] = lambda _: None,
    reading: Reading = PLAIN,
    share: Share = ALL,
) -> CheckReport:
    """Check a recording, a capture of packets or a HAR, plain or compressed.

    Args:
        path: the file, ``STANDARD_INPUT`` or a URL.
        progress: called now and then with the number of bytes of the file that were read since.
        reading: how to read it.
        share: check only these connections; see ``shares.merged``. Of the recording of a cluster,
            the first share has all.

    Raises:
        InputError: the file, or the key log, cannot be read.
    """
    with open_file(path) as file:
        stream = unpacked(file)
        source: Capture | HarSource
        name = Path(shown(path)).name
        if is_capture(stream):
            from neffos_conformance.recordings.capture import Capture  # with much others need not
            from neffos_conformance.recordings.tls import read_keys

            keys = read_keys(reading.keylog)
            source = Capture(stream, name, native=reading.native, keys=keys, share=share)
        elif is_har(stream.peek()):
            from neffos_conformance.recordings.har import HarSource

            source = HarSource(stream, name, native=reading.native, share=share)
        else:
            sieve = Sieve(is_first=not share.number) if share.count > 1 else None
            return _checked(read_lines(stream, sieve), file, progress, share, sieve=sieve)
        report = _checked(source.items(), file, progress, source=source)
        report.unit = source.unit
        report.left_out = dict(source.left_out())
        return report


def check_stream(stream: BinaryIO, progress: Callable[[int], None] = lambda _: None) -> CheckReport:
    """Check a recording from a stream of lines; see ``check``."""
    return _checked(read_lines(stream), stream, progress)


def _checked(
    items: Iterable[Header | Entry | UnreadableLine],
    file: BinaryIO,
    progress: Callable[[int], None],
    share: Share = ALL,
    source: Capture | HarSource | None = None,
    sieve: Sieve | None = None,
) -> CheckReport:
    """Check what was read of a file, whose position is the progress."""
    report = CheckReport()
    monitors = Monitors({}, share, source, sieve)
    place = _line if source is None else source.place
    before = lines = messages = 0
    for item in items:
        lines += 1
        if type(item) is Entry:
            content = item.content
            found = monitors.feed(item)
            if type(content) is str or type(content) is bytes:
                messages += 1
                if found:
                    report.add(violations(found, item, content, report.header or {}), place(item))
            elif type(content) is Published:
                report.published += 1
                if found:
                    payload = text_if_utf8(content.payload)
                    report.add(violations(found, item, payload, report.header or {}), item.line)
            elif type(content) is ConnectionOpened and found:
                of_opening = violations(found, item, content.path, report.header or {})
                report.add(of_opening, place(item))
            elif (
                type(content) is ConnectionClosed
                and content.cut
                and len(report.notes) < MAX_VIOLATIONS
            ):
                report.notes.append(f"{place_of(item.connection)}: {content.cut}")
                report.note_order.append(place(item))
        elif type(item) is UnreadableLine:
            report.unreadable_lines += 1
            if len(report.unreadable) < MAX_VIOLATIONS:
                report.unreadable.append(item)
        elif isinstance(item, dict):
            report.header = item
            if source is not None:
                report.header_order = source.place()
            if item.get("broker") and share.number:
                break  # the first share has all
            monitors = Monitors(item, share, source, sieve)
        if not lines % PROGRESS_LINES and file.seekable():
            position = file.tell()
            progress(position - before)
            before = position
    if file.seekable():
        progress(file.tell() - before)
    report.lines, report.messages = lines, messages
    if source is not None:
        monitors.finish(source.ended)
    else:
        monitors.finish(None if sieve is None else sieve.last_time())
    report.pending_asks, report.pending_order = monitors.pending_asks, monitors.pending_order
    report.pending_ask_count = monitors.pending_ask_count
    report.suspicions = monitors.suspicions
    report.unchecked = monitors.given_up
    report.messages -= monitors.foreign
    report.lines -= monitors.foreign
    if share.number:  # the first share says the rest
        report = CheckReport(
            lines=report.messages + report.unreadable_lines,
            messages=report.messages,
            unreadable=report.unreadable,
            unreadable_lines=report.unreadable_lines,
            violations=report.violations,
            violation_order=report.violation_order,
            counts=report.counts,
            pending_asks=report.pending_asks,
            pending_order=report.pending_order,
            pending_ask_count=report.pending_ask_count,
        )
    report.find_stale_defects()
    return report
