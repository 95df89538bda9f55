"""The features of the application's page are those of the data, and name what the page has."""

import json
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from mutation import work_clock
from neffos_asyncio import Server
from neffos_conformance.cases.definition import Case, select, server_cases
from neffos_conformance.cases.features import (
    AppLevel,
    Feature,
    by_id,
    feature_ids,
    features,
    needed,
)
from neffos_conformance.cases.script import read_script
from neffos_conformance.reference.application import echo
from neffos_conformance.reference.embedded import embedded_server
from neffos_conformance.runner.discovery import discovered
from neffos_conformance.runner.pace import Way
from neffos_conformance.runner.playback import Timeouts

from .commands import run_text

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "spec" / "docs" / "application.md").read_text("utf-8")
KINDS = ("events", "namespaces", "rooms", "endpoints", "headers")
NOT_ON_THE_PAGE = {"group": "", "needs": (), "sends": (), "own": False, "probe": ""}


def section(title):
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows(title):
    """Give the cells of the table of a section, without its head."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def needing(cell):
    """Give what a cell of the table of features names, by its kind."""
    found = {kind: [] for kind in KINDS}
    for part in filter(None, cell.strip("| ").split("; ")):
        kind = re.match(r"the (event|namespace|room|endpoint|header)s? ", part)[1]
        found[f"{kind}s"] += re.findall("`([^`]+)`", part)
    return found


def test_the_table_is_the_data():
    table = [
        Feature(
            name.strip("`"),
            about,
            AppLevel(level),
            **{kind: tuple(names) for kind, names in needing(cell).items()},
        )
        for name, level, about, cell in rows("Features")
    ]
    assert table == [replace(each, **NOT_ON_THE_PAGE) for each in features()]


def test_the_page_names_the_groups():
    for group in {each.group for each in features()} - {""}:
        assert f"`{group}` stands for" in section("Features") or f"`{group}` for" in section(
            "Features"
        )


def test_what_a_feature_needs_is_a_feature():
    assert {name for each in features() for name in each.needs} <= by_id().keys()


def test_the_data_has_no_fields_that_nobody_reads():
    data = tomllib.loads(
        (ROOT / "conformance" / "neffos_conformance" / "data" / "features.toml").read_text("utf-8")
    )
    assert data.keys() == {"format", "feature"}
    assert data["format"] == 2


def test_names_are_unique_and_words():
    names = [feature.id for feature in features()]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch("[a-z]+(-[a-z]+)*", name) for name in names)


@pytest.mark.parametrize("feature", features(), ids=lambda feature: feature.id)
def test_a_feature_names_what_the_page_has(feature):
    events = {row[1].strip("`") for row in rows("Events") if row[0] == "`app`"}
    namespaces = {row[0].strip("`") for row in rows("Namespaces")}
    endpoints = set(re.findall("with `(/[a-z]+)` after", section("Endpoints")))
    headers = {
        row[0].strip("`").partition(":")[0] for row in rows("Headers of the upgrade request")
    }
    rooms = set(re.findall("`([^`]+)`", section("Rooms")))
    assert set(feature.events) <= events
    assert set(feature.rooms) <= rooms
    assert all(f"`{name}`" in section("Events") for name in feature.sends)
    assert set(feature.namespaces) <= namespaces
    assert set(feature.endpoints) <= endpoints
    assert set(feature.headers) <= headers


def case(*lines):
    return Case("X-1.1", "", ("NS-1",), "server", read_script("\n".join(lines), "server"))


@pytest.mark.parametrize(
    ("conversation", "features"),
    [
        (case("1 app", "1 > $1;app;;echo;0;0;hi"), {"app", "echo"}),
        (case("1 app", "1 >b $1;app;;echo;0;0;hi"), {"app", "echo", "binary"}),
        (case("1 app", "1 > $1;app;r;_OnRoomJoin;0;0;"), {"app", "rooms"}),
        (case("1 app", "1 > $1;app;locked;_OnRoomJoin;0;0;"), {"app", "rooms", "locked-room"}),
        (case("1 app", "1 > ;app;;ask-me;0;0;"), {"app", "server-asks"}),
        (case("1 app", "1 > ;app;;join-me;0;0;r"), {"app", "rooms", "join-me"}),
        (case("1 app", "1 > ;app;;connect-me;0;0;any"), {"app", "any-event", "connect-me"}),
        (case("1 app", "1 > $1;app;;Echo;0;0;"), {"app", "echo", "unhandled"}),
        (case("1 app", "1 > $1;app;;_OnRoomJoined;0;0;"), {"app"}),
        (case("1 app", "1 raw 818e0000000024313b6170703b3b6563686f3b30"), {"app", "echo"}),
        (case("1 handshake", "1 > $1;any;;x;0;0;"), {"any-event"}),
        (case("1 handshake", "1 > $1;App;;_OnNamespaceConnect;0;0;"), {"app"}),
        (case("1 handshake", "1 > $1;nowhere;;_OnNamespaceConnect;0;0;"), set()),
        (case("1 handshake", "1 > $1;;;_OnNamespaceConnect;0;0;"), {"empty-unknown"}),
        (case("1 handshake /mixed", "1 > $1;;;_OnNamespaceConnect;0;0;"), {"native-mixed"}),
        (case("1 dial X-Conformance-Id: 7", "1 > M"), {"chosen-ids"}),
        (case("1 dial X-Conformance-Connect: any", "1 > M"), {"connecting", "any-event"}),
        (case("1 handshake /mixed", "1 > hi"), {"native-mixed"}),
        (case("1 dial /?X-Websocket-Header-A=b", "1 > M"), {"url-headers"}),
        (case("1 upgrade GET /?X-Websocket-Header-A=b", "1 status 4xx"), set()),
        (case("1 handshake", "1 > $1;nowhere;r;_OnRoomJoin;0;0;"), set()),
        (case("1 app", "1 > plain text"), {"app"}),
    ],
)
def test_a_case_needs_what_it_names(conversation, features):
    assert needed(conversation) == features


def test_a_feature_is_found_where_it_is_and_missed_where_it_is_not():
    async def run(served):
        async with embedded_server(served=served) as url:
            way = Way(Timeouts(case=1.0, before_barrier=0.1, after_barrier=0.1))
            return (await discovered(url, way)).there

    assert work_clock.run(run(None)) == by_id().keys()
    every_server = {"binary", "empty-unknown", "origin-check"}
    assert work_clock.run(run({"/": Server({"own": {"echo": echo}})})) == every_server
    lean = {"/": Server({"app": {"echo": echo}})}
    namespace = {"app", "rooms", "unhandled", "silent"}
    assert work_clock.run(run(lean)) == every_server | namespace | {"echo"}


def test_a_list_of_features_is_read_and_what_there_is_not_is_named():
    assert feature_ids("rooms, binary,") == {"app", "rooms", "binary"}
    assert feature_ids("") == frozenset()
    assert feature_ids("broadcast") > {"app", "rooms", "broadcast-room", "broadcast-all"}
    with pytest.raises(ValueError, match=r"no feature sockets; there are binary, "):
        feature_ids("rooms,sockets")


def test_cases_that_need_more_than_the_server_has_are_not_run_and_said_so(tmp_path):
    report = tmp_path / "r.json"
    families = ("HS", "NS", "RM", "EV")
    cases = [part for each in families for part in ("--case", each)]
    done = run_text("test", "server", "--features", "rooms", *cases, "--report", report)
    assert done.returncode == 0
    values = json.loads(report.read_text("utf-8"))
    left_out = {each["id"] for each in values["cases"] if each["verdict"] == "skipped"}
    there = select(server_cases(), families)
    assert left_out == {each.id for each in there if needed(each) - {"app", "rooms"}}
    counts = {name: count for name, count in values["counts"].items() if count}
    assert counts == {"pass": len(there) - len(left_out), "skipped": len(left_out)}


@pytest.mark.parametrize("arguments", [("--features", "x"), ("--features", "", "--case", "RM-4.1")])
def test_features_that_are_unknown_or_leave_no_case_are_a_usage_error(tmp_path, arguments):
    done = run_text("test", "server", *arguments, "--report", tmp_path / "r.json")
    assert done.returncode == 2
    assert "feature" in done.stderr or "nothing ran" in done.stderr


def test_the_features_are_listed():
    listed = json.loads(run_text("list", "features", "--json").stdout)
    assert [each["id"] for each in listed] == [each.id for each in features()]
    assert all(each["cases"] for each in listed)
    table = run_text("list", "features").stdout
    assert all(each.id in table for each in features())
