"""Profiles: the cases under the names of a server, with the verdicts that they have anyway."""

import asyncio
import json
import queue
import threading
import tomllib
from contextlib import contextmanager
from pathlib import Path

import pytest

from mutation import work_clock
from neffos_asyncio import ReplyError, Server
from neffos_conformance.cases.covering import few, variations
from neffos_conformance.cases.definition import Case, select, server_cases
from neffos_conformance.cases.dimensions import rebuilt
from neffos_conformance.cases.frame_texts import name_in
from neffos_conformance.cases.profile import Profile, ProfileError, named, read_profile
from neffos_conformance.cases.script import read_script
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.reference.application import echo
from neffos_conformance.reference.embedded import embedded_server
from neffos_conformance.runner.discovery import discovered, draft_profile
from neffos_conformance.runner.pace import Way
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.run import run_cases, to_server
from neffos_conformance.runner.witness import watching
from neffos_conformance.wire.schemas import violation

from .commands import run_text
from .reduced import renamed

ROOT = Path(__file__).parents[2]

SOON = Timeouts(before_barrier=0.1, after_barrier=0.1)

SAMPLE = 40
"""Cases at least, of every twelfth; a flood takes long, and has the same names."""

OWN = Profile(
    namespaces={"app": "chat;\u00e9", "any": "app", "refused": "private", "semi;colon": "semi"},
    rooms={"locked": "the; room"},
    events={
        "echo": "ping",
        "news": "said",
        "broadcast-room": "say",
        "question": "q?",
        "ec;ho": "x",
    },
    texts={"room is locked": "members", "namespace is closed": "no;"},
    source="own.toml",
)


def steps(profile, *lines):
    case = Case("X-1.1", "", ("NS-1",), "server", read_script("\n".join(lines), "server"))
    return [str(each) for each in profile.case(case).steps]


def test_every_name_is_replaced_in_its_field_and_nowhere_else():
    assert steps(
        OWN,
        "1 app",
        "1 > $1;app;locked;echo;0;0;app;echo;locked",
        "1 >b $2;app;;echo;0;0;\\xff",
        "1 >/ $3;ap<|>p;;ec<|>ho;0;0;<|>x",
        "1 < $4;app;locked;_OnRoomJoin;1;0;room is locked",
        "1 < ;app;<<case>>;news;0;0;<<case>>",
        "1 > ;app;;connect-me;0;0;any",
        "1 > $5;semi@%!semicolon@%!colon;;ec@%!semicolon@%!ho;0;0;",
        "1 fewer 2 $6;app;;echo;0;0;<<body>>",
        "1 > not a frame;app;echo",
        "1 < $7;;;;;;",
    ) == [
        "1 dial",
        "1 > M",
        "1 < A<<id1>>",
        "1 > $app;chat@%!semicolon@%!\u00e9;;_OnNamespaceConnect;0;0;",
        "1 < $app;;;;;;",
        "1 > $1;chat@%!semicolon@%!\u00e9;the@%!semicolon@%! room;ping;0;0;app;echo;locked",
        "1 >b $2;chat@%!semicolon@%!\\xc3\\xa9;;ping;0;0;\\xff",
        "1 >/ $3;ch<|>at@%!semicolon@%!\u00e9;;pi<|>ng;0;0;<|>x",
        "1 < $4;chat@%!semicolon@%!\u00e9;the@%!semicolon@%! room;_OnRoomJoin;1;0;members",
        "1 < ;chat@%!semicolon@%!\u00e9;<<case>>;said;0;0;<<case>>",
        "1 > ;chat@%!semicolon@%!\u00e9;;connect-me;0;0;app",
        "1 > $5;semi;;x;0;0;",
        "1 fewer 2 $6;chat@%!semicolon@%!\u00e9;;ping;0;0;<<body>>",
        "1 > not a frame;app;echo",
        "1 < $7;;;;;;",
    ]


