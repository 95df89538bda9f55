"""Recordings that are played again: what counts as the same, and what is found where it is not."""

import asyncio
import io
import json
import sys
from pathlib import Path

import pytest

from mutation import BANK, work_clock
from neffos_asyncio import ON_NATIVE_MESSAGE, RefusedError, dial
from neffos_conformance.cases.definition import select, server_cases
from neffos_conformance.cli.main import main
from neffos_conformance.recordings.columns import side_by_side
from neffos_conformance.recordings.comparison import Comparison
from neffos_conformance.recordings.id_mapping import IdMapping, TokenMapping, renamed
from neffos_conformance.recordings.operations import CannotError, operations
from neffos_conformance.recordings.replay import ReplayOutcome, replay_to_client, replay_to_server
from neffos_conformance.recordings.session import StepKind, read_session
from neffos_conformance.reference.embedded import embedded_server
from neffos_conformance.runner.pace import Way
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.run import to_server
from neffos_conformance.wire import subprocesses
from neffos_conformance.wire.connection import ConnectionClosed, WireConnection
from neffos_conformance.wire.networks import Network, network_before, networks
from neffos_conformance.wire.relay import relaying
from neffos_conformance.wire.transcript import (
    ConnectionOpened,
    Entry,
    Transcript,
    Writer,
    header,
    read_lines,
    save,
)
from neffos_protocol import Role

PATIENCE = 60
"""Seconds for a test: far more than any takes, so that one that hangs says so."""

AMPLE = 10
"""Seconds for a peer that is going to answer, on a machine that may be busy."""

SOON = 0.3
"""Seconds for a peer that is not going to answer."""

DRIVER = [str(Path(sys.executable).with_name("neffos-wire")), "driver"]
RECORDINGS = Path(__file__).parents[1] / "transcripts"


def run(awaitable, run_loop=work_clock.run):
    """Give what a coroutine gives, on a clock that counts work where no process is waited for."""

    async def bounded():
        async with asyncio.timeout(PATIENCE):
            return await awaitable

    return run_loop(bounded())


def run_processes(awaitable):
    return run(awaitable, asyncio.run)


# -------------------------------------------------------------------- sessions by hand


def c(content, connection=1):
    return connection, True, content


def s(content, connection=1):
    return connection, False, content


def session(*said, **fields) -> Transcript:
    first = header(scenario="s", client={"peer": "c"}, server={"peer": "s"}, how="test", **fields)
    entries = [Entry(number, number / 8, *each) for number, each in enumerate(said, start=2)]
    return Transcript(first, tuple(entries))


def compared(recorded: Transcript, now, live=Role.SERVER):
    """Say how one session differs from another, and give what the played side sent in it."""
    script = read_session(recorded, live)
    comparison = Comparison(script)
    to_play = [line for line in script.steps if not line.is_live and line.part is not StepKind.LATE]
    sent = []
    for connection, from_client, content in now:
        if from_client == (live is Role.CLIENT):
            found = comparison.see(connection, content)
            if found is not None:
                return found, sent
        else:
            line = next(each for each in to_play if each.entry.connection == connection)
            to_play.remove(line)
            sent.append(comparison.play(line))
    return None if comparison.is_due() else comparison.missing(None, "at all"), sent


def same(recorded, now, **fields):
    found, sent = compared(recorded, now, **fields)
    assert found is None
    return sent


def different(recorded, now, **fields):
    found, _ = compared(recorded, now, **fields)
    assert found is not None
    return found


START = (c("M"), s("Aone"), c("$1;app;;_OnNamespaceConnect;0;0;"), s("$1;;;;;;"))
STARTED = (c("M"), s("Atwo"), c(""), s("$1;;;;;;"))
"""The same now; what the played side says in it is the recording's to tell."""


def after_start(*said, **fields):
    return session(*START, *said, **fields)


class TestWhatIsTheSame:
    def test_a_session_is_like_itself(self):
        said = (
            *START,
            c("$2;app;;echo;0;0;hi"),
            s("$2;app;;echo;0;0;hi"),
            s(ConnectionClosed(1000)),
        )
        assert same(session(*said), said)[-1] == "$2;app;;echo;0;0;hi"

    def test_a_frame_is_its_fields(self):
        recorded = after_start(c("$2;app;;echo;0;0;"), s("$2;app;;echo;0;0;hi"))
        same(recorded, (*STARTED, c(""), s("$2;app;;echo;x;no;hi")))

    def test_the_reason_of_a_close_is_for_people(self):
        recorded = after_start(s(ConnectionClosed(1001, "bye")))
        same(recorded, (*STARTED, s(ConnectionClosed(1001, "good night"))))

    def test_a_refusal_is_followed_by_an_end_that_may_not_be_recorded(self):
        same(session(c("M"), s("Hno")), (c("M"), s("Hno"), s(ConnectionClosed(1008))))

    def test_what_crossed_the_clients_end_does_not_matter(self):
        recorded = after_start(c(ConnectionClosed(1000)), s(";app;;news;0;0;late"))
        same(recorded, (*STARTED, c("")))
        same(recorded, (*STARTED, c(""), s(";app;;news;0;0;other"), s(ConnectionClosed(None))))


