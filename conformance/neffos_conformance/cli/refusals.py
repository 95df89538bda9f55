"""How a command ends where a value or a file of its user cannot be used: with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from neffos_conformance.wire.files import cannot_be_written


@contextmanager
def refusing(
    *kinds: type[Exception], end: type[click.ClickException] = click.UsageError
) -> Iterator[None]:
    """End the command if the block raises an error of these kinds, whose text is for its user.

    Args:
        kinds: of errors.
        end: what ends the command.
    """
    try:
        yield
    except kinds as error:
        raise end(str(error)) from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """End the command with a usage error if the block cannot write a file."""
    try:
        yield
    except OSError as error:
        raise click.UsageError(cannot_be_written(path, error)) from error