def test_other_spellings_of_a_name_become_those_of_the_own_name_and_never_it():
    chat, digits = named("chat"), named("1")
    assert [chat.namespace(each) for each in ("App", "app ", " app", "APP")] == [
        "Chat",
        "chat ",
        " chat",
        "CHAT",
    ]
    assert digits.namespace("App") == "1X"


def test_a_name_that_nobody_has_is_another_one_if_the_server_has_it():
    assert named("nowhere").namespace("nowhere") == "nowhere (unknown)"
    assert named("any").namespace("any") == "any (unknown)"
    assert named("").namespace("") == " (unknown)"


@pytest.mark.parametrize("name", ["a<<b", "a" * 10_000, "\udcff"])
def test_a_name_that_scripts_cannot_have_is_refused(name):
    with pytest.raises(ProfileError, match="scripts cannot have this name"):
        named(name)


def test_an_event_that_is_not_confirmed_is_sent_without_a_token_and_has_no_reply():
    profile = Profile(
        events={"broadcast-others": "chat", "news": "chat"},
        unconfirmed=frozenset({"broadcast-others"}),
    )
    assert steps(
        profile,
        "1 handshake",
        "1 > $1;app;;broadcast-others;0;0;<<case>>",
        "1 < $1;app;;broadcast-others;0;0;done",
        "2 < ;app;;news;0;0;<<case>>",
    ) == [
        "1 handshake",
        "1 > ;app;;chat;0;0;<<case>>",
        "1 expect-nothing",
        "2 < ;app;;chat;0;0;<<case>>",
    ]


def test_the_verdicts_are_those_of_the_names_of_the_suite():
    async def run():
        async with embedded_server(distort=renamed(OWN)) as url:
            way = Way(SOON)
            has = await discovered(url, way, OWN)
            everything = [each for each in select(server_cases(), ()) if not each.is_flood]
            fits = lambda each: has.result(each) is None  # noqa: E731
            cases = [*filter(fits, everything[::12]), *few(everything, fits, most=1)]
            async with watching(url, SOON, map(OWN.case, cases)) as witness:
                run = to_server(url, way=way, witness=witness, profile=OWN)
                return has, cases, [each async for each in run_cases(run, cases)]

    has, cases, results = work_clock.run(run())
    assert has.absent.keys() <= {"connecting"}  # the translation sees no headers
    assert len(cases) > SAMPLE
    assert [(r.case.id, r.explanation) for r in results if r.verdict is not Verdict.PASS] == []


# -------------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("format = 1\n[events]\necko = 'x'", "events.ecko: no case uses it. Try: one of"),
        ("format = 1\n[namespaces]\napp = 7", 'namespaces/app: 7 is not of type "string"'),
        ("format = 1\n[namespaces]\napp = 2026-01-01", "namespaces/app: null is not of type"),
        ("format = 1\n[namespaces]\napp = 'a<<b'", "namespaces/app: "),
        (
            "format = 1\n[namespaces]\napp = 'a'\nany = 'a'",
            "namespaces.any: 'a' is the name of app",
        ),
        ("format = 1\nfeatures = ['x']", "features: x: there is no such feature. Try: "),
        ("format = 2", "format: 1 was expected"),
        ("format =", "is not TOML"),
        ("format = 1\ncolour = 1", "'colour' was unexpected"),
    ],
)
def test_a_wrong_profile_is_one_line_that_says_where_and_what(tmp_path, text, said):
    path = tmp_path / "own.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(ProfileError) as raised:
        read_profile(path)
    message = str(raised.value)
    assert message.startswith(str(path))
    assert said in message
    assert "Try: " in message
    assert "\n" not in message
    done = run_text("test", "server", "--profile", path, "--report", tmp_path / "r.json")
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())


def own_server():
    """A chat as one finds it: it greets, says who came and left, echoes, and broadcasts."""

    async def greet(namespace, _):
        namespace.emit("welcome", "hi")

    def telling(event):
        async def tell(namespace, _):
            namespace.broadcast(event, "a client")

        return tell

    async def say(namespace, message):
        namespace.broadcast("said", message.body, room=message.room)

    handlers = {
        "chat": {
            "_OnNamespaceConnected": greet,
            "_OnRoomJoined": telling("came"),
            "_OnRoomLeft": telling("left"),
            "ping": echo,
            "say": say,
        }
    }
    return {"/": Server(handlers)}


