"""Checks the state tables by a model checker: ``python -m proving``.

It writes the tables as a Promela model, has SPIN search each configuration, and then each table
with one wrong row, which SPIN must refute.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from typing import Final

from neffos_conformance.wire.transcript import save
from neffos_protocol.state_machines import machines
from proving import results
from proving.configurations import CONFIGURATIONS, Configuration
from proving.faults import FAULTS, LIVE, TableFault
from proving.played_rows import taken_by_cases, why_untaken
from proving.promela import model, row_name, rows_of
from proving.spin import MissingToolError, ModelError, Search, SearchResult, check_tools, search
from proving.trails import entries, head

MISSING: Final = 4
"""The exit status where a toolchain is missing, as of the other targets."""


def run_fault(fault: TableFault) -> SearchResult:
    """Search the model of a table with a fault for what refutes its property."""
    is_live = fault.property in LIVE
    text = model(fault.machines(), fault.size, (fault.property,))
    return search(text, Search(is_live=is_live, is_shortest=not is_live))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _check(chosen: Sequence[Configuration]) -> Iterator[tuple[Configuration, SearchResult]]:
    for each in chosen:
        found = each.run()
        verb = "searched" if each.is_searched else "proved"
        _say(
            f"{each.name}: {found.problem or verb} ({', '.join(each.properties)}), "
            f"{found.states:,} states, {found.transitions:,} transitions, depth {found.depth:,}, "
            f"{found.seconds:.1f} s, {found.mebibytes:,.0f} MiB"
        )
        yield each, found
        if found.problem:
            _say("\n".join(found.trail))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; give 1 where a property fails or a fault is not found."""
    parser = argparse.ArgumentParser(prog="proving", description=__doc__)
    parser.add_argument("--share", action="store_true", help="only what takes some seconds")
    parser.add_argument("--only", action="append", metavar="NAME", help="only one configuration")
    parser.add_argument("--record", action="store_true", help="write figures and counterexamples")
    options = parser.parse_args(arguments)
    try:
        check_tools()
        return _run(options)
    except MissingToolError as missing:
        sys.stderr.write(f"{missing}\n")
        return MISSING
    except ModelError as error:
        sys.stderr.write(f"{error}\n")
        return 3


def _run(options: argparse.Namespace) -> int:
    chosen = [
        each
        for each in CONFIGURATIONS
        if (each.name in options.only if options.only else each.is_share or not options.share)
    ]
    found = dict(_check(chosen))
    is_wrong = any(each.problem for each in found.values())
    if options.record:
        results.save(found)
    for fault in () if options.only else FAULTS:
        outcome = run_fault(fault)
        verdict = f"refuted: {outcome.problem}" if outcome.problem else "NOT REFUTED"
        _say(f"{fault.name} ({fault.property}): {verdict}")
        is_wrong |= not outcome.problem
        if options.record and outcome.problem:
            path = results.FOLDER / f"{fault.name}.jsonl"
            save(path, head(fault), entries(outcome.trail, fault.size))
    if not options.only:
        is_wrong |= not _are_played()
    return int(is_wrong)


def _are_played() -> bool:
    """Say whether cases lead live peers through every row that correct ends take."""
    logging.disable()  # handlers fail on purpose
    played, taken = taken_by_cases(), results.load()["taken"]
    untaken = {
        row_name(*each): why_untaken(*each)
        for each in rows_of(machines())
        if row_name(*each) in {*taken} - played
    }
    _say(f"of {len(taken)} rows that correct ends take, {len({*taken} & played)} are played live")
    for name, why in untaken.items():
        _say(f"  {name}: {why or 'NOT PLAYED'}")
    return all(untaken.values())


if __name__ == "__main__":
    sys.exit(main())
