"""Tables with one wrong row each: for each property at least one that the model checker refutes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from neffos_protocol.state_machines import Action, machines
from proving.promela import WATCHED, Machines, Size

PROPERTIES: Final = {
    "agreement": "where nothing is under way, both ends agree, and no system ask is pending",
    "replies": "no end replies to what was not asked, nor twice to one ask",
    "handled": "no event is handled outside what the application was told is connected",
    "strangers": "no event reaches an end that is not connected or joined",
    "accused": "no end accuses the other of a violation of the handshake",
    "asks": "every ask ends",
    "changes": "every connect, disconnect, join and leave settles",
}
"""Each property in words. The first five are assertions, the others hold under weak fairness."""

LIVE: Final = tuple(WATCHED)
"""The properties that say that something happens in the end."""


@dataclass(frozen=True, slots=True)
class TableFault:
    """One row of a table, made wrong.

    Attributes:
        name: what it is called.
        property: which property it violates.
        about: what an end does that follows it.
        row: the machine, the state, the input and the guard of the row.
        changes: what is different in it.
        size: of the model in which it is found.
        violation: the requirement that the monitor sees violated in the counterexample; empty
            where the messages do not show it.
    """

    name: str
    property: str
    about: str
    row: tuple[str, str, str, str]
    changes: dict[str, Any]
    size: Size = Size()  # noqa: RUF009  # it is frozen
    violation: str = ""

    def machines(self) -> Machines:
        """Give the tables with the fault."""
        return changed(self.row, **self.changes)


def changed(row: tuple[str, str, str, str], **changes: Any) -> Machines:
    """Give the tables with one row changed; the loaded ones stay as they are."""
    name, state, input_, guard = row
    machine = machines()[name]
    rows = machine.rows[state, input_]
    if guard not in {each.guard for each in rows}:
        raise KeyError(row)
    mutated = tuple(each.replace(**changes) if each.guard == guard else each for each in rows)
    return {
        **machines(),
        name: machine.replace(rows={**machine.rows, (rows[0].state, rows[0].input): mutated}),
    }


FAULTS: Final = (
    TableFault(
        "connects-without-doing-it",
        "agreement",
        "confirms a connect ask, and leaves the namespace as it is",
        ("membership", "disconnected", "ask-connect", ""),
        {"actions": (Action.REPLY_DONE,), "next": "disconnected"},
    ),
    TableFault(
        "replies-twice",
        "replies",
        "confirms a disconnect ask before its application has decided, and again after it",
        ("membership", "connected", "ask-disconnect", "decides-disconnect"),
        {"actions": (Action.ASK_APPLICATION, Action.REPLY_DONE)},
        violation="AR-22",
    ),
    TableFault(
        "replies-for-its-application",
        "replies",
        "replies to an event ask at once, and again when its application does",
        ("incoming-ask", "none", "asked", ""),
        {"actions": (Action.DELIVER, Action.SEND_REPLY)},
        Size(event_asks=True),
        violation="AR-22",
    ),
    TableFault(
        "application-is-not-told",
        "handled",
        "connects a namespace on the reply to its ask, and does not tell the application",
        ("membership", "connecting", "connect-done", ""),
        {"actions": ()},
        Size(events=True),
    ),
    TableFault(
        "refuses-and-connects",
        "strangers",
        "refuses a connect ask, and counts the namespace as connected",
        ("membership", "deciding-connect", "deny", ""),
        {"next": "connected"},
        Size(events=True),
        violation="NS-11",
    ),
    TableFault(
        "refused-but-joined",
        "strangers",
        "takes a refusal for a reply that joins",
        ("membership", "connecting", "connect-error", ""),
        {"next": "connected"},
        Size(rooms=1, events=True),
        violation="NS-11",
    ),
    TableFault(
        "opens-without-acceptance",
        "accused",
        "counts a client as accepted, and does not send the acceptance",
        ("handshake", "awaiting", "request", ""),
        {"actions": (Action.OPENED, Action.RELEASE)},
        violation="HS-12",
    ),
    TableFault(
        "deadline-ends-nothing",
        "asks",
        "keeps an event ask pending after its deadline",
        ("outgoing-ask", "pending", "deadline", ""),
        {"next": "pending"},
        Size(event_asks=True),
    ),
    TableFault(
        "refusal-ends-nothing",
        "asks",
        "keeps an ask pending that was refused",
        ("outgoing-ask", "pending", "error", ""),
        {"next": "pending"},
    ),
    TableFault(
        "refusal-is-lost",
        "changes",
        "refuses a connect ask without a reply",
        ("membership", "deciding-connect", "deny", ""),
        {"actions": ()},
    ),
    TableFault(
        "refusal-settles-nothing",
        "changes",
        "goes on connecting after its ask was refused",
        ("membership", "connecting", "connect-error", ""),
        {"next": "connecting"},
    ),
)
