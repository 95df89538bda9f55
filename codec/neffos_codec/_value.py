"""Immutable values, as frozen dataclasses with slots are, and words.

Programs that run for an instant import the codec and the session. ``dataclasses`` takes longer to
import, and to make some thirty classes, than all the rest of both.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar, NoReturn, Self, dataclass_transform


@dataclass_transform(frozen_default=True)
class ValueType(type):
    """Makes a class from its annotated fields; ``frozen=False`` lets them change.

    The fields become slots, arguments of the constructor and positions of patterns. A class may
    have ``__post_init__``, which checks the values.
    """

    def __new__(
        cls, name: str, bases: tuple[type, ...], body: dict[str, Any], *, frozen: bool = True
    ) -> ValueType:
        """Make the class."""
        if not bases:
            return super().__new__(cls, name, bases, body)
        fields = tuple(body.get("__annotations__", ()))
        defaults = {each: body.pop(each) for each in fields if each in body}
        body["__slots__"] = body["__match_args__"] = fields
        made = super().__new__(cls, name, bases, body)
        given = [f"{each}=default_{each}" if each in defaults else each for each in fields]
        assign = "set_{0}(self, {0})" if frozen else "self.{0} = {0}"
        lines = [assign.format(each) for each in fields]
        if "__post_init__" in body:
            lines.append("self.__post_init__()")
        names: dict[str, Any] = {f"set_{each}": getattr(made, each).__set__ for each in fields}
        names |= {f"default_{each}": value for each, value in defaults.items()}
        head = f"def __init__({', '.join(['self', *given])}):"
        exec("\n ".join([head, *lines, "pass"]), names)  # noqa: S102  # as dataclasses do
        type.__setattr__(made, "__init__", names["__init__"])
        if not frozen:
            type.__setattr__(made, "__setattr__", object.__setattr__)
            type.__setattr__(made, "__hash__", None)
        return made


class Value(metaclass=ValueType):
    """Equal to what has the same type and the same fields."""

    __slots__ = ()
    __match_args__: ClassVar[tuple[str, ...]] = ()

    def replace(self, **changes: Any) -> Self:
        """Give a copy with the named fields changed; raises as the constructor does."""
        return type(self)(**{each: getattr(self, each) for each in self.__match_args__} | changes)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, each) for each in self.__match_args__)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.__reduce__() == other.__reduce__()

    def __hash__(self) -> int:
        return hash(self.__reduce__())

    def __repr__(self) -> str:
        fields = [f"{each}={getattr(self, each)!r}" for each in self.__match_args__]
        return f"{type(self).__qualname__}({', '.join(fields)})"

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"cannot set {name!r}: a {type(self).__name__} does not change")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"cannot delete {name!r}: a {type(self).__name__} does not change")


class Word(StrEnum):
    """A string enumeration whose members are looked up as fast as strings.

    ``Enum`` hashes by name, in Python: three times as long as the rest of a look-up.
    """

    __hash__ = str.__hash__
