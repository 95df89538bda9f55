"""Clients that are wrong about asks and replies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NoReturn

from mutation.client_faults import (
    ClientFault,
    Do,
    Hand,
    Payload,
    Said,
    answered,
    changed,
    client_fault,
    dropped,
    frame_of,
    is_empty_reply,
)
from neffos_codec import Message, encode
from neffos_conformance.runner.driver_protocol import OperationError, Values

HANDLED = frozenset({"echo", "question", "fail", "relay"})
"""The events that the client's application has handlers for."""


async def _forever() -> NoReturn:
    await asyncio.Event().wait()
    raise AssertionError


def renamed(is_meant: Callable[[Message], bool], rename: Callable[[str], str]) -> ClientFault:
    """Make lies that give other tokens to some of the client's asks."""
    real: dict[str, str] = {}

    def out(message: Message) -> Message:
        if not is_meant(message):
            return message
        token = rename(message.wait)
        real[token] = message.wait
        return message.replace(wait=token)

    def back(message: Message) -> Message:
        return message.replace(wait=real.get(message.wait, message.wait))

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        if message is None or not message.wait.startswith("$"):
            return [said]
        now = out(message)
        raw = said if isinstance(said, str) else ""
        # A token that is none would not be encoded.
        return [now.wait + raw.removeprefix(message.wait)] if raw else [encode(now)]

    return ClientFault(says=says, hears=changed(back))


@client_fault("AR-1")
def token_rounded(_: Hand) -> ClientFault:
    """Reads a token that is a large number as a floating point number."""

    def change(message: Message) -> Message:
        if not message.wait.isdigit() or len(message.wait) < 17:
            return message
        return message.replace(wait=str(int(float(message.wait))))

    return ClientFault(says=changed(change))


@client_fault("AR-2")
def asks_without_dollar(_: Hand) -> ClientFault:
    """Makes tokens that do not begin with a dollar sign, for events."""
    return renamed(lambda m: not m.event.startswith("_"), lambda token: token[1:])


@client_fault("AR-2")
def leaves_without_dollar(_: Hand) -> ClientFault:
    """Makes tokens that do not begin with a dollar sign, for leaving rooms."""
    return renamed(lambda m: m.event == "_OnRoomLeave", lambda token: token[1:])


@client_fault("AR-4")
def confirmation_tokens(_: Hand) -> ClientFault:
    """Makes the token of a confirmation, for leaving rooms."""
    return renamed(lambda m: m.event == "_OnRoomLeave", lambda token: f"#{token[1:]}")


@client_fault("SX-1")
def sender_named_in_asks(_: Hand) -> ClientFault:
    """Names itself as if it were a server, in the wait field of a disconnect."""
    return renamed(
        lambda m: m.event == "_OnNamespaceDisconnect", lambda token: f"neffos(0x1){token}"
    )


@client_fault("AR-5")
def one_token(hand: Hand) -> ClientFault:
    """Gives all its asks of events the same token."""
    real: dict[int, str] = {}

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        if message is None or not message.wait.startswith("$") or message.event.startswith("_"):
            return [said]
        real[hand.current] = message.wait
        return [encode(message.replace(wait="$1"))]

    def back(message: Message) -> Message:
        return message.replace(wait=real[hand.current]) if message.wait == "$1" else message

    return ClientFault(says=says, hears=changed(back))


@client_fault("AR-7")
def replies_without_room(_: Hand) -> ClientFault:
    """Leaves the room out of a reply."""

    def change(message: Message) -> Message:
        is_one = message.wait and message.event == "echo" and isinstance(message.body, str)
        return message.replace(room="") if is_one else message

    return ClientFault(says=changed(change))


@client_fault("AR-7")
def replies_without_no_op(_: Hand) -> ClientFault:
    """Does not repeat isNoOp in a reply."""
    return ClientFault(says=changed(lambda m: m.replace(is_no_op=False)))


@client_fault("AR-7")
def errors_in_a_word(_: Hand) -> ClientFault:
    """Sends no more of an error's text than its first word."""

    def change(message: Message) -> Message:
        body = message.body
        if message.event != "fail" or not message.wait or not isinstance(body, str):
            return message
        return message.replace(body=body.partition(" ")[0])

    return ClientFault(says=changed(change))


