"""The command ``test codec``: tests a codec with the vectors."""

from __future__ import annotations

from typing import Final

import click

from neffos_conformance.cli import testing
from neffos_conformance.cli.refusals import refusing
from neffos_conformance.cli.run_options import (
    RUN_TIMEOUT,
    RunOptions,
    all_cases,
    prepare,
    selected,
    testing_options,
)
from neffos_conformance.codecs.testing import AdapterError, results_of, run_codec

REFERENCE: Final = testing.reference("codec-adapter")
"""The adapter of the reference codec."""


@click.command("codec", context_settings={"ignore_unknown_options": True})
@testing_options("codec")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND…]")
def codec_command(command: tuple[str, ...], options: RunOptions) -> None:
    """Test the codec that COMMAND adapts.

    Without a COMMAND, the reference codec is tested. See the page "The codec protocol" of the
    specification. Vectors for operations that the adapter does not support are skipped.
    """
    everything = all_cases(options, "codec")
    cases = selected(options, everything)
    run = prepare(options, everything, cases)
    with refusing(AdapterError, end=testing.NothingRanError):
        deadline = options.run_timeout or RUN_TIMEOUT
        ready, answered = run_codec(command or REFERENCE, cases, deadline=deadline)
    sut = testing.SystemUnderTest.started_by("codec", command, ready)
    testing.conclude(sut, results_of(answered, cases), run)
