r"""The language of cases: what two peers send and do, step by step.

The suite plays one peer; the other is the system under test. The suite sends the messages of its
own side, and expects those of the other, which it compares as ``matching`` says. Each line is the
number of a connection, a verb, and its argument:

    1 dial /mixed Name: value | ...  a client opens it; path and headers are optional
    1 handshake                      it is opened, and the handshake completed; likewise
    1 app                            that, and the namespace app is connected
    1 > text      1 >b \x00text      the client sends this, in a text or a binary message
    1 < text      1 <b \x00text      the server sends this
    1 >t \xfftext                    as text, be it UTF-8 or not; 1 <t likewise
    1 >/ te<|>xt                     in fragments, cut at each <|>; 1 >/b, 1 </ and 1 </b likewise
    1 <= text                        the server sends exactly these bytes; so 1 <=b, 1 >= and 1 >=b
    1 <* text                        so do the following lines with <*, in any order; 1 <*b,
                                     1 >* and 1 >*b likewise
    1 <? text                        the server may send this, and then the messages of the
                                     following lines with <?, but nothing else before it replies to
                                     a barrier; 1 <?b, 1 >? and 1 >?b likewise
    1 closed?                        after an expected message, or the last of those with <?: or it
                                     closes the connection
    1 <+ text                        the suite sends this in one piece with its next message; 1 <+b,
                                     1 >+ and 1 >+b likewise
    1 <~ text                        the server sends this in the end, however long it takes; 1 <~b,
                                     1 >~ and 1 >~b likewise
    1 raw 81<<*9 00>>                the suite sends these bytes, in hex, as they are
    1 ping text                      the suite sends a ping of these bytes, and the other answers
                                     with a pong of the same
    1 expect-nothing                 the other sends nothing before it replies to a barrier
    1 fewer 100 text                 it sends this fewer than a hundred times before that, whatever
                                     else it sends, or closes the connection
    1 x100 > $<<#>>;app;;e;0;0;      a step a hundred times, with the number of the repetition
    1 close 1000                     the suite closes the connection with this code
    1 cut                            the suite ends TCP
    1 stall      1 resume            the suite stops reading, and reads again
    1 closed 1000                    the other closes it: with this code, "none" without a close
                                     frame, "some" with one, "any" in any way
    1 closed 1008!                   likewise, and another code fails the case
    1 has Name: value                the other's HTTP headers have this, in its letter case but for
                                     the values of Connection and Upgrade; 1 lacks Name

for a server under test:

    1 enter /path Name: value        as handshake, but tried until the server accepts it
    1 http HEAD /path Name: value    a request that asks for no upgrade
    1 upgrade GET / Name: v | -Host  a request for an upgrade, with and without these headers
    1 status 4xx                     the status of the response

for a client under test, which its driver controls:

    1 dial reconnect                 it opens a connection, and again when that is lost
    1 dial again                     it reconnects by itself
    1 refuse 503                     it gets this status instead of an upgrade
    1 head 302                       from now on it gets this status when it asks with HEAD
    1 do ask app echo hi             the driver makes it do this: see OPERATIONS; bytes are hex:00ff
    1 did hi                         it has done so; the result may follow, "" if it is empty
    1 failed text                    it has failed, with an error that contains this text
    1 saw event app news hi          it has reported this observation: see OBSERVATIONS
    1 unseen event app news hi       it has not, so far

for servers under test that share a broker: connection n is to the n-th server, all that a server
has, and the broker as connection 0, where the suite hears what has the mark ``<<case>>``:

    0 < ns/app text                  a server publishes this on the channel of a namespace; id/ is
                                     that of a connection ID, ask/ that of the replies to a token,
                                     and raw/ any; 0 <b, 0 <=, 0 <*, 0 <? and 0 <?b likewise
    0 > ns/app text                  the suite publishes this; 0 >b likewise
    0 expect-nothing                 the servers publish nothing before they reply to a barrier

An argument of ``do``, ``saw`` or ``unseen`` that has a space is in quotes: ``saw native "to all"``.
Other verbs, such as ``did`` and ``failed``, take the rest of the line as it is, without quotes.

The interop conversation, of a client with a server, has the last five of a client and ``dial``.

``<<case>>`` is unique to a case. It goes into whatever other cases could receive, such as the
bodies of broadcasts (those without it count as broadcasts of others), and into chosen ids.
``<<origin>>``, in a header, is the server's own origin.

``---`` alone ends the setup of a case. This module reads scripts and plays none.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from neffos_codec import Native
from neffos_conformance.cases.matching import expand
from neffos_conformance.wire.payloads import payload_bytes, payload_text

OPERATIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "connect": ("namespace",),
    "disconnect": ("namespace",),
    "join": ("namespace", "room"),
    "leave": ("namespace", "room"),
    "leave-all": ("namespace",),
    "emit": ("namespace", "event", "text", "room"),
    "ask": ("namespace", "event", "text", "room"),
    "native": ("text",),
    "close": (),
}
"""The operations of a driver, with the names of their arguments; the last ones may be missing."""

OBSERVATIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "event": ("namespace", "event", "text", "room"),
    "error": ("namespace", "event", "text", "room"),
    "native": ("text",),
    "connected": ("namespace",),
    "disconnected": ("namespace",),
    "joined": ("namespace", "room"),
    "left": ("namespace", "room"),
    "reconnected": (),
    "closed": (),
}
"""The observations that a driver reports, likewise; an error is an event with one."""

ENDPOINTS: Final[Mapping[str, Native]] = {"/native": Native.ONLY, "/mixed": Native.FALLBACK}
"""The endpoints of the conformance application that accept native messages, by their paths."""

MAX_TIMES: Final = 100_000
"""Repetitions of a step: more than any limit of a peer that a case tests."""

MESSAGE_VERBS: Final = frozenset(
    side + form + kind
    for side in "<>"
    for form, kinds in (
        ("", ("", "b", "t")),
        ("/", ("", "b")),
        ("=", ("", "b")),
        ("*", ("", "b")),
        ("?", ("", "b")),
        ("+", ("", "b")),
        ("~", ("", "b")),
    )
    for kind in kinds
)
"""The verbs of messages: who sends it, how it is sent or compared, and its type."""

OPENING_VERBS: Final = frozenset({"dial", "handshake", "app"})
"""The verbs that open a connection; at the beginning of a case they are its setup."""

REQUEST_VERBS: Final = frozenset({"enter", "http", "upgrade"})
"""The other verbs with a path and headers; the last two have a method before them."""

MAY_CLOSE: Final = "closed?"
"""The verb that lets the peer close the connection instead of sending a message."""

AGAIN: Final = "again"
"""The argument of ``dial`` for a client that reconnects by itself."""

_COMMON: Final = (
    MESSAGE_VERBS
    | OPENING_VERBS
    | {"raw", "ping", "expect-nothing", "fewer", "close", "cut", "stall", "resume", "closed"}
    | {MAY_CLOSE, "has", "lacks"}
)
_DRIVER: Final = frozenset({"do", "did", "failed", "saw", "unseen"})
INTEROP: Final = "interop"
"""The role of scripts for a client with a server: the suite controls the client's driver alone."""

