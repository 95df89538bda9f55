"""A program as it was played, in the language of cases: what was said, and what should have come.

Connection ids and tokens of the server stand as places, so that it can be pasted as a case.
"""

from __future__ import annotations

from collections.abc import Mapping

from neffos_codec import Message, encode
from neffos_conformance.model_based.actions import Action
from neffos_conformance.model_based.expected import Expected, Payload
from neffos_conformance.model_based.servers.model import Model
from neffos_conformance.model_based.writing import ending, saying


class Script:
    """The lines of a program, while it is played.

    Attributes:
        lines: what there is so far.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._bindings: dict[str, str] = {}
        self._came: dict[int, list[tuple[Expected, str]]] = {}
        self._quiet: dict[int, None] = {}
        self._plain: set[int] = set()

    def dialled(self, number: int, action: Action, headers: Mapping[str, str]) -> None:
        """A connection is opened."""
        verb = "dial"
        if not action.path.endswith("native") and action.how in ("plain", "chosen", "connecting"):
            verb = "handshake"
            self._plain.add(number)
        words = [*([action.path] if action.path else []), *_pairs(headers)]
        self.lines.append(" ".join([str(number), verb, *words]))

    def said(self, number: int, payload: Payload, *, is_shaken: bool) -> None:
        """The client said something."""
        if not (is_shaken and number in self._plain):
            self._line(number, ">", payload)

    def ended(self, number: int, code: int | None) -> None:
        """The client ended a connection."""
        self.lines.append(ending(number, code))

    def closed(self, number: int, *, is_ours: bool) -> None:
        """The server ended a connection, or answered its end."""
        self._flush(number, [])
        self.lines.append(f"{number} closed {'1000' if is_ours else 'any'}")
        self._quiet.pop(number, None)

    def asked_barrier(self, number: int, *, is_native: bool) -> None:
        """Nothing else is to come on a connection."""
        if not is_native:
            self._quiet[number] = None

    def came(self, number: int, expected: Expected, message: Message | None) -> None:
        """What was expected came."""
        if message is not None and expected.is_ask:
            self._bindings[f"q{expected.number}"] = message.wait
        self._came.setdefault(number, []).append((expected, ""))

    def settled(self, model: Model) -> None:
        """Write what came, and what should have, since this was called last."""
        for number, peer in model.peers.items():
            is_blocked = model.blocked(number)
            due = [
                each
                for each in peer.expected
                if each.must and not (each.is_deferred and is_blocked)
            ]
            self._flush(number, due)
            if peer.id:
                self._bindings.setdefault(f"id{number}", peer.id)
        self.lines += [f"{number} expect-nothing" for number in self._quiet]
        self._quiet.clear()

    def _flush(self, number: int, due: list[Expected]) -> None:
        came = [expected for expected, _ in self._came.pop(number, [])]
        wanted = [each for each in (*came, *due) if not self._is_said(number, each)]
        for each in wanted:
            answer = each.answers[0]
            if isinstance(answer, Message):
                if each.is_ask:
                    answer = answer.replace(wait=f"<<q{each.number}>>")
                self._line(number, "<*" if len(wanted) > 1 else "<", encode(answer))
            elif answer == "A":
                self._line(number, "<", f"A<<id{number}>>")
            else:
                self._line(number, "<*" if len(wanted) > 1 else "<", answer)

    def _is_said(self, number: int, expected: Expected) -> bool:
        """Whether the handshake of the language says it."""
        return expected.answers[0] == "A" and number in self._plain

    def _line(self, number: int, verb: str, payload: Payload) -> None:
        self.lines.append(f"{number} {saying(verb, payload, self._bindings)}")


def _pairs(headers: Mapping[str, str]) -> list[str]:
    text = " | ".join(f"{name}: {value}" for name, value in headers.items())
    return [text] if text else []
