"""The differences between implementations: a table first, then each, grouped by its impact."""

from __future__ import annotations

from textwrap import indent
from typing import Final

from generate.recordings import SUITE, figure, of_difference
from generate.text import attribute, cell, count, sentence, table
from neffos_protocol.catalogue import (
    Difference,
    Evidence,
    Impact,
    differences,
    peers,
)

GROUPS: Final = {
    Impact.SECURITY: "Security",
    Impact.DATA_LOSS: "Lost messages",
    Impact.INTEROP: "Interoperability",
    Impact.COSMETIC: "Cosmetic",
}
"""The heading of each impact, the gravest first."""

SEVERITIES: Final = ("high", "medium", "low")

_EVIDENCE: Final = {Evidence.MEASURED: "Measured.", Evidence.READ: "Read in the source."}


def ordered(impact: Impact) -> list[Difference]:
    """Give the differences of an impact, the gravest first."""
    found = (each for each in differences().values() if each.impact is impact)
    return sorted(found, key=lambda each: SEVERITIES.index(each.severity))


def affected(one: Difference, role: str = "") -> tuple[str, ...]:
    """Give the peers that do something else than the specification asks for.

    Args:
        one: the difference.
        role: the role in which they do it; any if it is empty.
    """
    found = {
        peer
        for each in one.behaviours
        if not each.conforms and (not role or not each.roles or role in each.roles)
        for peer in each.peers
    }
    return tuple(peer for peer in peers() if peer in found)


def summary() -> str:
    """Give one row for each difference: what, whom it affects, how grave, and what to do."""
    rows = (
        (
            f"[{one.id}](#{one.id}){{.ref}}",
            f"{GROUPS[impact]}, **{one.severity}**",
            cell(one.title),
            ", ".join(affected(one)) or "none of these",
            cell(one.workaround) or "none known",
        )
        for impact in GROUPS
        for one in ordered(impact)
    )
    return table(("ID", "impact", "what", "affected", "workaround"), rows)


def by_impact(root: str) -> str:
    """Give every difference under the heading of its impact."""
    parts = []
    for impact, heading in GROUPS.items():
        own = ordered(impact)
        parts.append(f"## {heading} {{#{impact}}}\n\n{count(len(own), 'difference')}.")
        parts += [_whole(one, root) for one in own]
    return "\n\n".join(parts)


def _whole(one: Difference, root: str) -> str:
    parts = [
        f"### {one.id}: {one.title} {{#{one.id}}}",
        f'<p class="dv-id">Severity: <strong>{one.severity}</strong></p>',
        "\n".join(
            f"- **{', '.join(each.peers)}**{f' on {each.backend}' if each.backend else ''}: "
            f"{cell(each.does)}. <small>{_EVIDENCE[each.evidence]}"
            f"{' Conforms.' * each.conforms}</small>"
            for each in one.behaviours
        ),
        f"**The specification**: {sentence(one.choice)} ({', '.join(one.requirements)})",
        *(
            f"{id_} counts as not violated: {cell(reason)}."
            for id_, reason in one.unviolated.items()
        ),
        f"**Impact**: {sentence(one.consequence)}",
        f"**Workaround**: {sentence(one.workaround) if one.workaround else 'none known.'}",
    ]
    for recording in of_difference(one.id):
        client, server = recording.between
        peer = server if client == SUITE else client
        parts.append(
            f'??? example "Recorded with {attribute(peer)}"\n\n'
            + indent(figure(recording, root, key=recording.name.replace("/", "-")), "    ")
        )
    if one.unrecorded:
        parts.append(f"**No recording**: {sentence(one.unrecorded)}")
    return "\n\n".join(parts)