def chat_tested(profile, tmp_path, *arguments):
    """Run the command on the chat, with a profile."""
    path = tmp_path / "own.toml"
    path.write_text(profile, "utf-8")

    async def run():
        async with embedded_server(served=own_server()) as url:
            report = ("--report", tmp_path / "r.json", "--profile", path)
            return await asyncio.to_thread(run_text, "test", "server", url, *report, *arguments)

    return asyncio.run(run())


PROFILE = """
format = 1
unconfirmed = ["broadcast-room"]
[namespaces]
app = "chat"
[events]
echo = "ping"
broadcast-room = "say"
news = "said"
"""


def test_a_server_as_it_is_is_tested_with_its_own_events(tmp_path):
    families = ("--case", "NS-?.1", "--case", "RM", "--case", "EV-?.1", "--case", "AR-7")
    done = chat_tested(PROFILE, tmp_path, *families)
    assert done.returncode == 0, done.stdout
    assert "Level application, in namespace chat" in done.stdout
    assert "passed over: came, left, welcome" in " ".join(done.stdout.split())
    assert " 0 fail" not in done.stdout
    assert "pass" in done.stdout.splitlines()[-1]
    report = json.loads((tmp_path / "r.json").read_text("utf-8"))
    assert violation("report", report) is None
    assert report["level"] == "application"
    assert report["profile"]["events"]["echo"] == "ping"
    assert report["absent_features"]["fail"].startswith("expected ")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('echo = "ping"', 'echo = "pong"', "events.echo: on this server, 'pong' is not what"),
        ('app = "chat"', 'app = "chats"', "namespaces.app: on this server, 'chats' is not what"),
    ],
)
def test_a_profile_that_is_not_that_of_the_server_is_one_line(tmp_path, old, new, said):
    done = chat_tested(PROFILE.replace(old, new), tmp_path)
    assert done.returncode == 2
    text = " ".join(done.stderr.split())
    assert f"own.toml, {said}" in text
    assert "Try: " in text


@pytest.mark.parametrize("name", ["nowhere", "no such event", "bad", "a", ""])
def test_a_name_that_is_in_the_refusal_or_the_suites_own_is_as_wrong_as_any_other(name):
    async def run():
        async with embedded_server(served=own_server()) as url:
            await discovered(url, Way(SOON), named(name))

    with pytest.raises(ProfileError, match="the server refuses to connect it: bad namespace"):
        work_clock.run(run())


def test_a_part_that_the_profile_lists_fails_when_it_is_gone(tmp_path):
    listed = PROFILE.replace(
        "format = 1", 'format = 1\nignore = ["came", "left", "welcome"]\nfeatures = ["fail"]'
    )
    done = chat_tested(listed, tmp_path, "--case", "AR-1.5")
    assert done.returncode == 1


def test_a_server_that_refuses_every_handshake_is_no_failure_and_said_so(tmp_path):
    def refuse(_):
        raise ReplyError("who are you?")

    async def run():
        served = {"/": Server({"chat": {}}, on_connect=refuse)}
        async with embedded_server(served=served) as url:
            report = ("--report", tmp_path / "r.json")
            return await asyncio.to_thread(run_text, "test", "server", url, *report)

    done = asyncio.run(run())
    assert done.returncode == 2
    text = "the server refuses every handshake: who are you?. Try: what its clients send"
    assert text in " ".join(done.stderr.split())


def test_a_draft_is_a_profile_of_what_was_found(tmp_path):
    async def run():
        async with embedded_server(served=own_server()) as url:
            return await discovered(url, Way(SOON), named("chat"))

    path = tmp_path / "draft.toml"
    text = draft_profile(work_clock.run(run()))
    path.write_text(text, "utf-8")
    values = tomllib.loads(text)
    assert values["namespaces"] == {"app": "chat"}
    assert values["ignore"] == ["came", "left", "welcome"]
    assert "echo" not in values["events"]
    assert '# echo = "echo"' in text
    assert "# a handler can reply: expected " in text
    read = read_profile(path)
    assert read.features == frozenset(values["features"])


