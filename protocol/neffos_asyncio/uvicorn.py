"""uvicorn's WebSocket protocol, with turns: ``uvicorn.run(app, ws=WebSockets)``.

uvicorn parses each read from the network in one go. A read may contain tens of thousands of small
frames, which take a second. An ASGI application cannot prevent that, but the protocol can.
"""

from __future__ import annotations

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.protocol import Event, Protocol

from neffos_asyncio.incoming import InPieces


class WebSockets(InPieces, WebSocketsSansIOProtocol):
    """uvicorn's protocol, given a few bytes at a time.

    As an option, it is ``--ws neffos_asyncio.uvicorn:WebSockets``. It knows no server, and has the
    bounds of ``DEFAULT``; a subclass may set other ``limits``.
    """

    @property
    def parser(self) -> Protocol:
        """See ``InPieces``."""
        return self.conn

    def handled(self, event: Event) -> None:
        """See ``InPieces``."""
        if isinstance(event, Frame):
            event.data = b""
