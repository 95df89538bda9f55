"""Servers that are wrong about events and broadcasts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

from mutation.connection_state import Watch, aside, request, watched
from mutation.distortions import Payloads, answering, changing, frame_of
from mutation.registry import distorted, served
from mutation.servers.namespaces import CONNECT, JOIN, LEAVE
from neffos_codec import Message, encode
from neffos_conformance.reference.embedded import NOTHING, Serve, embedded_server
from neffos_protocol.names import CHANGE_OF, LOCAL_ONLY

NEWS = "news"


# -------------------------------------------------------------------- order


@distorted("EV-1")
@watched
def seventh_falls_behind(serve: Serve, _: Watch) -> Serve:
    """Answers every seventh ask only when it has answered the next."""
    held: Payloads = []
    count = 0

    def wrong(payload: str | bytes) -> Payloads:
        nonlocal count
        message = frame_of(payload)
        sent = serve(payload)
        if message and message.event == "echo" and message.wait:
            count += 1
            if not count % 7:
                held.extend(sent)
                return []
        sent += held
        held.clear()
        return sent

    return wrong


@distorted("EV-1")
@watched
def octets_in_a_lane_of_their_own(serve: Serve, _: Watch) -> Serve:
    """Lets a text overtake the binary message before it."""
    held: list[bytes] = []
    texts = 0

    def wrong(payload: str | bytes) -> Payloads:
        nonlocal texts
        message = frame_of(payload)
        if message is None or message.event != "echo":
            return serve(payload)
        if isinstance(payload, bytes) and texts:
            held.append(payload)
            return []
        texts += isinstance(payload, str)
        sent = serve(payload)
        while held:
            sent += serve(held.pop(0))
        return sent

    return wrong


@distorted("EV-1")
@watched
def joins_first(serve: Serve, watch: Watch) -> Serve:
    """Lets a join overtake the event before it."""
    held: Payloads = []

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        is_event = message is not None and message.event == "echo" and not message.wait
        if message and is_event and not watch.is_in(message.namespace, message.room):
            held.append(payload)
            return []
        sent = serve(payload)
        for each in held:
            sent += serve(each)
        held.clear()
        return sent

    return wrong


# -------------------------------------------------------------------- handlers


@distorted("EV-2")
def handlers_by_event_alone(serve: Serve) -> Serve:
    """Gives an event to the handler of that name in whatever namespace."""
    return answering(
        lambda m: (
            m.reply(m.body)
            if (m.namespace, m.event) == ("any", "echo") and not m.is_error
            else None
        )
    )(serve)


@distorted("EV-2")
@watched
def commands_everywhere(serve: Serve, _: Watch) -> Serve:
    """Gives the events of one namespace to another's handlers where they have its names."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        if message and message.namespace == "any" and message.event.endswith("-me"):
            return []
        return serve(payload)

    return wrong


@distorted("EV-2")
@watched
def events_folded(serve: Serve, watch: Watch) -> Serve:
    """Takes events for one that differ in their case, or in blanks."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        if message and watch.is_in("app") and message.event in ("Echo", " echo"):
            return serve(encode(message.replace(event="echo")))
        return serve(payload)

    return wrong


@distorted("EV-2")
@watched
def events_of_one_word(serve: Serve, watch: Watch) -> Serve:
    """Drops events whose names are not one word of ASCII."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        if message is None or not watch.is_in("any") or message.namespace != "any":
            return serve(payload)
        is_word = message.event.isascii() and " " not in message.event.strip()
        return serve(payload) if is_word else []

    return wrong


@distorted("EV-2")
@watched
def bodiless_dropped(serve: Serve, watch: Watch) -> Serve:
    """Drops an event without a body."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        bare = message is not None and not message.body and not message.is_error
        if message and bare and message.event == "echo" and watch.is_in("app"):
            return []
        return serve(payload)

    return wrong


@served("EV-2")
@asynccontextmanager
async def one_object_for_all() -> AsyncIterator[str]:
    """Has the handlers of all clients know the last one alone."""
    last = ""

    def make(serve: Serve, watch: Watch) -> Serve:
        def wrong(payload: str | bytes) -> Payloads:
            nonlocal last
            sent = serve(payload)
            if payload == "M":
                last = watch.id
            message = frame_of(payload)
            if message and message.event == "whoami" and sent:
                return [encode(message.reply(last))]
            return sent

        return wrong

    async with embedded_server(distort=watched(make)) as url:
        yield url


@distorted("EV-3")
@watched
def every_system_name_is_taken(serve: Serve, watch: Watch) -> Serve:
    """Takes whatever begins like a request for one."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        if message and message.event.lower().startswith("_on") and watch.is_in("any"):
            known = message.event in CHANGE_OF or message.event in LOCAL_ONLY
            return serve(payload) if known else []
        return serve(payload)

    return wrong


