"""The target ``session``: the bytes are a program for one session.

A program chooses a session, and then what happens to it: payloads of the peer, commands of the
application, the time and the end. Its choices are few and close to the protocol, so that most
programs lead far; ``fuzz/seeds.py`` writes some.

Each program runs twice. In the first run ``outgoing`` is called after every step. In the second it
is called as seldom as the program says, and each received buffer is overwritten immediately.
Events, payloads and the final state must be the same.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any, Final, TypeVar

from fuzz.checks import REFUSED_COMMAND, check
from fuzz.model import Model, check_bounds, check_sent, state_of
from neffos_codec import Message, Native, Payload
from neffos_protocol import (
    Asked,
    Change,
    ChangeAsked,
    Event,
    Role,
    Session,
    SessionLimits,
    prepare,
    token_of,
)

MOST_STEPS: Final = 48
"""Of one program: longer ones find little that shorter ones do not, and take longer."""

NATIVES: Final = (Native.NEVER, Native.FALLBACK, Native.ONLY, Native.NEVER)
OFFERS: Final = (None, frozenset({"", "n", "\udcff"}))
CHANGES: Final = tuple(Change)

LIMITS: Final = tuple(
    SessionLimits(
        payload=payload,
        held=few,
        held_size=size,
        namespaces=few,
        rooms=few,
        name=name,
        token=token,
        incoming_asks=few,
        repeats=max(few, 1),
        outgoing_asks=asks,
    )
    for few, asks, size, payload, name, token in (
        (2, 3, 40, 200, 3, 12),
        (1, 1, 20, 100, 1, 4),
        (0, 0, 0, 60, 0, 3),
        (3, 2, 1000, 1000, 300, 300),
    )
)
"""Tiny, so that a short program meets them; one allows nothing but the tokens themselves."""

# What a frame's fields are picked from. "@" stands for the prefix of the peer's tokens.
WAITS: Final = ("", "@1", "@2", "$9", "9", "#9", "neffos(0x9", "@\udcff", "$!8", "8!8", "!", "é")
NAMES: Final = ("", "n", "m", "r", "s", "; ;", "\udcff", "é", "long name")
EVENTS: Final = (
    "_OnNamespaceConnect",
    "_OnRoomJoin",
    "_OnNamespaceDisconnect",
    "_OnRoomLeave",
    "e",
    "",
    "_OnNativeMessage",
    "_OnNamespaceConnected",
    "_OnAnyEvent",
    "_On;",
    "_OnRoomJoine",
    "\udcff",
)
BODIES: Final[tuple[str | bytes, ...]] = ("", "b", ";;;;;;;", "\udcff", b"", b"\xff", "b" * 70, "M")
FLAGS: Final = ("0;0", "1;0", "0;1", "1;1", ";", "1;")
DEADLINES: Final = (None, 1.0, 2.0, 3.0)
HANDSHAKES: Final = ("M", "Ai", "Hno", "A", "H", "Mx", "A\udcff", "x")

Item = TypeVar("Item")


class Tape:
    """The bytes of a program, read one after the other; zeros follow the last."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_done(self) -> bool:
        """Whether all were read."""
        return self._at >= len(self._data)

    def number(self) -> int:
        """Take the next byte."""
        self._at += 1
        return 0 if self._at > len(self._data) else self._data[self._at - 1]

    def pick(self, items: tuple[Item, ...]) -> Item:
        """Take a byte as the choice of an item."""
        return items[self.number() % len(items)]

    def data(self) -> bytes:
        """Take a byte as a number, and that many bytes."""
        length = self.number()
        self._at += length
        return self._data[self._at - length : self._at]


