"""Controllers: where their namespace is said, which methods are events, whose instance acts."""

import asyncio
from dataclasses import dataclass, field
from typing import ClassVar

import pytest

from neffos_asyncio import (
    Connection,
    DependencyError,
    Namespace,
    ReplyError,
    Server,
    camel_case,
    controller,
    dial,
    event,
    listening,
    trim_prefix,
    whole_name,
)
from neffos_asyncio.handlers import SYSTEM_EVENTS
from neffos_codec import Message
from neffos_protocol import Change, ChangeAsked, Changed

from .test_handler_queue import asynchronous


async def replies(server, *events, namespace="app"):
    """The replies to some asks of a new client, in their order."""
    async with listening(server) as listener, await dial(listener.url()) as client:
        space = await client.connect(namespace)
        return [(await space.ask(name, "body")).body for name in events]


async def handled(server, *events, last, namespace="app"):
    """Which of some events have a handler: those whose reply comes before that to the last."""
    there = []

    def replied(_, message):
        there.append(message.event)

    handlers = {namespace: dict.fromkeys(events, replied)}
    async with listening(server) as listener, await dial(listener.url(), handlers) as client:
        space = await client.connect(namespace)
        for name in events:
            space.emit(name)
        await space.ask(last)
    return there


# ---- The namespace ----


class Attribute:
    namespace = "app"

    def where(self):
        return "attribute"


class ByClassMethod:
    @classmethod
    def namespace(cls):
        return "app"

    def where(self):
        return "class method"


class ByStaticMethod:
    @staticmethod
    def namespace():
        return "app"

    def where(self):
        return "static method"


class ByMethod:
    def __init__(self, namespace: Namespace):
        self.own = namespace.name

    def namespace(self):
        return "app"  # as in Iris, asked before there is an instance with values

    def where(self):
        return f"method, in {self.own}"


class Heir(Attribute):
    """Has the namespace of its parent, and its method."""


class Empty(Attribute):
    namespace = ""


@pytest.mark.parametrize(
    ("part", "namespace", "expected"),
    [
        (Attribute, "app", "attribute"),
        (ByClassMethod, "app", "class method"),
        (ByStaticMethod, "app", "static method"),
        (ByMethod, "app", "method, in app"),
        (Heir, "app", "attribute"),
        (Empty, "", "attribute"),
        (controller(Attribute), "app", "attribute"),
        (controller(Attribute, namespace="other"), "other", "attribute"),
        (controller(ByMethod, namespace="other"), "other", "method, in other"),
        (controller(Attribute, namespace=""), "", "attribute"),
    ],
)
@asynchronous
async def test_a_controller_serves_the_namespace_that_it_names(part, namespace, expected):
    assert await replies(Server(part), "where", namespace=namespace) == [expected]


@asynchronous
async def test_the_method_that_names_the_namespace_is_no_event():
    assert await handled(Server(ByMethod), "namespace", "where", last="where") == ["where"]


class Nowhere:
    def where(self):
        """Never called."""


class Numbered(Nowhere):
    namespace = 3


class Asked(Nowhere):
    def namespace(self):
        return None


@pytest.mark.parametrize("cls", [Nowhere, Numbered, Asked])
@pytest.mark.parametrize("use", [controller, Server])
def test_a_controller_that_names_no_namespace_is_refused(cls, use):
    with pytest.raises(DependencyError) as failure:
        use(cls)
    assert str(failure.value) == (
        f"{cls.__name__} does not say which namespace it is for; give it an attribute "
        "or a method called namespace, or give controller() one"
    )


@pytest.mark.parametrize("part", [Attribute(), 3, "app", [Attribute]])
def test_what_is_neither_mapping_nor_class_is_refused(part):
    with pytest.raises(TypeError, match="neither a mapping of handlers nor a controller class"):
        Server(part)


# ---- Matchers ----


@pytest.mark.parametrize(
    ("matcher", "method", "name"),
    [
        (whole_name, "chat", "chat"),
        (whole_name, "on_chat", "on_chat"),
        (whole_name, "OnChat", "OnChat"),
        (trim_prefix("on_"), "on_chat", "chat"),
        (trim_prefix("on_"), "on_on_chat", "on_chat"),
        (trim_prefix("on_"), "chat", None),
        (trim_prefix("on_"), "chat_on_", None),
        (trim_prefix("On"), "OnChat", "Chat"),
        (trim_prefix(""), "chat", "chat"),
        (camel_case, "on_chat", "OnChat"),
        (camel_case, "chat", "Chat"),
        (camel_case, "on_new_user", "OnNewUser"),
    ],
)
def test_a_matcher_gives_the_event_of_a_method(matcher, method, name):
    assert matcher(method) == name


