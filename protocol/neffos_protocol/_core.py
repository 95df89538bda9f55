"""What every part of a session shares: its state, its bounds, and what it has to send.

A session is made of layers: this one, asks (``_asks.py``), memberships (``_memberships.py``), the
handshake (``_handshake.py``) and what applications call (``session.py``). Each knows those before
it. The layers are classes that extend each other, since a process holds very many sessions and
an object for each part would cost memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from neffos_codec import Native, Payload
from neffos_protocol.events import Role
from neffos_protocol.limits import SessionLimits
from neffos_protocol.state_machines import HANDSHAKE, HandshakeState, MembershipState

INSTEAD: Final = {
    HandshakeState.NEW: "call start first",
    HandshakeState.REQUESTED: "wait for Opened",
    HandshakeState.AWAITING: "wait for Opened",
    HandshakeState.DECIDING: "call accept or refuse first",
    HandshakeState.OPEN: "the handshake is complete",
    HandshakeState.CLOSED: "the session has ended: make a new one",
    MembershipState.DISCONNECTED: "connect the namespace, or join the room, first",
    MembershipState.CONNECTING: "wait for the peer's reply: Changed or ChangeRefused",
    MembershipState.DECIDING_CONNECT: "call allow or deny first",
    MembershipState.CONNECTED: "it is connected or joined already; call disconnect or leave",
    MembershipState.DISCONNECTING: "wait for the peer's reply: Changed or ChangeRefused",
    MembershipState.DECIDING_DISCONNECT: "call allow or deny first",
}
"""What to do instead of a misuse, by state."""

_OPEN: Final = HandshakeState.OPEN
MOST_BYTES: Final = 4
"""Bytes of a character in UTF-8, at most."""


def size_of(payload: Payload) -> int:
    """Give the bytes of a payload on the wire, as UTF-8 if it is text."""
    if not isinstance(payload, str):
        return len(payload)
    return len(payload) if payload.isascii() else len(payload.encode(errors="surrogatepass"))


class MisuseError(Exception):
    """The application called what it may not call now; the session is as it was before.

    Attributes:
        instead: what to call, or to wait for.
    """

    def __init__(self, explanation: str, instead: str) -> None:
        self.instead = instead
        super().__init__(f"{explanation}; {instead}")


class SessionCore:
    """The role of a session, its place in the handshake, and the payloads that it has to send."""

    __slots__ = (
        "_limits",
        "_native",
        "_number",
        "_outgoing",
        "_phase",
        "_tokens",
        "id",
        "role",
    )

    def __init__(
        self,
        role: Role,
        id_: str,
        tokens: Callable[[], str],
        native: Native,
        limits: SessionLimits,
    ) -> None:
        self.role: Final = role
        self.id = id_
        self._tokens = tokens
        self._native = native
        self._limits = limits
        self._phase = HANDSHAKE.initial["native-only" if native is Native.ONLY else role]
        # Of the last ask of the peer that the application was told of.
        self._number = 0
        # Most sessions have little of such things at a time: they are made when needed.
        self._outgoing: list[str | bytes] | None = None

    def _send(self, payload: str | bytes) -> None:
        if self._outgoing is None:
            self._outgoing = []
        self._outgoing.append(payload)

    def _check_open(self) -> None:
        if self._phase is not _OPEN:
            raise MisuseError("the handshake is not complete", INSTEAD[self._phase])

    def _check_frames(self) -> None:
        self._check_open()
        if self._native is Native.ONLY:
            raise MisuseError("a native-only session has no namespaces", "call send_native")
