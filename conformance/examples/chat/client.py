"""A terminal client of the chat: it says each line of standard input.

``/join ROOM`` goes to another room, and ``/rooms`` lists them. The end of input, or an interrupt,
leaves the chat.
"""

from __future__ import annotations

import argparse
import asyncio
import getpass
import json
import sys
from contextlib import suppress
from typing import Final
from urllib.parse import quote

from neffos_asyncio import (
    ON_NAMESPACE_DISCONNECT,
    Client,
    Handlers,
    Namespace,
    NeffosError,
    Reconnect,
    RefusedError,
    dial,
    text_of,
)
from neffos_codec import Message
from neffos_conformance.wire.standard_input import lines
from neffos_protocol import Cause, Changed, MisuseError

TRIES: Final = 8
"""Tries to reconnect: for about a minute."""


def show(text: str) -> None:
    """Print a line that others have written, without control characters."""
    print("".join(each if each.isprintable() else "�" for each in text), flush=True)  # noqa: T201


def said(_: Namespace, message: Message) -> None:
    """Show a line of the chat."""
    line = json.loads(text_of(message.body))
    show(f"{line['by']}: {line['text']}")


def who(_: Namespace, message: Message) -> None:
    """Show who is in a room."""
    show(f"* in {message.room}: {', '.join(json.loads(text_of(message.body)))}")


def lost(_: Namespace, changed: Changed) -> None:
    """Report a lost connection; the client opens it again, and joins the room."""
    if changed.cause is Cause.FORCED:
        show("* the connection is lost; trying again")


def back(_: Client) -> None:
    """Report that the connection is open again."""
    show("* connected again")


HANDLERS: Final[Handlers] = {"chat": {"said": said, "who": who, ON_NAMESPACE_DISCONNECT: lost}}


async def perform(chat: Namespace, line: str) -> None:
    """Perform a line of input."""
    command, _, argument = line.partition(" ")
    if command == "/join":
        before = chat.rooms
        await chat.join(argument)
        for room in before - {argument}:
            await chat.leave(room)
    elif command == "/rooms":
        reply = await chat.ask("rooms")
        show(f"* rooms: {', '.join(json.loads(text_of(reply.body)))}")
    elif line:
        await chat.ask("say", line, room=next(iter(chat.rooms), ""))


async def main() -> None:
    """Dial, and stay until the input ends or the client gives up."""
    parser = argparse.ArgumentParser(description="A terminal client of the chat.")
    parser.add_argument("name", nargs="?", default=getpass.getuser(), help="how others see you")
    parser.add_argument("--url", default="ws://127.0.0.1:8000/chat", help="URL of the chat")
    parser.add_argument("--room", default="lobby", help="the room to join first")
    options = parser.parse_args()

    typed = lines()
    try:
        client = await dial(
            f"{options.url}?name={quote(options.name)}",
            HANDLERS,
            reconnect=Reconnect(tries=TRIES),
            on_reconnect=back,
            on_close=lambda *_: typed.put_nowait(None),  # there is no chat to type into
        )
        chat = await client.connect("chat")
    except RefusedError as error:
        sys.exit(str(error))
    except NeffosError as error:
        sys.exit(f"{error}\nIs server.py running?")

    async with client:
        line: bytes | None = f"/join {options.room}".encode()
        while line is not None:
            try:
                await perform(chat, line.decode(errors="replace").strip())
            except (NeffosError, MisuseError) as error:  # refused, or not connected just now
                show(f"* {error}")
            line = await typed.get()
        if not client.is_open:
            sys.exit("the connection is lost")
        await chat.disconnect()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
