"""Servers that are wrong about rooms."""

from __future__ import annotations

from mutation.connection_state import Watch, aside, calling_off, request, watched
from mutation.distortions import Payloads, answering, changing, frame_of
from mutation.registry import distorted
from mutation.servers.namespaces import CONNECT, DISCONNECT, JOIN, LEAVE
from neffos_codec import Message, encode
from neffos_conformance.reference.embedded import NOTHING, Serve
from neffos_protocol.names import CHANGE_OF


def _told(watch: Watch, message: Message | None, event: str) -> Message | None:
    """Give the server's request that the client answers, where it is of this kind."""
    asked = watch.told.get(message.wait) if message else None
    return asked if asked and asked.event == event else None


# -------------------------------------------------------------------- joining


@distorted("RM-1")
def join_unanswered(serve: Serve) -> Serve:
    """Joins a room without saying so."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        sent = serve(payload)
        return [] if message and message.event == JOIN else sent

    return wrong


@distorted("RM-1")
@watched
def join_without_effect(serve: Serve, watch: Watch) -> Serve:
    """Says that a room is joined, and leaves the client outside."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        sent = serve(payload)
        if message and message.event == JOIN and watch.is_in(message.namespace, message.room):
            sent += aside(serve, request(LEAVE, message.namespace, message.room))
        return sent

    return wrong


@distorted("RM-1")
@watched
def accepted_join_forgotten(serve: Serve, watch: Watch) -> Serve:
    """Does not count a client that has joined as it was asked to."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        asked = _told(watch, message, JOIN)
        sent = serve(payload)
        if message and asked and message.is_empty_reply:
            sent += aside(serve, request(LEAVE, asked.namespace, asked.room))
        return sent

    return wrong


@distorted("RM-1")
@watched
def nine_rooms(serve: Serve, watch: Watch) -> Serve:
    """Takes a client out of a room when it joins a tenth."""

    def wrong(payload: str | bytes) -> Payloads:
        sent = serve(payload)
        for name in [name for name, room in watch.places if not room]:
            rooms = watch.rooms(name)
            if len(rooms) > 9:
                sent += aside(serve, request(LEAVE, name, rooms[0]))
        return sent

    return wrong


@distorted("RM-1")
def rooms_folded(serve: Serve) -> Serve:
    """Takes rooms for one that differ in their case, or in blanks."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        if message is None or message.room == message.room.strip().lower():
            return serve(payload)
        folded = serve(encode(message.replace(room=message.room.strip().lower())))
        frames = [(each, frame_of(each)) for each in folded]
        return [
            encode(frame.replace(room=message.room)) if frame and frame.room else each
            for each, frame in frames
        ]

    return wrong


@distorted("RM-1")
@watched
def connect_empties_rooms(serve: Serve, watch: Watch) -> Serve:
    """Takes a client out of its rooms when it asks to connect once more."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        sent = serve(payload)
        if message and message.event == CONNECT and message.wait:
            for room in watch.rooms(message.namespace):
                sent += aside(serve, request(LEAVE, message.namespace, room))
        return sent

    return wrong


@distorted("RM-1")
@watched
def refused_leave_obeyed(serve: Serve, watch: Watch) -> Serve:
    """Takes a client out of a room that it does not want to leave."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        asked = _told(watch, message, LEAVE)
        sent = serve(payload)
        if message and asked and message.is_error:
            sent += aside(serve, request(LEAVE, asked.namespace, asked.room))
        return sent

    return wrong


@distorted("RM-1")
@watched
def ended_leave_carried_out(serve: Serve, watch: Watch) -> Serve:
    """Takes a client out of a room when it answers at last, though it is back, as Go does."""
    due: list[Message] = []

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        sent: Payloads = []
        while due and payload is not NOTHING:
            late = due.pop()
            sent += aside(serve, request(LEAVE, late.namespace, late.room))
        asked = _told(watch, message, LEAVE)
        if message and asked and message.is_empty_reply:
            due.append(asked)
        return sent + serve(payload)

    return wrong


@distorted("RM-1")
@watched
def one_join_at_a_time(serve: Serve, watch: Watch) -> Serve:
    """Refuses a client's join while its own is under way."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        pending = [each for each in watch.told.values() if each.event == JOIN]
        if message and message.event == JOIN and pending and message.wait not in watch.told:
            return [encode(message.error_reply("a join is under way"))] if message.wait else []
        return serve(payload)

    return wrong


# -------------------------------------------------------------------- leaving


@distorted("RM-2")
@watched
def leave_without_effect(serve: Serve, watch: Watch) -> Serve:
    """Says that a room is left, and keeps the client in it."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        was_in = message is not None and watch.is_in(message.namespace, message.room)
        sent = serve(payload)
        if message and message.event == LEAVE and was_in:
            sent += aside(serve, request(JOIN, message.namespace, message.room))
        return sent

    return wrong


