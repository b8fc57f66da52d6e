"""`moa config`: the page and the schemas say every key that the readers know, and nothing else."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from agent.config import toml
from agent.ui.settings import read_section
from moa.cli import config_keys
from moa.cli.config_keys import Key
from moa.cli.main import main

ROOT = Path(__file__).parent.parent.parent.parent
PAGE = ROOT / "docs" / "configuration.md"


def keys(part: str) -> list[Key]:
    return config_keys.of_preset() if part == "preset" else config_keys.of_config(read_section)


def test_the_page_is_up_to_date() -> None:
    assert config_keys.document(read_section) == PAGE.read_text("utf-8"), "moa config docs > docs/configuration.md"


@pytest.mark.parametrize("part", ["config", "preset"])
def test_each_key_has_a_meaning_and_each_meaning_a_key(part: str) -> None:
    found = keys(part)
    assert [key.name for key in found if not key.meaning] == [], "say it in moa.cli.config_keys.toml"
    assert set(toml.load(config_keys.MEANINGS)[part]) == {key.name for key in found}
    assert len({key.name for key in found}) == len(found)


def schema(part: str) -> Any:
    return config_keys.schema(keys(part), part)


def problems(part: str, data: Any) -> list[str]:
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(schema(part))
    return [error.message for error in validator.iter_errors(data)]


def test_the_schema_takes_every_shipped_preset_and_no_unknown_key() -> None:
    for path in (ROOT / "presets").glob("*.toml"):
        assert problems("preset", tomllib.loads(path.read_text("utf-8"))) == [], path
    assert problems("preset", {"qorum": 2}) and problems("preset", {"cadence": 2}) and problems("preset", {"layers": 9})


def test_the_schema_takes_what_the_program_takes() -> None:
    taken = """
    model = "mine:m"
    [endpoints.mine]
    base_url = "http://127.0.0.1"
    headers = { x-one = "1" }
    models."some/model" = { context_window = 1000, price = { prompt = 1, completion = 2.5 } }
    [mcp.servers.files]
    command = "npx"
    env = { A = "b" }
    [[hooks]]
    event = "turn_end"
    command = "true"
    [budget]
    turn_usd = 0.5
    """
    assert problems("config", tomllib.loads(taken)) == []
    assert problems("config", {"endpoints": {"mine": {"base_uri": "x"}}}) and problems("config", {"effort": "huge"})


def test_the_command_prints_both(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "docs"]) == 0 and capsys.readouterr().out == PAGE.read_text("utf-8")
    assert main(["config", "schema"]) == 0 and "endpoints" in json.loads(capsys.readouterr().out)["properties"]
    assert (
        main(["config", "schema", "preset"]) == 0 and "references" in json.loads(capsys.readouterr().out)["properties"]
    )
