"""The data of the suite: cases and the schemas of its files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

try:
    import tomli as toml  # compiled: a third of the time, and cases are read at each start
except ImportError:  # a bare Python, as in the workbench
    import tomllib as toml  # type: ignore[no-redef]

__all__ = ["FOLDER", "frozen", "read_data", "read_entries", "toml"]

# ``importlib.resources`` takes as long to import as the codec and the session together.
FOLDER: Final = Path(__file__).parent


def read_data(name: str) -> str:
    """Give the text of a file, by its path from here."""
    return FOLDER.joinpath(name).read_text("utf-8")


def read_entries(name: str, key: str) -> list[dict[str, Any]]:
    """Give the tables of an array of tables in such a file, which is TOML."""
    return [frozen(each) for each in toml.loads(read_data(name))[key]]


def frozen(table: Mapping[str, Any]) -> dict[str, Any]:
    """Give the values of a table by their names, with tuples in the place of arrays."""
    return {key: tuple(each) if isinstance(each, list) else each for key, each in table.items()}
