"""The monitor: silent on correct peers, however their messages cross; never on wrong ones."""

import random
import tracemalloc
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neffos_codec import Native
from neffos_protocol import MisuseError, Role, conversation
from neffos_protocol.catalogue import requirements
from neffos_protocol.exploration import (
    NAMES,
    SystemState,
    decide,
    fork,
    give,
    note,
    opened,
)
from neffos_protocol.monitor import Monitor

CLIENT, SERVER = Role.CLIENT, Role.SERVER

HANDSHAKE = [(CLIENT, "M"), (SERVER, "Aid")]
CONNECTED = [
    *HANDSHAKE,
    (CLIENT, "$1;n;;_OnNamespaceConnect;0;0;"),
    (SERVER, "$1;;;;;;"),
]
JOINED = [*CONNECTED, (CLIENT, "$2;n;r;_OnRoomJoin;0;0;"), (SERVER, "$2;;;;;;")]
LEFT = [*JOINED, (CLIENT, "$3;n;;_OnNamespaceDisconnect;0;0;"), (SERVER, "$3;;;;;;")]


def findings(conversation, **options) -> list[tuple[str, int, Role]]:
    monitor = Monitor(**options)
    return [
        (finding.requirement, finding.number, finding.role)
        for sender, payload in conversation
        for finding in monitor.feed(sender, payload)
    ]


@pytest.mark.parametrize(
    ("conversation", "requirement"),
    [
        ([(CLIENT, "A1")], "HS-1"),
        ([(CLIENT, "H1")], "HS-1"),
        ([(CLIENT, "$1;n;;_OnNamespaceConnect;0;0;")], "HS-1"),
        ([(CLIENT, "Mx")], "HS-2"),
        ([(CLIENT, b"M")], "HS-5"),
        ([(CLIENT, "M"), (SERVER, "M")], "HS-12"),
        ([(SERVER, "Aid")], "HS-12"),
        ([(CLIENT, "M"), (SERVER, "1;n;;_OnNamespaceConnect;0;0;")], "HS-12"),
        ([(CLIENT, "M"), (CLIENT, "$1;n;;_OnNamespaceConnect;0;0;")], "HS-11"),
        ([(CLIENT, "M"), (SERVER, "A")], "HS-6"),
        ([(CLIENT, "M"), (CLIENT, "M")], "HS-11"),
        ([*HANDSHAKE, (CLIENT, "M")], "NM-1"),
        ([(CLIENT, "M"), (SERVER, "Hno"), (SERVER, "more")], "HS-4"),
        ([*HANDSHAKE, (SERVER, "hello")], "NM-1"),
        ([*HANDSHAKE, (CLIENT, "Aother")], "NM-1"),
        ([*CONNECTED, (CLIENT, ";n;;e;x;0;")], "FR-6"),
        ([*CONNECTED, (CLIENT, ";n;;e;1;0;")], "FR-9"),
        ([*CONNECTED, (CLIENT, ";n;;\udcff;0;0;")], "FR-12"),
        ([*HANDSHAKE, (CLIENT, ";n;;e;0;0;")], "NS-11"),
        ([*HANDSHAKE, (SERVER, ";n;;e;0;0;")], "NS-11"),
        ([*CONNECTED, (CLIENT, "$9;;;;;;")], "NS-11"),
        ([*CONNECTED, (CLIENT, ";n;r;e;0;0;")], "RM-10"),
        ([*CONNECTED, (SERVER, ";n;r;e;0;0;")], "RM-10"),
        ([*HANDSHAKE, (CLIENT, ";n;;_OnNamespaceConnect;0;0;")], "NS-20"),
        ([*HANDSHAKE, (CLIENT, "$1;n;;_OnNamespaceConnect;0;1;")], "NS-20"),
        ([*CONNECTED, (CLIENT, ";n;r;_OnRoomJoin;0;0;")], "NS-20"),
        ([*JOINED, (CLIENT, "$9;n;r;_OnRoomLeft;0;0;")], "EV-5"),
        ([*HANDSHAKE, (CLIENT, "7;n;;_OnNamespaceConnect;0;0;")], "AR-2"),
        ([*HANDSHAKE, (SERVER, "$7;n;;_OnNamespaceConnect;0;0;")], "AR-3"),
        ([*CONNECTED, (CLIENT, "#7;n;;e;0;0;")], "AR-4"),
        ([*CONNECTED, (CLIENT, "$7;n;;e;0;0;"), (CLIENT, "$7;n;;e;0;0;")], "AR-5"),
        ([*CONNECTED, (CLIENT, "$7;n;;e;0;0;"), (SERVER, "$7;n;;f;0;0;")], "AR-7"),
        ([*CONNECTED, (CLIENT, "$7;n;;e;0;0;"), (SERVER, b"$7;n;;e;0;0;")], "AR-16"),
        ([*CONNECTED, (CLIENT, "$7;n;r;_OnRoomJoin;0;0;"), (SERVER, "$7;n;;;1;0;x")], "AR-7"),
        (
            [*CONNECTED, (CLIENT, "$7;n;r;_OnRoomJoin;0;0;"), (SERVER, "$7;n;r;_OnRoomJoin;0;0;x")],
            "AR-20",
        ),
        ([*CONNECTED, (CLIENT, "$7;n;r;_OnRoomJoin;0;0;"), (SERVER, b"$7;;;;;;")], "FR-13"),
        (
            [
                *CONNECTED,
                (SERVER, "1;n;;_OnNamespaceDisconnect;0;0;"),
                (CLIENT, "1;n;;_OnNamespaceDisconnect;1;0;no"),
            ],
            "NS-13",
        ),
        ([*CONNECTED, (SERVER, "$1;;;;;;")], "AR-22"),
        ([*CONNECTED, (SERVER, "$other;n;;e;0;0;leak")], "AR-17"),
        ([*CONNECTED, (CLIENT, "17;n;;e;0;0;")], "AR-2"),
        ([*CONNECTED, (CLIENT, "neffos(0x1;n;;e;0;0;")], "AR-2"),
    ],
)
def test_a_wrong_message_is_found(conversation, requirement):
    role = conversation[-1][0]
    assert findings(conversation) == [(requirement, len(conversation), role)]
    assert role in requirements()[requirement].applies_to


