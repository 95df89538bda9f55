"""What a value of a dimension does to the script of a case.

Each rewrite takes the steps with ``handshake`` and ``app`` spelled out, and gives the steps of the
variation. A peer that passes the case passes the variation, unless it violates a requirement: so a
rewrite raises ``NotApplicableError`` where that is not certain. This module plays nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from neffos_conformance.cases.features import CONNECT_HEADER, ID_HEADER, MAIN
from neffos_conformance.cases.field_rewrites import (
    rewrite_body,
    rewrite_event,
    rewrite_room,
    rewrite_token,
    with_fields,
    worded,
)
from neffos_conformance.cases.frame_texts import (
    BODY,
    EVENT,
    IS_ERROR,
    NAMESPACE,
    ROOM,
    WAIT,
    literal,
    split,
    units,
)
from neffos_conformance.cases.script import (
    CUT,
    ENDPOINTS,
    MESSAGE_VERBS,
    Step,
    read_line,
    target,
)
from neffos_conformance.cases.varied_script import (
    DimensionValue,
    NotApplicableError,
    Script,
    Steps,
    endpoint,
    special_rooms,
)
from neffos_protocol.events import Change
from neffos_protocol.names import CHANGE_OF, REQUEST_EVENT

Rewrite = Callable[[Script, DimensionValue], Steps]


def rewritten(script: Script, value: DimensionValue) -> Script:
    """Give a script with a value.

    Raises:
        NotApplicableError: the case cannot have it.
    """
    if value.without and any(re.search(value.without, str(each)) for each in script.steps):
        raise NotApplicableError(f"a line of the case has what excludes it: {value.without}")
    steps = REWRITES[value.rewrite](script, value)
    if steps == script.steps:
        raise NotApplicableError("nothing in it would change")
    return replace(script, steps=steps)


# -------------------------------------------------------------------- lines that are inserted


def _insert(script: Script, value: DimensionValue) -> Steps:
    """Insert the lines of a value at its place, each time."""
    text = value.server if script.role == "server" else value.client
    if not text:
        raise NotApplicableError(f"it is not for a {script.role}")
    if value.place == "start":
        return _at_start(script, text)
    found: list[Step] = []
    seen: set[tuple[int, str, str]] = set()
    for number, step in enumerate(script.steps):
        found.append(step)
        for namespace, room in _places(script, number, value.place):
            key = (step.connection, namespace, room)
            if key not in seen and not (value.place == "join" and namespace != MAIN):
                seen.add(key)
                names = {"c": str(step.connection), "namespace": namespace, "room": room}
                found += _lines(text, script.role, names, len(seen))
    if not seen:
        raise NotApplicableError(f"it has no place {value.place}")
    return tuple(found)


def _lines(text: str, role: str, names: Mapping[str, str], time: int = 1) -> Iterator[Step]:
    for line in filter(None, text.split("\n")):
        for name, own in names.items():
            line = line.replace(f"{{{name}}}", own)
        yield read_line(0, line, role, is_setup=True)


def _places(script: Script, number: int, place: str) -> Iterator[tuple[str, str]]:
    """Give the namespace and the room if a step completes what a place stands for."""
    steps, step = script.steps, script.steps[number]
    if step.connection in _special(script):
        return
    before = steps[number - 1] if number else step
    if place == "join":
        yield from _joined(script, before, step)
    elif not step.is_setup:
        return
    elif place == "handshake":
        is_there = (
            step.verb == "<" and step.rest == f"A<<id{step.connection}>>"
            if script.role == "server"
            else step.verb == "did" and before.rest == f"A{step.rest}" and before.verb == "<"
        )
        if is_there:
            yield "", ""
    elif script.role == "server":
        if step.verb == "<" and step.rest == "$app;;;;;;":
            yield MAIN, ""
    elif step.verb == "did" and before.rest == f"<<app{step.connection}>>;;;;;;":
        yield MAIN, ""


def _joined(script: Script, ask: Step, reply: Step) -> Iterator[tuple[str, str]]:
    """Give the room that the suite joins by an ask and its reply."""
    fields = split(ask.rest)
    if (
        fields is not None
        and script.is_sent(ask)
        and ask.times == reply.times == 1
        and fields[EVENT] == REQUEST_EVENT[Change.JOIN]
        and reply.connection == ask.connection
        and reply.verb == ("<" if script.role == "server" else ">")
        and reply.rest == f"{fields[WAIT]};;;;;;"
        and fields[ROOM] not in special_rooms()
        and not any(part in fields[ROOM] for part in ("<<#>>", CUT))
    ):
        yield fields[NAMESPACE], fields[ROOM]


def _special(script: Script) -> frozenset[int]:
    """Give the connections at whose beginning more happens than a handshake and a connect."""
    return frozenset(
        step.connection
        for step in script.steps
        if step.verb == "dial"
        and (
            endpoint(step) in ENDPOINTS
            or CONNECT_HEADER.lower() in step.rest.lower()
            or (script.role == "client" and step.rest.startswith(("reconnect", "again")))
        )
    )


def _at_start(script: Script, text: str) -> Steps:
    """Open another connection at the beginning, and use it."""
    if not any(any(True for _ in _places(script, n, "app")) for n in range(len(script.steps))):
        raise NotApplicableError("it does not connect app")
    before, _, each_room = text.partition("---\n")
    rooms = dict.fromkeys(
        room
        for ask, reply in zip(script.steps, script.steps[1:], strict=False)
        for namespace, room in _joined(script, ask, reply)
        if namespace == MAIN
    )
    if each_room and not rooms:
        raise NotApplicableError("it joins no room")
    lines = list(_lines(before, script.role, {}))
    for room in rooms if each_room else ():
        lines += _lines(each_room, script.role, {"room": room})
    return (*lines, *script.steps)


# -------------------------------------------------------------------- how messages are sent


def _flags(script: Script, value: DimensionValue) -> Steps:
    """Spell false flags of the suite's frames otherwise (FR-7)."""
    script.check_texts()

    def changed(step: Step, fields: list[str]) -> list[str]:
        if script.is_sent(step) and not script.is_opening(step) and fields[4:6] == ["0", "0"]:
            fields[IS_ERROR : IS_ERROR + 2] = value.text.split(";")
        return fields

    return with_fields(script, changed)


