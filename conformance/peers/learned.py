"""Learns the machines of the tested implementations: ``make learn``.

It builds the peers beside this file, learns the machines of every server and every client with
``neffos-wire learn``, and compares them with those in ``machines/``, which the site shows. An
unexplained transition is an error, and so is a machine that is not the recorded one.

``--share`` learns one server and one client, for CI; the seed chooses them. ``--record`` writes
``machines/``. A machine that is unknown, because the peer answered one word differently, is no
difference: the next run may know it.

Exit status: 0 as recorded; 1 different or unexplained; 2 usage error; 4 a toolchain is missing.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import starmap
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
from rich.console import Console

from neffos_conformance.codecs.catalogue import seed_of_cases
from neffos_conformance.learning.alphabet import Scene
from neffos_conformance.learning.learner import Learned
from neffos_conformance.learning.lesson import Lesson, compare, scenes_of
from neffos_conformance.learning.machine import machine_from
from neffos_conformance.learning.specified import specification
from neffos_conformance.wire.subprocesses import running
from neffos_conformance.wire.waiting import at_most
from neffos_protocol import Role
from peers.implementations import (
    HERE,
    PEERS,
    REFERENCE,
    ROOT,
    Implementation,
    ToolchainError,
    built,
)
from peers.templates import java_command, rust_command, script_command

MACHINES: Final = HERE / "machines"
"""The recorded machines: a file for each system, by its role and name."""

FORMAT: Final = 1

INLINE: Final = 2
"""Levels of JSON on one line: a state, or a transition."""

SECONDS: Final = 900.0
"""Time limit for one system: it takes one minute on an idle machine, and must not fail on a busy
one."""

AT_ONCE: Final = 2
"""Systems that are learned concurrently: each keeps half a processor busy."""

SERVERS: Final = {
    "neffos-go": ("gorilla", "gobwas", "iris"),
    "neffos-go-next": ("gorilla", "gobwas"),
    "neffos-wire": ("reference",),
    "template-python": ("template",),
    "template-javascript": ("template",),
}
"""The servers that are learned, and their endpoints. Others of Go's are the same library on another
WebSocket implementation or router."""

LANGUAGES: Final = ("python", "javascript", "rust", "java")

CLIENTS: Final = {
    "neffos-go": ("neffos-go-gorilla", "neffos-go-gobwas"),
    "neffos-go-next": ("neffos-go-next-gorilla", "neffos-go-next-gobwas"),
    "neffos.js": ("neffos.js",),
    "neffos-wire": ("neffos-wire",),
    **{
        name: (name,)
        for name in map("template-{}".format, ("python", "javascript", "rust", "java"))
    },
}
"""The clients that are learned, likewise. In a browser neffos.js is the same library."""

BY_HAND: Final = ("neffos-go", "neffos-go-next", "neffos.js")
"""The implementations whose clients are in no share: some words stop their reading, and each of
those costs seconds."""

console = Console(soft_wrap=True, markup=False, highlight=False)


class System(NamedTuple):
    """A system that is learned.

    Attributes:
        role: what it is.
        peer: the implementation.
        part: the endpoint of a server, or the name of a client.
    """

    role: Role
    peer: str
    part: str

    @property
    def name(self) -> str:
        """Its name in ``machines``."""
        if self.role is Role.CLIENT:
            return self.part
        return self.peer if len(SERVERS[self.peer]) == 1 else f"{self.peer}-{self.part}"

    def __str__(self) -> str:
        return f"{self.role}-{self.name}"


SYSTEMS: Final = tuple(
    System(role, peer, part)
    for role, peers in ((Role.SERVER, SERVERS), (Role.CLIENT, CLIENTS))
    for peer, parts in peers.items()
    for part in parts
)


def template(peer: str) -> Implementation:
    """Give a template as an implementation, built.

    Raises:
        ToolchainError: a program that it needs is missing.
    """
    language = peer.removeprefix("template-")
    if language == "rust":
        return Implementation(None, clients={peer: rust_command()})
    if language == "java":
        return Implementation(None, clients={peer: java_command("Driver")})
    server, driver = (script_command(language, each) for each in ("server", "driver"))
    return Implementation(None, server, {peer: driver})


@click.command()
@click.option("--share", is_flag=True, help="Learn one server and one client.")
@click.option(
    "--seed", type=click.IntRange(min=0), help="Seed of --share [default: by what all cases do]."
)
@click.option("--record", is_flag=True, help="Write the machines.")
@click.option("--only", "names", multiple=True, help="Learn only this peer.")
@click.option("--explain", is_flag=True, help="Explain the recorded machines again; learn none.")
def main(
    share: bool, seed: int | None, record: bool, names: tuple[str, ...], explain: bool
) -> None:
    """Learn the machines of the tested implementations."""
    if explain:
        sys.exit(any([explained(name, values) for name, values in recorded().items()]))  # noqa: C419
    systems = [each for each in SYSTEMS if not names or {each.peer, each.name} & {*names}]
    if share:
        seed = seed_of_cases() if seed is None else seed
        console.print(f"one server and one client. Try: --share --seed {seed} for the same")
        systems = chosen(systems, seed)
    with ExitStack() as servers:
        commands = dict(all_commands(systems, servers))
        is_wrong = asyncio.run(learn_all(commands, record=record))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    console.print(f"processor time of all: {used.ru_utime + used.ru_stime:.0f} s")
    sys.exit(is_wrong)


def all_commands(
    systems: Sequence[System], servers: ExitStack
) -> Iterator[tuple[System, list[str]]]:
    """Build the peers, start the servers, and give the arguments of ``neffos-wire learn``."""
    wanted = dict.fromkeys(each.peer for each in systems)
    peers = dict(built([each for each in wanted if each in PEERS])) if {*wanted} & {*PEERS} else {}
    for name in wanted.keys() - peers.keys():
        try:
            peers[name] = template(name)
        except ToolchainError as error:
            console.print(f"{name} is left out: {error.message}")
    endpoints: dict[str, dict[str, str]] = {}
    for system in systems:
        peer = peers.get(system.peer)
        if peer is None:
            continue
        if system.role is Role.CLIENT:
            yield system, ["--client", *peer.clients[system.part]]
            continue
        if system.peer not in endpoints and peer.server is not None:
            endpoints[system.peer] = servers.enter_context(running(peer.server))["endpoints"]
        yield system, [endpoints[system.peer][system.part]]


def chosen(systems: Sequence[System], seed: int) -> list[System]:
    """Choose one server and one client, others with another seed."""
    chance = random.Random(seed)  # noqa: S311  # no secret
    quick = [each for each in systems if each.role is Role.SERVER or each.peer not in BY_HAND]
    there = ([each for each in quick if each.role is role] for role in Role)
    return [chance.choice(each) for each in there if each]


async def learn_all(commands: Mapping[System, Sequence[str]], *, record: bool) -> bool:
    """Learn some at a time, and record or compare each; say whether something is wrong."""

    async def learn(system: System, arguments: Sequence[str]) -> bool:
        folder = ROOT / "reports" / "learned" / str(system)
        own = ["--json", "--seconds", str(SECONDS), "--save-recordings", str(folder)]
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            REFERENCE, "learn", *own, *arguments, stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await process.communicate()
        seconds = time.monotonic() - began
        found = json.loads(printed) if printed else {"machines": [], "peer": {}}
        words = sum(each["words"] for each in found["machines"])
        console.print(f"{system}: exit status {process.returncode}, {words} words, {seconds:.0f} s")
        return keep(system, found, record=record)

    return any(await asyncio.gather(*starmap(at_most(AT_ONCE, learn), commands.items())))


def keep(system: System, found: dict[str, Any], *, record: bool) -> bool:
    """Record what was learned, or compare it with what was; say whether something is wrong."""
    path = MACHINES / f"{system}.json"
    machines = [recorded_machine(each) for each in found["machines"]]
    wrong = [
        f"{each['scene']}, in [{one['state']}], {one['input']}: unexplained, see {one['recording']}"
        for each in found["machines"]
        for one in each["differing"]
        if not one["explanation"]
    ]
    if not machines:
        wrong.append("nothing was learned")
    before = json.loads(path.read_text("utf-8"))["machines"] if path.exists() else []
    if record:
        scenes = {each["scene"]: each for each in before}
        known = [scenes.get(each["scene"], each) if each["unknown"] else each for each in machines]
        values = {
            "format": FORMAT,
            "peer": found["peer"],
            "role": str(system.role),
            "machines": known,
        }
        path.parent.mkdir(exist_ok=True)
        path.write_text(_compact(values) + "\n", "utf-8")
    else:
        scenes = {each["scene"]: each for each in before}
        for each in machines:
            if each["unknown"]:
                console.print(f"{system}: {each['scene']} is unknown: {each['unknown']}")
            elif scenes.get(each["scene"]) != each:
                wrong.append(f"{each['scene']}: not the machine in {path.relative_to(ROOT)}")
    for text in wrong:
        console.print(f"{system}: {text}")
    return bool(wrong)


def recorded_machine(learned: dict[str, Any]) -> dict[str, Any]:
    """Give what is recorded of a machine; one that is the specification's needs no copy."""
    is_same = not learned["unknown"] and not learned["differing"]
    return {
        "scene": learned["scene"],
        "unknown": learned["unknown"],
        "states": learned["states"],
        "machine": None if is_same else learned["machine"],
        "differing": [
            {name: value for name, value in each.items() if name not in ("way", "recording")}
            for each in learned["differing"]
        ],
    }


