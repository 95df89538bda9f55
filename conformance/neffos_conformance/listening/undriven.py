"""Which cases need no driver, and how their scripts are played without one.

A client that nobody drives dials, completes the handshake and connects its namespaces by itself. It
replies by itself to what the suite asks. So a case needs no driver if the suite alone moves it:
``undriven`` derives that from the script. What the case needs of the client's application is
derived, too.

The derived scripts have verbs of their own:

    1 arrive          a client opens the connection
    1 settle          the client answers a ping, so that what it sent before has been received
    1 own app         the client connects the namespace by itself; other namespaces, too
    1 own! app        likewise, and it must; above, the suite connects it after a while
    1 free app        the suite disconnects that namespace, and from now on leaves it so
    1 alive           the client replies to a barrier, so that it is past the handshake
    1 return          the client opens the connection again, by itself
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from neffos_codec import Message, encode
from neffos_conformance.cases.definition import Case
from neffos_conformance.cases.profile import Profile, ProfileError, named
from neffos_conformance.cases.script import AGAIN, MESSAGE_VERBS, Step
from neffos_conformance.wire.payloads import frame_of
from neffos_protocol.events import Change
from neffos_protocol.names import CHANGE_OF, REQUEST_EVENT

APP: Final = "app"
"""The namespace of the scripts; the client has another name for it."""

EVENTS: Final = ("echo", "fail", "question")
"""The events of the client's side of the conformance application that are answered."""

SPACES: Final = ("any", "semi;colon")
"""The further namespaces that it declares. A script that connects one of them needs it."""

RETURNS: Final = "returns"
"""The need of a client that reconnects by itself."""

HEADERS: Final = "headers"
"""The need of headers that the user has named."""

MEMBERSHIP: Final = "membership"
"""The need of a client that lets the suite disconnect and connect its namespace."""

ROOMS: Final = "rooms"
"""The need of a client that lets the suite join it to a room of its namespace."""

LACKING: Final[Mapping[str, str]] = {
    APP: "the client connects no namespace by itself",
    MEMBERSHIP: "the client does not let the suite disconnect and connect its namespace",
    ROOMS: "the client does not let the suite join it to a room",
    RETURNS: "the client is not known to reconnect by itself; say so with --reconnects",
    HEADERS: "no header is known that the client sends; name them with --expect-header",
    **{each: f"the client gives no reply to the event {each!r}" for each in EVENTS},
    **{each: f"the client does not declare the namespace {each!r}" for each in SPACES},
}
"""Why a case that needs something is skipped."""

NEEDS_DRIVER: Final = "it needs a driver"
"""Why a case is skipped that ``undriven`` gives nothing for."""

RETURN_SECONDS: Final = 60.0
"""Seconds for a client to reconnect by itself: twice the longest delay that is usual."""

TIDY: Final = "tidy"
"""The beginning of the tokens of the asks that undo what a case has done. Nobody awaits a reply."""

RECONNECT_HEADER: Final = "x-websocket-reconnect"
"""The header of a client that reconnects (TR-9)."""

_OPENING: Final = ("arrive", "> M", "settle", "< A{n}7")


@dataclass(frozen=True, slots=True)
class UndrivenCase:
    """A case as it is played without a driver.

    Attributes:
        case: the case, as in the catalogue.
        opening: the steps that open its connection.
        steps: the others.
        needs: what it needs of the client, each a key of ``LACKING``.
    """

    case: Case
    opening: tuple[Step, ...]
    steps: tuple[Step, ...]
    needs: frozenset[str]

    @property
    def is_observed(self) -> bool:
        """Whether the suite is a correct server in it, so that the monitor can observe it."""
        return {"hostile", "race"}.isdisjoint(self.case.tags)

    def renamed(self, profile: Profile, headers: Mapping[str, str]) -> UndrivenCase:
        """Put the client's own names into the script.

        Args:
            profile: the names, that of ``app`` among them.
            headers: the headers that it sends, for a case about headers.
        """
        steps = self.steps
        if HEADERS in self.needs:
            lines = (f"{name}: {value}".removesuffix(": ") for name, value in headers.items())
            steps = tuple(replace(steps[0], rest=line) for line in lines)
        return replace(
            self,
            opening=tuple(_renamed(self.opening, profile)),
            steps=tuple(_renamed(steps, profile)),
        )


def undriven_cases(cases: Iterable[Case]) -> list[UndrivenCase]:
    """Give those cases for clients that need no driver, in their order."""
    return [found for case in cases if (found := undriven(case)) is not None]


def undriven(case: Case) -> UndrivenCase | None:
    """Derive how a case is played without a driver; ``None`` if it needs one."""
    if _needs_a_driver(case):
        return None
    steps = [*_translated(case.steps), *_tidying(case.steps)]
    needs = set(_needs(case.steps))
    first = case.steps[0]
    if first.verb == "app":
        needs.add(APP)
        opened = [*_opened(first), replace(first, verb="own", rest=APP)]
    elif first.verb == "handshake":
        opened = _opened(first)
        if any(_namespace(step) == APP for step in steps):
            needs |= {APP, MEMBERSHIP}
            opened += [replace(first, verb="own", rest=APP), replace(first, verb="free", rest=APP)]
    else:
        opened = [replace(first, verb="arrive", rest="")]
    return UndrivenCase(case, tuple(opened), tuple(steps), frozenset(needs))


