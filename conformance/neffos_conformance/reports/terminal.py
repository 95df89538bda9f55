"""A run on the terminal: how far it is, and what came of it, with what failed first.

What peers said is never read as markup or as an escape of the terminal: it comes as ``Text``, in
which control characters have become visible.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.reports.findings import (
    GRAVITY,
    SUITE,
    Step,
    again,
    by_closing,
    by_family,
    by_gravity,
    cases_sentence,
    deviations,
    is_said,
    open_ends,
    peer_name,
    selected,
    sentence,
    share_sentence,
    steps,
    told,
    unsupported,
)
from neffos_conformance.runner.result import Result
from neffos_conformance.runner.run_report import RunReport
from neffos_conformance.wire.display import COLOURS, SHOWN
from neffos_conformance.wire.text import visible

MAX_WHOLE: Final = 30
"""Results that are shown with their bytes, unless ``verbose``; the ids of further ones stand by
what was wrong. A peer that fails everywhere is told so soon enough."""

MAX_ALIKE: Final = 3
"""Of cases that could not be run for one and the same reason, those that are shown whole."""

MAX_STEPS: Final = 40
"""What is shown of one case's traffic, unless ``verbose``: half of it from the beginning, and half
from the end."""

MAX_IDS: Final = 12
"""Ids in a list on one line, unless ``verbose``."""

MIN_WIDTH: Final = 20
"""Cells for what stands behind a head, however narrow the terminal is."""

SHOWN_VERBOSE: Final = 2_000
"""Characters of a payload where ``verbose`` is asked for."""

_CONNECTIONS: Final = ("cyan", "yellow", "magenta", "green", "blue")
"""The colours of connections; a sixth has that of the first."""


class Live:
    """Shows how far a run is: the counts by verdict, as results come.

    It writes to standard error, and only where that is a terminal.

    Args:
        total: how many cases are run.
        console: where to write instead.
    """

    def __init__(self, total: int, console: Console | None = None) -> None:
        console = console or Console(stderr=True)
        self.counts: Counter[Verdict] = Counter()
        self._progress = Progress(
            TextColumn("running the cases"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("", total=total)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def add(self, result: Result) -> None:
        """Count a result."""
        self.counts[result.verdict] += 1
        said = " ".join(
            f"[{COLOURS[each]}]{self.counts[each]} {each.value}[/]"
            for each in GRAVITY
            if self.counts[each]
        )
        self._progress.update(self._task, advance=1, description=said)


def show(console: Console, judgement: RunReport, verbose: bool = False) -> None:
    """Print what failed, with the bytes, then what is known, and the table by family.

    Args:
        console: where to.
        judgement: what the run found.
        verbose: show all cases, each with all that went by.
    """
    sheet = _Sheet(console)
    left = judgement.unexplained()
    whole = by_gravity(judgement.results if verbose else left)
    if not verbose:
        whole = _without_alike(whole)[:MAX_WHOLE]
    for result in whole:
        _show_case(sheet, judgement, result, verbose=verbose)
    ids = {result.case.id for result in whole}
    more = [result for result in by_gravity(left) if result.case.id not in ids]
    alike: dict[tuple[Verdict, str], list[str]] = {}
    for result in more:
        alike.setdefault((result.verdict, result.explanation), []).append(result.case.id)
    for (verdict, explanation), same in alike.items():
        style = f"bold {COLOURS[verdict]}"
        sheet.put((f"{verdict.value} ", style), told(explanation), ": ", (", ".join(same), "bold"))
    if more:
        sheet.put((f"{len(more)} are shown without what went by; --verbose shows all", "dim"))
        sheet.put()
    _show_lists(sheet, judgement, verbose=verbose)
    console.print(_table(judgement, is_ascii=sheet.is_ascii))
    sheet.put(
        f"{share_sentence(judgement)}; {cases_sentence(judgement)}; "
        f"peer {peer_name(judgement.peer)}; suite {SUITE} {version(SUITE)}"
    )


class _Sheet:
    """A console that is written on line by line, and shows whatever is put on it."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.is_ascii = console.options.ascii_only

    def text(self, *parts: str | tuple[str, str]) -> Text:
        """Give parts of a line, each with its style or without."""
        text = Text()
        for part in parts:
            content, style = (part, "") if isinstance(part, str) else part
            text.append(self.plain(content), style)
        return text

    def plain(self, content: str) -> str:
        if not self.is_ascii:
            return visible(content)
        return visible(content.replace("…", "..."), ascii_only=True)

    def put(self, *parts: str | tuple[str, str]) -> None:
        """Write a line; what has no room on it goes on below, a little to the right."""
        first, *rest = self.text(*parts).wrap(self.console, self.console.width - 2) or [Text()]
        self.console.print(first, soft_wrap=True)
        for line in rest:
            self.console.print(Text("  ") + line, soft_wrap=True)

    def row(self, head: Text, *parts: str | tuple[str, str]) -> None:
        """Write a line behind a head; what has no room on it goes on below, likewise indented."""
        width = max(MIN_WIDTH, self.console.width - head.cell_len)
        for number, line in enumerate(self.text(*parts).wrap(self.console, width)):
            line.rstrip()
            lead = Text(" " * head.cell_len) if number else head
            self.console.print(lead + line, soft_wrap=True)

    def fact(self, name: str, *parts: str | tuple[str, str]) -> None:
        """Write a named line of a case."""
        self.row(Text(f"  {name:<8} ", "dim"), *parts)


def _bold(result: Result) -> str:
    return f"bold {COLOURS[result.verdict]}"


