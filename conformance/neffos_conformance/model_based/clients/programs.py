"""Makes random programs: what a client is told, and what its server says, led by the tables.

The model walks along and takes everything for come that it expects, so that a program is made of
what can be done where it stands. The same seed makes the same programs.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Final

from neffos_conformance.model_based.actions import Action, Do, Program
from neffos_conformance.model_based.bodies import BODIES, FLAGS
from neffos_conformance.model_based.clients.application import UNWANTED
from neffos_conformance.model_based.clients.model import Model
from neffos_conformance.model_based.clients.serving import PIECES, SENDER
from neffos_conformance.model_based.making import SequenceGenerator
from neffos_protocol.events import Change
from neffos_protocol.names import LOCAL_ONLY, NATIVE_EVENT, REQUEST_EVENT
from neffos_protocol.state_machines import MEMBERSHIP

MAX_CONNECTIONS: Final = 2
"""Connections of a program: one that does, and one that is to hear nothing of it."""

OPENINGS: Final = (
    "odd",
    "binary",
    "noisy",
    "asking",
    "doubled",
    "early",
    "joined",
    "refused",
    "refused-silently",
    "unavailable",
    "cut",
    "closed",
)
"""Ways to let a client in, beside the plain one: with an id that holds anything; by a binary
message; behind noise, or an M of the server; with handshake messages behind the acceptance; with
an ask before it, or in one piece with it; and ways not to: by a refusal, with a text and without;
by an HTTP status; by an end without an answer."""

ANSWERS: Final = ("done", "body", "error", "bare", "renamed", "twice", "echoed")
"""Ways to answer: the empty reply; a body; an error, with a text and without; a body under other
names; twice; nothing but the names of the ask."""

NAMESPACES: Final = (
    "app",
    "app",
    "any",
    "semi;colon",
    UNWANTED,
    "nowhere",
    "__proto__",
    "App",
    " app",
    "",
)
CONNECTABLE: Final = ("app", "app", "any", "semi;colon", "")
"""Those that a client may connect of its own accord."""

ROOMS: Final = ("lobby", "lobby", "hall", "r;3", "Lobby", "lobby ", "\u00e9", "e\u0301")

MARKS: Final = (
    "-a.B_c/\u00e9?",
    "!7000",
    "#",
    " ",
    "@%!semicolon@%!",
    "x" * 60,
    ".$1",
    "\t",
    "0000000000000001",
    SENDER,
)
"""What tokens of a server hold beside their number."""

EVENTS: Final = {
    "echo": 26,
    "question": 10,
    "fail": 12,
    "relay": 12,
    "news": 8,
    "other": 6,
    "t0;x": 3,
    "Echo": 2,
    " echo": 2,
    "caf\u00e9": 2,
    "cafe\u0301": 2,
    "_onNamespaceDisconnect": 1,
    NATIVE_EVENT: 3,
}
"""What a server sends, by how often."""

MANY: Final = "t{}" + ";" * 1_500
"""A body of separators, for those who recurse over them."""

NOISE: Final[tuple[str | bytes, ...]] = (
    "",
    b"",
    "noise t{}",
    '{"event": "t{}"}',
    ";;;;;",
    "7;app;;echo;0;0",
    b"\x00\xff t{}",
    "M",
    b"M",
    "A9",
    "A",
    "Hno",
    b"H",
)
"""Payloads that are no frames."""

NATIVES: Final[tuple[str | bytes, ...]] = ("t{}", "hello; t{}", b"\x00\xff t{}", ";a;;b;0;0;t{}")
"""Native messages, of which the last reads as a frame."""


def program(seed: int, index: int, steps: int, operations: frozenset[str] | None) -> Program:
    """Make a program.

    Args:
        seed: of all programs.
        index: which of them, from 0.
        steps: about how many actions it has, beside those that see what came of them.
        operations: what the client can be told; ``None`` for all.
    """
    return _Maker(Random(f"{seed}/{index}"), operations).make(steps)  # noqa: S311  # no secret


class _Maker(SequenceGenerator[Model]):
    def __init__(self, random: Random, operations: frozenset[str] | None) -> None:
        super().__init__(random, Model(operations))
        self.operations = operations
        # Few names come back again and again, so that what is done to them adds up.
        self.main = "app" if random.random() < 0.8 else ""  # where native messages are taken
        self.namespaces = [self.main, *random.sample(NAMESPACES, 2)]
        self.rooms = random.sample(ROOMS, 2)
        self.haste = random.choice((0.0, 0.1, 0.4))

    def can(self, operation: str) -> bool:
        return self.operations is None or operation in self.operations

    def make(self, steps: int) -> Program:
        self._add(self._opening(1))
        if self.random.random() < 0.75:
            self._add(self._connect_main(1))
            self._answer_all()
        while len(self.actions) < steps and self._step():
            pass
        if self.random.random() < 0.7:
            self._answer_all()
        self._probe()
        return tuple(self.actions)

    # ------------------------------------------------------------ steps

    def _step(self) -> bool:
        is_native = self.main == ""
        makers: dict[Callable[[], Action | None], int] = {
            self._another: 3,
            self._tell_change: 22,
            self._tell_event: 16,
            self._tell_more: 16 if is_native else 3,
            self._change: 20,
            self._event: 28,
            self._answer: 34,
            self._noise: 16 if is_native else 5,
            self._end: 2,
        }
        return self._grow(makers)

    def _another(self) -> Action | None:
        used = len(self.model.peers)
        return self._opening(used + 1) if used < MAX_CONNECTIONS else None

    def _opening(self, connection: int) -> Action:
        how = self.random.choice(OPENINGS) if self.random.random() < 0.35 else "plain"
        return self._action(connection, Do.OPEN, how)

    def _connect_main(self, connection: int) -> Action:
        """Have either side connect the namespace that most is done in."""
        if self.can("connect") and self.random.random() < 0.5:
            return self._action(connection, Do.TELL, "connect", namespace=self.main)
        return self._action(
            connection, Do.SEND, namespace=self.main, event=REQUEST_EVENT[Change.CONNECT]
        )

    def _tell_change(self) -> Action | None:
        random = self.random
        connection = self._connection()
        namespace, room = self._place(connection)
        joined = [each for each in self.model.peers[connection].places if each[1] is not None]
        if joined and random.random() < 0.4:
            namespace, room = random.choice(joined)
            op = random.choice(("leave", "leave", "leave-all"))
        elif room is None and random.random() < 0.35:
            op = "disconnect"
        else:
            op = random.choice(("connect", "join", "join"))
            namespace = random.choice(CONNECTABLE) if op == "connect" else namespace
            room = random.choice(self.rooms)
        if not self.can(op):
            return None
        has_room = op in ("join", "leave")
        return self._action(
            connection, Do.TELL, op, namespace=namespace, room=(room or "") if has_room else ""
        )

    def _tell_event(self) -> Action | None:
        random = self.random
        connection = self._connection()
        op = random.choice(("ask", "ask", "emit"))
        if not self.can(op):
            return None
        namespace, room = self._place(connection)
        if random.random() < 0.15:
            namespace, room = random.choice(CONNECTABLE), random.choice((*self.rooms, None))
        names = ("echo", "echo", "silent", "t0;x", "n\u20acws", "a@%!semicolon@%!b")
        event = random.choice(names)
        if op == "emit":
            event = random.choice((*names[2:], "news", "news", *sorted(LOCAL_ONLY)))
        return self._action(
            connection,
            Do.TELL,
            op,
            namespace=namespace,
            room=room or "",
            event=event,
            body=self._body(),
        )

    def _tell_more(self) -> Action | None:
        random = self.random
        op = random.choices(("native", "close"), (9, 2))[0]
        if not self.can(op):
            return None
        body = self._filled(random.choice(NATIVES))
        return self._action(self._connection(), Do.TELL, op, body=body if op == "native" else "")

    def _change(self) -> Action:
        """Take a step of the membership table that the server takes."""
        random = self.random
        connection = self._connection()
        change = random.choice(list(Change))
        namespace = random.choice(self.namespaces if random.random() < 0.8 else NAMESPACES)
        places = self.model.peers[connection].places
        room = ""
        how = random.choices(("", random.choice(FLAGS), PIECES), (90, 6, 4))[0]
        if (self.main, None) not in places and random.random() < 0.5:
            change, namespace = Change.CONNECT, self.main
        elif places and random.random() < 0.5:
            # What is there already has the more rows of the table before it.
            namespace, joined = random.choice(list(places))
            if joined is None:
                change = random.choice((Change.CONNECT, Change.DISCONNECT))
            else:
                change, room = random.choice((Change.JOIN, Change.LEAVE, Change.LEAVE)), joined
        elif change in (Change.JOIN, Change.LEAVE):
            live = [name for name, joined in places if joined is None]
            if live and random.random() < 0.8:
                namespace = random.choice(live)
            room = random.choice(self.rooms if random.random() < 0.75 else (*ROOMS, "", UNWANTED))
        flags: dict[str, Any] = {}
        if random.random() < 0.25:
            flags = random.choice(({"is_error": True}, {"is_no_op": True}, {"has_token": False}))
        return self._action(
            connection,
            Do.SEND,
            "" if flags else how,
            namespace=namespace,
            room=room,
            event=REQUEST_EVENT[change],
            body=b"" if random.random() < 0.06 else "",
            is_followed=random.random() < self.haste,
            mark=self._mark(),
            **flags,
        )

    def _event(self) -> Action:
        random = self.random
        connection = self._connection()
        namespace, room = self._place(connection)
        if random.random() < 0.2:
            namespace, room = random.choice((*self.namespaces, *NAMESPACES)), None
        if room is None and random.random() < 0.15:
            room = random.choice(self.rooms)
        event = random.choices(list(EVENTS), list(EVENTS.values()))[0]
        if random.random() < 0.07:
            event = random.choice(sorted(LOCAL_ONLY))
        elif random.random() < (0.15 if self.main == "" else 0.0):
            namespace, room, event = "", None, NATIVE_EVENT
        return self._action(
            connection,
            Do.SEND,
            random.choices(("", random.choice(FLAGS), PIECES), (90, 6, 4))[0],
            namespace=namespace,
            room=room or "",
            event=event,
            body=self._body(),
            has_token=random.random() < 0.75,
            is_error=random.random() < 0.1,
            is_no_op=random.random() < 0.06,
            is_followed=random.random() < self.haste,
            mark=self._mark(),
        )

    def _answer(self) -> Action | None:
        asked, others = self._asks()
        if not asked and not others:
            return None
        is_late = not asked or (others and self.random.random() < 0.1)
        if is_late and self.random.random() < 0.7:
            return None  # what is late is not what most is about
        number = self.random.choice(others if is_late else asked)
        how = self.random.choices(ANSWERS, (44, 16, 20, 6, 5, 6, 5))[0]
        return self._answer_to(number, how)

    def _noise(self) -> Action:
        return self._noise_of(NOISE)

    # ------------------------------------------------------------ the end

    def _probe(self) -> None:
        """See that both ends agree on what is connected and joined."""
        for connection in list(self.model.peers):
            for namespace in ("app", "any", "semi;colon", ""):
                self._add(
                    self._action(
                        connection,
                        Do.SEND,
                        namespace=namespace,
                        event="echo",
                        body=f"t{len(self.actions) + 1}",
                        is_followed=True,
                    )
                )
            if not self.can("emit"):
                continue
            for room in sorted(set(self.rooms)):
                self._add(
                    self._action(
                        connection,
                        Do.TELL,
                        "emit",
                        namespace=self.main,
                        room=room,
                        event="news",
                        body=f"t{len(self.actions) + 1}",
                    )
                )
            if self.can("close") and self.random.random() < 0.2:
                self._add(self._action(connection, Do.TELL, "close"))

    # ------------------------------------------------------------ parts

    def _place(self, connection: int) -> tuple[str, str | None]:
        """Give a place that is connected or joined, or another now and then."""
        peer = self.model.peers[connection]
        live = [each for each, state in peer.places.items() if state in MEMBERSHIP.live]
        if live and self.random.random() < 0.8:
            return self.random.choice(live)
        return self.random.choice(self.namespaces), self.random.choice((None, *self.rooms))

    def _mark(self) -> str:
        return self.random.choice(MARKS) if self.random.random() < 0.1 else ""

    def _body(self) -> str | bytes:
        bodies = (*BODIES, MANY)
        weights = [9] + [2 if isinstance(each, bytes) else 1 for each in bodies[1:]]
        return self._filled(self.random.choices(bodies, weights)[0])
