"""Servers that are wrong about native messages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from mutation.connection_state import Watch, aside, request, watched
from mutation.distortions import Payloads, frame_of
from mutation.registry import distorted, served
from mutation.servers.namespaces import CONNECT, DISCONNECT
from neffos_codec import encode
from neffos_conformance.reference.embedded import NOTHING, Serve, embedded_server

NATIVE = "_OnNativeMessage"


def _is_native(watch: Watch, payload: str | bytes) -> bool:
    """Say whether this is a native message on the mixed endpoint, which has its namespace."""
    there = payload is not NOTHING and bool(payload) and watch.is_shaken
    return there and watch.is_in("") and frame_of(payload) is None


# -------------------------------------------------------------------- beside frames


def _reading(read: Callable[[str | bytes], str | bytes | None]) -> Callable[[Serve, Watch], Serve]:
    """Change, or drop, native messages before they are delivered."""

    def make(serve: Serve, watch: Watch) -> Serve:
        def wrong(payload: str | bytes) -> Payloads:
            if not _is_native(watch, payload):
                return serve(payload)
            changed = read(payload)
            return [] if changed is None else serve(changed)

        return wrong

    return make


@distorted("NM-2")
@watched
def native_octets_dropped(serve: Serve, watch: Watch) -> Serve:
    """Takes only text for a native message."""
    return _reading(lambda payload: payload if isinstance(payload, str) else None)(serve, watch)


@distorted("NM-2")
@watched
def native_texts_dropped(serve: Serve, watch: Watch) -> Serve:
    """Delivers no native text, as neffos.js does."""
    return _reading(lambda payload: payload if isinstance(payload, bytes) else None)(serve, watch)


@distorted("NM-2")
@watched
def native_with_separators_dropped(serve: Serve, watch: Watch) -> Serve:
    """Takes what holds a separator for a damaged frame."""
    return _reading(
        lambda payload: None if isinstance(payload, str) and ";" in payload else payload
    )(serve, watch)


@distorted("NM-2")
@watched
def late_letters_dropped(serve: Serve, watch: Watch) -> Serve:
    """Drops a native message that begins like a handshake message."""
    return _reading(lambda payload: None if payload[:1] in ("M", "A", "H") else payload)(
        serve, watch
    )


@distorted("NM-2")
@watched
def native_trimmed(serve: Serve, watch: Watch) -> Serve:
    """Trims native messages."""
    return _reading(lambda payload: payload.strip())(serve, watch)


@distorted("NM-2")
@watched
def native_cut(serve: Serve, watch: Watch) -> Serve:
    """Cuts native messages at 4 KiB."""
    return _reading(lambda payload: payload[:4096])(serve, watch)


@distorted("NM-2")
@watched
def frames_without_handler_are_native(serve: Serve, watch: Watch) -> Serve:
    """Takes a frame that it has no handler for as a native message."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        if message and watch.is_in("") and message.event == "no such event":
            return [payload]
        return serve(payload)

    return wrong


@distorted("NM-2")
@watched
def native_later(serve: Serve, watch: Watch) -> Serve:
    """Handles a native message behind the frame that follows it."""
    held: Payloads = []

    def wrong(payload: str | bytes) -> Payloads:
        if _is_native(watch, payload):
            held.append(payload)
            return []
        sent = serve(payload)
        if payload is not NOTHING:
            for each in held:
                sent += serve(each)
            held.clear()
        return sent

    return wrong


@served("NM-2")
@asynccontextmanager
async def natives_mixed_up() -> AsyncIterator[str]:
    """Answers a native message with the one before it, whoever sent that."""
    last: str | bytes = ""

    def make(serve: Serve, watch: Watch) -> Serve:
        def wrong(payload: str | bytes) -> Payloads:
            nonlocal last
            if not _is_native(watch, payload):
                return serve(payload)
            before, last = last, payload
            return serve(before or payload)

        return wrong

    async with embedded_server(distort=watched(make)) as url:
        yield url


# -------------------------------------------------------------------- before and after the connect


@distorted("NM-4")
@watched
def native_before_connect(serve: Serve, watch: Watch) -> Serve:
    """Delivers native messages from the handshake on."""

    def wrong(payload: str | bytes) -> Payloads:
        stray = watch.is_shaken and payload is not NOTHING and frame_of(payload) is None
        if not (stray and payload) or watch.is_in(""):
            return serve(payload)
        aside(serve, request(CONNECT, ""))  # only the mixed endpoint has it
        sent = serve(payload)
        aside(serve, request(DISCONNECT, ""))
        return sent

    return wrong


@distorted("NM-4")
@watched
def native_kept_for_connect(serve: Serve, watch: Watch) -> Serve:
    """Keeps native messages until the empty namespace is connected."""
    kept: Payloads = []

    def wrong(payload: str | bytes) -> Payloads:
        stray = watch.is_shaken and payload is not NOTHING and frame_of(payload) is None
        if stray and payload and not watch.is_in(""):
            kept.append(payload)
        sent = serve(payload)
        while kept and watch.is_in(""):
            sent += serve(kept.pop(0))
        return sent

    return wrong


