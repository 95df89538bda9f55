"""The application as data is what the reference peers have, and what the page describes."""

import re
from pathlib import Path

from mutation import work_clock
from neffos_asyncio import (
    ON_ANY_EVENT,
    ON_NAMESPACE_CONNECT,
    ON_NAMESPACE_DISCONNECT,
    ON_ROOM_JOIN,
    ON_ROOM_LEAVE,
)
from neffos_codec import decode
from neffos_conformance.model_based.application import ANY_EVENT, data, endpoints
from neffos_conformance.reference.application import APPLICATION, servers
from neffos_conformance.reference.client_driver import NAMESPACES, REFUSAL, UNWANTED
from neffos_conformance.reference.embedded import embedded_server
from neffos_conformance.wire.connection import WireConnection
from neffos_protocol.events import Change
from neffos_protocol.names import NATIVE_EVENT, REQUEST_EVENT

PAGE = (Path(__file__).parents[2] / "spec" / "docs" / "application.md").read_text("utf-8")
SERVER = endpoints("server")
CLIENT = endpoints("client")[""]
DECIDING = {
    ON_NAMESPACE_CONNECT: Change.CONNECT,
    ON_NAMESPACE_DISCONNECT: Change.DISCONNECT,
    ON_ROOM_JOIN: Change.JOIN,
    ON_ROOM_LEAVE: Change.LEAVE,
}


def section(title):
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows(title):
    """Give the cells of the tables of a section, without their heads."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in cells[2:] if not set("".join(row)) <= set("-| ")]


def names(cell):
    return re.findall("`([^`]+)`", cell)


def refused(endpoint, change, room=None):
    return {
        (namespace, text)
        for (each, namespace, where), text in endpoint.refusals.items()
        if (each, where) == (change, room)
    }


# -------------------------------------------------------------------- the page


def test_the_page_has_the_namespaces_and_their_refusals():
    table = [(names(name), connect, leave) for name, connect, leave in rows("Namespaces")[:-1]]
    assert {name for (name,), _, _ in table} == set(SERVER[""].handlers)
    for change, column in ((Change.CONNECT, 1), (Change.DISCONNECT, 2)):
        on_page = {(row[0][0], names(row[column])[0]) for row in table if names(row[column])}
        assert on_page == refused(SERVER[""], change)


def test_the_page_has_the_handlers_of_each_namespace():
    on_page = {}
    for namespace, event, _ in rows("Events"):
        event = ANY_EVENT if event == "every event" else names(event)[0]
        on_page.setdefault(names(namespace)[0], set()).add(event)
    assert on_page == {
        namespace: set(handlers) for namespace, handlers in SERVER[""].handlers.items() if handlers
    }


def test_the_page_names_what_handlers_need():
    on_page = {names(event)[0]: does for _, event, does in rows("Events") if names(event)}
    for event, handler in SERVER[""].handlers["app"].items():
        for key, value in handler.values.items():
            if key in ("text", "answer", "error") or (key, handler.does) == ("event", "ask"):
                assert value in names(on_page[event]), (event, value)
    handlers = SERVER[""].handlers["app"].values()
    assert {each.values["event"] for each in handlers if each.does == "broadcast"} == {"news"}
    assert "A broadcast is the event `news` of namespace `app`" in PAGE


def test_the_page_has_the_refused_rooms():
    text = section("Rooms")
    for change, room in ((Change.JOIN, "locked"), (Change.LEAVE, "sticky")):
        ((namespace, refusal),) = refused(SERVER[""], change, room)
        assert namespace == "app"
        assert {room, refusal} <= set(names(text))


def test_the_page_has_the_client_side():
    text = section("The client's side")
    (declared,) = re.findall(r"namespaces (.*?) and the empty one", text, re.DOTALL)
    assert {*names(declared), ""} == set(CLIENT.handlers)
    handled = {name for event, _ in rows("The client's side") for name in names(event)}
    assert handled | {ANY_EVENT} == set(CLIENT.handlers["app"])
    assert set(CLIENT.refusals.values()) <= set(names(text))


def test_the_page_has_the_endpoints():
    on_page = {name for row in rows("Endpoints") for name in names(row[0])}
    assert on_page == set(SERVER) - {""}


def test_the_data_has_no_fields_that_nobody_reads():
    read = {
        "endpoint": {"role", "path", "exchanges", "namespaces"},
        "refusal": {"role", "change", "namespace", "room", "text"},
        "handler": {"role", "path", "namespace", "event", "does", "with"},
    }
    assert data().keys() == {"format", *read}
    for kind, fields in read.items():
        assert set().union(*data()[kind]) == fields


# -------------------------------------------------------------------- the reference peers


def test_the_reference_server_has_the_endpoints_and_handlers():
    assert set(servers("/")) == {"/", *(set(SERVER) - {""})}
    assert set(APPLICATION) == set(SERVER[""].handlers)
    for namespace, handlers in APPLICATION.items():
        events = {ANY_EVENT if each == ON_ANY_EVENT else each for each in handlers}
        assert events - set(DECIDING) == set(SERVER[""].handlers[namespace])
        decided = {DECIDING[each] for each in events if each in DECIDING}
        assert decided == {change for change, name, _ in SERVER[""].refusals if name == namespace}


async def refusal(url, change, namespace, room):
    """Give the reply of the reference server to a system ask."""
    connection = await WireConnection.dial(url)
    await connection.send("M")
    await connection.receive()
    asks = [(Change.CONNECT, ""), (change, room or "")]
    if change is Change.LEAVE:
        asks.insert(1, (Change.JOIN, room))
    for asked, where in asks[change is Change.CONNECT :]:
        await connection.send(f"$1;{namespace};{where};{REQUEST_EVENT[asked]};0;0;")
        reply = decode(await connection.receive())
    await connection.close()
    return reply


def test_the_reference_server_refuses_with_the_texts_of_the_data():
    async def replies():
        async with embedded_server() as url:
            return [await refusal(url, *key) for key in SERVER[""].refusals]

    found = [(each.is_error, each.body) for each in work_clock.run(replies())]
    assert found == [(True, text) for text in SERVER[""].refusals.values()]


def test_the_reference_client_has_the_namespaces_and_the_refusal():
    assert set(NAMESPACES) == set(CLIENT.handlers)
    assert set(CLIENT.refusals.values()) == {REFUSAL}
    assert {namespace or room for _, namespace, room in CLIENT.refusals} >= {UNWANTED}
    assert set(CLIENT.handlers[""]) - set(CLIENT.handlers["app"]) == {NATIVE_EVENT}