@distorted("RM-2")
@watched
def accepted_leave_forgotten(serve: Serve, watch: Watch) -> Serve:
    """Goes on counting a client that has left as it was asked to."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        asked = _told(watch, message, LEAVE)
        sent = serve(payload)
        if message and asked and message.is_empty_reply:
            sent += aside(serve, request(JOIN, asked.namespace, asked.room))
        return sent

    return wrong


@distorted("RM-2")
@watched
def leave_leaves_all(serve: Serve, watch: Watch) -> Serve:
    """Takes a client out of all its rooms when it leaves one."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        sent = serve(payload)
        if message and message.event == LEAVE and message.wait and not message.is_no_op:
            for room in watch.rooms(message.namespace) if not message.is_error else ():
                sent += aside(serve, request(LEAVE, message.namespace, room))
        return sent

    return wrong


@distorted("RM-2")
@watched
def one_leave_at_a_time(serve: Serve, watch: Watch) -> Serve:
    """Refuses a client's leave while its own is under way."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        pending = [each for each in watch.told.values() if each.event == LEAVE]
        if message and message.event == LEAVE and pending and message.wait not in watch.told:
            return [encode(message.error_reply("a leave is under way"))] if message.wait else []
        return serve(payload)

    return wrong


# -------------------------------------------------------------------- refusals


@distorted("RM-3")
def lock_overlooked(serve: Serve) -> Serve:
    """Says that a room is joined which the application refused."""
    return changing(lambda m: m.empty_reply() if m.body == "room is locked" else m)(serve)


@distorted("RM-3")
def lock_in_own_words(serve: Serve) -> Serve:
    """Refuses a room without the application's text."""
    return changing(lambda m: m.replace(body="bad room") if m.body == "room is locked" else m)(
        serve
    )


@distorted("RM-3")
def locked_and_joined(serve: Serve) -> Serve:
    """Says that a room is refused, and counts the client as a member."""
    return lambda payload: [payload] if payload == ";app;locked;echo;0;0;hi" else serve(payload)


@distorted("RM-3")
def lock_opens(serve: Serve) -> Serve:
    """Refuses a room once, and no second time."""
    refused = 0

    def change(message: Message) -> Message:
        nonlocal refused
        if message.body != "room is locked":
            return message
        refused += 1
        return message if refused == 1 else message.empty_reply()

    return changing(change)(serve)


@distorted("RM-3")
@watched
def lock_empties_rooms(serve: Serve, watch: Watch) -> Serve:
    """Takes a client out of its rooms when one is refused."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        sent = serve(payload)
        if message and (message.event, message.room) == (JOIN, "locked"):
            for room in watch.rooms(message.namespace):
                sent += aside(serve, request(LEAVE, message.namespace, room))
        return sent

    return wrong


@distorted("RM-3")
def lock_in_every_namespace(serve: Serve) -> Serve:
    """Looks for the handler of a join by the room alone."""
    return answering(
        lambda m: (
            m.error_reply("room is locked")
            if (m.event, m.namespace, m.room) == (JOIN, "any", "locked") and m.wait
            else None
        )
    )(serve)


@distorted("RM-7")
def sticky_room_released(serve: Serve) -> Serve:
    """Says that a room is left which the application did not let go."""
    return changing(lambda m: m.empty_reply() if m.body == "room is sticky" else m)(serve)


@distorted("RM-7")
def sticky_room_in_own_words(serve: Serve) -> Serve:
    """Refuses a leave without the application's text."""
    return changing(lambda m: m.replace(body="bad room") if m.body == "room is sticky" else m)(
        serve
    )


@distorted("RM-7")
def sticky_room_left(serve: Serve) -> Serve:
    """Says that a leave is refused, and does not count the client as a member any more."""
    is_left = False

    def wrong(payload: str | bytes) -> Payloads:
        nonlocal is_left
        message = frame_of(payload)
        sent = serve(payload)
        is_sticky = message is not None and message.room == "sticky"
        is_left = is_left or (is_sticky and message is not None and message.event == LEAVE)
        return [] if is_left and is_sticky and message and message.event == "echo" else sent

    return wrong


