"""The playback engine: what it sends, logs and waits for, on a connection that a test plays."""

import asyncio

import pytest

from mutation import work_clock
from neffos_conformance.runner.playback import MismatchError, Playback, Timeouts
from neffos_conformance.runner.result import Remark
from neffos_conformance.wire.barrier import BARRIERS, IMPLICIT_BARRIERS, is_barrier_reply
from neffos_conformance.wire.connection import ConnectionClosed

QUICK = Timeouts(before_barrier=0.01, after_barrier=0.01, close=0.05, write=0.01)
REPLY = IMPLICIT_BARRIERS["server"].replace("0;0;", "1;0;bad namespace")
HANG = 20.0
"""Seconds after which a test has failed; each takes a few hundredths."""


class Peer:
    """A connection whose peer answers every message as a function says."""

    def __init__(self, answers=lambda count: [REPLY]) -> None:
        self.is_open = True
        self.has_received_close = False
        self.backlog = 0
        self.sent = []
        self.incoming = asyncio.Queue()
        self._answers = answers

    async def send(self, payload, *, is_held=False):
        self.sent.append(payload)
        for answer in self._answers(len(self.sent)):
            self.incoming.put_nowait(answer)

    async def receive(self):
        return await self.incoming.get()

    async def send_close(self, code=1000, reason=""):
        self.incoming.put_nowait(ConnectionClosed(code, reason))

    def abort(self):
        self.incoming.put_nowait(ConnectionClosed(None))

    def resume(self):
        """Read again."""

    async def close(self):
        self.is_open = False


def run(awaitable):
    async def bounded():
        async with asyncio.timeout(HANG):
            return await awaitable

    return work_clock.run(bounded())


def playing(peer, **changes):
    playback = Playback("server", QUICK, **changes)
    playback.connections[1] = peer
    playback.handshaken.add(1)
    return playback


def test_a_message_between_two_barriers_is_still_in_time():
    async def receive():
        return await playing(
            Peer(lambda count: [REPLY] if count == 1 else ["late", REPLY])
        ).receive_soon(1)

    assert run(receive()) == "late"


def test_a_message_is_missing_once_two_barriers_are_answered():
    peer = []

    async def receive():
        peer.append(Peer())
        await playing(peer[0]).receive_soon(1)

    with pytest.raises(MismatchError, match="no message came"):
        run(receive())
    assert peer[0].sent == [IMPLICIT_BARRIERS["server"]] * 2


def test_no_barrier_is_sent_before_the_handshake_is_complete():
    async def receive():
        peer = Peer()
        playback = playing(peer, handshaken=set())
        playback.handshaken.clear()
        task = asyncio.create_task(playback.receive_soon(1))
        await asyncio.wait([task], timeout=5 * QUICK.before_barrier)
        peer.incoming.put_nowait("A1")
        return await task, peer.sent

    assert run(receive()) == ("A1", [])


def test_messages_that_come_while_a_task_is_awaited_are_kept():
    async def wait():
        done = asyncio.get_running_loop().create_future()

        def answers(count):
            if count == 2:
                done.set_result("did it")
            return ["first", REPLY] if count == 1 else [REPLY]

        playback = playing(Peer(answers))
        return await playback.wait_for(1, done), await playback.receive(1)

    assert run(wait()) == ("did it", "first")


class Slow(Peer):
    """A peer that takes a message in pieces, one each time that it is asked how much is left."""

    def __init__(self, pieces, *, is_stuck=False) -> None:
        super().__init__(lambda count: [])
        self._pieces = pieces
        self._is_stuck = is_stuck
        self._taken = asyncio.Event()

    @property
    def backlog(self):
        if not self._is_stuck:
            self._pieces -= 1
        if self._pieces <= 0:
            self._taken.set()
        return self._pieces

    @backlog.setter
    def backlog(self, _):
        """It is counted."""

    async def send(self, payload, *, is_held=False):
        self.sent.append(payload)
        await self._taken.wait()


@pytest.mark.parametrize(("is_stuck", "blocked"), [(False, set()), (True, {1})])
def test_a_peer_is_blocked_only_if_it_takes_nothing(is_stuck, blocked):
    async def send():
        playback = playing(Slow(10, is_stuck=is_stuck))
        playback.stalled.add(1)
        await playback.send(1, "x")
        await playback.send(1, "y")
        return playback

    playback = run(send())
    assert playback.blocked == blocked
    remarks = [each.content.text for each in playback.log if isinstance(each.content, Remark)]
    assert remarks == ["nothing more is taken"] * len(blocked)


def test_events_of_all_connections_come_in_one_queue_and_are_logged():
    async def events():
        first, second = Peer(), Peer()
        playback = Playback("client", QUICK, connections={1: first, 2: second})
        for number in playback.connections:
            playback.watch(number)
        first.incoming.put_nowait("a")
        second.abort()
        await playback.events.put((7, KeyError("the runner's own")))
        found = [await playback.next_event() for _ in range(3)]
        await playback.release()
        return sorted((number, str(event)) for number, event in found), playback.log

    found, log = run(events())
    assert found == [
        (1, "a"),
        (2, "closed without a close frame"),
        (7, '"the runner\'s own"'),
    ]
    assert {(each.connection, each.from_client) for each in log} == {(1, True), (2, True)}


def test_a_close_frame_that_is_not_answered_is_a_fault():
    async def close(peer):
        return await playing(peer).close_all()

    class Silent(Peer):
        async def send_close(self, code=1000, reason=""):
            """Say nothing."""

    async def faults():
        return await close(Peer()), await close(Silent())

    assert run(faults()) == ("", "the close frame was not answered")


def test_a_barrier_is_told_from_one_that_the_suite_sends_unasked():
    for role in ("server", "client"):
        assert is_barrier_reply(BARRIERS[role])
        assert not is_barrier_reply(IMPLICIT_BARRIERS[role])
