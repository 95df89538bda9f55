"""HandlerQueue: one item at a time and in order, whether it is done at once or takes a while."""

import asyncio
import functools

import pytest

from mutation import work_clock
from neffos_asyncio import handler_queue
from neffos_asyncio.handler_queue import TURN, HandlerQueue

PATIENCE = 10
"""Seconds for a test: far more than any takes, so that one that hangs says so."""


def patiently(seconds, run_loop=asyncio.run):
    """Run a test in a loop of its own, in bounded time, and fail it on what only a log would tell.

    A task whose exception nobody asked for, or a callback that raised, is a mistake of the code
    under test, whatever else the test saw.
    """

    def decorate(test):
        @functools.wraps(test)
        def run(*args, **kwargs):
            untold = []

            async def bounded():
                loop = asyncio.get_running_loop()
                loop.set_exception_handler(lambda _, told: untold.append(told))
                async with asyncio.timeout(seconds):
                    await test(*args, **kwargs)

            run_loop(bounded())
            assert untold == []

        return run

    return decorate


asynchronous = patiently(PATIENCE, work_clock.run)
"""For tests whose peers are all in this process: their time is what it works."""


class Worker:
    """Deals with items: text is done at once, a future takes until it is set."""

    def __init__(self):
        self.done = []
        self.pause = None
        self.queue = HandlerQueue(self.begin, self.after, "test")

    def begin(self, item):
        if isinstance(item, str):
            self.done.append(item)
            return None
        return self.work(item)

    async def work(self, item):
        try:
            self.done.append(await item)
        except asyncio.CancelledError:
            self.done.append("cancelled")
            raise

    def after(self):
        self.done.append("|")
        return None if self.pause is None else self.pause.wait()

    def slow(self):
        item = asyncio.get_running_loop().create_future()
        self.queue.add(item)
        return item


@asynchronous
async def test_what_is_done_at_once_is_done_before_add_returns():
    worker = Worker()
    for item in "abc":
        worker.queue.add(item)
        assert worker.done[-1] == item
    assert len(worker.queue) == 0


@asynchronous
async def test_what_comes_behind_what_takes_time_waits_and_keeps_its_order():
    worker = Worker()
    first = worker.slow()
    worker.queue.add("b")
    second = worker.slow()
    worker.queue.add("d")
    assert (worker.done, len(worker.queue)) == ([], 3)

    second.set_result("c")  # ready early, and not before its turn
    await asyncio.sleep(0)
    assert worker.done == []

    first.set_result("a")
    await worker.queue.idle()
    assert (worker.done, len(worker.queue)) == (["a", "|", "b", "|", "|", "c", "|", "d", "|"], 0)


@asynchronous
async def test_after_what_took_time_there_may_be_a_pause_before_the_next_turn():
    worker = Worker()
    worker.pause = asyncio.Event()
    worker.slow().set_result("a")
    worker.queue.add("b")
    while "|" not in worker.done:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert worker.done == ["a", "|"]
    assert worker.queue.is_busy
    worker.pause.set()
    await worker.queue.idle()
    assert worker.done == ["a", "|", "b", "|"]
    assert not worker.queue.is_busy


@asynchronous
async def test_after_it_was_idle_items_are_done_at_once_again():
    worker = Worker()
    worker.slow().set_result("a")
    await worker.queue.idle()
    worker.queue.add("b")
    assert worker.done == ["a", "|", "b"]


@asynchronous
async def test_an_item_that_an_item_adds_comes_behind_those_that_wait():
    done = []

    def begin(item):
        return work(item)

    async def work(item):
        if item == "a":
            queue.add("c")
        done.append(item)

    queue = HandlerQueue(begin, lambda: None, "test")
    queue.add("a")
    queue.add("b")
    await queue.idle()
    assert done == ["a", "b", "c"]


@asynchronous
async def test_idle_waits_for_what_is_added_while_it_waits():
    worker = Worker()
    first = worker.slow()
    idle = asyncio.create_task(worker.queue.idle())
    await asyncio.sleep(0)
    second = worker.slow()
    first.set_result("a")
    await asyncio.sleep(0)
    second.set_result("b")
    await idle
    assert worker.done == ["a", "|", "|", "b", "|"]


@asynchronous
async def test_idle_returns_at_once_where_nothing_is_at_work():
    await Worker().queue.idle()


@asynchronous
async def test_who_stops_waiting_for_idle_stops_nothing_else():
    worker = Worker()
    first = worker.slow()
    idle = asyncio.create_task(worker.queue.idle())
    await asyncio.sleep(0)
    idle.cancel()
    with pytest.raises(asyncio.CancelledError):
        await idle
    first.set_result("a")
    await worker.queue.idle()
    assert worker.done == ["a", "|"]


@asynchronous
async def test_cancel_interrupts_what_is_at_work_and_drops_what_waits():
    worker = Worker()
    worker.slow()
    worker.queue.add("b")
    await asyncio.sleep(0)  # so that the first has begun
    worker.queue.cancel()
    assert len(worker.queue) == 0
    await worker.queue.idle()
    assert worker.done == ["cancelled"]

    worker.queue.add("c")
    assert worker.done == ["cancelled", "c"]


