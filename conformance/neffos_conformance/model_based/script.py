"""Writes a test sequence in the language of cases, with what a correct peer does.

Connection IDs and the peer's tokens are placeholders, so that the lines can be pasted as a case.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from functools import partial
from itertools import islice
from typing import Final

from neffos_codec import Message, encode
from neffos_conformance.cases.matching import Bindings, unfill
from neffos_conformance.cases.script import CUT, OBSERVATIONS, OPERATIONS
from neffos_conformance.model_based.actions import (
    Expectation,
    OperationOutcome,
    Output,
    Payload,
    SuiteAction,
)
from neffos_conformance.model_based.frames import ACCEPTANCE, fragments
from neffos_conformance.model_based.model import SutModel
from neffos_conformance.runner.client_steps import HEX
from neffos_conformance.runner.driver_protocol import Values, body_of

_LONG: Final = re.compile(r"([^>\s])\1{99,}")
_INVISIBLE: Final = re.compile(r"[\x00-\x1f]+|^ +| +$|[\u0300-\u036f]+")
"""Characters that a line would not show, or not as they are."""


class ScriptWriter:
    """Writes the lines of one test sequence while it runs.

    Args:
        model: of the peer under test.
    """

    def __init__(self, model: SutModel) -> None:
        self._parts: list[str | Callable[[], str]] = []
        self._model = model
        self._ours, self._theirs = "<>" if model.is_client else "><"
        self._bindings: Bindings = {}
        self._quiet: dict[int, None] = {}
        self._with_handshake: set[int] = set()
        self._arrived: dict[int, list[Expectation]] = {}
        self._operations: dict[int, list[int]] = {}
        self._outcomes: dict[int, OperationOutcome] = {}
        self._written: set[Expectation] = set()

    @property
    def lines(self) -> list[str]:
        """The script so far. Lines with long messages are written here: few are ever read."""
        return [each if isinstance(each, str) else each() for each in self._parts]

    # ------------------------------------------------------------ what the suite does

    def dialled(self, action: SuiteAction, headers: Mapping[str, str]) -> None:
        """The suite opens a connection to a server."""
        verb = "dial"
        is_plain = action.how in ("plain", "chosen", "connecting")
        if is_plain and self._model.endpoints[action.path].exchanges != "native":
            verb = "handshake"
            self._with_handshake.add(action.connection)
        named = " | ".join(f"{name}: {value}" for name, value in headers.items())
        words = [str(action.connection), verb, action.path, named]
        self._parts.append(" ".join(filter(None, words)))

    def commanded(self, number: int, action: int, operation: Values) -> None:
        """The suite has the client's driver perform an operation."""
        self._operations.setdefault(number, []).append(action)
        if (op := operation["op"]) == "dial":
            self._parts.append(f"{number} dial")
        else:
            words = [_word(operation, name) for name in OPERATIONS[op]]
            self._parts.append(partial(_worded, f"{number} do {op}", words))

    def refused(self, number: int, status: int) -> None:
        """The suite answers a client's request with a status instead of an upgrade."""
        dial = len(self._parts) - 1 - self._parts[::-1].index(f"{number} dial")
        self._parts[dial] = f"{number} refuse {status}"

    def sent(self, output: Output, *, is_opening: bool = False) -> None:
        """The suite sends a message."""
        number, payload = output.connection, output.content
        if not isinstance(payload, str | bytes) or (is_opening and number in self._with_handshake):
            return
        verb = f"{self._ours}{'+' if output.is_held else ''}"
        if output.is_fragmented:
            verb += "/"
            joined = CUT.encode().join(fragments(payload))
            payload = joined.decode() if isinstance(payload, str) else joined
        self._line(number, verb, payload)

    def ended(self, number: int, code: int | None) -> None:
        """The suite ends a connection."""
        self._parts.append(f"{number} cut" if code is None else f"{number} close {code}")

    def barrier(self, number: int) -> None:
        """The suite asks a barrier: the peer must have sent nothing else."""
        self._quiet[number] = None

    # ------------------------------------------------------------ what the peer does

    def closed(self, number: int, *, is_confirmed: bool) -> None:
        """The peer closes a connection, or confirms its end."""
        self._flush(number, [])
        code = "1000" if is_confirmed and not self._model.is_client else "any"
        self._parts.append(f"{number} closed {code}")
        self._quiet.pop(number, None)

    def arrived(self, expected: Expectation, message: Message | None) -> None:
        """An expected message arrives. Those of a server may be written in any order."""
        if message is not None and expected.is_ask:
            self._bindings[f"q{expected.number}"] = message.wait
        self._arrived.setdefault(expected.connection, []).append(expected)
        if self._model.is_client:
            self._flush(expected.connection, [])

    def operation_ended(self, number: int, action: int, outcome: OperationOutcome) -> None:
        """An operation ends, or should have. The language waits for them in order."""
        self._outcomes[action] = outcome
        waiting = self._operations.get(number, [])
        while waiting and waiting[0] in self._outcomes:
            ended = self._outcomes[waiting.pop(0)]
            self._parts.append(partial(_ended, number, ended))

    def reported(self, report: Expectation, *, is_wanted: bool = True) -> None:
        """A client reports something, or should have; or should not."""
        fields = report.fields
        words = [_word(fields, name) for name in OBSERVATIONS[fields["saw"]]]
        kind = "error" if fields.get("error") else fields["saw"]
        verb = "saw" if is_wanted else "unseen"
        self._parts.append(partial(_worded, f"{report.connection} {verb} {kind}", words))

    def settled(self) -> None:
        """Write what was due and did not come, and that nothing else was to come."""
        model = self._model
        for number, connection in model.connections.items():
            self._flush(number, [each for each in connection.messages if model.is_due(each)])
            for each in connection.reports:
                if model.is_due(each) and self._is_new(each):
                    self.reported(each)
            if connection.id and not model.is_client:
                self._bindings.setdefault(f"id{number}", connection.id)
        for action, log in model.operations.items():
            if log.must and not log.is_over and action not in self._outcomes:
                self.operation_ended(log.connection, action, log.outcomes[0])
        self._parts += [f"{number} expect-nothing" for number in self._quiet]
        self._quiet.clear()

    # ------------------------------------------------------------ lines

    def _flush(self, number: int, due: list[Expectation]) -> None:
        wanted = [*self._arrived.pop(number, []), *due]
        wanted = [each for each in wanted if self._is_new(each)]
        if number in self._with_handshake:  # the verb includes the acceptance
            wanted = [each for each in wanted if each.answers[0] != ACCEPTANCE]
        for each in wanted:
            answer = each.answers[0]
            is_any = len(wanted) > 1 and answer != ACCEPTANCE and not self._model.is_client
            verb = f"{self._theirs}{'*' if is_any else ''}"
            if isinstance(answer, Message):
                if each.is_ask:
                    answer = answer.replace(wait=f"<<q{each.number}>>")
                if each.is_any_text:
                    answer = answer.replace(body=b"<<text>>" if answer.is_binary else "<<text>>")
                self._line(number, verb, encode(answer))
            else:
                self._line(number, verb, f"A<<id{number}>>" if answer == ACCEPTANCE else answer)

    def _is_new(self, wanted: Expectation) -> bool:
        """Whether it was not written before."""
        is_new = wanted not in self._written
        self._written.add(wanted)
        return is_new

    def _line(self, number: int, verb: str, payload: Payload) -> None:
        self._parts.append(partial(self._rendered, number, verb, payload, len(self._bindings)))

    def _rendered(self, number: int, verb: str, payload: Payload, bound: int) -> str:
        """Write a message, with the placeholders that were bound when it was sent or arrived."""
        if isinstance(payload, bytes):
            text = payload.decode("latin-1").encode("unicode_escape").decode()
            verb += "b"
        else:
            text = _shown(payload)
        return f"{number} {verb} {unfill(text, dict(islice(self._bindings.items(), bound)))}"


def _ended(number: int, ended: OperationOutcome) -> str:
    text = ended.text if ended.given is None else _text(ended.given)
    return f"{number} {'did' if ended.is_done else 'failed'} {_shown(text)}".rstrip()


def _worded(head: str, words: list[str]) -> str:
    return " ".join([head, *_quoted(words)])


def _shown(text: str) -> str:
    """Write a text so that all of it is visible, with repetitions counted."""
    text = _LONG.sub(lambda run: f"<<*{len(run[0])} {run[1]}>>", text)
    return _INVISIBLE.sub(_escaped, text)


def _escaped(characters: re.Match[str]) -> str:
    escaped = characters[0].encode("unicode_escape").decode()
    return "<<" + escaped.replace(" ", r"\x20") + ">>"


def _word(fields: Values, name: str) -> str:
    if name == "text":
        return _text(body_of(fields)) if "text" in fields or "base64" in fields else ""
    return str(fields.get(name, ""))


def _text(body: Payload) -> str:
    return body if isinstance(body, str) else f"{HEX}{body.hex()}"


def _quoted(words: list[str]) -> list[str]:
    while len(words) > 1 and not words[-1]:
        words = words[:-1]
    return [_shown(shlex.quote(word)) for word in words]
