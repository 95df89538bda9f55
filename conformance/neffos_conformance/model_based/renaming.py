"""The names of a server between its messages and a model that knows those of the application."""

from __future__ import annotations

from typing import Final

from neffos_codec import ESCAPE, FIELDS
from neffos_conformance.cases.features import MAIN, ROOM_IN_BODY, Feature, features
from neffos_conformance.cases.profile import Profile
from neffos_conformance.model_based.actions import Payload
from neffos_conformance.wire.payloads import payload_bytes, payload_text

_BY_BODY: Final = ("connect-me", *ROOM_IN_BODY)
"""The events whose bodies are names, which stay as they are here."""


def modelled(there: frozenset[str], profile: Profile) -> frozenset[str]:
    """Give the features of a server that a model can take part in, under the names of a profile.

    It knows the texts of the application, and that each event is confirmed; bodies and headers
    keep their names.
    """
    names = profile.namespaces.keys() | profile.rooms.keys()

    def is_modelled(feature: Feature) -> bool:
        if profile.unconfirmed.intersection(feature.events):
            return False
        if profile.texts and (feature.own and (feature.namespaces or feature.rooms)):
            return False
        is_named = bool(set(feature.events) & set(_BY_BODY)) or feature.id == "connecting"
        return not (is_named and names - {MAIN})

    return frozenset(each.id for each in features() if each.id in there and is_modelled(each))


class Renaming:
    """Translates the messages of one test sequence, in both directions.

    Args:
        profile: the server's own names.
    """

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        # What was sent under another name comes back under it: in a reply, in a refusal.
        self._namespaces = {own: name for name, own in profile.namespaces.items()}
        self._rooms: dict[str, str] = {}
        self._events: dict[str, str] = {}
        self._sent = {profile.event(name): name for each in features() for name in each.sends}

    def outgoing(self, payload: Payload) -> Payload:
        """Give a message of the suite under the server's names."""
        fields = _names(payload)
        if fields is None or not self._profile.changes_names:
            return payload
        namespace, room, event = fields
        own = self._profile.namespace(namespace) if namespace or event else ""
        self._namespaces[own] = namespace
        own_room, own_event = room, event
        if namespace == MAIN and room:
            own_room = self._profile.room(room)
            self._rooms[own_room] = room
        if event:
            own_event = self._profile.event_of(namespace, event)
            self._events[own_event] = event
        return _with(payload, own, own_room, own_event)

    def incoming(self, payload: Payload) -> Payload:
        """Give a message of the server under the suite's names."""
        fields = _names(payload)
        if fields is None or not self._profile.changes_names:
            return payload
        own, room, event = fields
        namespace = self._namespaces.get(own, own) if own or event else ""
        if namespace == MAIN:
            room = self._rooms.get(room, room)
        if namespace in (MAIN, "semi;colon"):
            has_token = not payload_bytes(payload).startswith(b";")
            tables = (self._events, self._sent) if has_token else (self._sent, self._events)
            event = tables[0].get(event) or tables[1].get(event, event)
        return _with(payload, namespace, room, event)


def _names(payload: Payload) -> list[str] | None:
    """Give namespace, room and event of a frame; ``None`` if it is not a frame."""
    parts = payload_bytes(payload).split(b";", len(FIELDS) - 1)
    if len(parts) < len(FIELDS):
        return None
    return [payload_text(part).replace(ESCAPE, ";") for part in parts[1:4]]


def _with(payload: Payload, *names: str) -> Payload:
    """Give a frame with other names, and every other byte as it is."""
    parts = payload_bytes(payload).split(b";", len(FIELDS) - 1)
    for place, name in enumerate(names, 1):
        if payload_text(parts[place]).replace(ESCAPE, ";") != name:
            parts[place] = payload_bytes(name.replace(";", ESCAPE))
    found = b";".join(parts)
    return found if isinstance(payload, bytes) else payload_text(found)
