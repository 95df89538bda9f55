"""A codec adapter in Python, to start your own from; ``python3 codec.py`` runs it.

Above the line is a codec for neffos frames; replace it with yours. Below it is the codec protocol
of spec/docs/codec-contract.md. It needs only Python.
"""

import base64
import json
import platform
import sys

ESCAPE = "@%!semicolon@%!"
FIELDS = ("wait", "namespace", "room", "event", "is_error", "is_no_op", "body")
NAMES = FIELDS[1:4]
"""The fields in which a semicolon is escaped."""


class Refused(Exception):  # noqa: N818
    """A payload that is not a frame, or a message that a frame cannot carry."""

    def __init__(self, reason, offset, field=None):
        super().__init__(reason)
        self.reason, self.offset, self.field = reason, offset, field


def decode(payload, strict=False):
    """Read a text payload (str) or a binary one (bytes) into a dict of the seven fields."""
    if not payload:
        raise Refused("empty", 0)
    separator = b";" if isinstance(payload, bytes) else ";"
    parts = payload.split(separator, 6)
    if len(parts) < 7:
        raise Refused("separators", len(payload), FIELDS[len(parts) - 1])
    if strict:
        # In a binary frame the body may be any bytes.
        text = payload[: len(payload) - len(parts[6])] if separator == b";" else payload
        if (bad := first_not_utf8(text)) is not None:
            raise Refused("utf8", bad, FIELDS[min(text.count(separator, 0, bad), 6)])
        check_flags(parts)
    head = [p.decode("utf-8", "surrogateescape") if separator == b";" else p for p in parts[:6]]
    message = dict(zip(FIELDS, [*head, parts[6]], strict=True))
    message |= {name: message[name].replace(ESCAPE, ";") for name in NAMES}
    message |= {name: message[name] == "1" for name in ("is_error", "is_no_op")}
    return message


def encode(message):
    """Write a message: str to be sent as text, bytes to be sent as binary."""
    for name in (*FIELDS[:4], "body"):
        if isinstance(message[name], str) and (bad := first_not_utf8(message[name])) is not None:
            raise Refused("utf8", bad, name)
    if ";" in message["wait"]:
        raise Refused("wait-separator", message["wait"].index(";"), "wait")
    names = [message[name].replace(";", ESCAPE) for name in NAMES]
    for name, escaped in zip(NAMES, names, strict=True):
        back, sent = escaped.replace(ESCAPE, ";"), message[name]
        if back != sent:
            same = [a == b for a, b in zip(back, sent, strict=False)]
            raise Refused("escape-literal", [*same, False].index(False), name)
    flags = [str(int(message[name])) for name in ("is_error", "is_no_op")]
    body = message["body"]
    if message["wait"] and flags == ["0", "0"] and not (any(names) or body):
        flags = ["", ""]  # the empty reply
    head = ";".join([message["wait"], *names, *flags, ""])
    return head + body if isinstance(body, str) else head.encode() + body


def check_flags(parts):
    """Refuse flags other than 0 and 1, but for the empty reply."""
    wait, *names, is_error, is_no_op, body = parts
    if wait and not (any(names) or is_error or is_no_op or body):
        return
    for index in (4, 5):
        if parts[index] not in ("0", "1", b"0", b"1"):
            offset = sum(len(part) + 1 for part in parts[:index])
            raise Refused("flag", offset, FIELDS[index])


def first_not_utf8(content):
    """Return the index where text stops being UTF-8, or None."""
    try:
        content.decode() if isinstance(content, bytes) else content.encode()
    except UnicodeError as error:
        return error.start
    return None


# ------------------------------------------------------------------------------------------


class Unsupported(Exception):  # noqa: N818
    """A request that this adapter does not know, or its codec does not support."""


def content_of(value):
    """Return the text (str) or the bytes that a value of a line stands for."""
    if isinstance(value, str):
        return value
    if "hex" in value:
        return bytes.fromhex(value["hex"]).decode("utf-8", "surrogateescape")
    return base64.b64decode(value["base64"], validate=True)


def value_of(content):
    """Return the value that stands for text or bytes in a line."""
    if isinstance(content, bytes):
        return {"base64": base64.b64encode(content).decode()}
    if isinstance(content, str) and first_not_utf8(content) is not None:
        return {"hex": content.encode("utf-8", "surrogateescape").hex()}
    return content


def answer_decode(request):
    """Read a payload."""
    if request.get("native", "never") != "never" or "limits" in request:
        raise Unsupported
    readings = {"lenient": False, "strict": True}
    reading = request.get("reading", "lenient")
    if reading not in readings:
        raise Unsupported
    message = decode(content_of(request["payload"]), readings[reading])
    return {"message": {name: value_of(value) for name, value in message.items()}}


def answer_encode(request):
    """Write a message."""
    if request.get("native", "never") != "never" or "native_payload" in request:
        raise Unsupported
    given = request["message"]
    message = {
        name: given[name] if name.startswith("is_") else content_of(given[name]) for name in FIELDS
    }
    return {"payload": value_of(encode(message))}


OPERATIONS = {
    "decode": (answer_decode, {"id", "op", "payload", "reading", "native", "limits"}),
    "encode": (answer_encode, {"id", "op", "message", "native_payload", "native"}),
}


def answer_to(line):
    """Return the answer to any line."""
    number = None
    try:
        request = json.loads(line)
        number = request["id"]
        if type(number) is not int or not isinstance(request["op"], str):
            raise TypeError("id is a whole number, and op a text")
        operate, known = OPERATIONS.get(request["op"], (None, set()))
        if operate is None or not request.keys() <= known:
            raise Unsupported
        return {"id": number, **operate(request)}
    except Unsupported:
        return {"id": number, "unsupported": True}
    except Refused as refused:
        field = {"field": refused.field} if refused.field else {}
        return {"id": number, "reject": refused.reason, "offset": refused.offset, **field}
    except Exception as error:  # whatever it is, it is reported, and the next line is answered
        return {"id": number if type(number) is int else None, "error": repr(error)}


def write(line):
    """Write a line, at once."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def main():
    """Report that it is ready, then answer each line until there are no more."""
    runtime = f"Python {platform.python_version()}"
    ready = {"ready": True, "codec": 1, "peer": "template", "version": "1", "runtime": runtime}
    write(ready)
    for line in sys.stdin.buffer:
        write(answer_to(line))


if __name__ == "__main__":
    main()
