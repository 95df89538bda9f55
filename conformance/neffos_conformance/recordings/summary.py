"""A sequence diagram in sentences: what is shown, what is not, and what is violated."""

from __future__ import annotations

from neffos_conformance.recordings.sequence import Diagram


def summary(diagram: Diagram) -> list[str]:
    """Give the sentences below or above a diagram."""
    arrows, rows = len(diagram.arrows), len(diagram.rows)
    connections = counted(len(diagram.connections), "connection")
    lines = [f"{counted(arrows, 'arrow')} on {connections}; {verdict(diagram)}."]
    if arrows < rows:
        lines.append(f"{counted(rows - arrows, 'line')} shown cannot be read.")
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
        return "no violations"
    each = ", ".join(f"{id_} ({count})" for id_, count in sorted(diagram.violations.items()))
    return f"{counted(diagram.violations.total(), 'violation')}: {each}"


def counted(number: int, what: str) -> str:
    """Give a number with its noun, in the plural where it has to be."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