class Talk:
    namespace = "app"

    def on_chat(self):
        return "chat"

    def help(self):
        return "help"

    @event("spoken aloud")
    def on_speak(self):
        return "speak"

    @event("_hidden")
    def _begins_with_an_underscore(self):
        """Never called."""

    def _helper(self):
        """Never called."""

    @property
    def chatter(self):
        """Never called."""

    def __str__(self):
        """Never called."""


NAMES = "on_chat", "chat", "OnChat", "help", "Help", "spoken aloud", "on_speak", "speak", "OnSpeak"
HIDDEN = "_helper", "helper", "_hidden", "chatter", "__init__", "__str__", "namespace", "Helper"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["on_chat", "help", "spoken aloud"]),
        ({"matcher": whole_name}, ["on_chat", "help", "spoken aloud"]),
        ({"matcher": trim_prefix("on_")}, ["chat", "spoken aloud"]),
        ({"matcher": camel_case}, ["OnChat", "Help", "spoken aloud"]),
        ({"matcher": lambda _: None}, ["spoken aloud"]),
    ],
    ids=["default", "whole_name", "trim_prefix", "camel_case", "none but the named"],
)
@asynchronous
async def test_the_matcher_decides_which_methods_are_events(options, expected):
    server = Server(controller(Talk, **options))
    assert await handled(server, *NAMES, *HIDDEN, last="spoken aloud") == expected


@asynchronous
async def test_an_event_of_a_method_may_be_named_in_any_way():
    class Odd:
        namespace = "app"

        @event("semi;colon")
        def first(self):
            return "first"

        @event("übung")
        @staticmethod
        def second():
            return "second"

        @staticmethod
        @event("third")
        def third_in_the_other_order():
            return "third"

        @event("fourth")
        @classmethod
        def of_class(cls):
            return cls.__name__

    events = "semi;colon", "übung", "third", "fourth"
    assert await replies(Server(Odd), *events) == ["first", "second", "third", "Odd"]


# ---- System events ----


def snake(name):
    """``_OnRoomJoined`` as ``on_room_joined``."""
    return "".join(f"_{each.lower()}" if each.isupper() else each for each in name[1:])[1:]


@pytest.mark.parametrize("matcher", [whole_name, trim_prefix("on_"), camel_case, lambda _: None])
@pytest.mark.parametrize("style", [snake, lambda name: name[1:]], ids=["snake", "camel"])
@asynchronous
async def test_what_happens_has_fixed_names_in_either_style(style, matcher):
    seen = []

    class Watcher:
        namespace = ""

        @event("done")
        def last(self):
            return "done"

    def watch(name):
        def method(self, happening):
            match happening:
                case Message(event=event_, body=body):
                    seen.append((name, event_, body))
                case ChangeAsked(change, room=room) | Changed(change, room=room):
                    seen.append((name, change, room))

        return method

    for name in SYSTEM_EVENTS:
        setattr(Watcher, style(name), watch(name))
    server = Server(controller(Watcher, matcher=matcher))
    async with (
        listening(server) as listener,
        await dial(listener.url(), {"": {"_OnNativeMessage": print, "and": print}}) as client,
    ):
        space = await client.connect("")
        await space.join("room")
        space.emit("other", "b")
        client.send_native("hello")
        await space.leave("room")
        await space.ask("done")
        await space.disconnect()
    assert seen == [
        ("_OnNamespaceConnect", Change.CONNECT, ""),
        ("_OnNamespaceConnected", Change.CONNECT, ""),
        ("_OnRoomJoin", Change.JOIN, "room"),
        ("_OnRoomJoined", Change.JOIN, "room"),
        ("_OnAnyEvent", "other", "b"),
        ("_OnNativeMessage", "_OnNativeMessage", "hello"),
        ("_OnRoomLeave", Change.LEAVE, "room"),
        ("_OnRoomLeft", Change.LEAVE, "room"),
        ("_OnNamespaceDisconnect", Change.DISCONNECT, ""),
    ]


@asynchronous
async def test_a_controller_of_native_messages_alone_makes_a_native_only_endpoint():
    class Echo:
        namespace = ""

        def __init__(self, connection: Connection):
            self.connection = connection

        def on_native_message(self, message):
            return f"{message.body} to {self.connection.id}"

    reply = asyncio.get_running_loop().create_future()
    client_handlers = {"": {"_OnNativeMessage": lambda _, message: reply.set_result(message.body)}}
    server = Server(Echo, id_generator=lambda _: "ann")
    async with listening(server) as listener, await dial(listener.url(), client_handlers) as client:
        client.send_native("hello")
        assert await reply == "hello to ann"


