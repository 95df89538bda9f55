"""Adapters of codecs: ours and the templates, held to the codec protocol and to the vectors."""

import json
import re
import shutil
import subprocess
import sys
import threading
from functools import cache
from importlib.resources import files
from pathlib import Path

import pytest
from jsonschema_rs import Draft202012Validator, meta

from neffos_codec import FIELDS, Reason, WaitKind
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.codecs import vectors
from neffos_conformance.codecs.catalogue import codec_cases
from neffos_conformance.codecs.requests import vector_requests
from neffos_conformance.codecs.testing import run_codec
from neffos_conformance.reference.codec_adapter import OPERATIONS, answer

from .absent import java

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "conformance" / "templates"
SCHEMA = json.loads(
    files("neffos_conformance.data").joinpath("schema", "codec.json").read_text("utf-8")
)
REQUEST = Draft202012Validator({**SCHEMA, "$ref": "#/$defs/toCodec"})
ANSWER = Draft202012Validator({**SCHEMA, "$ref": "#/$defs/fromCodec"})

LARGE = 10_000
"""Characters of a large request. Adapters answer these, which have 120 MB, in `make whole`."""

NODE = shutil.which("node")
ADAPTERS = {
    "reference": [str(Path(sys.executable).with_name("neffos-wire")), "codec-adapter"],
    "python": [sys.executable, str(TEMPLATES / "python" / "codec.py")],
    "javascript": [NODE or "node", str(TEMPLATES / "javascript" / "codec.mjs")],
}
COMPLETE = ("reference", "java")
"""The adapters whose codecs have all that vectors ask for."""

each_adapter = pytest.mark.parametrize(
    "adapter",
    [
        "reference",
        "python",
        pytest.param(
            "javascript", marks=pytest.mark.skipif(NODE is None, reason="there is no node")
        ),
        pytest.param("java", marks=pytest.mark.whole),
    ],
)


def command_of(adapter):
    """Give the command of an adapter; that in Java is compiled first."""
    return java("CodecAdapter") if adapter == "java" else ADAPTERS[adapter]


# ---- The vectors as requests ----


def asked():
    """Give each request with its number, the vector, and the answer that is wanted."""
    return [(each.request, each.vector, each.expected) for each in vector_requests()]


def is_answered_by(adapter, request):
    """Whether an adapter has to answer a request: a template only those for frames."""
    return adapter in COMPLETE or (
        request["op"] in ("decode", "encode")
        and request.get("native", "never") == "never"
        and not request.keys() & {"limits", "native_payload"}
    )


# ---- The adapters ----


def session(adapter, lines, timeout=60):
    """Give what an adapter writes, its first line first; it must end as its input does."""
    done = subprocess.run(
        command_of(adapter), input=lines, capture_output=True, timeout=timeout, check=True
    )
    assert done.stderr == b""
    return done.stdout.splitlines()


def answers(adapter, *lines):
    """Give the answers to some lines, which are sent at once."""
    ready, *found = map(json.loads, session(adapter, b"".join(line + b"\n" for line in lines)))
    assert ready["ready"] is True
    for each in (ready, *found):
        check(ANSWER, each)
    return found


def check(validator, line):
    error = next(iter(validator.iter_errors(shortened(line))), None)
    assert error is None, f"{str(line)[:300]}: {error.message[:300]}"


def shortened(value):
    """Cut long texts: a validator writes them out for each form that a line does not have."""
    if isinstance(value, dict):
        return {name: shortened(each) for name, each in value.items()}
    return value[:100] if isinstance(value, str) else value


def test_the_schema_is_a_schema():
    meta.validate(SCHEMA)


def test_the_schema_knows_the_words_of_the_codec():
    [reject] = [
        form["properties"]["reject"]["enum"]
        for form in SCHEMA["$defs"]["fromCodec"]["oneOf"]
        if "reject" in form["properties"]
    ]
    assert reject == [True, *Reason]
    assert SCHEMA["$defs"]["parsedWait"]["properties"]["kind"]["enum"] == list(WaitKind)


def test_every_vector_but_what_is_no_payload_can_be_asked():
    assert {vector["id"] for _, vector, _ in asked()} == {
        vector["id"] for vector in vectors.load_vectors() if vector.get("kind") != "other"
    }


