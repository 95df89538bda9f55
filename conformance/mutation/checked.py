"""What a check has run whole already: cases and mutants by digests, so that new ones are known.

A new case meets every proof and benign variant at once, and a new proof every case. Later, a
sample is enough, because only the suite and the reference peers can have changed. A check that is
told to records what it has run; nobody has to do so before a case lands.
"""

from __future__ import annotations

import ast
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final
from zlib import crc32

from mutation.registry import Mutant
from neffos_conformance.cases.definition import Case, Role

CHECKED: Final = Path(__file__).with_name("checked.json")
"""The committed file: for each role, the digests of what a check has run whole."""

Digests = Mapping[str, str]
"""A digest for the ID of each case and the name of each mutant."""


def read_checked(role: Role) -> Digests:
    """Give the digests of what was run whole."""
    found: Digests = json.loads(CHECKED.read_text("utf-8")).get(role, {})
    return found


def write_checked(digests: Mapping[Role, Digests]) -> None:
    """Record that a check has run all that is new; other roles keep their digests."""
    values = json.loads(CHECKED.read_text("utf-8")) | digests
    CHECKED.write_text(json.dumps(values, indent=0, sort_keys=True) + "\n", "utf-8")


def digests_of(cases: Sequence[Case], mutants: Sequence[Mutant]) -> Digests:
    """Give the digests of cases, by what they require and do, and of mutants, by their source."""
    texts = {case.id: [*case.requirements, *map(str, case.steps)] for case in cases}
    texts |= {each.name: [each.breaks, *_sources()[each.about]] for each in mutants}
    return {name: f"{crc32(chr(10).join(text).encode()):08x}" for name, text in texts.items()}


@cache
def _sources() -> Mapping[str, list[str]]:
    """Give the source of each mutant by its sentence, which two of them may share."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        text = path.read_text("utf-8")
        for node in ast.parse(text).body:
            for about, parts in _mutants_in(node):
                found[about] += [ast.get_source_segment(text, part) or "" for part in parts]
    return found


def _mutants_in(node: ast.stmt) -> Iterator[tuple[str, Sequence[ast.AST]]]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() if node.decorator_list:
            about = (ast.get_docstring(node) or "").partition("\n")[0]
            yield about, (*node.decorator_list, node)
        case ast.Expr(ast.Call(args=rows)):  # a table: see ``mutants``
            for title, peer in zip(rows[::2], rows[1::2], strict=False):
                yield _text(title).partition(": ")[2], (title, peer)


def _text(node: ast.expr) -> str:
    value: Any = node.value if isinstance(node, ast.Constant) else ""
    return str(value)