@asynchronous
async def test_what_happens_may_be_refused_by_a_method():
    class Strict:
        namespace = "app"

        def on_namespace_connect(self):
            """Let in."""

        async def on_room_join(self, asked):
            await asyncio.sleep(0)
            if asked.room == "locked":
                raise ReplyError("room is locked")

        def chat(self):
            """Handle an event."""

    async with listening(Server(Strict)) as listener, await dial(listener.url()) as client:
        space = await client.connect("app")
        with pytest.raises(ReplyError, match="room is locked"):
            await space.join("locked")
        await space.join("open")
        assert space.rooms == {"open"}


# ---- Parameters ----


class Parameters:
    namespace = "app"

    def none(self):
        return "none"

    def one(self, message):
        return f"one {message.body}"

    def two(self, namespace, message):
        return f"two {namespace.name} {message.body}"

    def optional(self, message=None, namespace=None):
        return f"optional {message.name} {namespace.body}"

    def keyword(self, message, *, flag=True):
        return f"keyword {message.body} {flag}"

    @staticmethod
    def static(message):
        return f"static {message.body}"

    @staticmethod
    def static_none():
        return "static none"

    @classmethod
    def of_class(cls, namespace, message):
        return f"{cls.__name__} {namespace.name} {message.body}"

    @classmethod
    def of_class_none(cls):
        return cls.__name__

    async def later(self, namespace, message):
        await asyncio.sleep(0)
        return f"later {namespace.name} {message.body}"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("none", "none"),
        ("one", "one body"),
        ("two", "two app body"),
        ("optional", "optional app body"),
        ("keyword", "keyword body True"),
        ("static", "static body"),
        ("static_none", "static none"),
        ("of_class", "Parameters app body"),
        ("of_class_none", "Parameters"),
        ("later", "later app body"),
    ],
)
@asynchronous
async def test_a_method_is_given_as_much_as_it_takes(name, expected):
    assert await replies(Server(Parameters), name) == [expected]


def method_with_three(self, namespace, message, more):
    """Never called."""


def static_with_three(namespace, message, more):
    """Never called."""


@pytest.mark.parametrize(
    "method",
    [method_with_three, staticmethod(static_with_three), classmethod(method_with_three)],
    ids=["method", "static", "class"],
)
def test_a_method_that_takes_three_values_is_refused(method):
    greedy = type("Greedy", (), {"namespace": "app", "chat": method})
    with pytest.raises(
        DependencyError,
        match=r"Greedy\.chat takes 3 values; an event has a namespace and a message",
    ):
        Server(greedy)


# ---- What is refused ----


def test_two_methods_for_one_event_are_refused():
    class Twice:
        namespace = "app"

        def chat(self):
            """Never called."""

        @event("chat")
        def talk(self):
            """Never called."""

    with pytest.raises(DependencyError, match="Twice has two methods for event 'chat'"):
        Server(Twice)


def test_two_styles_of_one_system_event_are_refused():
    class Twice:
        namespace = "app"

        def on_room_joined(self):
            """Never called."""

        def OnRoomJoined(self):  # noqa: N802
            """Never called."""

    with pytest.raises(DependencyError, match="two methods for event '_OnRoomJoined'"):
        Server(Twice)


@pytest.mark.parametrize(
    "options", [{}, {"matcher": lambda _: None}], ids=["no method", "none that matches"]
)
def test_a_controller_without_any_event_is_refused(options):
    class Idle:
        namespace = "app"

    if options:
        Idle.chat = lambda self: None
    with pytest.raises(DependencyError, match="Idle has no method that is an event"):
        Server(controller(Idle, **options))


@pytest.mark.parametrize(
    "parts",
    [
        (Attribute, {"app": {"where": lambda *_: "mapping"}}),
        ({"app": {"where": lambda *_: "mapping"}}, Attribute),
        (Attribute, ByClassMethod),
        (Attribute, Attribute),
        ({"app": {"where": lambda *_: "one"}}, {"app": {"where": lambda *_: "two"}}),
    ],
    ids=["mapping last", "mapping first", "two controllers", "one twice", "two mappings"],
)
def test_an_event_with_two_handlers_is_refused(parts):
    with pytest.raises(ValueError, match="event 'where' of namespace 'app' has two handlers"):
        Server(*parts)


def test_a_handler_that_cannot_be_called_is_refused():
    with pytest.raises(TypeError, match="'chat' of namespace 'app' is 'hello', which cannot"):
        Server({"app": {"chat": "hello"}})


