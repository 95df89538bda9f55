"""The codec's vectors as tables, by the requirement that they cover, and the session vectors."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from generate import text
from generate.text import cell, code
from neffos_conformance.codecs.vectors import Vector, content, load_files
from neffos_protocol import session_vectors

SHOWN: Final = 12
"""Vectors on the page of a requirement; the files contain all."""

_UNCLEAR: Final = ("decode-size", "systematic")
"""The files of vectors that are too large to be shown, or rest on many requirements at a time."""

_PART: Final = 40
"""Cells of a value in an outcome."""


@cache
def _resting() -> Mapping[str, tuple[tuple[str, Vector], ...]]:
    found: dict[str, list[tuple[str, Vector]]] = {}
    for name, file in load_files().items():
        for vector in file["vectors"]:
            for id_ in vector["requirements"]:
                found.setdefault(id_, []).append((name, vector))
    return {id_: tuple(each) for id_, each in found.items()}


def resting(requirement: str) -> tuple[tuple[str, Vector], ...]:
    """Give the vectors of a requirement, each with the name of its file, the clearest first.

    A vector is clearest for the requirement that it names first, and least clear if it tests sizes
    or several values at a time.
    """
    found = _resting().get(requirement, ())
    return tuple(
        sorted(
            found,
            key=lambda each: (each[0] in _UNCLEAR, each[1]["requirements"][0] != requirement),
        )
    )


def of_codecs() -> str:
    """Give what the README of the codec's vectors says about their form."""
    readme = (Path(__file__).parents[2] / "codec" / "vectors" / "README.md").read_text("utf-8")
    return (
        readme[readme.index("## A vector") :].replace("\n## ", "\n### ").replace("## ", "### ", 1)
    )


def of_sessions() -> str:
    """Give what the README of the session vectors says about their form."""
    readme = (session_vectors.FOLDER.parent / "README.md").read_text("utf-8")
    return readme[readme.index("## A vector") :]


@cache
def _of_sessions() -> Mapping[str, tuple[tuple[str, Vector], ...]]:
    found: dict[str, list[tuple[str, Vector]]] = {}
    for file, values in session_vectors.load_files().items():
        for vector in values["vectors"]:
            for id_ in vector["requirements"]:
                found.setdefault(id_, []).append((file.removesuffix(".json"), vector))
    return {id_: tuple(each) for id_, each in found.items()}


def sessions(requirement: str) -> tuple[tuple[str, Vector], ...]:
    """Give the session vectors of a requirement with their files, the clearest first."""
    found = _of_sessions().get(requirement, ())
    return tuple(sorted(found, key=lambda each: each[1]["requirements"][0] != requirement))


def session_count() -> str:
    """Say how many session vectors there are, for whom, and how many requirements they cover."""
    roles = Counter(each["role"] for each in session_vectors.load_vectors())
    return (
        f"{text.count(roles['server'], 'vector')} test a server and {roles['client']} a client. "
        f"Together they name {text.count(len(_of_sessions()), 'requirement')}, "
        "whose pages list them."
    )


def session_table(requirement: str) -> str:
    """Give the session vectors of a requirement as a table, the first ``SHOWN`` of them."""
    lines = (
        (
            f"[{vector['id']}](/vectors/session/{name}.json)<br><small>{cell(vector['about'])}</small>",
            vector["role"],
            str(len(vector["steps"])),
        )
        for name, vector in sessions(requirement)[:SHOWN]
    )
    return text.table(("session vector", "tests", "inputs"), lines, numbers=1)


def table(requirement: str) -> str:
    """Give the vectors of a requirement as a table in Markdown, the first ``SHOWN`` of them."""
    lines = []
    for name, vector in resting(requirement)[:SHOWN]:
        about = f"<small>{cell(vector['about'])}</small>"
        link = f"[{vector['id']}](/vectors/{name}.json)<br>{about}"
        lines.append((link, given(vector), wanted(vector)))
    return text.table(("vector", "given", "wanted"), lines)


def given(vector: Vector) -> str:
    """Say what a vector gives a codec."""
    kind = vector.get("kind", "text")
    match vector["operation"]:
        case "decode" | "decode-handshake":
            return f"{kind} {_value(vector['payload'], kind)}"
        case "encode":
            what = vector.get("native_payload")
            if what is not None:
                return f"native {kind} {_value(what, kind)}"
            return f"{kind} with {_named(vector['message'], kind)}"
        case "encode-handshake":
            return _named(vector["handshake"], "text")
        case "reply":
            asked = _named(vector["message"], kind)
            return f"{kind} ask with {asked}; reply {_named(vector['reply'], kind)}"
        case _:
            return f"wait {_value(vector['wait'], 'text')}"


def wanted(vector: Vector) -> str:
    """Say what a vector wants of a codec."""
    kind = vector.get("kind", "text")
    if "lenient" in vector:
        lenient, strict = (_outcome(vector[each], kind) for each in ("lenient", "strict"))
        return lenient if lenient == strict else f"lenient: {lenient}<br>strict: {strict}"
    if "answer" in vector:
        answer = vector["answer"]
        return f"{answer['kind']} {_value(answer['payload'], answer['kind'])}"
    if "parsed" in vector:
        return _named(vector["parsed"], "text")
    return _outcome(vector, kind)


def _outcome(outcome: dict[str, Any], kind: str) -> str:
    if "reject" in outcome:
        field = f", field `{outcome['field']}`" if "field" in outcome else ""
        return f"refused: `{outcome['reject']}` at {outcome['offset']}{field}"
    if "payload" in outcome:
        return _value(outcome["payload"], kind)
    if "native" in outcome:
        return f"native {_value(outcome['native'], kind)}"
    return _named(outcome.get("message", outcome.get("handshake", {})), kind)


def _named(values: dict[str, Any], kind: str) -> str:
    """Give names and values, which may be described bytes."""
    parts = []
    for name, value in values.items():
        kept = kind if name == "body" else "text"
        if isinstance(value, bool) or value == {}:
            parts.append(f"`{name}`")
        else:
            parts.append(f"`{name}` {_value(value, kept)}")
    return ", ".join(parts) or "all fields empty"


def _value(described: Any, kind: str) -> str:
    if kind == "other":  # another JSON value
        return code(json.dumps(described), cells=_PART)
    value = content(described, kind)[: _PART + 1]  # one more, so that a cut is seen
    if isinstance(value, bytes):
        return code(value.decode() if value.isascii() else value.hex(" "), cells=_PART)
    return code(value.encode("utf-8", "replace").decode(), cells=_PART)
