"""Rewrites of what is in the fields of messages: tokens, names of rooms and events, and bodies.

What a case compares changes with what it sends: frames, and what a driver does and reports.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from neffos_codec import ESCAPE
from neffos_conformance.cases.features import MAIN, ROOM_IN_BODY, handled
from neffos_conformance.cases.frame_texts import (
    BODY,
    EVENT,
    NAMESPACE,
    ROOM,
    WAIT,
    escaped,
    literal,
    split,
)
from neffos_conformance.cases.matching import expand
from neffos_conformance.cases.profile import TEXTS
from neffos_conformance.cases.script import (
    CUT,
    MESSAGE_VERBS,
    OBSERVATIONS,
    OPERATIONS,
    Step,
)
from neffos_conformance.cases.varied_script import (
    DimensionValue,
    NotApplicableError,
    Script,
    Steps,
    special_rooms,
)
from neffos_conformance.cases.words import words_of


def rewrite_token(script: Script, value: DimensionValue) -> Steps:
    """Give the suite's asks other tokens.

    Raises:
        NotApplicableError: a line cannot be rewritten, or a token would be too long.
    """
    script.check_texts()
    new = {
        fields[WAIT]: found[1] + value.text.replace("{}", found[2])
        for step, fields in script.frames()
        if script.is_sent(step) and not script.is_opening(step)
        if (found := _TOKENS[script.role].fullmatch(fields[WAIT]))
    }
    if any(len(expand(each).encode()) > MAX_TOKEN for each in new.values()):
        raise NotApplicableError(f"a token would have more than {MAX_TOKEN} bytes")

    def changed(step: Step, fields: list[str]) -> list[str]:
        if fields[WAIT] in new:
            fields[WAIT] = literal(new[fields[WAIT]], is_bytes=step.is_bytes)
        return fields

    return with_fields(script, changed)


MAX_TOKEN: Final = 128
"""Bytes of the longest token that a peer must take: that of AR-1.3. A peer may have a limit."""

_TOKENS: Final = {
    "server": re.compile(r"(\$)([A-Za-z0-9]+(?:<<#>>)?|<<#>>)"),
    "client": re.compile(r"()([0-9]+(?:<<#>>)?|<<#>>)"),
}
"""The tokens that stand for any, by the role of the system under test."""


def rewrite_room(script: Script, value: DimensionValue) -> Steps:
    """Give rooms other names, except those that the application treats in a way of its own.

    Raises:
        NotApplicableError: a line cannot be rewritten, or the rooms cannot have such names.
    """
    script.check_texts()
    names = _distinct(
        fields[ROOM]
        for step, fields in script.frames()
        if fields[ROOM] not in special_rooms() and not step.is_bytes
    )
    if any(step.is_bytes and fields[ROOM] for step, fields in script.frames()):
        raise NotApplicableError("it has rooms in bytes")
    new = _renamed(names, value, script.mark_size)

    def changed(_: Step, fields: list[str]) -> list[str]:
        fields[ROOM] = escaped(new.get(fields[ROOM], fields[ROOM]).replace(ESCAPE, ";"))
        if fields[EVENT] in ROOM_IN_BODY:
            fields[BODY] = new.get(fields[BODY], fields[BODY]).replace(ESCAPE, ";")
        return fields

    if any(fields[EVENT] in ROOM_IN_BODY and CUT in fields[BODY] for _, fields in script.frames()):
        raise NotApplicableError("it has a room in fragments")
    return _with_words(script, with_fields(script, changed), "room", new)


def rewrite_body(script: Script, value: DimensionValue) -> Steps:
    """Give bodies that are only carried another text; equal ones stay equal.

    Raises:
        NotApplicableError: a line cannot be rewritten, or the bodies cannot be such texts.
    """
    script.check_texts()
    if any(";broadcast-to;" in step.rest for step in script.steps):
        raise NotApplicableError("a part of a body is carried")
    if (value.size or 0) > MAX_EARLY and any(_is_early(script)):
        raise NotApplicableError("a server need not hold back so long a message (SEC-3)")
    free, bound, events = _bodies(script)
    names = _distinct(each for each in free if each not in bound and each not in TEXTS)
    if value.size == 0 and not events <= {"echo"}:
        raise NotApplicableError("an empty body has a meaning of its own")
    if value.words or (value.size is not None and value.size < _FEW):
        if any(step.verb in ("unseen", "failed") for step in script.steps):
            raise NotApplicableError("bodies would be alike")
        if any("<<case>>" in each for each in names):
            raise NotApplicableError("the mark of a broadcast must stay")
    if value.is_whole:
        new = _of_whole_messages(script, names, value)
    else:
        new = _renamed(names, value, script.mark_size)

    def changed(_: Step, fields: list[str]) -> list[str]:
        if _has_free_body(script, fields):
            fields[BODY] = new.get(fields[BODY], fields[BODY])
        return fields

    return _with_words(script, with_fields(script, changed), "text", new)


MAX_EARLY: Final = 4096
"""Bytes of the longest body that is sent to a server before the handshake: with what else a case
sends, less than the 8 KiB that a server holds back at least (SEC-3)."""


def _is_early(script: Script) -> Iterator[bool]:
    """Give, for each frame that goes to a server, whether it comes before the acceptance."""
    accepted: set[int] = set()
    for step in script.steps:
        if step.rest.startswith("A") and not step.is_from_client:
            accepted.add(step.connection)
        elif script.role == "server" and script.is_sent(step) and split(step.rest) is not None:
            yield step.connection not in accepted


def _of_whole_messages(
    script: Script, names: Sequence[str], value: DimensionValue
) -> dict[str, str]:
    """Give bodies with which the suite's messages have so many bytes; the first has, of several."""
    new: dict[str, str] = {}
    for step, fields in script.frames():
        name, head = fields[BODY], ";".join((*fields[:BODY], ""))
        if name not in names or name in new or not script.is_sent(step) or _CHOSEN.search(head):
            continue
        text = expand(head.replace("<<case>>", "x" * script.mark_size))
        left = (value.size or 0) - len(text.encode())
        if "<<#>>" not in head and left > 0:
            new |= _renamed([name], replace(value, size=left), script.mark_size)
    if not new:
        raise NotApplicableError("it has nothing of the kind")
    return new


