"""The neffos protocol: as data, as a session without I/O, and as an observer of connections."""

from typing import Final

from neffos_protocol import _sources  # noqa: F401  # before all others
from neffos_protocol import session as _session
from neffos_protocol.conversation import (
    Conversation,
    MessageKind,
    ObservedAsk,
    PeerState,
    TrackedMessage,
)
from neffos_protocol.events import (
    AskCancelled,
    Asked,
    AskExpired,
    AskSent,
    AskWithdrawn,
    Cause,
    Change,
    ChangeAsked,
    Changed,
    ChangeRefused,
    Closed,
    Event,
    HandshakeAsked,
    HandshakeRefused,
    MembershipKey,
    NativeReceived,
    Opened,
    ProtocolViolation,
    Received,
    Replied,
    Role,
    UnmatchedReply,
)
from neffos_protocol.limits import DEFAULT_LIMITS, SessionLimits
from neffos_protocol.monitor import Monitor, Violation
from neffos_protocol.session import MisuseError, Prepared, Session, prepare, token_of

__all__ = [
    "COMPILED",
    "DEFAULT_LIMITS",
    "AskCancelled",
    "AskExpired",
    "AskSent",
    "AskWithdrawn",
    "Asked",
    "Cause",
    "Change",
    "ChangeAsked",
    "ChangeRefused",
    "Changed",
    "Closed",
    "Conversation",
    "Event",
    "HandshakeAsked",
    "HandshakeRefused",
    "MembershipKey",
    "MessageKind",
    "MisuseError",
    "Monitor",
    "NativeReceived",
    "ObservedAsk",
    "Opened",
    "PeerState",
    "Prepared",
    "ProtocolViolation",
    "Received",
    "Replied",
    "Role",
    "Session",
    "SessionLimits",
    "TrackedMessage",
    "UnmatchedReply",
    "Violation",
    "prepare",
    "token_of",
]

COMPILED: Final = not str(_session.__file__).endswith(".py")
"""Whether session, conversation tracker and monitor are compiled; they behave the same."""
