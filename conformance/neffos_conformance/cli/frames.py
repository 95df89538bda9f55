"""The commands ``decode`` and ``encode``: one frame, inspected or built."""

from __future__ import annotations

import sys
from typing import Any, Final, NoReturn

import click

from neffos_codec import (
    FIELDS,
    CodecError,
    Decoding,
    Message,
    Native,
    NativeMessage,
    WaitKind,
    decode,
    encode,
    first_surrogate,
    parse_wait,
)
from neffos_conformance.cli.options import JSON, NATIVE, option
from neffos_conformance.wire.terminal import echo

_SHOWN: Final = 400
"""Characters of a body in the table; ``--json`` prints all."""

_VALUES: Final = 20
"""The width of the column of values, in characters: that of most names. A longer one moves its
meaning."""


@click.command("decode")
@click.argument("payload", required=False)
@option("--strict", "Strict decoding instead of lenient.")
@option("--hex is_hex", "PAYLOAD as hex digits of a binary message.")
@option("--binary", "Standard input as a binary message.")
@NATIVE
@JSON
def decode_command(
    payload: str | None, strict: bool, is_hex: bool, binary: bool, native: str, as_json: bool
) -> None:
    """Show the seven fields of a frame.

    The frame is PAYLOAD, or standard input if you give none. Use printf instead of echo, whose
    newline would become part of the body. Put -- before a PAYLOAD that begins with a dash. A
    payload that is not a frame counts as failed.
    """
    message_in = _payload(payload, is_hex, binary)
    reading = Decoding.STRICT if strict else Decoding.LENIENT
    try:
        message = decode(message_in, decoding=reading, native=Native(native))
    except CodecError as error:
        _refuse(error)
    kind = "binary" if message.is_binary else "text"
    refusal = _refusal(message_in)
    if isinstance(message, NativeMessage):
        if as_json:
            _echo_json({"kind": kind, "native": _json(message.payload)})
        else:
            echo(f"a native {kind} message: {message.payload!r}")
        return
    if as_json:
        values = dict(zip(FIELDS, map(_json, message.fields()), strict=True))
        _echo_json({"kind": kind, **values, "strict": refusal and str(refusal)})
    else:
        echo(_table(message, kind))
        if refusal is not None:
            echo(f"strict decoding refuses it: {refusal}")


@click.command("encode")
@option("--wait", "Token of an ask or its reply.", "TEXT", default="")
@option("--namespace", "Namespace.", "TEXT", default="")
@option("--room", "Room.", "TEXT", default="")
@option("--event", "Event.", "TEXT", default="")
@option("--error is_error", "Error reply: the body is the error text.")
@option("--no-op is_no_op", "Flag isNoOp.")
@option("--body", "Body as text; - for standard input.", "TEXT", default="")
@option("--body-hex", "Body of a binary message, as hex digits.", "HEX")
@option("--binary", "Binary message, also with a text body.")
@option("--hex as_hex", "Output as hex digits.")
def encode_command(
    body: str, body_hex: str | None, binary: bool, as_hex: bool, **fields: Any
) -> None:
    """Print the payload of a frame with these fields.

    No newline follows the payload. Fields that a frame cannot carry count as failed.
    """
    try:
        content: str | bytes
        if body_hex is not None:
            if body:
                raise click.UsageError("--body and --body-hex: give one, not both")
            content = _bytes(body_hex, "--body-hex")
        elif body == "-":
            data = sys.stdin.buffer.read()
            content = data if binary else data.decode("utf-8", "surrogateescape")
        else:
            content = body.encode("utf-8", "surrogateescape") if binary else body
        payload = encode(Message(body=content, **fields))
    except CodecError as error:
        _refuse(error)
    data = payload.encode() if isinstance(payload, str) else payload
    out = sys.stdout.buffer
    out.write(data.hex().encode() + b"\n" if as_hex else data)
    out.flush()


def _payload(argument: str | None, is_hex: bool, binary: bool) -> str | bytes:
    if argument is not None:
        if binary:
            raise click.UsageError("--binary goes with standard input; use --hex for an argument")
        return _bytes(argument, "PAYLOAD") if is_hex else argument
    stdin = sys.stdin.buffer
    if stdin.isatty():
        raise click.UsageError("give a PAYLOAD, or send one to standard input")
    data = stdin.read()
    if is_hex:
        return _bytes(data.decode("ascii", "replace"), "standard input")
    return data if binary else data.decode("utf-8", "surrogateescape")


def _bytes(text: str, where: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        _refuse(f"{where} is not hex: {error}")


def _refusal(payload: str | bytes) -> CodecError | None:
    """Say why strict decoding refuses a frame, such as for a flag that is neither 0 nor 1."""
    try:
        decode(payload, decoding=Decoding.STRICT)
    except CodecError as error:
        return error
    return None


def _refuse(error: CodecError | str) -> NoReturn:
    echo(f"neffos-wire: {error}", err=True)
    sys.exit(1)


def _table(message: Message, kind: str) -> str:
    """Give the fields in columns; rich would take as long as all else that the command does."""
    meanings = {
        "wait": _wait_meaning(message.wait),
        "namespace": "" if message.namespace else "the empty namespace",
        "room": "" if message.room else "no room",
        "event": "an empty reply" if message.is_empty_reply else "",
        "is_error": "an error reply: the body is the error text" if message.is_error else "",
        "is_no_op": "no operation" if message.is_no_op else "",
        "body": f"{len(message.body)} {'bytes' if message.is_binary else 'characters'}",
    }
    lines = [f"a {kind} frame"]
    for name, value in zip(FIELDS, message.fields(), strict=True):
        if isinstance(value, bool):
            shown = "1" if value else "0"
        else:
            shown = repr(value[:_SHOWN]) + ("…" if len(value) > _SHOWN else "")
        lines.append(f"  {name:9}  {shown:{_VALUES}}  {meanings[name]}".rstrip())
    return "\n".join(lines)


def _echo_json(values: dict[str, Any]) -> None:
    from neffos_protocol.text import ascii_json

    echo(ascii_json(values))


def _wait_meaning(wait: str) -> str:
    meaning = parse_wait(wait)
    words = {
        WaitKind.NONE: "no reply is expected",
        WaitKind.CLIENT_ASK: "an ask of a client, or its reply",
        WaitKind.SERVER_ASK: "an ask of a server, or its reply",
        WaitKind.CONFIRMATION: "a confirmation (reserved)",
        WaitKind.EXPLICIT_SENDER: "an explicit sender, between servers",
    }[meaning.kind]
    return f"{words}, over a stack exchange" if meaning.from_exchange else words


def _json(value: str | bytes | bool) -> Any:
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, str) and first_surrogate(value) >= 0:
        return {"hex": value.encode("utf-8", "surrogateescape").hex()}
    return value
