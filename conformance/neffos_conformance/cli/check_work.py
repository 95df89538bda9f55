"""The work of the command ``check``: in processes or on a cluster, with progress and journal."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import closing, nullcontext
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from threading import Thread
from typing import Any, Final

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from neffos_conformance.recordings.check_report import CheckReport
from neffos_conformance.recordings.checking import check
from neffos_conformance.recordings.shares import Reading, Unit, merged, plan
from neffos_conformance.wire.console import Terminal
from neffos_conformance.wire.packed import STANDARD_INPUT, InputError, size
from neffos_conformance.wire.remote import Url

_LOOKS: Final = 0.2
"""Seconds between two looks at what other processes have read."""

Finished = Iterator[tuple[int, CheckReport]]
"""The places of pieces of work, and their reports, in any order."""


def check_all(
    files: Sequence[Path | Url],
    jobs: int,
    reading: Reading,
    journal: Path | None,
    cluster: str = "",
) -> list[CheckReport]:
    """Check files, and show the progress.

    Args:
        files: the files.
        jobs: the number of processes; one needs no other process.
        reading: how to read the files.
        journal: the journal of what is finished.
        cluster: the address of the scheduler of a cluster of Dask, which does the work; its workers
            have the same files.

    Raises:
        InputError: a file, the journal or the cluster cannot be had.
    """
    # Another process has no standard input.
    jobs = 1 if STANDARD_INPUT in files else jobs
    found: dict[int, CheckReport] = {}
    with _journal(journal) as log, _client(cluster) as client, _progress() as progress:
        if client is not None:
            files, reading = _for_others(files, reading)
            jobs = sum(client.nthreads().values()) or 1
        units = plan(files, jobs, reading)
        bar = progress.add_task(f"checking {len(files)} recordings")
        if log is not None:
            for place, unit in enumerate(units):
                if (report := log.find(unit)) is not None:
                    found[place] = report
        left = {place: unit for place, unit in enumerate(units) if place not in found}
        progress.update(bar, total=sum(size(unit.path) for unit in left.values()))

        def show(read: int) -> None:
            progress.update(bar, completed=read)

        if client is not None:
            work = _on_cluster(client, left, show)
        elif min(jobs, len(left)) <= 1:
            work = _in_turn(left, show)
        else:
            work = _in_processes(left, jobs, show)
        for place, report in work:
            found[place] = report
            if log is not None:
                log.add(units[place], report)
    reports = ((unit.path, found[place]) for place, unit in enumerate(units))
    return [merged([each for _, each in its]) for _, its in groupby(reports, key=itemgetter(0))]


def _journal(path: Path | None) -> Any:
    if path is None:
        return nullcontext()
    from neffos_conformance.recordings.journal import Journal  # few checks have one

    return closing(Journal(path))


def _progress() -> Progress:
    console = Terminal(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _in_turn(units: dict[int, Unit], show: Callable[[int], None]) -> Finished:
    read = 0

    def advance(more: int) -> None:
        nonlocal read
        read += more
        show(read)

    for place, unit in units.items():
        yield place, check(unit.path, advance, unit.reading, unit.share)


# -------------------------------------------------------------------- other processes

_read: Any = ()
"""In another process: the bytes that each piece of work has read, which its parent sees."""


def _in_processes(units: dict[int, Unit], jobs: int, show: Callable[[int], None]) -> Finished:
    # A fork would copy the threads' locks in whatever state they are.
    context = multiprocessing.get_context("spawn")
    read = context.Array("Q", len(units), lock=False)
    with ProcessPoolExecutor(
        min(jobs, len(units)), context, initializer=_begin, initargs=(read,)
    ) as pool:
        try:
            running = {
                pool.submit(_check, number, unit): (number, place)
                for number, (place, unit) in enumerate(units.items())
            }
            while running:
                done, _ = wait(running, _LOOKS, FIRST_COMPLETED)
                for each in done:
                    number, place = running.pop(each)
                    yield place, each.result()
                    read[number] = size(units[place].path)
                show(sum(read))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _begin(read: Any) -> None:
    global _read
    _read = read
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when its parent has ended, which a killed one cannot ask for."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _check(number: int, unit: Unit) -> CheckReport:
    def advance(more: int) -> None:
        _read[number] += more

    return check(unit.path, advance, unit.reading, unit.share)


# -------------------------------------------------------------------- a cluster


def _client(address: str) -> Any:
    if not address:
        return nullcontext()
    try:
        from distributed import Client  # it belongs to an extra
    except ImportError as error:
        text = "a cluster needs a package. Try: pip install 'neffos-wire[cluster]'"
        raise InputError(text) from error
    try:
        return Client(address, set_as_default=False)
    except (OSError, ValueError) as error:
        text = f"the cluster at {address} cannot be reached: {error}. Try: another address"
        raise InputError(text) from error


def _for_others(files: Sequence[Path | Url], reading: Reading) -> tuple[list[Path | Url], Reading]:
    """Give the files by names that other machines understand."""
    if STANDARD_INPUT in files:
        raise InputError("a cluster cannot read standard input. Try: a file or a URL")
    keylog = reading.keylog and reading.keylog.absolute()
    found = [each.absolute() if isinstance(each, Path) else each for each in files]
    return found, replace(reading, keylog=keylog)


def _on_cluster(client: Any, units: dict[int, Unit], show: Callable[[int], None]) -> Finished:
    from distributed import as_completed

    # Two checks are never the same task: a file may change.
    running = {client.submit(_check_unit, unit, pure=False): place for place, unit in units.items()}
    read = 0
    try:
        for each in as_completed(running, loop=client.loop):
            place = running[each]
            yield place, each.result()
            read += size(units[place].path)
            show(read)
    finally:
        client.cancel(list(running))


def _check_unit(unit: Unit) -> CheckReport:
    return check(unit.path, reading=unit.reading, share=unit.share)
