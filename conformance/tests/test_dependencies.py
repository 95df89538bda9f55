"""What controllers need: found by type, made once for as long as what it was made from lives."""

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Optional, Protocol, runtime_checkable

import pytest

from neffos_asyncio import (
    Client,
    Connection,
    DependencyError,
    Namespace,
    ReplyError,
    Server,
    UpgradeRequest,
    controller,
    dial,
    listening,
)

from .test_handler_queue import asynchronous


class Database:
    """A service."""


class Clock(ABC):
    @abstractmethod
    def now(self):
        """Give the time."""


class Stopped(Clock):
    def now(self):
        return "noon"


class Running(Clock):
    def now(self):
        return "later"


@dataclass
class User:
    name: str


@dataclass
class Greeting:
    text: str


def using(kind, name="app", **options):
    """A controller that needs one value, and tells of it what ``str`` tells."""

    class Uses:
        def __init__(self, it: kind):
            self.it = it

        def tell(self):
            return str(self.it.now() if isinstance(self.it, Clock) else self.it)

        def identity(self):
            return str(id(self.it))

    return controller(Uses, namespace=name, **options)


async def told(client, event="tell", namespace="app"):
    return (await (await client.connect(namespace)).ask(event)).body


async def told_by(server, *clients, event="tell", namespace="app"):
    """What a server's controller tells each of some new clients."""
    async with AsyncExitStack() as stack:
        listener = await stack.enter_async_context(listening(server))
        connected = [
            await stack.enter_async_context(await dial(listener.url(), headers=headers))
            for headers in clients or ({},)
        ]
        return [await told(client, event, namespace) for client in connected]


# ---- Lookup ----


@asynchronous
async def test_a_value_is_given_to_who_needs_its_type():
    assert await told_by(Server(using(User), dependencies=[User("ann")])) == ["User(name='ann')"]


@pytest.mark.parametrize("registered", [Stopped, Stopped()], ids=["class", "value"])
@asynchronous
async def test_an_interface_is_met_by_the_one_thing_that_implements_it(registered):
    assert await told_by(Server(using(Clock), dependencies=[Database(), registered])) == ["noon"]


@asynchronous
async def test_the_very_type_goes_before_others_that_would_do():
    class Special(Stopped):
        def now(self):
            return "midnight"

    server = Server(using(Stopped), dependencies=[Special(), Stopped()])
    assert await told_by(server) == ["noon"]


@asynchronous
async def test_a_function_is_found_by_what_it_returns():
    def clock(user: User) -> Clock:
        assert user == User("ann")
        return Stopped()

    assert await told_by(Server(using(Clock), dependencies=[clock, User("ann")])) == ["noon"]


def test_an_interface_that_two_things_implement_is_met_by_neither():
    with pytest.raises(DependencyError, match="needs it: Clock"):
        Server(using(Clock), dependencies=[Stopped(), Running()])


def test_object_is_met_by_nothing():
    with pytest.raises(DependencyError, match="needs it: object"):
        Server(using(object), dependencies=[Database()])


@runtime_checkable
class Timely(Protocol):
    def now(self): ...


@asynchronous
async def test_a_protocol_that_can_be_checked_is_an_interface():
    assert await told_by(Server(using(Timely), dependencies=[Stopped()])) == ["noon"]


def test_a_protocol_that_cannot_be_checked_is_met_by_nothing():
    class Unchecked(Protocol):
        def now(self): ...

    with pytest.raises(DependencyError, match="Unchecked"):
        Server(using(Unchecked), dependencies=[Stopped()])


def test_an_annotation_that_is_no_class_is_met_by_nothing():
    with pytest.raises(DependencyError, match=r"needs it: .*Database"):
        Server(using(Database | User), dependencies=[Database()])


@pytest.mark.parametrize("kind", [Server, Namespace, Connection, UpgradeRequest])
@asynchronous
async def test_a_server_brings_along_what_it_knows(kind):
    class Uses:
        namespace = "app"

        def __init__(self, it: kind):
            self.it = it

        def tell(self):
            return type(self.it).__name__

    assert await told_by(Server(Uses)) == [kind.__name__]


@asynchronous
async def test_a_client_brings_along_itself():
    seen = asyncio.get_running_loop().create_future()

    class Uses:
        namespace = "app"

        def __init__(self, client: Client, connection: Connection, namespace: Namespace):
            seen.set_result((client, connection, namespace))

        def chat(self):
            """Handle an event, so that this is a controller."""

    async with (
        listening(Server({"app": {}})) as listener,
        await dial(listener.url(), Uses) as client,
    ):
        namespace = await client.connect("app")
        assert await seen == (client, client.connection, namespace)


