"""The exchange at an address, on Redis or on NATS, whose library is imported only then."""

from __future__ import annotations

from neffos_asyncio.exchange import PREFIX, Exchange


def exchange_at(url: str, prefix: str = PREFIX) -> Exchange:
    """Return the exchange at an address.

    Args:
        url: see ``RedisExchange`` and ``NatsExchange``.
        prefix: what channels begin with.

    Raises:
        ValueError: the URL names no known broker, or its broker cannot have this URL or prefix.
        ImportError: the library for this broker is not installed.
    """
    scheme, mark, _ = url.partition("://")
    match scheme if mark else "":
        case "redis" | "rediss" | "unix":
            from neffos_asyncio.redis_exchange import RedisExchange

            return RedisExchange(url, prefix)
        case "nats" | "tls":
            from neffos_asyncio.nats_exchange import NatsExchange

            return NatsExchange(url, prefix)
    raise ValueError("an exchange is at redis://, rediss://, unix://, nats:// or tls://")
