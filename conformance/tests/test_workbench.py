"""The workbench without its page: what Python answers, and that a bare Python suffices for it."""

import json
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import msgspec
import pytest
from lxml import html

from neffos_conformance.recordings.check_report import report_values
from neffos_conformance.recordings.checking import check_stream
from neffos_conformance.recordings.pasted import BEGINNING, read_pasted
from neffos_conformance.recordings.sharing import MAX_LINK, masked_lines, pack, unpack
from neffos_conformance.recordings.workbench import KINDS, MAX_OUTPUT, Workbench
from neffos_conformance.wire.transcript import lines

from .generators import workbench as files

ROOT = Path(__file__).parents[2]

CORPUS = sorted((ROOT / "conformance" / "transcripts").rglob("*.jsonl"))
HAR = Path(__file__).with_name("data") / "chat-chromium.har"
EVIL = '</svg></title><script>alert(1)</script>"><img src=x onerror=alert(2)>\u202e\x1b[31m\x00'

CONNECT = ["> M", "< A7", "> $1;chat;;_OnNamespaceConnect;0;0;"]


def opened(*files):
    """Give a workbench that has opened files: name and content of each."""
    bench = Workbench()
    for name, data in files:
        answer = json.loads(bench.call("take", json.dumps({"name": name}), data))
        assert "problem" not in answer, answer
    return bench


def pasted(*given):
    return opened(("pasted", "\n".join(given).encode()))


def rows(bench, **choice):
    return [line for line, _ in bench.view(0, **choice)["rows"]]


BARE = """
import io, json, sys
sys.path[:] = [*json.loads(sys.argv[1]), *sys.path]
from neffos_conformance.recordings.workbench import Workbench
bench = Workbench()
for name in json.loads(sys.stdin.read()):
    with open(name, "rb") as file:
        bench.call("take", json.dumps({"name": "x"}), file.read())
found = [bench.check(index)["values"] for index in range(len(bench.opened))]
bench.view(0)
bench.share(0)
others = {name.partition(".")[0] for name in sys.modules} - sys.stdlib_module_names - {"__main__"}
print(json.dumps({"found": found, "others": sorted(others)}))
"""


def test_a_bare_python_judges_as_the_command_line_does(tmp_path):
    """It has what the site gives the page: the archive, and msgspec, which Pyodide has, too."""
    with ZipFile(BytesIO(files.archive())) as archive:
        archive.extractall(tmp_path)
    (tmp_path / "msgspec").symlink_to(Path(msgspec.__file__).parent)
    chosen = CORPUS[::30]
    names = json.dumps([str(path) for path in (*chosen, HAR)])
    paths = json.dumps([str(tmp_path)])
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", BARE, paths],
        input=names,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    answer = json.loads(ran.stdout)
    expected = [report_values(check_stream(BytesIO(path.read_bytes()))) for path in chosen]
    assert answer["found"][: len(chosen)] == json.loads(json.dumps(expected))
    assert [each["messages"] for each in answer["found"][len(chosen) :]] == [17, 6]
    packed = {"neffos_codec", "neffos_protocol", "neffos_conformance", *files.LIBRARIES}
    assert set(answer["others"]) <= packed | {"msgspec"}


def test_the_example_has_a_violation_to_find():
    bench = opened(("example", files.example()))
    checked = bench.check(0)
    assert checked["values"]["verdict"] == "fail"
    assert ">AR-22<" in checked["html"]
    assert "data-line" in checked["html"]


def test_a_site_without_pyodide_has_no_workbench_and_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BUILD", tmp_path)
    monkeypatch.setattr(files, "missing", files.missing.__wrapped__)
    monkeypatch.setenv("PATH", "")
    assert files.files() == {}
    assert (
        "It was built without Pyodide: there is no npm. Build it with `make site`" in files.entry()
    )
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho no network >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "npm failed&#58; no network" in files.entry()


# ---- opening ----


def test_what_cannot_be_opened_is_said_with_a_way_out():
    bench = Workbench()
    for data in (b"\xd4\xc3\xb2\xa1", b'{"log": {"entries": []}}', b"\x1f\x8bbroken"):
        answer = json.loads(bench.call("take", '{"name": "x"}', data))
        assert "Try: " in answer["problem"]
    for packed in ("", "!", pack(b"x" * 100)[:-4]):
        answer = json.loads(bench.call("link", json.dumps({"packed": packed})))
        assert "Try: " in answer["problem"]
    assert bench.opened == []


