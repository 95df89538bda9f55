"""The state of a peer under test while one test sequence runs, and what is expected of it.

The tables are followed here, whatever leads to a step: an action, a message of the peer, or the
end of a connection. The role of the peer is a parameter: a client also has operations of its
driver, and observations that it reports to its application.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from neffos_codec import Message
from neffos_conformance.model_based import tables
from neffos_conformance.model_based.actions import (
    EITHER,
    REPORTED_AS,
    Action,
    ActionKind,
    DriverLog,
    ExpectedMessage,
    ExpectedObservation,
    Payload,
    Scope,
    is_room_of,
)
from neffos_conformance.model_based.application import AppEndpoint, endpoints, text_of
from neffos_conformance.model_based.frames import typed_like
from neffos_conformance.model_based.tables import TransitionKey
from neffos_conformance.runner.driver_protocol import fields_of
from neffos_protocol import Role
from neffos_protocol.events import Change
from neffos_protocol.names import REQUEST_EVENT
from neffos_protocol.state_machines import (
    HANDSHAKE,
    INCOMING_ASK,
    MEMBERSHIP,
    OUTGOING_ASK,
    StateMachine,
)

IN_ORDER: Final = "in order"
"""The order of a client's replies that wait for no handler (EV-1)."""


@dataclass(slots=True)
class PeerAsk:
    """An ask of the peer that arrived.

    Attributes:
        connection: where.
        message: the ask.
        change: of a system ask; ``None`` for an event ask.
        scope: the namespace or room that it is for.
        state: ``pending``, ``answered``, or ``ended`` with its namespace or connection.
        answered_by: the last action that answered it; 0 where none did.
    """

    connection: int
    message: Message
    change: Change | None
    scope: Scope
    state: str = "pending"
    answered_by: int = 0

    def ends_with(self, namespace: str) -> bool:
        """Whether it ends when a namespace is disconnected."""
        return self.scope[0] == namespace and (self.change is None) == (self.scope[1] is None)


@dataclass(slots=True)
class ConnectionState:
    """What the model knows of one connection.

    Attributes:
        number: of the connection.
        endpoint: the application at its end.
        phase: the state of the handshake.
        id: the connection's ID.
        memberships: the state of every namespace and room that is not disconnected.
        undecided: the namespaces and rooms whose next state depends on a message to come.
        expected: the messages that must or may come.
        observations: what a client must or may report.
        leaving: the rooms that ``leave-all`` has yet to leave, by its action.
        ending: the requirement by which the peer ends the connection, or confirms its end.
        is_over: it has ended.
    """

    number: int
    endpoint: AppEndpoint
    phase: str
    id: str = ""
    memberships: dict[Scope, str] = field(default_factory=dict)
    undecided: set[Scope] = field(default_factory=set)
    expected: list[ExpectedMessage] = field(default_factory=list)
    observations: list[ExpectedObservation] = field(default_factory=list)
    leaving: dict[int, list[Scope]] = field(default_factory=dict)
    ending: str = ""
    is_over: bool = False

    @property
    def path(self) -> str:
        """The path of its endpoint."""
        return self.endpoint.path

    @property
    def is_usable(self) -> bool:
        """Whether the suite can send on it."""
        return not self.is_over and not self.ending and self.phase == "open"

    def state(self, scope: Scope) -> str:
        """Give the state of a namespace or room."""
        return self.memberships.get(scope, tables.DISCONNECTED)

    def is_live(self, namespace: str, room: str = "") -> bool:
        """Whether a namespace is connected, and its room joined where one is given."""
        if self.state((namespace, None)) not in MEMBERSHIP.live:
            return False
        return not room or self.state((namespace, room)) in MEMBERSHIP.live

    def is_changing(self, scope: Scope) -> bool:
        """Whether a handler may see a membership before or after a change of it."""
        return scope in self.undecided or self.state(scope) in tables.CHANGING


