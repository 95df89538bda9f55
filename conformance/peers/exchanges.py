"""Tests two servers behind one exchange, as ``test server`` and ``test exchange`` do.

They are two of one implementation, or one of each: `mixed`.

Redis and NATS are Debian's packages ``redis-server`` and ``nats-server``; ``nats-next`` is the
newest NATS, built from its Go module. One that is not on this machine, or cannot be built, is left
out, and the output says so. In the folder ``conformance``:

    python -m peers.exchanges [NAME ...] [--cluster NAME]

Exit status: 0 passed; 1 failed; 2 unknown name.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Container, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import click

from neffos_conformance.wire.subprocesses import running
from peers.implementations import (
    GO_NEXT_PEER,
    GO_PEER,
    KNOWN_FAILURES,
    NATS_NEXT,
    PEERS,
    REFERENCE,
    ToolchainError,
    build_nats,
)
from peers.ports import lasting_port

PATH: Final = "/gorilla"
"""The endpoint that is tested. Its path ends the prefix, so that the Python server has it, too."""

PREFIX: Final = "neffos-wire"
"""What the prefix of the Go server begins with."""

SERVED: Final = {
    "neffos-go": [str(GO_PEER), "serve", "-exchange"],
    "neffos-go-next": [str(GO_NEXT_PEER), "serve", "-exchange"],
    "neffos-wire": [
        *(REFERENCE, "serve", "--json", "--path", PATH),
        *("--exchange-prefix", PREFIX, "--exchange"),
    ],
}
"""The commands of the servers; the address of the exchange follows."""

CLUSTERS: Final = {
    "neffos-go": ("neffos-go", "neffos-go"),
    "neffos-wire": ("neffos-wire", "neffos-wire"),
    "neffos-go-next": ("neffos-go-next", "neffos-go-next"),
    "iris": ("neffos-go", "neffos-go"),
    "mixed": ("neffos-wire", "neffos-go"),
    "mixed-next": ("neffos-wire", "neffos-go-next"),
}
"""The servers behind one exchange: the first is that of a case's first client."""

ENDPOINTS: Final = {"iris": "iris"}
"""The endpoints of clusters that are not tested at that of ``PATH``."""

SHARES: Final = (
    {"neffos-wire", "neffos-go", "mixed-next"},
    {"neffos-wire", "neffos-go-next", "mixed"},
)
"""The clusters of a share: one of Python, one of Go and a mixed one. A seed chooses."""

KNOWN: Final = {name: files for peer in PEERS.values() for name, files in peer.known.items()}
"""The files of known failures by cluster and exchange, such as ``mixed/nats``."""

TESTED_AT_ONCE: Final = 3
"""Clusters that are tested concurrently: most of a run waits for what does not cross."""

LINES: Final = 40
"""Lines of output that are shown of a failure."""

RUNS: Final = 2
"""Runs of the suite on a cluster at most. A server of Go subscribes after its reply to a connect
(DV-57), so that now and then a message is missing by which a known failure is seen."""

WHOLE: Final = ("neffos-wire", "mixed", "mixed-next")
"""The clusters on which every case runs. Two Go servers fail what one with an exchange fails."""

CASES: Final = ("EV-8.1", "EV-8.2", "EV-8.12", "RM-4", "SX-1", "SX-2", "FR-11.3", "HS-3.2")
"""Cases whose messages cross, and those that an exchange is known to fail: a cheap share. Cases
about the moment or the order of broadcasts are not among them: NATS keeps neither."""

SERVERS: Final = {
    "redis": ["redis-server", "--bind", "127.0.0.1", "--port"],
    "nats": ["nats-server", "-a", "127.0.0.1", "-p"],
    "nats-next": [str(NATS_NEXT), "-a", "127.0.0.1", "-p"],
}
"""The commands of the exchanges; the port follows."""


EXCHANGES: Final = ("redis", "nats")
"""Those that need no build."""


def scheme(name: str) -> str:
    """Give the scheme of an exchange's URL, by which its known failures are named, too."""
    return name.partition("-")[0]


def exchange_failures(
    names: Sequence[str], clusters: Iterable[str] = tuple(CLUSTERS), *, is_whole: bool = True
) -> int:
    """Test clusters with exchanges, print what came, and give the number that failed.

    Args:
        names: the exchanges.
        clusters: those of ``CLUSTERS`` to test.
        is_whole: whether every case runs on the clusters of ``WHOLE``; others run ``CASES``.
    """
    tested: list[tuple[str, str]] = []
    for name in names:
        if name not in EXCHANGES:
            try:
                build_nats()
            except ToolchainError as error:
                click.echo(f"{name}: left out: {error}")
                continue
        if shutil.which(SERVERS[name][0]) is None:
            click.echo(f"{name}: left out, since {SERVERS[name][0]} is missing")
            continue
        tested += ((cluster, name) for cluster in clusters)

    def fails(cluster: str, name: str) -> bool:
        return not _passes(cluster, name, () if is_whole and cluster in WHOLE else CASES)

    with ThreadPoolExecutor(TESTED_AT_ONCE) as pool:
        return sum(pool.map(lambda each: fails(*each), tested))


