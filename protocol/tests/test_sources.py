"""Which of the modules of the package are compiled, and which run from their sources."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module

import pytest

import neffos_protocol

MODULES = (
    *("_core", "_asks", "_memberships", "_handshake", "session"),
    *("conversation", "monitor"),
)
"""What mypyc compiles; ``setup.py`` has the same names."""


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_compiled_where_that_was_asked_for(name: str) -> None:
    expected = os.environ.get("NEFFOS_WIRE_EXPECT_COMPILED") == "1"
    file = import_module(f"neffos_protocol.{name}").__file__
    assert file
    assert file.endswith(".py") is not expected
    assert neffos_protocol.COMPILED is expected


def test_the_sources_run_where_that_was_asked_for() -> None:
    program = "import neffos_protocol, neffos_codec; print(neffos_protocol.session.__file__)"
    env = {**os.environ, "NEFFOS_WIRE_PURE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("session.py\n")
