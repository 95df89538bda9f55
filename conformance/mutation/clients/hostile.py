"""Clients that a hostile server can harm."""

from __future__ import annotations

from mutation import client_faults as on
from mutation import operators as do
from mutation.client_faults import GONE, ClientContext, frame_of
from mutation.clients.values import is_foreign
from mutation.hooks import CONNECT, LEAVE, Effect, Payload
from mutation.registry import mutant, mutants

MANY = 1000
"""Separators that are too many for a client that recurses over them."""


def has_separator(name: str) -> bool:
    """Say whether a name contains the separator."""
    return ";" in name


@mutant("SEC-16", on.receive_raw)
def two_flags_end_reading(c: ClientContext, payload: Payload) -> Effect:
    """Receives nothing more after a frame with both flags."""
    message = frame_of(payload)
    if message and message.is_error and message.is_no_op:
        c.count("deaf")
    return () if c.counts["deaf"] else None


mutants(
    "SEC-15",
    "namespace-looked-up-escaped: Looks a namespace up as it is written in the frame.",
    on.receive(do.refuse("bad namespace"), event=CONNECT, namespace=has_separator, wait=is_foreign),
    "room-looked-up-escaped: Looks a room up as it is written in the frame.",
    on.receive(do.empty_reply, event=LEAVE, room=has_separator, wait=bool),
    "SEC-16",
    "separators-end-it: Ends when a message has very many separators.",
    on.beside_raw(lambda _, payload: GONE if str(payload).count(";") > MANY else None),
    "prototype-ends-it: Ends when a namespace has the name of a member of every JavaScript object.",
    on.beside(lambda _, __: GONE, namespace="__proto__"),
)
