"""The command ``driver-check``: speaks to a driver or an adapter, and says what is wrong."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict
from functools import partial
from typing import Final

import click
from rich.text import Text

from neffos_conformance.cli.main import EXIT_FAIL, EXIT_PASS
from neffos_conformance.cli.options import JSON, option
from neffos_conformance.codecs.adapter_check import examine_adapter, is_adapter
from neffos_conformance.reference.embedded import embedded_server
from neffos_conformance.runner.doctor import Health
from neffos_conformance.runner.driver_check import examine_driver
from neffos_conformance.runner.driver_protocol import ANSWER_DEADLINE
from neffos_conformance.runner.line_check import LineFinding, LinePipe, check_command
from neffos_conformance.wire.console import Terminal
from neffos_conformance.wire.terminal import echo
from neffos_protocol.text import ascii_json, visible

DRIVER_CHECK_FORMAT: Final = 1

_STYLES: Final = {Health.OK: "green", Health.NOTE: "yellow", Health.FAIL: "red"}

_LABEL: Final = 18
"""Columns of the name of a step; "unknown connection" is the longest."""


@click.command("driver-check", context_settings={"ignore_unknown_options": True})
@option("--timeout", "Time limit for each line of the program.", "SECONDS", default=ANSWER_DEADLINE)
@JSON
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND…")
def driver_check_command(command: tuple[str, ...], timeout: float, as_json: bool) -> None:
    """Check the driver or codec adapter that COMMAND starts.

    Its first line says which of the two it is. The command makes a driver do one thing after the
    other at the embedded server, and sends an adapter one request of each sort. It names the line
    and the field that is wrong, what was expected, and the section of the page "The driver
    protocol" or "The codec protocol" that explains it. Run it before the cases.
    """
    findings = asyncio.run(_check(command, timeout, is_shown=not as_json))
    failed = [each for each in findings if each.outcome is Health.FAIL]
    if as_json:
        values = {
            "format": DRIVER_CHECK_FORMAT,
            "findings": [asdict(each) for each in findings],
            "passed": not failed,
        }
        echo(ascii_json(values, indent=1))
    else:
        echo("PASS" if not failed else f"FAIL: {', '.join({each.step: 0 for each in failed})}")
    sys.exit(EXIT_FAIL if failed else EXIT_PASS)


async def _check(command: tuple[str, ...], timeout: float, *, is_shown: bool) -> list[LineFinding]:
    console = Terminal(highlight=False, markup=False, emoji=False)
    findings = []
    async for each in check_command(command, partial(_examine, timeout=timeout)):
        findings.append(each)
        if is_shown:
            _show(console, each)
    return findings


async def _examine(pipe: LinePipe, timeout: float) -> AsyncIterator[LineFinding]:
    is_codec, pipe = await is_adapter(pipe, timeout)
    if is_codec:
        async for each in examine_adapter(pipe, deadline=timeout):
            yield each
        return
    async with embedded_server() as url:
        async for each in examine_driver(pipe, url, deadline=timeout):
            yield each


def _show(console: Terminal, finding: LineFinding) -> None:
    is_fail = finding.outcome is Health.FAIL
    outcome = finding.outcome.value.upper() if is_fail else finding.outcome.value
    ascii_only = console.options.ascii_only
    text = f" {finding.step:<{_LABEL}} {visible(finding.text, ascii_only=ascii_only)}"
    console.print(Text.assemble((f"{outcome:<4}", _STYLES[finding.outcome]), text), soft_wrap=True)
    details = {
        f"line {finding.line}": finding.content,
        "field": finding.field,
        "expected": finding.expected,
        "see": finding.section and f'"{finding.section}" of the page "{finding.page}"',
    }
    for name, value in details.items():
        if value:
            detail = f"{'':<{_LABEL + 6}}{name}: {visible(value, ascii_only=ascii_only)}"
            console.print(Text(detail), soft_wrap=True)
