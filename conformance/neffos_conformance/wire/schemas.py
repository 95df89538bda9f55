"""The published JSON schemas of the package, as validators, and users' files in TOML by them."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from jsonschema import Draft202012Validator, ValidationError

from neffos_conformance.wire.files import without_mark

MAX_SHOWN: Final = 300
"""Characters of a violation that an error message has."""


def violation(schema: str, values: object, definition: str = "") -> ValidationError | None:
    """Give a violation of a schema, the most telling one; ``None`` if the values conform.

    If none of several forms fits, that is the one of the form that comes nearest.

    Args:
        schema: the name of its file, without the suffix.
        values: what is validated.
        definition: the name of the definition to use; empty for the whole schema.
    """
    found = next(iter(_validator(schema, definition).iter_errors(values)), None)
    while found is not None and found.context:
        found = _nearest(found.context)
    return found


class FileFormError(ValueError):
    """A file that cannot be read, or has another form; the text says where and why."""


def read_toml(path: Path, schema: str) -> dict[str, Any]:
    """Read a user's file in TOML, whose form a schema describes.

    Raises:
        FileFormError: it cannot be read, or has another form.
    """
    try:
        values = tomllib.loads(without_mark(path.read_bytes()).decode())
    except OSError as error:
        raise FileFormError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise FileFormError(f"{path} is not TOML: {error}") from error
    found = violation(schema, values)
    if found is not None:
        raise FileFormError(f"{path}: {shown(found)}")
    return values


def _nearest(errors: Sequence[ValidationError]) -> ValidationError:
    """Give an error of the form that comes nearest: the one that lacks least, and errs least."""
    forms: dict[object, list[ValidationError]] = {}
    for each in errors:
        forms.setdefault(each.relative_schema_path[0], []).append(each)

    def distance(form: list[ValidationError]) -> tuple[int, int, int]:
        missing = sum(each.validator == "required" for each in form)
        return sum(map(_strange, form)), missing, len(form)

    nearest = min(forms.values(), key=distance)
    return min(nearest, key=lambda each: each.validator == "required")


def shown(found: ValidationError) -> str:
    """Give a violation in a sentence, with the field that it is about."""
    field = "/".join(map(str, found.absolute_path))
    return f"{f'{field}: ' if field else ''}{found.message}"[:MAX_SHOWN]


def _strange(found: ValidationError) -> int:
    """Give how many values of an object are those of another form."""
    if found.validator == "additionalProperties":
        schema: Any = found.schema
        instance: Any = found.instance
        return len(instance.keys() - schema.get("properties", {}).keys())
    return found.validator in ("const", "enum")


@cache
def _validator(name: str, definition: str) -> Draft202012Validator:
    text = files("neffos_conformance.data").joinpath("schema", f"{name}.json").read_text("utf-8")
    schema = json.loads(text)
    return Draft202012Validator(
        {**schema, "$ref": f"#/$defs/{definition}"} if definition else schema
    )
