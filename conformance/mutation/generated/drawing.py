"""What an oracle draws for a mutant: conversations in which its trigger is likely to be met.

A trigger says which dimensions matter, and nothing here knows what the suite's cases do.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from mutation.generated.messages import MessageMutant
from mutation.generated.parts import Condition
from mutation.generated.triggers import ALL, CLASSES
from mutation.hooks import CONNECT, DISCONNECT, JOIN, LEAVE
from neffos_conformance.model_based.actions import ActionSequence
from neffos_conformance.model_based.draws import CLIENT, SERVER, Draws
from neffos_conformance.model_based.generator import SequenceGenerator
from neffos_protocol import Role
from neffos_protocol.names import NATIVE_EVENT

STEPS: Final = 30
"""Actions of a conversation; more where a trigger counts that far."""

BODIES: Final = {
    "edge-space": " t{} edge ",
    "newline": "t{}\r\nlines\n",
    "number": "00{}",
    "dunder": "__proto__ t{}",
}
"""The bodies of some classes; those of others begin with the sample of their class."""

HASTE: Final = (0.5, 0.8)
"""The shares of messages without a barrier after them, where a fault sends or handles them late:
the barrier alone would be no other than the next message."""

RESERVED: Final = (NATIVE_EVENT, "_onNamespaceDisconnect")
"""Events with a name like those of system events, of which a client's application hears."""

ANSWERS: Final = {"empty": "done", "reply": "body", "error": "error"}
"""The way of answering by which a peer receives a reply of each kind."""

FRAMES: Final = ("ask", "event", "answer", "command-ask", "command-event")
"""The actions of conversations with a client by which frames are sent."""

FREQUENT: Final = 4
"""How many times as often something is drawn that a trigger is about."""


def steps_of(mutant: MessageMutant) -> int:
    """Say how many actions a conversation needs for a trigger."""
    names = {each.name for each in mutant.conditions}
    if names & {"100th", "pending-100"}:
        return 400
    return 120 if names & {"after-100", "20th"} else STEPS


def conversation(mutant: MessageMutant, seed: int, index: int) -> ActionSequence:
    """Generate a conversation for a mutant; every third is drawn as for any peer."""
    role = Role(mutant.role)
    draws = None if index % 3 == 2 else draws_for(mutant)
    name = f"{mutant.name}/{seed}/{index}"
    return SequenceGenerator(role, name, None, draws).make(steps_of(mutant))


def draws_for(mutant: MessageMutant) -> Draws:
    """Give what is drawn for a mutant."""
    draws = CLIENT if mutant.role == "client" else SERVER
    for each in _needed(mutant):
        draws = _with(draws, each, mutant)
    actions = {**draws.actions}
    if mutant.operator.family == "other connection":
        actions["connection"] *= FREQUENT
    if mutant.kind == "handshake":
        actions["connection"] *= 3 * FREQUENT
    if mutant.kind in ("native", "handshake"):
        # What begins like a handshake message is native once the connection is open.
        draws = replace(draws, native=(0.5, 0.4) if mutant.kind == "native" else (0.2, 0.2))
        actions["non-frame"] *= FREQUENT
        if mutant.role == "client":
            draws = replace(draws, main="")
            actions |= {name: actions[name] / FREQUENT for name in FRAMES}
    if mutant.family == "delay":
        # The operation of a client may fail where its reply is followed by a disconnect.
        is_hasty = mutant.role == "server" or mutant.kind in ("native", "handshake")
        draws = replace(draws, haste=HASTE, hasty=HASTE[0] if is_hasty else 0.0)
        if mutant.kind not in ("native", "handshake"):
            actions["event"] *= FREQUENT
    if mutant.family == "membership":
        draws = replace(draws, probed=("app", "any"))
    if mutant.kind == "error":
        draws = replace(draws, events={**draws.events, "fail": 60})
    if mutant.kind == "event":
        shown = dict.fromkeys(("push", "broadcast-others", "broadcast-room", "broadcast-all"), 20.0)
        draws = replace(draws, tokens=0.3)
        if mutant.role == "server":
            draws = replace(draws, events={**draws.events, **shown})
            actions["connection"] *= FREQUENT
    if mutant.kind in ANSWERS and not mutant.operator.is_sent:
        draws = replace(draws, answers={**draws.answers, ANSWERS[mutant.kind]: 200.0})
        if mutant.role == "client":
            actions["command-event"] *= FREQUENT
    if mutant.kind in ("ask", "reply") and draws.events is not None:
        actions["event"] *= 2
    if steps_of(mutant) > STEPS:
        actions["end"] /= 50  # a long conversation is not to end early
    is_servers = mutant.operator.is_sent is (mutant.kind in ("ask", "system"))
    if is_servers and mutant.role == "server" and mutant.kind not in ("event", "native"):
        actions["provoke"] *= FREQUENT
    return replace(draws, actions=actions, first=_first(mutant))


def _needed(mutant: MessageMutant) -> list[Condition]:
    """Give the conditions of a trigger, and that of the values that its operator changes."""
    needs = ALL.get(f"{mutant.operator.field}-{mutant.operator.needs}")
    return [*mutant.conditions, *([needs] if mutant.operator.needs and needs else [])]