class TestNames:
    def test_an_id_is_another_wherever_it_comes_back(self):
        recorded = after_start(
            c("$2;app;;whoami;0;0;"),
            s("$2;app;;whoami;0;0;one"),
            c("$3;app;one;tell;0;0;one hello, one!"),
            s('$3;app;one;tell;0;0;{"id":"one","none":"phone"}'),
            c(b"one \xff"),
            s(b"\xffone"),
        )
        now = (
            *STARTED,
            c(""),
            s("$2;app;;whoami;0;0;two"),
            c(""),
            s('$3;app;two;tell;0;0;{"id":"two","none":"phone"}'),
            c(""),
            s(b"\xfftwo"),
        )
        sent = same(recorded, now)
        assert sent[3:] == ["$3;app;two;tell;0;0;two hello, two!", b"two \xff"]

    @pytest.mark.parametrize("body", ["one", "three", "", "two "])
    def test_the_new_id_is_the_only_one(self, body):
        recorded = after_start(c("$2;app;;whoami;0;0;"), s("$2;app;;whoami;0;0;one"))
        found = different(recorded, (*STARTED, c(""), s(f"$2;app;;whoami;0;0;{body}")))
        assert [each.name for each in found.contrasts] == ["body"]
        assert found.contrasts[0].expected == "two"

    def test_two_ids_do_not_become_one(self):
        recorded = session(c("M"), s("Aone"), c("M", 2), s("Atwo", 2))
        found = different(recorded, (c(""), s("Ax"), c("", 2), s("Ax", 2)))
        assert "for 'one' as well" in found.contrasts[0].why
        same(recorded, (c(""), s("Atwo"), c("", 2), s("Aone", 2)))

    def test_one_id_does_not_become_two(self):
        recorded = session(c("M"), s("Aone"), c("M", 2), s("Aone", 2))
        assert (
            "as 'x' did before"
            in different(recorded, (c(""), s("Ax"), c("", 2), s("Ay", 2))).contrasts[0].why
        )

    def test_an_id_may_come_back_before_its_acceptance(self):
        recorded = after_start(c("M", 2), s("Atwo", 2), s(";app;;news;0;0;two is here"))
        now = (*STARTED, c("", 2), s(";app;;news;0;0;x-y is here"))
        same(recorded, (*now, s("Ax-y", 2)))
        assert different(recorded, (*now, s("Aother", 2))).contrasts[0].name == "id"

    def test_an_empty_id_is_none(self):
        assert different(session(c("M"), s("Aone")), (c(""), s("A"))).contrasts[0].name == "id"

    def test_the_reply_to_a_servers_ask_has_its_new_token(self):
        recorded = after_start(
            s("17;app;;question;0;0;"), c("17;app;;question;0;0;17;x"), s(";app;;answer;0;0;17;x")
        )
        now = (*STARTED, s("99;app;;question;0;0;"), c(""), s(";app;;answer;0;0;17;x"))
        assert same(recorded, now)[-1] == "99;app;;question;0;0;17;x"

    def test_a_token_goes_to_another_connection_as_it_is_now(self):
        recorded = after_start(
            c("M", 2),
            s("Athree", 2),
            s("17;app;;question;0;0;"),
            c("17;app;;echo;0;0;stolen", 2),
            s("17;app;;echo;0;0;stolen", 2),
        )
        now = (*STARTED, c("", 2), s("Afour", 2), s("99;app;;question;0;0;"), c("", 2))
        assert same(recorded, (*now, s("99;app;;echo;0;0;stolen", 2)))[-1].startswith("99;")
        assert different(recorded, (*now, s("17;app;;echo;0;0;stolen", 2)))

    def test_a_token_of_the_client_is_not_chosen_by_the_server(self):
        recorded = after_start(c("M", 2), s("Athree", 2), s("$1;app;;news;0;0;leaked", 2))
        now = (*STARTED, c("", 2), s("Afour", 2))
        same(recorded, (*now, s("$1;app;;news;0;0;leaked", 2)))
        assert different(recorded, (*now, s("$7;app;;news;0;0;leaked", 2)))

    def test_pending_asks_have_their_own_tokens(self):
        recorded = after_start(s("17;app;;a;0;0;"), s("18;app;;b;0;0;"))
        found = different(recorded, (*STARTED, s("99;app;;a;0;0;"), s("99;app;;b;0;0;")))
        assert "another ask still" in found.contrasts[0].why
        recorded = after_start(s("17;app;;a;0;0;"), s("17;app;;a;0;0;"))
        assert (
            "does still"
            in different(recorded, (*STARTED, s("98;app;;a;0;0;"), s("99;app;;a;0;0;")))
            .contrasts[0]
            .why
        )

    def test_a_token_may_be_used_again_when_its_ask_is_over(self):
        asks = [s("17;app;;a;0;0;"), c("17;app;;a;0;0;"), s("18;app;;b;0;0;")]
        now = [s("99;app;;a;0;0;"), c(""), s("99;app;;b;0;0;")]
        same(after_start(*asks), (*STARTED, *now))
        asks[2], now[2] = s("17;app;;b;0;0;"), s("98;app;;b;0;0;")
        same(after_start(*asks), (*STARTED, *now))

    @pytest.mark.parametrize("token", ["", "$99", "#99"])
    def test_a_servers_token_is_a_servers(self, token):
        recorded = after_start(s("17;app;;a;0;0;"))
        found = different(recorded, (*STARTED, s(f"{token};app;;a;0;0;")))
        assert found.contrasts[0].name == "wait"

    def test_what_is_renamed_keeps_its_bytes(self):
        ids, tokens = IdMapping(["one"]), TokenMapping()
        ids.learn("one", "two")
        tokens.learn("17", "99")
        assert renamed("17;a;;e;x;;one\udcff;one", tokens, ids) == "99;a;;e;x;;two\udcff;two"
        assert renamed(b"17;a;;e;x;;one\xff", None, ids) == b"17;a;;e;x;;two\xff"
        assert renamed("17", tokens, ids) == "99"