@asynchronous
async def test_cancel_keeps_what_is_to_be_kept_and_what_comes_after_it():
    worker = Worker()
    worker.slow()
    for item in "bcd":
        worker.queue.add(item)
    await asyncio.sleep(0)
    worker.queue.cancel(lambda item: item == "c")
    worker.queue.add("e")  # before the first has seen that it is cancelled
    assert len(worker.queue) == 2
    await worker.queue.idle()
    assert worker.done == ["cancelled", "c", "|", "e", "|"]


@asynchronous
async def test_what_is_kept_may_take_time_itself():
    worker = Worker()
    worker.slow()
    await asyncio.sleep(0)
    worker.queue.cancel()
    worker.slow().set_result("b")
    await worker.queue.idle()
    assert worker.done == ["cancelled", "|", "b", "|"]


@asynchronous
async def test_what_an_item_done_at_once_adds_comes_behind_it():
    done = []

    def begin(item):
        if item == "a":
            queue.add("b")
            queue.add("c")
        done.append(item)

    queue = HandlerQueue(begin, lambda: None, "test")
    queue.add("a")
    assert done == ["a", "b", "c"]


@asynchronous
async def test_cancel_does_nothing_where_nothing_is_at_work():
    worker = Worker()
    worker.queue.cancel()
    worker.queue.add("a")
    assert worker.done == ["a"]


@asynchronous
async def test_an_exception_of_an_item_done_at_once_reaches_who_added_it():
    def begin(_):
        raise ValueError("on purpose")

    queue = HandlerQueue(begin, lambda: None, "test")
    with pytest.raises(ValueError, match="on purpose"):
        queue.add("a")
    await queue.idle()
    assert len(queue) == 0


class Sized(Worker):
    """A worker whose queue also gets items that wait for all others."""

    def begin(self, item):
        if item == "adds":
            self.queue.add("added")
        return super().begin(item)


@asynchronous
async def test_what_an_item_adds_comes_before_what_waits():
    worker = Sized()
    first = worker.slow()
    worker.queue.wait("adds", 3)
    worker.queue.wait("b", 4)
    assert (len(worker.queue), worker.queue.size) == (2, 7)
    first.set_result("a")
    await worker.queue.idle()
    assert worker.done == ["a", "|", "adds", "|", "added", "|", "b", "|"]
    assert (len(worker.queue), worker.queue.size) == (0, 0)


@asynchronous
async def test_what_waits_is_taken_out_or_dropped_with_its_size():
    worker = Sized()
    worker.slow()
    for item in "abc":
        worker.queue.wait(item, 1)
    assert worker.queue.take_waiting() == ["a", "b", "c"]
    assert (len(worker.queue), worker.queue.size) == (0, 0)

    for item in "abc":
        worker.queue.wait(item, 1)
    worker.queue.add("d")
    assert worker.queue.drop(lambda item: item in "bd") == 2
    assert (len(worker.queue), worker.queue.size) == (2, 0)
    worker.queue.cancel()
    await worker.queue.idle()


@asynchronous
async def test_to_cancel_many_queues_looks_at_no_task_of_the_loop(monkeypatch):
    looks = []
    monkeypatch.setattr(handler_queue, "_is_ending", lambda: looks.append(1))
    workers = [Sized() for _ in range(20)]
    for worker in workers:
        worker.slow()
    await asyncio.sleep(0)
    for worker in workers:
        worker.queue.cancel()
        await worker.queue.idle()
        assert worker.done == ["cancelled"]
    assert not looks


@asynchronous
async def test_a_task_that_others_cancel_loses_nothing_that_waits():
    worker = Sized()
    worker.slow()
    worker.queue.wait("b", 1)
    await asyncio.sleep(0)
    worker.queue._task.cancel()
    await worker.queue.idle()
    assert worker.done == ["cancelled", "b", "|"]


@asynchronous
async def test_a_task_that_others_cancel_before_it_began_does_its_work_all_the_same():
    worker = Sized()
    first = worker.slow()
    worker.queue.wait("b", 1)
    worker.queue._task.cancel()
    first.set_result("a")
    await worker.queue.idle()
    assert worker.done == ["a", "|", "b", "|"]


@asynchronous
async def test_others_have_their_turn_between_many_items():
    worker = Sized()
    first = worker.slow()
    for number in range(3 * TURN):
        worker.queue.wait(str(number), 1)
    first.set_result("a")
    turns = 0
    while worker.queue.is_busy:
        before = len(worker.queue)
        await asyncio.sleep(0)
        turns += 1
        assert before - len(worker.queue) <= TURN
    assert turns > 3


def test_the_end_of_the_loop_leaves_no_task_behind():
    done = []

    async def main():
        worker = Sized()
        worker.slow()
        worker.queue.wait("b", 1)
        other = asyncio.create_task(asyncio.sleep(PATIENCE))
        await asyncio.sleep(0)
        done.append((worker, other))

    asyncio.run(main())
    [(worker, _)] = done
    assert worker.done[0] == "cancelled"
    assert len(worker.queue) == 0
