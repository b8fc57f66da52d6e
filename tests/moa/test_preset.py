from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import UsageError
from moa import preset_files
from moa.preset import VERBS, Preset, load, read

ONE = '[[references]]\nmodel = "a:b"\n'
FILE = Path("some/x.toml")


def parsed(text: str) -> Preset:
    return read(text, name="x", path=FILE)


def complaint(text: str, name: str = "x") -> str:
    with pytest.raises(UsageError) as caught:
        read(text, name=name, path=FILE)
    assert caught.value.remedy
    return f"{caught.value.message} | {caught.value.remedy}"


@pytest.mark.parametrize("found", preset_files.find(Path("nowhere"), None).values(), ids=lambda found: found.name)
def test_a_shipped_preset_is_valid_and_says_what_it_is(found: preset_files.Found) -> None:
    preset = load(found.name, config_dir=Path("nowhere"))
    assert preset.description and "\n" not in preset.description
    assert all(member.reference.tools == () for member in preset.members)
    text = found.path.read_text()
    assert text.startswith("#") and "Not for:" in text
    endpoint = "local" if found.name == "local" else "openrouter"
    assert {model.endpoint for _key, model in preset.models(None)} == {endpoint}


def test_all_eight_presets_ship() -> None:
    names = {"quality", "budget", "fast", "self", "frontier", "open", "code", "local"}
    assert set(preset_files.find(Path("nowhere"), None)) == names


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
        (f"{ONE}count = 9", ("9 members", "at most 8")),
        (f"quorum = 2\n{ONE}", ("quorum", "at most 1")),
        (f"grace_s = 200\n{ONE}", ("grace_s", "timeout_s")),
        (f"soft_s = 9\ntimeout_s = 5\n{ONE}", ("soft_s", "timeout_s")),
        (f"timeout_s = 0\n{ONE}", ("timeout_s", "above 0")),
        (f'cadence = "every:0"\n{ONE}', ("cadence", "every:N")),
        (f'cadence = "sometimes"\n{ONE}', ("cadence", "signal")),
        (f'aggregate = "mean"\n{ONE}', ("aggregate", "vote")),
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
    found = preset_files.find(config, project)["budget"]
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
    path = preset_files.copy("budget", "mine", config_dir=tmp_path)
    before = path.read_text()
    preset = preset_files.save(path, {"quorum": 3, "references.1.model": "a:b", "budget.turn_usd": 0.1, "main": None})
    assert (preset.quorum, str(preset.members[1].model), preset.turn_usd, preset.main) == (3, "a:b", 0.1, None)
    changed = [line for line in before.splitlines() if line not in path.read_text().splitlines()]
    assert len(changed) == 4 and not any(line.startswith("#") for line in changed)
    with pytest.raises(UsageError, match="quorum is 9"):
        preset_files.save(path, {"quorum": 9})
    assert preset_files.save(path, {}) == preset


def test_a_new_preset_is_valid_and_never_overwrites(tmp_path: Path) -> None:
    preset_files.new("mine", config_dir=tmp_path)
    assert len(load("mine", config_dir=tmp_path).members) == 3
    with pytest.raises(UsageError, match="there already"):
        preset_files.new("mine", config_dir=tmp_path)
    with pytest.raises(UsageError, match="is a command"):
        preset_files.copy("budget", "show", config_dir=tmp_path)


def test_a_broken_preset_is_listed_with_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "bad.toml").write_bytes(b"\xff\xfe")
    rows = {found.name: problem for found, _description, problem in preset_files.descriptions(tmp_path)}
    assert "UTF-8" in (rows["bad"] or "") and rows["budget"] is None
