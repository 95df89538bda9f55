"""The attacks of ``hostile``: how each of them ends."""

import asyncio
from argparse import Namespace

from hostile import __main__ as hostile
from hostile.attacks import ATTACKS, Aim

from .test_handler_queue import asynchronous

MOMENT = 0.01
"""Seconds of an attack here."""


class Unread:
    """A connection whose target reads nothing."""

    async def write(self, _):
        await asyncio.Event().wait()


class Gone:
    """A connection whose target has ended."""

    async def write(self, _):
        return False


@asynchronous
async def test_an_attack_that_never_ends_is_told(monkeypatch, capsys):
    async def endless(_):
        await asyncio.Event().wait()

    monkeypatch.setitem(ATTACKS, "endless", (endless, ()))
    monkeypatch.setattr(hostile, "OVERTIME", MOMENT)
    await hostile._attack(Namespace(attack="endless", url="", dials="", seconds=MOMENT))
    assert capsys.readouterr().out == "did not end in time"


@asynchronous
async def test_an_attack_that_nobody_reads_ends_by_itself(monkeypatch, capsys):
    async def unread(aim):
        while await aim.write(Unread(), b"x"):
            pass

    monkeypatch.setitem(ATTACKS, "unread", (unread, ()))
    await hostile._attack(Namespace(attack="unread", url="", dials="", seconds=MOMENT))
    assert capsys.readouterr().out == ""


@asynchronous
async def test_a_write_that_waits_too_long_is_tried_again_and_one_to_a_target_that_ended_is_not():
    aim = Aim("", "", 3600)
    assert await aim.write(Unread(), b"x", seconds=MOMENT)
    assert not await aim.write(Gone(), b"x")
