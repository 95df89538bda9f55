"""What every form of a report says, before any of them says it: orders, sums and sentences.

This module knows no form. What peers said leaves it either as it was, to be put into a form that
has a place for anything, or as text in which everything can be seen.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

from neffos_codec import COMPILED
from neffos_conformance.cases.definition import ROLES, Case, cases_of
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.codecs.testing import codec_cases
from neffos_conformance.runner.known_failures import KnownFailure
from neffos_conformance.runner.result import LogEntry, Remark, Result
from neffos_conformance.runner.run_report import RunReport
from neffos_conformance.wire.barrier import BARRIER_TOKENS, DOUBT_TOKENS, answers
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.display import SHOWN, short
from neffos_conformance.wire.text import visible
from neffos_conformance.wire.transcript import KEPT_HEADERS, ConnectionOpened
from neffos_protocol.catalogue import Requirement, requirement, requirements

SUITE: Final = "neffos-wire"
"""The package that holds the suite."""

GRAVITY: Final = (
    Verdict.FAIL,
    Verdict.ERROR,
    Verdict.NON_STRICT,
    Verdict.INFORMATIONAL,
    Verdict.UNSUPPORTED,
    Verdict.PASS,
)
"""The verdicts, the gravest first."""

TOLD: Final = 2_000
"""Characters of a sentence or a header that a peer has had a part in: more than any is long."""


# -------------------------------------------------------------------- results


def gravest(verdicts: Iterable[Verdict]) -> Verdict | None:
    """Give the gravest of some verdicts; ``None`` where there are none.

    A pass weighs more than an unsupported: something was shown.
    """
    there = set(verdicts)
    order = (*GRAVITY[:4], Verdict.PASS, Verdict.UNSUPPORTED)
    return next((each for each in order if each in there), None)


def by_gravity(results: Iterable[Result]) -> list[Result]:
    """Give the results with the gravest first, and otherwise as they come."""
    return sorted(results, key=lambda result: GRAVITY.index(result.verdict))


def open_ends(judgement: RunReport) -> dict[tuple[str, str, Verdict], list[str]]:
    """Give the ids of the cases in which a connection was ended wrongly, by what was wrong.

    The keys are the requirement, the explanation and the verdict on it.
    """
    found: dict[tuple[str, str, Verdict], list[str]] = {}
    for result in judgement.results:
        closing = result.closing
        if closing.explanation:
            key = (closing.requirement, closing.explanation, closing.verdict)
            found.setdefault(key, []).append(result.case.id)
    return found


def unsupported(judgement: RunReport) -> dict[str, list[str]]:
    """Give the ids of the cases that were not run, by why."""
    found: dict[str, list[str]] = {}
    for result in judgement.results:
        if result.verdict is Verdict.UNSUPPORTED:
            found.setdefault(result.explanation, []).append(result.case.id)
    return found


def deviations(judgement: RunReport) -> list[tuple[Result, KnownFailure]]:
    """Give the results that a known deviation accounts for, with it."""
    return [
        (result, judgement.known[result.case.id])
        for result in judgement.results
        if result.case.id in judgement.known
    ]


def by_family(judgement: RunReport) -> dict[str, Counter[Verdict]]:
    """Give how many cases of each family came to each verdict, in the order of the cases."""
    found: dict[str, Counter[Verdict]] = {}
    for result in judgement.results:
        found.setdefault(result.case.family, Counter())[result.verdict] += 1
    return found


def by_closing(judgement: RunReport) -> Counter[Verdict]:
    """Give how many cases came to each verdict on how connections were ended; a codec has none."""
    if judgement.role not in ROLES:
        return Counter()
    return Counter(
        result.closing.verdict
        for result in judgement.results
        if result.verdict is not Verdict.UNSUPPORTED
    )


def again(judgement: RunReport, case: Case) -> str:
    """Give the command line that runs one case again.

    What stands behind ``--`` belongs to the system under test, so the case is put before it. What
    exploring found is found again by its seed, which the command has.
    """
    if " --seed " in judgement.command:
        return visible(judgement.command)
    ours, dashes, theirs = visible(judgement.command).partition(" -- ")
    return f"{ours} --case {case.id}{dashes}{theirs}"


def is_said(result: Result) -> bool:
    """Say whether the explanation repeats what was expected and what was seen."""
    return result.expected in result.explanation and result.seen in result.explanation


# -------------------------------------------------------------------- requirements


@dataclass(frozen=True, slots=True)
class Standing:
    """What a run says of one requirement.

    Attributes:
        requirement: the requirement.
        verdict: the gravest of its cases, and of the ends of connections that were judged by it;
            ``None`` where no case that was selected is about it.
        cases: the ids of its cases that were selected.
        is_exercised: one of them ran to its end.
    """

    requirement: Requirement
    verdict: Verdict | None
    cases: tuple[str, ...]
    is_exercised: bool


def standings(judgement: RunReport) -> list[Standing]:
    """Give what the run says of each requirement that can be seen in such a system."""
    verdicts: dict[str, list[Verdict]] = {}
    cases: dict[str, list[str]] = {}
    for result in judgement.results:
        for id_ in result.case.requirements:
            verdicts.setdefault(id_, []).append(result.verdict)
            cases.setdefault(id_, []).append(result.case.id)
        if result.closing.requirement:
            verdicts.setdefault(result.closing.requirement, []).append(result.closing.verdict)
    exercised = judgement.exercised()
    return [
        Standing(each, gravest(verdicts.get(id_, ())), tuple(cases.get(id_, ())), id_ in exercised)
        for id_, each in judgement.testable().items()
    ]


def sentence(id_: str) -> str:
    """Give a requirement's text on one line."""
    return " ".join(requirement(id_).text.split())


