"""What a test needs and does not find: it is skipped, or fails where the machine has to have it."""

import os
from typing import NoReturn

import pytest

from peers.implementations import ToolchainError
from peers.templates import java_command


def absent(name: str, text: str) -> NoReturn:
    """Skip a test, or fail it if ``NEFFOS_WIRE_EXPECT_NAME`` is 1, as in CI.

    Args:
        name: of what is missing.
        text: what is missing, and what to do.
    """
    if os.environ.get(f"NEFFOS_WIRE_EXPECT_{name}") == "1":
        pytest.fail(text, pytrace=False)
    pytest.skip(text)


def java(program: str) -> list[str]:
    """Give the command of a program in Java, compiled; without a JDK the test is skipped."""
    try:
        return java_command(program)
    except ToolchainError as error:
        absent("JAVA", error.message)
