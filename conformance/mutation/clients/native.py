"""Clients with a fault in native messages."""

from __future__ import annotations

from mutation import client_faults as on
from mutation import operators as do
from mutation.client_faults import ClientContext, frame_of
from mutation.hooks import CONNECT, DISCONNECT, Effect, Payload
from mutation.registry import mutant, mutants
from neffos_codec import Message

NATIVE = "_OnNativeMessage"

SEPARATORS = 6
"""Those of a frame."""


@mutant("NM-2", on.receive_raw)
def native_messages_dropped(c: ClientContext, payload: Payload) -> Effect:
    """Drops messages that are not frames, though its application accepts native messages."""
    content = payload.encode("utf-8", "replace") if isinstance(payload, str) else payload
    is_native = c.is_accepted and content and content.count(b";") < SEPARATORS
    return () if is_native else None


@mutant("NM-4", on.receive_raw)
def native_messages_held(c: ClientContext, payload: Payload) -> Effect:
    """Delivers native messages late that came before the empty namespace was connected."""
    message = frame_of(payload)
    if payload == "hello":
        c.kept.append(payload)
    elif message and not message.namespace and message.event == CONNECT:
        return [sent for each in (payload, *c.kept) for sent in c.serve(each)]
    return None


@mutant("NM-4", on.receive, namespace="", event=(CONNECT, NATIVE), is_error=False)
def native_frames_delivered_early(c: ClientContext, m: Message) -> Effect:
    """Delivers native messages in frames before the empty namespace is connected."""
    if m.event == CONNECT:
        c.count()
    elif not c.counts[""]:
        c.tell("native", text=m.body)
    return None


mutants(
    "NM-1",
    "bids-farewell-natively: Sends a native message of its own when it disconnects a namespace.",
    on.send(lambda _, m: [m, "bye"], event=DISCONNECT, namespace="any"),
    "NM-5",
    "native-frames-dropped: Never treats a frame as a native message.",
    on.receive(do.drop, event=NATIVE),
    "native-frames-from-everywhere: Delivers native frames whatever namespace they name.",
    on.receive(do.serve_with(namespace=""), event=NATIVE),
)
