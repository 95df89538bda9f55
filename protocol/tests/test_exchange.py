"""What servers publish on an exchange, and how they read it."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neffos_codec import DecodeError, EncodeError, Message, decode, parse_wait
from neffos_protocol import exchange
from neffos_protocol.exchange import (
    Channels,
    Origin,
    PublishedFrame,
    digest,
    nats_subjects,
    published,
    read_published,
    redis_channels,
)

NODE = "0123456789abcdef" * 2
GO_SENDER = "neffos(0x2c7f9d63-5a4e-4d1b-9b0e-3f1f5f3c9a10(anna0xc000123456))"
NAMES = ["", "app", "a.b", "a_b", "a b", "*", ">", "a;b", "ask.1", "[a-z]?", "ü", "a\r\nSUB b 1"]


def test_the_examples_hold():
    result = doctest.testmod(exchange)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize(
    ("channels", "namespace", "connection", "reply"),
    [
        (redis_channels("p"), "p.a.b.", "p.c;*.", "p.ask.17-1"),
        (nats_subjects("p.q"), "p.q.a_b", "p.q.c;_", "p.q.ask.17-1"),
    ],
)
def test_channels_are_those_of_go(channels, namespace, connection, reply):
    """SX-4, SX-5, SX-6: read in the exchanges of neffos-go 0.0.25."""
    assert channels.of_namespace("a.b") == namespace
    assert channels.of_connection("c;*") == connection
    assert channels.of_reply("17-1") == reply


@pytest.mark.parametrize("name", [*NAMES, "\ud800"])
def test_no_name_breaks_out_of_a_subject(name):
    """SX-6: it is one part without a meaning, whatever the name."""
    subject = nats_subjects("p").of_namespace(name)
    prefix, _, part = subject.partition(".")
    assert prefix == "p"
    assert part
    assert not set(part) & set(".*> \t\r\n")
    subject.encode()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [redis_channels("p"), nats_subjects("p")])
def test_no_name_is_the_channel_of_a_reply(channels: Channels, name):
    reply = channels.of_reply(Origin(NODE, False).token("17"))
    assert channels.of_namespace(name) != reply


def test_a_prefix_is_one_that_the_broker_takes():
    with pytest.raises(ValueError, match="not empty"):
        redis_channels("")
    for prefix in ("", "a..b", "a.*", "a b", ".a"):
        with pytest.raises(ValueError, match="prefix"):
            nats_subjects(prefix)


BODIES = st.one_of(st.text(st.characters(codec="utf-8")), st.binary())


@given(BODIES, st.sampled_from(NAMES), st.sampled_from(["", "anna", "\udcff"]))
def test_what_is_published_arrives_as_it_was(body, name, to):
    message = Message(namespace=name, room=name, event="say", body=body)
    origin = Origin(NODE, isinstance(body, bytes), digest(to) if to else "")
    assert read_published(published(message, origin)) == PublishedFrame(message, "", origin)
    token = origin.token("17-1")
    assert read_published(published(message, origin, token)) == PublishedFrame(
        message, token, origin
    )


def test_a_binary_body_that_is_text_as_well_arrives_as_bytes():
    message = Message(namespace="app", event="say", body=b"hi")
    origin = Origin(NODE, True, digest("anna"))
    assert read_published(published(message, origin)) == PublishedFrame(message, "", origin)


def test_go_reads_an_explicit_sender_and_a_marked_token():
    """SX-3, SX-7: its reader is that of the codec."""
    message = Message(namespace="app", event="say", body="hi")
    origin = Origin(NODE, False)
    assert parse_wait(decode(published(message, origin).decode()).wait).sender == origin.sender
    ask = published(message, origin, origin.token("17-1"))
    assert ask == f"1!7-1-{NODE}(t);app;;say;0;0;hi".encode()


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b";app;;say;0;0;hi", PublishedFrame(Message(namespace="app", event="say", body="hi"))),
        (
            f"{GO_SENDER};app;r;say;0;0;hi".encode(),
            PublishedFrame(Message(namespace="app", room="r", event="say", body="hi")),
        ),
        (
            b"m!1-1-abc;app;;say;0;0;",
            PublishedFrame(Message(namespace="app", event="say"), "m1-1-abc"),
        ),
        # An ask that an application broadcast again, with a client's token (DV-41).
        (b"$1;app;;say;0;0;hi", PublishedFrame(Message(namespace="app", event="say", body="hi"))),
        # Go does not say the type: bytes that are not UTF-8 can be of no text message (SX-12).
        (
            b";app;;say;0;0;\xff",
            PublishedFrame(Message(namespace="app", event="say", body=b"\xff")),
        ),
        (b";app;;say;1;0;no", PublishedFrame(Message("", "app", "", "say", True, False, "no"))),
    ],
)
def test_what_go_publishes_is_read(payload, expected):
    assert read_published(payload) == expected


@pytest.mark.parametrize("payload", [b"", b"hello", b"\xff", b";;;;;"])
def test_what_is_not_a_frame_is_refused(payload):
    with pytest.raises(DecodeError):
        read_published(payload)


def test_a_name_that_no_frame_carries_is_refused():
    with pytest.raises(EncodeError):
        read_published(b";\xff;;say;0;0;")
