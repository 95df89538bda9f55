"""The mutation score of a sample, with its interval, and what is published of it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice
from math import sqrt
from pathlib import Path
from typing import Any, Final

from mutation.generated import messages
from mutation.generated.codecs import CodecMutant, codec_mutant_of, count_of_codecs, drawn_codecs
from mutation.generated.evaluation import (
    IDLE,
    KILLED,
    SURVIVED,
    UNDECIDED,
    MutantFate,
    evaluated,
    prepare,
)
from mutation.generated.messages import MessageMutant
from mutation.generated.sorts import SORTS, sorts_of
from mutation.generated.transport import (
    TransportMutant,
    all_transports,
    drawn_transports,
    transport_mutant_of,
)

ROOT: Final = Path(__file__).parents[3]

REPORTS: Final = ROOT / "reports"
"""Where journals and the report are, which are not committed."""

FLOOR: Final = Path(__file__).with_name("score.toml")
"""The committed figures of the share that CI runs."""

PUBLISHED: Final = Path(__file__).with_name("published.json")
"""The committed figures of whole samples, which the site shows."""

FORMAT: Final = 1
"""The format of the report."""

CONFIDENCE: Final = 1.96
"""Standard deviations on both sides of the score: 95 %."""


def wilson(hits: int, total: int) -> tuple[float, float]:
    """Give the interval of a share, by Wilson's formula."""
    if not total:
        return 0.0, 1.0
    share, z = hits / total, CONFIDENCE
    middle = share + z * z / (2 * total)
    width = z * sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, (middle - width) / scale), min(1.0, (middle + width) / scale)


def versions() -> str:
    """Give a hash of everything that a result depends on."""
    whole = hashlib.sha256()
    folders = ("codec/neffos_codec", "protocol/neffos_protocol", "protocol/neffos_asyncio")
    for folder in (*folders, "conformance/neffos_conformance", "conformance/mutation"):
        for path in sorted((ROOT / folder).rglob("*")):
            is_result = path in (FLOOR, PUBLISHED)
            if path.is_file() and path.suffix != ".pyc" and not is_result:
                whole.update(path.read_bytes())
    return whole.hexdigest()[:12]


def journal(role: str, seed: int, *, is_thorough: bool = False) -> Path:
    """Give the file in which a sample's results are noted, so that it can be continued."""
    how = "-thorough" if is_thorough else ""
    return REPORTS / f"mutation-{role}-{seed}{how}-{versions()}.jsonl"


def read(path: Path) -> dict[str, MutantFate]:
    """Read a journal; a last line that was cut off is left out."""
    found = {}
    for line in path.read_text("utf-8").splitlines() if path.exists() else ():
        try:
            outcome = MutantFate(**json.loads(line))
        except ValueError:
            continue
        found[outcome.name] = outcome
    return found


AnyMutant = MessageMutant | CodecMutant | TransportMutant


def drawn(role: str, seed: int) -> Iterator[AnyMutant]:
    """Draw the mutants of a role, without end and none twice."""
    if role == "codec":
        return drawn_codecs(seed)
    if role == "transport":
        return drawn_transports(seed)
    return messages.drawn("server" if role == "server" else "client", seed)


def mutant_of(name: str) -> AnyMutant:
    """Make the mutant that has a name.

    Raises:
        ValueError: none has it.
    """
    make: dict[str, Callable[[str], AnyMutant]]
    make = {"codec": codec_mutant_of, "transport": transport_mutant_of}
    return make.get(name.partition(":")[0], messages.mutant_of)(name)


def count(role: str) -> int:
    """Say how many mutants of a role have one condition at most."""
    if role == "codec":
        return count_of_codecs()
    if role == "transport":
        return sum(len(each.conditions) < 2 for each in all_transports())
    return messages.count("server" if role == "server" else "client")


def run(
    role: str, seed: int, size: int, jobs: int, path: Path, *, is_thorough: bool = False
) -> Iterator[MutantFate]:
    """Evaluate a sample, and note each result; those that a journal has are not run again."""
    names = [each.name for each in islice(drawn(role, seed), size)]
    known = read(path)
    yield from (known[name] for name in names if name in known)
    left = [name for name in names if name not in known]
    path.parent.mkdir(parents=True, exist_ok=True)
    if left:
        with ProcessPoolExecutor(jobs) as pool:
            prepare(role, pool.map, is_thorough=is_thorough)
    # What was cut off at the end goes: the file is written again.
    with path.open("w", encoding="utf-8") as out, ProcessPoolExecutor(jobs) as pool:
        for outcome in known.values():
            out.write(json.dumps(outcome.values(), ensure_ascii=False) + "\n")
        out.flush()
        for outcome in pool.map(partial(evaluated, seed=seed, is_thorough=is_thorough), left):
            out.write(json.dumps(outcome.values(), ensure_ascii=False) + "\n")
            out.flush()
            yield outcome


