"""Servers that are wrong about the frame."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

from mutation.distortions import Payloads, answering, changing, frame_of
from mutation.registry import distorted, served
from neffos_codec import ESCAPE, Message, encode
from neffos_conformance.reference.embedded import NOTHING, Serve, embedded_server


def _hearing(change: Callable[[str], str]) -> Callable[[Serve], Serve]:
    """Change the text that is received."""

    def distort(serve: Serve) -> Serve:
        return lambda payload: serve(
            payload if payload is NOTHING or isinstance(payload, bytes) else change(payload)
        )

    return distort


def _telling(change: Callable[[str], str]) -> Callable[[Serve], Serve]:
    """Change the text that is sent."""
    return lambda serve: (
        lambda payload: [change(sent) if isinstance(sent, str) else sent for sent in serve(payload)]
    )


def _bodies(change: Callable[[str], str]) -> Callable[[Serve], Serve]:
    """Change the text of bodies that are sent."""
    return changing(
        lambda m: (
            m.replace(body=change(m.body)) if isinstance(m.body, str) and not m.is_error else m
        )
    )


def _is_utf8(octets: bytes) -> bool:
    return octets.decode(errors="ignore").encode() == octets


# -------------------------------------------------------------------- seven fields


@distorted("FR-1")
def body_cut(serve: Serve) -> Serve:
    """Takes the body to end at the next semicolon."""
    return _bodies(lambda body: body.split(";")[0])(serve)


@distorted("FR-1")
def body_after_last_separator(serve: Serve) -> Serve:
    """Takes the body to begin behind the last semicolon."""
    return _bodies(lambda body: body if ESCAPE in body else body.rsplit(";")[-1])(serve)


@distorted("FR-1")
def last_semicolons_dropped(serve: Serve) -> Serve:
    """Takes semicolons at the end of a body for empty fields, and leaves them out."""
    return changing(
        lambda m: (
            m.replace(body=m.body.rstrip(";"))
            if isinstance(m.body, str) and m.event == "echo"
            else m
        )
    )(serve)


@distorted("FR-1")
def empty_body_left_out(serve: Serve) -> Serve:
    """Leaves out the last separator where there is no body."""
    return _telling(lambda sent: sent.removesuffix(";") if sent.endswith(";0;0;") else sent)(serve)


@distorted("FR-1")
def room_before_namespace(serve: Serve) -> Serve:
    """Writes the room before the namespace, where there is one."""
    return changing(lambda m: m.replace(namespace=m.room, room=m.namespace) if m.room else m)(serve)


# -------------------------------------------------------------------- what is no frame


@distorted("FR-16")
def noise_returned(serve: Serve) -> Serve:
    """Sends back what is no frame."""
    is_open = False

    def wrong(payload: str | bytes) -> Payloads:
        nonlocal is_open
        noise = is_open and bool(payload) and frame_of(payload) is None
        is_open = is_open or payload[:1] in ("M", b"M")
        return [payload] if noise else serve(payload)

    return wrong


@distorted("FR-16")
def noise_ends_it(serve: Serve) -> Serve:
    """Ends the connection on what is no frame."""
    is_open = False

    def wrong(payload: str | bytes) -> Payloads:
        nonlocal is_open
        if is_open and payload and frame_of(payload) is None:
            raise ConnectionError("no frame")
        is_open = is_open or payload[:1] in ("M", b"M")
        return serve(payload)

    return wrong


MAX_NOISE: Final = 10
"""How many payloads that are no frames one of these servers bears."""


@distorted("FR-16")
def noise_counted(serve: Serve) -> Serve:
    """Has patience with ten payloads that are no frames."""
    seen = 0
    is_open = False

    def wrong(payload: str | bytes) -> Payloads:
        nonlocal seen, is_open
        seen += is_open and bool(payload) and frame_of(payload) is None
        is_open = is_open or payload[:1] in ("M", b"M")
        if seen > 10:  # said above
            raise ConnectionError("too much noise")
        return serve(payload)

    return wrong


@distorted("FR-2")
def five_separators_taken(serve: Serve) -> Serve:
    """Takes five separators for a frame with an empty body."""

    def wrong(payload: str | bytes) -> Payloads:
        if isinstance(payload, str) and payload.count(";") == 5:
            payload += ";"
        elif isinstance(payload, bytes) and payload.count(b";") == 5:
            payload += b";"
        return serve(payload)

    return wrong


# -------------------------------------------------------------------- the escape


@distorted("FR-3")
def fields_not_escaped(serve: Serve) -> Serve:
    """Writes a semicolon in a field as it is."""
    return _telling(lambda sent: sent if sent.endswith(ESCAPE) else sent.replace(ESCAPE, ";"))(
        serve
    )


@distorted("FR-3")
def one_escape_written(serve: Serve) -> Serve:
    """Escapes the first semicolon of a name only."""

    def change(sent: str) -> str:
        message = frame_of(sent)
        first, escape, rest = sent.partition(ESCAPE)
        is_name = message is not None and ";" in message.event
        return first + escape + rest.replace(ESCAPE, ";") if is_name else sent

    return _telling(change)(serve)


@distorted("FR-3")
def room_not_unescaped(serve: Serve) -> Serve:
    """Sends the room as it stood in the frame."""
    return _telling(
        lambda sent: sent.replace(f"a{ESCAPE}b;", "a;b;") if ";echo;" in sent else sent
    )(serve)


@distorted("FR-3")
def escape_in_any_case(serve: Serve) -> Serve:
    """Reads the escape in capitals, too."""
    return _hearing(lambda text: text.replace("@%!Semicolon@%!", ESCAPE))(serve)


@distorted("FR-3")
def escapes_read_again(serve: Serve) -> Serve:
    """Reads on until there is no escape left."""

    def change(message: Message) -> Message:
        read = message.event.replace(ESCAPE, ";")
        again = f"{read};semicolon@%!".replace("@%!semi;colon@%!;semicolon@%!", ";")
        is_event = message.event == "@%!semi;colon@%!"
        return message.replace(body=again) if is_event else message

    return changing(change)(serve)


@distorted("FR-3")
def escapes_read_from_the_right(serve: Serve) -> Serve:
    """Reads escapes from right to left."""
    return changing(
        lambda m: (
            m.replace(body="@%!semicolon;") if m.event == ";semicolon@%!" and m.wait == "$1" else m
        )
    )(serve)


@distorted("SEC-15")
def looked_up_escaped(serve: Serve) -> Serve:
    """Looks a namespace up as it stands in the frame."""
    return answering(
        lambda m: (
            m.error_reply("bad namespace")
            if ";" in m.namespace and m.event == "_OnNamespaceConnect"
            else None
        )
    )(serve)


@distorted("FR-3")
def body_unescaped(serve: Serve) -> Serve:
    """Takes the escape literal for a semicolon in the body too."""

    def change(message: Message) -> Message:
        body = message.body
        is_mine = isinstance(body, str) and message.event in ("echo", "fail")
        return message.replace(body=str(body).replace(ESCAPE, ";")) if is_mine else message

    return changing(change)(serve)


@distorted("FR-5")
def token_unescaped(serve: Serve) -> Serve:
    """Takes the escape literal for a semicolon in the token, and writes that."""
    return _telling(
        lambda sent: sent.replace(ESCAPE, ";", 1) if sent.startswith(f"${ESCAPE}") else sent
    )(serve)


# -------------------------------------------------------------------- the flags


@distorted("FR-6")
def false_left_empty(serve: Serve) -> Serve:
    """Writes nothing for a flag that is false."""
    return _telling(
        lambda sent: sent.replace(";0;0;", ";;;", 1) if sent.startswith("$1;app;;e") else sent
    )(serve)


@distorted("FR-6")
def false_in_words(serve: Serve) -> Serve:
    """Writes the flags of its own messages in words."""
    return _telling(
        lambda sent: sent.replace(";0;0;", ";false;false;", 1) if sent[:5] == ";app;" else sent
    )(serve)


@distorted("FR-6")
def binary_flags_left_empty(serve: Serve) -> Serve:
    """Writes nothing for the second flag of a binary frame."""
    return lambda payload: [
        sent.replace(b";0;0;", b";0;;", 1) if isinstance(sent, bytes) else sent
        for sent in serve(payload)
    ]


@distorted("FR-7")
def any_flag_is_true(serve: Serve) -> Serve:
    """Takes every flag but 0 for true."""
    return _hearing(lambda text: text.replace(";x;y;", ";1;1;"))(serve)


@distorted("FR-7")
def flags_parsed(serve: Serve) -> Serve:
    """Takes for true what a language takes for true or for one."""

    def change(text: str) -> str:
        for flags in ("01;01", "true;true", " 1;1 ", "11;1.0", "\uff11;+1", "true;01"):
            text = text.replace(f";{flags};", ";1;1;")
        return text

    return _hearing(change)(serve)


@distorted("FR-7")
def empty_flag_is_true(serve: Serve) -> Serve:
    """Takes an empty flag for true."""
    return _hearing(lambda text: text.replace(";echo;;;", ";echo;1;1;"))(serve)


# -------------------------------------------------------------------- errors


@distorted("FR-8")
def empty_error_is_success(serve: Serve) -> Serve:
    """Takes an error without a text for success."""

    def change(text: str) -> str:
        message = frame_of(text)
        if message is None or not message.is_error or message.body or message.wait[:1] in ("", "$"):
            return text
        return encode(message.empty_reply() if "_On" in text else message.reply(""))  # type: ignore[return-value]  # a text

    return _hearing(change)(serve)


@distorted("FR-9")
def error_without_text(serve: Serve) -> Serve:
    """Sends an error without a text where the application has none."""
    return lambda payload: [
        sent.replace("no text was given", "")
        if isinstance(sent, str)
        else sent.replace(b"no text was given", b"")
        for sent in serve(payload)
    ]


@distorted("FR-17")
def error_text_as_latin_1(serve: Serve) -> Serve:
    """Reads the error text of a binary frame as Latin-1."""

    def change(message: Message) -> Message:
        body = message.body
        wrong = message.event == "answer-error" and isinstance(body, bytes)
        return message.replace(body=bytes(body).decode("latin-1").encode()) if wrong else message  # type: ignore[arg-type]  # octets

    return changing(change)(serve)


@distorted("FR-17")
def error_text_by_its_type(serve: Serve) -> Serve:
    """Gives the name of a type for the error text of a binary frame."""
    return changing(
        lambda m: (
            m.replace(body=b"[object ArrayBuffer]")
            if m.event == "answer-error" and isinstance(m.body, bytes)
            else m
        )
    )(serve)


# -------------------------------------------------------------------- the body


@distorted("FR-10")
def ascii_only(serve: Serve) -> Serve:
    """Puts question marks in place of what is not ASCII in bodies."""
    return _bodies(lambda body: body.encode("ascii", "replace").decode())(serve)


@distorted("FR-10")
def body_trimmed(serve: Serve) -> Serve:
    """Trims bodies."""
    return _bodies(lambda body: body.strip())(serve)


@distorted("FR-10")
def body_ends_at_nul(serve: Serve) -> Serve:
    """Takes a body to end at a NUL."""
    return changing(
        lambda m: m.replace(
            body=m.body.split("\0")[0] if isinstance(m.body, str) else m.body.split(b"\0")[0]
        )
    )(serve)


@distorted("FR-10")
def body_normalised(serve: Serve) -> Serve:
    """Normalises bodies."""
    return _bodies(lambda body: unicodedata.normalize("NFC", body))(serve)


@distorted("FR-10")
def body_percent_decoded(serve: Serve) -> Serve:
    """Takes a body for part of a URL."""
    return _bodies(unquote)(serve)


@distorted("FR-10")
def line_ends_converted(serve: Serve) -> Serve:
    """Writes LF for CR LF, in binary too."""
    return changing(
        lambda m: m.replace(
            body=m.body.replace("\r\n", "\n")
            if isinstance(m.body, str)
            else m.body.replace(b"\r\n", b"\n")
        )
    )(serve)


@distorted("FR-10")
def octets_through_text(serve: Serve) -> Serve:
    """Takes octets by way of a text."""
    return changing(
        lambda m: (
            m.replace(body=m.body.decode(errors="replace").encode())
            if isinstance(m.body, bytes)
            else m
        )
    )(serve)


@distorted("FR-10")
def body_cut_at_64_kib(serve: Serve) -> Serve:
    """Has room for bodies of 64 KiB."""
    return changing(lambda m: m.replace(body=m.body[:65536]))(serve)


@distorted("FR-10")
def question_through_text(serve: Serve) -> Serve:
    """Takes the octets of a question by way of a text."""
    return changing(
        lambda m: (
            m.replace(body=m.body.decode(errors="replace").encode())
            if isinstance(m.body, bytes) and m.event in ("question", "answer", "news")
            else m
        )
    )(serve)


# -------------------------------------------------------------------- kinds


@distorted("FR-11")
def text_for_binary(serve: Serve) -> Serve:
    """Answers binary with text."""
    return lambda payload: [
        sent.decode("latin-1") if isinstance(sent, bytes) else sent for sent in serve(payload)
    ]


@distorted("FR-11")
def kind_guessed(serve: Serve) -> Serve:
    """Sends as text what is UTF-8 and can be printed, and all else in binary."""

    def change(sent: str | bytes) -> str | bytes:
        octets = sent.encode() if isinstance(sent, str) else sent
        if frame_of(sent) is None or sent[-6:] in (";;;;;;", b";;;;;;"):
            return sent
        is_text = _is_utf8(octets) and min(octets) >= ord(" ")
        return octets.decode() if is_text else octets

    return lambda payload: [change(sent) for sent in serve(payload)]


@distorted("FR-11")
def lines_apart(serve: Serve) -> Serve:
    """Takes each line of a text for a message."""

    def wrong(payload: str | bytes) -> Payloads:
        if isinstance(payload, bytes) or "\n$" not in payload:
            return serve(payload)
        return [sent for line in payload.splitlines() for sent in serve(line)]

    return wrong


@distorted("FR-11")
def broadcasts_in_text(serve: Serve) -> Serve:
    """Broadcasts in text only."""

    def change(sent: str | bytes) -> str | bytes:
        is_news = isinstance(sent, bytes) and sent.startswith(b";app;;news;")
        return sent.decode("latin-1") if is_news and isinstance(sent, bytes) else sent

    return lambda payload: [change(sent) for sent in serve(payload)]


# -------------------------------------------------------------------- UTF-8


@distorted("FR-12")
def names_as_they_came(serve: Serve) -> Serve:
    """Keeps the names of a binary frame as octets."""

    def wrong(payload: str | bytes) -> Payloads:
        if isinstance(payload, bytes) and payload.startswith(b"$1;any;;\xff;"):
            return [payload + b"\xff"]
        return serve(payload)

    return wrong


@distorted("FR-12")
def names_as_latin_1(serve: Serve) -> Serve:
    """Writes the names of a binary frame in Latin-1."""

    def wrong(payload: str | bytes) -> Payloads:
        if isinstance(payload, bytes) and not _is_utf8(payload) and payload.startswith(b"$1;any;"):
            return [payload.decode("latin-1").encode("latin-1") + b"\xc3\xbf"]
        return serve(payload)

    return wrong


# -------------------------------------------------------------------- the empty reply


@distorted("FR-13")
def long_empty_reply(serve: Serve) -> Serve:
    """Writes the flags of an empty reply."""
    return _telling(lambda sent: f"{sent[:-2]}0;0;" if sent.endswith(";;;;;;") else sent)(serve)


@distorted("FR-13")
def binary_empty_reply(serve: Serve) -> Serve:
    """Sends an empty reply in the kind of the ask."""

    def wrong(payload: str | bytes) -> Payloads:
        return [
            sent.encode()
            if isinstance(sent, str) and isinstance(payload, bytes) and sent.endswith(";;;;;;")
            else sent
            for sent in serve(payload)
        ]

    return wrong


@distorted("FR-13")
def empty_reply_to_leave_is_long(serve: Serve) -> Serve:
    """Writes the flags of the empty reply to a leave."""

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        is_leave = message is not None and message.event == "_OnRoomLeave"
        return [
            f"{sent[:-2]}0;0;"
            if is_leave and isinstance(sent, str) and sent.endswith(";;;;;;")
            else sent
            for sent in serve(payload)
        ]

    return wrong


# -------------------------------------------------------------------- empty messages


@distorted("FR-14")
def empty_message_answered(serve: Serve) -> Serve:
    """Complains about an empty message."""
    return lambda payload: (
        serve(payload) if payload or payload is NOTHING else [";app;;error;1;0;empty message"]
    )


@distorted("FR-14")
def empty_message_ends_it(serve: Serve) -> Serve:
    """Takes an empty message for the end."""

    def wrong(payload: str | bytes) -> Payloads:
        if not payload and payload is not NOTHING:
            raise ConnectionError("end of input")
        return serve(payload)

    return wrong


@distorted("FR-14")
def empty_message_is_first(serve: Serve) -> Serve:
    """Counts an empty message as the first of a connection."""
    is_first = True
    is_deaf = False

    def wrong(payload: str | bytes) -> Payloads:
        nonlocal is_first, is_deaf
        if payload is NOTHING:
            return serve(payload)
        is_deaf = is_deaf or (is_first and not payload)
        is_first = False
        return [] if is_deaf else serve(payload)

    return wrong


# -------------------------------------------------------------------- fragments and segments

FIN: Final = 0x80
"""The bit of a WebSocket frame's first octet that says that a message ends with it."""

