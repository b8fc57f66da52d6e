"""The agent's loop as an arm of a bench: repositories, counsel in the loop, its placebos. The models are scripted, of known strength."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest

from agent.config.config import load_config
from agent.errors import UsageError
from agent.llm.request import ModelRef
from moa.bench.check import Checker
from moa.bench.loop import arms as loop_arms
from moa.bench.repo.repository import COMMAND, Kind, Repository
from moa.bench.repo.suite import ALL
from moa.cli.main import main
from moa.store.reading import read
from tests.support import repo_models as models
from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import endpoint_config, preset_text
from tests.support.script import Script

KNOWS, FOLLOWS, ADVISED = 0.4, 0.8, 0.9

Moa = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def moa(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Moa]:
    """The command with folders of its own, a main model that knows some fixes and a panel of one member that knows more."""
    for kind in ("CONFIG", "STATE", "CACHE"):
        monkeypatch.setenv(f"MOA_{kind}_DIR", str(tmp_path / kind.lower()))
    (tmp_path / "config" / "presets").mkdir(parents=True)
    script = Script(
        models={"main": models.main(knows=KNOWS, follows=FOLLOWS), "member": models.member(right=ADVISED)}, only=True
    )

    def run(*words: str) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = main(["bench", *words, "--output-format", "json"])
        return code, json.loads(capsys.readouterr().out)

    with ScriptedEndpoint(script) as endpoint:
        config = endpoint_config(endpoint.base_url, model="fake:main", more="")
        prices = "".join(
            f'[endpoints.fake.models."{name}"]\nprice = {{ prompt = 1, completion = 2 }}\n'
            for name in ("main", "member")
        )
        (tmp_path / "config" / "config.toml").write_text(config + prices)
        (tmp_path / "config" / "presets" / "one.toml").write_text(preset_text(["fake:member"], aggregate="raw"))
        yield run


def outcomes(counsel: bool, repositories: tuple[Repository, ...] = ALL) -> dict[str, bool]:
    return {
        each.id: models.expected(each, knows=KNOWS, follows=FOLLOWS, advised=ADVISED, counsel=counsel)
        for each in repositories
    }


def items_of(root: Path, run: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (root / "state" / "bench" / run / "items.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("limit", "arms"),
    [
        (1, "solo,counsel:iteration"),
        pytest.param(
            4,
            "solo,counsel:iteration,counsel:last,placebo:other,placebo:shuffled,counsel:signal",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_cells_are_those_of_the_models(moa: Moa, tmp_path: Path, limit: int, arms: str) -> None:
    code, found = moa("run", "repo", "--preset", "one", "--arms", arms, "--limit", str(limit), "--yes")
    assert code == 0, found
    rows = items_of(tmp_path, found["id"])
    assert len(rows) == limit * len(arms.split(","))
    for row in rows:
        # Words in another order, and advice on another repository, change nothing.
        counsel = row["arm"].startswith("counsel:")
        assert row["score"] == outcomes(counsel=counsel)[row["item"]], row
        assert row["status"] == "done" and len(row["calls"]) > row["steps"] * (
            counsel and row["arm"] != "counsel:signal"
        )
    by_name = {arm["name"]: arm for arm in found["arms"]}
    loop = by_name["counsel:iteration"]["loop"]
    assert (
        loop["taken"] >= loop["sent"] >= limit and loop["followed"] + loop["ignored"] + loop["untold"] == loop["sent"]
    )
    assert (
        by_name["solo"]["loop"]["taken"] == 0
        and by_name["counsel:iteration"]["cost"]["usd"] > by_name["solo"]["cost"]["usd"]
    )
    if "placebo:other" in by_name:
        given = {row["item"]: row["given"] for row in rows if row["arm"] == "counsel:iteration"}
        order = json.loads((tmp_path / "state" / "bench" / found["id"] / "run.json").read_text())["items"]
        others = {row["item"]: row["given"] for row in rows if row["arm"] == "placebo:other"}
        for item, other in zip(order, [*order[1:], order[0]], strict=True):
            assert [each["text"] for each in others[item]] == [each["text"] for each in given[other]][
                : len(others[item])
            ]
    # Every conversation is kept; gone on with from anywhere, it ends as it would have.
    folder = tmp_path / "state" / "bench" / found["id"]
    assert len(list((folder / "sessions").iterdir())) == len(rows)
    kept = (folder / "items.jsonl").read_bytes()
    (folder / "items.jsonl").write_bytes(kept[: len(kept) // 2])
    again = moa("run", "--resume", found["id"])[1]
    assert [(a["name"], a["score"], a["loop"]) for a in again["arms"]] == [
        (a["name"], a["score"], a["loop"]) for a in found["arms"]
    ]


@pytest.mark.slow
@pytest.mark.parametrize("repository", ALL, ids=lambda each: each.id)
def test_a_repository_fails_until_it_is_mended(repository: Repository, tmp_path: Path) -> None:
    checker = Checker(load_config({f"MOA_{kind}_DIR": str(tmp_path / kind) for kind in ("CONFIG", "STATE", "CACHE")}))

    def passes(files: Mapping[str, str]) -> bool:
        return asyncio.run(checker.run(COMMAND, files)).passed

    assert not passes(repository.files), "its own test fails"
    assert passes(repository.changed(repository.fix) | repository.tests)
    assert not passes(repository.changed(repository.wrong) | repository.tests)


def test_the_suite_has_four_kinds_of_repositories() -> None:
    assert len(ALL) >= 24 and len({each.id for each in ALL}) == len(ALL)
    assert {kind: sum(each.kind == kind for each in ALL) >= 6 for kind in get_args(Kind)} == dict.fromkeys(
        get_args(Kind), True
    )


@pytest.mark.parametrize(
    ("arms", "said"),
    [
        ("self:3", "no arm 'self:3'"),
        ("counsel:never", "no arm 'counsel:never'"),
        ("placebo:other", "no arm takes any"),
        ("counsel:iteration", "--preset"),
    ],
)
def test_what_is_no_arm_of_a_task_is_said(arms: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        loop_arms.parse(
            arms.split(","),
            main=ModelRef("x", "main"),
            preset=None if said == "--preset" else read(preset_text(["x:m"]), name="p", path=Path("p.toml")),
        )
    assert said in f"{refused.value.message} {refused.value.remedy}"


@pytest.mark.slow
def test_a_check_is_bounded(tmp_path: Path) -> None:
    checker = Checker(load_config({f"MOA_{kind}_DIR": str(tmp_path / kind) for kind in ("CONFIG", "STATE", "CACHE")}))
    told = asyncio.run(checker.run("cat; echo; cat f; exit 3", {"f": "inside"}, said="said"))
    assert told.code == 3 and told.output.split() == ["said", "inside"]
    assert asyncio.run(checker.run("sleep 60", {}, timeout_s=0.1)).code is None
    with pytest.raises(ValueError, match="leads out"):
        asyncio.run(checker.run("true", {"../x": ""}))
