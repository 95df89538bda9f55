"""The message as a value: which ones exist, how they compare, and the replies to them."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from enum import Enum, StrEnum
from threading import Barrier
from typing import Any
from unittest import mock

import pytest

from neffos_codec import ESCAPE, FIELDS, EncodeError, Message, Reason, decode, encode

FULL = Message("$1", "chat", "room", "say", True, True, "no")
LARGE = "$1;chat;room;say;0;1;" + "é" * 5000


class Event(StrEnum):
    SAY = "say"


class OldEvent(str, Enum):  # noqa: UP042 - this kind formats as "OldEvent.SAY"
    SAY = "say"


# ---- Construction ----


def test_every_field_has_a_default() -> None:
    assert Message().fields() == ("", "", "", "", False, False, "")


def test_fields_come_in_wire_order() -> None:
    assert FULL.fields() == ("$1", "chat", "room", "say", True, True, "no")
    assert FULL.fields() == tuple(getattr(FULL, name) for name in FIELDS)


def test_fields_can_be_given_by_name() -> None:
    assert Message(**dict(zip(FIELDS, FULL.fields(), strict=True))) == FULL


@pytest.mark.parametrize("body", [b"ab", bytearray(b"ab"), memoryview(b"axbx")[::2]])
def test_any_octets_make_a_binary_message(body: Any) -> None:  # FR-11
    message = Message(body=body)
    assert message.is_binary
    assert type(message.body) is bytes
    assert message.body == b"ab"


def test_a_text_body_makes_a_text_message() -> None:
    assert not Message(body="ab").is_binary


def test_a_buffer_that_changes_later_does_not_change_the_message() -> None:
    buffer = bytearray(b"before")
    message = Message(body=buffer)
    buffer[:] = b"after"
    assert message.body == b"before"


@pytest.mark.parametrize("member", [Event.SAY, OldEvent.SAY])
def test_members_of_string_enumerations_are_stored_as_their_characters(member: Any) -> None:
    message = Message(member, member, member, member, body=member)
    assert {type(value) for value in message.fields()} == {str, bool}
    assert encode(message) == "say;say;say;say;0;0;say"
    assert encode(Message().reply(member)) == ";;;;0;0;say"


def test_a_body_of_a_subclass_of_bytes_is_stored_as_bytes() -> None:
    class Octets(bytes):
        pass

    body = Octets(b"say")
    for message in (Message(body=body), Message(body=b"").reply(body)):
        assert type(message.body) is bytes
        assert message.body == b"say"


@pytest.mark.parametrize("name", ["wait", "namespace", "room", "event", "body"])
@pytest.mark.parametrize("value", [None, 1, ["a"]])
def test_fields_of_another_type_are_refused(name: str, value: Any) -> None:
    with pytest.raises(TypeError):
        Message(**{name: value})


@pytest.mark.parametrize("name", ["wait", "namespace", "room", "event"])
def test_only_the_body_may_be_octets(name: str) -> None:
    with pytest.raises(TypeError):
        Message(**{name: b"a"})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["is_error", "is_no_op"])
@pytest.mark.parametrize("value", [None, 1, "1"])
def test_flags_are_bool_and_nothing_like_it(name: str, value: Any) -> None:
    with pytest.raises(TypeError):
        Message(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "reason", "requirement", "offset"),
    [
        ("wait", "a;b", Reason.WAIT_SEPARATOR, "FR-5", 1),
        ("namespace", f"ab{ESCAPE}", Reason.ESCAPE_LITERAL, "FR-4", 2),
        ("room", f"{ESCAPE};", Reason.ESCAPE_LITERAL, "FR-4", 0),
        ("event", "x@%!semicolon;", Reason.ESCAPE_LITERAL, "FR-4", 1),  # no literal, until escaped
        ("event", "@;semicolon@%!@%!semicolon;", Reason.ESCAPE_LITERAL, "FR-4", 14),
        ("wait", "a\ud800", Reason.UTF8, "FR-12", 1),
        ("namespace", "\udcff", Reason.UTF8, "FR-12", 0),
        ("room", "é\udfff", Reason.UTF8, "FR-12", 1),
        ("event", "ab\ud800c", Reason.UTF8, "FR-12", 2),
        ("body", "b" * 70_000 + "\ud800", Reason.UTF8, "FR-12", 70_000),
    ],
)
def test_what_would_come_back_changed_is_refused(
    name: str, value: str, reason: Reason, requirement: str, offset: int
) -> None:
    for make in (Message, Message().replace):
        with pytest.raises(EncodeError) as caught:
            make(**{name: value})
        error = caught.value
        assert (error.reason, error.requirement) == (reason, requirement)
        assert (error.field, error.offset) == (name, offset)


@pytest.mark.parametrize(
    "name", [";", ";;", "@", "@%!", "a@%!semicolon", ";semicolon@%!", "semicolon@%!;", "é;\0"]
)
def test_separators_and_almost_literals_come_back_as_they_were(name: str) -> None:  # FR-3
    message = Message("w", name, name, name, body=name)
    assert decode(encode(message)) == message


def test_a_wait_may_look_like_an_escape() -> None:  # FR-5: it is never unescaped either
    assert decode(encode(Message(ESCAPE))).wait == ESCAPE


def test_long_text_without_surrogates_is_fine() -> None:
    body = "é" * 70_000
    assert Message(body=body).body == body


# ---- A value ----


@pytest.mark.parametrize("name", [*FIELDS, "is_binary", "is_empty_reply", "colour"])
def test_a_message_cannot_be_changed(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(FULL, name, "other")
    with pytest.raises(AttributeError):
        delattr(FULL, name)


def test_messages_are_equal_by_their_fields() -> None:
    twin = Message(*FULL.fields())
    assert twin == FULL
    assert hash(twin) == hash(FULL)
    assert {FULL: 1}[twin] == 1


@pytest.mark.parametrize(
    "change",
    [
        {"wait": "$2"},
        {"namespace": "c"},
        {"room": ""},
        {"event": "x"},
        {"is_error": False},
        {"is_no_op": False},
        {"body": "yes"},
        {"body": b"no"},  # the kind is part of the message (FR-11)
    ],
)
def test_messages_differ_by_every_field(change: dict[str, Any]) -> None:
    assert FULL.replace(**change) != FULL


def test_a_message_equals_nothing_else() -> None:
    message = Message("$1")
    assert message != message.fields()
    assert message != "$1"


def test_a_message_can_be_matched() -> None:
    match FULL:
        case Message(wait, "chat", room="room", body=str(body)):
            assert (wait, body) == ("$1", "no")
        case _:
            pytest.fail("no match")


@pytest.mark.parametrize(
    "message",
    [FULL, Message("$1", body=b"\xff"), decode(LARGE), decode(b"\xff;;;e;0;0;")],
    ids=["text", "binary", "large", "no-utf8"],
)
def test_messages_survive_pickling_and_copying(message: Message) -> None:
    twins = [copy.copy(message), copy.deepcopy(message)]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        twins.append(pickle.loads(pickle.dumps(message, protocol)))  # noqa: S301, PERF401
    assert twins == [message] * len(twins)


def test_replace_changes_only_what_is_named() -> None:
    assert FULL.replace() == FULL
    assert FULL.replace(room="", body=b"") == Message("$1", "chat", "", "say", True, True, b"")


def test_replace_knows_its_fields() -> None:
    with pytest.raises(TypeError, match="no field colour, size"):
        FULL.replace(size=1, colour="red", wait="$2")
    with pytest.raises(TypeError):
        FULL.replace(wait=5)


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (Message(), "Message()"),
        (
            FULL,
            "Message(wait='$1', namespace='chat', room='room', event='say', "
            "is_error=True, is_no_op=True, body='no')",
        ),
        (Message("w" * 100), f"Message(wait='{'w' * 100}')"),
        (Message(event="e", body=b"\xff"), "Message(event='e', body=b'\\xff')"),
        (Message(body="b" * 80), f"Message(body='{'b' * 80}')"),
        (Message(body="b" * 81), f"Message(body='{'b' * 80}'… (81 characters))"),
        (Message(body=b"b" * 81), f"Message(body=b'{'b' * 80}'… (81 bytes))"),
    ],
)
def test_repr_shows_what_is_set_and_cuts_long_bodies(message: Message, shown: str) -> None:
    assert repr(message) == shown


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (Message("$1"), True),
        (Message("$1", body=b""), True),
        (Message(), False),
        (Message("$1", "n"), False),
        (Message("$1", room="r"), False),
        (Message("$1", event="e"), False),
        (Message("$1", is_error=True), False),
        (Message("$1", is_no_op=True), False),
        (Message("$1", body="x"), False),
        (decode("$1;;;;0;0;" + "x" * 5000), False),
    ],
)
def test_which_messages_are_empty_replies(message: Message, expected: bool) -> None:  # FR-13
    assert message.is_empty_reply is expected


# ---- Replies ----


@pytest.mark.parametrize("body", ["yes", b"yes"])
def test_a_reply_has_the_kind_of_its_ask(body: str | bytes) -> None:  # FR-11, AR-7
    text = Message("$1", "chat", "room", "say", True, True, "ask")
    binary = text.replace(body=b"ask")
    assert text.reply(body) == Message("$1", "chat", "room", "say", False, True, "yes")
    assert binary.reply(body) == Message("$1", "chat", "room", "say", False, True, b"yes")


def test_a_reply_needs_no_body() -> None:
    assert Message("$1", event="e", body="ask").reply() == Message("$1", event="e")
    assert Message("$1", event="e", body=b"ask").reply() == Message("$1", event="e", body=b"")


def test_an_error_reply_has_the_kind_of_its_ask() -> None:  # FR-8
    ask = Message("$1", "chat", "room", "say", False, True, "ask")
    refusal = Message("$1", "chat", "room", "say", True, True, "né")
    assert ask.error_reply("né") == refusal
    assert ask.replace(body=b"ask").error_reply("né") == refusal.replace(body="né".encode())


def test_an_empty_reply_is_always_text() -> None:  # FR-13
    assert Message("$1", "chat", event="e", body=b"ask").empty_reply() == Message("$1")


def test_a_reply_echoes_fields_that_only_the_lenient_reading_takes() -> None:
    ask = decode(b"\xff;\xfe;;e;0;0;ask")
    assert encode(ask.reply("yes")) == b"\xff;\xfe;;e;0;0;yes"
    assert encode(ask.error_reply("no")) == b"\xff;\xfe;;e;1;0;no"


def test_a_reply_to_a_large_message_keeps_its_fields() -> None:
    assert decode(LARGE).reply("yes") == Message("$1", "chat", "room", "say", False, True, "yes")


@pytest.mark.parametrize(
    ("answer", "reason", "requirement", "field", "offset"),
    [
        (lambda ask: ask.error_reply(""), Reason.EMPTY_ERROR_TEXT, "FR-9", "body", 0),
        (lambda ask: ask.error_reply("a\ud800"), Reason.UTF8, "FR-12", "body", 1),
        (lambda ask: ask.reply("ab\ud800"), Reason.UTF8, "FR-12", "body", 2),
        (lambda ask: ask.reply(b"a\xff"), Reason.UTF8, "FR-12", "body", 1),
        (lambda ask: ask.empty_reply(), Reason.NO_WAIT, "FR-13", "wait", 0),
    ],
)
def test_replies_that_cannot_be_sent(
    answer: Any, reason: Reason, requirement: str, field: str, offset: int
) -> None:
    with pytest.raises(EncodeError) as caught:
        answer(Message(event="e"))
    error = caught.value
    assert (error.reason, error.requirement) == (reason, requirement)
    assert (error.field, error.offset) == (field, offset)


# ---- The body of a large payload is cut out when it is first read ----


@pytest.mark.parametrize("payload", [LARGE, LARGE.encode()], ids=["text", "binary"])
def test_a_late_body_is_no_different(payload: str | bytes) -> None:
    message = decode(payload)
    assert message.is_binary == isinstance(payload, bytes)
    assert message.event == "say"
    body = payload[21:]
    assert message.body == body
    assert message.body is message.body
    assert message == Message("$1", "chat", "room", "say", False, True, body)
    assert encode(decode(payload)) == payload
    assert repr(decode(payload)) == repr(message)
    assert hash(decode(payload)) == hash(message)


@pytest.mark.parametrize("payload", [LARGE, LARGE.encode()], ids=["text", "binary"])
def test_several_threads_may_read_a_late_body(payload: str | bytes) -> None:
    workers = 8
    with ThreadPoolExecutor(workers) as pool:
        for _ in range(50):
            message, start = decode(payload), Barrier(workers)

            def read(_: int, message: Message = message, start: Barrier = start) -> str | bytes:
                start.wait()
                return message.body

            assert set(pool.map(read, range(workers))) == {payload[21:]}


def test_what_is_no_message_decides_whether_it_equals_one():
    assert Message() == mock.ANY
    assert Message() != "a message"


def test_text_and_binary_messages_differ():
    assert Message(body="") != Message(body=b"")
    assert repr(Message(body=b"")) == "Message(body=b'')"


@pytest.mark.parametrize("body", [5, None, ["x"]])
def test_a_reply_has_a_body_that_can_be_sent(body):
    with pytest.raises(TypeError):
        Message("1").reply(body)


@pytest.mark.parametrize("text", [5, None, b"no"])
def test_an_error_reply_has_a_text(text):
    with pytest.raises(TypeError):
        Message("1").error_reply(text)


def test_a_reply_does_not_keep_a_buffer():
    buffer = bytearray(b"x")
    reply = Message("1", body=b"").reply(buffer)
    buffer[0] = 0
    assert reply.body == b"x"


def test_an_empty_reply_to_a_token_that_is_no_utf8_is_refused():  # FR-12: it is text
    ask = decode(b"\xff;n;;e;0;0;")
    with pytest.raises(EncodeError) as caught:
        ask.empty_reply()
    assert (caught.value.reason, caught.value.field) == (Reason.UTF8, "wait")


def test_a_released_view_is_no_body():
    view = memoryview(b"x")
    view.release()
    with pytest.raises(TypeError, match="released"):
        Message(body=view)
