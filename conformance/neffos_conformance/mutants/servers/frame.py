"""Servers that are wrong about the frame."""

from __future__ import annotations

from neffos_codec import ESCAPE, Message
from neffos_conformance.embedded import NOTHING, Serve
from neffos_conformance.mutants.bank import distorted
from neffos_conformance.mutants.distortions import Payloads, answering, changing, frame_of


@distorted("FR-1")
def body_cut(serve: Serve) -> Serve:
    """Takes the body to end at the next semicolon."""

    def change(message: Message) -> Message:
        body = message.body
        return message.replace(body=body.split(";")[0] if isinstance(body, str) else body)

    return changing(change)(serve)


@distorted("FR-2")
def noise_returned(serve: Serve) -> Serve:
    """Sends back what is no frame."""

    def wrong(payload: str | bytes) -> Payloads:
        noise = bool(payload) and payload not in ("M", b"M", "Mxyz") and frame_of(payload) is None
        return [payload] if noise else serve(payload)

    return wrong


@distorted("FR-2")
def five_separators_taken(serve: Serve) -> Serve:
    """Takes five separators for a frame with an empty body."""

    def wrong(payload: str | bytes) -> Payloads:
        if isinstance(payload, str) and payload.count(";") == 5:
            payload += ";"
        return serve(payload)

    return wrong


@distorted("FR-3")
def fields_not_escaped(serve: Serve) -> Serve:
    """Writes a semicolon in a field as it is."""
    return lambda payload: [
        sent.replace(ESCAPE, ";") if isinstance(sent, str) and not sent.endswith(ESCAPE) else sent
        for sent in serve(payload)
    ]


@distorted("SEC-15")
def looked_up_escaped(serve: Serve) -> Serve:
    """Looks a namespace up as it stands in the frame."""
    return answering(
        lambda m: (
            m.error_reply("bad namespace")
            if ";" in m.namespace and m.event == "_OnNamespaceConnect"
            else None
        )
    )(serve)


@distorted("FR-3")
def body_unescaped(serve: Serve) -> Serve:
    """Takes the escape literal for a semicolon in the body too."""

    def change(message: Message) -> Message:
        body = message.body
        return message.replace(body=body.replace(ESCAPE, ";") if isinstance(body, str) else body)

    return changing(change)(serve)


@distorted("FR-7")
def any_flag_is_true(serve: Serve) -> Serve:
    """Takes every flag but 0 for true."""
    return lambda payload: serve(
        payload.replace(";x;y;", ";1;1;") if isinstance(payload, str) else payload
    )


@distorted("FR-10")
def ascii_only(serve: Serve) -> Serve:
    """Puts question marks in place of what is not ASCII."""
    return lambda payload: [
        sent.encode("ascii", "replace").decode() if isinstance(sent, str) else sent
        for sent in serve(payload)
    ]


@distorted("FR-11")
def text_for_binary(serve: Serve) -> Serve:
    """Answers binary with text."""
    return lambda payload: [
        sent.decode("latin-1") if isinstance(sent, bytes) else sent for sent in serve(payload)
    ]


@distorted("FR-13")
def long_empty_reply(serve: Serve) -> Serve:
    """Writes the flags of an empty reply."""
    return lambda payload: [
        f"{sent[:-2]}0;0;" if isinstance(sent, str) and sent.endswith(";;;;;;") else sent
        for sent in serve(payload)
    ]


@distorted("FR-13")
def binary_empty_reply(serve: Serve) -> Serve:
    """Sends an empty reply in the kind of the ask."""

    def wrong(payload: str | bytes) -> Payloads:
        return [
            sent.encode() if isinstance(sent, str) and isinstance(payload, bytes) else sent
            for sent in serve(payload)
        ]

    return wrong


@distorted("FR-18")
def case_folded(serve: Serve) -> Serve:
    """Takes names that differ in their case for one."""
    return changing(lambda m: m.empty_reply() if m.is_error and m.namespace == "App" else m)(serve)


@distorted("FR-14")
def empty_message_answered(serve: Serve) -> Serve:
    """Complains about an empty message."""
    return lambda payload: (
        serve(payload) if payload or payload is NOTHING else [";app;;error;1;0;empty message"]
    )