def _binary(script: Script, _: DimensionValue) -> Steps:
    """Send binary messages, and expect such replies (AR-16); the empty reply is text (FR-13)."""
    script.check_texts()
    if any(step.verb in MESSAGE_VERBS and step.is_bytes for step in script.steps):
        raise NotApplicableError("it has binary messages already")
    if script.role == "client" and any(
        kind in ("emit", "ask", "native", "event", "error") for _, kind, _ in worded(script)
    ):
        raise NotApplicableError("its driver reports texts")
    if script.role == "client" and any(";relay;" in step.rest for step in script.steps):
        raise NotApplicableError("the client asks by itself")
    asks = any(";ask-me;" in step.rest for step in script.steps)
    if asks and any(
        script.is_sent(step) and not any(fields[NAMESPACE:]) for step, fields in script.frames()
    ):
        raise NotApplicableError("an answer is the empty reply")
    found = []
    for step in script.steps:
        fields = split(step.rest) if step.verb in MESSAGE_VERBS else None
        if fields is not None and not script.is_opening(step) and not _stays_text(script, fields):
            rest = literal(step.rest, is_bytes=True)
            step = replace(step, verb=f"{step.verb}b", rest=rest)
        found.append(step)
    return tuple(found)


def _stays_text(script: Script, fields: Sequence[str]) -> bool:
    """Whether a frame is the empty reply, or an ask of the peer or its reply."""
    if not any(fields[NAMESPACE:]):
        return True
    is_peers = fields[WAIT].startswith("<<") and fields[WAIT] != "<<#>>"
    return is_peers and (
        fields[EVENT] in CHANGE_OF or not any(fields[NAMESPACE:IS_ERROR]) or script.role == "client"
    )