@pytest.mark.parametrize(
    ("line", "from_client", "payload"),
    [
        ("> a;;b;;;;", True, "a;;b;;;;"),
        ("←x", False, "x"),
        ("M", True, "M"),
        ("A1", False, "A1"),
        ("$9;chat;;say;0;0;x", True, "$9;chat;;say;0;0;x"),
        ("17-2;chat;;say;0;0;x", False, "17-2;chat;;say;0;0;x"),
    ],
)
def test_a_pasted_line_says_who_sent_it(line, from_client, payload):
    _, [entry], unknown = read_pasted(line)
    assert (entry.from_client, entry.content) == (from_client, payload)
    assert bool(unknown) is (line != "M")


def test_a_reply_comes_from_the_peer_that_was_asked():
    _, entries, unknown = read_pasted("M\nA1\n$1;c;;_OnNamespaceConnect;0;0;\n$1;;;;;;\n$1;;;;;;")
    assert [each.from_client for each in entries] == [True, False, True, False, False]
    assert unknown == []


def test_a_part_of_a_session_accuses_nobody_of_what_came_before():
    bench = pasted("> ;chat;;say;0;0;x", "$5;;;;;;", ";chat;lobby;say;0;0;y")
    values = bench.check(0)["values"]
    assert (values["verdict"], values["violations"], values["counts"]) == ("pass", [], [])
    assert BEGINNING in values["notes"]
    assert not any(bad for _, bad in bench.view(0)["rows"])
    assert bench.share(0)["link"] == ""
    whole = pasted("> M", "< A7", "> ;chat;;say;0;0;x").check(0)["values"]
    assert [each["requirement"] for each in whole["violations"]] == ["NS-11"]


# ---- looking ----


def test_each_message_has_the_state_after_it():
    bench = pasted(*CONNECT, "< $1;;;;;;", "> $2;chat;lobby;_OnRoomJoin;0;0;")
    tree = html.fromstring(f"<div>{bench.view(0)['html']}</div>")
    states = [each.text_content() for each in tree.find_class("state")]
    assert len(states) == 5
    assert "No namespace is connected." in states[1]
    assert "connection ID 7" in states[1]
    assert "client: connect chat ($1)" in states[2]
    assert [
        each.text
        for each in tree.xpath(
            "//article[@id='m5']//tbody/tr/td | //article[@id='m5']//section//tr/td"
        )
    ][-2:] == ["connected"] * 2
    assert "No ask is pending." in states[3]
    assert "client: join room lobby of chat ($2)" in states[4]


def test_a_long_session_is_shown_in_parts():
    bench = pasted(*CONNECT, "< $1;;;;;;", *(f"> ;chat;;say;0;0;{at}" for at in range(20)))
    parts = []
    first = 1
    while first is not None:
        part = bench.view(0, first=first, limit=10)
        parts.append([line for line, _ in part["rows"]])
        first = part["next"]
    assert [len(each) for each in parts] == [10, 10, 4]
    assert [line for lines in parts for line in lines] == [*range(2, 26)]
    assert "--from" not in part["html"]


def test_filters_leave_messages_out_and_the_rest_is_checked():
    bench = pasted(
        *CONNECT, "< $1;;;;;;", "> ;chat;;say;0;0;Hello", "< ;chat;;say;0;0;x", "> ;no;;e;0;0;"
    )
    assert rows(bench, words="hello") == [6]
    assert rows(bench, kinds=["event"]) == [6, 7, 8]
    assert rows(bench, violating=True) == [8]
    assert rows(bench, connection=2) == []
    assert "No message matches" in bench.view(0, words="nowhere")["html"]
    assert {"ask", "reply", "stray"} <= set(KINDS)


# ---- sharing ----

SECRETS = (
    {"opened": {"path": "/?sid=abc123", "headers": {"X-Other": "abc123"}}},
    {"text": ";chat;;login;0;0;Authorization: abc123"},
    {"text": ';chat;;login;0;0;{"name":"ann","sessionToken":"abc123"}'},
    {"text": ";chat;;login;0;0;eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhYmMxMjMifQ.abc123"},
    {"text": ";chat;token=abc123;login;0;0;"},
)


