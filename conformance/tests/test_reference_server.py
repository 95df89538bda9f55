"""The reference server with the reference client: what an application can do, and what a peer sees.

Both ends are in one process, so that what happens at either can be looked at. That something did
not happen is shown by something that comes after it: messages of a connection are handled in their
order (EV-1).
"""

import asyncio
import logging
import threading
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest

from neffos_asyncio import (
    ANY_ORIGIN,
    ON_ANY_EVENT,
    ON_NAMESPACE_CONNECT,
    ON_NAMESPACE_CONNECTED,
    ON_NAMESPACE_DISCONNECT,
    ON_NATIVE_MESSAGE,
    ON_ROOM_JOIN,
    ON_ROOM_JOINED,
    ON_ROOM_LEAVE,
    ON_ROOM_LEFT,
    DeadlineError,
    DialError,
    Limits,
    Listener,
    LostError,
    NoReceiverError,
    PeerError,
    RefusedError,
    ReplyError,
    Server,
    blocking,
    dial,
    listening,
    random_id,
    text_of,
)
from neffos_asyncio.dispatch import HANDLER_TIMEOUT, INTERNAL_ERROR
from neffos_asyncio.transport import LOGGER
from neffos_codec import EncodeError
from neffos_conformance.wire.connection import WireConnection as Raw
from neffos_protocol import Cause, ChangeAsked, Changed, MisuseError

from .test_handler_queue import asynchronous

BODIES = ["", "text", "ü;🙂\n;;;;;;;", b"", b"bytes", b"\xff\x00;\n"]
"""Of both kinds, empty, and with all that could be mistaken for something else."""


@pytest.fixture(autouse=True)
def log(monkeypatch):
    """The log of the package; silent, as no log could print some of it."""
    logger = logging.getLogger(LOGGER)
    monkeypatch.setattr(logger, "disabled", True)
    return logger


def echo(_, message):
    return message.body


async def echo_later(_, message):
    await asyncio.sleep(0)
    return message.body


def future():
    return asyncio.get_running_loop().create_future()


@asynccontextmanager
async def talking(server, *parts, namespace="app", **options):
    """Serve, dial and connect a namespace; give the namespace at the client's end."""
    async with (
        listening(server) as listener,
        await dial(listener.url(), *parts, **options) as client,
    ):
        yield await client.connect(namespace)


class Inbox:
    """Handlers for a client that keep what came, and a way to know that all has come."""

    def __init__(self, *events, namespace="app"):
        self.messages = []
        self.handlers = {namespace: dict.fromkeys((*events, ON_ANY_EVENT), self._take)}

    def _take(self, _, message):
        self.messages.append(message)

    @property
    def bodies(self):
        return [message.body for message in self.messages]

    @staticmethod
    async def synchronised(*spaces):
        """Wait until all that was sent to some clients before now has been handled."""
        for space in spaces:
            assert (await space.ask("sync")).body == "synchronised"


SYNC = {"sync": lambda *_: "synchronised"}


async def refused_with(text, awaitable):
    with pytest.raises(ReplyError) as refusal:
        await awaitable
    assert refusal.value.text == text


def is_asynchronous(value):
    return "async" if value else "sync"


either = pytest.mark.parametrize("is_async", [False, True], ids=is_asynchronous)


def either_way(handler, is_async):
    """A handler as it is, or as a coroutine that gives way first."""
    if not is_async:
        return handler

    async def later(*arguments):
        await asyncio.sleep(0)
        return handler(*arguments)

    return later


# ---- Replies (AR-7, AR-9, AR-10, AR-16) ----


@pytest.mark.parametrize("body", BODIES)
@either
@asynchronous
async def test_what_a_handler_returns_is_the_reply(body, is_async):
    async with talking(Server({"app": {"echo": either_way(echo, is_async)}})) as space:
        assert (await space.ask("echo", body)).body == body


@pytest.mark.parametrize(
    ("sent", "returned", "replied"),
    [("text", b"bytes", "bytes"), (b"bytes", "text", b"text"), ("t", b"", ""), (b"o", "", b"")],
)
@either
@asynchronous
async def test_a_reply_has_the_kind_of_the_ask(sent, returned, replied, is_async):
    handler = either_way(lambda *_: returned, is_async)
    async with talking(Server({"app": {"get": handler}})) as space:
        assert (await space.ask("get", sent)).body == replied


@pytest.mark.parametrize("body", ["text", b"bytes"])
@either
@asynchronous
async def test_an_error_that_a_handler_raises_is_replied(body, is_async):
    def fail(*_):
        raise ReplyError("no, ü;🙂")

    async with talking(Server({"app": {"fail": either_way(fail, is_async), **SYNC}})) as space:
        with pytest.raises(ReplyError) as refusal:
            await space.ask("fail", body)
        assert refusal.value.text == "no, ü;🙂"
        await Inbox.synchronised(space)  # and the connection goes on


class HostileError(Exception):
    def __str__(self):
        return "secret"


CANNOT_BE_SENT = "\ud800"
"""Half of a pair, which has no UTF-8 form."""


def raises(error):
    def handler(*_):
        raise error

    return handler


async def waits_for_what_is_cancelled(*_):
    cancelled = future()
    cancelled.cancel()
    await cancelled