_SERVER: Final = _COMMON | {"enter", "http", "upgrade", "status"}

BROKER: Final = 0
"""The number of the broker that servers share, in place of a connection's."""

BROKER_VERBS: Final = frozenset({"<", "<b", "<=", "<*", "<?", "<?b", ">", ">b"})
"""What the suite does as a peer on the broker."""

CHANNELS: Final = ("ns/", "id/", "ask/", "raw/")
"""How a channel is named: by the namespace, the connection ID, the token, or as it is."""

VERBS: Final[Mapping[str, frozenset[str]]] = {
    "server": _SERVER,
    "exchange": _SERVER,
    "client": _COMMON | _DRIVER | {"refuse", "head"},
    INTEROP: _DRIVER | {"dial"},
}
"""The verbs by the role of the system under test."""

_HANDSHAKE: Final[Mapping[str, tuple[str, ...]]] = {
    "server": ("dial {argument}", "> M", "< A<<id{n}>>"),
    "client": ("dial {argument}", "> M", "< A{n}7", "did {n}7"),
}
_CONNECT: Final[Mapping[str, tuple[str, ...]]] = {
    "server": ("> $app;app;;_OnNamespaceConnect;0;0;", "< $app;;;;;;"),
    "client": (
        "do connect app",
        "> <<app{n}>>;app;;_OnNamespaceConnect;0;0;",
        "< <<app{n}>>;;;;;;",
        "did ",
    ),
}
"""The steps that ``handshake`` stands for, and those that ``app`` adds, by role."""

