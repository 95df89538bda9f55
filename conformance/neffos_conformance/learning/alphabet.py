"""The alphabets: the inputs that a peer's machine is learned over, and its outputs as words.

An input is something that the suite does. Most send one frame; an answer replies to the peer's own
ask; a command makes a client's application do something. A ``Dialogue`` turns the inputs of one
connection into payloads, and what comes back into words. It does no I/O, so that the same dialogue
is held with a live peer and with the specification's session.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum, unique
from itertools import groupby
from typing import Final, NamedTuple

from neffos_codec import Message, encode
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.payloads import frame_of
from neffos_conformance.wire.transport import Received
from neffos_protocol import Conversation, MessageKind, Role
from neffos_protocol.events import Change, MembershipKey
from neffos_protocol.names import BAD_NAMESPACE, BAD_ROOM, CHANGE_OF, INVALID_PAYLOAD, REQUEST_EVENT
from neffos_protocol.state_machines import MembershipState

APP, OTHER, ROOM, UNKNOWN = "app", "any", "lobby", "nowhere"
"""The names that inputs use: two namespaces, a room of the first, and a namespace of nobody."""

NOT_NOW: Final = "·"
"""The output of an input that the suite does not give in this state; nothing is sent."""

NOTHING: Final = "-"
"""The output of a peer that sends and reports nothing."""

CLOSED: Final = "closed"
DEAF: Final = "no barrier reply"
STOPPED: Final = "the client stops"
"""The last outputs of a connection; whatever follows has the same output."""

LAST: Final = (CLOSED, DEAF, STOPPED)

JOINT: Final = " + "
"""Between the words of one output."""


@unique
class Scene(StrEnum):
    """The machines that are learned, each over an alphabet of its own."""

    HANDSHAKE = "handshake"
    """From the upgrade to the end of the handshake."""
    ASKS = "asks"
    """The suite asks, and the peer replies: a namespace, a room and events."""
    NAMES = "names"
    """Names that are unknown, refused, empty, or not connected."""
    OWN_ASKS = "own-asks"
    """The peer asks, and the asks of both cross."""
    OWN_CONNECT = "own-connect"
    """A server asks to connect a namespace. With a client, that is in the scene before."""


@unique
class InputKind(StrEnum):
    """What an input does."""

    MESSAGE = "message"
    TRIGGER = "trigger"
    """An event that makes a server's application ask."""
    REPLY = "reply"
    REFUSE = "refuse"
    LATE = "late"
    """A refusal with the token of an ask that has ended."""
    COMMAND = "command"


@dataclass(frozen=True, slots=True)
class AbstractInput:
    """One symbol of an alphabet.

    Attributes:
        name: of the symbol, for people.
        kind: what it does.
        message: what it sends, or commands; its token stands for a new one. A ``str`` is sent as
            it is.
        needs: the features without which a server does not get it.
        change: what a trigger or a command asks for; ``None`` for an event ask.
    """

    name: str
    kind: InputKind = InputKind.MESSAGE
    message: Message | str = ""
    needs: tuple[str, ...] = ()
    change: Change | None = None

    @property
    def key(self) -> MembershipKey | None:
        """The membership that it asks to change, if it does."""
        if not isinstance(self.message, Message):
            return None
        change = self.change or CHANGE_OF.get(self.message.event)
        if change is None:
            return None
        named = self.message
        if self.kind is InputKind.TRIGGER:
            body = str(named.body)
            return {
                Change.CONNECT: MembershipKey(body),
                Change.DISCONNECT: MembershipKey(APP),
            }.get(change, MembershipKey(APP, body))
        return MembershipKey.of(change, named.namespace, named.room)


class Expecting(NamedTuple):
    """One place of a word: an input, and the output of the specification's peer."""

    given: AbstractInput
    expected: str


def _change(name: str, change: Change, /, *needs: str, **fields: object) -> AbstractInput:
    given = {"wait": "#", "namespace": APP, "event": REQUEST_EVENT[change], **fields}
    if change.is_of_room:
        given.setdefault("room", ROOM)
        needs = ("rooms", *needs)
    return AbstractInput(name, message=Message(**given), needs=("app", *needs))  # type: ignore[arg-type]


def _event(name: str, event: str, /, *needs: str, **fields: object) -> AbstractInput:
    given = {"wait": "#", "namespace": APP, "event": event, "body": "x", **fields}
    return AbstractInput(name, message=Message(**given), needs=("app", *needs))  # type: ignore[arg-type]


