"""What faces make of a compaction: one line, a gauge that falls, and a row beside the work that goes when it is done."""

from __future__ import annotations

from agent.chat.events import Opened
from agent.events import Compacted, SideFinished, SideStarted
from agent.llm.messages import user
from agent.ui import words
from agent.ui.line.status import Status
from agent.ui.tui.counsel.side_log import SideLog
from agent.ui.tui.transcript.items import ToolRun, of_session
from agent.ui.tui.transcript.reducer import Teller

SUMMARY = user("In short: all is well.", synthetic="summary")


def compacted(reason: str = "threshold", model: str | None = "fake:summer") -> Compacted:
    return Compacted(
        reason=reason,  # type: ignore[arg-type]
        before_tokens=81_000,
        after_tokens=12_000,
        messages=34,
        model=model,
        message=SUMMARY,
    )


def test_it_is_told_on_a_line() -> None:
    assert (
        words.compacted(compacted()) == "compacted: 81.0k → 12.0k tokens, about; 34 messages summarized by fake:summer"
    )
    assert words.compacted(compacted(model=None)).endswith("summarized without a model")


def test_the_transcript_has_it_with_the_summary_folded_in() -> None:
    (item,) = Teller().apply(compacted()).new
    assert isinstance(item, ToolRun) and (item.text, item.open) == (SUMMARY.text, False)
    assert Teller().apply(compacted("command")).new == [], "the command's own answer tells it"
    (kept,) = of_session(Opened(session="s", history=(SUMMARY,), records=()))
    assert isinstance(kept, ToolRun) and kept.text == SUMMARY.text


def test_the_gauge_of_line_mode_falls() -> None:
    status = Status()
    status.context = 81_000
    status.apply(compacted())
    assert status.context == 12_000


def test_its_row_ends_with_it() -> None:
    log = SideLog()
    log.apply(SideStarted(source="compaction", id="c1", group="c1", kind="compaction", label="summary", model="m"))
    assert [len(group.running) for group in log.groups.values()] == [1]
    log.apply(SideFinished(source="compaction", id="c1", outcome="answered", text="In short"))
    (group,) = log.groups.values()
    assert group.closed and not group.running
