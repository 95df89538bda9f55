"""Triggers: when a fault acts. Each is a few conditions, each of one class of one dimension."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from functools import partial
from typing import Final

from mutation.generated.parts import Condition
from mutation.generated.situation import FRAMES, NAMED, REPLIES, Situation
from neffos_codec import ESCAPE

Test = Callable[[Situation], bool]

WITH_BODY: Final = ("ask", "event", "reply", "error")
"""The kinds of frames that may have a body."""

EVENTS: Final = ("ask", "event", "reply", "error")
"""The kinds of frames that name an event of the application."""

TOKENED: Final = ("ask", "system", *REPLIES)
"""The kinds of frames that have a token."""

FLAGGED: Final = ("ask", "event", "system")
"""The kinds of frames whose flags the suite may set."""

CASELESS: Final = "\u0130\u03c2\u00df"
"""Letters whose cases do not correspond one to one."""

CLASSES: Final[dict[str, tuple[str, Callable[[str], bool]]]] = {
    "semicolon": ("a;b", lambda text: ";" in text),
    "escape": (ESCAPE, lambda text: ESCAPE in text),
    "accent": ("caf\u00e9", lambda text: any("\x7f" < each < "\u0300" for each in set(text))),
    "combining": ("cafe\u0301", lambda text: any(map(unicodedata.combining, set(text)))),
    "wide": ("\u65e5\uff21", lambda text: any("\u2e80" <= each <= "\uffef" for each in set(text))),
    "astral": ("\U0001f600", lambda text: max(set(text), default="") > "\uffff"),
    "upper": ("UPPER", lambda text: any(map(str.isupper, set(text)))),
    "edge-space": (" edge ", lambda text: text != text.strip(" ")),
    "inner-space": ("in side", lambda text: " " in text.strip(" ")),
    "newline": ("two\r\nlines\n", lambda text: "\n" in text or "\r" in text),
    "control": (
        "\x00\x01",
        lambda text: any(each < " " and each not in "\r\n" for each in set(text)),
    ),
    "percent": ("%20+%", lambda text: "%" in text),
    "quote": ("\"q'\\", lambda text: '"' in text or "'" in text or "\\" in text),
    "number": ("0012", lambda text: text.isdecimal()),
    "markup": ("<b>&amp;", lambda text: "<" in text or "&" in text),
    "bom": ("\ufeffx", lambda text: "\ufeff" in text),
    "separator": ("\u2028", lambda text: "\u2028" in text or "\x85" in text),
    "sigma": (CASELESS, lambda text: any(each in text for each in CASELESS)),
    "dot": ("a.b/c", lambda text: "." in text or "/" in text),
    "dunder": ("__proto__", lambda text: text.startswith("__")),
}
"""The classes of characters in a field, each with a value of it. A test looks at each character of
a text once, however often the text repeats it."""

SIZES: Final = (1, 125, 126, 127, 128, 255, 256, 65_535, 65_536)
"""Bytes of a body at which implementations change what they do: the lengths of WebSocket frames,
and those of counters of 8 and 16 bits."""

NAME_SIZES: Final = (1, 127, 128, 255)
"""Likewise of a name, which a peer may limit to 255 bytes (SEC-2)."""


def _characters() -> list[Condition]:
    found = []
    for name in (*NAMED, "body"):
        kinds = {"body": WITH_BODY, "event": EVENTS}.get(name, FRAMES)
        for label, (sample, test) in CLASSES.items():
            if name == "namespace" and label not in ("semicolon", "upper", "edge-space"):
                continue  # the conformance application has few
            if name != "body" and label == "escape":
                continue  # no name contains it (FR-4)
            found.append(
                Condition(
                    f"{name}-{label}",
                    f"{name} characters",
                    lambda s, name=name, test=test: test(s.text(name)),
                    kinds,
                    sample,
                )
            )
    return found


def _has(name: str, size: int, *, is_over: bool = False) -> Test:
    return lambda s: s.size(name) > size if is_over else s.size(name) == size


def _sizes() -> list[Condition]:
    found = []
    for name, sizes in (("body", SIZES), ("room", NAME_SIZES), ("event", NAME_SIZES)):
        kinds = {"body": WITH_BODY, "event": EVENTS}.get(name, FRAMES)
        for size in sizes:
            found += [
                Condition(f"{name}-{size}", f"{name} size", _has(name, size), kinds, "", size)
            ]
        for size in sizes[1:-1] if name != "body" else sizes[1:]:
            longer = _has(name, size, is_over=True)
            label = f"{name}-over-{size}"
            found += [Condition(label, f"{name} size", longer, kinds, "", size + 1)]
    return found


def _token(situation: Situation) -> str:
    return situation.text("wait")


def _is_odd(situation: Situation) -> bool:
    core = _token(situation).removeprefix("$")
    return bool(core) and not core.isalnum()


def _has_flag(name: str, situation: Situation) -> bool:
    return bool(situation.message and getattr(situation.message, name))


ALL: Final[dict[str, Condition]] = {
    each.name: each
    for each in (
        Condition("text", "type", lambda s: not s.is_binary),
        Condition("binary", "type", lambda s: s.is_binary, WITH_BODY),
        Condition(
            "body-empty", "body size", lambda s: not s.size("body"), ("ask", "event"), size=-1
        ),
        *_sizes(),
        *_characters(),
        Condition("room", "room", lambda s: bool(s.text("room")), FRAMES),
        Condition("no-room", "room", lambda s: not s.text("room"), FRAMES),
        Condition("reserved", "event", lambda s: s.text("event")[:1] == "_", ("event",)),
        Condition("marked-token", "token", lambda s: _token(s)[1:2] == "!", ("ask", "system"), "!"),
        Condition("odd-token", "token", _is_odd, TOKENED, ".$1"),
        Condition("spaced-token", "token", lambda s: " " in _token(s), TOKENED, " "),
        Condition("accent-token", "token", lambda s: not _token(s).isascii(), TOKENED, "\u00e9"),
        Condition("long-token", "token", lambda s: len(_token(s)) > 40, TOKENED, "-" + "0" * 60),
        Condition("error-flag", "flags", partial(_has_flag, "is_error"), FLAGGED),
        Condition("no-op-flag", "flags", partial(_has_flag, "is_no_op"), FLAGGED),
        Condition("pending-1", "pending", lambda s: s.pending >= 1),
        Condition("pending-2", "pending", lambda s: s.pending >= 2),
        Condition("pending-100", "pending", lambda s: s.pending >= 100),
        Condition("member", "membership", lambda s: s.is_member),
        Condition("not-member", "membership", lambda s: not s.is_member),
        Condition("first-time", "history", lambda s: not s.past),
        Condition("after-leave", "history", lambda s: "leave" in s.past),
        Condition("after-disconnect", "history", lambda s: "disconnect" in s.past),
        Condition("after-refusal", "history", lambda s: "refusal" in s.past),
        Condition("one-room", "rooms", lambda s: s.rooms == 1),
        Condition("two-rooms", "rooms", lambda s: s.rooms == 2),
        Condition("many-rooms", "rooms", lambda s: s.rooms > 2),
        Condition("same-room", "rooms", lambda s: s.is_same_room),
        Condition("two-namespaces", "namespaces", lambda s: s.namespaces == 2),
        Condition("many-namespaces", "namespaces", lambda s: s.namespaces > 2),
        # A server has many cases at a time, and a client has a process for each.
        Condition("even-connection", "connection", lambda s: s.connection % 2 == 0),
        Condition("2nd-connection", "connection", lambda s: s.connection == 2, roles=("client",)),
        Condition("within-10", "before", lambda s: s.before < 10),
        Condition("after-20", "before", lambda s: s.before >= 20),
        Condition("after-100", "before", lambda s: s.before >= 100),
        Condition("2nd", "occurrence", bool, nth=2),
        Condition("3rd", "occurrence", bool, nth=3),
        Condition("20th", "occurrence", bool, nth=20),
        Condition("100th", "occurrence", bool, nth=100),
    )
}
"""All conditions, by their names."""


def possible(kind: str, role: str) -> list[Condition]:
    """Give the conditions that a message of a kind can meet, at a peer of a role."""
    those = [each for each in ALL.values() if role in each.roles]
    if kind in FRAMES:
        return [each for each in those if kind in each.kinds]
    names = ("text", "binary") if kind == "native" else ()
    everywhere = ("connection", "before", "occurrence")
    return [each for each in those if each.name in names or each.dimension in everywhere]


def agree(conditions: tuple[Condition, ...]) -> bool:
    """Whether one message can meet all of several conditions."""
    dimensions = [each.dimension for each in conditions]
    if len(set(dimensions)) < len(dimensions):
        return False
    names = {each.name for each in conditions}
    named = {each.partition("-")[0] for each in names}
    # A value has a length or characters of a class; and a name is of one room.
    for name in ("body", "room", "event"):
        if {f"{name} size", f"{name} characters"} <= set(dimensions):
            return False
    about_room = any(each in ("room size", "room characters") for each in dimensions)
    if "no-room" in names and (about_room or "same-room" in names or "after-leave" in names):
        return False
    return not ("reserved" in names and named & {"event"})
