"""Profiles: a server's own names for the namespaces, rooms, events and texts that cases use.

A profile rewrites a script before it is played, field by field: what is sent, and what is
expected. This module knows scripts and frames; it plays none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from neffos_conformance.cases.definition import Case
from neffos_conformance.cases.features import (
    CONNECT_HEADER,
    MAIN,
    ROOM_IN_BODY,
    by_id,
    closed,
    features,
    plain,
)
from neffos_conformance.cases.frame_texts import BODY, EVENT, escaped, literal, name_in, put, split
from neffos_conformance.cases.script import (
    CUT,
    MESSAGE_VERBS,
    OPENING_VERBS,
    Step,
    expanded,
    target,
)
from neffos_conformance.wire.payloads import frame_of
from neffos_conformance.wire.schemas import FileFormError, read_toml, violation

FORMAT: Final = 1
"""The format of the file, which ``schema/profile.json`` describes."""

TEXTS: Final = (
    "done",
    "pushed",
    "namespace is closed",
    "namespace is sticky",
    "room is locked",
    "room is sticky",
)
"""The texts of the conformance application, which another server says in its own words."""

NEWS: Final = "news"
"""The event of every broadcast."""

Names = Mapping[str, str]


class ProfileError(ValueError):
    """A profile that cannot be used; the text says which file and key, why, and what to do."""


@dataclass(frozen=True, slots=True)
class Profile:
    """The server's own names, by the names that cases use. What it leaves out is named alike.

    Attributes:
        namespaces: the namespaces.
        rooms: the rooms of ``app``.
        events: the events of ``app``, and ``ec;ho`` of ``semi;colon``.
        texts: the texts of ``TEXTS``.
        ignore: the events that the server sends by itself.
        unconfirmed: the events whose handlers reply nothing where the application replies ``done``.
        features: what the server has, with what the names above say; ``None`` to detect it.
        source: the file or the option that it is from.
    """

    namespaces: Names = field(default_factory=dict)
    rooms: Names = field(default_factory=dict)
    events: Names = field(default_factory=dict)
    texts: Names = field(default_factory=dict)
    ignore: frozenset[str] = frozenset()
    unconfirmed: frozenset[str] = frozenset()
    features: frozenset[str] | None = None
    source: str = ""

    @property
    def changes_names(self) -> bool:
        """Whether any name or text differs from that of the cases."""
        tables = (self.namespaces, self.rooms, self.events, self.texts)
        return bool(self.unconfirmed) or any(
            key != own for each in tables for key, own in each.items()
        )

    def mapped(self) -> dict[str, str]:
        """Give the features that the profile names a part of, each with the key that does."""
        found: dict[str, str] = {}
        for kind in ("namespaces", "rooms", "events"):
            for key in getattr(self, kind):
                for each in features():
                    if key in getattr(each, kind):
                        found.setdefault(each.id, f"{kind}.{key}")
        return found

    def is_ignored(self, received: str | bytes) -> bool:
        """Whether a message is an event that the server sends by itself."""
        if not self.ignore:
            return False
        message = frame_of(received)
        return message is not None and not message.wait and message.event in self.ignore

    # ---- names

    def namespace(self, name: str) -> str:
        """Give the server's name of a namespace."""
        return _own(name, self.namespaces)

    def room(self, name: str) -> str:
        """Give the server's name of a room of ``app``."""
        return _own(name, self.rooms)

    def event(self, name: str) -> str:
        """Give the server's name of an event of ``app``."""
        return _own(name, self.events)

    @property
    def news_mark(self) -> bytes:
        """The bytes of the event and the flags that every broadcast of the application has."""
        return f";{escaped(self.event(NEWS))};0;0;".encode()

    def event_of(self, namespace: str, event: str) -> str:
        """Give the server's name of an event of any namespace."""
        if namespace not in (MAIN, "semi;colon") or not event:
            return event
        return self.event(event)

    # ---- scripts

    def case(self, case: Case) -> Case:
        """Give a case with the server's names."""
        if case.role == "client" or not self.changes_names:
            return case
        steps = self._of_same_sizes(case.steps) if case.is_sized else case.steps
        return replace(case, steps=tuple(self.steps(steps)))

    def why_not(self, case: Case) -> str:
        """Say why a case cannot have other names; empty if it can."""
        raw = [step.raw_bytes() for step in case.steps if step.verb == "raw"]
        if not self.changes_names or not raw:
            return ""
        changed = {**self.namespaces, **self.events}
        names = [f";{key};".encode() for key, own in changed.items() if key != own]
        if any(name in b"".join(raw) for name in names) or _replies_to_bytes(case):
            return "it spells the suite's own names in bytes, which the profile changes"
        return ""

    def steps(self, steps: tuple[Step, ...]) -> Iterator[Step]:
        """Give the steps of a script with the server's names."""
        for whole in steps:
            for step in expanded(whole, "server") if whole.verb == "app" else (whole,):
                yield from self._step(replace(step, is_setup=whole.is_setup, times=whole.times))

    def _of_same_sizes(self, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        """Give the steps with bodies that keep the sizes of the client's messages."""
        longer: dict[str, int] = {}
        for step in steps:
            if step.is_from_client and (body := _filled_body(step)):
                own = next(self._step(step))
                longer.setdefault(body, step.size - own.size)
        return tuple(_with_longer_body(step, longer.get(_filled_body(step), 0)) for step in steps)

    def _step(self, step: Step) -> Iterator[Step]:
        if step.verb in OPENING_VERBS or step.verb == "enter":
            _, headers = target(step.rest)
            if name := headers.get(CONNECT_HEADER):
                old, new = (f"{CONNECT_HEADER}: {each}" for each in (name, self.namespace(name)))
                step = replace(step, rest=step.rest.replace(old, new))
            yield step
            return
        if step.verb == "fewer":
            number, _, text = step.rest.partition(" ")
            yield replace(step, rest=f"{number} {self._text(text, step)}")
            return
        if step.verb not in MESSAGE_VERBS:
            yield step
            return
        if self.unconfirmed and (found := self._without_reply(step)) is not None:
            yield from found
            return
        yield replace(step, rest=self._text(step.rest, step))

    def _without_reply(self, step: Step) -> list[Step] | None:
        """Give the steps for an event whose handler replies nothing; ``None`` for any other."""
        fields = split(step.rest)
        if fields is None or fields[1] != MAIN or fields[3] not in self.unconfirmed:
            return None
        if step.is_from_client:
            fields[0] = ""
            return [replace(step, rest=self._text(";".join(fields), step))]
        # The reply says that the event was handled; so does the reply to a barrier.
        is_alone = step.verb in ("<", "<b") and fields[3] != "broadcast-all"
        return [replace(step, verb="expect-nothing", rest="")] if is_alone else []

    def _text(self, text: str, step: Step) -> str:
        """Give the text of a message with the server's names; it may have placeholders and cuts."""
        fields = split(text)
        if fields is None:
            return text
        is_bytes = step.is_bytes
        namespace = name_in(fields[1], is_bytes=is_bytes)
        event = name_in(fields[3], is_bytes=is_bytes)
        if namespace or event:
            fields[1] = put(fields[1], self.namespace(namespace), is_bytes=is_bytes)
        if namespace == MAIN and fields[2]:
            room = self.room(name_in(fields[2], is_bytes=is_bytes))
            fields[2] = put(fields[2], room, is_bytes=is_bytes)
        fields[3] = put(fields[3], self.event_of(namespace, event), is_bytes=is_bytes)
        fields[6] = self._body(fields[6], namespace, event, step)
        return ";".join(fields)

    def _body(self, body: str, namespace: str, event: str, step: Step) -> str:
        if namespace == MAIN and step.is_from_client:
            if event == "connect-me":
                return self.namespace(body)
            if event in ROOM_IN_BODY:
                return self.room(body)
        elif body in TEXTS and body in self.texts and not step.is_from_client:
            return literal(self.texts[body], is_bytes=step.is_bytes)
        return body


STANDARD: Final = Profile()
"""The profile of a server that has the names of the conformance application."""


def named(namespace: str) -> Profile:
    """Give the smallest profile: that of a server with this namespace.

    Raises:
        ProfileError: scripts cannot have such a name.
    """
    is_text = namespace.encode("utf-8", "ignore").decode() == namespace
    if not is_text or violation("profile", {"format": FORMAT, "namespaces": {MAIN: namespace}}):
        text = "scripts cannot have this name: it is no UTF-8, too long, or has <<, >> or <|> in it"
        raise ProfileError(f"--namespace {namespace!r}: {text}. Try: another namespace")
    return Profile(namespaces={MAIN: namespace}, source="--namespace")


def chosen(path: Path | None, namespace: str | None) -> Profile:
    """Give the profile of a file with another namespace; either may be missing.

    Raises:
        ProfileError: it cannot be used.
    """
    profile = STANDARD if path is None else read_profile(path)
    if namespace is None:
        return profile
    smallest = named(namespace)
    if path is None:
        return smallest
    return replace(profile, namespaces={**profile.namespaces, **smallest.namespaces})


def read_profile(path: Path) -> Profile:
    """Read a profile.

    Raises:
        ProfileError: the file cannot be read, has another form, or a key names nothing.
    """
    try:
        values = read_toml(path, "profile")
    except FileFormError as error:
        text = f"{error}. Try: neffos-wire test server URL --write-profile FILE, which writes one"
        raise ProfileError(text) from error
    for kind, known in known_names().items():
        for key in values.get(kind, {}):
            if key not in known:
                there = ", ".join(known)
                raise ProfileError(f"{path}, {kind}.{key}: no case uses it. Try: one of {there}")
        _check_distinct(path, kind, values.get(kind, {}))
    for id_ in (listed := values.get("features", ())):
        if id_ not in by_id():
            text = "there is no such feature. Try: neffos-wire list features"
            raise ProfileError(f"{path}, features: {id_}: {text}")
    profile = Profile(
        **{kind: values.get(kind, {}) for kind in known_names()},
        ignore=frozenset(values.get("ignore", ())),
        unconfirmed=frozenset(values.get("unconfirmed", ())),
        source=str(path),
    )
    if "features" not in values:
        return profile
    return replace(profile, features=closed((*listed, *profile.mapped())))


def _check_distinct(path: Path, kind: str, names: dict[str, Any]) -> None:
    """Check that no two keys have the same name.

    Events may: a chat broadcasts an event under the name that the client gave it.
    """
    seen: dict[str, str] = {}
    for key, own in names.items() if kind in ("namespaces", "rooms") else ():
        if own in seen:
            text = f"{own!r} is the name of {seen[own]}, too. Try: a name for each, or one of them"
            raise ProfileError(f"{path}, {kind}.{key}: {text}")
        seen[own] = key


@cache
def known_names() -> dict[str, tuple[str, ...]]:
    """Give the names that a profile can map, by the kind."""
    return {
        "namespaces": tuple(name for each in features() for name in each.namespaces),
        "rooms": tuple(name for each in features() for name in each.rooms),
        "events": tuple(
            dict.fromkeys(
                [*(name for each in features() for name in (*each.events, *each.sends)), "ec;ho"]
            )
        ),
        "texts": TEXTS,
    }


# -------------------------------------------------------------------- sizes

_FILLER: Final = re.compile(r"<<\*(\d+) x>>")
"""What a variation of a size has in a body."""


def _filled_body(step: Step) -> str:
    """Give the body of a step's frame if it has a filler and is no name; else nothing."""
    fields = split(step.rest) if step.verb in MESSAGE_VERBS else None
    if fields is None or name_in(fields[EVENT], is_bytes=step.is_bytes) in ROOM_IN_BODY:
        return ""
    body = fields[BODY].replace(CUT, "")
    return body if _FILLER.search(body) else ""


def _with_longer_body(step: Step, size: int) -> Step:
    """Give a step whose filler is longer by so many bytes, as far as it has as many."""
    fields = split(step.rest) if size else None
    if fields is None:
        return step
    new = _FILLER.sub(lambda found: f"<<*{max(int(found[1]) + size, 0)} x>>", fields[BODY])
    return replace(step, rest=";".join((*fields[:BODY], new)))


# -------------------------------------------------------------------- names


def _own(name: str, names: Names) -> str:
    """Give the server's name for one of the cases.

    Another spelling of a mapped name becomes that spelling of the server's. A name that nobody is
    to have becomes another one if the server has it.
    """
    if name in names:
        return names[name]
    core = name.strip()
    key = plain(name)
    if key in names and key != name:
        before, _, after = name.partition(core)
        return f"{before}{_spelled_like(core, key, names[key])}{after}"
    return f"{name} (unknown)" if name in names.values() else name


def _spelled_like(core: str, key: str, own: str) -> str:
    """Give a name in other letters, as one of the cases is: never the name itself."""
    if core == key:
        return own
    spelled = own.upper() if core.isupper() else own[:1].upper() + own[1:]
    spelled = own.swapcase() if spelled == own else spelled
    return f"{own}X" if spelled == own else spelled


def _replies_to_bytes(case: Case) -> bool:
    """Whether a case expects a reply to an ask that it does not send as a message."""
    messages = [(step, split(step.rest)) for step in case.steps if step.verb in MESSAGE_VERBS]
    sent = {fields[0] for step, fields in messages if fields and step.is_from_client}
    expected = {fields[0] for step, fields in messages if fields and not step.is_from_client}
    return any(token.startswith("$") for token in expected - sent)
