from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import UsageError
from agent.llm.models import prices
from agent.llm.models.endpoint import WELL_KNOWN
from agent.llm.request import ModelRef
from agent.local.catalogue import FETCHABLE
from moa import preflight
from moa.preset.preset import Preset
from moa.store import store
from moa.store.reading import VERBS, read
from moa.store.store import load

ONE = '[[references]]\nmodel = "a:b"\n'
FILE = Path("some/x.toml")


def parsed(text: str) -> Preset:
    return read(text, name="x", path=FILE)


def complaint(text: str, name: str = "x") -> str:
    with pytest.raises(UsageError) as caught:
        read(text, name=name, path=FILE)
    assert caught.value.remedy
    return f"{caught.value.message} | {caught.value.remedy}"


@pytest.mark.parametrize("found", store.find(Path("nowhere"), None).values(), ids=lambda found: found.name)
def test_a_shipped_preset_is_valid_and_says_what_it_is(found: store.Found) -> None:
    preset = load(found.name, config_dir=Path("nowhere"))
    assert preset.description and "\n" not in preset.description
    given = {tool for member in preset.members for tool in member.reference.tools}
    assert bool(given) == (preset.tools_at != "never")  # a tool that is never there is a promise that is not kept
    text = found.path.read_text()
    assert text.startswith("#") and "Not for:" in text


SHIPPED = {
    "quality": ("claude-opus", "gpt", "gemini-pro"),
    "budget": ("gemini-flash", "kimi", "deepseek"),
    "fast": ("gemini-flash", "deepseek", "kimi"),
    "self": ("main", "main"),
    "frontier": ("claude-fable", "gpt"),
    "open": ("deepseek", "glm", "minimax", "kimi"),
    "code": ("deepseek", "gpt", "kimi"),
    "subscriptions": ("claude-cli", "codex-cli", "gemini-cli"),
    "local": ("smollm2",) * 3,
    "fusion-2026-06-quality": ("claude-opus-4.8", "gpt-5.5", "gemini-3.1-pro"),
    "fusion-2026-06-budget": ("gemini-3-flash", "kimi-k2.6", "deepseek-v4-pro"),
}


def test_the_presets_that_ship_and_their_families() -> None:
    assert set(store.find(Path("nowhere"), None)) == set(SHIPPED)
    for name, families in SHIPPED.items():
        members = load(name, config_dir=Path("nowhere")).members
        assert len(members) == len(families)
        for member, word in zip(members, families, strict=True):
            assert word in str(member.model), name


@pytest.mark.parametrize("name", SHIPPED)
def test_every_model_of_a_shipped_preset_is_in_the_price_list_and_the_newest_of_its_family(name: str) -> None:
    preset = load(name, config_dir=Path("nowhere"))
    named = [model for _key, model in preflight.models(preset, None)] + (
        [ModelRef.parse(preset.main)] if preset.main else []
    )
    listed = json.loads(Path(prices.__file__).with_name("prices.json").read_bytes())["endpoints"]["openrouter"]["exact"]
    for model in named:
        if name == "local":
            assert model.model in FETCHABLE
            continue
        if WELL_KNOWN[model.endpoint].command:
            assert name == "subscriptions"
            continue
        facts = prices.snapshot(WELL_KNOWN[model.endpoint], model.model)
        assert model.endpoint == "openrouter" and model.model in listed and facts.price is not None, model
        if not name.startswith("fusion-2026-06") and not model.model.startswith("~"):
            vendor, _, kind = model.model.partition("/")
            family_word = kind.split("-")[0]
            assert not [each for each in listed if each.startswith(f"~{vendor}/{family_word}")], "it has a moving alias"
            versions = [re.fullmatch(rf"{vendor}/{family_word}-m(\d+(?:\.\d+)?)", each) for each in listed]
            newest = max(float(found[1]) for found in versions if found)
            assert model.model == f"{vendor}/{family_word}-m{newest:g}"


def test_main_as_a_member_is_the_model_that_acts() -> None:
    preset = parsed('[[references]]\nmodel = "main"\ncount = 2\n[[references]]\nmodel = "a:b"\n')
    main = ModelRef("x", "y")
    assert [str(member.model) for member in preset.resolved(main).members] == ["x:y", "x:y", "a:b"]
    assert [str(model) for _key, model in preflight.models(preset, main)] == ["x:y", "x:y", "a:b"]
    assert [str(model) for _key, model in preflight.models(preset, None)] == ["a:b"]
    assert preset.resolved(None) is preset and parsed(ONE).resolved(main).members == parsed(ONE).members