# ---- Defaults ----


@pytest.mark.parametrize("kind", [Clock, Clock | None, Optional[Clock]], ids=str)  # noqa: UP045
@pytest.mark.parametrize(
    ("dependencies", "expected"), [((), "None"), ((Stopped(),), "noon")], ids=["no", "yes"]
)
@asynchronous
async def test_a_parameter_with_a_default_takes_what_there_is(kind, dependencies, expected):
    class Uses:
        namespace = "app"

        def __init__(self, clock: kind = None):
            self.clock = clock

        def tell(self):
            return self.clock.now() if self.clock else "None"

    assert await told_by(Server(Uses, dependencies=dependencies)) == [expected]


def test_none_is_given_to_nobody_who_has_no_default():
    with pytest.raises(DependencyError, match="needs it: Clock, which is not registered"):
        Server(using(Clock | None))


@asynchronous
async def test_parameters_that_need_nothing_are_left_alone():
    class Uses:
        namespace = "app"

        def __init__(self, *rest, untyped=3, **options):
            self.seen = rest, untyped, options

        def tell(self):
            return str(self.seen)

    assert await told_by(Server(Uses)) == ["((), 3, {})"]


# ---- What is refused before there is any server ----


def test_what_is_missing_is_named_with_its_remedy():
    with pytest.raises(DependencyError) as failure:
        Server(using(Database))
    assert str(failure.value) == (
        "using.<locals>.Uses needs it: Database, which is not registered; "
        "give the server a value of it, or a function that makes one"
    )


def test_what_a_factory_is_missing_is_named_too():
    def greeting(database: Database) -> Greeting:
        """Never called."""

    with pytest.raises(
        DependencyError, match="the factory of Greeting needs database: Database, which is not"
    ):
        Server({"app": {}}, dependencies=[greeting])


def test_a_function_says_what_it_makes():
    def mystery():
        """Never called."""

    with pytest.raises(DependencyError, match="mystery does not say which type it makes"):
        Server({"app": {}}, dependencies=[mystery])


def test_what_a_function_makes_is_a_type():
    def mystery() -> Database | None:
        """Never called."""

    with pytest.raises(DependencyError, match="mystery does not say which type it makes"):
        Server({"app": {}}, dependencies=[mystery])


def test_what_a_function_says_that_it_makes_exists():
    def mystery() -> "Nowhere":  # noqa: F821
        """Never called."""

    with pytest.raises(DependencyError, match="'Nowhere' names nothing"):
        Server({"app": {}}, dependencies=[mystery])


def test_what_a_parameter_says_that_it_takes_exists():
    def mystery(it: "Nowhere") -> Database:  # noqa: F821
        """Never called."""

    with pytest.raises(DependencyError, match="'Nowhere' names nothing"):
        Server({"app": {}}, dependencies=[mystery])


def test_a_parameter_without_a_default_says_its_type():
    class Untyped:
        namespace = "app"

        def __init__(self, it):
            """Never called."""

        def tell(self):
            """Never called."""

    with pytest.raises(DependencyError, match="Untyped needs it, but does not say of which type"):
        Server(Untyped)


@pytest.mark.parametrize(
    "things",
    [(User("ann"), User("bob")), (Database, Database()), (Database, Database)],
    ids=["values", "class and value", "classes"],
)
def test_two_things_of_one_type_are_refused(things):
    with pytest.raises(DependencyError, match="was registered twice"):
        Server({"app": {}}, dependencies=things)


def test_what_needs_itself_is_refused_with_the_way_round():
    def user(greeting: Greeting) -> User:
        """Never called."""

    def greeting(user: User) -> Greeting:
        """Never called."""

    with pytest.raises(DependencyError, match="User → Greeting → User: what is made here"):
        Server({"app": {}}, dependencies=[user, greeting])


def test_who_makes_what_it_takes_is_refused():
    def user(user: User) -> User:
        """Never called."""

    with pytest.raises(DependencyError, match="User → User"):
        Server({"app": {}}, dependencies=[user])


# ---- How long what is made lives ----


def service(calls):
    async def database() -> Database:
        calls["service"] += 1
        for _ in range(50):  # in which other connections come
            await asyncio.sleep(0)
        return Database()

    return database


def of_connection(calls):
    async def user(request: UpgradeRequest, database: Database) -> User:
        calls["connection"] += 1
        await asyncio.sleep(0)
        return User(request.headers["X-User"])

    return user