@distorted("RM-7")
def sticky_room_once(serve: Serve) -> Serve:
    """Refuses a leave once, and no second time."""
    refused = 0

    def change(message: Message) -> Message:
        nonlocal refused
        if message.body != "room is sticky":
            return message
        refused += 1
        return message if refused == 1 else message.empty_reply()

    return changing(change)(serve)


# -------------------------------------------------------------------- twice, or needlessly


@distorted("RM-4")
@watched
def second_join_refused(serve: Serve, watch: Watch) -> Serve:
    """Takes a second join for a mistake."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        if message is None or message.event != JOIN or not message.room:
            return serve(payload)
        if watch.is_in(message.namespace, message.room):
            return [encode(message.error_reply("joined already"))] if message.wait else []
        return serve(payload)

    return wrong


@distorted("RM-4")
@watched
def joins_counted(serve: Serve, watch: Watch) -> Serve:
    """Counts joins, and wants as many leaves."""
    count = 0

    def wrong(payload: str | bytes) -> Payloads:
        nonlocal count
        message = frame_of(payload)
        is_there = message is not None and watch.is_in(message.namespace, message.room)
        if message and message.wait and is_there and not message.is_no_op | message.is_error:
            if message.event == JOIN:
                count += 1
            elif message.event == LEAVE and count:
                count -= 1
                watch.asked[message.wait] = message
                return [encode(message.empty_reply())]
        return serve(payload)

    return wrong


@distorted("RM-4")
@watched
def joined_twice_told_twice(serve: Serve, watch: Watch) -> Serve:
    """Sends a broadcast as often as the room was joined."""
    times: dict[str, int] = {}

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        if message and message.event == JOIN and watch.is_in(message.namespace):
            times[message.room] = times.get(message.room, 0) + 1
        sent: Payloads = []
        for each in serve(payload):
            frame = frame_of(each)
            is_news = frame is not None and frame.event == "news" and bool(frame.room)
            sent += [each] * (times.get(frame.room, 1) if frame and is_news else 1)
        return sent

    return wrong


@distorted("RM-4")
@watched
def join_calls_leave_off(serve: Serve, watch: Watch) -> Serve:
    """Forgets its own leave when the client joins meanwhile."""
    off: set[str] = set()

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        if message and message.wait in off:
            return serve(encode(Message(wait=message.wait, is_error=True, body="called off")))
        if message and message.event == JOIN:
            off.update(
                token
                for token, each in watch.told.items()
                if (each.event, each.room) == (LEAVE, message.room)
                and watch.is_in(each.namespace, each.room)
            )
        return serve(payload)

    return wrong


@distorted("RM-5")
@watched
def needless_leave_refused(serve: Serve, watch: Watch) -> Serve:
    """Refuses that a client leaves a room that it is not in."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        if message and message.event == LEAVE and message.wait and watch.is_in(message.namespace):
            is_in = watch.is_in(message.namespace, message.room)
            if not is_in and message.wait not in watch.told:
                return [encode(message.error_reply("not joined"))]
        return serve(payload)

    return wrong


@distorted("RM-5")
@watched
def leave_calls_join_off(serve: Serve, watch: Watch) -> Serve:
    """Forgets its own join when the client leaves meanwhile."""
    return calling_off(serve, watch, JOIN, by=LEAVE)


@distorted("RM-5")
def sticky_for_outsiders(serve: Serve) -> Serve:
    """Asks the application about the leave of a room that was not joined."""
    joined = False

    def wrong(payload: str | bytes) -> Payloads:
        nonlocal joined
        message = frame_of(payload)
        if message and message.room == "sticky" and message.wait:
            joined = joined or message.event == JOIN
            if message.event == LEAVE and not joined:
                return [encode(message.error_reply("room is sticky"))]
        return serve(payload)

    return wrong


# -------------------------------------------------------------------- no room


@distorted("RM-6")
@watched
def early_join_kept(serve: Serve, watch: Watch) -> Serve:
    """Carries a join out once its namespace is connected."""
    kept: list[Message] = []

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        if message and message.event == JOIN and not watch.is_in(message.namespace):
            kept.append(message)
        sent = serve(payload)
        for each in [each for each in kept if watch.is_in(each.namespace)]:
            kept.remove(each)
            sent += aside(serve, request(JOIN, each.namespace, each.room))
        return sent

    return wrong


