"""Servers that are wrong about namespaces."""

from __future__ import annotations

from mutation.connection_state import Watch, aside, calling_off, request, watched
from mutation.distortions import Payloads, answering, changing, frame_of
from mutation.registry import distorted
from neffos_codec import Message, encode
from neffos_conformance.reference.embedded import NOTHING, Serve
from neffos_protocol.names import CHANGE_OF

CONNECT, DISCONNECT = "_OnNamespaceConnect", "_OnNamespaceDisconnect"
JOIN, LEAVE = "_OnRoomJoin", "_OnRoomLeave"


def _is_accepted(watch: Watch, message: Message | None, event: str) -> bool:
    """Say whether this is the client's success reply to a request of the server."""
    asked = watch.told.get(message.wait) if message else None
    return bool(asked and message and message.is_empty_reply and asked.event == event)


# -------------------------------------------------------------------- connecting


@distorted("NS-1")
def connect_without_effect(serve: Serve) -> Serve:
    """Says that a namespace is connected, and drops its events."""
    return changing(lambda m: None if m.event == "echo" else m)(serve)


@distorted("NS-1")
@watched
def acceptance_overlooked(serve: Serve, watch: Watch) -> Serve:
    """Does not hear it when a client accepts the server's connect."""

    def wrong(payload: str | bytes) -> Payloads:
        return [] if _is_accepted(watch, frame_of(payload), CONNECT) else serve(payload)

    return wrong


@distorted("NS-1")
@watched
def connects_only_once(serve: Serve, watch: Watch) -> Serve:
    """Says that a namespace is connected again, and leaves it as it was."""
    seen: set[str] = set()

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        if message and message.event == CONNECT and message.wait:
            if message.namespace in seen and not watch.is_in(message.namespace):
                return [encode(message.empty_reply())]
            seen.add(message.namespace)
        return serve(payload)

    return wrong


@distorted("NS-1")
@watched
def refused_once_and_for_all(serve: Serve, watch: Watch) -> Serve:
    """Takes a client's refusal of a connect for its last word."""
    refused: set[str] = set()

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        asked = watch.told.get(message.wait) if message else None
        if message and asked and message.is_error and asked.event == CONNECT:
            refused.add(asked.namespace)
        if message and message.event == CONNECT and message.namespace in refused and not asked:
            if message.is_error:
                return []
            return [encode(message.error_reply("you did not want it"))]
        return serve(payload)

    return wrong


@distorted("NS-1")
@watched
def one_connect_at_a_time(serve: Serve, watch: Watch) -> Serve:
    """Refuses a client's connect while its own is under way."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        pending = [each for each in watch.told.values() if each.event == CONNECT]
        if message and message.event == CONNECT and pending and message.wait not in watch.told:
            return [encode(message.error_reply("a connect is under way"))]
        return serve(payload)

    return wrong


@distorted("NS-1")
@watched
def refused_disconnect_obeyed(serve: Serve, watch: Watch) -> Serve:
    """Disconnects a client that has refused that, as the Go server counts it."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        asked = watch.told.get(message.wait) if message else None
        sent = serve(payload)
        if message and asked and message.is_error and asked.event == DISCONNECT:
            sent += aside(serve, request(DISCONNECT, asked.namespace))
        return sent

    return wrong


@distorted("NS-1")
@watched
def one_namespace_at_a_time(serve: Serve, watch: Watch) -> Serve:
    """Disconnects one namespace when another is connected."""

    def wrong(payload: str | bytes) -> Payloads:
        before = {name for name, room in watch.places if not room}
        sent = serve(payload)
        after = {name for name, room in watch.places if not room}
        for name in before if after - before else ():
            sent += aside(serve, request(DISCONNECT, name))
        return sent

    return wrong


@distorted("NS-2")
@watched
def tokenless_connect_taken(serve: Serve, _: Watch) -> Serve:
    """Connects a namespace without being asked for a reply."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        if message and message.event == CONNECT and not message.wait:
            return aside(serve, request(CONNECT, message.namespace))
        return serve(payload)

    return wrong


@distorted("NS-2")
def no_op_connect_taken(serve: Serve) -> Serve:
    """Connects a namespace though nothing was to be done."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        if message and message.event == CONNECT and message.is_no_op:
            return serve(encode(message.replace(is_no_op=False)))
        return serve(payload)

    return wrong


