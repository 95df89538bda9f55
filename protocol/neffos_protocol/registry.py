"""The constants of the wire as values.

This module reads ``data/registry.toml``. The codec keeps constants of its own, so that it needs
no file to run; the tests hold those against this registry.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Final, get_args, get_origin, get_type_hints

from neffos_protocol._data import FOLDER
from neffos_protocol._records import Record

__all__ = ["Constant", "constant", "constants", "group"]


class Constant(Record):
    """One constant.

    Attributes:
        name: what it is called, for example ``"frame.escape"``.
        group: the kind of thing that it is, for example ``"request-event"``.
        value: a text, a number, or several texts; a name in angle brackets inside a text is to
            be filled in.
        meaning: what it means.
        requirements: the ids of the requirements that use it.
    """

    name: str
    group: str
    value: str | int | tuple[str, ...]
    meaning: str
    requirements: tuple[str, ...]


def constant(name: str) -> Constant:
    """Give one constant.

    Raises:
        KeyError: there is none of that name; the text says which names there are.
    """
    try:
        return constants()[name]
    except KeyError:
        first = name.partition(".")[0]
        near = [known for known in constants() if known.partition(".")[0] == first]
        known = ", ".join(near or sorted({known.partition(".")[0] + ".…" for known in constants()}))
        raise KeyError(f"no constant {name!r}; there are {known}") from None


def group(name: str) -> tuple[Constant, ...]:
    """Give the constants of one group, in the order of the registry.

    Raises:
        KeyError: there is no such group; the text says which groups there are.
    """
    members = tuple(entry for entry in constants().values() if entry.group == name)
    if not members:
        known = ", ".join(dict.fromkeys(entry.group for entry in constants().values()))
        raise KeyError(f"no group {name!r}; there are {known}")
    return members


@cache
def constants() -> Mapping[str, Constant]:
    """Give every constant by its name, in the order of the registry."""
    tables = load_toml("registry.toml")["constant"]
    return MappingProxyType({table["name"]: typed(Constant, table) for table in tables})


def load_toml(name: str) -> dict[str, Any]:
    """Give one of the data files as it is."""
    import tomllib

    with open(os.path.join(FOLDER, name), "rb") as file:
        return tomllib.load(file)


_FIELDS: Final = {"observations": "behaviours", "behaviour": "does"}
"""The fields that files call otherwise."""


def typed(kind: Any, given: Any) -> Any:
    """Give a value of a data file in the type that a field has: a class, a tuple, a mapping.

    Raises:
        TypeError: an entry has no such field, or lacks one.
        ValueError: an enumeration has no such word.
    """
    of = get_args(kind)
    if isinstance(given, list):
        return tuple(typed(of[0], each) if get_origin(kind) is tuple else each for each in given)
    if get_origin(kind) is Mapping:
        return MappingProxyType({name: typed(of[1], each) for name, each in given.items()})
    if of:
        return given
    if not issubclass(kind, Record):
        return kind(given)
    types = _types(kind)
    fields = {_FIELDS.get(name, name): each for name, each in given.items()}
    return kind(**{name: typed(types[name], each) for name, each in fields.items()})


@cache
def _types(kind: type[Record]) -> dict[str, Any]:
    """Give the type of each field; finding them takes longer than reading the file."""
    return get_type_hints(kind)
