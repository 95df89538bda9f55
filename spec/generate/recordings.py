"""The recordings of the repository: which one shows a requirement, and how it looks on a page.

Drawing a session is ``neffos_conformance.recordings.show``'s matter. This module chooses, fits
the picture into a page that may hold several, and makes a page of its own of each recording.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

from generate.text import attribute, count, unmarked, with_code
from neffos_conformance.cases.definition import ROLES, cases_of
from neffos_conformance.recordings.page import page, svg
from neffos_conformance.recordings.sequence import (
    Arrow,
    ArrowKind,
    peer_name,
    read_diagram,
    server_names,
)
from neffos_conformance.wire.transcript import Header, read_transcript
from neffos_protocol.catalogue import Difference, ObservedVerdict, differences, peers, requirements
from neffos_protocol.events import Change
from neffos_protocol.names import REQUEST_EVENT

FOLDER: Final = Path(__file__).parents[2] / "conformance" / "transcripts"

LONGEST: Final = 20
"""Rows of a picture on a page about something else: some two screens. The recording's own page
has the rest."""

TALL: Final = {"long": 1000, "longest": 1600}
"""Pixels above which a picture is printed smaller: none may be taller than a sheet of paper. The
longest one of the specification has 1826."""

LONGEST_PAGE: Final = 80
"""Rows of a recording's own page: the longest sessions are loads, whose rows are all alike."""

SUITE: Final = "neffos-wire suite"
"""The name of the suite in recordings in which it plays one peer."""

_OURS: Final = "neffos-wire"
"""What the names of the peers of this project begin with."""


_ASKED: Final = re.compile(r"asked \((?P<id>[^)]+)\): .*; (?P<found>found: .*)", re.DOTALL)
"""The scenario of a recording of a difference: a case, and how it failed."""


@cache
def _titles() -> Mapping[str, str]:
    """Give the titles of the suite's cases and of those that are recorded, by their IDs."""
    found = {case.id: case.title for role in ROLES for case in cases_of(role)}
    for path in (FOLDER.parent / "peers" / "recorded_cases").glob("*.toml"):
        for case in tomllib.loads(path.read_text("utf-8"))["case"]:
            found[case["id"]] = case["title"]
    return found


