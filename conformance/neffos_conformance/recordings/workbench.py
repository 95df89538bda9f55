"""The workbench: what its page in a browser asks for, answered without I/O.

The page is written in HTML by the templates that ``neffos-wire show`` has, and checked by the
functions that ``neffos-wire check`` has. The page calls ``Workbench.call``; the site contains this
package for it, with Python compiled to WebAssembly.
"""

from __future__ import annotations

import io
import json
import traceback
from code import InteractiveConsole
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from typing import Any, Final

import neffos_codec
import neffos_protocol
from neffos_conformance.cases.verdict import Verdict, verdict_on
from neffos_conformance.recordings.check_report import CheckReport, RecordedViolation, report_values
from neffos_conformance.recordings.checking import check_stream
from neffos_conformance.recordings.har import (
    Har,
    HarError,
    is_web_socket,
    read_connection,
    read_entries,
    transcript,
)
from neffos_conformance.recordings.observed_state import ObservedState, state_of
from neffos_conformance.recordings.page import environment, fragment, page
from neffos_conformance.recordings.pasted import read_pasted
from neffos_conformance.recordings.sequence import (
    DEFAULT_LIMIT,
    Arrow,
    ArrowKind,
    Diagram,
    DiagramRow,
    SequenceReader,
    read_diagram,
)
from neffos_conformance.recordings.sharing import masked_lines, pack, unpack
from neffos_conformance.wire.files import without_mark
from neffos_conformance.wire.packed import DamagedError, InputError, is_capture, is_har, unpacked
from neffos_conformance.wire.payloads import payload_text
from neffos_conformance.wire.transcript import lines
from neffos_protocol.catalogue import requirement
from neffos_protocol.text import visible

MAX_OPENED: Final = 1 << 29
"""Bytes of a file after unpacking: a browser gives WebAssembly a few gigabytes in all."""

MAX_RECORDINGS: Final = 256
"""Recordings that one HAR becomes: more than a page has connections."""

MAX_OUTPUT: Final = 20_000
"""Characters that one input to the console may print."""

CAPTURE: Final = "captures of packets take scapy, which is not here. Try: neffos-wire check FILE"

Progress = Callable[[int], None]


@dataclass(slots=True)
class Source:
    """A recording that was opened.

    Attributes:
        name: its name, fit to be shown.
        data: its lines.
        unknown: sentences on what is unknown of it. If there are any, only violations that one
            message shows by itself are reported.
        report: what was found in it, once it has been checked.
    """

    name: str
    data: bytes
    unknown: tuple[str, ...] = ()
    report: CheckReport | None = None

    def is_shown(self, violation: RecordedViolation) -> bool:
        """Whether a violation is certain, whatever is unknown of the recording."""
        return not self.unknown or violation.requirement.startswith("FR-")


def sources(name: str, data: bytes) -> Iterator[Source]:
    """Give the recordings of a file: itself, those of a HAR, or pasted frames.

    Args:
        name: the name of the file.
        data: its content, plain or compressed.

    Raises:
        InputError, HarError, DamagedError: it cannot be used; the text says why.
    """
    name = visible(name, limit=200)
    raw: Any = io.BytesIO(data)  # a buffer can stand before it
    file = io.BufferedReader(raw)
    if is_capture(file):
        raise InputError(CAPTURE)
    data = without_mark(unpacked(file).read(MAX_OPENED))
    if is_har(data):
        yield from _of_har(name, data)
    elif data.lstrip().startswith(b"{"):
        yield Source(name, data)
    else:
        header, entries, unknown = read_pasted(data.decode("utf-8", "replace"))
        yield Source(name, b"".join(lines(header, entries)), tuple(unknown))


def _of_har(name: str, data: bytes) -> Iterator[Source]:
    har = Har()
    count = 0
    for number, entry in read_entries(io.BytesIO(data), har):
        if not is_web_socket(entry):
            continue
        connection = read_connection(number, entry)
        if not (connection.contents and connection.speaks_neffos):
            continue
        count += 1
        if count > MAX_RECORDINGS:
            return
        recorded = transcript(connection, f"{name}, entry {number}", har)
        yield Source(f"{name}, connection {count}", b"".join(lines(*recorded)))
    if not count:
        raise HarError(
            "no connection in it speaks neffos. Try: a HAR saved while the page connects"
        )


