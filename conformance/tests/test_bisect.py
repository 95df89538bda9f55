"""The search for the version in which a verdict changed, and the command that performs it."""

import asyncio
import json
import re
import sys
from contextlib import asynccontextmanager
from itertools import pairwise, product
from pathlib import Path

import pytest

from neffos_conformance.cases.definition import select
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.cli import bisect
from neffos_conformance.codecs.catalogue import all_cases
from neffos_conformance.interop import versions as running
from neffos_conformance.interop.bisection import (
    Conformance,
    Trial,
    changes,
    conclusion,
    evidence,
    following,
    outcome_of,
)
from neffos_conformance.interop.history import histories
from neffos_conformance.runner.result import Result

from .commands import run_text

TRIALS = {
    ".": Trial({"NM-4.2": Verdict.PASS}),
    "f": Trial({"NM-4.2": Verdict.FAIL}),
    "s": Trial({"NM-4.2": Verdict.SKIPPED}),
    "-": Trial(reason="nobody has it"),
}


def searched(history, *, is_whole=False):
    """Search a history of signs; give what was tried, in order, and the trials."""
    versions, trials, order = [f"v{n}" for n in range(len(history))], {}, []
    while name := following(versions, trials, is_whole=is_whole):
        order.append(name)
        trials[name] = TRIALS[history[int(name[1:])]]
    return versions, trials, order


@pytest.mark.parametrize(
    ("verdicts", "outcome"),
    [
        ([], Conformance.UNKNOWN),
        ([Verdict.SKIPPED], Conformance.UNKNOWN),
        ([Verdict.PASS, Verdict.SKIPPED], Conformance.CONFORMS),
        ([Verdict.PASS, Verdict.UNKNOWN], Conformance.UNKNOWN),
        ([Verdict.PASS, Verdict.ERROR], Conformance.UNKNOWN),
        ([Verdict.ERROR, Verdict.NON_STRICT], Conformance.VIOLATES),
        ([Verdict.UNKNOWN, Verdict.FAIL], Conformance.VIOLATES),
        ([Verdict.INFORMATIONAL], Conformance.VIOLATES),
    ],
)
def test_only_what_was_seen_is_evidence(verdicts, outcome):
    assert outcome_of(verdicts) is outcome


def test_the_ends_come_first_and_then_the_middle():
    _, trials, order = searched("ffffffff........")
    assert order[:3] == ["v0", "v15", "v7"]
    assert len(trials) == 6


def test_a_search_ends_where_both_ends_are_the_same():
    assert searched("fff..fff")[2] == ["v0", "v7"]


def test_every_short_history_is_found():
    for length in range(1, 6):
        for history in map("".join, product(".fs-", repeat=length)):
            versions, whole, order = searched(history, is_whole=True)
            assert order == versions
            known = [sign for sign in history if sign in ".f"]
            turns = sum(a != b for a, b in pairwise(known))
            assert len(changes(versions, whole)) == turns
            _, trials, order = searched(history)
            assert len(order) == len(set(order))
            found = changes(versions, trials)
            if turns == 1 or len(found) == 1:  # what a search finds is a change of the whole
                assert found[0] in changes(versions, whole)
            if known:
                assert evidence(versions, trials)[0] == evidence(versions, whole)[0]
                assert evidence(versions, trials)[-1] == evidence(versions, whole)[-1]


def test_a_conclusion_names_what_is_not_known():
    versions, trials, _ = searched("f-s.")
    assert conclusion(versions, trials) == [
        "v0 is the last that violates, v3 the first that conforms; "
        "nothing is known of v1 (nobody has it), v2 (unknown)."
    ]
    versions, trials, _ = searched(".-f.f", is_whole=True)
    assert len(conclusion(versions, trials)) == 3
    assert conclusion(*searched("-s")[:2]) == ["Nothing is known of any version."]
    assert conclusion(*searched("s.")[:2]) == ["v1 conforms; nothing is known of the others."]
    assert conclusion(*searched("f.f")[:2])[0].startswith("v0 and v2 violate")


# -------------------------------------------------------------------- the command


@pytest.fixture
def history(monkeypatch):
    """Versions whose commands are the signs of their verdicts."""

    async def trial(role, version, cases):
        assert role == "server"
        assert [case.id for case in cases] == ["NM-4.2"]
        return TRIALS[version.command[0]]

    monkeypatch.setattr(bisect, "tried", trial)

    def commands(signs):
        return [f"--command=v{number}={sign}" for number, sign in enumerate(signs)]

    return commands


def test_the_command_names_the_change(history):
    done = run_text("bisect", "NM-4.2", *history("ffff...."))
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == "v0  violates  (fail: NM-4.2)"
    last = done.stdout.splitlines()[-1]
    assert last == "v3 is the last that violates, v4 the first that conforms."


