"""The journal of a long check: the report of each finished piece of work, as soon as there is one.

A check that was killed reads it and goes on. The last record may be broken off: the journal is
written again from the first one that is not whole. It is no format for other programs.
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import msgspec

from neffos_conformance import VERSION
from neffos_conformance.recordings.check_report import (
    CheckReport,
    RecordedViolation,
    UnansweredAsk,
)
from neffos_conformance.recordings.shares import Unit
from neffos_conformance.wire.files import cannot_be_written, open_private
from neffos_conformance.wire.packed import STANDARD_INPUT, InputError
from neffos_conformance.wire.payloads import payload_bytes, payload_text
from neffos_conformance.wire.remote import Url, url_state
from neffos_conformance.wire.transcript import UnreadableLine

_MAGIC: Final = b"neffos-wire check journal 3\n"
_HEAD: Final = struct.Struct("<II")  # the size of a record, and its checksum
_TEXT: Final = 1  # the payload of a text message


class Journal:
    """A journal that is open, and locked for others.

    Args:
        path: the file; it is made if there is none.

    Raises:
        InputError: it cannot be had, or is something else.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._stream = open_private(path, is_kept=True)
        except OSError as error:
            raise InputError(cannot_be_written(path, error)) from error
        self._path = path
        self._reports: dict[bytes, CheckReport] = {}
        self._keys: dict[Unit, bytes | None] = {}
        start = self._stream.read(len(_MAGIC))
        if not _MAGIC.startswith(start):
            self._stream.close()
            raise InputError(f"{path} is not the journal of a check. Try: another name")
        if start != _MAGIC:
            self._stream.seek(0)
            self._write(_MAGIC)
        while record := self._next():
            self._reports[record[0]] = record[1]
        self._stream.truncate()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def find(self, unit: Unit) -> CheckReport | None:
        """Give the report of a finished piece of work, unless its file has changed since."""
        key = self._key(unit)
        return None if key is None else self._reports.get(key)

    def add(self, unit: Unit, report: CheckReport) -> None:
        """Write the report of a file as it was when this journal was first asked for it.

        Raises:
            InputError: it cannot be written.
        """
        key = self._key(unit)
        if key is None:
            return
        with suppress(UnicodeEncodeError):  # a surrogate in a name; this piece is checked again
            record = key + _saved(report)
            self._write(_HEAD.pack(len(record), zlib.crc32(record)) + record)

    def _key(self, unit: Unit) -> bytes | None:
        if unit not in self._keys:
            self._keys[unit] = _key(unit)
        return self._keys[unit]

    def _next(self) -> tuple[bytes, CheckReport] | None:
        """Read a record; ``None`` at the end of the whole ones."""
        place = self._stream.tell()
        head = self._stream.read(_HEAD.size)
        if len(head) == _HEAD.size:
            size, checksum = _HEAD.unpack(head)
            record = self._stream.read(size)
            if len(record) == size and zlib.crc32(record) == checksum:
                with suppress(ValueError):
                    key = record[: sha256().digest_size]
                    return key, _report(record[len(key) :])
        self._stream.seek(place)
        return None

    def _write(self, data: bytes) -> None:
        try:
            self._stream.write(data)
            self._stream.flush()
        except OSError as error:
            raise InputError(cannot_be_written(self._path, error)) from error


def _key(unit: Unit) -> bytes | None:
    """Give what identifies a piece of work and the state of its files; ``None`` of a stream."""
    if unit.path == STANDARD_INPUT:
        return None
    share, reading = unit.share, unit.reading
    files = [_state(path) for path in (unit.path, reading.keylog) if path is not None]
    what = VERSION, files, share.number, share.count, reading.native
    return sha256(repr(what).encode("utf-8", "surrogateescape")).digest()


def _state(path: Path | Url) -> tuple[str, object]:
    if isinstance(path, Url):
        return path.text, sorted(url_state(path).items(), key=itemgetter(0))
    try:
        found = path.stat()
    except OSError:  # it says so where it is read
        return str(path), 0
    return str(path.absolute()), (found.st_size, found.st_mtime_ns)


def _saved(report: CheckReport) -> bytes:
    """Write a report: the texts of payloads as their bytes, since not all of them are UTF-8."""
    violations: list[Any] = []
    for each in report.violations:
        payload: Any = each.payload
        if isinstance(payload, str):
            payload = msgspec.msgpack.Ext(_TEXT, payload_bytes(payload))
        violations.append(replace(each, payload=payload))
    return msgspec.msgpack.encode(replace(report, violations=violations))


def _report(saved: bytes) -> CheckReport:
    """Read a report.

    Raises:
        ValueError: it is none.
    """
    values = msgspec.msgpack.decode(saved, ext_hook=lambda _, data: payload_text(bytes(data)))
    try:
        values |= {
            "counts": Counter(values["counts"]),
            "violations": [RecordedViolation(**each) for each in values["violations"]],
            "unreadable": [UnreadableLine(**each) for each in values["unreadable"]],
            "pending_asks": [UnansweredAsk(**each) for each in values["pending_asks"]],
            "pending_order": [tuple(each) for each in values["pending_order"]],
        }
        return CheckReport(**values)
    except (TypeError, LookupError) as error:
        raise ValueError("it is no report") from error
