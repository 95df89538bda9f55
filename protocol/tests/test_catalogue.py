"""The catalogues: well formed, complete, and in step with each other and with the code."""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator, meta

from neffos_codec import (
    ESCAPE,
    FIELDS,
    HandshakeAccept,
    HandshakeRefuse,
    HandshakeRequest,
    encode,
    encode_handshake,
)
from neffos_codec import Message as CodecMessage
from neffos_codec._errors import REQUIREMENT_OF
from neffos_codec._message import SEPARATORS
from neffos_codec._wait import (
    CLIENT_PREFIX,
    CONFIRMATION_PREFIX,
    EXCHANGE_MARKER,
    EXPLICIT_SENDER_PREFIX,
)
from neffos_protocol import catalogue, registry
from neffos_protocol.catalogue import (
    Basis,
    Difference,
    Evidence,
    Impact,
    Level,
    ObservedVerdict,
    difference,
    differences,
    peers,
    requirement,
    requirements,
)
from neffos_protocol.names import CHANGE_OF, LOCAL_ONLY
from neffos_protocol.registry import constant, constants, group

ROOT = Path(__file__).parents[2]
DATA = ROOT / "protocol" / "data"

FAMILIES = ("FR", "HS", "AR", "NS", "RM", "EV", "NM", "TR", "SX", "SEC")
AN_ID = re.compile(rf"\b(?:{'|'.join(FAMILIES)})-[1-9][0-9]*\b")
A_SUBJECT = re.compile(r"(?:^|, )(?:[Aa]|the) (client|server|peer|sender|receiver)\b")
"""Before the word of the level, the last of these is who must conform."""

ROLES_OF = {"client": {"client"}, "server": {"server"}} | {
    either: {"client", "server"} for either in ("peer", "sender", "receiver")
}
"""The roles that a subject can be."""

A_LOOSE_PRONOUN = re.compile(
    r"\b(?:it|they|he|who)\b|\b(?:this|these|those)(?= [A-Z]|[,.:]| is | are )"
)
"""A pronoun that a reader has to resolve."""

AN_IDIOM = re.compile(
    r"\bbehind\b|\bcarr(?:y|ies|ied) out\b|\bkinds?\b|\bids?\b|\bjudg\w+|\banew\b|\bfor good\b"
    r"|\b(?:take|takes|taken) \w+(?: \w+)? for\b|\bis no \w+ (?:message|frame)\b"
)
"""Words for which ``VOCABULARY.md`` has others."""

LONGEST_RATIONALE = 60
"""Words: a reason. Peers and cases say what they do, and texts say what an implementer may do."""

AN_RFC_2119_WORD = re.compile(r"\b(?:MUST|SHALL|SHOULD|MAY|REQUIRED|RECOMMENDED|OPTIONAL)( NOT)?\b")

# The sections of the notes on tested implementations, each with the number of its bullets. The
# ones in the second table say something outside their bullets, which counts as bullet 0.
BULLETS = {1: 8, 2: 7, 3: 9, 4: 8, 5: 9, 6: 4, 7: 2, 9: 2, 10: 2}
PROSE = (2, 8, 11)
FACTS = {
    f"{section}.{bullet}" for section, most in BULLETS.items() for bullet in range(1, most + 1)
}
FACTS |= {f"{section}.0" for section in PROSE}

every_requirement = pytest.mark.each("one", requirements())
every_difference = pytest.mark.each("one", differences())
every_constant = pytest.mark.each("one", constants())


@cache
def loaded(name: str) -> dict[str, Any]:
    return tomllib.loads((DATA / f"{name}.toml").read_text("utf-8"))


def table(name: str) -> dict[str, Any]:
    """Give the content of a file; a test may spoil it."""
    return deepcopy(loaded(name))


def schema(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DATA / "schema" / f"{name}.json").read_text("utf-8"))
    return loaded


# ---- The form of the files ----

