"""Clients that are wrong about the handshake."""

from __future__ import annotations

from mutation.client_faults import (
    GONE,
    ClientFault,
    Do,
    Hand,
    Payload,
    Said,
    client_fault,
    frame_of,
)
from neffos_conformance.runner.driver_protocol import OperationError, Values


def _first_request(said: Said, in_place: list[Said]) -> ClientFault:
    """Make lies that say something in place of the first handshake request."""
    left = [in_place]
    return ClientFault(says=lambda each: left.pop() if each == said and left else [each])


@client_fault("HS-1")
def frame_before_request(_: Hand) -> ClientFault:
    """Says something before its handshake request."""
    return _first_request("M", [";app;;hello;0;0;", "M"])


@client_fault("HS-2")
def name_behind_request(_: Hand) -> ClientFault:
    """Puts its name behind the M."""
    return _first_request("M", ["Mneffos"])


@client_fault("HS-5")
def binary_request(_: Hand) -> ClientFault:
    """Sends its handshake request in a binary message."""
    return _first_request("M", [b"M"])


@client_fault("HS-7")
def binary_acceptance_missed(_: Hand) -> ClientFault:
    """Recognises an acceptance in a text message alone."""
    return ClientFault(hears=lambda payload: [] if payload == b"A7" else [payload])


@client_fault("HS-8")
def second_acceptance_taken(_: Hand) -> ClientFault:
    """Shakes hands again when another acceptance comes."""
    is_open: list[bool] = []

    def interjects(payload: Payload) -> list[Payload]:
        if payload != "A9":
            is_open.append(True)
            return []
        return ["M"] if is_open else []

    return ClientFault(interjects=interjects)


@client_fault("HS-8")
def late_refusal_heeded(_: Hand) -> ClientFault:
    """Ends the connection on an H that comes behind the acceptance."""
    is_open: list[bool] = []

    def interjects(payload: Payload) -> list[Said]:
        if not isinstance(payload, str):
            return []
        if payload.startswith("A"):
            is_open.append(True)
        return [GONE] if is_open and payload.startswith("H") else []

    return ClientFault(interjects=interjects)


@client_fault("HS-9")
def request_answered(_: Hand) -> ClientFault:
    """Answers an M like a server."""
    return ClientFault(interjects=lambda payload: ["A1"] if payload in ("M", b"M") else [])


@client_fault("HS-9")
def request_ends_reading(_: Hand) -> ClientFault:
    """Hears nothing more once an M came before the acceptance."""
    heard: list[Payload] = []

    def hears(payload: Payload) -> list[Payload]:
        heard.append(payload)
        return [] if heard[0] in ("M", "Mxyz") else [payload]

    return ClientFault(hears=hears)


@client_fault("HS-10")
def anything_is_acceptance(_: Hand) -> ClientFault:
    """Takes any first text but a refusal for the acceptance."""
    heard: list[Payload] = []

    def hears(payload: Payload) -> list[Payload]:
        heard.append(payload)
        is_odd = isinstance(payload, str) and payload[:1] not in ("", "A", "H", "M")
        is_acceptance = is_odd and len(heard) == 1 and frame_of(payload) is None
        return [f"A{payload!s}"] if is_acceptance else [payload]

    return ClientFault(hears=hears)


@client_fault("HS-11")
def speaks_too_soon(_: Hand) -> ClientFault:
    """Says something before it has heard of the acceptance."""
    return ClientFault(interjects=lambda each: [";app;;hello;0;0;"] if each == "A7" else [])


@client_fault("HS-11")
def early_ask_answered(_: Hand) -> ClientFault:
    """Answers asks that come before the acceptance at once."""
    is_open: list[bool] = []

    def early(payload: Payload) -> list[Payload]:
        if isinstance(payload, str) and payload.startswith("A"):
            is_open.append(True)
        message = frame_of(payload)
        return [f"{message.wait};;;;;;"] if message and not is_open else []

    return ClientFault(
        interjects=early, hears=lambda each: [] if frame_of(each) and not is_open else [each]
    )


@client_fault("HS-14")
def early_ask_lost(_: Hand) -> ClientFault:
    """Loses what comes before the acceptance."""
    is_open: list[bool] = []

    def hears(payload: Payload) -> list[Payload]:
        if isinstance(payload, str) and payload.startswith("A"):
            is_open.append(True)
        return [] if frame_of(payload) and not is_open else [payload]

    return ClientFault(hears=hears)


@client_fault("HS-16")
def bare_refusal_missed(_: Hand) -> ClientFault:
    """Waits for ever after an H without a text."""
    return ClientFault(hears=lambda payload: [] if payload == "H" else [payload])


@client_fault("HS-16")
def refusal_without_its_text(_: Hand) -> ClientFault:
    """Does not say why it was refused."""

    async def does(do: Do, op: str, fields: Values) -> Values:
        try:
            return await do(op, **fields)
        except OperationError as error:
            if op == "dial":
                raise OperationError("it did not work") from error
            raise

    return ClientFault(does=does)


@client_fault("HS-18")
def slow_to_begin(_: Hand) -> ClientFault:
    """Misses what comes right behind the acceptance."""
    is_open: list[bool] = []
    has_begun: list[bool] = []

    def hears(payload: Payload) -> list[Payload]:
        # What the suite asks of its own accord is not lost: it would wait for the answer.
        is_doubt = str(payload).startswith("doubt;")
        is_early = bool(is_open) and not has_begun and not is_doubt
        if isinstance(payload, str) and payload.startswith("A"):
            is_open.append(True)
        return [] if is_early else [payload]

    async def does(do: Do, op: str, fields: Values) -> Values:
        result = await do(op, **fields)
        has_begun.append(True)
        return result

    return ClientFault(hears=hears, does=does)


@client_fault("HS-19")
def id_ends_at_separator(_: Hand) -> ClientFault:
    """Takes the id to end at the first semicolon."""

    async def does(do: Do, op: str, fields: Values) -> Values:
        result = await do(op, **fields)
        if "connection_id" in result:
            result["connection_id"] = result["connection_id"].partition(";")[0]
        return result

    return ClientFault(does=does)


@client_fault("HS-19")
def ids_of_ascii(_: Hand) -> ClientFault:
    """Reads an id as ASCII."""

    async def does(do: Do, op: str, fields: Values) -> Values:
        result = await do(op, **fields)
        if "connection_id" in result:
            result["connection_id"] = result["connection_id"].encode("ascii", "replace").decode()
        return result

    return ClientFault(does=does)
