"""Operators: what a fault does to a message that a peer sends, or receives.

An operator is given the context of the peer, the connection of the message and its situation, and
gives the effect of a hook (see ``mutation.hooks``), or ``None`` where it changes nothing: then the
fault has not acted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final

from mutation import operators as do
from mutation.generated import transforms
from mutation.generated.parts import Operator
from mutation.generated.situation import FRAMES, REPLIES, History, Situation
from mutation.hooks import CONNECT, DISCONNECT, JOIN, LEAVE, Payload
from neffos_codec import Message, encode
from neffos_protocol.names import CHANGE_OF

ASKING: Final = ("system", "ask")


# -------------------------------------------------------------------- sent messages


def _hold(_: Any, history: History, s: Situation, *, past: int) -> Any:
    history.kept.append([past, s.payload])
    return ()


def _as_other_type(payload: Payload) -> Payload | None:
    if isinstance(payload, str):
        return payload.encode("utf-8", "surrogateescape")
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return None


def _redirect(context: Any, history: History, s: Situation, *, is_kept: bool) -> Any:
    others = [each for each in context_siblings(context) if each is not history]
    if not others:
        return None
    for each in others if is_kept else others[-1:]:
        each.kept.append([0, s.payload])
    return s.payload if is_kept else ()


def context_siblings(context: Any) -> list[History]:
    """Give what is known of all connections of a peer."""
    scratch = context.server if context.role == "server" else context
    histories: list[History] = scratch.values.setdefault("histories", [])
    return histories


def _empty_reply(_: Any, __: History, s: Situation) -> Any:
    return s.message.empty_reply() if s.message else None


def _error_reply(_: Any, __: History, s: Situation) -> Any:
    return s.message.error_reply("no") if s.message else None


def _with_copy(_: Any, __: History, s: Situation) -> Any:
    """Send the same as an event too."""
    if s.message is None or s.subject is None or not s.subject.event:
        return None
    event = s.subject.event if s.subject.event not in CHANGE_OF else "changed"
    named = (s.subject.namespace, s.subject.room, event)
    return [s.payload, Message("", *named, body=s.message.body)]


def _with_late_reply(_: Any, __: History, s: Situation) -> Any:
    """Reply once more, with an error."""
    if s.message is None or s.subject is None or not s.message.wait:
        return None
    return [s.payload, s.subject.replace(wait=s.message.wait).error_reply("again")]


def _with_junk(_: Any, __: History, s: Situation, *, junk: Payload) -> Any:
    return [s.payload, junk]


# -------------------------------------------------------------------- received messages


def _later(_: Any, history: History, s: Situation) -> Any:
    history.kept.append([1, s.payload])
    return ()


def _as_retyped(context: Any, _: History, s: Situation) -> Any:
    other = _as_other_type(s.payload)
    return None if other is None else context.serve(other)


def _changes(s: Situation) -> bool:
    """Whether a message changes a membership, or is refused as anyone's ask for it would be."""
    if s.message is None or s.subject is None or s.subject.event not in CHANGE_OF:
        return False
    is_flagged = s.message.is_error or s.message.is_no_op
    return s.kind == "empty" or (s.kind == "system" and not is_flagged)


def _aside(
    events: tuple[str, str], context: Any, _: History, s: Situation, *, is_first: bool = False
) -> Any:
    """Handle a message, and what nobody asked for about its namespace or its room."""
    if s.subject is None:
        return None
    namespace, room = s.subject.namespace, s.subject.room
    event = events[bool(room)]
    is_entry = event in ENTRIES
    is_there = context.is_in(namespace, room)
    if _changes(s) and (is_entry or not is_first):
        is_there = s.subject.event in ENTRIES  # after the message, which may do the same
    if is_there is is_entry or (event == JOIN and not context.is_in(namespace)):
        return None
    if is_first:
        return [*context.aside(event, namespace, room), *context.serve()]
    return [*context.serve(), *context.aside(event, namespace, room)]