every_file = pytest.mark.parametrize("name", ["requirements", "registry", "differences"])


@pytest.mark.no_cover  # all of its work is the schema's
@every_file
def test_the_file_has_the_form_of_its_schema(name):
    meta.validate(schema(name))
    assert [
        error.message for error in Draft202012Validator(schema(name)).iter_errors(table(name))
    ] == []


@pytest.mark.no_cover
@every_file
def test_the_schema_refuses_what_it_does_not_know(name):
    validator = Draft202012Validator(schema(name))
    [array] = [key for key in table(name) if key not in ("format", "peer")]
    for spoil in (
        lambda whole: whole.update(extra=1),
        lambda whole: whole[array][0].update(extra=1),
        lambda whole: whole[array][0].popitem(),
        lambda whole: whole.update(format=2),
        lambda whole: whole.update({array: []}),
        lambda whole: whole[array][0].update(requirements=["FR-0"], id="FR-0"),
    ):
        spoiled = table(name)
        spoil(spoiled)
        assert not validator.is_valid(spoiled)


@pytest.mark.no_cover
def test_the_schema_wants_to_know_what_breaks_and_only_that():
    validator = Draft202012Validator(schema("requirements"))
    for seen in (
        {"verdict": "violates", "evidence": "read"},
        {"verdict": "conforms", "evidence": "read", "what": "something"},
        {"verdict": "conforms", "evidence": "hearsay"},
    ):
        spoiled = table("requirements")
        spoiled["requirement"][0]["peers"]["neffos-go 0.0.24"] = seen
        assert not validator.is_valid(spoiled)


# ---- Requirements ----


def test_ids_are_unique_and_without_gaps():
    ids = [entry["id"] for entry in table("requirements")["requirement"]]
    counts = Counter(id_.partition("-")[0] for id_ in ids)
    assert ids == [f"{name}-{number + 1}" for name in FAMILIES for number in range(counts[name])]
    assert [*requirements()] == ids


@every_requirement
def test_the_sentence_has_the_word_of_its_level_and_no_other(one):
    words = [match.group() for match in AN_RFC_2119_WORD.finditer(one.text)]
    assert words == [one.level.value]
    assert AN_RFC_2119_WORD.search(one.rationale) is None


@every_requirement
def test_a_requirement_is_one_sentence(one):
    assert re.search(r"[.!?] [A-Z`]", one.text) is None
    assert "  " not in one.text + one.rationale


@every_requirement
def test_a_rationale_is_short(one):
    assert len(one.rationale.split()) <= LONGEST_RATIONALE


@every_requirement
def test_the_subject_is_a_role_that_must_conform(one):
    subjects = A_SUBJECT.findall(one.text.partition(f" {one.level} ")[0])
    assert subjects, "no subject. Try: a client, a server, a peer, a sender or a receiver"
    assert set(one.applies_to) - {"codec"} <= ROLES_OF[subjects[-1]]


@every_requirement
def test_every_pronoun_has_its_noun(one):
    assert A_LOOSE_PRONOUN.findall(one.text) == []


@every_requirement
def test_the_words_are_those_of_the_vocabulary(one):
    what = [seen.what for seen in one.peers.values()]
    assert [AN_IDIOM.findall(text) for text in (one.text, one.rationale, *what)] == (
        [[]] * (2 + len(what))
    )


@every_requirement
def test_a_limit_has_a_number_and_the_value_that_the_suite_probes(one):
    if re.search(r"MUST limit\b|\bafter an? .*time\b|\bwithin an? .*time\b", one.text):
        assert "implementation-defined" in one.text
    if "implementation-defined" not in one.text or not one.is_testable:
        return
    assert re.search(r"[0-9]", one.text)
    assert "The suite " in one.rationale


@every_requirement
def test_what_no_peer_violates_and_is_specified_here_says_that_nobody_depends_on_it(one):
    verdicts = {seen.verdict for seen in one.peers.values()}
    if one.basis is Basis.SPECIFIED_HERE and verdicts == {
        ObservedVerdict.CONFORMS,
        ObservedVerdict.NOT_APPLICABLE,
    }:
        assert "depend" in one.rationale


