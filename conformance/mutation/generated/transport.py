"""Generated faults of a server's HTTP and WebSocket: a proxy before a correct server makes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import combinations
from random import Random
from typing import Any, Final
from urllib.parse import quote, unquote

from websockets.frames import Opcode

from mutation import operators as do
from mutation.fault_proxy import CUT, Frame, Proxy, Request, Tunnel, answer, with_line
from mutation.generated.parts import WEIGHTS, Condition, Operator, name_of, parts_of
from mutation.generated.transforms import TRANSFORMS
from neffos_conformance.cases.features import ID_HEADER

PLACES: Final = ("request", "response", "in", "out")
"""Where a fault acts, by the last word of the name of an operator."""

OPCODES: Final = {
    "continuation": Opcode.CONT,
    "text": Opcode.TEXT,
    "binary": Opcode.BINARY,
    "close": Opcode.CLOSE,
    "ping": Opcode.PING,
    "pong": Opcode.PONG,
}

SIZES: Final = (0, 1, 125, 126, 127, 65_535, 65_536)
"""Bytes of a frame at which its head changes, and next to these."""

CODES: Final = (1000, 1001, 1003, 1008, 1011, 3000, 4000, 4999)
"""Close codes that a client may send (RFC 6455, 7.4)."""

RESERVED: Final = (999, 1004, 1005, 1006, 1015)
"""Close codes that no peer may send (RFC 6455, 7.4). A server may choose among the others, and may
send none; and what it reads of a client's code it does not show."""

Test = Callable[[Any, Any], bool]
Act = Callable[[Any, Any], Any]


def _conditions(place: str) -> Iterator[Condition]:
    if place in ("request", "response"):

        def of(test: Callable[[Request], object]) -> Test:
            return lambda link, _: bool(test(link.request))

        yield Condition("with-origin", "origin", of(lambda r: r.value("Origin")))
        yield Condition("without-origin", "origin", of(lambda r: not r.value("Origin")))
        yield Condition("with-query", "query", of(lambda r: "?" in r.target))
        yield Condition("with-own-header", "header", of(_own_header))
        yield Condition("with-cookie", "cookie", of(lambda r: r.value("Cookie")))
        for path in ("mixed", "native"):
            yield Condition(path, "path", of(partial(_is_path, path)))
        yield Condition("even", "connection", _is_even)
        return
    for name, opcode in OPCODES.items():
        yield Condition(name, "opcode", partial(_is_opcode, opcode))
    for size in SIZES:
        yield Condition(f"size-{size}", "size", partial(_is_size, size))
    yield Condition("over-125", "size", lambda _, frame: len(frame.data) > 125)
    if place == "in":
        for code in CODES:
            yield Condition(f"code-{code}", "code", partial(_is_code, code))
        yield Condition("first-part", "part", lambda _, frame: not frame.fin)
        yield Condition("amid", "part", lambda link, _: link.is_amid)
        yield Condition("third-part", "part", lambda link, frame: link.parts[0] > 2)
    yield Condition("even", "connection", _is_even)
    yield Condition("after-10", "before", lambda link, _: link.counts["frames"] > 10)


def _is_even(link: Any, _: Any) -> bool:
    return bool(link.values["number"] % 2 == 0)


def _own_header(request: Request) -> str:
    return next((k for k, _ in request.headers if k.lower().startswith("x-conformance")), "")


def _is_path(path: str, request: Request) -> bool:
    return request.target.partition("?")[0] == f"/{path}"


def _is_opcode(opcode: Opcode, _: Any, frame: Frame) -> bool:
    return frame.opcode == opcode


def _is_size(size: int, _: Any, frame: Frame) -> bool:
    return len(frame.data) == size


def _is_code(code: int, _: Any, frame: Frame) -> bool:
    return frame.opcode == Opcode.CLOSE and frame.code == code


@cache
def conditions(place: str) -> dict[str, Condition]:
    """Give the conditions of a place, by their names."""
    return {each.name: each for each in _conditions(place)}