@distorted("RM-6")
@watched
def joined_without_namespace(serve: Serve, watch: Watch) -> Serve:
    """Says that a room is joined, or left, in a namespace that is not connected."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        is_ask = message is not None and message.event in (JOIN, LEAVE) and bool(message.wait)
        if message and is_ask and watch.is_shaken and not watch.is_in(message.namespace):
            return [encode(message.empty_reply())]
        return serve(payload)

    return wrong


@distorted("RM-6")
@watched
def unknown_namespace_means_first(serve: Serve, watch: Watch) -> Serve:
    """Joins a room of the first namespace where it does not know the one that is named."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        sent = serve(payload)
        if message and (message.event, message.namespace) == (JOIN, "nowhere"):
            sent += aside(serve, request(JOIN, "app", message.room)) if watch.is_in("app") else []
        return sent

    return wrong


def _is_nameless(message: Message) -> bool:
    return message.event == JOIN and message.body == "bad room" and not message.room


@distorted("RM-12")
def nameless_room_joined(serve: Serve) -> Serve:
    """Joins a room without a name, as the Go server does."""
    return changing(lambda m: m.empty_reply() if _is_nameless(m) else m)(serve)


@distorted("RM-12")
def nameless_room_unanswered(serve: Serve) -> Serve:
    """Keeps silent about a room without a name."""
    return changing(lambda m: None if _is_nameless(m) else m)(serve)


# -------------------------------------------------------------------- outsiders


def _let_in(serve: Serve, watch: Watch, payload: str | bytes) -> tuple[Message | None, Payloads]:
    """Have an outsider's event handled as a member's; give it, and what is sent."""
    message = frame_of(payload)
    if (
        message is None
        or message.event in CHANGE_OF
        or not message.room
        or not watch.is_in(message.namespace)
        or watch.is_in(message.namespace, message.room)
    ):
        return None, serve(payload)
    sent = aside(serve, request(JOIN, message.namespace, message.room))
    sent += serve(payload)
    sent += aside(serve, request(LEAVE, message.namespace, message.room))
    return message, sent


@distorted("RM-9")
@watched
def outsiders_heard(serve: Serve, watch: Watch) -> Serve:
    """Runs the handler for an outsider's event, as the Go server does."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        if message is None or message.event not in ("push", "broadcast-room"):
            return serve(payload)
        message, sent = _let_in(serve, watch, payload)
        if message is None:
            return sent
        frames = [(each, frame_of(each)) for each in sent]
        return [each for each, frame in frames if frame is None or not frame.room]

    return wrong


@distorted("RM-10")
@watched
def outsiders_answered(serve: Serve, watch: Watch) -> Serve:
    """Runs the handler for an outsider's event, and sends what that gives."""
    return lambda payload: _let_in(serve, watch, payload)[1]


@distorted("RM-10")
@watched
def outsiders_told_errors(serve: Serve, watch: Watch) -> Serve:
    """Sends an outsider the error of a handler."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        if message and message.event == "fail":
            return _let_in(serve, watch, payload)[1]
        return serve(payload)

    return wrong


@distorted("RM-10")
@watched
def outsiders_told_octets(serve: Serve, watch: Watch) -> Serve:
    """Answers an outsider in a binary message."""
    return lambda payload: (
        _let_in(serve, watch, payload)[1] if isinstance(payload, bytes) else serve(payload)
    )


@distorted("AR-19")
@watched
def refused_join_carried_out(serve: Serve, watch: Watch) -> Serve:
    """Has a client join a room that it has refused."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        asked = _told(watch, message, JOIN)
        sent = serve(payload)
        if message and asked and message.is_error:
            sent += aside(serve, request(JOIN, asked.namespace, asked.room))
        return sent

    return wrong


# -------------------------------------------------------------------- one name, two rooms


@distorted("RM-11")
@watched
def rooms_of_all_namespaces(serve: Serve, watch: Watch) -> Serve:
    """Has a client join the room of that name in all its namespaces."""

    def wrong(payload: str | bytes) -> Payloads:
        before = set(watch.places)
        sent = serve(payload)
        for _, joined in sorted(watch.places - before):
            for name, room in sorted(watch.places):
                if joined and not room and not watch.is_in(name, joined):
                    sent += aside(serve, request(JOIN, name, joined))
        return sent

    return wrong


@distorted("RM-11")
@watched
def left_in_all_namespaces(serve: Serve, watch: Watch) -> Serve:
    """Has a client leave the room of that name in all its namespaces."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        before = set(watch.places)
        sent = serve(payload)
        if message and message.event in (LEAVE, DISCONNECT):
            for _, left in sorted(before - watch.places):
                for name, room in sorted(watch.places):
                    if left and room == left:
                        sent += aside(serve, request(LEAVE, name, room))
        return sent

    return wrong