class TestOrder:
    ASKS = (c("$2;app;;a;0;0;"), c("$3;app;;b;0;0;"))

    def test_replies_come_in_any_order_between_others(self):
        recorded = after_start(
            *self.ASKS,
            s(";app;;news;0;0;1"),
            s("$2;app;;a;0;0;"),
            s("$3;app;;b;0;0;"),
            s(";app;;news;0;0;2"),
        )
        now = [s("$3;app;;b;0;0;"), s(";app;;news;0;0;1"), s(";app;;news;0;0;2")]
        same(recorded, (*STARTED, c(""), c(""), *now, s("$2;app;;a;0;0;")))

    def test_others_keep_their_order(self):
        recorded = after_start(s(";app;;news;0;0;1"), s(";app;;news;0;0;2"))
        found = different(recorded, (*STARTED, s(";app;;news;0;0;2"), s(";app;;news;0;0;1")))
        assert "line 7 (an event) came before line 6 (an event)" in found.explanation

    def test_replies_with_one_token_keep_their_order(self):
        recorded = after_start(c("$2;app;;a;0;0;"), s("$2;app;;news;0;0;"), s("$2;app;;a;0;0;done"))
        now = (*STARTED, c(""), s("$2;app;;a;0;0;done"), s("$2;app;;news;0;0;"))
        assert "came before" in different(recorded, now).explanation

    def test_no_reply_comes_before_its_ask(self):
        recorded = after_start(c("$2;app;;a;0;0;"), s("$2;app;;a;0;0;"))
        found = different(recorded, (*STARTED, s("$2;app;;a;0;0;"), c("")))
        assert found.explanation == "a reply to line 6 (an ask) came before its ask was sent"

    def test_no_reply_comes_before_the_acceptance(self):
        said = [c("$1;app;;_OnNamespaceConnect;0;0;"), c("M"), s("Aone"), s("$1;;;;;;")]
        same(session(*said), said)
        assert different(session(*said), (*said[:2], said[3], said[2]))
        early = [*said[:2], said[3], said[2]]
        same(session(*early), early)
        assert different(session(*early), said)

    def test_no_reply_comes_after_the_end(self):
        recorded = after_start(*self.ASKS, s("$2;app;;a;0;0;"), s(ConnectionClosed(1000)))
        found = different(recorded, (*STARTED, c(""), c(""), s(ConnectionClosed(1000))))
        assert "line 8 (a reply) had not come when the connection ended" in found.explanation

    def test_connections_have_no_order(self):
        recorded = after_start(c("M", 2), s("Ab", 2), s(";app;;n;0;0;"), s(";app;;n;0;0;", 2))
        same(
            recorded,
            (*STARTED, c("", 2), s(";app;;n;0;0;"), s("Ac", 2), s(";app;;n;0;0;", 2)),
        )

    def test_a_line_waits_for_what_was_recorded_before_it(self):
        script = read_session(after_start(c("M", 2), s("Ab", 2)), Role.SERVER)
        comparison = Comparison(script)
        assert [comparison.is_due(number) for number in range(6)] == [True, True, *[False] * 4]
        comparison.play(script.steps[0])
        assert comparison.see(1, "Ax") is None
        assert [comparison.is_due(number) for number in range(6)] == [*[True] * 4, False, False]


class TestWhatIsDifferent:
    REPLY = after_start(c("$2;app;;echo;0;0;hi"), s("$2;app;;echo;0;0;hi"))

    @pytest.mark.parametrize(
        ("now", "names"),
        [
            ("$2;app;;echo;0;0;ho", ["body"]),
            ("$2;app;;echo;1;0;hi", ["is_error"]),
            ("$2;app;;echo;1;1;hi", ["is_error", "is_no_op"]),
            ("$2;app;room;echo;0;0;hi", ["room"]),
            ("$2;App;;fail;1;0;no", ["namespace", "event", "is_error", "body"]),
            (b"$2;app;;echo;0;0;hi", ["kind"]),
            (b"$2;app;;echo;0;0;ho", ["kind", "body"]),
            (";app;;echo;0;0;hi", ["wait"]),
            ("$1;app;;echo;0;0;hi", []),
            (";app;;news;0;0;", []),
            ("hi", []),
        ],
    )
    def test_the_fields_are_named(self, now, names):
        found = different(self.REPLY, (*STARTED, c(""), s(now)))
        assert [each.name for each in found.contrasts] == names
        assert found.now == now
        assert found.connection == 1

    def test_what_is_no_frame_is_compared_as_it_stands(self):
        recorded = after_start(c("x"), s("a;b"), s(b"\xff"))
        same(recorded, (*STARTED, c(""), s("a;b"), s(b"\xff")))
        assert different(recorded, (*STARTED, c(""), s("a; b"))).contrasts[0].name == "payload"
        found = different(recorded, (*STARTED, c(""), s("a;b"), s("\udcff")))
        assert [each.name for each in found.contrasts] == ["kind"]

    def test_frames_mean_nothing_to_a_native_only_peer(self):
        said = [c("M"), s("M"), c("$1;a;;e;0;0;"), s("$1;a;;e;0;0;")]
        same(session(*said, native="only"), said)
        assert different(session(*said, native="only"), (*said[:3], s("$1;a;;e;false;0;")))

    def test_what_does_not_come_is_named(self):
        assert different(self.REPLY, (*STARTED, c(""))).explanation == (
            "line 7 (a reply) did not come at all"
        )
        many = after_start(*[s(f";app;;news;0;0;{number}") for number in range(9)])
        assert "and 6 more did not come" in different(many, STARTED).explanation

    def test_what_was_not_recorded_is_told(self):
        found = different(self.REPLY, (*STARTED, c(""), s("$2;app;;echo;0;0;hi"), s("?")))
        assert "not recorded, after all that was" in found.explanation
        found = different(self.REPLY, (*STARTED, c(""), *[s("$2;app;;echo;0;0;hi")] * 2))
        assert found.explanation == "a reply to line 6 (an ask) came that was not recorded"

    @pytest.mark.parametrize(("then", "now"), [(1000, None), (None, 1000), (1000, 1001)])
    def test_ends_differ_in_their_codes(self, then, now):
        found = different(
            after_start(s(ConnectionClosed(then))), (*STARTED, s(ConnectionClosed(now)))
        )
        assert [(each.name, each.expected, each.now) for each in found.contrasts] == [
            ("code", then, now)
        ]

    def test_an_end_comes_where_it_was_recorded(self):
        found = different(self.REPLY, (*STARTED, c(""), s(ConnectionClosed(1000))))
        assert "before line 7 (a reply)" in found.explanation
        found = different(after_start(), (*STARTED, s(ConnectionClosed(1000))))
        assert "in the recording it was not" in found.explanation
        found = different(after_start(s(ConnectionClosed(1000))), (*STARTED, s(";app;;news;0;0;")))
        assert "while line 6 (the closing) was waited for" in found.explanation

    def test_a_refusal_is_no_acceptance(self):
        assert different(session(c("M"), s("Aone")), (c(""), s("Hno"))).contrasts
        assert different(session(c("M"), s("Hno")), (c(""), s("Aone"))).contrasts
        assert different(session(c("M"), s("Hno")), (c(""), s("Hnot"))).contrasts