class Run:
    """One run of a program: the session, what is known of it, and what came out.

    Args:
        data: the program.
        often: whether ``outgoing`` is called after every step.
        tell: receives each step as a line; for people who replay a crash.
    """

    def __init__(self, data: bytes, *, often: bool, tell: Callable[[str], object] | None) -> None:
        self.tape = Tape(data)
        self.tell = tell
        flags, choices = self.tape.number(), self.tape.number()
        self.role = Role.SERVER if flags & 1 else Role.CLIENT
        self.native = NATIVES[flags >> 1 & 3]
        decides_handshake = bool(flags & 8)
        self.prefix = "$" if self.role is Role.SERVER else ""
        self.often = often
        self.period = choices >> 6
        self.limits = LIMITS[choices >> 4 & 3]
        own = "$t" if self.role is Role.CLIENT else "t"
        numbers = count(1)
        options: dict[str, Any] = {
            # A server that lets everybody in has an id to give them, as its documentation says.
            "id": "" if decides_handshake else "i",
            "namespaces": OFFERS[flags >> 4 & 1],
            "decides": frozenset(each for at, each in enumerate(CHANGES) if choices >> at & 1),
            "decides_handshake": decides_handshake,
            "native": self.native,
            "limits": self.limits,
        }
        self.say("is a", self.role, options)
        self.session = Session(self.role, tokens=lambda: f"{own}{next(numbers)}", **options)
        self.model = Model()
        self.events: list[list[Event]] = []
        self.sent: list[str | bytes] = []
        self.natives: list[str | bytes] = []
        self.asked: list[Asked] = []
        self.asked_changes: list[ChangeAsked] = []
        if flags & 32 and self.native is not Native.ONLY:
            self.open()
            if flags & 64:
                self.receive(f"{self.prefix}0;n;;_OnNamespaceConnect;0;0;")

    def say(self, *words: object) -> None:
        """Tell what happens."""
        if self.tell:
            self.tell(" ".join([each if type(each) is str else repr(each) for each in words]))

    def open(self) -> None:
        """Complete the handshake."""
        if self.role is Role.CLIENT:
            self.command("start", self.session.start)
            self.receive("Ai")
        else:
            self.receive("M")
            self.command("accept", self.session.accept, "i")

    def go(self) -> None:
        """Run the program to its end."""
        steps = 0
        while not self.tape.is_done and steps < MOST_STEPS:
            steps += 1
            self.tape.pick(STEPS)(self)
            self.model.check(self.session)
            check_bounds(self.session, self.limits, self.model)
            if self.often or (self.period and steps % (3 * self.period) == 0):
                self.sent += self.session.outgoing()
        self.sent += self.session.outgoing()
        check(not self.session.outgoing(), "each payload is given once")
        check_sent(self.sent, self.role, self.native, self.natives)

    def note(self, events: list[Event]) -> None:
        """Keep events, and the asks that the application can answer."""
        self.say("  ->", events)
        self.events.append(events)
        self.model.take(events)
        self.asked += [event for event in events if isinstance(event, Asked)]
        self.asked_changes += [event for event in events if isinstance(event, ChangeAsked)]

    def receive(self, payload: Payload) -> None:
        """Receive a payload; nothing may be raised."""
        if self.tell:
            shown = payload if isinstance(payload, str) else bytes(payload)
            self.say("receives", type(payload).__name__, [shown])
        self.note(self.session.receive(payload))
        if isinstance(payload, bytearray) and not self.often:
            payload[:] = bytes(len(payload))  # its owner has other uses for it now

    def receive_bytes(self, data: bytes, kind: int) -> None:
        """Receive bytes in one of the types of a payload."""
        text = data.decode("utf-8", "surrogateescape")
        payloads: list[Payload] = [text, data, bytearray(data), memoryview(data)]
        self.receive(payloads[kind % 4])

    def command(
        self, name: str, call: Callable[..., list[Event]], *args: Any, **options: Any
    ) -> list[Event] | None:
        """Call a command, and give its events; ``None`` where the session refuses it."""
        self.say("calls", name, list(args), options or "")
        before = state_of(self.session)
        try:
            events = call(*args, **options)
        except REFUSED_COMMAND as error:
            after = state_of(self.session)
            check(before == after, "a refused command changes nothing", name, before, after)
            self.say("  refused:", [error])
            self.events.append([])
            return None
        self.note(events)
        return events

    def wait(self) -> str:
        """Pick a token: made up, or that of an open ask, perhaps with the exchange marker."""
        number = self.tape.number()
        tokens = sorted(self.session.pending_asks)
        if number < 128 or not tokens:
            return WAITS[number % len(WAITS)].replace("@", self.prefix)
        token = tokens[number % len(tokens)]
        return f"{token[0]}!{token[1:]}" if number & 64 else token


