"""The house has one direction: each room imports only what is below it, and no circle of files."""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PACKAGES = {
    "neffos_codec": ROOT / "codec",
    "neffos_protocol": ROOT / "protocol",
    "neffos_asyncio": ROOT / "protocol",
    "neffos_conformance": ROOT / "conformance",
    "mutation": ROOT / "conformance",
    "peers": ROOT / "conformance",
    "proving": ROOT / "conformance",
}
"""The packages, and the folder of each, from the base upwards."""

SUITE = (
    "data",
    "wire",
    "cases",
    "runner",
    "codecs",
    "requirement_sets",
    "reference",
    "recordings",
    "listening",
    "model_based",
    "learning",
    "interop",
    "reports",
    "pytest_plugin",
    "cli",
)
"""The rooms of ``neffos_conformance``, from the base upwards."""

ROOMS = (
    "neffos_codec",
    "neffos_protocol",
    "neffos_asyncio",
    *(f"neffos_conformance.{room}" for room in SUITE),
    "mutation",
    "peers",
    "proving",
)

ONLY_PYTHON = ("neffos_codec", "neffos_protocol")
OPTIONAL = {"neffos_protocol.grammar": {"construct", "abnf"}}
"""The second definition of the frame is for tests; it names the libraries that it needs."""

MAX_LINES = 600
"""Lines of a file. A longer one holds more than one idea."""

SHARED_NAMES = {
    "Transport": "what carries a connection's messages, for a peer's link and for the suite",
    "UpgradeRequest": "a client's request, as an application sees it and as a case does",
}
"""Class names that two packages share, with the reason."""

TOPS = ("codec", "protocol", "conformance", "spec")

ON_THEIR_OWN = {"tests", "templates", "examples"}
"""Folders that import nothing of each other, or are copied by users: their names are their own."""


def module_of(path: Path, folder: Path) -> str:
    return ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__")


FILES = {
    module_of(path, folder): path
    for package, folder in PACKAGES.items()
    for path in sorted((folder / package).rglob("*.py"))
}


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text("utf-8"))


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """All statements in a file or statement, which is where imports are."""
    for name in ("body", "orelse", "handlers", "finalbody", "cases"):
        for each in getattr(node, name, ()):
            yield each
            yield from statements(each)


def imports(module: str) -> set[str]:
    """The modules that a module imports, anywhere in it, also for types alone."""
    found: set[str] = set()
    for node in statements(tree_of(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute here"
            source = node.module or ""
            names = {f"{source}.{alias.name}" for alias in node.names}
            inner = names & FILES.keys()
            found |= inner
            if len(inner) < len(names):
                found.add(source)
    return found - {module}


@cache
def all_imports() -> dict[str, set[str]]:
    return {module: imports(module) for module in FILES}


def room_of(module: str) -> str:
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "neffos_conformance" else parts[0]


def test_every_room_has_its_place():
    there = {room_of(module) for module in FILES} - {"neffos_conformance"}
    assert there <= set(ROOMS)


def test_each_room_imports_only_what_is_below_it():
    order = {room: number for number, room in enumerate(ROOMS)}
    upwards = [
        f"{module} imports {each}"
        for module, imported in all_imports().items()
        for each in imported
        if room_of(each) in order and order[room_of(each)] > order.get(room_of(module), 0)
    ]
    assert not upwards


def test_no_files_import_each_other_in_a_circle():
    inner = {module: imported & FILES.keys() for module, imported in all_imports().items()}
    try:
        TopologicalSorter(inner).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("package", ONLY_PYTHON)
def test_the_base_needs_nothing_but_python(package):
    for module in FILES:
        if module.split(".")[0] == package:
            roots = {each.split(".")[0] for each in all_imports()[module]}
            foreign = roots - sys.stdlib_module_names - PACKAGES.keys()
            assert foreign <= OPTIONAL.get(module, set()), module


def test_no_file_holds_more_than_one_idea():
    long = {
        module: lines
        for module, path in FILES.items()
        if (lines := path.read_text("utf-8").count("\n")) > MAX_LINES
    }
    assert not long


def test_no_two_classes_have_the_same_name():
    places: dict[str, set[str]] = defaultdict(set)
    for path in (each for top in TOPS for each in (ROOT / top).rglob("*.py")):
        place = path.relative_to(ROOT)
        if not {*place.parts} & ON_THEIR_OWN:
            for node in ast.parse(path.read_text("utf-8")).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    places[node.name].add(str(place))
    doubled = {name: files for name, files in places.items() if len(files) > 1}
    assert doubled.keys() == SHARED_NAMES.keys(), doubled
