"""Files that users name: one by one, by pattern or in folders, plain or compressed.

A compressed file is known by its first bytes, and written where its name asks for that. It is
unpacked piece by piece, so that a small file that becomes a huge one needs no more memory than a
plain one.
"""

from __future__ import annotations

import glob
import gzip
import io
import os
import re
import struct
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from neffos_conformance.wire.files import open_private
from neffos_conformance.wire.remote import Url, find_urls, is_url, open_url, url_state

STANDARD_INPUT: Final = Path("-")
"""Stands for standard input where a command takes files."""

COMPRESSED: Final = (".gz", ".zst")
"""What the name of a compressed file ends with."""

_GZIP: Final = b"\x1f\x8b"
_ZSTANDARD: Final = b"\x28\xb5\x2f\xfd"

MAGIC: Final = (
    *(struct.pack(f"{order}I", each) for order in "<>" for each in (0xA1B2C3D4, 0xA1B23C4D)),
    b"\x0a\x0d\x0d\x0a",
)
"""What captures begin with: pcap in each byte order, with micro- and nanoseconds, and pcapng."""

_HAR: Final = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*"log"\s*:')

BUFFER: Final = 1 << 16
"""Bytes that are read at a time: with fewer, many lines are in two of them, and put together."""

PIECE: Final = 1 << 9
"""Compressed bytes that are unpacked at a time. Zstandard makes at most 16 MiB of them, gzip half a
MiB: less than a line may have."""

WINDOW: Final = 1 << 27
"""Bytes that Zstandard may look back: what the command ``zstd`` unpacks without being asked."""


class InputError(ValueError):
    """A file that a user named cannot be had; the text says which, why and what to do."""


class DamagedError(ValueError):
    """A compressed file is damaged, or ends too early; the text says which and what to do."""


def find_with_urls(names: Sequence[str], *suffixes: str) -> list[Path | Url]:
    """Give the files that are meant, as ``find`` does; the names may be URLs, too.

    Raises:
        InputError: a name means no file.
    """
    found: dict[Path | Url, None] = {}
    for name in names:
        if not is_url(name):
            found |= dict.fromkeys(find([name], *suffixes))
            continue
        try:
            urls = find_urls(name, _endings(suffixes))
        except OSError as error:
            raise InputError(cannot_be_read(Url(name), error)) from error
        if not urls:
            raise InputError(f"{Url(name)} means no file. Try: another URL")
        found |= dict.fromkeys(urls)
    return list(found)


def find(names: Sequence[str], *suffixes: str) -> list[Path]:
    """Give the files that are meant, each once, in the order of the names.

    Args:
        names: files, folders, patterns such as ``*.jsonl`` and ``**/*.jsonl``, and ``-``.
        suffixes: what files in folders end with; that of a compressed file may follow.

    Raises:
        InputError: a name means no file.
    """
    endings = _endings(suffixes)
    found: dict[Path, None] = {}
    for name in names:
        path = Path(name)
        is_pattern = glob.has_magic(name) and not os.path.lexists(
            name
        )  # it may be in a file's name
        if not is_pattern and path != STANDARD_INPUT and not path.exists():
            raise InputError(f"{name} does not exist. Try: another name")
        matches = map(Path, sorted(glob.iglob(name, recursive=True))) if is_pattern else [path]
        files = [
            file
            for match in matches
            for file in (_below(match, endings) if match.is_dir() else [match])
        ]
        if not files and is_pattern:
            raise InputError(f"no file matches {name}. Try: another pattern")
        if not files:
            kinds = " or ".join(suffixes)
            text = f"{name} contains no {kinds} file, plain or compressed"
            raise InputError(f"{text}. Try: another folder, or a file")
        found |= dict.fromkeys(files)
    return list(found)


def _endings(suffixes: Sequence[str]) -> tuple[str, ...]:
    return tuple(suffix + each for suffix in suffixes for each in ("", *COMPRESSED))


def _below(folder: Path, endings: tuple[str, ...]) -> Iterator[Path]:
    """Give the files in a folder and the folders in it, in the order of their names."""
    for each, folders, names in os.walk(folder, onerror=_refuse):
        folders.sort()
        yield from (Path(each, name) for name in sorted(names) if name.endswith(endings))


def _refuse(error: OSError) -> None:
    raise InputError(cannot_be_read(Path(error.filename), error)) from error


def cannot_be_read(path: Path | Url, error: OSError) -> str:
    """Say why a file cannot be read, and what to do."""
    reason = error.strerror or str(error)
    remedy = "" if "Try: " in reason else ". Try: another file"
    return f"{path} cannot be read: {reason}{remedy}"


def shown(path: Path | Url) -> str:
    """Give the name of a file in a sentence."""
    return "standard input" if path == STANDARD_INPUT else str(path)