def _operators(place: str) -> Iterator[Operator]:
    act: Act
    if place == "request":
        for status in ("400 Bad Request", "403 Forbidden", "404 Not Found", "503 Unavailable"):
            yield Operator(f"answer-{status[:3]}", "status", do.give(answer(status)))
        yield Operator("cut", "status", do.give(CUT))
        for name in ("Origin", ID_HEADER, "Sec-WebSocket-Version"):
            act = partial(_without_header, name)
            yield Operator(f"without-{name.lower()}", "header", act)
        yield Operator("without-query", "query", _without_query)
        yield Operator("query-decoded", "query", partial(_with_query, unquote))
        yield Operator("query-latin", "query", partial(_with_query, _as_latin))
        yield Operator("at-the-root", "path", _at_the_root)
        for how, (needs, _) in TRANSFORMS.items():
            if needs in ("", "upper", "edge-space", "percent", "semicolon", "dot"):
                act = partial(_own_value, how)
                yield Operator(f"value-{how}", "value of a header", act, "value", needs)
        return
    if place == "response":
        for name in ("Upgrade", "Connection", "Sec-WebSocket-Accept"):
            act = partial(_without_line, name)
            yield Operator(f"without-{name.lower()}", "response", act)
        lines = {
            "protocol": "Sec-WebSocket-Protocol: chat",
            "extension": "Sec-WebSocket-Extensions: permessage-deflate",
        }
        for name, line in lines.items():
            act = partial(lambda line, _, head: with_line(head, line), line)
            yield Operator(f"with-{name}", "response", act)
        yield Operator("ok", "response", _ok)
        yield Operator("other-accept", "response", _other_accept)
        return
    yield Operator("drop", "drop a frame", do.drop)
    yield Operator("repeat", "repeat a frame", lambda _, frame: [frame, frame])
    yield Operator("cut", "end TCP", do.give(CUT))
    yield Operator("delay", "delay a frame", _delay)
    for name, piece in (("cut", slice(None, -1)), ("beheaded", slice(1, None))):
        yield Operator(f"data-{name}", "data of a frame", partial(_data, piece))
    yield Operator("retype", "opcode", _retype)
    yield Operator("unfinished", "fragments", partial(_with, "fin", False))
    yield Operator("finished", "fragments", partial(_with, "fin", True))
    if place == "out":
        for code in RESERVED:
            yield Operator(f"code-to-{code}", "close code", partial(_code, code))
        yield Operator("masked", "frame", partial(_with, "is_masked", True))
        yield Operator("reserved-bit", "frame", partial(_with, "rsv1", True))


def _without_header(name: str, _: Any, request: Request) -> Request | None:
    return request.with_header(name, None) if request.value(name) else None


def _without_query(_: Any, request: Request) -> Request | None:
    path, mark, _ = request.target.partition("?")
    return replace(request, target=path) if mark else None


def _with_query(change: Callable[[str], str], _: Any, request: Request) -> Request | None:
    path, mark, query = request.target.partition("?")
    other = quote(change(unquote(query)), safe="=&")
    return replace(request, target=f"{path}?{other}") if mark and other != query else None


def _as_latin(text: str) -> str:
    return text.encode().decode("latin-1")


def _at_the_root(_: Any, request: Request) -> Request | None:
    _, mark, query = request.target.partition("?")
    other = f"/{mark}{query}"
    return replace(request, target=other) if other != request.target else None


def _own_value(how: str, _: Any, request: Request) -> Request | None:
    name = _own_header(request)
    if not name:
        return None
    value = request.value(name)
    try:
        text = value.encode("latin-1").decode("utf-8", "replace")
        other = TRANSFORMS[how][1](text).encode().decode("latin-1").replace("\n", " ")
    except UnicodeError:
        return None
    return request.with_header(name, other.strip()) if other.strip() != value else None


def _without_line(name: str, _: Any, head: bytes) -> bytes | None:
    lines = head.split(b"\r\n")
    kept = [each for each in lines if not each.lower().startswith(f"{name.lower()}:".encode())]
    return b"\r\n".join(kept) if len(kept) < len(lines) else None


def _ok(_: Any, head: bytes) -> bytes | None:
    return head.replace(b" 101 ", b" 200 ") if b" 101 " in head else None


def _other_accept(_: Any, head: bytes) -> bytes | None:
    start = head.lower().find(b"sec-websocket-accept: ")
    return head[: start + 22] + b"AAAA" + head[start + 26 :] if start >= 0 else None


def _delay(link: Tunnel, frame: Frame) -> Any:
    link.kept.append(frame)
    return ()


def _data(how: slice, _: Any, frame: Frame) -> Frame | None:
    return replace(frame, data=bytes(frame.data)[how]) if frame.data else None


def _retype(_: Any, frame: Frame) -> Frame | None:
    if frame.opcode not in (Opcode.TEXT, Opcode.BINARY):
        return None
    is_text = frame.opcode == Opcode.TEXT
    return replace(frame, opcode=Opcode.BINARY if is_text else Opcode.TEXT)


def _with(name: str, value: object, _: Any, frame: Frame) -> Frame | None:
    return None if getattr(frame, name) == value else replace(frame, **{name: value})  # type: ignore[arg-type]


def _code(code: int, _: Any, frame: Frame) -> Frame | None:
    if frame.opcode != Opcode.CLOSE or frame.code == code:
        return None
    return replace(frame, data=code.to_bytes(2) + bytes(frame.data)[2:])


@cache
def operators(place: str) -> dict[str, Operator]:
    """Give the operators of a place, by their names."""
    return {each.name: each for each in _operators(place)}


# -------------------------------------------------------------------- mutants