def test_requests_and_wanted_answers_are_of_the_contracts_form():
    for request, _, wanted in asked():
        check(REQUEST, request)
        check(ANSWER, {"id": 1, **wanted})


def small_vectors():
    """Give the vectors of which no request is large: they have a hundredth of all bytes."""
    large = {
        each.vector["id"] for each in vector_requests() if len(json.dumps(each.request)) > LARGE
    }
    return [case for case in codec_cases() if case.id not in large]


@each_adapter
@pytest.mark.parametrize("is_small", [True, pytest.param(False, marks=pytest.mark.whole)])
def test_an_adapter_answers_every_vector_as_it_says(adapter, is_small):
    _, answered = run_codec(command_of(adapter), small_vectors() if is_small else None)
    assert {each.verdict for each in answered} <= {Verdict.PASS, Verdict.SKIPPED}
    for each in answered:
        is_unsupported = each.verdict is Verdict.SKIPPED
        assert is_unsupported is not is_answered_by(adapter, each.asked.request)
    assert sum(each.verdict is Verdict.PASS for each in answered) > 750


EMPTY = dict.fromkeys(FIELDS, "") | {"is_error": False, "is_no_op": False}
CANARY = json.dumps({"id": 7, "op": "made-up"}).encode()


def decoding(payload, **fields):
    return json.dumps({"id": 1, "op": "decode", "payload": payload} | fields).encode()


NO_REQUESTS = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"7",
    b"null null",
    b"\xff",
    b'{"op": "decode"}',
    b'{"id": "1", "op": "decode"}',
    b'{"id": true, "op": "decode"}',
    b'{"id": 1.5, "op": "decode"}',
    b"[" * 50_000,
]

LACKING = [
    b'{"id": 1}',
    b'{"id": 1, "op": null}',
    b'{"id": 1, "op": "decode"}',
    *[decoding(payload) for payload in (None, 1, {}, [], {"base64": 1}, {"hex": None})],
    b'{"id": 1, "op": "encode"}',
    b'{"id": 1, "op": "encode", "message": null}',
    b'{"id": 1, "op": "encode", "message": {"event": "e"}}',
]

UNKNOWN = [
    CANARY,
    b'{"id": 7, "op": ""}',
    b'{"id": 7, "op": "__proto__"}',
    decoding("x", id=7, reading="loud"),
    decoding("x", id=7, native="perhaps"),
    decoding("x", id=7, surprise=1),
    json.dumps({"id": 7, "op": "encode", "message": EMPTY, "reading": "strict"}).encode(),
]


DEFAULTS = [
    decoding(";;;e;x;y;"),
    decoding("hi"),
    decoding("", native="never"),
]


@cache
def odd_answers(adapter):
    """Give the answers to all odd lines, by line: one process for all of them."""
    odd = [*LACKING, *UNKNOWN, *DEFAULTS]
    odd += [each for line in NO_REQUESTS for each in (line, CANARY)]
    return list(zip(odd, answers(adapter, *odd), strict=True))


@each_adapter
def test_what_is_no_request_is_an_error_and_the_next_line_is_answered(adapter):
    found = odd_answers(adapter)[-2 * len(NO_REQUESTS) :]
    for (line, got), (_, canary) in zip(found[::2], found[1::2], strict=True):
        assert got["id"] is None, line
        assert got["error"], line
        assert canary == {"id": 7, "unsupported": True}


@each_adapter
def test_a_request_that_lacks_something_is_an_error_and_no_refusal(adapter):
    for line, got in odd_answers(adapter)[: len(LACKING)]:
        assert "error" in got, line


@each_adapter
def test_what_an_adapter_does_not_know_it_says_so(adapter):
    for line, got in odd_answers(adapter)[len(LACKING) :][: len(UNKNOWN)]:
        assert got == {"id": 7, "unsupported": True}, line


@each_adapter
def test_what_is_absent_has_its_default(adapter):
    found = dict(odd_answers(adapter))
    odd, short, empty = [found[line] for line in DEFAULTS]
    assert odd == {"id": 1, "message": {**EMPTY, "event": "e"}}
    assert short["reject"] == "separators"
    assert empty["reject"] == "empty"


