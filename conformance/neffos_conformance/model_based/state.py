"""The state of a peer under test while one test sequence runs, and what is expected of it.

The tables are followed here, whatever leads to a step: an action, a message of the peer, or the
end of a connection. The role of the peer is a parameter: a client also has operations of its
driver, and observations that it reports to its application.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from neffos_codec import Message
from neffos_conformance.model_based import tables
from neffos_conformance.model_based.actions import (
    EITHER,
    REPORTED_AS,
    ActionKind,
    DriverLog,
    Expectation,
    Payload,
    Scope,
    SuiteAction,
    is_room_of,
)
from neffos_conformance.model_based.application import AppEndpoint, endpoints, text_of
from neffos_conformance.model_based.frames import typed_like
from neffos_conformance.model_based.tables import TransitionKey
from neffos_conformance.runner.driver_protocol import fields_of
from neffos_protocol import Role
from neffos_protocol.events import Change
from neffos_protocol.names import BAD_NAMESPACE, REQUEST_EVENT
from neffos_protocol.state_machines import (
    HANDSHAKE,
    INCOMING_ASK,
    MEMBERSHIP,
    OUTGOING_ASK,
    MembershipState,
    StateMachine,
)

IN_ORDER: Final = "in order"
"""The order of the replies that wait for no other handler (EV-1)."""


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
        expected: what the peer must or may send and report.
        leaving: the rooms that ``leave-all`` has yet to leave, by its action.
        held: the suite's asks inside a namespace that may wait for a handler, by their actions.
        last_ended: the action whose ask of the peer was the last to end here; 0 if none is known.
        ending: the requirement by which the peer ends the connection, or confirms its end.
        is_over: it has ended.
    """

    number: int
    endpoint: AppEndpoint
    phase: str
    id: str = ""
    memberships: dict[Scope, str] = field(default_factory=dict)
    undecided: set[Scope] = field(default_factory=set)
    expected: list[Expectation] = field(default_factory=list)
    leaving: dict[int, list[Scope]] = field(default_factory=dict)
    held: dict[int, Message] = field(default_factory=dict)
    last_ended: int = 0
    ending: str = ""
    is_over: bool = False

    @property
    def path(self) -> str:
        """The path of its endpoint."""
        return self.endpoint.path

    @property
    def messages(self) -> list[Expectation]:
        """The messages that must or may come."""
        return [each for each in self.expected if not each.fields]

    @property
    def reports(self) -> list[Expectation]:
        """What a client must or may report."""
        return [each for each in self.expected if each.fields]

    @property
    def is_usable(self) -> bool:
        """Whether the suite can send on it."""
        return not self.is_over and not self.ending and self.phase == "open"

    def state(self, scope: Scope) -> str:
        """Give the state of a namespace or room."""
        return self.memberships.get(scope, MembershipState.DISCONNECTED)

    def fork(self) -> ConnectionState:
        """Give a copy that changes by itself."""
        return replace(
            self,
            memberships={**self.memberships},
            undecided={*self.undecided},
            expected=[copy(each) for each in self.expected],
            leaving={of: [*rooms] for of, rooms in self.leaving.items()},
            held={**self.held},
        )

    def is_live(self, namespace: str, room: str = "") -> bool:
        """Whether a namespace is connected, and its room joined where one is given."""
        if self.state((namespace, None)) not in MEMBERSHIP.live:
            return False
        return not room or self.state((namespace, room)) in MEMBERSHIP.live


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

    def fork(self) -> Self:
        """Give a copy in which an action can be tried. It shares what never changes."""
        twin = copy(self)
        for name, value in vars(self).items():
            if isinstance(value, dict | set):
                setattr(twin, name, copy(value))
        twin.connections = {number: each.fork() for number, each in self.connections.items()}
        twin.asks = {number: copy(each) for number, each in self.asks.items()}
        twin.operations = {number: copy(each) for number, each in self.operations.items()}
        return twin

    def note(self, action: SuiteAction, signature: str, forbidden_by: str = "") -> None:
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

    def _pending_changes(self, connection: ConnectionState, scope: Scope) -> Iterator[int]:
        """Give the pending system asks of the peer for a namespace or room."""
        for number, ask in self.pending_asks(connection.number):
            if ask.change is not None and ask.scope == scope:
                yield number

    def answered_by(self, action: int) -> int:
        """Give the last action that answered the ask of an action; that action where none did."""
        ask = self.asks.get(action)
        return (ask.answered_by if ask else 0) or action

    def blocked(self, connection: int) -> bool:
        """Whether a handler may be waiting for the suite, and other messages for the handler."""
        return any(self._is_of_handler(number) for number, _ in self.pending_asks(connection))

    def waits(self, connection: int) -> bool:
        """Whether the reply to what is sent now may depend on an answer of the suite."""
        expected = self.connections[connection].expected
        return self.blocked(connection) or any(
            each.is_ask and self._is_of_handler(each.number) for each in expected
        )

    def is_due(self, each: Expectation) -> bool:
        """Whether something that is expected must come now."""
        if not each.must or not each.is_deferred:
            return each.must
        expected = self.connections[each.connection].expected
        return not self.blocked(each.connection) and not any(
            other.number in self.relayed and other.is_ask and not other.must for other in expected
        )

    def reply_order(self, connection: int) -> str:
        """Give the order of a reply: one that is not deferred comes in order."""
        return "" if self.waits(connection) else IN_ORDER

    # ------------------------------------------------------------ expecting

    def expect(
        self,
        action: SuiteAction,
        answers: Message | Payload | tuple[Message, ...],
        requirement: str,
        *,
        connection: int = 0,
        must: bool = True,
        is_ask: bool = False,
        order: str = "",
    ) -> Expectation:
        """Expect a message, in one of several forms, from an action."""
        connection = connection or action.connection
        expected = Expectation(
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

    def permit(self, action: SuiteAction, answer: Message, connection: int = 0) -> None:
        """Permit a message from an action."""
        self.expect(action, answer, "", connection=connection, must=False)

    def reply(
        self,
        action: SuiteAction,
        message: Message,
        body: Payload,
        requirement: str = "AR-7",
        *,
        must: bool = True,
        is_error: bool = False,
        order: str | None = None,
    ) -> Expectation:
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

    def expect_system_ask(self, action: SuiteAction, change: Change, scope: Scope) -> bool:
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
            expected = self.connections[connection].expected
            each = Expectation(number, connection, (), requirement, must, is_deferred=deferred)
            each.fields = fields
            expected.append(each)

    def observe_native(self, action: SuiteAction, requirement: str, payload: Payload) -> None:
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
        for expected in connection.messages:
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
        if not self.waits(number):
            connection.held.clear()

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
        if row.next == MembershipState.DISCONNECTED:
            del connection.memberships[scope]
        self._report(number, connection, scope, before, input_)
        if before in tables.CHANGING and row.next != before and "ask" in input_:
            self.permit_either(connection, scope)
            # The ask of the peer has ended, or will with its namespace (RM-13, NS-18).
            connection.last_ended = next(self._pending_changes(connection, scope), 0)
        if (
            before in MEMBERSHIP.live
            and row.next == MembershipState.DISCONNECTED
            and input_ != "closed"
        ):
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
        must = input_ != "closed" or (not is_room and before == MembershipState.CONNECTED)
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
        for each in connection.expected:
            relayed = self.relayed.get(each.number)
            where = (relayed.namespace, relayed.room) if relayed else each.scope
            is_change = each.undecided is not None or (each.is_report and not each.is_event)
            if where == scope and each.is_deferred and not is_change:
                each.must = False

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
        also_ended = [*ended, *self._pending_changes(connection, (namespace, None))]
        if also_ended:
            connection.last_ended = also_ended[0] if len(also_ended) == 1 else 0
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
                expected.undecided = None
        self._permit_refusals(connection, namespace)

    def _permit_refusals(self, connection: ConnectionState, namespace: str) -> None:
        """Permit ``bad namespace`` for the asks that a peer begins to handle only now.

        What has disconnected the namespace may have passed them (EV-1). They are not pending then,
        so that NS-17 is about them and not NS-18.
        """
        for of, ask in [*connection.held.items()]:
            if ask.namespace == namespace:
                del connection.held[of]
                refusal = ask.error_reply(BAD_NAMESPACE)
                permitted = Expectation(of, connection.number, (refusal,), "", must=False)
                connection.expected.append(permitted)

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
        for expected in connection.reports:
            expected.must = False
        for expected in connection.messages:
            if expected.is_deferred and not expected.is_ask:
                self.follow(INCOMING_ASK, "pending", "closed")
            if expected.undecided is not None:  # the peer may have made it before the end
                scope = expected.undecided[1]
                for change in list(Change)[2:] if scope[1] is not None else list(Change)[:2]:
                    self.permit_report(last, number, change, scope)
        for scope in list(connection.memberships):
            self.step(last, connection, scope, "closed")
        for machine, state in (
            (OUTGOING_ASK, "none"),
            (INCOMING_ASK, "none"),
            (MEMBERSHIP, MembershipState.DISCONNECTED),
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
