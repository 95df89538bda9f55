"""Evaluates a report again, from its own traffic and without the peer.

A report of a stranger is read within bounds. Each case is played once more against what its log
says that the peer did, by the same engine. What the report claims must follow from that: the
verdicts, the cases that are there, the counts and the classes.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

from neffos_conformance.cases.definition import Case
from neffos_conformance.cases.dimensions import rebuilt, select_varied
from neffos_conformance.cases.profile import Profile, known_names
from neffos_conformance.cases.varied_script import NotApplicableError
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.codecs.testing import run_vector
from neffos_conformance.reports import json as json_report
from neffos_conformance.reports.traffic import TrafficError, unpack
from neffos_conformance.requirement_sets import SetError, case_hash, requirement_set
from neffos_conformance.runner.discovery import Detected
from neffos_conformance.runner.evaluate_again import JumpingLoop, evaluated_again
from neffos_conformance.runner.gentle import left_out
from neffos_conformance.runner.instances import of_traffic
from neffos_conformance.runner.result import Finding, LogContent, LogEntry, Remark, Result
from neffos_conformance.runner.run_report import RunReport
from neffos_conformance.runner.script_runner import HEADER
from neffos_conformance.runner.varying import WALKED
from neffos_conformance.wire.barrier import BARRIERS, IMPLICIT_BARRIERS
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.json_bounds import BoundedJson, JsonBoundsError
from neffos_conformance.wire.payloads import payload_text
from neffos_conformance.wire.schemas import shown, violation
from neffos_conformance.wire.transcript import ConnectionOpened

MAX_DEPTH: Final = 16
"""Levels of a report. One has seven."""

MAX_STRING: Final = 1 << 20
"""Bytes of one string of a report: the traffic of a case is the longest."""

MAX_REPORT: Final = 64 << 20
"""Bytes of a report. One of all cases has some two million."""

TOTALS: Final = ("counts", "finding_counts", "exercised", "classes", "requirements")
"""What a report says of all cases together."""

_BARRIERS: Final = {*BARRIERS.values(), *IMPLICIT_BARRIERS.values()}

Values = dict[str, Any]


class ReportError(ValueError):
    """A file that is not a report, or one that this version cannot evaluate; the text says why."""


@dataclass(slots=True)
class Verification:
    """What came of evaluating a report again.

    Attributes:
        name: the system under test, as the report says.
        same: the number of cases whose verdict follows from their traffic.
        differences: what does not follow, in a sentence each, by the case or the field.
        unchecked: the cases that were not evaluated again, by the reason.
        claims: how many of these the report claims to have passed or failed.
    """

    name: str
    same: int = 0
    differences: list[tuple[str, str]] = field(default_factory=list)
    unchecked: dict[str, list[str]] = field(default_factory=dict)
    claims: int = 0


def read_report(stream: BinaryIO) -> Values:
    """Read a JSON report.

    Raises:
        ReportError: it is none, or it is too large.
        OSError: it cannot be read.
    """
    bounded = BoundedJson(stream, depth=MAX_DEPTH, string=MAX_STRING, document=MAX_REPORT)
    try:
        values = json.loads(b"".join(iter(lambda: bounded.read(1 << 20), b"")))
    except (JsonBoundsError, ValueError, RecursionError) as error:
        raise ReportError(f"it is not JSON that a report may have: {error}") from error
    if not isinstance(values, dict) or values.get("suite", {}) is None:
        raise ReportError("it is not a report of neffos-wire")
    if values.get("format") != json_report.REPORT_FORMAT:
        expected, actual = json_report.REPORT_FORMAT, values.get("format")
        raise ReportError(f"expected format {expected} of a report, actual {actual!r:.40}")
    return values


def report_in(path: Path) -> Values:
    """Read the report in a file, and hold it to the schema of reports.

    Raises:
        ReportError: it cannot be read, or it has another form; the text names the file.
    """
    try:
        with path.open("rb") as stream:
            values = read_report(stream)
    except (ReportError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ReportError(f"{path} cannot be read: {reason}") from error
    if found := violation("report", values):
        raise ReportError(f"{path} has another form than a report: {shown(found)}")
    return values


def verified(values: Values) -> Verification:
    """Evaluate a report again.

    Raises:
        ReportError: it has another form, or tests by another requirement set.
    """
    try:
        with asyncio.Runner(loop_factory=JumpingLoop) as runner:
            return runner.run(_verified(values))
    except (KeyError, TypeError, AttributeError) as error:
        found = violation("report", values)  # it takes longer than what it explains
        text = shown(found) if found else "a value has another type"
        raise ReportError(f"it has another form than a report: {text}") from error


async def _verified(values: Values) -> Verification:
    role = values["role"]
    if role not in ("server", "client", "codec"):
        raise ReportError(f"it has another form than a report: the role {role!r:.40}")
    if role == "client" and " --listen" in values["command"]:
        raise ReportError("nobody drove the client. Try: a report on a client with a driver")
    cases = {case.id: case for case in _cases_of(values)}
    selected = _selected(values, cases)
    found = Verification(str(values["sut"]))
    given = [str(entry["id"]) for entry in values["cases"]]
    for id_ in given:
        if "[" in id_:
            with suppress(NotApplicableError):  # there is no such case, then
                cases[id_] = rebuilt(cases, id_)
    for entry in values["cases"]:
        if WALKED in (id_ := str(entry["id"])):
            covered = tuple(str(each["id"]) for each in entry["requirements"])
            cases[id_] = Case(id_, str(entry["title"]), covered, role, ())
    for id_, number in Counter(given).items():
        if id_ not in cases or number > 1:
            found.differences.append((id_, "no such case, or there are two of it"))
    found.differences += [(id_, "missing") for id_ in selected - set(given)]
    results = []
    is_gentle = " --gentle" in values["command"]
    is_split = str(values["sut"]).startswith("1: ")  # see ``titles``
    has = Detected(frozenset(values["features"] or ()), profile=_profile_of(values["profile"]))
    for entry in values["cases"]:
        if (case := cases.get(str(entry["id"]))) is not None:
            # A case that did not run has the names of the set.
            hashes = {case_hash(case), case_hash(has.profile.case(case))}
            if entry.get("sha256", "") not in {*hashes, ""}:
                found.differences.append((case.id, "another script than this one was played"))
            results.append(_result_of(entry, case))
            await _verify(found, results[-1], entry, has, is_gentle=is_gentle, is_split=is_split)
    found.differences += [(name, "another one follows") for name in _totals(values, results)]
    return found


def _cases_of(values: Values) -> list[Case]:
    """Give the cases of the set by which a report tests."""
    name, sha256 = str(values["set"]["name"]), values["set"]["sha256"]
    try:
        chosen = requirement_set(name)
        if chosen.sha256 != sha256:
            text = f"it tests by another requirement set {name} than this version has"
            raise ReportError(f"{text}. Try: the version of neffos-wire that wrote it")
        return chosen.cases(values["role"])
    except SetError as error:
        raise ReportError(str(error)) from error


def _selected(values: Values, cases: dict[str, Case]) -> set[str]:
    """Give the IDs of the cases that the report's selection selects."""
    chosen = [str(each) for each in values["selection"]]
    tags = [each.removeprefix("tag ") for each in chosen if each.startswith("tag ")]
    patterns = [each for each in chosen if not each.startswith("tag ")]
    try:
        return {case.id for case in select_varied(list(cases.values()), patterns, tags)}
    except ValueError as error:
        raise ReportError(str(error)) from error


