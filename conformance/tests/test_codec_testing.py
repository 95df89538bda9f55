"""Tests of a codec by the vectors: correct ones pass, faulty ones fail, and bad adapters end it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from neffos_conformance.cases.definition import select
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.codecs.catalogue import codec_cases
from neffos_conformance.codecs.requests import vector_requests
from neffos_conformance.codecs.testing import AdapterError, run_codec

from .commands import run_text

PROGRAM = Path(sys.executable).with_name("neffos-wire")
ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "conformance" / "templates" / "python" / "codec.py"

HEAD = """
import json, sys
def say(**values): print(json.dumps(values), flush=True)
say(ready=True, codec=1, peer="mine", version="1")
for line in sys.stdin:
    request = json.loads(line)
    """


def adapter(tmp_path: Path, body: str) -> list[str]:
    """Write an adapter that does this with each request."""
    path = tmp_path / "adapter.py"
    path.write_text(HEAD + body)
    return [sys.executable, str(path)]


def faulty_codec(tmp_path: Path, old: str, new: str) -> list[str]:
    """Write the template's codec with a mistake in it."""
    text = TEMPLATE.read_text("utf-8")
    assert old in text
    path = tmp_path / "wrong.py"
    path.write_text(text.replace(old, new))
    return [sys.executable, str(path)]


def failed(run):
    _, answered = run
    return {each.asked.vector["id"] for each in answered if each.verdict is Verdict.FAIL}


NAMES = ("decode-escape-*", "encode-escape-*", "decode-frame-*", "decode-separators-*")
SOME = select(codec_cases(), NAMES)
"""Vectors with and without an escape. Adapters answer all of them, 120 MB, in other tests."""

CHOSEN = tuple(part for name in NAMES for part in ("--case", name))


def test_a_codec_that_forgets_the_escape_fails_where_the_escape_matters(tmp_path):
    found = failed(run_codec(faulty_codec(tmp_path, "@%!semicolon@%!", "@%!colon@%!"), SOME))
    assert "decode-escape-001" in found
    assert all("decode-frame" not in each for each in found)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("say(id=request['id'] + 1, error='x')", "did not answer request 1"),
        ("print('nonsense', flush=True)", "not JSON"),
        ("say(id=request['id'], surprise=1)", "'surprise' was unexpected"),
        ("sys.exit(3)", "ended with status 3"),
        ("say(id=request['id'], error='I know it')", "operation that does not exist"),
        ("pass", "did not answer request 1"),
    ],
)
def test_an_adapter_that_does_not_keep_to_the_contract_is_an_error(tmp_path, body, words):
    with pytest.raises(AdapterError, match=words):
        run_codec(adapter(tmp_path, body), SOME)


def test_an_adapter_that_hangs_is_ended(tmp_path):
    with pytest.raises(AdapterError, match="was not done within"):
        run_codec(adapter(tmp_path, "import time; time.sleep(60)"), SOME, deadline=1)


def test_an_adapter_that_is_missing_is_an_error():
    with pytest.raises(AdapterError, match="cannot be started"):
        run_codec(["nowhere/at-all"], SOME)


def codec(*arguments):
    return run_text("test", "codec", *arguments)


def test_the_command_tests_our_own_codec_by_default(tmp_path):
    report = tmp_path / "codec.json"
    # A process: it starts the adapter by the path that it was started by itself.
    command = [PROGRAM, "test", "codec", *CHOSEN, "--report", report]
    done = subprocess.run(command, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    values = json.loads(report.read_text("utf-8"))
    assert values["counts"]["pass"] == len(values["cases"]) == len(SOME)


def test_the_command_tests_by_every_vector():
    done = codec("--dry-run")
    asked = {each.vector["id"] for each in vector_requests()}
    assert f"{len(asked)} cases would run, 0 would not" in done.stdout


def test_the_command_shows_what_is_wrong_and_exits_with_1(tmp_path):
    faulty = faulty_codec(tmp_path, "@%!semicolon@%!", "@%!colon@%!")
    done = codec(*CHOSEN, "--", *faulty)
    assert done.returncode == 1
    assert "decode-escape-001" in done.stdout
    assert re.search("FR-3 +A peer MUST write each `;`", done.stdout)


def test_the_command_has_nothing_to_test_if_nothing_is_supported(tmp_path):
    unsupporting = adapter(tmp_path, "say(id=request['id'], unsupported=True)")
    done = codec(*CHOSEN, "--", *unsupporting)
    assert done.returncode == 2
    assert "nothing ran" in done.stderr
