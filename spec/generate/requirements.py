"""Requirements on the site: the block in the normative text, a page for each, and the index.

Only the catalogue contains the text of a requirement. A normative page places it with
``{{ req("FR-1") }}``. Each requirement has exactly one such place, whose anchor is its ID.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from generate import vectors
from generate.cases import cases_of, section
from generate.machines import rows_of
from generate.recordings import chosen, figure, recordings, showing, window
from generate.text import (
    FAMILIES,
    cell,
    code,
    count,
    listed,
    of_peer,
    one_line,
    sentence,
    sentence_html,
    table,
)
from neffos_conformance.wire.text import shorten
from neffos_protocol import registry
from neffos_protocol.catalogue import (
    NOT_TESTABLE,
    Basis,
    Evidence,
    ObservedVerdict,
    Requirement,
    differences,
    peers,
    requirement,
    requirements,
)

TITLE: Final = 90
"""Characters of the title of a requirement's page."""

_UNSAID: Final = re.compile(r"^A (?:peer|client|server|sender|receiver) (?=MUST|SHOULD|MAY)")
"""What begins most sentences, and says nothing in a title."""

DOCS: Final = Path(__file__).parents[1] / "docs"

_PLACE: Final = re.compile(r"\{\{ req\(([^)]*)\) \}\}")

BASES: Final = {
    Basis.INTEROP: "interop",
    Basis.SPECIFIED_HERE: "specified here",
    Basis.GO_BEHAVIOUR: "Go behaviour",
}
"""The bases in the words of the pages."""

_VERDICTS: Final = {
    ObservedVerdict.CONFORMS: "conforms",
    ObservedVerdict.VIOLATES: "violates",
    ObservedVerdict.NOT_APPLICABLE: "not applicable",
}

_EVIDENCE: Final = {
    Evidence.MEASURED: "measured",
    Evidence.READ: "read in its source",
}

_WHERE: Final = {
    "wire-server": "a server, over the wire",
    "wire-client": "a client, over the wire",
    "wire-exchange": "servers that share a broker, on the broker",
    "codec": "a codec, by vectors",
}


REST: Final = {one.family: f"{one.family}-*" for one in requirements().values()}
"""By family, what a page has for the requirements that no page names: a new one needs no page."""


class PlacementError(ValueError):
    """A requirement that is on no page, or on two."""


# -------------------------------------------------------------------- their pages


def placement(pages: Mapping[str, str]) -> dict[str, str]:
    """Find the page of each requirement.

    Args:
        pages: the source of each page by its name.

    Raises:
        PlacementError: a page names an unknown requirement, or one is not on exactly one page.
    """
    found: dict[str, str] = {}
    for name, source in pages.items():
        for id_ in _named(source):
            if id_ not in requirements() and id_ not in REST.values():
                raise PlacementError(f"{name}: there is no requirement {id_}")
            if id_ in found:
                raise PlacementError(f"{name}: {id_} is on {found[id_]} already")
            found[id_] = name
    for id_, one in requirements().items():
        if id_ not in found and (rest := REST[one.family]) in found:
            found[id_] = found[rest]
    if missing := [id_ for id_ in requirements() if id_ not in found]:
        raise PlacementError(f"on no page: {', '.join(missing)}")
    return {id_: found[id_] for id_ in requirements()}


def _named(source: str) -> list[str]:
    """Give the IDs in the placeholders of a page."""
    return [id_ for found in _PLACE.finditer(source) for id_ in re.findall(r'"([^"]+)"', found[1])]


def sources() -> dict[str, str]:
    """Read the hand-written pages."""
    return {
        path.relative_to(DOCS).as_posix(): path.read_text("utf-8")
        for path in sorted(DOCS.rglob("*.md"))
    }


# -------------------------------------------------------------------- the block


def block(*ids: str) -> str:
    """Give the blocks of these requirements, with anchors.

    ``RM-*`` stands for the requirements of a family that no page names.
    """
    named = {id_ for source in sources().values() for id_ in _named(source)}
    shown: list[Requirement] = []
    for id_ in ids:
        if id_ in REST.values():
            rest = (each for each in requirements().values() if REST[each.family] == id_)
            shown += [each for each in rest if each.id not in named]
        else:
            shown.append(requirement(id_))
    return "\n\n".join(_block(each, anchor=True) for each in shown)