@pytest.mark.parametrize(
    "conversation",
    [
        JOINED,
        LEFT,
        [*JOINED, (CLIENT, ";n;r;e;0;0;x"), (SERVER, ";n;r;e;0;0;x")],
        [(CLIENT, ""), *CONNECTED, (CLIENT, ""), (CLIENT, b"")],
        [*CONNECTED, (CLIENT, "$7;n;;e;0;0;"), (SERVER, "$7;n;;e;1;0;no")],
        [*CONNECTED, (CLIENT, "$7;n;;_OnNamespaceConnect;0;0;"), (SERVER, "$7;;;;;;")],
        [*HANDSHAKE, (CLIENT, "$7;n;;_OnNamespaceDisconnect;0;0;"), (SERVER, "$7;;;;;;")],
        [
            *HANDSHAKE,
            (SERVER, "7;n;;_OnNamespaceConnect;0;0;"),
            (CLIENT, "7;n;;_OnNamespaceConnect;1;0;no"),
        ],
        # Replies come in any order.
        [
            *CONNECTED,
            (CLIENT, "$7;n;;e;0;0;"),
            (CLIENT, "$8;n;;e;0;0;"),
            (SERVER, "$8;n;;e;0;0;"),
            (SERVER, "$7;n;;e;0;0;"),
        ],
        [(CLIENT, "M"), (SERVER, "Hno")],
        [(CLIENT, "M"), (SERVER, "Hno"), (CLIENT, "on its way")],
        # Both ask at once; either's events may follow the reply that it sent.
        [
            *HANDSHAKE,
            (CLIENT, "$1;n;;_OnNamespaceConnect;0;0;"),
            (SERVER, "1;n;;_OnNamespaceConnect;0;0;"),
            (CLIENT, "1;;;;;;"),
            (CLIENT, ";n;;e;0;0;"),
            (SERVER, "$1;;;;;;"),
            (SERVER, ";n;;e;0;0;"),
        ],
    ],
)
def test_a_correct_conversation_is_not_blamed(conversation):
    monitor = Monitor()
    assert [each for message in conversation for each in monitor.feed(*message)] == []
    assert monitor.number == len(conversation)


