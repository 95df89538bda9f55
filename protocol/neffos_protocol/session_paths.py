"""Session vectors made from the state tables: every row, and what tells the states apart.

``python -m neffos_protocol.session_paths`` writes ``protocol/vectors/session``.

For each row of a table it searches the shortest input that takes the row, for each role, and for
namespaces and rooms. An edge takes a row only if the session goes to the row's next state and does
the row's actions. After the row come the inputs that tell its next state from every other one (the
Wp-method), each in a vector of its own.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import product
from typing import Any, Final

from neffos_protocol import session_vectors
from neffos_protocol._records import Record
from neffos_protocol.events import Change, MembershipKey, Role
from neffos_protocol.names import REQUEST_EVENT
from neffos_protocol.session_recording import Here, text_of
from neffos_protocol.session_state import (
    handshake_state,
    has_held,
    holds,
    incoming_asks,
    membership_state,
    superseded,
)
from neffos_protocol.session_vectors import FORMAT, Played, Step, Vector
from neffos_protocol.state_machines import (
    HANDSHAKE,
    INCOMING_ASK,
    MEMBERSHIP,
    OUTGOING_ASK,
    Guard,
    StateMachine,
)

NAMESPACE: Final = "app"
ROOM: Final = "lobby"
OFFERED: Final = ["app", "any", "semi;colon", ""]
"""The namespaces that each peer here offers."""
DUE: Final = 10
"""The deadline of asks, in seconds from the beginning."""
DEPTH: Final = 8
"""Inputs to a row at most: one more than the longest need."""
SUFFIX: Final = 2
"""Inputs that tell two states apart at most."""

ACTS: Final = {
    "send-request": "send",
    "send-accept": "send",
    "send-refuse": "send",
    "opened": "opened",
    "violation": "protocol-violation",
    "close": "closed",
    "ask": "send",
    "reply-done": "send",
    "reply-unknown": "send",
    "reply-full": "send",
    "reply-all-done": "send",
    "reply-all-refused": "send",
    "withdraw": "ask-withdrawn",
    "connected": "changed",
    "disconnected": "changed",
    "forced": "changed",
    "cancelled": "ask-cancelled",
    "send": "send",
    "unmatched": "unmatched-reply",
    "expired": "ask-expired",
    "deliver": "asked",
    "send-reply": "send",
    "send-error": "send",
}
"""What shows that a peer does an action; the others show later, or are named by their machine."""

SUBJECTS: Final = {
    "handshake": "the handshake",
    "namespaces": "a namespace",
    "rooms": "a room",
    "asks": "an event ask of its own",
    "system-asks": "a system ask of its own",
    "answers": "an ask of the other peer",
}
"""What the tables are about, by the names of the vectors."""

Edge = tuple[str, Step]
"""The table's name of an input, and the input."""


class Family(Record):
    """The vectors of one table for one role, kind and configuration.

    Attributes:
        machine: the table.
        name: what the IDs of its vectors name it.
        kind: of the table's requirements: "namespace", "room" or "".
        vector: the role and what the peer is given.
        start: the steps to the first state.
        edges: gives every input that is possible.
        state: gives the state of the table.
        holds: says whether a guard holds.
        acts: what shows the other actions.
        key: tells situations apart beside the state.
    """

    machine: StateMachine[Any]
    name: str
    kind: str
    vector: Vector
    start: list[Step]
    edges: Callable[[Here], Iterator[Edge]]
    state: Callable[[Here], str]
    holds: Callable[[Here, Guard], bool]
    acts: Mapping[str, str]
    key: Callable[[Here], object]

    def begin(self) -> Here:
        """Give the first situation."""
        here = Here(self.vector)
        for step in self.start:
            here.take(step)
        return here


# -------------------------------------------------------------------- searching


def takes(family: Family, here: Here, edge: Edge) -> tuple[Any, Here, Played] | None:
    """Take an input; give the row that it takes, if the peer does what the row says."""
    name, step = edge
    state = family.state(here)
    row = family.machine.row(state, name, lambda guard: family.holds(here, guard))
    after = here.fork()
    outcome = after.take(step)
    shown = {each["event"] for each in outcome.events} | ({"send"} if outcome.send else set())
    if row is None:
        return (None, after, outcome) if outcome.misuses else None
    acts = {**ACTS, **family.acts}
    due = {acts[action] for action in row.actions if action in acts}
    is_idle = not row.actions and name != "closed" and shown
    is_done = family.state(after) == row.next and due <= shown and not outcome.misuses
    return (row, after, outcome) if is_done and not is_idle else None


