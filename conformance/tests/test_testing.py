"""The commands of ``test``: selection, known failures, time limits, and what they leave behind."""

import asyncio
import json
import re
import socket
import sys
from pathlib import Path

import pytest

from mutation import BANK
from neffos_conformance.cases.definition import select, server_cases
from neffos_conformance.cli import main as cli
from neffos_conformance.cli.model_based import _replay
from neffos_conformance.cli.run_options import RUN_TIMEOUT, RunOptions
from neffos_conformance.cli.testing import (
    SystemUnderTest,
    allow_for,
    run_limit,
)
from neffos_conformance.reference import embedded
from neffos_conformance.reference.embedded import embedded_server
from neffos_conformance.runner.known_failures import KnownFailuresError, read_known_failures
from neffos_conformance.runner.pace import Pace, Way
from neffos_conformance.wire.transcript import read_transcript

from .commands import beside

DRIVER = f"{Path(sys.executable).with_name('neffos-wire')} driver"


@pytest.fixture
def tested(monkeypatch, capsys, tmp_path):
    """Run the command on the reference server, or on a mutant; give exit code and both outputs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments, mutant=""):
        if mutant:
            distort = BANK[mutant].distort
            faulty = lambda: embedded_server(distort=distort)  # noqa: E731
            monkeypatch.setattr(embedded, "embedded_server", faulty)
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        output = capsys.readouterr()
        return ended.value.code, output.out, output.err

    return run


def known_failures(tmp_path, **changes):
    entry = {
        "cases": ["AR-7.1"],
        "verdict": "fail",
        "observed": "is_error: expected True, actual <<seen>>",
        "reason": "the server is faulty",
        "link": "https://example.org/1",
    } | changes
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in entry.items())
    path = tmp_path / "known.toml"
    path.write_text(f"format = 2\n[[known_failure]]\n{lines}\n", "utf-8")
    return path


# -------------------------------------------------------------------- selecting


def test_a_dry_run_says_what_would_be_run_and_runs_nothing(tested, tmp_path):
    code, out, _ = tested("test", "server", "ws://127.0.0.1:9/", "--case", "HS-1", "--dry-run")
    assert code == 0
    assert "HS-1.1" in out
    assert re.search(r"\d+ cases would run, 0 would not", out)
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_knows_the_features(tested):
    _, out, _ = tested("test", "server", "--case", "RM-4.1", "--features", "", "--dry-run")
    assert "skipped: it needs app" in out
    assert "0 cases would run, 1 would not" in out


@pytest.mark.parametrize("command", ["test server", "test client", "test codec", "list"])
def test_what_matches_nothing_is_a_usage_error(tested, command):
    code, _, err = tested(*command.split(), "--case", "XX-1")
    assert code == 2
    assert "no case matches XX-1" in err


def test_a_name_and_a_tag_that_no_case_has_together(tested):
    code, _, err = tested("test", "server", "--case", "HS-1.1", "--tag", "several")
    assert code == 2
    assert "both such a name and such a tag" in err


# -------------------------------------------------------------------- classes


def test_the_class_decides_the_exit_status(tested):
    cases = ("--case", "RM-1.1", "--case", "RM-1.12")
    code, out, _ = tested("test", "server", *cases, mutant="ended-leave-carried-out")
    assert code == 1
    assert out.startswith("interoperable: yes, 1 of 1 cases, ")
    assert "\ncomplete: no, 1 of 2 cases, 1 requirement missing (" in out
    code, out, _ = tested("test", "server", *cases, "--class", "interoperable")
    assert code == 0
    assert out.splitlines()[-1].startswith("PASS (interoperable): 1 fail, 1 pass")


def test_a_class_of_which_nothing_ran_passes_nothing(tested):
    code, _, err = tested("test", "server", "--case", "RM-1.12", "--class", "interoperable")
    assert code == 2
    assert "nothing ran: no selected case belongs to the class interoperable" in err


def test_there_is_no_other_class(tested):
    code, _, err = tested("test", "codec", "--class", "nearly")
    assert code == 2
    assert "'nearly' is not one of 'interoperable', 'complete'" in err


# -------------------------------------------------------------------- known failures


def test_a_known_failure_is_accepted_and_reported(tested, tmp_path):
    known = known_failures(tmp_path)
    arguments = ("test", "server", "--case", "AR-7.1", "--known-failures", str(known))
    code, out, _ = tested(*arguments, mutant="error-without-flag")
    assert code == 0
    assert "the server is faulty" in out
    assert "https://example.org/1" in out


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"cases": ["AR-1.1"]}, "AR-1.1 passes now"),
        ({"observed": "nothing came"}, "AR-7.1 fails in another way: fail, is_error: expected"),
        ({"verdict": "non-strict"}, "AR-7.1 fails in another way"),
        ({"cases": ["AR-7.999"]}, "AR-7.999: there is no such case"),
    ],
)
def test_an_entry_that_does_not_hold_is_an_error(tested, tmp_path, changes, complaint):
    known = known_failures(tmp_path, **changes)
    arguments = (
        "test",
        "server",
        "--case",
        "AR-7.1",
        "--case",
        "AR-1.1",
        "--known-failures",
        str(known),
    )
    code, out, _ = tested(*arguments, mutant="error-without-flag")
    assert code == 1
    assert complaint in out


def test_an_entry_for_a_case_that_was_not_selected_says_nothing(tested, tmp_path):
    known = known_failures(tmp_path)
    code, _, _ = tested("test", "server", "--case", "HS-1.1", "--known-failures", str(known))
    assert code == 0


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"reason": "?"}, "known_failure/0/reason"),
        ({"link": "somewhere"}, "known_failure/0/link"),
        ({"verdict": "pass"}, "known_failure/0/verdict"),
        ({"cases": []}, "known_failure/0/cases"),
        ({"backend": "x"}, "known_failure/0"),
        ({"cases": ["AR-7.1", "AR-7.1"]}, "known_failure/0/cases"),
    ],
)
def test_a_file_of_another_form_is_refused_with_the_place(tmp_path, changes, complaint):
    with pytest.raises(KnownFailuresError, match=complaint):
        read_known_failures([known_failures(tmp_path, **changes)])


def test_two_entries_for_one_case_are_refused(tmp_path):
    known = known_failures(tmp_path)
    with pytest.raises(KnownFailuresError, match=r"AR-7\.1 has an entry already"):
        read_known_failures([known, known])


def test_a_draft_becomes_a_file_of_known_failures_once_reasons_are_given(tested, tmp_path):
    arguments = ("test", "server", "--case", "AR-7.1", "--case", "NS-3.1")
    code, _, _ = tested(*arguments, "--write-known-failures", "d.toml", mutant="error-without-flag")
    assert code == 1
    draft = tmp_path / "d.toml"
    text = draft.read_text("utf-8")
    with pytest.raises(KnownFailuresError, match="reason"):
        read_known_failures([draft])
    text = text.replace('reason = ""', 'reason = "as I said before"').replace(
        'link = ""', 'link = "DV-1"'
    )
    draft.write_text(text, "utf-8")
    code, _, _ = tested(*arguments, "--known-failures", "d.toml", mutant="error-without-flag")
    assert code == 0


# -------------------------------------------------------------------- bounds


def test_what_is_not_done_in_time_is_unknown_and_no_pass(tested, tmp_path):
    code, out, _ = tested("test", "server", "--run-timeout", "0.000001", "--case", "NS-3")
    assert code == 2
    last = r"^INCOMPLETE: \d+ unknown\. Try: neffos-wire test server --case \S+$"
    assert re.search(last, out, re.MULTILINE)
    values = json.loads((tmp_path / "reports" / "server.json").read_text("utf-8"))
    assert {each["verdict"] for each in values["cases"]} == {"unknown"}
    assert "whole run" in values["cases"][0]["explanation"]


def test_every_run_ends_with_its_outcome_and_a_failed_one_with_the_next_command(tested):
    _, out, _ = tested("test", "server", "--case", "AR-7.1")
    assert out.splitlines()[-1] == "PASS: 1 pass"
    _, out, _ = tested("test", "server", "--case", "AR-7.1", mutant="error-without-flag")
    again = "neffos-wire test server --case AR-7.1"
    assert out.splitlines()[-1] == f"FAIL: 1 fail. Try: {again}"


def test_a_counterexample_is_seen_again_by_a_replay_of_its_recording():
    path = Path("reports") / "NS-3.1.jsonl"
    server = SystemUnderTest("server", "ws://h/", {}, "neffos-wire test server ws://h/ --seed 1")
    assert _replay(path, server) == "neffos-wire replay reports/NS-3.1.jsonl --server ws://h/"
    command = "neffos-wire test client --explore --seed 1 -- node driver.mjs"
    client = SystemUnderTest("client", "node driver.mjs", {}, command)
    again = "neffos-wire replay reports/NS-3.1.jsonl --client node driver.mjs"
    assert _replay(path, client) == again


def test_a_run_gets_the_time_that_a_far_server_needs_unless_its_limit_was_set():
    def left(run_timeout):
        async def run():
            own = dict.fromkeys(("patterns", "tags", "known_failures_paths"), ())
            more = dict.fromkeys(("dry_run", "verbose", "write_known_failures_path"))
            options = RunOptions(
                **own, **more, report_paths={}, timeout=5.0, run_timeout=run_timeout
            )
            way = Way(options.timeouts, pace=Pace(round_trip=0.6))
            async with run_limit(options) as limit:
                allow_for(way, limit, select(server_cases(), ()), options)
                return limit.when() - asyncio.get_running_loop().time()

        return asyncio.run(run())

    assert left(None) > RUN_TIMEOUT + 1_000
    assert left(20.0) <= 20


# -------------------------------------------------------------------- what is left behind


def test_every_report_is_written_and_transcripts_are_saved(tested, tmp_path):
    code, out, _ = tested(
        *("test", "server", "--case", "NS-3.1", "--junit", "a/j.xml", "--markdown", "m.md"),
        *("--html", "p.html", "--save-recordings", "t"),
    )
    assert code == 0
    for name in ("reports/server.json", "a/j.xml", "m.md", "p.html", "t"):
        assert name in out
        assert (tmp_path / name).exists()
    transcript = read_transcript(tmp_path / "t" / "NS-3.1.jsonl")
    assert transcript.header["shows"] == ["NS-3", "AR-7"]
    assert any("nowhere" in str(entry.content) for entry in transcript.entries)


def test_a_path_that_cannot_be_written_is_an_error_before_anything_runs(tested):
    code, _, err = tested("test", "server", "--html", "/dev/null/p.html")
    assert code == 2
    assert "/dev/null" in err


# -------------------------------------------------------------------- list and explain


def test_a_list_has_the_slow_cases_too_and_can_be_read_by_programs(tested):
    code, out, _ = tested("list", "server", "--json")
    assert code == 0
    values = json.loads(out)
    assert set(values[0]) == {
        *("id", "role", "title", "requirements", "tags", "level", "needs", "script")
    }
    assert any("slow" in each["tags"] for each in values)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "ns-3",
            ["NS-3", "bad namespace", "rationale", "cases for a server", "NS-3.1 ", "neffos-go"],
        ),
        ("NS-3.1", ["for a server", "1 > $1;nowhere", "neffos-wire test server --case NS-3.1"]),
        ("AR-6", ["not tested"]),
        ("decode-escape-001", ["for a codec", "FR-3"]),
    ],
)
def test_a_requirement_and_a_case_are_explained(tested, name, words):
    code, out, _ = tested("explain", name)
    assert code == 0
    for word in words:
        assert word in out


def test_a_requirement_is_shown_in_a_conversation_that_is_held_now(tested):
    _, out, _ = tested("explain", "NS-3")
    assert "← '$1;nowhere;;_OnNamespaceConnect;1;0;bad namespace'" in out


def test_what_there_is_not_cannot_be_explained(tested):
    code, _, err = tested("explain", "XY-1")
    assert code == 2
    assert "there is no requirement or case XY-1" in err


# -------------------------------------------------------------------- matrix


def test_a_client_of_ones_own_talks_to_the_reference_server(tested):
    code, out, _ = tested("matrix", "--client", f"mine={DRIVER}", "--markdown")
    assert code == 0
    assert re.search(r"\| mine \| (\d+) of \1 \|", out)


def test_the_recorded_matrix_has_every_known_client_and_server(tested):
    code, out, _ = tested("matrix", "--json")
    assert code == 0
    values = json.loads(out)
    assert {"neffos-go-gorilla", "neffos-wire", "neffos.js"} <= values["clients"].keys()
    assert {"neffos-go/gorilla", "neffos-wire/reference"} <= values["servers"].keys()
    pairs = {(each["client"], each["server"]) for each in values["runs"]}
    assert pairs <= {(c, s) for c in values["clients"] for s in values["servers"]}


def test_a_server_that_is_not_there_is_one_error_and_not_one_for_each_step(tested):
    servers = ("--server", "mine=ws://127.0.0.1:9/")
    code, out, _ = tested("matrix", *servers, "--client", f"own={DRIVER}")
    assert code == 1
    [line] = [line for line in out.splitlines() if " with mine, " in line]
    assert "no connection to" in line
    assert re.search(r"\d+ further steps were not run", line)
    assert out.splitlines()[-1] == "FAIL"


def test_a_name_without_what_it_stands_for_is_a_usage_error(tested):
    code, _, err = tested("matrix", "--server", "ws://127.0.0.1/")
    assert code == 2
    assert "--server" in err


# -------------------------------------------------------------------- pytest


def test_each_case_is_a_test_of_ones_own_suite(pytester, monkeypatch, run_pytest):
    pytester.makepyfile(test_own="def test_own(): pass")
    arguments = ("--neffos-client", DRIVER, "--neffos-case", "HS-2", "-rA")
    known = known_failures(pytester.path, cases=["HS-1.c1"])
    done = run_pytest(*arguments, "--neffos-known-failures", known)
    assert done.ret == 1
    assert "HS-1.c1 passes now" in done.stdout.str()
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    # A process: the plugin is installed, so pytest finds it by itself.
    done = pytester.runpytest_subprocess(*arguments)
    assert done.ret == 0, done.stdout.str()
    assert "HS-1.c1" in done.stdout.str()
    assert "test_own" in done.stdout.str()


GONE = ("--neffos-server", "ws://127.0.0.1:9/", "--neffos-features", "all")
"""A server that is not there: which cases run is seen nevertheless, since each fails."""


def test_a_server_that_is_not_there_fails_every_case(run_pytest):
    done = run_pytest(*GONE, "--neffos-case", "HS-1.1")
    assert done.ret == 1
    assert "no connection to 127.0.0.1:9" in done.stdout.str()


def test_a_failure_outside_the_deciding_class_is_a_warning(run_pytest):
    selected = ("--neffos-case", "FR-12.1", "--neffos-case", "AR-1.1")
    # Without xdist, the pytest around this one has imported the plugin, of which this one warns.
    shown = ("-W", "default", "-W", "ignore::pytest.PytestAssertRewriteWarning")
    done = run_pytest(*GONE, *selected, "--neffos-class", "interoperable", *shown)
    assert done.ret == 1
    out = done.stdout.str()
    assert "1 failed, 1 passed, 1 warning" in out
    assert "FR-12.1: error: " in out
    assert re.search(r"\ninteroperable: unknown, 0 of 1 cases, (\d+) of \1 requirements not", out)
    assert re.search(r"\ncomplete: unknown, 0 of 2 cases, (\d+) of \1 requirements not", out)


def test_a_wrong_selection_is_a_usage_error_of_pytest(run_pytest):
    done = run_pytest("--neffos-server", "ws://127.0.0.1:9/", "--neffos-case", "XX-1")
    assert done.ret == 4
    assert "no case matches XX-1" in done.stderr.str()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--neffos-set", "2019-1"), "there is no requirement set '2019-1'"),
        (("--neffos-features", "wings"), "wings"),
    ],
)
def test_a_wrong_option_is_a_usage_error_of_pytest(run_pytest, arguments, complaint):
    done = run_pytest("--neffos-server", "ws://127.0.0.1:9/", *arguments)
    assert done.ret == 4
    assert complaint in done.stderr.str()


def test_a_unix_socket_is_one_server(pytester, run_pytest):
    with socket.socket(socket.AF_UNIX) as there:
        there.bind("a")  # the working directory is the test's own
        urls = ("--neffos-server", "ws://127.0.0.1:9/", "--neffos-server", "ws://h")
        done = run_pytest(*urls, "--neffos-unix-socket=a")
    assert done.ret == 4
    assert "--neffos-unix-socket leads to one server, not to several" in done.stderr.str()


def test_no_client_is_gentle(run_pytest):
    done = run_pytest("--neffos-client", DRIVER, "--neffos-gentle")
    assert done.ret == 4
    assert "--neffos-gentle is of no use with --neffos-client" in done.stderr.str()


def test_a_gentle_run_skips_what_may_harm(run_pytest):
    chosen = ("--neffos-case", "HS-1.1", "--neffos-case", "SEC-5.1", "-rs")
    with beside(embedded_server()) as server:
        done = run_pytest("--neffos-server", server, "--neffos-gentle", *chosen)
    done.assert_outcomes(passed=1, skipped=1)
    assert "--gentle leaves it out: it looks for a limit" in done.stdout.str()


def test_several_servers_get_the_clients_of_a_case(run_pytest):
    chosen = ("--neffos-case", "HS-1.1", "--neffos-case", "AR-12.1", "--neffos-features", "all")
    with beside(embedded_server()) as server:
        urls = ("--neffos-server", server, "--neffos-server", server)
        done = run_pytest(*urls, *chosen, "--neffos-set", "draft")
    done.assert_outcomes(passed=2)
    note = "2 servers: 1 cases had their clients on several, as on one"
    assert note in done.stdout.str()


@pytest.fixture
def ran(pytester, run_pytest):
    """Run pytest beside a test of one's own; give the tests that ran, and the exit status."""
    pytester.makepyfile(test_own="def test_own(): pass\ndef test_other(): pass")

    def run(*arguments: str) -> tuple[set[str], int]:
        done = run_pytest(*GONE, "-rA", "--tb=no", *arguments)
        found = re.findall(r"^(?:PASSED|FAILED|SKIPPED) (\S+)", done.stdout.str(), re.MULTILINE)
        return set(found), done.ret

    return run