def clusters_of(peers: Container[str], seed: int | None = None) -> list[str]:
    """Give the clusters whose servers are all among some peers; with a seed, those of a share."""
    shared = CLUSTERS if seed is None else SHARES[seed % len(SHARES)]
    every = {name: pair for name, pair in CLUSTERS.items() if name in shared}
    return [name for name, pair in every.items() if all(each in peers for each in pair)]


def _passes(cluster: str, name: str, cases: Sequence[str]) -> bool:
    with exchange(name) as address, ExitStack() as stack, TemporaryDirectory() as folder:
        urls = []
        for server in CLUSTERS[cluster]:
            ready = stack.enter_context(running([*SERVED[server], address]))
            endpoint = ENDPOINTS.get(cluster, "gorilla")
            urls.append(ready["endpoints"].get(endpoint) or ready["endpoints"]["reference"])
        report = Path(folder) / "report.json"
        named = [part for each in cases for part in ("--case", each)]
        command = [REFERENCE, "test", "server", *urls, *named]
        known = f"{cluster}/{scheme(name)}"
        passes = _tested(f"{cluster} over {name}", command, report, known, "2 servers: ")
        # The cases of what servers publish are few, and run in a few seconds.
        command = [REFERENCE, "test", "exchange", "--broker", address, *urls]
        return _tested(f"{cluster} on {name}", command, report, f"{known}/broker") and passes


@contextmanager
def exchange(name: str) -> Iterator[str]:
    """Run an exchange, and give its address when it accepts connections.

    Raises:
        ClickException: it ended before that.
    """
    with TemporaryDirectory() as folder:  # Redis leaves a file where it ran
        broker = Broker(name, folder)
        try:
            yield broker.url
        finally:
            broker.stop()


class Broker:
    """The process of an exchange, which has one port however often it starts.

    Args:
        name: one of ``SERVERS``.
        folder: where it runs.
        options: of its command, beside the port.

    Attributes:
        port: its port.
        url: its address.

    Raises:
        ClickException: it ended before it accepted connections.
    """

    def __init__(self, name: str, folder: str | Path, options: Sequence[str] = ()) -> None:
        self.port = lasting_port()
        self.url = f"{scheme(name)}://127.0.0.1:{self.port}"
        self._command = [*SERVERS[name], str(self.port), *options]
        self._folder = folder
        self.start()

    def start(self) -> None:
        """Start it, and return when it accepts connections.

        Raises:
            ClickException: it ended before that.
        """
        self._process = subprocess.Popen(
            self._command,
            cwd=self._folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._process.stdout is not None  # noqa: S101  # it is a pipe
        if not any("ready" in line.lower() for line in self._process.stdout):
            self.stop()
            raise click.ClickException(f"{self._command[0]} ended before it was ready")

    def stop(self) -> None:
        """Kill it, also while it is paused."""
        self._process.kill()
        self._process.communicate()

    def pause(self) -> None:
        """Have it do nothing, and keep its connections."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """End a pause."""
        self._process.send_signal(signal.SIGCONT)


def _tested(title: str, command: Sequence[str], report: Path, known: str, said: str = "") -> bool:
    """Run the suite, and print its last line, or what it says of failures.

    Args:
        title: what is printed first.
        command: what the suite is to do.
        report: the file of its report.
        known: the key in ``KNOWN``.
        said: what it must say to pass.
    """
    command = [*command, "--features", "all", "--report", str(report)]
    for file in KNOWN.get(known, ()):
        command += ["--known-failures", str(KNOWN_FAILURES / file)]
    for _ in range(RUNS):
        done = subprocess.run(command, capture_output=True, text=True)
        is_passed = done.returncode == 0 and said in " ".join(done.stdout.split())
        last = (done.stdout + done.stderr).splitlines()
        click.echo(f"{title}: {last[-1] if is_passed else chr(10).join(last[-LINES:])}")
        if is_passed:
            break
    return is_passed


@click.command()
@click.argument("names", nargs=-1, type=click.Choice([*SERVERS]), metavar="[NAME]...")
@click.option("--cluster", "clusters", multiple=True, type=click.Choice([*CLUSTERS]))
def main(names: tuple[str, ...], clusters: tuple[str, ...]) -> None:
    """Test two servers behind each exchange; the Go peer has been built."""
    sys.exit(bool(exchange_failures(names or EXCHANGES, clusters or tuple(CLUSTERS))))


if __name__ == "__main__":
    main()
