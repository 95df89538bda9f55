"""Which new value corresponds to which recorded one, where a peer may choose.

A server chooses the IDs of connections, and each peer the tokens of its own asks. One recorded
value corresponds to exactly one new value, and the reverse; everything else is the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from neffos_codec import parse_wait
from neffos_conformance.wire.payloads import payload_bytes, payload_text

_SEPARATOR: Final = ";"


class IdMapping:
    """The IDs of connections (HS-3), which recur in bodies, rooms and names.

    An ID is found in a text as a word: no letter, digit or underscore touches it. One that is not
    known yet, since its acceptance is still on its way, is learnt from where it recurs.

    Args:
        recorded: the IDs of the recording.
    """

    def __init__(self, recorded: Iterable[str]) -> None:
        longest_first = sorted(recorded, key=len, reverse=True)
        words = "|".join(map(re.escape, longest_first))
        self._word = re.compile(rf"(?<!\w)(?:{words})(?!\w)") if words else None
        self._now: dict[str, str] = {}
        self._recorded: dict[str, str] = {}

    def known(self) -> dict[str, str]:
        """Give the new IDs by the recorded ones, as far as they are known."""
        return dict(self._now)

    def learn(self, recorded: str, now: str) -> str:
        """Learn an ID; say what is wrong with it, or nothing."""
        known = self._now.get(recorded)
        if known is not None and known != now:
            return f"{now!r} stands for {recorded!r}, as {known!r} did before"
        other = self._recorded.get(now)
        if other is not None and other != recorded:
            return f"{now!r} stands for {recorded!r}, and for {other!r} as well"
        self._now[recorded] = now
        self._recorded[now] = recorded
        return ""

    def put(self, text: str) -> str:
        """Give a recorded text with the new IDs in it, as far as they are known."""
        if self._word is None:
            return text
        return self._word.sub(lambda found: self._now.get(found[0], found[0]), text)

    def fits(self, recorded: str, now: str) -> dict[str, str] | None:
        """Say which IDs would have to be learnt for a text to be the recorded one.

        ``None`` means that none would help.
        """
        if self._word is None or recorded == now:
            return {} if self.put(recorded) == now else None
        pattern, end = "", 0
        groups: dict[str, str] = {}
        for found in self._word.finditer(recorded):
            pattern += re.escape(recorded[end : found.start()])
            end = found.end()
            known = self._now.get(found[0])
            if known is not None:
                pattern += re.escape(known)
            elif found[0] in groups:
                pattern += f"(?P={groups[found[0]]})"
            else:
                groups[found[0]] = f"id{len(groups)}"
                pattern += f"(?P<{groups[found[0]]}>.+?)"
        match = re.fullmatch(pattern + re.escape(recorded[end:]), now, re.DOTALL)
        return match and {id_: match[group] for id_, group in groups.items()}


class TokenMapping:
    """The tokens of the asks that the live side made on one connection.

    A token may be used again when its ask is settled (AR-5), and corresponds to another one then.
    """

    def __init__(self) -> None:
        self._now: dict[str, str] = {}
        self._pending: dict[str, str] = {}

    def learn(self, recorded: str, now: str) -> str:
        """Learn the token of an ask; say what is wrong with it, or nothing."""
        known = self._now.get(recorded)
        if known is not None and self._pending.get(known) == recorded and known != now:
            return f"{now!r} stands for {recorded!r}, as {known!r} does still"
        other = self._pending.get(now)
        if other is not None and other != recorded:
            return f"{now!r} is the token of another ask still, recorded as {other!r}"
        self._now[recorded] = now
        self._pending[now] = recorded
        return ""

    def answered(self, recorded: str) -> None:
        """Settle an ask, which has its reply."""
        self._pending.pop(self.put(recorded), None)

    def put(self, recorded: str) -> str:
        """Give the new token for a recorded one; itself if there is none."""
        return self._now.get(recorded, recorded)


def is_alike(recorded: str, now: str) -> bool:
    """Whether two tokens were made by the same kind of peer (AR-2, AR-3, AR-4)."""
    return parse_wait(recorded).kind is parse_wait(now).kind


def renamed(payload: str | bytes, tokens: TokenMapping | None, ids: IdMapping) -> str | bytes:
    """Give a recorded payload as it is sent now; but for IDs and tokens, no byte is changed.

    Args:
        payload: as it was recorded.
        tokens: those of its wait field; ``None`` if it replies to nothing.
        ids: the IDs.
    """
    wait, separator, rest = "", "", payload_text(payload)
    if tokens is not None:
        wait, separator, rest = rest.partition(_SEPARATOR)
        wait = tokens.put(wait)
    new = wait + separator + ids.put(rest)
    return new if isinstance(payload, str) else payload_bytes(new)
