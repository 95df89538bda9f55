"""The shell steps of the container file, the action and the workflows, to be run or checked.

No machine of this project has what usually runs them, so that they are taken out of their files.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[2]
ACTION: Final = ROOT / "action.yml"
CONTAINERFILE: Final = ROOT / "Containerfile"
WORKFLOWS: Final = ROOT / ".github" / "workflows"

SHELL: Final = ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c")
"""The shell that GitHub runs a step with."""

_EXPRESSION: Final = re.compile(r"\$\{\{ *([^ }]+) *\}\}")


def container_steps() -> list[str]:
    """Give the scripts of the lines ``RUN`` of the container file."""
    return re.findall(r"^RUN ((?:.*\\\n)*.*)$", CONTAINERFILE.read_text("utf-8"), re.MULTILINE)


def action() -> dict[str, Any]:
    """Give the values of the action's file."""
    values: dict[str, Any] = yaml.safe_load(ACTION.read_text("utf-8"))
    return values


def workflow_steps(path: Path) -> Iterator[Mapping[str, Any]]:
    """Give the steps of all jobs of a workflow."""
    for job in yaml.safe_load(path.read_text("utf-8"))["jobs"].values():
        yield from job["steps"]


def run_action(
    inputs: Mapping[str, str], contexts: Mapping[str, str], env: Mapping[str, str], folder: Path
) -> Iterator[tuple[str, subprocess.CompletedProcess[str]]]:
    """Run the shell steps of the action, and give the name and the outcome of each.

    Args:
        inputs: by name; the others have their defaults.
        contexts: values of other expressions, such as ``runner.temp``.
        env: the environment of the steps, without what they set.
        folder: where they run.

    Raises:
        KeyError: a step uses an expression that has no value here.
    """
    values = action()
    known = {f"inputs.{name}": each["default"] for name, each in values["inputs"].items()}
    known |= contexts
    known |= {f"inputs.{name}": value for name, value in inputs.items()}
    for step in values["runs"]["steps"]:
        if script := step.get("run"):
            given = {
                name: _EXPRESSION.sub(lambda found: known[found[1]], value)
                for name, value in step["env"].items()
            }
            command: Sequence[str] = (*SHELL, script)
            yield (
                step["name"],
                subprocess.run(
                    command, cwd=folder, env={**env, **given}, capture_output=True, text=True
                ),
            )
