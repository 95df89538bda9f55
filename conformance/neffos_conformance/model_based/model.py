"""What a correct peer with the conformance application does: the oracle of a test sequence.

The model follows the state tables for each connection, namespace and room, and knows the
application (``data/application.toml``). For each action it says what the suite sends, and what
the peer must send or report. It does no I/O: the runner tells it what arrived.

A peer may handle messages one after the other, or go on while a handler waits for the suite. So
while a handler's ask is pending, what is due may come now or after the answer. The model refuses
actions whose effect would depend on which of the two a peer does.
"""

from __future__ import annotations

from neffos_codec import Message, encode
from neffos_conformance.model_based.actions import Action, ActionKind
from neffos_conformance.model_based.answering import answer
from neffos_conformance.model_based.expected import (
    SUCCESS,
    ExpectedMessage,
    Output,
    Payload,
    scope_of,
)
from neffos_conformance.model_based.opening import end_connection, open_connection, send_non_frame
from neffos_conformance.model_based.operations import command
from neffos_conformance.model_based.sending import send
from neffos_conformance.model_based.state import ConnectionState, PeerAsk, SutState
from neffos_conformance.model_based.tables import command_of
from neffos_protocol.machines import ASK
from neffos_protocol.names import CHANGE_OF


class SutModel(SutState):
    """The model of one peer under test while one test sequence runs."""

    def perform(self, action: Action) -> list[Output] | None:
        """Give what the suite does in an action, and expect what follows.

        ``None`` where the action is impossible now, or nothing can be said of what follows. Then
        nothing has changed but the notes on the action.
        """
        if action.kind is ActionKind.OPEN:
            return open_connection(self, action)
        connection = self.connections.get(action.connection)
        if connection is None or not connection.is_usable:
            return None
        if action.kind in (ActionKind.CLOSE, ActionKind.RESET):
            return end_connection(self, action, connection)
        if action.kind is ActionKind.NON_FRAME:
            return send_non_frame(self, action, connection)
        if connection.endpoint.exchanges == "native":
            return None
        if action.kind is ActionKind.ANSWER:
            return answer(self, action, connection)
        act = command if action.kind is ActionKind.COMMAND else send
        return act(self, action, connection)

    def arrived(self, expected: ExpectedMessage, message: Message | Payload) -> list[Payload]:
        """Note that an expected message arrived; give what the suite answers immediately."""
        connection = self.connections[expected.connection]
        connection.expected.remove(expected)
        if not self.is_client and connection.phase == "awaiting" and isinstance(message, str):
            if message.startswith("A"):
                connection.id = message[1:]
            self.handshake(connection, "request")
            self.handshake(connection, "let-in")
        if not isinstance(message, Message):
            return []
        if expected.is_ask:
            return self._asked(expected, connection, message)
        if expected.scope is not None and expected.change is not None:
            connection.undecided.discard(expected.scope)
            self.change(expected.number, connection, expected.change, expected.scope)
        return []

    def _asked(
        self, expected: ExpectedMessage, connection: ConnectionState, message: Message
    ) -> list[Payload]:
        number = expected.number
        change = CHANGE_OF.get(message.event)
        scope = scope_of(change, message) if change else (message.namespace, None)
        self.follow(ASK, "none", "send")
        if number not in connection.leaving:
            self.asks[number] = PeerAsk(expected.connection, message, change, scope)
            if change is not None:
                self.step(number, connection, scope, command_of(change))
            return []
        # The asks of leave-all are answered immediately: the sequence does not name each of them.
        rooms = connection.leaving[number]
        rooms.remove(scope)
        self.step(number, connection, scope, "exit")
        self.step(number, connection, scope, "exit-done")
        self.follow(ASK, "open", "reply")
        if not rooms:
            del connection.leaving[number]
            self.operations[number].settle("RM-8", SUCCESS)
        return [encode(message.empty_reply())]
