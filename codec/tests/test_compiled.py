"""The compiled codec beside the pure one: equal in all that can be seen, and in memory.

Without a C compiler at the installation there is nothing to compare, unless
``NEFFOS_WIRE_EXPECT_COMPILED`` says that there has to be.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from neffos_codec import Decoding, FrameLimits, Native
from neffos_conformance.codecs import vectors

from . import test_properties as properties

pytestmark = pytest.mark.no_cover  # what it runs is compiled, or has tests of its own

if os.environ.get("NEFFOS_WIRE_EXPECT_COMPILED") or find_spec("neffos_codec._compiled"):
    from . import differential
else:
    pytest.skip("the compiled codec was not built", allow_module_level=True)

ALL = vectors.load_vectors()
OPTIONS: list[dict[str, Any]] = [
    {"decoding": decoding, "native": native} for decoding in Decoding for native in Native
]
CORPUS = Path(__file__).parents[2] / "conformance" / "transcripts"


def forms(payload: Any) -> Iterator[Any]:
    """Give a payload in each of its types."""
    yield payload
    if isinstance(payload, bytes):
        yield bytearray(payload)
        yield memoryview(payload)
        yield memoryview(payload[::-1])[::-1]


def same(payload: Any, options: dict[str, Any]) -> None:
    found = differential.differences(payload, options)
    assert found is None, (payload, options, found)


def test_on_every_vector() -> None:
    for each in ALL:
        if each["operation"] == "decode":
            payload, limits = vectors.payload(each), {"limits": vectors.limits(each)}
            is_huge = hasattr(payload, "__len__") and len(payload) > 10_000
            for form in forms(payload):
                for options in OPTIONS[:1] if is_huge else OPTIONS:
                    same(form, options | limits)
        elif each["operation"] == "encode" and "message" in each:
            fields = vectors.fields(each["message"], each["kind"])
            assert differential.built_differences(fields, {}) is None, each["id"]


def recorded() -> Iterator[Any]:
    """Give every payload of the corpus."""
    for path in CORPUS.rglob("*.jsonl"):
        for line in path.read_bytes().splitlines():
            values = json.loads(line)
            if "base64" in values:
                yield base64.b64decode(values["base64"])
            elif "text" in values:
                yield values["text"]


def test_on_every_recording() -> None:
    payloads = set(recorded())
    assert len(payloads) > 1000
    for payload in payloads:
        for options in OPTIONS[:2]:
            same(payload, options)


@properties.PROVE
@given(
    payload=properties.payloads
    | properties.binaries.map(bytearray)
    | properties.binaries.map(memoryview),
    decoding=properties.decodings,
    native=properties.modes,
    limits=properties.limits,
)
def test_on_anything(
    payload: Any, decoding: Decoding, native: Native, limits: FrameLimits | None
) -> None:
    same(payload, {"decoding": decoding, "native": native, "limits": limits})


@properties.PROVE
@given(properties.well_typed)
def test_on_any_message(fields: dict[str, Any]) -> None:
    assert differential.built_differences((), fields) is None


def test_on_payloads_of_a_seed() -> None:
    differential.fuzz(2000, seed=1)


@pytest.mark.parametrize(
    ("args", "named"),
    [
        ((), {}),
        (("a;;;;0;0;", "b"), {}),
        (("a;;;;0;0;",), {"nativ": Native.NEVER}),
        (("a;;;;0;0;",), {"native": None}),
        (("a;;;;0;0;",), {"decoding": "strict"}),
        ((b"a;;;;0;0;",), {"limits": FrameLimits(2**70, True)}),
        (("a;;;;0;0;",), {"limits": None, "native": Native.FALLBACK}),
        ((differential.PURE.message("a"),), {}),
    ],
    ids=range(8),
)
def test_on_unusual_calls(args: tuple[Any, ...], named: dict[str, Any]) -> None:
    for name in ("decode", "encode"):
        pure, compiled = (
            differential.seen(differential.outcome(getattr(codec, name), *args, **named))
            for codec in (differential.PURE, differential.COMPILED)
        )
        assert pure == compiled


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (("a",) * 9, {}),
        (("a",), {"wait": "b"}),
        ((), {"colour": 1}),
        (("a", "b", "c", "d", True, False, "e", False), {}),
        (("a", "b", "c", "d", True, False, b"e", True), {}),
        ((";", "@%!semicolon@%!", "\ud800", "d", True, False, "\udcff", True), {}),
        (("a",), {"body": bytearray(b"x"), "_sound": False}),
        (("a",), {"_sound": 0}),
    ],
    ids=range(8),
)
def test_on_unusual_messages(args: tuple[Any, ...], named: dict[str, Any]) -> None:
    assert differential.built_differences(args, named) is None


def test_a_message_holds_only_what_it_may() -> None:
    with pytest.raises(TypeError):
        differential.COMPILED.message(1, 2, 3, 4, 5, 6, 7, True)


def test_a_pickle_of_either_is_read_by_the_other() -> None:
    names = {(kind.__module__, kind.__qualname__) for kind in differential.MESSAGES}
    assert names == {("neffos_codec", "Message")}


# ---- Memory ----


CALLS = 1000


def test_nothing_is_left_behind() -> None:
    blocks, references = differential.leaks(CALLS)
    # The interpreter keeps some hundred blocks of its own; a leak would be a part of all calls.
    assert blocks < CALLS / 2
    assert references < CALLS / 2


def test_constants_are_not_used_up() -> None:
    values = (None, True, False, "", *Decoding, *Native, differential.COMPILED.message)
    before = [sys.getrefcount(value) for value in values]
    differential.exercise(CALLS)
    after = [sys.getrefcount(value) for value in values]
    assert [late - early for early, late in zip(before, after, strict=True)] == pytest.approx(
        [0] * len(values), abs=CALLS / 2
    )
