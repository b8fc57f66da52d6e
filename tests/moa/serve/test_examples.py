"""The examples for running a server: what they start is a command of ours, with settings that there are."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from moa.cli.options import parse
from moa.serve.settings import VARIABLE

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "docs" / "serve"
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
    known = {VARIABLE, "MOA_SERVE_KEY", "MOA_CONFIG_DIR", "MOA_STATE_DIR", "MOA_CACHE_DIR", "MOA_CHECKOUT"}
    assert set(re.findall(r"\bMOA_[A-Z_]+", UNIT + COMPOSE)) == known


def test_examples_install_from_a_checkout() -> None:
    """On the index there is no such name, or it is somebody else's. The image has all that a wheel is made of."""
    assert "moa-agent" not in UNIT + COMPOSE
    assert "-c constraints.txt '.[serve,otel]'" in UNIT and '-c /src/constraints.txt "/src[serve,otel]"' in COMPOSE
    copied = {name for line in re.findall(r"COPY (.*) /src", COMPOSE) for name in line.split()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    of_it = [project["project"]["readme"], *project["project"]["license-files"], *wheel["packages"]]
    assert copied == {"pyproject.toml", "constraints.txt", *of_it, *wheel["force-include"]}
    assert all((ROOT / name).exists() for name in copied)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "moa-serve.service"
    unit.write_text(UNIT.replace("/opt/moa/bin/moa", sys.executable))
    told = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60)
    assert (told.returncode, told.stdout + told.stderr) == (0, "")
