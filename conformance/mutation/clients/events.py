"""Clients with a fault in events."""

from __future__ import annotations

from collections.abc import Callable

from mutation import client_faults as on
from mutation import operators as do
from mutation.client_faults import ClientContext, ClientFault
from mutation.clients.values import is_binary, remember
from mutation.hooks import DISCONNECT, LEAVE, Effect
from mutation.registry import mutant, mutants
from neffos_codec import Message
from neffos_conformance.runner.driver_protocol import OperationError, Values

OBSERVATIONS = {
    "_OnRoomJoined": "joined",
    "_OnRoomLeft": "left",
    "_OnNamespaceConnected": "connected",
}
"""The observations that belong to local events."""


def _overtaken(is_held: Callable[[Message], bool]) -> ClientFault:
    """Hold a reply back until the next, where more of them are due."""

    def hook(c: ClientContext, m: Message) -> Effect:
        if m.wait not in c.server_asks:
            return None
        if is_held(m) and len(c.server_asks) > 1 and not c.kept:
            c.kept.append(m)
            return ()
        return [m, *c.release()]

    return on.send(hook)


def _left(c: ClientContext, _: str, fields: Values) -> None:
    if fields.get("room") in c.seen:
        raise OperationError("bad room")


@mutant("EV-4", on.receive, event=(*OBSERVATIONS, "_OnAnyEvent"))
def notices_delivered(c: ClientContext, m: Message) -> Effect:
    """Runs the handlers of local events that come from outside."""
    if m.event in OBSERVATIONS:
        room = {"room": m.room} if m.room else {}
        c.tell(OBSERVATIONS[m.event], namespace=m.namespace, **room)
    else:
        c.tell("event", namespace=m.namespace, room="", event=m.event, text=m.body)
    return None


@mutant("EV-5", on.send, event=LEAVE)
def notices_sent(c: ClientContext, m: Message) -> Effect:
    """Sends the local events of the rooms that it has left."""
    notice = f";{m.namespace};{m.room};_OnRoomLeft;0;0;"
    return [m, notice] if "leave-all" in c.operations else None


mutants(
    "EV-6",
    "errors-delivered-as-bodies: Delivers an error as if its text were a body.",
    on.observes(lambda _, seen: [{name: value for name, value in seen.items() if name != "error"}]),
    "EV-1",
    "binary-comes-last: Lets text frames overtake binary ones.",
    _overtaken(lambda m: is_binary(m.body)),
    "requests-come-last: Lets events overtake system asks.",
    _overtaken(lambda m: m.is_empty_reply),
    "EV-2",
    "event-lost: Does not deliver an event.",
    on.unobserved(saw="event", event="other"),
    "event-in-another-namespace: Delivers events of one namespace to the handlers of another.",
    on.observed(lambda _: {"namespace": "app"}, namespace="any"),
    "handler-not-told-of-room: Does not give a handler the room.",
    on.observed(lambda _: {"room": ""}, saw="event", room="lobby"),
    "EV-3",
    "notice-joins: Treats a room as joined because of a local event from outside.",
    ClientFault(
        receive=remember("room", event="_OnRoomJoined"),
        failed=lambda c, _, fields: {} if fields.get("room") in c.seen else None,
    ),
    "notice-leaves: Treats a room as left because of a local event from outside.",
    ClientFault(receive=remember("room", event="_OnRoomLeft"), before=_left),
    "requests-in-other-letters: Recognises the event of a system ask in any case of its letters.",
    on.receive(do.serve_with(event=DISCONNECT), event="_onNamespaceDisconnect"),
)