@distorted("NS-2")
def tokenless_connect_answered(serve: Serve) -> Serve:
    """Complains about a connect without a token."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        if message and message.event == CONNECT and not message.wait:
            return [encode(message.error_reply("no token"))]
        return serve(payload)

    return wrong


# -------------------------------------------------------------------- refusals


@distorted("NS-3")
def other_text_for_unknown(serve: Serve) -> Serve:
    """Refuses an unknown namespace in words of its own."""
    return changing(
        lambda m: (
            m.replace(body="not found") if m.body == "bad namespace" and m.event == CONNECT else m
        )
    )(serve)


@distorted("NS-3")
def events_are_namespaces(serve: Serve) -> Serve:
    """Lets a client connect what is the name of an event."""
    return answering(
        lambda m: m.empty_reply() if (m.event, m.namespace) == (CONNECT, "echo") else None
    )(serve)


@distorted("NS-3")
def empty_stands_for_default(serve: Serve) -> Serve:
    """Takes the empty namespace for the name of its first one."""

    def change(message: Message) -> Message:
        is_default = (message.event, message.namespace) == (CONNECT, "") and message.is_error
        return message.empty_reply() if is_default else message

    return changing(change)(serve)


@distorted("NS-3")
def patience_with_unknown_ends(serve: Serve) -> Serve:
    """Refuses an unknown namespace in other words from the tenth time on."""
    refused = 0

    def change(message: Message) -> Message:
        nonlocal refused
        if (message.event, message.body) != (CONNECT, "bad namespace"):
            return message
        refused += 1
        return message if refused < 10 else message.replace(body="too many mistakes")

    return changing(change)(serve)


@distorted("NS-3")
@watched
def unknown_disconnects_all(serve: Serve, watch: Watch) -> Serve:
    """Disconnects everything when it refuses an unknown namespace."""
    return _all_disconnected(serve, watch, "nowhere")


@distorted("NS-4")
def refusal_ignored(serve: Serve) -> Serve:
    """Connects what the application refused."""
    return changing(lambda m: m.empty_reply() if m.body == "namespace is closed" else m)(serve)


@distorted("NS-4")
def refusal_told_otherwise(serve: Serve) -> Serve:
    """Refuses what the application refused as if it were unknown."""
    return changing(
        lambda m: m.replace(body="bad namespace") if m.body == "namespace is closed" else m
    )(serve)


@distorted("NS-4")
def refused_the_first_time(serve: Serve) -> Serve:
    """Connects a refused namespace when it is asked again."""
    refused = 0

    def change(message: Message) -> Message:
        nonlocal refused
        if message.body != "namespace is closed":
            return message
        refused += 1
        return message if refused == 1 else message.empty_reply()

    return changing(change)(serve)


@distorted("NS-4")
def refused_and_connected(serve: Serve) -> Serve:
    """Says that a namespace is refused, and lets its rooms be joined."""
    return answering(
        lambda m: (
            m.empty_reply() if (m.event, m.namespace) == (JOIN, "refused") and m.wait else None
        )
    )(serve)


@distorted("NS-4")
@watched
def refusal_disconnects_all(serve: Serve, watch: Watch) -> Serve:
    """Disconnects everything when the application refuses a namespace."""
    return _all_disconnected(serve, watch, "refused")


# -------------------------------------------------------------------- connected already


@distorted("NS-5")
@watched
def second_connect_refused(serve: Serve, watch: Watch) -> Serve:
    """Takes a second connect for a mistake."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        if message and message.event == CONNECT and watch.is_in(message.namespace):
            return [encode(message.error_reply("connected already"))] if message.wait else []
        return serve(payload)

    return wrong


@distorted("NS-5")
@watched
def second_connect_counts(serve: Serve, watch: Watch) -> Serve:
    """Counts connects, and wants as many disconnects."""
    count = 0

    def wrong(payload: str | bytes) -> Payloads:
        nonlocal count
        message = frame_of(payload)
        is_there = message is not None and watch.is_in(message.namespace)
        if message and message.wait and is_there and not message.is_no_op | message.is_error:
            if message.event == CONNECT:
                count += 1
            elif message.event == DISCONNECT and count:
                count -= 1
                return [encode(message.empty_reply())]
        return serve(payload)

    return wrong


@distorted("NS-5")
@watched
def connect_calls_disconnect_off(serve: Serve, watch: Watch) -> Serve:
    """Forgets its own disconnect when the client connects meanwhile."""
    off: set[str] = set()

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        if message and message.wait in off:
            return []
        if message and message.event == CONNECT:
            off.update(token for token, each in watch.told.items() if each.event == DISCONNECT)
            if off:
                return [encode(message.empty_reply())]
        return serve(payload)

    return wrong


# -------------------------------------------------------------------- disconnecting


