"""What the tests of other people's programs share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for programs from npm, which are large: it goes with the session."""
    folder = tmp_path_factory.mktemp("npm")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