def _profile_of(values: Values) -> Profile:
    """Give the names by which a report tested."""
    names = {kind: {str(k): str(own) for k, own in values[kind].items()} for kind in known_names()}
    return Profile(
        names["namespaces"],
        names["rooms"],
        names["events"],
        names["texts"],
        frozenset(map(str, values["ignore"])),
        frozenset(map(str, values["unconfirmed"])),
    )


async def _verify(
    found: Verification,
    result: Result,
    entry: Values,
    has: Detected,
    *,
    is_gentle: bool,
    is_split: bool,
) -> None:
    case, verdict = result.case, result.verdict

    def leave(reason: str) -> None:
        found.unchecked.setdefault(reason, []).append(case.id)
        found.claims += verdict not in (Verdict.ERROR, Verdict.UNKNOWN)

    if WALKED in case.id:
        leave("a walk found it, and its script is not in a report")
    elif verdict in (Verdict.ERROR, Verdict.UNKNOWN):
        leave(f"the verdict {verdict} claims nothing")
    elif verdict is Verdict.SKIPPED and case.role == "server":
        if has.result(case) or (is_gentle and left_out([case])):
            found.same += 1
        else:
            found.differences.append((case.id, "skipped, though it needs nothing that is missing"))
    elif entry["omitted"] and entry["traffic"] is None:
        leave("its messages are too long for a report")
    else:
        try:
            again = await _again(result, entry, has.profile)
        except TrafficError as error:
            found.differences.append((case.id, f"its traffic is not what was written: {error}"))
            return
        if is_split:
            result = of_traffic(result, again)
        if problem := _difference(result, again):
            found.differences.append((case.id, problem))
        else:
            found.same += 1


async def _again(result: Result, entry: Values, profile: Profile) -> Result:
    """Evaluate a case again.

    Raises:
        TrafficError: the traffic cannot be read, or it is not that of the log.
    """
    case, packed = result.case, entry["traffic"]
    if case.role == "codec":
        answers = iter(unpack(packed or ""))
        try:
            return run_vector(case, lambda _: next(answers))
        except (StopIteration, RuntimeError, KeyError, TypeError, AttributeError) as error:
            raise TrafficError("it lacks an answer") from error
    if packed is not None:
        whole = unpack(packed)
        result.log = list(_entries(whole))
        log, omitted = json_report.log_values(result)
        is_client = case.role == "client"
        if (_shown(log, is_client), omitted) != (_shown(entry["log"], is_client), entry["omitted"]):
            raise TrafficError("it is not that of the log")
    return await evaluated_again(case, result.log, result.mark, profile)


