"""Servers with a fault in the handshake."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final
from uuid import uuid4

from mutation import hooks as on
from mutation import operators as do
from mutation.hooks import CONNECT, Effect, Hooks, Payload, Payloads, ServerContext, frame_of
from mutation.registry import mutant, mutants
from neffos_asyncio import ON_NATIVE_MESSAGE, Server
from neffos_codec import ESCAPE, Message
from neffos_conformance.reference.application import echo, servers

OWN_ID: Final = re.compile(r"A?[0-9a-f]{8}-[0-9a-f-]{27}")
"""An ID that the server chose itself, with or without an A before it."""


def _answers(change: Callable[[str], Effect], letters: str = "AH", **hooks: on.FrameHook) -> Hooks:
    """Change the answer to the handshake request, where it begins with one of these letters."""

    def hook(c: ServerContext, sent: Payload) -> Effect:
        is_answer = not c.seen and isinstance(sent, str) and sent[:1] in ("A", "H")
        if not is_answer:
            return None
        c.seen.add("answered")
        return change(str(sent)) if str(sent)[0] in letters else None

    return Hooks(send_raw=hook, **hooks)  # type: ignore[arg-type]  # other hooks of frames


def _own_id_reported_as(body: str) -> on.FrameHook:
    """Have the server report another ID where it chose that itself."""

    def hook(_: ServerContext, m: Message) -> Effect:
        is_own = m.event == "whoami" and OWN_ID.fullmatch(str(m.body))
        return m.replace(body=body) if is_own else None

    return hook


def _first(payload: Payload) -> str:
    content = payload.encode("utf-8", "replace") if isinstance(payload, str) else payload
    return content[:1].decode("latin-1")


def _is_early(c: ServerContext, letters: str = "M") -> bool:
    """Say whether the current payload, and those before it, are no handshake request.

    Args:
        c: the connection.
        letters: what a handshake request begins with.
    """
    if c.payload and _first(c.payload) in letters:
        c.values["requested"] = True
    return "requested" not in c.values


def _own_id_answered_as(answer: str) -> Callable[[str], Effect]:
    return lambda sent: answer if OWN_ID.fullmatch(sent) else None


def _marking(answer: str) -> Hooks:
    """Run a server that gives IDs of its own at the mixed endpoint, and answer with another."""
    handlers = {"": {"echo": echo, ON_NATIVE_MESSAGE: echo}}
    mixed = Server(handlers, id_generator=lambda _: f"mixed-{uuid4()}")
    hooks = _answers(lambda sent: answer if sent.startswith("Amixed-") else None)
    return Hooks(send_raw=hooks.send_raw, served={**servers(), "/mixed": mixed})


def _is_broken_request(payload: Payload) -> bool:
    return isinstance(payload, bytes) and payload[:1] == b"M" and not do.is_utf8(payload)


@mutant("HS-7", on.receive_raw)
def request_read_as_frame(c: ServerContext, payload: Payload) -> Effect:
    """Treats a request that goes on like a frame as a frame that came early."""
    if "requested" not in c.values and frame_of(payload):
        return ()
    _is_early(c)
    return None


def _note_id(c: ServerContext, payload: Payload) -> Effect:
    if isinstance(payload, str) and payload.startswith("A") and not frame_of(payload):
        c.values["id"] = payload[1:]
    return None


@mutant("HS-8", on.receive_raw)
def letters_reserved(c: ServerContext, payload: Payload) -> Effect:
    """Drops every payload that begins like a handshake message, frames and native ones too."""
    if "requested" in c.values and _first(payload) in ("M", "A", "H"):
        return ()
    _is_early(c)
    return None


@mutant("HS-9", on.receive_raw)
def acceptance_taken(c: ServerContext, payload: Payload) -> Effect:
    """Accepts a client that sends A and an ID, under that ID, refused or not."""
    if _is_early(c) and payload == "Amine":
        c.values["id"] = "mine"
        return ()
    if "id" not in c.values:
        return None
    m = c.message
    if m and m.event == "whoami":
        return f"{m.wait};app;;whoami;0;0;mine"
    if m and m.namespace == "app":
        return f"{m.wait};;;;;;"
    return () if payload == "M" else None


@mutant("HS-9", on.receive_raw)
def refusal_taken_for_request(c: ServerContext, payload: Payload) -> Effect:
    """Completes the handshake, without an answer, on any handshake message."""
    if payload != "Hno" or c.count() > 1:
        return None
    c.serve("M")
    return ()


EARLY: Final = frozenset({"any", "app", "refused", "semi;colon", "sticky"})
"""The namespaces whose early frames these servers hold back."""


def _holding(release: Callable[[Payloads], Payloads]) -> Hooks:
    """Hold back what comes early, and release it in another way."""

    def hook(c: ServerContext, payload: Payload) -> Effect:
        if "requested" in c.values:
            return None
        if not _is_early(c):
            return c.serve() + [sent for each in release(c.release()) for sent in c.serve(each)]
        if c.message is None or c.message.namespace not in EARLY:
            return None
        c.kept.append(payload)
        return ()

    return on.receive_raw(hook)


@mutant("HS-12", on.receive_raw)
def early_frames_answered_first(c: ServerContext, _: Payload) -> Effect:
    """Answers an ask to connect that comes early at once."""
    m = c.message
    return m.empty_reply() if _is_early(c, "MAH") and m and m.namespace == "app" else None


@mutant("HS-12", on.receive_raw)
def early_frames_complained_of(c: ServerContext, _: Payload) -> Effect:
    """Reports at once that a frame came too early."""
    is_early = _is_early(c, "MAH") and c.message is not None and c.message.namespace == "app"
    return [";;;error;1;0;shake hands first", *c.serve()] if is_early else None


@mutant("HS-12", on.receive_raw)
def broadcasts_to_sockets(c: ServerContext, _: Payload) -> Effect:
    """Sends a broadcast to connections before their handshake, too."""
    if c.message and c.message.event == "broadcast-others":
        for each in c.server.connections:
            each.kept.append(f";app;;news;0;0;{c.message.body!s}")
    is_first = "requested" not in c.values and not _is_early(c)
    return [*c.kept, *c.serve()] if is_first else None


@mutant("HS-17", on.receive_raw)
def broadcast_lets_in(c: ServerContext, payload: Payload) -> Effect:
    """Treats a connection as allowed once a broadcast was sent while it waited."""
    if c.message and c.message.event == "broadcast-others":
        for each in c.server.connections:
            each.count("reached")
    sent = c.serve()
    return "A1" if payload == "M" and c.counts and sent[:1] == ["Hnot today"] else sent


mutants(
    "HS-3",
    "handshake-unanswered: Accepts without an answer.",
    do.drop_payloads(lambda payload: payload == "M"),
    "accepted-twice: Sends the acceptance twice.",
    _answers(lambda sent: [sent, sent], "A"),
    "id-and-more: Puts a line end after the ID.",
    _answers(lambda sent: f"{sent}\n", "A"),
    "id-escaped: Escapes the semicolons of an ID as it does those of a name.",
    _answers(lambda sent: sent.replace(";", ESCAPE), "A"),
    "id-told-later: Sends the acceptance and the ID in two messages.",
    _answers(lambda sent: ["A", sent[1:]], "A"),
    "other-id: Announces one ID and uses another.",
    _answers(lambda sent: f"{sent}x", "A"),
    "HS-6",
    "id-missing: Gives connections an empty ID.",
    _answers(_own_id_answered_as("A"), send=_own_id_reported_as("")),
    "id-missing-at-an-endpoint: Gives connections of one endpoint an empty ID.",
    _marking("A"),
    "HS-20",
    "one-id-for-all: Gives every connection the same ID.",
    _answers(_own_id_answered_as("Aserver"), send=_own_id_reported_as("server")),
    "one-id-at-an-endpoint: Gives all connections of one endpoint the same ID.",
    _marking("Amixed"),
    "HS-4",
    "refusal-accepted: Answers A instead of H.",
    _answers(lambda _: "A1", "H"),
    "refusal-in-own-words: Refuses without the application's text.",
    _answers(lambda _: "Hrefused", "H"),
    "refusal-escaped: Escapes the semicolons of a refusal's text.",
    _answers(lambda sent: sent.replace(";", ESCAPE), "H"),
    "refusal-unsaid: Closes the connection without a refusal.",
    _answers(lambda _: (), "H"),
    "refusal-said-on: Sends a second refusal after the first.",
    _answers(lambda sent: [sent, "Hgo away"], "H"),
    "HS-15",
    "bare-refusal: Refuses without a text where the application has none.",
    _answers(lambda sent: "H" if sent == "Hinternal error" else None),
    "HS-5",
    "binary-acceptance: Accepts with the type of the request.",
    on.send_raw(
        lambda c, sent: sent.encode() if c.payload == b"M" and isinstance(sent, str) else None
    ),
    "HS-7",
    "deaf-to-binary-handshake: Accepts an M only as text.",
    do.drop_payloads(lambda sent: sent == b"M"),
    "wants-exactly-m: Accepts nothing but a lone M as a request.",
    do.drop_payloads(lambda sent: isinstance(sent, str) and sent.startswith("Mx")),
    "tail-decoded: Drops a request that is not UTF-8.",
    do.drop_payloads(_is_broken_request),
    "request-of-one-buffer: Has room for a request of 128 bytes.",
    do.drop_payloads(lambda sent: len(sent) > 128 and sent[:2] == "MM"),
    "HS-8",
    "second-request-answered: Answers every M, not only the first.",
    on.receive_raw(lambda c, payload: (c.serve() or ["Aagain"]) if payload == "M" else None),
    "id-taken-over: Uses the ID that a client sends after a late A.",
    Hooks(
        receive_raw=_note_id,
        send=lambda c, m: (
            m.replace(body=c.values["id"]) if m.event == "whoami" and c.values.get("id") else None
        ),
    ),
    "late-refusal-obeyed: Fails the connection when a client sends a late H.",
    on.receive_raw(lambda _, payload: do.fail("refused") if payload[:3] == "Hgo" else None),
    "HS-13",
    "kinds-apart: Handles early text before early binary.",
    _holding(lambda held: sorted(held, key=lambda each: isinstance(each, bytes))),
    "last-early-frame-first: Handles early frames from the last to the first.",
    _holding(lambda held: held[::-1]),
    "early-connects-last: Handles early connects after all else that came early.",
    _holding(lambda held: sorted(held, key=lambda each: CONNECT in str(each))),
    "HS-17",
    "accepts-before-it-checks: Accepts while the application's check still runs, and refuses then.",
    _answers(lambda sent: ["A1", sent], "H"),
)
