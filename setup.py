"""Builds the codec ahead of time when NEFFOS_WIRE_COMPILE=1 is set.

All else is in pyproject.toml. The files that are compiled are those that otherwise run as
they are, so that there is one codec to trust.
"""

import os

from setuptools import setup

COMPILED = ("_message.py", "_decode.py", "_encode.py")

ext_modules = []
if os.environ.get("NEFFOS_WIRE_COMPILE") == "1":
    from mypyc.build import mypycify

    ext_modules = mypycify([f"codec/neffos_codec/{name}" for name in COMPILED])

setup(ext_modules=ext_modules)
