"""Files at URLs, such as those of object stores, by fsspec.

fsspec knows the protocols; some need a package of their own, which it names. Its errors are of many
classes. Each becomes an ``OSError`` whose text is fit for people.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple, TypeVar

Value = TypeVar("Value")

_URL: Final = re.compile(r"[a-z][a-z0-9+.-]+(://|::)")
_PAGES: Final = ("http:", "https:")
"""Protocols whose URLs may have a query, so that ``?`` is no pattern, and which have no folders."""

READ_SIZE: Final = 1 << 20
"""Bytes that are asked for at a time; fsspec itself reads some MiB ahead."""


class Url(NamedTuple):
    """A URL that a user named; as a text, it is without secrets."""

    text: str

    def __str__(self) -> str:
        from neffos_conformance.wire.secrets import masked_url  # most commands have no URL

        return masked_url(self.text)

    @property
    def path(self) -> PurePosixPath:
        """Its path, which has the name of the file."""
        return PurePosixPath(re.split(r"[?#]", self.text, maxsplit=1)[0])


def is_url(name: str) -> bool:
    """Whether a name is a URL, or a chain of them such as ``simplecache::s3://…``."""
    return _URL.match(name) is not None


def find_urls(name: str, endings: tuple[str, ...]) -> list[Url]:
    """Give the files that a URL means: those of a pattern or in a folder, or itself.

    Args:
        name: the URL.
        endings: what files in a folder end with.

    Raises:
        OSError: they cannot be had.
    """

    def find(files: Any, path: str) -> list[Url]:
        is_page = name.startswith(_PAGES)
        is_pattern = re.search(r"[*\[]" if is_page else r"[*?\[]", path) is not None
        found: list[str] = []
        for match in sorted(files.glob(path)) if is_pattern else [path]:
            if not is_page and files.isdir(match):
                found += (each for each in sorted(files.find(match)) if each.endswith(endings))
            elif not is_pattern:
                return [Url(name)]
            else:
                found.append(match)
        return [Url(files.unstrip_protocol(each)) for each in found]

    return _asked(name, find)


def url_state(url: Url) -> dict[str, Any]:
    """Give what is known of a file, such as its ``size``; nothing if it cannot be had."""
    try:
        return dict(_asked(url.text, lambda files, path: files.info(path)))
    except OSError:
        return {}


@contextmanager
def open_url(url: Url) -> Iterator[io.BufferedReader]:
    """Open a file; its ``read`` raises ``OSError`` where the transfer breaks off.

    Raises:
        OSError: it cannot be opened.
    """
    file = _asked(url.text, lambda files, path: files.open(path, "rb"))
    try:
        yield io.BufferedReader(_Remote(file), READ_SIZE)
    finally:
        file.close()


def _asked(name: str, ask: Callable[[Any, str], Value]) -> Value:
    try:
        from fsspec.core import url_to_fs  # it belongs to an extra
    except ImportError as error:
        raise OSError("URLs need a package. Try: pip install 'neffos-wire[cloud]'") from error
    try:
        return ask(*url_to_fs(name))
    except Exception as error:  # each protocol has errors of its own
        raise _as_os_error(error) from error


def _as_os_error(error: Exception) -> OSError:
    from neffos_conformance.wire.secrets import masked  # as above

    missing = isinstance(error, FileNotFoundError)
    text = "it does not exist" if missing else masked(str(error)) or type(error).__name__
    return OSError(" ".join(text.split()))


class _Remote(io.RawIOBase):
    """A file of fsspec, whose place says how much was read of it."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._file.read(len(buffer))
        except Exception as error:  # as above
            raise _as_os_error(error) from error
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)
