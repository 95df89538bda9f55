"""The command line: what it prints and with which code it exits."""

import json
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from neffos_conformance.cli import main as cli
from neffos_conformance.cli import test_server as server
from neffos_conformance.wire.transcript import read_transcript

from .commands import run

PROGRAM = Path(sys.executable).with_name("neffos-wire")


def test_decode_prints_the_seven_fields_as_a_table():
    done = subprocess.run(
        [PROGRAM, "decode", "$1;chat;lobby;say;0;1;hi; there"], capture_output=True
    )
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


def test_decode_says_what_strict_decoding_refuses():
    frame = ";default;room1;42;chat;0;0;hi"
    shown = " ".join(run("decode", frame).stdout.decode().split())
    assert "strict decoding refuses it: a flag is '0' or '1', not 'chat'" in shown
    assert "'chat'" in json.loads(run("decode", "--json", frame).stdout)["strict"]
    assert json.loads(run("decode", "--json", ";a;;e;0;0;").stdout)["strict"] is None


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


def test_server_tests_the_embedded_server_and_writes_a_report(tmp_path):
    done = run(
        "test",
        "server",
        "--case",
        "HS-1.1",
        "--case",
        "NS-3.*",
        "--save-recordings",
        "saved",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "reports" / "server.json").read_text("utf-8"))
    ids = [case["id"] for case in report["cases"]]
    assert ids[0] == "HS-1.1"
    assert "NS-3.1" in ids
    assert {name: count for name, count in report["counts"].items() if count} == {"pass": len(ids)}
    sent = [each["text"] for each in report["cases"][0]["log"] if "text" in each]
    assert sent[0] == "M"
    assert read_transcript(tmp_path / "saved" / "NS-3.1.jsonl").entries


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["test", "server", "--case", "NOPE"], b"no case matches NOPE"),
        (["test", "server", "ws://127.0.0.1:9/"], b"127.0.0.1:9: connection refused. Try"),
        (["test", "server", "http://127.0.0.1/"], b"not a WebSocket URL"),
        (["test", "server", ""], b"not a WebSocket URL"),
        (["test", "server", "ws://127.0.0.1:99999"], b"not a WebSocket URL"),
        (["test", "server", "ws://[::1"], b"not a WebSocket URL"),
        (["test", "server", "ws://a..b/"], b"no connection to a..b"),
        (["test", "server", "--case", "HS-1.1", "--case", "HS-99"], b"no case matches HS-99"),
        (["test", "server", "--report", "/dev/null/r.json"], b"/dev/null"),
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
    from neffos_conformance.reference import embedded

    monkeypatch.chdir(tmp_path)
    own = embedded.embedded_server
    faulty = lambda: own(distort=BANK["error-without-flag"].distort)  # noqa: E731
    monkeypatch.setattr(embedded, "embedded_server", faulty)
    with pytest.raises(SystemExit) as exit_:
        cli.main(["test", "server", "--case", "AR-7.1"])
    assert exit_.value.code == 1
    shown = capsys.readouterr().out
    assert "fail AR-7.1" in shown
    assert "'$1;app;;fail;0;0;it broke'" in shown
    assert re.search(r"rerun +neffos-wire test server --case AR-7\.1$", shown, re.MULTILINE)


def test_a_broken_harness_exits_with_3(monkeypatch, capsys):
    def broken(*_: object) -> None:
        raise RuntimeError("on purpose")

    monkeypatch.setattr(server, "all_cases", broken)
    with pytest.raises(SystemExit) as exit_:
        cli.main(["test", "server"])
    assert exit_.value.code == cli.EXIT_BROKEN
    assert "internal error" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("package", "loads"),
    [("click", "neffos_conformance.cli.main"), ("rich", "neffos_conformance.reports.terminal")],
)
def test_without_the_suites_packages_the_command_says_what_it_needs(
    monkeypatch, capsys, package, loads
):
    from neffos_conformance.cli import entry

    monkeypatch.setattr(sys, "argv", ["neffos-wire", "test", "server", "--case", "HS-1.1"])
    monkeypatch.setitem(sys.modules, package, None)
    for name in [each for each in sys.modules if each.startswith(f"{package}.")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, loads)
    monkeypatch.delattr(loads)
    with pytest.raises(SystemExit) as exit_:
        entry.main()
    assert exit_.value.code == 3
    assert "pip install 'neffos-wire[conformance]'" in capsys.readouterr().err


# -------------------------------------------------------------------- start

