"""The register of attacks, and what an attack is given."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

Attack = Callable[["Aim"], Awaitable[str | None]]
"""An attack; returns what was lost or wrong."""

ATTACKS: Final[dict[str, tuple[Attack, tuple[str, ...]]]] = {}
"""The attacks by their names, with their targets."""

TEXT: Final = 1
CLOSE: Final = 8
PING: Final = 9
CHUNK: Final = 256 << 10
"""Bytes of a write: as many as asyncio reads in one go."""


def attack(*targets: str) -> Callable[[Attack], Attack]:
    """Register an attack on targets."""

    def register(function: Attack) -> Attack:
        ATTACKS[function.__name__.replace("_", "-")] = function, targets
        return function

    return register


@dataclass(frozen=True, slots=True)
class Tool:
    """A program that was run to its end.

    Attributes:
        code: its exit code; negative if it had to be killed.
        peak: bytes of memory at the peak.
        seconds: how long it took.
        output: what it wrote, at most a megabyte.
    """

    code: int
    peak: int
    seconds: float
    output: bytes


@dataclass(slots=True)
class Aim:
    """What an attack is aimed at.

    Attributes:
        url: of the target's server.
        dials: where the target's client dials, for attacks on it: they listen there.
        seconds: how long the attack lasts.
        tools: the programs that the attack ran.
    """

    url: str
    dials: str
    seconds: float
    tools: list[Tool] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    @property
    def is_over(self) -> bool:
        """Whether the time of the attack is over."""
        return time.monotonic() - self._began > self.seconds

    async def write(self, raw: Raw, data: bytes, *, seconds: float | None = None) -> bool:
        """Write, and wait while the target does not read; return whether to write more.

        Args:
            raw: where to write.
            data: what to write.
            seconds: how long to wait; by default until the attack is over.
        """
        left = max(0.0, self._began + self.seconds - time.monotonic())
        try:
            async with asyncio.timeout(left if seconds is None else min(left, seconds)):
                lives = await raw.write(data)
        except TimeoutError:
            lives = True
        return lives and not self.is_over

    async def wait(self) -> None:
        """Wait until the attack is over."""
        await asyncio.sleep(max(0.0, self._began + self.seconds - time.monotonic()))

    async def run(self, command: Sequence[str], *, seconds: float = 60) -> Tool:
        """Run a program to its end, or for so many seconds."""
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        reading = asyncio.create_task(process.communicate())
        peak = 0
        while not reading.done():
            peak = max(peak, memory(process.pid, "VmHWM"))
            if time.monotonic() - began > seconds:
                process.kill()
            await asyncio.sleep(0.02)
        output = (await reading)[0][: 1 << 20]
        tool = Tool(process.returncode or 0, peak, time.monotonic() - began, output)
        self.tools.append(tool)
        return tool


def memory(pid: int, what: str = "VmRSS") -> int:
    """Return the bytes of memory of a process; 0 if this system does not say."""
    try:
        with open(f"/proc/{pid}/status") as status:
            for line in status:
                if line.startswith(what):
                    return int(line.split()[1]) << 10
    except OSError:
        pass
    return 0


def frame(
    payload: bytes, opcode: int = TEXT, *, fin: bool = True, size: int | None = None
) -> bytes:
    """Return a client's frame, with a mask of zeros; ``size`` is what its head says."""
    size = len(payload) if size is None else size
    head = bytes([(fin << 7) | opcode])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 1 << 16:
        head += b"\xfe" + struct.pack("!H", size)
    else:
        head += b"\xff" + struct.pack("!Q", size)
    return head + bytes(4) + payload


@dataclass(frozen=True, slots=True)
class Raw:
    """A connection on which an attack writes whatever it wants."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def write(self, data: bytes) -> bool:
        """Write, and wait while the target does not read; return whether it lives."""
        try:
            self.writer.write(data)
            await self.writer.drain()
        except OSError:
            return False
        return True

    async def ignore(self) -> None:
        """Read and forget whatever comes, until the end."""
        try:
            while await self.reader.read(CHUNK):
                pass
        except OSError:
            pass

    async def text(self) -> str:
        """Read one unmasked frame, and return its payload."""
        head = await self.reader.readexactly(2)
        size = head[1]
        if size == 126:
            size = int.from_bytes(await self.reader.readexactly(2), "big")
        elif size == 127:
            size = int.from_bytes(await self.reader.readexactly(8), "big")
        return (await self.reader.readexactly(size)).decode(errors="replace")

    def reset(self) -> None:
        """End without a close frame."""
        self.writer.transport.abort()


@asynccontextmanager
async def dialled(url: str, *, handshake: bool = True) -> AsyncIterator[Raw]:
    """Open a connection and upgrade it; with ``handshake``, also connect the namespace ``app``."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    raw = Raw(reader, writer)
    try:
        key = "dGhlIHNhbXBsZSBub25jZQ=="
        writer.write(
            f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        await reader.readuntil(b"\r\n\r\n")
        if handshake:
            writer.write(frame(b"M"))
            await raw.text()
            writer.write(frame(b"$0;app;;_OnNamespaceConnect;0;0;"))
            await raw.text()
        yield raw
    finally:
        raw.reset()


async def together(*works: Awaitable[object]) -> None:
    """Do several things, whatever becomes of each."""
    await asyncio.gather(*works, return_exceptions=True)
