"""The exploration finds nothing in the session, and finds what is wrong with broken ones."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from typing import Any

import pytest

from neffos_protocol import (
    COMPILED,
    Asked,
    Change,
    ChangeAsked,
    Event,
    ProtocolViolation,
    Role,
    Session,
    _memberships,
    exploration,
)
from neffos_protocol.exploration import (
    NAMES,
    STARTS,
    Outcome,
    explore,
    explore_early,
    main,
)
from neffos_protocol.state_machines import MEMBERSHIP, Transition

from . import sessions

Break = Callable[[pytest.MonkeyPatch], None]


# ---- The session as it is ----


@pytest.fixture(scope="module")
def outcomes() -> dict[tuple[str, bool], Outcome]:
    return {
        (start, decides): explore(2, start=start, decides=decides)
        for start in STARTS
        for decides in (False, True)
    }


def test_every_conversation_of_two_commands_ends_well(
    outcomes: dict[tuple[str, bool], Outcome],
) -> None:
    for outcome in outcomes.values():
        assert outcome.problem == ""
        assert outcome.trace == []
        assert outcome.states > 0
        assert outcome.transitions >= outcome.states - 1
        assert 0 < outcome.at_rest < outcome.states
        assert outcome.seconds >= 0
    assert sum(outcome.states for outcome in outcomes.values()) > 1000


def test_deciding_applications_make_more_conversations(
    outcomes: dict[tuple[str, bool], Outcome],
) -> None:
    for start in STARTS:
        assert outcomes[start, True].states > outcomes[start, False].states


def test_nothing_is_tried_without_commands() -> None:
    outcome = explore(0)
    assert (outcome.states, outcome.transitions, outcome.at_rest) == (1, 0, 1)


@pytest.mark.parametrize("decides", [False, True])
@pytest.mark.parametrize("start", STARTS)
def test_a_start_is_what_it_is_called(start: str, decides: bool) -> None:
    system = exploration.opened(start, decides)
    assert exploration.check_rest(system)
    for end in system.peers:
        assert end.session.is_open
        assert end.session.connected == ({"n"} if start != "open" else set())
        assert end.session.joined("n") == ({"r"} if start == "joined" else set())


@pytest.mark.parametrize("decides", [False, True])
def test_a_fork_goes_on_by_itself(decides: bool) -> None:
    system = exploration.opened("connected", decides=decides)
    for _ in range(8):
        before = [sessions.snapshot(end.session) for end in system.peers]
        forks = []
        for _, me, take in exploration.steps(system, 9):
            fork = exploration.fork(system, me)
            if take(fork):
                forks.append(fork)
        assert [sessions.snapshot(end.session) for end in system.peers] == before
        system = forks[0]


# ---- Sessions that are broken ----


def replace_method(patch: pytest.MonkeyPatch, name: str, method: Callable[..., None]) -> None:
    """Replace a method that sessions call themselves."""
    if COMPILED:
        pytest.skip("a compiled session goes on calling its own method")
    patch.setattr(Session, name, method)


def asks_outlive_their_namespace(patch: pytest.MonkeyPatch) -> None:
    """The end of a namespace does not end the asks inside it."""
    dropped = Session._end_inside

    def keep(self: Session, namespace: str, events: list[Event]) -> None:
        asks = {token: ask for token, ask in (self._pending or {}).items() if not ask.change}
        dropped(self, namespace, events)
        self._pending = {**(self._pending or {}), **asks}

    replace_method(patch, "_end_inside", keep)


def entries_do_not_cross(patch: pytest.MonkeyPatch) -> None:
    """A client that asks to enter refuses the server's ask to enter, and gives up its own."""
    [row] = MEMBERSHIP.rows["connecting", "ask-connect"]
    use_rows(
        patch, of_client(patch, row.replace(actions=("reply-unknown",), next="disconnected")), row
    )


def exits_do_not_cross(patch: pytest.MonkeyPatch) -> None:
    """A client that asks to exit stays in when the server's ask to exit comes."""
    [row] = MEMBERSHIP.rows["disconnecting", "ask-disconnect"]
    use_rows(patch, of_client(patch, row.replace(actions=("reply-done",), next="connected")), row)


def of_client(patch: pytest.MonkeyPatch, row: Transition) -> Transition:
    """Make it a row that clients alone follow."""
    is_client = lambda self, _: self.role is Role.CLIENT  # noqa: E731
    patch.setitem(_memberships._GUARDS, "client", is_client)
    return row.replace(guard="client")


def use_rows(patch: pytest.MonkeyPatch, *rows: Transition) -> None:
    """Put other rows in the place of those for the same state and input."""
    changed = {**MEMBERSHIP.rows, (rows[0].state, rows[0].input): rows}
    patch.setattr(_memberships, "MEMBERSHIP", MEMBERSHIP.replace(rows=changed))


def a_reply_is_lost(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Session, "reply", lambda self, asked: self.ignore(asked))