def _trigger(event: str, body: str, change: Change | None, *needs: str) -> AbstractInput:
    message = Message("", APP, "", event, body=body)
    return AbstractInput(event, InputKind.TRIGGER, message, ("app", *needs), change)


def _command(op: str, change: Change | None, room: str = "") -> AbstractInput:
    event = "" if change else "echo"
    return AbstractInput(f"do {op}", InputKind.COMMAND, Message("#", APP, room, event), (), change)


_CHANGES: Final = (
    _change("connect", Change.CONNECT),
    _change("disconnect", Change.DISCONNECT),
    _change("join", Change.JOIN),
    _change("leave", Change.LEAVE),
)

_ASKS: Final = (
    *_CHANGES,
    _change("connect without token", Change.CONNECT, wait=""),
    _change("connect with isNoOp", Change.CONNECT, is_no_op=True),
    _change("disconnect with isNoOp", Change.DISCONNECT, is_no_op=True),
    _change("connect with isError", Change.CONNECT, is_error=True, body="no"),
    _change("disconnect with isError", Change.DISCONNECT, is_error=True, body="no"),
    _change("join with isError", Change.JOIN, is_error=True, body="no"),
    _event("ask", "echo", "echo"),
    _event("ask in the room", "echo", "echo", "rooms", room=ROOM),
    _event("ask that fails", "fail", "fail"),
)


def _answers(change: Change, namespace: str) -> tuple[AbstractInput, ...]:
    room = ROOM if change.is_of_room else ""
    late = Message("", namespace, room, REQUEST_EVENT[change], is_error=True, body="no")
    return (
        AbstractInput("reply", InputKind.REPLY),
        AbstractInput("refuse", InputKind.REFUSE),
        AbstractInput("late refusal", InputKind.LATE, late),
    )


_NAMES: Final = (
    *_CHANGES[:2],
    _change("join without a name", Change.JOIN, room=""),
    _change("join unconnected", Change.JOIN, "any-event", namespace=OTHER),
    _event("ask unconnected", "hello", "any-event", namespace=OTHER),
    AbstractInput(
        "connect unknown",
        message=Message("#", UNKNOWN, "", REQUEST_EVENT[Change.CONNECT]),
    ),
)

REFUSED: Final = {Role.SERVER: ("refused", "locked"), Role.CLIENT: ("unwanted", "unwanted")}
"""The namespace and the room that an application refuses, by its role."""


def _names(role: Role) -> tuple[AbstractInput, ...]:
    namespace, room = REFUSED[role]
    return (
        *_NAMES,
        _change("connect refused", Change.CONNECT, "refused", namespace=namespace),
        _change("join refused", Change.JOIN, "locked-room", room=room),
    )


_TO_SERVER: Final = (
    _event("event", "echo", "echo", wait=""),
    *_ASKS,
)

_TO_CLIENT: Final = (
    _event("event", "news", wait=""),
    *_ASKS,
)

_MEMBER: Final = (
    *_CHANGES,
    _event("ask", "echo", "echo"),
    _event("ask in the room", "echo", "echo", "rooms", room=ROOM),
)

_ANY: Final = (
    _change("connect other", Change.CONNECT, "any-event", namespace=OTHER),
    _change("disconnect other", Change.DISCONNECT, "any-event", namespace=OTHER),
    _event("ask other", "hello", "any-event", namespace=OTHER),
)

_HANDSHAKE: Final = {
    Role.SERVER: (
        AbstractInput("request", message="M"),
        AbstractInput("longer request", message="Mxyz"),
        AbstractInput("acceptance", message="Achosen"),
        AbstractInput("refusal", message="Hno"),
        AbstractInput("not a frame", message="noise"),
        AbstractInput("ask", message=f"$early;{APP};;_OnNamespaceConnect;0;0;", needs=("app",)),
    ),
    Role.CLIENT: (
        AbstractInput("acceptance", message="A1"),
        AbstractInput("refusal", message="Hno"),
        AbstractInput("request", message="M"),
        AbstractInput("not a frame", message="noise"),
        AbstractInput("ask", message=f"early;{APP};;_OnNamespaceConnect;0;0;", needs=("app",)),
    ),
}

