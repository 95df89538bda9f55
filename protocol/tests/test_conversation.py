"""The tracker: what each message is, which ask a reply answers, and what both peers are in."""

from __future__ import annotations

import pytest

from neffos_codec import HandshakeAccept, HandshakeRefuse, HandshakeRequest, Native
from neffos_protocol import Change, Conversation, MembershipKey, MessageKind, Monitor, Role
from neffos_protocol.conversation import MAX_HEAD

CLIENT, SERVER = Role.CLIENT, Role.SERVER

HANDSHAKE = [(CLIENT, "M"), (SERVER, "Aid")]
CONNECTED = [*HANDSHAKE, (CLIENT, "$1;n;;_OnNamespaceConnect;0;0;"), (SERVER, "$1;;;;;;")]
JOINED = [*CONNECTED, (CLIENT, "$2;n;r;_OnRoomJoin;0;0;"), (SERVER, "$2;;;;;;")]


def tracked(messages, **options):
    """Feed messages to a new conversation; give it and what it says of each."""
    conversation = Conversation(**options)
    return conversation, [conversation.feed(*message) for message in messages]


@pytest.mark.parametrize(
    ("before", "message", "kind"),
    [
        ([], (CLIENT, "M"), MessageKind.REQUEST),
        ([(CLIENT, "M")], (SERVER, "Aid"), MessageKind.ACCEPTANCE),
        ([(CLIENT, "M")], (SERVER, "Hno"), MessageKind.REFUSAL),
        ([(CLIENT, "M"), (SERVER, "Hno")], (SERVER, "x"), MessageKind.AFTER_REFUSAL),
        ([], (CLIENT, "$1;n;;_OnNamespaceConnect;0;0;"), MessageKind.SYSTEM_ASK),
        (CONNECTED, (SERVER, "1;n;;_OnNamespaceDisconnect;0;1;"), MessageKind.SYSTEM_ASK),
        (CONNECTED, (CLIENT, "$7;n;;e;0;0;"), MessageKind.EVENT_ASK),
        (CONNECTED, (SERVER, "7;n;;e;1;0;no"), MessageKind.EVENT_ASK),
        ([*CONNECTED, (CLIENT, "$7;n;;e;0;0;")], (SERVER, "$7;n;;e;0;0;"), MessageKind.REPLY),
        (CONNECTED, (SERVER, "$1;;;;;;"), MessageKind.STRAY_REPLY),
        (CONNECTED, (SERVER, "7;;;;;;"), MessageKind.STRAY_REPLY),
        (CONNECTED, (SERVER, "$7;n;;e;0;0;"), MessageKind.STRAY_REPLY),
        (CONNECTED, (SERVER, "$7;n;r;_OnRoomJoin;1;0;no"), MessageKind.STRAY_REPLY),
        (CONNECTED, (SERVER, "$7;n;r;_OnRoomJoin;0;0;"), MessageKind.SYSTEM_ASK),
        (CONNECTED, (CLIENT, "$7;;;;;;"), MessageKind.STRAY_REPLY),
        (CONNECTED, (CLIENT, "7;n;;e;1;0;no"), MessageKind.STRAY_REPLY),
        (CONNECTED, (CLIENT, "7;n;;e;0;0;"), MessageKind.EVENT_ASK),
        (CONNECTED, (CLIENT, ";n;;e;0;0;"), MessageKind.EVENT),
        (CONNECTED, (CLIENT, ";n;r;_OnRoomJoin;0;0;"), MessageKind.EVENT),
        (CONNECTED, (CLIENT, "hello"), MessageKind.NOT_A_FRAME),
        (CONNECTED, (CLIENT, ""), MessageKind.NOT_A_FRAME),
        (CONNECTED, (CLIENT, "M"), MessageKind.NOT_A_FRAME),
    ],
)
def test_each_message_is_of_one_kind(before, message, kind):
    assert tracked([*before, message])[1][-1].kind is kind


@pytest.mark.parametrize("native", [Native.FALLBACK, Native.ONLY])
def test_a_native_message_is_one(native):
    _, seen = tracked([*CONNECTED, (CLIENT, "hello"), (SERVER, b"\xff")], native=native)
    assert [each.kind for each in seen[-2:]] == [MessageKind.NATIVE] * 2
    assert seen[-1].message is seen[-1].error is None


