"""Frames that a person pasted, one on each line, as a recording.

A line may say who sent its message: ``>`` the client, ``<`` the server. If it does not, handshake
and tokens often show it. What they leave open is assumed, and then only what one message shows by
itself can be held against a peer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from neffos_codec import WaitKind, parse_wait
from neffos_conformance.recordings.har import is_handshake_request
from neffos_conformance.wire.payloads import frame_of
from neffos_conformance.wire.transcript import Entry, Header, header

_FROM_CLIENT: Final = (">", "→")
_FROM_SERVER: Final = ("<", "←")

ASSUMED: Final = "{} of the lines may be from either peer, and the client is assumed"
MARK: Final = "Begin each line with > if the client sent it, or with < if the server did."
BEGINNING: Final = (
    "The frames do not begin with the handshake request of the client, so what came before them is "
    "unknown: only the form of each frame is evaluated."
)


def read_pasted(text: str) -> tuple[Header, list[Entry], list[str]]:
    """Read pasted frames.

    Args:
        text: the frames, one on each line.

    Returns:
        The header and the entries of a recording, and sentences on what is unknown: if there
        are any, only the form of each frame can be evaluated.
    """
    first = header(
        scenario="frames that were pasted",
        client={"peer": "unknown"},
        server={"peer": "unknown"},
        how="pasted into the workbench",
    )
    entries: list[Entry] = []
    assumed = 0
    asked: dict[str, bool] = {}
    for payload, marked in _lines(text):
        from_client = _sender(payload, asked, is_first=not entries) if marked is None else marked
        if from_client is None:
            assumed += 1
            from_client = True
        frame = frame_of(payload)
        if frame is not None and frame.wait:
            asked.setdefault(frame.wait, from_client)  # what comes with it again is a reply
        entries.append(Entry(len(entries) + 2, 0.0, 1, from_client, payload))
    unknown = []
    if assumed:
        unknown.append(f"{ASSUMED.format(assumed)}. {MARK}")
    if entries and not (entries[0].from_client and is_handshake_request(entries[0].content)):  # type: ignore[arg-type]  # a message
        unknown.append(BEGINNING)
    return first, entries, unknown


def _lines(text: str) -> Iterator[tuple[str, bool | None]]:
    """Give each message, and whether its line says that it is the client's."""
    for line in text.splitlines():
        if not line.strip():
            continue
        mark, rest = line.lstrip()[:1], line.lstrip()[1:].removeprefix(" ")
        if mark in _FROM_CLIENT:
            yield rest, True
        elif mark in _FROM_SERVER:
            yield rest, False
        else:
            yield line, None


def _sender(payload: str, asked: dict[str, bool], *, is_first: bool) -> bool | None:
    """Say whether the client sent a message; ``None`` if nothing shows it.

    Args:
        payload: the message.
        asked: whether the client asked, by the token of each ask.
        is_first: nothing came before it.
    """
    frame = frame_of(payload)
    if frame is None:
        if is_first and is_handshake_request(payload):
            return True
        return False if payload[:1] in ("A", "H") else None
    if frame.wait in asked:
        return not asked[frame.wait]
    if not frame.wait:
        return None
    return parse_wait(frame.wait).kind is WaitKind.CLIENT_ASK
