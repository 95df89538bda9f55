"""The command ``init``: writes what tests a server or a client in the CI of its repository.

It asks nothing, and overwrites nothing without ``--force``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click
import tomli_w

from neffos_conformance import VERSION
from neffos_conformance.cases.features import MAIN
from neffos_conformance.cases.profile import FORMAT as PROFILE_FORMAT
from neffos_conformance.cli.options import choice, option
from neffos_conformance.cli.refusals import writing
from neffos_conformance.runner.known_failures import FORMAT
from neffos_conformance.wire.terminal import echo

FOLDER: Final = "conformance"
"""The folder of the profile and the known failures, in the repository."""

WORKFLOW: Final = Path(".github/workflows/neffos-wire.yml")

ROLES: Final = ("server", "client")

ACTIONS: Final = {
    "checkout": "actions/checkout@8e8c483db84b4bee98b60c0593521ed34d9990e8 # v6.0.1",
    "python": "actions/setup-python@e797f83bcb11b83ae66e0230d6156d7c80228e7c # v6.0.0",
    "upload": "actions/upload-artifact@ea165f8d65b6e75b540449e92b4886f43607fa02 # v4.6.2",
}
"""What the workflow uses, by commit, since a tag can be moved. This project's own workflows use
the same."""

_JOB: Final = """\
# Tests the {role} with the conformance suite of the neffos wire protocol.
name: neffos-wire

on:
  push:
  pull_request:

permissions:
  contents: read

jobs:
  conformance:
    runs-on: ubuntu-latest
    timeout-minutes: 15
    steps:
      - uses: {checkout}
        with:
          persist-credentials: false
      - uses: {python}
        with:
          python-version: "3.12"
      - run: pip install 'neffos-wire[conformance]=={version}'
{steps}\
      - if: always()
        run: cat reports/{role}.md >> "$GITHUB_STEP_SUMMARY"
      - if: always()
        uses: {upload}
        with:
          name: neffos-wire
          path: reports/
"""

_TEST: Final = """\
      - name: Test the {role}
        run: >-
          neffos-wire test {role}{url}
          --class interoperable
          --known-failures {folder}/known-failures.toml{profile}
          --report reports/{role}.json
          --markdown reports/{role}.md
          --html reports/{role}.html{command}
"""

_SERVER: Final = """\
      # Start your server here, and wait until it listens.
      - name: Start the server
        run: |
          ./start-server &
          timeout 60 bash -c 'until (exec 3<>/dev/tcp/localhost/8080) 2>&-; do sleep 0.1; done'
"""

_KNOWN: Final = """\
# Cases that the {role} is expected to fail, each with its reason. A stale entry is an error.
# neffos-wire test {role} --write-known-failures FILE writes a draft, for you to add the reasons.
#
# [[known_failure]]
# cases = ["AR-7.1"]
# verdict = "fail"
# observed = "is_error: expected True, actual False"
# reason = "..."
# link = "https://..."

{content}"""


_PROFILE: Final = """\
# The server's own names, by those of the cases. Give the namespace that clients connect. More names
# show more: neffos-wire test server URL --write-profile FILE writes all that it finds.
"""


def profile_draft() -> str:
    """Give the smallest profile, in TOML: a namespace of a name to be changed."""
    return _PROFILE + tomli_w.dumps({"format": PROFILE_FORMAT, "namespaces": {MAIN: "default"}})


def files(role: str) -> Mapping[Path, str]:
    """Give the files for a repository, by their paths in it.

    Args:
        role: of the system under test, ``server`` or ``client``.
    """
    is_server = role == "server"
    test = _TEST.format(
        role=role,
        url=" ws://localhost:8080/echo" if is_server else "",
        folder=FOLDER,
        profile=f"\n          --profile {FOLDER}/profile.toml" if is_server else "",
        command="" if is_server else "\n          -- ./driver",
    )
    steps = (_SERVER if is_server else "") + test
    job = _JOB.format(role=role, version=VERSION, steps=steps, **ACTIONS)
    empty = tomli_w.dumps({"format": FORMAT, "known_failure": []})
    found = {
        WORKFLOW: job,
        Path(FOLDER) / "known-failures.toml": _KNOWN.format(role=role, content=empty),
    }
    if is_server:
        found[Path(FOLDER) / "profile.toml"] = profile_draft()
    return found


@click.command("init")
@choice("--role", "What the repository has.", [*ROLES], "server")
@option("--folder", "Repository to write into.", "FOLDER", default=Path())
@option("--force", "Overwriting of files that are there.")
def init_command(folder: Path, role: str, force: bool) -> None:
    """Write a CI workflow and its files into a repository.

    The workflow is one for GitHub Actions. Change the command that starts the server, or the
    driver, and the URL in it. A file that is there stays, and nothing is written then.
    """
    written = {folder / path: text for path, text in files(role).items()}
    there = [str(path) for path in written if path.exists() or path.is_symlink()]
    if there and not force:
        names = ", ".join(there)
        raise click.UsageError(f"already there: {names}. Try: another folder, or --force")
    for path, text in written.items():
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        echo(f"written: {path}")