# -------------------------------------------------------------------- the run


def cases_there(judgement: RunReport) -> int:
    """Give how many cases there are for the role, selected or not."""
    there = cases_of(judgement.role) if judgement.role in ROLES else codec_cases()
    return max(len(there), len(judgement.results))


def peer_name(peer: Mapping[str, str]) -> str:
    """Give what is known of the system under test, in a few words."""
    named = " ".join(peer[key] for key in ("peer", "version") if peer.get(key))
    rest = [f"{key} {value}" for key, value in peer.items() if key not in ("peer", "version")]
    return told(", ".join(part for part in (named, *rest) if part)) or "unknown"


def exercised_share(judgement: RunReport) -> tuple[int, int]:
    """Give how many of the testable requirements were exercised, and how many there are."""
    testable = judgement.testable()
    return len(judgement.exercised() & testable.keys()), len(testable)


def share_sentence(judgement: RunReport) -> str:
    """Say how much of what can be tested was."""
    exercised, testable = exercised_share(judgement)
    percent = f" ({100 * exercised // testable} %)" if testable else ""
    return f"{exercised} of {testable} testable requirements exercised{percent}"


def cases_sentence(judgement: RunReport) -> str:
    """Say how many of the cases were selected, and by what."""
    there, selected = cases_there(judgement), len(judgement.results)
    by = f", selected by {told(', '.join(judgement.selection))}" if judgement.selection else ""
    return f"{selected} of {there} cases{by}" if selected != there or by else f"all {there} cases"


def outcome(judgement: RunReport) -> str:
    """Say in a sentence how the run went."""
    counts = judgement.counts()
    parts = [f"{counts[each]} {each.value}" for each in GRAVITY if counts[each]]
    known = len(judgement.known)
    also = f"; {known} of them {'is' if known == 1 else 'are'} known to be so" if known else ""
    word = "failed" if judgement.has_failed() else "passed"
    return f"{word}: {', '.join(parts) or 'no case was run'}{also}"


def provenance(judgement: RunReport) -> list[tuple[str, str]]:
    """Give what one has to know to read the results, as pairs of a name and a text to show."""
    features = judgement.features
    listed = ", ".join(sorted(features)) if features else "none"
    return [
        ("suite", f"{SUITE} {version(SUITE)}"),
        ("catalogue", f"{len(requirements())} requirements, {cases_there(judgement)} cases"),
        ("role", judgement.role),
        ("subject", told(judgement.subject)),
        ("peer", peer_name(judgement.peer)),
        ("cases", cases_sentence(judgement)),
        ("requirements", share_sentence(judgement)),
        ("features", "not asked for" if features is None else told(listed)),
        ("started", judgement.started.isoformat(timespec="seconds")),
        ("took", f"{judgement.seconds:.2f} s"),
        ("command", told(judgement.command)),
        ("Python", f"{platform.python_version()}, codec {'' if COMPILED else 'not '}compiled"),
        ("platform", platform.platform()),
    ]


