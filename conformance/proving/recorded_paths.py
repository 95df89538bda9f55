"""Follows the state tables along a recording, and says where it leaves the model.

A message is a step where a row of the tables has its sender send it: a command, a reply that some
guard allows, or an event inside what is connected and joined. What the model has no word for,
such as native messages, is no step, and leaves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from neffos_codec import Native
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.transcript import ConnectionOpened, Published, read_transcript
from neffos_protocol import Role
from neffos_protocol.conversation import (
    SENT_INPUT,
    Conversation,
    MessageKind,
    PeerState,
    TrackedMessage,
)
from neffos_protocol.events import MembershipKey
from neffos_protocol.names import CHANGE_OF, LOCAL_ONLY
from neffos_protocol.state_machines import Action, Guard
from proving.promela import Machines

SUITE: Final = "neffos-wire suite"
"""The name of the suite in recordings; it sends on purpose what no row has."""

_REPLIES: Final[Mapping[Action, bool]] = {
    Action.REPLY_DONE: True,
    Action.REPLY_ALL_DONE: True,
    Action.REPLY_UNKNOWN: False,
    Action.REPLY_FULL: False,
    Action.REPLY_ALL_REFUSED: False,
}
"""Whether an action confirms a system ask or refuses it."""


@dataclass(frozen=True, slots=True)
class Departure:
    """A message that is no step of the model.

    Attributes:
        line: of the recording.
        role: who sent it.
        step: what no row has.
        reason: what explains it: the difference or the defect that the recording names, or that
            the suite plays the sender; empty where nothing does.
    """

    line: int
    role: str
    step: str
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.step} by the {self.role} ({self.reason or 'unexplained'})"


def departures(path: Path, machines: Machines) -> Iterator[Departure]:
    """Give the messages of a recording that are no steps.

    After the first one of a connection the model is elsewhere, and what follows on it proves
    nothing: only the first is given.
    """
    transcript = read_transcript(path)
    header = transcript.header
    native = Native(header.get("native", Native.NEVER))
    talks: dict[int, Conversation] = {}
    left: set[int] = set()
    for entry in transcript.entries:
        content, number = entry.content, entry.connection
        if isinstance(content, ConnectionOpened | Published) or number in left:
            continue
        if isinstance(content, ConnectionClosed):
            left.add(number)
            continue
        talk = talks.setdefault(number, Conversation(native=native))
        role = Role.CLIENT if entry.from_client else Role.SERVER
        before = {
            each: (state.handshake, dict(state.memberships), dict(state.left))
            for each, (state, _) in talk.pairs.items()
        }
        message = talk.feed(role, content)
        step = _missing(machines, talk, message, before[role])
        if step:
            left.add(number)
            yield Departure(entry.line, str(role), step, _reason(header, str(role)))


def _reason(header: Mapping[str, Any], role: str) -> str:
    if header[role]["peer"] == SUITE:
        return SUITE
    if "difference" in header:
        return str(header["difference"])
    return ", ".join(id_ for id_, who in header.get("defects", {}).items() if who == role)


_Before = tuple[str, Mapping[Any, Any], Mapping[Any, Any]]


def _missing(
    machines: Machines, talk: Conversation, message: TrackedMessage, before: _Before
) -> str:
    """Say what no row has; empty where a row has it, or the model has no word for it."""
    handshake, memberships, was_in = before
    me: PeerState = talk.pairs[message.sender][0]
    membership = machines["membership"]
    kind = message.kind
    if kind in SENT_INPUT:
        if handshake == "awaiting":  # whether an application decides is not to be seen
            handshake = "deciding"
        is_there = (handshake, SENT_INPUT[kind]) in machines["handshake"].rows
        return "" if is_there else f"{kind} in {handshake}"
    frame = message.message
    if frame is None or kind is MessageKind.AFTER_REFUSAL:
        return ""
    if handshake != "open":
        return f"a frame in {handshake}"
    if kind is MessageKind.STRAY_REPLY:
        return "a reply to what was not asked"
    ask, live = message.ask, membership.live

    def state(key: MembershipKey) -> str:
        return str(memberships.get(key, "disconnected"))

    def is_live(namespace: str, room: str | None) -> bool:
        keys = [MembershipKey(namespace)] + ([MembershipKey(namespace, room)] if room else [])
        return all(state(key) in live or key in was_in for key in keys)

    if kind is MessageKind.REPLY:
        if ask is None or ask.change is None or ask.is_superseded:
            return ""
        key = ask.key
        if key.room is not None and not is_live(key.namespace, None):
            return "a join confirmed outside" if frame.is_empty_reply else ""
        here, is_done = state(key), frame.is_empty_reply
        allowed = outcomes(machines, here, ask.change.direction, me.role)
        word = "confirmed" if is_done else "refused"
        return "" if is_done in allowed else f"ask-{ask.change.direction} {word} in {here}"
    change = CHANGE_OF.get(frame.event)
    if change is not None:
        if not frame.wait or frame.is_no_op or frame.is_error:
            return ""  # nobody acts on it
        key = MembershipKey.of(change, frame.namespace, frame.room)
        if key.room is not None and not is_live(key.namespace, None):
            return f"{change} outside its namespace"
        is_there = (state(key), change.direction) in membership.rows
        return "" if is_there else f"{change.direction} in {state(key)}"
    if frame.event in LOCAL_ONLY:
        return ""
    return "" if is_live(frame.namespace, frame.room) else "an event outside"


def outcomes(machines: Machines, state: str, direction: str, role: Role) -> frozenset[bool]:
    """Give how a peer in a state may answer a system ask: whether by a confirmation.

    Whatever the application decides, and whatever limits there are.
    """
    membership = machines["membership"]
    found: set[bool] = set()
    for row in membership.rows[state, f"ask-{direction}"]:
        if row.guard is Guard.DECIDES_DISCONNECT and role is Role.CLIENT:
            continue
        ends = [row]
        if row.next.startswith("deciding-"):
            ends += [each for word in ("allow", "deny") for each in membership.rows[row.next, word]]
        found |= {
            _REPLIES[action] for each in ends for action in each.actions if action in _REPLIES
        }
    return frozenset(found)