OWN = {"test_own.py::test_own", "test_own.py::test_other"}
HS_1 = {"neffos-server::HS-1.1"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--neffos-case", "HS-1.1"], OWN | HS_1),
        (["-k", "nothing_at_all"], set()),
        (["-k", "own"], OWN),
        (["-k", "HS-1.1"], HS_1),
        (["-k", "test_other or HS-1.1"], HS_1 | {"test_own.py::test_other"}),
        (["-m", "no_such_mark"], set()),
        (["--neffos-case", "HS-1.1", "--deselect", "neffos-server::HS"], OWN),
        (["--neffos-case", "HS-1.1", "--deselect", "test_own.py"], HS_1),
        (["neffos-server::HS-1.1"], HS_1),
        (["::neffos-server::HS-1.1"], HS_1),
        (["neffos-server::HS-1.1", "test_own.py::test_own"], HS_1 | {"test_own.py::test_own"}),
        (["test_own.py::test_own"], {"test_own.py::test_own"}),
        (["test_own.py", "--neffos-case", "HS-1.1"], OWN | HS_1),
    ],
)
def test_what_is_selected_runs_and_nothing_else(ran, arguments, expected):
    found, status = ran(*arguments)
    assert found == expected
    assert status == (1 if expected & HS_1 else 0 if expected else 5)


def test_the_last_failed_cases_run_again_alone(ran):
    ran("--neffos-case", "HS-1.1")
    assert ran("--lf") == (HS_1, 1)


def test_a_node_id_of_no_case_is_a_usage_error(ran):
    assert ran("neffos-server::XX-1.1") == (set(), 4)
