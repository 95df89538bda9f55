"""A session vector as it is made: each input that a player is given, with what it leads to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import copy
from typing import Any

from neffos_protocol.events import Role
from neffos_protocol.names import CLIENT_PREFIX, TOO_MANY
from neffos_protocol.session_state import last_number
from neffos_protocol.session_vectors import Played, SessionPlayer, Step, Vector, describe


class Here:
    """A player on its way: what it was given, and what it sent.

    Attributes:
        steps: the steps so far, with what they led to.
        own: for each ask that this peer sent, in order: what it asks for, and whether a reply came.
    """

    def __init__(self, vector: Vector) -> None:
        self.vector = vector
        self.player = SessionPlayer(vector)
        self.steps: list[Step] = []
        self.own: dict[str, tuple[str, bool]] = {}

    @property
    def token(self) -> str:
        """A token that the peer has not used."""
        return f"{'' if self.vector['role'] == Role.CLIENT else CLIENT_PREFIX}{len(self.steps)}"

    @property
    def last_asked(self) -> int:
        """The number of the last ask of the peer that the application was told of."""
        return last_number(self.player.session)

    def take(self, step: Step) -> Played:
        """Take an input, and write down what it leads to."""
        names = {name[2:-2]: token for token, name in self.player.tokens.items()}
        outcome = self.player.take_turn([step], names)
        if str(step.get("receive", "")).startswith("<<"):
            name = step["receive"][2:].partition(">>")[0]
            self.own[name] = self.own.get(name, ("",))[0], True
        shown = Played([], [self._named(each) for each in outcome.events], outcome.misuses)
        shown.send.extend(map(self._payload, outcome.send))
        for each in shown.send:
            if isinstance(each, str) and each.startswith("<<t"):
                wait, _, _, name, *_ = each.split(";")
                self.own[wait[2:-2]] = name, False
        self.steps.append(written(step, shown))
        return shown

    def fork(self) -> Here:
        """Copy all that changes."""
        twin = copy(self)
        twin.player = self.player.fork()
        twin.steps, twin.own = [*self.steps], dict(self.own)
        return twin

    def _named(self, event: dict[str, Any]) -> dict[str, Any]:
        """Put the placeholder in the place of the ID of a server's connection."""
        return {**event, "id": self._id(event["id"])} if "id" in event else event

    def _payload(self, payload: str | bytes) -> Any:
        described = describe(payload)
        text = described if isinstance(described, str) else described.get("binary", "")
        wait, separator, rest = text.partition(";")
        tokens = self.player.tokens
        if wait in tokens:
            text = f"{tokens[wait]}{separator}{rest}"
        elif text == f"A{self.player.session.id}":
            text = f"A{self._id(text[1:])}"
        text = text.removesuffix(TOO_MANY) + "<<text>>" if text.endswith(TOO_MANY) else text
        return text if isinstance(described, str) else {**described, "binary": text}

    def _id(self, id_: str) -> str:
        is_made = self.vector["role"] == Role.SERVER and "id" not in self.vector["given"]
        return "<<id>>" if is_made else id_


def written(step: Step, outcome: Played) -> Step:
    """Give a step with what it leads to."""
    values = {name: step[name] for name in step if name not in ("send", "events", "misuse")}
    if outcome.misuses:
        values["misuse"] = True
    if outcome.send:
        values["send"] = outcome.send
    if outcome.events:
        values["events"] = outcome.events
    return values


def text_of(file: Mapping[str, Any]) -> str:
    """Write a file: a line for each key of a vector, and for each step."""

    def line(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False)

    lines = ["{", f'  "format": {file["format"]},', f'  "about": {line(file["about"])},']
    lines.append('  "vectors": [')
    blocks = []
    for each in file["vectors"]:
        keys = [f'      "{key}": {line(value)},' for key, value in each.items() if key != "steps"]
        steps = ",\n".join(f"        {line(step)}" for step in each["steps"])
        blocks.append("\n".join(["    {", *keys, '      "steps": [', steps, "      ]", "    }"]))
    return "\n".join([*lines, ",\n".join(blocks), "  ]", "}", ""])
