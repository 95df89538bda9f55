"""The packages point one way: conformance, then protocol, then codec."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ALLOWED = {
    "codec/neffos_codec": {"neffos_codec"},
    "protocol/neffos_protocol": {"neffos_protocol", "neffos_codec"},
    "protocol/neffos_asyncio": {"neffos_asyncio", "neffos_protocol", "neffos_codec"},
    "conformance/neffos_conformance": {
        "neffos_asyncio",
        "neffos_conformance",
        "neffos_protocol",
        "neffos_codec",
    },
}
NEEDS_NOTHING = {"codec/neffos_codec", "protocol/neffos_protocol"}
OPTIONAL = {"protocol/neffos_protocol/grammar.py": {"construct", "abnf"}}
"""The second definition of the frame is for those who test; it says what it needs."""


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("package", ALLOWED)
def test_a_package_knows_only_those_below_it(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        name = path.relative_to(ROOT).as_posix()
        imports = imported(path)
        assert {each for each in imports if each.startswith("neffos_")} <= ALLOWED[package], name
        if package in NEEDS_NOTHING:
            foreign = imports - sys.stdlib_module_names - ALLOWED[package]
            assert foreign <= OPTIONAL.get(name, set()), name
