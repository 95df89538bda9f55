"""What the pages and the README show is what happens."""

import doctest
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from neffos_codec import DecodeError, Reading, decode
from neffos_conformance.transcript import read_transcript

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "spec" / "docs").glob("*.md"))
PROGRAM = Path(sys.executable).with_name("neffos-wire")


def blocks(path: Path, language: str) -> list[str]:
    text = path.read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands() -> list[tuple[str, str]]:
    """Give each command of the spec's consoles with what stands below it."""
    found = []
    for page in PAGES:
        for block in blocks(page, "console"):
            for part in block.split("$ neffos-wire ")[1:]:
                command, _, output = part.partition("\n")
                found.append((command, output))
    return found


def programs() -> list[tuple[str, str]]:
    """Give each Python program of the spec's pages with what it prints, as the page says."""
    found = []
    for page in PAGES:
        text = page.read_text("utf-8")
        pattern = r"^```python\n(.*?)^```\n(?:\nprints\n\n```text\n(.*?)^```)?"
        found += re.findall(pattern, text, re.MULTILINE | re.DOTALL)
    return found


def without_id(line: str) -> str:
    """Leave out the id, which is another at each recording."""
    return re.sub("^← A.+", "← A…", line)


def test_the_examples_of_the_readme_run():
    results = doctest.testfile(str(ROOT / "README.md"), module_relative=False, encoding="utf-8")
    assert results.attempted > 5
    assert results.failed == 0


@pytest.mark.parametrize(("command", "output"), commands())
def test_a_command_prints_what_the_page_shows(command, output):
    done = subprocess.run([PROGRAM, *shlex.split(command)], capture_output=True, text=True)
    assert done.stdout + done.stderr == output


@pytest.mark.parametrize(("program", "output"), programs())
def test_a_program_prints_what_the_page_says(program, output):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (output, "")


def test_the_visit_on_the_first_page_was_recorded():
    recording = ROOT / "conformance" / "transcripts" / "neffos-go" / "visit.jsonl"
    recorded = [
        without_id(("→ " if entry.from_client else "← ") + entry.content)
        for entry in read_transcript(recording).entries
        if isinstance(entry.content, str)
    ]
    [visit] = [each for each in blocks(ROOT / "spec/docs/index.md", "text") if "→ M" in each]
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
                decode(payload, reading=Reading.STRICT)
            assert error.value.requirement == refusal[1]
        else:
            assert decode(payload, reading=Reading.STRICT).is_empty_reply
