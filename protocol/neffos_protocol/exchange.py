"""What servers publish on an exchange and how they read it, without I/O.

A server publishes the frame that a client would get. Its wait field is the explicit sender of an
event, or the marked token of an ask (SX-3, SX-7). No client writes either (SX-1, AR-23).

This module writes more into both than Go does, in a form that Go's servers read as theirs: which
node published the frame, the type of its message, and the digest of the connection ID that it is
for. A node thereby drops its own frames when they return, sends binary messages as binary ones,
and distinguishes connections that share a channel.

>>> channels = nats_subjects("chat")
>>> channels.of_namespace("a.b"), channels.of_connection("c1"), channels.of_reply("17-1")
('chat.a_b', 'chat.c1', 'chat.ask.17-1')
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from neffos_codec import Message, decode, encode, parse_wait
from neffos_protocol.names import EXCHANGE_MARKER, constant

_DIGEST_LENGTH: Final = 32
"""Hexadecimal digits of a digest: 128 bits, so that nobody makes two IDs with one digest."""

_SENDER_PREFIX: Final[str] = constant("exchange.sender-prefix")
"""Begins an explicit sender (SX-1)."""

_WITH_MEANING: Final = "".join(constant("exchange.nats-replaced"))
_REPLACED: Final = re.compile(f"[{re.escape(_WITH_MEANING)}\v\f\ud800-\udfff]")
"""Also two characters that end the connection of who subscribes them, or hears of them: a NATS
server refuses the form feed, and clients take either for the end of the subject."""
_REPLACEMENT: Final[str] = constant("exchange.nats-replacement")

_TAG: Final = rf"([0-9a-f]{{32}})\(([tb])([0-9a-f]{{{_DIGEST_LENGTH}}})?\)"
_SENDER: Final = re.compile(re.escape(_SENDER_PREFIX) + _TAG + r"\)")
_TOKEN: Final = re.compile(r".+-" + _TAG, re.DOTALL)


@dataclass(frozen=True, slots=True)
class Channels:
    """The names under which servers publish (SX-4, SX-5).

    Attributes:
        prefix: what the servers of one application have in common.
        end: what follows the name of a namespace or a connection.
        plain: a name as it is written into a channel.
    """

    prefix: str
    end: str
    plain: Callable[[str], str]

    def of_namespace(self, name: str) -> str:
        """Return the channel of a namespace and of all its rooms."""
        return f"{self.prefix}.{self.plain(name)}{self.end}"

    def of_connection(self, id_: str) -> str:
        """Return the channel of what is for one connection."""
        return self.of_namespace(id_)

    def of_reply(self, token: str) -> str:
        """Return the channel of the replies to an ask, by its token without the marker."""
        return f"{self.prefix}.ask.{self.plain(token)}"


def redis_channels(prefix: str) -> Channels:
    """Return the channels on Redis, and in memory.

    Raises:
        ValueError: the prefix is empty.
    """
    if not prefix:
        raise ValueError("the prefix of an exchange is not empty")
    return Channels(prefix, ".", _as_it_is)


def nats_subjects(prefix: str) -> Channels:
    """Return the subjects on NATS (SX-6).

    Raises:
        ValueError: the prefix has an empty part, or a character with a meaning in a subject.
    """
    if any(not part or _REPLACED.search(part) for part in prefix.split(".")):
        raise ValueError(f"a NATS subject cannot begin with the prefix {prefix!r}")
    return Channels(prefix, "", _subject_token)


CHANNELS: Final[dict[str, Callable[[str], Channels]]] = {
    "redis": redis_channels,
    "nats": nats_subjects,
}
"""What gives the names of channels by their prefix, by the kind of the broker."""


def _as_it_is(name: str) -> str:
    return name


def _subject_token(name: str) -> str:
    return _REPLACED.sub(_REPLACEMENT, name) or _REPLACEMENT


@dataclass(frozen=True, slots=True)
class Origin:
    """What a node of this library adds to a frame that it publishes.

    Attributes:
        node: 32 hexadecimal digits that no other node has.
        is_binary: whether clients get a binary message.
        to: the digest of the connection ID that the frame is for, or empty.
    """

    node: str
    is_binary: bool
    to: str = ""

    @property
    def sender(self) -> str:
        """The explicit sender that carries it. No connection of a Go server has this name."""
        return f"{_SENDER_PREFIX}{self._tag})"

    def token(self, unique: str) -> str:
        """Return the token of an ask that carries it, without the exchange marker."""
        return f"{unique}-{self._tag}"

    @property
    def _tag(self) -> str:
        return f"{self.node}({'b' if self.is_binary else 't'}{self.to})"


def digest(id_: str) -> str:
    """Return what stands for a connection ID in an ``Origin``."""
    return sha256(id_.encode(errors="surrogatepass")).hexdigest()[:_DIGEST_LENGTH]


def published(message: Message, origin: Origin, token: str = "") -> bytes:
    """Return what is published for a message.

    Args:
        message: the event, ask or reply. Its wait field is not used.
        origin: where it comes from.
        token: of an ask, without the marker.
    """
    wait = token[:1] + EXCHANGE_MARKER + token[1:] if token else origin.sender
    payload = encode(_with_wait(message, wait))
    return payload if isinstance(payload, bytes) else payload.encode()


@dataclass(frozen=True, slots=True)
class PublishedFrame:
    """A frame that was published on an exchange.

    Attributes:
        message: what clients get, without a wait field (AR-17). Its body is ``bytes`` if the
            node said so, or if it is not UTF-8: a node in Go does not say (SX-12).
        token: of an ask, without the marker; otherwise empty.
        origin: what a node of this library added.
    """

    message: Message
    token: str = ""
    origin: Origin | None = None


def read_published(payload: bytes) -> PublishedFrame:
    """Read what was published.

    A token without a marker is not the token of an exchange's ask: neffos-go 0.0.25 publishes one
    if an application broadcasts an ask that it received (DV-41). Nobody waits for the reply.

    Raises:
        DecodeError: it is not a frame.
        EncodeError: no message can have one of its names, such as one that is not UTF-8.
    """
    message = _decoded(payload)
    wait = parse_wait(message.wait)
    origin = _origin(_SENDER.fullmatch(wait.sender) or _TOKEN.fullmatch(wait.token))
    if origin is not None and origin.is_binary and isinstance(message.body, str):
        message = decode(payload)
    token = wait.token if wait.from_exchange else ""
    return PublishedFrame(_with_wait(message, ""), token, origin)


def _decoded(payload: bytes) -> Message:
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return decode(payload)
    return decode(text)


def _origin(found: re.Match[str] | None) -> Origin | None:
    return found and Origin(found[1], found[2] == "b", found[3] or "")


def _with_wait(message: Message, wait: str) -> Message:
    return Message(
        wait,
        message.namespace,
        message.room,
        message.event,
        message.is_error,
        message.is_no_op,
        message.body,
    )
