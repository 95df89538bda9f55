"""The constants of the wire as values.

This module reads ``data/registry.toml``. The codec keeps constants of its own, so that it needs
no file to run; the tests hold those against this registry.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from neffos_codec._value import Value

__all__ = ["Constant", "constant", "constants", "group"]


class Constant(Value):
    """One constant.

    Attributes:
        name: what it is called, for example ``"frame.escape"``.
        group: the kind of thing that it is, for example ``"request-event"``.
        value: a text, a number, or several texts; a name in angle brackets inside a text is to
            be filled in.
        meaning: what it stands for.
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
    text = files("neffos_protocol.data").joinpath("registry.toml").read_text("utf-8")
    entries: dict[str, Constant] = {}
    for table in tomllib.loads(text)["constant"]:
        value = table["value"]
        entries[table["name"]] = Constant(
            name=table["name"],
            group=table["group"],
            value=tuple(value) if isinstance(value, list) else value,
            meaning=table["meaning"],
            requirements=tuple(table["requirements"]),
        )
    return MappingProxyType(entries)
