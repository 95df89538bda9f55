"""The published JSON schemas of the package, as validators."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Final

from jsonschema import Draft202012Validator, ValidationError

MAX_SHOWN: Final = 300
"""Characters of a violation that an error message has."""


def violation(schema: str, values: object, definition: str = "") -> ValidationError | None:
    """Give the first violation of a schema; ``None`` if the values conform.

    Args:
        schema: the name of its file, without the suffix.
        values: what is validated.
        definition: the name of the definition to use; empty for the whole schema.
    """
    return next(iter(_validator(schema, definition).iter_errors(values)), None)


def shown(found: ValidationError) -> str:
    """Give a violation in a sentence."""
    return found.message[:MAX_SHOWN]


@cache
def _validator(name: str, definition: str) -> Draft202012Validator:
    text = files("neffos_conformance.data").joinpath("schema", f"{name}.json").read_text("utf-8")
    schema = json.loads(text)
    return Draft202012Validator(
        {**schema, "$ref": f"#/$defs/{definition}"} if definition else schema
    )
