"""What the program writes for others to start from: templates, vectors, a manual, completions."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from neffos_conformance.cli.main import COMMANDS
from neffos_conformance.cli.new import FILES, START

from .commands import run_text

TEMPLATES = Path(__file__).parents[1] / "templates"


@pytest.mark.parametrize(("kind", "language"), [(k, name) for k in FILES for name in FILES[k]])
def test_a_template_is_written_whole(kind, language, tmp_path):
    done = run_text("new", kind, "--language", language, tmp_path / "mine")
    assert done.returncode == 0, done
    assert START[kind, language] in done.stdout
    for path in (tmp_path / "mine").rglob("*.*"):
        if path.is_file():
            name = path.relative_to(tmp_path / "mine")
            assert path.read_bytes() == (TEMPLATES / language / name).read_bytes()


def test_a_written_codec_runs(tmp_path):
    run_text("new", "codec", tmp_path)
    line = '{"id": 1, "op": "decode", "payload": "$1;chat;;say;0;0;hi"}\n'
    command = [sys.executable, tmp_path / "codec.py"]
    done = subprocess.run(command, input=line, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[1])["id"] == 1


def test_vectors_are_written_with_what_explains_them(tmp_path):
    assert run_text("new", "vectors", tmp_path).returncode == 0
    there = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    assert there >= {"codec/README.md", "codec/decode.json", "session/asks.json"}


def test_nothing_is_written_over(tmp_path):
    (tmp_path / "codec.py").write_text("mine")
    done = run_text("new", "codec", tmp_path)
    assert (done.returncode, (tmp_path / "codec.py").read_text()) == (2, "mine")
    assert "is not written over. Try: another folder" in done.stderr


def test_a_language_without_such_a_template_is_named(tmp_path):
    done = run_text("new", "server", "--language", "rust", tmp_path)
    assert "there is no server in rust. Try: --language python, javascript" in done.stderr


def test_the_manual_has_every_command():
    page = run_text("man").stdout
    assert page.startswith('.TH NEFFOS\\-WIRE 1 ""')
    for name in COMMANDS:
        assert f".SS {name}".replace("-", "\\-") in page
    assert not [line for line in page.splitlines() if line.startswith("'")]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_call_the_program(shell):
    assert f"_NEFFOS_WIRE_COMPLETE={shell}_complete" in run_text("completion", shell).stdout