CUT: Final = "<|>"
"""Marks where a message is cut into fragments."""


class ScriptError(ValueError):
    """A line that is not a step; the text says which, and what is wrong."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a script.

    Attributes:
        number: its number in the script, from 1.
        connection: the number of its connection, from 1.
        verb: what happens.
        rest: the argument of the verb.
        times: how often.
        is_setup: whether it belongs to the setup of the case.
    """

    number: int
    connection: int
    verb: str
    rest: str
    times: int = 1
    is_setup: bool = False

    def __str__(self) -> str:
        times = f"x{self.times} " if self.times > 1 else ""
        return f"{self.connection} {times}{self.verb} {self.rest}".rstrip()

    @property
    def is_optional(self) -> bool:
        """Whether it may happen, and need not."""
        return "?" in self.verb

    @property
    def is_unordered(self) -> bool:
        """Whether it happens in any order with those beside it."""
        return self.verb[1:2] == "*"

    @property
    def is_from_client(self) -> bool:
        """Whether the client sends its message."""
        return self.verb.startswith(">")

    @property
    def is_bytes(self) -> bool:
        """Whether its message is written in bytes."""
        return self.verb.endswith(("b", "t"))

    def text(self, time: int = 1) -> str:
        """Give its argument, with repetitions and escapes replaced.

        Args:
            time: the number of the repetition.
        """
        return expand(self._numbered(time))

    def _numbered(self, time: int) -> str:
        return self.rest.replace("<<#>>", str(time))

    def raw_bytes(self, time: int = 1) -> bytes:
        """Give the bytes that are sent as they are."""
        return _bytes_of(self._numbered(time))

    def payloads(self, time: int = 1) -> str | bytes | list[bytes]:
        """Give its message, with placeholders as they are; as a list if it has fragments.

        Args:
            time: the number of the repetition.
        """
        text = self.text(time)
        if self.is_bytes:
            data = codecs.decode(text, "unicode_escape").encode("latin-1")
            if self.verb.endswith("t"):
                return payload_text(data)
        elif "/" in self.verb:
            data = text.encode()
        else:
            return text
        return data.split(CUT.encode()) if "/" in self.verb else data

    @property
    def whole(self) -> str | bytes:
        """Its message, with placeholders as they are; the fragments of one together."""
        payload = self.payloads()
        return b"".join(payload) if isinstance(payload, list) else payload

    @property
    def size(self) -> int:
        """The bytes of its message, with placeholders as they are."""
        return len(payload_bytes(self.whole))


@lru_cache(maxsize=1)  # a step sends the same bytes up to 500 times, and up to 2 MiB
def _bytes_of(text: str) -> bytes:
    return bytes.fromhex(expand(text))


def read_script(text: str, role: str) -> tuple[Step, ...]:
    """Read the script of a case.

    Args:
        text: a step on each line; empty lines are skipped.
        role: of the system under test, ``server`` or ``client``; or ``interop``.

    Raises:
        ScriptError: a line is not a step.
    """
    texts = [line.lstrip() for line in text.split("\n") if line.strip()]
    borders = [number for number, line in enumerate(texts) if line.strip() == "---"]
    if len(borders) > 1:
        raise ScriptError("a case has one line --- at most")
    lines = [line for number, line in enumerate(texts) if number not in borders]
    read = [_read_line(number, line, role) for number, line in enumerate(lines, 1)]
    # Without a border, the setup is what only opens connections at the beginning.
    others = (number for number, each in enumerate(read) if each[2] not in OPENING_VERBS)
    setup = borders[0] if borders else next(others, len(read))
    if role != INTEROP and setup >= len(read):
        raise ScriptError("a case has a line of its own, after its setup")
    return tuple(Step(*each, is_setup=number < setup) for number, each in enumerate(read))


