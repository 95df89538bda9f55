"""Files of users: written for their owner alone, one writer each, and read as editors save them.

Recordings hold whole messages, secrets of applications among them. Other users of the machine
read none of them, and no command destroys what another one still writes.
"""

from __future__ import annotations

import codecs
import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

try:
    import fcntl
except ImportError:  # on Windows an open file cannot be replaced anyway
    fcntl = None  # type: ignore[assignment]

PRIVATE: Final = 0o600
"""The mode of a file that may hold secrets: read and written by its owner."""

_BINARY: Final = getattr(os, "O_BINARY", 0)


_UTF_16_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class EncodingError(ValueError):
    """A text in another encoding than UTF-8; the text says which."""


def without_mark(start: bytes) -> bytes:
    """Give the start of a text without the mark of UTF-8, which editors on Windows put there.

    Raises:
        EncodingError: it is UTF-16.
    """
    if start.startswith(_UTF_16_MARKS):
        raise EncodingError("the file is UTF-16. Try: save it as UTF-8")
    return start.removeprefix(codecs.BOM_UTF8)


class FileInUseError(OSError):
    """Another process is writing the file."""


def open_private(path: Path, *, is_new: bool = False, is_kept: bool = False) -> BinaryIO:
    """Open a file for writing that only its owner can read, and lock it until it is closed.

    A file that is there is emptied, once no other process writes it, unless it is kept. Devices
    and pipes are written as they are.

    Args:
        path: the file.
        is_new: fail where something has that name, be it a link that leads nowhere.
        is_kept: do not empty it, and open it for reading, too, at its beginning.

    Raises:
        FileExistsError: there is such a file.
        FileInUseError: another process is writing it.
        OSError: it cannot be opened.
    """
    if path.is_symlink() and not path.exists():
        raise FileExistsError(errno.EEXIST, "a link of this name leads nowhere", str(path))
    access = os.O_RDWR if is_kept else os.O_WRONLY
    flags = access | os.O_CREAT | _BINARY | (os.O_EXCL if is_new else 0)
    descriptor = os.open(path, flags, PRIVATE)
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            if fcntl is not None:
                _lock(descriptor, path)
                with suppress(PermissionError):  # another user's file, which this one may write
                    os.fchmod(descriptor, PRIVATE)
            if not is_kept:
                os.ftruncate(descriptor, 0)
        return os.fdopen(descriptor, "r+b" if is_kept else "wb")
    except BaseException:
        os.close(descriptor)
        raise


def cannot_be_written(path: Path, error: OSError) -> str:
    """Say why a file cannot be written, and what to do."""
    file = next((each for each in path.parents if each.exists() and not each.is_dir()), None)
    reason = f"{file} is a file, not a folder" if file else error.strerror or str(error)
    remedy = "" if "Try: " in reason else ". Try: another name"
    return f"{path} cannot be written: {reason}{remedy}"


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            return  # a file system without locks
        text = "another process is writing this file. Try: another name"
        raise FileInUseError(error.errno, text, str(path)) from error
