"""Checks recordings: who violated which requirement, in which line, with which bytes.

A recording is read once, line by line. Each of its connections has its own monitor, and the broker
of a cluster has one beside them. Lines that cannot be read are reported, and the rest is checked
nevertheless.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from neffos_codec import Native
from neffos_conformance.cases.script import BROKER
from neffos_conformance.cases.verdict import Verdict, verdict_on
from neffos_conformance.recordings.openings import opening_violations
from neffos_conformance.wire.closing import ConnectionClosed
from neffos_conformance.wire.packed import is_capture, is_har, open_file, shown, unpacked
from neffos_conformance.wire.payloads import payload_values, text_if_utf8
from neffos_conformance.wire.transcript import (
    ConnectionOpened,
    Entry,
    Header,
    Published,
    UnreadableLine,
    read_lines,
)
from neffos_protocol import Monitor, Role, Violation
from neffos_protocol.catalogue import requirement
from neffos_protocol.cluster_monitor import ClusterMonitor
from neffos_protocol.conversation import ObservedAsk
from neffos_protocol.exchange import CHANNELS
from neffos_protocol.text import cut, visible

if TYPE_CHECKING:
    from neffos_conformance.recordings.capture import Capture
    from neffos_conformance.recordings.har import HarSource

MAX_VIOLATIONS: Final = 100
"""Violations of one recording that are kept whole. Of a requirement that is violated again and
again, the count is enough."""

MAX_PAYLOAD: Final = 4096
"""Characters or bytes that are kept of a violating message: enough to see it."""

MAX_EXPLANATION: Final = 400
"""Characters of an explanation, which may quote a message."""

REMARKED: Final = 1.0
"""Seconds without a reply after which an ask is remarked on: an ordinary reply takes milliseconds,
and whoever ends a session at once has not waited for it."""

MAX_NAME: Final = 80
"""Characters of a name or a token in a sentence."""

MAX_PENDING_ASKS: Final = 4096
"""Asks of a connection whose line and time are remembered; a correct peer has a handful."""

MAX_CONNECTIONS: Final = 1024
"""Connections that are checked at the same time. Beyond that, the oldest is given up."""

MAX_FORMER: Final = 16_384
"""Closed connections that are remembered: some MiB. Of older ones only the highest number is,
since connections are numbered in the order in which they open."""

PROGRESS_LINES: Final = 8192
"""Lines between two reports of progress: some milliseconds."""


@dataclass(frozen=True, slots=True)
class RecordedViolation:
    """A violation of a requirement in a recording.

    Attributes:
        line: the line of the file.
        connection: the number of the connection, or ``BROKER``.
        requirement: the requirement's ID.
        role: the peer that violated it: ``"client"`` or ``"server"``.
        explanation: what that peer did, fit to be shown.
        payload: the message that shows it, or its beginning.
        size: its length, in characters or bytes.
        is_known: the recording's header names this violation.
    """

    line: int
    connection: int
    requirement: str
    role: str
    explanation: str
    payload: str | bytes
    size: int
    is_known: bool

    def __str__(self) -> str:
        known = " (known)" if self.is_known else ""
        return f"{self.requirement} violated by the {self.role}{known}: {self.explanation}"

    @property
    def sentence(self) -> str:
        """The text of the requirement, on one line."""
        return " ".join(requirement(self.requirement).text.split())

    @property
    def verdict(self) -> Verdict:
        """The verdict by the level of the requirement."""
        return verdict_on((self.requirement,))


def violations(
    found: Sequence[Violation], entry: Entry, payload: str | bytes, header: Header
) -> Iterator[RecordedViolation]:
    """Give the violations of a message.

    Args:
        found: what the monitor reports of it.
        entry: its line in the recording.
        payload: its payload.
        header: the recording's header.
    """
    defects = header.get("defects", {})
    for each in found:
        id_, role = each.requirement, str(each.role)
        yield RecordedViolation(
            entry.line,
            entry.connection,
            id_,
            role,
            cut(visible(each.explanation), MAX_EXPLANATION),
            payload[:MAX_PAYLOAD],
            len(payload),
            defects.get(id_) == role,
        )


def place_of(connection: int) -> str:
    """Say where something passed: ``connection 1``, or ``the broker``."""
    return "the broker" if connection == BROKER else f"connection {connection}"


@dataclass(frozen=True, slots=True)
class UnansweredAsk:
    """An ask that has no reply when its connection or the recording ends.

    That violates no requirement by itself: the reply may have been on its way. After many seconds
    it shows a peer that does not answer.

    Attributes:
        line: the line of the ask.
        connection: the number of its connection, or ``BROKER``.
        role: the peer that asked: ``"client"`` or ``"server"``.
        token: its token, fit to be shown; empty for a handshake request.
        kind: what it asks for, likewise.
        seconds: from the ask to the end.
    """

    line: int
    connection: int
    role: str
    token: str
    kind: str
    seconds: float

    def __str__(self) -> str:
        token = f" ({self.token})" if self.token else ""
        return f"the {self.role}'s {self.kind}{token} has no reply after {self.seconds:.3f} s"


def remarks(
    asks: Sequence[UnansweredAsk], count: int, seconds: float = REMARKED, unit: str = "line"
) -> Iterator[str]:
    """Give a sentence on each ask that had no reply for some seconds.

    Args:
        asks: the first ones.
        count: the number of all.
        seconds: the time.
        unit: what their numbers count.
    """
    for each in asks:
        if each.seconds >= seconds:
            yield f"{unit} {each.line}, {place_of(each.connection)}: {each}"
    if count > len(asks):
        yield f"… {count} asks have no reply"


@dataclass(slots=True)
class CheckReport:
    """The result of checking one recording.

    Attributes:
        header: its header; ``None`` if that cannot be read.
        lines: the number of its lines.
        messages: the number of the messages on its connections.
        published: the number of messages on the broker of its cluster.
        suspicions: sentences on what violates a requirement, unless it has another cause that a
            recording cannot show.
        violations: the first violations.
        counts: the number of violations by requirement and role, known ones included.
        unreadable: the first lines that cannot be read.
        unreadable_lines: the number of lines that cannot be read.
        stale_defects: violations that the header names, but that do not occur.
        unchecked: the number of connections given up, there being too many.
        unit: what numbers count: ``line``, ``packet`` in a capture, or ``message`` of a connection
            in a HAR, where connections and what cannot be read have the number of their entry.
        notes: sentences on what is unknown, the first ones.
        pending_asks: the first asks without a reply.
        pending_ask_count: the number of asks without a reply.
    """

    header: Header | None = None
    lines: int = 0
    messages: int = 0
    published: int = 0
    suspicions: list[str] = field(default_factory=list)
    violations: list[RecordedViolation] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    unreadable: list[UnreadableLine] = field(default_factory=list)
    unreadable_lines: int = 0
    stale_defects: list[str] = field(default_factory=list)
    unchecked: int = 0
    unit: str = "line"
    notes: list[str] = field(default_factory=list)
    pending_asks: Sequence[UnansweredAsk] = ()
    pending_ask_count: int = 0

    def remarks(self, *, all_of_them: bool = False) -> Iterator[str]:
        """Give the suspicions, and a sentence on each ask without a reply.

        Args:
            all_of_them: also on asks that ended sooner than after ``REMARKED`` seconds.
        """
        yield from self.suspicions
        seconds = 0.0 if all_of_them else REMARKED
        yield from remarks(self.pending_asks, self.pending_ask_count, seconds, self.unit)

    @property
    def defects(self) -> dict[str, str]:
        """The violations that the header names: the role by the requirement."""
        defects: dict[str, str] = (self.header or {}).get("defects", {})
        return defects

    @property
    def verdict(self) -> Verdict:
        """The worst of all: ``ERROR`` if a line cannot be read or a defect is stale."""
        if self.unreadable_lines or self.stale_defects or self.header is None or not self.messages:
            return Verdict.ERROR
        defects = self.defects
        verdicts = {verdict_on((id_,)) for id_, role in self.counts if defects.get(id_) != role}
        return next((each for each in _WORST_FIRST if each in verdicts), Verdict.PASS)

    def add(self, found: Iterable[RecordedViolation]) -> None:
        """Add the violations of one message."""
        for each in found:
            key = each.requirement, each.role
            self.counts[key] += 1
            if self.counts[key] == 1 or len(self.violations) < MAX_VIOLATIONS:
                self.violations.append(each)  # the first of each is always kept


_WORST_FIRST: Final = (Verdict.FAIL, Verdict.NON_STRICT, Verdict.INFORMATIONAL)


def report_values(report: CheckReport) -> dict[str, Any]:
    """Give a report as values for JSON: what ``check --json`` says of one recording."""
    return {
        "verdict": report.verdict.value,
        "header": report.header,
        "lines": report.lines,
        "messages": report.messages,
        "published": report.published,
        "suspicions": report.suspicions,
        "unreadable_lines": report.unreadable_lines,
        "unreadable": [asdict(each) for each in report.unreadable],
        "stale_defects": report.stale_defects,
        "unchecked_connections": report.unchecked,
        "unit": report.unit,
        "notes": report.notes,
        "pending_ask_count": report.pending_ask_count,
        "pending_asks": [asdict(each) for each in report.pending_asks],
        "counts": [
            {"requirement": id_, "role": role, "count": count}
            for (id_, role), count in report.counts.items()
        ],
        "violations": [_violation_values(each) for each in report.violations],
    }


def _violation_values(violation: RecordedViolation) -> dict[str, Any]:
    values = asdict(violation) | {"verdict": violation.verdict.value}
    values["known"] = values.pop("is_known")
    return payload_values(values.pop("payload")) | values


def _kind_of(ask: ObservedAsk) -> str:
    """Say what an ask asks for."""
    names = [visible(each, limit=MAX_NAME) for each in (ask.event, ask.namespace, ask.room)]
    event, namespace, room = names
    where = namespace or "the empty namespace"
    if ask.change is None:
        return f"event {event} in {where}{'/' if room else ''}{room}"
    return f"{ask.change} of {f'room {room} of ' if ask.room else ''}{where}"


class Monitors:
    """Checks connections concurrently, each until a peer ends it; its memory is bounded.

    After the end of a connection, messages of the other peer may still arrive; they prove nothing.
    A connection that was given up is not checked again: seen from the middle, a conforming peer
    may seem to violate a requirement.

    Args:
        native: what becomes of payloads that are not frames.
        cluster: observes what is published, if the servers have a broker.

    Attributes:
        given_up: the number of connections given up.
        pending_asks: the first asks without a reply at the end of their connection, and of all
            others after ``finish``.
        pending_ask_count: their number.
        suspicions: as in ``CheckReport``, the first ones.
        cluster: the argument.
    """

    def __init__(
        self, native: Native = Native.NEVER, cluster: ClusterMonitor | None = None
    ) -> None:
        self.given_up = 0
        self.suspicions: list[str] = []
        self.cluster = cluster
        self.pending_asks: list[UnansweredAsk] = []
        self.pending_ask_count = 0
        self._now = 0.0
        self._asked: dict[int, dict[int, tuple[int, float]]] = {BROKER: {}}
        self._native = native
        self._open: dict[int, Monitor] = {}
        self._former: dict[int, None] = {}
        self._highest_forgotten = 0

    @classmethod
    def of(cls, header: Header) -> Monitors:
        """Give the monitors for a recording with a header."""
        broker = header.get("broker")
        cluster = None
        if broker:
            cluster = ClusterMonitor(CHANNELS[broker["kind"]], broker.get("prefix", ""))
        return cls(Native(header.get("native", Native.NEVER)), cluster)

    def feed(self, entry: Entry) -> Sequence[Violation]:
        """Take the next line of a connection, and give its violations."""
        line, time, connection, from_client, content = entry
        self._now = time
        monitor = self._open.get(connection)
        if monitor is None:
            if type(content) is Published:
                return self._published(entry, content)
            monitor = self._begin(connection)
            if monitor is None:
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
            if seen.ask is not None or seen.handshake is not None:
                number = seen.number if seen.ask is None else seen.ask.number
                if number == seen.number:
                    self._remember_ask(entry, number)
                else:
                    self._asked[connection].pop(number, None)
            return found
        if type(content) is ConnectionOpened:
            if self.cluster is not None:
                self.cluster.open(connection, content.node)
            return list(opening_violations(content))
        if type(content) is ConnectionClosed:
            self._end(connection)
            self._remember(connection)
        return ()

    def monitor(self, connection: int) -> Monitor | None:
        """Give the monitor of a connection; ``None`` if it is not checked, or not any more."""
        return self._open.get(connection)

    def finish(self) -> None:
        """Take the end of the recording."""
        for connection in list(self._open):
            self._end(connection)
        if self.cluster is not None:
            for ask in self.cluster.pending.values():
                self._note(BROKER, ask.number, Role.SERVER, ask.token, _kind_of(ask))

    def _published(self, entry: Entry, content: Published) -> Sequence[Violation]:
        cluster = self.cluster
        if cluster is None:
            return ()
        found = cluster.publish(*content)
        if cluster.frame is not None and cluster.frame.token:
            self._remember_ask(entry, cluster.number)
        return found

    def _remember_ask(self, entry: Entry, number: int) -> None:
        asked = self._asked[entry.connection]
        asked[number] = entry.line, entry.time
        if len(asked) > MAX_PENDING_ASKS:
            del asked[next(iter(asked))]

    def _end(self, connection: int) -> None:
        """Note the asks of a connection that have no reply."""
        seen, asked = self._open.pop(connection).conversation, self._asked[connection]
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
            self._note(connection, number, role, token, kind)
        del self._asked[connection]

    def _note(self, connection: int, number: int, role: Role, token: str, kind: str) -> None:
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

    def _begin(self, connection: int) -> Monitor | None:
        if connection in self._former:
            return None
        if connection <= self._highest_forgotten:  # it may have been checked, or not
            self.given_up += 1
            self._remember(connection)
            return None
        if len(self._open) >= MAX_CONNECTIONS:
            oldest = next(iter(self._open))
            del self._open[oldest], self._asked[oldest]
            if self.cluster is not None:
                self.cluster.close(oldest)
            self._remember(oldest)
            self.given_up += 1
        self._asked[connection] = {}
        monitor = self._open[connection] = Monitor(native=self._native)
        return monitor

    def _remember(self, connection: int) -> None:
        self._former[connection] = None
        if len(self._former) > MAX_FORMER:
            oldest = next(iter(self._former))
            del self._former[oldest]
            self._highest_forgotten = max(self._highest_forgotten, oldest)


@dataclass(frozen=True, slots=True)
class Reading:
    """What HARs and captures do not say of themselves.

    Attributes:
        native: what becomes of payloads that are not frames, as ``neffos_codec.Native`` has it.
        keylog: a file with keys of TLS, as ``SSLKEYLOGFILE`` names one.
    """

    native: str = "never"
    keylog: Path | None = None


def check(
    path: Path,
    progress: Callable[[int], None] = lambda _: None,
    reading: Reading = Reading(),
) -> CheckReport:
    """Check a recording, a capture of packets or a HAR, plain or compressed.

    Args:
        path: the file, or ``STANDARD_INPUT``.
        progress: called now and then with the number of bytes of the file that were read since.
        reading: how to read it.

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
            source = Capture(stream, name, native=reading.native, keys=keys)
        elif is_har(stream.peek()):
            from neffos_conformance.recordings.har import HarSource

            source = HarSource(stream, name, native=reading.native)
        else:
            return _checked(read_lines(stream), file, progress)
        report = _checked(source.items(), file, progress)
        report.unit = source.unit
        report.notes += source.notes()
        return report


