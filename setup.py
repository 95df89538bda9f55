"""Builds the codec and the monitor ahead of time when NEFFOS_WIRE_COMPILE=1 is set.

All else is in pyproject.toml. The files that are compiled are those that otherwise run as
they are, so that there is one codec to trust, and one judge.
"""

import os

from setuptools import setup

COMPILED = (
    "codec/neffos_codec/_message.py",
    "codec/neffos_codec/_decode.py",
    "codec/neffos_codec/_encode.py",
    "protocol/neffos_protocol/conversation.py",
    "protocol/neffos_protocol/monitor.py",
)

ext_modules = []
if os.environ.get("NEFFOS_WIRE_COMPILE") == "1":
    from mypyc.build import mypycify

    ext_modules = mypycify(list(COMPILED))

setup(ext_modules=ext_modules)