_FEW: Final = 2
"""Bytes that can tell bodies apart: with fewer, different ones may become alike."""


def _bodies(script: Script) -> tuple[list[str], set[str], set[str]]:
    """Give the bodies that are only carried, those that are more, and the events of the former."""
    free: list[str] = []
    bound: set[str] = set()
    events: set[str] = set()
    for step, fields in script.frames():
        if not fields[BODY] or script.is_opening(step) or not script.is_sent(step):
            continue
        if not _has_free_body(script, fields):
            if fields[NAMESPACE] not in (MAIN, "any"):
                bound.add(fields[BODY])
        elif step.is_bytes:
            raise NotApplicableError("it has bodies in bytes")
        else:
            events.add(fields[EVENT])
            free.append(fields[BODY])
    for _, kind, words in worded(script):
        if kind in ("emit", "ask", "native") and words.get("text", "").startswith("hex:"):
            raise NotApplicableError("it has bodies in bytes")
        if kind in ("emit", "ask") and words["namespace"] == MAIN and words.get("text"):
            events.add(words["event"])
            free.append(words["text"])
        elif kind in ("emit", "ask"):
            bound.add(words.get("text", ""))
    return free, bound, events


_CARRIED: Final = frozenset(
    {"echo", "fail", "silent", "broadcast-others", "broadcast-all", "broadcast-room"}
    | {"ask-me", "question", "answer", "answer-error", "news", "relay"}
)
"""The events of ``app`` whose bodies both sides only carry."""


def _has_free_body(script: Script, fields: Sequence[str]) -> bool:
    if fields[NAMESPACE] != MAIN:
        return False
    return fields[EVENT] in _CARRIED or (script.role == "client" and "_On" not in fields[EVENT])


def rewrite_event(script: Script, value: DimensionValue) -> Steps:
    """Give events without a handler of their own other names; ``any`` replies with the name.

    Raises:
        NotApplicableError: a line cannot be rewritten, or the events cannot have such names.
    """
    script.check_texts()
    if any(";push;" in step.rest for step in script.steps):
        raise NotApplicableError("an event is the body of another")
    names = _distinct(
        fields[EVENT]
        for step, fields in script.frames()
        if _has_free_event(script, fields) and not step.is_bytes
    )
    new = _renamed(names, value, script.mark_size)

    def changed(step: Step, fields: list[str]) -> list[str]:
        if not _has_free_event(script, fields):
            return fields
        if step.is_bytes:
            raise NotApplicableError("it has events in bytes")
        old = fields[EVENT]
        fields[EVENT] = escaped(new[old].replace(ESCAPE, ";"))
        if (
            script.role == "server"
            and not script.is_sent(step)
            and fields[BODY] == old.replace(ESCAPE, ";")
        ):
            fields[BODY] = new[old].replace(ESCAPE, ";")
        return fields

    return _with_words(script, with_fields(script, changed), "event", new)


