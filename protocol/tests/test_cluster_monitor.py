"""What an observer of a cluster may blame on its servers, and what it must not."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neffos_protocol import Monitor, Role, cluster_monitor
from neffos_protocol.cluster_monitor import ClusterMonitor
from neffos_protocol.exchange import nats_subjects, redis_channels

GO = "neffos(0x7f1c(ann0xc000123456))"
TAG = "0123456789abcdef" * 2


class Watched:
    """A cluster, as its recording shows it."""

    def __init__(self, channels=redis_channels, prefix="p") -> None:
        self.cluster = ClusterMonitor(channels, prefix)
        self.monitors: dict[int, Monitor] = {}

    def client(self, connection: int, node: int, id_: str, *rooms: str) -> None:
        self.monitors[connection] = Monitor()
        self.cluster.open(connection, node)
        asks = ["$1;app;;_OnNamespaceConnect;0;0;"]
        asks += [f"$1;app;{room};_OnRoomJoin;0;0;" for room in rooms]
        assert not self.sent(connection, "M") + self.got(connection, f"A{id_}")
        for ask in asks:
            assert not self.sent(connection, ask) + self.got(connection, "$1;;;;;;")

    def sent(self, connection: int, payload: str | bytes) -> list[str]:
        return self._pass(connection, Role.CLIENT, payload)

    def got(self, connection: int, payload: str | bytes) -> list[str]:
        return self._pass(connection, Role.SERVER, payload)

    def _pass(self, connection: int, sender: Role, payload: Any) -> list[str]:
        monitor = self.monitors[connection]
        found = monitor.feed(sender, payload)
        seen = self.cluster.observe(connection, sender, monitor.conversation, found)
        return [each.requirement for each in seen]

    def published(self, channel: str, payload: str | bytes) -> list[str]:
        data = payload.encode() if isinstance(payload, str) else payload
        found = self.cluster.publish(channel, data)
        assert all(each.role is Role.SERVER for each in found)
        assert all(each.number == self.cluster.number for each in found)
        return [each.requirement for each in found]


@pytest.fixture
def two() -> Watched:
    """Give a cluster with a client on each of two servers."""
    watched = Watched()
    watched.client(1, 1, "ann")
    watched.client(2, 2, "ben", "lobby")
    return watched


@pytest.mark.parametrize("prefix", ["p", ""])
def test_nothing_is_wrong_with_what_go_and_python_publish(prefix):
    two = Watched(prefix=prefix)
    two.client(1, 1, "ann")
    two.client(2, 2, "ben", "lobby")
    tag = f"{TAG}(t)"
    for channel, payload in [
        ("p.app.", f"{GO};app;;news;0;0;x"),
        ("p.app.", f"{GO.replace('ann', 'zoe')};app;;news;0;0;x"),
        ("p.ben.", ";app;;news;0;0;x"),
        ("p.app.", b"neffos(0x7f1c(ann0xc000123456));app;;news;0;0;\xff"),
        ("p.app.", f"neffos(0x{tag});app;lobby;news;0;0;x"),
        ("p.app.", f"1!-{tag};app;lobby;news;0;0;x"),
        (f"p.ask.1-{tag}", ";app;lobby;news;0;0;yes"),
        ("p.unknown.", ";app;;news;0;0;x"),
        ("elsewhere", ";app;;news;0;0;x"),
        ("p.app", "not a frame"),
    ]:
        assert two.published(channel, payload) == []
    assert not two.cluster.pending


def test_an_ask_without_a_marker_is_one_that_no_client_has_sent(two):
    assert two.published("p.app.", "R795;app;;news;0;0;x") == ["SX-3"]
    assert two.published("p.app.", "$5;app;;news;0;0;x") == []  # DV-41
    two.sent(1, "odd;app;;news;0;0;x")
    assert two.published("p.app.", "odd;app;;news;0;0;x") == []


def test_an_ask_has_its_reply_under_its_token_and_nowhere_else(two):
    for token in ("795-1", "795-2"):
        assert two.published("p.app.", f"{token[0]}!{token[1:]};app;;news;0;0;x") == []
    assert list(two.cluster.pending) == ["795-1", "795-2"]
    assert two.published("795-1", ";app;;news;0;0;yes") == ["SX-4"]
    assert two.published("p.795-2.", ";app;;news;0;0;yes") == ["SX-4"]
    assert not two.cluster.pending


def test_a_name_of_redis_ends_with_a_dot(two):
    assert two.published("p.app.news", ";app;;news;0;0;x") == ["SX-5"]


def test_a_name_of_nats_is_one_part():
    one = Watched(nats_subjects)
    one.client(1, 1, "a.b")
    assert one.published("p.a.b", ";a.b;;news;0;0;x") == ["SX-6"]
    assert one.published("p.a.b", ";app;;news;0;0;x") == ["SX-6"]
    assert one.published("p.a.b_c", ";a.b*c;;news;0;0;x") == ["SX-6"]
    assert one.published("p.a_b", ";app;;news;0;0;x") == []
    assert one.published("p.other.app", ";app;;news;0;0;x") == []  # of another prefix
    assert one.published("p.app", "7!95;app;;news;0;0;x") == []
    assert one.published("795", ";app;;news;0;0;x") == ["SX-4"]


def test_a_published_frame_is_one_that_a_client_may_get(two):
    assert two.published("p.app.", ";app;a;b;news;0;0;x") == ["SX-7"]
    assert two.published("p.ask.17", ";app;a;b;news;0;0;x") == []  # no client gets a reply


@pytest.mark.parametrize("is_late", [False, True])
def test_what_is_published_is_not_for_a_stranger(two, is_late):
    """The broker may be heard before or after the delivery."""
    frame = ";app;lobby;news;0;0;x"
    if is_late:
        assert two.got(1, frame) == []  # its own server may have sent it
        assert two.published("p.app.", frame) == ["SX-8"]
    else:
        assert two.published("p.app.", frame) == []
        assert two.got(1, frame) == ["SX-8"]
    assert two.got(2, frame) == []


def test_who_is_left_out_and_gets_the_frame_may_have_it_from_its_own_server(two):
    two.sent(1, ";app;;say;0;0;hello")
    assert two.published("p.app.", f"{GO};app;;news;0;0;hello") == []
    assert two.cluster.publisher == 1
    assert two.got(2, ";app;;news;0;0;hello") == []
    assert not two.cluster.remark
    assert two.got(1, ";app;;news;0;0;hello") == []
    assert "its server may have sent it" in two.cluster.remark
    two.got(1, ";app;;news;0;0;else")
    assert not two.cluster.remark


def test_a_reply_is_of_a_client_that_was_asked(two):
    two.client(3, 2, "eve")
    assert two.published("p.app.", "1!5;app;lobby;news;0;0;x") == []
    two.got(2, "15;app;lobby;news;0;0;x")
    for forged in ("15", "1!5"):
        two.sent(3, f"{forged};app;;news;0;0;forged")
    assert two.published("p.ask.15", ";app;;news;0;0;unseen") == []  # of whoever is not recorded
    assert two.cluster.publisher == 0
    two.sent(2, "15;app;lobby;news;0;0;yes")
    assert two.published("p.ask.15", ";app;lobby;news;0;0;yes") == []
    assert two.cluster.publisher == 2
    assert two.published("p.ask.15", ";app;;news;0;0;forged") == ["SX-9"]
    assert two.published("p.ask.15", ";app;;news;0;0;forged") == []
    two.sent(2, "15;app;lobby;news;0;0;again")
    assert two.published("p.ask.16", ";app;lobby;news;0;0;again") == []
    assert two.published("p.ask.15", ";app;lobby;news;0;0;again") == ["SX-9"]


def test_a_token_that_nobody_has_asked_with_is_a_name_like_any_other(two):
    """Go 0.0.24 publishes the frame, and so anything under any name."""
    two.sent(1, "1!7;app;;echo;0;0;x")
    assert two.published("p.app.", ";app;;echo;0;0;x") == []
    assert two.published("17", ";app;;echo;0;0;x") == ["SX-4", "SX-9"]
    unknown = Watched(prefix="")
    unknown.client(1, 1, "ann")
    unknown.sent(1, "p!.ann.;app;;echo;0;0;x")
    assert unknown.published("p.ann.", ";app;;echo;0;0;x") == []


def test_a_client_that_was_asked_too_much_to_remember_is_not_blamed(two):
    two.monitors[2].conversation.server.has_forgotten = True
    two.sent(2, "15;app;;news;0;0;yes")
    assert two.published("p.ask.15", ";app;;news;0;0;yes") == []


@pytest.mark.parametrize("errors", ["replace", "surrogateescape"])
@pytest.mark.parametrize("is_late", [False, True])
def test_a_binary_message_does_not_arrive_as_text(two, errors, is_late):
    frame = GO.encode() + b";app;;news;0;0;\xff"
    got = b";app;;news;0;0;\xff".decode(errors=errors)
    if is_late:
        assert two.got(2, got) == []
        assert two.published("p.app.", frame) == ["SX-12"]
    else:
        assert two.published("p.app.", frame) == []
        assert two.got(2, got) == ["SX-12"]
    assert two.published("p.app.", f"neffos(0x{TAG}(b));app;;news;0;0;text") == []
    assert two.got(2, ";app;;news;0;0;text") == []  # another may have sent it


# -------------------------------------------------------------------- who published


@pytest.mark.parametrize(
    ("client", "frame", "publisher"),
    [
        (";app;;say;0;0;hello", "{tag};app;;news;0;0;hello", 2),
        (";app;;say;0;0;ben hello", "{tag};app;;news;0;0;hello", 2),
        (";app;;say;0;0;no", "{tag};app;;news;0;0;n", 0),
        (";app;;say;0;0;no", "{tag};app;;news;0;0;", 0),
        (";app;;say;0;0;" + "é" * 300, "{tag};app;;news;0;0;" + "é" * 300, 2),
    ],
)
def test_a_frame_is_of_the_server_whose_client_sent_its_body(two, client, frame, publisher):
    two.sent(2, client)
    tag = f"neffos(0x{TAG}(t))"
    two.published("p.app.", frame.format(tag=tag))
    assert two.cluster.publisher == publisher
    two.published("p.app.", f"{tag};app;;news;0;0;more")
    assert two.cluster.publisher == publisher  # the server is known by its name in the frame


def test_if_clients_of_both_servers_sent_a_body_the_frame_is_of_neither(two):
    for connection in (1, 2):
        two.sent(connection, ";app;;say;0;0;hello")
    two.published("p.app.", ";app;;news;0;0;hello")
    assert two.cluster.publisher == 0
    two.cluster.close(2)
    two.sent(2, ";app;;say;0;0;late")
    two.published("p.app.", ";app;;news;0;0;late")
    assert two.cluster.publisher == 1  # the node of a connection whose opening is unknown


# -------------------------------------------------------------------- bounds, and any input


def test_what_is_remembered_has_bounds(two, monkeypatch):
    monkeypatch.setattr(cluster_monitor, "MAX_REMEMBERED", 3)
    monkeypatch.setattr(cluster_monitor, "MAX_PREFIXES", 3)
    cluster = ClusterMonitor(redis_channels)
    for number in range(9):
        cluster.publish(f"{number}.app.", f"1!{number};app;;news;0;0;x".encode())
    assert list(cluster.pending) == ["16", "17", "18"]
    assert cluster.publish("0.app.news", b"5;app;;news;0;0;x") == []  # that prefix is forgotten
    assert [each.requirement for each in cluster.publish("8.x.y", b";app;;n;0;0;")] == ["SX-5"]


def test_names_that_are_too_long_to_remember_are_not(two):
    long = "x" * 2000
    two.published("p.app.", f"1!5{long};app;;news;0;0;x")
    two.sent(1, f"15{long};app;;news;0;0;x")
    two.client(3, 1, long)
    two.published(f"p.ask.15{long}", ";app;;news;0;0;x")
    assert not two.cluster.pending
    unknown = ClusterMonitor(redis_channels)
    unknown.publish(f"{long}.app.", b";app;;news;0;0;x")
    assert not unknown.publish(f"{long}.app", b"5;app;;news;0;0;x")


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["p.app.", "p.ask.15", "15", "p.", "", "p.app", "\udcff"]),
            st.binary(max_size=20)
            | st.sampled_from(
                [b"1!5;app;;e;0;0;x", b"15;app;;e;0;0;\xff", b";;;;0;0;", b"5;;;;;;"]
            ),
        ),
        max_size=6,
    ),
    st.sampled_from([redis_channels, nats_subjects]),
    st.sampled_from(["p", "", "*"]),
)
def test_whatever_is_published_raises_nothing(published, channels, prefix):
    watched = Watched(channels, prefix)
    watched.monitors[1] = Monitor()
    for channel, payload in published:
        watched.published(channel, payload)
        watched.sent(1, payload)
        watched.got(1, payload)
