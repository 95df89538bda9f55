"""What is drawn in test sequences for the peers of each role, and how often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from neffos_conformance.model_based.actions import Payload
from neffos_conformance.model_based.frames import EXCHANGE, SENDER
from neffos_conformance.model_based.sending import FRAGMENTED
from neffos_protocol.events import Change
from neffos_protocol.names import NATIVE_EVENT, REQUEST_EVENT

Weights = Mapping[str, float]

BODIES: Final[tuple[Payload, ...]] = (
    "t{}",
    "",
    "t{} ; and; more;",
    "t{} @%!semicolon@%! stays",
    "t{} é☃\U0001f600",
    " t{} with spaces ",
    "t{}\r\nline\n",
    "t{} e\u0301 %20 +",
    "t{} " + "x" * 70_000,
    b"t{} \x00\xff;",
    b"t{} \x00\xff;",
    b"t{}",
)
"""Bodies; ``{}`` becomes the number of the action, which identifies a body. One that ends with
``...`` and a number is made as long as that."""


@dataclass(frozen=True, slots=True)
class Draws:
    """What is drawn for the peers of a role. Weights say how often.

    Attributes:
        connections: at most, in one sequence: one that acts, and others that receive or must not.
        actions: weights of the kinds of actions.
        answers: weights of the ways to answer.
        late: the share of the drawn answers to settled asks that are sent.
        namespaces: of which a sequence uses few.
        rooms: likewise; some differ in little (FR-18).
        special_rooms: rooms that the application refuses, or that nobody can join.
        events: weights of the events.
        bodies: of events, the first being the most frequent.
        marks: what tokens contain besides their number.
        variants: weights of the forms of a frame: with odd flags, or in fragments.
        non_frames: payloads that are not frames.
        haste: the shares of frames after which no barrier is asked.
        marked: the share of tokens that contain more.
        flagged: the shares of events that are errors, and of those that have the other flag.
        native: the shares of sequences on the endpoints of a server for native messages: the mixed
            one, and the other.
        main: the namespace in which most happens.
        commanded: events that a client is made to send now and then.
        tokens: the share of events with a token.
        odd_asks: the share of system asks with a flag, or without a token.
        first: system asks that come first, each as event, namespace and room.
        answered: bodies of the suite's replies; empty for such as only name the action.
        hasty: the share of answers, and of payloads that are not frames, after which no barrier is
            asked.
        probed: namespaces of a server whose rooms are probed at the end.
    """

    connections: int
    actions: Weights
    answers: Weights
    late: float
    namespaces: Sequence[str]
    rooms: Sequence[str]
    special_rooms: Sequence[str]
    events: Weights
    bodies: Sequence[Payload]
    marks: Sequence[str]
    variants: Weights
    non_frames: Sequence[Payload]
    haste: Sequence[float]
    marked: float = 0.09
    flagged: tuple[float, float] = (0.09, 0.05)
    native: tuple[float, float] = (0.08, 0.03)
    main: str = "app"
    commanded: Sequence[str] = ("t0;x", "n\u20acws", "a@%!semicolon@%!b")
    tokens: float = 0.75
    odd_asks: float = 0.3
    first: Sequence[tuple[str, str, str]] = ()
    answered: Sequence[str] = ()
    hasty: float = 0.0
    probed: Sequence[str] = ("app",)


def weights(text: str) -> dict[str, float]:
    """Read weights from words, each followed by its weight."""
    words = text.split()
    return dict(zip(words[::2], map(float, words[1::2]), strict=True))


_LOOKALIKES: Final = ("\u00e9", "e\u0301")
_COMMON_NON_FRAMES: Final = ("", b"", "noise t{}", ";;;;;", b"\x00\xff t{}", "M", b"M")
_COMMON_MARKS: Final = (" ", "@%!semicolon@%!", "#", ".$1")

SERVER: Final = Draws(
    connections=3,
    actions=weights("connection 4 ask 30 event 34 provoke 10 answer 16 non-frame 5 end 2"),
    answers=weights("done 30 body 25 error 18 renamed 7 twice 10 elsewhere 10"),
    late=1.0,
    namespaces=("app", "any", "refused", "sticky", "semi;colon", "nowhere", "App", " app", ""),
    rooms=("r1", "r1", "r2", "r;3", "R1", "r1 ", *_LOOKALIKES),
    special_rooms=("", "locked", "sticky"),
    events=weights(
        "echo 26 fail 8 silent 5 whoami 5 tries 1 push 8 broadcast-others 6 broadcast-all 4 "
        "broadcast-room 8 broadcast-to 4 close-me 1 Echo 2 t0;x 2 t0@%!SEMICOLON@%!x 1"
    )
    | {"handled by nobody": 2, " echo": 1, NATIVE_EVENT: 1},
    bodies=BODIES,
    marks=(*_COMMON_MARKS, EXCHANGE, f"{EXCHANGE}x", "\u00e9", "-" + "0" * 60),
    variants={"": 94, "flags": 6},
    non_frames=(*_COMMON_NON_FRAMES, ";app;;echo;0;0", "M t{}", "Aa t{}", "Ha t{}"),
    haste=(0.1, 0.25, 0.6),
)

CLIENT: Final = Draws(
    connections=2,
    actions=weights(
        "connection 3 command-ask 22 command-event 16 command 3 ask 20 event 28 answer 34 "
        "non-frame 5 end 2"
    ),
    answers=weights("done 44 body 16 error 20 bare-error 6 renamed 5 twice 6 echoed 5"),
    late=0.3,
    namespaces=("app", "any", "semi;colon", "unwanted", "nowhere", "__proto__", "App", " app", ""),
    rooms=("lobby", "lobby", "hall", "r;3", "Lobby", "lobby ", *_LOOKALIKES),
    special_rooms=("", "unwanted"),
    events=weights(
        "echo 26 question 10 fail 12 relay 12 news 8 other 6 t0;x 3 Echo 2 caf\u00e9 2 "
        "cafe\u0301 2 _onNamespaceDisconnect 1"
    )
    | {" echo": 2, NATIVE_EVENT: 3},
    bodies=(*BODIES, "t{}" + ";" * 1_500),  # for a client that recurses over separators
    marks=(
        *(*_COMMON_MARKS, SENDER, "-a.B_c/\u00e9?", "!7000", "\t"),
        *("x" * 60, "0000000000000001"),
    ),
    variants={"": 90, "flags": 6, FRAGMENTED: 4},
    non_frames=(
        *(*_COMMON_NON_FRAMES, '{"event": "t{}"}', "7;app;;echo;0;0"),
        *("A9", "A", "Hno", b"H"),
    ),
    haste=(0.0, 0.1, 0.4),
)

PROVOKING: Final = weights("ask-me 6 connect-me 1 disconnect-me 1 join-me 1 leave-me 1")
"""Weights of the events whose handlers send an ask."""

EMPTY_EVENTS: Final = (REQUEST_EVENT[Change.CONNECT], REQUEST_EVENT[Change.DISCONNECT], "echo")
"""The frequent events of the mixed endpoint."""

CONNECTABLE: Final = ("app", "app", "any", "semi;colon", "")
"""The namespaces that a client is made to connect."""

NATIVE_MESSAGES: Final[tuple[Payload, ...]] = (
    "t{}",
    "hello; t{}",
    b"\x00\xff t{}",
    ";a;;b;0;0;t{}",  # decodes as a frame, so that a client must refuse to send it
)
