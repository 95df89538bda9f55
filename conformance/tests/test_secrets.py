"""Secrets in URLs, headers and command lines reach no file and no terminal."""

import json
import sys

import pytest

from neffos_conformance.cli import main as cli
from neffos_conformance.reference.embedded import embedded_server
from neffos_conformance.reports.findings import bounded
from neffos_conformance.wire.connection import WireConnection
from neffos_conformance.wire.secrets import is_kept, masked, masked_body, masked_target, masked_url
from neffos_conformance.wire.transcript import read_transcript

from .commands import beside

SECRET, PASSWORD = "s3cretValue", "pa55word"


def run(capfd, *arguments: str) -> tuple[object, str]:
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    out, err = capfd.readouterr()
    return end.value.code, out + err


def planted(url: str) -> str:
    """Give a URL with a password and a token in its query."""
    return url.replace("://", f"://me:{PASSWORD}@") + f"?token={SECRET}&{SECRET}"


def is_clean(text: str) -> bool:
    return SECRET not in text and PASSWORD not in text


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("ws://h:1/p?token=abc", "ws://h:1/p?token=***"),
        ("wss://user:pw@h/p", "wss://***@h/p"),
        ("wss://user@h", "wss://***@h"),
        ("ws://h/p?a=1&b&c=&a=2", "ws://h/p?a=***&***&c=***&a=***"),
        ("ws://h?t=1", "ws://h?t=***"),
        ("ws://h/a@b?x=c@d/e", "ws://h/a@b?x=***"),
        ("ws://h/p#frag", "ws://h/p"),
        (
            "ws://h/?X-Websocket-Header-X-Conformance-Id=7&X-Websocket-Header-Authorization=a",
            "ws://h/?X-Websocket-Header-X-Conformance-Id=7&X-Websocket-Header-Authorization=***",
        ),
        ("ws://h/?X-Websocket-Header-X-Websocket-Reconnect=3", None),
        ("ws://[::1]:80/x", None),
        ("chat", None),
        ("", None),
    ],
)
def test_what_a_url_shows(url, shown):
    assert masked_url(url) == (url if shown is None else shown)
    assert masked_url(masked_url(url)) == masked_url(url)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no server at ws://u:p@h/?t=1: refused", "no server at ws://***@h/?t=***: refused"),
        ("node d.js --url 'ws://h/?t=1' -v", "node d.js --url 'ws://h/?t=***' -v"),
        ("curl -H 'Authorization: Bearer abc' x", "curl -H 'Authorization: ***' x"),
        ("by socks5h://u:p@h:1 and more", "by socks5h://***@h:1 and more"),
        ("Cookie: sid=1; b=2\r\nX: y", "Cookie: ***\r\nX: y"),
        ("it sent Bearer abc.def", "it sent Bearer ***"),
        ("env TOKEN=abc node x --password='a b'", "env TOKEN=*** node x --password=***"),
        ("--api-key=k session_id=9&x=1", "--api-key=*** session_id=***&x=1"),
        ("expected $1;app;;say;0;0;hi / the token '$1'", None),
        ("token: $1 is still in use", "token: ***"),
        ("https://example.org/issues/1", None),
    ],
)
def test_what_a_text_shows(text, shown):
    assert masked(text) == (text if shown is None else shown)


@pytest.mark.parametrize(
    "part",
    ["a-", "token", "x-api-key-", "Basic ", "ws://:", "token='", '"token":"', "eyJ-aaaaa."],
)
def test_a_text_of_strangers_is_read_once(part):
    text = part * 20_000  # at the square of its length, this would take minutes
    assert len(masked_body(text)) > 0


def test_a_body_shows_neither_members_with_a_telling_name_nor_tokens_of_the_web():
    body = '{"name": "ann", "authToken" : "a\\"b", "n": 1} eyJhbGciOiJI.eyJzdWIiOiJh.x-y_z end'
    assert masked_body(body) == '{"name": "ann", "authToken" : "***", "n": 1} *** end'


def test_a_report_shows_no_secret_of_a_url_in_an_explanation():
    text = f"no upgrade from {planted('ws://h/')}: refused"
    assert bounded(text) == "no upgrade from ws://***@h/?token=***&***: refused"
    assert bounded("a reply to token: $1") == "a reply to token: $1"


def test_headers_of_an_application_are_not_kept():
    assert is_kept("X-Conformance-Id")
    assert is_kept("X-Websocket-Reconnect")
    assert is_kept("X-Websocket-Header-X-Conformance-Id")
    for name in ("Authorization", "Cookie", "X-Token", "X-Websocket-Header-Authorization"):
        assert not is_kept(name)


def test_a_target_keeps_what_the_protocol_needs():
    target = "/chat?x-websocket-header-x-conformance-refuse=no&sid=1"
    assert masked_target(target) == "/chat?x-websocket-header-x-conformance-refuse=no&sid=***"


# -------------------------------------------------------------------- every artefact


@pytest.fixture
def server():
    with beside(embedded_server()) as url:
        yield url


@pytest.mark.parametrize("reaches", [True, False])
def test_no_report_recording_or_message_of_a_run_has_a_secret(tmp_path, capfd, server, reaches):
    url = planted(server if reaches else "ws://127.0.0.1:1")
    forms = ("report", "junit", "markdown", "html", "write-known-failures")
    files = [part for form in forms for part in (f"--{form}", str(tmp_path / form))]
    folder = ["--save-recordings", str(tmp_path / "recordings")]
    cases = ["--case", "HS-1.1", "--case", "TR-8", "--case", "SEC-11", "-v"]
    _, shown = run(capfd, "test", "server", url, *files, *folder, *cases)
    assert is_clean(shown), shown
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > len(forms) if reaches else written
    for path in written:
        assert is_clean(path.read_text("utf-8")), path
    if reaches:
        assert "token=***" in (tmp_path / "markdown").read_text("utf-8")


