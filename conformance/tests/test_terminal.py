"""Standard output: no control character passes, any encoding and any reader will do."""

import io
import json
import os
import sys

import pytest

from neffos_conformance.cli import main as cli
from neffos_conformance.wire import terminal
from neffos_conformance.wire.console import Terminal
from neffos_conformance.wire.terminal import echo, visible_lines

EVIL = "\x1bc\x1b[31m\u202eevil\u2066\x9b2J\x7f\x07\ud800→日本😀"
"""Full reset, colour, bidi controls, C1, DEL, bell, an unpaired surrogate, and plain text."""

FORGED = "\nneffos-wire: all is well"

HARMLESS = {"\n"}


def is_harmless(data: bytes) -> bool:
    text = data.decode()
    return all(each.isprintable() or each in HARMLESS for each in text)


@pytest.fixture
def evil(tmp_path):
    """A recording whose every text is hostile, in a file with a hostile name."""
    text = EVIL.replace("\ud800", "")
    header = {
        "format": 2,
        "scenario": text + FORGED,
        "client": {"peer": text, "version": text + FORGED},
        "server": {"peer": text},
        "recorded": f"2026-11-29T{text}",
        "how": text + FORGED,
        "defects": {text + FORGED: "client"},
    }
    lines = [
        {"opened": {"path": f"/{text}{FORGED}", "headers": {text: text}}},
        {"text": f"M{text}{FORGED}"},
        {"text": f";{text};{text};{text};0;0;{text}{FORGED}"},
        {"text": text + FORGED},
        {"closed": {"code": 1000, "reason": text + FORGED}},
        {"kind": text + FORGED},
    ]
    rest = [{"time": 0.1, "connection": 1, "from": "client"} | each for each in lines]
    path = tmp_path / f"{text.replace('/', '')}{FORGED}.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in (header, *rest)), "utf-8")
    return path


def run(monkeypatch, *arguments: str, encoding: str = "utf-8") -> tuple[object, bytes, bytes]:
    """Run a command with standard streams of an encoding; give status, output and errors."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", streams[0])
        patch.setattr(sys, "stderr", streams[1])
        with pytest.raises(SystemExit) as end:
            cli.main(arguments)
    for each in streams:
        each.flush()
    out, err = (each.buffer.getvalue() for each in streams)
    return end.value.code, out, err


@pytest.mark.parametrize(
    "command",
    [
        ["check", "-v", "--jobs", "1"],
        ["check", "--json", "--jobs", "1"],
        ["show"],
        ["show", "-v"],
        ["replay", "--server", "ws://127.0.0.1:1"],
        ["replay", "--json", "--server", "ws://127.0.0.1:1"],
        ["import"],
    ],
    ids=" ".join,
)
def test_no_control_character_of_a_recording_passes(monkeypatch, evil, command):
    _, out, err = run(monkeypatch, *command[:1], str(evil), *command[1:])
    assert out + err
    assert is_harmless(out), out
    assert is_harmless(err), err
    assert not [line for line in (out + err).splitlines() if line == FORGED.strip().encode()]


def test_json_is_ascii_and_keeps_every_character(monkeypatch, evil):
    _, out, _ = run(monkeypatch, "check", "--json", "--jobs", "1", str(evil))
    assert out.isascii()
    (found,) = json.loads(out)["recordings"]
    assert found["header"]["scenario"] == EVIL.replace("\ud800", "") + FORGED
    assert found["file"] == str(evil)


IN_UTF_8: dict[tuple[str, ...], tuple[object, bytes, bytes]] = {}
"""What a command does in UTF-8, which each other encoding is compared with."""


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "cp437", "utf-16", "shift_jis"])
@pytest.mark.parametrize(
    "command",
    [
        ["list", "--case", "NS"],
        ["list", "--json"],
        ["explain", "NS-12"],
        ["explain", "NS-12.1"],
        ["matrix"],
        ["matrix", "--json"],
        ["matrix", "--markdown"],
        ["decode", ";app;→;日本;0;0;😀"],
        ["decode", "--json", ";app;→;日本;0;0;😀"],
        ["decode", "--native", "fallback", "→"],
        ["test", "--help"],
        ["test", "server", "--case", "→"],
        ["explain", "→日本"],
        ["nonsense→"],
    ],
    ids=" ".join,
)
def test_every_command_writes_in_any_encoding(monkeypatch, encoding, command):
    if tuple(command) not in IN_UTF_8:
        IN_UTF_8[tuple(command)] = run(monkeypatch, *command)
    expected, plain, complaint = IN_UTF_8[tuple(command)]
    status, out, err = run(monkeypatch, *command, encoding=encoding)
    assert status == expected != cli.EXIT_BROKEN, err
    assert bool(out) is bool(plain)
    assert bool(err) is bool(complaint)
    assert out.decode(encoding) is not None


@pytest.mark.parametrize("name", ["check", "show"])
@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_any_recording_is_shown_in_any_encoding(monkeypatch, evil, name, encoding):
    assert run(monkeypatch, name, str(evil))[0] == 1
    status, out, _ = run(monkeypatch, name, str(evil), encoding=encoding)
    assert status == 1
    assert b"\\u{65e5}" in out


@pytest.mark.parametrize("width", ["1", "2", "10", "39", "1000000"])
@pytest.mark.parametrize("command", [["list", "--case", "HS"], ["explain", "HS-1.1"], ["matrix"]])
def test_every_width_will_do(monkeypatch, width, command):
    monkeypatch.setenv("COLUMNS", width)
    monkeypatch.setenv("TERM", "dumb")
    assert run(monkeypatch, *command)[0] == 0


def test_no_home_is_needed(monkeypatch, tmp_path):
    for name in ("HOME", "USER", "TERM", "LANG", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    report = str(tmp_path / "a.json")
    assert run(monkeypatch, "test", "server", "--case", "HS-1.1", "--report", report)[0] == 0
    assert run(monkeypatch, "list", "--case", "HS-1.1")[0] == 0


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["list"], 0),
        (["list", "--json"], 0),
        (["decode", "--json", ";;;;;;"], 0),
        (["decode", "nonsense"], 1),
    ],
)
def test_a_reader_that_has_gone_changes_no_exit_status(monkeypatch, capfd, command, status):
    read, write = os.pipe()
    os.close(read)
    with open(write, "w", encoding="utf-8") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        with pytest.raises(SystemExit) as end:
            cli.main(command)
    assert end.value.code == status
    assert "Traceback" not in capfd.readouterr().err


def test_a_reader_that_goes_does_not_stop_the_command():
    read, write = os.pipe()
    os.close(read)
    with open(write, "w", encoding="utf-8") as stream:
        console = Terminal(file=stream)
        console.print("no one reads it")
        console.print("nor this")


def test_a_terminal_writes_its_own_codes_and_no_others():
    out = io.StringIO()
    console = Terminal(file=out, force_terminal=True, color_system="standard", highlight=False)
    console.print(f"[red]{EVIL}[/]\nnext")
    assert out.getvalue().count("\x1b") == 2
    assert out.getvalue().splitlines()[1] == "next"
    assert not {"\u202e", "\x9b", "\x07", "\ud800"} & {*out.getvalue()}


def test_text_is_escaped_line_by_line(capsys):
    echo(f"first\n{EVIL}")
    shown = capsys.readouterr().out
    assert shown.splitlines()[0] == "first"
    assert shown.count("\n") == 2
    assert shown == visible_lines(shown)


def test_the_streams_lack_no_character_of_the_suites_own():
    for each, plain in terminal.SIMILAR.items():
        assert each.encode("ascii", terminal.ERRORS) == plain.encode()
