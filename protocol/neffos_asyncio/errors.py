"""The exceptions of neffos_asyncio.

Misuse of the session raises ``neffos_protocol.MisuseError`` here too, and a message that a frame
cannot carry ``neffos_codec.EncodeError``. Both are raised before anything is sent.
"""

from __future__ import annotations


class NeffosError(Exception):
    """Something failed between the two peers; the subclasses say what."""


class ReplyError(NeffosError):
    """An error that goes on the wire: a handler raises it to send an error reply.

    Attributes:
        text: the error text.
    """

    def __init__(self, text: object) -> None:
        self.text = str(text)
        super().__init__(self.text or "the peer refused without a text")


class PeerError(ReplyError):
    """The peer's error: its handler raised one, or it refused a change of membership.

    ``except ReplyError`` catches it. If a handler lets it through, its text is not passed on to
    the peer that asked, because another peer wrote it (SEC-17).
    """


class DialError(NeffosError):
    """A dial failed: there was no server, no upgrade, or no valid handshake.

    Attributes:
        status: the HTTP status of a response that was not an upgrade.
    """

    def __init__(self, explanation: str, status: int | None = None) -> None:
        self.status = status
        super().__init__(explanation)


class RefusedError(DialError):
    """The server's application refused the handshake (HS-4).

    Attributes:
        text: its reason.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(f"the server refused the connection: {text or 'it gave no reason'}")


class DeadlineError(NeffosError, TimeoutError):
    """The peer did not reply in time."""


class LostError(NeffosError):
    """No reply can come: the connection, or the namespace of the ask, has ended."""


class NoReceiverError(NeffosError):
    """A server-wide ask that no connection could receive."""


class DependencyError(NeffosError):
    """A dependency of a controller is not registered, or cannot be made."""