def _block(one: Requirement, *, anchor: bool) -> str:
    level = str(one.level)
    name = f'[{one.id}](/requirements/{one.id}.md "{one.id}: cases, vectors, recordings")'
    where = f' id="{one.id}"' if anchor else ""
    head = name if anchor else one.id
    return "\n".join(
        [
            f'<div class="req req-{level.split()[0].lower()}"{where} markdown>',
            f'<div class="req-head" markdown="span"><span class="req-id" markdown="span">{head}'
            f'</span> <span class="req-level">{level}</span> '
            f'<span class="req-applies-to">{listed(one.applies_to)}</span></div>',
            "",
            sentence(one.text),
            "",
            f'<div class="req-why" markdown="span">{one_line(one.rationale)}</div>',
            f'<div class="req-foot" markdown="span">{_foot(one)}</div>',
            "</div>",
        ]
    )


def _foot(one: Requirement) -> str:
    if one.since != "unknown":
        since = f"implemented since neffos {one.since}"
    elif {seen.verdict for seen in one.peers.values()} == {ObservedVerdict.NOT_APPLICABLE}:
        since = "applies to no tested implementation"
    else:
        since = "implemented by no release yet"
    parts = [BASES[one.basis], since]
    broken = [name for name, seen in one.peers.items() if seen.verdict is ObservedVerdict.VIOLATES]
    if broken:
        parts.append(f"violated by {listed(broken)}")
    return " · ".join(parts)


# -------------------------------------------------------------------- a page for each


def own_page(one: Requirement, page: str) -> str:
    """Write the page of a requirement.

    Args:
        one: the requirement.
        page: the normative page with its block.
    """
    parts = [
        f"---\ntitle: {json.dumps(title(one))}\n"
        f"description: {json.dumps(one_line(one.text).replace('`', ''))}\n---\n\n# {one.id}",
        f"{FAMILIES[one.family]} · [in the text](/{page}#{one.id}) · "
        f"[all requirements](/requirements/index.md#{one.family.lower()})",
        _block(one, anchor=False),
        "## How tested implementations behave",
        _observations(one),
        *_differences(one),
        *section(one),
        *_vectors(one),
        "## Recorded examples",
        *_recordings(one),
        *_uses(one),
        _neighbours(one),
    ]
    return "\n\n".join(parts) + "\n"


def _observations(one: Requirement) -> str:
    rows = []
    for name, seen in one.peers.items():
        verdict = f'<span class="verdict {seen.verdict}">{_VERDICTS[seen.verdict]}</span>'
        what = f": {cell(seen.what)}" if seen.what else ""
        rows.append((name, f"{verdict}{what}", _EVIDENCE[seen.evidence]))
    return table(("implementation", "result", "evidence"), rows)


def _differences(one: Requirement) -> list[str]:
    found = [each for each in differences().values() if one.id in each.requirements]
    if not found:
        return []
    lines = (f"- {each.id}: {each.title}. {cell(each.consequence)}" for each in found)
    return ["Differences that name this requirement:", "\n".join(lines)]


def title(one: Requirement) -> str:
    """Give the title of its page: the ID, and what the requirement says, in short."""
    said = _UNSAID.sub("", one_line(one.text).replace("`", ""))
    return f"{one.id}: {shorten(said, TITLE)}"


def _vectors(one: Requirement) -> list[str]:
    kinds = (
        ("Vectors", "", vectors.resting(one.id), vectors.table),
        ("Session vectors", "session/", vectors.sessions(one.id), vectors.session_table),
    )
    parts = []
    for heading, folder, found, table_of in kinds:
        if not found:
            continue
        text = table_of(one.id)
        if len(found) > vectors.SHOWN:
            files = sorted({name for name, _ in found})
            names = listed([f"[{name}.json](/vectors/{folder}{name}.json)" for name in files])
            text += f"\n\n{count(len(found), 'vector')} cover it in all, in {names}."
        parts += [f"## {heading}", text]
    return parts


