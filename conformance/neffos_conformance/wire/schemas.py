"""The published JSON schemas of the package, as validators, and users' files in TOML by them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from neffos_conformance.data import read_data, toml
from neffos_conformance.wire.files import without_mark

if TYPE_CHECKING:
    from jsonschema_rs import Draft202012Validator, ValidationError

MAX_SHOWN: Final = 300
"""Characters of a violation that an error message has."""

MAX_DEPTH: Final = 64
"""Levels of values that are validated, if any is too deep for the validator: more than a schema
describes, and less than the 255 levels that it takes."""


def violation(schema: str, values: object, definition: str = "") -> ValidationError | None:
    """Give a violation of a schema, the most telling one; ``None`` if the values conform.

    If none of several forms fits, that is the one of the form that comes nearest.

    Args:
        schema: the name of its file, without the suffix.
        values: what is validated.
        definition: the name of the definition to use; empty for the whole schema.
    """
    validator = _validator(schema, definition)
    try:
        found = next(iter(validator.iter_errors(values)), None)
    except ValueError:  # it takes only what any JSON can be
        found = next(iter(validator.iter_errors(_plain(values))), None)
    while found is not None and (forms := [each for each in _forms(found) if each]):
        found = _nearest(forms)
    return found


class FileFormError(ValueError):
    """A file that cannot be read, or has another form; the text says where and why."""


def read_toml(path: Path, schema: str) -> dict[str, Any]:
    """Read a user's file in TOML, whose form a schema describes.

    Raises:
        FileFormError: it cannot be read, or has another form.
    """
    try:
        values = toml.loads(without_mark(path.read_bytes()).decode())
    except OSError as error:
        raise FileFormError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise FileFormError(f"{path} is not TOML: {error}") from error
    found = violation(schema, values)
    if found is not None:
        raise FileFormError(f"{path}: {shown(found)}")
    return values


def _plain(value: object, depth: int = MAX_DEPTH) -> object:
    """Give values as plain JSON, which is valid if they are.

    A lone surrogate becomes a question mark. A date of TOML, or what is too deep, becomes null.
    """
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict() if depth:
            return {_plain(key): _plain(each, depth - 1) for key, each in value.items()}
        case list() if depth:
            return [_plain(each, depth - 1) for each in value]
        case int() | float():
            return value
    return None


def _forms(found: ValidationError) -> list[list[ValidationError]]:
    """Give the errors of each form, if none of several forms fits."""
    from jsonschema_rs import ValidationErrorKind

    match found.kind:
        case ValidationErrorKind.AnyOf(context) | ValidationErrorKind.OneOfNotValid(context):
            return context
    return []


def _nearest(forms: Sequence[list[ValidationError]]) -> ValidationError:
    """Give an error of the form that comes nearest: the one that lacks least, and errs least."""

    def distance(form: list[ValidationError]) -> tuple[int, int, int]:
        missing = sum(each.kind.name == "required" for each in form)
        return sum(map(_strange, form)), missing, len(form)

    nearest: list[ValidationError] = min(forms, key=distance)
    return min(nearest, key=lambda each: each.kind.name == "required")


def shown(found: ValidationError) -> str:
    """Give a violation in a sentence, with the field that it is about."""
    field = "/".join(map(str, found.instance_path))
    return f"{f'{field}: ' if field else ''}{found.message}"[:MAX_SHOWN]


def place(found: ValidationError) -> tuple[str, str]:
    """Give the field that a violation is about, as a path, and what was expected of it."""
    from jsonschema_rs import ValidationErrorKind

    path = list(map(str, found.instance_path))
    match found.kind:
        case ValidationErrorKind.Required(name):
            return "/".join([*path, name]), "a value: the field is missing"
        case ValidationErrorKind.AdditionalProperties([name, *_]):
            return "/".join([*path, name]), "no such field"
        case ValidationErrorKind.Type([*types]):
            expected = f"a value of type {' or '.join(types)}"
        case ValidationErrorKind.Constant(value):
            expected = json.dumps(value)
        case ValidationErrorKind.Minimum(limit):
            expected = f"{limit} or more"
        case ValidationErrorKind.OneOfMultipleValid():
            expected = "one of its forms, and not several"
        case _:
            expected = found.message[:MAX_SHOWN]
    return "/".join(path), expected


def _strange(found: ValidationError) -> int:
    """Give how many values of an object are those of another form."""
    from jsonschema_rs import ValidationErrorKind

    match found.kind:
        case ValidationErrorKind.AdditionalProperties(unexpected):
            return len(unexpected)
    return found.kind.name in ("const", "enum")


@cache
def _validator(name: str, definition: str) -> Draft202012Validator:
    from jsonschema_rs import Draft202012Validator  # few commands validate, and it imports slowly

    schema = json.loads(read_data(f"schema/{name}.json"))
    return Draft202012Validator(
        {**schema, "$ref": f"#/$defs/{definition}"} if definition else schema
    )