def _has_free_event(script: Script, fields: Sequence[str]) -> bool:
    event = fields[EVENT]
    if not event or event.startswith("_On"):
        return False
    if script.role == "client":
        return event not in _HANDLED
    is_free = fields[NAMESPACE] == MAIN and event not in handled() | _SENT
    return is_free or fields[NAMESPACE] == "any"


_HANDLED: Final = frozenset({"echo", "question", "fail", "relay"})
"""The events that a client handles in a way of their own."""

_SENT: Final = frozenset({"news", "question", "answer", "answer-error"})
"""The events that the server sends."""


def _distinct(names: Iterator[str]) -> list[str]:
    """Give names once each, in their order; those that a peer chooses, or that vary, are left."""
    return [each for each in dict.fromkeys(names) if each and not _CHOSEN.search(each)]


_CHOSEN: Final = re.compile(r"<<(?!case>>|#>>|\*|\\)")
"""A placeholder whose value a peer chooses."""


def _renamed(names: Sequence[str], value: DimensionValue, mark_size: int) -> dict[str, str]:
    """Give the new name of each name."""
    if not names:
        raise NotApplicableError("it has nothing of the kind")
    if value.words:
        if len(names) > len(value.words):
            raise NotApplicableError("there are too many names for one word each")
        if any(_repeats(name, other) for name in names for other in names):
            raise NotApplicableError("a name is that of a repetition")
        return dict(zip(names, value.words, strict=False))
    if value.size is None:
        return {name: value.text.replace("{}", name) for name in names}
    if any("<<#>>" in name for name in names):
        raise NotApplicableError("a name has another length at each repetition")
    if value.size <= 1:
        if len(names) > len(_LETTERS):
            raise NotApplicableError("there are too many names for one letter each")
        return {name: _LETTERS[n : n + value.size] for n, name in enumerate(names)}
    found = {}
    for name in names:
        text = expand(name.replace("<<case>>", "x" * mark_size)).replace(ESCAPE, ";")
        left = value.size - len(text.encode())
        if left < 0:
            raise NotApplicableError(f"a name has more than {value.size} bytes")
        found[name] = f"{name}<<*{left} x>>" if left else name
    return found


def _repeats(name: str, other: str) -> bool:
    """Whether a name with the number of the repetition becomes the other in one of them."""
    parts = name.split("<<#>>")
    return len(parts) > 1 and bool(re.fullmatch("[0-9]+".join(map(re.escape, parts)), other))


_LETTERS: Final = "abcdefghijklmnopqrstuvw"


def with_fields(script: Script, changed: Callable[[Step, list[str]], list[str]]) -> Steps:
    """Give the steps with the fields of their frames changed."""
    found = []
    for step in script.steps:
        fields = split(step.rest) if step.verb in MESSAGE_VERBS else None
        if fields is not None:
            rest = ";".join(changed(step, fields))
            step = step if rest == step.rest else replace(step, rest=rest)
        found.append(step)
    return tuple(found)


def worded(script: Script) -> Iterator[tuple[Step, str, dict[str, str]]]:
    """Give the steps with operations and observations: what it is, and its arguments."""
    for step in script.steps:
        names = {"do": OPERATIONS, "saw": OBSERVATIONS, "unseen": OBSERVATIONS}.get(step.verb)
        if names is not None:
            kind, *words = words_of(step.rest, has_escapes=False)  # those of placeholders stay
            yield step, kind, dict(zip(names[kind], words, strict=False))


def _with_words(script: Script, steps: Steps, name: str, new: Mapping[str, str]) -> Steps:
    """Give the steps with an argument of operations and observations changed, and of results."""
    if script.role != "client":
        return steps
    own = {id(step): (kind, words) for step, kind, words in worded(script)}
    found = []
    for old, step in zip(script.steps, steps, strict=True):
        if id(old) in own:
            kind, words = own[id(old)]
            key = words.get(name, "")
            is_name = name in ("room", "event")
            key = key.replace(";", ESCAPE) if is_name else key
            if key in new:
                words[name] = new[key].replace(ESCAPE, ";") if is_name else new[key]
                step = replace(step, rest=shlex.join([kind, *words.values()]))
        elif step.verb == "did" and name == "text" and step.rest in new:
            step = replace(step, rest=new[step.rest] or '""')
        found.append(step)
    return tuple(found)
