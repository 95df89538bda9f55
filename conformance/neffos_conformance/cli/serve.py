"""The command ``serve``: the reference server with the conformance application."""

from __future__ import annotations

import asyncio
import json
import logging
import platform
import signal
import ssl
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Final

import click

from neffos_asyncio import listening
from neffos_conformance.reference.application import servers
from neffos_conformance.wire.standard_input import ended

PEER: Final = "neffos-wire"
"""The name of the reference server and client."""

_LEVELS: Final = click.Choice(["debug", "info", "warning", "error"])
_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default=True,
    metavar="N",
    help="Port; 0 takes a free one.",
)
@click.option("--path", default="/", show_default=True, help="Path of the application.")
@click.option("--cert", type=_FILE, metavar="FILE", help="Certificate (PEM), to serve wss.")
@click.option("--key", type=_FILE, metavar="FILE", help="Its key, if that is a separate file.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Write a line of JSON when ready, and stop when standard input ends.",
)
@click.option(
    "--log-level",
    type=_LEVELS,
    default="warning",
    show_default=True,
    help="Least level of the messages on standard error.",
)
def serve_command(
    host: str,
    port: int,
    path: str,
    cert: Path | None,
    key: Path | None,
    as_json: bool,
    log_level: str,
) -> None:
    """Serve the conformance application.

    The command prints the application's URL, and serves until it is interrupted. Below that URL
    are the endpoints /mixed and /native.
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
    logging.basicConfig(level=log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(host, port, path, tls, as_json))


async def _serve(
    host: str, port: int, path: str, tls: ssl.SSLContext | None, as_json: bool
) -> None:
    loop = asyncio.get_running_loop()
    end = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # on Windows an interrupt raises instead
            loop.add_signal_handler(each, end.set)
    try:
        async with listening(servers(path), host, port, tls=tls) as listener:
            url = listener.url(path)
            if as_json:
                ready = {
                    "ready": True,
                    "peer": PEER,
                    "version": version("neffos-wire"),
                    "runtime": f"Python {platform.python_version()}",
                    "endpoints": {"reference": url},
                }
                click.echo(json.dumps(ready))
                parent = asyncio.create_task(ended())
                parent.add_done_callback(lambda _: end.set())
            else:
                click.echo(f"the conformance application is at {url}; Ctrl-C ends it")
            await end.wait()
    except OSError as error:
        raise click.UsageError(f"cannot listen on {host}:{port}: {error}") from error
