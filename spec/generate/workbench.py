"""What the page of the workbench loads: Python compiled to WebAssembly, and this package for it.

Pyodide comes from its npm package. The package itself, and the libraries in plain Python that it
needs, are packed as they are in the environment; msgspec comes compiled for Pyodide. All of it is
part of the site, and nothing is fetched from elsewhere.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from generate.recordings import FOLDER
from generate.text import verbatim
from neffos_conformance.wire.transcript import lines, read_transcript

BUILD: Final = Path(__file__).parents[2] / "build" / "workbench"

PYODIDE: Final = "314.0.7"
"""The version of Pyodide, which is CPython 3.14."""

MSGSPEC: Final = "0.23.0"
"""The version of msgspec that has a wheel for it."""

WHEEL: Final = f"msgspec-{MSGSPEC}-cp314-cp314-pyemscripten_2026_0_wasm32.whl"

LOADED: Final = (
    "pyodide.mjs",
    "pyodide.asm.mjs",
    "pyodide.asm.wasm",
    "pyodide-lock.json",
    "python_stdlib.zip",
)
"""The files of the npm package that a page loads."""

OWN: Final = (
    "neffos_codec",
    "neffos_protocol",
    "neffos_conformance.cases",
    "neffos_conformance.data",
    "neffos_conformance.recordings",
    "neffos_conformance.wire",
)
LIBRARIES: Final = ("ijson", "jinja2", "markupsafe", "rich")
"""The packages that the workbench imports; of the libraries the files in Python suffice."""

STYLES: Final = ("common.css", "sequence.css")
"""Templates of the package that the page uses as they are."""

EXAMPLE: Final = "neffos-wire/ask-reply-late.jsonl"
"""The recording behind *Open an example*: short, and with a violation."""

LONGEST: Final = 300
"""Seconds for a download: the packages have 7 MB, and a registry may be slow."""

_DATA: Final = {".abnf", ".css", ".html", ".js", ".json", ".py", ".svg", ".toml"}


class MissingError(Exception):
    """A package cannot be fetched; the text says why."""


def files() -> dict[str, bytes]:
    """Give the files that the page loads, by their names below it; none if ``missing`` says why."""
    if missing():
        return {}
    fetched = _fetched()
    templates = _folder("neffos_conformance.data") / "templates"
    return {
        "neffos-wire.zip": archive(),
        "msgspec.whl": (fetched / WHEEL).read_bytes(),
        "example.jsonl": example(),
        **{name: (templates / name).read_bytes() for name in STYLES},
        **{f"pyodide/{name}": (fetched / "package" / name).read_bytes() for name in LOADED},
    }


@cache
def missing() -> str:
    """Say why there is no workbench; empty if there is one."""
    try:
        _fetched()
    except MissingError as error:
        return str(error)
    return ""


def entry() -> str:
    """Give the link to the workbench, or say that this site has none."""
    if missing():
        return (
            '!!! note "This site has no workbench"\n'
            f"    It was built without Pyodide: {verbatim(missing())}. Build it with `make site`\n"
            "    where npm and the registries of npm and Python can be reached."
        )
    return "[Open the workbench](workbench/index.html){ .md-button .md-button--primary }"


def example() -> bytes:
    """Give a recording that does not say in advance what is violated in it."""
    recorded = read_transcript(FOLDER / EXAMPLE)
    header = {name: value for name, value in recorded.header.items() if name != "defects"}
    return b"".join(lines(header, recorded.entries))


@cache
def archive() -> bytes:
    """Pack what runs in the page: plain Python, with its data."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, path in sorted(_packed()):
            packed.writestr(zipfile.ZipInfo(name), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def _packed() -> Iterator[tuple[str, Path]]:
    """Give the name and the path of each file in the archive."""
    yield "neffos_conformance/__init__.py", _folder("neffos_conformance") / "__init__.py"
    for package in (*OWN, "neffos_protocol.data", *LIBRARIES):
        folder = _folder(package)
        for path in folder.rglob("*"):
            if path.suffix in _DATA and "__pycache__" not in path.parts:
                yield f"{package.replace('.', '/')}/{path.relative_to(folder).as_posix()}", path
    for library in LIBRARIES:
        for each in metadata.files(library) or ():
            if "licen" in each.name.lower() and ".dist-info" in str(each):
                yield f"licences/{library}/{each.name}", Path(str(each.locate()))


def _folder(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(package)
    return Path(next(iter(spec.submodule_search_locations)))


def _fetched() -> Path:
    """Fetch the packages, unless they are there; give their folder."""
    folder = BUILD / f"{PYODIDE}-{MSGSPEC}"
    if folder.is_dir():
        return folder
    npm = shutil.which("npm")
    if npm is None:
        raise MissingError("there is no npm")
    BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD) as temporary:
        # Nothing of either is installed or run here.
        _run(npm, "pack", "--silent", "--pack-destination", temporary, f"pyodide@{PYODIDE}")
        with tarfile.open(Path(temporary, f"pyodide-{PYODIDE}.tgz")) as packed:
            packed.extractall(temporary, filter="data")
        wanted = ("--platform", "pyemscripten_2026_0_wasm32", "--python-version", "3.14")
        alone = ("--no-deps", "--only-binary=:all:", "--dest", temporary)
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check")
        _run(*pip, *wanted, *alone, f"msgspec=={MSGSPEC}")
        made = Path(temporary, "made")
        made.mkdir()
        for name in ("package", WHEEL):
            Path(temporary, name).rename(made / name)
        if not folder.is_dir():  # else another build was faster
            made.rename(folder)
    return folder


def _run(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=LONGEST)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise MissingError(f"{Path(command[0]).name} took {LONGEST} s") from error
    except subprocess.CalledProcessError as error:
        last = (error.stderr or error.stdout).strip().rpartition("\n")[2]
        raise MissingError(f"{Path(command[0]).name} failed: {last[:200]}") from error