def _aside_of_others(context: Any, _: History, s: Situation) -> Any:
    """Handle a message, and forget the other rooms of its namespace."""
    if s.subject is None:
        return None
    rooms = [room for room in context.rooms(s.subject.namespace) if room != s.subject.room]
    asks = [context.aside(LEAVE, s.subject.namespace, room) for room in rooms]
    return [*context.serve(), *(each for asked in asks for each in asked)] if rooms else None


# -------------------------------------------------------------------- fields of either


def _field(name: str, how: str, is_sent: bool, context: Any, _: History, s: Situation) -> Any:
    if s.message is None:
        return None
    try:
        other = transforms.changed(s.message, name, how)
        payload = None if other is None else encode(other)
    except ValueError:
        return None
    if payload is None or payload == s.payload:
        return None
    return payload if is_sent else context.serve(payload)


FLAGS: Final = ("is_error", "is_no_op")


def _fields() -> Iterator[Operator]:
    kinds = {
        "body": ("ask", "event", "reply", "error"),
        "event": ("ask", "event", "reply"),
        "wait": (*ASKING, *REPLIES),
        **dict.fromkeys(("namespace", "room"), ("system", "ask", "event", "reply", "error")),
    }
    for name in (*transforms.FIELDS, *FLAGS):
        field = "" if name in FLAGS else name
        word = {"wait": "token", "is_error": "error", "is_no_op": "no-op"}.get(name, name)
        for how in transforms.transforms_of(name) if field else ("flipped",):
            for is_sent in (True, False):
                verb = "write" if is_sent else "read"
                yield Operator(
                    f"{verb}-{word}-{how}",
                    f"{verb} {word if field else 'flags'}",
                    partial(_field, name, how, is_sent),
                    field,
                    transforms.needs(how),
                    kinds.get(name, FRAMES),
                    is_sent,
                )


ENTRIES: Final = (CONNECT, JOIN)
EXITS: Final = (DISCONNECT, LEAVE)

_received: Final = partial(Operator, is_sent=False)

ALL: Final[Mapping[str, Operator]] = {
    each.name: each
    for each in (
        Operator("drop", "drop", do.give(())),
        Operator("repeat", "repeat", lambda _, __, s: [s.payload, s.payload]),
        Operator("delay", "delay", partial(_hold, past=1)),
        Operator("delay-past-two", "delay", partial(_hold, past=2)),
        Operator("retype", "type", lambda _, __, s: _as_other_type(s.payload)),
        Operator("redirect", "other connection", partial(_redirect, is_kept=False)),
        Operator("spread", "other connection", partial(_redirect, is_kept=True)),
        Operator("send-empty", "answer", _empty_reply, kinds=("reply", "error")),
        Operator("send-error", "answer", _error_reply, kinds=("empty", "reply")),
        Operator("copy", "extra", _with_copy, kinds=FRAMES),
        Operator("contradict", "extra", _with_late_reply, kinds=REPLIES),
        Operator("add-text", "extra", partial(_with_junk, junk="junk")),
        Operator("add-empty", "extra", partial(_with_junk, junk="")),
        _received("ignore", "ignore", do.give(())),
        _received("handle-twice", "repeat", lambda c, _, __: [*c.serve(), *c.serve()]),
        _received("handle-late", "delay", _later),
        _received("read-retyped", "type", _as_retyped, kinds=("ask", "event", "reply", "native")),
        _received("answer-empty", "answer", _empty_reply, kinds=ASKING),
        _received("answer-error", "answer", _error_reply, kinds=ASKING),
        _received("book", "membership", partial(_aside, ENTRIES), kinds=FRAMES),
        _received("forget", "membership", partial(_aside, EXITS), kinds=FRAMES),
        _received(
            "forget-first", "membership", partial(_aside, EXITS, is_first=True), kinds=FRAMES
        ),
        _received(
            "book-first", "membership", partial(_aside, ENTRIES, is_first=True), kinds=FRAMES
        ),
        _received("forget-others", "membership", _aside_of_others, kinds=FRAMES),
        *_fields(),
    )
}
"""All operators, by their names."""