@every_requirement
def test_what_is_merely_done_today_asks_for_nothing(one):
    assert (one.level is Level.MAY) == (one.basis is Basis.GO_BEHAVIOUR)


@every_requirement
def test_each_peer_was_looked_at(one):
    assert [*one.peers] == [*peers()]


@every_requirement
def test_since_is_what_the_observations_say(one):
    first, second, third = (seen.verdict for seen in one.peers.values())
    if ObservedVerdict.CONFORMS in (first, third):
        assert one.since == "0.0"
    else:
        assert one.since == ("0.0.25" if second is ObservedVerdict.CONFORMS else "unknown")


@every_requirement
def test_what_peers_rely_on_some_peer_does(one):
    if one.basis is not Basis.INTEROP:
        return
    assert one.since != "unknown"
    servers = [seen for name, seen in one.peers.items() if name.startswith("neffos-go ")]
    conforming = [
        seen
        for seen in servers
        if seen.verdict is ObservedVerdict.CONFORMS or seen.what.startswith("as a client")
    ]
    assert "server" not in one.applies_to or conforming, (
        "no deployed server does so, and no deployed client can rely on it"
    )


@every_requirement
def test_each_role_that_must_conform_is_seen_or_has_a_reason(one):
    if not one.is_testable:
        assert not one.unseen, "one reason is enough"
        return
    # What servers publish on a broker is what they do.
    seen = {each.removeprefix("wire-").replace("exchange", "server") for each in one.testable}
    assert seen.isdisjoint(one.unseen)
    assert sorted(seen | one.unseen.keys()) == sorted(one.applies_to)


def test_every_observation_on_implementations_has_a_requirement():
    covered = {fact for one in requirements().values() for fact in one.facts}
    assert covered == FACTS


# ---- Differences ----


def test_differences_are_numbered_without_gaps():
    ids = [entry["id"] for entry in table("differences")["difference"]]
    assert ids == [f"DV-{number + 1}" for number in range(len(ids))]
    assert [*differences()] == ids


@every_difference
def test_a_difference_has_known_peers_and_requirements(one):
    assert {name for seen in one.behaviours for name in seen.peers} <= peers().keys()
    assert set(one.requirements) <= requirements().keys()


@every_difference
def test_some_peer_breaks_a_requirement_or_peers_differ(one):
    broken = any(
        seen.verdict is ObservedVerdict.VIOLATES
        for id_ in one.requirements
        for seen in requirement(id_).peers.values()
    )
    assert broken or len(one.behaviours) > 1


NOT_OF_THE_SERVER = {
    "DV-11": "Chromium sends another code, and TR-17 was tested on Node",
    "DV-52": "a router answers before the server",
    "DV-55": "the form of the subjects makes two IDs alike",
    "DV-57": "two servers and a broker do it, and EV-9 was tested on one server",
    "DV-64": "two servers and a broker do it, and EV-8 was tested on one server",
    "DV-66": "an application undoes what it has asked for itself",
    "DV-70": "the peers conform but for a moment, at which no case looks",
    "DV-76": "the peers conform but for a moment, at which no case looks",
}
"""Differences by which a peer violates none of their requirements, and why."""


def affected(one: Difference) -> set[str]:
    """The peers that do something else than the specification asks for."""
    return {name for seen in one.behaviours if not seen.conforms for name in seen.peers}


def violating(id_: str) -> set[str]:
    """The peers that violate a requirement."""
    seen = requirement(id_).peers.items()
    return {name for name, each in seen if each.verdict is ObservedVerdict.VIOLATES}


@every_difference
def test_who_does_not_conform_violates_one_of_the_requirements(one):
    violators = {name for id_ in one.requirements for name in violating(id_)}
    assert bool(affected(one) - violators) == (one.id in NOT_OF_THE_SERVER)