@distorted("NS-6")
@watched
def disconnect_without_effect(serve: Serve, watch: Watch) -> Serve:
    """Says that a namespace is disconnected, and goes on with its events."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        if (
            message
            and (message.event, message.namespace) in ((DISCONNECT, "app"), (DISCONNECT, ""))
            and message.wait
            and not message.is_no_op | message.is_error
        ):
            watch.asked[message.wait] = message
            return [encode(message.empty_reply())]
        return serve(payload)

    return wrong


@distorted("NS-6")
@watched
def own_disconnect_without_effect(serve: Serve, watch: Watch) -> Serve:
    """Goes on with a namespace that a client disconnected as it was asked to."""
    is_due = False

    def wrong(payload: str | bytes) -> Payloads:
        nonlocal is_due
        sent = aside(serve, request(CONNECT, "app")) if is_due and payload is not NOTHING else []
        is_due = _is_accepted(watch, frame_of(payload), DISCONNECT)
        return sent + serve(payload)

    return wrong


@distorted("NS-6")
@watched
def disconnect_takes_all(serve: Serve, watch: Watch) -> Serve:
    """Disconnects every namespace when one is disconnected."""

    def wrong(payload: str | bytes) -> Payloads:
        before = {name for name, room in watch.places if not room}
        sent = serve(payload)
        left = {name for name, room in watch.places if not room}
        for name in sorted(left) if before - left else ():
            sent += aside(serve, request(DISCONNECT, name))
        return sent

    return wrong


@distorted("NS-6")
@watched
def disconnect_refused_while_asking(serve: Serve, watch: Watch) -> Serve:
    """Refuses a client's disconnect while it waits for the answer to its own."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        pending = [each for each in watch.told.values() if each.event == DISCONNECT]
        if message and message.event == DISCONNECT and pending and message.wait:
            return [encode(message.error_reply("a disconnect is under way"))]
        return serve(payload)

    return wrong


@distorted("NS-7")
def sticky_released(serve: Serve) -> Serve:
    """Says that a namespace is disconnected whose disconnect the application refused."""
    return changing(lambda m: m.empty_reply() if m.body == "namespace is sticky" else m)(serve)


@distorted("NS-7")
def sticky_disconnected(serve: Serve) -> Serve:
    """Says that a disconnect is refused, and carries it out."""
    is_gone = False

    def wrong(payload: str | bytes) -> Payloads:
        nonlocal is_gone
        message = frame_of(payload)
        sticky = message is not None and message.namespace == "sticky"
        is_gone = is_gone or (sticky and message is not None and message.event == DISCONNECT)
        if message and sticky and is_gone and message.event == JOIN and message.wait:
            return [encode(message.error_reply("bad namespace"))]
        return serve(payload)

    return wrong


@distorted("NS-7")
def sticky_once(serve: Serve) -> Serve:
    """Refuses a disconnect once, and no second time."""
    refused = 0

    def change(message: Message) -> Message:
        nonlocal refused
        if message.body != "namespace is sticky":
            return message
        refused += 1
        return message if refused == 1 else message.empty_reply()

    return changing(change)(serve)


@distorted("NS-7")
def all_are_sticky(serve: Serve) -> Serve:
    """Refuses every disconnect once one was refused."""
    is_sticky = False

    def answer(message: Message) -> Message | None:
        nonlocal is_sticky
        if message.event != DISCONNECT or not message.wait:
            return None
        if message.namespace == "sticky":
            is_sticky = True
            return None
        return message.error_reply("namespace is sticky") if is_sticky else None

    return answering(answer)(serve)


@distorted("NS-8")
@watched
def needless_disconnect_refused(serve: Serve, watch: Watch) -> Serve:
    """Refuses to disconnect what is not connected."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        needless = message and message.event == DISCONNECT and not watch.is_in(message.namespace)
        if message and needless and message.wait and message.wait not in watch.told:
            return [encode(message.error_reply("not connected"))]
        return serve(payload)

    return wrong


@distorted("NS-8")
def unknown_disconnect_refused(serve: Serve) -> Serve:
    """Refuses to disconnect what it does not know."""
    return answering(
        lambda m: (
            m.error_reply("bad namespace")
            if (m.event, m.namespace) == (DISCONNECT, "nowhere") and m.wait
            else None
        )
    )(serve)


@distorted("NS-8")
@watched
def disconnect_calls_connect_off(serve: Serve, watch: Watch) -> Serve:
    """Forgets its own connect when the client disconnects meanwhile."""
    return calling_off(serve, watch, CONNECT, by=DISCONNECT)


# -------------------------------------------------------------------- not connected


@distorted("NS-9")
@watched
def unconnected_answered(serve: Serve, watch: Watch) -> Serve:
    """Answers events that are sent to a namespace that is not connected."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        if message is None or not watch.is_shaken or message.event in CHANGE_OF:
            return serve(payload)
        if message.wait or watch.is_in(message.namespace):
            return serve(payload)
        return [encode(message.error_reply("bad namespace"))]

    return wrong