def of_namespace(calls):
    def greeting(namespace: Namespace, user: User) -> Greeting:
        calls["namespace"] += 1
        return Greeting(f"{user.name} in {namespace.name}")

    return greeting


@asynchronous
async def test_a_service_is_made_once_however_many_come_at_once():
    calls = Counter()
    server = Server(using(Database), dependencies=[service(calls)])
    async with listening(server) as listener:
        clients = await asyncio.gather(*(dial(listener.url()) for _ in range(50)))
        identities = await asyncio.gather(*(told(client, "identity") for client in clients))
        await asyncio.gather(*(client.close() for client in clients))
    assert (len(set(identities)), calls["service"]) == (1, 1)


@asynchronous
async def test_services_that_need_services_are_made_once_each():
    calls = Counter()

    async def user(database: Database) -> User:
        calls["user"] += 1
        await asyncio.sleep(0)
        return User(type(database).__name__)

    def greeting(user: User, database: Database) -> Greeting:
        calls["greeting"] += 1
        return Greeting(user.name)

    server = Server(
        using(Greeting, "one"),
        using(User, "two"),
        using(Database, "three"),
        dependencies=[greeting, user, service(calls)],
    )
    async with listening(server) as listener:
        clients = await asyncio.gather(*(dial(listener.url()) for _ in range(10)))
        await asyncio.gather(
            *(client.connect(name) for client in clients for name in ("one", "two", "three"))
        )
        await asyncio.gather(*(client.close() for client in clients))
    assert calls == {"service": 1, "user": 1, "greeting": 1}


@asynchronous
async def test_what_needs_the_request_is_made_once_for_each_connection():
    calls = Counter()
    server = Server(
        using(User, "one"),
        using(User, "two"),
        dependencies=[service(calls), of_connection(calls)],
    )
    async with listening(server) as listener:
        for name in ("ann", "bob"):
            async with await dial(listener.url(), headers={"X-User": name}) as client:
                assert await told(client, namespace="one") == f"User(name={name!r})"
                first, second = [await told(client, "identity", space) for space in ("one", "two")]
                assert first == second
                await client.connection.namespace("one").disconnect()
                assert await told(client, "identity", "one") == first
    assert calls == {"service": 1, "connection": 2}


@asynchronous
async def test_a_value_of_a_connection_is_made_once_for_namespaces_connected_at_once():
    calls = Counter()
    server = Server(
        using(User, "one"),
        using(User, "two"),
        dependencies=[service(calls), of_connection(calls)],
    )
    async with (
        listening(server) as listener,
        await dial(listener.url(), headers={"X-User": "ann"}) as client,
    ):
        await asyncio.gather(client.connect("one"), client.connect("two"))
        assert await told(client, "identity", "one") == await told(client, "identity", "two")
    assert calls["connection"] == 1


@asynchronous
async def test_a_client_that_connects_twice_at_once_makes_what_it_needs_once():
    calls = Counter()

    async def user(connection: Connection) -> User:
        calls["connection"] += 1
        await asyncio.sleep(0)
        return User("ann")

    async def greeting(namespace: Namespace, user: User) -> Greeting:
        calls["namespace"] += 1
        await asyncio.sleep(0)
        return Greeting(namespace.name)

    parts = using(Greeting, "one"), using(Greeting, "two")
    async with (
        listening(Server({"one": {}, "two": {}})) as listener,
        await dial(listener.url(), *parts, dependencies=[user, greeting]) as client,
    ):
        first, again, _ = await asyncio.gather(
            client.connect("one"), client.connect("one"), client.connect("two")
        )
        assert first is again
    assert calls == {"connection": 1, "namespace": 2}


@asynchronous
async def test_what_needs_the_namespace_is_made_for_each_connect():
    calls = Counter()
    dependencies = [service(calls), of_connection(calls), of_namespace(calls)]
    server = Server(using(Greeting, "one"), using(Greeting, "two"), dependencies=dependencies)
    async with (
        listening(server) as listener,
        await dial(listener.url(), headers={"X-User": "ann"}) as client,
    ):
        assert await told(client, namespace="one") == "Greeting(text='ann in one')"
        assert await told(client, namespace="two") == "Greeting(text='ann in two')"
        assert await told(client, namespace="one") == "Greeting(text='ann in one')"
        assert calls == {"service": 1, "connection": 1, "namespace": 2}
        await client.connection.namespace("one").disconnect()
        assert await told(client, namespace="one") == "Greeting(text='ann in one')"
    assert calls == {"service": 1, "connection": 1, "namespace": 3}


