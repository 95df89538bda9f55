"""The command ``codec-adapter``: the reference codec, as a codec under test.

It answers requests as ``spec/docs/codec-contract.md`` says. It knows
neither the vectors nor what any of them expects.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from neffos_codec import (
    FIELDS,
    CodecError,
    Decoding,
    FrameLimits,
    Handshake,
    HandshakeAccept,
    HandshakeRefuse,
    HandshakeRequest,
    Message,
    Native,
    NativeMessage,
    decode,
    decode_handshake,
    encode,
    encode_handshake,
    parse_wait,
)
from neffos_conformance.codecs.values import (
    Values,
    content_of,
    message_values,
    value_of,
    wait_values,
)
from neffos_conformance.reference import identity
from neffos_conformance.wire.terminal import echo
from neffos_protocol.text import ascii_json

CODEC_VERSION: Final = 1
"""The version of the codec protocol."""

Option = TypeVar("Option", Decoding, Native)


class UnknownRequestError(Exception):
    """A request with an operation, a field or a value that this adapter does not know."""


@click.command("codec-adapter")
def codec_adapter_command() -> None:
    """Adapt the reference codec to the codec protocol.

    The adapter reads requests from standard input, as JSON Lines. See the page "The codec
    protocol" of the specification.
    """
    echo(ascii_json({"ready": True, "codec": CODEC_VERSION, **identity()}))
    for line in sys.stdin.buffer:
        echo(ascii_json(answer_to(line)))


def answer_to(line: bytes) -> Values:
    """Give the answer to a line."""
    number = None
    try:
        request = json.loads(line)
        given = request["id"]
        if type(given) is not int:
            raise TypeError("id is a whole number")
        number = given
        name = request["op"]
        if not isinstance(name, str):
            raise TypeError("op is a text")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        return {"id": number, "error": f"not a request: {error!r}"}
    return {"id": number, **answer(name, request)}


def answer(name: str, request: Values) -> Values:
    """Give the answer to the request of that name, without its number."""
    try:
        if name not in OPERATIONS:
            raise UnknownRequestError
        operate, known = OPERATIONS[name]
        if not request.keys() <= known | {"id", "op"}:
            raise UnknownRequestError
        return operate(request)
    except UnknownRequestError:
        return {"unsupported": True}
    except CodecError as error:
        place = {"offset": error.offset} | ({"field": error.field} if error.field else {})
        return {"reject": error.reason.value, **place}
    except KeyError as error:
        return {"error": f"the request has no {error}"}
    except Exception as error:  # a bug, or a malformed request: neither is a refusal
        return {"error": str(error) or repr(error)}


# -------------------------------------------------------------------- requests


def _text_of(value: Any) -> str:
    content = content_of(value)
    if isinstance(content, bytes):
        raise ValueError("text cannot be base64")
    return content


def _message_of(values: Any) -> Message:
    if not isinstance(values, dict) or values.keys() != set(FIELDS):
        raise ValueError(f"a message has the fields {', '.join(FIELDS)}")
    wait, namespace, room, event = [_text_of(values[name]) for name in FIELDS[:4]]
    is_error, is_no_op = values["is_error"], values["is_no_op"]
    body = content_of(values["body"])
    return Message(wait, namespace, room, event, is_error, is_no_op, body)


def _handshake_of(values: Any) -> Handshake:
    match values:
        case {"request": {}, **rest} if not rest:
            return HandshakeRequest()
        case {"accept": text, **rest} if not rest:
            return HandshakeAccept(_text_of(text))
        case {"refuse": text, **rest} if not rest:
            return HandshakeRefuse(_text_of(text))
    raise ValueError("a handshake message is request, accept or refuse")


def _reading(request: Values) -> Decoding:
    return _one_of(Decoding, request.get("reading", Decoding.LENIENT))


def _native(request: Values) -> Native:
    return _one_of(Native, request.get("native", Native.NEVER))


def _one_of(kind: Callable[[Any], Option], value: Any) -> Option:
    try:
        return kind(value)
    except ValueError:
        raise UnknownRequestError from None


def _limits(request: Values) -> FrameLimits | None:
    if "limits" not in request:
        return None
    limits = request["limits"]
    if not isinstance(limits, dict):
        raise TypeError("limits is an object")
    if not limits.keys() <= {"payload", "field"}:
        raise UnknownRequestError
    return FrameLimits(**limits)


# -------------------------------------------------------------------- operations


def _decode(request: Values) -> Values:
    message = decode(
        content_of(request["payload"]),
        decoding=_reading(request),
        native=_native(request),
        limits=_limits(request),
    )
    if isinstance(message, NativeMessage):
        return {"native": value_of(message.payload)}
    return {"message": message_values(message.fields())}


def _encode(request: Values) -> Values:
    message: Message | NativeMessage
    if "native_payload" in request:
        message = NativeMessage(content_of(request["native_payload"]))
    else:
        message = _message_of(request["message"])
    return {"payload": value_of(encode(message, native=_native(request)))}


def _decode_handshake(request: Values) -> Values:
    handshake = decode_handshake(content_of(request["payload"]), decoding=_reading(request))
    match handshake:
        case HandshakeAccept(id=text):
            return {"handshake": {"accept": value_of(text)}}
        case HandshakeRefuse(text=text):
            return {"handshake": {"refuse": value_of(text)}}
    return {"handshake": {"request": {}}}


def _encode_handshake(request: Values) -> Values:
    return {"payload": value_of(encode_handshake(_handshake_of(request["handshake"])))}


def _reply(request: Values) -> Values:
    asked = _message_of(request["message"])
    match request["reply"]:
        case {"body": body, **rest} if not rest:
            reply = asked.reply(content_of(body))
        case {"error": text, **rest} if not rest:
            reply = asked.error_reply(_text_of(text))
        case {"empty": True, **rest} if not rest:
            reply = asked.empty_reply()
        case _:
            raise ValueError("a reply is body, error or empty")
    return {"payload": value_of(encode(reply))}


def _parse_wait(request: Values) -> Values:
    return {"parsed": wait_values(parse_wait(_text_of(request["wait"])))}


OPERATIONS: Final[dict[str, tuple[Callable[[Values], Values], frozenset[str]]]] = {
    "decode": (_decode, frozenset({"payload", "reading", "native", "limits"})),
    "encode": (_encode, frozenset({"message", "native_payload", "native"})),
    "decode-handshake": (_decode_handshake, frozenset({"payload", "reading"})),
    "encode-handshake": (_encode_handshake, frozenset({"handshake"})),
    "reply": (_reply, frozenset({"message", "reply"})),
    "parse-wait": (_parse_wait, frozenset({"wait"})),
}
"""Each operation by its name, with the fields that it knows."""