class TestTheMirror:
    def test_the_client_chooses_its_tokens_and_the_server_its_ids(self):
        recorded = after_start(
            s("17;app;;question;0;0;one"),
            c("17;app;;question;0;0;one"),
            c("$2;app;;whoami;0;0;"),
            s("$2;app;;whoami;0;0;one"),
        )
        now = [c("M"), s(""), c("$x;app;;_OnNamespaceConnect;0;0;"), s(""), s("")]
        now += [c("$y;app;;whoami;0;0;"), c("17;app;;question;0;0;one"), s("")]
        sent = same(recorded, now, live=Role.CLIENT)
        assert sent == [
            "Aone",
            "$x;;;;;;",
            "17;app;;question;0;0;one",
            "$y;app;;whoami;0;0;one",
        ]

    def test_a_client_answers_with_the_servers_token(self):
        recorded = after_start(s("17;app;;question;0;0;"), c("17;app;;question;0;0;"))
        now = [c("M"), s(""), c("$x;app;;_OnNamespaceConnect;0;0;"), s(""), s("")]
        assert different(recorded, [*now, c("18;app;;question;0;0;")], live=Role.CLIENT)


# -------------------------------------------------------------------- operations


def derived(*said, **fields):
    script = read_session(session(*said, **fields), Role.CLIENT)
    return [(each.op, dict(each.fields)) for each in operations(script).values()]


CONNECTED = [("dial", {"path": ""}), ("connect", {"namespace": "app"})]


def test_operations_are_what_the_client_did_of_itself():
    where = {"namespace": "app", "room": "r"}
    assert derived(
        c(ConnectionOpened("/x?y=1", {"X-Conformance-Id": "one"})),
        *START,
        c("$2;app;r;_OnRoomJoin;0;0;"),
        s("$2;;;;;;"),
        c(";app;r;said;0;0;hi"),
        c(b"$3;app;;echo;0;0;\xff"),
        s("17;app;;question;0;0;what?"),
        c("17;app;;question;0;0;what?"),
        s(";app;;fail;0;0;no"),
        c(";app;;fail;1;0;no"),
        s("18;app;;relay;0;0;x"),
        c("$4;app;;echo;0;0;x"),
        s("$4;app;;echo;0;0;x"),
        c("18;app;;relay;0;0;x"),
        c("$5;app;r;_OnRoomLeave;0;0;"),
        s("$5;;;;;;"),
        s("19;;;_OnNamespaceConnect;0;0;"),
        c("19;;;;;;"),
        c("native"),
        c("$6;app;;_OnNamespaceDisconnect;0;0;"),
        s("$6;;;;;;"),
        c(ConnectionClosed(1000)),
    ) == [
        ("dial", {"path": "/x?y=1", "headers": {"X-Conformance-Id": "one"}}),
        ("connect", {"namespace": "app"}),
        ("join", where),
        ("emit", {**where, "event": "said", "text": "hi"}),
        ("ask", {"namespace": "app", "event": "echo", "base64": "/w=="}),
        ("leave", where),
        ("native", {"text": "native"}),
        ("disconnect", {"namespace": "app"}),
        ("close", {}),
    ]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ([c("Mx")], "line 2: .*HS-2"),
        ([c("x")], "line 2: .*HS-1"),
        ([c("M"), c("$1;app;;_OnNamespaceConnect;0;0;")], "line 3: .*HS-11"),
        ([c(ConnectionOpened("", {"X-Websocket-Reconnect": "1"}))], "reconnects"),
        ([*START, c("not a frame")], "native message here"),
        ([*START, c(";app;;_OnNamespaceConnect;0;0;")], "to connect like this"),
        ([*START, c(b"$2;any;;_OnNamespaceConnect;0;0;")], "to connect like this"),
        ([*START, c("$2;app;;_OnNamespaceConnect;0;0;")], "no need to connect"),
        ([*START, c("$2;any;;_OnNamespaceDisconnect;0;0;")], "no need to disconnect"),
        ([*START, c("$2;other;;_OnNamespaceConnect;0;0;")], "does not declare 'other'"),
        ([*START, c("$2;app;;_OnRoomJoin;0;0;")], "RM-12"),
        ([*START, c("$2;any;r;_OnRoomJoin;0;0;")], "RM-2"),
        ([*START, c(";any;;say;0;0;")], "NS-11"),
        ([*START, c(";app;r;say;0;0;")], "RM-10"),
        ([*START, c(";app;;say;1;0;no")], "error that answers nothing"),
        ([*START, c(";app;;say;0;1;no")], "such a frame"),
        ([*START, c(";app;;_OnRoomLeft;0;0;")], "such a frame"),
        ([*START, c("2;app;;say;0;0;")], "AR-2"),
        ([*START, c(";app;;say;0;0;\udcff")], "FR-10"),
        ([*START, s("1;app;;question;0;0;a"), c("1;app;;question;0;0;b")], "'question' otherwise"),
        ([*START, s("1;app;;fail;0;0;a"), c("1;app;;fail;0;0;a")], "'fail' otherwise"),
        ([*START, s("1;app;;x;0;0;a"), c("1;app;;x;0;0;a")], "does not answer 'x'"),
        ([*START, s("1;app;;echo;0;0;a")], "line 6: .* would answer"),
        ([*START, s(";app;;echo;0;0;a"), c(ConnectionClosed(1000))], "line 6: .* would answer"),
        ([*START, s("1;app;r;_OnRoomJoin;0;0;"), c("1;app;r;_OnRoomJoin;1;0;no")], "refuses noth"),
        ([*START, s("1;app;r;_OnRoomJoin;0;0;"), *[c("1;;;;;;")] * 2], "AR-22"),
    ],
)
def test_what_no_driver_can_be_told_is_named(said, why):
    with pytest.raises(CannotError, match=why):
        derived(*said)


