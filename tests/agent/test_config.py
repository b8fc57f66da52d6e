"""config.toml: read strictly, and a key only ever goes where the user sent it."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config import load_config, require_model
from agent.errors import UsageError


def load(folder: Path, text: str | None = None, **env: str):  # type: ignore[no-untyped-def]
    if text is not None:
        (folder / "config.toml").write_text(text)
    places = {f"MOA_{kind}_DIR": str(folder) for kind in ("CONFIG", "STATE", "CACHE")}
    return load_config({**places, **env}, plugins=frozenset({"moa"}))


def test_nothing_configured_names_the_three_ways_on(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        require_model(load(tmp_path))
    assert caught.value.remedy is not None
    for way in ("OPENROUTER_API_KEY", "base_url", "--preset local"):
        assert way in caught.value.remedy


def test_the_documented_file_is_read(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        """
        model = "openrouter:anthropic/claude-opus-4.8"
        [moa]
        preset = "budget"
        [endpoints.openrouter]
        base_url = "https://openrouter.ai/api/v1"
        api_key_env = "OPENROUTER_API_KEY"
        max_concurrency = 3
        headers = { "x-title" = "mine" }
        [endpoints.openrouter.models."some/model"]
        context_window = 131072
        price = { prompt = 1.5, completion = 6.0, cached = 0.15 }
        [endpoints.mine]
        base_url = "http://127.0.0.1:9999/v1/"
        [budget]
        turn_usd = 0.50
        turn_tokens = 2_000_000
        [approve]
        allow = ["shell(git status*)"]
        deny_paths = [".env"]
        [mcp.servers.x]
        command = "x"
        """,
        OPENROUTER_API_KEY="sk-1",
    )
    openrouter = config.endpoints["openrouter"]
    assert openrouter.api_key == "sk-1"
    assert "sk-1" not in repr(config)
    assert openrouter.max_concurrency == 3
    price = openrouter.models["some/model"].price
    assert price is not None
    assert (price.prompt, price.completion, price.cached) == (1.5, 6.0, 0.15)
    assert config.endpoints["mine"].base_url == "http://127.0.0.1:9999/v1"
    assert config.budget.turn_usd == 0.5
    assert config.plugins["moa"] == {"preset": "budget"}
    assert config.redact("key sk-1!") == "key [key]!"


@pytest.mark.parametrize(
    ("text", "said", "remedy"),
    [
        ("modl = 'a:b'", "modl is not a known key", "did you mean model?"),
        ("model = 'gpt'", "model is 'gpt'", "ENDPOINT:MODEL"),
        ("model = 3", "model is 3", "a string"),
        ("[budget]\nturn_usd = -1", "budget.turn_usd is -1", "at least 0"),
        ("[budget]\nturn_tokens = true", "budget.turn_tokens is True", "whole number"),
        ("[endpoints.mine]", "endpoints.mine.base_url is missing", "base_url ="),
        ("[endpoints.mine]\nbase_url = 'ftp://x'", "endpoints.mine.base_url", "http://"),
        ("[endpoints.mine]\nbase_url = 'http://x'\ndialect = 'soap'", "dialect is 'soap'", "chat, anthropic"),
        ("[endpoints.mine]\nbase_url='http://x'\n[endpoints.mine.models.m]\nprice={prompt=1}", "price lacks", "both"),
        ("[approve]\ndeny_paths = [1]", "approve.deny_paths", "list of strings"),
        ("model =\n[moa]", "line 1", "TOML"),
    ],
)
def test_a_wrong_file_is_named_with_key_and_remedy(tmp_path: Path, text: str, said: str, remedy: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(tmp_path, text)
    assert str(tmp_path / "config.toml") in caught.value.message
    assert said in caught.value.message
    assert remedy in (caught.value.remedy or "")


def test_a_moved_endpoint_does_not_take_the_well_known_key_along(tmp_path: Path) -> None:
    config = load(tmp_path, '[endpoints.openai]\nbase_url = "http://127.0.0.1:1/v1"', OPENAI_API_KEY="sk-1")
    assert config.endpoints["openai"].api_key is None


def test_a_projects_folder_is_inert_until_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    project = tmp_path / "project"
    (project / ".moa").mkdir(parents=True)
    assert load(tmp_path).trusted_project(project) is None
    trusting = load(tmp_path, f'[trust]\nfolders = ["{project}"]')
    assert trusting.trusted_project(project / "deep") == project / ".moa"