ALPHABETS: Final = {
    Role.SERVER: {
        Scene.HANDSHAKE: _HANDSHAKE[Role.SERVER],
        Scene.ASKS: _TO_SERVER,
        Scene.NAMES: _names(Role.SERVER),
        Scene.OWN_ASKS: (
            *_MEMBER,
            _trigger("disconnect-me", "", Change.DISCONNECT, "disconnect-me"),
            _trigger("join-me", ROOM, Change.JOIN, "join-me"),
            _trigger("leave-me", ROOM, Change.LEAVE, "leave-me"),
            _trigger("ask-me", "x", None, "server-asks"),
            *_answers(Change.JOIN, APP),
        ),
        Scene.OWN_CONNECT: (
            *_CHANGES[:2],
            *_ANY,
            _trigger("connect-me", OTHER, Change.CONNECT, "connect-me", "any-event"),
            *_answers(Change.CONNECT, OTHER),
        ),
    },
    Role.CLIENT: {
        Scene.HANDSHAKE: _HANDSHAKE[Role.CLIENT],
        Scene.ASKS: _TO_CLIENT,
        Scene.NAMES: _names(Role.CLIENT),
        Scene.OWN_ASKS: (
            *_MEMBER,
            _command("connect", Change.CONNECT),
            _command("disconnect", Change.DISCONNECT),
            _command("join", Change.JOIN, ROOM),
            _command("leave", Change.LEAVE, ROOM),
            _command("ask", None),
            *_answers(Change.CONNECT, APP)[:2],
        ),
        Scene.OWN_CONNECT: (),
    },
}
"""The alphabets, by the role of the peer that is learned."""


def alphabet(
    role: Role, scene: Scene, features: frozenset[str] | None = None
) -> Sequence[AbstractInput]:
    """Give the inputs of a machine; those that need a feature which a server lacks are left out.

    A machine of own asks without a trigger has nothing to learn, and is empty.
    """
    found = [
        each
        for each in ALPHABETS[role][scene]
        if features is None or features.issuperset(each.needs)
    ]
    is_own = scene in (Scene.OWN_ASKS, Scene.OWN_CONNECT)
    kinds = {each.kind for each in found}
    if is_own and not kinds & {InputKind.TRIGGER, InputKind.COMMAND}:
        return ()
    return found


def output(words: Iterable[str], reports: Iterable[str] = ()) -> str:
    """Give an output: what the peer sent, then what its application was told.

    Of equal words in a row one is left: how many frames were held back is no state. Reports are
    sorted, since no requirement says in which order an application learns of one message. A room
    that is left with its namespace may be reported or not.
    """
    told = sorted(reports)
    if "sees disconnected" in told:
        told = [each for each in told if each != "sees left"]
    return JOINT.join([*(word for word, _ in groupby(words)), *told]) or NOTHING


def may_become(found: str, expected: str) -> bool:
    """Whether what comes later can still make an output the expected one."""
    surplus = Counter(found.split(JOINT)) - Counter([NOTHING, *expected.split(JOINT)])
    if "sees disconnected" in expected:
        del surplus["sees left"]  # the disconnect may follow
    return not surplus


# -------------------------------------------------------------------- one connection


@dataclass(slots=True)
class OwnAsk:
    """An ask of the peer that the suite has not answered.

    Attributes:
        message: the ask.
        is_ended: whether a disconnect of the suite has ended it.
    """

    message: Message
    is_ended: bool = False

    @property
    def key(self) -> MembershipKey | None:
        """The membership that it changes, if it does."""
        change = CHANGE_OF.get(self.message.event)
        return (
            None
            if change is None
            else MembershipKey.of(change, self.message.namespace, self.message.room)
        )


