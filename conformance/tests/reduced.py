"""The reference server with a part of the conformance application, or under other names."""

from __future__ import annotations

from collections.abc import Collection

from neffos_asyncio import (
    ANY_ORIGIN,
    ON_ANY_EVENT,
    ON_ROOM_JOIN,
    ON_ROOM_LEAVE,
    ReplyError,
    Server,
    random_id,
)
from neffos_codec import ESCAPE
from neffos_conformance.cases.features import features
from neffos_conformance.cases.profile import Profile
from neffos_conformance.reference import application
from neffos_conformance.reference.embedded import NOTHING, Distort, Serve
from neffos_protocol import ChangeAsked

ENDPOINTS = {"/mixed": "native-mixed", "/native": "native-only"}

BODIES = {"connect-me": "namespaces", "join-me": "rooms", "leave-me": "rooms"}
"""The events whose bodies are names."""

NOT_REMOVED = frozenset({"binary", "url-headers", "silent"})
"""What the reference server always has; a server without ``silent`` behaves as one with it."""


def servers(there: Collection[str]) -> dict[str, Server]:
    """Give the endpoints of a server with these features alone."""

    def make(handlers, *, id_generator, on_connect, on_open, limits, exchange):
        return Server(
            _handlers(there) if "app" in handlers else handlers,
            id_generator=id_generator if "chosen-ids" in there else random_id,
            on_connect=on_connect if "refuse" in there else None,
            on_open=on_open if "connecting" in there else None,
            origins=None if "origin-check" in there else [ANY_ORIGIN],
            limits=limits,
            exchange=exchange,
        )

    made = application.servers(make=make)
    return {
        path: each for path, each in made.items() if ENDPOINTS.get(path, "app") in (*there, "app")
    }


def _handlers(there):
    everything = application.APPLICATION
    lacking = [each for each in features() if each.id not in there]
    gone = {name for each in lacking for name in each.events if each.id != "rooms"}
    found = {
        name: dict(handlers)
        for name, handlers in everything.items()
        if not any(name in each.namespaces for each in lacking)
    }
    if "empty-unknown" not in there:
        found[""] = {"own": application.echo}
    if app := found.get("app"):
        for event in gone:
            app.pop(event, None)
        if "rooms" not in there:
            app[ON_ROOM_JOIN] = _refuse
        elif "locked-room" not in there:
            del app[ON_ROOM_JOIN]
        if "sticky-room" not in there:
            del app[ON_ROOM_LEAVE]
        if "unhandled" not in there:
            app[ON_ANY_EVENT] = lambda _, __: "an answer to anything"
    return found or {"own": {"own": application.echo}}


def _refuse(_, asked):
    if isinstance(asked, ChangeAsked):
        raise ReplyError("there are no rooms")


def renamed(profile: Profile) -> Distort:
    """Give the conformance application the names of a profile, on the wire."""
    to_suite = Profile(
        **{
            kind: {own: name for name, own in getattr(profile, kind).items()}
            for kind in ("namespaces", "rooms", "events")
        }
    )
    back = {own: name for name, own in profile.namespaces.items()}

    def translated(payload, names: Profile, texts):
        data = payload if isinstance(payload, bytes) else payload.encode("utf-8", "surrogateescape")
        fields = data.split(b";", 6)
        if len(fields) < 7:
            return payload
        decoded = [each.decode("utf-8", "surrogateescape") for each in fields[1:4]]
        namespace, room, event = (each.replace(ESCAPE, ";") for each in decoded)
        suite = back.get(namespace, namespace) if names is to_suite else namespace
        if suite == "app":
            room, event = names.rooms.get(room, room), names.events.get(event, event)
        if suite == "semi;colon":
            event = names.events.get(event, event)
        namespace = names.namespaces.get(namespace, namespace)
        for place, name in enumerate((namespace, room, event), 1):
            fields[place] = name.replace(";", ESCAPE).encode("utf-8", "surrogateescape")
        text = fields[6].decode("utf-8", "surrogateescape")
        fields[6] = texts.get((event, text), text).encode("utf-8", "surrogateescape")
        found = b";".join(fields)
        is_text = isinstance(payload, str)
        return found.decode("utf-8", "surrogateescape") if is_text else found

    asked = {
        (event, own): name
        for event, kind in BODIES.items()
        for name, own in getattr(profile, kind).items()
    }
    said = {
        (event, text): own
        for text, own in profile.texts.items()
        for event in (
            "_OnNamespaceConnect",
            "_OnNamespaceDisconnect",
            "_OnRoomJoin",
            "_OnRoomLeave",
        )
    }

    def between(serve: Serve) -> Serve:
        return lambda payload: [
            translated(each, profile, said)
            for each in serve(
                payload if payload is NOTHING else translated(payload, to_suite, asked)
            )
        ]

    return between