def _shown(log: Iterable[Values], is_client: bool) -> list[Values]:
    """Give a log without the sizes of the suite's messages, which traffic has in part only."""
    suite = "server" if is_client else "client"
    return [
        {name: each for name, each in entry.items() if name != "size" or entry["from"] != suite}
        for entry in log
    ]


def _difference(result: Result, again: Result) -> str:
    """Say how a verdict, or the messages that led to it, differ from what follows."""
    if again.verdict is not result.verdict:
        because = f": {again.explanation}" if again.explanation else ""
        return f"reported {result.verdict}, {again.verdict} follows{because}"
    said, follows = (", ".join(_findings_of(each)) or "none" for each in (result, again))
    if said != follows:
        return f"findings reported: {said}; expected: {follows}"
    is_skipped = result.verdict is Verdict.SKIPPED  # its reason is a driver's
    if not is_skipped and json_report.shown_text(again.explanation) != result.explanation:
        return f"another reason follows: {again.explanation}"
    if result.case.role == "codec":
        return ""
    by_client = result.case.role == "client"
    for is_peer in (True, False):
        mine, theirs = (_told(each.log, by_client is is_peer) for each in (again, result))
        for connection in mine.keys() | theirs.keys():
            left, right = mine.get(connection, []), theirs.get(connection, [])
            # What the suite still sends to a peer that is closing depends on the moment.
            length = max(len(left), len(right)) if is_peer else min(len(left), len(right))
            if left[:length] != right[:length]:
                who = "the peer" if is_peer else "the suite"
                return f"connection {connection} has other messages of {who} than follow"
    return ""


def _findings_of(result: Result) -> list[str]:
    """Give the requirements of the findings; remarks depend on what others did meanwhile."""
    return sorted(each.requirement for each in result.findings if each.requirement)


def _told(log: Iterable[LogEntry], from_client: bool) -> dict[int, list[str | bytes]]:
    """Give the messages and remarks of one end, by connection, as far as a report has them."""
    found: dict[int, list[str | bytes]] = {}
    for each in log:
        content = each.content
        if each.from_client is not from_client or isinstance(content, ConnectionClosed):
            continue
        if isinstance(content, ConnectionOpened):
            content = "opened"
        elif isinstance(content, Remark):
            if content.text.startswith(HEADER):
                continue
            content = json_report.shown_text(content.text)
        elif content in _BARRIERS:
            continue  # the replies to them are compared
        found.setdefault(each.connection, []).append(content[: json_report.MAX_PAYLOAD])
    return found


def _result_of(entry: Values, case: Case) -> Result:
    """Give the result that a report states."""
    try:
        return Result(
            case,
            Verdict(entry["verdict"]),
            str(entry["explanation"]),
            int(entry["step"]),
            str(entry["expected"]),
            str(entry["actual"]),
            [
                Finding(
                    str(each["requirement"]),
                    str(each["explanation"]),
                    int(each["connection"]),
                    int(each["message"]),
                )
                for each in entry["findings"]
            ],
            list(_entries(entry["log"])),
            float(entry["seconds"]),
            str(entry["mark"]),
        )
    except ValueError as error:
        raise ReportError(f"it has another form than a report: {case.id}: {error}") from error


def _entries(log: Sequence[Values]) -> Iterator[LogEntry]:
    for each in log:
        by_client = each["from"] == "client"
        time, number, step = float(each["time"]), int(each["connection"]), int(each["step"])
        yield LogEntry(time, number, by_client, _content(each), step)


def _content(entry: Values) -> LogContent:
    if "text" in entry:
        return str(entry["text"])
    if "hex" in entry:
        return bytes.fromhex(entry["hex"])
    if "broken_text_hex" in entry:
        return payload_text(bytes.fromhex(entry["broken_text_hex"]))
    if "closed" in entry:
        closed = entry["closed"]
        code = None if closed["code"] is None else int(closed["code"])
        return ConnectionClosed(code, str(closed["reason"]), str(closed.get("cut", "")))
    if "opened" in entry:
        opened = entry["opened"]
        return ConnectionOpened(str(opened["path"]), dict(opened["headers"]))
    return Remark(str(entry["remark"]))


def _totals(values: Values, results: Sequence[Result]) -> list[str]:
    """Give what a report says of all cases together, and does not follow from them."""
    own = requirement_set(values["set"]["name"]).reference
    report = RunReport(
        values["role"],
        "",
        {},
        datetime.fromtimestamp(0).astimezone(),
        0.0,
        tuple(results),
        "",
        set_name=own,
    )
    again = json_report.report_values(report)
    return [name for name in TOTALS if again[name] != values[name]]