def a_change_is_not_confirmed(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(_memberships._ACTIONS, "reply-done", lambda *_: None)


def a_reply_opens_nothing(patch: pytest.MonkeyPatch) -> None:
    """The asked end does what it is asked, the asking end does not learn of it."""
    replace_method(patch, "_system_ask_replied", lambda *_: None)


def rooms_outlive_their_namespace(patch: pytest.MonkeyPatch) -> None:
    """The server keeps the rooms of a namespace that is disconnected."""
    dropped, changed = Session._end_inside, Session._set_state

    def drop_others(self: Session, namespace: str, events: list[Event]) -> None:
        space = self._spaces[namespace]
        rooms = space.rooms
        if self.role is Role.SERVER:
            space.rooms = None
        dropped(self, namespace, events)
        space.rooms = rooms

    def keep(self: Session, place: Any, state: str) -> None:
        space = self._spaces.get(place.namespace)
        changed(self, place, state)
        if space and state == "disconnected" and place.room is None and self.role is Role.SERVER:
            space.state = "disconnected"
            self._spaces[place.namespace] = space

    replace_method(patch, "_end_inside", drop_others)
    replace_method(patch, "_set_state", keep)


def all_is_violation(patch: pytest.MonkeyPatch) -> None:
    """An event without a token is taken for a violation; so is every ask."""

    def accuse(self: Session, *given: Any) -> None:
        given[-1].append(ProtocolViolation("FR-1", "nobody may say that"))

    replace_method(patch, "_asked", accuse)


BROKEN: dict[Break, str] = {
    asks_outlive_their_namespace: "pending_asks is",
    entries_do_not_cross: "connected is",
    exits_do_not_cross: "connected is",
    a_reply_is_lost: "pending_asks is",
    a_change_is_not_confirmed: "connected is",
    a_reply_opens_nothing: "connected is",
    rooms_outlive_their_namespace: "the rooms are",
    all_is_violation: "the server reports a violation of a correct peer: ProtocolViolation",
}
"""What can be wrong with a session, and how the problem that is found begins."""


def find(most: int = 3) -> Outcome:
    """Explore from every start until there is a problem."""
    for start in STARTS:
        for decides in (False, True):
            outcome = explore(most, start=start, decides=decides)
            if outcome.problem:
                return outcome
    raise AssertionError("nothing was found")


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_a_broken_session_is_found(monkeypatch: pytest.MonkeyPatch, broken: Break) -> None:
    broken(monkeypatch)
    outcome = find()
    assert outcome.problem.removeprefix("at rest, ").startswith(BROKEN[broken])
    begins = [f"{who} {does} " for who in NAMES for does in ("calls", "receives", "answers")]
    assert all(step.startswith(tuple(begins)) for step in outcome.trace)
    assert " calls " in outcome.trace[0]
    assert len(outcome.trace) <= 10, "the problem nearest to the start is found first"


def test_the_trace_is_a_conversation(monkeypatch: pytest.MonkeyPatch) -> None:
    entries_do_not_cross(monkeypatch)
    outcome = explore(2, decides=False)
    assert {"client calls connect", "server calls connect"} < {*outcome.trace}
    assert "client receives '1;n;;_OnNamespaceConnect;0;0;'" in outcome.trace
    assert "server receives '1;n;;_OnNamespaceConnect;1;0;bad namespace'" in outcome.trace
    assert len(outcome.trace) == 6
    assert outcome.problem == "at rest, connected is set() here and {'n'} there"


# ---- Answers ----


def test_what_applications_are_asked_has_a_name() -> None:
    [asked] = sessions.connected(Role.SERVER).receive(sessions.frame(wait="$1"))
    assert isinstance(asked, Asked)
    assert exploration.short(asked) == "an event"
    assert exploration.short(ChangeAsked(Change.JOIN, "n", "r", 1)) == "a join"


# ---- The command ----


def test_the_command_prints_the_size(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--operations", "2"]) == 0
    early, *runs, last = capsys.readouterr().out.splitlines()
    assert early.startswith("2 commands around the handshake: 300 ways")
    assert [line.split(", 2 commands")[0] for line in runs] == [
        f"{who} applications, {start}" for who in ("accepting", "deciding") for start in STARTS
    ]
    assert last.startswith("explored ")
    assert last.endswith("no ask stays pending")


def test_the_command_prints_how_to_come_to_a_problem(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    a_reply_is_lost(monkeypatch)
    assert main(["--operations", "1"]) == 1
    *_, problem = lines = capsys.readouterr().out.splitlines()
    assert problem.startswith("problem: at rest, pending_asks is ")
    assert "client calls ask" in lines
    assert "server receives '$2;n;;e;0;0;'" in lines
    assert "server answers yes to an event" in lines


def test_the_module_runs_as_a_program(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["exploration", "--operations", "0"])
    # By its path: where the suite is installed and not linked, pytest's own import hook stands
    # before the modules of a distribution with a plugin, and that hook cannot run a module.
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(exploration.__file__, run_name="__main__")
    assert ended.value.code == 0
    assert capsys.readouterr().out.endswith("no ask stays pending\n")


# ---- Commands around the handshake ----


def test_commands_around_the_handshake_are_answered_in_order() -> None:
    outcome = explore_early(2)
    assert outcome.problem == ""
    assert outcome.states == 5**2 * 2**2 * 3


def test_a_session_that_reads_on_while_the_application_decides_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def eager(session: Session, events: list[Event]) -> None:
        held, session._held = session._held or [], None
        for payload in held:
            session._read(payload, events)

    replace_method(monkeypatch, "_read_held", eager)
    outcome = explore_early(2)
    assert outcome.problem.startswith("out of order")
    assert outcome.trace[0] == "connect"
    assert main(["--operations", "2"]) == 1
    assert "problem: out of order" in capsys.readouterr().out