@distorted("NS-9")
@watched
def unconnected_errors_answered(serve: Serve, watch: Watch) -> Serve:
    """Answers errors too that are sent to a namespace that is not connected."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        stray = message is not None and message.is_error and not watch.is_in(message.namespace)
        if message and stray and watch.is_shaken and message.event not in CHANGE_OF:
            return [encode(message.error_reply("bad namespace"))]
        return serve(payload)

    return wrong


@distorted("NS-9")
@watched
def unconnected_kept(serve: Serve, watch: Watch) -> Serve:
    """Keeps events for a namespace until it is connected."""
    kept: list[Message] = []

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        sent = serve(payload)
        if message and watch.is_shaken and message.event not in CHANGE_OF and not message.wait:
            if not watch.is_in(message.namespace):
                kept.append(message)
            return sent
        for each in [each for each in kept if watch.is_in(each.namespace)]:
            kept.remove(each)
            sent += serve(encode(each))
        return sent

    return wrong


@distorted("NS-9")
@watched
def refusal_taken_for_acceptance(serve: Serve, watch: Watch) -> Serve:
    """Handles the events of what the client refused, as Go servers do that have it late."""
    refused: set[str] = set()

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        asked = watch.told.get(message.wait) if message else None
        if message and asked and message.is_error and asked.event == CONNECT:
            refused.add(asked.namespace)
        is_event = message is not None and message.event not in CHANGE_OF
        if message and is_event and message.namespace in refused - {n for n, _ in watch.places}:
            return [encode(message.reply(message.event))]
        return serve(payload)

    return wrong


@distorted("NS-9")
@watched
def early_event_connects(serve: Serve, watch: Watch) -> Serve:
    """Takes an event for the acceptance of the connect that is under way."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        names = {each.namespace for each in watch.told.values() if each.event == CONNECT}
        if message and message.namespace in names and message.event not in CHANGE_OF:
            return [*aside(serve, request(CONNECT, message.namespace)), *serve(payload)]
        return serve(payload)

    return wrong


@distorted("NS-9")
@watched
def early_event_ends_connect(serve: Serve, watch: Watch) -> Serve:
    """Gives its connect up when an event comes before the answer."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        if message and message.event not in CHANGE_OF:
            for token, each in list(watch.told.items()):
                if (each.event, each.namespace) == (CONNECT, message.namespace):
                    serve(encode(Message(wait=token, is_error=True, body="given up")))
        return serve(payload)

    return wrong


@distorted("NS-17")
def unconnected_unanswered(serve: Serve) -> Serve:
    """Drops asks for a namespace that is not connected, as the Go server does."""
    return changing(lambda m: None if m.body == "bad namespace" and m.event != CONNECT else m)(
        serve
    )


@distorted("NS-17")
def unconnected_in_own_words(serve: Serve) -> Serve:
    """Refuses asks for a namespace that is not connected in words of its own."""
    return changing(
        lambda m: (
            m.replace(body="not connected")
            if m.body == "bad namespace" and m.event != CONNECT
            else m
        )
    )(serve)


# -------------------------------------------------------------------- what asks for nothing


@distorted("NS-10")
@watched
def tokenless_requests_taken(serve: Serve, _: Watch) -> Serve:
    """Carries out a disconnect, a join and a leave that ask for no reply."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        if message and message.event in (DISCONNECT, JOIN, LEAVE) and not message.wait:
            return aside(serve, request(message.event, message.namespace, message.room))
        return serve(payload)

    return wrong


@distorted("NS-10")
def no_op_requests_taken(serve: Serve) -> Serve:
    """Carries out a disconnect, a join and a leave that are to do nothing."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        if message and message.event in (DISCONNECT, JOIN, LEAVE) and message.is_no_op:
            return serve(encode(message.replace(is_no_op=False)))
        return serve(payload)

    return wrong


@distorted("NS-12")
@watched
def errors_carried_out(serve: Serve, watch: Watch) -> Serve:
    """Carries out requests that are marked as errors, as the Go server does."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        is_reply = message is not None and message.wait in watch.told
        if message and message.event in CHANGE_OF and message.is_error and not is_reply:
            sent = aside(serve, request(message.event, message.namespace, message.room))
            return [*sent, encode(message.empty_reply())] if message.wait else sent
        return serve(payload)

    return wrong


