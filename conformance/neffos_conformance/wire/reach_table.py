"""The options that say how a server is reached, as a table.

The command line and the pytest plugin take their options from here. This file imports nothing of
the suite, since every run of pytest reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ReachOption:
    """An option.

    Attributes:
        name: its name, without dashes.
        text: its help, a noun phrase.
        metavar: the name of its value; empty for a flag.
        is_multiple: it may be given several times.
    """

    name: str
    text: str
    metavar: str = ""
    is_multiple: bool = False

    @property
    def key(self) -> str:
        """The name of its value in Python."""
        return self.name.replace("-", "_")


REACH_OPTIONS: Final = (
    ReachOption(
        "header",
        "Header of every request: 'Name: value'. The value env:NAME is taken from the environment, "
        "and @FILE from a file.",
        "TEXT",
        is_multiple=True,
    ),
    ReachOption("origin", "Origin of every request, as a browser sends it.", "URL"),
    ReachOption(
        "cookie",
        "Cookie of every request: name=value, env:NAME or @FILE.",
        "TEXT",
        is_multiple=True,
    ),
    ReachOption("ca", "Certificates to trust, instead of those of the system (PEM).", "FILE"),
    ReachOption("insecure", "Any certificate of the server is trusted."),
    ReachOption("cert", "Certificate of the client (PEM), with its key or without.", "FILE"),
    ReachOption("key", "Key of the client's certificate (PEM).", "FILE"),
    ReachOption(
        "proxy",
        "Proxy: http, https, socks5h, socks5, socks4a or socks4. By default the one that the "
        "environment names; '' for none. None is used for a loopback address.",
        "URL",
    ),
    ReachOption(
        "resolve",
        "Address to connect to instead of this host and port.",
        "HOST:PORT:ADDRESS",
        is_multiple=True,
    ),
    ReachOption("unix-socket", "Unix socket to connect to instead of the address.", "FILE"),
)
"""All options, in the order of the help."""