# ---- Joined ----


@asynchronous
async def test_controllers_and_mappings_are_joined_in_one_namespace():
    server = Server(
        Parameters,
        {"app": {"mapped": lambda space, _: f"mapped {space.name}"}},
        Attribute,
        {"other": {"where": lambda *_: "elsewhere"}},  # the same event, and another namespace
    )
    assert await replies(server, "none", "mapped", "where") == ["none", "mapped app", "attribute"]


@pytest.mark.parametrize("namespace", ["one", "two"])
@asynchronous
async def test_one_class_may_serve_two_namespaces(namespace):
    server = Server(controller(ByMethod, namespace="one"), controller(ByMethod, namespace="two"))
    assert await replies(server, "where", namespace=namespace) == [f"method, in {namespace}"]


# ---- Instances ----


class Counter:
    """Counts for itself."""

    def __init__(self, namespace: Namespace):
        self.namespace_given = namespace
        self.count = 0

    def add(self, namespace, _):
        assert namespace is self.namespace_given
        self.count += 1
        return str(self.count)


COUNTERS = controller(Counter, namespace="one"), controller(Counter, namespace="two")


async def count(client, namespace):
    return (await (await client.connect(namespace)).ask("add")).body


@asynchronous
async def test_each_connection_and_namespace_has_an_instance_of_its_own():
    async with (
        listening(Server(*COUNTERS)) as listener,
        await dial(listener.url()) as ann,
        await dial(listener.url()) as bob,
    ):
        assert [await count(ann, "one") for _ in range(3)] == ["1", "2", "3"]
        assert await count(ann, "two") == "1"
        assert await count(bob, "one") == "1"
        assert await count(ann, "one") == "4"


@asynchronous
async def test_a_namespace_that_is_connected_anew_has_a_new_instance():
    async with listening(Server(*COUNTERS)) as listener, await dial(listener.url()) as client:
        assert [await count(client, "one") for _ in range(2)] == ["1", "2"]
        await client.connection.namespace("one").disconnect()
        assert await count(client, "one") == "1"


@asynchronous
async def test_a_handler_may_disconnect_its_namespace_and_connect_it_again():
    again = asyncio.get_running_loop().create_future()

    class Restless:
        namespace = "app"

        async def restart(self, namespace, _):
            await namespace.disconnect()
            again.set_result(await namespace.connection.connect("app"))

        def chat(self):
            return "still here"

    async with listening(Server(Restless)) as listener, await dial(listener.url()) as client:
        space = await client.connect("app")
        space.emit("restart")
        server_side = await again
        assert (await client.connection.namespace("app").ask("chat")).body == "still here"
        assert server_side.connection.namespace("app") is server_side


@asynchronous
async def test_an_instance_sees_the_end_of_its_namespace():
    ended = asyncio.get_running_loop().create_future()

    class Leaving(Counter):
        def on_namespace_disconnect(self, happening):
            ended.set_result((self.count, happening.cause))

    server = Server(controller(Leaving, namespace="one"))
    async with listening(server) as listener:
        async with await dial(listener.url()) as client:
            await count(client, "one")
        assert await ended == (1, "forced")


@asynchronous
async def test_a_client_may_have_controllers_too():
    seen = asyncio.get_running_loop().create_future()

    class News:
        namespace = "app"

        def __init__(self, namespace: Namespace):
            self.own = namespace

        def news(self, namespace, message):
            seen.set_result((namespace is self.own, message.body))

    server = Server({"app": {"push": lambda space, message: space.emit("news", message.body)}})
    async with listening(server) as listener, await dial(listener.url(), News) as client:
        (await client.connect("app")).emit("push", "hello")
        assert await seen == (True, "hello")


# ---- Data classes ----


@dataclass
class Settings:
    greeting: str


@dataclass
class Greeter:
    namespace: ClassVar[str] = "app"
    settings: Settings
    space: Namespace
    greeted: list[str] = field(default_factory=list)

    def greet(self, message):
        self.greeted.append(message.body)
        return f"{self.settings.greeting} {message.body} in {self.space.name} {len(self.greeted)}"


@asynchronous
async def test_a_data_class_is_given_what_its_fields_need():
    server = Server(Greeter, dependencies=[Settings("hello")])
    assert await replies(server, "greet", "greet") == ["hello body in app 1", "hello body in app 2"]


def test_a_field_that_nothing_fits_is_refused():
    with pytest.raises(DependencyError, match="Greeter needs settings: Settings"):
        Server(Greeter)