def test_what_a_preset_says_of_the_main_model_of_silence_and_of_the_aggregator() -> None:
    preset = parsed(ONE)
    assert (preset.effort, preset.family, preset.severity, preset.guidance_tokens) == (None, "any", "note", 8_000)
    assert (preset.tools_at, preset.deep, preset.aggregator_view, preset.aggregator.model) == (
        "never",
        "main",
        "brief",
        "",
    )
    preset = parsed(
        'effort = "high"\nfamily = "other"\nseverity = "concern"\nguidance_tokens = 0\n'
        f'{ONE}[aggregator]\ndeep = "c:d"\naggregator_view = "full"\nmodel = "main"\nfallback = "e:f"\n'
    )
    assert (preset.effort, preset.family, preset.severity, preset.guidance_tokens) == ("high", "other", "concern", 0)
    assert (preset.deep, preset.aggregator_view, preset.aggregator.model, preset.fallback) == (
        "c:d",
        "full",
        "main",
        "e:f",
    )
    assert [str(model) for _key, model in preflight.models(preset, ModelRef("x", "y"))] == ["a:b", "x:y", "e:f", "c:d"]


def test_count_writes_seats_out_and_disabled_ones_are_dropped() -> None:
    preset = parsed(
        '[[references]]\nmodel = "a:b"\ncount = 2\n[[references]]\nmodel = "c:d"\nenabled = false\n'
        '[[references]]\nmodel = "e:f:free"\n'
    )
    assert [(member.slot, str(member.model)) for member in preset.members] == [
        ("1", "a:b"),
        ("2", "a:b"),
        ("3", "e:f:free"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"quorm = 2\n{ONE}", ("x.toml", "quorm", "did you mean quorum?")),
        (f'{ONE}modle = "x"', ("references[1].modle", "did you mean model?")),
        (f"{ONE}[budget]\nturn_us = 1", ("budget.turn_us", "turn_usd")),
        (f'{ONE}base_url = "http://evil"', ("references[1].base_url", "config.toml")),
        (f'{ONE}[aggregator]\napi_key = "k"', ("aggregator.api_key", "config.toml")),
        (f"[headers]\nx = 1\n{ONE}", ("headers", "config.toml")),
        (f'quorum = "2"\n{ONE}', ("quorum", "'2'", "whole number")),
        (f"{ONE}count = true", ("references[1].count", "whole number")),
        (f"{ONE}temperature = 3", ("temperature", "from 0 to 2")),
        (f"{ONE}max_tool_calls = 17", ("max_tool_calls", "1 to 16")),
        (f'{ONE}tools = ["shell"]', ("tools", "shell", "web_search")),
        (f'{ONE}reasoning = "hard"', ("reasoning", "xhigh")),
        ("", ("references", "nobody")),
        (f"{ONE}enabled = false", ("references", "nobody")),
        (ONE * 9, ("9 members", "at most 8")),
        (f"{ONE}count = 9", ("references[1].count", "from 1 to 8")),
        (f"{ONE}count = 20000000", ("references[1].count", "from 1 to 8")),
        (f"{ONE}count = {'9' * 5000}", ("x.toml", "digits")),
        (f"{ONE}count = {'9' * 200}", ("references[1].count", "…", "from 1 to 8")),
        (f"{ONE}x = {'[' * 900}{']' * 900}", ("x.toml", "deeper")),
        (f"{'.'.join('a' * 400)} = 1\n{ONE}", ("x.toml", "a key of more than")),
        (f"timeout_s = inf\n{ONE}", ("timeout_s", "inf")),
        (f'cadence = "every:{"9" * 5000}"\n{ONE}', ("cadence", "every:N")),
        (f"quorum = 2\n{ONE}", ("quorum", "at most 1")),
        (f"grace_s = 200\n{ONE}", ("grace_s", "timeout_s")),
        (f"soft_s = 9\ntimeout_s = 5\n{ONE}", ("soft_s", "timeout_s")),
        (f"timeout_s = 0\n{ONE}", ("timeout_s", "above 0")),
        (f'cadence = "every:0"\n{ONE}', ("cadence", "every:N")),
        (f'cadence = "sometimes"\n{ONE}', ("cadence", "signal")),
        (f'aggregate = "mean"\n{ONE}', ("aggregate", "vote")),
        (f'effort = "hard"\n{ONE}', ("effort", "xhigh")),
        (f'family = "mine"\n{ONE}', ("family", "other")),
        (f'severity = "nothing"\n{ONE}', ("severity", "blocker")),
        (f"guidance_tokens = -1\n{ONE}", ("guidance_tokens", "whole number")),
        (f'{ONE}[aggregator]\naggregator_view = "short"', ("aggregator_view", "full")),
        (f'{ONE}[aggregator]\ndeep = "opus"', ("aggregator.deep", "ENDPOINT:MODEL")),
        (f'{ONE}deep = "main"', ("references[1].deep", "not a known key")),
        (f'family = "other"\n{ONE}[[references]]\nmodel = "main"', ("family", "main model itself")),
        ('[[references]]\nmodel = "gpt"', ("references[1].model", "ENDPOINT:MODEL")),
        ('[[references]]\nmodel = "moa:budget"', ("recursive", "name its models")),
        (f'{ONE}[aggregator]\nmodel = "openrouter:openrouter/fusion"', ("recursive",)),
        (f"{ONE}[aggregator]\nenabled = false", ("aggregator.enabled", "raw")),
        (f"{ONE}[aggregator]\ncount = 2", ("aggregator.count",)),
        (f'name = "y"\n{ONE}', ("name", "not a known key")),
        ('description = "x"\n[[references]\n', ("x.toml", "line 2")),
        ("references = 3", ("references", "[[references]]")),
    ],
)
def test_a_wrong_preset_is_one_error_with_file_key_and_remedy(text: str, said: tuple[str, ...]) -> None:
    found = complaint(text)
    for word in said:
        assert word in found


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_names_no_preset(name: str) -> None:
    assert f"/moa {name} is a command" in complaint(ONE, name)