def explained(name: str, values: dict[str, Any]) -> bool:
    """Explain the recorded machines of a system again; say whether a transition is unexplained."""
    lessons = {each.scene: each for each in scenes_of(Role(values["role"]), None)}
    wrong = False
    for each in values["machines"]:
        if each["machine"] is None:
            continue
        machine = machine_from(each["machine"])
        whole = lessons[Scene(each["scene"])]
        inputs = [one for one in whole.inputs if one.name in machine.alphabet]
        specified = specification(whole.role, whole.scene, inputs)
        lesson = Lesson(whole.role, whole.scene, inputs, specified, Learned(machine, 0, 0, 0))
        compare(lesson)
        each.update(recorded_machine(lesson.values()))
        for one in lesson.differing:
            if one.explanation is None:
                wrong = True
                at = f"in [{lesson.names()[one.found.state]}], {one.found.input}"
                console.print(f"{name}: {lesson.scene}, {at}: unexplained, {one.requirement}")
    (MACHINES / f"{name}.json").write_text(_compact(values) + "\n", "utf-8")
    return wrong


def _compact(value: Any) -> str:
    """Give JSON with a line for each state and each transition, so that changes can be read."""
    if _height(value) <= INLINE:
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        lines = [f"{json.dumps(key)}: {_compact(each)}" for key, each in value.items()]
    else:
        lines = [_compact(each) for each in value]
    text = ",\n".join(lines)
    return f"{{\n{text}\n}}" if isinstance(value, dict) else f"[\n{text}\n]"


def _height(value: Any) -> int:
    """Say how many levels of objects and arrays a value has."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_height, inner), default=0) if isinstance(value, dict | list) else 0


def recorded() -> dict[str, dict[str, Any]]:
    """Give the recorded machines of each system, by the names of their files."""
    return {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(MACHINES.iterdir())}


if __name__ == "__main__":
    os.chdir(Path(ROOT) / "conformance")
    main()