@each_adapter
def test_a_line_may_be_huge_and_the_last_one_may_lack_its_end(adapter):
    body = "é" * (1 << 20)
    ready, first, last = session(adapter, decoding(";;;;0;0;" + body) + b"\n" + CANARY)
    assert json.loads(ready)["codec"] == 1
    assert json.loads(first)["message"]["body"] == body
    assert json.loads(last) == {"id": 7, "unsupported": True}


@each_adapter
def test_an_adapter_answers_before_it_reads_on_and_ends_with_its_input(adapter):
    process = subprocess.Popen(
        command_of(adapter), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    watchdog = threading.Timer(20, process.kill)
    watchdog.start()
    with process:
        assert json.loads(process.stdout.readline())["ready"] is True
        process.stdin.write(CANARY + b"\n" + CANARY[:5])  # the next is on its way
        assert json.loads(process.stdout.readline()) == {"id": 7, "unsupported": True}
        process.stdin.write(CANARY[5:] + b"\n")
        assert json.loads(process.stdout.readline()) == {"id": 7, "unsupported": True}
        process.stdin.close()
        assert process.wait() == 0
        assert process.stdout.read() == b""
    watchdog.cancel()


# ---- Ours ----


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"payload": "\ud800"}, "a string contains a surrogate"),
        ({"payload": {"hex": "f"}}, "hex"),
        ({"payload": {"base64": "!"}}, "base64"),
        ({"payload": {"hex": "ff", "base64": ""}}, "neither text, nor hex, nor base64"),
        ({"payload": ";;;;;;", "limits": 1}, "limits is an object"),
        ({"payload": ";;;;;;", "limits": {"field": "x"}}, "<"),
        ({"op": "encode", "message": {**EMPTY, "more": 1}}, "a message has the fields"),
        ({"op": "encode", "message": {**EMPTY, "wait": {"base64": ""}}}, "text cannot be base64"),
        ({"op": "encode", "message": {**EMPTY, "is_error": 1}}, "must be bool"),
        ({"op": "encode-handshake", "handshake": {"knock": {}}}, "a handshake message is"),
        ({"op": "encode-handshake", "handshake": "M"}, "a handshake message is"),
        ({"op": "reply", "message": EMPTY, "reply": {"empty": False}}, "a reply is"),
        ({"op": "parse-wait", "wait": None}, "neither text"),
    ],
)
def test_our_adapter_says_what_is_wrong_with_a_request(fields, complaint):
    got = answer(fields.get("op", "decode"), fields)
    assert got.keys() == {"error"}
    assert complaint in got["error"].lower() or complaint in got["error"]


def test_limits_that_are_not_known_are_unsupported():
    request = {"payload": ";;;;;;", "limits": {"time": 1}}
    assert answer("decode", request) == {"unsupported": True}


def test_a_codec_that_fails_reports_it_and_refuses_nothing(monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr("neffos_conformance.reference.codec_adapter.decode", broken)
    assert answer("decode", {"payload": "x"}) == {"error": "ZeroDivisionError()"}


# ---- The page ----


def test_the_examples_of_the_page_are_what_is_answered():
    page = (ROOT / "spec" / "docs" / "codec-contract.md").read_text("utf-8")
    blocks = re.findall(r"^```json\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    ready, examples = (list(map(json.loads, block.splitlines())) for block in blocks)
    check(ANSWER, ready[0])
    for request, wanted in zip(examples[::2], examples[1::2], strict=True):
        check(REQUEST, request)
        assert {"id": request["id"], **answer(request["op"], request)} == wanted


def test_the_page_and_the_schema_name_the_operations_that_there_are():
    page = (ROOT / "spec" / "docs" / "codec-contract.md").read_text("utf-8")
    table = page.split("| `op` |")[1].split("\n\n")[0]
    named = re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)
    conditions = SCHEMA["$defs"]["toCodec"]["allOf"]
    assert named == [each["if"]["properties"]["op"]["const"] for each in conditions]
    assert named == list(OPERATIONS)
    for each in conditions:
        op = each["if"]["properties"]["op"]["const"]
        assert each["then"]["properties"].keys() == OPERATIONS[op][1] | {"id", "op"}
