"""Session vectors: whole connections as data, and what plays them to a session.

A vector has the input of one peer of one connection, step by step, and what that peer must send and
report at each step. ``protocol/vectors/README.md`` describes the form. This module reads vectors,
plays their input, and compares. It does not know what any vector expects.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NamedTuple

from neffos_codec import CodecError, Message, Native
from neffos_protocol._records import Record
from neffos_protocol.events import (
    Asked,
    AskSent,
    Change,
    ChangeAsked,
    Event,
    Role,
)
from neffos_protocol.exploration import Tokens
from neffos_protocol.limits import SessionLimits
from neffos_protocol.names import CLIENT_PREFIX, CONFIRMATION_PREFIX, EXCHANGE_MARKER
from neffos_protocol.session import MisuseError, Session, prepare
from neffos_protocol.session_state import fork_session

FORMAT: Final = 1
"""The format of the files."""

Vector = dict[str, Any]
"""One vector, as its JSON says."""

Step = dict[str, Any]
"""One step of a vector: an input, and what it leads to."""

Payload = str | bytes

FOLDER: Final = Path(import_module("neffos_protocol.vectors").__path__[0]) / "session"
PLACEHOLDER: Final = re.compile(r"<<(\w+)>>")
"""What stands for a value that only the peer knows, with its name."""
_WORD_START: Final = re.compile(r"(?<!^)(?=[A-Z])")
_CONNECTION_ID, _ANY_TEXT = "id", "text"
"""The placeholders that are no tokens: of the connection ID, and of a text that nothing fixes."""
_ID: Final = "00000000-0000-4000-8000-000000000001"
"""The ID of the connections of servers here."""
_NOT_COMPARED: Final = ("explanation", "fatal")
"""The field of an event that is for people, and the one that the event after it repeats."""


class Played(NamedTuple):
    """What a peer made of the inputs of a turn.

    Attributes:
        send: the payloads that it sent.
        events: what it reported, as JSON has it.
        misuses: the inputs that are commands which it refused, by their numbers in the turn.
    """

    send: list[Payload]
    events: list[dict[str, Any]]
    misuses: list[int]


@cache
def load_files() -> Mapping[str, dict[str, Any]]:
    """Read every file, by its name without the suffix."""
    read = {name.removesuffix(".json"): json.loads(text) for name, text in texts().items()}
    del read["schema"]
    return read


def load_vectors() -> list[Vector]:
    """Read the vectors of all files."""
    return [vector for file in load_files().values() for vector in file["vectors"]]


def texts() -> Mapping[str, str]:
    """Give the text of each file, and of the schema, by its name."""
    return {path.name: path.read_text("utf-8") for path in sorted(FOLDER.glob("*.json"))}


# -------------------------------------------------------------------- payloads as data


def payload_of(described: Any, names: Mapping[str, str]) -> Payload:
    """Build a payload or a body: a text, or the bytes of a text and of hexadecimal digits.

    Args:
        described: as JSON has it.
        names: the value of each placeholder.

    Raises:
        ValueError: the digits are not hexadecimal.
    """
    if isinstance(described, str):
        return _filled(described, names)
    text = _filled(described.get("binary", ""), names)
    return text.encode() + bytes.fromhex(described.get("hex", ""))


def describe(payload: Payload) -> Any:
    """Describe a payload or a body: the contrary of ``payload_of``."""
    if isinstance(payload, str):
        return payload
    try:
        return {"binary": payload.decode()}
    except UnicodeDecodeError as error:
        head, tail = payload[: error.start], payload[error.start :]
        return {"binary": head.decode(), "hex": tail.hex()} if head else {"hex": tail.hex()}


def _filled(text: str, names: Mapping[str, str]) -> str:
    return PLACEHOLDER.sub(lambda found: names.get(found[1], found[0]), text)


def _deeply(values: Any, names: Mapping[str, str]) -> Any:
    """Put values in the place of all placeholders."""
    if isinstance(values, str):
        return _filled(values, names)
    if isinstance(values, dict):
        return {name: _deeply(value, names) for name, value in values.items()}
    return [_deeply(each, names) for each in values] if isinstance(values, list) else values


def event_values(event: Event, tokens: Mapping[str, str]) -> dict[str, Any]:
    """Give an event as JSON has it: its name, and its fields that are not empty.

    Args:
        event: the event.
        tokens: the placeholder of each token of this peer.
    """
    values: dict[str, Any] = {"event": _WORD_START.sub("-", type(event).__name__).lower()}
    for name in event.__match_args__:
        value = getattr(event, name)
        if name in _NOT_COMPARED or value in ("", False, b""):
            continue
        match value:
            case Message():
                values[name] = _message_values(value, tokens)
            case bytes():
                values[name] = describe(value)
            case _:
                given = tokens.get(value, value) if name == "token" else value
                values["ask" if name == "number" else name] = given
    return values


def _message_values(message: Message, tokens: Mapping[str, str]) -> dict[str, Any]:
    names = ("wait", "namespace", "room", "event", "is_error", "is_no_op", "body")
    values = dict(zip(names, message.fields(), strict=True))
    values["wait"] = tokens.get(message.wait, message.wait)
    values["body"] = describe(message.body)
    return {name: value for name, value in values.items() if value not in ("", False)}


# -------------------------------------------------------------------- playing


class SessionPlayer:
    """A session that is given the input of a vector.

    Attributes:
        session: the session.
        tokens: the placeholder of each of its tokens, in the order in which it sent them.
    """

    def __init__(self, vector: Vector) -> None:
        given = vector.get("given", {})
        role = Role(vector["role"])
        self.session = Session(
            role,
            tokens=Tokens(CLIENT_PREFIX if role is Role.CLIENT else ""),
            id="" if role is Role.CLIENT else given.get("id", _ID),
            namespaces=given.get("namespaces"),
            decides=frozenset(map(Change, given.get("decides", ()))),
            decides_handshake=given.get("decides_handshake", False),
            native=Native(given.get("native", "never")),
            limits=SessionLimits(**given.get("limits", {})),
        )
        self.tokens: dict[str, str] = {}
        self._asked: dict[int, Asked | ChangeAsked] = {}

    def fork(self) -> SessionPlayer:
        """Copy all that changes."""
        twin = copy(self)
        twin.session = fork_session(self.session)
        twin.tokens, twin._asked = dict(self.tokens), dict(self._asked)
        return twin

    def take_turn(self, turn: Sequence[Step], names: Mapping[str, str]) -> Played:
        """Take an input, and the commands after it.

        Args:
            turn: the steps.
            names: the value of each placeholder so far.

        Raises:
            ValueError: there is no such command.
        """
        outcome = Played([], [], [])
        for number, step in enumerate(turn):
            self.take(number, step, names, outcome)
        return outcome

    def take(self, number: int, step: Step, names: Mapping[str, str], outcome: Played) -> None:
        """Take one input, and write down what it leads to."""
        try:
            events = self._input(step, names)
        except (MisuseError, CodecError):
            outcome.misuses.append(number)
            return
        self.note(events, outcome)

    def note(self, events: list[Event], outcome: Played) -> None:
        """Write down what an input leads to."""
        for event in events:
            match event:
                case Asked() | ChangeAsked():
                    self._asked[len(self._asked) + 1] = event
                case AskSent(token):
                    self.tokens[token] = f"<<t{len(self.tokens) + 1}>>"
                    continue
                case _:
                    pass
            values = event_values(event, self.tokens)
            if "ask" in values:
                numbers = {asked.number: number for number, asked in self._asked.items()}
                values["ask"] = numbers.get(values["ask"], 0)
            outcome.events.append(values)
        outcome.send.extend(self.session.outgoing())

    def _input(self, step: Step, names: Mapping[str, str]) -> list[Event]:
        if "receive" in step:
            return self.session.receive(payload_of(step["receive"], names))
        if "do" in step:
            return self._command(step, names)
        return self.session.expire(step["time"]) if "time" in step else self.session.peer_closed()

    def _asked_in(self, step: Step) -> Any:
        """Give the ask of the peer that a command answers."""
        kind = ChangeAsked if step["do"] in ("allow", "deny") else Asked
        asked = self._asked.get(step.get("ask", 0))
        if "ask" in step and not isinstance(asked, kind):
            raise MisuseError(f"there was no ask {step['ask']}", "answer what was reported")
        return asked

    def _command(self, step: Step, names: Mapping[str, str]) -> list[Event]:
        session = self.session
        place = {name: step.get(name, "") for name in ("namespace", "room", "event")}
        body = payload_of(step.get("body", ""), names)
        due = {"deadline": step["deadline"]} if "deadline" in step else {}
        asked = self._asked_in(step)
        text = step.get("text", "")
        match step["do"]:
            case "start" | "accept" | "close" as command:
                return _call(session, command)
            case "refuse":
                return session.refuse(text)
            case "connect" | "disconnect" as command:
                return _call(session, command, place["namespace"], **due)
            case "join" | "leave" as command:
                return _call(session, command, place["namespace"], place["room"], **due)
            case "allow" | "ignore" as command:
                return _call(session, command, asked)
            case "deny" | "reply-error" as command:
                return _call(session, command.replace("-", "_"), asked, text)
            case "reply":
                return session.reply(asked, body)
            case "emit":
                return session.emit(**place, body=body)
            case "emit-error":
                return session.emit(**place, body=text, is_error=True)
            case "ask":
                return session.ask(**place, body=body, **due)
            case "native":
                return session.send_native(body)
            case "broadcast":
                prepared = prepare(Message(**place, body=body))
                return session.send_prepared(prepared) if session.concerns(prepared) else []
        raise ValueError(f"there is no command {step['do']}")


def _call(session: Session, command: str, *of: Any, **options: Any) -> list[Event]:
    events: list[Event] = getattr(session, command)(*of, **options)
    return events


# -------------------------------------------------------------------- comparing


class StepMismatch(Record):
    """Steps at which a peer did not do what a vector expects.

    Attributes:
        step: the number of the first of them, from 1.
        expected: what the vector expects.
        actual: what the peer did.
    """

    step: int
    expected: str
    actual: str

    def __str__(self) -> str:
        return f"step {self.step}: expected {self.expected}, actual {self.actual}"


def turns(vector: Vector) -> Iterator[tuple[int, list[Step]]]:
    """Give each input from outside with the commands that the application calls after it.

    The first of them comes with the number of its step, from 1.
    """
    turn: list[Step] = []
    for number, step in enumerate(vector["steps"], 1):
        if "do" not in step and turn:
            yield number - len(turn), turn
            turn = []
        turn.append(step)
    yield len(vector["steps"]) + 1 - len(turn), turn


def play(
    vector: Vector,
    make: Callable[[Vector], SessionPlayer] = SessionPlayer,
    *,
    is_by_turn: bool = False,
) -> StepMismatch | None:
    """Play a vector, up to the first step whose outcome is another.

    Args:
        vector: the vector.
        make: makes the peer.
        is_by_turn: compare what the steps of a turn lead to together. A peer whose application
            answers at once can do no better.
    """
    player, names = make(vector), Placeholders(vector["role"])
    steps = [(number, [step]) for number, step in enumerate(vector["steps"], 1)]
    for number, turn in turns(vector) if is_by_turn else steps:
        outcome = player.take_turn(turn, names.values)
        for expected, actual in _differing(turn, outcome, names):
            return StepMismatch(number, json.dumps(expected), json.dumps(actual, default=str))
    return None


def _differing(turn: list[Step], outcome: Played, names: Placeholders) -> Iterator[tuple[Any, Any]]:
    """Give what differs, the first first."""
    wanted = [payload for step in turn for payload in step.get("send", [])]
    for expected, actual in zip(wanted, outcome.send, strict=False):
        if not names.match(expected, actual):
            yield _deeply(expected, names.values), actual
    if len(wanted) != len(outcome.send):
        yield _deeply(wanted, names.values), outcome.send
    given = {_CONNECTION_ID: names.values.get(_CONNECTION_ID, "")}
    events = _deeply([event for step in turn for event in step.get("events", [])], given)
    if events != outcome.events:
        yield events, outcome.events
    misuses = [number for number, step in enumerate(turn) if step.get("misuse")]
    if misuses != outcome.misuses:
        refused = [[turn[each].get("do") for each in of] for of in (misuses, outcome.misuses)]
        yield {"misuse": refused[0]}, {"misuse": refused[1]}


class Placeholders:
    """The values of placeholders, each captured where a peer sends it first.

    Attributes:
        values: the values so far, by name.
    """

    def __init__(self, role: str) -> None:
        self._role = role
        self.values: dict[str, str] = {}

    def match(self, expected: Any, actual: Payload) -> bool:
        """Say whether a payload is what a vector expects; capture what is new."""
        if isinstance(expected, str) is not isinstance(actual, str):
            return False
        wanted = payload_of(expected, self.values)
        text, found = _as_text(wanted), _as_text(actual)
        new = PLACEHOLDER.search(text)
        if new is None:
            return text == found
        start, name = new.start(), new[1]
        is_text = name == _ANY_TEXT
        value = found[start:] if is_text or found[:1] == "A" else found[start:].partition(";")[0]
        plain = value if isinstance(actual, str) else _utf8(value)
        if not self._may_be(name, plain) or text.replace(new[0], value, 1) != found:
            return False
        if not is_text:
            self.values[name] = plain
        return True

    def _may_be(self, name: str, value: str) -> bool:
        """Say whether a value can be an ID, or a new token of this peer (AR-2 to AR-5, AR-23)."""
        if name in (_CONNECTION_ID, _ANY_TEXT):
            return bool(value)
        is_clients = value.startswith(CLIENT_PREFIX)
        is_special = value[:1] == CONFIRMATION_PREFIX or value[1:2] == EXCHANGE_MARKER
        is_of_role = is_clients is (self._role == Role.CLIENT)
        return bool(value) and is_of_role and not is_special and value not in self.values.values()


def _utf8(text: str) -> str:
    """Read characters that stand for bytes as UTF-8; what is not UTF-8 gives nothing."""
    return text.encode("latin-1").decode(errors="ignore")


def _as_text(payload: Payload) -> str:
    """Give each byte of a binary payload as a character, to compare it as a text is compared."""
    return payload if isinstance(payload, str) else payload.decode("latin-1")