@client_fault("AR-8")
def three_requests_and_no_more(_: Hand) -> ClientFault:
    """Carries out the fourth request of a connection without saying so."""
    answers: list[str] = []

    def is_too_much(message: Message) -> bool:
        if is_empty_reply(message):
            answers.append(message.wait)
        return len(answers) > 3 and message.wait == answers[-1]

    return ClientFault(says=dropped(is_too_much))


@client_fault("AR-9")
def silence_acknowledged(_: Hand) -> ClientFault:
    """Answers an ask that its handler does not answer with the empty reply."""

    def interjects(payload: Payload) -> list[Payload]:
        message = frame_of(payload)
        if not message or not message.wait or message.namespace != "app":
            return []
        if not message.event[:1].islower():
            return []
        return [] if message.event in HANDLED else [f"{message.wait};;;;;;"]

    return ClientFault(interjects=interjects)


@client_fault("AR-10")
def events_not_answered(_: Hand) -> ClientFault:
    """Sends what a handler gives only in answer to asks."""
    return ClientFault(says=dropped(lambda m: not m.wait and m.event == "echo"))


@client_fault("AR-10")
def errors_of_events_not_sent(_: Hand) -> ClientFault:
    """Sends a handler's error only in answer to asks."""
    return ClientFault(says=dropped(lambda m: not m.wait and m.event == "fail"))


@client_fault("AR-11")
def replies_by_their_event(_: Hand) -> ClientFault:
    """Takes for a reply only what has the event of the ask."""
    asked: dict[str, str] = {}

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        if message and message.wait.startswith("$"):
            asked[message.wait] = message.event
        return [said]

    def is_foreign(message: Message) -> bool:
        return bool(message.event) and asked.get(message.wait, message.event) != message.event

    return ClientFault(says=says, hears=dropped(is_foreign))


@client_fault("AR-11")
def next_message_is_the_reply(_: Hand) -> ClientFault:
    """Takes the next event for the reply to its ask."""
    asked: list[str] = []

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        if message and message.wait.startswith("$") and not message.event.startswith("_"):
            asked.append(message.wait)
        return [said]

    def change(message: Message) -> Message:
        if message.wait in asked:
            asked.remove(message.wait)
        elif asked and message.event == "news":
            return message.replace(wait=asked.pop())
        return message

    return ClientFault(says=says, hears=changed(change))


@client_fault("AR-13")
def tokens_without_spaces(_: Hand) -> ClientFault:
    """Drops a frame whose token has a space in it."""
    return ClientFault(hears=dropped(lambda m: " " in m.wait))


@client_fault("AR-13")
def busy_with_its_own_ask(_: Hand) -> ClientFault:
    """Drops the other side's asks while one of its own is pending."""
    pending: set[str] = set()

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        if message and message.wait.startswith("$"):
            pending.add(message.wait)
        return [said]

    def is_untimely(message: Message) -> bool:
        pending.discard(message.wait)
        is_ask = message.event == "echo" and not message.wait.startswith("$")
        return bool(pending) and bool(message.wait) and is_ask

    return ClientFault(says=says, hears=dropped(is_untimely))


@client_fault("AR-14")
def asks_outlive_the_connection(hand: Hand) -> ClientFault:
    """Leaves its asks pending when the connection ends."""

    async def does(do: Do, op: str, fields: Values) -> Values:
        try:
            return await do(op, **fields)
        except OperationError:
            if hand.was_left:
                await _forever()
            raise

    return ClientFault(does=does)


@client_fault("AR-15")
def deadline_is_success(_: Hand) -> ClientFault:
    """Ends an ask at its deadline as if it had been answered."""

    def change(message: Message) -> Message:
        is_one = message.event == "relay" and message.is_error
        return message.replace(is_error=False, body="") if is_one else message

    return ClientFault(says=changed(change))


@client_fault("AR-16")
def errors_are_text(_: Hand) -> ClientFault:
    """Sends an error in a text message, whatever the kind of the ask."""

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        is_error = message and message.is_error and isinstance(said, bytes)
        return [said.decode() if is_error and isinstance(said, bytes) else said]

    return ClientFault(says=says)


