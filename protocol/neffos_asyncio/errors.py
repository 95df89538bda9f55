"""What the reference peers raise.

Misuse of the session raises ``neffos_protocol.MisuseError`` here too, and what no frame can
carry ``neffos_codec.EncodeError``: both before anything is sent.
"""

from __future__ import annotations


class NeffosError(Exception):
    """Something between the two peers went wrong; the subclasses say what."""


class ReplyError(NeffosError):
    """An error that travels on the wire: a handler raises it to answer with an error.

    Attributes:
        text: the error text.
    """

    def __init__(self, text: object) -> None:
        self.text = str(text)
        super().__init__(self.text or "the peer refused without a text")


class PeerError(ReplyError):
    """The other peer's error: what its handler raised, or that it refused a change.

    It is caught as a ``ReplyError``. One that a handler lets through is not passed on to whoever
    asked, who is another peer than the one that wrote it (SEC-17).
    """


class DialError(NeffosError):
    """No connection came about: no server, no upgrade, or no sound handshake.

    Attributes:
        status: the HTTP status that came in place of the upgrade, if one did.
    """

    def __init__(self, explanation: str, status: int | None = None) -> None:
        self.status = status
        super().__init__(explanation)


class RefusedError(DialError):
    """The server's application did not let this client in (HS-4).

    Attributes:
        text: what it said.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(f"the server refused the connection: {text or 'it gave no reason'}")


class DeadlineError(NeffosError, TimeoutError):
    """The peer did not answer in time."""


class LostError(NeffosError):
    """No answer will come: the connection, or the namespace of the ask, has ended."""


class NoReceiverError(NeffosError):
    """A server-wide ask that no connection was there to receive."""


class DependencyError(NeffosError):
    """Something that a controller needs was not registered, or cannot be made."""
