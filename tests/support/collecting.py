"""What makes the collection of the whole suite cheaper: each worker of it imports all test modules, and rewrites their asserts."""

from __future__ import annotations

import gc
import importlib
import sys
from contextlib import suppress
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


def share(config: pytest.Config) -> None:
    """Let the workers share what the first of them has compiled, and begin each with another part of it.

    The switch that keeps Python from writing bytecode (containers and build machines set it) costs each worker more than half of its
    collection. Where nothing can be written nothing is, and all comes out the same.
    """
    sys.dont_write_bytecode = False
    worker = getattr(config, "workerinput", None)
    if worker is None or [Path(each).resolve() for each in config.args] != [TESTS]:
        return
    number, count = int(worker["workerid"].removeprefix("gw")), worker["workercount"]
    for file in sorted(TESTS.rglob("test_*.py"))[number::count]:
        with suppress(Exception, pytest.skip.Exception):  # the collection says what is wrong with it
            importlib.import_module(".".join(file.relative_to(TESTS.parent).with_suffix("").parts))


def keep_still() -> None:
    """No search for garbage: the collection makes a million objects, and none."""
    gc.disable()


def go_on() -> None:
    """From here on, without looking again at what stays to the end."""
    gc.freeze()
    gc.enable()
