"""``python -m mutation.generated``: draw mutants, and see which of them the suite kills."""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Sequence
from random import randrange
from typing import Final

import click

from mutation.generated import score

ROLES: Final = ("server", "client", "codec", "transport")

SAMPLE: Final = 1000
"""Mutants of each role."""

JOBS: Final = os.cpu_count() or 1

SEEDS: Final = 1 << 16


@click.command()
@click.option("--role", "roles", type=click.Choice(ROLES), multiple=True, help="Role to run.")
@click.option("--sample", type=int, default=SAMPLE, show_default=True, help="Mutants of each role.")
@click.option("--seed", type=int, help="Seed of the sample [default: another one at each run].")
@click.option("--share", is_flag=True, help="Run the share of CI, which may not fall.")
@click.option("--publish", is_flag=True, help="Write the figures that the site shows.")
@click.option("--jobs", type=int, default=JOBS, help="Processes [default: one a processor].")
def main(
    roles: Sequence[str],
    sample: int,
    seed: int | None,
    *,
    share: bool,
    publish: bool,
    jobs: int,
) -> None:
    """Draw mutants, and show which of them the suite kills.

    A sample is drawn by a seed. The oracle, which knows no case of the suite, decides which of the
    mutants break a requirement; the score is the share of these that a case kills. A run that was
    interrupted goes on with the same seed. The report is reports/mutation.json.

    Exit status: 0 passed; 1 failed; 2 usage error or nothing ran.
    """
    floor = tomllib.loads(score.FLOOR.read_text("utf-8"))
    seed = floor["seed"] if share else seed
    seed = randrange(SEEDS) if seed is None else seed  # noqa: S311  # no secret
    click.echo(f"seed {seed}. Try: --seed {seed} to continue, or for the same mutants")
    reports = []
    for role in roles or ROLES:
        size = floor[role]["sample"] if share else sample
        path = score.journal(role, seed, is_thorough=not share)
        outcomes = list(score.run(role, seed, size, jobs, path, is_thorough=not share))
        reports.append(score.report(role, seed, outcomes))
        for line in score.lines(reports[-1]):
            click.echo(line)
    score.write(reports)
    if publish:
        score.publish(reports)
    has_fallen = False
    for each in reports if share else ():
        wanted, killed = floor[each["role"]]["killed"], each["killed"]
        if killed < wanted:
            has_fallen = True
            click.echo(f"{each['role']}: expected {wanted} killed at least, actual {killed}")
    sys.exit(has_fallen)


if __name__ == "__main__":
    main()