@distorted("EV-3")
@watched
def requests_reach_handlers(serve: Serve, watch: Watch) -> Serve:
    """Gives a request to the handler of every event too."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        is_asked = message is not None and message.event in (JOIN, LEAVE) and bool(message.wait)
        if message and is_asked and message.namespace == "any" and watch.is_in("any"):
            return [encode(message.reply(message.event)), *serve(payload)]
        return serve(payload)

    return wrong


def _obeying(notice: str, event: str) -> Callable[[Serve, Watch], Serve]:
    """Take a notice for the request that it tells of."""

    def make(serve: Serve, _: Watch) -> Serve:
        def wrong(payload: str | bytes) -> Payloads:
            message = frame_of(payload)
            if message and message.event == notice:
                return aside(serve, request(event, message.namespace, message.room))
            return serve(payload)

        return wrong

    return make


@distorted("EV-3")
@watched
def connected_connects(serve: Serve, watch: Watch) -> Serve:
    """Connects a namespace that a client says it has connected."""
    return _obeying("_OnNamespaceConnected", CONNECT)(serve, watch)


@distorted("EV-3")
@watched
def joined_joins(serve: Serve, watch: Watch) -> Serve:
    """Has a client join a room that it says it has joined."""
    return _obeying("_OnRoomJoined", JOIN)(serve, watch)


@distorted("EV-3")
@watched
def left_leaves(serve: Serve, watch: Watch) -> Serve:
    """Has a client leave a room that it says it has left."""
    return _obeying("_OnRoomLeft", LEAVE)(serve, watch)


def _delivering(*events: str) -> Callable[[Serve, Watch], Serve]:
    """Give some events to the handler of every event, in place of dropping them."""

    def make(serve: Serve, watch: Watch) -> Serve:
        def wrong(payload: str | bytes) -> Payloads:
            message = frame_of(payload)
            is_taken = message is not None and message.event in events and watch.is_in("any")
            if message and is_taken and message.namespace == "any":
                return [encode(message.reply(message.event))]
            return serve(payload)

        return wrong

    return make


@distorted("EV-4")
@watched
def notices_delivered(serve: Serve, watch: Watch) -> Serve:
    """Gives a client's notices to the handler of every event."""
    return _delivering("_OnNamespaceConnected", "_OnRoomJoined", "_OnRoomLeft")(serve, watch)


@distorted("EV-4")
@watched
def any_event_delivered(serve: Serve, watch: Watch) -> Serve:
    """Takes the name of the handler of every event for an event, as the Go server does."""
    return _delivering("_OnAnyEvent")(serve, watch)


@distorted("EV-4")
@watched
def notices_confirmed(serve: Serve, watch: Watch) -> Serve:
    """Answers a notice that is an ask with the empty reply."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        if message and message.wait and message.event in LOCAL_ONLY and watch.is_in("any"):
            return [encode(message.empty_reply())]
        return serve(payload)

    return wrong


# -------------------------------------------------------------------- errors


@distorted("EV-6")
@watched
def error_text_taken_for_body(serve: Serve, watch: Watch) -> Serve:
    """Gives an error's text to a handler as the body."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        if message and message.is_error and message.event == "echo" and watch.is_in("app"):
            return serve(encode(message.replace(is_error=False)))
        return serve(payload)

    return wrong


