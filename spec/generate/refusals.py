"""Why a server is not reached or refuses a client, as tables: the data of ``doctor``."""

from __future__ import annotations

import re
from typing import Final

from generate.text import table, verbatim
from neffos_conformance.runner.refusals import refusals

_OPTION: Final = re.compile(r"(?<![\w-])(--[a-z]+(?:-[a-z]+)*)")
"""An option of a command. A browser would break the line after its hyphens."""


def table_of(*steps: str) -> str:
    """Give what can be seen in some steps, why, and what to do."""
    rows = [
        (verbatim(each.seen), verbatim(each.reason), _remedy(each.remedy))
        for each in refusals()
        if each.step in steps
    ]
    return table(("what you see", "why", "what to do"), rows)


def _remedy(text: str) -> str:
    """Give a remedy, with each option as code, on one line."""
    parts = _OPTION.split(text)
    parts = [verbatim(each) for each in parts]
    parts[1::2] = [f'<code class="option">{each}</code>' for each in parts[1::2]]
    return "".join(parts)
