"""What runs the suite in CI: the workflow that ``init`` writes, and a script for any shell."""

from __future__ import annotations

from typing import Final

from neffos_conformance.cli.init import WORKFLOW, files

_SCRIPT: Final = """\
set -eu
neffos-wire serve --port 8080 &
server=$!
trap 'kill $server' EXIT
until (exec 3<>/dev/tcp/localhost/8080) 2>&-; do sleep 0.1; done

neffos-wire test server ws://localhost:8080/ \\
  --class interoperable --junit junit.xml --html report.html
"""


def workflow(role: str) -> str:
    """Give the workflow for GitHub Actions that tests a server or a client."""
    return files(role)[WORKFLOW].strip()


def client_step() -> str:
    """Give the step of the workflow that tests a client."""
    text = workflow("client")
    begin = text.index("      - name: Test the client")
    return text[begin : text.index("      - if: always()", begin)].rstrip()


def script() -> str:
    """Give the script for any shell, which a test runs."""
    return _SCRIPT.strip()