def search(family: Family) -> tuple[dict[int, Here], dict[str, Here]]:
    """Give the first situation after each row, by its identity, and the first in each state."""
    first = family.begin()
    rows: dict[int, Here] = {}
    states = {family.state(first): first}
    seen = {(family.state(first), family.key(first))}
    waiting = deque([first])
    while waiting:
        here = waiting.popleft()
        if len(here.steps) - len(family.start) >= DEPTH:
            continue
        for edge in family.edges(here):
            taken = takes(family, here, edge)
            if taken is None:
                continue
            row, after, _ = taken
            if row is not None:
                rows.setdefault(id(row), after)
            there = family.state(after), family.key(after)
            if there not in seen:
                seen.add(there)
                states.setdefault(there[0], after)
                waiting.append(after)
    return rows, states


def answers(family: Family, here: Here, names: tuple[str, ...]) -> tuple[Here, str] | None:
    """Give some inputs by name; give the situation after them, and what came of each."""
    after = here.fork()
    begin = len(after.steps)
    for name in names:
        step = next((step for each, step in family.edges(after) if each == name), None)
        if step is None:
            return None
        after.take(step)
    shown = [
        {name: value for name, value in step.items() if name in ("send", "events", "misuse")}
        for step in after.steps[begin:]
    ]
    text = json.dumps(shown)
    for number, token in enumerate(dict.fromkeys(session_vectors.PLACEHOLDER.findall(text))):
        text = text.replace(f"<<{token}>>", f"<{number}>")
    for step in after.steps[begin:]:  # the peer's tokens are new ones each time
        text = text.replace(str(step.get("receive", ";")).partition(";")[0] + ";", "@;")
    return after, text


def telling(family: Family, states: Mapping[str, Here]) -> dict[str, list[tuple[str, ...]]]:
    """Give, for each state, few and short inputs that tell it from every other one."""
    names = sorted({*family.machine.commands, *family.machine.received} - {"closed", "close"})
    sequences = [(), *((each,) for each in names), *product(names, repeat=SUFFIX)]
    found: dict[str, dict[tuple[str, ...], str]] = {state: {} for state in states}
    for state, here in states.items():
        for sequence in sequences:
            answered = answers(family, here, sequence)
            if answered is not None:
                found[state][sequence] = answered[1]
    chosen: dict[str, list[tuple[str, ...]]] = {}
    for state, own in found.items():
        left = set(states) - {state}
        chosen[state] = []
        apart = {
            sequence: {each for each in left if found[each].get(sequence, text) != text}
            for sequence, text in own.items()
        }
        while left:
            best = max(apart, key=lambda each: (len(apart[each] & left), -len(each)))
            if not apart[best] & left:
                break
            chosen[state].append(best)
            left -= apart[best]
    return chosen


def vectors_of(families: list[Family]) -> Iterator[Vector]:
    """Make the vectors of families, whose rows the first one that takes them shows."""
    done: set[tuple[int, str, str]] = set()
    for family in families:
        rows, states = search(family)
        ends = telling(family, states)
        table = [row for each in family.machine.rows.values() for row in each]
        for row in table:
            role = family.vector["role"]
            if id(row) not in rows or (id(row), role, family.name) in done:
                continue
            done.add((id(row), role, family.name))
            here = rows[id(row)]
            last = [answers(family, here, each) for each in ends.get(row.next, [])] or [None]
            for number, answered in enumerate(last, 1):
                guard = f"-{row.guard}" if row.guard else ""
                yield {
                    "id": f"session-{family.name}-{role}-{row.state}-{row.input}{guard}-{number}",
                    "requirements": list(row.requirements[family.kind]),
                    "about": _about(family, row),
                    **family.vector,
                    "steps": (answered[0] if answered else here).steps,
                }


def _about(family: Family, row: Any) -> str:
    guard = f" ({row.guard})" if row.guard else ""
    there = "stays there" if row.next == row.state else f"goes to '{row.next}'"
    subject, role = SUBJECTS[family.name], family.vector["role"]
    return f"For a {role}, {subject} in '{row.state}' {there} on '{row.input}'{guard}."


# -------------------------------------------------------------------- the tables


def vector(role: Role, **given: Any) -> Vector:
    """Give a role, and what the peer is given beside the namespaces that it offers."""
    return {"role": str(role), "given": {"namespaces": OFFERED, **given}}


