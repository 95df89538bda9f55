"""What the tests in a browser share."""

from __future__ import annotations

from typing import Any


def expect(actual: Any) -> Any:
    """Expect something of a page, or of a part of it, as playwright's ``expect`` does.

    Playwright is imported when it is used: every process collects these tests, and few run them.
    """
    from playwright.sync_api import expect as expected

    return expected(actual)