def test_the_profile_of_the_page_is_one(tmp_path):
    page = (ROOT / "spec" / "docs" / "validate-server.md").read_text("utf-8")
    path = tmp_path / "profile.toml"
    path.write_text(page.partition("```toml\n")[2].partition("```")[0], "utf-8")
    assert read_profile(path).event("echo") == "ping"


# -------------------------------------------------------------------- under pytest


@contextmanager
def served_in_a_thread():
    """Run the chat beside this thread, and give its URL."""
    urls, stop = queue.Queue(), threading.Event()

    async def serve():
        async with embedded_server(served=own_server()) as url:
            urls.put(url)
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=asyncio.run, args=[serve()])
    thread.start()
    try:
        yield urls.get()
    finally:
        stop.set()
        thread.join()


def run_pytest(pytester, monkeypatch, *arguments):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    plugin = ("-q", "-rs", "-p", "neffos_conformance.pytest_plugin")
    return pytester.runpytest_inprocess(*plugin, *arguments)


CASES = ("--neffos-case", "NS-8.1", "--neffos-case", "RM-4.1", "--neffos-case", "AR-7.2")


def test_under_pytest_the_names_are_those_of_the_profile(pytester, monkeypatch):
    profile = pytester.path / "own.toml"
    profile.write_text(PROFILE, "utf-8")
    with served_in_a_thread() as url:
        arguments = ("--neffos-server", url, *CASES)
        done = run_pytest(pytester, monkeypatch, *arguments, "--neffos-profile", profile)
        done.assert_outcomes(passed=3)
        done = run_pytest(pytester, monkeypatch, *arguments, "--neffos-namespace", "nothing")
        assert done.ret == pytest.ExitCode.USAGE_ERROR
        assert "--namespace: on this server, 'nothing' is not what the cases need" in (
            done.stdout.str() + done.stderr.str()
        )


def test_under_pytest_another_url_is_a_usage_error_and_skips_nothing(pytester, monkeypatch):
    done = run_pytest(pytester, monkeypatch, "--neffos-server", "http://127.0.0.1:9/", *CASES)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    said = "http://127.0.0.1:9/ is not a WebSocket URL. Try: ws://HOST"
    assert said in done.stdout.str() + done.stderr.str()


def test_under_pytest_a_wrong_profile_is_a_usage_error(pytester, monkeypatch):
    arguments = ("--neffos-server", "ws://127.0.0.1:9/", "--neffos-profile", "none.toml")
    done = run_pytest(pytester, monkeypatch, *arguments)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert "none.toml cannot be read: No such file" in done.stderr.str()


def test_a_variation_of_names_in_bytes_has_other_names_too():
    """Escapes in placeholders are characters; those of a binary message are bytes."""
    case = next(each for each in server_cases() if each.id == "FR-18.4")
    profile = Profile(namespaces={"app": "chat"})
    steps = [step for each in variations(case, strength=1) for step in profile.case(each).steps]
    binary = [step for step in steps if step.verb in (">b", ">/b")]
    assert binary
    assert all(step.payloads() for step in binary)
    assert name_in(r"e<<\u0301>> \xc3\xa9", is_bytes=True) == r"e<<\u0301>> é"


@pytest.mark.parametrize("values", ["message-125", "message-126,binary", "message-125,fragments-2"])
def test_a_message_of_a_size_has_that_size_under_other_names(values):
    profile = Profile(namespaces={"app": "a longer name \u00e9"}, events={"echo": "e"})
    case = rebuilt({each.id: each for each in server_cases()}, f"AR-22.1[{values}]")
    size = int(values[8:11])
    [sent, back] = [each.size for each in profile.case(case).steps if "<<*" in each.rest][:2]
    assert (sent, back) == (size, size)
