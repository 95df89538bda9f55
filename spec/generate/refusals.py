"""Why a server is not reached or refuses a client, as tables: the data of ``doctor``."""

from __future__ import annotations

import re
from typing import Final

from generate.text import table, verbatim
from neffos_conformance.runner.refusals import refusals

_CODE: Final = re.compile(
    r"(?<![\w-])(--[a-z]+(?:-[a-z]+)*(?: '[^']*'| (?:[a-z]+:)?[/A-Z][\w:/@]*\w)?"
    r"|proxy_(?:http_version|set_header) [^;]+;)"
)
"""An option of a command, perhaps with its value, or a directive of nginx."""


def table_of(*steps: str) -> str:
    """Give what can be seen in some steps, why, and what to do."""
    rows = [
        (verbatim(each.seen), verbatim(each.reason), _remedy(each.remedy))
        for each in refusals()
        if each.step in steps
    ]
    return table(("what you see", "why", "what to do"), rows)


def _remedy(text: str) -> str:
    """Give a remedy, with each option and directive as code, on one line."""
    parts = _CODE.split(text)
    parts = [verbatim(each) for each in parts]
    for at in range(1, len(parts), 2):  # a browser would break an option alone after its hyphens
        kept = "" if " " in parts[at] else ' class="option"'
        parts[at] = f"<code{kept}>{parts[at]}</code>"
    return "".join(parts)