@distorted("NS-12")
@watched
def errors_carried_out_in_silence(serve: Serve, watch: Watch) -> Serve:
    """Carries out requests that are marked as errors, and does not say so."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        is_reply = message is not None and message.wait in watch.told
        if message and message.event in CHANGE_OF and message.is_error and not is_reply:
            return aside(serve, request(message.event, message.namespace, message.room))
        return serve(payload)

    return wrong


# -------------------------------------------------------------------- what ends with a namespace


@distorted("NS-14")
@watched
def rooms_survive(serve: Serve, watch: Watch) -> Serve:
    """Has a client join its old rooms when it connects again."""
    old: dict[str, list[str]] = {}

    def wrong(payload: str | bytes) -> Payloads:
        before = {name: watch.rooms(name) for name, room in watch.places if not room}
        sent = serve(payload)
        old.update({name: rooms for name, rooms in before.items() if not watch.is_in(name)})
        for name in [name for name in old if watch.is_in(name)]:
            for room in old.pop(name):
                sent += aside(serve, request(JOIN, name, room))
        return sent

    return wrong


@distorted("NS-14")
@watched
def rooms_left_aloud(serve: Serve, watch: Watch) -> Serve:
    """Says of each room that it ends with its namespace."""

    def wrong(payload: str | bytes) -> Payloads:
        before = sorted(watch.places)
        sent = serve(payload)
        gone = [each for each in before if not watch.is_in(each[0]) and each[1]]
        return sent + [f";{name};{room};_OnRoomLeft;0;0;" for name, room in gone]

    return wrong


@distorted("NS-14")
@watched
def rooms_end_everywhere(serve: Serve, watch: Watch) -> Serve:
    """Takes a client out of its rooms in all namespaces when one is disconnected."""

    def wrong(payload: str | bytes) -> Payloads:
        before = {name for name, room in watch.places if not room}
        sent = serve(payload)
        if before - {name for name, room in watch.places if not room}:
            for name, room in sorted(watch.places):
                sent += aside(serve, request(LEAVE, name, room)) if room else []
        return sent

    return wrong


@distorted("NS-18")
@watched
def ended_asks_refused(serve: Serve, watch: Watch) -> Serve:
    """Answers the open asks of a namespace with errors when it is disconnected."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        before = set(watch.places)
        sent = serve(payload)
        if message and (message.namespace, "") in before and not watch.is_in(message.namespace):
            open_ = [each for each in watch.asked.values() if each.event not in CHANGE_OF]
            sent += [encode(each.error_reply("disconnected")) for each in open_]
        return sent

    return wrong


@distorted("NS-18")
@watched
def ended_disconnect_carried_out(serve: Serve, watch: Watch) -> Serve:
    """Disconnects when the client answers at last, though it did so itself meanwhile."""
    is_due = False

    def wrong(payload: str | bytes) -> Payloads:
        nonlocal is_due
        sent: Payloads = []
        if is_due and payload is not NOTHING:
            is_due = False
            sent += aside(serve, request(DISCONNECT, "app"))
        is_due = is_due or _is_accepted(watch, frame_of(payload), DISCONNECT)
        return sent + serve(payload)

    return wrong


# -------------------------------------------------------------------- the empty namespace


@distorted("NS-15")
def empty_namespace_always_there(serve: Serve) -> Serve:
    """Takes the empty namespace for connected from the start."""
    return lambda payload: [payload] if payload == ";;;echo;0;0;hi" else serve(payload)


@distorted("NS-15")
def empty_namespace_refused(serve: Serve) -> Serve:
    """Does not take the empty name for one."""
    return answering(
        lambda m: (
            m.error_reply("bad namespace")
            if (m.event, m.namespace) == (CONNECT, "") and m.wait
            else None
        )
    )(serve)


@distorted("NS-15")
def empty_namespace_without_rooms(serve: Serve) -> Serve:
    """Has no rooms in the empty namespace."""
    return answering(
        lambda m: (
            m.error_reply("bad room") if (m.event, m.namespace) == (JOIN, "") and m.wait else None
        )
    )(serve)


def _all_disconnected(serve: Serve, watch: Watch, namespace: str) -> Serve:
    """Disconnect everything once the client asks to connect a namespace."""

    def wrong(payload: str | bytes) -> Payloads:
        sent = serve(payload)
        message = frame_of(payload)
        if message and message.event == CONNECT and message.namespace == namespace:
            for name in sorted(name for name, room in watch.places if not room):
                sent += aside(serve, request(DISCONNECT, name))
        return sent

    return wrong
