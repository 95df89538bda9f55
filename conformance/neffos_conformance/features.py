"""The parts of the conformance application that a server may lack, as data.

This module owns what they are called and what they cover. It does not know which cases need
them, nor which server has them.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Feature:
    """A part that a server may lack.

    Attributes:
        id: its name.
        about: what it is, in a few words.
        events: the events of the namespace ``app`` that need it.
        namespaces: the namespaces that need it.
        endpoints: the endpoints that need it, as they stand behind the path of the first.
        headers: the headers of the upgrade request that need it.
    """

    id: str
    about: str
    events: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()


@cache
def features() -> tuple[Feature, ...]:
    """Give all features, in the order of the page."""
    text = files("neffos_conformance.data").joinpath("features.toml").read_text("utf-8")
    return tuple(
        Feature(
            each.pop("id"),
            each.pop("about"),
            **{name: tuple(values) for name, values in each.items()},
        )
        for each in tomllib.loads(text)["feature"]
    )