# ------------------------------------------------------------ what the peer does


def frame(run: Run) -> None:
    """The peer sends a frame."""
    tape = run.tape
    wait = run.wait()
    names = [tape.pick(NAMES), tape.pick(NAMES), tape.pick(EVENTS)]
    flags = tape.number()
    send_frame(run, wait, names, FLAGS[flags % len(FLAGS)], tape.pick(BODIES), flags >> 6)


def ask_of_peer(run: Run) -> None:
    """The peer sends a system ask or an event ask, as a correct peer does."""
    tape = run.tape
    wait = f"{run.prefix}{tape.number() % 4}"
    event, namespace = tape.pick(EVENTS[:5]), tape.pick(NAMES)
    room = tape.pick(NAMES) if event in ("_OnRoomJoin", "_OnRoomLeave") else ""
    send_frame(run, wait, [namespace, room, event], FLAGS[0], "", tape.number())


def reply_of_peer(run: Run) -> None:
    """The peer replies: with success, an error, or neither."""
    tape = run.tape
    tokens = sorted(run.session.pending_asks) or ["$t1"]
    wait = tokens[tape.number() % len(tokens)]
    match tape.number() % 4:
        case 0:
            run.receive(f"{wait};;;;;;")
        case 1:
            send_frame(run, wait, ["n", "", "e"], FLAGS[1], tape.pick(BODIES), tape.number())
        case 2:
            send_frame(run, wait, ["n", "r", "e"], FLAGS[0], tape.pick(BODIES), tape.number())
        case _:
            run.receive(f"{wait};;;;0;0;".encode())


def send_frame(
    run: Run, wait: str, names: list[str], flags: str, body: str | bytes, kind: int
) -> None:
    """Receive a frame of these parts."""
    fields = ";".join(name.replace(";", "@%!semicolon@%!") for name in names)
    head = f"{wait};{fields};{flags};".encode("utf-8", "surrogateescape")
    end = body if isinstance(body, bytes) else body.encode("utf-8", "surrogateescape")
    run.receive_bytes(head + end, kind)


def raw(run: Run) -> None:
    """The peer sends any bytes."""
    kind = run.tape.number()
    run.receive_bytes(run.tape.data(), kind)


def handshake(run: Run) -> None:
    """The peer sends a handshake message, or another message instead."""
    message = run.tape.pick(HANDSHAKES)
    run.receive_bytes(message.encode("utf-8", "surrogateescape"), run.tape.number())


def peer_closes(run: Run) -> None:
    """The transport ends."""
    run.say("calls peer_closed")
    run.note(run.session.peer_closed())


# ------------------------------------------------------------ what the application does


def begin(run: Run) -> None:
    """The application starts, accepts, refuses, or closes."""
    name = run.tape.pick(("start", "accept", "refuse", "close"))
    texts = {"accept": ("", "i", "\udcff"), "refuse": ("", "no", "\udcff")}
    text = [run.tape.pick(texts[name])] if name in texts else []
    run.command(name, getattr(run.session, name), *text)


def change(run: Run) -> None:
    """The application sends a system ask."""
    session, tape = run.session, run.tape
    kind, namespace = tape.pick(CHANGES), tape.pick(NAMES)
    deadline = tape.pick(DEADLINES)
    names = [namespace, tape.pick(NAMES)] if kind.is_of_room else [namespace]
    run.model.own_names.add(names[-1])
    events = run.command(kind, getattr(session, kind), *names, deadline=deadline)
    if events is not None:
        run.model.ask(token_of(events), of_event=False)


