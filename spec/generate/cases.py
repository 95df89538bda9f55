"""The suite's cases, by the requirement that they show.

The one place of the site that asks the suite for its cases: a requirement's page has a section of
them where there are some, and the index counts them.
"""

from __future__ import annotations

from neffos_protocol.catalogue import Requirement


def cases_of(requirement: str) -> tuple[str, ...]:
    """Give the ids of the cases that show a requirement."""
    del requirement
    return ()


def section(requirement: Requirement) -> list[str]:
    """Write the section of a requirement's page; nothing where no case shows it."""
    found = cases_of(requirement.id)
    if not found:
        return []
    return ["## Cases", "\n".join(f"- `{each}`" for each in found)]
