"""The vectors as requests of the codec protocol.

This module knows neither adapters nor how requests reach one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from neffos_codec import parse_wait
from neffos_conformance.codecs import vectors
from neffos_conformance.codecs.values import content_of, message_values, value_of, wait_values

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class VectorRequest:
    """A request, and the expected answer.

    Attributes:
        request: the line, with its number.
        vector: the vector that it comes from.
        expected: the answer, without a number.
    """

    request: Values
    vector: vectors.Vector
    expected: Values


@cache
def vector_requests() -> tuple[VectorRequest, ...]:
    """Give every request, in the order of the vectors; their numbers begin with 1."""
    found: list[VectorRequest] = []
    for vector in vectors.askable_vectors():
        for request, expected in _requests(vector):
            found.append(VectorRequest({"id": len(found) + 1, **request}, vector, expected))
    return tuple(found)


def agrees(actual: Values, expected: Values) -> bool:
    """Say whether an answer is the expected one.

    Fields that it leaves out of a refusal, or of a parsed wait field, are not tested.
    """
    return actual == as_given(actual, expected)


def as_given(actual: Values, expected: Values) -> Values:
    """Give an expected answer in the form of an actual one: with what that leaves out left out."""
    if "reject" in expected and "reject" in actual:
        if actual["reject"] is True:
            return actual
        return {name: each for name, each in expected.items() if name in actual}
    if "message" in actual and "message" in expected and "token" in actual["message"]["wait"]:
        given = actual["message"]["wait"]
        whole = wait_values(parse_wait(str(content_of(expected["message"]["wait"]))))
        wait = {name: value for name, value in whole.items() if name in given}
        return {"message": {**expected["message"], "wait": wait}}
    return expected


def _requests(vector: vectors.Vector) -> Iterator[tuple[Values, Values]]:
    """Give what is asked of a vector, without the number, and the answer that it wants."""
    op, kind = vector["operation"], vector.get("kind", "text")
    request: Values = {"op": op}
    if op in ("decode", "decode-handshake"):
        request |= {"payload": _described(vector["payload"], kind)}
        request |= _given(vector, "native", "limits")
        for reading in ("lenient", "strict"):
            yield {**request, "reading": reading}, _outcome_values(vector[reading], kind)
        return
    if op == "parse-wait":
        parsed = {name: _described(vector["parsed"].get(name, "")) for name in ("token", "sender")}
        exchange = vector["parsed"].get("from_exchange", False)
        parsed |= {"kind": vector["parsed"]["kind"], "from_exchange": exchange}
        yield {**request, "wait": _described(vector["wait"])}, {"parsed": parsed}
        return
    if op == "encode-handshake":
        request |= {"handshake": _handshake_values(vector["handshake"])}
    elif "message" in vector:
        request |= {"message": message_values(vectors.fields(vector["message"], kind))}
    else:
        request |= {"native_payload": _described(vector["native_payload"], kind)}
    request |= _given(vector, "native")
    if "reply" in vector:
        request |= {"reply": _reply_values(vector["reply"], kind)}
    if "reject" in vector:
        yield request, _rejection(vector)
    else:
        payload = vector.get("answer", vector)
        yield request, {"payload": _described(payload["payload"], payload.get("kind", kind))}


def _outcome_values(outcome: Values, kind: str) -> Values:
    """Give the answer that says what the outcome of a vector says."""
    if "message" in outcome:
        return {"message": message_values(vectors.fields(outcome["message"], kind))}
    if "native" in outcome:
        return {"native": _described(outcome["native"], kind)}
    if "handshake" in outcome:
        return {"handshake": _handshake_values(outcome["handshake"])}
    return _rejection(outcome)


def _handshake_values(handshake: Values) -> Values:
    return {
        name: value if name == "request" else _described(value) for name, value in handshake.items()
    }


def _reply_values(reply: Values, kind: str) -> Values:
    if "body" in reply:
        return {"body": _described(reply["body"], reply.get("kind", kind))}
    return {"error": _described(reply["error"])} if "error" in reply else {"empty": True}


def _rejection(outcome: Values) -> Values:
    return {name: outcome[name] for name in ("reject", "offset", "field") if name in outcome}


def _described(data: Any, kind: str = "text") -> Any:
    return value_of(vectors.content(data, kind))


def _given(vector: vectors.Vector, *names: str) -> Values:
    return {name: vector[name] for name in names if name in vector}
