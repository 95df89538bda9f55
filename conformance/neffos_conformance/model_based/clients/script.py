"""A program as it was played, in the language of cases: with what should have come of it.

Tokens of the client stand as places, so that it can be pasted as a case.
"""

from __future__ import annotations

import shlex

from neffos_codec import Message, encode
from neffos_conformance.cases.script import CUT, OBSERVATIONS, OPERATIONS
from neffos_conformance.model_based.clients.model import Model
from neffos_conformance.model_based.clients.told import Doing, Observation, Outcome, Tell, Values
from neffos_conformance.model_based.expected import Expected, Payload
from neffos_conformance.model_based.writing import ending, saying, shown
from neffos_conformance.runner.client_steps import HEX
from neffos_conformance.runner.driver_protocol import body_of


class Script:
    """The lines of a program, while it is played.

    Attributes:
        lines: what there is so far.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._bindings: dict[str, str] = {}
        self._open: dict[int, list[int]] = {}
        self._came_to: dict[int, Outcome] = {}
        self._quiet: dict[int, None] = {}
        self._wanted: set[int] = set()

    def told(self, number: int, action: int, tell: Tell) -> None:
        """The client was told to do something."""
        self._open.setdefault(number, []).append(action)
        if tell.op == "dial":
            self.lines.append(f"{number} dial")
            return
        words = [_word(tell.values, name) for name in OPERATIONS[tell.op]]
        self.lines.append(" ".join([str(number), "do", tell.op, *_quoted(words)]))

    def refused(self, number: int, status: int) -> None:
        """A request of the client is answered with a status in place of an upgrade."""
        dial = len(self.lines) - 1 - self.lines[::-1].index(f"{number} dial")
        self.lines[dial] = f"{number} refuse {status}"

    def said(self, doing: Doing) -> None:
        """The suite said something."""
        payload = doing.content
        if not isinstance(payload, str | bytes):
            return
        verb = "<+" if doing.is_held else "<"
        if doing.is_cut_up:
            verb = "</"
            if isinstance(payload, str):
                payload = CUT.join(each.decode() for each in pieces(payload))
            else:
                payload = CUT.encode().join(pieces(payload))
        self.lines.append(f"{doing.connection} {saying(verb, payload, self._bindings)}")

    def ended(self, number: int, code: int | None) -> None:
        """The suite ended a connection."""
        self.lines.append(ending(number, code))

    def closed(self, number: int) -> None:
        """The client ended a connection."""
        self.lines.append(f"{number} closed any")
        self._quiet.pop(number, None)

    def asked_barrier(self, number: int) -> None:
        """Nothing else is to come on a connection."""
        self._quiet[number] = None

    def came(self, expected: Expected, message: Message | None) -> None:
        """A message came, or should have."""
        answer = expected.answers[0]
        if isinstance(answer, Message):
            name = f"q{expected.number}"
            if message is not None and expected.is_ask:
                self._bindings[name] = message.wait
            if expected.is_ask:
                answer = answer.replace(wait=f"<<{name}>>")
            if expected.is_any_text:
                answer = answer.replace(body=b"<<text>>" if answer.is_binary else "<<text>>")
            answer = encode(answer)
        self.lines.append(f"{expected.connection} {saying('>', answer, self._bindings)}")

    def came_to(self, number: int, action: int, outcome: Outcome) -> None:
        """An operation ended, or should have. The language waits for them in their order."""
        self._came_to[action] = outcome
        waiting = self._open.get(number, [])
        while waiting and waiting[0] in self._came_to:
            ended = self._came_to[waiting.pop(0)]
            words = "did" if ended.is_done else "failed"
            text = ended.text if ended.given is None else _text(ended.given)
            self.lines.append(f"{number} {words} {shown(text)}".rstrip())

    def saw(self, sight: Observation, *, is_wanted: bool = True) -> None:
        """The client told of something, or should have; or should not."""
        values = dict(sight.values)
        kind = values["saw"]
        words = [_word(values, name) for name in OBSERVATIONS[kind]]
        if values.get("error"):
            kind = "error"
        verb = "saw" if is_wanted else "unseen"
        self.lines.append(" ".join([str(sight.connection), verb, kind, *_quoted(words)]))

    def settled(self, model: Model) -> None:
        """Write what should have come and did not, and that nothing else was to come."""
        for number, peer in model.peers.items():
            is_held_up = model.held_up(number)
            for expected in peer.expected:
                is_put_off = expected.is_deferred and is_held_up
                if expected.must and not is_put_off and self._is_new(expected):
                    self.came(expected, None)
            for sight in peer.sights:
                is_put_off = sight.is_deferred and is_held_up
                if sight.must and not is_put_off and self._is_new(sight):
                    self.saw(sight)
        for action, told in model.told.items():
            if told.must and not told.is_over and action not in self._came_to:
                self.came_to(told.connection, action, told.outcomes[0])
        self.lines += [f"{number} expect-nothing" for number in self._quiet]
        self._quiet.clear()

    def _is_new(self, wanted: Expected | Observation) -> bool:
        """Whether it was not written before that something should have come."""
        if id(wanted) in self._wanted:
            return False
        self._wanted.add(id(wanted))
        return True


def pieces(payload: Payload) -> list[bytes]:
    """Cut a message into the fragments in which it is sent, each of whole characters."""
    third = max(1, len(payload) // 3)
    parts = (payload[:third], payload[third : 2 * third], payload[2 * third :])
    return [each.encode() if isinstance(each, str) else each for each in parts]


def _word(values: Values, name: str) -> str:
    if name == "text":
        return _text(body_of(values)) if "text" in values or "base64" in values else ""
    return str(values.get(name, ""))


def _text(body: Payload) -> str:
    return body if isinstance(body, str) else f"{HEX}{body.hex()}"


def _quoted(words: list[str]) -> list[str]:
    while len(words) > 1 and not words[-1]:
        words.pop()
    return [shown(shlex.quote(word)) for word in words]