def test_the_status_is_that_of_the_newest_version_of_which_something_is_known(history):
    assert run_text("bisect", "NM-4.2", *history("..f-")).returncode == 1
    assert run_text("bisect", "NM-4.2", *history("f.s")).returncode == 0
    done = run_text("bisect", "NM-4.2", *history("s-"))
    assert (done.returncode, done.stdout.splitlines()[-1]) == (
        2,
        "Nothing is known of any version.",
    )


def test_all_finds_what_did_not_last_and_json_has_it(history):
    done = run_text("bisect", "NM-4.2", "--all", "--json", *history(".f."))
    values = json.loads(done.stdout)
    assert [each["outcome"] for each in values["tried"]] == ["conforms", "violates", "conforms"]
    assert [(each["before"], each["after"]) for each in values["changes"]] == [
        ("v0", "v1"),
        ("v1", "v2"),
    ]


def test_a_file_has_the_commands(history, tmp_path):
    file = tmp_path / "versions"
    file.write_text("# old\nv0=f\n\nv1=.\n")
    assert "v1 the first" in run_text("bisect", "NM-4.2", "--commands", file).stdout


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--command", "v0"),
        ("--command", "v0='"),
        ("--command", "v0=x", "--releases", "neffos.js"),
        ("--releases", "nobody"),
        ("--releases", "neffos-go/gorilla", "--url", "ws://localhost"),
        ("--role", "client", "--command", "v0=x"),
    ],
)
def test_usage(arguments):
    done = run_text("bisect", "NM-4.2", *arguments)
    assert (done.returncode, done.stdout) == (2, "")


def test_the_page_shows_what_the_releases_give(monkeypatch):
    """The verdicts are those of the recorded history: nothing is built here."""

    async def trial(_, version, cases):
        release = version.command[-1]
        return histories()["neffos-go/gorilla"].trials(case.id for case in cases)[release]

    monkeypatch.setattr(bisect, "tried", trial)
    monkeypatch.setattr(bisect, "_built", lambda *_: "")
    page = (Path(__file__).parents[2] / "spec/docs/history.md").read_text("utf-8")
    shown = re.search(
        r"^neffos-wire (bisect \S+ --releases .*)\n```\n\n```text\n([^`]*)", page, re.MULTILINE
    )
    done = run_text(*shown[1].split())
    assert (done.returncode, done.stdout) == (0, shown[2])


# -------------------------------------------------------------------- versions that run

CASES = select(all_cases("server"), ["FR-1.1", "FR-2.1", "FR-3.1"])


class Server:
    """A server that ends when a case says so."""

    def __init__(self):
        self.has_ended = asyncio.Event()

    async def exited(self):
        await self.has_ended.wait()


def test_the_case_that_ends_a_server_fails_and_the_others_run_again(monkeypatch):
    servers = []

    @asynccontextmanager
    async def started(_):
        servers.append(Server())
        yield servers[-1], "ws://nowhere"

    async def accepts(_):
        return True

    async def play(url, cases, results):
        for case in cases:
            if case.id == "FR-2.1":
                servers[-1].has_ended.set()
                await asyncio.sleep(60)
            results.append(Result(case, Verdict.PASS))

    monkeypatch.setattr(running, "_started", started)
    monkeypatch.setattr(running, "_accepts", accepts)
    found = asyncio.run(running._on_servers(running.Version(("x",)), CASES, play))
    assert {each.case.id: str(each.verdict) for each in found} == {
        "FR-1.1": "pass",
        "FR-2.1": "fail",
        "FR-3.1": "pass",
    }
    assert len(servers) == 3


def test_a_server_that_is_started():
    command = (str(Path(sys.executable).with_name("neffos-wire")), "serve", "--json")
    trial = asyncio.run(running.tried("server", running.Version(command), CASES[:1]))
    assert trial == Trial({CASES[0].id: Verdict.PASS})


def test_a_version_that_does_not_start():
    async def reason(*command, **more):
        version = running.Version(command, **more)
        return (await running.tried("server", version, CASES)).reason

    assert "cannot be started" in asyncio.run(reason("/nowhere"))
    assert asyncio.run(reason("echo", "hello")) == "it is not ready, it said b'hello\\n'"
    line = json.dumps({"endpoints": {"a": "ws://x", "b": "ws://y"}})
    assert asyncio.run(reason("echo", line)) == "it has the endpoints a, b. Try: name one"
    assert asyncio.run(reason("true", url="ws://127.0.0.1:1/")).startswith("it ended before")
    version = running.Version(("true",))
    assert asyncio.run(running.tried("client", version, CASES)).reason
