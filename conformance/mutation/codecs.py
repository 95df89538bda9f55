"""Codecs with a seeded fault: what takes the place of the answers of the correct one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from mutation import operators as do
from mutation.hooks import fits
from mutation.registry import mutant, mutants
from neffos_codec import ESCAPE
from neffos_conformance.cases.definition import Case
from neffos_conformance.codecs.testing import run_vector
from neffos_conformance.codecs.values import content_of, value_of
from neffos_conformance.reference.codec_adapter import answer
from neffos_conformance.runner.result import Result
from neffos_conformance.runner.run import Run

Values = dict[str, Any]

LONG: Final = 2_000
"""Bytes from which on one of the mutants decodes a frame in another way."""

WRITING: Final = ("encode", "reply")
"""The operations that encode a frame."""

ANSWERED: Final = ("message", "handshake", "parsed", "reject")
"""The parts of an answer that a trigger can name."""

REQUEST: Final[Values] = {"handshake": {"request": {}}}
"""A handshake request, as it is in an answer."""

NOTHING_READ: Final[Values] = {
    **dict.fromkeys(("wait", "namespace", "room", "event", "body"), ""),
    "is_error": False,
    "is_no_op": False,
}
"""A frame of empty fields, as it is in an answer."""


@dataclass(frozen=True, slots=True)
class CodecRequest:
    """A request to a codec. Triggers name its properties, its fields and parts of the answer.

    Attributes:
        op: the operation.
        request: the request.
        given: the correct answer.
    """

    op: str
    request: Values
    given: Values

    def __getattr__(self, name: str) -> Any:
        """Give a part of the correct answer; it is empty where there is none."""
        if name not in ANSWERED:
            raise AttributeError(name)
        return self.given.get(name, {})

    @property
    def payload(self) -> bytes:
        """The payload to decode."""
        return content(self.request["payload"])

    @property
    def is_binary(self) -> bool:
        """Whether the payload to decode is binary."""
        return isinstance(self.request["payload"], dict)

    def again(self, **changes: Any) -> Values:
        """Give the correct answer to a request with changes."""
        return answer(self.op, {**self.request, **changes})


CORRECT: Final[dict[int, Values]] = {}
"""The correct answers by the number of the request: they are the same for every mutant."""


def _correct(request: Values) -> Values:
    number = request.get("id")
    if number is None:
        return answer(request["op"], request)
    if number not in CORRECT:
        CORRECT[number] = answer(request["op"], request)
    return CORRECT[number]


Hook = Callable[[CodecRequest], Values | None]
"""Gives an answer in place of the correct one, or ``None``."""


@dataclass(frozen=True, slots=True)
class CodecFault:
    """A codec with a fault.

    Attributes:
        hook: gives what takes the place of an answer.
    """

    hook: Hook
    role: Literal["codec"] = field(default="codec", init=False)

    def answer(self, request: Values) -> Values:
        """Answer a request."""
        given = _correct(request)
        effect = self.hook(CodecRequest(request["op"], request, given))
        return given if effect is None else effect

    @asynccontextmanager
    async def stage(self) -> AsyncIterator[Run]:
        """Give the function that runs a case against the codec."""

        async def run(case: Case) -> Result:
            return run_vector(case, self.answer)

        yield run


def answers(hook: Hook, **trigger: Any) -> CodecFault:
    """Seed a fault in some answers."""
    return CodecFault(lambda q: hook(q) if fits(trigger, q, q.request) else None)


def reads(hook: Callable[[CodecRequest, Values], Values], **trigger: Any) -> CodecFault:
    """Seed a fault in the fields of a decoded frame; the hook gives those that differ."""
    return answers(
        lambda q: {"message": q.message | hook(q, q.message)} if q.message else None, **trigger
    )


def writes(
    hook: Callable[[CodecRequest, Any], Any], op: Any = WRITING, **trigger: Any
) -> CodecFault:
    """Seed a fault in the payload that some operations encode."""

    def effect(q: CodecRequest) -> Values | None:
        return {"payload": hook(q, q.given["payload"])} if "payload" in q.given else None

    return answers(effect, op=op, **trigger)


def writes_text(hook: Callable[[str], str], op: Any = WRITING, **trigger: Any) -> CodecFault:
    """Seed a fault in the text that some operations encode."""
    return writes(lambda _, value: hook(value) if isinstance(value, str) else value, op, **trigger)


def writes_rejected(reject: str, payload: Callable[[CodecRequest], Any]) -> CodecFault:
    """Encode what is to be rejected for some reason."""
    return answers(lambda q: {"payload": payload(q)}, op=WRITING, reject=reject)


def changed(part: str, **changes: Any) -> Hook:
    """Change fields of a part of the answer."""
    return lambda q: {part: {**q.given[part], **changes}}


def reads_wait(kind: str, other: str, **trigger: Any) -> CodecFault:
    """Parse a wait field of one kind as one of another, where the exchange has not marked it."""
    return answers(
        changed("parsed", kind=other),
        parsed={"kind": kind, "from_exchange": lambda is_marked: not is_marked},
        **trigger,
    )


def content(value: Any) -> bytes:
    """Give the bytes of a value, text or binary."""
    whole = content_of(value)
    return whole if isinstance(whole, bytes) else whole.encode("utf-8", "surrogateescape")


def rejects(is_meant: Callable[[CodecRequest], object], **trigger: Any) -> CodecFault:
    """Reject what the correct codec accepts."""
    return answers(lambda q: {"reject": True} if is_meant(q) else None, **trigger)


def _text_body(
    change: Callable[[str], str], is_meant: Callable[[Values], object]
) -> Callable[[CodecRequest, Values], Values]:
    """Change the body of the text frames that fit."""

    def hook(_: CodecRequest, m: Values) -> Values:
        body = m["body"]
        return {"body": change(body)} if isinstance(body, str) and is_meant(m) else {}

    return hook


def _without_separator(q: CodecRequest) -> Values | None:
    whole = content_of(q.request["payload"])
    return q.again(payload=value_of(whole + ";" if isinstance(whole, str) else whole + b";"))


@mutant("FR-3", reads)
def fields_not_unescaped(_: CodecRequest, m: Values) -> Values:
    """Leaves the escape in a field that it has read, where text follows it."""
    names = {name: m[name] for name in ("namespace", "room", "event") if isinstance(m[name], str)}
    return {name: value.replace(";", ESCAPE) for name, value in names.items() if value[-1:] != ";"}


@mutant("FR-5", answers, op=WRITING, reject=bool)
def separator_in_wait(q: CodecRequest) -> Values | None:
    """Writes a token with a separator in it."""
    wait = q.request.get("message", {}).get("wait", "")
    return {"payload": f"{wait};n;;e;0;0;"} if b";" in content(wait) else None


@mutant("FR-7", reads)
def any_flag_is_true(q: CodecRequest, _: Values) -> Values:
    """Reads a flag of the letters t, y and T as true."""
    words = (b"t", b"T", b"y", b"true", b"yes", b"2", b"01", b"11", b" 1", b"1 ")
    flags = zip(("is_error", "is_no_op"), q.payload.split(b";", 6)[4:6], strict=True)
    return {name: True for name, flag in flags if flag in words}


def _is_long_text(payload: bytes) -> bool:
    head = b";".join(payload.split(b";")[:6])
    return len(head) > LONG and head.isascii()


def _handshake(part: str, change: Callable[[Any], Any]) -> CodecFault:
    """Change the payload of one handshake message."""
    return writes(
        lambda q, payload: change(payload) if part in q.request["handshake"] else payload,
        op="encode-handshake",
    )


@mutant("AR-8", answers, op="reply")
def empty_reply_refused(q: CodecRequest) -> Values | None:
    """Cannot write an empty reply to a system ask."""
    ask = q.request.get("message", {})
    is_meant = ask.get("event") in ("_OnNamespaceConnect", "_OnRoomJoin")
    is_text = is_meant and isinstance(ask["body"], str) and "empty" in q.request["reply"]
    return {"reject": True} if is_text else None


@mutant("AR-16", writes, op="reply")
def reply_in_the_kind_of_its_body(q: CodecRequest, payload: Any) -> Any:
    """Writes a reply in the type of its body, not of the ask."""
    body = q.request["reply"].get("body", q.request["reply"].get("error"))
    is_meant = isinstance(payload, dict) and isinstance(body, str)
    return content(payload).decode() if is_meant else payload


@mutant("FR-2", answers, reject=bool)
def never_refuses(q: CodecRequest) -> Values:
    """Reads everything as some frame, and writes whatever it is given."""
    is_written = q.op in (*WRITING, "encode-handshake")
    return {"payload": "?"} if is_written else {"message": NOTHING_READ}


@mutant("FR-10", answers)
def line_end_added(q: CodecRequest) -> Values | None:
    """Adds a line end to everything that it reads and writes."""
    return _longer(q.given, ("payload", "body", "native", "accept", "refuse", "token", "sender"))


def _longer(values: Values, names: Collection[str]) -> Values:
    """Add a line end to what has one of these names, at whatever depth."""
    longer = {}
    for name, value in values.items():
        if name in names:
            whole = content_of(value)
            longer[name] = value_of(whole + "\n" if isinstance(whole, str) else whole + b"\n")
        else:
            longer[name] = _longer(value, names) if isinstance(value, dict) else value
    return longer


mutants(
    "FR-1 body-cut: Ends a text body at the next semicolon.",
    reads(
        _text_body(lambda body: body.partition(";")[0], lambda m: not m["is_error"] and m["event"]),
        limits=None,
    ),
    "FR-1 room-and-event-swapped: Reads the room where the event is.",
    reads(lambda _, m: {"room": m["event"], "event": m["room"]}),
    "FR-2 five-separators-taken: Accepts five separators as a frame with an empty body.",
    answers(
        _without_separator,
        op="decode",
        native=(None, "never"),
        limits=None,
        payload=lambda payload: payload.count(b";") == 5,
    ),
    "FR-3 body-unescaped: Reads the escape as a separator in the body too.",
    reads(_text_body(lambda body: body.replace(ESCAPE, ";"), bool)),
    "FR-3 fields-not-escaped: Writes a semicolon in a field as it is.",
    writes_text(lambda text: text.replace(ESCAPE, ";")),
    "FR-4 writes-what-reads-back-changed: Writes a name that a receiver would read back changed.",
    writes_rejected("escape-literal", lambda _: ";changed;;e;0;0;"),
    "FR-6 flags-in-words: Writes a set no-op flag as t.",
    writes_text(lambda text: text.replace(";1;", ";t;") if ";1;1;" in text else text),
    "FR-8 error-needs-a-text: Reads an error without a text as none, as the Go peer does.",
    reads(lambda _, m: {"is_error": False} if m["event"] and content(m["body"]) == b"" else {}),
    "FR-9 empty-error-written: Writes an error without a text.",
    writes_rejected("empty-error-text", lambda _: "$1;chat;;say;1;0;"),
    "FR-10 body-trimmed: Cuts spaces and line ends off a body.",
    reads(
        _text_body(
            lambda body: body.strip(" \r\n\t") if body.isascii() else body,
            lambda m: not m["is_error"] and str(m["event"]).isprintable(),
        ),
        native=None,
    ),
    "FR-12 latin-letters: Reads bytes that are not UTF-8 as if they were.",
    answers(lambda q: q.again(reading="lenient"), op="decode", reject="utf8", native=None),
    "FR-13 long-empty-reply: Writes the flags of an empty reply.",
    writes_text(lambda text: f"{text[:-3]}0;0;" if text.endswith(";;;;;;") else text, native=None),
    "FR-14 empty-message-taken: Reads an empty message as a frame of empty fields.",
    answers(lambda q: q.again(payload=";;;;;;"), op="decode", reject="empty"),
    "FR-15 octets-read-otherwise: Refuses a long frame of bytes that it reads as text.",
    rejects(bool, message=bool, limits=None, is_binary=True, payload=_is_long_text),
    "HS-1 other-request: Writes the request in lower case.",
    _handshake("request", lambda _: "m"),
    "HS-1 request-unknown: Does not recognise the request.",
    rejects(lambda q: q.request["payload"] == "M", op="decode-handshake"),
    "HS-2 more-behind-the-request: Accepts more after the letter of a request, in strict decoding.",
    answers(lambda _: REQUEST, op="decode-handshake", reject="handshake-trailing"),
    "HS-3 id-trimmed: Writes an acceptance without its letter.",
    _handshake("accept", lambda p: p[1:]),
    "HS-4 refusal-taken-for-acceptance: Reads a refusal as an acceptance.",
    answers(
        lambda q: {"handshake": {"accept": q.handshake["refuse"]}},
        handshake={"refuse": do.isnt(None)},
        is_binary=False,
    ),
    "HS-5 binary-handshake-sound: Accepts a handshake message in binary, in strict decoding.",
    answers(lambda q: q.again(reading="lenient"), op="decode-handshake", reject="handshake-binary"),
    "HS-6 empty-id-sound: Accepts an acceptance without an ID.",
    answers(
        lambda q: {"handshake": {"accept": ""}} if q.op == "decode-handshake" else {"payload": "A"},
        reject="handshake-id",
    ),
    "HS-7 wants-exactly-m: Accepts only a lone M as a request.",
    rejects(lambda q: "request" in q.handshake and q.payload != b"M", handshake=bool),
    "HS-7 takes-anything-for-a-request: Treats any first message as a handshake request.",
    answers(lambda _: REQUEST, op="decode-handshake"),
    "AR-1 token-lost: Writes an empty reply, or a reply to no ask, with a token of its own.",
    writes(
        lambda q, payload: (
            f"$0{payload}"
            if isinstance(payload, str) and not q.request["message"]["wait"]
            else payload
        ),
        op="reply",
    ),
    "AR-2 clients-ask-taken-for-a-servers: Parses a client's token as a server's.",
    reads_wait("client-ask", "server-ask"),
    "AR-3 servers-ask-taken-for-a-clients: Parses a server's token of digits as a client's.",
    reads_wait(
        "server-ask",
        "client-ask",
        wait=lambda wait: str(wait)[:1] == "1" and "!" not in wait and wait.isascii(),
    ),
    "AR-4 confirmation-taken-for-an-ask: Parses the token of a confirmation as one that asks.",
    reads_wait("confirmation", "server-ask"),
    "AR-7 event-lost-in-reply: Writes the reply to an ask under another event.",
    writes_text(lambda text: text.replace(";say;", ";said;"), op="reply"),
    "SEC-1 limits-ignored: Reads a payload that is over a limit.",
    answers(
        lambda q: answer(
            q.op, {name: each for name, each in q.request.items() if name != "limits"}
        ),
        op="decode",
        limits=bool,
        reject=bool,
    ),
    "FR-11 text-for-binary: Writes a binary message as text, where it is UTF-8.",
    writes(
        lambda _, payload: (
            payload if isinstance(payload, str) else content(payload).decode(errors="replace")
        ),
        op="reply",
    ),
    "HS-19 id-ends-at-a-separator: Ends an ID where the first field of a frame would end.",
    answers(
        lambda q: {"handshake": {"accept": q.handshake["accept"].partition(";")[0]}},
        handshake={"accept": do.has(";")},
    ),
    "SEC-15 unescaped-too-late: Gives a namespace as it is written, where it is an escape alone.",
    answers(
        changed("message", namespace=ESCAPE),
        message={"namespace": ";"},
        limits=None,
        payload=lambda payload: payload.endswith(f"{ESCAPE};;e;0;0;".encode()),
    ),
    "SX-1 sender-taken-for-a-token: Parses an explicit sender as a token.",
    reads_wait("explicit-sender", "server-ask"),
    "SX-2 marker-left-in: Leaves the exchange marker in the token.",
    answers(
        lambda q: changed("parsed", token=q.request["wait"])(q), parsed={"from_exchange": True}
    ),
    "NM-1 native-written-anyway: Writes a native message to a peer that accepts only frames.",
    answers(
        lambda q: (
            {"payload": q.request["native_payload"]} if "native_payload" in q.request else None
        ),
        op="encode",
        native=(None, "never"),
        reject=bool,
    ),
    "NM-2 native-refused: Rejects a native message where the peer accepts them.",
    rejects(lambda q: "native" in q.given, op="decode", native="fallback"),
    "NM-3 native-that-is-a-frame: Writes a native message that reads as a frame.",
    writes_rejected("native-looks-like-frame", lambda q: q.request["native_payload"]),
    "NM-5 native-event-taken-for-another: Reads the event of native messages as none.",
    answers(changed("message", event=""), message={"event": "_OnNativeMessage"}),
)
