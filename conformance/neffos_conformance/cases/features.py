"""The features: parts of a server that cases use and a server may lack, as data.

This module owns their names and their extent. It does not know which server has them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum, unique
from functools import cache
from typing import Final
from urllib.parse import unquote

from neffos_codec import Message
from neffos_conformance.cases.definition import Case
from neffos_conformance.cases.script import ENDPOINTS, MESSAGE_VERBS, Step, expanded, named
from neffos_conformance.data import read_entries
from neffos_conformance.wire.payloads import frame_of
from neffos_protocol.events import Change
from neffos_protocol.names import CHANGE_OF, LOCAL_ONLY, NATIVE_EVENT


@unique
class AppLevel(StrEnum):
    """How much of the conformance application a case needs, the least first."""

    BARE = "bare"
    """None: every neffos server will do."""
    NAMESPACE = "namespace"
    """A namespace that a client may connect."""
    APPLICATION = "application"
    """A part of the conformance application."""


@dataclass(frozen=True, slots=True)
class Feature:
    """A part that a server may lack.

    Attributes:
        id: its name.
        about: a description of a few words.
        level: of the cases that need nothing else.
        group: a name for several features; empty if it belongs to none.
        needs: the features without which a server cannot have it.
        events: the events of the namespace ``app`` that need it.
        sends: the events that the server sends then.
        namespaces: the namespaces that need it.
        rooms: the rooms of ``app`` that need it.
        endpoints: the endpoints that need it, as paths below the first.
        headers: the headers of the upgrade request that need it.
        own: whether its probe passes on the conformance application alone.
        probe: a script that passes on a server with the feature.
    """

    id: str
    about: str
    level: AppLevel = AppLevel.APPLICATION
    group: str = ""
    needs: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    sends: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    rooms: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    own: bool = False
    probe: str = ""


@cache
def features() -> tuple[Feature, ...]:
    """Give all features, in the order of the data: what a feature needs is before it or beside."""
    entries = read_entries("features.toml", "feature")
    return tuple(
        Feature(**{**each, "level": AppLevel(each.get("level", AppLevel.APPLICATION))})
        for each in entries
    )


@cache
def by_id() -> dict[str, Feature]:
    """Give all features by their names."""
    return {each.id: each for each in features()}


def feature_ids(text: str) -> frozenset[str]:
    """Read a list of features and groups, separated by commas; what a feature needs is added.

    Raises:
        ValueError: a name is neither that of a feature nor of a group.
    """
    wanted = {name.strip() for name in text.split(",")} - {""}
    known = {each.id for each in features()} | {each.group for each in features()} - {""}
    if unknown := sorted(wanted - known):
        there = ", ".join(each.id for each in features())
        raise ValueError(f"there is no feature {', '.join(unknown)}; there are {there}")
    return closed(each.id for each in features() if wanted & {each.id, each.group})


def closed(ids: Iterable[str]) -> frozenset[str]:
    """Add to some features those that they need."""
    found: set[str] = set()
    left = list(ids)
    while left:
        id_ = left.pop()
        if id_ not in found:
            found.add(id_)
            left += by_id()[id_].needs
    return frozenset(found)


def features_listed(text: str) -> frozenset[str]:
    """Read a list of features, or ``all``, as the command line has it.

    Raises:
        ValueError: a name is not that of a feature.
    """
    if text.strip() == "all":
        return frozenset(by_id())
    return feature_ids(text)


# -------------------------------------------------------------------- what a case needs


@cache
def needed(case: Case) -> frozenset[str]:
    """Give the features that a case needs, by its headers, paths and frames.

    A case for a client needs none: the driver reports which operations the client lacks.
    """
    return frozenset() if case.role == "client" else _needed(case.steps)


def _needed(steps: Iterable[Step]) -> frozenset[str]:
    use = _Use()
    for step in steps:
        for each in expanded(step, "server"):
            use.read(each)
    return frozenset(use.others) | {
        each.id
        for each in features()
        if not use.events.isdisjoint(each.events)
        or not use.namespaces.isdisjoint(each.namespaces)
        or not use.rooms.isdisjoint(each.rooms)
        or not use.endpoints.isdisjoint(each.endpoints)
        or not use.headers.isdisjoint(each.headers)
    }


@dataclass(slots=True)
class _Use:
    """The names that steps use."""

    events: set[str] = field(default_factory=set)
    namespaces: set[str] = field(default_factory=set)
    rooms: set[str] = field(default_factory=set)
    endpoints: set[str] = field(default_factory=set)
    headers: set[str] = field(default_factory=set)
    others: set[str] = field(default_factory=set)
    paths: dict[int, str] = field(default_factory=dict)

    def read(self, step: Step) -> None:
        """Add the names of a step."""
        path, headers = named(step)
        endpoint = path.partition("?")[0]
        if step.verb in ("dial", "enter"):
            self.paths[step.connection] = endpoint
        self.endpoints.add(endpoint)
        self.headers |= headers.keys()
        if CONNECT_HEADER in headers:
            self.namespaces.add(headers[CONNECT_HEADER])
        # The status of a request for an upgrade shows what a server without them does as well.
        if URL_HEADER in unquote(path).lower() and step.verb != "upgrade":
            self.others.add("url-headers")
        if step.verb == "raw":
            for spelled in _spelled(step):
                self._read_frame(step, spelled)
        if step.verb not in MESSAGE_VERBS:
            return
        whole = step.whole
        if step.verb.endswith("b") and whole:
            self.others.add("binary")
        if message := frame_of(whole):
            self._read_frame(step, message)

    def _read_frame(self, step: Step, message: Message) -> None:
        event, namespace = message.event, message.namespace
        is_sent = not step.verb.startswith("<")
        change = CHANGE_OF.get(event)
        is_first = self.paths.get(step.connection, "") not in ENDPOINTS
        if namespace or event:
            self.namespaces |= {namespace, plain(namespace)}
        if not namespace and is_first and is_sent and change is Change.CONNECT:
            self.others.add("empty-unknown")
        is_room = bool(message.room) or change in (Change.JOIN, Change.LEAVE)
        if is_room and namespace in _declared():
            self.others.add("rooms")
        if namespace != MAIN:
            return
        self.events |= {event, plain(event)}
        self.rooms.add(message.room)
        body = str(message.body)
        if event == "connect-me":
            self.namespaces.add(body)
        if event in ROOM_IN_BODY:
            self.rooms.add(body)
        # What answers an ask too late is an event that nobody handles (AR-11).
        if is_sent and event not in handled():
            self.others.add("unhandled")


MAIN: Final = "app"
"""The namespace in which most happens."""

ROOM_IN_BODY: Final = ("join-me", "leave-me")
"""The events whose bodies are the names of rooms."""

ID_HEADER: Final = "X-Conformance-Id"
"""The header by which a client chooses its connection's ID."""

