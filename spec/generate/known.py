"""The matrix, the known failures and the mutants: results for tested implementations and the suite.

All of it is what the last recorded runs found.
"""

from __future__ import annotations

import html
import json
import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from generate import cases
from generate.text import cell, count, of_peer, one_line, table, verbatim
from mutation import BANK
from mutation.generated.score import PUBLISHED
from mutation.kill_matrix import IN, Killed, Kills, read_report
from neffos_conformance import VERSION
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.codecs.catalogue import EVERY_ROLE
from neffos_conformance.interop.interop_runs import interop_steps
from neffos_conformance.interop.table import recorded, verdict_counts

KNOWN_FAILURES: Final = Path(__file__).parents[2] / "conformance" / "peers" / "known_failures"

SURVIVORS: Final = PUBLISHED.with_name("survivors.toml")

SHOWN: Final = 12
"""Cases of a mutant that are named; the report of the run contains all."""


def matrix() -> str:
    """Write the table of clients and servers as HTML, the clients with the most failures first."""
    values = recorded()
    runs = {(each["client"], each["server"]): each for each in values["runs"]}
    lines = []
    for client in values["clients"]:
        of_client = [runs.get((client, server), {}) for server in values["servers"]]
        failed = sum(len(each.get("failed", ())) for each in of_client)
        cells = "".join(_cell(each, values["ran"]["steps"]) for each in of_client)
        lines.append((-failed, f'<tr><th scope="row">{_parted(client)}</th>{cells}</tr>'))
    heads = "".join(f'<th scope="col">{_parted(each)}</th>' for each in values["servers"])
    rows = "\n".join(line for _, line in sorted(lines, key=lambda each: each[0]))
    return (
        '<div class="wide" tabindex="0" role="group" aria-label="Compatibility matrix">\n'
        f'<table class="matrix"><thead><tr><th scope="col">client</th>{heads}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody></table>\n</div>"
    )


def _cell(run: Mapping[str, Any], steps: int) -> str:
    possible = steps - len(run.get("unsupported", ()))
    if failed := len(run.get("failed", ())):
        return f'<td class="bad">✗ {possible - failed}/{possible}</td>'
    return f'<td class="good">✓ {possible}/{possible}</td>'


def _parted(name: str) -> str:
    """Give a name that a browser may break after its slash or hyphen."""
    return re.sub(r"(?<=[/-])(?=[a-z])", "<wbr>", html.escape(name))


def _name(name: str) -> str:
    return f"`{name}`"


@cache
def interop_failures() -> Mapping[tuple[str, str], str]:
    """Give the reason why a client fails a step, by the client and the step."""
    entries = tomllib.loads((KNOWN_FAILURES / "interop.toml").read_text("utf-8"))["known_failure"]
    return {
        (peer, step): one_line(each["reason"])
        for each in entries
        for peer in each["peers"]
        for step in each["steps"]
    }


