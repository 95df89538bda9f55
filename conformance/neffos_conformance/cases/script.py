r"""The language that cases are written in: what two peers say and do, line by line.

One side is the suite, the other the system under test. What the suite's side says is sent; what
the other says is expected, and is compared as ``match`` says. Each line is the number of a
connection, a verb, and what goes with it:

    1 dial /mixed Name: value | ...  a client opens it; path and headers may be left out
    1 handshake                      it is opened, and the handshake completed; likewise
    1 app                            that, and the namespace app is connected
    1 > text      1 >b \x00text      the client says this, in a text or a binary message
    1 < text      1 <b \x00text      the server says this
    1 >t \xfftext                    as text, be it UTF-8 or not; 1 <t likewise
    1 >/ te<|>xt                     in fragments, cut at each <|>; 1 >/b, 1 </ and 1 </b likewise
    1 <= text                        the server says this to the byte; so 1 <=b, 1 >= and 1 >=b
    1 <* text                        so do further lines with <* below it, in any order; 1 <*b,
                                     1 >* and 1 >*b likewise
    1 <? text                        the server may say this, and then what the lines with <? below
                                     it say, but nothing else before it answers a barrier; 1 <?b,
                                     1 >? and 1 >?b likewise
    1 closed?                        below a line that it says, or the last of those with <?: or it
                                     ends the connection
    1 <+ text                        the suite says this in one piece with what it says next; 1 <+b,
                                     1 >+ and 1 >+b likewise
    1 <~ text                        the server says this in the end, however long it takes; 1 <~b,
                                     1 >~ and 1 >~b likewise
    1 raw 81<<*9 00>>                the suite sends these octets, in hex, as they are
    1 quiet                          the other says nothing before it answers a barrier
    1 fewer 100 text                 it says this fewer than a hundred times before that, whatever
                                     else it says, or ends the connection
    1 x100 > $<<#>>;app;;e;0;0;      a line a hundred times, with the number of the time
    1 close 1000                     the suite ends the connection with this code
    1 cut                            the suite ends TCP
    1 stall      1 resume            the suite stops reading, and begins again
    1 closed 1000                    the other ends it: with this code, "none" without a close
                                     frame, "some" with one, "any" however it likes
    1 closed 1008!                   likewise, and the code is what this is about
    1 has Name: value                the other's HTTP headers hold this; 1 lacks Name

to a server under test:

    1 enter /path Name: value        as handshake, but it is tried until the server lets it in
    1 http HEAD /path Name: value    a request that asks for no upgrade
    1 upgrade GET / Name: v | -Host  a request for an upgrade, with and without these headers
    1 status 4xx                     the answer to it

to a client under test, which its driver moves:

    1 dial reconnect                 it opens a connection, and again when that is lost
    1 dial again                     it comes back by itself
    1 refuse 503                     it is sent this status in place of an upgrade
    1 head 302                       where it asks with HEAD from now on, it gets this status
    1 do ask app echo hi             it is made to do this: see OPERATIONS; octets are hex:00ff
    1 did hi                         it was done; what it gave may follow
    1 failed text                    it was not, for a reason that holds this text
    1 saw event app news hi          it told its application of this: see OBSERVATIONS
    1 unseen event app news hi       it has not, so far

``<<case>>`` is what no other case has: it goes into whatever others could meet, such as the
bodies of broadcasts (those without it are taken for somebody else's), and into chosen ids.

``---`` alone ends what only leads up to the case. This file reads lines and plays none.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from neffos_codec import Native
from neffos_conformance.cases.matching import expand

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
"""What a driver can be told, with the names of what follows, of which the last may be missing."""

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
"""What a driver tells that its client saw, likewise; an error is an event with one."""

ENDPOINTS: Final[Mapping[str, Native]] = {"/native": Native.ONLY, "/mixed": Native.FALLBACK}
"""The endpoints of the conformance application that make native messages of what is no frame, as
lines name them."""

MAX_TIMES: Final = 100_000
"""How often a line can be repeated: more than any limit of a peer that a case tries out."""

SAYING: Final = frozenset(
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
"""The verbs with which somebody says something: who, how it is sent or compared, which kind."""

OPENING: Final = frozenset({"dial", "handshake", "app"})
"""The verbs that open a connection; at the head of a case they only lead up to it."""

ASKING: Final = frozenset({"enter", "http", "upgrade"})
"""The other verbs that come with a path and headers; the last two have a method before them."""

MAY_END: Final = "closed?"
"""The verb that lets the other side end the connection in place of what it is to say."""

BOTH: Final = (
    SAYING
    | OPENING
    | {"raw", "quiet", "fewer", "close", "cut", "stall", "resume", "closed", MAY_END}
    | {"has", "lacks"}
)
VERBS: Final[Mapping[str, frozenset[str]]] = {
    "server": BOTH | {"enter", "http", "upgrade", "status"},
    "client": BOTH | {"refuse", "head", "do", "did", "failed", "saw", "unseen"},
}
"""The verbs by the role of the system under test."""

CUT: Final = "<|>"
"""Where a message is cut into fragments."""


class ScriptError(ValueError):
    """A line that is none; the text says which, and what is wrong."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line.

    Attributes:
        number: its place in the script, from 1.
        connection: which connection it is about, from 1.
        verb: what happens.
        rest: what goes with it.
        times: how often.
        leads_up: whether it belongs to what leads up to the case.
    """

    number: int
    connection: int
    verb: str
    rest: str
    times: int = 1
    leads_up: bool = False

    def __str__(self) -> str:
        times = f"x{self.times} " if self.times > 1 else ""
        return f"{self.connection} {times}{self.verb} {self.rest}".rstrip()

    @property
    def is_optional(self) -> bool:
        """Whether it says what may happen, and need not."""
        return "?" in self.verb

    @property
    def is_from_client(self) -> bool:
        """Whether it is the client that says something."""
        return self.verb.startswith(">")

    def octets(self, time: int = 1) -> bytes:
        """Give what is sent as it is."""
        return bytes.fromhex(expand(self.rest.replace("<<#>>", str(time))))

    def payloads(self, time: int = 1) -> str | bytes | list[bytes]:
        """Give what is said, with places as they stand; a list of fragments where it is cut.

        Args:
            time: the number of the time, of a line that is repeated.
        """
        text = expand(self.rest.replace("<<#>>", str(time)))
        if self.verb.endswith("b"):
            octets = codecs.decode(text, "unicode_escape").encode("latin-1")
        elif self.verb.endswith("t"):
            octets = codecs.decode(text, "unicode_escape").encode("latin-1")
            return octets.decode("utf-8", "surrogateescape")
        elif "/" in self.verb:
            octets = text.encode()
        else:
            return text
        return octets.split(CUT.encode()) if "/" in self.verb else octets


def read_script(text: str, role: str) -> tuple[Step, ...]:
    """Read the lines of a case.

    Args:
        text: one line each; empty ones are passed over.
        role: of the system under test, ``server`` or ``client``.

    Raises:
        ScriptError: a line is none.
    """
    found: list[Step] = []
    texts = [line.lstrip() for line in text.split("\n") if line.strip()]
    borders = [number for number, line in enumerate(texts) if line.strip() == "---"]
    if len(borders) > 1:
        raise ScriptError("a case has one line --- at most")
    leading = borders[0] if borders else _opening(texts, role)
    for number, line in enumerate(texts):
        if number not in borders:
            found.append(_read_line(len(found) + 1, line, role, leads_up=number < leading))
    if not any(not line.leads_up for line in found):
        raise ScriptError("a case has a line of its own, beside those that lead up to it")
    return tuple(found)


def _opening(texts: list[str], role: str) -> int:
    """Give the number of lines at the head that only open connections."""
    for number, text in enumerate(texts):
        if _read_line(number + 1, text, role).verb not in OPENING:
            return number
    return len(texts)


def _read_line(number: int, text: str, role: str, *, leads_up: bool = False) -> Step:
    connection, _, rest = text.partition(" ")
    verb, _, rest = rest.partition(" ")
    times = 1
    if verb.startswith("x") and verb[1:].isdigit():
        times = int(verb[1:])
        verb, _, rest = rest.partition(" ")
    if not connection.isdigit() or not int(connection):
        raise ScriptError(f"line {number}: {text[:80]!r} does not begin with a connection's number")
    if verb not in VERBS[role]:
        raise ScriptError(f"line {number}: {text[:80]!r}: there is no {verb!r} for a {role}")
    if verb == "fewer" and not rest.partition(" ")[0].isdigit():
        raise ScriptError(f"line {number}: {text[:80]!r}: fewer than how many?")
    if not 0 < times <= MAX_TIMES:
        raise ScriptError(f"line {number}: {text[:80]!r}: from 1 to {MAX_TIMES} times")
    return Step(number, int(connection), verb, rest, times, leads_up)


def named(line: Step) -> tuple[str, dict[str, str]]:
    """Give the path and the headers that a line names, if it can name any."""
    if line.verb in OPENING or line.verb == "enter":
        return target(line.rest)
    return target(line.rest.partition(" ")[2]) if line.verb in ASKING else ("", {})


def native_of(role: str, paths: Iterable[str]) -> Native:
    """Give what becomes of what is no frame, where the system under test has a role.

    Args:
        role: ``server`` or ``client``; a client under test takes it on every connection.
        paths: those that are dialled, with their queries or without.
    """
    if role == "client":
        return Native.FALLBACK
    found = (ENDPOINTS.get(path.partition("?")[0]) for path in paths)
    return next(filter(None, found), Native.NEVER)


def target(rest: str) -> tuple[str, dict[str, str]]:
    """Take apart a path and headers, ``/path Name: value | Name: value``; both may be missing."""
    path, _, more = rest.partition(" ") if rest.startswith("/") else ("", "", rest)
    headers = {}
    for part in more.split(" | "):
        name, _, value = part.strip().partition(":")
        if name:
            headers[name] = value.strip()
    return path, headers
