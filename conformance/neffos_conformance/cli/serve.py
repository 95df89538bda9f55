"""The command ``serve``: the reference server with the conformance application."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import click

from neffos_asyncio import exchange_at, listening
from neffos_asyncio.exchange import PREFIX, Exchange
from neffos_asyncio.listening import is_fast
from neffos_conformance.cli.options import EXISTING_FILE, HOST, PORT, READY, choice, option
from neffos_conformance.reference import identity
from neffos_conformance.reference.application import servers
from neffos_conformance.wire.broker import masked_broker
from neffos_conformance.wire.secrets import masked
from neffos_conformance.wire.standard_input import interrupted
from neffos_conformance.wire.terminal import echo
from neffos_protocol.text import ascii_json

LEVELS: Final = ["debug", "info", "warning", "error"]


@click.command("serve")
@HOST
@PORT
@option("--path", "Path of the application.", "TEXT", default="/")
@option("--cert", "Certificate (PEM), for wss.", "FILE", type=EXISTING_FILE)
@option("--key", "Key (PEM), if the certificate's file has none.", "FILE", type=EXISTING_FILE)
@option("--exchange", "Redis or NATS that servers share.", "URL")
@option("--exchange-prefix", "What its channels begin with.", "TEXT", default=PREFIX)
@option("--fast/--no-fast", "Use picows and uvloop; by default, if they are there.", default=None)
@READY
@choice("--log-level", "Least severe log level.", LEVELS, "warning")
def serve_command(
    host: str,
    port: int,
    path: str,
    cert: Path | None,
    key: Path | None,
    exchange: str | None,
    exchange_prefix: str,
    fast: bool | None,
    as_json: bool,
    log_level: str,
) -> None:
    """Serve the conformance application until interrupted.

    The reference server offers the application at the URL that it prints. The endpoints /mixed and
    /native are below that URL.

    Servers with one exchange share their clients. An endpoint's channels begin with the prefix and
    the endpoint's path.
    """
    if not path.startswith("/"):
        raise click.UsageError(f"--path must begin with a slash: {path}")
    if key is not None and cert is None:
        raise click.UsageError("--key needs --cert")
    tls = None
    if cert is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            tls.load_cert_chain(cert, key)
        except (OSError, ssl.SSLError) as error:
            raise click.UsageError(f"cannot use {cert} as a certificate: {error}") from error
    shared = None if exchange is None else _exchange(exchange, exchange_prefix)
    logging.basicConfig(level=log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
    try:
        fast = is_fast(fast)
    except ModuleNotFoundError as error:
        raise click.UsageError(f"--fast: {error}") from error
    with suppress(KeyboardInterrupt):
        _runner(fast)(_serve(host, port, path, tls, shared, fast, as_json))


def _runner(fast: bool) -> Callable[[Coroutine[Any, Any, None]], None]:
    """Return what runs the server in a loop: that of uvloop where that is wanted, and there."""
    if fast:
        with suppress(ModuleNotFoundError):  # there is none for Windows
            from uvloop import run

            return run
    return asyncio.run


def _exchange(url: str, prefix: str) -> Callable[[str], Exchange]:
    """Return what makes the exchange of an endpoint by its path."""
    try:
        exchange_at(url, prefix + "/")  # once in advance, for its errors
    except ImportError as error:
        kind = "nats" if "nats" in str(error) else "redis"
        text = f"--exchange needs a library. Try: pip install 'neffos-wire[{kind}]'"
        raise click.UsageError(text) from error
    except ValueError as error:
        raise click.UsageError(f"--exchange {masked_broker(url)}: {masked(str(error))}") from error
    return lambda path: exchange_at(url, prefix + path)


async def _serve(
    host: str,
    port: int,
    path: str,
    tls: ssl.SSLContext | None,
    exchange: Callable[[str], Exchange] | None,
    fast: bool,
    as_json: bool,
) -> None:
    end = interrupted(or_ended=as_json)
    try:
        served = servers(path, exchange=exchange)
        async with listening(served, host, port, tls=tls, fast=fast) as listener:
            url = listener.url(path)
            if as_json:
                ready = {"ready": True, **identity(), "endpoints": {"reference": url}}
                echo(ascii_json(ready))
            else:
                echo(f"the conformance application is at {url}; Ctrl-C ends it")
            await end.wait()
    except OSError as error:
        raise click.ClickException(f"cannot listen on {host}:{port}: {error}") from error
