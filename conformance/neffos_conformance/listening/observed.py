"""What the monitor sees of a client that nobody drives, as results of their own.

Each is about one requirement on what a client sends by itself. One that was violated fails. One
that the client had occasion to violate, and did not, passes. Of the others there is no result: what
was not seen is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from neffos_codec import Message
from neffos_conformance.cases.definition import Case
from neffos_conformance.cases.features import URL_HEADER
from neffos_conformance.cases.verdict import verdict_on
from neffos_conformance.recordings.check_report import MAX_EXPLANATION
from neffos_conformance.recordings.openings import opening_violations
from neffos_conformance.runner.result import LogEntry, Result
from neffos_conformance.runner.run_report import SEEN_IN
from neffos_conformance.wire.payloads import short
from neffos_conformance.wire.transcript import ConnectionOpened
from neffos_protocol import Violation
from neffos_protocol.catalogue import requirements
from neffos_protocol.names import CHANGE_OF, LOCAL_ONLY
from neffos_protocol.text import cut, visible

SUFFIX: Final = ".seen"
"""The end of the IDs of these results, after that of the requirement."""


def _is_ask(message: Message) -> bool:
    return bool(message.wait)


def _is_event(message: Message) -> bool:
    return message.event not in CHANGE_OF and message.event not in LOCAL_ONLY


OCCASIONS: Final[Mapping[str, Callable[[Message], bool]]] = {
    "AR-2": _is_ask,
    "AR-4": _is_ask,
    "AR-5": _is_ask,
    "FR-5": lambda _: True,
    "FR-6": lambda _: True,
    "SX-1": lambda _: True,
    "NS-11": _is_event,
    "NS-20": lambda message: message.event in CHANGE_OF,
    "RM-10": lambda message: _is_event(message) and bool(message.room),
    "EV-5": lambda message: not _is_event(message),
}
"""The messages with which a client can violate each requirement."""

BY_HANDSHAKE: Final = ("HS-1", "HS-2", "HS-5", "HS-11")
"""The requirements that a client can violate by its handshake alone."""

SEEN: Final = tuple(
    f"{id_}{SUFFIX}" for id_, each in requirements().items() if SEEN_IN["client"] in each.testable
)
"""The IDs that such a result can have."""


@dataclass(slots=True)
class Observed:
    """What was seen of one client, on all its connections.

    Attributes:
        found: the results by the requirement; the first violation of each is kept.
    """

    found: dict[str, Result] = field(default_factory=dict)

    def opened(self, path: str, log: list[LogEntry]) -> None:
        """Take the path of a connection that was opened."""
        for each in opening_violations(ConnectionOpened(path, {})):
            self.violated(each, path, log)
        if URL_HEADER in path.lower():
            self._passed("TR-19")

    def handshaken(self) -> None:
        """Take a handshake that was completed."""
        for id_ in BY_HANDSHAKE:
            self._passed(id_)

    def sent(self, messages: list[Message]) -> None:
        """Take what a client has sent by itself on one connection."""
        for id_, is_occasion in OCCASIONS.items():
            wanted = 2 if id_ == "AR-5" else 1  # asks with one token are two
            if sum(map(is_occasion, messages)) >= wanted:
                self._passed(id_)

    def violated(self, violation: Violation, payload: str | bytes, log: list[LogEntry]) -> None:
        """Take what the monitor finds wrong, unless the same was found already."""
        id_ = violation.requirement
        before = self.found.get(id_)
        if f"{id_}{SUFFIX}" not in SEEN or (before is not None and before.is_broken):
            return
        actual = "" if id_ == "TR-19" else short(payload)  # a path may contain secrets
        text = cut(visible(violation.explanation), MAX_EXPLANATION)
        case = _case(id_)
        self.found[id_] = Result(case, verdict_on((id_,)), text, actual=actual, log=log)

    def _passed(self, id_: str) -> None:
        if id_ not in self.found:
            self.found[id_] = Result(_case(id_))


def _case(id_: str) -> Case:
    title = f"what the client does by itself conforms to {id_}"
    return Case(f"{id_}{SUFFIX}", title, (id_,), "client", ())