@dataclass(slots=True)
class Dialogue:
    """The inputs and outputs of one connection, as payloads and words.

    While a handler of a server waits for the suite, a server may handle further messages at once or
    later. The suite then gives only inputs that must be handled at once: answers, and asks about
    what the server's own ask changes.

    Attributes:
        role: of the peer that is learned.
        number: of the latest input.
        own: the peer's own ask, if one is pending.
        last: the token of the latest ask that was answered.
        is_open: whether the handshake is complete.
        is_over: whether the connection has ended, or answers no barrier.
        conversation: what the messages say of memberships.
        sent: the asks of the suite, by their tokens.
    """

    role: Role
    number: int = 0
    own: OwnAsk | None = None
    last: str = ""
    is_open: bool = False
    is_over: bool = False
    conversation: Conversation = field(default_factory=Conversation)
    sent: dict[str, Message] = field(default_factory=dict)

    @property
    def other(self) -> Role:
        """The role that the suite plays."""
        return Role.CLIENT if self.role is Role.SERVER else Role.SERVER

    def begin(self, given: AbstractInput) -> Message | str | None:
        """Give what to send or to command; ``None`` for an input that is not for now."""
        self.number += 1
        if self._is_not_now(given):
            return None
        match given.kind:
            case InputKind.COMMAND:
                assert isinstance(given.message, Message)  # noqa: S101
                return given.message
            case InputKind.REPLY | InputKind.REFUSE:
                assert self.own is not None  # noqa: S101
                asked, self.own = self.own.message, None
                self.last = asked.wait
                if given.kind is InputKind.REFUSE:
                    return self._sending(asked.error_reply("no"))
                is_event = asked.event not in CHANGE_OF
                return self._sending(asked.reply("x") if is_event else asked.empty_reply())
        message = given.message
        if isinstance(message, str):
            return self._opening(message)
        if given.kind is InputKind.LATE:
            made_up = "1" if self.role is Role.SERVER else "$1"
            return self._sending(message.replace(wait=self.last or made_up))
        if message.wait:
            lead = "$" if self.role is Role.SERVER else ""
            message = message.replace(wait=f"{lead}{self.number}a")
            self.sent[message.wait] = message
        if self.own and self._ends_own(message):
            self.own.is_ended = True
        return self._sending(message)

    def _is_not_now(self, given: AbstractInput) -> bool:
        kind, own = given.kind, self.own
        if kind in (InputKind.REPLY, InputKind.REFUSE):
            return own is None
        if kind is InputKind.COMMAND and not self._is_possible(given):
            return True
        if own is None:
            return False
        if kind in (InputKind.TRIGGER, InputKind.COMMAND, InputKind.LATE):
            return True
        if self.role is Role.CLIENT or own.is_ended:
            return False
        return given.key is None or given.key != own.key

    def _is_possible(self, given: AbstractInput) -> bool:
        """Whether the API of a client permits a command, by what the messages said."""
        theirs = self.conversation.client
        if given.change is None:
            return theirs.state(APP) == MembershipState.CONNECTED
        key = given.key or MembershipKey(APP)
        wanted = (
            MembershipState.DISCONNECTED if given.change.is_entry else MembershipState.CONNECTED
        )
        is_there = key.room is None or theirs.state(APP) == MembershipState.CONNECTED
        return is_there and theirs.state(*key) == wanted

    def _ends_own(self, message: Message) -> bool:
        """Whether a message disconnects the namespace of the peer's ask, and of its handler."""
        return CHANGE_OF.get(message.event) is Change.DISCONNECT and message.namespace == APP

    def _opening(self, payload: str) -> str:
        """Send a payload of the handshake; after it, such a payload is nothing."""
        if not self.is_open or ";" in payload:
            self._sending(payload)
        self.is_open |= self.role is Role.CLIENT and payload.startswith("A")
        return payload

    def _sending(self, payload: Message | str) -> Message | str:
        self.conversation.feed(self.other, payload if isinstance(payload, str) else encode(payload))
        return payload

    def word(self, received: Received) -> str:
        """Give the word for what the peer sent."""
        if isinstance(received, ConnectionClosed):
            self.is_over = True
            return CLOSED
        tracked = self.conversation.feed(self.role, received)
        message = tracked.message or frame_of(received)
        if tracked.kind is MessageKind.ACCEPTANCE:
            self.is_open = True
            return "accepted"
        if message is None:
            return str(tracked.kind)
        if tracked.kind in (MessageKind.SYSTEM_ASK, MessageKind.EVENT_ASK) and (
            message.wait not in self.sent
        ):
            self.own = OwnAsk(message)
            change = CHANGE_OF.get(message.event)
            return f"asks {change or message.event}"
        if message.wait and message.wait in self.sent:
            return self._reply(message)
        if message.wait.strip("$") == "early":
            return "error" if message.is_error else "done"
        if message.wait:
            return "stray reply"
        return f"error {message.event}" if message.is_error else f"event {message.event}"

    def _reply(self, message: Message) -> str:
        if message.is_error:
            text = str(message.body)
            is_known = text in (BAD_NAMESPACE, BAD_ROOM, INVALID_PAYLOAD)
            return f"error “{text}”" if is_known else "error"
        if message.is_empty_reply:
            return "done"
        return "reply" if message.event not in CHANGE_OF else "reply to a system ask"
