"""What a diagram shows as a whole, in sentences."""

from __future__ import annotations

from neffos_conformance.recordings.sequence import Diagram
from neffos_conformance.wire.text import counted


def summary(diagram: Diagram) -> list[str]:
    """Give the sentences below or above a diagram."""
    arrows = len(diagram.arrows)
    connections = counted(len(diagram.connections), "connection")
    published = sum(arrow.is_published for arrow in diagram.arrows)
    rest = f", {published:,} of them to the broker" if published else ""
    lines = [f"{counted(arrows, 'arrow')} on {connections}{rest}; {verdict(diagram)}."]
    if diagram.unreadable:
        lines.append(f"{counted(diagram.unreadable, 'line')} cannot be read.")
    lines += [f"{each[0].upper()}{each[1:]}." for each in diagram.remarks]
    sides = ((diagram.before, "before"), (diagram.after, "after"))
    if where := " and ".join(f"{count} {side}" for count, side in sides if count):
        hidden = counted(diagram.before + diagram.after, "line")
        violations = ""
        if diagram.hidden_violations:
            violations = f", with {counted(diagram.hidden_violations, 'violation')}"
        lines.append(
            f"Left out: {hidden} ({where}){violations}; see --from, --to, --limit and --connection."
        )
    if not diagram.is_read_whole:
        lines.append("The lines after --to were not read.")
    if diagram.unchecked:
        count = counted(diagram.unchecked, "connection")
        lines.append(f"Not checked to the end, with too many at a time: {count}.")
    if not diagram.header:
        lines.append("The header cannot be read; whether messages may be native is unknown.")
    return lines


def verdict(diagram: Diagram) -> str:
    """Give the number of violations of each requirement."""
    if not diagram.violations:
        where = " in the lines that can be read" if diagram.unreadable else ""
        return f"no violations{where}" if diagram.arrows or not where else "nothing can be checked"
    each = ", ".join(f"{id_} ({count})" for id_, count in sorted(diagram.violations.items()))
    return f"{counted(diagram.violations.total(), 'violation')}: {each}"
