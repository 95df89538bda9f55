"""Servers with a fault in native messages."""

from __future__ import annotations

from collections.abc import Callable

from mutation import hooks as on
from mutation import operators as do
from mutation.hooks import (
    CONNECT,
    DISCONNECT,
    Effect,
    Hooks,
    Payload,
    Payloads,
    ServerContext,
    frame_of,
)
from mutation.registry import mutant, mutants
from neffos_codec import Message
from neffos_conformance.reference.embedded import NOTHING
from neffos_protocol.names import NATIVE_EVENT


def _is_stray(c: ServerContext) -> bool:
    """Say whether the current payload is neither empty nor a frame, after the handshake."""
    return bool(c.payload) and c.is_accepted and c.message is None


def _is_native(c: ServerContext) -> bool:
    """Say whether it is a native message on the mixed endpoint, whose namespace is connected."""
    return _is_stray(c) and c.is_in("")


def _reading(read: Callable[[Payload], Payload | None]) -> Hooks:
    """Change, or drop, native messages before they are delivered."""

    def hook(c: ServerContext, payload: Payload) -> Effect:
        if not _is_native(c):
            return None
        changed = read(payload)
        return () if changed is None else c.serve(changed)

    return on.receive_raw(hook)


def _dropping(is_dropped: Callable[[Payload], bool]) -> Hooks:
    return _reading(lambda payload: None if is_dropped(payload) else payload)


IN_EMPTY = do.in_namespace("")


@mutant("NM-2", on.receive_raw)
def native_later(c: ServerContext, payload: Payload) -> Effect:
    """Handles a native message after the frame that follows it."""
    if _is_native(c):
        c.kept.append(payload)
        return ()
    return c.serve() + [sent for each in c.release() for sent in c.serve(each)]


@mutant("NM-2", on.receive_raw)
def natives_mixed_up(c: ServerContext, payload: Payload) -> Effect:
    """Answers a native message with the one before it, whichever client sent that."""
    if not _is_native(c):
        return None
    before, c.server.values["last"] = c.server.values.get("last"), payload
    return c.serve(before or payload)


def _while_connected(c: ServerContext) -> Payloads:
    """Have the current payload handled as if the empty namespace were connected."""
    c.aside(CONNECT, "")  # only the mixed endpoint has it
    sent = c.serve()
    c.aside(DISCONNECT, "")
    return sent


@mutant("NM-4", on.turn)
def native_kept_for_connect(c: ServerContext) -> Payloads:
    """Keeps native messages until the empty namespace is connected."""
    if _is_stray(c) and not c.is_in(""):
        c.kept.append(c.payload)
    sent = c.serve()
    due = c.release() if c.is_in("") else []
    return sent + [each for payload in due for each in c.serve(payload)]


@mutant("NM-4", on.receive_raw)
def native_after_disconnect(c: ServerContext, payload: Payload) -> Effect:
    """Goes on delivering native messages when the empty namespace was disconnected."""
    if c.is_in(""):
        c.count()
    return payload if c.counts and c.message is None and not c.is_in("") else None


@mutant("NM-7", on.receive, event=NATIVE_EVENT, is_in=IN_EMPTY)
def native_sent_back(c: ServerContext, _: Message) -> Effect:
    """Sends a native message back as it came, frame and all, instead of the handler's reply."""
    return [c.payload for _ in c.serve()]


def _native_only(change: Callable[[ServerContext, Payload], Effect]) -> Hooks:
    """Answer in another way at the native-only endpoint, which echoes every payload.

    Args:
        change: is given the connection, which counts its payloads, and the payload.
    """

    def hook(c: ServerContext) -> Payloads:
        sent = c.serve()
        if c.payload is NOTHING or not c.payload:
            return sent
        if not c.values.setdefault("is only", sent == [c.payload]):
            return sent
        c.count()
        effect = change(c, c.payload)
        return sent if effect is None else on.payloads(effect)

    return on.turn(hook)