def decide(run: Run) -> None:
    """The application decides on a change, for the first time or again."""
    choice = run.tape.number()
    if not run.asked_changes:
        return
    asked = run.asked_changes[-1 - (choice >> 2) % len(run.asked_changes)]
    is_open = asked.number in run.model.questions
    run.model.questions.discard(asked.number)
    if choice & 1:
        done = run.command("allow", run.session.allow, asked) is not None
        check(done == is_open, "an open ask can be allowed, and no other", asked)
    else:
        text = run.tape.pick(("no", "", "\udcff"))
        done = run.command("deny", run.session.deny, asked, text) is not None
        check(done == (is_open and text == "no"), "an open ask can be denied, no other", asked)
    if is_open and not done:
        run.model.questions.add(asked.number)


def answer(run: Run) -> None:
    """The application answers an event ask, for the first time or again."""
    choice = run.tape.number()
    if not run.asked:
        return
    asked = run.asked[-1 - (choice >> 2) % len(run.asked)]
    session, body = run.session, run.tape.pick(BODIES)
    before = session._incoming and asked.number in session._incoming
    is_open = asked.number in run.model.questions
    check(bool(before) == is_open, "an ask is pending until answered or withdrawn", asked)
    match choice % 3:
        case 0:
            run.command("reply", session.reply, asked, body)
        case 1:
            text = body if isinstance(body, str) else ""
            run.command("reply_error", session.reply_error, asked, text)
        case _:
            run.command("ignore", session.ignore, asked)
            check(asked.number not in (session._incoming or {}), "ignored once and for all")
    if asked.number not in (session._incoming or {}):
        run.model.questions.discard(asked.number)


def send_event(run: Run) -> None:
    """The application sends an event, or asks one, or broadcasts one."""
    session, tape = run.session, run.tape
    kind, namespace, room = tape.number(), tape.pick(NAMES), tape.pick(NAMES)
    event, body = tape.pick(EVENTS[4:]), tape.pick(BODIES)
    match kind % 3:
        case 0:
            run.command("emit", session.emit, namespace, event, body, room=room)
        case 1:
            deadline = tape.pick(DEADLINES)
            events = run.command(
                "ask", session.ask, namespace, event, body, room=room, deadline=deadline
            )
            if events is not None:
                run.model.ask(token_of(events), of_event=True)
        case _:

            def broadcast() -> list[Event]:
                token = "$1" if kind & 128 else ""  # a misuse
                prepared = prepare(Message(token, namespace, room, event, body=body))
                is_member = namespace in session.connected
                concerns = is_member and (not room or room in session.joined(namespace))
                check(session.concerns(prepared) == concerns, "members are concerned", namespace)
                return session.send_prepared(prepared)

            run.command(f"broadcast {namespace!r} {room!r} {event!r}", broadcast)


def send_native(run: Run) -> None:
    """The application sends a native message."""
    body = run.tape.pick(BODIES)
    before = len(run.session._outgoing or ())
    run.command("send_native", run.session.send_native, body)
    if len(run.session._outgoing or ()) > before:
        run.natives.append(body)


def expire(run: Run) -> None:
    """Time passes."""
    now = float(run.tape.number() % 4)
    run.say("calls expire", now)
    due = run.session.next_deadline
    run.note(run.session.expire(now))
    check((due is not None and due <= now) == bool(run.events[-1]), "what is due expires", due)
    due = run.session.next_deadline
    check(due is None or due > now, "what is left is due later", due)


STEPS: Final = (
    expire,
    frame,
    ask_of_peer,
    reply_of_peer,
    decide,
    change,
    answer,
    send_event,
    handshake,
    raw,
    frame,
    ask_of_peer,
    reply_of_peer,
    begin,
    send_native,
    peer_closes,
)
"""What a byte of the program chooses from; zeros do as little as can be."""


def session_target(data: bytes, tell: Callable[[str], object] | None = None) -> None:
    """Run the program twice and compare."""
    first = Run(data, often=True, tell=tell)
    first.go()
    second = Run(data, often=False, tell=None)
    second.go()
    check(first.events == second.events, "the same program gives the same events")
    check(first.sent == second.sent, "and the same payloads", first.sent, second.sent)
    ends = [state_of(run.session) for run in (first, second)]
    check(ends[0] == ends[1], "and the same state", *ends)
