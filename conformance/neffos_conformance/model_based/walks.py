"""Walks: long test sequences that are always the same, and cross messages with histories.

A walk leads a peer through phases: not connected, in one room, in several, refused, again in what
it left, with asks pending. In each phase it sends a block of rows. A row is a frame, an operation
or an ask that the peer is made to send, and takes its values from the lists of ``walk_values``: so
a block packs as many variations as it has rows, and all walks together pair each value with each
other one and with each phase. A walk knows no state: the model passes over what is impossible.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from neffos_conformance.model_based import walk_values as values
from neffos_conformance.model_based.actions import (
    ActionKind,
    ActionSequence,
    Payload,
    SuiteAction,
)
from neffos_conformance.model_based.model import OPENINGS
from neffos_protocol import Role
from neffos_protocol.events import Change
from neffos_protocol.names import REQUEST_EVENT

USUAL: Final[Mapping[Role, int]] = {Role.SERVER: 3, Role.CLIENT: 1}
"""Walks of a usual run: each takes half a second of the suite, and a second for a client."""

THOROUGH: Final = 60
"""Walks of a thorough run."""

LENGTH: Final = 1_200
"""Actions of a walk at most."""

ROWS: Final = 10
"""Rows of a block: few enough that a peer may be asked for all of them before it answers."""

STRIDE: Final = 1009
"""Rows between the first rows of two phases, so that a walk has other values in each."""

Step = tuple[str, str, str]
"""A change of membership, a namespace, and a room by its letter."""

PHASES: Final[Sequence[Sequence[Step]]] = (
    (),
    (("join", "app", "A"),),  # refused: its namespace is not connected
    (("connect", "app", ""),),
    (("join", "app", "A"), ("early", "semi;colon", "")),
    (("connect", "any", ""), ("join", "any", "B")),
    (("join", "app", "B"), ("join", "any", "A")),
    (
        ("join", "app", "C"),
        ("connect", "semi;colon", ""),
        ("connect", "", ""),
        ("more", "semi;colon", "B"),
    ),
    (("leave", "app", "A"), ("join", "app", "A")),
    (("pend", "app", ""),),
    (("pend", "app", ""),),
    (("answer", "", ""), ("refuse", "app", "")),
    (("leave-all", "app", ""), ("disconnect", "app", "")),
    (("connect", "app", ""), ("join", "app", "A")),
    (("join", "app", "B"), ("join", "app", "C"), ("disconnect", "any", ""), ("connect", "any", "")),
    (("leave", "app", "A"),),
    (("pend", "app", ""), ("many", "", "")),
)
"""What leads to each phase, in order."""

FIRST: Final[Mapping[str, str]] = {"app": "A", "any": "B"}
SECOND: Final[Mapping[str, str]] = {"app": "B", "any": "A"}
"""The rooms of a namespace that is joined first, and second."""

PLACES: Final = ("first", "", "visited", "first", "second", "visited", "first")
"""Where the rows of a block are: in a room, in none, or in one that the block joins and leaves."""

ANSWERS: Final = values.dealt(
    ("body", "error", "body", "renamed", "body", "done", "body", "twice"), values.ANSWERS
)
"""How asks of the peer are answered; those for a change of membership, with an empty reply."""

STRANGE: Final = ("nowhere", "App", " app")
"""Namespaces that are not connected."""

SHIFTS: Final = 7
"""The walks of a thorough run begin with up to so many system asks: the n-th one is another in
each."""

SWAPPED: Final = {"any": "semi;colon", "semi;colon": "any"}
"""Namespaces that change places in one of ``EARLY`` walks with a client, whose handlers are alike
in both. So all rows and histories meet the name with a semicolon, too."""

EARLY: Final = 3
"""One walk in so many begins with events in a namespace that others connect later, one with ``app``
connected, and one of a client with the namespace of native messages."""

OWN: Final = 3
"""In one phase of so many, a client itself joins the room that a block visits, and in the next one
it leaves it."""

REFUSED: Final = 5
"""One of so many system asks of a client is refused."""

SHORT: Final = 3
"""Rows of a connection that has no more of them, and of which a walk has as many."""

MANY: Final = 100
"""Asks that are pending, or messages of a long connection, in one walk of ``RARE``."""

RARE: Final = 4

NATIVES: Final = 3
"""Payloads that are not frames at the end of a client's block: native messages, to many of them."""

Target = tuple[str, str, bool]
"""Namespace and event of a frame, and whether it asks for a reply; an event without a name is one
of those that have no handler of their own."""

