"""Servers with a fault in the handshake."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final
from uuid import uuid4

from mutation import fault_proxy as proxy
from mutation import hooks as on
from mutation import operators as do
from mutation.fault_proxy import Frame, FrameEffect, Proxy, Tunnel
from mutation.hooks import CONNECT, DISCONNECT, Effect, Hooks, Payload, Payloads, ServerContext
from mutation.registry import mutant, mutants
from neffos_asyncio import ON_NATIVE_MESSAGE, Server
from neffos_asyncio.server import ID_IN_USE
from neffos_codec import ESCAPE
from neffos_conformance.cases.features import ID_HEADER
from neffos_conformance.reference.application import echo, servers

LETTERS: Final = ("M", "A", "H", b"M", b"A", b"H")
"""What handshake messages begin with."""

REFUSED: Final = re.compile(rb"\x88.\x03\xf0", re.DOTALL)
"""A close frame with the code 1008, with which the server ends a refused connection (TR-13)."""

OWN_ID: Final = re.compile(r"A?[0-9a-f]{8}-[0-9a-f-]{27}")
"""An ID that the server chose itself, with or without an A before it."""


def _answers(change: Callable[[str], Effect], letters: str = "AH") -> Hooks:
    """Change the answer to the handshake request, where it begins with one of these letters."""

    def hook(c: ServerContext, sent: Payload) -> Effect:
        if c.seen or not isinstance(sent, str) or sent[:1] not in ("A", "H"):
            return None
        c.seen.add("answered")
        return change(sent) if sent[0] in letters else None

    return on.send_raw(hook)


def _named(id_: str) -> Hooks:
    """Give another ID where the server chose that itself."""
    hooks = _answers(lambda sent: f"A{id_}" if OWN_ID.fullmatch(sent) else None)
    given = on.when(do.change(body=id_), event="whoami", body=OWN_ID.fullmatch)
    return Hooks(send_raw=hooks.send_raw, send=given)


def _marking(answer: str) -> Hooks:
    """Run a server that gives IDs of its own at the mixed endpoint, and answer with another."""
    handlers = {"": {"echo": echo, ON_NATIVE_MESSAGE: echo}}

    def chosen(request: Any) -> str:
        return request.headers.get(ID_HEADER) or f"mixed-{uuid4()}"

    mixed = Server(handlers, id_generator=chosen)
    hooks = _answers(lambda sent: answer if sent.startswith("Amixed-") else None)
    return Hooks(send_raw=hooks.send_raw, served={**servers(), "/mixed": mixed})


@mutant("HS-9", on.receive_raw)
def acceptance_taken(c: ServerContext, payload: Payload) -> Effect:
    """Accepts a client that sends A and an ID, under that ID, refused or not."""
    if not c.is_accepted and payload == "Amine":
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


@mutant("HS-6", proxy.outward)
def id_in_use_accepted(link: Tunnel, frame: Frame) -> FrameEffect:
    """Accepts a client with the ID of an open connection if its application gives that ID."""
    id_ = link.request.value(ID_HEADER)
    if not id_.startswith("HS-6.3") or frame.content != f"H{ID_IN_USE}".encode():
        return None  # other cases wait until an ID is free
    return replace(frame, data=f"A{id_}".encode())


async def _never_close(writer: asyncio.StreamWriter, content: bytes) -> None:
    found = REFUSED.search(content)
    writer.write(content[: found.start()] if found else content)
    await writer.drain()
    if found:
        await asyncio.Event().wait()


EARLY: Final = frozenset({"any", "app", "early", "refused", "semi;colon", "sticky"})
"""The namespaces whose early frames these servers hold back."""


def _holding(release: Callable[[Payloads], Payloads]) -> Hooks:
    """Hold back what comes early, and release it in another way."""

    def hook(c: ServerContext, payload: Payload) -> Effect:
        if not c.is_early:
            return [sent for each in (payload, *release(c.release())) for sent in c.serve(each)]
        if c.message is None or c.message.namespace not in EARLY:
            return None
        c.kept.append(payload)
        return ()

    return on.receive_raw(hook)


@mutant("HS-13", on.receive_raw)
def later_frame_first(c: ServerContext, payload: Payload) -> Effect:
    """Handles early frames only after the frame that follows the request."""
    if c.is_early and c.message and c.message.namespace == "early":
        c.kept.append(payload)
        return ()
    if payload == "M" or not c.kept:
        return None
    return [sent for each in (None, *c.release()) for sent in c.serve(each)]


@mutant("HS-12", on.receive_raw)
def broadcasts_to_sockets(c: ServerContext, payload: Payload) -> Effect:
    """Sends a broadcast to connections before their handshake, too."""
    if c.message and c.message.event == "broadcast-others":
        for each in c.server.connections:
            each.kept.append(f";app;;news;0;0;{c.message.body!s}")
    return [*c.kept, *c.serve()] if payload == "M" else None


@mutant("HS-12", proxy.outward)
def first_ask_first(link: Tunnel, frame: Frame) -> FrameEffect:
    """Asks to connect a namespace before the acceptance, if its application begins with that."""
    name = link.request.value("X-Conformance-Connect")
    ask = replace(frame, data=f"17;{name};;{CONNECT};0;0;".encode())
    return [ask, frame] if name and frame.content[:1] == b"A" else None


@mutant("HS-17", on.receive_raw)
def broadcast_lets_in(c: ServerContext, payload: Payload) -> Effect:
    """Treats a connection as allowed once a broadcast was sent while it waited."""
    if c.message and c.message.event == "broadcast-others":
        for each in c.server.connections:
            each.count("reached")
    sent = c.serve()
    return "A1" if payload == "M" and c.counts and sent[:1] == ["Hnot today"] else sent


mutants(
    "HS-7 request-read-as-frame: Treats a request that goes on like a frame as a frame.",
    on.receive(do.drop, is_accepted=False),
    "HS-8 letters-reserved: Drops every payload that begins like a handshake message.",
    on.receive_raw(do.once(do.drop), payload=lambda sent: sent[:1] in LETTERS),
    "HS-12 early-frames-answered-first: Answers an ask to connect that comes early at once.",
    on.receive(do.empty_reply, is_early=True, namespace="app"),
    "HS-12 early-frames-complained-of: Reports at once that a frame came too early.",
    on.receive(
        lambda c, _: [";;;error;1;0;shake hands first", *c.serve()], is_early=True, namespace="app"
    ),
    "HS-12 early-noise-complained-of: Reports at once that a payload came too early.",
    on.receive_raw(do.give(";;;error;1;0;shake hands first"), is_early=True, message=None),
    "HS-3 handshake-unanswered: Accepts without an answer.",
    on.receive_raw(do.drop, payload="M"),
    "HS-3 accepted-twice: Sends the acceptance twice.",
    _answers(lambda sent: [sent, sent], "A"),
    "HS-3 id-and-more: Puts a line end after the ID.",
    _answers(lambda sent: f"{sent}\n", "A"),
    "HS-3 id-escaped: Escapes the semicolons of an ID as it does those of a name.",
    _answers(do.swap(";", ESCAPE), "A"),
    "HS-3 id-told-later: Sends the acceptance and the ID in two messages.",
    _answers(lambda sent: ["A", sent[1:]], "A"),
    "HS-3 other-id: Announces one ID and uses another.",
    _answers(lambda sent: f"{sent}x", "A"),
    "HS-6 id-missing: Gives connections an empty ID.",
    _named(""),
    "HS-6 id-missing-at-an-endpoint: Gives connections of one endpoint an empty ID.",
    _marking("A"),
    "HS-20 one-id-for-all: Gives every connection the same ID.",
    _named("server"),
    "HS-20 one-id-at-an-endpoint: Gives all connections of one endpoint the same ID.",
    _marking("Amixed"),
    "HS-4 refusal-accepted: Answers A instead of H.",
    _answers(lambda _: "A1", "H"),
    "HS-4 refusal-in-own-words: Refuses without the application's text.",
    _answers(lambda _: "Hrefused", "H"),
    "HS-4 refusal-escaped: Escapes the semicolons of a refusal's text.",
    _answers(do.swap(";", ESCAPE), "H"),
    "HS-4 refusal-unsaid: Closes the connection without a refusal.",
    _answers(lambda _: (), "H"),
    "HS-4 refusal-said-on: Sends a second refusal after the first.",
    _answers(lambda sent: [sent, "Hgo away"], "H"),
    "HS-4 refused-left-open: Leaves the connection open after a refusal.",
    Proxy(write=_never_close),
    "HS-15 bare-refusal: Refuses without a text where the application has none.",
    _answers(lambda sent: "H" if sent == "Hinternal error" else None),
    "HS-5 binary-acceptance: Accepts with the type of the request.",
    on.send_raw(
        lambda c, sent: sent.encode() if c.payload == b"M" and isinstance(sent, str) else None
    ),
    "HS-7 deaf-to-binary-handshake: Accepts an M only as text.",
    on.receive_raw(do.drop, payload=b"M"),
    "HS-7 wants-exactly-m: Accepts nothing but a lone M as a request.",
    on.receive_raw(do.drop, payload=do.begins("Mx")),
    "HS-7 tail-decoded: Drops a request that is not UTF-8.",
    on.receive_raw(do.drop, payload=lambda sent: sent[:1] == b"M" and not do.is_utf8(sent)),
    "HS-7 request-of-one-buffer: Has room for a request of 128 bytes.",
    on.receive_raw(do.drop, payload=lambda sent: len(sent) > 128 and sent[:2] == "MM"),
    "HS-8 second-request-answered: Answers every M, not only the first.",
    on.receive_raw(lambda c, payload: (c.serve() or ["Aagain"]) if payload == "M" else None),
    "HS-8 id-taken-over: Uses the ID that a client sends after a late A.",
    Hooks(
        receive_raw=on.when(do.keep, payload=do.begins("A"), message=None),
        send=on.when(lambda c, m: m.replace(body=c.kept[-1][1:]), event="whoami", kept=bool),
    ),
    "HS-8 late-refusal-obeyed: Fails the connection when a client sends a late H.",
    on.receive_raw(do.fail("refused"), payload=do.begins("Hgo")),
    "HS-13 kinds-apart: Handles early text before early binary.",
    _holding(lambda held: sorted(held, key=lambda each: isinstance(each, bytes))),
    "HS-13 early-frame-ends-it: Fails the connection at a frame before the request.",
    on.receive(do.fail("not a handshake"), is_early=True, namespace="early"),
    "HS-13 last-early-frame-first: Handles early frames from the last to the first.",
    _holding(lambda held: held[::-1]),
    "HS-13 early-connects-last: Handles early connects after all else that came early.",
    _holding(lambda held: sorted(held, key=lambda each: CONNECT in str(each))),
    "HS-13 early-connect-decided-late: Connects only after the disconnect that followed closely.",
    on.receive(
        do.empty_reply,
        event=DISCONNECT,
        namespace="any",
        wait=bool,
        namespaces=lambda names: list(names) == ["any"],
    ),
    "HS-17 accepts-before-it-checks: Accepts while the application still checks, and refuses then.",
    _answers(lambda sent: ["A1", sent], "H"),
)
