"""What the pages and the README show is what happens."""

import doctest
import json
import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from neffos_codec import DecodeError, Decoding, decode
from neffos_conformance.cli.main import cli
from neffos_conformance.wire.transcript import read_transcript
from neffos_protocol.catalogue import requirement
from peers.corpus import recorded_cases
from peers.ports import lasting_port

from .generators import cases, ci

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "spec" / "docs").rglob("*.md"))
PEERS = ROOT / "conformance" / "peers"
PROGRAM = Path(sys.executable).with_name("neffos-wire")
HANG = 60.0
"""Seconds for a job to end; each takes far less."""

PORTS = ("8080", "9090")
"""The ports of the pages, for which the tests take free ones."""

VARYING = re.compile(r""" +\d+\.\d+ m?s\b|\d{4}-\d\d-\d\dT[\d:]+|"time":[\d.]+""")
"""What is another at each recording: times and dates."""


def blocks(path: Path, language: str) -> list[str]:
    return blocks_of(path.read_text("utf-8"), language)


def blocks_of(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def consoles() -> list[str]:
    """Give the consoles of the spec's pages."""
    return [block for page in PAGES for block in blocks(page, "console")]


class Console:
    """A terminal in which the commands of a page are run, as far as the pages need one."""

    def __init__(self) -> None:
        self.ports = {port: str(lasting_port()) for port in PORTS}
        self.jobs: list[subprocess.Popen[str]] = []
        self.exit_code = 0

    def run(self, command: str) -> str:
        """Run a command, in the background where it ends so; give what it printed."""
        for shown, port in self.ports.items():
            command = command.replace(shown, port)
        name, *arguments = shlex.split(command)
        if name == "kill":
            self.end(self.jobs[int(arguments[0].removeprefix("%")) - 1])
            return ""
        if arguments == ["$?"]:
            return f"{self.exit_code}\n"
        assert name == "neffos-wire"
        output = self.start(arguments[:-1]) if arguments[-1] == "&" else self.call(arguments)
        for shown, port in self.ports.items():
            output = output.replace(port, shown)
        return output

    def call(self, arguments: list[str]) -> str:
        """Run it in this process, which has imported everything already."""
        result = CliRunner().invoke(cli, arguments)
        self.exit_code = result.exit_code
        return result.output

    def start(self, arguments: list[str]) -> str:
        """Run it in a process of its own; give its first line."""
        job = subprocess.Popen(
            [PROGRAM, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.jobs.append(job)
        assert job.stdout is not None
        return job.stdout.readline()

    def end(self, job: subprocess.Popen[str]) -> None:
        with job:
            job.terminate()
            job.communicate(timeout=HANG)


def programs() -> list[tuple[str, str]]:
    """Give each Python program of the spec's pages with what it prints, as the page says."""
    found = []
    for page in PAGES:
        text = page.read_text("utf-8")
        pattern = r"^```python\n(.*?)^```\n(?:\nThe program prints:\n\n```text\n(.*?)^```)?"
        found += re.findall(pattern, text, re.MULTILINE | re.DOTALL)
    return found


def lasting(text: str) -> str:
    """Leave out what is another at each recording."""
    return VARYING.sub(" …", text)


def rows(page: str, pattern: str) -> list[tuple[str, ...]]:
    """Give the cells of the rows of a page's tables that match a pattern."""
    found = [line for line in (ROOT / page).read_text("utf-8").splitlines() if line[:2] == "| "]
    return [
        tuple(cell.strip() for cell in line.strip("|").split("|"))
        for line in found
        if re.match(pattern, line)
    ]


def named(cell: str) -> list[str]:
    """Give what stands in a cell as code."""
    return re.findall("`([^`]+)`", cell)


def without_id(line: str) -> str:
    """Leave out the id, which is another at each recording."""
    return re.sub("^← A.+", "← A…", line)


def test_the_examples_of_the_readme_run():
    results = doctest.testfile(str(ROOT / "README.md"), module_relative=False, encoding="utf-8")
    assert results.attempted > 5
    assert results.failed == 0


@pytest.mark.parametrize("console", consoles())
def test_a_console_shows_what_happens(console, tmp_path, monkeypatch):
    (tmp_path / "conformance").symlink_to(ROOT / "conformance")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("PATH", f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}")
    terminal = Console()
    try:
        for part in re.split(r"^\$ ", console, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            assert lasting(terminal.run(command)) == lasting(output)
    finally:
        for job in terminal.jobs:
            if job.poll() is None:
                terminal.end(job)


def shown_commands() -> list[list[str]]:
    """Give the words of each command that a page or the README shows without its output."""
    found = []
    texts = [page.read_text("utf-8") for page in (*PAGES, ROOT / "README.md")]
    texts += cases.section(requirement("SX-1"))  # which has cases for each role
    for block in (each for text in texts for each in blocks_of(text, "(?:sh|bash)")):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["neffos-wire"] and words[1:2] != ["--help"]:
                found.append(words[1:])
    return found


def test_the_commands_of_the_pages_have_their_options():
    commands = shown_commands()
    assert len(commands) > 20
    for words in commands:
        command: click.Command = cli
        while isinstance(command, click.Group) and not words[0].startswith("-"):
            found = command.get_command(click.Context(command), words[0])
            assert found is not None, words
            command, words = found, words[1:]
        options = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
        own = words[: words.index("--")] if "--" in words else words
        given = {word.partition("=")[0] for word in own if re.match(r"--?[a-z]", word)}
        assert given - options <= {"--help"}, (command.name, words)


@pytest.mark.whole
def test_the_script_for_ci_passes(tmp_path):
    script = ci.script().replace("8080", str(lasting_port()))
    path = f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        ["bash", "-c", script],  # noqa: S607
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        check=True,
    )
    assert {each.name for each in tmp_path.iterdir()} >= {"junit.xml", "report.html"}


@pytest.mark.parametrize(("program", "output"), programs())
def test_a_program_prints_what_the_page_says(program, output, capsys, caplog):
    exec(compile(program, "program", "exec"), {"__name__": "__main__"})  # noqa: S102  # ours
    assert capsys.readouterr() == (output, "")
    assert caplog.records == []


def test_the_session_of_the_introduction_was_recorded():
    recording = ROOT / "conformance" / "transcripts" / "neffos-go" / "visit.jsonl"
    recorded = [
        without_id(("→ " if entry.from_client else "← ") + entry.content)
        for entry in read_transcript(recording).entries
        if isinstance(entry.content, str)
    ]
    [visit] = [each for each in blocks(ROOT / "spec/docs/introduction.md", "text") if "→ M" in each]
    shown = [without_id(line) for line in visit.splitlines()]
    assert len(shown) > 5
    assert [line for line in recorded if line in shown] == shown


def test_the_table_of_the_two_readings_is_true():
    page = (ROOT / "spec/docs/frame.md").read_text("utf-8")
    rows = re.findall(r"^\| `([^`]+)` \| (?!refused)[^|]+ \| ([^|]+) \|$", page, re.MULTILINE)
    readings = [row for row in rows if row[0].count(";") >= 6]
    assert len(readings) == 3
    for payload, strict in readings:
        decode(payload)
        if refusal := re.search(r"refused \((.+)\)", strict):
            with pytest.raises(DecodeError) as error:
                decode(payload, decoding=Decoding.STRICT)
            assert error.value.requirement == refusal[1]
        else:
            assert decode(payload, decoding=Decoding.STRICT).is_empty_reply


def test_the_lines_of_the_recordings_page_were_recorded():
    page = ROOT / "spec/docs/recordings.md"
    names = re.findall(r"`(conformance/transcripts/\S+\.jsonl)`", page.read_text("utf-8"))
    recorded = {
        lasting(line) for name in names for line in (ROOT / name).read_text("utf-8").splitlines()
    }
    shown = [line for block in blocks(page, "json") for line in block.splitlines()]
    assert len(shown) == 6
    assert [line for line in shown if lasting(line) not in recorded] == []


def test_the_fields_of_a_check_report_are_those_of_the_page():
    recording = ROOT / "conformance/transcripts/neffos-go/handshake-binary.jsonl"
    done = CliRunner().invoke(cli, ["check", "--json", str(recording)])
    [report] = json.loads(done.stdout)["recordings"]
    fields = {
        name
        for first, *_ in rows("spec/docs/recordings.md", r"\| `(file|verdict|lines|violations)`")
        + rows(
            "spec/docs/recordings.md",
            r"\| `(suspicions|counts|unreadable|pending_asks|stale_defects|unchecked_connections)`",
        )
        + rows("spec/docs/recordings.md", r"\| `(unit|notes)` ")
        for name in named(first)
    }
    assert fields == report.keys()
    [violations] = rows("spec/docs/recordings.md", r"\| `violations`")
    assert set(named(violations[1])) <= report["violations"][0].keys()


@cache
def listed() -> str:
    """Give what the program of the tested implementations lists."""
    return subprocess.run(
        [sys.executable, "-m", "peers.implementations", "list"],
        cwd=ROOT / "conformance",
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_the_page_of_tested_implementations_names_all():
    servers = set(re.findall("^ +serve (.+)", listed(), re.MULTILINE))
    clients = set(re.findall("^ +drive (.+)", listed(), re.MULTILINE))
    peers = set(re.findall(r"^\S+$", listed(), re.MULTILINE))
    table = rows("spec/docs/peers.md", r"\| `neffos[^|]+ \|(?:[^|]+\|){4}$")
    assert {named(first)[0] for first, *_ in table} == peers
    assert {named(first)[0] for first, _, endpoints, *_ in table if endpoints} == servers
    assert {name for _, _, _, drivers, _ in table for name in named(drivers)} == clients


def test_the_page_of_tested_implementations_names_their_versions():
    page = (ROOT / "spec/docs/peers.md").read_text("utf-8")
    package = json.loads((PEERS / "js" / "package.json").read_text("utf-8"))
    modules = "".join(
        (PEERS / "go" / name).read_text("utf-8") for name in ("go.mod", "go.next.mod")
    )
    versions = re.findall(r"kataras/(?:neffos|iris/v12) (v\S+)", modules)
    assert len(versions) == 3
    versions += [f"Go {version}" for version in re.findall(r"^go (\S+)", modules, re.MULTILINE)]
    versions.append(f"neffos.js {package['dependencies']['neffos.js']}")
    versions.append(f"Node {package['engines']['node'].removeprefix('>=')} or newer")
    assert [version for version in versions if version not in page] == []


def test_the_page_says_which_known_failures_apply_to_whom():
    known = re.findall(r"^ +known of (\S+): (.+)$", listed(), re.MULTILINE)
    table = rows("spec/docs/peers.md", r"\| `[^|]+\| `[^|]+\.toml` \|$")
    shown = [(subject, named(files)) for subjects, files in table for subject in named(subjects)]
    assert sorted(shown) == sorted((subject, files.split(", ")) for subject, files in known)
    there = {path.name for path in (PEERS / "known_failures").glob("*.toml")}
    assert there - {"interop.toml"} == {file for _, files in shown for file in files}


def test_the_case_of_the_page_is_one_of_those_that_are_recorded():
    [case] = blocks(ROOT / "spec/docs/peers.md", "toml")
    assert case in (PEERS / "recorded_cases" / "server.toml").read_text("utf-8")


def test_the_verbs_of_the_page_are_those_of_the_recorded_cases():
    cases = [*recorded_cases("server"), *recorded_cases("client")]
    verbs = {step.verb for case in cases for step in case.steps}
    table = rows("spec/docs/peers.md", r"\| `1 ")
    assert {line.split()[1] for row in table for line in named(row[0])} == verbs
