"""The features: parts of the conformance application that a server may lack, as data.

This module owns their names and their extent. It does not know which server has them.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final
from urllib.parse import unquote

from neffos_conformance.cases.definition import Case
from neffos_conformance.cases.script import MESSAGE_VERBS, named
from neffos_conformance.wire.payloads import frame_of
from neffos_protocol.events import Change
from neffos_protocol.names import CHANGE_OF


@dataclass(frozen=True, slots=True)
class Feature:
    """A part that a server may lack.

    Attributes:
        id: its name.
        about: a description of a few words.
        events: the events of the namespace ``app`` that need it.
        namespaces: the namespaces that need it.
        endpoints: the endpoints that need it, as paths below the first.
        headers: the headers of the upgrade request that need it.
        probe: a script that a server with the feature answers.
    """

    id: str
    about: str
    events: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    probe: str = ""


@cache
def features() -> tuple[Feature, ...]:
    """Give all features, in the order of the page."""
    text = files("neffos_conformance.data").joinpath("features.toml").read_text("utf-8")
    return tuple(
        Feature(
            each.pop("id"),
            each.pop("about"),
            probe=each.pop("probe"),
            **{name: tuple(values) for name, values in each.items()},
        )
        for each in tomllib.loads(text)["feature"]
    )


def feature_ids(text: str) -> frozenset[str]:
    """Read a list of features, separated by commas.

    Raises:
        ValueError: a name is not that of a feature.
    """
    known = [each.id for each in features()]
    wanted = {name.strip() for name in text.split(",")} - {""}
    unknown = sorted(wanted - set(known))
    if unknown:
        raise ValueError(f"there is no feature {', '.join(unknown)}; there are {', '.join(known)}")
    return frozenset(wanted)


def features_listed(text: str) -> frozenset[str]:
    """Read a list of features, or ``all``, as the command line has it.

    Raises:
        ValueError: a name is not that of a feature.
    """
    if text.strip() == "all":
        return frozenset(each.id for each in features())
    return feature_ids(text)


def needed(case: Case) -> frozenset[str]:
    """Give the features that a case needs, by its headers, paths and frames.

    A case for a client needs none: the driver reports which operations the client lacks.
    """
    if case.role != "server":
        return frozenset()
    events, namespaces, others = set[str](), set[str](), set[str]()
    endpoints, headers = set[str](), set[str]()
    for step in case.steps:
        path, wanted = named(step)
        endpoints.add(path.partition("?")[0])
        headers |= wanted.keys()
        if URL_HEADER in unquote(path).lower():
            others.add("url-headers")
        if step.verb not in MESSAGE_VERBS:
            continue
        payload = step.payloads()
        whole = b"".join(payload) if isinstance(payload, list) else payload
        if step.verb.endswith("b") and whole:
            others.add("binary")
        message = frame_of(whole)
        if message is None:
            continue
        events.add(message.event)
        namespaces.add(message.namespace)
        if message.room or CHANGE_OF.get(message.event) in (Change.JOIN, Change.LEAVE):
            others.add("rooms")
    return frozenset(others) | {
        each.id
        for each in features()
        if not events.isdisjoint(each.events)
        or not namespaces.isdisjoint(each.namespaces)
        or not endpoints.isdisjoint(each.endpoints)
        or not headers.isdisjoint(each.headers)
    }


URL_HEADER: Final = "x-websocket-header-"
"""The beginning of a query parameter that stands for a header (TR-8), in lower case."""