# -------------------------------------------------------------------- what is published


def summary(outcomes: Sequence[MutantFate]) -> dict[str, Any]:
    """Give the score of a sample, by family of operators as well."""
    counts = Counter(each.verdict for each in outcomes)
    killed, survived = counts[KILLED], counts[SURVIVED]
    low, high = wilson(killed, killed + survived)
    return {
        "drawn": len(outcomes),
        **{each: counts[each] for each in (KILLED, SURVIVED, UNDECIDED, IDLE)},
        "score": round(killed / (killed + survived), 4) if killed + survived else None,
        "usual": round(sum(each.is_usual for each in outcomes) / (killed + survived), 4)
        if killed + survived
        else None,
        "interval": [round(low, 4), round(high, 4)],
    }


def report(role: str, seed: int, outcomes: Sequence[MutantFate]) -> dict[str, Any]:
    """Give the report of a sample, for a file."""
    families: dict[str, list[MutantFate]] = defaultdict(list)
    sorts: dict[str, list[MutantFate]] = {name: [] for name in SORTS}
    for each in outcomes:
        families[each.family].append(each)
        for name in sorts_of(mutant_of(each.name)):
            sorts[name].append(each)
    return {
        "format": FORMAT,
        "role": role,
        "seed": seed,
        "mutants": count(role),
        **summary(outcomes),
        "sorts": {name: summary(each) for name, each in sorts.items()},
        "families": {name: summary(each) for name, each in sorted(families.items())},
        "survivors": [each.values() for each in outcomes if each.verdict == SURVIVED],
        "undecided_names": [each.name for each in outcomes if each.verdict == UNDECIDED],
    }


def write(values: Iterable[dict[str, Any]], path: Path = REPORTS / "mutation.json") -> None:
    """Write the reports of some samples to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(list(values), indent=1, ensure_ascii=False) + "\n", "utf-8")


def publish(values: Iterable[dict[str, Any]], path: Path = PUBLISHED) -> None:
    """Write what the site shows of some samples; what it has of other roles stays."""
    found = json.loads(path.read_text("utf-8")) if path.exists() else {}
    for each in values:
        kept = ("seed", "mutants", *summary(()))
        found[each["role"]] = {
            **{name: each[name] for name in kept},
            "sorts": {
                name: {key: one[key] for key in ("score", "interval")}
                for name, one in each["sorts"].items()
                if one["score"] is not None
            },
            "families": {
                name: {key: one[key] for key in (UNDECIDED, "drawn")}
                for name, one in each["families"].items()
            },
            "survivors": {label: dict(counts) for label, counts in survivors_by(each)},
            "names": [one["name"] for one in each["survivors"]],
        }
    path.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", "utf-8")


def survivors_by(values: dict[str, Any]) -> Iterator[tuple[str, Counter[str]]]:
    """Count the survivors of a report by requirement and by the conditions of their triggers."""
    yield "requirement", Counter(each["requirement"] for each in values["survivors"])
    yield (
        "trigger",
        Counter(each for one in values["survivors"] for each in _trigger(one["name"])),
    )


def lines(values: dict[str, Any]) -> Iterator[str]:
    """Write a report as lines."""
    yield line_of(f"{values['role']}s", values)
    for group in ("sorts", "families"):
        for name, each in values[group].items():
            yield "  " + line_of(name, each)
    for name, found in survivors_by(values):
        if found:
            shown = ", ".join(f"{label} {number}" for label, number in found.most_common())
            yield f"  survivors by {name}: {shown}"
    for each in values["survivors"]:
        yield f"  {each['name']} ({each['requirement']}: {each.get('explanation', '')})"
        yield from (f"    {line}" for line in each.get("conversation", ()))


def _trigger(name: str) -> list[str]:
    return [each for each in name.partition("@")[2].split(",") if each] or ["always"]


def line_of(name: str, values: dict[str, Any]) -> str:
    """Write a score as a line."""
    score = values["score"]
    low, high = values["interval"]
    shown = "no effective mutant" if score is None else f"{score:.1%} ({low:.1%} to {high:.1%})"
    counts = ", ".join(f"{values[each]} {each}" for each in (KILLED, SURVIVED, UNDECIDED, IDLE))
    usual = "" if values["usual"] in (None, score) else f", a usual run {values['usual']:.1%}"
    return f"{name}: {shown}{usual}; {counts}"
