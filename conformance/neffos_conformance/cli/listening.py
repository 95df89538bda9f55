"""The run of ``test client --listen``: the suite is the server, and nobody drives the client."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import Final

import click

from neffos_conformance.cases.definition import Case
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.cli.run_options import RunOptions
from neffos_conformance.listening.listener import listening_for_clients
from neffos_conformance.listening.page import Page
from neffos_conformance.listening.session import ClientNames, ListeningSession
from neffos_conformance.reports.terminal import progress_display
from neffos_conformance.runner.result import Result, in_order, without
from neffos_conformance.wire.standard_input import interrupted
from neffos_conformance.wire.terminal import echo

LOOPBACK: Final = "127.0.0.1"
"""The address to listen on, unless the user names another."""

LAST_LOOK: Final = 2.0
"""Seconds for an open page to fetch the last verdicts: it asks every second."""

NOBODY: Final = "not run: no client connected for it"
"""Why nothing is known about a case at the end of a run."""


def read_address(text: str) -> tuple[str, int]:
    """Read ``[HOST:]PORT``, with brackets around an IPv6 address.

    Raises:
        click.UsageError: it is something else.
    """
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise click.UsageError(
            f"--listen needs [HOST:]PORT, actual {text!r}. Try: --listen 8080, "
            "or --listen 0.0.0.0:8080 for a phone"
        )
    return host.removeprefix("[").removesuffix("]") or LOOPBACK, int(port)


def read_headers(texts: Sequence[str]) -> dict[str, str]:
    """Read ``NAME`` or ``NAME: VALUE``, which the client is expected to send.

    Raises:
        click.UsageError: one has no name.
    """
    found = {}
    for text in texts:
        name, _, value = text.partition(":")
        if not name.strip() or " " in name.strip():
            raise click.UsageError(
                f"--expect-header needs a name, or 'NAME: VALUE', actual {text!r}"
            )
        found[name.strip()] = value.strip()
    return found


async def listened(
    cases: Sequence[Case],
    options: RunOptions,
    address: tuple[str, int],
    names: ClientNames,
    tls: ssl.SSLContext | None,
) -> tuple[list[Result], ListeningSession]:
    """Listen until every case has a result, the time limit ends, or somebody interrupts.

    Raises:
        OSError: it cannot listen there.
    """
    session = ListeningSession(cases, names, options.timeouts)
    end = interrupted()
    async with listening_for_clients(session, *address, tls) as page:
        _announce(page)
        with progress_display(len(cases)) as add:
            session.on_result = add
            for result in session.results.values():
                add(result)
            waits = [asyncio.create_task(each.wait()) for each in (session.done, end)]
            await asyncio.wait(
                waits, timeout=options.run_timeout, return_when=asyncio.FIRST_COMPLETED
            )
            for wait in waits:
                wait.cancel()
        if page.is_watched and session.done.is_set():
            await asyncio.sleep(LAST_LOOK)
    left = without(cases, session.results.values())
    unknown = [Result(case, Verdict.UNKNOWN, NOBODY) for case in left]
    results = in_order([*session.results.values(), *unknown], cases)
    return [*results, *session.observed.found.values()], session


def _announce(page: Page) -> None:
    echo(f"dial {page.dial_url} with your client; see {page.url} for the verdicts", err=True)
    if page.is_local:
        text = f"only this machine can reach it; use --listen 0.0.0.0:{page.port} for a phone"
        echo(text, err=True)
    echo("Ctrl-C ends the run with a report", err=True)
