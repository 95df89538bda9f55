"""Tests two Go servers behind one exchange, as ``test server URL1 URL2`` does.

Redis and NATS are Debian's packages ``redis-server`` and ``nats-server``. One that is not on this
machine is left out, and the output says so. In the folder ``conformance``:

    python -m peers.exchanges [NAME ...]

Exit status: 0 passed; 1 failed; 2 unknown name.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import click

from neffos_conformance.wire.subprocesses import running
from peers.implementations import GO_PEER, KNOWN_FAILURES, PEERS, REFERENCE

CASES: Final = ("EV-8.1", "EV-8.2", "EV-8.12", "RM-4", "SX-1", "SX-2", "FR-11.3", "HS-3.2")
"""Cases whose messages cross, and those that an exchange is known to fail: a cheap share. Cases
about the moment or the order of broadcasts are not among them: NATS keeps neither."""

SERVERS: Final = {
    "redis": ["redis-server", "--bind", "127.0.0.1", "--port"],
    "nats": ["nats-server", "-a", "127.0.0.1", "-p"],
}
"""The commands of the exchanges; the port follows."""


EXCHANGES: Final = tuple(SERVERS)
"""Their names."""


def exchange_failures(names: Sequence[str]) -> int:
    """Test two servers with each exchange, print what came, and give the number that failed."""
    failed = 0
    for name in names:
        if shutil.which(SERVERS[name][0]) is None:
            click.echo(f"neffos-go over {name}: left out, since {SERVERS[name][0]} is missing")
            continue
        with exchange(name) as address, ExitStack() as stack, TemporaryDirectory() as folder:
            command = [str(GO_PEER), "serve", "-exchange", address]
            ready = [stack.enter_context(running(command)) for _ in range(2)]
            urls = [each["endpoints"]["gorilla"] for each in ready]
            failed += _test(name, urls, Path(folder) / "report.json")
    return failed


@contextmanager
def exchange(name: str) -> Iterator[str]:
    """Run an exchange, and give its address when it accepts connections."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = TemporaryDirectory()  # Redis leaves a file where it ran
    process = subprocess.Popen(
        [*SERVERS[name], str(port)],
        cwd=folder.name,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None  # noqa: S101  # it is a pipe
        if not any("ready" in line.lower() for line in process.stdout):
            raise click.ClickException(f"{SERVERS[name][0]} ended before it was ready")
        yield f"{name}://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate()
        folder.cleanup()


def _test(name: str, urls: Sequence[str], report: Path) -> int:
    command = [REFERENCE, "test", "server", *urls, "--features", "all", "--report", str(report)]
    for each in CASES:
        command += ["--case", each]
    for file in PEERS["neffos-go"].known[f"neffos-go/{name}"]:
        command += ["--known-failures", str(KNOWN_FAILURES / file)]
    done = subprocess.run(command, capture_output=True, text=True)
    is_linked = done.returncode == 0 and "as on one" in " ".join(done.stdout.split())
    last = (done.stdout + done.stderr).splitlines()
    click.echo(f"neffos-go over {name}: {last[-1] if is_linked else chr(10).join(last[-30:])}")
    return 0 if is_linked else 1


@click.command()
@click.argument("names", nargs=-1, type=click.Choice([*SERVERS]), metavar="[NAME]...")
def main(names: tuple[str, ...]) -> None:
    """Test two servers behind each exchange; the Go peer has been built."""
    sys.exit(bool(exchange_failures(names or EXCHANGES)))


if __name__ == "__main__":
    main()