def test_the_command_of_a_client_is_shown_without_its_secrets(tmp_path, capfd):
    code = "import json; print(json.dumps({'ready': True})); input()"
    driver = ["--", sys.executable, "-c", code, f"--token={SECRET}", f"wss://u:{PASSWORD}@h/"]
    report = ["--report", str(tmp_path / "a.json"), "--html", str(tmp_path / "a.html")]
    _, shown = run(capfd, "test", "client", "--case", "HS-1.c1", *report, *driver)
    assert is_clean(shown), shown
    for path in tmp_path.iterdir():
        assert is_clean(path.read_text("utf-8")), path


LEAVES = """
import json, sys
print(json.dumps({"ready": True, "driver": 1, "peer": "p", "version": "1"}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    if asked["op"] == "dial":
        break
    print(json.dumps({"id": asked["id"], "unsupported": True}), flush=True)
"""
"""A driver that ends when its client is to dial."""


def test_a_driver_that_fails_is_named_without_its_secrets(tmp_path, capfd):
    driver = ["--", "env", f"API_TOKEN={SECRET}", sys.executable, "-c", LEAVES]
    reports = [f"--{form}={tmp_path / form}" for form in ("report", "junit", "markdown", "html")]
    _, shown = run(capfd, "test", "client", "--case", "HS-1.c1", *reports, *driver)
    assert is_clean(shown), shown
    for path in tmp_path.iterdir():
        text = path.read_text("utf-8")
        assert "API_TOKEN=***" in text, path
        assert is_clean(text), path


@pytest.mark.parametrize(
    "arguments",
    [
        ["record", "http://me:pa55word@h/?t=s3cretValue", "-o", "a.jsonl"],
        ["test", "server", "http://me:pa55word@h/?t=s3cretValue"],
        ["test", "server", "ws://me:pa55word@[h/?t=s3cretValue"],
        ["replay", "a.jsonl", "--server", "http://me:pa55word@h/?t=s3cretValue"],
        ["replay", "a.jsonl", "--server", "ws://me:pa55word@127.0.0.1:1/?t=s3cretValue", "--json"],
        ["matrix", "--server", "mine=ws://me:pa55word@127.0.0.1:1/?t=s3cretValue", "--json"],
        ["matrix", "--server", "mine=ws://me:pa55word@127.0.0.1:1/?t=s3cretValue"],
        ["doctor", "ws://me:pa55word@127.0.0.1:1/?t=s3cretValue"],
        ["doctor", "http://me:pa55word@h/?t=s3cretValue", "--cookie", "a=s3cretValue"],
        ["doctor", "ws://h.example", "--proxy", "http://me:pa55word@127.0.0.1:1"],
        ["test", "server", "ws://h.example", "--proxy", "socks5h://me:pa55word@127.0.0.1:1"],
        ["test", "server", "ws://h.example", "--proxy", "me:pa55word@127.0.0.1:x"],
        ["test", "server", "ws://h", "--header", "s3cretValue"],
        ["record", "ws://h", "-o", "r", "--header", "A: pa55word\n", "--cookie", "s3cretValue"],
    ],
    ids=" ".join,
)
def test_no_message_has_a_secret(tmp_path, capfd, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    recording = [
        {"format": 2, "scenario": "s", "client": {"peer": "c"}, "server": {"peer": "p"}},
        {"time": 1, "connection": 1, "from": "client", "text": "M"},
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(each) + "\n" for each in recording))
    _, shown = run(capfd, *arguments)
    assert shown
    assert is_clean(shown), shown


def test_a_recording_of_the_relay_has_no_secret(tmp_path, capfd, monkeypatch, server):
    from neffos_conformance.cli import record

    path = tmp_path / "a.jsonl"

    async def relay(relays, *_) -> None:
        [relayed] = relays
        async with relayed(host="127.0.0.1", port=0) as running:
            headers = {"Authorization": SECRET, "Cookie": SECRET, "X-Conformance-Id": "7"}
            headers["X-Websocket-Header-Authorization"] = SECRET
            client = await WireConnection.dial(f"{running.url}/?sid={SECRET}", headers)
            await client.send("M")
            await client.receive()
            await client.close()
            await running.idle()

    monkeypatch.setattr(record, "_relay", relay)
    given = ["--header", f"Authorization: {SECRET}", "--cookie", f"sid={SECRET}"]
    code, shown = run(capfd, "record", planted(server), "-o", str(path), *given)
    assert code == 0, shown
    assert is_clean(path.read_text("utf-8") + shown)
    opened = read_transcript(path).entries[0].content
    assert opened.path == "/?sid=***"
    assert opened.headers == {"X-Conformance-Id": "7"}
    assert run(capfd, "check", str(path))[0] == 0


def test_what_is_imported_has_no_secret(tmp_path, capfd):
    entries = [
        {
            "request": {
                "url": planted("wss://h/chat"),
                "headers": [{"name": "X-Websocket-Header-Authorization", "value": SECRET}],
            },
            "_webSocketMessages": [{"type": "send", "data": "M"}],
        },
        {"request": {"url": f"wss:/?t={SECRET}"}, "_webSocketMessages": []},
    ]
    (tmp_path / "a.har").write_text(json.dumps({"log": {"entries": entries}}))
    _, shown = run(capfd, "import", str(tmp_path / "a.har"), "-o", str(tmp_path))
    recording = (tmp_path / "a-1.jsonl").read_text("utf-8")
    assert "wss://***@h/chat" in recording
    assert "/chat?token=***" in recording
    assert is_clean(recording + shown), shown