@every_difference
def test_a_requirement_that_nobody_in_a_difference_violates_is_there_for_a_reason(one):
    found = affected(one)
    unviolated = {id_ for id_ in one.requirements if found and not found & violating(id_)}
    assert one.unviolated.keys() == unviolated
    assert not any(AN_IDIOM.search(reason) for reason in one.unviolated.values())


def test_who_violates_a_requirement_is_affected_by_a_difference_that_has_it():
    told = {
        (id_, name)
        for one in differences().values()
        for id_ in one.requirements
        for name in affected(one)
    }
    broken = {(id_, name) for id_ in requirements() for name in violating(id_)}
    assert broken - told == set()


@every_difference
def test_a_role_of_a_difference_is_one_that_its_requirements_apply_to(one):
    roles = {role for id_ in one.requirements for role in requirement(id_).applies_to}
    assert {role for seen in one.behaviours for role in seen.roles} <= roles


# ---- The registry ----


def test_names_are_unique():
    names = [entry["name"] for entry in table("registry")["constant"]]
    assert [*constants()] == names
    assert len(set(names)) == len(names)


@every_constant
def test_a_constant_has_known_requirements(one):
    assert set(one.requirements) <= requirements().keys()


def test_the_frame_is_that_of_the_codec():
    snake = [re.sub(r"(?<=[a-z])([A-Z])", r"_\1", name).lower() for name in value("frame.fields")]
    assert snake == [*FIELDS]
    assert value("frame.separators") == SEPARATORS == len(FIELDS) - 1
    assert value("frame.escape") == ESCAPE
    message = CodecMessage("w", "n;", "r;", "e;", True, False, "b;")
    separator = value("frame.separator")
    names = [name.replace(separator, ESCAPE) for name in ("n;", "r;", "e;")]
    flags = [value("frame.true"), value("frame.false")]
    assert encode(message) == separator.join(["w", *names, *flags, "b;"])
    assert encode(CodecMessage("w")) == "w" + value("frame.empty-reply")
    assert set(value("frame.escaped-fields")) < set(value("frame.fields"))


def test_the_letters_are_those_of_the_codec():
    assert encode_handshake(HandshakeRequest()) == value("handshake.request")
    assert encode_handshake(HandshakeAccept("x")) == value("handshake.accept") + "x"
    assert encode_handshake(HandshakeRefuse("x")) == value("handshake.refuse") + "x"


def test_the_prefixes_are_those_of_the_codec():
    assert value("token.client-prefix") == CLIENT_PREFIX
    assert value("token.confirmation-prefix") == CONFIRMATION_PREFIX
    assert value("exchange.marker") == EXCHANGE_MARKER
    assert value("exchange.sender-prefix") == EXPLICIT_SENDER_PREFIX


def test_the_events_are_those_that_peers_use():
    assert [one.value for one in group("request-event")] == [
        "_OnNamespaceConnect",
        "_OnNamespaceDisconnect",
        "_OnRoomJoin",
        "_OnRoomLeave",
    ]
    assert [one.value for one in group("notification-event")] == [
        "_OnNamespaceConnected",
        "_OnRoomJoined",
        "_OnRoomLeft",
    ]
    assert [one.value for one in group("pseudo-event")] == ["_OnAnyEvent", "_OnNativeMessage"]


def test_the_session_goes_by_these_events():
    assert {one.value for one in group("request-event")} == CHANGE_OF.keys()
    notices = {one.value for one in group("notification-event")}
    assert notices | {value("event.any")} == LOCAL_ONLY


def value(name: str) -> Any:
    return constant(name).value


# ---- Ids in other files ----