def _recordings(one: Requirement) -> list[str]:
    drawn = chosen(one.id)
    if not drawn:
        reason = one.testable[0]
        if reason.startswith(NOT_TESTABLE):
            return [f"None: {reason.removeprefix(NOT_TESTABLE)}."]
        seen = listed([_WHERE[each] for each in one.testable])
        return [f"No recording shows it. A test can see it otherwise: {seen}."]
    parts = []
    for index, recording in enumerate(drawn):
        offenders = sorted(recording.offenders(one.id))
        if recording.keeps(one.id):
            parts.append("A session that conforms:")
        elif role := recording.defects.get(one.id):
            parts.append(f"The {role} violates it:")
        elif recording.breaks(one.id):
            does = cell(one.peers[offenders[0]].what)
            parts.append(f"{listed(offenders)} violates it, and {does}:")
        else:
            parts.append(f"A session with {listed(offenders)}, which violates it elsewhere:")
        part = window(recording, one.id)
        drawing = figure(
            recording,
            "../",
            key=f"s{index}",
            connection=part.connection,
            first=part.first,
            last=part.last,
        )
        parts.append(drawing)
    others = [each for each in showing(one.id) if each not in drawn]
    if others:
        shown = [f"[{each.name}](/{each.uri})" for each in others[:8]]
        more = f", and {len(others) - 8} more" if len(others) > 8 else ""
        parts.append(f"Also in {', '.join(shown)}{more}.")
    return parts


def _uses(one: Requirement) -> list[str]:
    """Say which rows of the state tables and which constants refer to it."""
    lines = [
        f"- {machine}: in *{row.state}*, on *{row.input}*"
        + (f" where *{row.guard}*" if row.guard else "")
        + f", to *{row.next}*"
        for machine, row in rows_of(one.id)
    ]
    lines += [
        f"- the constant [`{name}`](/registry.md#{name}), {code(_value(each))}"
        for name, each in registry.constants().items()
        if one.id in each.requirements
    ]
    return ["## Where it is used", "\n".join(lines)] if lines else []


def _value(constant: registry.Constant) -> str:
    value = constant.value
    return " ".join(value) if isinstance(value, tuple) else str(value)


def _neighbours(one: Requirement) -> str:
    ids = ["", *requirements(), ""]
    at = ids.index(one.id)
    before, after = ids[at - 1], ids[at + 1]
    links = [f"[← {before}](/requirements/{before}.md)"] if before else []
    links += [f"[{after} →](/requirements/{after}.md)"] if after else []
    return '<div class="req-next" markdown="span">' + " ".join(links) + "</div>"


# -------------------------------------------------------------------- the index


def index() -> str:
    """Give all requirements as one table in HTML, which a script of the page filters."""
    heads = ["ID", "level", "requirement"]
    columns = "".join(f'<th scope="col">{each}</th>' for each in heads)
    columns += "".join(f'<th scope="col" data-peer="{each}">{each}</th>' for each in peers())
    bodies = []
    for family, title in FAMILIES.items():
        own = [each for each in requirements().values() if each.family == family]
        head = f'<tr><th scope="rowgroup" colspan="{len(heads) + len(peers())}">{title}</th></tr>'
        rows = "\n".join(map(_row, own))
        bodies.append(f'<tbody id="{family.lower()}">\n{head}\n{rows}\n</tbody>')
    return (
        '<div class="wide" tabindex="0" role="group" aria-label="All requirements">\n'
        f'<table class="requirements">\n<thead><tr>{columns}</tr></thead>\n'
        + "\n".join(bodies)
        + "\n</table>\n</div>"
    )


def _row(one: Requirement) -> str:
    shown = (count(of(one.id), what) for what, of in _SHOWN_BY.items() if of(one.id))
    about = " · ".join((listed(one.applies_to), BASES[one.basis], *shown))
    is_interop = one.basis is Basis.INTEROP
    violated = "|".join(
        name for name, seen in one.peers.items() if seen.verdict is ObservedVerdict.VIOLATES
    )
    return (
        f'<tr data-role="{" ".join(one.applies_to)}" data-level="{one.level}" '
        f'data-class="{"interoperable" if is_interop else "complete only"}" '
        f'data-violated="{violated}">'
        f'<th scope="row"><a class="ref" href="{one.id}.html">{one.id}</a></th>'
        f"<td>{one.level}</td>"
        f"<td>{sentence_html(one.text)} <small>{about}</small></td>{_marks(one)}</tr>"
    )


def of_role(role: str) -> str:
    """Give what one role has to do: each MUST, then each SHOULD, then what it may do.

    Args:
        role: ``client``, ``server`` or ``codec``.
    """
    parts = []
    for word in ("MUST", "SHOULD", "MAY"):
        own = [
            each
            for each in requirements().values()
            if role in each.applies_to and each.level.startswith(word)
        ]
        if own:
            parts.append(f"## {word} {{#{word.lower()}}}\n\n{count(len(own), 'requirement')}.")
        for family, title in FAMILIES.items():
            lines = [f"- {each.id}: {sentence(each.text)}" for each in own if each.family == family]
            if lines:
                anchor = f"{{#{word.lower()}-{family.lower()}}}"
                parts.append("\n".join([f"### {title} {anchor}", "", *lines]))
    return "\n\n".join(parts)


