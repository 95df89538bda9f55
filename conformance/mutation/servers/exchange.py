"""Servers with a fault in what belongs between servers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mutation import hooks as on
from mutation import operators as do
from mutation.hooks import Effect, Hooks, ServerContext, frames_of
from mutation.registry import mutants
from neffos_codec import Message

SENDER: Final = "neffos(0x"
"""The begin of the name of a connection between servers (SX-1)."""


def _names_sender(wait: str) -> bool:
    return wait.startswith(SENDER)


def _reading(read: Callable[[str], str]) -> Hooks:
    """Read another token out of the wait field of an ask, and reply with that."""

    def hook(c: ServerContext, m: Message) -> Effect:
        sent = frames_of(c.serve(m.replace(wait="$marked")))
        return [
            frame.replace(wait=read(m.wait)) if frame and frame.wait == "$marked" else each
            for each, frame in sent
        ]

    return on.receive(hook, wait=lambda wait: "!" in wait)


def _without(wait: str) -> str:
    return wait[0] + wait[2:] if wait[1:2] == "!" else wait


def _note_sender(c: ServerContext, m: Message) -> Effect:
    if _names_sender(m.wait):
        c.server.values[str(m.body)] = m.wait.removeprefix(SENDER)
    return None


def _leave_out(c: ServerContext, m: Message) -> Effect:
    is_out = m.event == "news" and c.server.values.get(str(m.body)) == c.id
    return () if is_out else None


mutants(
    "SX-1",
    "sender-named: Leaves the name of a broadcast's sender in what clients get.",
    on.send(do.change(wait=f"{SENDER}c000123456)"), event="news"),
    "SX-2",
    "marker-kept: Ignores the exchange marker.",
    _reading(lambda wait: wait),
    "all-markers-taken: Takes every exclamation mark out of a token.",
    _reading(lambda wait: wait.replace("!", "") if len(wait) > 2 else wait),
    "lone-marker-taken: Takes the marker out where nothing follows it, too.",
    _reading(lambda wait: _without(wait) if wait[0].isascii() else wait),
    "marker-behind-any-character: Takes the marker out after a character of several bytes, too.",
    _reading(lambda wait: _without(wait) if len(wait) > 2 else wait),
    "SX-10",
    "sender-taken: Treats what looks like a sender as one, and answers without a token.",
    on.send(do.change(wait=""), wait=_names_sender),
    "sender-not-answered: Treats an ask of what looks like a sender as one without a token.",
    on.receive(do.serve_with(wait=""), wait=_names_sender),
    "sender-left-out: Leaves the connection out of a broadcast that a client names as its sender.",
    Hooks(receive=_note_sender, send=_leave_out),
)
