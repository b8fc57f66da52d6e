"""Fixtures that several parts share: a scripted endpoint, and the installed program in folders of its own."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.support import collecting
from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import Program

# On a build machine the same examples every time: a failure there is the change's, and can be had again. Elsewhere new ones are tried.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("ci")


def pytest_sessionstart(session: pytest.Session) -> None:
    collecting.keep_still()
    collecting.share(session.config)


def pytest_collection_finish() -> None:
    collecting.go_on()


@pytest.fixture(autouse=True, scope="session")
def _no_agent() -> Iterator[None]:
    """Where a test calls the program within the test process, that process does not become an agent: its later children would be
    inside of one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agent.process.depth.mark", lambda: None)
        yield


@pytest.fixture
def endpoint() -> Iterator[ScriptedEndpoint]:
    """A scripted model server that answers by convention until a test gives it a script."""
    with ScriptedEndpoint() as running:
        yield running


@pytest.fixture
def program(tmp_path: Path, endpoint: ScriptedEndpoint) -> Iterator[Program]:
    """The installed `moa`, configured with the scripted endpoint as `fake` and `fake:worker` as the main model."""
    running = Program(tmp_path, endpoint.base_url)
    yield running
    running.close()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of a table marked `sample(n)` the default suite runs n rows, spread over the whole; the slow set runs the others."""

    def table(item: pytest.Item) -> str:
        return item.nodeid.partition("[")[0]

    # What takes longest goes first, so that no worker is alone with it at the end.
    items.sort(key=lambda item: item.path.name != "test_house.py")
    sizes = Counter(table(item) for item in items)
    at: Counter[str] = Counter()
    for item in items:
        mark = item.get_closest_marker("sample")
        if mark is None:
            continue
        keep, row, size = mark.args[0], at[table(item)], sizes[table(item)]
        at[table(item)] += 1
        if row * keep // size == (row - 1) * keep // size:
            item.add_marker(pytest.mark.slow)