def cited() -> list[tuple[str, str]]:
    """Every id that the code, the grammar, the vectors and the catalogues name, with the file."""
    places = [ROOT / "codec", ROOT / "protocol"]
    found = [path for place in places for path in place.rglob("*") if path.is_file()]
    texts = [
        path
        for path in found
        if path.suffix in (".py", ".abnf", ".toml", ".json", ".md") and "build" not in path.parts
    ]
    return sorted(
        {
            (str(path.relative_to(ROOT)), id_)
            for path in texts
            if path != Path(__file__)
            for id_ in AN_ID.findall(path.read_text("utf-8"))
        }
    )


def test_no_file_names_an_id_that_does_not_exist():
    everything = cited()
    assert {"codec/neffos_codec/_errors.py", "codec/vectors/wait.json"} < {
        file for file, _ in everything
    }
    assert [(file, id_) for file, id_ in everything if id_ not in requirements()] == []


def test_every_id_is_used_by_something_or_cannot_be():
    folder = ROOT / "conformance" / "neffos_conformance" / "data" / "cases"
    cases = "".join(path.read_text("utf-8") for path in folder.glob("*/*.toml"))
    used = set(AN_ID.findall(cases)) | {
        id_ for file, id_ in cited() if not file.endswith("requirements.toml")
    }
    beyond = {one.id for one in requirements().values() if one.testable[0].startswith("no: ")}
    assert requirements().keys() - used - beyond == set()


@pytest.mark.parametrize("reason", REQUIREMENT_OF)
def test_what_the_codec_refuses_rests_on_a_requirement_for_codecs(reason):
    assert "codec" in requirement(REQUIREMENT_OF[reason]).applies_to


# ---- The loaders ----


def test_a_requirement_comes_with_its_types():
    one = requirement("FR-2")
    assert (one.id, one.family, one.level) == ("FR-2", "FR", Level.MUST_NOT)
    seen = one.peers["neffos.js 0.1.34"]
    assert (seen.verdict, seen.evidence) == (ObservedVerdict.VIOLATES, Evidence.MEASURED)
    assert seen.what
    assert one.peers["neffos-go 0.0.24"].what == ""
    assert not requirement("AR-6").is_testable


def test_a_difference_comes_with_its_types():
    one = difference("DV-8")
    assert (one.impact, one.severity, one.workaround) == (Impact.INTEROP, "low", "")
    assert one.requirements == ("FR-2",)
    assert {seen.backend for seen in one.behaviours} == {""}
    backends = {seen.backend for seen in difference("DV-34").behaviours}
    assert backends == {"gorilla", "gobwas", "coder"}


def test_a_constant_comes_with_its_types():
    assert constant("frame.separators").value == 6
    assert constant("frame.escaped-fields").value == ("namespace", "room", "event")
    assert [one.value for one in group("handshake")] == ["M", "A", "H"]


def test_what_is_loaded_cannot_be_changed():
    for mapping in (requirements(), differences(), peers(), constants(), requirement("FR-1").peers):
        with pytest.raises(TypeError):
            mapping["FR-1"] = None


@pytest.mark.parametrize(
    ("look_up", "name", "text"),
    [
        (requirement, "FR-1000", "no requirement 'FR-1000'; they go from FR-1 to FR-"),
        (requirement, "ZZ-1", "no requirement 'ZZ-1'; they go from FR-1 to SEC-"),
        (difference, "DV-1000", "no difference 'DV-1000'; they go from DV-1 to DV-"),
        (constant, "handshake.hello", "there are handshake.request, handshake.accept, handshake."),
        (constant, "nothing", "no constant 'nothing'; there are close.…, error.…, event.…, "),
        (group, "nothing", "no group 'nothing'; there are frame, handshake, request-event, "),
    ],
)
def test_an_unknown_name_is_refused_with_the_known_ones(look_up, name, text):
    with pytest.raises(KeyError) as caught:
        look_up(name)
    assert text in caught.value.args[0]


@pytest.mark.parametrize("module", [catalogue, registry])
def test_what_is_public_is_listed(module):
    for name in module.__all__:
        assert getattr(module, name).__doc__
