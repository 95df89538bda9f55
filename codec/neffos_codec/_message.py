"""The message: the seven fields of a frame as an immutable value.

Names are compared as they are, code point by code point, since a decoded message has them unescaped
(FR-18, SEC-15).

This module owns which messages can exist. It does not know how a payload is read; what the
decoder builds from a payload is sound already and skips the checks. The compiled codec keeps
the fields elsewhere and takes over the methods below that read them by their public names.
"""

from __future__ import annotations

from typing import ClassVar, Final, Self, final

from neffos_codec._errors import EncodeError, Reason
from neffos_codec._utf8 import first_surrogate

ESCAPE: Final = "@%!semicolon@%!"
"""What stands for ``;`` inside a namespace, room or event (requirement FR-3)."""

_SHOWN_BODY: Final = 80
"""How much of a body ``repr`` shows: enough to recognise it, short enough for one line."""

SEPARATORS: Final = 6
"""How many ``;`` make a frame; those after them belong to the body (FR-1)."""

_WHOLE: Final = slice(None)

FIELDS: Final = ("wait", "namespace", "room", "event", "is_error", "is_no_op", "body")
"""The names of the seven fields, in their order on the wire."""


@final
class Message:
    """One frame's content: immutable, hashable, equal by its fields.

    The seven fields in wire order, all optional. A ``str`` body makes a text message, a
    ``bytes`` body a binary one; a bytearray or memoryview is copied. Whatever can be
    constructed can be encoded, and decodes to an equal message.

    Args:
        wait: the token of an ask or its reply; empty where no reply is wanted.
        namespace: the namespace, empty for the empty namespace.
        room: the room inside the namespace, or empty.
        event: the event's name.
        is_error: the body is an error text (requirement FR-8).
        is_no_op: the sender asks for nothing to be done.
        body: the body: text or bytes.

    Raises:
        EncodeError: ``wait`` holds ``;`` (FR-5), a field would come back changed because
            it holds the escape literal (FR-4), or a text has no UTF-8 form (FR-12).
        TypeError: an argument has a wrong type.
    """

    __slots__ = ("_body", "_event", "_is_error", "_is_no_op", "_namespace", "_room", "_wait")
    __match_args__: ClassVar[tuple[str, ...]] = FIELDS
    __module__ = "neffos_codec"  # a pickle names no file, so that either codec reads it

    _wait: str
    _namespace: str
    _room: str
    _event: str
    _is_error: bool
    _is_no_op: bool
    # A large payload is kept whole, with the place where its body begins, until the body is
    # first asked for. One slot for both, so that readers in several threads stay safe.
    _body: str | bytes | tuple[str | bytes, int]

    def __init__(
        self,
        wait: str = "",
        namespace: str = "",
        room: str = "",
        event: str = "",
        is_error: bool = False,
        is_no_op: bool = False,
        body: str | bytes | bytearray | memoryview = "",
        _sound: bool = False,  # the decoder's word that there is nothing to check
    ) -> None:
        if not _sound:
            if not isinstance(is_error, bool) or not isinstance(is_no_op, bool):
                raise TypeError("is_error and is_no_op must be bool")
            body = _octets_kept(body)
            wait = _plain_text("wait", wait)
            namespace = _plain_text("namespace", namespace)
            room = _plain_text("room", room)
            event = _plain_text("event", event)
            if isinstance(body, str):
                body = _plain_text("body", body)
            if ";" in wait:
                raise EncodeError(
                    Reason.WAIT_SEPARATOR,
                    "a wait token is never escaped and cannot hold ';'",
                    offset=wait.index(";"),
                    field="wait",
                )
            if "@" in namespace or "@" in room or "@" in event:
                _check_escape("namespace", namespace)
                _check_escape("room", room)
                _check_escape("event", event)
        self._wait = wait
        self._namespace = namespace
        self._room = room
        self._event = event
        self._is_error = is_error
        self._is_no_op = is_no_op
        self._body = body  # type: ignore[assignment]  # buffers were copied above

    @property
    def wait(self) -> str:
        """The token as it was in the frame; ``parse_wait`` takes it apart."""
        return self._wait

    @property
    def namespace(self) -> str:
        """The namespace, unescaped."""
        return self._namespace

    @property
    def room(self) -> str:
        """The room, unescaped; empty where the message is not for a room."""
        return self._room

    @property
    def event(self) -> str:
        """The event's name, unescaped."""
        return self._event

    @property
    def is_error(self) -> bool:
        """Whether the body is an error text, be it empty or not (FR-8)."""
        return self._is_error

    @property
    def is_no_op(self) -> bool:
        """Whether the sender asked for nothing to be done."""
        return self._is_no_op

    @property
    def body(self) -> str | bytes:
        """The body: ``str`` of a text message, ``bytes`` of a binary one."""
        held = self._body
        if isinstance(held, tuple):
            payload, start = held
            held = payload[start:]
            self._body = held
        return held

    @property
    def is_binary(self) -> bool:
        """Whether this is a binary message; the frame itself does not say (FR-11)."""
        held = self._body
        return not isinstance(held[0] if isinstance(held, tuple) else held, str)

    @property
    def is_empty_reply(self) -> bool:
        """Whether this is the reply that says only "done" (FR-13)."""
        return bool(
            self._wait
            and not self._namespace
            and not self._room
            and not self._event
            and not self._is_error
            and not self._is_no_op
            and not self.body
        )

    def fields(self) -> tuple[str, str, str, str, bool, bool, str | bytes]:
        """Give the seven fields in wire order, as named by ``FIELDS``."""
        return (
            self._wait,
            self._namespace,
            self._room,
            self._event,
            self._is_error,
            self._is_no_op,
            self.body,
        )

    def replace(self, **changes: object) -> Self:
        """Give a copy with the named fields changed; raises as the constructor does."""
        fields: dict[str, object] = dict(zip(FIELDS, self.fields(), strict=True))
        unknown = changes.keys() - fields.keys()
        if unknown:
            raise TypeError(f"a message has no field {', '.join(sorted(unknown))}")
        fields.update(changes)
        return type(self)(**fields)  # type: ignore[arg-type]  # the constructor checks each type

    def reply(self, body: str | bytes | bytearray | memoryview = "") -> Self:
        """Give the reply of a handler: this message with another body (AR-7).

        The reply has the kind of the message it answers; ``body`` is converted to it.

        Raises:
            EncodeError: ``body`` is binary, the message is text, and it is not UTF-8 (FR-12).
        """
        return self._answer(body, False)

    def error_reply(self, text: str) -> Self:
        """Give the reply that refuses: this message with an error text (AR-7).

        Raises:
            EncodeError: ``text`` is empty, which the Go peer reads as success (FR-9).
        """
        if not isinstance(text, str):
            raise TypeError(f"an error text must be str, not {type(text).__name__}")
        if not text:
            raise EncodeError(
                Reason.EMPTY_ERROR_TEXT,
                "an error without a text reads as success at the other end",
                field="body",
            )
        return self._answer(text, True)

    def empty_reply(self) -> Self:
        """Give the reply that says only "done"; always a text message (FR-13).

        Raises:
            EncodeError: this message asked for no reply.
        """
        if not self.wait:
            raise EncodeError(
                Reason.NO_WAIT, "an empty reply needs the token of an ask", field="wait"
            )
        return type(self)(self.wait)

    def _answer(self, given: str | bytes | bytearray | memoryview, is_error: bool) -> Self:
        body = _octets_kept(given)
        if isinstance(body, str):
            body = _plain_text("body", body)
            if self.is_binary:
                body = body.encode()
        elif not self.is_binary:
            try:
                body = body.decode()
            except UnicodeDecodeError as error:
                raise EncodeError(
                    Reason.UTF8,
                    "the reply to a text message must be UTF-8",
                    offset=error.start,
                    field="body",
                ) from None
        return type(self)(
            self.wait,
            self.namespace,
            self.room,
            self.event,
            is_error,
            self.is_no_op,
            body,
            True,  # the echoed fields are those of a message, and the body was checked here
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, type(self)):
            return NotImplemented
        return self.is_binary == other.is_binary and self.fields() == other.fields()

    def __hash__(self) -> int:
        return hash(self.fields())

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (*self.fields(), True)

    def __repr__(self) -> str:
        shown = []
        for name, value in zip(FIELDS, self.fields(), strict=True):
            if value is False or (isinstance(value, str) and not value):
                continue
            if name == "body" and isinstance(value, (str, bytes)) and len(value) > _SHOWN_BODY:
                unit = "characters" if isinstance(value, str) else "bytes"
                shown.append(f"body={value[:_SHOWN_BODY]!r}… ({len(value)} {unit})")
            else:
                shown.append(f"{name}={value!r}")
        return f"Message({', '.join(shown)})"