@pytest.mark.parametrize("read", ["\ufffd", "\ufffd\ufffd"])
def test_who_reads_a_broken_name_in_its_own_way_is_not_blamed(read):
    ask, other = (CLIENT, b"$7;n;;\xe2\x82;0;0;"), (SERVER, f"$7;m;;{read};0;0;".encode())
    reply = (SERVER, f"$7;n;;{read};0;0;".encode())
    assert findings([*CONNECTED, ask, reply]) == [("FR-12", 5, CLIENT)]
    assert findings([*CONNECTED, ask, other]) == [("FR-12", 5, CLIENT), ("AR-7", 6, SERVER)]


def test_between_the_peers_a_message_may_have_crossed_the_reply():
    late = [*LEFT, (CLIENT, ";n;;e;0;0;late"), (CLIENT, ";n;r;e;0;0;late")]
    assert findings(late) == []
    assert findings(late, at=SERVER) == []
    assert findings(late, at=CLIENT) == [("NS-11", 9, CLIENT), ("NS-11", 10, CLIENT)]


def test_who_answered_something_later_had_read_the_reply():
    assert findings(
        [
            *LEFT,
            (SERVER, "1;m;;_OnNamespaceConnect;0;0;"),
            (CLIENT, "1;;;;;;"),
            (CLIENT, ";n;;e;0;0;too late"),
        ]
    ) == [("NS-11", 11, CLIENT)]


def test_who_answers_a_disconnect_has_left_at_once():
    answered = [*JOINED, (SERVER, "1;n;;_OnNamespaceDisconnect;0;0;"), (CLIENT, "1;;;;;;")]
    assert findings([*answered, (CLIENT, ";n;;e;0;0;")]) == [("NS-11", 9, CLIENT)]
    assert findings([*answered, (SERVER, ";n;;e;0;0;")]) == []


def test_the_reply_to_a_second_reply_shows_that_it_was_taken_for_an_ask():
    ask = "1;m;;_OnNamespaceConnect;0;0;"
    answered = [*CONNECTED, (SERVER, ask), (CLIENT, ask.replace(";0;0;", ";1;0;no"))]
    again = [*answered, (CLIENT, ask), (SERVER, "1;;;;;;")]
    assert [found[0] for found in findings(again)] == ["AR-22", "AR-21"]
    later = [(SERVER, ask.replace("1;m", "2;m")), (CLIENT, ask.replace("1;m", "2;m"))]
    assert [found[0] for found in findings([*answered, *later, *again[-2:]])] == ["AR-20", "AR-22"]


@pytest.mark.parametrize(
    ("asker", "other", "token"), [(SERVER, CLIENT, "7"), (CLIENT, SERVER, "$7")]
)
def test_an_error_for_a_late_reply_is_no_event_in_its_namespace(asker, other, token):
    crossed = [
        *CONNECTED,
        (asker, f"{token};n;r;_OnRoomJoin;0;0;"),
        (other, "$8;n;r;_OnRoomJoin;0;0;" if other is CLIENT else "8;n;r;_OnRoomJoin;0;0;"),
        (asker, "$8;;;;;;" if other is CLIENT else "8;;;;;;"),
        (other, f"{token};;;;;;"),
        (asker, f"{token};;;;1;0;bad namespace"),
    ]
    assert findings(crossed) == [("AR-21", len(crossed), asker)]
    assert findings([*CONNECTED, (asker, f"{token};;;;1;0;no")]) == [("NS-11", 5, asker)]


CONNECTED_ANEW = [
    *CONNECTED,
    (SERVER, "1;n;;_OnNamespaceDisconnect;0;0;"),
    (CLIENT, "$2;n;;_OnNamespaceDisconnect;0;0;"),
    (SERVER, "$2;;;;;;"),
    (CLIENT, "$3;n;;_OnNamespaceConnect;0;0;"),
    (SERVER, "$3;;;;;;"),
    (CLIENT, "$4;n;r;_OnRoomJoin;0;0;"),
    (SERVER, "$4;;;;;;"),
]
"""Both ask to disconnect, and the client connects again without having answered."""