@distorted("NM-4")
@watched
def native_after_disconnect(serve: Serve, watch: Watch) -> Serve:
    """Goes on delivering native messages when the empty namespace was disconnected."""
    was_in = False

    def wrong(payload: str | bytes) -> Payloads:
        nonlocal was_in
        was_in = was_in or watch.is_in("")
        stray = payload is not NOTHING and frame_of(payload) is None
        return [payload] if was_in and stray and not watch.is_in("") else serve(payload)

    return wrong


# -------------------------------------------------------------------- native messages in frames


@distorted("NM-5")
@watched
def framed_native_dropped(serve: Serve, watch: Watch) -> Serve:
    """Does not know native messages in frames."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        if message and message.event == NATIVE and watch.is_in(""):
            return []
        return serve(payload)

    return wrong


@distorted("NM-5")
@watched
def framed_native_whole(serve: Serve, watch: Watch) -> Serve:
    """Takes the whole frame for the native message."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        if message and message.event == NATIVE and watch.is_in("") and not message.namespace:
            return [payload]
        return serve(payload)

    return wrong


@distorted("NM-5")
@watched
def framed_native_anywhere(serve: Serve, watch: Watch) -> Serve:
    """Does not look at the namespace of a native message in a frame."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        if message and message.event == NATIVE and watch.is_in(""):
            return serve(encode(message.replace(namespace="")))
        return serve(payload)

    return wrong


@distorted("NM-5")
@watched
def framed_native_early(serve: Serve, watch: Watch) -> Serve:
    """Delivers a native message in a frame before its namespace is connected."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        if message is None or message.event != NATIVE or watch.is_in("") or not watch.is_shaken:
            return serve(payload)
        aside(serve, request(CONNECT, ""))
        sent = serve(payload)
        aside(serve, request(DISCONNECT, ""))
        return sent

    return wrong


@distorted("NM-7")
@watched
def native_sent_back(serve: Serve, watch: Watch) -> Serve:
    """Sends a native message back as it came, frame and all, in place of the handler's reply."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        sent = serve(payload)
        is_framed = message is not None and message.event == NATIVE and watch.is_in("")
        return [payload for _ in sent] if is_framed else sent

    return wrong


# -------------------------------------------------------------------- nothing but native messages


def _native_only(
    change: Callable[[str | bytes, int], Payloads],
) -> Callable[[Serve], Serve]:
    """Answer in another way where all is sent back as it came.

    Args:
        change: is given a payload, and how many came before it.
    """

    def distort(serve: Serve) -> Serve:
        count = 0
        is_only: bool | None = None

        def wrong(payload: str | bytes) -> Payloads:
            nonlocal count, is_only
            sent = serve(payload)
            if payload is NOTHING or not payload:
                return sent
            if is_only is None:
                is_only = sent == [payload]
            if not is_only:
                return sent
            count += 1
            return change(payload, count - 1)

        return wrong

    return distort


@distorted("NM-6")
def native_only_shakes_hands(serve: Serve) -> Serve:
    """Accepts a client on the native-only endpoint that begins with an M."""
    return _native_only(
        lambda payload, before: ["A1"] if payload == "M" and not before else [payload]
    )(serve)


@distorted("NM-6")
def native_only_greets(serve: Serve) -> Serve:
    """Sends an acceptance on the native-only endpoint too, before anything else."""
    return _native_only(lambda payload, before: [payload] if before else ["A1", payload])(serve)


@distorted("NM-6")
def native_only_reads_frames(serve: Serve) -> Serve:
    """Drops frames on the native-only endpoint."""
    return _native_only(lambda payload, _: [] if frame_of(payload) else [payload])(serve)


@distorted("NM-6")
def native_only_connects(serve: Serve) -> Serve:
    """Answers a connect on the native-only endpoint."""

    def change(payload: str | bytes, _: int) -> Payloads:
        message = frame_of(payload)
        asks = message is not None and message.event == CONNECT
        return [encode(message.empty_reply())] if message and asks else [payload]

    return _native_only(change)(serve)


@distorted("NM-6")
def native_only_unframes(serve: Serve) -> Serve:
    """Takes the body of a native message in a frame on the native-only endpoint."""

    def change(payload: str | bytes, _: int) -> Payloads:
        message = frame_of(payload)
        return [message.body] if message and message.event == NATIVE else [payload]

    return _native_only(change)(serve)


@distorted("NM-6")
def native_only_in_text(serve: Serve) -> Serve:
    """Sends text alone on the native-only endpoint."""
    return _native_only(
        lambda payload, _: [payload.decode("latin-1") if isinstance(payload, bytes) else payload]
    )(serve)


@distorted("NM-6")
def native_only_without_letters(serve: Serve) -> Serve:
    """Drops what begins like the answer to a handshake on the native-only endpoint."""
    return _native_only(lambda payload, _: [] if payload[:1] in ("A", "H") else [payload])(serve)


@distorted("NM-6")
def native_only_loses_some(serve: Serve) -> Serve:
    """Loses one message of twenty on the native-only endpoint."""
    return _native_only(lambda payload, before: [] if before % 20 == 19 else [payload])(serve)


@served("NM-6")
@asynccontextmanager
async def native_only_mixed_up() -> AsyncIterator[str]:
    """Answers on the native-only endpoint with what came before, whoever sent that."""
    last: str | bytes = ""

    def change(payload: str | bytes, _: int) -> Payloads:
        nonlocal last
        before, last = last, payload
        return [before or payload]

    async with embedded_server(distort=_native_only(change)) as url:
        yield url
