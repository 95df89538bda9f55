"""Chooses between the compiled codec and the pure one, which behave the same.

The compiled one is there where a C compiler was at the installation. ``NEFFOS_WIRE_PURE=1`` in
the environment asks for the pure one.
"""

from __future__ import annotations

from importlib import import_module
from os import environ
from typing import Final

from neffos_codec import _decode
from neffos_codec._decode import decode
from neffos_codec._encode import encode
from neffos_codec._message import Message

__all__ = ["COMPILED", "Message", "decode", "encode"]

if not environ.get("NEFFOS_WIRE_PURE"):
    try:
        _compiled = import_module("neffos_codec._compiled")
    except ImportError:
        pass  # it was not built
    else:
        # What reads the source, as type checkers do, sees the pure one, which has the types.
        globals().update(
            {name: getattr(_compiled, name) for name in ("Message", "decode", "encode")}
        )

COMPILED: Final = decode is not _decode.decode
"""Whether the compiled codec is in use; it behaves as the pure one does."""