def test_a_shared_recording_has_no_visible_secret_and_the_same_verdict():
    header = b'{"format":2,"scenario":"at wss://u:abc123@h/","client":{"peer":"c"},"server":{"peer":"s"}}'
    messages = [{"text": "M"}, {"text": "A7"}, *SECRETS]
    entries = [
        {"time": at, "connection": 1, "from": "server" if at == 1 else "client", **each}
        for at, each in enumerate([messages[2], *messages[:2], *messages[3:]])
    ]
    entries[0]["from"], entries[1]["from"], entries[2]["from"] = "client", "client", "server"
    data = b"\n".join([header, *(json.dumps(each).encode() for each in entries), b"broken abc123"])
    bench = opened(("x.jsonl", data))
    shared = bench.share(0)
    assert "abc123" in bench.opened[0].data.decode()
    assert "abc123" not in shared["recording"] + shared["page"] + unpack(shared["link"]).decode()
    assert '"name":"ann"' in json.loads(shared["recording"].splitlines()[5])["text"]
    again = opened(("y", shared["recording"].encode())).check(0)["values"]
    assert [(each["requirement"], each["line"]) for each in again["violations"]] == [
        (each["requirement"], each["line"]) for each in bench.check(0)["values"]["violations"]
    ]


def test_sharing_changes_no_recording_of_the_corpus_without_secrets():
    for path in CORPUS[::40]:
        data = path.read_bytes()
        before, after = (
            check_stream(BytesIO(each)) for each in (data, b"".join(masked_lines(BytesIO(data))))
        )
        assert after.counts == before.counts


def test_a_link_holds_a_session_and_a_long_one_has_none():
    bench = pasted(*CONNECT)
    packed = bench.share(0)["link"]
    assert 0 < len(packed) <= MAX_LINK
    answer = json.loads(bench.call("link", json.dumps({"packed": packed})))
    assert answer["recordings"][0]["index"] == 1
    assert bench.check(1)["values"]["counts"] == bench.check(0)["values"]["counts"]
    assert (
        pack(bytes(range(256)) * 1000 + b"".join(at.to_bytes(4, "big") for at in range(9999))) == ""
    )


# ---- strangers' text ----


def test_what_peers_wrote_reaches_the_page_as_text():
    header = {
        "format": 2,
        "scenario": EVIL,
        "client": {"peer": EVIL},
        "server": {"peer": EVIL},
        "defects": {EVIL: "client"},
    }
    _, entries, _ = read_pasted(
        "\n".join(["> M", f"< A{EVIL}", f"> $1;{EVIL.replace(';', '')};;_OnNamespaceConnect;0;0;"])
    )
    data = b"".join(lines(header, entries)) + EVIL.encode()
    bench = opened((EVIL, data), (EVIL, f"> M\n< H{EVIL}\n{EVIL}".encode()))
    for index in range(2):
        for part in (bench.check(index)["html"], bench.view(index)["html"]):
            tree = html.fromstring(f"<div>{part}</div>")
            assert not {"script", "img"} & {each.tag for each in tree.iter()}
            assert not any(name.startswith("on") for each in tree.iter() for name in each.attrib)
            assert not {"\u202e", "\x1b", "\x00"} & {*part}
        assert "alert(1)" in bench.view(index)["html"]


# ---- the prompt ----


def run(bench, line):
    return json.loads(bench.call("run", json.dumps({"line": line})))


def test_the_prompt_has_codec_and_session():
    bench = pasted(*CONNECT)
    assert "namespace='chat'" in run(bench, "decode(';chat;;say;0;0;hello')")["printed"]
    assert run(bench, "for role in Role:") == {"printed": "", "more": True}
    assert run(bench, "    print(role)")["more"]
    assert run(bench, "")["printed"] == "client\nserver\n"
    assert "MisuseError" in run(bench, "raise MisuseError('x')")["printed"]
    assert run(bench, "exit()")["more"] is False
    assert len(run(bench, "print('x' * 10**6)")["printed"]) < MAX_OUTPUT + 10
    assert run(bench, "len(workbench.opened)")["printed"] == "1\n"
