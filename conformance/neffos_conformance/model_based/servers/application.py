"""What a server does with the conformance application: its endpoints, handlers and refusals.

Plain knowledge of ``spec/docs/application.md``; this module knows no connection's history.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from neffos_codec import ESCAPE, Message
from neffos_conformance.model_based.bodies import text_of
from neffos_conformance.model_based.expected import Place
from neffos_protocol.events import Change
from neffos_protocol.names import BAD_NAMESPACE, BAD_ROOM, NATIVE_EVENT

MIXED: Final = "/mixed"
NATIVE: Final = "/native"

DECLARED: Final = {
    "": frozenset({"app", "any", "refused", "sticky", "semi;colon"}),
    MIXED: frozenset({""}),
    NATIVE: frozenset[str](),
}
"""The namespaces of each endpoint."""

REFUSALS: Final[Mapping[tuple[Change, str, str], str]] = {
    (Change.CONNECT, "refused", ""): "namespace is closed",
    (Change.DISCONNECT, "sticky", ""): "namespace is sticky",
    (Change.JOIN, "app", "locked"): "room is locked",
    (Change.LEAVE, "app", "sticky"): "room is sticky",
}
"""What the application refuses, and how."""

MADE_TO: Final = {
    "ask-me": None,
    "connect-me": Change.CONNECT,
    "disconnect-me": Change.DISCONNECT,
    "join-me": Change.JOIN,
    "leave-me": Change.LEAVE,
}
"""The events that have the server ask: for what."""

QUESTION_EVENT: Final = "question"
TURNED_AWAY: Final = "not; today"
"""The text of a refusal that an opening asks for."""

HANDLERS: Final = frozenset(
    {
        "echo",
        "fail",
        "silent",
        "whoami",
        "tries",
        "push",
        "broadcast-others",
        "broadcast-all",
        "broadcast-room",
        "broadcast-to",
        "close-me",
        "ec;ho",
        NATIVE_EVENT,
        *MADE_TO,
    }
)
"""The events that handlers are named for."""


def refusal(path: str, place: Place, state: str, change: Change) -> str:
    """Give the text with which a change is refused; empty where it is not.

    Args:
        path: of the endpoint.
        place: whose change.
        state: it is in.
        change: what is asked for.
    """
    namespace, room = place
    enters = change in (Change.CONNECT, Change.JOIN)
    if state == "disconnected" and enters:
        if room is None and namespace not in DECLARED[path]:
            return BAD_NAMESPACE
        if room == "":
            return BAD_ROOM
        return REFUSALS.get((change, namespace, room or ""), "")
    if state == "connected" and not enters:
        return REFUSALS.get((change, namespace, room or ""), "")
    return ""


def guards(path: str, place: Place) -> Callable[[str], bool]:
    """Give what says whether a guard of the membership table holds for a place."""
    namespace, room = place

    def holds(guard: str) -> bool:
        match guard:
            case "unknown":
                return room == "" if room is not None else namespace not in DECLARED[path]
            case "decides-connect":
                return namespace in ("app", "refused") if room is None else namespace == "app"
            case "decides-disconnect":
                return namespace == "sticky" if room is None else namespace == "app"
            case _:
                return False

    return holds


def kind_of_place(path: str, place: Place) -> str:
    """Say what a place is like, so that others like it are known by it."""
    namespace, room = place
    known = namespace if namespace in DECLARED[path] else "unknown"
    return known if room is None else f"{known}/{room if room in ('', 'locked', 'sticky') else 'r'}"


def kind_of_event(event: str) -> str:
    """Say what an event is like, so that others like it are known by it."""
    return event if event in HANDLERS or event.startswith("_On") else "other"


def is_defined(message: Message) -> bool:
    """Whether the application's page says what a handler makes of a body."""
    text = text_of(message.body)
    if message.event == "push":  # the body becomes an event's name
        is_name = text.isascii() and text.isprintable() and ESCAPE not in text
        return bool(text) and is_name and _is_plain(message)
    if message.event == "fail":  # the body becomes an error's text
        return bool(text) and "\ufffd" not in text and _is_plain(message)
    if message.event == NATIVE_EVENT:  # nothing cannot be sent back (FR-14)
        return bool(text)
    return message.event in ("echo", "silent", "whoami") or _is_plain(message)


def _is_plain(message: Message) -> bool:
    return not message.is_error  # what is an error has no body (EV-6)