FAILURES = {
    "exception": raises(ValueError("secret")),
    "one with a text of its own": raises(HostileError()),
    "a failed assertion": raises(AssertionError("secret")),
    "a deadline of its own": raises(TimeoutError("secret")),
    "an empty error": raises(ReplyError("")),
    "an error that cannot be sent": raises(ReplyError(CANNOT_BE_SENT)),
    "a reply that cannot be sent": lambda *_: CANNOT_BE_SENT,
    "a reply of no kind": lambda *_: 42,
    "an awaitable in an awaitable": lambda *_: echo_later,
    "what it waited for was cancelled": waits_for_what_is_cancelled,
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
@either
@asynchronous
async def test_nothing_of_another_failure_leaks(failure, is_async):
    """SEC-17."""
    if is_async and failure is not waits_for_what_is_cancelled:
        failure = either_way(failure, is_async)
    async with talking(Server({"app": {"fail": failure, **SYNC}})) as space:
        for body in ("text", b"bytes"):
            with pytest.raises(ReplyError) as refusal:
                await space.ask("fail", body)
            assert refusal.value.text == INTERNAL_ERROR == "internal error"
        await Inbox.synchronised(space)


@asynchronous
async def test_what_the_peer_is_not_told_is_logged(caplog, log):
    log.disabled = False
    async with talking(Server({"app": {"fail": raises(ValueError("secret"))}})) as space:
        with pytest.raises(ReplyError):
            await space.ask("fail")
    [record] = [each for each in caplog.records if each.name == LOGGER]
    assert str(record.exc_info[1]) == "secret"


@pytest.mark.parametrize("handlers", [{}, {"ask": lambda *_: None}], ids=["none", "silent"])
@asynchronous
async def test_an_ask_without_an_answer_is_not_answered(handlers):
    """AR-9: the ask is open still when the reply to the one behind it is there."""
    async with talking(Server({"app": {**handlers, **SYNC}})) as space:
        ask = asyncio.create_task(space.ask("ask"))
        await asyncio.sleep(0)
        await Inbox.synchronised(space)
        assert len(space.connection.link.session.pending_asks) == 1
        ask.cancel()


@pytest.mark.parametrize("body", ["text", b"bytes"])
@pytest.mark.parametrize("room", ["", "room"])
@either
@asynchronous
async def test_an_answer_to_an_event_is_an_event(body, room, is_async):
    """AR-10: with the same room, and without a token."""
    inbox = Inbox("echo", "fail")
    server = Server(
        {
            "app": {
                "echo": either_way(echo, is_async),
                "fail": either_way(raises(ReplyError("no")), is_async),
                **SYNC,
            }
        }
    )
    async with talking(server, inbox.handlers) as space:
        await space.join("room")
        space.emit("echo", body, room=room)
        space.emit("fail", body, room=room)
        await inbox.synchronised(space)
    seen = [(m.event, m.room, m.wait, m.is_error, text_of(m.body)) for m in inbox.messages]
    assert seen == [
        ("echo", room, "", False, text_of(body)),
        ("fail", room, "", True, "no"),
    ]
    assert type(inbox.messages[0].body) is type(body)


@asynchronous
async def test_what_fails_on_an_event_is_told_as_an_event():
    inbox = Inbox()
    async with talking(
        Server({"app": {"fail": raises(ValueError("secret")), **SYNC}}), inbox.handlers
    ) as space:
        space.emit("fail")
        await inbox.synchronised(space)
    assert [(m.is_error, m.body) for m in inbox.messages] == [(True, INTERNAL_ERROR)]


@either
@asynchronous
async def test_a_handler_that_left_the_room_meanwhile_answers_no_event_in_it(is_async):
    """RM-10: the peer would be right to drop it."""
    inbox = Inbox()

    async def leave_and_answer(space, message):
        await space.leave("room")
        if is_async:
            raise ReplyError("too late")
        return "too late"

    async with talking(Server({"app": {"go": leave_and_answer, **SYNC}}), inbox.handlers) as space:
        await space.join("room")
        space.emit("go", room="room")
        await inbox.synchronised(space)
    assert inbox.messages == []


@asynchronous
async def test_an_event_for_a_room_that_is_not_joined_reaches_no_handler():
    """RM-9: and the asker learns why."""
    seen = []

    def handler(_, message):
        seen.append(message.event)

    async with talking(Server({"app": {"chat": handler, **SYNC}})) as space:
        await space.join("room")
        link = space.connection.link
        link.session._spaces["app"].rooms["elsewhere"] = (
            "connected"  # else it would be refused here
        )
        space.emit("chat", room="elsewhere")
        await refused_with("bad room", space.ask("chat", room="elsewhere"))
        await Inbox.synchronised(space)
    assert seen == []


@asynchronous
async def test_a_handler_that_sends_before_it_replies_is_heard_in_that_order():
    inbox = Inbox()

    def push(space, message):
        space.emit("one", message.body)
        space.emit("two", message.body)
        return "three"

    async with talking(Server({"app": {"push": push}}), inbox.handlers) as space:
        inbox.messages.append(await space.ask("push", b"bytes"))
    assert [message.event for message in inbox.messages] == ["one", "two", "push"]
    assert inbox.bodies == [b"bytes", b"bytes", b"three"]


@pytest.mark.parametrize("namespace", ["app", ""])
@pytest.mark.parametrize("failure", [None, ReplyError("no"), ValueError("secret")])
@asynchronous
async def test_an_answer_that_comes_after_the_end_ends_nothing_else(namespace, failure):
    started, gate, ended = future(), asyncio.Event(), future()

    async def late(*_):
        started.set_result(None)
        await gate.wait()
        if failure is not None:
            raise failure
        return "late"

    server = Server(
        {namespace: {"late": late, ON_NATIVE_MESSAGE: late}},
        on_disconnect=lambda *_: ended.set_result(None),
    )
    handlers = {namespace: {ON_NATIVE_MESSAGE: echo, "late": echo}}
    async with listening(server) as listener:
        client = await dial(listener.url(), handlers)
        space = await client.connect(namespace)
        if namespace:
            ask = asyncio.create_task(space.ask("late"))
        else:
            client.send_native("late")
        await started
        await client.close()
        if namespace:
            with pytest.raises(LostError):
                await ask
        gate.set()
        await ended


@asynchronous
async def test_a_client_that_handles_nothing_answers_nothing():
    """AR-9."""
    server = Server({"app": SYNC})
    async with talking(server) as space:
        server.broadcast("app", "news")
        ask = asyncio.create_task(server.ask("app", "question", timeout=None))
        await Inbox.synchronised(space)
        [connection] = server.connections.values()
        await connection.namespace("app").join("room")  # which is answered behind it
        assert not ask.done()
        ask.cancel()


# ---- Any event, native messages ----


@asynchronous
async def test_any_event_takes_what_has_no_handler_of_its_own():
    server = Server(
        {
            "app": {"own": lambda *_: "own", ON_ANY_EVENT: lambda _, message: message.event},
            "other": {"own": lambda *_: "own", **SYNC},
        }
    )
    async with talking(server) as space:
        names = "own", "else", "semi;colon", "_OnSomething"
        assert [(await space.ask(name)).body for name in names] == [
            "own",
            "else",
            "semi;colon",
            "_OnSomething",
        ]
        other = await space.connection.connect("other")
        with pytest.raises(DeadlineError):
            await other.ask("else", timeout=0.01)


@asynchronous
async def test_any_event_takes_no_change_of_membership():
    seen = []
    server = Server({"app": {ON_ANY_EVENT: lambda _, message: seen.append(message.event) or ""}})
    async with talking(server) as space:
        await space.join("room")
        await space.leave("room")
        await space.disconnect()
        await (await space.connection.connect("app")).ask("last")
    assert seen == ["last"]


NATIVE = {ON_NATIVE_MESSAGE: echo}


@pytest.mark.parametrize("payload", ["hello", b"bytes", "M", "six;semi;colons;are;not;here"])
@either
@asynchronous
async def test_native_messages_go_beside_frames(payload, is_async):
    """NM-2, NM-7."""
    inbox = Inbox(ON_NATIVE_MESSAGE, namespace="")
    server = Server({"": {ON_NATIVE_MESSAGE: either_way(echo, is_async), "echo": echo, **SYNC}})
    async with talking(server, inbox.handlers, namespace="") as space:
        space.connection.send_native(payload)
        await inbox.synchronised(space)
        assert (await space.ask("echo", "frame")).body == "frame"
    assert inbox.bodies == [payload]


@asynchronous
async def test_a_native_message_before_its_namespace_is_connected_is_dropped():
    """NM-4."""
    seen = []
    handlers = {"": {ON_NATIVE_MESSAGE: lambda _, message: seen.append(message.body), **SYNC}}
    async with (
        listening(Server(handlers)) as listener,
        await dial(listener.url(), {"": {**NATIVE, **SYNC}}) as client,
    ):
        client.send_native("early")
        space = await client.connect("")
        client.send_native("in time")
        await Inbox.synchronised(space)
    assert seen == ["in time"]


@pytest.mark.parametrize(
    "answer", [";;;;;;", CANNOT_BE_SENT, 42], ids=["a frame", "no UTF-8", "number"]
)
@either
@asynchronous
async def test_a_native_answer_that_cannot_be_sent_ends_nothing(answer, is_async):
    """NM-3: what would read as a frame is no native message."""
    inbox = Inbox(ON_NATIVE_MESSAGE, namespace="")
    handler = either_way(lambda _, message: answer if message.body == "bad" else "good", is_async)
    server = Server({"": {ON_NATIVE_MESSAGE: handler, **SYNC}})
    async with talking(server, inbox.handlers, namespace="") as space:
        space.connection.send_native("bad")
        space.connection.send_native("other")
        await inbox.synchronised(space)
    assert inbox.bodies == ["good"]


@pytest.mark.parametrize("payload", ["M", ";;;;;;", "$1;app;;_OnNamespaceConnect;0;0;", b"\x00"])
@either
@asynchronous
async def test_a_native_only_endpoint_takes_everything_as_it_comes(payload, is_async):
    """NM-6."""
    reply = future()
    server = Server({"": {ON_NATIVE_MESSAGE: either_way(echo, is_async)}})
    handlers = {"": {ON_NATIVE_MESSAGE: lambda _, message: reply.set_result(message.body)}}
    async with listening(server) as listener, await dial(listener.url(), handlers) as client:
        client.send_native(payload)
        assert await reply == payload
        with pytest.raises(MisuseError, match="native-only"):
            await client.connect("")


@asynchronous
async def test_a_native_only_endpoint_has_hooks_and_ids_too():
    seen = []
    done = future()

    def open_(connection):
        seen.append(("open", connection.id))

    server = Server(
        {"": {ON_NATIVE_MESSAGE: lambda space, message: f"{space.connection.id} {message.body}"}},
        id_generator=lambda _: "ann",
        on_connect=lambda connection: seen.append(("connect", connection.id)),
        on_open=open_,
        on_disconnect=lambda connection, cause: done.set_result((connection.id, cause)),
    )
    replies = asyncio.Queue()
    handlers = {"": {ON_NATIVE_MESSAGE: lambda _, message: replies.put_nowait(message.body)}}
    async with listening(server) as listener:
        async with await dial(listener.url(), handlers) as client:
            client.send_native("hello")
            client.send_native("again")
            assert [await replies.get(), await replies.get()] == ["ann hello", "ann again"]
        assert await done == ("ann", Cause.PEER)
    assert seen == [("connect", "ann"), ("open", "ann")]


@asynchronous
async def test_a_native_only_endpoint_refuses_by_closing():
    def refuse(_):
        raise ReplyError("not you")

    server = Server({"": NATIVE}, on_connect=refuse)
    async with listening(server) as listener:
        client = await dial(listener.url(), {"": NATIVE})
        await client.wait_closed()
        assert client.connection.link.closed == (1008, "not you")


@asynchronous
async def test_a_native_only_controller_that_cannot_be_made_closes():
    class Choosy:
        namespace = ""

        def __init__(self):
            raise ReplyError("not today")

        def on_native_message(self):
            """Never called."""

    opened = []
    async with listening(Server(Choosy, on_open=opened.append)) as listener:
        client = await dial(listener.url(), {"": NATIVE})
        await client.wait_closed()
        assert client.connection.link.closed == (1008, "not today")
    assert opened == []


@either
@asynchronous
async def test_a_native_only_controller_is_there_before_on_open_and_any_message(is_async):
    entries = asyncio.Queue()

    class Quiet:
        namespace = ""

        def __init__(self):
            entries.put_nowait("made")

        def on_native_message(self, message):
            entries.put_nowait(message.body)

    hook = either_way(lambda _: entries.put_nowait("open"), is_async)
    async with (
        listening(Server(Quiet, on_open=hook)) as listener,
        await dial(listener.url(), {"": NATIVE}) as client,
    ):
        client.send_native("hello")
        assert [await entries.get() for _ in range(3)] == ["made", "open", "hello"]


# ---- Refusals of changes ----


REFUSALS = {
    "text": (raises(ReplyError("no, ü;🙂")), "no, ü;🙂"),
    "none": (raises(ReplyError("")), INTERNAL_ERROR),
    "unsendable": (raises(ReplyError(CANNOT_BE_SENT)), INTERNAL_ERROR),
    "exception": (raises(ValueError("secret")), INTERNAL_ERROR),
}
refused = pytest.mark.parametrize(("refuse", "text"), REFUSALS.values(), ids=REFUSALS)


@refused
@either
@asynchronous
async def test_a_refused_connect_leaves_the_namespace_out(refuse, text, is_async):
    """NS-4."""
    server = Server({"app": {ON_NAMESPACE_CONNECT: either_way(refuse, is_async)}, "other": SYNC})
    async with talking(server, namespace="other") as space:
        await refused_with(text, space.connection.connect("app"))
        await Inbox.synchronised(space)
        assert list(space.connection.namespaces) == ["other"]
        assert server.members("app") == ()


@refused
@either
@asynchronous
async def test_a_refused_disconnect_keeps_the_namespace(refuse, text, is_async):
    """NS-7; at the end of the connection there is nothing left to refuse."""
    causes = []
    handler = either_way(refuse, is_async)

    def judge(space, happening):
        if isinstance(happening, ChangeAsked):
            return handler(space, happening)
        return causes.append(happening.cause)

    server = Server({"app": {ON_NAMESPACE_DISCONNECT: judge, **SYNC}})
    async with listening(server) as listener, await dial(listener.url()) as client:
        space = await client.connect("app")
        await refused_with(text, space.disconnect())
        assert space.is_connected
        await Inbox.synchronised(space)
    assert causes == [Cause.FORCED]


@refused
@either
@asynchronous
async def test_a_refused_join_leaves_the_room_out(refuse, text, is_async):
    """RM-3."""
    server = Server({"app": {ON_ROOM_JOIN: either_way(refuse, is_async), **SYNC}})
    async with talking(server) as space:
        await refused_with(text, space.join("room"))
        assert space.rooms == frozenset()
        assert server.members("app", "room") == ()
        await Inbox.synchronised(space)


@refused
@either
@asynchronous
async def test_a_refused_leave_keeps_the_room(refuse, text, is_async):
    """RM-7."""
    server = Server({"app": {ON_ROOM_LEAVE: either_way(refuse, is_async), **SYNC}})
    async with talking(server) as space:
        await space.join("room")
        await refused_with(text, space.leave("room"))
        assert space.rooms == {"room"}
        assert [each.id for each in server.members("app", "room")] == [space.connection.id]
        await Inbox.synchronised(space)


@pytest.mark.parametrize("name", ["unknown", "", "App"])
@asynchronous
async def test_a_namespace_that_is_not_offered_is_refused(name):
    """NS-3."""
    async with talking(Server({"app": SYNC})) as space:
        await refused_with("bad namespace", space.connection.connect(name))


@asynchronous
async def test_what_a_handler_of_a_change_returns_is_nothing_to_anybody():
    server = Server({"app": {ON_NAMESPACE_CONNECT: lambda *_: "ignored", **SYNC}})
    async with talking(server) as space:
        await Inbox.synchronised(space)


# ---- Notifications ----


NOTICES = (
    ON_NAMESPACE_CONNECT,
    ON_NAMESPACE_CONNECTED,
    ON_NAMESPACE_DISCONNECT,
    ON_ROOM_JOIN,
    ON_ROOM_JOINED,
    ON_ROOM_LEAVE,
    ON_ROOM_LEFT,
)


class Diary:
    """Handlers that write down all that happens to namespaces and rooms."""

    def __init__(self, is_async, *names):
        self.entries = []
        self.ended = future()
        self.handlers = {
            name: {each: self._handler(each, is_async) for each in NOTICES} | SYNC
            for name in names or ("app",)
        }

    def _handler(self, name, is_async):
        def write(space, happening):
            asked = isinstance(happening, ChangeAsked)
            cause = "asked" if asked else happening.cause.value
            self.entries.append((name, happening.namespace, happening.room, cause))
            assert space.name == happening.namespace
            if not asked:
                assert isinstance(happening, Changed)

        return either_way(write, is_async)

    def end(self, *_):
        self.ended.set_result(None)


@either
@asynchronous
async def test_both_ends_are_told_of_what_the_client_does(is_async):
    ours, theirs = Diary(is_async), Diary(is_async)
    async with talking(Server(theirs.handlers), ours.handlers) as space:
        await space.join("room")
        await space.leave("room")
        await space.join("room")
        await space.disconnect()
        again = await space.connection.connect("app")
        await Inbox.synchronised(again)
        assert theirs.entries == [
            (ON_NAMESPACE_CONNECT, "app", "", "asked"),
            (ON_NAMESPACE_CONNECTED, "app", "", "peer"),
            (ON_ROOM_JOIN, "app", "room", "asked"),
            (ON_ROOM_JOINED, "app", "room", "peer"),
            (ON_ROOM_LEAVE, "app", "room", "asked"),
            (ON_ROOM_LEFT, "app", "room", "peer"),
            (ON_ROOM_JOIN, "app", "room", "asked"),
            (ON_ROOM_JOINED, "app", "room", "peer"),
            (ON_NAMESPACE_DISCONNECT, "app", "", "asked"),
            (ON_ROOM_LEFT, "app", "room", "forced"),
            (ON_NAMESPACE_CONNECT, "app", "", "asked"),
            (ON_NAMESPACE_CONNECTED, "app", "", "peer"),
        ]
        await again.connection.drain_handlers(10)
        assert ours.entries == [
            (ON_NAMESPACE_CONNECTED, "app", "", "local"),
            (ON_ROOM_JOINED, "app", "room", "local"),
            (ON_ROOM_LEFT, "app", "room", "local"),
            (ON_ROOM_JOINED, "app", "room", "local"),
            (ON_ROOM_LEFT, "app", "room", "forced"),
            (ON_NAMESPACE_DISCONNECT, "app", "", "local"),
            (ON_NAMESPACE_CONNECTED, "app", "", "local"),
        ]


@either
@asynchronous
async def test_both_ends_are_told_of_what_the_server_does(is_async):
    ours, theirs = Diary(is_async), Diary(is_async)
    server = Server(theirs.handlers)
    async with (
        listening(server) as listener,
        await dial(listener.url(), ours.handlers) as client,
    ):
        [connection] = server.connections.values()
        space = await connection.connect("app")
        await space.join("room")
        await space.leave("room")
        await space.join("room")
        await space.disconnect()
        await connection.drain_handlers(10)
        await client.connection.drain_handlers(10)
        assert theirs.entries == [
            (ON_NAMESPACE_CONNECTED, "app", "", "local"),
            (ON_ROOM_JOINED, "app", "room", "local"),
            (ON_ROOM_LEFT, "app", "room", "local"),
            (ON_ROOM_JOINED, "app", "room", "local"),
            (ON_ROOM_LEFT, "app", "room", "forced"),
            (ON_NAMESPACE_DISCONNECT, "app", "", "local"),
        ]
        # A client cannot refuse to leave, nor to be disconnected (NS-13): it is not asked.
        assert ours.entries == [
            (ON_NAMESPACE_CONNECT, "app", "", "asked"),
            (ON_NAMESPACE_CONNECTED, "app", "", "peer"),
            (ON_ROOM_JOIN, "app", "room", "asked"),
            (ON_ROOM_JOINED, "app", "room", "peer"),
            (ON_ROOM_LEFT, "app", "room", "peer"),
            (ON_ROOM_JOIN, "app", "room", "asked"),
            (ON_ROOM_JOINED, "app", "room", "peer"),
            (ON_ROOM_LEFT, "app", "room", "forced"),
            (ON_NAMESPACE_DISCONNECT, "app", "", "peer"),
        ]


FORCED = [
    (ON_ROOM_LEFT, "app", "one", "forced"),
    (ON_ROOM_LEFT, "app", "two", "forced"),
    (ON_NAMESPACE_DISCONNECT, "app", "", "forced"),
    (ON_NAMESPACE_DISCONNECT, "other", "", "forced"),
]


@pytest.mark.parametrize("ender", ["client", "server", "cut"])
@either
@asynchronous
async def test_both_ends_are_told_of_what_ends_with_the_connection(ender, is_async):
    """TR-15."""
    ours, theirs = Diary(is_async, "app", "other"), Diary(is_async, "app", "other")
    server = Server(theirs.handlers, on_disconnect=theirs.end)
    async with listening(server) as listener:
        client = await dial(listener.url(), ours.handlers, on_close=ours.end)
        space = await client.connect("app")
        await client.connect("other")
        await space.join("one")
        await space.join("two")
        [connection] = server.connections.values()
        await asyncio.gather(*(each.drain_handlers(10) for each in (connection, client.connection)))
        ours.entries.clear()
        theirs.entries.clear()
        if ender == "client":
            await client.close()
        elif ender == "server":
            connection.close()
        else:
            connection.link.abort()
        await asyncio.gather(ours.ended, theirs.ended)
        assert ours.entries == theirs.entries == FORCED
        assert client.connection.namespaces == connection.namespaces == {}
        assert not space.is_connected
        assert space.rooms == frozenset()
        assert server.members("app") == server.members("app", "one") == ()


@either
@asynchronous
async def test_a_handler_that_closes_is_done_before_it_is_told_of_the_end(is_async):
    entries = []
    ended = future()

    def stop(space, _):
        space.connection.close()
        entries.append("closed")

    server = Server(
        {
            "app": {
                "stop": either_way(stop, is_async),
                ON_NAMESPACE_DISCONNECT: lambda *_: entries.append("disconnected"),
            }
        },
        on_disconnect=lambda *_: ended.set_result(entries.append("ended")),
    )
    async with talking(server) as space:
        space.emit("stop")
        await ended
    assert entries == ["closed", "disconnected", "ended"]


@asynchronous
async def test_what_a_notice_raises_ends_nothing():
    server = Server({"app": {ON_NAMESPACE_CONNECTED: raises(ReplyError("no")), **SYNC}})
    async with talking(server) as space:
        await Inbox.synchronised(space)


# ---- The connection: hooks, ids, values ----


@either
@asynchronous
async def test_hooks_are_called_in_their_order_and_before_any_handler(is_async):
    seen = []
    ended = future()

    def on_connect(connection):
        assert not connection.is_open
        assert list(server.connections.values()) == [connection]
        seen.append("connect")
        connection.values["name"] = connection.request.headers["X-Name"]

    def on_open(connection):
        assert connection.is_open
        seen.append("open")

    def on_disconnect(connection, cause):
        assert not server.connections
        seen.append(("disconnect", connection.values["name"], cause))
        ended.set_result(None)

    server = Server(
        {
            "app": {
                ON_NAMESPACE_CONNECT: lambda *_: seen.append("asked"),
                "name": lambda space, _: space.connection.values["name"],
            }
        },
        on_connect=either_way(on_connect, is_async),
        on_open=either_way(on_open, is_async),
        on_disconnect=either_way(on_disconnect, is_async),
    )
    async with listening(server) as listener:
        async with await dial(listener.url(), headers={"x-name": "ann"}) as client:
            assert (await (await client.connect("app")).ask("name")).body == "ann"
        await ended
    assert seen == ["connect", "open", "asked", ("disconnect", "ann", Cause.PEER)]


@refused
@either
@asynchronous
async def test_on_connect_may_refuse(refuse, text, is_async):
    """HS-4, HS-17."""
    opened = []
    server = Server({"app": {}}, on_connect=either_way(refuse, is_async), on_open=opened.append)
    async with listening(server) as listener:
        with pytest.raises(RefusedError) as refusal:
            await dial(listener.url())
        assert refusal.value.text == text
        assert refusal.value.status is None
    assert opened == []
    assert not server.connections


@pytest.mark.parametrize(
    ("ender", "cause"),
    [("client", Cause.PEER), ("server", Cause.LOCAL), ("cut", Cause.LOCAL), ("lost", Cause.PEER)],
)
@asynchronous
async def test_on_disconnect_is_told_the_cause(ender, cause):
    ended = future()
    server = Server({"app": {}}, on_disconnect=lambda _, cause: ended.set_result(cause))
    async with listening(server) as listener:
        client = await dial(listener.url())
        [connection] = server.connections.values()
        if ender == "client":
            await client.close()
        elif ender == "lost":
            client.connection.link.abort()
        elif ender == "server":
            connection.close()
        else:
            connection.link.abort()
        assert await ended is cause
        await client.wait_closed()


@asynchronous
async def test_an_id_that_is_taken_is_refused_and_free_again_afterwards():
    """HS-20."""
    ended = asyncio.Queue()
    server = Server(
        {"app": {"id": lambda space, _: space.connection.id}},
        id_generator=lambda request: request.parameter("id"),
        on_disconnect=lambda connection, _: ended.put_nowait(connection),
    )
    async with listening(server) as listener:
        url = listener.url("/?id=ann")
        async with await dial(url) as ann:
            with pytest.raises(RefusedError, match="this connection id is in use"):
                await dial(url)
            async with await dial(listener.url("/?id=bob")) as bob:
                assert server.connections.keys() == {"ann", "bob"}
                assert (bob.id, (await (await bob.connect("app")).ask("id")).body) == ("bob",) * 2
            first = server.connections["ann"]
            assert (ann.id, (await (await ann.connect("app")).ask("id")).body) == ("ann",) * 2
        assert {(await ended.get()).id, (await ended.get()).id} == {"ann", "bob"}
        async with await dial(url) as again:
            assert again.id == "ann"
            assert server.connections["ann"] is not first
        assert (await ended.get()).id == "ann"
    assert ended.empty()  # the one that was refused was never there


@asynchronous
async def test_the_id_generator_sees_the_request():
    server = Server({"app": {}}, id_generator=lambda request: f"{request.path} {request.tries}")
    async with listening(server) as listener:
        headers = {"X-Websocket-Reconnect": "2"}
        async with await dial(listener.url("/some/where?x=1"), headers=headers) as client:
            assert client.id == "/some/where 2"


@pytest.mark.parametrize("generate", [lambda _: "", raises(ValueError("on purpose"))])
@asynchronous
async def test_an_id_generator_that_gives_none_lets_nobody_in(generate):
    """HS-6."""
    async with listening(Server({"app": {}}, id_generator=generate)) as listener:
        with pytest.raises(DialError) as failure:
            await dial(listener.url())
        assert failure.value.status == 500


@asynchronous
async def test_ids_are_random_where_nobody_says_otherwise():
    assert len({random_id(None) for _ in range(100)}) == 100
    async with (
        listening(Server({"app": {}})) as listener,
        await dial(listener.url()) as one,
        await dial(listener.url()) as two,
    ):
        assert len({one.id, two.id, ""}) == 3


@asynchronous
async def test_values_last_as_long_as_what_they_are_of():
    def count(space, _):
        for values in (space.connection.values, space.values):
            values["count"] = values.get("count", 0) + 1
        return f"{space.connection.values['count']} {space.values['count']}"

    async with talking(Server({"app": {"count": count}, "other": {"count": count}})) as space:
        assert [(await space.ask("count")).body for _ in range(2)] == ["1 1", "2 2"]
        other = await space.connection.connect("other")
        assert (await other.ask("count")).body == "3 1"
        await space.disconnect()
        space = await space.connection.connect("app")
        assert (await space.ask("count")).body == "4 1"


@pytest.mark.parametrize(("header", "tries"), [({}, "0"), ({"X-Websocket-Reconnect": "7"}, "7")])
@asynchronous
async def test_a_connection_knows_how_many_tries_it_took(header, tries):
    server = Server({"app": {"tries": lambda space, _: str(space.connection.tries)}})
    async with talking(server, headers=header) as space:
        assert (await space.ask("tries")).body == tries
        assert space.connection.tries == 0  # a client's own is not told


@asynchronous
async def test_connections_and_namespaces_say_what_they_are():
    async with talking(Server({"app": {}}, id_generator=lambda _: "ann")) as space:
        assert repr(space) == "<Namespace 'app' of <Connection 'ann'>>"
        assert space.connection.namespace("app") is space
        with pytest.raises(MisuseError, match="'other' is not connected"):
            space.connection.namespace("other")


@pytest.mark.parametrize(
    ("origins", "origin", "status"),
    [
        (None, None, None),
        (None, "http://{host}", None),
        (None, "https://evil.test", 403),
        (["https://good.test"], "https://good.test", None),
        (["https://good.test"], "http://{host}", 403),
        (["https://good.test"], None, None),
        ([], "http://{host}", 403),
        ([ANY_ORIGIN], "https://evil.test", None),
    ],
)
@asynchronous
async def test_pages_of_other_sites_are_kept_out(origins, origin, status):
    """SEC-9."""
    async with listening(Server({"app": {}}, origins=origins)) as listener:
        host = f"{listener.host}:{listener.port}"
        headers = {} if origin is None else {"Origin": origin.format(host=host)}
        if status is None:
            await (await dial(listener.url(), headers=headers)).close()
        else:
            with pytest.raises(DialError) as failure:
                await dial(listener.url(), headers=headers)
            assert failure.value.status == status


def test_origins_are_no_single_text():
    with pytest.raises(TypeError, match="origins are several texts"):
        Server({"app": {}}, origins="https://good.test")


# ---- Broadcasts ----


@asynccontextmanager
async def crowd(server, *names, connect=("app",)):
    """Serve, and dial once for each name; give the inbox and the namespaces of each client."""
    async with AsyncExitStack() as stack:
        listener = await stack.enter_async_context(listening(server))
        there = {}
        for name in names:
            inbox = Inbox()
            handlers = dict.fromkeys(("app", "other"), inbox.handlers["app"])
            client = await stack.enter_async_context(
                await dial(listener.url(f"/?id={name}"), handlers)
            )
            there[name] = inbox, *[await client.connect(each) for each in connect]
        yield there


def with_ids(*parts, **options):
    return Server(*parts, id_generator=lambda request: request.parameter("id"), **options)


def broadcaster(**options):
    def handler(space, message):
        space.broadcast("news", message.body, **options)

    return handler


@pytest.mark.parametrize("body", ["text", b"bytes", ""])
@pytest.mark.parametrize(
    ("options", "receivers"),
    [
        ({}, {"bob", "cid"}),
        ({"room": "room"}, {"bob"}),
        ({"room": "empty"}, set()),
        ({"to": "bob"}, {"bob"}),
        ({"to": "ann"}, {"ann"}),
        ({"to": "nobody"}, set()),
        ({"to": "cid", "room": "room"}, set()),
        ({"to": "bob", "room": "room"}, {"bob"}),
        ({"to": "out"}, set()),
    ],
)
@asynchronous
async def test_a_handler_broadcasts_to_whom_it_concerns(options, receivers, body):
    """EV-8; without a token, although the message that caused it had one (AR-17)."""

    def say(space, message):
        space.broadcast("news", message.body, **options)
        return "done"

    server = with_ids({"app": {"say": say, **SYNC}})
    async with crowd(server, "ann", "bob", "cid", "out") as there:
        ann, bob, cid, out = [space for _, space in there.values()]
        await ann.join("room")
        await bob.join("room")
        await out.disconnect()
        assert text_of((await ann.ask("say", body)).body) == "done"
        await Inbox.synchronised(ann, bob, cid, await out.connection.connect("app"))
    seen = {name for name, (inbox, _) in there.items() if inbox.messages}
    assert seen == receivers
    for name in receivers:
        [message] = there[name][0].messages
        room = options.get("room", "")
        assert (message.event, message.body, message.wait, message.room) == ("news", body, "", room)


@pytest.mark.parametrize(
    ("options", "receivers"),
    [
        ({}, ["ann", "bob", "cid"]),
        ({"exclude": "bob"}, ["ann", "cid"]),
        ({"room": "room"}, ["ann", "bob"]),
        ({"room": "room", "exclude": "ann"}, ["bob"]),
        ({"to": "cid"}, ["cid"]),
        ({"to": "cid", "exclude": "cid"}, []),
        ({"to": "nobody"}, []),
        ({"room": "empty"}, []),
    ],
)
@asynchronous
async def test_a_server_broadcasts_and_counts(options, receivers):
    server = with_ids({"app": SYNC, "other": SYNC})
    async with crowd(server, "ann", "bob", "cid", connect=("app", "other")) as there:
        for name in ("ann", "bob"):
            await there[name][1].join("room")
        exclude = server.connections.get(options.get("exclude", ""))
        assert server.broadcast("app", "news", "hi", **{**options, "exclude": exclude}) == len(
            receivers
        )
        await Inbox.synchronised(*[space for _, space, _ in there.values()])
        seen = [name for name, (inbox, *_) in there.items() if inbox.bodies == ["hi"]]
        assert seen == receivers
        assert sum(len(inbox.messages) for inbox, *_ in there.values()) == len(receivers)
        for name in receivers:
            assert there[name][0].messages[0].namespace == "app"


@asynchronous
async def test_broadcasts_come_in_the_order_in_which_they_were_made():
    """EV-9: whoever made them, and between what else was sent."""
    server = with_ids({"app": {"say": broadcaster(), **SYNC}})
    async with crowd(server, "ann", "bob") as there:
        expected = [str(number) for number in range(200)]
        [ann] = [each for each in server.members("app") if each.id == "ann"]
        for number in expected:
            if int(number) % 3:
                server.broadcast("app", "news", number)
            else:
                ann.namespace("app").emit("news", number)
                server.broadcast("app", "news", number, exclude=ann)
        await Inbox.synchronised(there["ann"][1], there["bob"][1])
        assert there["ann"][0].bodies == there["bob"][0].bodies == expected


@asynchronous
async def test_members_are_those_that_are_in():
    server = with_ids({"app": SYNC, "other": SYNC})

    def names(*place):
        return [connection.id for connection in server.members(*place)]

    async with crowd(server, "ann", "bob") as there:
        ann, bob = there["ann"][1], there["bob"][1]
        assert names("app") == ["ann", "bob"]
        assert names("app", "room") == names("other") == names("nowhere", "room") == []
        await bob.join("room")
        await ann.join("room")
        await (await ann.connection.connect("other")).join("room")
        assert names("app", "room") == ["bob", "ann"]
        assert names("other", "room") == ["ann"]  # RM-11
        await bob.leave("room")
        assert names("app", "room") == ["ann"]
        await ann.disconnect()
        assert (names("app"), names("app", "room"), names("other", "room")) == (
            ["bob"],
            [],
            ["ann"],
        )


@pytest.mark.parametrize("event", [ON_NAMESPACE_CONNECT, ON_ROOM_JOINED, ON_ANY_EVENT])
@asynchronous
async def test_events_of_the_protocol_are_not_broadcast(event):
    """EV-5."""
    server = Server({"app": SYNC})
    async with talking(server):
        with pytest.raises(MisuseError, match="protocol's own"):
            server.broadcast("app", event)


@asynchronous
async def test_what_no_frame_can_carry_is_not_broadcast():
    server = Server({"app": SYNC})
    async with talking(server) as space:
        for broken in ({"event": CANNOT_BE_SENT}, {"event": "news", "body": CANNOT_BE_SENT}):
            with pytest.raises(EncodeError):
                server.broadcast("app", **broken)
        await Inbox.synchronised(space)


# ---- The server asks all ----


def answers(**by_name):
    """Handlers for clients that answer a question each in its own way."""
    return {name: {"app": {"question": handler, **SYNC}} for name, handler in by_name.items()}


@asynccontextmanager
async def questioned(handlers, server=None):
    server = server or with_ids({"app": SYNC})
    async with listening(server) as listener:
        clients = [await dial(listener.url(f"/?id={name}"), own) for name, own in handlers.items()]
        for client in clients:
            await client.connect("app")
        try:
            yield server, clients
        finally:
            for client in clients:
                await client.connection.drain_handlers(0)  # one of which may never end
                await client.close()


async def never(*_):
    await asyncio.Event().wait()


@pytest.mark.parametrize("body", ["text", b"bytes"])
@asynchronous
async def test_the_first_reply_that_is_no_error_wins(body):
    handlers = answers(ann=never, bob=raises(ReplyError("no")), cid=echo_later)
    async with questioned(handlers) as (server, _):
        reply = await server.ask("app", "question", body)
        assert (reply.body, reply.event) == (body, "question")
        assert await _open_asks(server) == 1  # ann's, which is ended with the connection


async def _open_asks(server):
    return sum(
        len(connection.link.session.pending_asks) for connection in server.connections.values()
    )


@asynchronous
async def test_where_all_refuse_the_ask_fails_as_the_last_did():
    turn = asyncio.Event()

    async def last(*_):
        await turn.wait()
        raise ReplyError("last")

    async with questioned(answers(ann=last, bob=raises(ReplyError("first")))) as (server, _):
        ask = asyncio.create_task(server.ask("app", "question"))
        await asyncio.sleep(0)  # so that the question is on its way
        await server.ask("app", "sync", to="bob")  # behind which his refusal is there
        turn.set()
        await refused_with("last", ask)


@pytest.mark.parametrize(
    "options",
    [
        {"namespace": "other"},
        {"room": "room"},
        {"to": "nobody"},
        {"to": "ann", "room": "room"},
        {"to": "ann", "namespace": "other"},
        {"to": "ann", "exclude": "ann"},
    ],
)
@asynchronous
async def test_an_ask_that_concerns_nobody_is_told_so(options):
    async with questioned(answers(ann=echo)) as (server, _):
        exclude = server.connections.get(options.get("exclude", ""))
        options = {"namespace": "app", **options, "exclude": exclude}
        with pytest.raises(NoReceiverError, match="nobody is there to answer 'question'"):
            await server.ask(event="question", **options)


@pytest.mark.parametrize(
    ("options", "name"),
    [({"to": "bob"}, "bob"), ({"room": "room"}, "bob"), ({"exclude": "ann"}, "bob")],
)
@asynchronous
async def test_an_ask_goes_to_whom_it_concerns(options, name):
    asked = []

    def answer(own):
        return lambda *_: asked.append(own) or own

    handlers = answers(ann=answer("ann"), bob=answer("bob"))
    async with questioned(handlers) as (server, clients):
        await clients[1].connection.namespace("app").join("room")
        exclude = server.connections.get(options.get("exclude", ""))
        assert (await server.ask("app", "question", **{**options, "exclude": exclude})).body == name
        for client in clients:
            await Inbox.synchronised(client.connection.namespace("app"))
    assert asked == [name]


@asynchronous
async def test_an_ask_that_nobody_answers_ends_at_its_deadline():
    """AR-15."""
    async with questioned(answers(ann=never, bob=lambda *_: None)) as (server, _):
        with pytest.raises(DeadlineError):
            await server.ask("app", "question", timeout=0.02)
        assert await _open_asks(server) == 0


@asynchronous
async def test_an_ask_ends_with_the_connections_that_it_went_to():
    """AR-14."""
    gone = future()
    handlers = answers(ann=lambda *_: gone.set_result(None))
    async with questioned(handlers) as (server, [client]):
        ask = asyncio.create_task(server.ask("app", "question", timeout=None))
        await gone
        await client.close()
        with pytest.raises(LostError):
            await ask


@asynchronous
async def test_nobody_can_answer_for_another():
    """AR-12: each is asked under a token of its own."""
    tokens = {}

    def keep(space, message):
        tokens[space.connection.id] = message.wait

    async with questioned(answers(ann=keep, bob=keep)) as (server, clients):
        ask = asyncio.create_task(server.ask("app", "question", timeout=None))
        while len(tokens) < 2:
            await asyncio.sleep(0)
        assert len(set(tokens.values())) == 2
        ann, bob = clients
        link = ann.connection.link
        link.session._send(f"{tokens['bob']};app;;question;0;0;forged")
        link.flush()
        await Inbox.synchronised(ann.connection.namespace("app"))
        assert not ask.done()
        link = bob.connection.link
        link.session._send(f"{tokens['bob']};app;;question;0;0;true")
        link.flush()
        assert (await ask).body == "true"


# ---- The server acts on a client ----


@asynchronous
async def test_a_server_connects_joins_leaves_and_disconnects_its_client():
    inbox = Inbox()
    server = Server({"app": SYNC, "unknown to the client": SYNC})
    async with (
        listening(server) as listener,
        await dial(listener.url(), inbox.handlers) as client,
    ):
        [connection] = server.connections.values()
        space = await connection.connect("app")
        assert await connection.connect("app") is space
        assert list(client.connection.namespaces) == ["app"]
        await space.join("room")
        await space.join("room")
        await space.join("other")
        own = client.connection.namespace("app")
        assert own.rooms == space.rooms == {"room", "other"}
        space.emit("news", "in room", room="room")
        await space.leave("room")
        await space.leave("room")
        assert own.rooms == {"other"}
        await space.leave_all()
        assert own.rooms == space.rooms == frozenset()
        await Inbox.synchronised(own)
        assert inbox.bodies == ["in room"]
        await space.disconnect()
        await space.disconnect()
        assert client.connection.namespaces == connection.namespaces == {}
        with pytest.raises(ReplyError, match="bad namespace"):
            await connection.connect("unknown to the client")
        with pytest.raises(MisuseError, match="'nowhere' is not offered here"):
            await connection.connect("nowhere")


@asynchronous
async def test_a_client_may_refuse_to_be_connected_and_to_join_but_not_to_go():
    """NS-13."""
    refuse = raises(ReplyError("no"))
    own = {
        "app": {ON_ROOM_JOIN: refuse, ON_ROOM_LEAVE: refuse, ON_NAMESPACE_DISCONNECT: refuse},
        "other": {ON_NAMESPACE_CONNECT: refuse},
    }
    server = Server({"app": SYNC, "other": SYNC})
    async with talking(server, own) as client_space:
        [connection] = server.connections.values()
        space = connection.namespace("app")
        await refused_with("no", space.join("room"))
        await refused_with("no", connection.connect("other"))
        await client_space.join("room")
        await space.leave("room")
        await space.disconnect()
        assert not client_space.is_connected


@asynchronous
async def test_what_both_ends_want_at_once_happens_once():
    server = Server({"app": SYNC})
    own = {"app": SYNC}
    async with listening(server) as listener, await dial(listener.url(), own) as client:
        [connection] = server.connections.values()
        one, two = await asyncio.gather(connection.connect("app"), client.connect("app"))
        await asyncio.gather(one.join("room"), two.join("room"), one.join("room"))
        assert one.rooms == two.rooms == {"room"}
        await asyncio.gather(one.leave("room"), two.leave("room"))
        assert one.rooms == two.rooms == frozenset()
        await asyncio.gather(one.disconnect(), two.disconnect())
        assert connection.namespaces == client.connection.namespaces == {}


@pytest.mark.parametrize("act", ["emit", "ask", "join", "broadcast"])
@asynchronous
async def test_what_is_not_connected_can_do_nothing(act):
    server = Server({"app": SYNC})
    async with talking(server) as client_space:
        [connection] = server.connections.values()
        space = connection.namespace("app")
        await client_space.disconnect()
        if act == "broadcast":
            space.broadcast("news")  # to others, of whom there are none
        else:
            acts = {"emit": space.emit, "ask": space.ask, "join": space.join}
            with pytest.raises(MisuseError, match="'app' is not connected"):
                await acts[act]("news")
        await Inbox.synchronised(await client_space.connection.connect("app"))


# ---- Handlers that ask, and their order ----


@asynchronous
async def test_a_handler_may_ask_while_other_messages_come():
    """EV-1: they wait for their turn, and the reply to the handler's own ask does not."""
    seen = []

    async def ask_back(space, message):
        seen.append("begins")
        reply = await space.ask("question", message.body)
        seen.append("ends")
        return reply.body

    server = Server({"app": {"ask": ask_back, "other": lambda *_: seen.append("other"), **SYNC}})
    async with talking(server, {"app": {"question": lambda _, m: f"re {m.body}"}}) as space:
        ask = asyncio.create_task(space.ask("ask", "x"))
        await asyncio.sleep(0)
        for _ in range(3):
            space.emit("other")
        assert (await ask).body == "re x"
        await Inbox.synchronised(space)
    assert seen == ["begins", "ends", "other", "other", "other"]


@pytest.mark.parametrize("depth", [1, 2, 20])
@asynchronous
async def test_handlers_of_both_ends_may_ask_each_other_and_not_for_ever(depth):
    async def ask_back(space, message):
        rest = int(message.body)
        if not rest:
            return "bottom"
        # The handler that asked is still at work, so that its peer's next ask waits behind it.
        try:
            reply = await space.ask("down", str(rest - 1), timeout=0.5)
        except DeadlineError:
            raise ReplyError("nobody has time") from None
        return reply.body

    handlers = {"app": {"down": ask_back, **SYNC}}
    async with talking(Server(handlers), handlers) as space:
        if depth <= 1:
            assert (await space.ask("down", str(depth))).body == "bottom"
        else:
            with pytest.raises(ReplyError, match="nobody has time"):
                await space.ask("down", str(depth))
        await Inbox.synchronised(space)


@asynchronous
async def test_a_handler_may_change_what_it_is_in():
    async def go(space, message):
        await space.join("room")
        other = await space.connection.connect("other")
        await other.join("room")
        await space.leave("room")
        return ",".join([*space.connection.namespaces, *other.rooms])

    server = Server({"app": {"go": go}, "other": {}})
    async with talking(server) as space:
        assert (await space.ask("go")).body == "app,other,room"


@asynchronous
async def test_handlers_of_a_connection_take_turns_and_those_of_two_do_not_wait():
    gates = {"ann": asyncio.Event(), "bob": asyncio.Event()}
    at_work, most = Counter(), Counter()
    seen = []

    async def work(space, message):
        name = space.connection.id
        at_work[name] += 1
        most[name] = max(most[name], at_work[name])
        await gates[name].wait()
        await asyncio.sleep(0)
        at_work[name] -= 1
        seen.append((name, message.body))
        return message.body

    def quick(space, message):
        assert not at_work[space.connection.id]
        seen.append((space.connection.id, message.body))

    server = with_ids({"app": {"work": work, "quick": quick, **SYNC}})
    async with crowd(server, "ann", "bob") as there:
        ann, bob = there["ann"][1], there["bob"][1]
        gates["bob"].set()
        for space in (ann, bob):
            for number in range(6):
                space.emit("quick" if number % 3 else "work", str(number))
        await Inbox.synchronised(bob)  # while ann's first is still at work
        assert seen == [("bob", str(number)) for number in range(6)]
        gates["ann"].set()
        await Inbox.synchronised(ann)
        assert seen[6:] == [("ann", str(number)) for number in range(6)]
        assert most == {"ann": 1, "bob": 1}


@asynchronous
async def test_a_change_waits_for_its_turn_too():
    gate = asyncio.Event()
    seen = []

    async def work(_, __):
        await gate.wait()
        seen.append("work")

    server = Server(
        {"app": {"work": work, ON_ROOM_JOIN: lambda *_: seen.append("join")}, "other": SYNC}
    )
    async with talking(server) as space:
        space.emit("work")
        join = asyncio.create_task(space.join("room"))
        await asyncio.sleep(0)
        gate.set()
        await join
    assert seen == ["work", "join"]


@asynchronous
async def test_many_messages_behind_a_slow_handler_all_come_and_in_order():
    """More than may wait at a time: the network keeps them, and none is lost."""
    seen = []
    gate = asyncio.Event()

    async def work(_, message):
        await gate.wait()
        seen.append(message.body)

    limits = Limits(queue_length=4)
    async with talking(Server({"app": {"work": work, **SYNC}}, limits=limits)) as space:
        bodies = [str(number) for number in range(100)]
        for body in bodies:
            space.emit("work", body)
        gate.set()
        await Inbox.synchronised(space)
    assert seen == bodies


@asynchronous
async def test_a_handler_gets_the_reply_it_waits_for_though_its_peer_is_held_back():
    limits = Limits(queue_length=4)
    gate = asyncio.Event()

    async def ask_back(space, _):
        await gate.wait()
        return (await space.ask("question")).body

    server = Server({"app": {"ask": ask_back, "other": lambda *_: None, **SYNC}}, limits=limits)
    async with talking(server, {"app": {"question": lambda *_: "answer"}}) as space:
        ask = asyncio.create_task(space.ask("ask"))
        await asyncio.sleep(0)
        for _ in range(6):
            space.emit("other")
        [connection] = server.connections.values()
        while not connection.link.is_held:
            await asyncio.sleep(0.001)
        gate.set()
        assert (await ask).body == "answer"
        await Inbox.synchronised(space)


@asynchronous
async def test_a_handler_that_takes_too_long_is_cancelled():
    cancelled = []

    async def hang(_, message):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(message.body)
            raise

    inbox = Inbox()
    server = Server(
        {"app": {"hang": hang, ON_ROOM_JOIN: hang_without_end, **SYNC}},
        limits=Limits(handler=0.02),
    )
    async with talking(server, inbox.handlers) as space:
        await refused_with(HANDLER_TIMEOUT, space.ask("hang", "asked"))
        await refused_with(HANDLER_TIMEOUT, space.join("room"))
        space.emit("hang", "told")
        await inbox.synchronised(space)
    assert cancelled == ["asked", "told"]
    assert [(each.is_error, each.body) for each in inbox.messages] == [(True, HANDLER_TIMEOUT)]


async def hang_without_end(*_):
    await asyncio.Event().wait()


@asynchronous
async def test_a_hook_that_takes_too_long_refuses():
    server = Server({"app": {}}, on_connect=hang_without_end, limits=Limits(handler=0.02))
    async with listening(server) as listener:
        with pytest.raises(RefusedError, match=HANDLER_TIMEOUT):
            await dial(listener.url())


@asynchronous
async def test_a_blocking_handler_holds_up_its_own_connection_alone():
    gate = threading.Event()
    main = threading.get_ident()

    @blocking
    def work(space, message):
        assert threading.get_ident() != main
        assert gate.wait(10)
        if message.body == "fail":
            raise ReplyError("no")
        return f"{space.name} {message.body}"

    assert work.__name__ == "work"
    server = with_ids({"app": {"work": work, **SYNC}})
    async with crowd(server, "ann", "bob") as there:
        ask = asyncio.create_task(there["ann"][1].ask("work", "done"))
        await Inbox.synchronised(there["bob"][1])  # while ann's is at work
        assert not ask.done()
        gate.set()
        assert (await ask).body == "app done"
        await refused_with("no", there["ann"][1].ask("work", "fail"))


# ---- The server as a whole ----


@asynchronous
async def test_a_shutdown_says_goodbye_and_lets_nobody_in():
    """TR-13."""
    causes = []
    server = Server({"app": {}}, on_disconnect=lambda _, cause: causes.append(cause))
    async with listening(server) as listener:
        clients = [await dial(listener.url()) for _ in range(3)]
        await server.shutdown()
        for client in clients:
            await client.wait_closed()
            assert client.connection.link.closed == (1001, "the server shuts down")
        with pytest.raises(DialError) as failure:
            await dial(listener.url())
        assert failure.value.status == 503
    assert causes == [Cause.LOCAL] * 3
    assert not server.connections


@asynchronous
async def test_to_leave_the_block_is_a_shutdown():
    async with listening(Server({"app": {}})) as listener:
        client = await dial(listener.url())
    await client.wait_closed()
    assert client.connection.link.closed[0] == 1001
    with pytest.raises(DialError):
        await dial(listener.url())


@asynchronous
async def test_a_shutdown_may_give_another_reason():
    server = Server({"app": {}})
    async with listening(server) as listener:
        client = await dial(listener.url())
        await server.shutdown(code=1012, reason="restart " + "ü" * 100)
        await client.wait_closed()
        code, reason = client.connection.link.closed
        assert code == 1012
        assert reason == ("restart " + "ü" * 57)  # as much as a close frame has room for


@asynchronous
async def test_a_shutdown_waits_for_handlers_and_then_for_none():
    started, done = future(), []

    async def finish(*_):
        started.set_result(None)
        await asyncio.sleep(0.01)
        done.append("finished")

    server = Server({"app": {"work": finish}})
    async with talking(server) as space:
        space.emit("work")
        await started
        await server.shutdown()
        assert done == ["finished"]


@asynchronous
async def test_a_shutdown_cancels_a_handler_that_does_not_end():
    started, cancelled, ended = future(), future(), future()

    async def hang(*_):
        started.set_result(None)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set_result(None)
            raise

    server = Server(
        {"app": {"hang": hang}},
        on_disconnect=lambda connection, cause: ended.set_result((connection.id, cause)),
    )
    async with talking(server) as space:
        space.emit("hang")
        await started
        await server.shutdown(seconds=0.02)
        await cancelled
        assert await ended == (space.connection.id, Cause.LOCAL)  # although the peer is gone
        assert not server.connections


@asynchronous
async def test_no_more_connections_are_let_in_than_may_be():
    ended = asyncio.Event()
    server = Server({"app": SYNC}, max_connections=2, on_disconnect=lambda *_: ended.set())
    async with listening(server) as listener:
        one, two = await dial(listener.url()), await dial(listener.url())
        with pytest.raises(DialError, match="answered 503") as failure:
            await dial(listener.url())
        assert failure.value.status == 503
        await one.close()
        await ended.wait()
        three = await dial(listener.url())
        await Inbox.synchronised(await two.connect("app"), await three.connect("app"))
        await two.close()
        await three.close()


@asynchronous
async def test_those_that_were_refused_count_no_more():
    def refuse(_):
        raise ReplyError("no")

    server = Server({"app": {}}, max_connections=1, on_connect=refuse)
    async with listening(server) as listener:
        for _ in range(3):
            with pytest.raises(RefusedError):
                await dial(listener.url())
            while server._all:
                await asyncio.sleep(0)


@asynchronous
async def test_servers_are_found_by_their_paths():
    def named(name):
        return Server({"app": {"name": lambda *_: name}})

    served = {"/": named("root"), "/chat": named("chat"), "/chat/": named("below")}
    async with listening(served) as listener:
        for path, name in [
            ("/", "root"),
            ("/?chat", "root"),
            ("/chat", "chat"),
            ("/chat?x=/", "chat"),
            ("/chat/", "below"),
        ]:
            async with await dial(listener.url(path)) as client:
                assert (await (await client.connect("app")).ask("name")).body == name
        for path in ("/other", "/chat/room", "/Chat", "/%63hat"):
            with pytest.raises(DialError, match="answered 404") as failure:
                await dial(listener.url(path))
            assert failure.value.status == 404


@pytest.mark.parametrize(
    ("host", "secure", "url"),
    [("::1", False, "ws://[::1]:80/x"), ("localhost", True, "wss://localhost:80/x")],
)
def test_a_listener_gives_urls(host, secure, url):
    assert Listener(host, 80, secure).url("/x") == url


@pytest.mark.parametrize(
    "limits", [{"queue_length": 0}, {"handshake": 0}, {"ask": -1}, {"heartbeat": -0.5}]
)
def test_a_limit_is_above_zero(limits):
    [name] = limits
    with pytest.raises(ValueError, match=rf"Limits\.{name} is above zero"):
        Limits(**limits)


@asynchronous
async def test_another_clients_error_is_not_passed_on():  # SEC-17
    async def ask_the_other(here, _):
        [other] = [each for each in here_server.members("app") if each is not here.connection]
        return (await other.namespace("app").ask("secret")).body

    def refuse(*_):
        raise ReplyError("my password is swordfish")

    here_server = Server({"app": {"relay": ask_the_other}})
    async with (
        listening(here_server) as listener,
        await dial(listener.url(), {"app": {"secret": refuse}}) as one,
        await dial(listener.url(), {"app": {}}) as two,
    ):
        await one.connect("app")
        app = await two.connect("app")
        with pytest.raises(PeerError, match=r"^internal error$"):
            await app.ask("relay")


@asynchronous
async def test_a_factory_that_hangs_is_bounded_as_a_handler_is():
    async def never() -> Mute:
        await asyncio.Event().wait()

    @dataclass
    class Waiting:
        mute: Mute
        namespace = "app"

        def event(self): ...

    server = Server(Waiting, dependencies=[never], limits=Limits(handler=0.05))
    async with listening(server) as listener, await dial(listener.url()) as client:
        with pytest.raises(ReplyError, match="took too long"):
            await client.connect("app")


class Mute:
    """Something that nobody gets to make."""


# -------------------------------------------------------------------- what a review found


@asynchronous
async def test_a_shutdown_ends_those_too_who_have_not_said_a_word():
    server = Server({"app": {}})
    async with listening(server) as listener:
        early = await Raw.dial(listener.url())
        await server.shutdown()
        assert (await early.receive()).code == 1001
        await early.close()


@asynchronous
async def test_a_handler_may_shut_its_server_down():
    done = asyncio.Event()

    async def end(*_):
        await server.shutdown(seconds=5)
        done.set()

    server = Server({"app": {"end": end}})
    async with listening(server) as listener, await dial(listener.url()) as client:
        (await client.connect("app")).emit("end")
        await done.wait()
        await client.wait_closed()


@pytest.mark.parametrize("error", [ReplyError(404), asyncio.CancelledError()])
@pytest.mark.parametrize("is_coroutine", [False, True])
@asynchronous
async def test_a_handler_may_raise_anything_and_the_connection_stays(error, is_coroutine):
    def fail(*_):
        raise error

    async def fail_later(*_):
        raise error

    handler = fail_later if is_coroutine else fail
    async with (
        listening(Server({"app": {"fail": handler, **SYNC}})) as listener,
        await dial(listener.url()) as client,
    ):
        app = await client.connect("app")
        with pytest.raises(PeerError):
            await app.ask("fail", timeout=5)
        assert client.is_open


@asynchronous
async def test_an_ask_that_was_given_up_does_not_count_as_waited_for():
    async def slow(*_):
        await asyncio.sleep(0)

    server = Server({"app": {"slow": slow}}, limits=Limits(queue_length=10))
    async with (
        listening(server) as listener,
        await dial(listener.url(), {"app": {}}) as client,
    ):
        app = await client.connect("app")
        [inside] = server.members("app")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(inside.namespace("app").ask("nobody", timeout=None), 0.01)
        assert not inside.link.is_asking
        for _ in range(1000):
            app.emit("slow")
        await app.disconnect()
        assert client.is_open


@asynchronous
async def test_a_stuck_handler_keeps_the_place_of_its_connection_until_it_is_cancelled():
    is_stuck, is_cancelled = asyncio.Event(), asyncio.Event()

    async def stay(*_):
        is_stuck.set()
        try:
            await asyncio.Event().wait()
        finally:
            is_cancelled.set()

    limits = Limits(grace=0.1)
    server = Server({"app": {"stay": stay}}, max_connections=1, limits=limits)
    async with listening(server, grace=0.1) as listener:
        client = await dial(listener.url(), headers={"X": "1"})
        (await client.connect("app")).emit("stay")
        await is_stuck.wait()
        await client.close()
        while server.connections:
            await asyncio.sleep(0)
        if not is_cancelled.is_set():
            with pytest.raises(DialError, match="503"):
                await dial(listener.url())
        await is_cancelled.wait()
        while server._all:
            await asyncio.sleep(0)
        async with await dial(listener.url()):
            pass


@asynchronous
async def test_who_sends_much_can_wait_for_the_peer():
    async def flood(here, _):
        for number in range(60):
            here.emit("news", f"{number};" + "x" * 200_000)
            await here.connection.drained()
        return "done"

    seen = []
    handlers = {"app": {"news": lambda _, message: seen.append(message.body.split(";")[0])}}
    limits = Limits(high_water=64 << 10, backlog=300_000)
    async with (
        listening(Server({"app": {"flood": flood}}, limits=limits)) as listener,
        await dial(listener.url(), handlers) as client,
    ):
        app = await client.connect("app")
        assert (await app.ask("flood")).body == "done"
    assert seen == [str(number) for number in range(60)]


@asynchronous
async def test_servers_on_one_socket_share_their_limits():
    servers = {"/": Server({"app": {}}), "/b": Server({"app": {}}, limits=Limits(close=1))}
    for served in (servers, {}):
        with pytest.raises(ValueError, match="share their limits"):
            async with listening(served):
                pass


@asynchronous
async def test_who_was_refused_is_not_told_of_as_gone():
    gone = []

    def refuse(_):
        raise ReplyError("no")

    server = Server({"app": {}}, on_connect=refuse, on_disconnect=lambda *told: gone.append(told))
    async with listening(server) as listener:
        with pytest.raises(RefusedError):
            await dial(listener.url())
    assert gone == []