def _delivery(script: Script, value: DimensionValue) -> Steps:
    """Cut the suite's messages into fragments, or send those in a row in one piece."""
    steps = script.steps
    found = []
    for number, step in enumerate(steps):
        is_plain = script.is_sent(step) and step.verb in ("<", ">", "<b", ">b")
        if is_plain and not script.is_opening(step) and CUT not in step.rest:
            if value.cut != "none":
                step = _cut(step, value.cut)
            elif number + 1 < len(steps) and _follows(script, step, steps[number + 1]):
                step = replace(step, verb=f"{step.verb[0]}+{step.verb[1:]}")
        found.append(step)
    return tuple(found)


def _follows(script: Script, step: Step, following: Step) -> bool:
    return (
        script.is_sent(following)
        and following.connection == step.connection
        and following.verb in ("<", ">", "<b", ">b")
        and step.times == 1
    )


def _cut(step: Step, cut: str) -> Step:
    parts = units(step.rest, is_bytes=step.is_bytes)
    head = next((n for n in range(len(parts)) if parts[: n + 1].count(";") == BODY), 0)
    if not head:
        return step
    at = {head // 2} if cut == "half" else set(range(1, head + 2))
    text = ""
    for number, part in enumerate(parts):
        is_clear = not text.endswith("<") and not part.startswith(">") and part != "<"
        text += f"{CUT}{part}" if number in at and text and is_clear else part
    return replace(step, verb=f"{step.verb[0]}/{step.verb[1:]}", rest=text)


# -------------------------------------------------------------------- how a server is reached


def _query(script: Script, value: DimensionValue) -> Steps:
    """Give the URL of each connection a query, which means nothing to the application."""
    found = []
    for step in _of_server(script).steps:
        path = target(step.rest)[0] if step.verb == "dial" else "?"
        if "?" not in path:
            rest = f"{path or '/'}{value.text} {step.rest[len(path) :].strip()}"
            step = replace(step, rest=rest.strip())
        found.append(step)
    return tuple(found)


def _identity(script: Script, value: DimensionValue) -> Steps:
    """Choose the ID of each connection (HS-3)."""
    chosen = [step.connection for step in _of_server(script).steps if _is_plain_dial(step)]
    if len(chosen) > len(set(chosen)):
        raise NotApplicableError("a connection is dialled again")
    ids = {f"<<id{n}>>": f"<<case>>{value.text.replace('{}', str(n))}" for n in chosen}
    own = re.compile("|".join(ids)) if ids else None
    found = []
    for step in script.steps:
        rest = own.sub(lambda name: ids[name[0]], step.rest) if own else step.rest
        if _is_plain_dial(step):
            rest = f"{rest} {ID_HEADER}: {ids[f'<<id{step.connection}>>']}".lstrip()
        found.append(step if rest == step.rest else replace(step, rest=rest))
    return tuple(found)


def _cookie(script: Script, value: DimensionValue) -> Steps:
    """Give the request of each connection cookies, which mean nothing to the application."""
    found = []
    for step in _of_server(script).steps:
        if step.verb == "dial" and "cookie" not in step.rest.lower():
            between = " | " if target(step.rest)[1] else " "
            step = replace(step, rest=f"{step.rest}{between}{value.text}".lstrip())
        found.append(step)
    return tuple(found)


def _of_server(script: Script) -> Script:
    if script.role != "server":
        raise NotApplicableError("the client makes the request")
    return script


def _is_plain_dial(step: Step) -> bool:
    """Whether a step dials without headers, and without an ID in the URL (TR-8)."""
    path, headers = target(step.rest)
    return step.verb == "dial" and not headers and ID_HEADER.lower() not in path.lower()


REWRITES: Final[Mapping[str, Rewrite]] = {
    "insert": _insert,
    "token": rewrite_token,
    "room": rewrite_room,
    "event": rewrite_event,
    "body": rewrite_body,
    "flags": _flags,
    "binary": _binary,
    "delivery": _delivery,
    "query": _query,
    "identity": _identity,
    "cookie": _cookie,
}
"""The rewrites by their names."""
