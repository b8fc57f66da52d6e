"""config.toml: read strictly, and a key only ever goes where the user sent it."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config.config import DEFAULT_MODELS, load_config, require_model
from agent.errors import UsageError
from agent.llm.models import prices
from agent.llm.models.endpoint import WELL_KNOWN
from agent.llm.request import ModelRef


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
        """,
        OPENROUTER_API_KEY="sk-12345",
    )
    openrouter = config.endpoints["openrouter"]
    assert openrouter.api_key == "sk-12345"
    assert "sk-12345" not in repr(config)
    assert openrouter.max_concurrency == 3
    price = openrouter.models["some/model"].price
    assert price is not None
    assert (price.prompt, price.completion, price.cached) == (1.5, 6.0, 0.15)
    assert config.endpoints["mine"].base_url == "http://127.0.0.1:9999/v1"
    assert config.budget.turn_usd == 0.5
    assert config.plugins["moa"] == {"preset": "budget"}
    assert config.redact("key sk-12345!") == "key [key]!"


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
        ("[mcp.servers.x]\ncomand = 'x'", "mcp.servers.x.comand is not a known key", "did you mean command?"),
        ("[mcp.servers.x]\nargs = 'x'", "mcp.servers.x.args is 'x'", "a list of strings"),
        ("[mcp.servers.x]\nargs = ['x']", "mcp.servers.x names neither a command nor a url", "give one"),
        ("[mcp.servers.x]\ncommand = 'x'\nurl = 'http://x'", "mcp.servers.x names both", "give one"),
        ("[mcp.servers.x]\ncommand = './x'", "a path that depends on the folder", "whole path"),
        ("[mcp.servers.x]\nurl = 'ftp://x'", "mcp.servers.x.url is 'ftp://x'", "https://"),
        ("[mcp.servers.'a b']\ncommand = 'x'", "is not a usable name", "letters"),
        ("[mcp]\nserver = {}", "mcp.server is not a known key", "servers"),
        ("model =\n[moa]", "line 1", "TOML"),
        (f"max_tokens = {'9' * 5000}", "digits", "take that out"),
        (f"max_tokens = {'9' * 200}", "max_tokens is 9999", "from 1 to"),
        (f"[budget]\nturn_usd = {'9' * 200}", "budget.turn_usd is 9999", "at most"),
        ("[budget]\nturn_usd = nan", "budget.turn_usd is nan", "at least 0"),
        (f"model = {'[' * 900}{']' * 900}", "nested deeper", "take that out"),
        *(
            (f"# none\n{start}{'.'.join([part] * 40)}", "line 2 has a key of more than 32 parts", "take that out")
            for start in ("", "[", "x = {", "x = {y = 1, ")
            for part in ("a", " a ", "'a'", '"\\""')
        ),
        ("#" * 300_000, "larger than 256 KB", "permissions"),
    ],
)
def test_a_wrong_file_is_named_with_key_and_remedy(tmp_path: Path, text: str, said: str, remedy: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(tmp_path, text)
    assert str(tmp_path / "config.toml") in caught.value.message
    assert said in caught.value.message
    assert remedy in (caught.value.remedy or "")


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "k\u00e9y-of-mine", "tab\there"])
def test_what_can_be_no_key_is_refused_by_its_variable_and_never_shown(tmp_path: Path, key: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(tmp_path, OPENROUTER_API_KEY=key)
    assert "OPENROUTER_API_KEY" in caught.value.message
    assert key not in f"{caught.value.message} {caught.value.remedy}"


def test_a_key_in_the_place_of_its_variables_name_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load(tmp_path, '[endpoints.mine]\nbase_url = "http://x"\napi_key_env = "sk-or-v1-0123456789"')
    assert "endpoints.mine.api_key_env" in caught.value.message
    assert "sk-or" not in f"{caught.value.message} {caught.value.remedy}"


def test_whatever_opens_an_endpoint_is_taken_out(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        """
        [endpoints.mine]
        base_url = "https://some-user:pass%2Fword1@host.example/v1?token=query-token"
        headers = { Authorization = "Bearer header-token", "X-Title" = "my long title" }
        """,
        OPENROUTER_API_KEY="short",
    )
    said = (
        "some-user pass/word1 pass%2Fword1 query-token header-token Bearer header-token my long title short "
        "c29tZS11c2VyOnBhc3Mvd29yZDE="
    )
    assert config.redact(said) == "[key] [key] [key] [key] [key] [key] my long title short [key]"
    assert config.endpoints["mine"].address == "https://host.example/v1"
    assert "pass" not in repr(config)


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


@pytest.mark.parametrize("endpoint", [name for name, each in WELL_KNOWN.items() if each.api_key_env])
def test_every_key_works_alone(tmp_path: Path, endpoint: str) -> None:
    variable = WELL_KNOWN[endpoint].api_key_env
    config = load(tmp_path, **{str(variable): "a-key-long-enough-to-be-one"})
    assert config.model == DEFAULT_MODELS[endpoint]
    model = ModelRef.parse(config.model)
    facts = prices.snapshot(WELL_KNOWN[model.endpoint], model.model)
    assert model.endpoint == endpoint and facts.price is not None, "the price list knows it"