def failed_steps() -> str:
    """Write the failures of interop steps, once for each reason."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for run in recorded()["runs"]:
        for step in run["failed"]:
            reason = interop_failures()[run["client"], step]
            found.setdefault((step, reason), {})[run["client"]] = None
    about = {each.name: each.about for each in interop_steps()}
    lines = (
        (verbatim(about[step]), ", ".join(map(_name, sorted(clients))), cell(reason))
        for (step, reason), clients in found.items()
    )
    return table(("step", "clients that fail it with every server", "what goes wrong"), lines)


def tested(kind: str) -> str:
    """Write what the suite found of all servers, or all clients.

    Args:
        kind: ``servers`` or ``clients``.
    """
    lines = []
    for name, values in recorded()[kind].items():
        if "failed" in values:
            found = verdict_counts(recorded(), kind, name)
            counts = (str(found.get(each, 0) or "") for each in Verdict)
            lines.append((_name(name), of_peer(values["version"]), *counts))
    return table((kind[:-1], "version", *Verdict), lines, numbers=len(Verdict))


def version() -> str:
    """Give the version of the specification, which is that of the package."""
    return VERSION


def measured() -> str:
    """Give the day of the recorded run."""
    return str(recorded()["recorded"])


def about() -> list[str]:
    """Give version and date of the specification."""
    return [f"Version {version()}", f"Measurements of {measured()}"]


def recorded_on() -> str:
    """Give the day of the recorded run, and the version of the suite."""
    values = recorded()
    return f"{values['recorded']}, with version {values['suite']} of the suite"


@cache
def _files() -> Mapping[str, Sequence[dict[str, Any]]]:
    return {
        path.name: tomllib.loads(path.read_text("utf-8"))["known_failure"]
        for path in sorted(KNOWN_FAILURES.glob("*.toml"))
        if path.name != "interop.toml"
    }


@cache
def known_cases(difference: str) -> frozenset[str]:
    """Give the IDs of the cases that show a difference."""
    entries = (each for found in _files().values() for each in found)
    return frozenset(id_ for each in entries if each["link"] == difference for id_ in each["cases"])


def known_failures(root: str) -> str:
    """Write what every file of known failures holds.

    Args:
        root: the way from the page to the top of the site.
    """
    return "\n\n".join(_known_failures(root, name, entries) for name, entries in _files().items())


def _known_failures(root: str, name: str, entries: Sequence[dict[str, Any]]) -> str:
    alike: dict[tuple[str, str, str], list[str]] = {}
    for entry in entries:
        key = (entry["verdict"], entry["reason"], entry["link"])
        alike.setdefault(key, []).extend(entry["cases"])
    lines = []
    for (verdict, reason, link), ids in alike.items():
        shown = link if link.startswith("DV-") else f"[source]({link})"
        every = ", ".join(_case(root, id_) for id_ in dict.fromkeys(ids))
        lines.append((every, verdict, f"{of_peer(reason)} ({shown})"))
    return f"### {name}\n\n{table(('cases', 'verdict', 'why'), lines)}"


def _case(root: str, id_: str) -> str:
    page = cases.pages().get(id_)
    return f"[{id_}]({root}{page}#{id_}){{.ref}}" if page else f"`{id_}`"


def mutants(root: str) -> str:
    """Write the kill matrix of the last run: each mutant, what it violates, which cases kill it."""
    kills = read_report()
    return "\n\n".join([_run(kills), *(_mutants(root, role, kills) for role in EVERY_ROLE)])


def _run(kills: Kills) -> str:
    """Say what the last run covered."""
    faulty = {name for name, mutant in BANK.items() if mutant.breaks}
    complete = {name for name, killed in kills.items() if killed.is_complete} & faulty
    if not kills:
        return (
            "These pages were built without a run, so no killing cases are named. "
            "`make kills` runs the cases, and `make site` then adds them."
        )
    shown = f"At most {SHOWN} killing cases are named; `reports/kills.json` contains all of them."
    if complete == faulty:
        return f"The last run is complete: every case ran against every mutant. {shown}"
    return (
        f"In the last run, every case ran against {len(complete)} of {len(faulty)} mutants. The "
        "others are marked *sample*: the cases of the requirement that each violates ran against "
        f"them, and a sample of the others against the proofs. {shown} "
        "For the complete matrix, run `make kills`, and build the site again."
    )


def _mutants(root: str, role: str, kills: Kills) -> str:
    lines = (
        (mutant.breaks, verbatim(mutant.about), _killed(root, kills.get(name)))
        for name, mutant in sorted(BANK.items(), key=lambda item: (_place(item[1].breaks), item[0]))
        if mutant.role == role and mutant.breaks
    )
    parts = [f"## Mutants: {role}", table(("violates", "what it does", "killed by"), lines)]
    benign = [mutant for mutant in BANK.values() if mutant.role == role and not mutant.breaks]
    if benign:
        parts.append(f"Benign variants of a {role}, which pass every case:")
        parts.append("\n".join(f"- {verbatim(mutant.about)}" for mutant in benign))
    return "\n\n".join(parts)


def _killed(root: str, killed: Killed | None) -> str:
    if killed is None:
        return "not run"
    ids = sorted(killed.cases)
    parts = (id_.rpartition(IN) for id_ in ids[:SHOWN])
    shown = ", ".join(f"{finding}{within}{_case(root, id_)}" for finding, within, id_ in parts)
    more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
    return f"{shown}{more}{'' if killed.is_complete else ' (*sample*)'}"


def _place(requirement: str) -> tuple[str, int]:
    family, _, number = requirement.partition("-")
    return family, int(number or 0)


def mutant_counts() -> str:
    """Say how many mutants there are, by role."""
    counts = Counter(mutant.role for mutant in BANK.values() if mutant.breaks)
    return ", ".join(count(counts[role], f"{role} mutant") for role in EVERY_ROLE)


# -------------------------------------------------------------------- generated mutants

PEERS_OF: Final = {
    "server": "servers",
    "client": "clients",
    "codec": "codecs",
    "transport": "networks (HTTP and WebSocket)",
}


@cache
def _published() -> dict[str, Any]:
    values: dict[str, Any] = json.loads(PUBLISHED.read_text("utf-8"))
    return {role: values[role] for role in PEERS_OF if role in values}


def mutation_scores() -> str:
    """Write the mutation score of each sample, with its interval."""
    rows = [
        (
            PEERS_OF[role],
            _share(each),
            f"{each['usual']:.1%}",
            *(str(each[name]) for name in ("killed", "survived", "undecided", "idle", "seed")),
        )
        for role, each in _published().items()
    ]
    head = ("faulty", "score", "usual run", "killed", "survived", "undecided", "idle", "seed")
    return table(head, rows)


def mutation_sorts() -> str:
    """Write the score of each sort of faults in servers and clients."""
    names = list(dict.fromkeys(name for each in _published().values() for name in each["sorts"]))
    rows = []
    for name in names:
        cells = [each["sorts"].get(name) for each in _published().values()]
        shown = ["" if cell is None else _share(cell) for cell in cells]
        rows.append((name, *shown))
    return table(("fault in", *(PEERS_OF[role] for role in _published())), rows)


def mutation_survivors() -> str:
    """Write what the survivors violate, and when."""
    rows = []
    for role, each in _published().items():
        counts = (
            ", ".join(f"{label} {number}" for label, number in sorted(found.items()))
            for found in (each["survivors"]["requirement"], each["survivors"]["trigger"])
        )
        rows.append((PEERS_OF[role], *(cell or "none" for cell in counts)))
    return table(("faulty", "survivors by requirement", "by trigger"), rows)


def mutation_undecided() -> str:
    """Write how many mutants of each operator are undecided, for the roles that have such."""
    families = {role: each["families"] for role, each in _published().items() if each["undecided"]}
    names = dict.fromkeys(name for each in families.values() for name in sorted(each))
    rows = []
    for name in names:
        cells = [each.get(name) for each in families.values()]
        if any(cell and cell["undecided"] for cell in cells):
            shown = [f"{cell['undecided']} of {cell['drawn']}" if cell else "" for cell in cells]
            rows.append((name, *shown))
    return table(("operator", *(PEERS_OF[role] for role in families)), rows)


def mutation_survivors_by_name() -> str:
    """Write each survivor in a server, a client or a codec, and why nothing kills it."""
    rows = [(f"`{name}`", survivors()[name]) for name in named_survivors()]
    return table(("survivor", "why"), rows)


def named_survivors() -> list[str]:
    """Give the published survivors but those of the transport, where the library has the fault."""
    published = _published().items()
    return [name for role, each in published if role != "transport" for name in each["names"]]


@cache
def survivors() -> dict[str, str]:
    """Give the reason for each survivor, by its name."""
    rows = tomllib.loads(SURVIVORS.read_text("utf-8"))["survivor"]
    return {name: each["why"] for each in rows for name in each["names"]}


def _share(values: Mapping[str, Any]) -> str:
    low, high = values["interval"]
    return f"{values['score']:.1%} ({low:.1%} to {high:.1%})"
