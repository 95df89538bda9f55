"""The command line: what it prints and with which code it exits."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from neffos_conformance.cli import main as cli
from neffos_conformance.cli import test_server as server
from neffos_conformance.wire.transcript import read_transcript

PROGRAM = Path(sys.executable).with_name("neffos-wire")


def run(*arguments: str, stdin: bytes = b"", cwd=None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([PROGRAM, *arguments], input=stdin, capture_output=True, cwd=cwd)


def test_decode_prints_the_seven_fields_as_a_table():
    done = run("decode", "$1;chat;lobby;say;0;1;hi; there")
    shown = done.stdout.decode()
    assert done.returncode == 0
    for field in ("wait", "namespace", "room", "event", "is_error", "is_no_op", "body"):
        assert field in shown
    assert "'hi; there'" in shown


@pytest.mark.parametrize(
    ("arguments", "stdin", "expected"),
    [
        (["$1;a;;e;1;0;no"], b"", {"kind": "text", "is_error": True, "body": "no"}),
        (["--hex", "3b3b3b653b303b303bff"], b"", {"kind": "binary", "body": {"hex": "ff"}}),
        (["--binary"], b";;;e;0;0;\xff", {"kind": "binary", "body": {"hex": "ff"}}),
        ([], b";;;e;0;0;x\n", {"kind": "text", "body": "x\n"}),
        ([], b";;;\xff;0;0;", {"kind": "text", "event": {"hex": "ff"}}),
        (["--native", "fallback", "hello"], b"", {"kind": "text", "native": "hello"}),
    ],
)
def test_decode_as_json(arguments, stdin, expected):
    done = run("decode", "--json", *arguments, stdin=stdin)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout).items() >= expected.items()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["decode", "a;b"], b"separators, field 'namespace', offset 3, FR-2"),
        (["decode", "--strict", ";;;e;x;0;"], b"flag, field 'is_error', offset 5, FR-6"),
        (["decode", "--hex", "0g"], b"PAYLOAD is not hex"),
        (["encode", "--wait", "a;b"], b"wait-separator, field 'wait', offset 1, FR-5"),
        (["encode", "--event", "@%!semicolon@%!"], b"escape-literal, field 'event'"),
        (["encode", "--body-hex", "f"], b"--body-hex is not hex"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_1(arguments, complaint):
    done = run(*arguments)
    assert done.returncode == 1
    assert complaint in done.stderr
    assert done.stderr.count(b"\n") == 1
    assert done.stdout == b""


@pytest.mark.parametrize(
    ("arguments", "stdin", "payload"),
    [
        (
            ["--namespace", "a;b", "--event", "e", "--body", "x;y"],
            b"",
            b";a@%!semicolon@%!b;;e;0;0;x;y",
        ),
        (["--wait", "$1"], b"", b"$1;;;;;;"),
        (["--event", "e", "--error", "--no-op", "--body", "-"], b"in", b";;;e;1;1;in"),
        (["--event", "e", "--body", "-", "--binary"], b"\xff", b";;;e;0;0;\xff"),
        (["--event", "e", "--body-hex", "00ff"], b"", b";;;e;0;0;\x00\xff"),
        (["--event", "e", "--hex"], b"", b"3b3b3b653b303b303b\n"),
    ],
)
def test_encode_prints_the_payload(arguments, stdin, payload):
    done = run("encode", *arguments, stdin=stdin)
    assert (done.returncode, done.stdout) == (0, payload)


def test_server_judges_the_embedded_server_and_writes_a_report(tmp_path):
    done = run("server", "--case", "HS-1.1", "--case", "NS-3.*", "--save", "saved", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "reports" / "server.json").read_text("utf-8"))
    ids = [case["id"] for case in report["cases"]]
    assert ids[0] == "HS-1.1"
    assert "NS-3.1" in ids
    assert {name: count for name, count in report["counts"].items() if count} == {"pass": len(ids)}
    sent = [each["text"] for each in report["cases"][0]["exchange"] if "text" in each]
    assert sent[0] == "M"
    assert read_transcript(tmp_path / "saved" / "NS-3.1.jsonl").entries


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["server", "--case", "NOPE"], b"no case matches NOPE"),
        (["server", "ws://127.0.0.1:9/"], b"nothing to judge at"),
        (["server", "http://127.0.0.1/"], b"not a WebSocket URL"),
        (["server", ""], b"not a WebSocket URL"),
        (["server", "ws://127.0.0.1:99999"], b"not a WebSocket URL"),
        (["server", "ws://[::1"], b"not a WebSocket URL"),
        (["server", "ws://a..b/"], b"no connection to a..b"),
        (["server", "--case", "HS-1.1", "--case", "HS-99"], b"no case matches HS-99"),
        (["server", "--report", "/dev/null/r.json"], b"/dev/null"),
        (["encode", "--body", "x", "--body-hex", "ff"], b"not both"),
        (["decode", "--binary", "x"], b"--binary goes with standard input"),
        (["nonsense"], b"No such command"),
    ],
)
def test_a_usage_error_or_nothing_to_run_exits_with_2(tmp_path, arguments, complaint):
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert complaint in done.stderr


def test_a_failure_exits_with_1_and_shows_the_bytes(monkeypatch, capsys, tmp_path):
    from mutation import BANK
    from neffos_conformance.reference.embedded import embedded_server

    monkeypatch.chdir(tmp_path)
    wrong = lambda: embedded_server(distort=BANK["error-without-flag"].distort)  # noqa: E731
    monkeypatch.setattr(server, "embedded_server", wrong)
    with pytest.raises(SystemExit) as exit_:
        cli.main(["server", "--case", "AR-7.1"])
    assert exit_.value.code == 1
    shown = capsys.readouterr().out
    assert "fail AR-7.1" in shown
    assert "'$1;app;;fail;0;0;it broke'" in shown
    assert re.search(r"again +neffos-wire server --case AR-7\.1$", shown, re.MULTILINE)


def test_a_broken_harness_exits_with_3(monkeypatch, capsys):
    def broken(_: object) -> None:
        raise RuntimeError("on purpose")

    monkeypatch.setattr(server, "server_cases", broken)
    with pytest.raises(SystemExit) as exit_:
        cli.main(["server"])
    assert exit_.value.code == cli.EXIT_BROKEN
    assert "the suite itself broke" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("package", "loads"),
    [("click", "neffos_conformance.cli.main"), ("rich", "neffos_conformance.cli.test_server")],
)
def test_without_the_suites_packages_the_command_says_what_it_needs(
    monkeypatch, capsys, package, loads
):
    from neffos_conformance.cli import entry

    monkeypatch.setattr(sys, "argv", ["neffos-wire", "server"])
    monkeypatch.setitem(sys.modules, package, None)
    for name in [each for each in sys.modules if each.startswith(f"{package}.")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, loads)
    monkeypatch.delattr(loads)
    with pytest.raises(SystemExit) as exit_:
        entry.main()
    assert exit_.value.code == 3
    assert "install neffos-wire[conformance]" in capsys.readouterr().err


def test_every_command_is_where_the_table_says():
    for name in cli.COMMANDS:
        assert cli.cli.get_command(None, name).name == name