_SHOWN_BY: Final[Mapping[str, Callable[[str], int]]] = {
    "case": lambda id_: len(cases_of(id_)),
    "vector": lambda id_: len(vectors.resting(id_)),
    "session vector": lambda id_: len(vectors.sessions(id_)),
    "recording": lambda id_: len(showing(id_)),
}
"""What shows requirements, and how many there are for one."""


_SIGNS: Final = {
    ObservedVerdict.CONFORMS: "✓",
    ObservedVerdict.VIOLATES: "✗",
    ObservedVerdict.NOT_APPLICABLE: "n/a",
}


def _marks(one: Requirement) -> str:
    """Give a cell for each tested implementation."""
    return "".join(
        f'<td class="verdict {seen.verdict}">{_SIGNS[seen.verdict]}</td>'
        for seen in one.peers.values()
    )


def coverage() -> str:
    """Give the share of the catalogue that cases, vectors and recordings cover."""
    every = [*requirements().values()]
    testable = [each for each in every if each.is_testable]
    shown = {
        "a vector of the codec": [each for each in every if vectors.resting(each.id)],
        "a session vector": [each for each in every if vectors.sessions(each.id)],
        "a recording": [each for each in every if showing(each.id)],
        "a case of the suite": [each for each in every if cases_of(each.id)],
    }
    seen = {each.id for shown_by in shown.values() for each in shown_by}
    numbers = {
        "in the catalogue": len(every),
        "testable": len(testable),
        **{f"covered by {what}": len(each) for what, each in shown.items() if each},
        "covered by at least one of them": len(seen),
    }
    unseen = [each for each in testable if each.id not in seen]
    rows = ((what, str(number)) for what, number in numbers.items())
    text = table(("", "requirements"), rows, numbers=1)
    if unseen:
        text += f"\n\nTestable, and covered by none of these: {', '.join(e.id for e in unseen)}."
    if surplus := [each.id for each in every if each.id in seen and not each.is_testable]:
        text += f" Covered, though no test can decide it: {', '.join(surplus)}."
    reasons = [each for each in every if not each.is_testable]
    text += f'\n\n??? note "{count(len(reasons), "requirement")} that no test can see"\n\n'
    text += "\n".join(
        f"    - {each.id}: {each.testable[0].removeprefix(NOT_TESTABLE)}" for each in reasons
    )
    partly = [each for each in every if each.unseen]
    text += f'\n\n??? note "{count(len(partly), "requirement")} that tests see in some roles"\n\n'
    text += "\n".join(
        f"    - {each.id}, for a {role}: {reason}"
        for each in partly
        for role, reason in each.unseen.items()
    )
    return text


def columns() -> str:
    """Name the peers in the order of the marks in the index."""
    return listed([*peers()])


def shown_by_recordings() -> str:
    """List every recording with the requirements that it shows, and those violated in it."""
    rows = []
    for recording in recordings().values():
        about = f"{of_peer(recording.scenario)}<br>{' → '.join(map(of_peer, recording.between))}"
        broken = (f"{id_} ({role})" for id_, role in recording.defects.items())
        lines = f"[JSON Lines](/transcripts/{recording.name}.jsonl)"
        link = f"[{recording.name}](/{recording.uri}) ({lines})<br><small>{about}</small>"
        rows.append((link, " ".join(recording.shows), " ".join(broken)))
    return table(("recording", "shows", "violates"), rows)


def peers_recorded() -> str:
    """List the peers that there are recordings of, with their versions and roles."""
    found: dict[tuple[str, str], Counter[str]] = {}
    for recording in recordings().values():
        for role, group in (("client", recording.clients), ("server", recording.servers)):
            for peer in {(each["peer"], str(each.get("version", ""))) for each in group}:
                found.setdefault(peer, Counter())[role] += 1
    rows = (
        (*map(of_peer, peer), str(roles["client"] or ""), str(roles["server"] or ""))
        for peer, roles in sorted(found.items())
    )
    return table(("peer", "version", "as client", "as server"), rows, numbers=2)