class Workbench:
    """Holds what was opened, and answers the page.

    Attributes:
        opened: the recordings, in the order in which they were opened.
    """

    def __init__(self) -> None:
        self.opened: list[Source] = []
        self._console = Console(self)

    def call(
        self, method: str, arguments: str, data: bytes = b"", progress: Progress = lambda _: None
    ) -> str:
        """Answer one question of the page.

        Args:
            method: ``take``, ``link``, ``check``, ``view``, ``share`` or ``run``.
            arguments: its arguments, as JSON.
            data: the content of a file.
            progress: is called now and then with the number of bytes that were read since.

        Returns:
            The answer as JSON; an object with ``problem`` if there is none.
        """
        values = json.loads(arguments)
        try:
            answer = self._answer(method, values, data, progress)
        except (InputError, HarError, DamagedError, ValueError) as error:
            answer = {"problem": visible(str(error), limit=400)}
        return json.dumps(answer)

    def _answer(self, method: str, values: Any, data: bytes, progress: Progress) -> dict[str, Any]:
        match method:
            case "take":
                return self._open(list(sources(values["name"], data)))
            case "link":
                return self._open(list(sources("a link", unpack(values["packed"]))))
            case "check":
                return self.check(values["index"], progress)
            case "view":
                return self.view(**values)
            case "share":
                return self.share(values["index"])
            case "run":
                return self._console.run(values["line"])
        raise ValueError(f"there is no method {method!r}")

    def _open(self, found: list[Source]) -> dict[str, Any]:
        first = len(self.opened)
        self.opened += found
        return {
            "recordings": [
                {"index": first + at, "name": each.name} for at, each in enumerate(found)
            ]
        }

    def check(self, index: int, progress: Progress = lambda _: None) -> dict[str, Any]:
        """Check a recording.

        Returns:
            ``values``: what ``neffos-wire check --json`` says of it. ``html``: the same for people.
        """
        source = self.opened[index]
        report = check_stream(io.BytesIO(source.data), progress)
        report.violations = [each for each in report.violations if source.is_shown(each)]
        if source.unknown:
            report.notes = [*source.unknown, *report.notes]
            certain = {each.requirement for each in report.violations}
            for key in [key for key in report.counts if key[0] not in certain]:
                del report.counts[key]
        source.report = report
        return {"values": report_values(report), "html": _report(source.name, report)}

    def view(
        self,
        index: int,
        first: int = 1,
        connection: int | None = None,
        kinds: list[str] | None = None,
        words: str = "",
        *,
        violating: bool = False,
        limit: int = DEFAULT_LIMIT,
    ) -> dict[str, Any]:
        """Draw a part of a recording.

        Args:
            index: the recording.
            first: the first line to show.
            connection: show this one only.
            kinds: show arrows of these kinds only.
            words: show arrows only whose sentence or payload contains this text, in any case.
            violating: show only arrows that violate a requirement.
            limit: show no more arrows than this.

        Returns:
            ``html``: the picture, and the messages with the state after each. ``rows``: the lines
            shown, and whether each violates a requirement. ``next``: the line after them, or
            ``null``.
        """
        source = self.opened[index]
        states: dict[int, ObservedState] = {}
        wanted = words.casefold()

        def shown(row: DiagramRow, reader: SequenceReader) -> DiagramRow | None:
            if not isinstance(row, Arrow):
                return None if kinds or wanted or violating else row
            certain = tuple(each for each in row.violations if source.is_shown(each))
            row = replace(row, violations=certain)
            if (violating and not certain) or (kinds and row.kind.value not in kinds):
                return None
            if wanted and wanted not in f"{row.words} {payload_text(row.payload or '')}".casefold():
                return None
            if row.payload is not None and not row.is_published:
                states[row.line] = state_of(reader.conversation(row.connection))
            return row

        diagram = read_diagram(
            io.BytesIO(source.data),
            connection=connection,
            first=first,
            limit=limit,
            shown=shown,
            is_ended_by_limit=True,
        )
        following = None if diagram.is_read_whole else diagram.rows[-1].line + 1
        diagram.before = diagram.hidden_violations = 0
        diagram.is_read_whole, diagram.remarks = True, ()
        return {
            "html": fragment(diagram, states),
            "rows": [
                [row.line, isinstance(row, Arrow) and bool(row.violations)] for row in diagram.rows
            ],
            "next": following,
        }

    def share(self, index: int) -> dict[str, Any]:
        """Give a recording without the secrets that one can see: ``recording``, ``page``, ``link``.

        ``page`` has the first messages, and needs nothing; ``link`` is empty if it would be long.
        """
        source = self.opened[index]
        data = b"".join(masked_lines(io.BytesIO(source.data)))
        states: dict[int, ObservedState] = {}

        def shown(row: DiagramRow, reader: SequenceReader) -> DiagramRow:
            if isinstance(row, Arrow) and row.payload is not None and not row.is_published:
                states[row.line] = state_of(reader.conversation(row.connection))
            return row

        drawn: Diagram = read_diagram(io.BytesIO(data), shown=shown)
        return {
            "recording": data.decode("utf-8", "replace"),
            "page": page(drawn, source.name, states),
            "link": "" if source.unknown else pack(data),
        }


def _report(name: str, report: CheckReport) -> str:
    first: dict[tuple[str, str], RecordedViolation] = {}
    for each in report.violations:
        first.setdefault((each.requirement, each.role), each)
    rows = [
        (violation, report.counts[key], requirement(key[0]), verdict_on((key[0],)))
        for key, violation in first.items()
    ]
    rows.sort(key=lambda row: list(Verdict).index(row[3]))
    template = environment().get_template("workbench_report.html")
    return template.render(name=name, report=report, rows=rows, remarks=list(report.remarks()))


KINDS: Final = tuple(each.value for each in ArrowKind)
"""What a filter of the page can be."""


class Console:
    """A Python prompt with the codec, the session and what was opened."""

    def __init__(self, workbench: Workbench) -> None:
        names: dict[str, Any] = {"workbench": workbench, "__name__": "__console__"}
        for package in (neffos_codec, neffos_protocol):
            names |= {name: getattr(package, name) for name in package.__all__}
        self._console = InteractiveConsole(names)

    def run(self, line: str) -> dict[str, Any]:
        """Run a line; give what it printed, and whether more lines belong to it."""
        printed = io.StringIO()
        with redirect_stdout(printed), redirect_stderr(printed):
            try:
                more = self._console.push(line)
            except SystemExit:
                more = False
                traceback.print_exc(limit=0)
        text = printed.getvalue()
        cut = "\n…" if len(text) > MAX_OUTPUT else ""
        return {"printed": text[:MAX_OUTPUT] + cut, "more": more}
