"""What a check runs, by what was run whole already: it is known by digests of cases and mutants.

A new case meets every proof and benign variant at once, and a new proof every case. Later, a
sample is enough, because only the suite and the reference peers can have changed. A check that is
told to records what it has run; nobody has to do so before a case lands.
"""

from __future__ import annotations

import ast
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final
from zlib import crc32

from mutation import kill_matrix
from mutation.kill_matrix import Plan
from mutation.registry import Mutant
from neffos_conformance.cases.definition import Case, Role
from neffos_conformance.codecs.catalogue import all_cases

CHECKED: Final = Path(__file__).with_name("checked.json")
"""The committed file: for each role, the digests of what a check has run whole."""

MOST_NEW: Final = 60
"""New cases and mutants of a role of which all pairs run: they take a second or more each."""

Digests = Mapping[str, str]
"""A digest for the ID of each case and the name of each mutant."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a check runs of one role.

    Attributes:
        plan: the cases to run against each mutant.
        too_many: the number of new cases and mutants, if only a sample of their pairs runs.
        digests: what is recorded after a check without error; empty if nothing is.
    """

    plan: Plan
    too_many: int
    digests: Digests


def chosen(role: Role, seed: int | None) -> Choice:
    """Choose what a check of a role runs: all pairs of what is new, and a sample of the others.

    Args:
        role: the role.
        seed: of the sample; without one, all pairs run.
    """
    cases = all_cases(role)
    # Those of codecs are few, and no sample is drawn of them.
    digests = {} if role == "codec" else digests_of(cases, kill_matrix.sampled(role))
    if seed is None:
        return Choice(kill_matrix.complete_plan(kill_matrix.of_role(role), cases), 0, digests)
    known = read_checked(role)
    new = frozenset(name for name, digest in digests.items() if known.get(name) != digest)
    if len(new) > MOST_NEW:
        return Choice(kill_matrix.check_plan(role, cases, seed, frozenset()), len(new), {})
    return Choice(kill_matrix.check_plan(role, cases, seed, new), 0, digests)


def read_checked(role: Role) -> Digests:
    """Give the digests of what was run whole."""
    found: Digests = json.loads(CHECKED.read_text("utf-8")).get(role, {})
    return found


def write_checked(digests: Mapping[Role, Digests]) -> None:
    """Record that a check has run all that is new; roles without digests keep those they have."""
    run = {role: each for role, each in digests.items() if each}
    values = json.loads(CHECKED.read_text("utf-8")) | run
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
        source = path.read_bytes()
        lines = source.splitlines(keepends=True)
        for node in ast.parse(source).body:
            for about, parts in _mutants_in(node):
                found[about] += [_segment(lines, part) for part in parts]
    return found


def _segment(lines: Sequence[bytes], part: ast.stmt | ast.expr) -> str:
    """Do what ``ast.get_source_segment`` does, which splits the whole source each time."""
    its = [*lines[part.lineno - 1 : part.end_lineno]]
    its[-1] = its[-1][: part.end_col_offset]  # first, as it may be the only line
    its[0] = its[0][part.col_offset :]
    return b"".join(its).decode()


def _mutants_in(node: ast.stmt) -> Iterator[tuple[str, Sequence[ast.stmt | ast.expr]]]:
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
