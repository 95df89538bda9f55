"""The commands ``decode`` and ``encode``: one frame, looked at or built."""

from __future__ import annotations

import json
import sys
from typing import Any, Final, NoReturn

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

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

_MODES: Final = click.Choice([mode.value for mode in Native])
_SHOWN: Final = 400
"""Characters of a body in the table; ``--json`` has it whole."""


@click.command("decode")
@click.argument("payload", required=False)
@click.option("--strict", is_flag=True, help="Read as the grammar says, not as the Go peer does.")
@click.option("--hex", "is_hex", is_flag=True, help="PAYLOAD is a binary message in hex.")
@click.option("--binary", is_flag=True, help="Standard input is a binary message.")
@click.option(
    "--native", type=_MODES, default="never", show_default=True, help="What is not a frame is …"
)
@click.option("--json", "as_json", is_flag=True, help="Print the fields as JSON.")
def decode_command(
    payload: str | None, strict: bool, is_hex: bool, binary: bool, native: str, as_json: bool
) -> None:
    """Show the seven fields of PAYLOAD, or of standard input, which is read as it is.

    Use printf rather than echo, whose newline would belong to the body, and put -- before a
    PAYLOAD that begins with a dash. Exit code 1 where it is no frame.
    """
    message_in = _payload(payload, is_hex, binary)
    reading = Decoding.STRICT if strict else Decoding.LENIENT
    try:
        message = decode(message_in, decoding=reading, native=Native(native))
    except CodecError as error:
        _refuse(error)
    kind = "binary" if message.is_binary else "text"
    if isinstance(message, NativeMessage):
        if as_json:
            click.echo(json.dumps({"kind": kind, "native": _json(message.payload)}))
        else:
            click.echo(f"a native {kind} message: {message.payload!r}")
        return
    if as_json:
        values = dict(zip(FIELDS, map(_json, message.fields()), strict=True))
        click.echo(json.dumps({"kind": kind, **values}, ensure_ascii=False))
    else:
        Console(soft_wrap=False).print(_table(message, kind))


@click.command("encode")
@click.option("--wait", default="", help="The token of an ask or its reply.")
@click.option("--namespace", default="", help="The namespace.")
@click.option("--room", default="", help="The room.")
@click.option("--event", default="", help="The event.")
@click.option("--error", "is_error", is_flag=True, help="The body is an error text.")
@click.option("--no-op", "is_no_op", is_flag=True, help="Set isNoOp.")
@click.option("--body", default="", help="The body, as text; - reads standard input.")
@click.option("--body-hex", help="The body, as octets in hex; makes a binary message.")
@click.option("--binary", is_flag=True, help="Make a binary message of a text body.")
@click.option("--hex", "as_hex", is_flag=True, help="Print the payload in hex.")
def encode_command(
    body: str, body_hex: str | None, binary: bool, as_hex: bool, **fields: Any
) -> None:
    """Print the payload with these fields, without a newline behind it.

    Exit code 1 where no frame can carry them.
    """
    try:
        content: str | bytes
        if body_hex is not None:
            if body:
                raise click.UsageError("give --body or --body-hex, not both")
            content = _octets(body_hex, "--body-hex")
        elif body == "-":
            octets = sys.stdin.buffer.read()
            content = octets if binary else octets.decode("utf-8", "surrogateescape")
        else:
            content = body.encode("utf-8", "surrogateescape") if binary else body
        payload = encode(Message(body=content, **fields))
    except CodecError as error:
        _refuse(error)
    octets = payload.encode() if isinstance(payload, str) else payload
    out = sys.stdout.buffer
    out.write(octets.hex().encode() + b"\n" if as_hex else octets)
    out.flush()


def _payload(argument: str | None, is_hex: bool, binary: bool) -> str | bytes:
    if argument is not None:
        if binary:
            raise click.UsageError("--binary goes with standard input; use --hex for an argument")
        return _octets(argument, "PAYLOAD") if is_hex else argument
    stdin = sys.stdin.buffer
    if stdin.isatty():
        raise click.UsageError("give a PAYLOAD, or send one to standard input")
    octets = stdin.read()
    if is_hex:
        return _octets(octets.decode("ascii", "replace"), "standard input")
    return octets if binary else octets.decode("utf-8", "surrogateescape")


def _octets(text: str, where: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        _refuse(f"{where} is not hex: {error}")


def _refuse(error: CodecError | str) -> NoReturn:
    click.echo(f"neffos-wire: {error}", err=True)
    sys.exit(1)


def _table(message: Message, kind: str) -> Table:
    table = Table(title=f"a {kind} frame", title_justify="left")
    table.add_column("field", style="bold", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("meaning", overflow="fold")
    meanings = {
        "wait": _wait_meaning(message.wait),
        "namespace": "" if message.namespace else "the empty namespace",
        "room": "" if message.room else "no room",
        "event": "an empty reply" if message.is_empty_reply else "",
        "is_error": "the body is an error text" if message.is_error else "",
        "is_no_op": "nothing is to be done" if message.is_no_op else "",
        "body": f"{len(message.body)} {'octets' if message.is_binary else 'characters'}",
    }
    for name, value in zip(FIELDS, message.fields(), strict=True):
        if isinstance(value, bool):
            shown = "1" if value else "0"
        else:
            shown = repr(value[:_SHOWN]) + ("…" if len(value) > _SHOWN else "")
        table.add_row(name, Text(shown), Text(meanings[name]))
    return table


def _wait_meaning(wait: str) -> str:
    meaning = parse_wait(wait)
    words = {
        WaitKind.NONE: "no reply is wanted",
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
