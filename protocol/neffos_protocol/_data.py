"""Where the data of the protocol are."""

from __future__ import annotations

from importlib import import_module
from typing import Final

# ``importlib.resources`` and ``pathlib`` would take as long to import as the session.
FOLDER: Final[str] = import_module("neffos_protocol.data").__path__[0]