@client_fault("AR-18")
def marker_taken_out(_: Hand) -> ClientFault:
    """Takes the exchange marker out of a token."""

    def change(message: Message) -> Message:
        if message.wait[1:2] != "!":
            return message
        return message.replace(wait=message.wait.replace("!", "", 1))

    return ClientFault(says=changed(change))


@client_fault("AR-18")
def sender_taken_out(_: Hand) -> ClientFault:
    """Empties a wait field that looks like a sender's name."""
    return ClientFault(
        says=changed(lambda m: m.replace(wait="") if m.wait.startswith("neffos(0x") else m)
    )


@client_fault("AR-18")
def tokens_in_small_letters(_: Hand) -> ClientFault:
    """Sends a token back in small letters."""
    return ClientFault(
        says=changed(lambda m: m if m.wait.startswith("$") else m.replace(wait=m.wait.lower()))
    )


@client_fault("AR-18")
def long_tokens_cut(_: Hand) -> ClientFault:
    """Cuts a token that is long."""
    return ClientFault(
        says=changed(lambda m: m if m.wait.startswith("$") else m.replace(wait=m.wait[:50]))
    )


def _taken_for_success(event: str) -> ClientFault:
    def change(message: Message) -> Message:
        is_refusal = message.wait.startswith("$") and message.is_error and message.body
        return message.empty_reply() if is_refusal and message.event == event else message

    return ClientFault(hears=changed(change))


@client_fault("AR-19")
def body_is_success(_: Hand) -> ClientFault:
    """Takes a reply with a body to its request for success."""

    def change(message: Message) -> Message:
        is_reply = message.wait.startswith("$") and message.event.startswith("_")
        return message.empty_reply() if is_reply and not message.is_error else message

    return ClientFault(hears=changed(change))


@client_fault("AR-19")
def refused_connect_is_success(_: Hand) -> ClientFault:
    """Counts itself connected though it was refused."""
    return _taken_for_success("_OnNamespaceConnect")


@client_fault("AR-19")
def refused_join_is_success(_: Hand) -> ClientFault:
    """Counts itself joined though it was refused."""
    return _taken_for_success("_OnRoomJoin")


@client_fault("AR-19")
def refused_disconnect_is_success(_: Hand) -> ClientFault:
    """Counts itself disconnected though it was refused."""
    return _taken_for_success("_OnNamespaceDisconnect")


@client_fault("AR-19")
def refused_leave_is_success(_: Hand) -> ClientFault:
    """Counts a room as left though it was refused."""
    return _taken_for_success("_OnRoomLeave")


@client_fault("AR-20")
def second_join_greeted(_: Hand) -> ClientFault:
    """Answers a join of a room that is joined with a text."""
    joined: set[str] = set()

    def answer(message: Message) -> Message | None:
        if message.event != "_OnRoomJoin" or not message.wait:
            return None
        if message.room in joined:
            return message.replace(body="you are in it")
        joined.add(message.room)
        return None

    return answered(answer)


@client_fault("AR-21")
def second_reply_is_an_ask(_: Hand) -> ClientFault:
    """Takes a second reply to an ask of its own for an ask, and answers it."""
    replied: set[str] = set()

    def answer(message: Message) -> Message | None:
        if not message.wait.startswith("$"):
            return None
        if message.wait in replied:
            return message.empty_reply()
        replied.add(message.wait)
        return None

    return answered(answer)


@client_fault("AR-22")
def last_reply_repeated(_: Hand) -> ClientFault:
    """Repeats its last reply, to an event, when it is asked for something else."""
    replies: list[Said] = []

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        is_reply = message and message.wait and not message.wait.startswith("$")
        if is_reply and message and message.event in HANDLED:
            replies[:] = [said]
        return [said]

    def interjects(payload: Payload) -> list[Said]:
        message = frame_of(payload)
        is_request = message and message.event == "_OnNamespaceConnect"
        return [replies.pop()] if is_request and replies else []

    return ClientFault(says=says, interjects=interjects)


@client_fault("AR-22")
def replies_on_all_connections(hand: Hand) -> ClientFault:
    """Sends a reply on every connection that it has."""

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        if message and message.event == "echo" and not message.wait.startswith("$"):
            hand.say_elsewhere(said)
        return [said]

    return ClientFault(says=says)
