"""The commands ``list`` and ``explain``: the cases, and the details of one of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Final, Literal

import click
from rich.markup import escape
from rich.table import Table

from neffos_conformance.cases.definition import ROLES, SLOW, Case, Role, cases_of, select
from neffos_conformance.cases.dimensions import dimensions
from neffos_conformance.cases.features import features, needed
from neffos_conformance.cases.levels import level_of
from neffos_conformance.cli.options import JSON, selection_options
from neffos_conformance.cli.refusals import refusing
from neffos_conformance.codecs.catalogue import EVERY_ROLE, all_cases
from neffos_conformance.wire.console import Terminal
from neffos_conformance.wire.terminal import echo
from neffos_protocol.catalogue import Requirement, requirement, requirements
from neffos_protocol.text import ascii_json

if TYPE_CHECKING:
    from neffos_conformance.runner.result import Result

WIDTH: Final = 100
"""Columns of an explanation, on a terminal that has as many."""

SHOWN_VECTORS: Final = 10
"""Vectors of a requirement that are listed; ``list codec`` lists all."""

FEATURES: Final = "features"
"""What lists the features of servers, in place of cases."""

DIMENSIONS: Final = "dimensions"
"""What lists the dimensions likewise."""


@click.command("list")
@click.argument("what", type=click.Choice((*EVERY_ROLE, FEATURES, DIMENSIONS)), required=False)
@selection_options("List")
@JSON
def list_command(
    what: Role | Literal["features", "dimensions"] | None,
    patterns: tuple[str, ...],
    tags: tuple[str, ...],
    as_json: bool,
) -> None:
    """List the cases, the features of servers, or the dimensions.

    A feature is a part that a server may lack. The cases that need it are skipped then. A dimension
    is a way in which cases vary; --case 'RM-1.1[binary]' runs a variation.
    """
    if what == FEATURES:
        _list_features(as_json=as_json)
        return
    if what == DIMENSIONS:
        _list_dimensions(as_json=as_json)
        return
    roles: tuple[Role, ...] = (what,) if what else ROLES
    there = [case for each in roles for case in all_cases(each)]
    with refusing(ValueError):
        cases = select(there, patterns, tags, is_slow_left_out=False)
    if as_json:
        echo(ascii_json([_values(case) for case in cases], indent=2))
        return
    console = Terminal()
    table = Table(box=None, pad_edge=False)
    for name, no_wrap in (("case", True), ("title", False), ("covers", False), ("tags", False)):
        table.add_column(name, no_wrap=no_wrap)
    for case in cases:
        table.add_row(case.id, escape(case.title), " ".join(case.requirements), " ".join(case.tags))
    console.print(table)
    counts = Counter(case.role for case in cases)
    console.print(", ".join(f"{n} for a {each}" for each, n in counts.items()))


def _list_features(*, as_json: bool) -> None:
    needing = Counter(id_ for case in cases_of("server") for id_ in needed(case))
    if as_json:
        values = [{**asdict(each), "cases": needing[each.id]} for each in features()]
        echo(ascii_json(values, indent=2))
        return
    console = Terminal()
    table = Table(box=None, pad_edge=False)
    for name in ("feature", "level", "cases", "what it is", "needs"):
        table.add_column(name, no_wrap=name != "what it is")
    for each in features():
        number = str(needing[each.id])
        table.add_row(each.id, each.level, number, escape(each.about), " ".join(each.needs))
    console.print(table)
    console.print(f"{len(features())} features; a case needs all that it uses")


def _list_dimensions(*, as_json: bool) -> None:
    rows = [(each, value) for each in dimensions() for value in each.values]
    if as_json:
        shown = [
            {"dimension": each.id, "value": value.name, "about": value.about}
            for each, value in rows
        ]
        echo(ascii_json(shown, indent=2))
        return
    console = Terminal()
    table = Table(box=None, pad_edge=False)
    for name in ("dimension", "value", "the case, where"):
        table.add_column(name, no_wrap=name != "the case, where")
    for each, value in rows:
        table.add_row(each.id, value.name, escape(value.about))
    console.print(table)
    console.print(f"{len(dimensions())} dimensions with {len(rows)} values")


@click.command("explain")
@click.argument("name")
def explain_command(name: str) -> None:
    """Explain a requirement or a case, such as NS-12 or NS-12.1.

    For a requirement: its rationale, how tested implementations behave, its cases and vectors, and
    a session with the reference implementation. For a case: its script and its requirements.
    """
    console = Terminal(width=min(Terminal().width, WIDTH), highlight=False)
    wanted = name.upper()
    if wanted in requirements():
        _explain(console, requirement(wanted))
        return
    for role in EVERY_ROLE:
        for case in all_cases(role):
            if case.id.upper() == wanted:
                _explain_case(console, case)
                return
    raise click.UsageError(
        f"there is no requirement or case {name}. Try: neffos-wire list, or a requirement of "
        f"{', '.join(dict.fromkeys(each.family for each in requirements().values()))}"
    )


def _explain(console: Terminal, about: Requirement) -> None:
    console.print(f"[bold]{about.id}[/]  {about.level.value}, for {', '.join(about.applies_to)}")
    console.print(f"\n{escape(about.text.strip())}\n")
    console.print(f"[bold]rationale[/]  {escape(about.rationale.strip())}")
    console.print(f"[bold]basis[/]  {about.basis.value}")
    if not about.is_testable:
        console.print(f"[bold]not tested[/]  {escape(about.testable[0])}")
    for role, reason in about.unseen.items():
        console.print(f"[bold]not tested in a {role}[/]  {escape(reason)}")
    for peer, observation in about.peers.items():
        what = f": {escape(observation.what.strip())}" if observation.what else ""
        verdict = f"{observation.verdict.value}, {observation.evidence.value}"
        console.print(f"[bold]{escape(peer)}[/]  {verdict}{what}")
    for role in ROLES:
        cases = [case for case in cases_of(role) if about.id in case.requirements]
        if cases:
            console.print(f"\n[bold]cases for a {role}[/]")
        for case in cases:
            console.print(f"  {case.id:9} {escape(case.title)}", soft_wrap=True)
    vectors = [case for case in all_cases("codec") if about.id in case.requirements]
    if vectors:
        named = " ".join(case.id for case in vectors[:SHOWN_VECTORS])
        more = f" and {len(vectors) - SHOWN_VECTORS} more" if len(vectors) > SHOWN_VECTORS else ""
        console.print(f"\n[bold]vectors[/]  {named}{more}")
    shown = _best_case([case for role in ROLES for case in cases_of(role)], about.id)
    if shown is not None:
        console.print(
            f"\n[bold]{shown.id} with the reference {shown.role}[/]  {escape(shown.title)}"
        )
        _show_log(console, _run(shown))
        console.print(f"\nneffos-wire test {shown.role} --case {about.id} tests a {shown.role}")


def _run(case: Case) -> Result:
    """Run a case on the reference server or client, all of which a list does without."""
    import asyncio

    from neffos_conformance.cli.test_client import REFERENCE
    from neffos_conformance.reference.embedded import embedded_server
    from neffos_conformance.runner.driver_pool import to_client
    from neffos_conformance.runner.run import DEFAULT_TIMEOUTS, to_server

    async def run_it() -> Result:
        if case.role == "server":
            async with embedded_server() as url:
                return await to_server(url)(case)
        async with to_client(REFERENCE, drivers=1, timeouts=DEFAULT_TIMEOUTS) as (run, _):
            return await run(case)

    return asyncio.run(run_it())


def _show_log(console: Terminal, result: Result) -> None:
    from neffos_conformance.reports.findings import have_connections, logged_steps

    steps = logged_steps(result)
    are_many = have_connections(steps)
    for step in steps:
        number = f"{step.entry.connection} " if are_many else ""
        arrow = "→" if step.entry.from_client else "←"
        console.print(f"  {number}{arrow} {step.text()}", markup=False, soft_wrap=True)


def _best_case(cases: Iterable[Case], id_: str) -> Case | None:
    """Give the case that shows a requirement best: the shortest of its own cases."""
    fitting = [case for case in cases if id_ in case.requirements and SLOW not in case.tags]
    own = [case for case in fitting if case.id.startswith(f"{id_}.")]
    return min(own or fitting, key=lambda case: len(case.steps), default=None)


def _explain_case(console: Terminal, case: Case) -> None:
    console.print(f"[bold]{case.id}[/]  {escape(case.title)}, for a {case.role}")
    if case.why:
        console.print(escape(case.why.strip()))
    for id_ in case.requirements:
        about = requirement(id_)
        console.print(f"\n[bold]{id_}[/]  {escape(about.text.strip())}")
    if case.role == "server":
        needs = ", ".join(sorted(needed(case))) or "nothing"
        console.print(f"\n[bold]level[/]  {level_of(case)}, needs {needs}")
    if case.steps:
        console.print("\n[bold]script[/]")
        for line in case.steps:
            console.print(f"  {escape(str(line))}", soft_wrap=True)
    console.print(f"\nneffos-wire test {case.role} --case {case.id}")


def _values(case: Case) -> dict[str, object]:
    return {
        "id": case.id,
        "role": case.role,
        "title": case.title,
        "requirements": list(case.requirements),
        "tags": list(case.tags),
        **(
            {"level": level_of(case), "needs": sorted(needed(case))}
            if case.role == "server"
            else {}
        ),
        "script": [str(line) for line in case.steps],
    }