def check_stream(stream: BinaryIO, progress: Callable[[int], None] = lambda _: None) -> CheckReport:
    """Check a recording from a stream of lines; see ``check``."""
    return _checked(read_lines(stream), stream, progress)


def _checked(
    items: Iterable[Header | Entry | UnreadableLine],
    file: BinaryIO,
    progress: Callable[[int], None],
) -> CheckReport:
    """Check what was read of a file, whose position is the progress."""
    report = CheckReport()
    monitors = Monitors()
    before = 0
    for item in items:
        report.lines += 1
        if type(item) is Entry:
            content = item.content
            found = monitors.feed(item)
            if type(content) is str or type(content) is bytes:
                report.messages += 1
                if found:
                    report.add(violations(found, item, content, report.header or {}))
            elif type(content) is Published:
                report.published += 1
                if found:
                    payload = text_if_utf8(content.payload)
                    report.add(violations(found, item, payload, report.header or {}))
            elif type(content) is ConnectionOpened and found:
                report.add(violations(found, item, content.path, report.header or {}))
            elif (
                type(content) is ConnectionClosed
                and content.cut
                and len(report.notes) < MAX_VIOLATIONS
            ):
                report.notes.append(f"{place_of(item.connection)}: {content.cut}")
        elif type(item) is UnreadableLine:
            report.unreadable_lines += 1
            if len(report.unreadable) < MAX_VIOLATIONS:
                report.unreadable.append(item)
        elif isinstance(item, dict):
            report.header = item
            monitors = Monitors.of(item)
        if not report.lines % PROGRESS_LINES and file.seekable():
            position = file.tell()
            progress(position - before)
            before = position
    if file.seekable():
        progress(file.tell() - before)
    monitors.finish()
    report.pending_asks, report.pending_ask_count = (
        monitors.pending_asks,
        monitors.pending_ask_count,
    )
    report.suspicions = monitors.suspicions
    report.unchecked = monitors.given_up
    stale = (id_ for id_, role in report.defects.items() if (id_, role) not in report.counts)
    report.stale_defects = list(stale)
    return report