def _needs_a_driver(case: Case) -> bool:
    """Whether only a driver can move the client, or see what the case is about."""
    accepted = False
    connections: set[int] = set()
    for step in case.steps:
        if step.verb in ("do", "saw", "unseen", "failed", "refuse"):
            return True
        if step.verb in ("dial", "handshake", "app"):
            if step.connection in connections or (connections and step.rest != AGAIN):
                return True  # one client has one connection
            connections.add(step.connection)
            accepted = step.verb != "dial"
        elif step.verb == "did" and step.rest not in ("", f"{step.connection}7", "7"):
            return True  # only a driver tells the ID
        elif step.verb in MESSAGE_VERBS and not step.is_from_client and not accepted:
            whole = step.whole
            if whole[:1] in ("A", b"A"):
                accepted = True
            elif whole[:1] not in ("H", b"H") and frame_of(whole) is None:
                return True  # only the ID says whether that counted as the acceptance
        elif step.verb in MESSAGE_VERBS and step.is_from_client and _asks(step):
            return True  # only the conformance application sends that
    return False


def _asks(step: Step) -> bool:
    """Whether the client is to ask something of its own accord."""
    message = frame_of(step.text())
    return message is not None and message.wait.startswith("<<")


def _opened(step: Step) -> list[Step]:
    return [
        _step(step, line.replace("{n}", str(step.connection)).partition(" ")) for line in _OPENING
    ]


def _step(step: Step, parts: tuple[str, str, str]) -> Step:
    return replace(step, verb=parts[0], rest=parts[2], is_setup=True)


def _translated(steps: tuple[Step, ...]) -> Iterator[Step]:
    """Give the steps after the first one that opens the connection, without a driver's."""
    for number, step in enumerate(steps):
        if step.verb == "did":
            yield replace(step, verb="alive", rest="")
        elif step.verb == "dial" and step.rest == AGAIN:
            yield replace(step, verb="return", rest="")
        elif step.verb in ("handshake", "app") and step.rest == AGAIN:
            yield replace(step, verb="return", rest="")
            yield from _opened(step)[1:]
            if step.verb == "app":
                yield replace(step, verb="own!", rest=APP)
        elif number and not (step.verb == "lacks" and step.rest.lower() == RECONNECT_HEADER):
            yield step  # its first connection may be in place of that of another case


def _tidying(steps: tuple[Step, ...]) -> Iterator[Step]:
    """Give the steps that undo what the script does to memberships.

    A client that reconnects restores what it had, and nothing else.
    """
    rooms: list[str] = []
    spaces: list[str] = []
    is_away = False
    for step in steps:
        message = _frame(step)
        if message is None or step.is_from_client or not message.wait:
            continue
        change, namespace = CHANGE_OF.get(message.event), message.namespace
        if namespace in SPACES and change is Change.CONNECT:
            spaces.append(namespace)
        elif namespace == APP and change in (Change.CONNECT, Change.DISCONNECT):
            is_away = change is Change.DISCONNECT
        elif namespace == APP and change is Change.JOIN and message.room:
            rooms.append(message.room)
    last = steps[-1]
    is_away |= steps[0].verb == "handshake" and any(_namespace(step) == APP for step in steps)
    asks = [Message("", APP, room, REQUEST_EVENT[Change.LEAVE]) for room in rooms]
    asks += [Message("", space, "", REQUEST_EVENT[Change.DISCONNECT]) for space in spaces]
    if is_away:
        asks.append(Message("", APP, "", REQUEST_EVENT[Change.CONNECT]))
    for number, ask in enumerate(asks):
        rest = str(encode(ask.replace(wait=f"{TIDY}-{number}")))
        yield replace(last, verb="<", rest=rest, times=1)


def _needs(steps: tuple[Step, ...]) -> Iterator[str]:
    """Give what the steps need of the client's application."""
    is_connected = steps[0].verb == "app"
    for step in steps:
        if step.rest == AGAIN:
            yield RETURNS
        if step.verb == "dial" and ":" in step.rest:
            yield HEADERS
        message = _frame(step)
        if message is None or step.is_from_client:
            continue
        change = CHANGE_OF.get(message.event)
        if message.namespace in SPACES and change is Change.CONNECT:
            yield message.namespace
        if message.namespace != APP:
            continue
        yield APP
        if change in (Change.CONNECT, Change.DISCONNECT):
            yield MEMBERSHIP
            if message.wait and not message.is_error and not message.is_no_op:
                is_connected = change is Change.CONNECT
        elif change is Change.JOIN and message.room and is_connected:
            yield ROOMS
        elif message.event in EVENTS and is_connected:
            yield message.event


def _frame(step: Step) -> Message | None:
    return frame_of(step.whole) if step.verb in MESSAGE_VERBS else None


def _namespace(step: Step) -> str | None:
    message = _frame(step)
    return None if message is None else message.namespace


def _renamed(steps: tuple[Step, ...], profile: Profile) -> Iterator[Step]:
    """Put the client's names into steps."""
    for step in profile.steps(steps):
        names_one = step.verb in ("own", "own!", "free")
        yield replace(step, rest=profile.namespace(step.rest)) if names_one else step


def can_be_written(namespace: str) -> bool:
    """Whether a script can contain a client's name for a namespace."""
    try:
        return bool(named(namespace))
    except ProfileError:
        return False
