"""What a client does with the conformance application: its namespaces, handlers and refusals.

Plain knowledge of ``spec/docs/application.md``; this module knows no connection's history.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from neffos_codec import ESCAPE, Message
from neffos_conformance.model_based.bodies import text_of
from neffos_conformance.model_based.expected import Place
from neffos_protocol.events import Change
from neffos_protocol.names import BAD_NAMESPACE, BAD_ROOM, NATIVE_EVENT

DECLARED: Final = frozenset({"app", "any", "semi;colon", "unwanted", ""})
"""The namespaces of the client."""

UNWANTED: Final = "unwanted"
"""The namespace and the room that the client does not let its server put it into."""

REFUSAL: Final = "not wanted"

HANDLERS: Final = frozenset({"echo", "question", "fail", "relay", NATIVE_EVENT})
"""The events that handlers are named for."""


def refusal(place: Place, state: str, change: Change) -> str:
    """Give the text with which a change is refused; empty where it is not.

    Args:
        place: whose change.
        state: it is in.
        change: what the server asks for.
    """
    namespace, room = place
    if state != "disconnected" or change in (Change.DISCONNECT, Change.LEAVE):
        return ""
    if room is None:
        if namespace not in DECLARED:
            return BAD_NAMESPACE
        return REFUSAL if namespace == UNWANTED else ""
    if not room:
        return BAD_ROOM
    return REFUSAL if room == UNWANTED else ""


def guards(place: Place) -> Callable[[str], bool]:
    """Give what says whether a guard of the membership table holds for a place."""
    namespace, room = place

    def holds(guard: str) -> bool:
        match guard:
            case "unknown":
                return not room if room is not None else namespace not in DECLARED
            case "decides-connect":
                return room is not None or namespace == UNWANTED
            case _:
                return False

    return holds


def kind_of_place(place: Place) -> str:
    """Say what a place is like, so that others like it are known by it."""
    namespace, room = place
    known = namespace if namespace in DECLARED else "unknown"
    return known if room is None else f"{known}/{room if room in ('', UNWANTED) else 'r'}"


def kind_of_event(event: str) -> str:
    """Say what an event is like, so that others like it are known by it."""
    if event in HANDLERS or event.startswith("_On") or not event:
        return event
    return "escape" if ESCAPE in event else "other"


def is_defined(message: Message, *, is_live: bool) -> bool:
    """Whether the application's page says what a handler makes of a body."""
    text = text_of(message.body)
    if message.is_error:  # what is an error has a text, and no body that is replied (EV-6)
        return bool(text) and not (is_live and message.event in HANDLERS)
    if message.event == "fail":  # the body becomes an error's text
        return "\ufffd" not in text
    if message.event == NATIVE_EVENT:
        return bool(text)
    return True
