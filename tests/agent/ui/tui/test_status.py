from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from agent.chat.events import Inquired, Opened, Queued, Settled
from agent.events import Cost, ModelFinished, ModelStarted, TurnFinished, TurnStarted
from agent.forms import Choices
from agent.llm.messages import assistant, user
from agent.llm.stream import Usage
from agent.ui.tui.status import Status, StatusLine, status_content
from tests.agent.ui.tui import counsel
from tests.support.screen import dump, widths
from tests.support.waiting import until
from tests.support.widgets import Beats, Clock, WidgetStage

FULL = Status(
    model="openrouter:anthropic/claude-opus-4.8",
    plugins=("moa budget", "goal 2/20"),
    cost=Cost(usd=0.0312, lower_bound=True),
    used=150_000,
    window=200_000,
    queue=2,
    mode="edits",
    cwd=str(Path.home() / "src" / "project"),
)


def test_with_room_enough_it_says_everything() -> None:
    said = status_content(FULL, 200).plain
    assert (
        said
        == "openrouter:anthropic/claude-opus-4.8 · moa budget goal 2/20 · ≥ $0.031 · 150k/200k ▕███▊ ▏75% · 2 queued · edits · ~/src/project"
    )


def test_what_matters_least_goes_first() -> None:
    assert "~/src" not in status_content(FULL, 80).plain and "moa" in status_content(FULL, 80).plain
    assert status_content(FULL, 50).plain == "claude-opus-4.8 · 75% · 2 queued · edits"
    assert status_content(FULL, 24).plain == "claude-opus-… · 2 queued"
    assert status_content(FULL, 10).plain == "2 queued"


@pytest.mark.parametrize("width", range(1, 140, 3))
def test_it_never_takes_more_than_its_line(width: int) -> None:
    from dataclasses import replace

    odd = replace(FULL, model=counsel.HOSTILE, plugins=(counsel.HOSTILE,), cwd="/層/" * 9)
    for status in (FULL, odd, Status(model="層" * 40)):
        content = status_content(status, width)
        assert content.cell_length <= width and "\n" not in content.plain and "\x1b" not in content.plain


def test_a_context_of_unknown_size_is_a_bare_number() -> None:
    assert "12.3k tokens" in status_content(Status(used=12_345), 80).plain
    assert "▕" not in status_content(Status(), 80).plain


def test_events_keep_it_up_to_date() -> None:
    line = StatusLine(Status(model="x:main", mode="ask"))

    async def scene(app: WidgetStage, pilot: Pilot[None]) -> None:
        line.apply(Opened(session="s", history=()))
        line.apply(Queued(texts=("a", "b")))
        line.apply(ModelStarted(iteration=1, model="x:other"))
        line.apply(ModelStarted(iteration=1, model="x:nested", source="delegate"))
        line.apply(counsel.finished(1, usd=0.25))
        line.apply(_model_finished(1.0))
        assert line.status.model == "x:other" and line.status.queue == 2
        assert line.status.cost == Cost(usd=1.25) and line.status.used == 1_020
        line.apply(counsel.finished(2, usd=None))
        assert line.status.cost == Cost(usd=1.25, lower_bound=True)
        line.apply(TurnFinished(turn="t", status="done", text="", cost=Cost(usd=1.75)))
        assert line.status.cost.usd == pytest.approx(1.75), "the ledger's sum counts what no event told"
        line.apply(_model_finished(0.5))
        line.apply(Queued(texts=()))
        await until(lambda: "≥ $2.25" in dump(app) and "queued" not in dump(app))
        assert widths(app) == {80}
        line.apply(TurnFinished(turn="t", status="done", text="", cost=Cost(usd=0.5)))
        line.apply(counsel.finished(3, usd=1.0))  # a review, say, which no turn asked for
        line.apply(TurnStarted(session="s", turn="u", prompt=user("hi")))
        line.apply(TurnFinished(turn="u", status="done", text="", cost=Cost(usd=0.25)))
        assert line.status.cost.usd == pytest.approx(3.5), "what came between two turns stays"
        line.apply(Opened(session="s", history=()))
        line.apply(TurnFinished(turn="v", status="interrupted", text="", cost=Cost(usd=None, lower_bound=True)))
        assert line.status.cost == Cost(usd=0.0, lower_bound=True)

    WidgetStage(line).play(scene, (80, 12))


def _model_finished(usd: float) -> ModelFinished:
    return ModelFinished(
        iteration=1,
        call_id="c",
        message=assistant("hi"),
        finish="stop",
        usage=Usage(prompt=1_000, completion=20),
        cost=Cost(usd=usd),
    )


def test_it_is_painted_at_most_four_times_a_second_and_without_a_layout() -> None:
    line = StatusLine(Status(model="x:main", mode="ask"))
    beats = Beats(line)

    async def scene(app: WidgetStage, pilot: Pilot[None]) -> None:
        painted: list[Any] = []
        refresh = line.refresh

        def counted(*args: Any, **kwargs: Any) -> Any:
            painted.append(kwargs.get("layout"))
            return refresh(*args, **kwargs)

        line.refresh = counted  # type: ignore[method-assign]
        for number in range(500):
            line.show(used=number)
        assert len(painted) == 1 and len(beats) == 1
        assert 0 < beats.seconds[0] <= 0.25
        beats.go_off()
        await pilot.pause()
        assert painted == [False, False]
        assert "499 tokens" in dump(app)
        line.show(used=499)
        assert len(painted) == 2 and not beats, "nothing changed, nothing is due"

    WidgetStage(line).play(scene, (80, 12))


def test_a_turn_has_a_sign_of_life_and_its_time() -> None:
    clock = Clock()
    line = StatusLine(Status(model="x:main"), clock=clock)
    beats = Beats(line)

    async def scene(app: WidgetStage, pilot: Pilot[None]) -> None:
        line.apply(TurnStarted(source="main", session="s", turn="t", prompt=user("hi")))
        clock.now += 12
        beats.go_off()
        beats.go_off()
        await pilot.pause()
        assert "12 s · x:main" in dump(app)
        line.apply(Inquired(id="f1", form=Choices(title="?", choices=())))
        clock.now += 30
        beats.go_off()
        beats.go_off()
        await pilot.pause()
        assert "12 s · x:main" in dump(app), "the user's time is not the turn's"
        line.apply(Settled(id="f1"))
        clock.now += 1
        beats.go_off()
        beats.go_off()
        await pilot.pause()
        assert "13 s · x:main" in dump(app)
        line.apply(TurnFinished(source="main", turn="t", status="done", text=""))
        beats.go_off()
        await pilot.pause()
        assert dump(app).strip() == "x:main · $0" and not beats

    WidgetStage(line).play(scene, (80, 3))
