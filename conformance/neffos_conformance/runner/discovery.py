"""The parts of the conformance application that a server has: detected by probes, or listed.

A probe passes if its part is there. On a server that has any part of the application, a part also
counts as there if the server treats its name in another way than one that nobody has. The cases
then say what is wrong. On any other server, the same name may have another meaning.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import tomli_w

from neffos_codec import ESCAPE
from neffos_conformance.cases.definition import Case
from neffos_conformance.cases.features import (
    MAIN,
    Feature,
    by_id,
    closed,
    features,
    needed,
)
from neffos_conformance.cases.profile import (
    FORMAT,
    STANDARD,
    Profile,
    ProfileError,
    known_names,
)
from neffos_conformance.cases.script import read_script
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.runner.pace import Way
from neffos_conformance.runner.result import Result
from neffos_conformance.runner.run import DEFAULT_JOBS, to_server
from neffos_conformance.wire import barrier
from neffos_conformance.wire.payloads import frame_of
from neffos_conformance.wire.reach import Target
from neffos_conformance.wire.waiting import at_most
from neffos_protocol.events import Change
from neffos_protocol.names import REQUEST_EVENT
from neffos_protocol.text import cut, visible

BRIEF: Final = 2.0
"""Seconds for a probe: an answered one takes milliseconds, another one a second."""

NOBODY: Final = "no such event"
"""The event that nobody handles, in the scripts that show what is not there."""

NOWHERE: Final = "nowhere"
"""Likewise, the namespace, room and header that nobody has."""

NAME: Final = "*"
"""What is compared instead of a name."""

LISTENING: Final = """
1 handshake
1 > $1;app;;_OnNamespaceConnect;0;0;
1 fewer 100 $1;;;;;;
1 > $2;app;<<case>>;_OnRoomJoin;0;0;
1 fewer 100 $2;;;;;;
2 handshake
2 > $1;app;;_OnNamespaceConnect;0;0;
2 fewer 100 $1;;;;;;
2 > $2;app;<<case>>;_OnRoomJoin;0;0;
2 fewer 100 $2;;;;;;
2 > $3;app;<<case>>;_OnRoomLeave;0;0;
2 fewer 100 $3;;;;;;
2 > $4;app;;_OnNamespaceDisconnect;0;0;
2 fewer 100 $4;;;;;;
2 close 1000
2 closed any
1 fewer 100 $5;;;;;;
"""
"""A script that shows what a server sends by itself: a greeting, or who came and left."""


@dataclass(frozen=True, slots=True)
class Detected:
    """The features of a server, as far as it answered.

    Attributes:
        there: those that it has.
        unknown: why it is not known whether it has the others, by their names.
        absent: what the server did instead, by the names of those that it lacks.
        profile: the server's own names.
    """

    there: frozenset[str]
    unknown: Mapping[str, str] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    profile: Profile = STANDARD

    def result(self, case: Case) -> Result | None:
        """Give the result of a case that does not run; ``None`` if it does."""
        lacking = needed(case) - self.there
        unseen = sorted(lacking & self.unknown.keys())
        if absent := lacking - self.unknown.keys():
            roots = [id_ for id_ in sorted(absent) if absent.isdisjoint(by_id()[id_].needs)]
            roots = [MAIN] if MAIN in absent else roots
            return Result(case, Verdict.SKIPPED, f"it needs {', '.join(roots)}")
        if unseen:
            names, why = ", ".join(unseen), self.unknown[unseen[0]]
            return Result(
                case, Verdict.UNKNOWN, f"not run: it needs {names}, which is unknown: {why}"
            )
        if why := self.profile.why_not(case):
            return Result(case, Verdict.SKIPPED, why)
        return None

    def left_out(self, cases: Iterable[Case]) -> list[Result]:
        """Give the results of the cases that do not run."""
        return [result for case in cases if (result := self.result(case))]


async def discovered(
    server: Target | str,
    way: Way,
    profile: Profile = STANDARD,
    *,
    jobs: int = DEFAULT_JOBS,
    listed: frozenset[str] | None = None,
) -> Detected:
    """Give the features of a server.

    A probe that the network did not carry leaves its feature unknown.

    Args:
        server: the server, or its URL.
        way: the way to it.
        profile: the server's own names.
        jobs: probes that run concurrently.
        listed: the features, if they are known; the profile is checked all the same.

    Raises:
        NotAdmittedError: the server refuses every handshake.
        ProfileError: the server has no such namespace, or what the profile names does not do it.
    """
    listed = profile.features if listed is None else listed
    wanted = list(features())
    if listed is not None:
        wanted = [by_id()[id_] for id_ in closed(profile.mapped())]
        if not wanted:
            return Detected(listed, profile=profile)
    probes = [_probe(each) for each in wanted]
    heard = Case("listening", "", ("NS-1",), "server", read_script(LISTENING, "server"))
    found = await _probed(server, way, profile, jobs, [*probes, heard])
    _check_admission(found.values())
    own = {id_ for id_, each in found.items() if each.verdict is Verdict.PASS} & _OWN
    spontaneous = _sent_unasked(found.pop(heard.id)) - profile.ignore
    # The mark and the witness distinguish what cases expect.
    spontaneous -= {profile.event(name) for each in features() for name in each.sends}
    is_exact = bool(own) and not profile.changes_names  # the application sends nothing by itself
    if spontaneous and not is_exact and listed is None:
        profile = replace(profile, ignore=profile.ignore | spontaneous)
        found = await _probed(server, way, profile, jobs, probes)
    mapped = profile.mapped()
    seen = (Verdict.PASS, Verdict.UNKNOWN)
    asked = [
        each for each in wanted if found[each.id].verdict not in seen and (own or each.id in mapped)
    ]
    controls = await _probed(server, way, profile, jobs, [_control(each) for each in asked])
    odd = (each.id for each in asked if _differ(found[each.id], controls[each.id], each, profile))
    detected = _weighed(found, profile, frozenset(odd))
    _check(profile, detected, only=mapped.keys())
    return detected if listed is None else Detected(listed, profile=profile)


class NotAdmittedError(ValueError):
    """A server that refuses every handshake; the text says why."""


def _check_admission(results: Iterable[Result]) -> None:
    """Check that a server has accepted any handshake.

    Raises:
        NotAdmittedError: it has refused them.
    """
    sent = [
        entry.content
        for each in results
        for entry in each.log
        if not entry.from_client and isinstance(entry.content, str)
    ]
    if sent and all(each.startswith("H") for each in sent):
        text = cut(visible(sent[0][1:]), MAX_WHY)
        raise NotAdmittedError(
            f"the server refuses every handshake: {text}. Try: what its clients send, with "
            "--header, --cookie or --origin"
        )


_OWN: Final = frozenset(each.id for each in features() if each.own)


async def _probed(
    server: Target | str, way: Way, profile: Profile, jobs: int, probes: Iterable[Case]
) -> dict[str, Result]:
    """Run probes; marks tell the broadcasts of one from those of another."""
    run = to_server(server, way=way, profile=profile)
    found = await asyncio.gather(*map(at_most(jobs, run), probes))
    return {each.case.id: each for each in found}


def _probe(feature: Feature) -> Case:
    steps = read_script(feature.probe, "server")
    return Case(feature.id, "", ("NS-1",), "server", steps, seconds=BRIEF)


def _control(feature: Feature) -> Case:
    """Give the probe of a feature with names that nobody has."""
    names = Profile(
        namespaces=dict.fromkeys(feature.namespaces, NOWHERE),
        rooms=dict.fromkeys(feature.rooms, NOWHERE),
        events=dict.fromkeys(feature.events, NOBODY),
    )
    case = names.case(_probe(feature))
    for name in (*feature.endpoints, *feature.headers):
        other = f"/{NOWHERE}" if name.startswith("/") else NOWHERE
        steps = (replace(each, rest=each.rest.replace(name, other)) for each in case.steps)
        case = replace(case, steps=tuple(steps))
    return case


def _differ(probed: Result, control: Result, feature: Feature, profile: Profile) -> bool:
    """Whether a server treats a name in another way than one that nobody has.

    Every name is blanked in both results: a name can be a part of the text that refuses it.
    """
    namespaces = {profile.namespace(each) for each in (*feature.namespaces, NOWHERE)}
    rooms = {profile.room(each) for each in (*feature.rooms, NOWHERE)}
    events = {profile.event(each) for each in (*feature.events, NOBODY)}
    names = {each.replace(";", ESCAPE) for each in namespaces} | rooms | events
    any_name = re.compile("|".join(map(re.escape, sorted(names - {""}, key=len, reverse=True))))

    def plain(result: Result) -> tuple[int, bool, str]:
        text = any_name.sub(NAME, result.actual)
        if "" in namespaces:
            text = text.replace(";;;", f";{NAME};;", 1)
        # Every acceptance has another ID.
        return result.step, result.is_broken, "A" if text.startswith("'A") else text

    return plain(probed) != plain(control)


def _sent_unasked(result: Result) -> frozenset[str]:
    """Give the events that a server sent by itself."""
    found = set()
    for entry in result.log:
        message = frame_of(entry.content)
        if message is not None and not entry.from_client and message.event and not message.wait:
            found.add(message.event)
    return frozenset(found)


def _weighed(found: Mapping[str, Result], profile: Profile, odd: frozenset[str]) -> Detected:
    """Give what probes show; an odd feature is there, and does not do what its probe expects."""
    there = odd | {id_ for id_, each in found.items() if each.verdict is Verdict.PASS}
    unknown = {
        id_: each.explanation for id_, each in found.items() if each.verdict is Verdict.UNKNOWN
    }
    absent = {
        id_: _instead(each) for id_, each in found.items() if id_ not in there | unknown.keys()
    }
    while lacking := {id_: each for id_ in there if (each := _lacking(id_, there, unknown))}:
        there -= lacking.keys()
        absent |= {id_: f"it needs {', '.join(each)}" for id_, each in lacking.items()}
    unseen = {id_: unknown[each] for id_ in absent for each in closed([id_]) if each in unknown}
    absent = {id_: each for id_, each in absent.items() if id_ not in unseen}
    return Detected(there, {**unseen, **unknown}, absent, profile)


def _lacking(id_: str, there: frozenset[str], unknown: Mapping[str, str]) -> list[str]:
    return [each for each in by_id()[id_].needs if each not in there and each not in unknown]


def _instead(result: Result) -> str:
    """Say what a server did instead of what a probe expects."""
    message = frame_of(result.log[-1].content) if result.log else None
    is_refusal = message is not None and message.event == _CONNECT and message.is_error
    if message is not None and is_refusal and message.namespace != barrier.NAMESPACE:
        return f"the server refuses to connect it: {cut(visible(str(message.body)), MAX_WHY)}"
    if result.expected and result.verdict is not Verdict.ERROR:
        return f"expected {result.expected}, actual {result.actual or 'nothing'}"
    return result.explanation


def _check(profile: Profile, detected: Detected, only: Collection[str]) -> None:
    """Check that a server has what its profile names.

    Raises:
        ProfileError: it has not.
    """
    for id_ in only:
        if id_ in detected.absent:
            key = profile.mapped().get(id_, "namespaces.app")
            where = profile.source
            where += "" if where.startswith("--") else f", {key}"
            kind, _, name = key.partition(".")
            own = getattr(profile, kind).get(name, name)
            raise ProfileError(
                f"{where}: on this server, {own!r} is not what the cases need "
                f"({by_id()[id_].about}): {detected.absent[id_]}. Try: the name in the server's "
                "code, or leave it out"
            )


# -------------------------------------------------------------------- the draft of a profile


def draft_profile(has: Detected) -> str:
    """Write what was detected in a server as a profile, for its owner to complete.

    A name that the server lacks is a comment, with what the server did instead.
    """
    profile = has.profile
    lines = [
        "# The server's own names for what the cases of neffos-wire use.",
        "# Take the # from a line, and write the server's name; a part that is named is tested.",
        "# neffos-wire list features explains each part.",
        "",
        f"format = {FORMAT}",
        "",
        "# What the server has. A part that is gone then fails, and is not skipped. Without this",
        "# list, the parts are detected at every run.",
        *(_toml("features", sorted(has.there)) if MAIN in has.there else ()),
        "",
        "# Events that the server sends by itself, such as greetings: no case counts them.",
        *_toml("ignore", sorted(profile.ignore)),
        "",
        "# Of the events below, those whose handlers reply nothing where the application replies",
        '# "done": push, broadcast-others, broadcast-all, broadcast-room, broadcast-to.',
        *_toml("unconfirmed", sorted(profile.unconfirmed)),
    ]
    for kind, names in known_names().items():
        lines += ["", f"[{kind}]"]
        for name in names:
            own = getattr(profile, kind).get(name, name)
            using = [
                each
                for each in features()
                if name in getattr(each, kind, ()) or (kind == "events" and name in each.sends)
            ]
            lacking = [each.id for each in using if each.id not in has.there]
            if lacking and name not in using[-1].sends:
                why = has.absent.get(lacking[-1]) or has.unknown.get(lacking[-1], "")
                why = f": {cut(visible(why), MAX_WHY)}" if why else ""
                lines.append(f"# {by_id()[lacking[-1]].about}{why}")
            lines += [f"{'# ' if lacking else ''}{line}" for line in _toml(name, own)]
    return "\n".join(lines) + "\n"


_CONNECT: Final = REQUEST_EVENT[Change.CONNECT]

MAX_WHY: Final = 200
"""Characters of a text of a server, in a draft and an error message."""


def _toml(key: str, value: object) -> list[str]:
    return tomli_w.dumps({key: value}).splitlines()
