"""A run on the terminal: its progress, then its results, with the failures first.

Text that a peer wrote is never read as markup or as a terminal escape: it is ``Text``, in which
control characters are visible.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from neffos_conformance import SUITE, VERSION
from neffos_conformance.cases.verdict import COLOURS, SEVERITY, Verdict
from neffos_conformance.reports import findings
from neffos_conformance.reports.findings import LoggedStep, bounded
from neffos_conformance.runner.result import Result
from neffos_conformance.runner.run_report import RunReport
from neffos_conformance.wire.console import Terminal
from neffos_conformance.wire.payloads import SHOWN
from neffos_protocol.text import visible

MAX_WHOLE: Final = 30
"""Results that are shown with their messages, unless ``verbose``; further ones are listed by their
explanation. Thirty show that a peer fails everywhere."""

MAX_ALIKE: Final = 3
"""Of the cases with an error of the same explanation, those that are shown whole."""

MAX_STEPS: Final = 40
"""Log entries of one case, from both ends, unless ``verbose``."""

MAX_IDS: Final = 12
"""IDs in a list on one line, unless ``verbose``."""

MAX_REASONS: Final = 10
"""Reasons for which cases were skipped, those with the most cases, unless ``verbose``."""

MIN_WIDTH: Final = 20
"""Cells for the text after a head, however narrow the terminal is."""

SHOWN_VERBOSE: Final = 2_000
"""Characters of a payload with ``verbose``."""

_CONNECTIONS: Final = ("cyan", "yellow", "magenta", "green", "blue")
"""The colours of connections; a sixth has the colour of the first."""


@contextmanager
def progress_display(
    total: int | None, console: Terminal | None = None
) -> Iterator[Callable[[Result], None]]:
    """Display the progress of a run: the number of results with each verdict.

    It writes to standard error, and only if that is a terminal.

    Args:
        total: the number of cases; ``None`` for variations, whose number is not known.
        console: where to write instead.

    Yields:
        The function that counts a result.
    """
    console = console or Terminal(stderr=True)
    counts: Counter[Verdict] = Counter()
    progress = Progress(
        TextColumn("running variations" if total is None else "running the cases"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = progress.add_task("", total=total)

    def add(result: Result) -> None:
        counts[result.verdict] += 1
        description = " ".join(
            f"[{COLOURS[each]}]{counts[each]} {each.value}[/]" for each in SEVERITY if counts[each]
        )
        progress.update(task, advance=1, description=description)

    with progress:
        yield add


def show(console: Terminal, report: RunReport, verbose: bool = False) -> None:
    """Print the failures with their messages, then the lists, and the table by family.

    Args:
        console: where to print.
        report: the run.
        verbose: show all cases, each with its whole log.
    """
    sheet = _Sheet(console)
    for line in findings.class_lines(report):
        sheet.put((line, "bold"))
    level = findings.level_lines(report)
    for line in level:
        sheet.put((line, "bold"))
    sheet.put()
    left = findings.by_severity(report.unexplained())
    whole = findings.by_severity(report.results) if verbose else _without_alike(left)[:MAX_WHOLE]
    for result in whole:
        _show_case(sheet, report, result, verbose=verbose)
    ids = {result.case.id for result in whole}
    alike: dict[tuple[Verdict, str], list[str]] = {}
    for result in left:
        if result.case.id not in ids:
            alike.setdefault((result.verdict, result.explanation), []).append(result.case.id)
    for (verdict, explanation), same in alike.items():
        head = (f"{verdict.value} ", f"bold {COLOURS[verdict]}")
        sheet.put(head, bounded(explanation), ": ", (", ".join(same), "bold"))
    if alike:
        number = sum(map(len, alike.values()))
        sheet.put((f"{number} are shown without their messages; --verbose shows all", "dim"))
        sheet.put()
    _show_lines(sheet, report, verbose=verbose)
    console.print(_table(report, is_ascii=sheet.is_ascii))
    for note in filter(None, [findings.varied_sentence(report), *report.notes]):
        sheet.put(bounded(note))
    sheet.put(
        f"{findings.share_sentence(report)}; {findings.cases_sentence(report)}; "
        f"requirement set {report.set_name}; "
        f"peer {findings.peer_name(report.peer)}; suite {SUITE} {VERSION}"
    )


class _Sheet:
    """A console that prints line by line, and prints any text as it is."""

    def __init__(self, console: Terminal) -> None:
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
        """Write a line; the rest of a long one continues below, indented."""
        first, *rest = self.text(*parts).wrap(self.console, self.console.width - 2) or [Text()]
        self.console.print(first, soft_wrap=True)
        for line in rest:
            self.console.print(Text("  ") + line, soft_wrap=True)

    def row(self, head: Text, *parts: str | tuple[str, str]) -> None:
        """Write a line after a head; the rest of a long one continues below, indented as far."""
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
    """Keep the first ``MAX_ALIKE`` of the errors with one explanation, and all other results."""
    seen: Counter[str] = Counter()
    found = []
    for result in results:
        seen[result.explanation] += result.verdict in (Verdict.ERROR, Verdict.UNKNOWN)
        if seen[result.explanation] <= MAX_ALIKE:
            found.append(result)
    return found


def _show_case(sheet: _Sheet, report: RunReport, result: Result, *, verbose: bool) -> None:
    case = result.case
    sheet.put((f"{result.verdict.value} ", _bold(result)), (f"{case.id} ", "bold"), case.title)
    if result.verdict not in (Verdict.PASS, Verdict.SKIPPED):
        for id_ in case.requirements:
            sheet.fact(id_, (findings.sentence(id_), "italic"))
    _show_steps(sheet, result, verbose=verbose)
    for name, text, verdict in findings.facts(result):
        weight = "bold " if name == "problem" else ""
        sheet.fact(name, (text, f"{weight}{COLOURS[verdict]}") if verdict else text)
    if case.id in report.known:
        sheet.fact("known", bounded(report.known[case.id].reason))
    if result.verdict is not Verdict.PASS or result.violations:
        command = sheet.text(("  rerun    ", "dim"), findings.rerun(report, case))
        sheet.console.print(command, soft_wrap=True)  # on one line, to be copied
    sheet.put()


def _show_steps(sheet: _Sheet, result: Result, *, verbose: bool) -> None:
    steps = findings.logged_steps(result)
    are_many = findings.have_connections(steps)
    wide = max((len(_time(step)) for step in steps), default=0)
    for step in findings.excerpt(steps, len(steps) if verbose else MAX_STEPS):
        if isinstance(step, int):
            sheet.row(Text(" " * (wide + 7)), (f"… {step} more …", "dim"))
            continue
        head = _head(sheet, step, _time(step).rjust(wide), result, are_many=are_many)
        style = _bold(result) if step.is_failing else "dim" if step.is_setup else ""
        sheet.row(head, (step.text(SHOWN_VERBOSE if verbose else SHOWN), style))


def _time(step: LoggedStep) -> str:
    return f"{step.entry.time * 1000:.1f} ms"


def _head(sheet: _Sheet, step: LoggedStep, time: str, result: Result, *, are_many: bool) -> Text:
    """Give the head of a message: a mark, the time, the connection and the direction."""
    entry = step.entry
    colour = _CONNECTIONS[(entry.connection - 1) % len(_CONNECTIONS)]
    to_server, to_client, mark = ("-->", "<--", "!") if sheet.is_ascii else ("──►", "◄──", "✗")
    arrow = "   " if step.is_missing else to_server if entry.from_client else to_client
    bad = _bold(result)
    return Text.assemble(
        (mark if step.is_failing else " ", bad),
        " ",
        (" " * len(time) if step.is_missing else time, "dim"),
        (f" {entry.connection} " if are_many else " ", colour),
        (f"{arrow} ", bad if step.is_failing else colour),
    )


def _show_lines(sheet: _Sheet, report: RunReport, *, verbose: bool) -> None:
    """Print the lines that sum up several cases."""
    lines = findings.summary_lines(report)
    skipped = [line for line in lines if line.label == "skipped"]
    skipped.sort(key=lambda line: -len(line.cases))
    rest = [] if verbose else skipped[MAX_REASONS:]
    for line in (line for line in lines if line not in rest):
        parts: list[str | tuple[str, str]] = [(f"{line.label} ", "bold")]
        if line.verdict:
            parts += [(f"{line.verdict.value} ", f"bold {COLOURS[line.verdict]}"), f"{line.id}: "]
        parts += [
            bounded(line.text),
            (f" {bounded(line.link)}" if line.link else "", "dim"),
        ]
        shown = line.cases if verbose else line.cases[:MAX_IDS]
        more = f" and {len(line.cases) - len(shown)} more" if len(shown) < len(line.cases) else ""
        parts.append((f"{': ' if shown else ''}{', '.join(shown)}{more}", "dim"))
        sheet.put(*parts)
    if rest:
        number = sum(len(line.cases) for line in rest)
        text = f"{number} more for {len(rest)} other reasons; --verbose shows all"
        sheet.put(("skipped ", "bold"), (text, "dim"))
    if lines:
        sheet.put()


def _table(report: RunReport, *, is_ascii: bool) -> Table:
    table = Table(title="cases by family of requirements", title_justify="left", safe_box=is_ascii)
    table.add_column("family")
    verdicts = [each for each in Verdict if each is not Verdict.UNKNOWN or report.has_unknown()]
    for verdict in verdicts:
        table.add_column(verdict.value, justify="right", style=COLOURS[verdict])
    for name, row in findings.table_rows(report):
        if name == "all":
            table.add_section()
        table.add_row(name, *row[: len(verdicts)], style="bold" if name == "all" else "")
    return table
