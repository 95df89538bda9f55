"""Generated mutants: operators and triggers do something, and the oracle is fair."""

import json
import logging
from dataclasses import replace
from itertools import product

import pytest

from mutation import memory_loop
from mutation.client_faults import ClientFault
from mutation.fault_proxy import Proxy
from mutation.generated import (
    codec_oracle,
    codecs,
    messages,
    operators,
    oracle,
    possible,
    reaching,
    score,
    transport,
    transport_oracle,
    triggers,
)
from mutation.generated.drawing import conversation
from mutation.generated.evaluation import KILLED, MutantFate, evaluated
from mutation.generated.situation import REPLIES, History
from mutation.generated.transforms import TRANSFORMS
from mutation.hooks import CONNECT, JOIN, LEAVE, Hooks, PeerContext
from neffos_codec import Message, encode
from neffos_conformance.cases.definition import cases_of
from neffos_conformance.cases.dimensions import names_in
from neffos_conformance.reference.embedded import embedded_server

SEED = 5


@pytest.fixture(autouse=True)
def logged_again():
    """Leave the log to the tests that follow in this process: what runs a mutant disables it."""
    yield
    logging.disable(logging.NOTSET)


def bit(*names):
    return sum(reaching.bits()[name] for name in names)


def first(names, count):
    return [each for each, _ in zip(names, range(count), strict=False)]


# -------------------------------------------------------------------- names and seeds


@pytest.mark.parametrize("role", ["server", "client", "codec", "transport"])
def test_a_seed_draws_the_same_names_and_a_name_makes_its_mutant(role):
    drawn = [each.name for each in first(score.drawn(role, SEED), 60)]
    assert drawn == [each.name for each in first(score.drawn(role, SEED), 60)]
    assert len(set(drawn)) == len(drawn)
    assert [score.mutant_of(name).name for name in drawn] == drawn


@pytest.mark.parametrize(
    "name",
    [
        "server:fly-reply",
        "server:drop-bird",
        "server:drop-reply@blue",
        "codec:fly-decode",
        "transport:fly-in",
    ],
)
def test_a_name_of_nothing_is_a_mistake(name):
    with pytest.raises(ValueError, match="not a generated mutant"):
        score.mutant_of(name)


def test_there_are_tens_of_thousands():
    assert min(messages.count(role) for role in ("server", "client")) > 50_000


# -------------------------------------------------------------------- operators and triggers

ROOM = Message("$1", "app", "r1", "say", body="caf\u00e9 ;x")

TRAFFIC = {
    "handshake": "M",
    "system": encode(Message("$1", "app", "r1", JOIN)),
    "ask": encode(ROOM),
    "event": encode(ROOM.replace(wait="")),
    "empty": "$1;;;;;;",
    "reply": encode(ROOM.reply("yes")),
    "error": encode(ROOM.error_reply("no")),
    "native": "hello",
}
"""A message of each kind."""


class Peer(PeerContext):
    """A context of a server with two connections, which sends back what it handles."""

    role = "server"

    def __init__(self, *, is_joined):
        super().__init__()
        self.server = self
        self.is_joined = is_joined

    def is_in(self, _, room=""):
        return self.is_joined or not room

    def rooms(self, _):
        return ["r1", "r2"]

    def serve(self, given=TRAFFIC["ask"]):
        return [given if isinstance(given, str | bytes) else encode(given)]


@pytest.mark.each("operator", operators.ALL)
def test_an_operator_changes_a_message_that_it_concerns(operator):
    sample = triggers.CLASSES.get(operator.needs, ("vAlue",))[0]
    value = "x" * 70_000 if operator.needs.startswith("over") else sample
    changes = []
    for kind, is_joined in product(operator.kinds, (True, False)):
        peer, history = Peer(is_joined=is_joined), History(1)
        peer.values["histories"] = [history, History(2)]
        ask = ROOM.replace(**{operator.field: value}) if operator.field else ROOM
        if kind in REPLIES:
            history.follow("server", encode(ask))
        payload = TRAFFIC[kind]
        if operator.field and kind == "reply":
            payload = encode(ask.reply(value if operator.field == "body" else "yes"))
        elif operator.field and kind in ("ask", "event"):
            payload = encode(ask)
        situation = history.look("client", payload)
        changes.append(operator.act(peer, history, situation))
    assert any(each is not None for each in changes)


@pytest.mark.each("name", dict(zip(TRANSFORMS, TRANSFORMS, strict=True)))
def test_a_transform_changes_the_class_that_it_is_for(name):
    needs, change = TRANSFORMS[name]
    sample = "x" * 70_000 if needs.startswith("over-") else "vAlue"
    sample = triggers.CLASSES.get(needs, (sample,))[0]
    assert change(sample) != sample


@pytest.mark.each("label", dict(zip(triggers.CLASSES, triggers.CLASSES, strict=True)))
def test_the_sample_of_a_class_of_characters_is_of_that_class(label):
    sample, test = triggers.CLASSES[label]
    assert test(sample)
    assert not test("plain")


