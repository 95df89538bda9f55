"""What ``init`` writes into a repository: files that the suite itself accepts, and none twice."""

from __future__ import annotations

import shlex

import pytest
import yaml

from neffos_conformance.cases.profile import read_profile
from neffos_conformance.cli import init
from neffos_conformance.cli import main as cli
from neffos_conformance.cli.test_client import client_command
from neffos_conformance.cli.test_server import server_command
from neffos_conformance.runner.known_failures import read_known_failures


@pytest.fixture
def written(tmp_path, monkeypatch, capsys):
    """Run the command in an empty repository; give exit code and both outputs."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            cli.main(["init", *arguments])
        return ended.value.code, *capsys.readouterr()

    return run


def job_of(folder):
    values = yaml.safe_load((folder / init.WORKFLOW).read_text("utf-8"))
    return values["jobs"]["conformance"]["steps"]


@pytest.mark.parametrize("role", init.ROLES)
def test_the_files_are_of_the_suites_own_forms(written, tmp_path, role):
    code, out, _ = written("--role", role)
    assert code == 0
    paths = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    assert paths == set(init.files(role))
    assert out.count("written: ") == len(paths)
    assert read_known_failures([tmp_path / "conformance" / "known-failures.toml"]) == []
    [command] = [each["run"] for each in job_of(tmp_path) if "Test" in each.get("name", "")]
    program, test, given, *arguments = shlex.split(command)
    assert (program, test, given) == ("neffos-wire", "test", role)
    tested = {"server": server_command, "client": client_command}[role]
    context = tested.make_context(role, arguments)  # every option exists
    assert context.params["options"] if "options" in context.params else context.params["json"]


def test_nothing_is_overwritten(written, tmp_path):
    kept = tmp_path / "conformance" / "known-failures.toml"
    kept.parent.mkdir()
    kept.write_text("mine", "utf-8")
    code, _, err = written()
    assert code == 2
    assert "already there: conformance/known-failures.toml. Try: another folder, or --force" in err
    assert kept.read_text("utf-8") == "mine"
    assert not (tmp_path / init.WORKFLOW).exists()
    code, _, _ = written("--force")
    assert code == 0
    assert kept.read_text("utf-8") != "mine"
    assert written()[0] == 2


def test_another_folder_is_made(written, tmp_path):
    assert written("--folder", "there")[0] == 0
    assert (tmp_path / "there" / init.WORKFLOW).exists()


def test_a_folder_that_is_a_file_is_a_usage_error(written, tmp_path):
    (tmp_path / ".github").write_text("", "utf-8")
    code, _, err = written()
    assert code == 2
    assert ".github is a file, not a folder" in err


def test_the_profile_names_the_namespace(written, tmp_path):
    assert written()[0] == 0
    assert read_profile(tmp_path / "conformance" / "profile.toml").namespace("app") == "default"
