"""Makes random programs: what clients do to a server, led by the state tables.

The model walks along and takes everything for come that it expects, so that a program is made of
what can be done where it stands. The same seed makes the same programs.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Final

from neffos_conformance.model_based.actions import Action, Do, Program
from neffos_conformance.model_based.bodies import BODIES, FLAGS
from neffos_conformance.model_based.making import SequenceGenerator
from neffos_conformance.model_based.servers.application import MADE_TO, MIXED, NATIVE
from neffos_conformance.model_based.servers.model import Model
from neffos_protocol.events import Change
from neffos_protocol.names import LOCAL_ONLY, NATIVE_EVENT, REQUEST_EVENT
from neffos_protocol.state_machines import MEMBERSHIP

MAX_CONNECTIONS: Final = 3
"""Connections of a program: one that does, one that is told, one that is to hear nothing."""

OPENINGS: Final = (
    "plain",
    "long",
    "binary",
    "doubled",
    "early",
    "noisy",
    "chosen",
    "connecting",
    "refused",
    "accepting",
    "refusing",
    "leaving",
)
"""Ways to open a connection: with ``M``; with more behind it; in a binary message; twice; with
frames, or noise, before it; with an id of the client's choice; asked to connect at once; refused
by the application; with the ``A``, or the ``H``, that only a server sends; and left at once."""

ANSWERS: Final = ("done", "body", "error", "renamed", "twice", "elsewhere")
"""Ways to answer: the empty reply; a body; an error; a body under other names; twice; on another
connection."""

NAMESPACES: Final = (
    "app",
    "app",
    "any",
    "refused",
    "sticky",
    "semi;colon",
    "nowhere",
    "App",
    " app",
    "",
)
PLAIN_ROOMS: Final = ("r1", "r1", "r2", "r;3", "R1", "r1 ", "\u00e9", "e\u0301")
"""Those that the application refuses nothing of; some differ in little (FR-18)."""
ROOMS: Final = (*PLAIN_ROOMS, "locked", "sticky")

MARKS: Final = ("!", "!x", " ", "\u00e9", "@%!semicolon@%!", "#", "-" + "0" * 60, ".$1")
"""What tokens hold beside their number."""

NOISE: Final[tuple[str | bytes, ...]] = (
    "",
    b"",
    "noise t{}",
    ";;;;;",
    ";app;;echo;0;0",
    b"\x00\xff t{}",
    "M",
    "M t{}",
    "Aa t{}",
    "Ha t{}",
    b"M",
)
"""Payloads that are no frames."""

FEATURES: Final = {
    "broadcast-others": "broadcast",
    "broadcast-all": "broadcast",
    "broadcast-to": "broadcast",
    "ask-me": "server-asks",
    "connect-me": "force",
    "disconnect-me": "force",
    "tries": "tries",
}
"""What an event needs; ``programs`` leaves out what a server has not."""


def program(seed: int, index: int, steps: int, features: frozenset[str] | None) -> Program:
    """Make a program.

    Args:
        seed: of all programs.
        index: which of them, from 0.
        steps: about how many actions it has, beside those that see what came of them.
        features: the parts of the application that the server has; ``None`` for all.
    """
    return _Maker(Random(f"{seed}/{index}"), features).make(steps)  # noqa: S311  # no secret


class _Maker(SequenceGenerator[Model]):
    def __init__(self, random: Random, features: frozenset[str] | None) -> None:
        super().__init__(random, Model())
        self.features = features
        # Few names come back again and again, so that what is done to them adds up.
        self.namespaces = ["app", *random.sample(NAMESPACES, 2)]
        self.rooms = random.sample(ROOMS, 2)
        self.haste = random.choice((0.1, 0.25, 0.6))

    def has(self, *features: str) -> bool:
        return self.features is None or self.features.issuperset(features)

    def make(self, steps: int) -> Program:
        kind = self.random.random()
        if kind < 0.08 and self.has("native-mixed"):
            self._native(steps, MIXED)
        elif kind < 0.11 and self.has("native-only"):
            self._native(steps, NATIVE)
        else:
            self._frames(steps)
        return tuple(self.actions)

    def _frames(self, steps: int) -> None:
        self._open(1)
        if self.random.random() < 0.75:
            self._add(self._action(1, Do.SEND, namespace="app", event=_CONNECT))
        while len(self.actions) < steps and self._step():
            pass
        self._answer_all()
        self._probe()

    def _native(self, steps: int, path: str) -> None:
        self._add(self._action(1, Do.OPEN, "plain", path=path))
        makers: list[Callable[[], Action]] = [self._noise]
        if path == MIXED:
            makers += [self._change_of_empty, self._event_of_empty]
        for _ in range(steps):
            self._add(self.random.choice(makers)())

    # ------------------------------------------------------------ steps

    def _step(self) -> bool:
        makers: dict[Callable[[], Action | None], int] = {
            self._another: 4,
            self._change: 30,
            self._event: 34,
            self._force: 10,
            self._answer: 16,
            self._noise: 5,
            self._end: 2,
        }
        return self._grow(makers)

    def _another(self) -> Action | None:
        used = len(self.model.peers)
        return self._opening(used + 1) if used < MAX_CONNECTIONS else None

    def _change(self) -> Action:
        """Take a step of the membership table that the client takes."""
        random = self.random
        change = random.choice(list(Change))
        connection = self._connection()
        namespace = random.choice(self.namespaces if random.random() < 0.8 else NAMESPACES)
        room = ""
        places = self.model.peers[connection].places
        if ("app", None) not in places and random.random() < 0.5:
            change, namespace = Change.CONNECT, "app"
        elif places and random.random() < 0.5:
            # What is there already has the more rows of the table before it.
            namespace, joined = random.choice(list(places))
            if joined is None:
                change = random.choices((Change.CONNECT, Change.DISCONNECT), (60, 40))[0]
            else:
                change, room = random.choice((Change.JOIN, Change.LEAVE, Change.LEAVE)), joined
        elif change in (Change.JOIN, Change.LEAVE):
            if not self.has("rooms"):
                change = Change.CONNECT
            else:
                if random.random() < 0.6:
                    namespace = "app"
                room = random.choice(self.rooms if random.random() < 0.75 else (*ROOMS, ""))
        if namespace == "any" and not self.has("any-event"):
            namespace = "app"
        flags: dict[str, Any] = {}
        if random.random() < 0.2:
            flags = random.choice(({"is_error": True}, {"is_no_op": True}, {"has_token": False}))
        return self._action(
            connection,
            Do.SEND,
            namespace=namespace,
            room=room,
            event=REQUEST_EVENT[change],
            is_followed=random.random() < self.haste,
            mark=self._mark(),
            **flags,
        )

    def _event(self) -> Action:
        random = self.random
        namespace = random.choices(
            ("app", "any", "semi;colon", *self.namespaces[1:], random.choice(NAMESPACES)),
            (60, 14, 8, 7, 7, 4),
        )[0]
        event = random.choice(("ec;ho", "echo")) if namespace == "semi;colon" else self._name()
        if namespace == "any" and not self.has("any-event"):
            namespace = "app"
        room = ""
        if self.has("rooms") and (event == "broadcast-room" or random.random() < 0.3):
            room = random.choice(self._rooms(namespace) or self.rooms)
        return self._action(
            self._connection(),
            Do.SEND,
            of=random.randint(1, MAX_CONNECTIONS),
            namespace=namespace,
            room=room,
            event=event,
            body=self._body(),
            has_token=random.random() < 0.75,
            is_error=random.random() < 0.08,
            is_no_op=random.random() < 0.05,
            is_followed=random.random() < self.haste,
            mark=self._mark(),
            how=random.choice(FLAGS) if random.random() < 0.06 else "",
        )

    def _mark(self) -> str:
        return self.random.choice(MARKS) if self.random.random() < 0.08 else ""

    def _name(self) -> str:
        random = self.random
        names = {
            "echo": 26,
            "fail": 8,
            "silent": 5,
            "whoami": 5,
            "tries": 1,
            "push": 8,
            "broadcast-others": 6,
            "broadcast-all": 4,
            "broadcast-room": 8,
            "broadcast-to": 4,
            "close-me": 1,
            "handled by nobody": 2,
            random.choice(("Echo", "echo ", " echo")): 2,
            "t0;x": 2,
            "t0@%!SEMICOLON@%!x": 1,
            random.choice(sorted(LOCAL_ONLY)): 5,
            NATIVE_EVENT: 1,
        }
        if not self.has("broadcast", "rooms"):
            del names["broadcast-room"]
        names = {name: each for name, each in names.items() if self.has(*_needs(name))}
        return random.choices(list(names), list(names.values()))[0]

    def _force(self) -> Action | None:
        """Have the server ask for something."""
        random = self.random
        event = random.choice(("ask-me", "ask-me", *(each for each in MADE_TO if each != "ask-me")))
        if not self.has(*_needs(event)) or (
            "room" in _PLACES.get(event, "") and not self.has("rooms")
        ):
            return None
        connection = self._connection()
        body: str | bytes = ""
        match event:
            case "ask-me":
                body = self._body()
            case "connect-me":
                body = random.choice(("any", "sticky", "semi;colon"))
            case "join-me" | "leave-me":
                body = random.choice(PLAIN_ROOMS)
        return self._action(
            connection,
            Do.SEND,
            namespace="app",
            event=event,
            body=body,
            has_token=random.random() < 0.2,
        )

    def _answer(self) -> Action | None:
        asked, others = self._asks()
        if not asked and not others:
            return None
        is_late = not asked or (others and self.random.random() < 0.1)
        number = self.random.choice(others if is_late else asked)
        how = self.random.choices(ANSWERS, (30, 25, 18, 7, 10, 10))[0]
        return self._answer_to(number, how)

    def _change_of_empty(self) -> Action:
        change = self.random.choice((Change.CONNECT, Change.CONNECT, Change.DISCONNECT))
        return self._action(1, Do.SEND, event=REQUEST_EVENT[change])

    def _event_of_empty(self) -> Action:
        random = self.random
        event = random.choice(("echo", "echo", NATIVE_EVENT, "other"))
        has_token = event != NATIVE_EVENT and random.random() < 0.7
        return self._action(1, Do.SEND, event=event, body=self._body(), has_token=has_token)

    def _noise(self) -> Action:
        return self._noise_of(NOISE)

    # ------------------------------------------------------------ the end

    def _probe(self) -> None:
        """See that both ends agree on what is connected and joined."""
        for connection in list(self.model.peers):
            probes = [("app", "", "echo"), ("semi;colon", "", "ec;ho")]
            if self.has("any-event"):
                probes.append(("any", "", "probe"))
            if self.has("rooms"):
                probes += [("app", room, "echo") for room in sorted(set(PLAIN_ROOMS))]
            for namespace, room, event in probes:
                body = f"t{len(self.actions) + 1}"
                self._add(
                    self._action(
                        connection,
                        Do.SEND,
                        namespace=namespace,
                        room=room,
                        event=event,
                        body=body,
                        is_followed=True,
                    )
                )
            for change in (Change.DISCONNECT, Change.DISCONNECT, Change.CONNECT):
                self._add(
                    self._action(
                        connection,
                        Do.SEND,
                        namespace="sticky",
                        event=REQUEST_EVENT[change],
                        is_followed=change is not Change.CONNECT,
                    )
                )

    # ------------------------------------------------------------ parts

    def _open(self, connection: int) -> None:
        self._add(self._opening(connection))

    def _opening(self, connection: int) -> Action:
        how = "plain"
        if self.random.random() < 0.4:
            how = self.random.choice(OPENINGS)
        if how == "chosen" and not self.has("chosen-ids"):
            how = "plain"
        if how in ("connecting", "early") and not self.has("force", "any-event"):
            how = "plain"
        return self._action(connection, Do.OPEN, how)

    def _rooms(self, namespace: str) -> list[str]:
        """Give the rooms of a namespace that somebody has joined."""
        return sorted(
            {
                room
                for peer in self.model.peers.values()
                for (name, room), state in peer.places.items()
                if name == namespace and room and state in MEMBERSHIP.live
            }
        )

    def _body(self) -> str | bytes:
        choices = [each for each in BODIES if self.has("binary") or isinstance(each, str)]
        weights = [9] + [1] * (len(choices) - 1)
        return self._filled(self.random.choices(choices, weights)[0])

    def _let_come(self, number: int) -> None:
        peer = self.model.peers[number]
        if peer.phase == "awaiting":
            self.model.opened(number)
            peer.id = f"id{number}"
        super()._let_come(number)


_CONNECT: Final = REQUEST_EVENT[Change.CONNECT]

_PLACES: Final = {"join-me": "room", "leave-me": "room"}


def _needs(event: str) -> tuple[str, ...]:
    if event in ("join-me", "leave-me"):
        return ("force", "rooms")
    return (FEATURES[event],) if event in FEATURES else ()