def opening(role: Role) -> list[Step]:
    """Give the steps of a handshake."""
    return [{"do": "start"}, {"receive": "Aid-1"}] if role is Role.CLIENT else [{"receive": "M"}]


def entered(role: Role) -> list[Step]:
    """Give the steps that connect the namespace."""
    return [*opening(role), {"do": "connect", "namespace": NAMESPACE}, {"receive": "<<t1>>;;;;;;"}]


def frame(wait: str, event: str, room: str = "", body: str = "", *, is_error: bool = False) -> str:
    """Write a frame in the namespace."""
    return f"{wait};{NAMESPACE};{room};{event};{int(is_error)};0;{body}"


def membership(role: Role, kind: str, setting: str) -> Family:
    """Make the family of the membership of a namespace or of a room."""
    is_room = kind == "room"
    name = {"namespace": NAMESPACE, "room": ROOM}[kind]
    given: dict[str, Any] = {}
    match setting:
        case "deciding" | "deciding-full":
            given["decides"] = [str(change) for change in Change if change.is_of_room == is_room]
            given["limits"] = {"repeats": 1} if setting == "deciding-full" else {}
        case "unknown":
            name = "" if is_room else "nowhere"
        case "full":
            given["limits"] = {f"{kind}s": 0}
    given = {key: value for key, value in given.items() if value}
    key = MembershipKey(NAMESPACE, name) if is_room else MembershipKey(name)
    place = {"namespace": NAMESPACE, "room": name} if is_room else {"namespace": name}
    words = {"connect": str(key.entry), "disconnect": str(key.exit)}
    events = {"connect": REQUEST_EVENT[key.entry], "disconnect": REQUEST_EVENT[key.exit]}
    way_of = {event: way for way, event in events.items()}

    def asked(token: str, event: str, *, is_error: bool = False) -> str:
        text = "no" if is_error else ""
        return f"{token};{key.namespace};{key.room or ''};{event};{int(is_error)};0;{text}"

    def edges(here: Here) -> Iterator[Edge]:
        for way, word in words.items():
            yield way, {"do": word, **place}
        for way, event in events.items():
            yield f"ask-{way}", {"receive": asked(here.token, event)}
        if here.last_asked:
            yield "allow", {"do": "allow", "ask": here.last_asked}
            yield "deny", {"do": "deny", "ask": here.last_asked, "text": "no"}
        for token, (event, is_answered) in here.own.items():
            if not is_answered and event in way_of:
                wait = f"<<{token}>>"
                yield f"{way_of[event]}-done", {"receive": f"{wait};;;;;;"}
                yield f"{way_of[event]}-error", {"receive": asked(wait, event, is_error=True)}
        if is_room:
            leave = frame(here.token, REQUEST_EVENT[Change.DISCONNECT])
            yield "closed", {"receive": leave}
        yield "closed", {"end": True}

    def unanswered(here: Here) -> object:
        asks = [event for event, is_answered in here.own.values() if not is_answered]
        session = here.player.session
        return tuple(asks), superseded(session), session.is_closed

    return Family(
        MEMBERSHIP,
        f"{kind}s",
        kind,
        vector(role, **given),
        entered(role) if is_room else opening(role),
        edges,
        lambda here: membership_state(here.player.session, key),
        lambda here, guard: holds(here.player.session, guard, key),
        {"ask-application": "change-asked", "refused": "change-refused"},
        unanswered,
    )


def handshake(role: Role, *, is_deciding: bool = False) -> Family:
    """Make the family of the handshake."""
    given = {"decides_handshake": True} if is_deciding else {}
    texts = {
        "request": "M",
        "acceptance": "Aid-1",
        "refusal": "Hno",
        "other": frame("1" if role is Role.CLIENT else "$1", REQUEST_EVENT[Change.CONNECT]),
    }

    def edges(_: Here) -> Iterator[Edge]:
        yield "start", {"do": "start"}
        yield "accept", {"do": "accept"}
        yield "refuse", {"do": "refuse", "text": "no"}
        for name, text in texts.items():
            yield name, {"receive": text}
        yield "close", {"do": "close"}
        yield "closed", {"end": True}

    return Family(
        HANDSHAKE,
        "handshake",
        "",
        vector(role, **given),
        [],
        edges,
        lambda here: handshake_state(here.player.session),
        lambda _, __: is_deciding,
        {"ask-application": "handshake-asked", "refused": "handshake-refused"},
        lambda here: has_held(here.player.session),
    )