def test_the_suites_own_asks_are_no_clients():
    barrier = "$barrier;no such namespace;;_OnNamespaceConnect"
    said = [c(f"{barrier};0;0;"), s(f"{barrier};1;0;bad namespace")]
    assert derived(*START, *said) == CONNECTED


# -------------------------------------------------------------------- live servers


async def recorded(talk, distort=None, **fields) -> Transcript:
    """Record what a client does with the embedded server."""
    stream = io.BytesIO()
    peers = {"client": {"peer": "c"}, "server": {"peer": "s"}}
    writer = Writer(stream, header(scenario="s", how="test", **peers, **fields))
    async with embedded_server(distort=distort) as url, relaying(url, writer.write) as relay:
        await talk(relay.url)
    first, *entries = read_lines(io.BytesIO(stream.getvalue()))
    return Transcript(first, tuple(entries))


async def many_things(url):
    """Asks from both ends, broadcasts among three, bytes, refusals, rooms, ends."""
    application = {
        "app": {"question": lambda _, message: message.body, "answer": lambda _, __: done.set()},
        "any": {},
        "refused": {},
    }
    done = asyncio.Event()
    clients = [await dial(url, application) for _ in range(3)]
    spaces = [await client.connect("app") for client in clients]
    first, second, third = spaces
    with pytest.raises(Exception, match="namespace is closed"):
        await clients[0].connect("refused")
    await asyncio.gather(*(first.ask("echo", f"number {number}") for number in range(9)))
    assert (await first.ask("echo", b"\x00;\xff")).body == b"\x00;\xff"
    first.emit("ask-me", b"what?")
    await done.wait()
    await first.join("lobby")
    await second.join("lobby")
    await second.ask("broadcast-room", "in the room", room="lobby")
    await third.ask("broadcast-others", b"to two")
    await third.ask("broadcast-to", f"{clients[0].id} to one")
    assert (await first.ask("whoami", "")).body == clients[0].id
    with pytest.raises(Exception, match="no way"):
        await first.ask("fail", "no way")
    await first.leave("lobby")
    await first.disconnect()
    with pytest.raises(RefusedError):
        await dial(url, application, headers={"X-Conformance-Refuse": "not today"})
    second.emit("close-me", "")
    await clients[1].wait_closed()
    await clients[0].close()
    await clients[2].close(1001, "bye")


async def natively(url):
    raw = await WireConnection.dial(f"{url}/native")
    for payload in ("M", b"\x00", "$1;;;_OnNamespaceConnect;0;0;"):
        await raw.send(payload)
        assert await raw.receive() == payload
    await raw.close()


async def mixed(url):
    native = asyncio.Event()
    application = {"": {"echo": lambda _, __: None, ON_NATIVE_MESSAGE: lambda _, __: native.set()}}
    async with await dial(f"{url}/mixed", application) as client:
        space = await client.connect("")
        client.send_native("not a frame")
        await native.wait()
        await space.ask("echo", "a frame")


TALKS = {
    "many things": (many_things, {}),
    "native": (natively, {"native": "only"}),
    "mixed": (mixed, {"native": "fallback"}),
}


@pytest.fixture(scope="module")
def visits() -> dict[str, Transcript]:
    return {name: run(recorded(talk, **fields)) for name, (talk, fields) in TALKS.items()}


async def replayed(transcript, distort=None, deadline=AMPLE):
    async with embedded_server(distort=distort) as url:
        return await replay_to_server(transcript, url, deadline=deadline)


@pytest.mark.parametrize("name", TALKS)
def test_a_correct_server_does_the_same_again(visits, name):
    result = run(replayed(visits[name]))
    assert (result.outcome, result.explanation) == (ReplayOutcome.SAME, "")
    assert not any(then == now for then, now in result.ids.items())


@pytest.mark.parametrize("name", TALKS)
def test_a_recording_that_was_cut_off_is_played_as_far_as_it_goes(visits, name):
    transcript = visits[name]
    for count in range(1, len(transcript.entries), 7):
        cut = Transcript(transcript.header, transcript.entries[:count])
        if cut.entries[-1].from_client and isinstance(cut.entries[-1].content, str | bytes):
            continue  # what the server answers was not recorded
        result = run(replayed(cut))
        expected = ReplayOutcome.SAME
        if "not recorded" in result.explanation:
            expected = ReplayOutcome.DIFFERENT  # a message of the server that was still to come
        assert result.outcome is expected, (count, result.explanation)


