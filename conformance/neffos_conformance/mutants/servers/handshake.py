"""Servers that are wrong about the handshake."""

from __future__ import annotations

from neffos_conformance.embedded import Serve
from neffos_conformance.mutants.bank import distorted


@distorted("HS-1")
def handshake_unanswered(serve: Serve) -> Serve:
    """Accepts without saying so."""
    return lambda payload: [] if payload == "M" else serve(payload)


@distorted("HS-6")
def id_missing(serve: Serve) -> Serve:
    """Sends an A without an id."""
    return lambda payload: [
        "A" if isinstance(sent, str) and sent.startswith("A") and ";" not in sent else sent
        for sent in serve(payload)
    ]


@distorted("HS-3")
def other_id(serve: Serve) -> Serve:
    """Announces one id and goes by another."""
    return lambda payload: [
        f"{sent}x" if isinstance(sent, str) and sent.startswith("A") and ";" not in sent else sent
        for sent in serve(payload)
    ]


@distorted("HS-4")
def refusal_accepted(serve: Serve) -> Serve:
    """Says A where it means H."""
    return lambda payload: [
        "A1" if isinstance(sent, str) and sent.startswith("H") else sent for sent in serve(payload)
    ]


@distorted("HS-5")
def deaf_to_binary_handshake(serve: Serve) -> Serve:
    """Takes an M only as text."""
    return lambda payload: [] if payload == b"M" else serve(payload)


@distorted("HS-7")
def wants_exactly_m(serve: Serve) -> Serve:
    """Takes nothing but a lone M."""
    return lambda payload: (
        [] if isinstance(payload, str) and payload.startswith("Mx") else serve(payload)
    )


@distorted("HS-8")
def second_request_answered(serve: Serve) -> Serve:
    """Answers every M, not only the first."""
    return lambda payload: serve(payload) or (["Aagain"] if payload == "M" else [])
