"""The command ``codec``: judges a codec by the vectors."""

from __future__ import annotations

from typing import Any, Final

import click
from rich.console import Console

from neffos_conformance.cli.testing import (
    beginning,
    behind,
    conclude,
    judging_options,
    prepare,
    reference,
    selected,
    show_dry,
    take_options,
)
from neffos_conformance.codecs.testing import (
    AdapterError,
    codec_cases,
    results_of,
    run_codec,
)

REFERENCE: Final = reference("codec-adapter")
"""The adapter of our own codec."""


@click.command("codec", context_settings={"ignore_unknown_options": True})
@judging_options("codec")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- CMD…]")
def codec_command(command: tuple[str, ...], **arguments: Any) -> None:
    """Judge the codec behind an adapter, CMD, by every vector; by default our own.

    See the page "The codec protocol" of the specification. What the adapter does not support is
    not judged. Exit code 1 where a MUST is broken, 2 where nothing was answered.
    """
    options = take_options(arguments)
    everything = codec_cases()
    cases = selected(options, everything)
    if options.dry_run:
        show_dry(Console(), cases, [])
        return
    deviations = prepare(options)
    began = beginning()
    try:
        judged = run_codec(command or REFERENCE, cases, deadline=options.run_deadline)
    except AdapterError as error:
        raise click.UsageError(str(error)) from error
    subject = behind("codec", command, judged.ready)
    results = results_of(judged, cases)
    conclude(subject, results, options, deviations, [case.id for case in everything], began)
