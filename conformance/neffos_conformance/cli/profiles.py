"""The options for a server's own names: ``--profile``, ``--namespace`` and ``--write-profile``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from neffos_conformance.cases.profile import Profile, ProfileError, chosen
from neffos_conformance.cli.options import option
from neffos_conformance.cli.refusals import refusing, writing
from neffos_conformance.runner.discovery import Detected, draft_profile

_OPTIONS: Final = (
    option("--namespace", "Namespace of the server, to be tested instead of app.", "NAME"),
    option("--profile profile_path", "Names of the server for what cases use (TOML).", "FILE"),
    option(
        "--write-profile draft_path",
        "Draft of a profile, with the names that were detected in the server.",
        "FILE",
    ),
)


def profile_options(command: Any) -> Any:
    """Give a command the arguments ``namespace``, ``profile_path`` and ``draft_path``."""
    for decorator in reversed(_OPTIONS):
        command = decorator(command)
    return command


def profile_of(path: Path | None, namespace: str | None) -> Profile:
    """Read the profile that the options name.

    Raises:
        click.UsageError: it cannot be used.
    """
    with refusing(ProfileError):
        return chosen(path, namespace)


def write_draft(path: Path, has: Detected) -> None:
    """Write the draft of a profile.

    Raises:
        click.UsageError: the file cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(draft_profile(has), "utf-8")
    from neffos_conformance.wire.console import Terminal

    Terminal().print(f"written: {path}", soft_wrap=True, highlight=False, markup=False)