@distorted("EV-6")
@watched
def errors_dropped(serve: Serve, watch: Watch) -> Serve:
    """Gives an error to no handler."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        is_event = message is not None and message.event not in CHANGE_OF
        if message and is_event and message.is_error and watch.is_in(message.namespace):
            return []
        return serve(payload)

    return wrong


# -------------------------------------------------------------------- broadcasts: to whom


@dataclass(slots=True)
class Member:
    """A connection among others.

    Attributes:
        watch: what is known of it.
        due: what is sent to it as soon as something else is.
        was: all that it ever was in.
    """

    watch: Watch
    due: Payloads = field(default_factory=list)
    was: set[tuple[str, str]] = field(default_factory=set)


Leaks = Callable[[Message, Member, Member], bool]
"""Whether a broadcast, by its command, reaches another connection that it should not: who made
it, and who would get it."""


def _news(command: Message) -> str | bytes:
    body = command.body
    if command.event == "broadcast-to":
        separator: str | bytes = " " if isinstance(body, str) else b" "
        body = body.partition(separator)[2]  # type: ignore[arg-type]  # both are of one kind
    room = command.room if command.event == "broadcast-room" else ""
    return encode(Message(namespace="app", room=room, event=NEWS, body=body))


def _leaking(leaks: Leaks) -> Callable[[], AbstractAsyncContextManager[str]]:
    """Run a server whose broadcasts reach some whom they should not.

    What leaks comes as late as it can: before the next thing that the connection is sent.
    """

    @asynccontextmanager
    async def run() -> AsyncIterator[str]:
        members: list[Member] = []

        def make(serve: Serve, watch: Watch) -> Serve:
            this = Member(watch)
            members.append(this)

            def wrong(payload: str | bytes) -> Payloads:
                message = frame_of(payload)
                is_command = message is not None and message.event.startswith("broadcast-")
                if message and is_command and watch.is_in("app"):
                    for each in members:
                        if leaks(message, this, each):
                            each.due.append(_news(message))
                sent = serve(payload)
                this.was |= watch.places
                if sent and this.due and watch.is_shaken:
                    sent = this.due + sent
                    this.due = []
                return sent

            return wrong

        async with embedded_server(distort=watched(make)) as url:
            yield url

    return run


def _is_addressed(command: Message, other: Member) -> bool:
    body = command.body if isinstance(command.body, str) else command.body.decode("latin-1")
    return command.event != "broadcast-to" or body.startswith(f"{other.watch.id} ")


@served("EV-8")
@asynccontextmanager
async def strangers_told() -> AsyncIterator[str]:
    """Broadcasts to clients, too, that have not connected the namespace."""

    def leaks(command: Message, maker: Member, other: Member) -> bool:
        is_stranger = other.watch.is_shaken and not other.watch.is_in("app")
        is_meant = command.event != "broadcast-room" and _is_addressed(command, other)
        return is_stranger and is_meant and other is not maker

    async with _leaking(leaks)() as url:
        yield url


@served("EV-8")
@asynccontextmanager
async def maker_told() -> AsyncIterator[str]:
    """Broadcasts to the maker too what is for the others."""

    def leaks(command: Message, maker: Member, other: Member) -> bool:
        return other is maker and command.event in ("broadcast-others", "broadcast-room")

    async with _leaking(leaks)() as url:
        yield url


@served("EV-8")
@asynccontextmanager
async def rooms_overlooked() -> AsyncIterator[str]:
    """Broadcasts to all what is for a room."""

    def leaks(command: Message, maker: Member, other: Member) -> bool:
        is_member = other.watch.is_in("app", command.room)
        is_there = other is not maker and other.watch.is_in("app") and not is_member
        return is_there and command.event == "broadcast-room"

    async with _leaking(leaks)() as url:
        yield url


@served("EV-8")
@asynccontextmanager
async def ids_overlooked() -> AsyncIterator[str]:
    """Broadcasts to whoever follows what is for one."""
    last: list[Member] = []

    def leaks(command: Message, maker: Member, other: Member) -> bool:
        is_new = other not in last
        if is_new:
            last.append(other)
        is_next = other is not maker and other.watch.is_in("app")
        return is_next and command.event == "broadcast-to" and not _is_addressed(command, other)

    async with _leaking(leaks)() as url:
        yield url


@served("EV-8")
@asynccontextmanager
async def once_a_member_always_a_member() -> AsyncIterator[str]:
    """Broadcasts to whoever was ever in the namespace, or the room."""

    def leaks(command: Message, maker: Member, other: Member) -> bool:
        room = command.room if command.event == "broadcast-room" else ""
        was = ("app", room) in other.was and not other.watch.is_in("app", room)
        return was and other is not maker and _is_addressed(command, other)

    async with _leaking(leaks)() as url:
        yield url


@served("EV-8")
@asynccontextmanager
async def told_while_joining() -> AsyncIterator[str]:
    """Counts a client as a member as soon as it is asked to join, or to connect."""

    def leaks(command: Message, maker: Member, other: Member) -> bool:
        room = command.room if command.event == "broadcast-room" else ""
        event = JOIN if room else CONNECT
        asked = [each for each in other.watch.told.values() if each.event == event]
        is_asked = any((each.namespace, each.room) == ("app", room) for each in asked)
        return is_asked and other is not maker and _is_addressed(command, other)

    async with _leaking(leaks)() as url:
        yield url


@served("EV-8")
@asynccontextmanager
async def told_though_refused() -> AsyncIterator[str]:
    """Counts a client as a member that has refused to join."""

    def leaks(command: Message, maker: Member, other: Member) -> bool:
        answered = [each for each in other.watch.answered.values() if each.event == JOIN]
        is_asked = any(each.room == command.room for each in answered)
        is_out = not other.watch.is_in("app", command.room)
        is_room = command.event == "broadcast-room"
        return is_asked and is_out and is_room and other is not maker

    async with _leaking(leaks)() as url:
        yield url


@distorted("EV-8")
@watched
def told_for_each_connect(serve: Serve, watch: Watch) -> Serve:
    """Sends a broadcast once for each time that the namespace was connected."""
    times = 0

    def wrong(payload: str | bytes) -> Payloads:
        nonlocal times
        was_in = watch.is_in("app")
        sent: Payloads = []
        for each in serve(payload):
            frame = frame_of(each)
            sent += [each] * (max(times, 1) if frame and frame.event == NEWS else 1)
        times += watch.is_in("app") and not was_in
        return sent

    return wrong


@distorted("EV-8")
@watched
def not_told_when_asked_to_connect(serve: Serve, watch: Watch) -> Serve:
    """Broadcasts nothing to a client whose namespace the server has connected."""

    def wrong(payload: str | bytes) -> Payloads:
        frames = [(each, frame_of(each)) for each in serve(payload)]
        is_left_out = any(each.event == CONNECT for each in watch.answered.values())
        return [
            each for each, frame in frames if not (is_left_out and frame and frame.event == NEWS)
        ]

    return wrong


@distorted("EV-8")
@watched
def never_told_by_oneself(serve: Serve, watch: Watch) -> Serve:
    """Sends nobody a broadcast that they made themselves."""
    is_own = False

    def wrong(payload: str | bytes) -> Payloads:
        nonlocal is_own
        message = frame_of(payload)
        if payload is not NOTHING:
            is_own = message is not None and message.event in ("broadcast-all", "broadcast-to")
        frames = [(each, frame_of(each)) for each in serve(payload)]
        return [each for each, frame in frames if not (is_own and frame and frame.event == NEWS)]

    return wrong


@distorted("EV-8")
def broadcasts_as_text(serve: Serve) -> Serve:
    """Broadcasts octets as text."""

    def wrong(payload: str | bytes) -> Payloads:
        frames = [(each, frame_of(each)) for each in serve(payload)]
        return [
            each.decode("latin-1")
            if isinstance(each, bytes) and frame and frame.event == NEWS
            else each
            for each, frame in frames
        ]

    return wrong


@distorted("EV-8")
def broadcasts_by_command(serve: Serve) -> Serve:
    """Broadcasts with a room that nobody named."""
    return changing(lambda m: m.replace(room="all") if m.event == NEWS and not m.room else m)(serve)


# -------------------------------------------------------------------- broadcasts: all of them


@distorted("EV-9")
def every_tenth_broadcast_lost(serve: Serve) -> Serve:
    """Loses one broadcast of ten."""
    count = 0

    def change(message: Message) -> Message | None:
        nonlocal count
        count += message.event == NEWS
        return None if message.event == NEWS and not count % 10 else message

    return changing(change)(serve)


@distorted("EV-9")
def second_broadcast_later(serve: Serve) -> Serve:
    """Sends the second broadcast behind the third."""
    held: Payloads = []
    count = 0

    def wrong(payload: str | bytes) -> Payloads:
        nonlocal count
        sent: Payloads = []
        for each in serve(payload):
            frame = frame_of(each)
            is_news = frame is not None and frame.event == NEWS
            count += is_news
            if is_news and count == 2:
                held.append(each)
                continue
            sent.append(each)
            if is_news:
                sent += held
                held.clear()
        return sent

    return wrong


@distorted("EV-9")
def latest_broadcast_alone(serve: Serve) -> Serve:
    """Sends the latest of the broadcasts that wait, and no other, as the Go server does."""

    def wrong(payload: str | bytes) -> Payloads:
        sent = serve(payload)
        frames = [frame_of(each) for each in sent]
        news = [at for at, frame in enumerate(frames) if frame and frame.event == NEWS]
        return [each for at, each in enumerate(sent) if at not in news[:-1]]

    return wrong