def test_the_handshake_gives_the_id():
    conversation, seen = tracked([])
    assert (conversation.id, conversation.is_accepted) == ("", False)
    conversation, seen = tracked(HANDSHAKE)
    assert [each.handshake for each in seen] == [HandshakeRequest(), HandshakeAccept("id")]
    assert [each.sender for each in seen] == [CLIENT, SERVER]
    assert (conversation.id, conversation.is_accepted) == ("id", True)
    assert not conversation.is_refused
    assert (conversation.client.handshake, conversation.server.handshake) == ("open", "open")


def test_a_refusal_ends_the_handshake():
    conversation, seen = tracked([(CLIENT, "M"), (SERVER, "Hno")])
    assert seen[-1].handshake == HandshakeRefuse("no")
    assert (conversation.is_accepted, conversation.is_refused) == (False, True)


def test_only_the_first_acceptance_of_a_server_counts():
    wrong = [(CLIENT, "Aclient"), (SERVER, "Aone"), (SERVER, "Atwo"), (SERVER, "Hno")]
    conversation, _ = tracked(wrong)
    assert (conversation.id, conversation.is_refused) == ("one", False)


def test_a_reply_names_its_ask():
    conversation, seen = tracked(JOINED)
    asked, answered = seen[-2:]
    assert answered.ask == asked.ask
    assert (asked.ask.number, asked.ask.token, asked.ask.change) == (5, "$2", Change.JOIN)
    assert asked.ask.key == MembershipKey("n", "r")
    assert seen[2].ask.key == MembershipKey("n")
    assert conversation.client.settled() == {"$1": 3, "$2": 5}
    assert not conversation.client.pending


def test_an_ask_is_pending_until_its_reply():
    conversation, seen = tracked([*CONNECTED, (SERVER, "7;n;;e;0;0;body")])
    assert conversation.server.pending == {"7": seen[-1].ask}
    assert seen[-1].message.body == "body"
    assert conversation.feed(CLIENT, "7;n;;e;0;0;").ask is seen[-1].ask
    assert not conversation.server.pending


def test_the_exchange_marker_is_no_part_of_a_clients_token():
    conversation, seen = tracked([*CONNECTED, (CLIENT, "$!7;n;;e;0;0;")])
    assert list(conversation.client.pending) == [seen[-1].ask.token] == ["$7"]
    marked = conversation.feed(SERVER, "$!7;n;;e;0;0;")
    assert (marked.kind, marked.ask) == (MessageKind.REPLY, seen[-1].ask)


def test_a_second_reply_names_the_settled_ask():
    again = tracked([*JOINED, (SERVER, "$2;;;;;;"), (SERVER, "$9;;;;;;")])[1][-2:]
    assert [(each.kind, each.repeats, each.ask) for each in again] == [
        (MessageKind.STRAY_REPLY, 5, None),
        (MessageKind.STRAY_REPLY, 0, None),
    ]


def test_an_error_reply_to_a_stray_reply_is_no_event():
    monitor = Monitor(at=CLIENT)
    stray, refusal = (CLIENT, "7;;;;;;"), (SERVER, "7;;;;1;0;bad namespace")
    found = [monitor.feed(*each) for each in [*CONNECTED, stray, refusal, refusal]]
    assert found[-2] == []
    assert [each.requirement for each in found[-1]] == ["NS-11"]
    long = (CLIENT, f"{'7' * (MAX_HEAD + 1)};;;;;;")
    conversation, _ = tracked([*CONNECTED, long])
    assert not conversation.client.strays


def test_a_token_is_reused_while_its_ask_is_pending():
    twice = [(CLIENT, "$7;n;;e;0;0;"), (SERVER, "$7;n;;e;0;0;"), (CLIENT, "$7;n;;e;0;0;")]
    _, seen = tracked([*CONNECTED, *twice, twice[0]])
    assert [each.reuses_token for each in seen[-4:]] == [False, False, False, True]


