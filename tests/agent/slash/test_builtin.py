"""The host's own commands, as a face meets them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agent.chat.events import Action, Opened, Refused, Shown
from agent.host import Options
from agent.llm.messages import ImagePart
from agent.llm.models.catalogue import ListedModel
from agent.llm.models.endpoint import ModelFacts
from agent.ui.text import render
from agent.views import PlotView, TableView, TabsView
from tests.support.agent import CONFIG
from tests.support.chatbench import ChatBench, calls


def shown(bench: ChatBench) -> list[str]:
    return [render(event.view) for event in bench.all(Shown)]


def refusals(bench: ChatBench) -> list[str]:
    return [f"{event.message} — {event.remedy}" for event in bench.all(Refused)]


def test_help_is_made_from_the_table(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path)
    bench.run("/help", "/help /activity", "/help undo", "/help undoo")
    whole, activity, undo = shown(bench)
    for name in ("model", "cost", "activity", "context", "resume", "fork", "undo", "export", "copy", "approve"):
        assert f"/{name}" in whole
    assert "at any time" in activity and "[all] [session" in activity
    assert "it waits" in undo
    assert refusals(bench) == ["there is no command /undoo — did you mean /undo?"]


def test_init_asks_for_instructions_and_keeps_what_is_there(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path)
    bench.run("/init mind the tests")
    assert bench.texts[0].startswith("Write AGENTS.md for this repository") and "mind the tests" in bench.texts[0]
    (bench.work / "AGENTS.md").write_text("Be brief.")
    again = ChatBench(tmp_path)
    again.run("/init")
    asked = next(text for text in again.texts if "for this repository" in text)
    assert asked.startswith("Improve AGENTS.md") and "Keep what is right in it" in asked


@pytest.mark.parametrize(
    ("typed", "leads_to"),
    [
        ("/usage", "this conversation"),
        ("/permissions", "approv"),
        ("/status", "approval mode"),
        ("/models", "fake"),
        ("/rewind list", "your messages"),
    ],
)
def test_words_of_other_agents_lead_on(tmp_path: Path, typed: str, leads_to: str) -> None:
    bench = ChatBench(tmp_path)
    bench.run("hi", typed)
    (text,) = shown(bench)
    assert leads_to in text and refusals(bench) == []


def test_exit_leaves_and_what_is_like_nothing_suggests_nothing(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path)
    bench.run("/exit", "/xyzzy", "/perm", "/emissions")
    assert [event.name for event in bench.all(Action)] == ["quit"]
    assert all("did you mean" not in text for text in refusals(bench)) and len(refusals(bench)) == 3


def test_diff_shows_what_the_file_tools_have_changed(tmp_path: Path) -> None:
    write = calls(("write", {"path": "a.txt", "content": "one\ntwo\n"}))
    again = calls(("edit", {"path": "a.txt", "old": "two", "new": "three"}))
    bench = ChatBench(tmp_path, [write, again, "done"])
    bench.run("/diff", "/approve all", "go", "/diff")
    before, _mode, after = shown(bench)
    assert "no file has been changed" in before
    assert "1 file changed" in after and "a.txt  (created)" in after and "+three" in after and "two" not in after


def test_every_command_has_a_summary_and_completes_without_harm(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path)
    bench.run()
    for command in bench.chat.host.commands.commands.values():
        assert command.summary and not command.summary.endswith(".")
        for typed in ("", "x", "a b", "[/]"):
            assert all(isinstance(choice, str) for choice in command.complete(typed))


@pytest.mark.parametrize("line", ["/cost x", "/context x", "/clear x", "/fork x", "/quit x"])
def test_what_takes_nothing_says_so(tmp_path: Path, line: str) -> None:
    bench = ChatBench(tmp_path)
    bench.run(line)
    assert "takes no argument" in refusals(bench)[0]


# Model


def test_model_shows_and_switches(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, facts=ModelFacts(context_window=100_000))
    bench.run("/model", "hi", "/model fake:other", "again", "/model")
    assert "fake:main" in shown(bench)[0] and "100,000 tokens" in shown(bench)[0]
    assert [str(request.model) for request in bench.client.requests] == ["fake:main", "fake:other"]
    assert "fake:other" in shown(bench)[2]
    again = ChatBench(tmp_path, options=Options(resume_latest=True, cwd=bench.work))
    again.run()
    assert str(again.chat.host.agent.model) == "fake:other"
    named = ChatBench(tmp_path, options=Options(resume_latest=True, cwd=bench.work, model="fake:main"))
    named.run()
    assert str(named.chat.host.agent.model) == "fake:main"


def test_model_is_checked_against_the_endpoints(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, scripted=False)
    bench.run("/model fakes:main", "/model openai:gpt-5.5", "/model othe", "/model fake:mian")
    unknown, keyless, no_ref = refusals(bench)
    assert "no endpoint 'fakes'; did you mean 'fake'?" in unknown
    assert "OPENAI_API_KEY" in keyless
    assert "did you mean fake:other?" in no_ref
    assert "does not list that one" in shown(bench)[0] and "did you mean fake:main?" in shown(bench)[0]


def test_a_model_chosen_in_the_chat_ends_the_lack_of_one(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, config=CONFIG.replace('model = "fake:main"', ""), scripted=False)
    bench.run("/model", "/context", "/model fake:main")
    assert refusals(bench)[0].startswith("no model is configured")
    assert bench.chat.host.model_error is None


def test_models_complete_from_what_the_endpoints_list(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, scripted=False)

    async def look() -> None:
        client = bench.chat.host.agent.client
        client.catalogue.store(client.endpoint("fake"), [ListedModel("big/one"), ListedModel("small/one")])
        command = bench.chat.host.commands.commands["model"]
        assert list(command.complete("fake:")) == ["fake:big/one", "fake:main", "fake:other", "fake:small/one"]
        assert list(command.complete("one sm")) == ["fake:small/one"]
        assert not any(name.startswith("openai:") for name in command.complete(""))

    bench.run(look)


def test_a_switch_to_a_model_without_eyes_is_told(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, facts=ModelFacts(images=None))

    async def look() -> None:
        await bench.chat.submit("look", [ImagePart(media_type="image/png", data="aGk=")])
        await bench.chat.idle()
        bench.client.known = ModelFacts(images=False)

    bench.run(look, "/model fake:other")
    assert "it takes none" in shown(bench)[0]


# Money


def spend(bench: ChatBench) -> None:
    """Two calls in the books: one with a known cost, one without."""
    from agent.llm.accounting import Bound, CallContext, Settlement
    from agent.llm.request import ModelRef
    from agent.llm.stream import Usage

    ledger, session = bench.chat.host.agent.ledger, bench.chat.host.agent.session.id
    for purpose, nano in (("main", 31_000_000), ("reference", None)):
        context = CallContext(purpose, session=session, turn="t1", run="r1")  # type: ignore[arg-type]
        call = ledger.reserve(ModelRef("fake", "main"), context, Bound(100, 50, None))
        ledger.sent(call)
        source = "unknown" if nano is None else "reply"
        settlement = Settlement(
            outcome="done", usage=Usage(prompt=90, completion=10), cost_nano=nano, cost_source=source, model_served="m"
        )
        ledger.settle(call, settlement)


def test_cost_adds_up_and_marks_a_lower_bound(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, config=CONFIG + "\n[budget]\nsession_usd = 5.0\nturn_tokens = 9_000\n")

    async def books() -> None:
        spend(bench)

    bench.run("/cost", books, "/cost")
    empty, full = bench.all(Shown)
    assert isinstance(empty.view, TableView)
    assert isinstance(full.view, TabsView)
    text = render(full.view)
    assert "≥ $0.031" in text and "its last turn" in text and "member" in text
    assert "cap for a session: ≥ $0.031 of $5.00" in text and "cap for a turn: 9,000 tokens" in text
    rows = {row[0].strip(): row[-2:] for row in full.view.tabs[0][1].rows}  # type: ignore[union-attr]
    assert rows["this conversation"][0] == "≥ 1.00 ×" and rows["main"] == ("1.00 ×", "") and rows["member"][0] == ""
    assert all(row[1].endswith(" s") for name, row in rows.items() if name in ("this conversation", "member"))
    plots = [view for _, view in full.view.tabs if isinstance(view, PlotView)]
    assert plots[0].bars == (("fake:main", 0.031),)
    assert "without calls of unknown cost" in plots[0].title


def test_activity_of_this_conversation_and_of_all(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path)

    async def books() -> None:
        spend(bench)

    bench.run(books, "/activity", "/activity day", "/activity all model", "/clear", "/activity", "/activity weekday")
    first, day, everything, after_clear = shown(bench)
    assert "by model" in first and "calls" in first
    assert "spent by day" in day and "spent by model" not in day
    assert "fake:main" in everything
    assert "no calls" in after_clear
    assert "can't be grouped by 'weekday'" in refusals(bench)[0]


# Context


def test_context_says_what_fills_the_window(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "a.txt").write_text("word " * 4000)
    facts = ModelFacts(context_window=100_000)
    bench = ChatBench(tmp_path, [calls(("read", {"path": "a.txt"}), text="let me look"), "done"], facts=facts)
    bench.run("/context", "go", "/context")
    before, after = shown(bench)
    assert "a window of 100,000 tokens" in before and "system prompt" in before and "tool results" not in before
    for part in ("your messages", "answers", "tool calls", "tool results", "free", "%"):
        assert part in after


# The face's own


def test_copy_takes_an_answer_or_its_last_code(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, ["one\n\n```sh\nls\n```\n\n~~~\nsecond `block`\n~~~", "two"])
    bench.run("/copy", "hi", "/copy", "/copy code", "again", "/copy 2", "/copy 3", "/copy code")
    texts = [event.text for event in bench.all(Action)]
    assert texts == [texts[0], "second `block`\n", texts[0]] and texts[0].startswith("one")
    assert [line.split(" — ")[0] for line in refusals(bench)] == [
        "there is no answer to copy yet",
        "/copy 3: there is no such answer",
        "the last answer has no code block",
    ]


def test_theme_and_quit_are_the_faces_business(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path)
    bench.run("/theme", "/theme nord", "/quit")
    assert [(event.name, event.text) for event in bench.all(Action)] == [("theme", ""), ("theme", "nord"), ("quit", "")]


def test_approve_shows_and_changes_the_mode(tmp_path: Path) -> None:
    write = calls(("write", {"path": "a.txt", "content": "x"}))
    bench = ChatBench(tmp_path, [write, "done"], config=CONFIG + '\n[approve]\nallow = ["shell(git status*)"]\n')
    bench.run("/approve", "/approve deny", "/approve edits", "go", "/approve everything")
    assert "mode ask" in shown(bench)[0] and "shell(git status*)" in shown(bench)[0]
    assert "others are refused" in shown(bench)[1]
    assert (bench.work / "a.txt").exists()
    assert "there is no approval mode 'everything'" in refusals(bench)[0]


def test_export_writes_a_file_once(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, ["fine"])
    bench.run("/export", "hi", "/export", "/export html", "/export talk.json", "/export talk.json", "/export talk.doc")
    (markdown,) = bench.work.glob("conversation-*.md")
    assert "fine" in markdown.read_text() and markdown.stat().st_mode & 0o077 == 0
    assert len(list(bench.work.glob("*.html"))) == 1
    assert '"fine"' in (bench.work / "talk.json").read_text()
    nothing, there, which = refusals(bench)
    assert nothing.startswith("there is nothing to export") and "already exists" in there and "unknown format" in which


def test_commands_without_a_chat(tmp_path: Path) -> None:
    import io

    from agent.ui.run.headless import Output, run

    async def main() -> tuple[list[int], str, str]:
        out, err = io.StringIO(), io.StringIO()
        codes = []
        host = ChatBench(tmp_path).build(Options(cwd=tmp_path))
        try:
            for line in ("/help", "/cost", "/quit", "/copy"):
                codes.append(await run(host, line, Output(out=out, err=err)))
        finally:
            await host.aclose()
        return codes, out.getvalue(), err.getvalue()

    codes, out, err = asyncio.run(main())
    assert codes == [0, 0, 2, 2]
    assert "/activity" in out and "/quit is for an open conversation" in err


# Names


def test_rename_and_resume_by_name(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path)
    bench.run(
        "/rename",
        "/rename  the\x1b blue\nheron ",
        "hi",
        "/clear",
        "other",
        "/rename The Blue Heron",
        "/resume",
        "/resume the blue",
    )
    first, second = (event.session for event in bench.all(Opened)[:2])
    told, taken = refusals(bench)
    assert "no name yet" in told
    assert first in taken and "another name" in taken
    assert "'the blue heron'" in shown(bench)[0]
    assert any("conversations" in text and "the blue heron" in text for text in shown(bench))
    assert [event.session for event in bench.all(Opened)] == [first, second, first]


def test_a_name_has_an_end_and_is_no_id(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path)
    bench.run("hi", f"/rename {'x' * 81}", "/rename 2")
    long, number = refusals(bench)
    assert "80 at most" in long
    assert "the id of a conversation" in number
