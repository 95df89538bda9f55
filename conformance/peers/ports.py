"""A port that a test or a broker can leave and come back to."""

from __future__ import annotations

import socket
from itertools import count
from os import getpid
from typing import Final

FIRST: Final = 20_000
PORTS: Final = 12_000
"""Ports below those that systems give to whoever asks for any. One of those could be another
test's by the time that a server comes back to it, or a client's, that then connects to itself."""

_numbers = count(getpid() * 50)  # so that processes of tests begin at other ports


def lasting_port() -> int:
    """Give a free port, another one at each call."""
    for number in _numbers:
        port = FIRST + number % PORTS
        with socket.socket() as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                free.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("numbers do not end")