def escape(field: str) -> str:
    """Write a namespace, room or event as it is in a frame (FR-3)."""
    return field.replace(";", ESCAPE) if ";" in field else field


def unescape(field: str) -> str:
    """Read a namespace, room or event from a frame (FR-3)."""
    return field.replace(ESCAPE, ";")


def _plain_text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be str, not {type(value).__name__}")
    if not value.isascii():
        bad = first_surrogate(value)
        if bad >= 0:
            raise EncodeError(
                Reason.UTF8,
                "a surrogate has no UTF-8 form and cannot be sent",
                offset=bad,
                field=name,
            )
    # A member of a string enumeration formats as its name: keep only its characters.
    return value if type(value) is str else str.__str__(value)


def _octets_kept(body: object) -> str | bytes:
    """Give a body as it is kept: a buffer, which its owner may change, is copied."""
    if isinstance(body, str):
        return body
    if isinstance(body, bytes):
        return body if type(body) is bytes else bytes.__getitem__(body, _WHOLE)
    if isinstance(body, (bytearray, memoryview)):
        try:
            return bytes(body)
        except ValueError:
            raise TypeError("body is a memoryview that has been released") from None
    raise TypeError(f"body must be str or bytes, not {type(body).__name__}")


def _check_escape(name: str, field: str) -> None:
    # Comparing the round trip, not searching the literal: "@%!semicolon;" holds no literal,
    # but escaping its ';' makes one that begins earlier.
    if "@" not in field:
        return
    back = unescape(escape(field))
    if back != field:
        same = 0
        while back[same : same + 1] == field[same]:
            same += 1
        raise EncodeError(
            Reason.ESCAPE_LITERAL,
            f"a field that holds {ESCAPE!r}, or nearly, would come back changed",
            offset=same,
            field=name,
        )