def _is_first(c: ServerContext) -> bool:
    return c.counts[""] == 1


def _connected(c: ServerContext, _: Payload) -> Effect:
    return c.message.empty_reply() if c.message and c.message.event == CONNECT else None


def _unframed(c: ServerContext, _: Payload) -> Effect:
    return c.message.body if c.message and c.message.event == NATIVE_EVENT else None


def _before(c: ServerContext, payload: Payload) -> Effect:
    before, c.server.values["last"] = c.server.values.get("last"), payload
    effect: Effect = before or payload
    return effect


mutants(
    "NM-4",
    "native-before-connect: Delivers native messages from the handshake on.",
    on.receive_raw(lambda c, _: _while_connected(c) if _is_stray(c) and not c.is_in("") else None),
    "NM-2",
    "native-octets-dropped: Treats only text as a native message.",
    _dropping(lambda payload: isinstance(payload, bytes)),
    "native-texts-dropped: Delivers no native text, as neffos.js does.",
    _dropping(lambda payload: isinstance(payload, str)),
    "native-with-separators-dropped: Treats a text with a separator as a damaged frame.",
    _dropping(lambda payload: isinstance(payload, str) and ";" in payload),
    "late-letters-dropped: Drops a native message that begins like a handshake message.",
    _dropping(lambda payload: payload[:1] in ("M", "A", "H")),
    "native-trimmed: Trims native messages.",
    _reading(lambda payload: payload.strip()),
    "native-cut: Cuts native messages at 4 KiB.",
    _reading(lambda payload: payload[:4096]),
    "frames-without-handler-are-native: Treats a frame that has no handler as a native message.",
    on.receive(lambda c, _: c.payload, event="no such event", is_in=IN_EMPTY),
    "NM-5",
    "framed-native-early: Delivers a native message in a frame before its namespace is connected.",
    on.receive(
        lambda c, _: None if c.is_in("") else _while_connected(c),
        event=NATIVE_EVENT,
        is_accepted=True,
    ),
    "framed-native-dropped: Drops native messages in frames.",
    on.receive(do.drop, event=NATIVE_EVENT, is_in=IN_EMPTY),
    "framed-native-whole: Treats the whole frame as the native message.",
    on.receive(lambda c, _: c.payload, event=NATIVE_EVENT, is_in=IN_EMPTY, namespace=""),
    "framed-native-anywhere: Ignores the namespace of a native message in a frame.",
    on.receive(do.serve_with(namespace=""), event=NATIVE_EVENT, is_in=IN_EMPTY),
    "NM-6",
    "native-only-shakes-hands: Accepts a client on the native-only endpoint that begins with an M.",
    _native_only(lambda c, payload: "A1" if payload == "M" and _is_first(c) else None),
    "native-only-greets: Sends an acceptance on the native-only endpoint, before anything else.",
    _native_only(lambda c, payload: ["A1", payload] if _is_first(c) else None),
    "native-only-reads-frames: Drops frames on the native-only endpoint.",
    _native_only(lambda _, payload: () if frame_of(payload) else None),
    "native-only-connects: Answers a connect on the native-only endpoint.",
    _native_only(_connected),
    "native-only-unframes: Reads the body of a framed native message on the native-only endpoint.",
    _native_only(_unframed),
    "native-only-in-text: Sends only text on the native-only endpoint.",
    _native_only(
        lambda _, payload: payload.decode("latin-1") if isinstance(payload, bytes) else None
    ),
    "native-only-without-letters: Drops what begins with A or H on the native-only endpoint.",
    _native_only(lambda _, payload: () if payload[:1] in ("A", "H") else None),
    "native-only-loses-some: Loses one message of twenty on the native-only endpoint.",
    _native_only(lambda c, _: () if c.counts[""] % 20 == 0 else None),
    "native-only-mixed-up: Answers on the native-only endpoint with any client's message before.",
    _native_only(_before),
)
