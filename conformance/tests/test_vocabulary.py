"""No file goes back to a word that the vocabulary has replaced: see ``VOCABULARY.md``."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

IDENTIFIERS = {
    r"Patience|patience": "Timeouts, timeouts",
    r"Judgement|judgement": "RunReport, CheckReport",
    r"Spoken|Arrived": "Transport, UpgradeRequest",
    r"Liars?|liars?|LIARS|Lies|lying": "ClientFault, @mutant",
    r"Likeness|likeness": "Comparison",
    r"Steering|steering": "ClientControl",
    r"Noted": "LogEntry",
    r"is_shaken|_shaken": "handshake_complete",
    r"has_heard_goodbye|say_goodbye": "has_received_close, send_close",
    r"let_in|let-in|turn_away|turn-away": "accept, refuse",
    r"judging-entry|judging-exit": "deciding-…",
    r"open_asks": "pending_asks",
    r"AskLost": "AskCancelled",
    r"read_deviations|Deviations?|DEVIATIONS": "KnownFailure",
    r"SIGHTS|Sight": "OBSERVATIONS, Observation",
    r"RealPeer|real_peers": "Implementation, implementations",
    r"FaultFound": "FailureFound",
    r"Divergences?|divergences?": "Difference",
    r"Maker|Player": "SequenceGenerator, SequenceRunner",
}
"""Old identifiers as alternatives of regular expressions, with what to use in place of them."""

OPTIONS = {
    r"--deviations|--draft-deviations": "--known-failures, --write-known-failures",
    r"--at-once": "--jobs",
    r"--deadline|--run-deadline": "--timeout, --run-timeout",
    r"--save": "--save-recordings",
    r"--peer": "--name",
    r"neffos-wire exchange(?!:)": "neffos-wire test exchange",
    r"--draft-profile": "--write-profile",
    r"neffos-wire server(?!:)|neffos-wire client(?!:)|neffos-wire codec(?!:)": "neffos-wire test …",
}
"""Old options and commands, likewise."""

PHRASES = {
    r"wrong on purpose": "faulty",
    r"real peers?|known peers?": "tested implementation",
    r"known deviations?": "known failure",
    r"odd peers?": "benign variant",
    r"has on its hands|a case at work": "say what the case holds or does",
    r"bears? with|borne": "accept",
    r"turned away|let in": "refused, accepted",
    r"no frames?": "not a frame",
    r"shaken": "after the handshake",
    r"is told|are told|is found out|are found out": "name the actor",
    r"anew": "again",
    r"for ever": "indefinitely",
    r"octets?(?!, both ways)": "byte",  # but for the title of a recorded chapter
}
"""Old phrases without another sense, likewise; in code, data and pages."""

ON_PAGES = {
    r"[Jj]udges?|[Jj]udged|[Jj]udging": "test, run, check or evaluate",
    r"[Ee]xit codes?": "exit status",
    r"for good": "indefinitely",
}
"""Old words that code may have, but no page."""

KEPT = {
    "CHANGELOG.md",  # says what was renamed
    "VOCABULARY.md",
    "conformance/tests/test_vocabulary.py",
}
NOT_OURS = ("conformance/transcripts/", "LICENSE")
"""Recordings are kept as they were made, with the titles that cases had."""

GRAMMAR = {"protocol/data/neffos.abnf"}
"""RFC 5234's own word is octet."""


def tracked() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"],  # noqa: S607
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    return [
        name
        for name in listed
        if name and name not in KEPT and not name.startswith(NOT_OURS) and (ROOT / name).is_file()
    ]


def found(words: dict[str, str], names: list[str], border: str) -> list[str]:
    # Each alternative alone, and first without its borders: Python looks for its first letters
    # then, ten times as fast.
    looked_for = [
        (re.compile(one), re.compile(rf"{border}(?:{one})(?![\w-])"), use)
        for word, use in words.items()
        for one in word.split("|")
    ]
    places = []
    for name in names:
        text = (ROOT / name).read_text("utf-8", "ignore")
        for alone, bordered, use in looked_for:
            for match in bordered.finditer(text) if alone.search(text) else ():
                line = text.count("\n", 0, match.start()) + 1
                places.append(f"{name}:{line}: {match[0]!r}: use {use}")
    return places


FILES = tracked() if (ROOT / ".git").exists() else []
CODE = [name for name in FILES if name.endswith((".py", ".toml", ".json", ".go", ".js", ".rs"))]
PAGES = [name for name in FILES if name.startswith("spec/docs/") or name == "README.md"]


@pytest.mark.skipif(not FILES, reason="needs the list of files that git keeps")
@pytest.mark.parametrize(
    ("words", "names", "border"),
    [
        pytest.param(IDENTIFIERS, CODE, r"(?<![\w-])", id="identifiers"),
        pytest.param(OPTIONS, FILES, r"(?<![\w-])", id="options"),
        pytest.param(PHRASES, [*CODE, *PAGES], r"(?<![\w-])", id="phrases"),
        pytest.param(ON_PAGES, PAGES, r"(?<![\w-])", id="pages"),
    ],
)
def test_no_word_comes_back(words, names, border):
    places = found(words, names, border)
    assert not places, "\n".join(places)
