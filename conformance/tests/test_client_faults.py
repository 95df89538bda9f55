"""The engine for faulty clients: what a hook sees of the traffic, and what its effect does."""

import pytest

from mutation import client_faults as on
from mutation import work_clock
from mutation.client_faults import GONE, ClientContext, ClientFault, play
from mutation.codecs import answers, reads
from mutation.hooks import Traffic
from neffos_conformance.cases.definition import Case
from neffos_conformance.cases.script import read_script
from neffos_conformance.cases.verdict import Verdict


def explanation(fault, script):
    """Run a script against a faulty client, and say why it failed; empty where it passed."""
    case = Case("NS-1.c99", "", ("NS-1",), "client", read_script(script, "client"))
    result = work_clock.run(play(fault, case))
    assert (result.verdict is Verdict.PASS) == (not result.explanation)
    return result.explanation


ECHO = """
1 app
1 < 7;app;;echo;0;0;hi
1 > 7;app;;echo;0;0;hi
"""


def test_a_fault_without_hooks_is_a_correct_client():
    assert explanation(ClientFault(), ECHO) == ""


@pytest.mark.parametrize(
    "fault",
    [
        on.receive(lambda _, __: (), event="echo"),
        on.receive(lambda c, m: c.serve(m.replace(body="ho")), event="echo"),
        on.receive_raw(lambda c, payload: c.serve(payload[:-1]) if payload[-1:] == "i" else None),
        on.send(lambda _, m: m.replace(body="ho"), event="echo"),
        on.send_raw(lambda _, payload: "ho" if payload[-1:] == "i" else None),
        on.beside(lambda _, m: m.replace(body="ho"), event="echo"),
        on.beside_raw(lambda _, payload: GONE if payload[-1:] == "i" else None),
    ],
)
def test_each_hook_changes_what_the_client_does(fault):
    assert explanation(fault, ECHO) != ""


def test_a_hook_leaves_messages_alone_that_its_trigger_does_not_name():
    fault = on.send(lambda _, __: (), event="echo", body="ho")
    assert explanation(fault, ECHO) == ""
    assert explanation(fault, ECHO.replace("hi", "ho")) != ""


def test_a_frame_that_a_hook_leaves_alone_stays_as_it_was_written():
    fault = on.receive(lambda c, m: c.serve(m.replace(body=m.body)))
    assert explanation(fault, ECHO.replace("echo;0;0;hi\n1 >", "echo;F;;hi\n1 >")) == ""


def test_a_token_that_a_fault_gives_is_the_clients_own_again_in_the_reply():
    script = """
    1 handshake
    1 do connect app
    1 > #<<token>>;app;;_OnNamespaceConnect;0;0;
    1 < #<<token>>;;;;;;
    1 did
    """
    assert explanation(on.retokened(lambda token: f"#{token[1:]}"), script) == ""


def test_an_operation_can_fail_succeed_and_give_another_result():
    script = """
    1 handshake
    1 do emit app news lobby hi
    1 did
    """
    assert explanation(ClientFault(), script) != ""
    assert explanation(ClientFault(failed=lambda *_: {}), script) == ""


def test_traffic_shows_asks_until_their_reply_and_memberships_after_it():
    context = ClientContext()
    context.turn_to(0, Traffic())

    def received(payload):
        context.traffic.feed("server", payload)

    def sent(payload):
        context.traffic.feed("client", payload)

    def memberships():
        return context.is_in("app"), context.is_in("app", "lobby")

    sent("M")
    received("A7")
    assert context.is_accepted
    sent("$1;app;;_OnNamespaceConnect;0;0;")
    assert context.client_asks.keys() == {"$1"}
    assert memberships() == (False, False)
    received("$1;;;;;;")
    assert context.client_asks == {}
    received("5;app;lobby;_OnRoomJoin;0;0;")
    assert context.server_asks.keys() == {"5"}
    sent("5;;;;;;")
    assert memberships() == (True, True)
    received("6;app;lobby;_OnRoomLeave;0;0;")
    sent("6;app;lobby;_OnRoomLeave;1;0;no")
    assert memberships() == (True, True)
    received("7;app;;_OnNamespaceDisconnect;0;0;")
    sent("7;;;;;;")
    assert memberships() == (False, False)


def test_a_hook_serves_the_current_payload_as_it_was_written():
    context = ClientContext()
    context.begin("7;app;;echo;false;F;hi")
    assert context.serve(context.message) == []
    assert context.serve(context.message.replace(body="ho")) == []
    assert context.take_served() == ["7;app;;echo;false;F;hi", "7;app;;echo;0;0;ho"]
    assert context.take_served() == []


def test_a_codec_hook_is_given_the_correct_answer():
    request = {"op": "decode", "payload": ";app;;say;0;0;hi"}
    shout = reads(lambda _, message: {"body": message["body"].upper()})
    assert shout.answer(request)["message"]["body"] == "HI"
    deaf = answers(lambda _: {"reject": True}, op="encode")
    assert deaf.answer(request)["message"]["body"] == "hi"
