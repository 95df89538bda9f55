"""A report in a line: the class, the requirement set and the share that was shown.

The line is a picture, or what the endpoint badge of shields.io reads. Its schema is in
https://shields.io/badges/endpoint-badge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from neffos_conformance.cases.classes import SHOWN, ConformanceClass
from neffos_conformance.recordings.page import environment

LABEL: Final = "neffos"

COLOURS: Final = {True: "#17713d", False: "#b3361c", None: "#5b6270"}
"""The colour of each answer, on which white text is readable."""

CHARACTER: Final = 7
"""Pixels of a character on the picture; ``textLength`` fits the text to them in any font."""

MARGIN: Final = 10
"""Pixels before and after a text."""


@dataclass(frozen=True, slots=True)
class Badge:
    """What a badge says.

    Attributes:
        conforms: the answer; ``None`` if it is not known.
        message: the class, the set and the share.
        title: the same in a sentence.
    """

    conforms: bool | None
    message: str
    title: str


def badge(report: dict[str, Any], name: ConformanceClass | None = None) -> Badge:
    """Give the badge of a report.

    Args:
        report: the report as values.
        name: the class to ask for; without it, the widest to which the system conforms.
    """
    outcomes = report["classes"]
    if name is None:
        met = [each for each in ConformanceClass if outcomes[each.value]["conforms"]]
        name = met[-1] if met else ConformanceClass.INTEROPERABLE
    outcome = outcomes[name.value]
    answer = {True: "", False: "not ", None: "unknown if "}[outcome["conforms"]] + name.value
    shown = outcome["testable"] - len(outcome["not_shown"])
    share = f"{shown} of {outcome['testable']}"
    set_name = report["set"]["name"]
    which = f"{set_name} {report['set']['sha256'][:SHOWN]}".strip()
    return Badge(
        outcome["conforms"],
        f"{answer} · {set_name} · {share}",
        f"{report['role']}: {answer}; requirement set {which}; {share} requirements shown",
    )


def endpoint(found: Badge) -> dict[str, Any]:
    """Give it as the values of an endpoint badge."""
    return {
        "schemaVersion": 1,
        "label": LABEL,
        "message": found.message,
        "color": COLOURS[found.conforms],
    }


def svg(found: Badge) -> str:
    """Draw it."""
    widths = [len(text) * CHARACTER + 2 * MARGIN for text in (LABEL, found.message)]
    template = environment().get_template("badge.svg")
    colour = COLOURS[found.conforms]
    return template.render(badge=found, label=LABEL, widths=widths, margin=MARGIN, colour=colour)