# -------------------------------------------------------------------- what went by


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that went by, or the line at which nothing did.

    Attributes:
        time: seconds since the case began.
        connection: its number.
        from_client: the direction.
        text: what it was, on one line, fit to be shown.
        leads_up: it only leads up to what the case is about.
        is_failing: it is what failed.
        is_missing: nothing went by here; the text is the line that was not kept.
    """

    time: float
    connection: int
    from_client: bool
    text: str
    leads_up: bool = False
    is_failing: bool = False
    is_missing: bool = False


def steps(result: Result, *, shown: int = SHOWN) -> list[Step]:
    """Give what went by in a case, with what failed marked.

    Args:
        result: what came of the case.
        shown: characters of a payload.
    """
    lines = {line.number: line for line in result.case.lines}
    failing = failing_entry(result)
    found = [
        Step(
            each.time,
            each.connection,
            each.from_client,
            content_text(each, shown),
            leads_up=each.line in lines and lines[each.line].leads_up,
            is_failing=number == failing,
        )
        for number, each in enumerate(result.exchange)
    ]
    place = missing_place(result)
    if place is not None:
        line = lines[result.line]
        time = found[place - 1].time if place else 0.0
        from_client = result.case.role == "client"
        text = f"not kept: {told(str(line))}"
        missing = Step(time, line.connection, from_client, text, is_failing=True, is_missing=True)
        found.insert(place, missing)
    return found


def missing_place(result: Result) -> int | None:
    """Give before which entry something is missing; ``None`` where nothing is."""
    is_line = any(line.number == result.line for line in result.case.lines)
    if not is_line or failing_entry(result) is not None:
        return None
    earlier = [
        number for number, each in enumerate(result.exchange) if 0 < each.line <= result.line
    ]
    return earlier[-1] + 1 if earlier else 0


def failing_entry(result: Result) -> int | None:
    """Give which entry of the exchange failed: the last of the other side at the failing line.

    ``None`` where nothing came at that line but answers to what the suite asked of its own accord,
    or no line failed.
    """
    by_client = result.case.role == "client"
    for number in reversed(range(len(result.exchange)) if result.line else ()):
        each = result.exchange[number]
        is_theirs = each.line == result.line and each.from_client == by_client
        tokens = (DOUBT_TOKENS, BARRIER_TOKENS)
        if is_theirs and not any(answers(each.content, asked) for asked in tokens):
            return number
    return None


def selected(count: int, limit: int, wanted: int | None = None) -> list[int]:
    """Give the numbers of those that are shown where not all are: from both ends, and a wanted one.

    Args:
        count: how many there are.
        limit: how many are shown, beside the wanted one.
        wanted: one to be shown in any case.
    """
    if count <= limit:
        return list(range(count))
    numbers = {*range(limit - limit // 2), *range(count - limit // 2, count)}
    return sorted(numbers | ({wanted} if wanted is not None else set()))


def content_text(noted: LogEntry, shown: int = SHOWN) -> str:
    """Give what went by, on one line, fit to be shown."""
    match noted.content:
        case ConnectionOpened() as opened:
            headers = "".join(f" {name}: {value}" for name, value in kept_headers(opened).items())
            return told(f"opens {opened.path or '/'}{headers}")
        case ConnectionClosed() | Remark() as other:
            return told(str(other))
        case payload:
            return short(payload, shown=shown)


def kept_headers(opened: ConnectionOpened) -> dict[str, str]:
    """Give the headers of a request that steer the conversation; others may be secrets."""
    return {
        name: value
        for name, value in opened.headers.items()
        if name.lower().startswith(KEPT_HEADERS)
    }


def told(text: str) -> str:
    """Give a text of which a peer may be the author: bounded, and all of it can be seen."""
    text = text if len(text) <= TOLD else text[:TOLD] + "…"
    return visible(text)


# -------------------------------------------------------------------- plain text

DRAWN: Final = 40
"""Lines of a case's traffic in a report that is read from top to bottom."""


def drawn(result: Result) -> list[str]:
    """Give what went by as lines of plain text, with what failed marked."""
    found = steps(result)
    are_many = len({step.connection for step in found}) > 1
    failing = next((number for number, step in enumerate(found) if step.is_failing), None)
    lines = []
    before = -1
    for number in selected(len(found), DRAWN, failing):
        if number > before + 1:
            lines.append(f"  … {number - before - 1} more …")
        before = number
        step = found[number]
        mark = "✗" if step.is_failing else " "
        arrow = "   " if step.is_missing else "──►" if step.from_client else "◄──"
        connection = f" {step.connection}" if are_many else ""
        lines.append(f"{mark} {step.time * 1000:8.1f} ms{connection} {arrow} {step.text}")
    return lines


def account(result: Result) -> list[str]:
    """Give what went by, what was expected, what was seen, and what is wrong, as lines of text."""
    lines = drawn(result)
    if result.case.why:
        lines.append(f"why       {result.case.why}")
    if result.expected and not is_said(result):
        lines += [
            f"expected  {told(result.expected)}",
            f"seen      {told(result.seen) or 'nothing'}",
        ]
    if result.explanation:
        lines.append(f"so        {told(result.explanation)}")
    closing = result.closing
    if closing.explanation and closing.explanation != result.explanation:
        lines.append(
            f"closing   {closing.requirement}, {closing.verdict.value}: {told(closing.explanation)}"
        )
    return lines
