"""Has the sources of a package run although compiled modules are beside them.

mypyc compiles some modules where a wheel is built, and Python prefers what is compiled.
``NEFFOS_WIRE_PURE=1`` in the environment asks for the sources, as it asks for the pure codec.
"""

from __future__ import annotations

import sys
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from os import environ, path


def choose(folder: str) -> None:
    """Have the sources in a folder run, if the environment asks for that."""
    if environ.get("NEFFOS_WIRE_PURE"):
        # What looks for modules in this folder, instead of the usual finder.
        sys.path_importer_cache[folder] = FileFinder(folder, (SourceFileLoader, SOURCE_SUFFIXES))


choose(path.dirname(__file__))
