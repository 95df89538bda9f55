"""Clients with a fault in the handshake."""

from __future__ import annotations

from typing import Any

from mutation import client_faults as on
from mutation import operators as do
from mutation.client_faults import GONE, ClientContext, ClientFault, frame_of
from mutation.hooks import Effect, Payload
from mutation.registry import mutant, mutants
from neffos_conformance.runner.driver_protocol import OperationError, Values

FIRST_ID = "A7"
"""The acceptance of the first connection of a case."""


def _first_request(*sent: Payload) -> ClientFault:
    """Send something in place of the first handshake request."""
    return on.send_raw(lambda c, payload: sent if payload == "M" and c.count() == 1 else None)


def _missed(payload: Payload) -> ClientFault:
    """Drop one payload."""
    return on.receive_raw(lambda _, given: () if given == payload else None)


def _id(change: Any) -> ClientFault:
    """Change the connection ID that an operation gives."""

    def result(_: ClientContext, __: str, values: Values) -> Values:
        there = "connection_id" in values
        return {**values, "connection_id": change(values["connection_id"])} if there else values

    return ClientFault(result=result)


@mutant("HS-9", on.receive_raw)
def request_ends_reading(c: ClientContext, payload: Payload) -> Effect:
    """Receives nothing more after an M that came before the acceptance."""
    c.kept.append(payload)
    return () if c.kept[0] in ("M", "Mxyz") else None


@mutant("HS-10", on.receive_raw)
def anything_is_acceptance(c: ClientContext, payload: Payload) -> Effect:
    """Treats any first text but a refusal as the acceptance."""
    is_first = c.count() == 1
    is_odd = isinstance(payload, str) and payload[:1] not in ("", "A", "H", "M")
    return c.serve(f"A{payload!s}") if is_first and is_odd and frame_of(payload) is None else None


def _without_text(_: ClientContext, op: str, __: Values) -> None:
    if op == "dial":
        raise OperationError("it did not work")


@mutant("HS-18", on.receive_raw)
def slow_to_begin(c: ClientContext, payload: Payload) -> Effect:
    """Misses messages that come directly after the acceptance."""
    is_barrier = str(payload).startswith("doubt;")  # the suite would wait for its reply
    return () if c.is_accepted and not c.done and not is_barrier else None


mutants(
    "HS-1",
    "frame-before-request: Sends an event before its handshake request.",
    _first_request(";app;;hello;0;0;", "M"),
    "HS-2",
    "name-behind-request: Puts its name after the M.",
    _first_request("Mneffos"),
    "HS-5",
    "binary-request: Sends its handshake request in a binary message.",
    _first_request(b"M"),
    "HS-7",
    "binary-acceptance-missed: Accepts only an acceptance in a text message.",
    _missed(b"A7"),
    "HS-8",
    "second-acceptance-taken: Sends a handshake request again when another acceptance comes.",
    on.beside_raw(lambda c, payload: "M" if payload == "A9" and c.is_accepted else None),
    "late-refusal-heeded: Fails the connection at an H that comes after the acceptance.",
    on.beside_raw(
        lambda c, payload: GONE if c.is_accepted and str(payload).startswith("H") else None
    ),
    "HS-9",
    "request-answered: Answers an M as a server would.",
    on.beside_raw(lambda _, payload: "A1" if payload in ("M", b"M") else None),
    "HS-11",
    "speaks-too-soon: Sends an event before it has received the acceptance.",
    on.beside_raw(lambda _, payload: ";app;;hello;0;0;" if payload == FIRST_ID else None),
    "early-ask-answered: Replies at once to asks that come before the acceptance.",
    on.receive(lambda _, m: f"{m.wait};;;;;;", is_accepted=False),
    "HS-14",
    "early-ask-lost: Loses frames that come before the acceptance.",
    on.receive(do.drop, is_accepted=False),
    "HS-16",
    "bare-refusal-missed: Waits indefinitely after an H without a text.",
    _missed("H"),
    "refusal-without-its-text: Does not report why the server refused it.",
    ClientFault(failed=_without_text),
    "HS-19",
    "id-ends-at-separator: Ends the ID at the first semicolon.",
    _id(lambda id_: id_.partition(";")[0]),
    "ids-of-ascii: Reads an ID as ASCII.",
    _id(lambda id_: id_.encode("ascii", "replace").decode()),
)
