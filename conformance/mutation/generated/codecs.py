"""Generated faults of codecs: what takes the place of an answer, and for which requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from itertools import combinations
from random import Random
from typing import Any, Final

from mutation.codecs import CodecFault, CodecRequest, Values
from mutation.generated.parts import (
    Condition,
    Operator,
    drawn_count,
    drawn_operator,
    drawn_trigger,
    name_of,
    parts_of,
)
from mutation.generated.situation import NAMED
from mutation.generated.transforms import TRANSFORMS
from mutation.generated.triggers import CLASSES, NAME_SIZES, SIZES
from neffos_conformance.codecs.values import content_of, value_of

OPS: Final[Mapping[str, str]] = {
    "decode": "decode",
    "encode": "encode",
    "reply": "reply",
    "meet": "decode-handshake",
    "greet": "encode-handshake",
    "parse": "parse-wait",
}
"""The operations, by the last word of the name of an operator."""

TEXTS: Final[Mapping[str, tuple[str, ...]]] = {
    "decode": ("wait", "namespace", "room", "event", "body"),
    "encode": ("wait", "namespace", "room", "event", "body"),
    "reply": ("wait", "namespace", "room", "event", "body"),
    "meet": ("text",),
    "greet": ("text",),
    "parse": ("token", "sender"),
}
"""What an operation is about, of which a trigger names sizes and characters."""

REQUIREMENTS: Final[Mapping[str, str]] = {
    "decode": "FR-1",
    "decode body": "FR-10",
    "decode accept": "FR-6",
    "decode flags": "FR-7",
    "decode type": "FR-11",
    "encode": "FR-1",
    "encode body": "FR-10",
    "encode accept": "FR-4",
    "encode flags": "FR-6",
    "encode type": "FR-11",
    "reply": "AR-7",
    "reply wait": "AR-1",
    "reply type": "AR-16",
    "meet": "HS-19",
    "greet": "HS-3",
    "parse": "AR-1",
    "parse sender": "SX-1",
}
"""What a mutant breaks, by the family of its operator, else by its operation."""


# -------------------------------------------------------------------- what a request is about


def texts(q: CodecRequest) -> dict[str, str | bytes]:
    """Give the texts that a request, or its answer, is about, by their names."""
    found: dict[str, Any] = {}
    message = q.given.get("message") or q.request.get("message")
    if message:
        found = {name: content_of(message[name]) for name in TEXTS["decode"]}
    if "reply" in q.request:
        reply = q.request["reply"]
        found["body"] = "" if "empty" in reply else content_of(next(iter(reply.values())))
    handshake = q.given.get("handshake") or q.request.get("handshake") or {}
    for value in handshake.values():
        found["text"] = "" if isinstance(value, dict) and not value else content_of(value)
    parsed = q.given.get("parsed") or {}
    for name in TEXTS["parse"]:
        if name in parsed:
            found[name] = content_of(parsed[name])
    return found


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def _size(value: str | bytes) -> int:
    return len(value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape"))


def _is_text(name: str, test: Callable[[str], bool], q: CodecRequest) -> bool:
    found = texts(q)
    return name in found and test(_text(found[name]))


def _is_size(name: str, size: int, is_over: bool, q: CodecRequest) -> bool:
    found = texts(q)
    given = _size(found[name]) if name in found else -1
    return given > size if is_over else given == size


def _has_flag(name: str, q: CodecRequest) -> bool:
    message = q.given.get("message") or q.request.get("message") or {}
    return bool(message.get(name))


def _is_binary(q: CodecRequest) -> bool:
    payload = q.request.get("payload", q.given.get("payload"))
    return isinstance(payload, dict) and "base64" in payload


def _is_reading(reading: str, q: CodecRequest) -> bool:
    return bool(q.request.get("reading") == reading)


def _conditions(kind: str) -> Iterator[Condition]:
    for name in TEXTS[kind]:
        for label, (sample, test) in CLASSES.items():
            is_name = name != "body" and name != "text"
            if is_name and label == "escape" and name != "wait":
                continue  # no name contains it
            if kind == "parse" and label == "semicolon":
                continue  # nor does a token contain that
            if name == "wait" and label == "semicolon":
                continue
            if name == "sender" and label in ("number", "edge-space", "dunder"):
                continue  # it begins with the name of the library
            test_of = partial(_is_text, name, test)
            yield Condition(
                f"{name}-{label}", f"{name} characters", test_of, field=name, sample=sample
            )
        sizes = SIZES if name in ("body", "text") else NAME_SIZES
        for size in sizes if name != "sender" else sizes[1:]:
            for is_over in (False, True):
                label = f"{name}-{'over-' if is_over else ''}{size}"
                sample = "x" * (size + is_over)
                test_of = partial(_is_size, name, size, is_over)
                yield Condition(label, f"{name} size", test_of, field=name, sample=sample)
        if name not in TEXTS["parse"] and (kind, name) != ("reply", "wait"):
            empty = partial(_is_size, name, 0, False)
            yield Condition(f"{name}-empty", f"{name} size", empty, field=name)
    if kind in ("decode", "encode", "reply"):
        yield Condition("binary", "type", _is_binary)
        yield Condition("text", "type", lambda q: not _is_binary(q))
    if kind in ("decode", "encode"):
        for name in ("is_error", "is_no_op"):
            label = name.removeprefix("is_").replace("_", "-") + "-flag"
            yield Condition(label, "flags", partial(_has_flag, name))
    if kind in ("decode", "meet"):
        for reading in ("strict", "lenient"):
            yield Condition(reading, "reading", partial(_is_reading, reading))
    if kind == "reply":
        for how in ("body", "error", "empty"):
            test = partial(lambda how, q: how in q.request["reply"], how)
            yield Condition(f"{how}-reply", "reply", test)


@cache
def conditions(kind: str) -> dict[str, Condition]:
    """Give the conditions of an operation, by their names."""
    return {each.name: each for each in _conditions(kind)}


# -------------------------------------------------------------------- operators


def _changed(how: str, value: Any) -> Any:
    content = content_of(value)
    text = content if isinstance(content, str) else content.decode("utf-8", "surrogateescape")
    try:
        other = TRANSFORMS[how][1](text)
        is_text = isinstance(content, str)
        return value_of(other if is_text else other.encode("utf-8", "surrogateescape"))
    except (UnicodeError, ValueError):
        return value


def _in_message(kind: str, name: str, how: str, q: CodecRequest) -> Values | None:
    """Change a field of what is decoded, or of what is to be encoded."""
    if kind == "decode":
        if "message" not in q.given:
            return None
        return {"message": {**q.given["message"], name: _changed(how, q.given["message"][name])}}
    if "payload" not in q.given or "message" not in q.request:
        return None
    if kind == "reply" and name == "body":
        reply = q.request["reply"]
        if "empty" in reply:
            return None
        changed = q.again(reply={each: _changed(how, value) for each, value in reply.items()})
    else:
        message = q.request["message"]
        changed = q.again(message={**message, name: _changed(how, message[name])})
    return changed if "payload" in changed else None


def _in_handshake(kind: str, how: str, q: CodecRequest) -> Values | None:
    source = q.given if kind == "meet" else q.request
    handshake = source.get("handshake", {})
    if not handshake or "request" in handshake:
        return None
    other = {name: _changed(how, value) for name, value in handshake.items()}
    if kind == "meet":
        return {"handshake": other}
    changed = q.again(handshake=other)
    return changed if "payload" in changed else None


def _in_parsed(name: str, how: str, q: CodecRequest) -> Values | None:
    parsed = q.given.get("parsed")
    return {"parsed": {**parsed, name: _changed(how, parsed[name])}} if parsed else None


def _in_payload(how: str, q: CodecRequest) -> Values | None:
    return {"payload": _changed(how, q.given["payload"])} if "payload" in q.given else None


def _flag(kind: str, name: str, q: CodecRequest) -> Values | None:
    if kind == "decode":
        message = q.given.get("message")
        return {"message": {**message, name: not message[name]}} if message else None
    message = q.request.get("message")
    if not message or "payload" not in q.given:
        return None
    changed = q.again(message={**message, name: not message[name]})
    return changed if "payload" in changed else None


def _retype(kind: str, q: CodecRequest) -> Values | None:
    if kind == "decode":
        message = q.given.get("message")
        return {"message": {**message, "body": _other_type(message["body"])}} if message else None
    return {"payload": _other_type(q.given["payload"])} if "payload" in q.given else None


def _other_type(value: Any) -> Any:
    content = content_of(value)
    if isinstance(content, str):
        return value_of(content.encode("utf-8", "surrogateescape"))
    return value_of(content.decode("utf-8", "surrogateescape"))


def _refuse(q: CodecRequest) -> Values | None:
    return None if "reject" in q.given else {"reject": True}


def _accept(kind: str, q: CodecRequest) -> Values | None:
    if "reject" not in q.given:
        return None
    if kind in ("decode", "meet"):
        other = q.again(reading="lenient")
        return None if "reject" in other else other
    return {"payload": "?"}


def _swap(first: str, second: str, q: CodecRequest) -> Values | None:
    message = q.given.get("message")
    if not message:
        return None
    return {"message": {**message, first: message[second], second: message[first]}}


def _operators(kind: str) -> Iterator[Operator]:
    for name in TEXTS[kind]:
        for how, (needs, _) in TRANSFORMS.items():
            if (needs == "escape" and name in NAMED) or (
                needs == "semicolon" and name in ("wait", "token", "sender")
            ):
                continue
            if kind in ("meet", "greet"):
                hook = partial(_in_handshake, kind, how)
            elif kind == "parse":
                hook = partial(_in_parsed, name, how)
            else:
                hook = partial(_in_message, kind, name, how)
            yield Operator(f"{name}-{how}", f"{kind} {name}", hook, name, needs)
    yield Operator("refuse", f"{kind} refuse", _refuse)
    if kind in ("decode", "encode", "meet"):
        yield Operator("accept", f"{kind} accept", partial(_accept, kind))
    if kind in ("decode", "encode", "reply"):
        yield Operator("retype", f"{kind} type", partial(_retype, kind))
    if kind in ("decode", "encode"):
        for name in ("is_error", "is_no_op"):
            word = name.removeprefix("is_").replace("_", "-")
            yield Operator(f"{word}-flipped", f"{kind} flags", partial(_flag, kind, name))
    if kind == "decode":
        for first, second in combinations(NAMED, 2):
            swap = partial(_swap, first, second)
            yield Operator(f"{first}-{second}-swapped", f"{kind} swap", swap)
    if kind in ("encode", "reply", "greet"):
        for how in ("cut", "beheaded", "doubled", "longer"):
            yield Operator(f"payload-{how}", f"{kind} payload", partial(_in_payload, how))


@cache
def operators(kind: str) -> dict[str, Operator]:
    """Give the operators of an operation, by their names."""
    return {each.name: each for each in _operators(kind)}


# -------------------------------------------------------------------- mutants


@dataclass(slots=True)
class CodecMutant:
    """A codec with one generated fault.

    Attributes:
        kind: of the operation.
        operator: what it makes of an answer.
        conditions: for which requests.
        count: how often it has changed an answer.
    """

    kind: str
    operator: Operator
    conditions: tuple[Condition, ...] = ()
    count: int = 0

    @property
    def name(self) -> str:
        """What identifies it."""
        return name_of("codec", self.operator, self.kind, self.conditions)

    @property
    def requirement(self) -> str:
        """What it breaks."""
        return REQUIREMENTS.get(self.operator.family) or REQUIREMENTS[self.kind]

    def fault(self) -> CodecFault:
        """Give the codec."""
        return CodecFault(self._hook)

    def _hook(self, q: CodecRequest) -> Values | None:
        if q.op != OPS[self.kind] or not all(each.test(q) for each in self.conditions):
            return None
        effect: Values | None = self.operator.act(q)
        if effect is None or effect == q.given:
            return None
        self.count += 1
        return effect


def codec_mutant_of(name: str) -> CodecMutant:
    """Make the mutant that has a name.

    Raises:
        ValueError: none has it.
    """
    operator, kind, found = parts_of(name, operators, conditions)
    return CodecMutant(kind, operator, found)


def _agree(operator: Operator, chosen: tuple[Condition, ...]) -> bool:
    fields = [each.field for each in chosen if each.field]
    if len(set(fields)) < len(fields) or len({each.dimension for each in chosen}) < len(chosen):
        return False
    names = {each.name for each in chosen}
    if "sender" in {*fields, operator.field} and "token" in {*fields, operator.field}:
        return False  # a wait field has one of them
    if operator.name == "accept" and fields:
        return False  # what is refused has no fields
    if operator.field in NAMED and "empty-reply" in names:
        return False  # it has none of them
    if "empty-reply" in names and (operator.field == "body" or names & {"binary"}):
        return False
    is_error = "error-reply" in names or "error-flag" in names
    if is_error and "body-empty" in names:
        return False  # an error has a text (FR-9)
    return not (
        operator.needs
        and any(
            each.field == operator.field and each.name != f"{operator.field}-{operator.needs}"
            for each in chosen
        )
    )


def count_of_codecs() -> int:
    """Say how many mutants of codecs have one condition at most; with two, there are millions."""
    return sum(
        1 + sum(_agree(operator, (each,)) for each in conditions(kind).values())
        for kind in OPS
        for operator in operators(kind).values()
    )


def drawn_codecs(seed: int) -> Iterator[CodecMutant]:
    """Draw mutants, without end and none twice."""
    random = Random(f"codec/{seed}")  # noqa: S311  # no secret
    seen: set[str] = set()
    while True:
        kind = random.choices(list(OPS), (6, 6, 3, 1, 1, 2))[0]
        operator = drawn_operator(random, operators(kind).values())
        chosen = drawn_trigger(random, conditions(kind).values(), drawn_count(random))
        found = CodecMutant(kind, operator, chosen)
        if found.name not in seen and _agree(operator, chosen):
            seen.add(found.name)
            yield found
