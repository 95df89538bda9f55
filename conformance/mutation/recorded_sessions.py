"""A session that writes down, as the steps of a session vector, what goes into it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Final

from neffos_codec import CodecError
from neffos_protocol import MisuseError, Session
from neffos_protocol.events import AskSent, Role
from neffos_protocol.session import Prepared
from neffos_protocol.session_vectors import Step, describe

PLACE: Final = ("namespace", "room", "event")

NEWEST: Final[list[TracedSession]] = []
"""The sessions of the case that runs."""


class TracedSession(Session):
    """A session that writes down what goes into it."""

    __slots__ = ("inputs", "options", "told")

    def __init__(self, role: Role, **options: Any) -> None:
        super().__init__(role, **options)
        self.options = options
        self.inputs: list[Step] = []
        self.told: list[str] = []
        NEWEST.append(self)

    def note(self, step: Step, events: list[Any]) -> None:
        """Write down an input, and the tokens of the asks that it sent."""
        self.inputs.append(step)
        self.told += [event.token for event in events if isinstance(event, AskSent)]

    def concerns(self, prepared: Prepared) -> bool:
        """Write down a broadcast that is for others."""
        is_concerned = super().concerns(prepared)
        if not is_concerned and self.is_open:
            self.note(_broadcast(prepared), [])
        return is_concerned


def _broadcast(prepared: Prepared) -> Step:
    return {"do": "broadcast", **_event(prepared.message)}


def _event(message: Any) -> Step:
    values = {name: getattr(message, name) for name in PLACE}
    values["body"] = describe(message.body)
    return {name: value for name, value in values.items() if value or name in PLACE[::2]}


STEPS: Final[dict[str, Callable[..., Step]]] = {
    "receive": lambda payload: {"receive": describe(payload)},
    "peer_closed": lambda: {"end": True},
    "start": lambda: {"do": "start"},
    "accept": lambda *_, **__: {"do": "accept"},
    "close": lambda: {"do": "close"},
    "refuse": lambda text: {"do": "refuse", "text": text},
    "connect": lambda namespace, **_: {"do": "connect", "namespace": namespace},
    "disconnect": lambda namespace, **_: {"do": "disconnect", "namespace": namespace},
    "join": lambda namespace, room, **_: {"do": "join", "namespace": namespace, "room": room},
    "leave": lambda namespace, room, **_: {"do": "leave", "namespace": namespace, "room": room},
    "allow": lambda asked: {"do": "allow", "ask": asked.number},
    "deny": lambda asked, text: {"do": "deny", "ask": asked.number, "text": text},
    "reply": lambda asked, body="": {"do": "reply", "ask": asked.number, "body": describe(body)},
    "reply_error": lambda asked, text: {"do": "reply-error", "ask": asked.number, "text": text},
    "ignore": lambda asked: {"do": "ignore", "ask": asked.number},
    "send_prepared": _broadcast,
    "send_native": lambda payload: {"do": "native", "body": describe(payload)},
}
"""The step of each call."""


def _emitted(namespace: str, event: str, body: Any = "", *, room: str = "", **more: Any) -> Step:
    place = {"namespace": namespace, "event": event, **({"room": room} if room else {})}
    if more.get("is_error"):
        text = body if isinstance(body, str) else body.decode(errors="replace")
        return {"do": "emit-error", **place, "text": text}
    return {"do": "emit", **place, **({"body": describe(body)} if body else {})}


def _recorded(name: str, step: Callable[..., Step]) -> Callable[..., Any]:
    plain = getattr(Session, name)

    @wraps(plain)
    def call(self: TracedSession, *of: Any, **options: Any) -> Any:
        try:
            events = plain(self, *of, **options)
        except (MisuseError, CodecError):
            self.note(step(*of, **options), [])
            raise
        self.note(step(*of, **options), events)
        return events

    return call


for _name, _step in {
    **STEPS,
    "emit": _emitted,
    "ask": lambda *of, **options: {**_emitted(*of, **options), "do": "ask"},
}.items():
    setattr(TracedSession, _name, _recorded(_name, _step))