@pytest.mark.parametrize("late", ["1;;;;;;", "1;n;;_OnNamespaceDisconnect;1;0;no"])
def test_a_late_reply_to_an_ask_that_was_overtaken_changes_nothing(late):
    reconnected = [*CONNECTED_ANEW, (CLIENT, late)]
    assert findings([*reconnected, (CLIENT, ";n;r;e;0;0;"), (SERVER, ";n;r;e;0;0;")]) == []
    again = [*reconnected, (SERVER, "2;n;;_OnNamespaceDisconnect;0;0;"), (CLIENT, "2;;;;;;")]
    assert findings([*again, (CLIENT, ";n;;e;0;0;")]) == [("NS-11", len(again) + 1, CLIENT)]


def test_a_reply_that_was_overtaken_settles_no_later_ask():
    pending = [*CONNECTED_ANEW, (SERVER, "2;n;;_OnNamespaceDisconnect;0;0;"), (CLIENT, "1;;;;;;")]
    assert findings([*pending, (CLIENT, ";n;r;e;0;0;")]) == []


def test_only_the_ask_for_the_same_is_superseded():
    conversation = [
        *CONNECTED,
        (CLIENT, "$2;m;;_OnNamespaceConnect;0;0;"),
        (SERVER, "$2;;;;;;"),
        (CLIENT, "$3;m;;_OnNamespaceDisconnect;0;0;"),
        (CLIENT, "$4;n;;_OnNamespaceDisconnect;0;0;"),
        (SERVER, "1;n;;_OnNamespaceConnect;0;0;"),
        (CLIENT, "1;;;;;;"),  # it is connected still
        (SERVER, "2;n;;_OnNamespaceDisconnect;0;0;"),
        (CLIENT, "2;;;;;;"),
        (SERVER, "$3;m;;_OnNamespaceDisconnect;1;0;no"),
        (CLIENT, ";m;;e;0;0;"),
    ]
    assert findings(conversation) == []
    assert findings([*conversation, (CLIENT, ";n;;e;0;0;")]) == [("NS-11", 15, CLIENT)]


def test_an_ask_for_the_opposite_is_not_overtaken():
    conversation = [
        *CONNECTED,
        (CLIENT, "$2;n;;_OnNamespaceDisconnect;0;0;"),
        (CLIENT, "$3;n;;_OnNamespaceConnect;0;0;"),
        (SERVER, "1;n;;_OnNamespaceConnect;0;0;"),
        (CLIENT, "1;;;;;;"),
        (SERVER, "$2;;;;;;"),
        (SERVER, "$3;;;;;;"),
        (CLIENT, ";n;;e;0;0;"),
    ]
    assert findings(conversation) == []


def test_a_token_that_is_used_again_is_that_of_another_ask():
    conversation = [
        *CONNECTED_ANEW,
        (SERVER, "1;n;;_OnNamespaceDisconnect;0;0;"),
        (CLIENT, "1;;;;;;"),
        (CLIENT, ";n;;e;0;0;"),
    ]
    assert [found[0] for found in findings(conversation)] == ["AR-5", "NS-11"]


def test_who_replies_to_each_of_two_asks_with_one_token_is_innocent():
    asks = [
        (CLIENT, "$7;n;;e;0;0;"),
        (CLIENT, "$7;n;;f;0;0;"),
        (CLIENT, "$7;m;;_OnNamespaceConnect;0;0;"),
    ]
    replies = [(SERVER, "$7;n;;e;0;0;"), (SERVER, "$7;;;;;;"), (SERVER, "$7;n;;f;0;0;")]
    for order in permutations(replies):
        conversation = [*CONNECTED, *asks, *order]
        found = findings([*conversation, (SERVER, "$7;n;;f;0;0;")])
        assert [each[0] for each in found] == ["AR-5", "AR-5", "AR-22"]


