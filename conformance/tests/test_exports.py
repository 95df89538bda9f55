"""What ``neffos_asyncio`` exports is what its submodules define, and no other."""

import ast
from importlib import import_module
from pathlib import Path

import pytest

import neffos_asyncio as package

OUTER = {
    "client": {"DIAL_TIMEOUT", "QUEUED", "REFUSALS"},
    "connection": {"ASKING_FACTOR", "CANCELLED_GRACE", "Hook", "Owner"},
    "controllers": {
        "CLIENT_SCOPES",
        "Controller",
        "Matcher",
        "Method",
        "Part",
        "SCOPES",
        "application_of",
        "handlers_of",
    },
    "budget": {"Holder", "PROCESS", "PROCESS_BYTES"},
    "errors": set(),
    "exchange": {"Attachment", "Deliver", "Exchange", "PREFIX"},
    "exchanges": set(),
    "handlers": {"Application", "Builder", "SYSTEM_EVENTS"},
    "limits": {"DEFAULT", "LINE_RATE", "MESSAGE_RATE", "REASON_SIZE", "pong_time"},
    "listening": {"BACKLOG", "GRACE", "Interceptor", "is_fast"},
    "nats_exchange": {"NatsClient", "NatsExchange", "tls_of"},
    "redis_exchange": {"RedisExchange", "TURN"},
    "request": {
        "Headers",
        "MAX_TRIES_DIGITS",
        "RECONNECT_HEADER",
        "URL_HEADER_PREFIX",
        "upgrade_request",
    },
    "uvicorn": {"WebSockets"},
    "server": {"CLOSING", "ID_IN_USE", "MAX_CONNECTIONS", "Membership", "SHUTDOWN"},
}
"""Modules for applications, with the public names of each that the package does not export."""

INNER = {
    "asgi",
    "broker",
    "cluster",
    "dependencies",
    "dispatch",
    "failures",
    "fast",
    "handler_queue",
    "incoming",
    "link",
    "sockets",
    "transport",
    "unfinished",
}
"""Modules that applications need not know: nothing of them is exported."""


def defined(module):
    """The public names that a module's own statements define."""
    path = Path(package.__file__).with_name(f"{module}.py")
    names = set()
    for statement in ast.parse(path.read_text("utf-8")).body:
        match statement:
            case (
                ast.ClassDef(name=name)
                | ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
                | ast.AnnAssign(target=ast.Name(id=name))
                | ast.Assign(targets=[ast.Name(id=name)])
            ):
                names.add(name)
    return {name for name in names if not name.startswith("_")}


def test_every_submodule_is_outer_or_inner():
    there = {path.stem for path in Path(package.__file__).parent.glob("*.py")} - {"__init__"}
    assert OUTER.keys() | INNER == there
    assert not OUTER.keys() & INNER


def test_what_is_exported_is_what_the_outer_modules_define():
    expected = set().union(*(defined(module) - kept for module, kept in OUTER.items()))
    assert set(package.__all__) == expected


@pytest.mark.parametrize("module", OUTER)
def test_what_an_outer_module_keeps_is_there(module):
    assert OUTER[module] <= defined(module)


@pytest.mark.parametrize(
    ("module", "name"),
    [(module, name) for module, kept in OUTER.items() for name in sorted(defined(module) - kept)],
)
def test_an_export_is_the_very_object_of_its_submodule(module, name):
    submodule = import_module(f"{package.__name__}.{module}")
    assert getattr(package, name) is getattr(submodule, name)


def test_no_name_is_exported_twice_or_out_of_order():
    names = package.__all__
    assert names == sorted(set(names), key=lambda name: (not name.isupper(), name.islower(), name))
