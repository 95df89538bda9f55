"""Whether a mutant of a codec breaks a requirement: random requests, which its trigger leads.

Its answers are compared with those of the reference codec.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any, Final

from mutation.codecs import Values
from mutation.generated.codecs import OPS, TEXTS, CodecMutant
from mutation.generated.triggers import CLASSES
from neffos_codec import ESCAPE, CodecError, Message, encode
from neffos_conformance.codecs.values import message_values, value_of
from neffos_conformance.reference.codec_adapter import answer

REQUESTS: Final = 400
"""Random requests to a mutant, before it is undecided."""

PLAIN: Final[Mapping[str, tuple[str, ...]]] = {
    "wait": ("", "$1", "$12", "1", "17000", "$!5", "!7", "neffos(0x1400011c000)$1"),
    "namespace": ("", "chat", "default"),
    "room": ("", "room1", "lobby"),
    "event": ("say", "echo", "_OnRoomJoin", "_OnNamespaceConnect"),
    "body": ("", "hello", "x;y", "1"),
    "text": ("id7", "no", "a b"),
    "token": ("$1", "7"),
    "sender": ("neffos(0x1400011c000)",),
}
"""Values of each field that no class is about."""


def _value(random: Random, name: str, mutant: CodecMutant) -> str:
    """Draw a value of a field, as a trigger wants it."""
    operator = mutant.operator
    for each in mutant.conditions:
        if each.field == name:
            return each.sample
    if operator.field == name and operator.needs and random.random() < 0.8:
        needed = operator.needs
        if needed.startswith("over-"):
            return "x" * (int(needed[5:]) + 1 + random.randrange(3))
        return random.choice(("", "a", "Zy")) + CLASSES[needed][0] + random.choice(("", "b"))
    if random.random() < 0.2:
        return random.choice([sample for sample, _ in CLASSES.values()])
    return random.choice(PLAIN[name])


def random_request(random: Random, mutant: CodecMutant) -> Values | None:
    """Draw a request to a codec; ``None`` where there is none with the drawn values."""
    kind = mutant.kind
    names = {each.name for each in mutant.conditions}
    request: Values = {"op": OPS[kind]}
    if kind in ("meet", "greet"):
        text = _value(random, "text", mutant)
        how = random.choice(("accept", "refuse", "request", "odd"))
        if kind == "greet":
            part: Values = {how: text} if how in ("accept", "refuse") else {"request": {}}
            return {**request, "handshake": part}
        heads = {"accept": f"A{text}", "refuse": f"H{text}", "request": "M", "odd": f"M{text}"}
        request["payload"] = value_of(heads[how])
        return {**request, "reading": _reading(random, names)}
    if kind == "parse":
        about = {each.field for each in mutant.conditions} | {mutant.operator.field}
        if "sender" in about or ("token" not in about and random.random() < 0.3):
            size = next((len(each.sample) for each in mutant.conditions if each.field), 0)
            rest = _value(random, "sender", mutant)
            is_long = any("size" in each.dimension for each in mutant.conditions)
            head = PLAIN["sender"][0]
            return {**request, "wait": value_of((head + rest)[:size] if is_long else head + rest)}
        token = _value(random, "token", mutant)
        mark = random.choice(("", "", "!"))
        return {**request, "wait": value_of(f"{token[:1]}{mark}{token[1:]}")}
    is_binary = "binary" in names or ("text" not in names and random.random() < 0.4)
    is_error = "error-flag" in names or random.random() < 0.15
    is_no_op = "no-op-flag" in names or random.random() < 0.15
    drawn: dict[str, Any] = {name: _value(random, name, mutant) for name in TEXTS["encode"]}
    body: str | bytes = drawn.pop("body")
    if is_binary:
        body = body.encode("utf-8", "surrogateescape") if isinstance(body, str) else body
    if kind == "reply" and not drawn["wait"]:
        return None  # what has no token is no ask, and nothing says what its reply is (AR-1)
    message = Message(**drawn, is_error=is_error, is_no_op=is_no_op, body=body)
    if kind == "encode":
        values = message_values(message.fields())
        if mutant.operator.name == "accept":
            values |= random.choice(REFUSED)
        return {**request, "message": values}
    if kind == "reply":
        reply: Values = {"body": value_of(body)}
        text = body if isinstance(body, str) else body.decode("utf-8", "replace")
        how = next((each for each in names if each.endswith("-reply")), "").partition("-")[0]
        how = how or random.choice(("body", "error", "empty"))
        reply = {"body": reply, "error": {"error": text}, "empty": {"empty": True}}[how]
        return {**request, "message": message_values(message.fields()), "reply": reply}
    try:
        payload = encode(message)
    except CodecError:
        return None
    if mutant.operator.name == "accept":
        payload = _damaged(random, payload)
    return {**request, "payload": value_of(payload), "reading": _reading(random, names)}


REFUSED: Final[tuple[Values, ...]] = (
    {"wait": "a;b"},
    {"room": ESCAPE},
    {"event": f"a{ESCAPE}"},
    {"is_error": True, "body": ""},
)
"""Fields that a frame cannot have (FR-4, FR-5, FR-9)."""


def _damaged(random: Random, payload: str | bytes) -> str | bytes:
    """Make a payload that strict decoding may refuse."""
    old, new = random.choice(((";0;", ";;"), (";1;", ";true;"), (";0;0;", ";0;x;")))
    if isinstance(payload, bytes):
        return payload.replace(old.encode(), new.encode(), 1)
    return payload.replace(old, new, 1)


def _reading(random: Random, names: set[str]) -> str:
    wanted = names & {"strict", "lenient"}
    return wanted.pop() if wanted else random.choice(("strict", "lenient"))


def shown_by(mutant: CodecMutant, seed: int) -> tuple[Values, Values, Values] | None:
    """Find a request that a mutant answers otherwise than the reference codec; give both answers.

    ``None`` where none was found.
    """
    random = Random(f"{mutant.name}/{seed}")  # noqa: S311  # no secret
    codec = mutant.fault()
    for _ in range(REQUESTS):
        try:
            request = random_request(random, mutant)
        except (CodecError, ValueError):
            continue
        if request is None:
            continue
        correct = answer(request["op"], request)
        if "error" in correct:
            continue
        given = codec.answer(request)
        if given != correct:
            return request, correct, given
    return None
