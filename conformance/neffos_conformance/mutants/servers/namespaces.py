"""Servers that are wrong about namespaces."""

from __future__ import annotations

from neffos_codec import Message, encode
from neffos_conformance.embedded import Serve
from neffos_conformance.mutants.bank import distorted
from neffos_conformance.mutants.distortions import Payloads, answering, changing, frame_of


@distorted("NS-1")
def connect_without_effect(serve: Serve) -> Serve:
    """Says that a namespace is connected, and drops its events."""
    return changing(lambda m: None if m.event == "echo" else m)(serve)


@distorted("NS-2")
def tokenless_connect_taken(serve: Serve) -> Serve:
    """Connects a namespace without being asked for a reply."""

    def wrong(payload: str | bytes) -> Payloads:
        if payload == ";app;;_OnNamespaceConnect;0;0;":
            serve(f"$own{payload}")
            return []
        return serve(payload)

    return wrong


@distorted("NS-2")
def no_op_connect_taken(serve: Serve) -> Serve:
    """Connects a namespace though nothing was to be done."""
    return lambda payload: serve(
        payload.replace(";0;1;", ";0;0;") if isinstance(payload, str) else payload
    )


@distorted("NS-3")
def other_text_for_unknown(serve: Serve) -> Serve:
    """Refuses an unknown namespace in words of its own."""
    return changing(lambda m: m.replace(body="not found") if m.body == "bad namespace" else m)(
        serve
    )


@distorted("NS-4")
def refusal_ignored(serve: Serve) -> Serve:
    """Connects what the application refused."""
    return changing(
        lambda m: m.empty_reply() if m.body in ("namespace is closed", "room is locked") else m
    )(serve)


@distorted("NS-5")
def second_connect_refused(serve: Serve) -> Serve:
    """Takes a second connect for a mistake."""
    seen: set[str] = set()

    def answer(message: Message) -> Message | None:
        if message.event not in ("_OnNamespaceConnect", "_OnRoomJoin"):
            return None
        name = f"{message.namespace};{message.room}"
        if name in seen:
            return message.error_reply("already there")
        seen.add(name)
        return None

    return answering(answer)(serve)


@distorted("NS-6")
def disconnect_without_effect(serve: Serve) -> Serve:
    """Says that a namespace is disconnected, and goes on with its events."""
    return answering(lambda m: m.empty_reply() if m.event == "_OnNamespaceDisconnect" else None)(
        serve
    )


@distorted("NS-8")
def needless_disconnect_refused(serve: Serve) -> Serve:
    """Refuses to disconnect what is not connected, and to leave what was not joined."""
    here: set[str] = set()

    def answer(message: Message) -> Message | None:
        name = f"{message.namespace};{message.room}"
        match message.event:
            case "_OnNamespaceConnect" | "_OnRoomJoin":
                here.add(name)
            case "_OnNamespaceDisconnect" | "_OnRoomLeave" if name not in here:
                return message.error_reply("not there")
        return None

    return answering(answer)(serve)


@distorted("NS-9")
def unconnected_answered(serve: Serve) -> Serve:
    """Answers what is sent to a namespace that is not connected."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        sent = serve(payload)
        if not sent and message and message.namespace == "app" and message.event != "silent":
            return [encode(message.error_reply("bad namespace"))]
        return sent

    return wrong


@distorted("NS-15")
def empty_namespace_always_there(serve: Serve) -> Serve:
    """Takes the empty namespace for connected from the start."""
    return lambda payload: [payload] if payload == ";;;echo;0;0;hi" else serve(payload)


@distorted("NS-17")
def unconnected_unanswered(serve: Serve) -> Serve:
    """Drops asks for a namespace that is not connected, as the Go server does."""
    return changing(lambda m: None if m.body == "bad namespace" and m.namespace == "app" else m)(
        serve
    )
