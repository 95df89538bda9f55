"""A neffos server and a neffos client on asyncio.

The protocol itself is the session's. This package puts it on sockets, and gives it the
application model of neffos and Iris: namespaces, events, handlers and controllers.
"""

from neffos_asyncio.budget import Budget
from neffos_asyncio.client import Client, Reconnect, dial
from neffos_asyncio.connection import Connection, Namespace, text_of
from neffos_asyncio.controllers import (
    camel_case,
    controller,
    event,
    trim_prefix,
    whole_name,
)
from neffos_asyncio.errors import (
    DeadlineError,
    DependencyError,
    DialError,
    LostError,
    NeffosError,
    NoReceiverError,
    PeerError,
    RefusedError,
    ReplyError,
)
from neffos_asyncio.exchange import MemoryExchange
from neffos_asyncio.exchanges import exchange_at
from neffos_asyncio.handlers import (
    ON_ANY_EVENT,
    ON_NAMESPACE_CONNECT,
    ON_NAMESPACE_CONNECTED,
    ON_NAMESPACE_DISCONNECT,
    ON_NATIVE_MESSAGE,
    ON_ROOM_JOIN,
    ON_ROOM_JOINED,
    ON_ROOM_LEAVE,
    ON_ROOM_LEFT,
    Handler,
    Handlers,
    ReplyBody,
    blocking,
)
from neffos_asyncio.limits import DEFAULT_TIMEOUT, Limits
from neffos_asyncio.listening import Listener, listening
from neffos_asyncio.request import UpgradeRequest
from neffos_asyncio.server import ANY_ORIGIN, Server, random_id

__all__ = [
    "ANY_ORIGIN",
    "DEFAULT_TIMEOUT",
    "ON_ANY_EVENT",
    "ON_NAMESPACE_CONNECT",
    "ON_NAMESPACE_CONNECTED",
    "ON_NAMESPACE_DISCONNECT",
    "ON_NATIVE_MESSAGE",
    "ON_ROOM_JOIN",
    "ON_ROOM_JOINED",
    "ON_ROOM_LEAVE",
    "ON_ROOM_LEFT",
    "Budget",
    "Client",
    "Connection",
    "DeadlineError",
    "DependencyError",
    "DialError",
    "Handler",
    "Handlers",
    "Limits",
    "Listener",
    "LostError",
    "MemoryExchange",
    "Namespace",
    "NeffosError",
    "NoReceiverError",
    "PeerError",
    "Reconnect",
    "RefusedError",
    "ReplyBody",
    "ReplyError",
    "Server",
    "UpgradeRequest",
    "blocking",
    "camel_case",
    "controller",
    "dial",
    "event",
    "exchange_at",
    "listening",
    "random_id",
    "text_of",
    "trim_prefix",
    "whole_name",
]
