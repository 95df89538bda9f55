"""Clients with a fault in asks and replies."""

from __future__ import annotations

from mutation import client_faults as on
from mutation import operators as do
from mutation.client_faults import HANG, ClientContext, ClientFault, frame_of
from mutation.clients.values import is_foreign, is_own, is_text, renamed
from mutation.hooks import CONNECT, DISCONNECT, JOIN, LEAVE, Effect, Payload, when
from mutation.registry import mutant, mutants
from neffos_codec import Message

HANDLED = ("echo", "question", "fail", "relay")
"""The events that the client's application has handlers for."""

EXACT = 17
"""Digits from which on a floating-point number does not keep an integer exactly."""


@mutant("AR-11", on.receive, event="news", answers="")
def next_message_is_the_reply(c: ClientContext, m: Message) -> Effect:
    """Accepts the next event as the reply to its ask."""
    asks = c.client_asks.items()
    tokens = [token for token, ask in asks if ask.event[:1] != "_" and token not in c.seen]
    if not tokens:
        return None
    c.seen.add(tokens[-1])
    return c.serve(m.replace(wait=tokens[-1]))


@mutant("AR-16", on.send_raw)
def errors_are_text(_: ClientContext, payload: Payload) -> Effect:
    """Sends an error in a text message, whatever the type of the ask."""
    message = frame_of(payload)
    is_error = message is not None and message.is_error and isinstance(payload, bytes)
    return payload.decode() if is_error and isinstance(payload, bytes) else None


def _accepted(**trigger: object) -> ClientFault:
    """Treat some replies to the client's system asks as the empty reply."""
    return on.receive(lambda c, m: c.serve(m.empty_reply()), wait=is_own, **trigger)


@mutant("AR-21", on.receive, wait=is_own)
def second_reply_is_an_ask(c: ClientContext, m: Message) -> Effect:
    """Treats a second reply to its ask as an ask, and replies to it."""
    if m.wait in c.seen:
        return m.empty_reply()
    c.seen.add(m.wait)
    return None


def _keep(c: ClientContext, m: Message) -> None:
    c.kept[:] = [m]


mutants(
    "AR-11",
    "replies-by-their-event: Accepts only a reply that has the event of the ask.",
    on.receive(lambda c, m: () if m.event != c.answers else None, event=bool, answers=bool),
    "AR-1",
    "token-rounded: Reads a token that is a large number as a floating-point number.",
    on.send(
        do.change(wait=lambda token: str(int(float(token)))),
        wait=lambda token: token.isdigit() and len(token) >= EXACT,
    ),
    "AR-2",
    "asks-without-dollar: Makes tokens that do not begin with a dollar sign, for events.",
    renamed(lambda _, token: token[1:], event=lambda event: not event.startswith("_")),
    "leaves-without-dollar: Makes tokens that do not begin with a dollar sign, for leaving rooms.",
    renamed(lambda _, token: token[1:], event=LEAVE),
    "AR-4",
    "confirmation-tokens: Makes the token of a confirmation, for leaving rooms.",
    renamed(lambda _, token: f"#{token[1:]}", event=LEAVE),
    "SX-1",
    "sender-named-in-asks: Names itself as if it were a server, in the wait field of a disconnect.",
    renamed(lambda _, token: f"neffos(0x1){token}", event=DISCONNECT),
    "AR-5",
    "one-token: Gives all its event asks the same token.",
    renamed(lambda _, __: "$1", event=lambda event: not event.startswith("_")),
    "AR-7",
    "replies-without-room: Leaves the room out of a reply.",
    on.send(do.change(room=""), wait=bool, event="echo", body=is_text),
    "replies-without-no-op: Does not repeat isNoOp in a reply.",
    on.send(do.change(is_no_op=False)),
    "errors-in-a-word: Sends only the first word of an error text.",
    on.send(
        do.change(body=lambda text: text.partition(" ")[0]), event="fail", wait=bool, body=is_text
    ),
    "AR-8",
    "three-requests-and-no-more: Performs the fourth system ask of a connection without a reply.",
    on.send(lambda c, _: () if c.count() > 3 else None, is_empty_reply=True),
    "AR-9",
    "silence-acknowledged: Sends the empty reply to an ask that its handler does not reply to.",
    on.beside(
        do.empty_reply,
        wait=bool,
        namespace="app",
        event=lambda event: event[:1].islower() and event not in HANDLED,
    ),
    "AR-10",
    "events-not-answered: Sends the result of a handler only in reply to asks.",
    on.send(do.drop, wait="", event="echo"),
    "errors-of-events-not-sent: Sends the error of a handler only in reply to asks.",
    on.send(do.drop, wait="", event="fail"),
    "AR-13",
    "tokens-without-spaces: Drops a frame whose token contains a space.",
    on.receive(do.drop, wait=lambda token: " " in token),
    "busy-with-its-own-ask: Drops the server's asks while one of its own is pending.",
    on.receive(do.drop, event="echo", wait=is_foreign, is_asking=True),
    "AR-14",
    "asks-outlive-the-connection: Leaves its asks pending when the connection closes.",
    ClientFault(failed=lambda c, _, __: HANG if c.is_closing else None),
    "AR-15",
    "deadline-is-success: Reports an expired ask as successful.",
    on.send(do.change(is_error=False, body=""), event="relay", is_error=True),
    "AR-18",
    "marker-taken-out: Removes the exchange marker from a token.",
    on.send(
        do.change(wait=lambda token: token.replace("!", "", 1)),
        wait=lambda token: token[1:2] == "!",
    ),
    "sender-taken-out: Empties a wait field that looks like an explicit sender.",
    on.send(do.change(wait=""), wait=lambda token: token.startswith("neffos(0x")),
    "tokens-in-small-letters: Sends a token back in lower case.",
    on.send(do.change(wait=str.lower), wait=is_foreign),
    "long-tokens-cut: Cuts a long token.",
    on.send(do.change(wait=lambda token: token[:50]), wait=is_foreign),
    "AR-19",
    "body-is-success: Accepts a reply with a body to its system ask as success.",
    _accepted(event=lambda event: event.startswith("_"), is_error=False),
    "refused-connect-is-success: Treats a namespace as connected though it was refused.",
    _accepted(event=CONNECT, is_error=True, body=bool),
    "refused-join-is-success: Treats a room as joined though it was refused.",
    _accepted(event=JOIN, is_error=True, body=bool),
    "refused-disconnect-is-success: Treats a namespace as disconnected though that was refused.",
    _accepted(event=DISCONNECT, is_error=True, body=bool),
    "refused-leave-is-success: Treats a room as left though that was refused.",
    _accepted(event=LEAVE, is_error=True, body=bool),
    "AR-20",
    "second-join-greeted: Replies with a text to a join of a joined room.",
    on.receive(do.change(body="you are in it"), event=JOIN, room=bool, wait=bool, is_member=True),
    "AR-22",
    "last-reply-repeated: Repeats its last reply to an event at the next connect.",
    ClientFault(
        send=when(_keep, wait=is_foreign, event=HANDLED),
        receive=when(lambda c, _: c.say(c.release()), event=CONNECT),
    ),
    "replies-on-all-connections: Sends a reply on all its connections.",
    on.send(lambda c, m: c.say_elsewhere(m), event="echo", wait=lambda token: not is_own(token)),
)