TARGETS: Final[Mapping[Role, Sequence[Target]]] = {
    Role.SERVER: (
        ("any", "", True),
        ("app", "echo", True),
        ("any", "", False),
        ("app", "fail", True),
        ("app", "echo", False),
        ("any", "", True),
        ("app", "broadcast", True),
        ("app", "echo", True),
        ("strange", "", True),
        ("app", "", True),
        ("semi;colon", "ec;ho", True),
        ("app", "broadcast", False),
        ("app", "push", True),
    ),
    Role.CLIENT: (
        ("app", "echo", True),
        ("any", "", False),
        ("app", "fail", True),
        ("any", "question", True),
        ("app", "", True),
        ("any", "echo", False),
        ("app", "question", True),
        ("app", "", False),
        ("strange", "", True),
        ("any", "echo", True),
        ("semi;colon", "echo", True),
        ("any", "", True),
        ("any", "fail", True),
    ),
}

EARLY_TARGET: Final[Mapping[Role, Target]] = {
    Role.SERVER: ("semi;colon", "ec;ho", False),
    Role.CLIENT: ("semi;colon", "echo", False),
}
"""What these events are; one in two is an ask."""

BROADCASTS: Final = ("broadcast-others", "broadcast-all", "broadcast-to")


def walk(
    role: Role, number: int, supported: frozenset[str] | None = None, *, is_text: bool = False
) -> ActionSequence:
    """Give a walk.

    Args:
        role: of the peer under test.
        number: of the walk, from 0. The same number gives the same walk.
        supported: the operations that a client's driver supports; ``None`` for all. A server has
            the whole application.
        is_text: whether all messages of the suite are text.
    """
    return _Walk(role, number, supported, is_text=is_text).actions