def _first(mutant: MessageMutant) -> list[tuple[str, str, str]]:
    """Give the asks that lead to what a trigger is about."""
    names = {each.name for each in mutant.conditions}
    special = [
        each.sample or "r" * each.size
        for each in _needed(mutant)
        if each.dimension in ("room characters", "room size")
    ]
    room = special[0] if special else "r1"
    is_odd = any(each.name == "namespace-semicolon" for each in _needed(mutant))
    app, other = ("semi;colon", "app") if is_odd else ("app", "semi;colon")
    asks = [(CONNECT, app, "")]
    if names & {"two-namespaces", "many-namespaces", "same-room"}:
        asks.append((CONNECT, "any", ""))
    if "many-namespaces" in names:
        asks.append((CONNECT, other, ""))
    if "after-disconnect" in names:
        asks += [(JOIN, app, room), (DISCONNECT, app, ""), (CONNECT, app, "")]
    needs_room = {"room", "one-room", "two-rooms", "many-rooms", "same-room", "after-leave"}
    if names & needs_room or special or mutant.operator.field == "room":
        asks.append((JOIN, app, room))
    if names & {"two-rooms", "many-rooms"}:
        asks.append((JOIN, app, "r2"))
    if "many-rooms" in names:
        asks.append((JOIN, app, "r3"))
    if "same-room" in names:
        asks.append((JOIN, "any", room))
    if "after-leave" in names:
        asks += [(LEAVE, app, room), (JOIN, app, room)]
    if "after-refusal" in names and mutant.role == "client":
        asks += [(CONNECT, "unwanted", "")] * 2
    elif "after-refusal" in names:  # both stay in what they cannot leave
        asks += [(CONNECT, "sticky", ""), (DISCONNECT, "sticky", "")]
        asks += [(JOIN, "app", "sticky"), (LEAVE, "app", "sticky")]
    if mutant.kind == "native" and mutant.role == "client":
        return [(CONNECT, "", "")]
    return asks if len(asks) > 1 else []


def _with(draws: Draws, condition: Condition, mutant: MessageMutant) -> Draws:
    name, label = condition.dimension, condition.name
    actions = {**draws.actions}
    given: dict[str, Any] = {}
    if name in ("body characters", "body size"):
        bodies = _bodies(condition)
        if mutant.kind == "reply" and not mutant.operator.is_sent:
            given["answered"] = bodies
            given["answers"] = {**draws.answers, "body": 200.0}
        others = [each for each in draws.bodies if isinstance(each, bytes)]
        is_binary = any(each.name == "binary" for each in mutant.conditions)
        if is_binary:
            bodies = [each.encode() if isinstance(each, str) else each for each in bodies]
        given["bodies"] = (*bodies, *bodies, *others[:1], "t{}")
    elif label == "reserved":
        given["events"] = {**draws.events, **dict.fromkeys(RESERVED, 30.0)}
        given["main"] = ""
    elif label == "binary":
        binary = [each for each in draws.bodies if isinstance(each, bytes)]
        given["bodies"] = (*binary, "t{}")
    elif name in ("room characters", "room size"):
        room = condition.sample or "r" * condition.size
        given["rooms"] = (room, room, f"{room}2" if condition.sample else "r1")
    elif name in ("event characters", "event size"):
        event = condition.sample or "e" * condition.size
        given["events"] = {**draws.events, event: 60.0}
        given["commanded"] = (event,) * 12
        is_shown = label == "event-semicolon" and mutant.operator.field == "body"
        given["main"] = "semi;colon" if is_shown and mutant.role == "server" else "any"
    elif name == "namespace characters":
        namespace = {"semicolon": "semi;colon", "upper": "App"}.get(label.split("-", 1)[1], " app")
        given["namespaces"] = (namespace, "any", "nowhere")
        given["main"] = namespace
        if namespace != "semi;colon":
            given |= {"namespaces": (namespace,) * 3, "main": "app"}
            actions["event"] *= FREQUENT
    elif name == "token":
        given["marks"], given["marked"] = (condition.sample,), 0.6
    elif name == "flags":
        is_error = label == "error-flag"
        given["flagged"] = (0.6, 0.0) if is_error else (0.0, 0.6)
        given["odd_asks"] = 0.7
    elif name == "pending":
        actions["provoke" if mutant.role == "server" else "command-event"] *= 2 * FREQUENT
        actions["answer"] /= FREQUENT
        if label == "pending-100":
            actions["provoke" if mutant.role == "server" else "command-event"] *= FREQUENT
            actions["answer"] /= FREQUENT
    elif name in ("history", "rooms", "namespaces", "membership", "room"):
        if name not in ("rooms", "namespaces"):  # those come first, and are to stay
            actions["ask"] *= 2
            if "command-ask" in actions:
                actions["command-ask"] *= 2
        given["namespaces"] = ("app", "any", "semi;colon")
        if label == "after-refusal" and mutant.role == "server":
            given["rooms"] = ("locked", "r1", "sticky")
            given["namespaces"] = ("refused", "app", "sticky")
        elif label == "after-refusal":
            given["rooms"] = ("unwanted", "lobby", "hall")
            given["namespaces"] = ("unwanted", "app", "any")
    elif name == "connection":
        actions["connection"] *= FREQUENT
    given["actions"] = actions
    return replace(draws, **given)


def _bodies(condition: Condition) -> list[Any]:
    if condition.dimension == "body size":
        size = max(0, condition.size)
        return [f"t{{}} ...{size}" if size > 3 else "xy"[:size]]
    label = condition.name.removeprefix("body-")
    return [BODIES.get(label, f"{CLASSES[label][0]} t{{}}")]
