"""The examples for running a server: what they start is a command of ours, with settings that there are."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from moa.cli.options import parse
from moa.serve.settings import VARIABLE

FOLDER = Path(__file__).parents[3] / "docs" / "serve"
UNIT, COMPOSE = ((FOLDER / name).read_text() for name in ("moa-serve.service", "compose.yaml"))


def commands() -> list[list[str]]:
    unit = re.findall(r"^ExecStart=(.*)$", UNIT, re.M)
    found = [shlex.split(line)[1:] for line in unit]
    found += [json.loads(line)[1:] for line in re.findall(r"^    command: (\[.*\])$", COMPOSE, re.M)]
    found += [shlex.split(line)[1:] for line in re.findall(r"exec moa (moa .*)$", COMPOSE, re.M)]
    return found


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_what_an_example_starts_exists(words: list[str]) -> None:
    assert parse(words).handler == "serve"


def test_variables_of_the_examples_are_ours() -> None:
    assert len(commands()) == 3
    known = {VARIABLE, "MOA_SERVE_KEY", "MOA_CONFIG_DIR", "MOA_STATE_DIR", "MOA_CACHE_DIR"}
    assert set(re.findall(r"\bMOA_[A-Z_]+", UNIT + COMPOSE)) == known