def test_a_situation_knows_what_came_before():
    history = History(1)

    def said(sender, *frames):
        for each in frames:
            history.follow(sender, encode(each))

    join = Message("$1", "app", "r1", JOIN)
    said("client", Message("$0", "app", "", CONNECT))
    said("server", Message("$0"))
    said("client", join)
    assert history.look("server", "$1;;;;;;").kind == "empty"
    said("server", Message("$1"))
    said("client", Message("$2", "app", "r1", LEAVE))
    said("server", Message("$2"))
    said("client", join)
    reply = history.look("server", "$1;;;;;;")
    assert reply.past == {"leave"}
    assert (reply.is_member, reply.pending, reply.before) == (False, 0, 7)
    said("server", join.error_reply("full"))
    assert history.look("client", encode(join)).past == {"leave", "refusal"}


def test_an_nth_occurrence_is_counted_for_each_connection():
    mutant = messages.mutant_of("server:drop-reply@2nd")
    peer, acts = mutant.peer()
    handle = peer.distort(lambda payload: [encode(ROOM.reply("yes"))])
    ask = encode(ROOM)
    assert [len(handle(ask)) for _ in range(4)] == [1, 0, 1, 1]
    assert acts.count == 1


def test_a_delayed_message_comes_after_the_next():
    peer, _ = messages.mutant_of("server:delay-reply@3rd").peer()
    numbers = iter(range(9))
    handle = peer.distort(lambda payload: [encode(ROOM.reply(str(next(numbers))))])
    said = [[each[-1] for each in handle(encode(ROOM))] for _ in range(5)]
    assert said == [["0"], ["1"], [], ["3", "2"], ["4"]]


# -------------------------------------------------------------------- the oracle


@pytest.mark.parametrize(("role", "peer"), [("server", Hooks()), ("client", ClientFault())])
def test_the_oracle_accuses_no_correct_peer(role, peer):
    for index, mutant in enumerate(first(messages.drawn(role, SEED), 6)):
        plain = replace(mutant, conditions=tuple(c for c in mutant.conditions if not c.nth))
        result = memory_loop.run(oracle.converse(peer, role, conversation(plain, SEED, index)))
        assert result.failure is None, mutant.name


@pytest.mark.parametrize(
    "name",
    [
        "server:drop-reply@binary",
        pytest.param("server:forget-system", marks=pytest.mark.whole),
    ],
)
def test_the_oracle_finds_a_fault_and_the_suite_kills_it(name, monkeypatch):
    some = {case.id: case for case in cases_of("server") if case.family == "AR"}
    monkeypatch.setattr(reaching, "usual", lambda _: some)  # all are those of make mutation
    monkeypatch.setattr(reaching, "_of_usual", {})
    fate = evaluated(name, SEED)
    assert fate.verdict == KILLED
    assert fate.requirement


@pytest.mark.parametrize(
    "name",
    [
        "client:book-event",
        "client:handle-late-native",
        "server:delay-reply@after-20",
    ],
)
def test_the_oracle_goes_where_a_fault_shows(name):
    assert oracle.ask(messages.mutant_of(name), SEED).is_effective


@pytest.mark.parametrize(
    ("name", "kind", "condition"),
    [
        ("handle-twice", "reply", ""),
        ("handle-late", "error", ""),
        ("book-first", "empty", ""),
        ("ignore", "event", "not-member"),
        ("read-room-cut", "system", "error-flag"),
        ("forget", "system", "namespace-upper"),
        ("read-body-cut", "ask", "event-128"),
    ],
)
def test_what_nobody_can_see_is_not_drawn(name, kind, condition):
    operator = operators.ALL[name]
    is_drawn = possible.is_visible("server", operator, kind)
    if condition:
        is_drawn &= possible.can_meet("server", operator, kind, triggers.ALL[condition])
    assert not is_drawn


def test_what_changes_no_membership_has_not_acted():
    event = encode(ROOM.replace(wait=""))
    for name, is_joined in (("book", True), ("forget", False), ("book-first", True)):
        situation = History(1).look("client", event)
        assert operators.ALL[name].act(Peer(is_joined=is_joined), History(1), situation) is None


def test_the_oracle_shows_what_a_mutant_breaks_in_few_lines():
    mutant = messages.mutant_of("server:drop-reply")
    found = oracle.ask(mutant, SEED)
    assert 0 < len(oracle.shortest(mutant, SEED, found)) < 12


@pytest.mark.parametrize("kind", codecs.OPS)
def test_the_oracle_finds_a_fault_of_a_codec(kind):
    mutant = codecs.CodecMutant(kind, codecs.operators(kind)["refuse"])
    asked, expected, given = codec_oracle.shown_by(mutant, SEED)
    assert (asked["op"], given) == (codecs.OPS[kind], {"reject": True})
    assert "reject" not in expected


