"""What can be downloaded: documents, data as JSON, schemas, and archives.

The archives have the vectors, the templates and the recordings.
Each file is made from its one source in the repository. The same sources make the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any, Final
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from generate import machines, printed, recordings
from generate.cases import ROLE_NAMES
from generate.tables import grammar
from generate.text import table
from neffos_conformance.cases.definition import ROLES, Role, cases_of
from neffos_conformance.codecs.vectors import texts
from neffos_protocol import session_vectors
from neffos_protocol.registry import load_toml

ROOT: Final = Path(__file__).parents[2]
TEXT: Final = "downloads/neffos-wire.txt"
PDF: Final = "downloads/neffos-wire.pdf"
"""The whole specification, by its places on the site."""

TEMPLATES: Final = ROOT / "conformance" / "templates"

LANGUAGES: Final = {
    "python": ("Python", "a codec adapter, a driver, a server"),
    "javascript": ("JavaScript", "a codec adapter, a driver, a server, session vectors"),
    "java": ("Java and Kotlin", "a codec, a session, a client with its driver, session vectors"),
    "rust": ("Rust", "a client with its driver, session vectors"),
}
"""The templates, with what each contains."""

_SOURCES: Final = frozenset({".py", ".mjs", ".java", ".rs", ".toml"})

_DATE: Final = (1980, 1, 1, 0, 0, 0)
"""The first date that an archive can have."""


@cache
def contents() -> Mapping[str, bytes]:
    """Give each file by its place on the site."""
    return {
        "neffos.abnf": grammar().encode(),
        **{f"vectors/{name}": text.encode() for name, text in texts().items()},
        **{
            f"vectors/session/{name}": each.encode()
            for name, each in session_vectors.texts().items()
        },
        "downloads/neffos-vectors.zip": _archive(_vectors()),
        **{f"downloads/cases-{role}.json": _json(_cases(role)) for role in ROLES},
        **{
            f"downloads/{name}.json": _json(load_toml(f"{name}.toml"))
            for name in ("requirements", "differences", "registry")
        },
        "downloads/state-machines.json": _json(
            {**load_toml("machines.toml"), "words": machines.WORDS}
        ),
        **schemas(),
        "downloads/neffos-schemas.zip": _archive(schemas().items()),
        **{f"downloads/neffos-{name}.zip": _archive(_template(name)) for name in LANGUAGES},
        "downloads/neffos-recordings.zip": _archive(_recordings()),
        **dict(_recordings()),
    }


def _archive(entries: Iterable[tuple[str, bytes]]) -> bytes:
    packed = BytesIO()
    with ZipFile(packed, "w", ZIP_DEFLATED) as archive:
        for name, content in sorted(entries):
            archive.writestr(ZipInfo(name, _DATE), content, ZIP_DEFLATED)
    return packed.getvalue()


def _json(values: Any) -> bytes:
    return (json.dumps(values, ensure_ascii=False, indent=1) + "\n").encode()


def _vectors() -> Iterable[tuple[str, bytes]]:
    for folder, name in ((ROOT / "codec", "codec"), (ROOT / "protocol", "session")):
        yield f"{name}/README.md", (folder / "vectors" / "README.md").read_bytes()
    yield from ((f"codec/{name}", text.encode()) for name, text in texts().items())
    yield from (
        (f"session/{name}", text.encode()) for name, text in session_vectors.texts().items()
    )


def _cases(role: Role) -> dict[str, Any]:
    return {
        "role": role,
        "cases": [
            {
                "id": case.id,
                "title": case.title,
                "requirements": list(case.requirements),
                "tags": list(case.tags),
                "script": [str(step) for step in case.steps],
            }
            for case in cases_of(role)
        ],
    }


@cache
def schemas() -> Mapping[str, bytes]:
    """Give the JSON Schema of each file and line that the pages describe."""
    found = {}
    for package in ("neffos_protocol.data", "neffos_conformance.data"):
        for path in files(package).joinpath("schema").iterdir():
            found[f"schema/{path.name}"] = path.read_bytes()
    return dict(sorted(found.items()))


def _template(name: str) -> Iterable[tuple[str, bytes]]:
    folder = TEMPLATES / name
    for path in folder.rglob("*"):
        if path.suffix in _SOURCES and "target" not in path.parts:
            yield path.relative_to(folder).as_posix(), path.read_bytes()
    yield "README.md", (TEMPLATES / "README.md").read_bytes()


def _recordings() -> Iterable[tuple[str, bytes]]:
    for each in recordings.recordings().values():
        yield f"transcripts/{each.name}.jsonl", each.path.read_bytes()


# -------------------------------------------------------------------- the page


def vectors() -> str:
    """Give the vectors as a table."""
    return _table(
        {
            "downloads/neffos-vectors.zip": "all vectors of codec and session, their schemas, and "
            "how to read them",
            "vectors/schema.json": "the schema of the codec's vectors",
            "vectors/session/schema.json": "the schema of the session vectors",
        }
    )


def data() -> str:
    """Give the data of the specification as a table."""
    return _table(
        {
            "downloads/requirements.json": "all requirements, with level, rationale and basis",
            "downloads/differences.json": "all differences between implementations",
            "downloads/state-machines.json": "the state tables, and what each word in them means",
            "downloads/registry.json": "all constants",
            "neffos.abnf": "the grammar",
            **{
                f"downloads/cases-{role}.json": f"the test cases for {ROLE_NAMES[role]}, with "
                "their scripts"
                for role in ROLES
            },
        }
    )


def of_schemas() -> str:
    """Give the schemas as a table."""
    about = {"downloads/neffos-schemas.zip": "all of them"}
    for name, text in schemas().items():
        about[name] = str(json.loads(text).get("title", "")) or name
    return _table(about)


def templates() -> str:
    """Give the templates as a table."""
    about = {
        f"downloads/neffos-{name}.zip": f"{language}: {what}"
        for name, (language, what) in LANGUAGES.items()
    }
    return _table(about)


def of_recordings() -> str:
    """Give the archive of recordings as a table."""
    number = len(recordings.recordings())
    return _table({"downloads/neffos-recordings.zip": f"{number} recordings, as JSON Lines"})


def documents() -> str:
    """List the forms of the whole specification."""
    lines = [
        "[The whole specification](whole.md) has all chapters on one page.",
        f"[{TEXT.rpartition('/')[2]}](/{TEXT}) has the same chapters as plain text of 72 columns, "
        "in the form of an RFC.",
    ]
    if not printed.missing():
        lines.append(f"[{PDF.rpartition('/')[2]}](/{PDF}) has them as PDF, with an outline.")
    return "\n".join(f"- {line}" for line in lines)


def _table(about: Mapping[str, str]) -> str:
    rows = (
        (f"[{name.rpartition('/')[2]}](/{name})", what, f"{len(contents()[name]) / 1024:,.0f} KiB")
        for name, what in about.items()
    )
    return table(("file", "content", "size"), rows, numbers=1)
