"""The states that a client is in, what is expected of it, and what it is to tell of them.

The tables are followed here, whatever led to a step: what the client is told, what its server
says, or what the client says itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from neffos_codec import Message
from neffos_conformance.model_based.actions import Action
from neffos_conformance.model_based.clients.application import guards, refusal
from neffos_conformance.model_based.clients.told import EITHER, WORDS, DriverLog, Observation, lost
from neffos_conformance.model_based.expected import Payload, Place, input_of, is_inside
from neffos_conformance.model_based.states import Peer, States
from neffos_conformance.runner.driver_protocol import fields_of
from neffos_protocol.events import Change
from neffos_protocol.state_machines import HANDSHAKE, INCOMING_ASK, MEMBERSHIP, OUTGOING_ASK


@dataclass(slots=True)
class Connected(Peer):
    """What the model knows of one connection of a client.

    Attributes:
        sights: what the client is to tell its application, or may.
        leaving: rooms that are left one by one, by the action that has them left.
    """

    phase: str = HANDSHAKE.initial["client"]
    sights: list[Observation] = field(default_factory=list)
    leaving: dict[int, list[Place]] = field(default_factory=dict)


class ClientStates(States[Connected]):
    """The states of one client.

    Attributes:
        told: the operations by the actions that told them.
        tokens: the actions of the suite's asks, by their tokens.
        changed_by: the last action that was about a place, by its connection.
        relays: the asks of the server that a handler relays, by their actions.
        takes_native: whether the client tells of native messages for certain.
    """

    def __init__(self, operations: frozenset[str] | None = None) -> None:
        super().__init__()
        self.told: dict[int, DriverLog] = {}
        self.tokens: dict[str, int] = {}
        self.changed_by: dict[tuple[int, Place], int] = {}
        self.relays: dict[int, Message] = {}
        self.takes_native = operations is None or "native" in operations

    # ------------------------------------------------------------ what waits

    def is_of_handler(self, number: int) -> bool:
        """Whether the ask that an action causes is a handler's, which waits for its answer."""
        return number in self.relays

    def held_up(self, connection: int) -> bool:
        """Whether what was put off may be put off still."""
        may_relay = any(
            each.number in self.relays and each.is_ask and not each.must
            for each in self.peers[connection].expected
        )
        return self.blocked(connection) or may_relay

    def lane(self, connection: int) -> str:
        """Give where an answer has its place among others: nowhere, if it may be put off."""
        return "" if self.waits(connection) else "order"

    # ------------------------------------------------------------ expecting

    def see(
        self, number: int, connection: int, requirement: str, *, must: bool = True, **values: Any
    ) -> None:
        """Expect that the client tells its application of something."""
        sight = Observation(number, connection, values, requirement, must, self.waits(connection))
        self.peers[connection].sights.append(sight)

    def see_native(self, action: Action, requirement: str, payload: Payload) -> None:
        """Expect that the client tells its application of a native message."""
        values = {"saw": "native", **fields_of(payload)}
        must = self.takes_native
        self.see(action.number, action.connection, requirement, must=must, **values)

    def may_tell(self, number: int, connection: int, change: Change, place: Place) -> None:
        """Let the application be told of a change or not."""
        word = WORDS[change]
        namespace, room = place
        values = {"namespace": namespace}
        if room is not None:
            values["room"] = room
        self.see(number, connection, "", must=False, saw=word, **values)

    def let_go(self, peer: Connected) -> None:
        """Expect nothing for certain any more but that what is pending ends (AR-14)."""
        for expected in peer.expected:
            expected.must = False
        connection = self.number_of(peer)
        for told in self.told.values():
            if told.connection == connection and not told.is_over:
                told.comes_to("AR-14", *lost(told))

    # ------------------------------------------------------------ the tables

    def change(self, number: int, peer: Connected, change: Change, place: Place) -> None:
        """Follow the table for an ask of the server, and the application's decision."""
        refused = refusal(place, peer.state(place), change)
        self.step(number, peer, place, input_of(change))
        if peer.state(place).startswith("deciding-"):
            self.step(number, peer, place, "deny" if refused else "allow")

    def step(self, number: int, peer: Connected, place: Place, input_: str) -> None:
        """Follow the table of membership, and expect what comes of it, of an action."""
        state = peer.state(place)
        row = self.move(peer, place, input_, guards(place))
        if row is None:
            return
        self._tell_of(number, peer, place, state, input_)
        if state in ("connecting", "disconnecting") and row.next != state and "ask" in input_:
            self._crossed(peer, place)
        if state in MEMBERSHIP.live and row.next == "disconnected" and input_ != "closed":
            if place[1] is None:
                self._drop_inside(number, peer, place[0])
            else:
                self._unsettle(peer, place)

    def _unsettle(self, peer: Connected, place: Place) -> None:
        """Let what was put off come or not, since it was for a room that was left meanwhile."""
        for expected in peer.expected:
            answer = self.relays.get(expected.number, expected.answers[0])
            is_there = isinstance(answer, Message) and (answer.namespace, answer.room) == place
            if is_there and expected.is_deferred and expected.place is None:
                expected.must = False
        for sight in peer.sights:
            values = sight.values
            if sight.is_deferred and sight.is_event:
                is_there = (values["namespace"], values["room"]) == place
                sight.must = sight.must and not is_there

    def _tell_of(
        self, number: int, peer: Connected, place: Place, before: str, input_: str
    ) -> None:
        """Expect that the application is told of what a step came to."""
        is_live = peer.state(place) in MEMBERSHIP.live
        was_live = before in MEMBERSHIP.live
        if is_live == was_live:
            return
        namespace, room = place
        connection = self.number_of(peer)
        must = input_ != "closed" or (room is None and before == "connected")
        if room is None:
            word = "connected" if is_live else "disconnected"
            requirement = "TR-15" if input_ == "closed" else "NS-1" if is_live else "NS-6"
            self.see(number, connection, requirement, must=must, saw=word, namespace=namespace)
        else:
            word = "joined" if is_live else "left"
            requirement = "TR-15" if input_ == "closed" else "RM-1" if is_live else "RM-2"
            self.see(
                number, connection, requirement, must=must, saw=word, namespace=namespace, room=room
            )

    def _crossed(self, peer: Connected, place: Place) -> None:
        """Let the client's own ask come to anything, whose change the server has made."""
        for number, ask in self.open_asks(self.number_of(peer)):
            told = self.told.get(number)
            if told is None or told.must:
                continue
            if ask.place == place and ask.change is not None:
                told.outcomes = EITHER

    def _drop_inside(self, number: int, peer: Connected, namespace: str) -> None:
        """End what a namespace holds (NS-14, NS-18)."""
        connection = self.number_of(peer)
        for inside in [each for each in peer.places if is_inside(each, namespace)]:
            self.step(number, peer, inside, "closed")
        peer.unresolved = {each for each in peer.unresolved if not is_inside(each, namespace)}
        for of, ask in self.open_asks(connection):
            if not ask.ends_with(namespace):
                continue
            ask.state = "ended"
            self.follow(OUTGOING_ASK, "pending", "closed")
            if of in self.relays:
                self.follow(INCOMING_ASK, "pending", "closed")
                self.silences[of] = "NS-18"
            elif of in self.told:
                self.told[of].comes_to("NS-18", *lost(self.told[of]))
        for of, rooms in list(peer.leaving.items()):
            if any(each[0] == namespace for each in rooms):
                del peer.leaving[of]
                self.told[of].comes_to("NS-18", *lost(self.told[of]))
        for expected in peer.expected:
            is_put_off = expected.is_deferred or expected.is_ask
            if is_put_off and expected.ends_with(namespace):
                expected.must = False
                expected.place = None
        for sight in peer.sights:
            if sight.is_deferred and sight.values.get("namespace", "") == namespace:
                sight.must = False
