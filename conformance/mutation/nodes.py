"""Nodes of a cluster, each with one fault in what it publishes, or makes of what is published."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Final

from mutation.clusters import Node, NodeHooks, Payload
from mutation.hooks import JOIN
from mutation.registry import mutants
from neffos_codec import ESCAPE, Message, encode
from neffos_conformance.runner.exchange_steps import Heard
from neffos_conformance.wire.payloads import frame_of, payload_bytes

LARGE = 64 << 10
"""Bytes from which on a message is large for the node that drops it."""

TENTH = 10


def _frame(payload: bytes) -> Message | None:
    try:
        return frame_of(payload.decode())
    except UnicodeDecodeError:
        return frame_of(payload)


def _changed(change: Callable[[Message], Message]) -> Callable[..., list[Heard] | None]:
    """Give a hook that changes each frame."""

    def hook(_: Node, channel: str, payload: bytes) -> list[Heard] | None:
        frame = _frame(payload)
        if frame is None or (changed := change(frame)) == frame:
            return None
        return [(channel, payload_bytes(encode(changed)))]

    return hook


def _is_reply(channel: str) -> bool:
    return ".ask." in channel


# ---- what is published


def _under_the_bare_token(node: Node, channel: str, payload: bytes) -> list[Heard] | None:
    start = f"{node.channels.prefix}.ask."
    return [(channel.removeprefix(start), payload)] if _is_reply(channel) else None


def _errors_kept(_: Node, channel: str, payload: bytes) -> list[Heard] | None:
    frame = _frame(payload)
    return [] if _is_reply(channel) and frame and frame.is_error else None


def _errors_reworded(_: Node, channel: str, payload: bytes) -> list[Heard] | None:
    frame = _frame(payload)
    if frame is None or not _is_reply(channel) or not frame.is_error:
        return None
    return [(channel, payload_bytes(encode(frame.replace(body=f"an error: {frame.body!s}"))))]


def _note_room(node: Node, payload: Payload) -> None:
    frame = frame_of(payload)
    if frame is not None and frame.event == JOIN:
        node.count(frame.room)


def _kept_if_two_are_asked(node: Node, channel: str, payload: bytes) -> list[Heard] | None:
    frame = _frame(payload)
    are_two = frame is not None and node.counts[frame.room] > 1
    return [] if are_two and _is_reply(channel) else None


def _by_namespace_alone(node: Node, channel: str, payload: bytes) -> list[Heard] | None:
    frame = _frame(payload)
    if frame is None or _is_reply(channel):
        return None
    return [(node.channels.of_namespace(frame.namespace), payload)]


def _by_room(node: Node, channel: str, payload: bytes) -> list[Heard] | None:
    frame = _frame(payload)
    if frame is None or not frame.room or frame.wait[1:2] == "!" or _is_reply(channel):
        return None
    return [(f"{channel}{frame.room}{node.channels.end}", payload)]


def _under_another_name(_: Node, channel: str, payload: bytes) -> list[Heard] | None:
    return None if _is_reply(channel) else [(f"{channel}messages", payload)]


def _room_unescaped(_: Node, channel: str, payload: bytes) -> list[Heard] | None:
    return [(channel, payload.replace(ESCAPE.encode(), b";"))]


def _unmarked(frame: Message) -> Message:
    is_ask = frame.wait[1:2] == "!"
    return frame.replace(wait=frame.wait[0] + frame.wait[2:]) if is_ask else frame


def _marked_amid_a_character(_: Node, channel: str, payload: bytes) -> list[Heard] | None:
    return [(channel, b"\xc3!\xa9" + payload[2:])] if payload[1:2] == b"!" else None


def _large_dropped(_: Node, __: str, payload: bytes) -> list[Heard] | None:
    return [] if len(payload) > LARGE else None


def _every_tenth_dropped(node: Node, channel: str, _: bytes) -> list[Heard] | None:
    return [] if not node.count(channel) % TENTH else None


# ---- what is delivered


def _again_with_the_next(node: Node, channel: str, payload: bytes) -> list[Heard]:
    before = node.values.get(channel, ())
    node.values[channel] = [(channel, payload)]
    return [*before, (channel, payload)]


def _second_reply_first(node: Node, channel: str, payload: bytes) -> list[Heard] | None:
    if not _is_reply(channel):
        return None
    if channel not in node.values:
        node.values[channel] = [(channel, payload)]
        return []
    return [(channel, payload), *node.values.pop(channel)]


def _asks_dropped(_: Node, __: str, payload: bytes) -> list[Heard] | None:
    frame = _frame(payload)
    return [] if frame is not None and frame.wait[1:2] == "!" else None


def _for_one_frame(node: Node, channel: str, payload: bytes) -> Message | None:
    """Give the frame that is published for one connection."""
    frame = _frame(payload)
    if frame is None or _is_reply(channel):
        return None
    return None if channel == node.channels.of_namespace(frame.namespace) else frame


def _for_its_namespace(node: Node, channel: str, payload: bytes) -> list[Heard] | None:
    frame = _for_one_frame(node, channel, payload)
    if frame is None or frame.wait:  # a server of Python says there whom it is for
        return None
    return [(node.channels.of_namespace(frame.namespace), payload)]


OTHERWISE: Final = "otherwise-"
"""What a node puts before an event of ``app`` that it has its server send in ``any``."""


def _in_any(node: Node, channel: str, payload: bytes) -> list[Heard] | None:
    frame = _for_one_frame(node, channel, payload)
    if frame is None or frame.namespace != "app":
        return None
    other = frame.replace(namespace="any", event=OTHERWISE + frame.event)
    return [(channel, payload), (channel, payload_bytes(encode(other)))]


def _in_app(payload: Payload) -> Payload:
    if isinstance(payload, bytes) or OTHERWISE not in payload:
        return payload
    return payload.replace(";any;", ";app;", 1).replace(OTHERWISE, "", 1)


def _sender_left_in(frame: Message) -> Message:
    is_sender = frame.wait.startswith("neffos(0x")
    return frame.replace(wait="") if is_sender else frame


def _with_token(frame: Message) -> Message:
    return frame.replace(wait="17") if frame.event == "news" else frame


def _not_after_nonsense(node: Node, _: str, payload: bytes) -> list[Heard] | None:
    if _frame(payload) is None:
        node.seen.add("nonsense")
        return []
    is_after = bool(node.seen)
    node.seen.clear()
    return [] if is_after else None


PASSED_ON: Final = ";app;;passed-on;0;0;"
"""What a node puts before a payload that is not a frame, to have its server send it."""


def _in_a_frame(_: Node, channel: str, payload: bytes) -> list[Heard] | None:
    return [(channel, PASSED_ON.encode() + payload)] if _frame(payload) is None else None


def _all_ends(channel: str, subscribed: Iterable[str]) -> Iterable[str]:
    return [channel] if _is_reply(channel) else subscribed


# ---- what clients send and get


def _published_by_marker(node: Node, payload: Payload) -> None:
    frame = frame_of(payload)
    if frame is not None and frame.wait[1:2] == "!" and len(frame.wait) > len("1!"):
        token = _unmarked(frame).wait
        node.publish(node.channels.of_reply(token), payload_bytes(payload))


def _second_replies_published(node: Node, payload: Payload) -> None:
    frame = frame_of(payload)
    if frame is None or not frame.wait or frame.wait.startswith("$"):
        return
    if node.count(frame.wait) > 1:
        node.publish(node.channels.of_reply(frame.wait), payload_bytes(payload))


def _with_sender(payload: Payload) -> Payload:
    if isinstance(payload, str) and payload.startswith(";app;;news;"):
        return f"neffos(0xc000123456){payload}"
    return payload


def _news_as_text(payload: Payload) -> Payload:
    if isinstance(payload, bytes) and b";news;" in payload:
        return payload.decode(errors="replace")
    return payload


def _out_of_the_frame(payload: Payload) -> Payload:
    return payload.removeprefix(PASSED_ON) if isinstance(payload, str) else payload


def _without_special(*kept: str) -> Callable[[str], str]:
    special = "".join(each for each in ".*> \t\r\n" if each not in kept)
    return lambda name: re.sub(f"[{re.escape(special)}]", "_", name) or "_"


def _matches(own: str, channel: str) -> bool:
    """Whether a subscription of NATS gets what is published on a subject."""
    pieces, others = own.split("."), channel.split(".")
    return len(pieces) == len(others) and all(
        piece in ("*", other) for piece, other in zip(pieces, others, strict=True)
    )


mutants(
    "SX-1 sender-passed-on: Sends clients events with an explicit sender.",
    NodeHooks(send=_with_sender),
    "SX-3 marker-missing: Publishes an ask without a marker in its token.",
    NodeHooks(publish=_changed(_unmarked)),
    "SX-3 marked-amid-a-character: Puts the marker between the two bytes that begin a token.",
    NodeHooks(publish=_marked_amid_a_character),
    "SX-3 second-reply-taken: Takes the second reply to an ask for the first.",
    NodeHooks(deliver=_second_reply_first),
    "SX-4 asks-dropped: Asks no client what arrives over an exchange.",
    NodeHooks(deliver=_asks_dropped),
    "SX-4 bare-token: Publishes a reply under the token alone.",
    NodeHooks(publish=_under_the_bare_token),
    "SX-4 error-replies-kept: Publishes no error reply.",
    NodeHooks(publish=_errors_kept),
    "SX-4 error-replies-reworded: Publishes an error reply with a text of its own.",
    NodeHooks(publish=_errors_reworded),
    "SX-4 waits-for-all: Publishes no reply while one of two clients has not replied.",
    NodeHooks(receive=_note_room, publish=_kept_if_two_are_asked),
    "SX-5 named-otherwise: Publishes under a name that nobody subscribes.",
    NodeHooks(publish=_under_another_name),
    "SX-5 room-channels: Publishes an event to a room under the name of the room.",
    NodeHooks(publish=_by_room),
    "SX-5 namespace-channels: Publishes a message for one connection under its namespace.",
    NodeHooks(publish=_by_namespace_alone),
    "SX-6 dots-kept: Writes the dots of a name into a subject.",
    NodeHooks(plain=_without_special(".")),
    "SX-6 asterisks-kept: Writes the asterisks of a name into a subject.",
    NodeHooks(plain=_without_special("*")),
    "SX-6 spaces-kept: Writes the spaces of a name into a subject.",
    NodeHooks(plain=_without_special(" ")),
    "SX-6 tabs-kept: Writes the tabs of a name into a subject.",
    NodeHooks(plain=_without_special("\t")),
    "SX-6 carriage-returns-kept: Writes the carriage returns of a name into a subject.",
    NodeHooks(plain=_without_special("\r")),
    "SX-6 line-feeds-kept: Writes the line feeds of a name into a subject.",
    NodeHooks(plain=_without_special("\n")),
    "SX-6 greater-kept: Writes the greater-than signs of a name into a subject.",
    NodeHooks(plain=_without_special(">")),
    "SX-7 sender-forgotten: Publishes a broadcast to others without its sender.",
    NodeHooks(publish=_changed(_sender_left_in)),
    "SX-7 room-as-it-is: Publishes a room without escapes.",
    NodeHooks(publish=_room_unescaped),
    "SX-7 published-with-token: Publishes an event with a token.",
    NodeHooks(publish=_changed(_with_token)),
    "SX-7 large-unpublished: Publishes no message of more than 64 KiB.",
    NodeHooks(publish=_large_dropped),
    "EV-9 tenth-unpublished: Publishes nine of ten messages of a channel.",
    NodeHooks(publish=_every_tenth_dropped),
    "EV-8 kept-for-later: Delivers a message again with the next one on its channel.",
    NodeHooks(deliver=_again_with_the_next),
    "SX-8 namespaces-ignored: Delivers what is for one connection whatever namespaces that has.",
    NodeHooks(deliver=_in_any, send=_in_app),
    "SX-8 ids-ignored: Delivers what is for one connection to its whole namespace.",
    NodeHooks(deliver=_for_its_namespace),
    "SX-8 rooms-ignored: Delivers a broadcast to a room to the whole namespace.",
    NodeHooks(deliver=_changed(lambda frame: frame.replace(room=""))),
    "SX-8 sender-told: Delivers a broadcast to its sender, too.",
    NodeHooks(deliver=_changed(_sender_left_in)),
    "NM-1 nonsense-passed-on: Sends clients what it receives and is not a frame.",
    NodeHooks(deliver=_in_a_frame, send=_out_of_the_frame),
    "EV-9 stops-at-nonsense: Drops the frame after a payload that is not one.",
    NodeHooks(deliver=_not_after_nonsense),
    "EV-9 one-ends-all: Unsubscribes everything when one connection ends.",
    NodeHooks(ends=_all_ends),
    "SX-9 published-by-marker: Publishes what a client sends with a marked token.",
    NodeHooks(receive=_published_by_marker),
    "SX-9 second-published: Publishes further replies to one ask.",
    NodeHooks(receive=_second_replies_published),
    "SX-11 subscribed-by-pattern: Takes the names that it subscribes for patterns.",
    NodeHooks(wants=lambda own, channel: fnmatchcase(channel, own)),
    "SX-11 pieces-as-patterns: Writes names as they stand into a subject, and asterisks with them.",
    NodeHooks(publish=_changed(_sender_left_in), plain=lambda name: name, wants=_matches),
    "SX-12 all-as-text: Sends every broadcast as text.",
    NodeHooks(send=_news_as_text),
    " as-it-should: Does what a correct node does.",
    NodeHooks(),
)
