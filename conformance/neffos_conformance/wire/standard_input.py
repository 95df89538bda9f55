"""Standard input for an event loop.

A file or a terminal cannot be waited for by an event loop everywhere, so that a thread reads.
It reads from the descriptor itself: a thread that still waits inside ``sys.stdin`` when the
program ends would take its lock along, and the interpreter with it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from contextlib import suppress
from typing import Final

READ_SIZE: Final = 1 << 16
"""Bytes read at a time."""

STANDARD_INPUT: Final = 0


def lines() -> asyncio.Queue[bytes | None]:
    """Give a queue that gets each line of standard input, and at last ``None``."""
    queue: asyncio.Queue[bytes | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def read() -> None:
        rest = b""
        with suppress(RuntimeError):  # the loop has ended, and no one waits for lines
            while data := _read():
                *whole, rest = (rest + data).split(b"\n")
                for line in whole:
                    loop.call_soon_threadsafe(queue.put_nowait, line)
            if rest:
                loop.call_soon_threadsafe(queue.put_nowait, rest)
            loop.call_soon_threadsafe(queue.put_nowait, None)

    threading.Thread(target=read, name="standard input", daemon=True).start()
    return queue


async def ended() -> None:
    """Wait until standard input ends, whatever it holds."""
    queue = lines()
    while await queue.get() is not None:
        pass


def interrupted(*, or_ended: bool = False) -> asyncio.Event:
    """Give an event that an interrupt of this program sets.

    Args:
        or_ended: the end of standard input sets it, too.
    """
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # on Windows an interrupt raises instead
            loop.add_signal_handler(each, event.set)
    if or_ended:
        parent = loop.create_task(ended())
        parent.add_done_callback(lambda _: event.set())
    return event


def _read() -> bytes:
    try:
        return os.read(STANDARD_INPUT, READ_SIZE)
    except OSError:  # it is closed
        return b""