@pytest.mark.parametrize(
    ("name", "explanation"),
    [
        ("handshake_unanswered", "(the acceptance) did not come"),
        ("id_missing", "(the acceptance) differs in id"),
        ("other_id", "(an event) did not come"),
        ("refusal_accepted", "(the refusal) differs in payload"),
        ("text_for_binary", "differs in kind"),
        ("token_lost", "(a reply) differs in wait"),
        ("error_without_flag", "(a reply) differs in is_error"),
        ("asks_without_token", "(an ask) differs in wait"),
        ("refusal_ignored", "(a reply) differs in namespace"),
        ("join_unanswered", "(a reply) did not come"),
        ("connect_without_effect", "did not come"),
    ],
)
def test_a_wrong_server_is_found_out(visits, name, explanation):
    deadline = 4 * SOON if "did not come" in explanation else AMPLE
    result = run(replayed(visits["many things"], BANK[name.replace("_", "-")].distort, deadline))
    assert result.outcome is ReplayOutcome.DIFFERENT
    assert explanation in result.explanation
    assert result.rows


@pytest.mark.parametrize("name", ["replies_swapped", "long_empty_reply"])
def test_what_the_specification_leaves_open_is_no_difference(visits, name):
    assert (
        run(replayed(visits["many things"], BANK[name.replace("_", "-")].distort)).outcome
        is ReplayOutcome.SAME
    )


def test_a_second_answer_is_found_by_the_barrier(visits):
    def twice(serve):
        return lambda payload: serve(payload) * (2 if "whoami" in str(payload) else 1)

    result = run(replayed(visits["many things"], twice))
    assert "that was not recorded" in result.explanation


@pytest.mark.parametrize("name", ["native", "mixed"])
def test_something_behind_the_last_message_is_found(visits, name):
    transcript = visits[name]
    left = tuple(
        each for each in transcript.entries if not isinstance(each.content, ConnectionClosed)
    )
    open_end = Transcript(transcript.header, left)
    assert run(replayed(open_end)).outcome is ReplayOutcome.SAME

    def more(serve):
        return lambda payload: serve(payload) + (["more"] if payload == left[-2].content else [])

    result = run(replayed(open_end, more))
    assert result.outcome is ReplayOutcome.DIFFERENT, left[-2]


def test_suite_cases_replay(visits):
    async def play(case):
        async with embedded_server() as url:
            result = await to_server(url)(case)
            transcript = Transcript(visits["mixed"].header, tuple(result.entries()))
            return await replay_to_server(transcript, url, deadline=AMPLE)

    for case in select(server_cases(), ["ALL-1", "HS-4.1", "HS-7.1", "AR-7", "FR-2", "NS-9.1"]):
        if any(line.verb == "raw" for line in case.steps):
            continue  # a recording contains messages, not bytes outside them
        result = run(play(case))
        assert (case.id, result.outcome) == (case.id, ReplayOutcome.SAME), result.explanation


