"""The command ``doctor``: goes the way to a server step by step, and says why it ends."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict, replace
from typing import Any, Final

import click
from rich.text import Text

from neffos_conformance.cli.main import EXIT_FAIL, EXIT_PASS
from neffos_conformance.cli.options import JSON, option
from neffos_conformance.cli.reaching import reaching, target_at
from neffos_conformance.runner.doctor import DEADLINE, Diagnosis, Health, examine
from neffos_conformance.wire.console import Terminal
from neffos_conformance.wire.reach import Target
from neffos_conformance.wire.reach_options import Reached
from neffos_conformance.wire.secrets import masked
from neffos_conformance.wire.terminal import echo
from neffos_protocol.text import ascii_json, visible

DOCTOR_FORMAT: Final = 1

_STYLES: Final = {
    Health.OK: "green",
    Health.NOTE: "yellow",
    Health.FAIL: "red",
}

_LABEL: Final = 16
"""Columns of the name of a step; "headers by URL" is the longest."""


@click.command("doctor")
@click.argument("url")
@option(
    "--namespace namespaces", "Namespace to connect at the end.", "NAME", multiple=True, default=()
)
@option("--timeout", "Time limit for each step.", "SECONDS", default=DEADLINE)
@reaching
@JSON
def doctor_command(
    url: str, namespaces: tuple[str, ...], timeout: float, reached: Reached, as_json: bool
) -> None:
    """Find out why a client does not reach the server at URL.

    The command goes the way of a client step by step: name, proxy, TCP, TLS, upgrade, handshake
    and namespaces. For a step that fails it says why, and what to do. The server can be any one
    of neffos; it needs no conformance application.
    """
    target = target_at(url, reached)
    diagnoses = asyncio.run(_examine(target, namespaces, timeout, is_shown=not as_json))
    failed = next((each for each in diagnoses if each.outcome is Health.FAIL), None)
    if as_json:
        values: dict[str, Any] = {
            "format": DOCTOR_FORMAT,
            "server": str(target),
            "findings": [asdict(each) for each in diagnoses],
            "passed": failed is None,
        }
        echo(ascii_json(values, indent=1))
    else:
        echo("PASS" if failed is None else f"FAIL: {failed.step}")
    sys.exit(EXIT_PASS if failed is None else EXIT_FAIL)


async def _examine(
    target: Target, namespaces: tuple[str, ...], timeout: float, *, is_shown: bool
) -> list[Diagnosis]:
    console = Terminal(highlight=False, markup=False, emoji=False)
    diagnoses = []
    async for each in examine(target, namespaces, deadline=timeout):
        diagnosis = replace(each, text=masked(target.reach.hide(each.text)))
        diagnoses.append(diagnosis)
        if is_shown:
            _show(console, diagnosis)
    return diagnoses


def _show(console: Terminal, diagnosis: Diagnosis) -> None:
    outcome = (
        diagnosis.outcome.value.upper() if diagnosis.outcome is Health.FAIL else diagnosis.outcome
    )
    ascii_only = console.options.ascii_only
    text = f" {diagnosis.step:<{_LABEL}}{visible(diagnosis.text, ascii_only=ascii_only)}"
    console.print(
        Text.assemble((f"{outcome:<4}", _STYLES[diagnosis.outcome]), text), soft_wrap=True
    )
    for line in (diagnosis.reason, diagnosis.remedy and f"Try: {diagnosis.remedy}"):
        if line:
            console.print(Text(f"{'':<{_LABEL + 5}}{line}"), soft_wrap=True)
