"""The conformance application of a peer under test, read from ``data/application.toml``.

Knows what the application declares, refuses and handles; it knows no connection's history.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from neffos_codec import ESCAPE, Message
from neffos_conformance.data import read_data, toml
from neffos_conformance.model_based.actions import Payload, Scope
from neffos_protocol.events import Change
from neffos_protocol.names import BAD_NAMESPACE, BAD_ROOM, NATIVE_EVENT
from neffos_protocol.state_machines import MembershipState

ANY_EVENT: Final = "*"
"""The key of the handler of every event that has no handler of its own."""

NO_VALUES: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class EventHandler:
    """What the handler of an event does.

    Attributes:
        does: one of the words that the data file explains.
        values: its parameters, by name.
    """

    does: str
    values: Mapping[str, str]


NO_HANDLER: Final = EventHandler("nothing", NO_VALUES)


@dataclass(frozen=True, slots=True)
class AppEndpoint:
    """One endpoint of the application.

    Attributes:
        role: of the peer that has it, ``server`` or ``client``.
        path: relative to the path of the first.
        exchanges: ``frames``, ``native`` messages, or ``both``.
        handlers: by event, for each namespace; the key ``*`` is for every other event.
        refusals: the error text of each refused change, by namespace and room; a room of ``None``
            is the namespace itself.
    """

    role: str
    path: str
    exchanges: str
    handlers: Mapping[str, Mapping[str, EventHandler]]
    refusals: Mapping[tuple[Change, str, str | None], str]

    def handler(self, namespace: str, event: str) -> EventHandler:
        """Give the handler of an event."""
        handlers = self.handlers.get(namespace, {})
        return handlers.get(event) or handlers.get(ANY_EVENT) or NO_HANDLER

    def is_named(self, event: str) -> bool:
        """Whether any namespace has a handler for exactly this event."""
        return any(event in handlers for handlers in self.handlers.values())

    def refusal(self, scope: Scope, state: str, change: Change) -> str:
        """Give the text that refuses a system ask; empty where it succeeds.

        Args:
            scope: what is to change.
            state: of that membership.
            change: what the ask is for.
        """
        namespace, room = scope
        # In any other state the table lets no application decide.
        if state != (
            MembershipState.DISCONNECTED if change.is_entry else MembershipState.CONNECTED
        ):
            return ""
        if change.is_entry and self.holds("unknown", scope):
            return BAD_NAMESPACE if room is None else BAD_ROOM
        return self.refusals.get((change, namespace, room), "")

    def holds(self, guard: str, scope: Scope) -> bool:
        """Say whether a guard of the membership table holds for a namespace or room."""
        namespace, room = scope
        if guard == "unknown":
            return room == "" if room is not None else namespace not in self.handlers
        is_entry = guard == "decides-connect"
        return (is_entry or guard == "decides-disconnect") and any(
            change.is_entry is is_entry and name == namespace and (room is None) is (where is None)
            for change, name, where in self.refusals
        )

    def kind_of(self, scope: Scope) -> str:
        """Name what a scope is like: equal for scopes that the application treats alike."""
        namespace, room = scope
        known = namespace if namespace in self.handlers else "unknown"
        special = {where for _, _, where in self.refusals if where}
        return known if room is None else f"{known}/{room if room in ('', *special) else 'r'}"

    def kind_of_event(self, event: str) -> str:
        """Name what an event is like: equal for events that the application treats alike."""
        if self.is_named(event) or event.startswith("_On") or not event:
            return event
        return "escape" if ESCAPE in event else "other"

    def is_specified(self, message: Message, *, is_live: bool) -> bool:
        """Whether the application's page says what comes of an event.

        Args:
            message: the event.
            is_live: its namespace is connected.
        """
        text = text_of(message.body)
        does = self.handler(message.namespace, message.event).does
        if message.is_error:  # an error has a text and no body (EV-6)
            if self.role == "client":
                return bool(text) and not (is_live and self.is_named(message.event))
            return does in ("echo", "nothing", "connection-id", "return")
        if does == "push":  # the body becomes an event's name
            return bool(text) and text.isascii() and text.isprintable() and ESCAPE not in text
        if does == "error":  # the body becomes an error's text
            return "\ufffd" not in text and (bool(text) or self.role == "client")
        return message.event != NATIVE_EVENT or bool(text)  # an empty payload: FR-14


@cache
def data() -> dict[str, Any]:
    """Give the data file."""
    return toml.loads(read_data("application.toml"))


@cache
def endpoints(role: str) -> Mapping[str, AppEndpoint]:
    """Give the endpoints of a server's or a client's application by their paths."""
    found = {}
    for each in data()["endpoint"]:
        if each["role"] == role:
            found[each["path"]] = AppEndpoint(
                role, each["path"], each["exchanges"], _handlers(each), _refusals(each)
            )
    return found


def _handlers(endpoint: dict[str, Any]) -> dict[str, dict[str, EventHandler]]:
    found: dict[str, dict[str, EventHandler]] = {name: {} for name in endpoint["namespaces"]}
    for each in data()["handler"]:
        if (each["role"], each["path"]) != (endpoint["role"], endpoint["path"]):
            continue
        names = [each["namespace"]] if "namespace" in each else endpoint["namespaces"]
        for name in names:
            handler = EventHandler(each["does"], each.get("with", NO_VALUES))
            found.setdefault(name, {})[each.get("event", ANY_EVENT)] = handler
    if endpoint["exchanges"] == "native":
        return {}
    return found


def _refusals(endpoint: dict[str, Any]) -> dict[tuple[Change, str, str | None], str]:
    return {
        (Change(each["change"]), name, each.get("room")): each["text"]
        for each in data()["refusal"]
        if each["role"] == endpoint["role"]
        for name in ([each["namespace"]] if "namespace" in each else endpoint["namespaces"])
        if name in endpoint["namespaces"]
    }


def text_of(body: Payload) -> str:
    """Give a body as text."""
    return body if isinstance(body, str) else body.decode("utf-8", "replace")