def test_a_reply_to_a_reused_token_answers_the_ask_that_it_fits():
    asks = [(CLIENT, "$7;n;;e;0;0;"), (CLIENT, "$7;n;;f;0;0;"), (CLIENT, "$8;n;;e;0;0;")]
    replies = {
        "$8;n;;e;0;0;": "e",  # its token was used once
        "$7;n;;e;0;0;": "e",
        "$7;n;;other;0;0;": "f",  # fits none: the latest
        "$7;;;;;;": "f",  # an empty reply answers no event
    }
    for reply, event in replies.items():
        _, seen = tracked([*CONNECTED, *asks, (SERVER, reply)])
        assert seen[-1].ask.event == event


def test_an_ask_that_nobody_replies_to_is_not_pending():
    long = "x" * MAX_HEAD
    asks = [
        (CLIENT, "$7;m;;_OnNamespaceConnect;0;1;"),
        (CLIENT, f"$8;{long};;_OnNamespaceConnect;0;0;"),
        (CLIENT, f"$9;n;;{long};0;0;"),
    ]
    conversation, seen = tracked([*CONNECTED, *asks])
    assert [each.ask for each in seen[-3:]] == [None] * 3
    assert [each.kind for each in seen[-2:]] == [MessageKind.SYSTEM_ASK, MessageKind.EVENT_ASK]
    assert not conversation.client.pending


def test_what_only_lenient_decoding_accepts_is_a_frame_with_an_error():
    [*_, seen] = tracked([*CONNECTED, (CLIENT, ";n;;e;x;0;")])[1]
    assert (seen.kind, seen.error.requirement) == (MessageKind.EVENT, "FR-6")
    assert seen.message.event == "e"


def test_both_peers_are_in_what_was_asked_for_and_granted():
    conversation, _ = tracked([*JOINED, (SERVER, "1;m;;_OnNamespaceConnect;0;0;")])
    for peer in (conversation.client, conversation.server):
        assert (peer.connected(), peer.joined("n"), peer.joined("m")) == (["n"], ["r"], [])
        assert peer.is_connected("n")
        assert peer.is_joined("n", "r")
        assert not peer.is_connected("m")
    assert conversation.client.state("m") == "disconnected"
    assert conversation.server.state("m") == "connecting"
    assert conversation.server.state("n", "r") == "connected"
    conversation.feed(CLIENT, "1;;;;;;")
    conversation.feed(CLIENT, "$3;n;;_OnNamespaceDisconnect;0;0;")
    assert conversation.client.is_joined("n", "r")
    conversation.feed(SERVER, "$3;;;;;;")
    for peer in (conversation.client, conversation.server):
        assert (peer.connected(), peer.joined("n")) == (["m"], [])


def test_a_refused_change_changes_nothing():
    refused = [(SERVER, "1;n;r;_OnRoomLeave;0;0;"), (CLIENT, "1;n;r;_OnRoomLeave;1;0;no")]
    conversation, _ = tracked([*JOINED, *refused])
    assert conversation.server.joined("n") == conversation.client.joined("n") == ["r"]


def test_a_superseded_ask_is_marked():
    conversation, _ = tracked(
        [
            *HANDSHAKE,
            (CLIENT, "$1;n;;_OnNamespaceConnect;0;0;"),
            (SERVER, "1;n;;_OnNamespaceConnect;0;0;"),
            (CLIENT, "1;;;;;;"),
        ]
    )
    assert conversation.client.pending["$1"].is_superseded
    assert conversation.feed(SERVER, "$1;n;;_OnNamespaceConnect;1;0;no").ask.is_superseded
    assert conversation.client.is_connected("n")


def test_pairs_give_the_sender_and_the_other_peer():
    conversation = Conversation()
    assert conversation.pairs[SERVER] == (conversation.server, conversation.client)


def test_an_ask_whose_token_was_reused_is_not_superseded():
    conversation, _ = tracked(
        [
            *HANDSHAKE,
            (CLIENT, "$1;n;;_OnNamespaceConnect;0;0;"),
            (CLIENT, "$1;n;;e;0;0;"),
            (SERVER, "1;n;;_OnNamespaceConnect;0;0;"),
            (CLIENT, "1;;;;;;"),
        ]
    )
    assert not conversation.client.pending["$1"].is_superseded
    assert conversation.client.is_connected("n")