class SutState:
    """The state of one peer under test.

    Args:
        role: of the peer.
        operations: that a client's driver supports; ``None`` for all.

    Attributes:
        connections: by their numbers.
        asks: the peer's asks by the actions that caused them.
        forbidden_by: the requirement that forbids (further) messages from an action.
        signatures: what each action was like. Equal ones show the same failures.
        reached: the transitions of the tables that were taken.
        operations: the driver's operations by their actions.
        tokens: the actions of the suite's own asks, by their tokens.
        changed_by: the last action for a membership.
        relayed: the asks whose handler asks the suite in turn, by their actions.
        misled: the connections and namespaces that have seen a wrong reply to a system ask (AR-19).
        blames: the requirement that explains any failure of an action.
        reports_native: whether a client must report native messages.
    """

    def __init__(self, role: Role, operations: frozenset[str] | None = None) -> None:
        self.role = role
        self.is_client = role is Role.CLIENT
        self.endpoints = endpoints(role.value)
        self.connections: dict[int, ConnectionState] = {}
        self.asks: dict[int, PeerAsk] = {}
        self.forbidden_by: dict[int, str] = {}
        self.signatures: dict[int, str] = {}
        self.reached: set[TransitionKey] = set()
        self.operations: dict[int, DriverLog] = {}
        self.tokens: dict[str, int] = {}
        self.changed_by: dict[tuple[int, Scope], int] = {}
        self.relayed: dict[int, Message] = {}
        self.misled: set[tuple[int, str]] = set()
        self.blames: dict[int, str] = {}
        self.reports_native = operations is None or "native" in operations

    def connect(self, action: Action) -> ConnectionState:
        """Add a connection."""
        endpoint = self.endpoints[action.path]
        start = "native-only" if endpoint.exchanges == "native" else self.role.value
        added = ConnectionState(action.connection, endpoint, HANDSHAKE.initial[start])
        self.connections[action.connection] = added
        return added

    def note(self, action: Action, signature: str, forbidden_by: str = "") -> None:
        """Record what an action is like, and what forbids further messages from it."""
        self.signatures[action.number] = signature
        if forbidden_by:
            self.forbidden_by[action.number] = forbidden_by

    # ------------------------------------------------------------ pending asks

    def _is_of_handler(self, number: int) -> bool:
        """Whether the ask that an action causes is a handler's, which waits for its reply."""
        return not self.is_client or number in self.relayed

    def pending_asks(self, connection: int) -> Iterator[tuple[int, PeerAsk]]:
        """Give the pending asks of the peer on a connection, by the actions that caused them."""
        for number, ask in self.asks.items():
            if ask.connection == connection and ask.state == "pending":
                yield number, ask

    def blocked(self, connection: int) -> bool:
        """Whether a handler may be waiting for the suite, and other messages for the handler."""
        return any(self._is_of_handler(number) for number, _ in self.pending_asks(connection))

    def held_up(self, connection: int) -> bool:
        """Whether deferred messages may still be deferred."""
        expected = self.connections[connection].expected
        return self.blocked(connection) or any(
            each.number in self.relayed and each.is_ask and not each.must for each in expected
        )

    def waits(self, connection: int) -> bool:
        """Whether the reply to what is sent now may depend on an answer of the suite."""
        expected = self.connections[connection].expected
        return self.blocked(connection) or any(
            each.is_ask and self._is_of_handler(each.number) for each in expected
        )

    def is_due(self, each: ExpectedMessage | ExpectedObservation, connection: int) -> bool:
        """Whether something that is expected must come now."""
        return each.must and not (each.is_deferred and self.held_up(connection))

    def reply_order(self, connection: int) -> str:
        """Give the order of a reply: a client's that is not deferred comes in order."""
        return IN_ORDER if self.is_client and not self.waits(connection) else ""

    # ------------------------------------------------------------ expecting

    def expect(
        self,
        action: Action,
        answers: Message | Payload | tuple[Message, ...],
        requirement: str,
        *,
        connection: int = 0,
        must: bool = True,
        is_ask: bool = False,
        order: str = "",
    ) -> ExpectedMessage:
        """Expect a message, in one of several forms, from an action."""
        connection = connection or action.connection
        expected = ExpectedMessage(
            action.number,
            connection,
            answers if isinstance(answers, tuple) else (answers,),
            requirement,
            must=must,
            is_ask=is_ask,
            order=order,
            is_deferred=action.kind not in (ActionKind.COMMAND, ActionKind.OPEN)
            and self.waits(connection),
        )
        self.connections[connection].expected.append(expected)
        return expected

    def permit(self, action: Action, answer: Message, connection: int = 0) -> None:
        """Permit a message from an action."""
        self.expect(action, answer, "", connection=connection, must=False)

    def reply(
        self,
        action: Action,
        message: Message,
        body: Payload,
        requirement: str = "AR-7",
        *,
        must: bool = True,
        is_error: bool = False,
        order: str | None = None,
    ) -> ExpectedMessage:
        """Expect a handler's reply to an event, or the event instead of it (AR-10)."""
        answer = message.reply(typed_like(body, message))
        if is_error:
            answer = message.error_reply(text_of(body))
        answers: tuple[Message, ...] = (answer,)
        if message.wait:
            self.follow(INCOMING_ASK, "pending", "reply-error" if is_error else "reply")
            self.forbidden_by[action.number] = "AR-22"
        elif message.is_no_op:
            answers = answer, answer.replace(is_no_op=False)
        requirement = requirement if message.wait else "AR-10"
        if order is None:
            order = self.reply_order(action.connection)
        return self.expect(action, answers, requirement, must=must, order=order)

    def expect_system_ask(self, action: Action, change: Change, scope: Scope) -> bool:
        """Expect a system ask of a server where the tables permit one; say whether they do."""
        connection = self.connections[action.connection]
        if MEMBERSHIP.row(connection.state(scope), change.direction, lambda _: False) is None:
            return False
        if any(each.is_ask for each in connection.expected):
            return False
        asked = Message("?", scope[0], scope[1] or "", REQUEST_EVENT[change])
        self.expect(action, asked, tables.ASK_REQUIREMENTS[change], is_ask=True)
        return True

    def observe(
        self, number: int, connection: int, requirement: str, *, must: bool = True, **fields: Any
    ) -> None:
        """Expect that a client reports something to its application."""
        if self.is_client:
            deferred = self.waits(connection)
            each = ExpectedObservation(number, connection, fields, requirement, must, deferred)
            self.connections[connection].observations.append(each)

    def observe_native(self, action: Action, requirement: str, payload: Payload) -> None:
        """Expect that a client reports a native message."""
        fields = {"saw": "native", **fields_of(payload)}
        must = self.reports_native
        self.observe(action.number, action.connection, requirement, must=must, **fields)

    def permit_report(self, number: int, connection: int, change: Change, scope: Scope) -> None:
        """Permit that a client reports a change."""
        fields = _fields_of(REPORTED_AS[change], scope)
        self.observe(number, connection, "", must=False, **fields)

    def release(self, connection: ConnectionState) -> None:
        """Expect nothing on a connection but that its operations end (AR-14)."""
        for expected in connection.expected:
            expected.must = False
        for each in self.operations.values():
            if each.connection == connection.number:
                each.settle("AR-14", *each.if_lost())

    def settled(self, number: int) -> None:
        """Note that every message and report arrived that was due."""
        connection = self.connections[number]
        connection.expected = [
            each for each in connection.expected if each.is_deferred or not each.must
        ]
        connection.observations = [
            each for each in connection.observations if each.is_deferred or not each.must
        ]

    # ------------------------------------------------------------ the tables

    def follow(self, machine: StateMachine[Any], state: str, input_: str) -> None:
        """Record a transition of a table whose states the model does not keep."""
        row = machine.row(state, input_, lambda _: False)
        if row is not None:
            self.reached.add(tables.key_of(machine, row))

    def handshake(self, connection: ConnectionState, input_: str) -> None:
        """Follow the table of the handshake."""
        row = HANDSHAKE.row(connection.phase, input_, lambda guard: guard == "decides")
        if row is not None:
            self.reached.add(tables.key_of(HANDSHAKE, row))
            connection.phase = row.next

    def change(
        self, number: int, connection: ConnectionState, change: Change, scope: Scope
    ) -> None:
        """Follow the table for a system ask of the suite, and the application's decision."""
        refused = connection.endpoint.refusal(scope, connection.state(scope), change)
        self.step(number, connection, scope, tables.ask_of(change))
        if connection.state(scope).startswith(tables.DECIDING):
            self.step(number, connection, scope, "deny" if refused else "allow")

    def step(self, number: int, connection: ConnectionState, scope: Scope, input_: str) -> None:
        """Follow the table of membership, and expect what an action's input leads to."""
        before = connection.state(scope)
        row = MEMBERSHIP.row(before, input_, lambda guard: connection.endpoint.holds(guard, scope))
        if row is None:
            return
        self.reached.add(tables.key_of(MEMBERSHIP, row))
        connection.memberships[scope] = row.next
        if row.next == tables.DISCONNECTED:
            del connection.memberships[scope]
        self._report(number, connection, scope, before, input_)
        if before in tables.CHANGING and row.next != before and "ask" in input_:
            self.permit_either(connection, scope)
        if before in MEMBERSHIP.live and row.next == tables.DISCONNECTED and input_ != "closed":
            if scope[1] is None:
                self._end_inside(number, connection, scope[0])
            else:
                self._relax(connection, scope)

    def _report(
        self, number: int, connection: ConnectionState, scope: Scope, before: str, input_: str
    ) -> None:
        """Expect that a client reports the change that a step made."""
        is_live = connection.state(scope) in MEMBERSHIP.live
        if is_live == (before in MEMBERSHIP.live):
            return
        is_room = scope[1] is not None
        changes = (Change.JOIN, Change.LEAVE) if is_room else (Change.CONNECT, Change.DISCONNECT)
        requirement = ("RM" if is_room else "NS") + ("-1" if is_live else "-2" if is_room else "-6")
        if input_ == "closed":
            requirement = "TR-15"
        must = input_ != "closed" or (not is_room and before == tables.CONNECTED)
        fields = _fields_of(REPORTED_AS[changes[0 if is_live else 1]], scope)
        self.observe(number, connection.number, requirement, must=must, **fields)

    def permit_either(
        self, connection: ConnectionState, scope: Scope, *, is_end: bool = False
    ) -> None:
        """Permit any outcome of a client's own asks that cross a system ask of the server.

        Args:
            connection: of the asks.
            scope: that the system ask changes.
            is_end: it disconnects a namespace, and ends the asks in it.
        """
        for number, ask in self.pending_asks(connection.number):
            operation = self.operations.get(number)
            if operation is None or operation.must:
                continue
            if ask.change is not None and ask.scope == scope:
                operation.outcomes = EITHER
            elif is_end and ask.scope[0] == scope[0]:
                operation.outcomes = operation.if_lost()

    def _relax(self, connection: ConnectionState, scope: Scope) -> None:
        """Make optional what was deferred for a room that was left meanwhile."""
        if not self.is_client:
            return
        for expected in connection.expected:
            answer = self.relayed.get(expected.number, expected.answers[0])
            is_there = isinstance(answer, Message) and (answer.namespace, answer.room) == scope
            if is_there and expected.is_deferred and expected.scope is None:
                expected.must = False
        for each in connection.observations:
            if each.is_deferred and each.is_event:
                is_there = (each.fields["namespace"], each.fields["room"]) == scope
                each.must = each.must and not is_there

    def _end_inside(self, number: int, connection: ConnectionState, namespace: str) -> None:
        """End the rooms and asks of a namespace that was disconnected (NS-14, NS-18)."""
        for scope in [each for each in connection.memberships if is_room_of(each, namespace)]:
            self.step(number, connection, scope, "closed")
        connection.undecided = {
            each for each in connection.undecided if not is_room_of(each, namespace)
        }
        ended = []
        for of, ask in self.pending_asks(connection.number):
            if ask.ends_with(namespace):
                self._end_ask(of, ask)
                ended.append(of)
        for of, rooms in list(connection.leaving.items()):
            if any(each[0] == namespace for each in rooms):
                del connection.leaving[of]
                ended.append(of)
        for of in ended:
            if of in self.relayed:
                self.forbidden_by[of] = "NS-18"
            elif of in self.operations:
                self.operations[of].settle("NS-18", *self.operations[of].if_lost())
        for expected in connection.expected:
            is_open = expected.is_deferred or (self.is_client and expected.is_ask)
            if is_open and expected.ends_with(namespace):
                expected.must = False
                expected.scope = None
        for each in connection.observations:
            if each.is_deferred and each.fields.get("namespace", "") == namespace:
                each.must = False

    def _end_ask(self, number: int, ask: PeerAsk) -> None:
        ask.state = "ended"
        self.follow(OUTGOING_ASK, "pending", "closed")
        if number in self.relayed:
            self.follow(INCOMING_ASK, "pending", "closed")

    def ended(self, number: int) -> None:
        """Note that a connection has ended."""
        connection = self.connections[number]
        if connection.is_over:
            return
        was_open = connection.phase == "open"
        self.handshake(connection, "close" if connection.ending == "TR-12" else "closed")
        last = max([0, *self.signatures])
        for each in connection.observations:
            each.must = False
        for expected in connection.expected:
            if expected.is_deferred and not expected.is_ask:
                self.follow(INCOMING_ASK, "pending", "closed")
            if expected.scope is not None:  # the peer may have made it before the end
                is_room = expected.scope[1] is not None
                for change in list(Change)[2:] if is_room else list(Change)[:2]:
                    self.permit_report(last, number, change, expected.scope)
        for scope in list(connection.memberships):
            self.step(last, connection, scope, "closed")
        for machine, state in (
            (OUTGOING_ASK, "none"),
            (INCOMING_ASK, "none"),
            (MEMBERSHIP, tables.DISCONNECTED),
        ):
            self.follow(machine, state, "closed")
        for of, ask in self.pending_asks(number):
            self._end_ask(of, ask)
        if self.is_client:
            self.release(connection)
            self.observe(last, number, "TR-14", must=was_open, saw="closed")
        connection.is_over = True


def _fields_of(word: str, scope: Scope) -> dict[str, Any]:
    namespace, room = scope
    fields = {"saw": word, "namespace": namespace}
    return fields if room is None else {**fields, "room": room}