CONNECT_HEADER: Final = "X-Conformance-Connect"
"""The header by which a client names a namespace that the server connects."""

REFUSE_HEADER: Final = "X-Conformance-Refuse"
"""The header by which a client asks for a refusal, whose text is its value."""

URL_HEADER: Final = "x-websocket-header-"
"""The beginning of a query parameter that stands for a header (TR-8), in lower case."""


def plain(name: str) -> str:
    """Give the name that another one looks like: in lower case, and without space around it."""
    return name.strip().lower()


@cache
def handled() -> frozenset[str]:
    """Give the events that the application or the protocol handles; a reply may have none."""
    own = {"", NATIVE_EVENT, *CHANGE_OF, *LOCAL_ONLY}
    return frozenset(own.union(*(each.events for each in features())))


@cache
def _declared() -> frozenset[str]:
    """Give the namespaces of the application; no server has rooms in any other."""
    return frozenset({""}.union(*(each.namespaces for each in features())))


def _spelled(step: Step) -> Iterator[Message]:
    """Give the frame that raw bytes spell, if their mask is zero; it may begin in their middle."""
    data = step.raw_bytes()
    if (start := data.find(f";{MAIN};".encode())) >= 0:
        message = frame_of(data[start:])
        if message is None:  # the rest of it comes in further bytes
            message = frame_of(data[start:] + b";" * 6)
        if message is not None:
            yield message