def test_a_room_does_not_come_back_without_its_namespace():
    conversation = [
        *CONNECTED,
        (SERVER, "1;n;;_OnNamespaceDisconnect;0;0;"),
        (CLIENT, "$2;n;r;_OnRoomJoin;0;0;"),
        (CLIENT, "1;;;;;;"),
        (SERVER, "$2;;;;;;"),
        (CLIENT, "$3;n;;_OnNamespaceConnect;0;0;"),
        (SERVER, "$3;;;;;;"),
        (CLIENT, ";n;r;e;0;0;"),
    ]
    assert findings(conversation) == [("RM-10", 11, CLIENT)]


def test_who_asks_to_connect_behind_a_disconnect_is_connected_when_both_are_answered():
    conversation = [
        *CONNECTED,
        (SERVER, "1;n;;_OnNamespaceDisconnect;0;0;"),
        (CLIENT, "$2;n;;_OnNamespaceDisconnect;0;0;"),
        (CLIENT, "$3;n;;_OnNamespaceConnect;0;0;"),
        (CLIENT, "1;;;;;;"),
        (SERVER, "$2;;;;;;"),
        (SERVER, "$3;;;;;;"),
        (CLIENT, ";n;;e;0;0;"),
    ]
    assert findings(conversation) == []


def test_who_has_not_joined_may_refuse_to_leave():
    refused = (CLIENT, "1;n;r;_OnRoomLeave;1;0;bad namespace")
    assert findings([*HANDSHAKE, (SERVER, "1;n;r;_OnRoomLeave;0;0;"), refused]) == []


@pytest.mark.parametrize("native", [Native.FALLBACK, Native.ONLY])
def test_native_messages_are_nobodys_fault(native):
    start = CONNECTED if native is Native.FALLBACK else []
    said = [(CLIENT, "hello"), (SERVER, b"\xff"), (SERVER, "no UTF-8: \udcff")]
    assert findings([*start, *said], native=native) == []


@pytest.mark.parametrize("at", [None, CLIENT, SERVER])
@pytest.mark.parametrize("decides", [False, True])
def test_two_sessions_are_never_blamed(at, decides):
    """Random conversations of two correct sessions, seen where the monitor sits."""
    chance = random.Random(7)
    for _ in range(300):
        system = opened("open", decides)
        monitor = Monitor(at=at)
        for sender, payload in HANDSHAKE:
            assert monitor.feed(sender, payload) == []
        for _ in range(chance.randrange(40)):
            wander(system, monitor, at, chance)


def wander(system: SystemState, monitor: Monitor, at: Role | None, chance: random.Random) -> None:
    """Take one random step and feed the monitor what passes it."""
    me = chance.choice((0, 1))
    end, other = system.peers[me], system.peers[1 - me]
    role = (CLIENT, SERVER)[me]
    choice = chance.randrange(3)
    if choice == 0 and end.inbox:
        payload, end.inbox = end.inbox[0], end.inbox[1:]
        if at is role:
            assert monitor.feed((SERVER, CLIENT)[me], payload) == []
        note(end, end.session.receive(payload), NAMES[me])
    elif choice == 1 and end.todo:
        asked, end.todo = end.todo[0], end.todo[1:]
        decide(end, asked, chance.choice(("yes", "no")), NAMES[me])
    elif choice == 2:
        command = chance.choice(("connect", "disconnect", "join", "leave", "ask", "emit", "shout"))
        try:
            if command == "emit":
                end.session.emit("n", "e", "x")
            elif command == "shout":
                end.session.emit("n", "e", "x", room="r")
            else:
                give(end.session, command)
        except MisuseError:
            pass
    for payload in end.session.outgoing():
        other.inbox.append(payload)
        if at is role or at is None:
            assert monitor.feed(role, payload) == []


def test_a_world_can_be_forked():
    system = opened("joined", True)
    twin = fork(system, 0)
    twin.peers[0].session.disconnect("n")
    assert system.peers[0].session.pending_asks == frozenset()


payloads = st.one_of(
    st.text(max_size=20),
    st.binary(max_size=20),
    st.lists(
        st.sampled_from(
            [
                "",
                "$1",
                "1",
                "#1",
                "$!2",
                "n",
                "r",
                "e",
                "0",
                "1",
                "_OnRoomJoin",
                "_OnNamespaceConnect",
                "_OnNamespaceDisconnect",
                "_OnRoomLeft",
            ]
        ),
        min_size=7,
        max_size=7,
    ).map(";".join),
    st.sampled_from(["M", "Aid", "Hno", "$1;;;;;;"]),
)


