"""Classes made from their annotated fields, as dataclasses are, but fast to import and to make."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, dataclass_transform

from neffos_codec._value import Value


class Word(StrEnum):
    """A string enumeration whose members are looked up as fast as strings.

    ``Enum`` hashes by name, in Python: three times as long as the rest of a look-up.
    """

    __hash__ = str.__hash__


@dataclass_transform(frozen_default=True)
class RecordType(type):
    """Makes a class from its annotated fields, which do not change.

    The fields become slots, arguments of the constructor and positions of patterns. A class may
    have ``__post_init__``, which checks the values.
    """

    def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> RecordType:
        """Make the class."""
        fields = tuple(body.get("__annotations__", ()))
        defaults = {each: body.pop(each) for each in fields if each in body}
        body["__slots__"] = body["__match_args__"] = fields
        made = super().__new__(cls, name, bases, body)
        given = [f"{each}=default_{each}" if each in defaults else each for each in fields]
        changes = issubclass(cls, MutableRecordType)
        assign = "self.{0} = {0}" if changes else "set_{0}(self, {0})"
        lines = [assign.format(each) for each in fields]
        if "__post_init__" in body:
            lines.append("self.__post_init__()")
        names: dict[str, Any] = {f"set_{each}": getattr(made, each).__set__ for each in fields}
        names |= {f"default_{each}": value for each, value in defaults.items()}
        head = f"def __init__({', '.join(['self', *given])}):"
        exec("\n ".join([head, *lines, "pass"]), names)  # noqa: S102  # as dataclasses do
        type.__setattr__(made, "__init__", names["__init__"])
        return made


@dataclass_transform()
class MutableRecordType(RecordType):
    """Makes a class whose fields change. Of keywords of a class, mypyc tells no metaclass."""


class Record(Value, metaclass=RecordType):
    """A value whose class says only which fields it has."""


class MutableRecord(Value, metaclass=MutableRecordType):
    """A record whose fields change, so that it has no hash."""

    __hash__ = None  # type: ignore[assignment]
    __setattr__ = object.__setattr__  # type: ignore[assignment]
