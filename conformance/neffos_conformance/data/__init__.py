"""The data of the suite: cases and the schemas of its files."""

from pathlib import Path
from typing import Final

try:
    import tomli as toml  # compiled: a third of the time, and cases are read at each start
except ImportError:  # a bare Python, as in the workbench
    import tomllib as toml  # type: ignore[no-redef]

__all__ = ["FOLDER", "toml"]

# ``importlib.resources`` takes as long to import as the codec and the session together.
FOLDER: Final = Path(__file__).parent