@settings(derandomize=True, max_examples=settings().max_examples * 3 // 4)
@given(
    st.lists(st.tuples(st.sampled_from(Role), payloads), max_size=30),
    st.sampled_from(Native),
    st.sampled_from([None, *Role]),
)
def test_nothing_is_raised_and_messages_are_counted(conversation, native, at):
    monitor = Monitor(native=native, at=at)
    for sender, payload in conversation:
        for finding in monitor.feed(sender, payload):
            assert finding.number == monitor.number
    assert monitor.number == len(conversation)


def test_a_long_conversation_is_held_in_little(monkeypatch):
    most = conversation.MAX_REMEMBERED
    if conversation.__file__.endswith(
        ".py"
    ):  # compiled, a constant is part of the code, and its bound soon reached
        most = 128
        monkeypatch.setattr(conversation, "MAX_REMEMBERED", most)
    monitor = Monitor()
    for sender, payload in CONNECTED:
        monitor.feed(sender, payload)
    for number in range(2 * most):
        monitor.feed(CLIENT, f"$a{number};n;;e;0;0;")
        monitor.feed(CLIENT, f"$b{number};n{number};;_OnNamespaceConnect;0;0;")
        monitor.feed(SERVER, f"$b{number};;;;;;")
        monitor.feed(SERVER, f"{number};n{number};;_OnNamespaceDisconnect;0;0;")
        monitor.feed(CLIENT, f"{number};;;;;;")
    for peer in (monitor.conversation.client, monitor.conversation.server):
        for held in (peer.pending, peer.settled(), peer.memberships, peer.left):
            assert len(held) <= most


def test_the_reply_to_an_ask_that_is_too_long_to_remember_is_no_made_up_one():
    name = "r" * conversation.MAX_HEAD
    reply = (SERVER, f"$2;n;{name};_OnRoomJoin;1;0;too long")
    assert findings([*CONNECTED, (CLIENT, f"$2;n;{name};_OnRoomJoin;0;0;"), reply]) == []
    assert findings([*CONNECTED, reply]) == [("AR-17", 5, SERVER)]


def test_the_reply_to_an_ask_that_is_too_long_to_remember_is_no_second_one():
    again = [(who, f"$1;n;;{'e' * conversation.MAX_HEAD};0;0;") for who in (CLIENT, SERVER)]
    assert findings([*CONNECTED, *again]) == []
    assert findings([*CONNECTED, again[1]]) == [("AR-22", 5, SERVER)]


@pytest.mark.parametrize("reply", ["$1;;;;0;0;", b"$1;;;;;;"])
def test_an_empty_reply_is_written_in_one_way(reply):
    assert findings([*CONNECTED[:-1], (SERVER, reply)]) == [("FR-13", 4, SERVER)]


@pytest.mark.no_cover
def test_only_what_a_reply_must_echo_is_kept():
    monitor = Monitor()
    for sender, payload in CONNECTED:
        monitor.feed(sender, payload)
    body = "x" * 100_000
    tracemalloc.start()
    for number in range(500):
        monitor.feed(CLIENT, f"$a{number};n;;e;0;0;{body}")
        monitor.feed(CLIENT, f"$b{number};{number}{body};;_OnNamespaceConnect;0;0;")
        monitor.feed(CLIENT, f"$c{number};n;{body};e;0;0;")
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 1_000_000


@pytest.mark.parametrize(("reply", "found"), [("$1;;;;;;", []), ("$!1;;;;;;", ["SX-2"])])
def test_an_exchange_marker_is_taken_out_of_a_reply_to_a_client(reply, found):
    monitor = Monitor()
    for sender, payload in [
        (CLIENT, "M"),
        (SERVER, "A1"),
        (CLIENT, "$!1;n;;_OnNamespaceConnect;0;0;"),
    ]:
        monitor.feed(sender, payload)
    assert [each.requirement for each in monitor.feed(SERVER, reply)] == found
    assert monitor.feed(CLIENT, ";n;;e;0;0;") == []
