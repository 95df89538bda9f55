"""The files for other people's CI and for this project's: shell steps, pins, locks and forms.

`make packages` runs the steps with a real suite; `make workflows` checks the files with tools.
"""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from neffos_conformance.cli.init import ACTIONS, ROLES, WORKFLOW, files
from neffos_conformance.cli.main import COMMANDS
from peers import steps

from .test_vocabulary import FILES

ROOT = steps.ROOT
OURS = sorted(steps.WORKFLOWS.glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
LOCKS = {"run": ("conformance",), "dev": ("dev", "docs"), "release": ("release",)}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))

FAKE = """\
#!/usr/bin/env bash
printf '%s\\n' "$*" >> called
[ "$1" = test ] || exec touch "${@: -1}"
while [ "$1" != --markdown ]; do shift; done
echo "a summary" > "$2"
exit "${STATUS:-0}"
"""
"""A suite that notes how it was called, and writes a summary and a badge."""


def scripts():
    found = [
        *steps.container_steps(),
        *(each.get("run") for each in steps.action()["runs"]["steps"]),
    ]
    for path in OURS:
        found += [each.get("run") for each in steps.workflow_steps(path)]
    for role in ROLES:
        for job in yaml.safe_load(files(role)[WORKFLOW])["jobs"].values():
            found += [each.get("run") for each in job["steps"]]
    return [each for each in found if each]


def test_every_shell_step_is_a_script():
    assert len(scripts()) > 20
    texts = [re.sub(r"\$\{\{.*?\}\}", "expression", each) for each in scripts()]
    program = "\n".join(f"step() {{\n{text}\n}}" for text in texts)
    subprocess.run(["bash", "-n", "-c", program], check=True)  # noqa: S607


def test_actions_are_pinned_by_one_commit_each():
    texts = [each.read_text("utf-8") for each in (*OURS, steps.ACTION)]
    texts += [files(role)[WORKFLOW] for role in ROLES]
    used = [each.strip() for text in texts for each in re.findall(r"uses: (.*)", text)]
    assert len(used) > 20
    assert [
        each for each in used if not re.fullmatch(r"\S+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each)
    ] == []
    assert len({each.partition("@")[0] for each in used}) == len(set(used))
    assert set(ACTIONS.values()) <= set(used)


def test_the_targets_and_files_of_the_steps_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    text = "\n".join([*scripts(), *(each.read_text("utf-8") for each in OURS)])
    assert set(re.findall(r"\bmake ([a-z]+)\b", text)) <= targets
    for name in re.findall(r"requirements/[a-z]+\.txt", text):
        assert (ROOT / name).is_file()


def test_ci_runs_every_python_that_the_package_allows():
    tests = yaml.safe_load((steps.WORKFLOWS / "tests.yml").read_text("utf-8"))
    versions = tests["jobs"]["pythons"]["strategy"]["matrix"]["python"]
    assert PROJECT["project"]["requires-python"] == f">={versions[0]}"
    assert [int(each.partition(".")[2]) for each in versions] == [11, 12, 13, 14]


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_everything_by_hash(name):
    text = (ROOT / "requirements" / f"{name}.txt").read_text("utf-8")
    assert "://" not in text
    entries = re.split(r"^(?=\w)", text, flags=re.MULTILINE)[1:]
    assert [each for each in entries if "--hash=sha256:" not in each] == []
    locked = {re.split("[=;[ ]", each)[0] for each in entries}
    extras = PROJECT["project"]["optional-dependencies"]
    named = {re.split("[=;[<>]", each)[0].lower() for key in LOCKS[name] for each in extras[key]}
    assert named - locked <= {"neffos-wire"}


@pytest.mark.skipif(not FILES, reason="needs the list of files that git keeps")
def test_no_file_names_the_host_of_a_registry():
    hosts = r"pypi\.org|pythonhosted\.org|npmjs\.(org|com)|static\.crates\.io|proxy\.golang\.org"
    hosts += r"|repo1?\.maven\.|deb\.debian\.org|ghcr\.io|docker\.io"
    done = subprocess.run(
        ["git", "grep", "--name-only", "--extended-regexp", hosts],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "")


@pytest.fixture
def act(tmp_path):
    """Run the last step of the action with a fake suite; give the outcome and its files."""
    program = tmp_path / "neffos-wire" / "bin" / "neffos-wire"
    program.parent.mkdir(parents=True)
    program.write_text(FAKE)
    program.chmod(0o755)

    def run(status=0, **inputs):
        named = {name.replace("_", "-"): value for name, value in inputs.items()}
        written = {name: str(tmp_path / name) for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")}
        contexts = {
            "runner.temp": str(tmp_path),
            "github.action_path": str(ROOT),
            "steps.python.outputs.python-path": "true",  # installs nothing
        }
        env = {**os.environ, **written, "STATUS": str(status)}
        *installed, (_, done) = steps.run_action(named, contexts, env, tmp_path)
        assert [each.returncode for _, each in installed] == [0]
        return done

    return run


REPORTS = "--report {0}.json --junit {0}.xml --html {0}.html --markdown {0}.md"


def test_the_action_tests_a_server(act, tmp_path):
    assert (
        act(url="ws://localhost:8080/echo", profile="mine.toml", options="--jobs 2").returncode == 0
    )
    assert (tmp_path / "called").read_text().splitlines() == [
        f"test server --class interoperable {REPORTS.format('reports/server')} "
        "--profile mine.toml --jobs 2 ws://localhost:8080/echo",
        "badge reports/server.json --output reports/server.svg",
    ]
    assert (tmp_path / "GITHUB_STEP_SUMMARY").read_text() == "a summary\n"
    outputs = dict(line.split("=") for line in (tmp_path / "GITHUB_OUTPUT").read_text().split())
    assert {name: Path(value).suffix for name, value in outputs.items()} == {
        "report": ".json",
        "junit": ".xml",
        "html": ".html",
        "badge": ".svg",
    }
    assert set(outputs) == set(steps.action()["outputs"])


def test_the_action_fails_as_the_suite_does_and_reports_all_the_same(act, tmp_path):
    assert (
        act(1, command="./driver 'a b'", reports="there", known_failures="k.toml").returncode == 1
    )
    assert (tmp_path / "called").read_text().splitlines()[0] == (
        f"test client --class interoperable {REPORTS.format('there/client')} "
        "--known-failures k.toml -- bash -c ./driver 'a b'"
    )
    assert (tmp_path / "GITHUB_STEP_SUMMARY").exists()


@pytest.mark.parametrize("inputs", [{}, {"url": "ws://localhost/", "command": "./driver"}])
def test_the_action_wants_a_url_or_a_command(act, tmp_path, inputs):
    done = act(**inputs)
    assert (done.returncode, done.stdout) == (2, "::error::give either a url or a command\n")
    assert not (tmp_path / "called").exists()


def test_the_hook_checks_recordings():
    [hook] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
    program, command = hook["entry"].split()
    assert program in PROJECT["project"]["scripts"]
    assert command in COMMANDS
    for name in ("a/session.jsonl", "session.jsonl.gz"):
        assert re.search(hook["files"], name)


@pytest.mark.parametrize(
    "form", [each for each in FORMS if each.stem != "config"], ids=lambda f: f.stem
)
def test_a_form_asks_for_a_recording(form):
    values = yaml.safe_load(form.read_text("utf-8"))
    assert {"name", "description", "body"} <= set(values)
    fields = {each["id"]: each for each in values["body"]}
    assert "recording" in fields["recording"]["attributes"]["description"].lower()
    assert len(fields) == len(values["body"])
