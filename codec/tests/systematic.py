"""Writes codec/vectors/systematic.json: classes of characters and lengths, crossed over all fields.

Run it as a program after a change. What a vector expects is put together here from the
requirements: fields joined by semicolons, names with the escape (FR-1, FR-3). No codec is asked.

The number of a vector follows from the tables. Once a release contains the file, a table does not
change: new values get a table, and groups of vectors, of their own.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, Final

FILE: Final = Path(__file__).parents[1] / "vectors" / "systematic.json"

ABOUT: Final = (
    "Classes of characters and lengths, crossed over all fields of a frame: each value alone, and "
    "each pair of values of two fields."
)

ESCAPE: Final = "@%!semicolon@%!"

FIELDS: Final = ("wait", "namespace", "room", "event")

SIMPLE: Final = (
    "a.b/c",
    "caf\u00e9",
    "cafe\u0301",
    "\u65e5\uff21",
    "\U0001f600",
    "UPPER",
    " edge ",
    "in side",
    "\n",
    "two\r\nlines\n",
    "\x00",
    "\x01\x1b\x7f",
    "\tx\t",
    "%20",
    "+",
    "%",
    "100%25",
    '"q"',
    "'",
    "back\\slash\\n",
    "0012",
    "-0",
    "1e3",
    "0x10",
    "<b>",
    "&amp;",
    "\ufeffx",
    "x\ufeff",
    "\u2028",
    "\x85",
    "\xa0x\u3000",
    "\u0130I\u0131",
    "\u03c3\u03c2",
    "\u00df",
    "__proto__",
    "constructor",
    "null",
    "true",
    "\u202edcba",
    "a\u200db\u00ad",
    "\ufffd\uffff",
    "\u1100\u1161\uac00",
    ";",
    "a;b;",
    ESCAPE,
    "@%!",
    "[1,2]",
)
"""Values of one class each: a vector that fails with one of them says what the codec cannot do."""

MIXED: Final = (
    "Z.\u00e9e\u0301\u65e5\uff21\U0001f600 \r\n\x00%20+%\"'\\<&\ufeff\u2028\x85\u0130\u03c2\u00df/"
)
"""Every class of characters, without semicolons."""

Value = tuple[str, int]
"""A text, and how many ``x`` stand in it before its last character."""

HUGE: Final = 65_700
"""Bytes of a value that has more than 65,535 characters, too."""


def sized(size: int, text: str) -> Value:
    """Give a value of so many bytes."""
    return text, size - len(text.encode())


def _names(more: str) -> tuple[Value, ...]:
    mixed = MIXED[:-1] + more + MIXED[-1]
    spaced, reserved = f" {mixed} ", f"__proto__{mixed} "
    return (
        ("0012", 0),
        ("$" if more == ESCAPE else more, 0),
        ("", 0),
        (f"{mixed} ", 0),
        (spaced, 0),
        (reserved, 0),
        sized(127, spaced),
        sized(128, reserved),
        sized(129, spaced),
        sized(255, reserved),
        sized(256, spaced),
        sized(400, reserved),
        sized(HUGE, spaced),
    )


WAITS: Final = _names(ESCAPE)
NAMES: Final = _names(";")
"""Digits, one byte, nothing, and all classes at once, without and with the usual lengths."""

_TEXT: Final = MIXED + ESCAPE + ";"

BODIES: Final = (
    ("0012", 0),
    (" ", 0),
    ("", 0),
    sized(125, f" {_TEXT} "),
    sized(126, f"__{_TEXT} "),
    sized(127, f"\ufeff {_TEXT} "),
    sized(128, f"__{_TEXT} "),
    sized(255, f"\n{_TEXT} "),
    sized(256, f"__{_TEXT} "),
    sized(400, f"\t{_TEXT} "),
    sized(65_535, f"__{_TEXT} "),
    sized(65_536, f" {_TEXT} "),
    sized(HUGE, f"__{_TEXT} "),
)

STRENGTH: Final = len(BODIES)
"""A prime: rows of two numbers below it, of which each field takes another sum, have each pair of
values of each two fields once (an orthogonal array)."""

Parts = list[Any]


def parts(value: Value) -> Parts:
    """Give the parts of a described value."""
    text, times = value
    return [text[:-1], {"repeat": "x", "times": times}, text[-1:]] if times else [text]


def described(*values: Value) -> Any:
    """Describe values one after the other: as a string, or as parts."""
    found: Parts = []
    for part in (part for value in values for part in parts(value)):
        if isinstance(part, str) and found and isinstance(found[-1], str):
            found[-1] += part
        elif part:
            found.append(part)
    if all(isinstance(part, str) for part in found):
        return "".join(found)
    return {"concat": found}


def escaped(value: Value) -> Value:
    return value[0].replace(";", ESCAPE), value[1]


def frame(row: dict[str, Any], body: Value) -> Any:
    """Describe the frame of a row: FR-1, FR-3, FR-6."""
    semicolon = (";", 0)
    wait, namespace, room, event = (row[name] for name in FIELDS)
    flags = "".join(f"{int(row[name])};" for name in ("is_error", "is_no_op"))
    names = [each for name in (namespace, room, event) for each in (escaped(name), semicolon)]
    return described(wait, semicolon, *names, (flags, 0), body)


def message(row: dict[str, Any]) -> dict[str, Any]:
    """Describe the message of a row; what is empty or false is left out."""
    texts = {name: described(row[name]) for name in FIELDS if row[name][0]}
    flags = {name: True for name in ("is_error", "is_no_op") if row[name]}
    return texts | flags | ({"body": described(row["body"])} if row["body"][0] else {})


def shown(value: Value) -> str:
    """Name a value in a sentence."""
    text, times = value
    if times or MIXED[:-1] in text:
        return f"all classes ({len(text.encode()) + times} bytes)"
    return json.dumps(text) if text else "empty"


def rows() -> Iterator[dict[str, Any]]:
    """Give the fields of each row: first those of one simple value in each field."""
    count = len(SIMPLE)
    for number in range(count):
        values = [(SIMPLE[(number + 9 * place) % count], 0) for place in range(5)]
        row = dict(zip((*FIELDS, "body"), values, strict=True))
        if ";" in row["wait"][0]:
            row["wait"] = ("$1", 0)  # FR-5
        row |= {name: ("chat", 0) for name in FIELDS[1:] if ESCAPE in row[name][0]}  # FR-4
        yield row | {
            "is_error": number % 5 == 4,
            "is_no_op": number % 3 == 2,
            "kind": ("text", "binary")[number % 2],
            "reply": ("body", "error", "empty")[number % 3],
        }
    for first, second in product(range(STRENGTH), repeat=2):

        def place(factor: int, first: int = first, second: int = second) -> int:
            return (first + factor * second) % STRENGTH

        row = {"wait": WAITS[place(0)], "body": BODIES[place(4)]}
        row |= {name: NAMES[place(factor)] for factor, name in enumerate(FIELDS[1:], 1)}
        yield row | {
            "is_error": place(5) % 3 == 0 and row["body"] != ("", 0),  # FR-9
            "is_no_op": place(6) % 2 == 0,
            "kind": ("text", "binary")[place(7) % 2],
            "reply": ("body", "error", "body", "error", "empty")[place(8) % 5],
        }


def about(what: str, row: dict[str, Any]) -> str:
    """Say in a sentence what a row has."""
    return f"{what}: " + ", ".join(f"{name} {shown(row[name])}" for name in (*FIELDS, "body")) + "."


def requirements(row: dict[str, Any], *others: str) -> list[str]:
    """Give the requirements that the frame of a row rests on."""
    texts = [row[name][0] for name in FIELDS]
    # A wait field and a body may contain the literal, which stays there.
    is_escaped = any(";" in text or ESCAPE in text for text in (*texts, row["body"][0]))
    is_encoded = not "".join(texts).isascii() or (
        row["kind"] == "text" and not row["body"][0].isascii()
    )
    found = {"FR-1", "FR-10", *others}
    found |= {id_ for id_, rests in (("FR-3", is_escaped), ("FR-12", is_encoded)) if rests}
    return sorted(found, key=lambda id_: (id_.split("-")[0], int(id_.split("-")[1])))


def decodings(row: dict[str, Any]) -> dict[str, Any]:
    outcome = {"message": message(row)}
    return {
        "requirements": requirements(row, "FR-7", "FR-11"),
        "about": about(f"{row['kind'].title()} frame", row),
        "operation": "decode",
        "kind": row["kind"],
        "payload": frame(row, row["body"]),
        "lenient": outcome,
        "strict": outcome,
    }


def encodings(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "requirements": requirements(row, "FR-6", "FR-11"),
        "about": about(f"{row['kind'].title()} frame", row),
        "operation": "encode",
        "kind": row["kind"],
        "message": message(row),
        "payload": frame(row, row["body"]),
    }


def refusals() -> Iterator[dict[str, Any]]:
    """Give messages that cannot be a frame (FR-4, FR-5), with all flags."""
    flags = product((False, True), repeat=2)
    for number, ((is_error, is_no_op), field) in enumerate(product(flags, FIELDS)):
        row: dict[str, Any] = dict.fromkeys(FIELDS, ("chat", 0))
        row |= {"is_error": is_error, "is_no_op": is_no_op, "body": ("x", 0)}
        row |= {field: ("a;b" if field == "wait" else f"a{ESCAPE}", 0)}
        # Each field and each pair of flags has both types.
        kind = "text" if (number + number // len(FIELDS)) % 2 else "binary"
        yield {
            "requirements": ["FR-5"] if field == "wait" else ["FR-4"],
            "about": about(f"Refused {kind} frame", row),
            "operation": "encode",
            "kind": kind,
            "message": message(row),
            "reject": "wait-separator" if field == "wait" else "escape-literal",
            "offset": 1,
            "field": field,
        }


REPLIES: Final = {"body": "Reply", "error": "Error reply", "empty": "Empty reply"}


def replies(row: dict[str, Any]) -> dict[str, Any]:
    how, kind = row["reply"], row["kind"]
    if not row["wait"][0]:
        row = row | {"wait": ("$1", 0)}  # what is no ask has no reply
    if how == "error" and not row["body"][0]:
        how = "body"  # FR-9
    ask = row | {"is_error": False, "body": ("", 0)}
    if how == "empty":
        ids, kind = ["AR-1", "AR-8", "FR-13"], "text"
        reply: dict[str, Any] = {"empty": True}
        payload = described(row["wait"], (";" * 6, 0))
    else:
        ids = requirements(row, "AR-1", "AR-7", "AR-16", "FR-6", "FR-11")
        reply = {how: described(row["body"])}
        payload = frame(row | {"is_error": how == "error"}, row["body"])
    return {
        "requirements": ids,
        "about": about(f"{REPLIES[how]} to a {row['kind']} ask", row),
        "operation": "reply",
        "kind": row["kind"],
        "message": message(ask),
        "reply": reply,
        "answer": {"kind": kind, "payload": payload},
    }


def handshakes() -> Iterator[dict[str, Any]]:
    """Give handshake messages with each value (HS-3, HS-4, HS-19)."""
    values = [*((text, 0) for text in SIMPLE), *BODIES]
    for number, value in enumerate(values):
        for what, name, ids in (
            ("Acceptance", "accept", ["HS-3", "HS-19"]),
            ("Refusal", "refuse", ["HS-4"]),
        ):
            letter = "A" if name == "accept" else "H"
            if not value[0] or (number < len(SIMPLE) and number % 2 == (letter == "A")):
                continue  # the other letter has it
            outcome = {"handshake": {name: described(value)}}
            payload = described((letter, 0), value)
            for operation, more in (
                ("decode-handshake", {"kind": "text", "payload": payload}),
                ("encode-handshake", {**outcome, "payload": payload}),
            ):
                found = {
                    "requirements": ids,
                    "about": f"{what}: {shown(value)}.",
                    "operation": operation,
                    **more,
                }
                if operation == "decode-handshake":
                    found |= {"lenient": outcome, "strict": outcome}
                yield found


def waits() -> Iterator[dict[str, Any]]:
    """Give wait fields with each value: as token, with the marker, and as sender."""
    values = [*((text, 0) for text in SIMPLE if ";" not in text), *WAITS]
    for text, times in values:
        if not text:
            continue
        rest = described((text, times))
        token = {"kind": "server-ask", "token": rest}
        if text == "$":
            token["kind"] = "client-ask"
        asked = described(("$", 0), (text, times))
        marked = described(("$!", 0), (text, times))
        sender = described(("neffos(0x1", 0), (text, times))
        client = {"kind": "client-ask", "token": asked}
        sent = {"kind": "explicit-sender", "sender": sender}
        for ids, what, wait, parsed in (
            (["AR-1", "AR-2" if text == "$" else "AR-3"], "Token", rest, token),
            (
                ["AR-1", "AR-2", "SX-2"],
                "Token with exchange marker",
                marked,
                {**client, "from_exchange": True},
            ),
            (["SX-1"], "Explicit sender", sender, sent),
        ):
            yield {
                "requirements": ids,
                "about": f"{what}: {shown((text, times))}.",
                "operation": "parse-wait",
                "wait": wait,
                "parsed": parsed,
            }
    for size, text in product((127, 128, 129, 255, 256), ("$a/", "neffos(0x1 ")):
        wait = described(sized(size, text))
        is_ask = text[0] == "$"
        yield {
            "requirements": ["AR-1", "AR-2"] if is_ask else ["SX-1"],
            "about": f"{'Token' if is_ask else 'Explicit sender'} of {size} bytes.",
            "operation": "parse-wait",
            "wait": wait,
            "parsed": {"kind": "client-ask", "token": wait}
            if is_ask
            else {"kind": "explicit-sender", "sender": wait},
        }


def vectors() -> list[dict[str, Any]]:
    """Give all vectors with their ids."""
    table = list(rows())
    groups = {
        "decode": map(decodings, table),
        "encode": map(encodings, table),
        "refused": refusals(),
        "reply": map(replies, table),
        "handshake": handshakes(),
        "wait": waits(),
    }
    return [
        {"id": f"systematic-{group}-{number:03}", **each}
        for group, found in groups.items()
        for number, each in enumerate(found, 1)
    ]


def written() -> str:
    """Write the file: a vector a line, with every character that nobody sees escaped."""
    lines = ",\n".join(json.dumps(each, ensure_ascii=False) for each in vectors())
    text = f'{{"format": 1, "about": {json.dumps(ABOUT)}, "vectors": [\n{lines}\n]}}\n'
    return "".join(
        each
        if each == "\n" or (each.isprintable() and not unicodedata.combining(each))
        else json.dumps(each)[1:-1]
        for each in text
    )


if __name__ == "__main__":
    FILE.write_text(written(), "utf-8")