WITH_ITS_IMPORTS = """
import sys
from neffos_conformance.cli.entry import main
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""
SESSION = {"neffos_protocol", "asyncio", "importlib.metadata", "neffos_conformance.wire.secrets"}
REPORTS = {"rich", "jinja2", "neffos_conformance.reports", "neffos_conformance.interop"}
RARE = {"tomllib", "jsonschema_rs", "h11", "websockets.asyncio", "neffos_asyncio"}
RARE |= {"neffos_conformance.model_based"}


@pytest.mark.parametrize(
    ("arguments", "absent"),
    [
        (["--version"], SESSION | REPORTS | RARE),
        (["decode", ";;;e;0;0;x"], SESSION | REPORTS | RARE),
        (["decode", "--json", ";;;e;0;0;x"], {"asyncio"} | REPORTS | RARE),
        (["encode", "--event", "e"], SESSION | REPORTS | RARE),
        (["test", "server", "ws://127.0.0.1:1"], REPORTS | RARE),
        (["list", "--json"], {"asyncio", "websockets"} | REPORTS - {"rich"} | RARE),
    ],
    ids=lambda each: " ".join(each[:3]) if isinstance(each, list) else "",
)
def test_a_command_that_is_soon_done_imports_nothing_that_it_does_not_use(
    tmp_path, arguments, absent
):
    command = [sys.executable, "-c", WITH_ITS_IMPORTS, *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    imported = done.stderr.split("\n")[-2].split()
    assert "neffos_conformance.cli.main" in imported
    assert "Usage:" not in done.stderr  # which would import nothing
    assert absent.isdisjoint(imported)


# -------------------------------------------------------------------- help

CONTEXT = click.Context(cli.cli, info_name="neffos-wire")
EVERY_COMMAND = {
    "": cli.cli,
    **{name: cli.cli.get_command(CONTEXT, name) for name in cli.COMMANDS},
    **{f"test {name}": cli.test_command.get_command(CONTEXT, name) for name in cli.TESTS},
}
METAVARS = re.compile(
    r"URL…?|\[URL\](?:…)?|FILE…?|COMMAND|\[-- COMMAND…\]|-- COMMAND…|NAME=URL|NAME=COMMAND|FOLDER"
    r"|SECONDS|N|\[FILE\]|\[FOLDER\]|\{[a-z|]+\}|NAME|PORT|\[HOST:\]PORT|HOST:PORT:ADDRESS|HEADER"
    r"|TEXT|PATTERN|SOURCE…|REQUIREMENT…?|TAG|LIST|LINE|PAYLOAD|\[PAYLOAD\]|HEX|\[[a-z|]+\]"
)
"""The names of values in help texts, and the choices that click lists."""


def test_every_command_is_in_the_tables_under_its_name():
    for name, command in EVERY_COMMAND.items():
        assert command.name == (name.split()[-1] if name else "cli")
    grouped = [name for names in cli.GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(cli.COMMANDS)


@pytest.mark.parametrize("name", EVERY_COMMAND)
def test_help_has_one_form(name):
    command = EVERY_COMMAND[name]
    context = click.Context(command, info_name=name)
    summary, *_ = command.help.partition("\n")
    assert re.fullmatch(r"[A-Z].*\.", summary)
    assert len(summary) <= 60
    assert summary.split()[0][-1] != "s", "imperative"
    assert "Exit code" not in command.help
    assert " ".join(command.get_help(context).split()).endswith(cli.EXIT_STATUS)
    for parameter in command.params:
        is_flag = isinstance(parameter, click.Option) and parameter.is_flag
        metavar = (parameter.metavar or parameter.make_metavar(context)).strip()
        if not is_flag:
            assert METAVARS.fullmatch(metavar), (parameter.name, metavar)
        if isinstance(parameter, click.Option) and parameter.name != "version":
            assert re.fullmatch(r"[A-Z].*\.(  \[default: .+\])?", parameter.help), parameter.name
            assert not re.match("(Say|Show|Print|Tell|Write|Give|Take|The|A) ", parameter.help)


def test_the_top_help_shows_every_summary_whole_in_its_group():
    shown = " ".join(cli.cli.get_help(CONTEXT).split())
    places = [shown.index(f"{group}:") for group in cli.GROUPS]
    assert places == sorted(places)
    for name in cli.COMMANDS:
        summary, *_ = EVERY_COMMAND[name].help.partition("\n")
        assert f"{name} {summary.removesuffix('.')}" in shown
