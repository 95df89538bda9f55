"""``make workflows``: checks the workflows, those that ``init`` writes, and the action.

actionlint reads their syntax and expressions; zizmor looks for what an attacker could use. Neither
asks a network.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import click

from neffos_conformance.cli.init import ROLES, files
from peers.steps import ROOT, WORKFLOWS

ACTIONLINT: Final = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"
TOOLS: Final = ROOT / "build" / "tools"

MISSING: Final = 4
"""The exit status if a toolchain is missing, as that of the other targets."""


def main() -> int:
    """Check them; give the exit status."""
    with tempfile.TemporaryDirectory() as temporary:
        written = []
        for role in ROLES:
            for path, text in files(role).items():
                if path.suffix == ".yml":
                    written.append(Path(temporary) / role / path)
                    written[-1].parent.mkdir(parents=True)
                    written[-1].write_text(text, "utf-8")
        program = str(Path(sys.executable).parent / "zizmor")
        zizmor = [program, "--offline", "--no-progress", "--quiet"]
        failed = subprocess.run([*zizmor, ROOT, *written]).returncode
        if shutil.which("go") is None:
            click.echo("actionlint was left out: there is no Go", err=True)
            return failed or MISSING
        env = {**os.environ, "GOBIN": str(TOOLS)}
        # Outside the checkout, whose Go modules have other requirements.
        subprocess.run(["go", "install", ACTIONLINT], cwd=temporary, env=env, check=True)
        lint = [TOOLS / "actionlint", *sorted(WORKFLOWS.glob("*.yml")), *written]
        return failed or subprocess.run(lint).returncode


if __name__ == "__main__":
    sys.exit(main())