def size(path: Path | Url) -> int:
    """Give the bytes of a file as it is; 0 if they are unknown."""
    if isinstance(path, Url):
        return url_state(path).get("size") or 0
    try:
        return path.stat().st_size
    except OSError:
        return 0


def stem(source: Path | Url) -> str:
    """Give the name of a file without its folder and its suffixes."""
    path = source.path if isinstance(source, Url) else source
    return (path.with_suffix("") if path.suffix in COMPRESSED else path).stem


def is_capture(stream: io.BufferedReader) -> bool:
    """Whether a file is a capture of packets, pcap or pcapng; nothing is read of it."""
    return stream.peek(len(MAGIC[0])).startswith(MAGIC)


def is_har(beginning: bytes) -> bool:
    """Whether a file that begins in this way is a HAR, as browsers save it."""
    return _HAR.match(beginning) is not None


@contextmanager
def open_file(path: Path | Url) -> Iterator[io.BufferedReader]:
    """Open a file, standard input or a URL as it is; see ``unpacked``.

    Raises:
        InputError: it cannot be read.
    """
    if path == STANDARD_INPUT:
        stream: Any = sys.stdin.buffer
        yield stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(stream)
        return
    with ExitStack() as opened:
        try:
            file: AbstractContextManager[io.BufferedReader]
            if isinstance(path, Url):
                file = open_url(path)
            else:
                file = io.BufferedReader(path.open("rb", 0), BUFFER)
            stream = opened.enter_context(file)
        except OSError as error:
            raise InputError(cannot_be_read(path, error)) from error
        yield stream


def unpacked(file: io.BufferedReader) -> io.BufferedReader:
    """Give the plain content of a file, compressed or not.

    Its ``read`` raises ``DamagedError`` where a compressed file is damaged.

    Raises:
        InputError: this compression takes a package that is missing.
        OSError: the file cannot be read.
    """
    start = file.peek(len(_ZSTANDARD))
    if start.startswith(_GZIP):
        raw = _Unpacked(file, _begin_gzip, zlib.error, "gzip")
    elif start.startswith(_ZSTANDARD):
        package = _zstandard()
        begin = package.ZstdDecompressor(max_window_size=WINDOW).decompressobj
        raw = _Unpacked(file, begin, package.ZstdError, "Zstandard")
    else:
        return file
    return io.BufferedReader(raw, BUFFER)


def _begin_gzip() -> Any:
    return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)


class _Unpacked(io.RawIOBase):
    """The plain content of a compressed file, which may be several behind one another."""

    def __init__(
        self, file: io.BufferedReader, begin: Callable[[], Any], error: type[Exception], kind: str
    ) -> None:
        self._file, self._begin, self._error, self._kind = file, begin, error, kind
        self._unpacking: Any = None
        self._rest = b""
        self._ready = memoryview(b"")
        self._damage = ""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready and self._unpack():
            pass
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def _unpack(self) -> bool:
        """Unpack a piece; say whether there was one."""
        if self._damage:
            raise DamagedError(self._damage)
        data = self._rest or self._file.read1(PIECE)
        self._rest = b""
        if not data:
            if self._unpacking is not None:
                self._fail("ends early. Try: the whole file")
            return False
        if self._unpacking is None:
            data = data.lstrip(b"\0")  # tapes fill their last block
            if not data:
                return True
            self._unpacking = self._begin()
        try:
            self._ready = memoryview(self._unpacking.decompress(data))
        except self._error as error:
            self._fail(f"is damaged: {error}. Try: another copy")
        if self._unpacking.eof:
            self._rest, self._unpacking = self._unpacking.unused_data, None
        return True

    def _fail(self, reason: str) -> None:
        self._damage = f"the file is compressed with {self._kind} and {reason}"
        raise DamagedError(self._damage)


def open_packed(path: Path, *, is_new: bool = False) -> BinaryIO:
    """Open a file for writing as ``open_private`` does, compressed if its name asks for it.

    Each ``flush`` writes what can be read up to there.

    Raises:
        InputError: this compression takes a package that is missing.
        OSError: it cannot be opened.
    """
    if path.suffix == ".zst":
        compressor = _zstandard().ZstdCompressor()
        return cast(BinaryIO, compressor.stream_writer(open_private(path, is_new=is_new)))
    stream = open_private(path, is_new=is_new)
    return cast(BinaryIO, _Packed(stream)) if path.suffix == ".gz" else stream


class _Packed(gzip.GzipFile):
    """A file that is written with gzip; nothing in it depends on time and name."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        super().__init__(filename="", mode="wb", fileobj=stream, mtime=0)

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._stream.close()


def _zstandard() -> Any:
    try:
        import zstandard  # it belongs to an extra
    except ImportError as error:
        text = "files with Zstandard need a package. Try: pip install 'neffos-wire[captures]'"
        raise InputError(text) from error
    return zstandard
