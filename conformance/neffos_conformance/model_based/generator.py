"""Generates random test sequences for a server or a client, led by the state tables.

A sequence grows by actions that are possible at its end: the model performs each, and takes
everything that it expects as arrived. The same seed generates the same sequences. What is drawn,
and how often, is up to ``draws``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from random import Random
from typing import Any, Final, TypeVar

from neffos_codec import Message
from neffos_conformance.cases.features import features
from neffos_conformance.model_based.actions import (
    ActionKind,
    ActionSequence,
    Payload,
    Scope,
    SuiteAction,
)
from neffos_conformance.model_based.draws import (
    CLIENT,
    CONNECTABLE,
    EMPTY_EVENTS,
    NATIVE_MESSAGES,
    PROVOKING,
    SERVER,
    Draws,
    Weights,
)
from neffos_conformance.model_based.frames import ACCEPTANCE, ODD_FLAGS
from neffos_conformance.model_based.model import OPENINGS, SutModel
from neffos_protocol import Role
from neffos_protocol.events import Change
from neffos_protocol.names import CHANGE_OF, LOCAL_ONLY, NATIVE_EVENT, REQUEST_EVENT
from neffos_protocol.state_machines import MEMBERSHIP

MAX_TRIES: Final = 50
"""Actions that are tried until one is possible. Some nearly always are."""

ActionSource = Callable[[], SuiteAction | None]

_Choice = TypeVar("_Choice")
_Text = TypeVar("_Text", str, bytes)


def generate(
    role: Role, seed: int, index: int, steps: int, supported: frozenset[str] | None = None
) -> ActionSequence:
    """Generate a test sequence.

    Args:
        role: of the peer under test.
        seed: of all sequences.
        index: of this one, from 0.
        steps: about how many actions it has, besides the probes at its end.
        supported: the features that a server has, or the operations that a client's driver
            supports; ``None`` for all.
    """
    return SequenceGenerator(role, f"{seed}/{index}", supported).make(steps)


class SequenceGenerator:
    """Generates one test sequence.

    Args:
        role: of the peer under test.
        seed: of the random numbers.
        supported: the features of a server, or the operations of a client; ``None`` for all.
        draws: what is drawn; ``None`` for what is usual.
    """

    def __init__(
        self,
        role: Role,
        seed: str,
        supported: frozenset[str] | None = None,
        draws: Draws | None = None,
    ) -> None:
        self._model = SutModel(role, supported if role is Role.CLIENT else None)
        self._profile = profile = draws or (CLIENT if role is Role.CLIENT else SERVER)
        self._random = Random(seed)  # noqa: S311  # the numbers are no secret
        self._supported = supported
        self._actions: list[SuiteAction] = []
        # Few names recur, so that their changes add up. A client takes native messages in "".
        self._main = (
            "" if self._model.is_client and self._chance(0.2) else self._offered(profile.main)
        )
        self._namespaces = [self._main, *self._random.sample(profile.namespaces, 2)]
        self._rooms = self._random.sample(profile.rooms, 2)
        self._special_rooms = [
            room for room in profile.special_rooms if self._offers(*_needed_by(room, "rooms"))
        ]
        self._events = {
            event: weight for event, weight in profile.events.items() if self._has_event(event)
        }
        self._haste = self._pick(profile.haste)
        self._weights = {**profile.actions}
        if not self._events:
            del self._weights["event"]
        if self._main == "":
            self._weights |= {"command": 16, "non-frame": 16}

    def make(self, steps: int) -> ActionSequence:
        """Give a sequence of about so many actions, besides the probes at its end."""
        kind = 1.0 if self._model.is_client else self._random.random()
        path, makers = "", [self._non_frame, self._empty_frame]
        mixed, native = self._profile.native
        if kind < mixed and self._offers("native-mixed"):
            path = "/mixed"
        elif kind < mixed + native and self._offers("native-only"):
            path, makers = "/native", [self._non_frame]
        if not path:
            self._make_frames(steps)
            return tuple(self._actions)
        self._add(self._action(ActionKind.OPEN, "plain", connection=1, path=path))
        for _ in range(steps):
            self._add(self._pick(makers)())
        return tuple(self._actions)

    def _make_frames(self, steps: int) -> None:
        self._add(self._opening(1))
        if self._chance(0.75):
            self._add(self._connect_main())
            self._answer_all()
        for event, namespace, room in self._profile.first:
            self._add(self._send(1, namespace, event, room=room))
        makers: Mapping[str, ActionSource] = {
            "connection": lambda: self._opening(len(self._model.connections) + 1),
            "ask": self._system_ask,
            "event": self._event,
            "provoke": self._provoke,
            "answer": self._answer,
            "non-frame": self._non_frame,
            "end": self._end,
            "command-ask": self._command_ask,
            "command-event": self._command_event,
            "command": self._command_other,
        }
        while len(self._actions) < steps:
            if not any(self._add(makers[self._draw(self._weights)]()) for _ in range(MAX_TRIES)):
                break  # every connection has ended
        if not self._model.is_client or self._chance(0.7):
            self._answer_all()
        for number in list(self._model.connections):
            self._probe(number)

    # ------------------------------------------------------------ growing

    def _add(self, action: SuiteAction | None) -> bool:
        """Add an action, if it is possible, and take everything as arrived that must."""
        if action is None or self._model.perform(action) is None:
            return False
        self._actions.append(action)
        if not action.is_followed:
            for number, connection in self._model.connections.items():
                self._let_arrive(number)
                if connection.ending:
                    self._model.ended(number)
        return True

    def _let_arrive(self, number: int) -> None:
        model, connection = self._model, self._model.connections[number]
        for expected in connection.messages:
            is_deferred = expected.is_deferred and model.blocked(number)
            if expected not in connection.expected or not expected.must:
                continue
            if is_deferred and expected.undecided is None:
                continue
            answer = expected.answers[0]
            if isinstance(answer, Message) and expected.is_ask:
                answer = answer.replace(wait=f"{answer.wait}{expected.number}")
            model.arrived(expected, f"Aid{number}" if answer == ACCEPTANCE else answer)
        model.settled(number)

    def _answer_all(self) -> None:
        """Answer what is pending, so that what waits for it can arrive."""
        for _ in range(MAX_TRIES):
            pending = [n for n, each in self._model.asks.items() if each.state == "pending"]
            if not pending or not self._add(self._answer_to(pending[0], "done")):
                return

    def _probe(self, connection: int) -> None:
        """Check that both peers agree on what is connected and joined."""
        rooms = sorted({*self._profile.rooms, *self._special_rooms[1:]})
        probes = [("app", "", "echo"), ("any", "", "echo"), ("semi;colon", "", "ec;ho")]
        if self._model.is_client:
            probes.append(("", "", "echo"))
        elif self._offers("rooms"):
            probes += [(name, room, "echo") for name in self._profile.probed for room in rooms]
        for namespace, room, event in probes:
            if self._offered(namespace) == namespace and self._has_event(event, namespace):
                values = {"room": room, "body": self._filled("t{}"), "is_followed": True}
                self._add(self._send(connection, namespace, event, **values))
        if not self._model.is_client:
            last = self._offered("sticky")
            for change in (Change.DISCONNECT, Change.DISCONNECT, Change.CONNECT):
                self._add(self._send(connection, last, REQUEST_EVENT[change]))
            return
        for room in sorted(set(self._rooms)):
            values = {"namespace": self._main, "room": room, "event": "news"}
            self._add(self._command("emit", connection, body=self._filled("t{}"), **values))
        if self._chance(0.2):
            self._add(self._command("close", connection))

    # ------------------------------------------------------------ actions

    def _action(
        self, kind: ActionKind, how: str = "", *, connection: int = 0, **values: Any
    ) -> SuiteAction:
        number = connection or self._connection()
        return SuiteAction(len(self._actions) + 1, number, kind, how, **values)

    def _send(self, connection: int, namespace: str, event: str, **values: Any) -> SuiteAction:
        values |= {"connection": connection, "namespace": namespace, "event": event}
        return self._action(ActionKind.SEND, **values)

    def _varied(self, connection: int, namespace: str, event: str, **values: Any) -> SuiteAction:
        """Send a frame in one of its forms."""
        how = self._draw(self._profile.variants)
        drawn = {
            "how": self._pick(ODD_FLAGS) if how == "flags" else how,
            "mark": self._pick(self._profile.marks) if self._chance(self._profile.marked) else "",
            "is_followed": self._chance(self._haste),
        }
        return self._send(connection, self._offered(namespace), event, **{**drawn, **values})

    def _opening(self, connection: int) -> SuiteAction | None:
        if connection > self._profile.connections:
            return None
        openings = OPENINGS[self._model.role]
        unusual = [how for how in openings if how != "plain"]
        how = self._pick(unusual) if self._chance(0.36) else "plain"
        if not self._offers(*openings[how].needs):
            how = "plain"
        return self._action(ActionKind.OPEN, how, connection=connection)

    def _connect_main(self) -> SuiteAction | None:
        """Have either peer connect the namespace in which most happens."""
        if self._model.is_client and self._chance(0.5):
            return self._command("connect", 1, namespace=self._main)
        return self._send(1, self._main, REQUEST_EVENT[Change.CONNECT])

    def _system_ask(self) -> SuiteAction:
        """Send a system ask, more often where the tables have more transitions."""
        connection = self._connection()
        memberships = self._model.connections[connection].memberships
        change, room = self._pick(list(Change)), ""
        namespace = self._pick(self._namespaces if self._chance(0.8) else self._profile.namespaces)
        if (self._main, None) not in memberships and self._chance(0.5):
            change, namespace = Change.CONNECT, self._main
        elif memberships and self._chance(0.5):
            namespace, joined = self._pick(list(memberships))
            change = self._pick((Change.CONNECT, Change.DISCONNECT))
            if joined is not None:
                change, room = self._pick((Change.JOIN, Change.LEAVE, Change.LEAVE)), joined
        elif change.is_of_room:
            if self._chance(0.8):
                namespace = self._pick([name for name, _ in memberships] or [namespace])
            room = self._room()
        if change.is_of_room and not self._offers("rooms"):
            change, room = Change.CONNECT, ""
        values: dict[str, Any] = {}
        if self._chance(self._profile.odd_asks):
            flag = self._pick(({"is_error": True}, {"is_no_op": True}, {"has_token": False}))
            values = {"how": "", **flag}
        if self._model.is_client and self._chance(0.06):
            values["body"] = b""
        return self._varied(connection, namespace, REQUEST_EVENT[change], room=room, **values)

    def _event(self) -> SuiteAction:
        connection = self._connection()
        namespace, room = self._scope(connection)
        if self._chance(0.15):
            namespace, room = self._pick((*self._namespaces, *self._profile.namespaces)), None
        if room is None and self._chance(0.15):
            room = self._pick(self._rooms)
        event, namespace = self._draw(self._events), self._offered(namespace)
        if self._chance(0.06):
            event = self._pick(sorted(LOCAL_ONLY))
        elif namespace == "semi;colon" and not self._model.is_client:
            event = self._pick(("ec;ho", "echo"))
        elif self._main == "" and self._chance(0.15):
            namespace, room, event = "", None, NATIVE_EVENT
        if event == "broadcast-room":
            namespace, room = "app", room or self._pick(self._rooms)
        return self._varied(
            connection,
            namespace,
            event,
            of=self._random.randint(1, self._profile.connections),
            room=(room or "") if self._offers("rooms") else "",
            body=(body := self._body()),
            has_token=self._chance(self._profile.tokens),
            is_error=self._chance(self._profile.flagged[0]) and _is_text(body),
            is_no_op=self._chance(self._profile.flagged[1]),
        )

    def _provoke(self) -> SuiteAction | None:
        """Have a handler of a server send an ask."""
        event = self._draw(PROVOKING)
        if not self._has_event(event):
            return None
        bodies: Mapping[str, Payload] = {
            "ask-me": self._body(),
            "connect-me": self._offered(self._pick(("any", "sticky", "semi;colon"))),
            "join-me": self._pick(self._rooms),
            "leave-me": self._pick(self._rooms),
        }
        connection, body = self._connection(), bodies.get(event, "")
        return self._send(connection, "app", event, body=body, has_token=self._chance(0.2))

    def _empty_frame(self) -> SuiteAction:
        """Send a frame in the only namespace of the mixed endpoint."""
        event = self._pick((*EMPTY_EVENTS, *EMPTY_EVENTS, NATIVE_EVENT, "other"))
        is_ask = event in CHANGE_OF
        has_token = is_ask or (event != NATIVE_EVENT and self._chance(0.7))
        return self._send(1, "", event, body="" if is_ask else self._body(), has_token=has_token)

    def _answer(self) -> SuiteAction | None:
        asks = self._model.asks.items()
        pending = [number for number, each in asks if each.state == "pending"]
        latest = {each.last_ended for each in self._model.connections.values()}
        settled = [number for number, each in asks if each.state != "pending" and number in latest]
        if not pending or (settled and self._chance(0.1)):
            if not settled or not self._chance(self._profile.late):
                return None
            pending = settled
        return self._answer_to(self._pick(pending), self._draw(self._profile.answers))

    def _answer_to(self, number: int, how: str) -> SuiteAction:
        """Answer the ask that an action caused."""
        connection = self._model.asks[number].connection
        bodies = self._profile.answered if how == "body" else ()
        body = self._filled(self._pick(bodies)) if bodies else ""
        values = {"body": body, "is_followed": self._is_hasty()}
        return self._action(ActionKind.ANSWER, how, connection=connection, of=number, **values)

    def _non_frame(self) -> SuiteAction:
        body = self._filled(self._pick(self._profile.non_frames))
        return self._action(ActionKind.NON_FRAME, body=body, is_followed=self._is_hasty())

    def _is_hasty(self) -> bool:
        return self._profile.hasty > 0 and self._chance(self._profile.hasty)

    def _end(self) -> SuiteAction:
        return self._action(self._pick((ActionKind.CLOSE, ActionKind.RESET)))

    def _command_ask(self) -> SuiteAction | None:
        connection = self._connection()
        namespace, room = self._scope(connection)
        memberships = self._model.connections[connection].memberships
        joined = [each for each in memberships if each[1] is not None]
        if joined and self._chance(0.4):
            op = self._pick(("leave", "leave", "leave-all"))
            namespace, room = self._pick(joined)
        elif room is None and self._chance(0.35):
            op = "disconnect"
        else:
            op = self._pick(("connect", "join", "join"))
            namespace = self._pick(CONNECTABLE) if op == "connect" else namespace
            room = self._pick(self._rooms)
        room = room if op in ("join", "leave") else ""
        return self._command(op, connection, namespace=namespace, room=room)

    def _command_event(self) -> SuiteAction | None:
        connection = self._connection()
        op = self._pick(("ask", "ask", "emit"))
        namespace, room = self._scope(connection)
        if self._chance(0.15):
            namespace, room = self._pick(CONNECTABLE), self._pick((*self._rooms, None))
        events = "news", "news", *sorted(LOCAL_ONLY)
        if op == "ask":
            events = "echo", "echo", "silent"
        values = {"namespace": namespace, "room": room or "", "body": self._body()}
        values["event"] = self._pick((*events, *self._profile.commanded))
        return self._command(op, connection, **values)

    def _command_other(self) -> SuiteAction | None:
        op = self._draw({"native": 9, "close": 2})
        body = self._filled(self._pick(NATIVE_MESSAGES))
        return self._command(op, self._connection(), body=body if op == "native" else "")

    def _command(self, op: str, connection: int, **values: Any) -> SuiteAction | None:
        """Have the client's driver perform an operation, if it supports that."""
        if self._supported is not None and op not in self._supported:
            return None
        return self._action(ActionKind.COMMAND, op, connection=connection, **values)

    # ------------------------------------------------------------ parts

    def _offers(self, *features: str) -> bool:
        """Whether a server has the features; a client needs none."""
        if self._model.is_client or self._supported is None:
            return True
        return self._supported.issuperset(features)

    def _offered(self, namespace: str) -> str:
        """Give a namespace if its part is there, and else one that is, or that nobody has."""
        if self._offers(*_needed_by(namespace, "namespaces")):
            return namespace
        return "nowhere" if namespace == "app" else self._main

    def _has_event(self, event: str, namespace: str = "app") -> bool:
        """Whether the application says what comes of an event."""
        if namespace != "app" or not self._offers("app"):
            return self._offers(*_needed_by(event, "events"))
        return self._offers(*(_needed_by(event, "events") or ("unhandled",)))

    def _chance(self, share: float) -> bool:
        return self._random.random() < share

    def _pick(self, choices: Sequence[_Choice]) -> _Choice:
        return self._random.choice(choices)

    def _draw(self, weights: Weights) -> str:
        return self._random.choices(list(weights), list(weights.values()))[0]

    def _connection(self) -> int:
        """Give a connection that has not ended."""
        connections = self._model.connections.items()
        live = [number for number, each in connections if not each.is_over and not each.ending]
        return self._pick(live or [1])

    def _scope(self, connection: int) -> Scope:
        """Give a namespace or room that is connected or joined, or another now and then."""
        memberships = self._model.connections[connection].memberships
        live = [each for each, state in memberships.items() if state in MEMBERSHIP.live]
        if live and self._chance(0.85):
            return self._pick(live)
        return self._pick(self._namespaces), self._pick((None, *self._rooms))

    def _room(self) -> str:
        """Give a room, most often one that recurs."""
        rare = self._special_rooms if self._chance(0.7) else self._profile.rooms
        return self._pick(self._rooms if self._chance(0.6) else rare)

    def _body(self) -> Payload:
        is_binary = self._offers("binary")
        bodies = [each for each in self._profile.bodies if is_binary or isinstance(each, str)]
        return self._filled(self._random.choices(bodies, [9] + [1] * (len(bodies) - 1))[0])

    def _filled(self, body: Payload) -> Payload:
        """Put the number of the next action into a body."""
        number = str(len(self._actions) + 1)
        if isinstance(body, bytes):
            return _padded(body.replace(b"{}", number.encode()), b"...")
        return _padded(body.replace("{}", number), "...")


def _is_text(body: Payload) -> bool:
    """Whether a body can be an error text: a peer may drop a frame with any other (FR-17)."""
    return isinstance(body, str) or "\ufffd" not in body.decode("utf-8", "replace")


def _padded(body: _Text, mark: _Text) -> _Text:
    """Make a body as long as the number of bytes after a mark at its end says, if it has one."""
    head, found, size = body.rpartition(mark)
    return (head + mark[:1] * int(size))[: int(size)] if found and size.isdigit() else body


@cache
def _needed_by(name: str, kind: str) -> tuple[str, ...]:
    """Give the features that a name needs, of the kind of an attribute of ``Feature``."""
    if (name, kind) == ("", "namespaces"):
        return ("empty-unknown",)
    return tuple(each.id for each in features() if name in getattr(each, kind))