async def listening(welcome, talk):
    async def bounded(reader, writer):
        try:
            await welcome(reader, writer)
        except asyncio.CancelledError:
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(bounded, "127.0.0.1", 0)
    async with server:
        return await talk(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")


def hostile(then):
    """Make a server that lets a client in and then does something."""

    async def welcome(reader, writer):
        incoming = await WireConnection.incoming(reader, writer)
        connection = incoming.accept()
        await connection.receive()
        await connection.send("Ax")
        try:
            await then(connection)
        except (asyncio.CancelledError, OSError):
            connection.abort()

    return welcome


async def flood(connection):
    while True:
        await connection.send(";app;;news;0;0;" + "x" * 1000)
        await asyncio.sleep(0)


async def vanish(connection):
    connection.abort()


async def hang(connection):
    await asyncio.sleep(PATIENCE)


async def say_nothing(reader, writer):
    await asyncio.sleep(PATIENCE)


async def refuse(reader, writer):
    await (await WireConnection.incoming(reader, writer)).refuse(403)


@pytest.mark.parametrize(
    ("welcome", "outcome", "explanation"),
    [
        (hostile(flood), ReplayOutcome.DIFFERENT, "another message came while line 5 (a reply)"),
        (hostile(vanish), ReplayOutcome.DIFFERENT, "closed without a close frame"),
        (hostile(hang), ReplayOutcome.DIFFERENT, "did not come within 0.3 s"),
        (say_nothing, ReplayOutcome.ERROR, "no upgrade came from"),
        (refuse, ReplayOutcome.DIFFERENT, "403"),
    ],
)
def test_a_bad_server_ends_it(welcome, outcome, explanation):
    async def play(url):
        return await replay_to_server(after_start(), url, deadline=SOON)

    result = run(listening(welcome, play))
    assert result.outcome is outcome
    assert explanation in result.explanation


def through(network, transcript, *, deadline):
    """Replay through a network to the reference server."""

    async def test():
        async with embedded_server() as url, network_before(url, network) as reached:
            way = Way(Timeouts(case=deadline))
            return await replay_to_server(transcript, reached, deadline=deadline, way=way)

    return work_clock.run(test())


def test_a_far_server_and_a_thin_line_have_the_time_that_they_take():
    body = 60_000 * "x"
    recorded = session(*START, c(f"$2;app;;echo;0;0;{body}"), s(f"$2;app;;echo;0;0;{body}"))
    for network in (Network("", "", latency=1.5), Network("", "", rate=10_000)):
        result = through(network, recorded, deadline=4.0)
        assert (result.outcome, result.explanation) == (ReplayOutcome.SAME, "")


@pytest.mark.parametrize("name", ["half-open", "cut"])
def test_a_network_that_loses_connections_makes_no_difference(name):
    asks = [(c(f"$2;app;;echo;0;0;{n}"), s(f"$2;app;;echo;0;0;{n}")) for n in range(60)]
    recorded = session(*START, *(each for pair in asks for each in pair))
    result = through(networks()[name], recorded, deadline=4.0)
    assert result.outcome is ReplayOutcome.ERROR
    assert "the network does not carry the recording: a further connection" in result.explanation


def test_a_recorded_request_that_cannot_be_made_is_an_error():
    async def play(url):
        recorded = session(c(ConnectionOpened("/", {"X-Conformance-Id": "caf\ufffd"})), *START)
        return await replay_to_server(recorded, url, deadline=SOON)

    result = run(listening(say_nothing, play))
    assert result.outcome is ReplayOutcome.ERROR
    assert "line 2" in result.explanation
    assert "X-Conformance-Id" in result.explanation


@pytest.mark.parametrize(
    ("opened", "what"),
    [
        (ConnectionOpened("", {"a\r\nHost: evil": "b"}), "the header 'a"),
        (ConnectionOpened("", {"a": "b\r\nHost: evil"}), "the header 'a'"),
        (ConnectionOpened("", {"": "b"}), "the header ''"),
        (ConnectionOpened("", {"a": "\u202e"}), "the header 'a'"),
        (ConnectionOpened("/a b", {}), "the path"),
        (ConnectionOpened("/a\r\nHost:evil", {}), "the path"),
    ],
)
def test_a_recorded_request_adds_no_lines_to_the_one_that_is_made(opened, what):
    replayed = run(replay_to_server(session(c(opened), c("M")), "ws://127.0.0.1:1", deadline=SOON))
    assert replayed.outcome is ReplayOutcome.ERROR
    assert f"is a request that none can make: {what}" in replayed.explanation


@pytest.mark.parametrize(
    "closed", [ConnectionClosed(0), ConnectionClosed(65535), ConnectionClosed(1000, "x" * 200)]
)
def test_a_recorded_closing_that_none_can_send_is_an_error(closed):
    async def test():
        async with embedded_server() as url:
            recorded = session(c("M"), s("A1"), c(closed))
            return await replay_to_server(recorded, url, deadline=AMPLE)

    replayed = run(test())
    assert replayed.outcome is ReplayOutcome.ERROR
    assert "line 4 (the closing) is a closing that none can send" in replayed.explanation


def test_what_the_recorder_ended_is_asked_of_no_peer():
    async def test():
        async with embedded_server() as url:
            recorded = session(c("M"), s("A1"), s(ConnectionClosed(None, cut="too large")))
            return await replay_to_server(recorded, url, deadline=AMPLE)

    assert run(test()).outcome is ReplayOutcome.SAME


def test_a_server_that_is_not_there_is_an_error():
    result = run(replay_to_server(after_start(), "ws://127.0.0.1:9", deadline=SOON))
    assert result.outcome is ReplayOutcome.ERROR
    assert "127.0.0.1:9" in result.explanation


# -------------------------------------------------------------------- live clients


VISIT = session(
    c(ConnectionOpened("/path?x=1", {"X-Conformance-Id": "one"})),
    *START,
    s("17;app;;question;0;0;what?"),
    c("17;app;;question;0;0;what?"),
    s("18;app;;relay;0;0;x"),
    c("$2;app;;echo;0;0;x"),
    s("$2;app;;echo;0;0;X"),
    c("18;app;;relay;0;0;X"),
    c("$3;app;;silent;0;0;"),
    c("M", 2),
    s("Atwo", 2),
    s("19;any;;_OnNamespaceConnect;0;0;", 2),
    c("19;;;;;;", 2),
    c(b";any;;said;0;0;\xff", 2),
    s(";any;;fail;0;0;no", 2),
    c(";any;;fail;1;0;no", 2),
    c("$4;app;r;_OnRoomJoin;0;0;"),
    s("$4;app;r;_OnRoomJoin;1;0;full"),
    s(ConnectionClosed(1001, "bye"), 2),
    c("M", 3),
    s("Hfull", 3),
    s(ConnectionClosed(1008), 3),
    c("M", 4),
    s("Afour", 4),
    c(ConnectionClosed(1000)),
)


def test_a_client_does_what_was_recorded():
    result = run_processes(replay_to_client(VISIT, DRIVER, deadline=AMPLE))
    assert (result.outcome, result.explanation) == (ReplayOutcome.SAME, "")
    assert result.peer["peer"] == "neffos-wire"


def test_what_a_client_does_otherwise_is_found():
    recorded = after_start(c(ConnectionClosed(1002)))
    result = run_processes(replay_to_client(recorded, DRIVER, deadline=AMPLE))
    assert result.explanation == "line 6 (the closing) differs in code"


def test_what_a_client_cannot_be_told_is_no_difference():
    result = run_processes(replay_to_client(after_start(c("not a frame")), DRIVER))
    assert result.outcome is ReplayOutcome.UNSUPPORTED
    assert result.explanation.startswith("cannot be replayed with a driver: line 6: ")


READY = '{"ready": true, "driver": 1, "peer": "p", "version": "1"}'
KNOWS = 'json.dumps({"id": json.loads(input())["id"], "unsupported": True})'
BEGIN = f"import json, sys, time; print({READY!r}, flush=True); print({KNOWS}, flush=True); "


@pytest.mark.parametrize(
    ("program", "outcome", "explanation"),
    [
        ("pass", ReplayOutcome.ERROR, "has ended"),
        (BEGIN + "time.sleep(60)", ReplayOutcome.ERROR, "did not dial within 0.3 s"),
        (BEGIN + "input()", ReplayOutcome.ERROR, "has ended"),
        (
            BEGIN + f"input(); print({READY!r}); time.sleep(1)",
            ReplayOutcome.ERROR,
            "unknown operation",
        ),
        (BEGIN + "print(json.dumps({'id': 2, 'error': 'no'}))", ReplayOutcome.ERROR, ""),
        (BEGIN + f"print({KNOWS}); sys.stdin.read()", ReplayOutcome.UNSUPPORTED, "not know 'dial'"),
    ],
)
def test_a_bad_driver_ends_it(monkeypatch, program, outcome, explanation):
    monkeypatch.setattr(subprocesses, "STOP_DEADLINE", 0.1)
    command = [sys.executable, "-c", program]
    deadline = SOON if "did not" in explanation else AMPLE
    result = run_processes(replay_to_client(VISIT, command, deadline=deadline))
    assert result.outcome is outcome, result.explanation
    assert explanation in result.explanation


# -------------------------------------------------------------------- the command


def called(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main(["replay", *map(str, arguments)])
    return end.value.code, capsys.readouterr()


@pytest.fixture
def paths(tmp_path, visits):
    def write(name, transcript, **changes):
        path = tmp_path / f"{name}.jsonl"
        save(path, {**transcript.header, **changes}, transcript.entries)
        return path

    write("good", visits["mixed"])
    bad = after_start(c("$2;app;;echo;0;0;hi"), s("$2;app;;echo;0;0;" + "long " * 30))
    write("bad", bad)
    write("known", bad, defects={"AR-7": "server"})
    write("gone", visits["mixed"], defects={"AR-7": "server"})
    write("raw", session(c("nonsense")))
    write("empty", session())
    (tmp_path / "broken.jsonl").write_text("{}\n")
    return lambda *names: [tmp_path / f"{name}.jsonl" for name in names]


@pytest.fixture
def server():
    """Give the URL of an embedded server in a loop of its own."""
    import threading

    ready, done = threading.Event(), None
    found = []

    async def serve():
        nonlocal done
        done = asyncio.Event()
        found.append(asyncio.get_running_loop())
        async with embedded_server() as url:
            found.append(url)
            ready.set()
            await done.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    ready.wait()
    yield found[1]
    found[0].call_soon_threadsafe(done.set)
    thread.join()


def test_exit_codes_of_a_server(capsys, paths, server):
    def against(*names, more=()):
        code, out = called(capsys, *paths(*names), "--server", server, "--timeout", 1, *more)
        return code, out.out

    assert against("good")[0] == 0
    code, out = against("good", "known", "gone")
    assert code == 0
    assert "different, which is known: the recorded peer violated AR-7" in out
    assert "and this one does the same" in out
    assert against("known", more=["--strict"])[0] == 1
    assert against("good", "bad", more=["--jobs", "2"])[0] == 1
    assert against("good", "broken")[0] == 1
    assert against("broken", "empty")[0] == 2


def test_usage_errors(capsys, paths):
    for more in (
        [],
        ["--server", "http://x"],
        ["--server", "ws://x", "--client", "x"],
        ["--client"],
        ["--client", "--"],
    ):
        assert called(capsys, *paths("good"), *more)[0] == 2
    assert called(capsys, *paths("good"), "--server", "ws://127.0.0.1:9")[0] == 2


def test_a_clients_command_has_options_of_its_own(capsys, paths):
    assert called(capsys, *paths("raw"), "--client", "x", "--strict")[0] == 2
    code, out = called(capsys, *paths("raw", "good"), "--json", "--client", "--", *DRIVER)
    values = json.loads(out.out)
    assert values["against"] == {"client": DRIVER}
    assert [each["verdict"] for each in values["recordings"]] == ["unsupported", "same"]
    assert code == 0


def test_a_difference_is_readable(capsys, paths, server, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out = called(capsys, *paths("bad"), "--server", server)
    lines = out.out.splitlines()
    assert code == 1
    assert lines[0] == f"different {paths('bad')[0]}"
    assert lines[1] == "  line 7 (a reply) differs in body"
    assert [line[:8] for line in lines[3:8]] == [
        "      2 ",
        "      3 ",
        "      4 ",
        "      5 ",
        "      6 ",
    ]
    assert lines[8].startswith("!     7 ← $2;app;;echo;0;0;long long")
    assert lines[8].endswith("│ ← $2;app;;echo;0;0;hi")
    assert lines[9] == "  body:"
    assert lines[11] == '    now      "hi"'
    assert all(len(line) <= 80 for line in lines[1:])


def test_a_difference_as_json(capsys, paths, server):
    _, out = called(capsys, *paths("bad"), "--server", server, "--json")
    [recording] = json.loads(out.out)["recordings"]
    assert recording["verdict"] == "different"
    difference = recording["difference"]
    assert difference["recorded"]["line"] == 7
    assert difference["now"] == {"text": "$2;app;;echo;0;0;hi"}
    assert [each["name"] for each in difference["contrasts"]] == ["body"]


@pytest.mark.parametrize("width", [1, 40, 80, 200])
def test_columns_fit(width):
    recorded = after_start(
        c(ConnectionOpened("/" + "x" * 99, {}), 2), s("\x1b[2J漢字" * 30), s(b"\xff" * 99)
    )
    script = read_session(recorded, Role.SERVER)
    comparison = Comparison(script)
    comparison.play(script.steps[0])
    found = comparison.see(1, "Ax" * 99) or comparison.see(1, "\x1b[31m" * 99)
    for ascii_only in (False, True):
        lines = list(
            side_by_side(
                found, tuple(comparison.rows), script.steps[4:], width, ascii_only=ascii_only
            )
        )
        assert all(each.isprintable() for each in lines)
        assert not ascii_only or all(each.isascii() for each in lines)
        assert max(map(len, lines)) <= max(width, 40)


@pytest.mark.parametrize(
    "path", [each for each in sorted(RECORDINGS.rglob("*.jsonl")) if each.stem == "visit"], ids=str
)
def test_the_recorded_visits_are_readable(path):
    with path.open("rb") as stream:
        first, *entries = read_lines(stream)
    result = run(replayed(Transcript(first, tuple(entries))))
    assert result.outcome is ReplayOutcome.SAME, result.explanation
