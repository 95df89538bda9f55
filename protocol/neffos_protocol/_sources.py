"""Has the sources of this package run although compiled modules are beside them.

mypyc compiles some modules where a wheel is built, and Python prefers what is compiled.
``NEFFOS_WIRE_PURE=1`` in the environment asks for the sources, as it asks for the pure codec.
"""

from __future__ import annotations

import sys
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from os import environ, path

if environ.get("NEFFOS_WIRE_PURE"):
    # What looks for modules in the folder of this package, instead of the usual one.
    _FOLDER = path.dirname(__file__)
    sys.path_importer_cache[_FOLDER] = FileFinder(_FOLDER, (SourceFileLoader, SOURCE_SUFFIXES))