def outgoing(role: Role, *, is_system: bool) -> Family:
    """Make the family of an ask of this peer: an event ask, or a join."""
    place = {"namespace": NAMESPACE, "deadline": DUE}
    join = {"do": "join", "room": ROOM, **place}
    ask = {"do": "ask", "event": "echo", "body": "hi", **place}

    def edges(here: Here) -> Iterator[Edge]:
        asks = [token for token in here.own if int(token[1:]) > 1]
        if not asks:
            yield "send", join if is_system else ask
        for token in asks:
            event, room = (REQUEST_EVENT[Change.JOIN], ROOM) if is_system else ("echo", "")
            done = f"<<{token}>>;;;;;;" if is_system else frame(f"<<{token}>>", event, body="hi")
            yield "reply", {"receive": done}
            refusal = frame(f"<<{token}>>", event, room, "no", is_error=True)
            yield "error", {"receive": refusal}
            yield "deadline", {"time": DUE}
        leave = frame(here.token, REQUEST_EVENT[Change.DISCONNECT])
        yield "closed", {"receive": leave}
        yield "closed", {"end": True}

    name = "system-asks" if is_system else "asks"
    return Family(
        OUTGOING_ASK,
        name,
        "",
        vector(role),
        entered(role),
        edges,
        lambda here: "pending" if here.player.session.pending_asks else "none",
        lambda _, __: is_system,
        {"replied": "changed", "refused": "change-refused"}
        if is_system
        else {"replied": "replied", "refused": "replied"},
        lambda here: (
            len(here.own),
            sum(is_answered for _, is_answered in here.own.values()),
            here.player.session.connected,
            str(here.steps[-1].get("time")),
        ),
    )


def incoming(role: Role, limit: int | None = None) -> Family:
    """Make the family of an ask of the other peer, of which a limit of pending ones is given."""
    limits = {} if limit is None else {"limits": {"incoming_asks": limit}}

    def edges(here: Here) -> Iterator[Edge]:
        yield "asked", {"receive": frame(here.token, "echo", body="hi")}
        if here.last_asked:
            yield "reply", {"do": "reply", "ask": here.last_asked, "body": "hi"}
            yield "reply-error", {"do": "reply-error", "ask": here.last_asked, "text": "no"}
            yield "ignore", {"do": "ignore", "ask": here.last_asked}
        leave = frame(here.token, REQUEST_EVENT[Change.DISCONNECT])
        yield "closed", {"receive": leave}
        yield "closed", {"end": True}

    def pending(here: Here) -> Mapping[int, tuple[str, str]]:
        return incoming_asks(here.player.session)

    return Family(
        INCOMING_ASK,
        "answers",
        "",
        vector(role, **limits),
        entered(role),
        edges,
        lambda here: "pending" if here.last_asked in pending(here) else "none",
        lambda here, _: limit is not None and len(pending(here)) >= limit,
        {},
        lambda here: (len(pending(here)), here.last_asked > 0, here.player.session.connected),
    )


SETTINGS: Final = ("plain", "deciding", "unknown", "full", "deciding-full")


@cache
def made() -> Mapping[str, dict[str, Any]]:
    """Make the files, by their names without the suffix."""
    server, client = Role.SERVER, Role.CLIENT
    files: dict[str, tuple[str, list[Family]]] = {
        "handshake": (
            "From the first message to the end of a connection.",
            [handshake(client), handshake(server), handshake(server, is_deciding=True)],
        )
    }
    for kind, about in {
        "namespace": "Connecting and disconnecting a namespace.",
        "room": "Joining and leaving a room.",
    }.items():
        families = [membership(role, kind, each) for role in (client, server) for each in SETTINGS]
        files[f"{kind}s"] = about, families
    files["asks"] = (
        "Asks of either peer, and their replies.",
        [
            *(
                outgoing(role, is_system=each)
                for each in (False, True)
                for role in (client, server)
            ),
            *(incoming(role, limit) for limit in (None, 0, 1) for role in Role),
        ],
    )
    return {
        name: {"format": FORMAT, "about": about, "vectors": list(vectors_of(families))}
        for name, (about, families) in files.items()
    }


def main() -> None:
    """Write the generated files again."""
    for name, file in made().items():
        (session_vectors.FOLDER / f"{name}.json").write_text(text_of(file), "utf-8")


if __name__ == "__main__":
    main()
