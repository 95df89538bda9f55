"""The engine of the mutants: triggers, effects of hooks, and what a context knows."""

import asyncio

import pytest

from mutation import fault_proxy, hooks, operators
from mutation.hooks import CONNECT, DISCONNECT, JOIN, LEAVE, Hooks, Scratch, ServerContext
from mutation.registry import BANK, Staged, mutants, register
from neffos_codec import Message, decode, encode
from neffos_conformance.reference.embedded import NOTHING

ECHO = "$1;app;;echo;0;0;hi"


def connection(peer: Hooks, serve=lambda payload: [payload]):
    """Give what a server with these hooks sends at a payload; it sends back what it gets."""
    return peer.distort(serve)


def test_a_server_without_hooks_is_unchanged():
    assert connection(Hooks())(ECHO) == [ECHO]
    assert connection(Hooks(), lambda _: ["unasked"])(NOTHING) == ["unasked"]


@pytest.mark.parametrize(
    ("effect", "sent"),
    [
        (None, [ECHO]),
        ((), []),
        ("x", ["x"]),
        (b"x", [b"x"]),
        (Message(wait="$1"), ["$1;;;;;;"]),
        ([Message(wait="$1"), "x"], ["$1;;;;;;", "x"]),
    ],
)
@pytest.mark.parametrize("make", [hooks.receive, hooks.send])
def test_an_effect_leaves_drops_or_replaces_a_frame(make, effect, sent):
    assert connection(make(lambda c, m: effect))(ECHO) == sent


@pytest.mark.parametrize(
    ("trigger", "fits"),
    [
        ({"event": "echo"}, True),
        ({"event": ("echo", "push")}, True),
        ({"event": lambda event: event.startswith("e")}, True),
        ({"event": "echo", "room": "r"}, False),
        ({"wait": bool, "is_binary": False, "is_connected": False}, True),
        ({"answers": "", "is_accepted": True}, False),
    ],
)
def test_a_trigger_compares_the_attributes_of_a_frame_or_its_context(trigger, fits):
    assert (connection(hooks.receive(operators.drop, **trigger))(ECHO) == []) is fits


def test_a_trigger_that_names_nothing_is_a_mistake():
    with pytest.raises(AttributeError, match="evnt"):
        connection(hooks.receive(operators.drop, evnt="echo"))(ECHO)


def test_payloads_that_are_not_frames_reach_raw_hooks_alone():
    raw = hooks.receive_raw(operators.drop)
    assert connection(raw)("native") == []
    assert connection(hooks.receive(operators.drop))("native") == ["native"]
    assert connection(raw, lambda _: ["unasked"])(NOTHING) == ["unasked"]


def obedient(payload):
    """Give the empty reply to each ask."""
    try:
        return [encode(decode(payload).empty_reply())]
    except ValueError:
        return []


def test_a_context_tracks_memberships_and_acts_aside():
    context = ServerContext(obedient, Scratch())
    for event, room in ((CONNECT, ""), (JOIN, "r"), (JOIN, "a;b")):
        assert context.serve(Message(wait="$1", namespace="app", event=event, room=room))
    assert context.rooms("app") == ["a;b", "r"]
    context.aside(LEAVE, "app", "a;b")
    assert (context.namespaces, context.rooms("app")) == (["app"], ["r"])
    context.aside(DISCONNECT, "app")
    assert not context.memberships


def test_the_replies_to_asks_aside_are_not_sent():
    peer = hooks.after(operators.aside(LEAVE), event=JOIN)
    assert connection(peer, obedient)(f"$1;app;r;{JOIN};0;0;") == ["$1;;;;;;"]


def test_a_context_knows_which_ask_of_the_server_a_frame_answers():
    peer = hooks.receive(operators.drop, answers=JOIN)
    ask = f"7;app;r;{JOIN};0;0;"
    handle = connection(peer, lambda payload: [ask] if payload is NOTHING else [payload])
    assert handle("7;;;;;;") == ["7;;;;;;"]
    assert handle(NOTHING) == [ask]
    assert handle("7;;;;;;") == []


def test_connections_of_a_server_share_what_is_remembered_for_it():
    peer = Hooks(receive=lambda c, m: f"{c.server.count()} {c.count()}")
    distort = peer.distort
    first, second = distort(obedient), distort(obedient)
    assert [first(ECHO), second(ECHO), first(ECHO)] == [["1 1"], ["2 1"], ["3 2"]]
    assert connection(peer)(ECHO) == ["1 1"]  # another run


def test_a_fault_may_end_the_connection():
    with pytest.raises(ConnectionError, match="enough"):
        connection(hooks.receive(operators.fail("enough")))(ECHO)


def test_requests_are_read_and_written_as_they_are():
    head = b"GET /?a=b HTTP/1.1\r\nHost: x\r\nX-Odd: \xe9\r\nx-odd: 2\r\n\r\n"
    request = fault_proxy.Request.parse(head)
    assert request.head() == head
    assert (request.method, request.target, request.value("X-ODD")) == ("GET", "/?a=b", "é")
    assert request.with_header("x-odd", None).headers == (("Host", "x"),)


def test_frames_that_the_rfc_forbids_can_be_written():
    frame = fault_proxy.Frame(13, b"x" * 126, fin=False, rsv2=True)
    assert frame.serialize(mask=False)[:4] == b"\x2d\x7e\x00\x7e"
    assert frame.is_control
    assert fault_proxy.Frame(8, (4000).to_bytes(2)).code == 4000


def staged():
    return Staged("codec", lambda: None)


def test_names_of_mutants_are_unique_and_every_row_has_a_peer():
    before = dict(BANK)
    try:
        mutants("AR-1 hooks-test: Does nothing.", staged())
        assert BANK["codec-hooks-test"].about == "Does nothing."
        with pytest.raises(ValueError, match="codec-hooks-test"):
            register("hooks_test", "AR-1", "Does nothing.", staged())
        with pytest.raises(ValueError, match="has no peer"):
            mutants("AR-1 hooks-test-2: Does nothing.")
        with pytest.raises(ValueError, match="has no name"):
            mutants("AR-1", staged())
    finally:
        BANK.clear()
        BANK.update(before)


def test_a_hook_that_ends_tcp_ends_it_with_the_client():
    async def run() -> bytes:
        async with fault_proxy.request(lambda c, m: fault_proxy.CUT).run() as url:
            port = int(url.rpartition(":")[2].partition("/")[0])
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            try:
                return await reader.read()
            except ConnectionError:
                return b""
            finally:
                writer.close()

    assert asyncio.run(run()) == b""
