"""What all tests of the chat's screen share."""

from __future__ import annotations

import pytest

from tests.support import stylesheets


@pytest.fixture(autouse=True, scope="session")
def _stylesheets_are_read_once() -> None:
    stylesheets.share()
