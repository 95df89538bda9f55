"""Which mutants can act at all: what the conformance application lets a peer send and receive.

A trigger that no message can meet, or an operator whose effect nothing can show, makes a mutant
that is the correct peer. Such a mutant is not drawn. Each line gives its reason.
"""

from __future__ import annotations

from typing import Final

from mutation.generated.parts import Condition, Operator
from mutation.generated.situation import NAMED, REPLIES

NO_NAMESPACE: Final = ("namespace-upper", "namespace-edge-space")
"""The conditions of namespaces that the application does not have."""

NOT_CONNECTED: Final = (*NO_NAMESPACE, "not-member")
"""The conditions of messages in a namespace or a room that is not connected or joined."""


def is_visible(role: str, operator: Operator, kind: str) -> bool:
    """Whether what an operator does to messages of a kind can be seen."""
    is_read = not operator.is_sent
    if is_read and kind in REPLIES and operator.field in NAMED:
        return False  # a reply is matched by its token, whatever else it names (AR-7)
    if kind == "system" and operator.field in ("event", "body"):
        return False  # another event is another kind, and the body means nothing
    if operator.name == "read-no-op-flipped":
        return False  # on what is received it means nothing but on an empty reply, which has none
    if is_read and kind == "event" and role == "server" and operator.field == "event":
        return False  # the events whose handlers show anything have fixed names
    if is_read and kind == "error" and operator.needs:
        return False  # the suite's errors have short texts
    if operator.name == "handle-twice" and kind in REPLIES:
        return False  # the first settles the ask, and a settled ask takes no other (AR-21)
    if operator.name == "handle-late" and kind in ("reply", "error"):
        return False  # no requirement says how soon, and the next message, a barrier, ends it
    if operator.name == "book-first" and kind == "empty":
        return False  # what the reply begins is begun a moment earlier, and ends the same
    is_own_ask = operator.is_sent and kind in ("ask", "system")
    # A peer chooses its tokens.
    return not (is_own_ask and operator.field == "wait")


def can_meet(role: str, operator: Operator, kind: str, condition: Condition) -> bool:
    """Whether a message of a kind can meet a condition."""
    dimension = condition.dimension
    about = dimension.split()[0]
    is_plain_event = (
        kind == "event"
        and not operator.is_sent
        and operator.family != "membership"
        and not (operator.family == "delay" and condition.name == "not-member")  # it may be later
    )
    is_ours = operator.is_sent is (kind in REPLIES)
    # What the suite asks has any names; what a server asks has those of its application.
    if role == "server" and not is_ours and kind not in ("native", "handshake"):
        if about in ("event", "namespace", "flags", "token"):
            return False  # it asks "question" and pushes "news", in app
        if kind in ("ask", "reply", "error") and (
            about in ("room", "rooms") or condition.name in ("after-leave", "after-refusal")
        ):
            return False  # it asks without a room
        if kind in ("ask", "event") and condition.name in ("not-member", "after-refusal"):
            return False
    if (
        (role == "server" and is_ours and kind == "event" and not operator.is_sent)
        # Only handlers that broadcast show that an event was handled; they are in app.
        and (about in ("event", "flags", "namespace") or condition.name in ("room", "not-member"))
    ):
        return False
    if role == "client" and not is_ours and about in ("flags", "token"):
        return False  # it makes its tokens, and sets no flags
    if not operator.is_sent and operator.field and condition.name == "not-member":
        return False  # it is refused, whatever it says
    is_hidden = is_plain_event or (not operator.is_sent and operator.field == "body")
    if is_hidden and operator.field != "namespace" and condition.name in NOT_CONNECTED:
        return False  # nothing comes of an event there, and a refusal does not repeat the body
    if not operator.is_sent and kind == "error" and about == "body":
        return False  # the suite's errors have short texts
    if kind in ("system", "empty") and about in ("body", "event"):
        return False
    if kind == "error" and about == "event" and role == "server":
        return False
    if operator.family == "membership" and condition.name in NO_NAMESPACE:
        return False  # the peer refuses them to itself, too
    if (
        role == "server"
        and is_ours
        and not operator.is_sent
        and operator.field == "body"
        and (about == "event" or condition.name == "error-flag")
        and condition.name != "event-semicolon"
    ):
        return False  # the handlers that show a body are of fixed events, as ec;ho, without errors
    is_handled = bool(operator.field) or operator.family in ("ignore", "repeat", "delay")
    if not operator.is_sent and kind == "system" and dimension == "flags" and is_handled:
        return False  # with a flag it changes nothing and has no reply (NS-2, NS-10, NS-12)
    if dimension == "history" and condition.name == "after-refusal" and kind == "event":
        return False
    return not (condition.nth > 20 and kind not in ("ask", "reply"))