@given(text=st.text(max_size=200))
def test_any_text_is_a_preset_or_one_clear_error(text: str) -> None:
    try:
        parsed(text)
    except UsageError as error:
        assert str(FILE) in error.message and error.remedy


def test_the_users_preset_beats_the_projects_which_beats_the_shipped_one(tmp_path: Path) -> None:
    config, project = tmp_path / "config", tmp_path / ".moa"
    for folder, model in ((config, "mine:m"), (project, "theirs:m")):
        (folder / "presets").mkdir(parents=True)
        (folder / "presets" / "budget.toml").write_text(f'[[references]]\nmodel = "{model}"\n')
    assert str(load("budget", config_dir=config, project_dir=project).members[0].model) == "mine:m"
    assert str(load("budget", config_dir=tmp_path, project_dir=project).members[0].model) == "theirs:m"
    assert len(load("budget", config_dir=tmp_path, project_dir=None).members) == 3
    found = store.find(config, project)["budget"]
    assert (found.origin, found.shadowed) == ("user", ("project", "shipped"))


def test_an_unknown_preset_names_the_nearest_and_all(tmp_path: Path) -> None:
    for name in ("bugdet", "../budget", ""):
        with pytest.raises(UsageError) as caught:
            load(name, config_dir=tmp_path)
        assert caught.value.kind == "unknown_preset" and "quality" in (caught.value.remedy or "")
    with pytest.raises(UsageError, match="bugdet") as caught:
        load("bugdet", config_dir=tmp_path)
    assert "did you mean budget?" in (caught.value.remedy or "")


def test_saving_keeps_comments_order_and_what_it_does_not_know_of(tmp_path: Path) -> None:
    path = store.copy("budget", "mine", config_dir=tmp_path)
    before = path.read_text()
    preset = store.save(path, {"quorum": 3, "references.1.model": "a:b", "budget.turn_usd": 0.1, "main": None})
    assert (preset.quorum, str(preset.members[1].model), preset.turn_usd, preset.main) == (3, "a:b", 0.1, None)
    changed = [line for line in before.splitlines() if line not in path.read_text().splitlines()]
    assert len(changed) == 4 and not any(line.startswith("#") for line in changed)
    with pytest.raises(UsageError, match="quorum is 9"):
        store.save(path, {"quorum": 9})
    assert store.save(path, {}) == preset


def test_a_new_preset_is_valid_and_never_overwrites(tmp_path: Path) -> None:
    store.new("mine", config_dir=tmp_path)
    assert len(load("mine", config_dir=tmp_path).members) == 3
    with pytest.raises(UsageError, match="already exists"):
        store.new("mine", config_dir=tmp_path)
    with pytest.raises(UsageError, match="is a command"):
        store.copy("budget", "show", config_dir=tmp_path)


def test_a_broken_preset_is_listed_with_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "bad.toml").write_bytes(b"\xe9 = 1")
    rows = {found.name: problem for found, _description, problem in store.descriptions(tmp_path)}
    assert "UTF-8" in (rows["bad"] or "") and rows["budget"] is None
