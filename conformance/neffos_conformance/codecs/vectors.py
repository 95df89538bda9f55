"""The codec's test vectors as Python values.

This module owns how the vector files are read: where they are, and what bytes a described
payload stands for. It does not know what any vector expects of the codec.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from neffos_codec import FIELDS, FrameLimits, Message, Native
from neffos_conformance.wire.payloads import payload_text

_FOLDER: Final = Path(import_module("neffos_codec.vectors").__path__[0])

Vector = dict[str, Any]
"""One vector, as its JSON says."""


def texts() -> dict[str, str]:
    """Give the text of each vector file, and of their schema, by its name."""
    return {path.name: path.read_text("utf-8") for path in sorted(_FOLDER.glob("*.json"))}


def load_files() -> dict[str, dict[str, Any]]:
    """Read every vector file, by its name without the suffix."""
    read = {name.removesuffix(".json"): json.loads(text) for name, text in texts().items()}
    del read["schema"]
    return read


def load_vectors() -> list[Vector]:
    """Read the vectors of all files."""
    return [vector for file in load_files().values() for vector in file["vectors"]]


@cache
def askable_vectors() -> tuple[Vector, ...]:
    """Give the vectors that a request can contain: all but payloads of the kind ``other``."""
    return tuple(each for each in load_vectors() if each.get("kind") != "other")


def bytes_of(data: Any) -> bytes:
    """Build the bytes that are described."""
    if isinstance(data, str):
        return data.encode()
    if "hex" in data:
        return bytes.fromhex(data["hex"])
    if "repeat" in data:
        return bytes_of(data["repeat"]) * int(data["times"])
    return b"".join([bytes_of(part) for part in data["concat"]])


def text(data: Any) -> str:
    """Build the text that is described; a byte that is not UTF-8 becomes a surrogate."""
    return payload_text(bytes_of(data))


def content(data: Any, kind: str) -> str | bytes:
    """Build what is described as its kind of WebSocket message carries it."""
    return text(data) if kind == "text" else bytes_of(data)


def fields(described: dict[str, Any], kind: str) -> tuple[Any, ...]:
    """Build the seven fields of a described message, as ``Message.fields`` gives them.

    This is no ``Message``, since the lenient reading gives some that cannot be constructed.
    """
    names = [text(described.get(name, "")) for name in FIELDS[:4]]
    flags = [described.get(name, False) for name in FIELDS[4:6]]
    return (*names, *flags, content(described.get("body", ""), kind))


def message(vector: Vector) -> Message:
    """Build the message of a vector; raises ``EncodeError`` where that cannot exist."""
    return Message(*fields(vector["message"], vector["kind"]))


def native(vector: Vector) -> Native:
    """Give the native mode of a vector."""
    return Native(vector.get("native", "never"))


def limits(vector: Vector) -> FrameLimits | None:
    """Give the limits of a vector."""
    return FrameLimits(**vector["limits"]) if "limits" in vector else None


def payload(vector: Vector) -> Any:
    """Build the payload of a vector; that of the kind "other" is no payload at all."""
    if vector["kind"] == "other":
        return vector["payload"]
    return content(vector["payload"], vector["kind"])