class _Walk:
    """Makes one walk."""

    def __init__(
        self, role: Role, number: int, supported: frozenset[str] | None, *, is_text: bool
    ) -> None:
        self._role = role
        self._is_text = is_text
        self._is_client = role is Role.CLIENT
        self._number = number
        self._supported = supported
        self._made: list[SuiteAction] = []
        self._pending: list[SuiteAction] = []
        self._is_more = number >= USUAL[role]
        is_swapped = self._is_client and self._is_more and number % EARLY == EARLY - 1
        self._namespaces = SWAPPED if is_swapped else {}
        self._connections = 2
        self._marks = values.marks(is_client=self._is_client)
        self._marked = number
        self._actor, self._other = (1, 2) if number % 2 == 0 else (2, 1)
        self._rooms = {
            name: values.room(number * step + number // values.ROOMS, name)
            for name, step in (("A", 1), ("B", 2), ("C", 3))
        }
        self._make()

    @property
    def actions(self) -> ActionSequence:
        """What it does."""
        return tuple(self._made)

    # ------------------------------------------------------------ phases

    def _make(self) -> None:
        for number in sorted((self._actor, self._other)):
            self._add(ActionKind.OPEN, "plain", connection=number)
        self._listen()
        if self._is_more:
            self._begin()
        for phase, steps in enumerate(PHASES):
            for step in steps:
                self._step(phase, *step)
            self._block(phase)
            if phase % 5 == 1:
                self._short(phase)
        self._answer_all()
        if not self._is_client:
            self._native()
        self._add(ActionKind.CLOSE if self._number % 4 else ActionKind.RESET)

    def _listen(self) -> None:
        """Have the other connection join what the first one joins, so that it would hear it."""
        for change, namespace, room in (
            ("connect", "app", ""),
            ("connect", "any", ""),
            ("join", "app", "A"),
            ("join", "any", "B"),
        ):
            self._ask(Change(change), namespace, room, connection=self._other)

    def _begin(self) -> None:
        """Send first of a kind what other walks send late: each walk has other messages first."""
        for n in range(self._number % SHIFTS):
            self._ask(Change.DISCONNECT, (*STRANGE, "no;where")[n % (len(STRANGE) + 1)], "")
        strange = STRANGE[self._number // EARLY % len(STRANGE)]
        if self._number % EARLY == 1:
            self._ask(Change.CONNECT, "app", "")
        if self._number % EARLY == 2 and self._is_client:
            self._ask(Change.CONNECT, "", "")
        self._ask(Change.CONNECT, strange, "", is_no_op=True, is_followed=True)
        self._send("fail", strange, body=self._body(self._number), has_token=False)
        if self._number % EARLY == 0:
            self._ask(Change.CONNECT, "semi;colon", "")
            for n in range(1 + self._number % SHIFTS):
                self._frame(self._number + n * values.TARGETS, EARLY_TARGET[self._role], "")

    def _step(self, phase: int, what: str, namespace: str, room: str) -> None:
        if what == "pend":
            self._provoke(self._row_of(phase), is_pending=True)
        elif what == "answer":
            self._answer_all()
        elif what == "refuse":
            self._refuse()
        elif what == "more":
            if self._is_more:
                self._ask(Change.JOIN, namespace, room)
        elif what == "early":
            if self._number % 2:  # beside one room, and not beside several alone
                self._ask(Change.CONNECT, namespace, room)
        elif what == "leave-all":
            if self._is_client and self._is_more:
                self._command("leave-all", namespace)
        elif what == "many":
            self._many()
        elif namespace or self._is_client:  # no server has the empty one beside others
            is_own = self._is_client and (self._number + phase) % 2 == 1
            (self._have_ask if is_own else self._ask)(Change(what), namespace, room)

    def _row_of(self, phase: int) -> int:
        return self._number * ROWS + phase * STRIDE

    def _refuse(self) -> None:
        if self._is_client:
            self._ask(Change.CONNECT, "unwanted", "")
            self._ask(Change.JOIN, "app", "unwanted")
        else:
            self._ask(Change.CONNECT, "refused", "")
            self._ask(Change.JOIN, "app", "locked")
            self._frame(0, ("app", "echo", True), "locked")
            self._ask(Change.JOIN, "app", "locked")
            self._ask(Change.DISCONNECT, "sticky", "")

    def _many(self) -> None:
        """Have the peer ask so often that some counter of its own may end."""
        if self._number % RARE == RARE - 1:
            row = self._row_of(len(PHASES))
            for n in range(MANY):
                self._provoke(row + n, is_pending=True)
            for n in range(1 if self._is_client else RARE):
                self._block(len(PHASES) + n)

    def _block(self, phase: int) -> None:
        row = self._row_of(phase)
        visited = values.room(row // ROWS + phase, f"x{phase}")
        namespace = ("app", "any")[phase % 2]
        for n in range(ROWS):
            if n == 2:
                self._enter(phase, namespace, visited)
            if n == 7:
                self._exit(phase, namespace, visited)
            if n == 8:
                self._ask_in_vain(phase, visited)
            if n % 3 == 2 and self._is_client:
                self._operate(row + n * MANY, visited)
            elif n % 5 == 0 and not self._pending:
                self._provoke(row + n * MANY)
            self._row(row + n, visited)
        if self._is_more:
            self._fail(phase)
        for n in range(NATIVES if self._is_client else 1):
            self._non_frame(row + n)
        self._made[-1] = replace(self._made[-1], is_followed=False)

    def _fail(self, phase: int) -> None:
        """Have a handler fail with another body in each phase and namespace."""
        turn = self._number * len(PHASES) + phase
        namespaces = ("app", "any", "semi;colon") if self._is_client else ("app",)
        self._frame(turn, (namespaces[turn % len(namespaces)], "fail", True), "")

    def _ask_in_vain(self, phase: int, visited: str) -> None:
        """Send system asks that change nothing: what they are for is so, or they are malformed."""
        turn = self._number + phase
        strange = STRANGE[turn % len(STRANGE)]
        change, namespace, room = (
            (Change.DISCONNECT, strange, ""),
            (Change.LEAVE, "app", visited),
            (Change.LEAVE, strange, visited),
            (Change.JOIN, strange, visited),
            (Change.CONNECT, strange, ""),
        )[turn % 5]
        self._ask(change, namespace, room, is_followed=True)
        flaw = ({"is_error": True}, {"is_no_op": True}, {"has_token": False})[turn % 3]
        change, room = ((Change.JOIN, visited), (Change.DISCONNECT, ""))[turn % 2]
        self._ask(change, "any", room, is_followed=True, **flaw)
        if self._is_more:
            if self._is_client:
                self._frame(self._row_of(phase), ("strange", "", True), "")
            self._ask(Change.LEAVE, "semi;colon", visited, is_followed=True)
            self._join_in_vain()
            self._connect_in_vain(self._row_of(phase))

    def _join_in_vain(self) -> None:
        """Refuse a join that a server asks for, and speak to the room."""
        if not self._is_client:
            self._send("join-me", "app", body="unjoined", has_token=False)
            self._answer(self._made[-1], "error")
            self._frame(0, ("app", "echo", True), "unjoined")

    def _connect_in_vain(self, row: int) -> None:
        """Reply with a body to a connect that a server asks for, and speak to the namespace."""
        if not self._is_client:
            self._send("connect-me", "app", body="sticky", has_token=False)
            self._answer(self._made[-1], "body", values.body(row, self._next, is_binary=False))
            self._send("echo", "sticky", body=self._body(row), is_followed=True)

    def _enter(self, phase: int, namespace: str, room: str) -> None:
        if self._is_client and self._is_more and phase % OWN == 0:
            self._have_ask(Change.JOIN, namespace, room)
        elif self._is_client or self._row_of(phase) % 3 or namespace != "app":
            self._ask(Change.JOIN, namespace, room, is_followed=True)
        else:
            self._send("join-me", namespace, body=room, has_token=False)
            self._answer(self._made[-1], "done")

    def _exit(self, phase: int, namespace: str, room: str) -> None:
        if self._is_client and self._is_more and phase % OWN == 1:
            self._have_ask(Change.LEAVE, namespace, room)
        else:
            self._ask(Change.LEAVE, namespace, room, is_followed=True)

    # ------------------------------------------------------------ rows

    def _row(self, row: int, visited: str) -> None:
        target = TARGETS[self._role][row % values.TARGETS]
        namespace = target[0]
        place = PLACES[row % values.PLACES]
        rooms = {
            "": "",
            "visited": visited,
            "first": self._rooms[FIRST.get(namespace, "A")],
            "second": self._rooms[SECOND.get(namespace, "B")],
        }
        self._frame(row, target, rooms[place])

    def _frame(self, row: int, target: Target, room: str, connection: int = 0) -> None:
        """Send a frame that has the values of a row."""
        namespace, event, has_token = target
        body: Payload = self._body(row)
        turn = row // values.TARGETS
        if namespace == "semi;colon":
            has_token = turn % 2 == 0
        if namespace == "strange":
            namespace = STRANGE[turn % len(STRANGE)]
            has_token = turn % 2 == 0 or not self._is_more
            event = "" if has_token else "echo"
        if event == "push":
            body = f"t{self._next}"
        elif event == "broadcast":
            event = "broadcast-room" if room else BROADCASTS[turn % len(BROADCASTS)]
        form = values.FORM_NAMES[row % values.FORMS]
        self._send(
            event or values.event(row, self._next),
            namespace,
            connection=connection,
            of=self._other,
            how=form if not form.startswith("is_") else "",
            room=room,
            body=body,
            has_token=has_token,
            mark=self._marks[row % values.MARKS],
            is_error=form == "is_error",
            is_no_op=form == "is_no_op",
            is_followed=True,
        )

    def _body(self, row: int) -> Payload:
        is_binary = bool(row % values.TYPES) and not self._is_text
        return values.body(row, self._next, is_binary=is_binary)

    def _provoke(self, row: int, *, is_pending: bool = False) -> None:
        """Have the peer ask something, and answer that now or later."""
        if self._is_client:
            is_done = self._command("ask", "app", event="echo", body=self._body(row))
        else:
            is_done = True
            self._send("ask-me", "app", body=self._body(row), has_token=False)
        if not is_done:
            return
        if is_pending:
            self._pending.append(self._made[-1])
        else:
            self._answer_by(row, self._made[-1])

    def _answer_by(self, row: int, asked: SuiteAction) -> None:
        how = ANSWERS[row % values.ANSWERS]
        body = values.body(row * 3 + 1, self._next, is_binary=False) if how == "body" else ""
        self._answer(asked, how, body)
        if row % values.PLACES == 0:
            self._answer(asked, "error")  # it is settled

    def _answer_all(self) -> None:
        for n, asked in enumerate(self._pending):
            self._answer_by(self._number + n, asked)
        self._pending.clear()

    def _operate(self, row: int, visited: str) -> None:
        """Have a client send an event, ask something, and relay an ask."""
        namespace = ("app", "any", "semi;colon")[row // ROWS % 3]
        rooms = ("", self._rooms[FIRST.get(namespace, "A")], visited)
        for n, op in enumerate(("emit", "ask", "ask")):
            mine = row + n * STRIDE
            done = self._command(
                op,
                namespace,
                room=rooms[(row + n) % len(rooms)],
                event=values.event(mine, self._next),
                body=self._body(mine),
            )
            if done and op == "ask":
                self._answer_by(mine, self._made[-1])
        self._send("relay", namespace, room=rooms[row % 2], body=self._body(row))
        self._answer_by(row, self._made[-1])
        if self._number % 3 == 0:
            self._command("native", "", body=self._body(row // 2))

    def _non_frame(self, row: int) -> None:
        body = self._body(row // 2)
        if self._is_client and self._is_more and row % NATIVES == 0:
            body = f"{'AH'[row % 2]} t{self._next}"  # the handshake is complete
        self._add(ActionKind.NON_FRAME, body=body, is_followed=True)

    # ------------------------------------------------------------ other connections

    def _short(self, phase: int) -> None:
        """Open connections of a few messages, and close them."""
        for n in range(SHORT):
            row = self._row_of(phase) + n * SHORT
            ways = [how for how, each in OPENINGS[self._role].items() if not each.ending]
            how = ways[row // SHORT % len(ways)] if n == 0 else "plain"
            number = self._new_connection()
            opened = self._add(ActionKind.OPEN, how, connection=number)
            if how == "connecting":
                self._answer(opened, "done")
            room = values.room(row, "s")
            for namespace in ("app", "any")[n % 2 :]:
                self._ask(Change.CONNECT, namespace, "", connection=number)
            if n:
                self._ask(Change.JOIN, "any", room, connection=number)
            for more in range(SHORT):
                target = TARGETS[self._role][(row + more) % values.TARGETS]
                self._frame(row + more, target, room if n else "", number)
            self._made[-1] = replace(self._made[-1], is_followed=False)
            self._add(ActionKind.CLOSE, connection=number)

    def _native(self) -> None:
        """Open a connection of each endpoint for native messages."""
        for path in ("/native", "/mixed"):
            number = self._new_connection()
            self._add(ActionKind.OPEN, "plain", connection=number, path=path)
            if path == "/mixed":
                self._ask(Change.CONNECT, "", "", connection=number)
            is_long = self._number % RARE == 1 and path == "/native"
            for n in range(MANY if is_long else ROWS):
                row = self._row_of(n) + n
                body = values.body(row, self._next, is_binary=n % 2 == 1)
                if n % RARE == 2:
                    body = f"M t{self._next}"  # no handshake here
                self._add(ActionKind.NON_FRAME, body=body, connection=number)
                if path == "/mixed":
                    self._frame(row, ("", "echo", n % 3 > 0), "", number)
            self._made[-1] = replace(self._made[-1], is_followed=False)
            self._add(ActionKind.CLOSE, connection=number)

    # ------------------------------------------------------------ actions

    def _new_connection(self) -> int:
        self._connections += 1
        return self._connections

    @property
    def _next(self) -> int:
        """The number of the next action."""
        return len(self._made) + 1

    def _add(
        self, kind: ActionKind, how: str = "", *, connection: int = 0, **fields: Any
    ) -> SuiteAction:
        if "namespace" in fields:
            fields["namespace"] = self._namespaces.get(fields["namespace"], fields["namespace"])
        action = SuiteAction(self._next, connection or self._actor, kind, how, **fields)
        self._made.append(action)
        return action

    def _send(self, event: str, namespace: str, **fields: Any) -> None:
        """Send a frame."""
        self._add(ActionKind.SEND, event=event, namespace=namespace, **fields)

    def _ask(self, change: Change, namespace: str, room: str, **fields: Any) -> None:
        """Send a system ask."""
        self._marked += 1
        mark = self._marks[self._marked % values.MARKS]
        name = self._rooms.get(room, room)
        self._send(REQUEST_EVENT[change], namespace, room=name, mark=mark, **fields)

    def _have_ask(self, change: Change, namespace: str, room: str) -> None:
        """Have a client send a system ask; where that is refused, the suite sends it."""
        is_asked = self._command(change.value, namespace, room=self._rooms.get(room, room))
        is_refused = self._is_more and len(self._made) % REFUSED == 0
        if is_asked:
            self._answer(self._made[-1], "error" if is_refused else "done")
        if is_refused or not is_asked:
            self._ask(change, namespace, room)

    def _command(self, op: str, namespace: str, **fields: Any) -> bool:
        if self._supported is not None and op not in self._supported:
            return False
        self._add(ActionKind.COMMAND, op, namespace=namespace, **fields)
        return True

    def _answer(self, asked: SuiteAction, how: str, body: Payload = "") -> None:
        self._add(ActionKind.ANSWER, how, connection=asked.connection, of=asked.number, body=body)