@dataclass(slots=True)
class TransportMutant:
    """A server whose HTTP or WebSocket has one generated fault.

    Attributes:
        kind: the place where it acts.
        operator: what it does.
        conditions: when.
        count: how often it has changed something.
    """

    kind: str
    operator: Operator
    conditions: tuple[Condition, ...] = ()
    count: int = 0
    _numbers: Counter[str] = field(default_factory=Counter)

    @property
    def name(self) -> str:
        """What identifies it."""
        return name_of("transport", self.operator, self.kind, self.conditions)

    def proxy(self) -> Proxy:
        """Give the server."""
        self._numbers.clear()
        hook: Any = self._frame if self.kind in ("in", "out") else self._head
        places = {"in": "inward", "out": "outward"}
        hooks: dict[str, Any] = {places.get(self.kind, self.kind): hook}
        if self.kind != "request":
            hooks["request"] = self._number
        return Proxy(**hooks)

    def _number(self, link: Any, _: Request) -> None:
        self._numbers["connections"] += 1
        link.values["number"] = self._numbers["connections"]

    def _head(self, link: Any, head: Any) -> Any:
        if self.kind == "request":
            self._number(link, head)
        return self._effect(link, head)

    def _frame(self, link: Any, frame: Frame) -> Any:
        link.counts["frames"] += 1
        held = link.release()
        effect = self._effect(link, frame)
        if not held or effect is CUT:
            return effect
        given = [frame] if effect is None else [effect] if isinstance(effect, Frame) else effect
        return [*given, *held]

    def _effect(self, link: Any, value: Any) -> Any:
        if not all(each.test(link, value) for each in self.conditions):
            return None
        effect = self.operator.act(link, value)
        self.count += effect is not None
        return effect


ID_FAMILIES: Final = ("query", "value of a header")
"""The families whose faults the connection ID shows, which a client has chosen."""


def transport_mutant_of(name: str) -> TransportMutant:
    """Make the mutant that has a name.

    Raises:
        ValueError: none has it.
    """
    operator, place, found = parts_of(name, operators, conditions)
    return TransportMutant(place, operator, found)


def _agree(operator: Operator, place: str, names: set[str]) -> bool:
    """Whether the oracle's sessions can have such a frame, and the operator changes it."""
    opcode = next(iter(names & OPCODES.keys()), "")
    sizes = {each for each in names if each.startswith(("size-", "over-"))}
    has_code = any(each.startswith("code-") for each in names) or operator.family == "close code"
    is_close = has_code or opcode == "close"
    is_part = bool(names & {"first-part", "third-part"}) or opcode == "continuation"
    if has_code and (opcode not in ("", "close") or sizes or is_part or "amid" in names):
        return False
    if operator.name == "repeat" and (opcode in ("ping", "pong") or "size-0" in names):
        return False  # a peer may send more pongs than it was asked for (RFC 6455, 5.5.3)
    if operator.family in ("repeat a frame", "data of a frame") and is_close:
        return False  # its sender chooses what it says, and nobody reads a second
    if place == "in" and operator.name == "unfinished" and is_close:
        return False  # that it fails such a frame, a server shows by its close code at most
    if "with-own-header" in names and operator.family == "query":
        return False  # the header comes before the URL
    if "native" in names and (operator.family in ID_FAMILIES or ID_HEADER.lower() in operator.name):
        return False  # no message there has the connection ID
    if opcode == "close" and sizes:
        return False
    if opcode in ("ping", "pong") and names & {"over-125", "size-126", "size-127"}:
        return False
    if opcode in ("close", "ping", "pong") and any("655" in each for each in sizes):
        return False
    if is_part and sizes - {"over-125"}:
        return False  # they have other lengths
    if opcode in ("text", "binary") and sizes & {"size-0", "size-1"}:
        return False  # only native messages are so short
    if operator.family == "data of a frame" and "size-0" in sizes:
        return False
    if operator.name == "retype" and opcode not in ("", "text", "binary"):
        return False
    if operator.name == "finished" and opcode in ("close", "ping", "pong"):
        return False
    if opcode == ("ping" if place == "out" else "pong"):
        return False  # nobody sends one
    # A server does not cut its messages.
    return place != "out" or not (is_part or operator.name == "finished")


def all_transports() -> Iterator[TransportMutant]:
    """Give every mutant with two conditions at most."""
    for place in PLACES:
        those = list(conditions(place).values())
        for operator in operators(place).values():
            for count in range(3):
                for chosen in combinations(those, count):
                    dimensions = {each.dimension for each in chosen}
                    names = {each.name for each in chosen}
                    if len(dimensions) == count and _agree(operator, place, names):
                        yield TransportMutant(place, operator, chosen)


def drawn_transports(seed: int) -> Iterator[TransportMutant]:
    """Draw mutants, none twice: all in a random order, those with fewer conditions first."""
    random = Random(f"transport/{seed}")  # noqa: S311  # no secret
    every = list(all_transports())
    random.shuffle(every)
    # As many with one condition as with two, where a draw from all had few with one.
    by_count: dict[int, list[TransportMutant]] = {}
    for each in every:
        by_count.setdefault(len(each.conditions), []).append(each)
    while any(by_count.values()):
        counts = [number for number, left in by_count.items() if left]
        weights = [WEIGHTS[number] for number in counts]
        yield by_count[random.choices(counts, weights)[0]].pop()