@asynchronous
async def test_two_controllers_of_one_namespace_share_what_is_made_for_it():
    calls = Counter()

    class First:
        namespace = "app"

        def __init__(self, greeting: Greeting):
            self.greeting = greeting

        def first(self):
            return str(id(self.greeting))

    class Second(First):
        def second(self):
            return self.first()

    dependencies = [service(calls), of_connection(calls), of_namespace(calls)]
    server = Server(
        First,
        controller(Second, matcher=lambda name: name if name == "second" else None),
        dependencies=dependencies,
    )
    async with (
        listening(server) as listener,
        await dial(listener.url(), headers={"X-User": "ann"}) as client,
    ):
        assert await told(client, "first") == await told(client, "second")
    assert calls["namespace"] == 1


@asynchronous
async def test_a_class_is_a_factory_of_itself():
    class Counted:
        made = 0

        def __init__(self, database: Database):
            type(self).made += 1

    server = Server(using(Counted), dependencies=[Counted, Database])
    identities = await told_by(server, {}, {}, event="identity")
    assert (len(set(identities)), Counted.made) == (1, 1)


@asynchronous
async def test_what_can_be_called_but_says_no_type_of_its_own_is_a_value():
    server = Server(using(partial), dependencies=[partial(print)])
    [text] = await told_by(server)
    assert text.startswith("functools.partial(")


# ---- Factories that fail ----


class Failing:
    """What cannot be made."""


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ReplyError("who are you?"), "who are you?"),
        (ReplyError(""), "internal error"),
        (ValueError("secret"), "internal error"),
        (KeyError("secret"), "internal error"),
    ],
)
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("brought", [None, UpgradeRequest, Namespace])
@asynchronous
async def test_a_factory_that_fails_refuses_the_connect(error, text, is_async, brought):
    """SEC-17: the peer learns only what was written for it."""

    def fail(it: brought = None) -> Failing:
        raise error

    async def fail_later(it: brought = None) -> Failing:
        await asyncio.sleep(0)
        raise error

    factory = fail_later if is_async else fail
    server = Server(
        using(Failing), {"other": {"echo": lambda _, m: m.body}}, dependencies=[factory]
    )
    async with listening(server) as listener, await dial(listener.url()) as client:
        for _ in range(2):  # nothing is left behind that would let the second one in
            with pytest.raises(ReplyError) as refusal:
                await client.connect("app")
            assert refusal.value.text == text
        assert list(client.connection.namespaces) == []
        assert server.members("app") == ()
        assert (await (await client.connect("other")).ask("echo", "still there")).body


@asynchronous
async def test_a_factory_whose_own_future_was_cancelled_refuses_the_connect():
    async def cancelled(namespace: Namespace) -> Failing:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    server = Server(using(Failing), dependencies=[cancelled])
    async with listening(server) as listener, await dial(listener.url()) as client:
        for _ in range(2):
            with pytest.raises(ReplyError, match="internal error"):
                await client.connect("app")


@asynchronous
async def test_a_service_that_could_not_be_made_is_tried_again():
    tries = Counter()

    async def sometimes() -> Database:
        tries["database"] += 1
        if tries["database"] == 1:
            raise ReplyError("not yet")
        return Database()

    server = Server(using(Database), dependencies=[sometimes])
    async with listening(server) as listener, await dial(listener.url()) as client:
        with pytest.raises(ReplyError, match="not yet"):
            await client.connect("app")
        await client.connect("app")
        await client.connection.namespace("app").disconnect()
        await client.connect("app")
    assert tries["database"] == 2


@asynchronous
async def test_a_controller_whose_own_init_fails_refuses_the_connect():
    class Choosy:
        namespace = "app"

        def __init__(self, request: UpgradeRequest):
            if "X-User" not in request.headers:
                raise ReplyError("log in first")

        def tell(self):
            return "welcome"

    async with listening(Server(Choosy)) as listener:
        async with await dial(listener.url(), headers={"X-User": "ann"}) as client:
            assert await told(client) == "welcome"
        async with await dial(listener.url()) as client:
            with pytest.raises(ReplyError, match="log in first"):
                await client.connect("app")


@asynchronous
async def test_a_client_whose_factory_fails_connects_nothing():
    def fail(namespace: Namespace) -> Failing:
        raise ValueError("on purpose")

    server = Server({"app": {}})
    async with (
        listening(server) as listener,
        await dial(listener.url(), using(Failing), dependencies=[fail]) as client,
    ):
        with pytest.raises(ValueError, match="on purpose"):
            await client.connect("app")
        assert list(client.connection.namespaces) == []
        assert server.members("app") == ()