def read_line(number: int, text: str, role: str, *, is_setup: bool = False) -> Step:
    """Read one line of a script, which gets this number.

    Raises:
        ScriptError: it is not a step.
    """
    return Step(*_read_line(number, text, role), is_setup=is_setup)


def _read_line(number: int, text: str, role: str) -> tuple[int, int, str, str, int]:
    """Give the attributes of a step, but for ``is_setup``."""
    connection, _, rest = text.partition(" ")
    verb, _, rest = rest.partition(" ")
    times = 1
    if verb.startswith("x") and verb[1:].isdigit():
        times = int(verb[1:])
        verb, _, rest = rest.partition(" ")
    if role == "exchange" and connection == str(BROKER):
        is_silence = verb == "expect-nothing"
        if not is_silence and not (verb in BROKER_VERBS and rest.startswith(CHANNELS)):
            raise ScriptError(f"line {number}: {text[:80]!r} is no step of a broker")
    elif not connection.isdigit() or not int(connection):
        raise ScriptError(f"line {number}: {text[:80]!r} does not begin with a connection's number")
    elif verb not in VERBS[role]:
        raise ScriptError(f"line {number}: {text[:80]!r}: there is no {verb!r} for a {role}")
    if verb == "fewer" and not rest.partition(" ")[0].isdigit():
        raise ScriptError(f"line {number}: {text[:80]!r}: fewer than how many?")
    if not 0 < times <= MAX_TIMES:
        raise ScriptError(f"line {number}: {text[:80]!r}: from 1 to {MAX_TIMES} times")
    return number, int(connection), verb, rest, times


def expanded(step: Step, role: str) -> tuple[Step, ...]:
    """Give the steps that ``handshake`` or ``app`` stands for, or the step itself."""
    if step.verb not in ("handshake", "app"):
        return (step,)
    role = "server" if role == "exchange" else role
    lines = _HANDSHAKE[role] + (_CONNECT[role] if step.verb == "app" else ())
    found = []
    for line in lines:
        verb, _, rest = line.replace("{n}", str(step.connection)).partition(" ")
        if step.rest != AGAIN or verb not in ("do", "did"):  # no operation makes it reconnect
            rest = rest.replace("{argument}", step.rest)
            found.append(Step(step.number, step.connection, verb, rest))
    return tuple(found)


def named(step: Step) -> tuple[str, dict[str, str]]:
    """Give the path and the headers that a step names, if it can name any."""
    if step.verb in OPENING_VERBS or step.verb == "enter":
        return target(step.rest)
    return target(step.rest.partition(" ")[2]) if step.verb in REQUEST_VERBS else ("", {})


def native_of(role: str, paths: Iterable[str]) -> Native:
    """Give the mode of native messages, by the role of the system under test.

    Args:
        role: ``server`` or ``client``; a client under test accepts them on every connection.
        paths: of the connections, with their queries or without.
    """
    if role == "client":
        return Native.FALLBACK
    found = (ENDPOINTS.get(path.partition("?")[0]) for path in paths)
    return next(filter(None, found), Native.NEVER)


def target(rest: str) -> tuple[str, dict[str, str]]:
    """Split a path and headers, ``/path Name: value | Name: value``; both may be missing."""
    path, _, more = rest.partition(" ") if rest.startswith("/") else ("", "", rest)
    headers = {}
    for part in more.split(" | "):
        name, _, value = part.strip().partition(":")
        if name:
            headers[name] = value.strip()
    return path, headers
