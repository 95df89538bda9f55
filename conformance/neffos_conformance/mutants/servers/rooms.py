"""Servers that are wrong about rooms."""

from __future__ import annotations

from neffos_conformance.embedded import Serve
from neffos_conformance.mutants.bank import distorted
from neffos_conformance.mutants.distortions import Payloads, frame_of


@distorted("RM-1")
def join_unanswered(serve: Serve) -> Serve:
    """Joins a room without saying so."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        sent = serve(payload)
        return [] if message and message.event == "_OnRoomJoin" else sent

    return wrong