@dataclass(frozen=True, slots=True)
class Recording:
    """A recorded session.

    Attributes:
        name: its folder and name, for example ``"neffos-go/handshake"``.
        header: where it comes from.
        rows: how many openings, messages and ends it has.
    """

    name: str
    header: Header
    rows: int

    @property
    def path(self) -> Path:
        """The file."""
        return FOLDER / f"{self.name}.jsonl"

    @property
    def uri(self) -> str:
        """Its page, from the root of the site."""
        return f"transcripts/{self.name}.html"

    @property
    def scenario(self) -> str:
        """What the session is about: the title of today, though a recording keeps an older one."""
        text = str(self.header["scenario"])
        asked = _ASKED.fullmatch(text)
        if asked and (title := _titles().get(asked["id"])):
            return f"case {asked['id']}: {title}; {asked['found']}"
        return _titles().get(self.path.stem, text)

    @property
    def shows(self) -> tuple[str, ...]:
        """The requirements that it shows."""
        return tuple(self.header.get("shows", ()))

    @property
    def defects(self) -> Mapping[str, str]:
        """The requirements that a peer is known to break in it, and whose role that is."""
        defects: Mapping[str, str] = self.header.get("defects", {})
        return defects

    @property
    def clients(self) -> list[Mapping[str, str]]:
        """What is known of its client."""
        return [self.header["client"]]

    @property
    def servers(self) -> list[Mapping[str, str]]:
        """What is known of its servers."""
        return [self.header["server"], *self.header.get("other_servers", ())]

    @property
    def _peers(self) -> list[Mapping[str, str]]:
        return self.clients + self.servers

    @property
    def observed(self) -> frozenset[str]:
        """Those of its peers that the catalogues describe, by their names there."""
        names = {f"{each['peer']} {each.get('version', '').lstrip('v')}" for each in self._peers}
        return frozenset(names & peers().keys())

    @property
    def difference(self) -> Difference | None:
        """What its peer does otherwise in it, if it was recorded for that."""
        id_ = self.header.get("difference")
        return differences()[id_] if id_ else None

    def offenders(self, requirement: str) -> frozenset[str]:
        """Give those of its peers of which the catalogue says that they break a requirement."""
        seen = requirements()[requirement].peers
        return frozenset(
            name for name in self.observed if seen[name].verdict is ObservedVerdict.VIOLATES
        )

    def keeps(self, requirement: str) -> bool:
        """Whether it shows a requirement, and no peer in it is one that breaks it."""
        is_shown = requirement in self.shows and requirement not in self.defects
        return is_shown and not self.offenders(requirement)

    def breaks(self, requirement: str) -> bool:
        """Whether it shows how a requirement is broken.

        The defects of its header are what the monitor finds, and that does not look into bodies,
        at requests that should have been ignored, or at how a connection ends.
        """
        about = self.difference.requirements if self.difference else ()
        return requirement in self.defects or (
            requirement in about and requirement in self.shows and bool(self.offenders(requirement))
        )

    @property
    def between(self) -> tuple[str, str]:
        """Name and version of client and servers."""
        return peer_name(self.header, "client"), server_names(self.header)

    @property
    def is_ours(self) -> bool:
        """Both peers are of this project."""
        return all(each["peer"].startswith(_OURS) for each in self._peers)


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a recording that is about a requirement.

    Attributes:
        connection: the only connection that it is about; ``None`` if there are several.
        first: its first line.
        last: its last line; ``None`` for the end.
    """

    connection: int | None = None
    first: int = 1
    last: int | None = None


WHOLE: Final = Window()


@cache
def recordings() -> Mapping[str, Recording]:
    """Give every recording by its name."""
    found = {}
    for path in sorted(FOLDER.glob("*/*.jsonl")):
        transcript = read_transcript(path)
        name = f"{path.parent.name}/{path.stem}"
        found[name] = Recording(name, transcript.header, len(transcript.entries))
    return found


@cache
def _showing() -> Mapping[str, tuple[Recording, ...]]:
    """Give the recordings of each requirement, the clearest one first.

    A recording in which the requirement is kept comes before one in which it may be broken. Tested
    implementations come before ours, recordings of the requirement before those of another one,
    sessions without another violation before those with one, and short sessions before long ones.
    """
    found: dict[str, list[Recording]] = {}
    for recording in recordings().values():
        for id_ in {**dict.fromkeys(recording.shows), **recording.defects}:
            found.setdefault(id_, []).append(recording)
    return {
        id_: tuple(
            sorted(
                each,
                key=lambda one: (
                    not one.keeps(id_),
                    one.is_ours,
                    id_ not in one.shows,
                    bool(one.defects.keys() - {id_}),
                    one.rows,
                    one.name,
                ),
            )
        )
        for id_, each in found.items()
    }


def showing(requirement: str) -> tuple[Recording, ...]:
    """Give the recordings in which a requirement can be seen, the clearest one first."""
    return _showing().get(requirement, ())


def of_difference(id_: str) -> tuple[Recording, ...]:
    """Give the recordings that show a difference: the shortest with a server, and with a client."""
    found: dict[str, Recording] = {}
    for each in recordings().values():
        if each.difference and each.difference.id == id_:
            role = "server" if each.header["client"]["peer"] == SUITE else "client"
            best = found.setdefault(role, each)
            found[role] = min(best, each, key=lambda one: (one.rows, one.name))
    return tuple(found[role] for role in sorted(found, reverse=True))


def chosen(requirement: str) -> tuple[Recording, ...]:
    """Give the recordings to draw for a requirement: one that keeps it and one that breaks it."""
    found = showing(requirement)
    kept = [each for each in found if each.keeps(requirement)]
    broken = [each for each in found if each.breaks(requirement)]
    return (*kept[:1], *broken[:1]) or found[:1]


_ABOUT_ALL: Final = frozenset({"HS", "SEC", "TR"})
"""Families whose requirements can be about every arrow, also those of opening and closing."""

_ABOUT_CONNECTING: Final = frozenset({"NS"})
"""Families about how namespaces are connected, which other sessions begin with."""

_BEGIN: Final = frozenset({ArrowKind.OPENING, ArrowKind.HANDSHAKE})


def window(recording: Recording, requirement: str) -> Window:
    """Give the part that matters for a requirement.

    Where it is violated, that is the last violation, from the message to which it replies. Else
    it is what comes after the handshake, and, for most families, after the first namespaces were
    connected.
    """
    family = requirement.partition("-")[0]
    with recording.path.open("rb") as stream:
        arrows = read_diagram(stream, limit=LONGEST_PAGE).arrows
    wrong = [
        at
        for at, arrow in enumerate(arrows)
        if requirement in {each.requirement for each in arrow.violations}
    ]
    if wrong:
        return _of_violation(arrows, wrong[-1])
    if family in _ABOUT_ALL or not arrows or recording.breaks(requirement):
        return WHOLE
    begin = 0
    for arrow in arrows:
        if arrow.kind not in _BEGIN and (family in _ABOUT_CONNECTING or not _connects(arrow)):
            break
        begin += 1
    own = arrows[begin:]
    while len(own) > 1 and own[-1].kind is ArrowKind.CLOSE and own[-2].kind is not ArrowKind.ASK:
        own.pop()  # a connection that is closed at last, with no ask pending
    if not own:
        return WHOLE
    numbers = {arrow.connection for arrow in own}
    return Window(min(numbers) if len(numbers) == 1 else None, own[0].line, own[-1].line)


def _of_violation(arrows: Sequence[Arrow], wrong: int) -> Window:
    """Give the violation, and what comes before it from the first message with its token on."""
    arrow = arrows[wrong]
    token = dict(arrow.fields).get("wait")
    alike = [
        each
        for each in arrows[:wrong]
        if each.connection == arrow.connection and token and dict(each.fields).get("wait") == token
    ]
    before = alike[0] if alike else arrows[max(0, wrong - 1)]
    is_one = before.connection == arrow.connection and not arrow.is_published
    return Window(arrow.connection if is_one else None, before.line, arrow.line)


def _connects(arrow: Arrow) -> bool:
    """Whether a message asks to connect a namespace, or is an empty reply."""
    fields = dict(arrow.fields)
    if fields.get("event") == REQUEST_EVENT[Change.CONNECT]:
        return not fields["is_error"]
    names = ("namespace", "room", "event", "body")
    return bool(fields.get("wait")) and not any(fields.get(name) for name in names)


def recorded(name: str) -> Recording:
    """Give one recording.

    Raises:
        KeyError: no recording has that name.
    """
    try:
        return recordings()[name]
    except KeyError:
        raise KeyError(f"no recording {name!r} in {FOLDER.name}") from None


def figure(
    recording: Recording,
    root: str,
    *,
    key: str,
    caption: str = "",
    connection: int | None = None,
    first: int = 1,
    last: int | None = None,
    limit: int = LONGEST,
) -> str:
    """Draw a recording, or a part of it, as a figure in HTML.

    Args:
        recording: the session.
        root: what leads from the page to the root of the site, for example ``"../"``.
        key: tells the figure apart from others on its page.
        caption: the caption; the scenario of the recording if it is empty.
        connection: show this one only.
        first: the first line to show.
        last: the last one.
        limit: show no more rows than this.
    """
    with recording.path.open("rb") as stream:
        diagram = read_diagram(stream, connection=connection, first=first, last=last, limit=limit)
    # What is left out is in the caption; the picture's own words are those of a command line.
    diagram = replace(diagram, before=0, after=0, hidden_violations=0, is_read_whole=True)
    client, server = recording.between
    about = with_code(caption or recording.scenario[:1].upper() + recording.scenario[1:])
    hidden = recording.rows - len(diagram.rows)
    more = f"; {count(hidden, 'row')} more" if hidden else ""
    picture = svg(diagram)
    height = int(re.search(r' height="(\d+)"', picture)[1])  # type: ignore[index]  # each has one
    kinds = ["recorded", *(kind for kind, least in TALL.items() if height > least)]
    return unmarked(
        f'<figure class="{" ".join(kinds)}" data-search-exclude>\n'
        f"{_fitted(picture, f'{root}{recording.uri}', key)}\n"
        f"<figcaption>{about}. <span>Recorded between "
        f"{attribute(client)} and {attribute(server)}{more}: "
        f'<a href="{root}{recording.uri}">the whole recording</a>.</span></figcaption>\n'
        "</figure>"
    )


def _fitted(picture: str, uri: str, key: str) -> str:
    """Make ids unique on the page, and lead each arrow to its message on the recording's page."""
    picture = re.sub(r'href="#m(\d+)" id="a\d+"', rf'href="{uri}#m\1"', picture)
    picture = re.sub(r'id="(head|sequence-\w+)"', rf'id="{key}-\1"', picture)
    picture = picture.replace("url(#head)", f"url(#{key}-head)")
    picture = re.sub(
        r'aria-labelledby="([^"]*)"',
        lambda found: (
            'aria-labelledby="' + " ".join(f"{key}-{each}" for each in found[1].split()) + '"'
        ),
        picture,
    )
    return "\n".join(line for line in picture.splitlines() if line.strip())


def own_pages(drawn: Iterable[Recording]) -> dict[str, str]:
    """Write the pages of recordings; give each by its place."""
    return {recording.uri: own_page(recording) for recording in drawn}


def own_page(recording: Recording) -> str:
    """Write the page of one recording, as ``neffos-wire show --html`` does."""
    with recording.path.open("rb") as stream:
        diagram = read_diagram(stream, limit=LONGEST_PAGE)
    header = {**diagram.header, "scenario": recording.scenario}
    return page(replace(diagram, header=header), recording.path.name)