def test_sessions_with_a_proxy_without_a_fault_are_those_with_a_server():
    async def both(name):
        async with embedded_server() as url:
            alone = await transport_oracle.observed(url, name)
        async with Proxy().run() as url:
            return alone, await transport_oracle.observed(url, name)

    for name in "abcdefgh":
        alone, behind = memory_loop.run(both(name))
        assert alone == behind


@pytest.mark.parametrize(
    "name",
    ["answer-403-request@with-query", "other-accept-response", "data-cut-out@pong", "drop-in@ping"],
)
def test_the_oracle_finds_a_fault_of_http_and_websocket(name):
    assert transport_oracle.differs(transport.transport_mutant_of(f"transport:{name}"), SEED)


# -------------------------------------------------------------------- where a mutant can act


NOTED = reaching.Reachable(
    "server",
    {
        "AR-1.1": {"out reply": {bit("text"): 1}},
        "AR-1.1[after-100,binary]": {"out reply": {bit("binary"): 101}},
        "AR-1.1[body-markup]": {"out reply": {bit("text", "body-markup"): 1}},
        "RM-1.1": {"out empty": {0: 2}},
    },
)
"""What a few cases meet."""


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("server:drop-reply", ["AR-1.1", "AR-1.1[after-100,binary]", "AR-1.1[body-markup]"]),
        ("server:drop-reply@binary", ["AR-1.1[after-100,binary]"]),
        ("server:drop-reply@100th", ["AR-1.1[after-100,binary]"]),
        ("server:drop-reply@binary,body-markup", []),
        ("server:drop-empty", ["RM-1.1"]),
        ("server:ignore-reply", []),
    ],
)
def test_only_cases_that_meet_a_trigger_are_played(name, ids):
    assert NOTED.of(messages.mutant_of(name)) == ids


def test_values_that_meet_a_part_of_a_trigger_are_put_together():
    found = list(NOTED.likely(messages.mutant_of("server:drop-reply@binary,body-markup")))
    assert "AR-1.1[body-markup,binary]" in found
    assert all(len(names_in(id_)) <= reaching.MOST_VALUES for id_ in found)


def test_what_is_noted_is_what_a_case_says():
    case = next(each for each in cases_of("server") if each.id == "RM-3.1")
    found = reaching.noted("server", [case])["RM-3.1"]
    assert {"in system", "out error", "in handshake"} <= found.keys()


# -------------------------------------------------------------------- the score


def test_a_run_goes_on_where_it_was_interrupted_and_its_report_has_a_score(tmp_path):
    path = tmp_path / "reports" / "journal.jsonl"
    whole = list(score.run("codec", SEED, 6, 1, path))
    lines = path.read_text("utf-8").splitlines()
    path.write_text("\n".join([*lines[:3], lines[3][:10]]), "utf-8")  # it was cut off there
    known = score.read(path)
    assert list(known.values()) == whole[:3]
    again = list(score.run("codec", SEED, 6, 1, path))
    assert again == whole
    assert score.read(path) == {each.name: each for each in whole}
    values = json.loads(json.dumps(score.report("codec", SEED, whole)))
    low, high = values["interval"]
    assert low <= values["score"] <= high
    assert values["drawn"] == sum(
        values[each] for each in ("killed", "survived", "undecided", "idle")
    )
    assert list(score.lines(values))


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [(97, 100, 0.915, 0.990), (0, 0, 0.0, 1.0), (5, 5, 0.566, 1.0)],
)
def test_the_interval_of_a_share(hits, total, low, high):
    assert score.wilson(hits, total) == pytest.approx((low, high), abs=0.001)


def test_what_the_site_shows_of_a_role_replaces_what_it_showed(tmp_path):
    path = tmp_path / "published.json"
    names = first((each.name for each in score.drawn("server", SEED)), 3)
    verdicts = zip(names, ("killed", "survived", "undecided"), strict=True)
    fates = [MutantFate(name, "drop", verdict, "AR-7") for name, verdict in verdicts]
    for role in ("server", "client"):
        score.publish([score.report(role, SEED, fates)], path)
    score.publish([score.report("server", SEED + 1, fates)], path)
    shown = json.loads(path.read_text("utf-8"))
    assert (shown["server"]["seed"], shown["client"]["seed"]) == (SEED + 1, SEED)
    assert shown["server"]["score"] == 0.5
    assert shown["server"]["families"] == {"drop": {"undecided": 1, "drawn": 3}}
    assert shown["server"]["survivors"]["requirement"] == {"AR-7": 1}


def test_the_site_has_figures_of_servers_and_clients():
    shown = json.loads(score.PUBLISHED.read_text("utf-8"))
    assert {"server", "client"} <= shown.keys()
    for role, each in shown.items():
        assert each["drawn"] == sum(
            each[name] for name in ("killed", "survived", "undecided", "idle")
        )
        assert [score.mutant_of(name).name for name in each["names"]] == each["names"], role