def _without_alike(results: Sequence[Result]) -> list[Result]:
    """Leave out all but the first of the cases that could not be run for the same reason."""
    seen: Counter[str] = Counter()
    found = []
    for result in results:
        if result.verdict is Verdict.ERROR:
            seen[result.explanation] += 1
        if seen[result.explanation] <= MAX_ALIKE:
            found.append(result)
    return found


def _show_case(sheet: _Sheet, judgement: RunReport, result: Result, *, verbose: bool) -> None:
    case = result.case
    sheet.put((f"{result.verdict.value} ", _bold(result)), (f"{case.id} ", "bold"), case.title)
    if result.verdict not in (Verdict.PASS, Verdict.UNSUPPORTED):
        for id_ in case.requirements:
            sheet.fact(id_, (sentence(id_), "italic"))
        if case.why:
            sheet.fact("why", case.why)
    _show_steps(sheet, result, verbose=verbose)
    if result.expected and not is_said(result):
        sheet.fact("expected", result.expected)
        sheet.fact("seen", told(result.seen) or "nothing")
    if result.explanation:
        sheet.fact("so", (told(result.explanation), _bold(result)))
    if result.closing.explanation and result.closing.explanation != result.explanation:
        closing = result.closing
        said = f"{closing.requirement}, {closing.verdict.value}: {told(closing.explanation)}"
        sheet.fact("closing", (said, COLOURS[closing.verdict]))
    if case.id in judgement.known:
        sheet.fact("known", told(judgement.known[case.id].reason))
    if result.verdict is not Verdict.PASS:
        command = sheet.text(("  again    ", "dim"), again(judgement, case))
        sheet.console.print(command, soft_wrap=True)  # to be copied as one line
    sheet.put()


def _show_steps(sheet: _Sheet, result: Result, *, verbose: bool) -> None:
    found = steps(result, shown=SHOWN_VERBOSE if verbose else SHOWN)
    if not found:
        return
    are_many = len({step.connection for step in found}) > 1
    times = [f"{step.time * 1000:.1f} ms" for step in found]
    wide = max(map(len, times))
    failing = next((number for number, step in enumerate(found) if step.is_failing), None)
    before = -1
    for number in selected(len(found), len(found) if verbose else MAX_STEPS, failing):
        if number > before + 1:
            sheet.row(Text(" " * (wide + 7)), (f"… {number - before - 1} more …", "dim"))
        before = number
        head = _head(sheet, found[number], times[number].rjust(wide), result, are_many=are_many)
        style = _bold(result) if found[number].is_failing else _faint(found[number])
        sheet.row(head, (found[number].text, style))


def _head(sheet: _Sheet, step: Step, time: str, result: Result, *, are_many: bool) -> Text:
    """Give what stands before a message: a mark, the time, the connection and the direction."""
    colour = _CONNECTIONS[(step.connection - 1) % len(_CONNECTIONS)]
    to_server, to_client, mark = ("-->", "<--", "!") if sheet.is_ascii else ("──►", "◄──", "✗")
    arrow = "   " if step.is_missing else to_server if step.from_client else to_client
    bad = _bold(result)
    return Text.assemble(
        (mark if step.is_failing else " ", bad),
        " ",
        (" " * len(time) if step.is_missing else time, "dim"),
        (f" {step.connection} " if are_many else " ", colour),
        (f"{arrow} ", bad if step.is_failing else colour),
    )


def _faint(step: Step) -> str:
    return "dim" if step.leads_up else ""


def _show_lists(sheet: _Sheet, judgement: RunReport, *, verbose: bool) -> None:
    """Print what is told of several cases together."""
    known = deviations(judgement)
    for result, deviation in known:
        sheet.put(
            ("known ", "bold"),
            (f"{result.verdict.value} ", COLOURS[result.verdict]),
            (f"{result.case.id} ", "bold"),
            f"{told(deviation.reason)} ",
            (told(deviation.link), "dim"),
        )
    for complaint in judgement.complaints:
        sheet.put(("known deviations: ", "bold magenta"), told(complaint))
    for (id_, explanation, verdict), ids in open_ends(judgement).items():
        sheet.put(
            ("closing ", "bold"),
            (f"{verdict.value} ", f"bold {COLOURS[verdict]}"),
            f"{id_}: {told(explanation)}: ",
            (_list(ids, verbose=verbose), "dim"),
        )
    for explanation, ids in unsupported(judgement).items():
        sheet.put(
            ("unsupported ", "bold dim"),
            f"{told(explanation)}: ",
            (_list(ids, verbose=verbose), "dim"),
        )
    if known or judgement.complaints or open_ends(judgement) or unsupported(judgement):
        sheet.put()


def _list(ids: Sequence[str], *, verbose: bool) -> str:
    shown = ids if verbose else ids[:MAX_IDS]
    more = f" and {len(ids) - len(shown)} more" if len(shown) < len(ids) else ""
    return ", ".join(shown) + more


def _table(judgement: RunReport, *, is_ascii: bool) -> Table:
    table = Table(title="cases by family of requirements", title_justify="left", safe_box=is_ascii)
    table.add_column("family")
    for verdict in Verdict:
        table.add_column(verdict.value, justify="right", style=COLOURS[verdict])
    for family, counts in by_family(judgement).items():
        table.add_row(family, *_numbers(counts))
    table.add_section()
    table.add_row("all", *_numbers(judgement.counts()), style="bold")
    if closing := by_closing(judgement):
        table.add_row("closing", *_numbers(closing))
    return table


def _numbers(counts: Counter[Verdict]) -> Iterable[str]:
    return (str(counts[verdict] or "") for verdict in Verdict)
