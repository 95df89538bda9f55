"""Reports the violations of servers that share a broker, which it only observes.

Fed what is published, and the messages on the servers' connections after a ``Monitor`` has taken
them, it reports what the servers broke between them. It never raises on any input, and its memory
is bounded.

It accuses on evidence alone. Not every connection need be observed, a broker may lose a message
for an observer, and an application may send the same message to anyone. Therefore nothing follows
from what was not published or delivered, nor from a frame that a connection may have got from its
own server. What is published under the channels of the servers counts as theirs.

What was published may be observed after it was delivered; what a client sends is observed before
anything that follows from it.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from hashlib import blake2b
from typing import Any, Final, NamedTuple, TypeVar

from neffos_codec import CodecError, Decoding, Message, WaitKind, decode, parse_wait
from neffos_protocol.conversation import MAX_HEAD, MAX_REMEMBERED, Conversation, ObservedAsk
from neffos_protocol.events import Role
from neffos_protocol.exchange import Channels, PublishedFrame, read_published
from neffos_protocol.monitor import Violation

MAX_PREFIXES: Final = 64
"""Prefixes that are learnt from what is published: each application on a broker has one."""

MAX_RECENT: Final = 256
"""Messages that are compared with what is published: those under way at a time are fewer."""

MAX_TAIL: Final = 256
"""Bytes of a body, from its end, that are compared to find out whose client caused a frame."""

MIN_PART: Final = 4
"""Bytes of a body that say whose client sent them as a part of its own; fewer recur by chance."""

_ASKS: Final = "ask."
"""Follows the prefix in the channel of a reply (SX-4)."""

_GO_SENDER: Final = re.compile(r"neffos\(0x([^(]*)\((.*)0x[0-9a-f]+\)\)", re.DOTALL)
"""The explicit sender of a Go server: what the server calls itself, and a connection ID."""

_NOT_MEMBER: Final = frozenset({"NS-11", "RM-10"})
"""What the monitor of a connection says of an event outside its memberships (SX-8)."""

K = TypeVar("K", bound=Hashable)


class _Key(NamedTuple):
    """What tells a frame from others, wherever it passes: all but its wait field.

    Of its names and its body there are digests: either may have many bytes.
    """

    names: bytes
    is_error: bool
    body: bytes


class ClusterMonitor:
    """Observes what servers publish, beside their connections.

    Args:
        channels: gives the names of channels by their prefix: those of Redis or of NATS.
        prefix: what the channels begin with; learnt from what is published if it is empty.

    Attributes:
        number: how many messages were published.
        frame: the last one, where it is a frame.
        publisher: the number of the server that published it, as far as it shows, else 0.
        remark: what the last message of a connection may show, without proof; mostly empty.
        pending: asks on the broker that have no reply there, by token.
    """

    def __init__(self, channels: Callable[[str], Channels], prefix: str = "") -> None:
        self.number = 0
        self.frame: PublishedFrame | None = None
        self.publisher = 0
        self.remark = ""
        self.pending: OrderedDict[str, ObservedAsk] = OrderedDict()
        own = channels("neffos")
        self._plain, self._end = own.plain, own.end
        self._is_given = bool(prefix)
        self._prefixes: dict[str, None] = {prefix: None} if prefix else {}
        self._nodes: dict[int, int] = {}
        self._ids: OrderedDict[str, tuple[int, int]] = OrderedDict()  # connection and node
        self._origins: OrderedDict[str, int] = OrderedDict()  # likewise, by the names in frames
        self._tokens: OrderedDict[str, None] = OrderedDict()  # of all asks on the broker
        self._waits: OrderedDict[str, None] = OrderedDict()  # of clients' frames
        self._replies: OrderedDict[_Key, deque[int]] = OrderedDict()  # the clients' nodes
        self._strays: OrderedDict[tuple[str, _Key], int] = OrderedDict()
        self._binary: OrderedDict[_Key, None] = OrderedDict()
        self._published: OrderedDict[_Key, None] = OrderedDict()
        self._outside: OrderedDict[_Key, int] = OrderedDict()  # delivered, by the connection
        self._as_text: OrderedDict[_Key, int] = OrderedDict()  # likewise
        self._excluded: OrderedDict[tuple[int, _Key], None] = OrderedDict()
        self._sent: deque[tuple[int, bytes]] = deque(maxlen=MAX_RECENT)

    # ------------------------------------------------------------ connections

    def open(self, connection: int, node: int) -> None:
        """Take the number of the server that a connection is on, counted from 1."""
        self._nodes[connection] = node

    def close(self, connection: int) -> None:
        """Take the end of a connection."""
        self._nodes.pop(connection, None)

    def observe(
        self, connection: int, sender: Role | str, seen: Conversation, found: Sequence[Violation]
    ) -> list[Violation]:
        """Take a message of a connection, and give what it shows of what was published before.

        Args:
            connection: its number.
            sender: who sent the message.
            seen: what the messages of the connection have shown, with this one.
            found: what the monitor of the connection said of it.
        """
        message, node = seen.message, self._nodes.get(connection, 1)
        self.remark = ""
        if message is None:
            is_known = seen.handshake is not None and seen.is_accepted
            if is_known and 0 < len(seen.id) <= MAX_HEAD:
                _put(self._ids, seen.id, (connection, node))
            return []
        if sender == Role.CLIENT:
            self._take_from_client(connection, node, message, seen)
            return []
        key = _key(message)
        violations = []
        if any(each.requirement in _NOT_MEMBER for each in found):
            if key in self._published:
                violations.append(_outside(seen.number, connection))
            else:
                _put(self._outside, key, connection, MAX_RECENT)
        if isinstance(message.body, str) and _is_broken(message.body):
            if key in self._binary:
                violations.append(_as_text(seen.number, connection))
            else:
                _put(self._as_text, key, connection, MAX_RECENT)
        if (connection, key) in self._excluded:
            self.remark = "it got what was published to all but it; its server may have sent it"
        return violations

    def _take_from_client(
        self, connection: int, node: int, message: Message, seen: Conversation
    ) -> None:
        self._sent.append((node, _tail(message.body)))
        wait = message.wait
        if not wait or len(wait) > MAX_HEAD:
            return
        _put(self._waits, wait, None)
        key = _key(message)
        if seen.ask is not None and seen.ask.number != seen.number:
            replies = self._replies.get(key) or deque(maxlen=MAX_RECENT)
            replies.append(node)
            _put(self._replies, key, replies)
        elif seen.wait is not None and not seen.server.has_forgotten:
            for token in {wait, seen.wait.token}:
                _put(self._strays, (token, key), connection, MAX_RECENT)

    # ------------------------------------------------------------ the broker

    def publish(self, channel: str, payload: bytes) -> list[Violation]:
        """Take what was published on a channel, and give what is wrong with it."""
        self.number += 1
        self.frame, self.publisher = None, 0
        try:
            frame = self.frame = read_published(payload)
        except CodecError:  # anyone may publish that
            return []
        found: list[Violation] = []
        message, key = frame.message, _key(frame.message)
        wait = parse_wait(payload.partition(b";")[0].decode(errors="surrogateescape"))
        self._learn(channel, message)
        rest = self._rest(channel)
        if rest is not None and rest.startswith(_ASKS):
            self._take_reply(rest.removeprefix(_ASKS), key, found)
        elif not frame.token and (name := self._bare_token(channel, rest, key)):
            self._find(found, "SX-4", f"the reply to {name!r} is published under {channel!r}")
            self._take_reply(self._plain(name), key, found)
        elif rest is not None:
            self._check_channel(channel, rest, message, found)
            self._take_message(frame, wait.kind, wait.token, found)
            self._check_form(payload, found)
        self._attribute(frame, wait.sender)
        return found

    def _find(self, found: list[Violation], requirement: str, explanation: str) -> None:
        found.append(Violation(requirement, self.number, Role.SERVER, explanation))

    def _learn(self, channel: str, message: Message) -> None:
        """Learn a prefix from the channel of a namespace."""
        end = f".{self._plain(message.namespace)}{self._end}"
        prefix = channel.removesuffix(end)
        if not self._is_given and prefix not in ("", channel) and len(prefix) <= MAX_HEAD:
            self._prefixes.setdefault(prefix)
            if len(self._prefixes) > MAX_PREFIXES:
                del self._prefixes[next(iter(self._prefixes))]

    def _rest(self, channel: str) -> str | None:
        """Give what follows the longest known prefix of a channel."""
        known = [each for each in self._prefixes if channel.startswith(f"{each}.")]
        return channel[len(max(known, key=len)) + 1 :] if known else None

    def _bare_token(self, channel: str, rest: str | None, key: _Key) -> str:
        """Give the token of an ask if a channel has it in the place of a name."""
        if rest is not None:
            names = {rest, rest.removesuffix(self._end)} - self._ids.keys()
            return next((each for each in names if each in self._tokens), "")
        if channel.endswith(self._end) if self._end else "." in channel:
            return ""  # it has the form of a channel, and a client may choose any token
        return channel if channel in self._tokens or (channel, key) in self._strays else ""

    def _check_channel(
        self, channel: str, rest: str, message: Message, found: list[Violation]
    ) -> None:
        if self._end:
            if not rest.endswith(self._end):
                self._find(found, "SX-5", f"{channel!r} ends with no {self._end!r}")
        elif (plain := self._plain(rest)) != rest and any(
            plain == self._plain(name) for name in (message.namespace, *self._ids)
        ):
            self._find(found, "SX-6", f"the name {plain!r} is {rest!r} in a subject")

    def _take_message(
        self, frame: PublishedFrame, kind: WaitKind, token: str, found: list[Violation]
    ) -> None:
        """Take an event or an ask."""
        message = frame.message
        if frame.token:
            names = message.namespace, message.room, message.event
            if sum(map(len, (frame.token, *names))) <= MAX_HEAD:
                is_binary = isinstance(message.body, bytes)
                ask = ObservedAsk(
                    self.number, frame.token, *names, is_binary, change=None, is_superseded=False
                )
                _put(self.pending, frame.token, ask)
                _put(self._tokens, frame.token, None)
        elif kind is WaitKind.SERVER_ASK and token not in self._waits:
            self._find(found, "SX-3", f"an ask whose token {token!r} has no '!'")
        key = _key(message)
        if key in self._outside:
            found.append(_outside(self.number, self._outside.pop(key)))
        _put(self._published, key, None, MAX_RECENT)
        if isinstance(message.body, bytes) and (frame.origin is None or frame.origin.is_binary):
            for text in _texts(message.body):
                as_sent = key._replace(body=_digest(text))
                if as_sent in self._as_text:
                    found.append(_as_text(self.number, self._as_text.pop(as_sent)))
                _put(self._binary, as_sent, None, MAX_RECENT)

    def _take_reply(self, name: str, key: _Key, found: list[Violation]) -> None:
        """Take a reply under the name of a token."""
        for token in [each for each in self.pending if self._plain(each) == name]:
            del self.pending[token]
        if nodes := self._replies.get(key):
            self.publisher = nodes.popleft()
            return
        for (token, sent), connection in self._strays.items():
            if sent == key and self._plain(token) == name:
                text = f"as the reply to {token!r}, what connection {connection} was not asked for"
                self._find(found, "SX-9", text)
                self.publisher = self._nodes.get(connection, 0)
                del self._strays[token, sent]
                return

    def _check_form(self, payload: bytes, found: list[Violation]) -> None:
        """Check the form of a frame as that of one for a client, but for its wait field."""
        try:
            decode(";" + payload.partition(b";")[2].decode(), decoding=Decoding.STRICT)
        except UnicodeDecodeError:
            return  # a binary message
        except CodecError as error:
            self._find(found, "SX-7", f"no client may get such a frame: {error.explanation}")

    def _attribute(self, frame: PublishedFrame, sender: str) -> None:
        """Find out which server published a frame: as far as one shows, and no further."""
        origin = frame.origin.node if frame.origin else ""
        if (go := _GO_SENDER.fullmatch(sender)) is not None:
            origin = go[1]
            excluded, self.publisher = self._ids.get(go[2], (0, 0))
            if excluded:
                _put(self._excluded, (excluded, _key(frame.message)), None, MAX_RECENT)
        if not self.publisher:
            self.publisher = self._origins.get(origin, 0)
        if not self.publisher:
            tail = _tail(frame.message.body)
            nodes = {node for node, sent in self._sent if tail and _is_of(tail, sent)}
            self.publisher = nodes.pop() if len(nodes) == 1 else 0
        if self.publisher and 0 < len(origin) <= MAX_HEAD:
            _put(self._origins, origin, self.publisher)


def _key(message: Message) -> _Key:
    namespace, room = message.namespace, message.room
    names = f"{len(namespace)};{len(room)};{namespace}{room}{message.event}"
    return _Key(_digest(names), message.is_error, _digest(message.body))


def _digest(body: str | bytes) -> bytes:
    return blake2b(_data(body), digest_size=16).digest()


def _data(body: str | bytes) -> bytes:
    return body.encode(errors="surrogatepass") if isinstance(body, str) else body


def _tail(body: str | bytes) -> bytes:
    return _data(body[-MAX_TAIL:])[-MAX_TAIL:]


def _is_of(tail: bytes, sent: bytes) -> bool:
    """Whether the end of a body is that of what a client sent, or a part of it."""
    return tail == sent or (len(tail) >= MIN_PART and tail in sent)


def _is_broken(body: str) -> bool:
    """Whether a text may have been made of bytes that are not UTF-8."""
    return any(each == "\ufffd" or "\udc80" <= each <= "\udcff" for each in body)


def _texts(body: bytes) -> Sequence[str]:
    """Give the texts that a server may make of bytes, if they are not UTF-8."""
    texts = {body.decode(errors=errors) for errors in ("replace", "surrogateescape")}
    return sorted(text for text in texts if _is_broken(text))


def _outside(number: int, connection: int) -> Violation:
    text = f"what was published was sent to connection {connection}, which is not a member"
    return Violation("SX-8", number, Role.SERVER, text)


def _as_text(number: int, connection: int) -> Violation:
    text = f"the binary message that was published was sent to connection {connection} as text"
    return Violation("SX-12", number, Role.SERVER, text)


def _put(memory: OrderedDict[K, Any], key: K, value: Any, most: int = 0) -> None:
    """Remember, and forget the oldest beyond a number, or ``MAX_REMEMBERED``."""
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > (most or MAX_REMEMBERED):
        memory.popitem(last=False)
