"""The generators of the site, which are no part of what is installed."""

from __future__ import annotations

import sys
from pathlib import Path

SPEC = str(Path(__file__).parents[2] / "spec")

sys.path.insert(0, SPEC)
import browse  # noqa: E402
from generate import cases, ci, history, workbench  # noqa: E402

sys.path.remove(SPEC)

__all__ = ["browse", "cases", "ci", "history", "workbench"]
