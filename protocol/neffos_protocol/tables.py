"""The state tables and the constants of the wire, in a form that loads fast.

``data/machines.toml`` and ``data/registry.toml`` are the source. A TOML reader takes longer to
import and to read them than everything else that a session needs, so that ``data/tables.json``
holds what the package needs of them. ``python -m neffos_protocol.tables`` writes that file again,
and the tests compare it with its source.
"""

from __future__ import annotations

import json
import os
from functools import cache
from typing import Any, Final

from neffos_protocol._data import FOLDER

_FILE: Final = os.path.join(FOLDER, "tables.json")


@cache
def load() -> dict[str, Any]:
    """Give the tables under ``"machine"``, and the values under ``"constant"`` by name."""
    with open(_FILE, encoding="utf-8") as file:
        loaded: dict[str, Any] = json.load(file)
    return loaded


def build() -> dict[str, Any]:
    """Make from the source what ``load`` gives."""
    from neffos_protocol.registry import constants, load_toml

    machine = load_toml("machines.toml")["machine"]
    constant = {each.name: [each.group, each.value] for each in constants().values()}
    made: dict[str, Any] = json.loads(json.dumps({"machine": machine, "constant": constant}))
    return made


def main() -> None:
    """Write the file again, where it differs."""
    from pathlib import Path

    text = json.dumps(build(), ensure_ascii=False, separators=(",", ":")) + "\n"
    path = Path(_FILE)
    if not path.exists() or path.read_text("utf-8") != text:
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