RESERVED: Final = 0x70
"""The bits beside it that are not in use."""

MASKED: Final = 0x80
"""The bit of the second octet that all frames of clients have."""

TEXT: Final = 1
BINARY: Final = 2
"""The opcodes of messages (RFC 6455, 5.2); 0 is that of a further fragment."""

READ_SIZE: Final = 1 << 16
"""Octets read at a time."""

SHORT_LENGTH: Final = 126
"""The length of a WebSocket frame from which on it has octets of its own (RFC 6455, 5.2)."""

Fragment = tuple[int, bytes]
"""A WebSocket frame of a client: its first octet, and its payload without the mask."""

Pass = Callable[[Fragment], Fragment]
"""What becomes of a WebSocket frame on its way to the server.

Raises:
    ConnectionError: it ends the connection.
"""


async def _read_fragment(reader: asyncio.StreamReader) -> Fragment | bytes:
    """Read a WebSocket frame; give the octets as they are where they are none of a client."""
    head = await reader.readexactly(2)
    if head[0] & RESERVED or not head[1] & MASKED:
        return head
    size = head[1] & ~MASKED
    if size >= SHORT_LENGTH:
        size = int.from_bytes(await reader.readexactly(2 if size == SHORT_LENGTH else 8))
    mask = await reader.readexactly(4)
    payload = await reader.readexactly(size)
    masks = int.from_bytes((mask * (size // 4 + 1))[:size])
    return head[0], (int.from_bytes(payload) ^ masks).to_bytes(size)


def _write_fragment(fragment: Fragment) -> bytes:
    first, payload = fragment
    return bytes([first, 0xFF]) + len(payload).to_bytes(8) + bytes(4) + payload


@asynccontextmanager
async def _between(
    make: Callable[[], Pass], back: Callable[[bytes], bytes] = bytes
) -> AsyncIterator[str]:
    """Run a server behind something that changes the WebSocket frames of each client.

    Args:
        make: for each connection, what becomes of a client's frames.
        back: what becomes of the octets that the server sends; their number stays.
    """
    async with AsyncExitStack() as stack:
        url = urlsplit(await stack.enter_async_context(embedded_server()))

        async def home(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while octets := await reader.read(READ_SIZE):
                writer.write(back(octets))
                await writer.drain()

        async def forth(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readuntil(b"\r\n\r\n"))
            change = make()
            while not isinstance(fragment := await _read_fragment(reader), bytes):
                writer.write(_write_fragment(change(fragment)))
                await writer.drain()
            writer.write(fragment)
            while octets := await reader.read(READ_SIZE):
                writer.write(octets)
                await writer.drain()

        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there, to = await asyncio.open_connection(url.hostname, url.port)
            ways = [
                asyncio.create_task(forth(reader, to)),
                asyncio.create_task(home(there, writer)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
                for each in (to, writer):
                    each.transport.abort()
                    with suppress(OSError):
                        await each.wait_closed()

        listener = await asyncio.start_server(carry, url.hostname, 0)
        stack.push_async_callback(listener.wait_closed)
        stack.callback(listener.close)
        host, port = listener.sockets[0].getsockname()[:2]
        yield urlunsplit(url._replace(netloc=f"{host}:{port}"))


@served("FR-15")
@asynccontextmanager
async def fragments_are_messages() -> AsyncIterator[str]:
    """Takes each fragment for a message."""

    def make() -> Pass:
        kind = TEXT

        def change(fragment: Fragment) -> Fragment:
            nonlocal kind
            first, payload = fragment
            if first & 0xF in (TEXT, BINARY):
                kind = first & 0xF
            return (FIN | kind if first & 0xF in (0, TEXT, BINARY) else first), payload

        return change

    async with _between(make) as url:
        yield url


@served("FR-15")
@asynccontextmanager
async def fragments_checked_apart() -> AsyncIterator[str]:
    """Checks that each fragment of a text is UTF-8."""

    def make() -> Pass:
        def change(fragment: Fragment) -> Fragment:
            first, payload = fragment
            if first == TEXT and not _is_utf8(payload):
                raise ConnectionError("not UTF-8")
            return fragment

        return change

    async with _between(make) as url:
        yield url


@served("FR-15")
@asynccontextmanager
async def fragments_without_pings() -> AsyncIterator[str]:
    """Forgets a fragment when a ping comes behind it."""

    def make() -> Pass:
        is_inside = False

        def change(fragment: Fragment) -> Fragment:
            nonlocal is_inside
            first, _ = fragment
            if is_inside and first & 0x8:
                raise ConnectionError("a control frame inside a message")
            is_inside = not first & FIN
            return fragment

        return change

    async with _between(make) as url:
        yield url


@served("FR-15")
@asynccontextmanager
async def masks_left_on() -> AsyncIterator[str]:
    """Takes a binary message that is masked for one that is not, where its first octet is odd."""

    def make() -> Pass:
        def change(fragment: Fragment) -> Fragment:
            first, payload = fragment
            is_odd = first == FIN | BINARY and payload.endswith(b"\x00\xff")
            return first, payload[:-1] if is_odd and payload.startswith(
                b"$2;app;;echo"
            ) else payload

        return change

    async with _between(make) as url:
        yield url


@served("FR-12")
@asynccontextmanager
async def text_unchecked() -> AsyncIterator[str]:
    """Takes the octets of a text as they are, UTF-8 or not, and sends them back."""
    head = b"$1;app;;echo;0;0;"

    def make() -> Pass:
        return lambda fragment: (fragment[0], fragment[1].replace(head + b"\xff", head + b"\x1a"))

    def back(octets: bytes) -> bytes:
        return octets.replace(head + b"\x1a", head + b"\xff")

    async with _between(make, back) as url:
        yield url


# -------------------------------------------------------------------- names


@distorted("FR-18")
def case_folded(serve: Serve) -> Serve:
    """Takes names that differ in their case for one."""
    return changing(lambda m: m.empty_reply() if m.is_error and m.namespace == "App" else m)(serve)


@distorted("FR-18")
def events_case_folded(serve: Serve) -> Serve:
    """Takes events that differ in their case for one."""
    return _hearing(lambda text: text.replace(";Echo;", ";echo;"))(serve)


@distorted("FR-18")
def events_trimmed(serve: Serve) -> Serve:
    """Trims the names of events."""
    return _hearing(lambda text: text.replace(";echo ;", ";echo;"))(serve)


@distorted("FR-18")
def namespaces_trimmed(serve: Serve) -> Serve:
    """Trims the names of namespaces."""
    return _hearing(lambda text: text.replace("; app;", ";app;").replace(";app ;", ";app;"))(serve)


@distorted("FR-18")
def names_normalised(serve: Serve) -> Serve:
    """Normalises names."""

    def change(message: Message) -> Message:
        name = unicodedata.normalize("NFC", message.event)
        is_any = message.namespace == "any" and message.body == message.event
        return message.replace(event=name, body=name) if is_any else message

    return changing(change)(serve)


@distorted("FR-18")
def rooms_case_folded(serve: Serve) -> Serve:
    """Takes rooms that differ in their case for one."""
    return _hearing(lambda text: text.replace(" aA;", " Aa;"))(serve)
