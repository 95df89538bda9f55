"""The frame declared a second time: slow, and independent of the codec.

The codec is written for speed. Here the frame is a declaration, to be read beside the
specification. It shares no code with the codec, so that tests can hold one against the other:
both must accept the same bytes and find the same fields in them. The ABNF, which
``abnf_rules`` loads, is a third opinion.

All of it works on bytes; a text message has its UTF-8 form. Each frame has
``parse(bytes)`` and ``build(fields)``, where the fields are a mapping with the keys ``wait``,
``namespace``, ``room``, ``event``, ``is_error``, ``is_no_op`` and ``body``. What does not fit
raises ``construct.ConstructError``.

It needs the package ``construct``, and ``abnf_rules`` needs ``abnf``. The plain install has
neither; the extra ``dev`` brings both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

try:
    from construct import (
        Const,
        Construct,
        ExprAdapter,
        GreedyBytes,
        Mapping,
        NullTerminated,
        Select,
        StringEncoded,
        Struct,
        ValidationError,
    )
except ImportError as error:
    raise ImportError(
        "neffos_protocol.grammar needs the package 'construct', which the plain install leaves "
        "out; install neffos-wire[dev]"
    ) from error

if TYPE_CHECKING:
    from abnf import Rule

__all__ = ["BINARY_FRAME", "LENIENT_FRAME", "TEXT_FRAME", "abnf_rules"]

SEPARATOR: Final = b";"
LITERAL: Final = b"@%!semicolon@%!"


# ---- Fields, as bytes ----


def _token(data: bytes, _context: object) -> bytes:
    """FR-5: a token goes as it is and cannot hold the separator."""
    if SEPARATOR in data:
        raise ValidationError("a wait token cannot hold a separator")
    return data


def _unescaped(data: bytes, _context: object) -> bytes:
    """FR-3: the literal stands for the separator."""
    return SEPARATOR.join(data.split(LITERAL))


def _escaped(data: bytes, context: object) -> bytes:
    """FR-4: a field that would come back changed is not written."""
    written = LITERAL.join(data.split(SEPARATOR))
    if _unescaped(written, context) != data:
        raise ValidationError("a field cannot hold the escape literal")
    return written


def _is_one(data: bytes, _context: object) -> bool:
    """FR-7: the lenient reading of a flag."""
    return data == b"1"


def _digit(flag: bool, _context: object) -> bytes:
    """FR-6: how a flag is written."""
    return b"1" if flag else b"0"


# FR-1, FR-2: what stands before a separator, and the separator must be there.
FIELD: Final[Construct[Any, Any]] = NullTerminated(GreedyBytes, term=SEPARATOR)
WAIT: Final[Construct[Any, Any]] = ExprAdapter(FIELD, decoder=_token, encoder=_token)
NAME: Final[Construct[Any, Any]] = ExprAdapter(FIELD, decoder=_unescaped, encoder=_escaped)
FLAG: Final[Construct[Any, Any]] = Mapping(FIELD, {False: b"0", True: b"1"})
LENIENT_FLAG: Final[Construct[Any, Any]] = ExprAdapter(FIELD, decoder=_is_one, encoder=_digit)


# ---- Frames ----


def _text(data: Construct[Any, Any]) -> Construct[Any, Any]:
    """FR-12: bytes that are UTF-8, as a string."""
    return StringEncoded(data, "utf-8")


def _some(text: str, _context: object) -> str:
    """FR-13: the empty reply answers an ask, so its token is not empty."""
    if not text:
        raise ValidationError("an empty reply has a token")
    return text


def _strict(body: Construct[Any, Any], no_body: object) -> Construct[Any, Any]:
    """Declare a strict frame with that kind of body."""
    empty_reply = Struct(  # FR-13
        "wait" / ExprAdapter(_text(WAIT), decoder=_some, encoder=_some),
        "namespace" / Const("", _text(FIELD)),
        "room" / Const("", _text(FIELD)),
        "event" / Const("", _text(FIELD)),
        "is_error" / Const(False, Mapping(FIELD, {False: b""})),
        "is_no_op" / Const(False, Mapping(FIELD, {False: b""})),
        "body" / Const(no_body, body),
    )
    full = Struct(
        "wait" / _text(WAIT),
        "namespace" / _text(NAME),
        "room" / _text(NAME),
        "event" / _text(NAME),
        "is_error" / FLAG,
        "is_no_op" / FLAG,
        "body" / body,
    )
    return Select(empty_reply, full)


TEXT_FRAME: Final = _strict(_text(GreedyBytes), "")
"""A text message in the strict reading: UTF-8 throughout; the body is a ``str``."""

BINARY_FRAME: Final = _strict(GreedyBytes, b"")
"""A binary message in the strict reading: UTF-8 before the body; the body is ``bytes``."""

LENIENT_FRAME: Final[Construct[Any, Any]] = Struct(
    "wait" / WAIT,
    "namespace" / NAME,
    "room" / NAME,
    "event" / NAME,
    "is_error" / LENIENT_FLAG,
    "is_no_op" / LENIENT_FLAG,
    "body" / GreedyBytes,
)
"""What the Go peer reads, of either kind: any bytes, any flags. All but the flags is ``bytes``."""


# ---- ABNF ----


def abnf_rules(grammar: str) -> type[Rule]:
    """Load an ABNF grammar, as in ``neffos.abnf``.

    The ``abnf`` package matches characters, so bytes go in as Latin-1 and come out likewise:
    ``abnf_rules(text)("text-frame").parse_all(bytes.decode("latin-1"))``.

    Args:
        grammar: the text of the grammar.

    Returns:
        A class of its own for this grammar; called with a rule's name it gives that rule.
    """
    from abnf import Rule

    class Rules(Rule):
        """The rules of this grammar."""

        # The grammar prefers the first alternative where two fit: the escape before its bytes.
        first_match_alternation = True

    Rules.load_grammar(grammar)
    return Rules
