"""The names and texts on the wire that the session and the monitor use, from the registry."""

from __future__ import annotations

from typing import Any, Final

from neffos_protocol.events import Change
from neffos_protocol.tables import load

_CONSTANTS: Final[dict[str, tuple[str, Any]]] = load()["constant"]


def constant(name: str) -> Any:
    """Give the value of a constant of the registry, which this module need not read."""
    return _CONSTANTS[name][1]


def _text(name: str) -> str:
    text: str = constant(name)
    return text


REQUEST_EVENT: Final = {
    Change.CONNECT: _text("event.namespace-connect"),
    Change.DISCONNECT: _text("event.namespace-disconnect"),
    Change.JOIN: _text("event.room-join"),
    Change.LEAVE: _text("event.room-leave"),
}
"""The event that asks for each change of membership (EV-3)."""

CHANGE_OF: Final = {event: change for change, event in REQUEST_EVENT.items()}
"""The change that each such event asks for."""

LOCAL_ONLY: Final = frozenset(
    {value for group, value in _CONSTANTS.values() if group == "notification-event"}
    | {_text("event.any")}
)
"""Events that are never sent (EV-5)."""

NATIVE_EVENT: Final = _text("event.native")

CLIENT_PREFIX: Final = _text("token.client-prefix")
CONFIRMATION_PREFIX: Final = _text("token.confirmation-prefix")
EXCHANGE_MARKER: Final = _text("exchange.marker")

BAD_NAMESPACE: Final = _text("error.bad-namespace")
BAD_ROOM: Final = _text("error.bad-room")
INVALID_PAYLOAD: Final = _text("error.invalid-payload")
TOO_MANY: Final = _text("error.too-many")
