"""Making room: what is summed up, what stays, when it happens, and what becomes of it when something goes wrong."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.chat.events import Shown
from agent.errors import UsageError
from agent.events import Compacted, ModelRetrying, Notice, SideFinished, SideStarted, TurnFinished
from agent.llm.errors import ContextOverflow, Overloaded
from agent.llm.messages import ImagePart, Message, TextPart, ToolCallPart, assistant, system, tool_result, user
from agent.llm.models.endpoint import ModelFacts
from agent.llm.stream import Reply, Usage
from agent.llm.tokens import estimate_message, estimate_tokens
from agent.loop.compaction.plan import MOST_TAIL, head_and_tail, is_typed, plan
from agent.loop.compaction.summary import mechanical, record
from agent.loop.window import estimate, limit, measure
from agent.plugin import Plugin
from agent.session.session import Session
from tests.support.agent import CONFIG
from tests.support.chatbench import ChatBench, calls
from tests.support.scripted import After, reply_of

WINDOW = ModelFacts(context_window=10_000, max_output=1_000)
LONG = "word " * 1_500  # about 1,900 tokens


def call(number: int) -> ToolCallPart:
    return ToolCallPart(id=f"t{number}", name="read", arguments=json.dumps({"path": f"f{number}"}))


def conversation(turns: int, *, size: int = 400) -> list[tuple[str | None, Message]]:
    messages = [system("be good")]
    for turn in range(turns):
        messages += [
            user(f"task {turn}"),
            assistant("", call(turn)),
            tool_result(call(turn), f"result {turn} " + "x" * size),
            assistant(f"answer {turn}"),
        ]
    return [(f"e{number}", message) for number, message in enumerate(messages)]


# What is cut


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str | None, Message]]:
    messages = [system("s")] * draw(st.integers(0, 2))
    kinds = draw(st.lists(st.sampled_from(["user", "image", "answer", "round", "shell", "summary"]), max_size=25))
    for number, kind in enumerate(kinds):
        text = "w " * draw(st.integers(0, 900))
        if kind == "user":
            messages.append(user(f"say {number} {text}"))
        elif kind == "image":
            picture = ImagePart(media_type="image/png", data="aGk=")
            messages.append(Message(role="user", parts=(TextPart(text=text), picture)))
        elif kind == "answer":
            messages.append(assistant(f"answer {text}"))
        elif kind == "round":
            both = (call(2 * number), call(2 * number + 1))
            messages += [assistant("", *both), *(tool_result(each, text) for each in both)]
        elif kind == "shell":
            messages.append(user(text, synthetic="shell"))
        else:
            messages.append(user(f"summary {text}", synthetic="summary"))
    return [(None if m.synthetic == "summary" else f"e{n}", m) for n, m in enumerate(messages)]


@settings(max_examples=200, deadline=None)
@given(histories())
def test_a_plan_loses_no_pair_and_frees_what_it_says(steps: list[tuple[str | None, Message]]) -> None:
    found = plan(steps)
    if found is None:
        return
    body = [message for _, message in steps if message.role != "system"]
    kept = body[len(found.cut) :]
    assert list(found.cut) == body[: len(found.cut)]
    asked = {each.id for message in kept for each in message.tool_calls}
    answered = {message.tool_call_id for message in kept if message.role == "tool"}
    assert asked == answered, "a call was parted from its result"
    if found.keep_from is not None:
        assert dict(steps)[found.keep_from] is kept[0]
    else:
        assert not kept
    total = sum(map(estimate_message, body))
    after = sum(map(estimate_message, (*found.words, *kept))) + found.tokens
    assert after <= total - total // 10
    typed = [message.text for message in found.cut if is_typed(message)]
    assert len(found.words) <= len(typed)
    if body and is_typed(body[-1]) and steps[-1][0] is not None:
        assert kept and kept[-1] is body[-1], "what the user said last is not answered yet"


def test_the_users_words_are_repeated_as_they_were() -> None:
    found = plan(conversation(20))
    assert found is not None
    texts = [message.text for message in found.words]
    assert texts[0] == "task 0" and texts[-1] == f"task {len(found.words) - 1}"
    assert all(message.synthetic is None for message in found.words)


def test_long_words_are_cut_in_the_middle_and_pictures_named() -> None:
    picture = ImagePart(media_type="image/png", data="aGk=")
    steps = conversation(10)
    steps[1] = ("e1", Message(role="user", parts=(TextPart(text="BEGIN " + LONG * 3 + " END"), picture)))
    found = plan(steps)
    assert found is not None
    first = found.words[0].text
    assert first.startswith("BEGIN") and "characters left out" in first and "END" in first and "no longer sent" in first
    assert estimate_tokens(first) < 2_000


def test_little_is_not_compacted_and_a_huge_last_result_is() -> None:
    assert plan(conversation(1, size=10)) is None
    steps = conversation(3)
    steps += [("x1", assistant("", call(99))), ("x2", tool_result(call(99), LONG * 20))]
    found = plan(steps)
    assert found is not None and found.keep_from is None, "it is more than half of everything: it is summed up, too"


def test_what_stays_is_bounded_however_large_the_window() -> None:
    steps = conversation(900, size=2_000)
    found = plan(steps)
    assert found is not None
    kept = [message for _, message in steps][-(len(steps) - 1 - len(found.cut)) :]
    assert sum(map(estimate_message, kept)) <= MOST_TAIL


def test_the_record_fits_its_room_and_the_mechanical_summary_its_own() -> None:
    cut = tuple(message for _, message in conversation(40, size=9_000)[1:])
    for room in (20_000, 3_000, 300):
        assert estimate_tokens(record(cut, room)) <= room + 40
    fences = record((user("```\nrun this\n```"),), 500)
    assert fences.startswith("User:\n````"), "nothing in it can close its fence"
    found = plan(conversation(40, size=9_000))
    assert found is not None
    assert "task 0" in mechanical(found) and estimate_tokens(mechanical(found)) <= 2 * found.tokens + 40
    assert head_and_tail("a" * 50 + "b" * 50, 20).startswith("a" * 13) and head_and_tail("ab", 2) == "ab"


def test_the_limit_leaves_room_for_an_answer() -> None:
    assert limit(100_000, compact_at=0.8, answer=16_000) == 80_000
    assert limit(32_000, compact_at=0.8, answer=16_000) == 16_000
    assert limit(4_000, compact_at=0.8, answer=16_000) == 2_000


# The session


def test_a_compaction_is_one_entry_and_going_back_undoes_it(tmp_path: Path) -> None:
    session = Session.create(tmp_path)
    for _, message in conversation(4):
        session.add(message, turn="t" if is_typed(message) else None)
    before, steps = session.transcript(), session.steps()
    keep = steps[-4][0]
    summary = user("in short", synthetic="summary")
    session.compact(summary, words=(user("task 0"),), keep_from=keep)
    session.add(user("task 4"), turn="t4")
    after = [before[0], user("task 0"), summary, *before[-4:], user("task 4")]
    assert list(session.history()) == after
    assert list(session.transcript()) == [*before, summary, user("task 4")]
    session.close()
    again = Session.open(tmp_path, session.id)
    assert list(again.history()) == after and again.notices == []
    # Compacted once more: the first summary goes, and what it kept is still there.
    keep = next(entry for entry, message in again.steps() if message.text == "answer 3")
    again.compact(user("shorter", synthetic="summary"), words=(), keep_from=keep)
    assert [message.text for message in again.history()] == ["be good", "shorter", "answer 3", "task 4"]
    again.rewind(again.turns()[-1].before, reason="undo")
    assert list(again.history()) == after[:-1]
    again.rewind(steps[-1][0], reason="undo")
    assert again.history() == before


def test_a_lost_line_costs_what_it_held_and_no_more(tmp_path: Path) -> None:
    session = Session.create(tmp_path)
    for _, message in conversation(3):
        session.add(message)
    keep = session.steps()[-2][0]
    session.compact(user("in short", synthetic="summary"), words=(user("task 0"),), keep_from=keep)
    session.close()
    lines = [line for line in session.path.read_text().splitlines() if json.loads(line)["id"] != keep]
    session.path.write_text("\n".join(lines) + "\n")
    texts = [message.text for message in Session.open(tmp_path, session.id).history()]
    assert texts[:3] == ["be good", "task 0", "in short"]


# When


def full(text: str, prompt: int) -> Reply:
    return reply_of(text, usage=Usage(prompt=prompt, completion=50))


def talk(bench: ChatBench, *more: str) -> ChatBench:
    """Four turns with long questions, then more lines."""
    bench.run(*(f"task {number} {LONG}" for number in range(4)), *more)
    return bench


def test_the_conversation_is_compacted_when_the_window_is_nearly_full(tmp_path: Path) -> None:
    lines = [*(full(f"answer {number}", 2_000 * number + 500) for number in range(3)), full("answer 3", 8_200)]
    bench = talk(ChatBench(tmp_path, [*lines, "THE SUMMARY", full("answer 4", 3_000)], facts=WINDOW), "and on")
    (event,) = bench.all(Compacted)
    assert (event.reason, event.model) == ("threshold", "fake:main")
    assert event.before_tokens > 8_200 and event.after_tokens < 6_000
    purposes = [context.purpose for context in bench.client.contexts]
    assert purposes == ["main"] * 4 + ["compaction", "main"]
    (started,), (done,) = bench.all(SideStarted), bench.all(SideFinished)
    assert (started.kind, done.text, done.outcome) == ("compaction", "THE SUMMARY", "answered")
    last = bench.client.requests[-1].messages
    assert [message.role for message in last][:2] == ["system", "user"] and last[-1].text == "and on"
    assert last[1].text.startswith("task 0") and "left out" in last[1].text
    assert sum(message.synthetic == "summary" for message in last) == 1
    assert bench.all(TurnFinished)[-1].status == "done"
    # All of it is still there to read.
    kept = [message.text[:6] for message in bench.session.transcript() if is_typed(message)]
    assert kept == ["task 0", "task 1", "task 2", "task 3", "and on"]


def test_what_follows_a_compaction_is_a_prefix_of_what_follows_it(tmp_path: Path) -> None:
    lines = [full("a", 1_000), full("b", 3_000), full("c", 5_000), full("d", 9_000), "SUM", full("e", 3_000)]
    bench = talk(ChatBench(tmp_path, [*lines, full("f", 3_100)], facts=WINDOW), "five", "six")
    sent = [
        request.messages
        for request, context in zip(bench.client.requests, bench.client.contexts, strict=True)
        if context.purpose == "main"
    ]
    breaks = [n for n in range(1, len(sent)) if sent[n][: len(sent[n - 1])] != sent[n - 1]]
    assert breaks == [4], "the one exception"
    assert len(bench.all(Compacted)) == 1


def test_an_overflow_is_answered_by_one_compaction_and_one_more_call(tmp_path: Path) -> None:
    lines = [*("a", "b", "c"), ContextOverflow("too long"), "SUM", "after all"]
    bench = talk(ChatBench(tmp_path, lines))
    (event,) = bench.all(Compacted)
    assert event.reason == "overflow"
    assert [(retry.reason, retry.adapted) for retry in bench.all(ModelRetrying)] == [("too long", True)]
    assert bench.all(TurnFinished)[-1].text == "after all"
    assert bench.client.requests[-1].messages[-1].text.startswith("task 3"), "the question is sent whole"


def test_a_second_overflow_is_the_error_it_was(tmp_path: Path) -> None:
    bench = talk(ChatBench(tmp_path, ["a", "b", "c", ContextOverflow("too long"), "SUM", ContextOverflow("still")]))
    assert len(bench.all(Compacted)) == 1
    error = bench.all(TurnFinished)[-1].error
    assert error is not None and (error.kind, error.message) == ("context_overflow", "still")
    (tmp_path / "short").mkdir()
    short = ChatBench(tmp_path / "short", [ContextOverflow("too long")])
    short.run("hi")
    assert short.all(Compacted) == [] and len(short.client.requests) == 1, "there is nothing to sum up"


def test_without_a_model_heads_and_tails_stand_in_and_it_is_told(tmp_path: Path) -> None:
    lines = ["a", "b", "c", ContextOverflow("too long"), Overloaded("busy"), "after all"]
    bench = talk(ChatBench(tmp_path, lines))
    (event,) = bench.all(Compacted)
    assert event.model is None and "Agent: a" in event.message.text
    assert any(notice.code == "compaction_mechanical" and "busy" in notice.text for notice in bench.all(Notice))
    assert bench.all(TurnFinished)[-1].text == "after all"


def test_a_stopped_compaction_leaves_the_conversation_as_it_was(tmp_path: Path) -> None:
    begun = asyncio.Event()
    bench = ChatBench(
        tmp_path,
        ["a", "b", "c", "d", After(60, "SUM")],
        on=lambda event: begun.set() if isinstance(event, SideStarted) else None,
    )

    async def stop() -> None:
        await bench.chat.submit("/compact")
        await begun.wait()
        await asyncio.sleep(0)  # the call itself
        bench.chat.stop()
        await bench.chat.idle()

    bench.run(*(f"task {number} {LONG}" for number in range(4)), stop)
    assert bench.all(Compacted) == [] and bench.client.cancelled == 1
    assert [side.outcome for side in bench.all(SideFinished)] == ["cancelled"]
    assert sum(is_typed(message) for message in bench.history) == 4


# The command


class Keeper(Plugin):
    name = "keeper"

    def keep_in_summary(self) -> str | None:
        return "GOAL: all tests pass"


class Broken(Keeper):
    name = "broken"

    def keep_in_summary(self) -> str | None:
        raise RuntimeError("oh")


def test_compact_keeps_what_it_is_asked_to_and_what_plugins_have_in_force(tmp_path: Path) -> None:
    config = CONFIG + '\n[context]\nmodel = "fake:other"\n'
    plugins = {"broken": lambda _host: Broken(), "keeper": lambda _host: Keeper()}
    todo = calls(("todo", {"items": [{"text": "write it down", "status": "pending"}]}))
    bench = ChatBench(tmp_path, [todo, "b", "c", "d", "e", "SUM", "next"], config=config, plugins=plugins)
    talk(bench, "/compact the port number", "go on", "/context")
    (event,) = bench.all(Compacted)
    assert event.reason == "command" and event.model == "fake:other"
    asked = next(
        r for r, c in zip(bench.client.requests, bench.client.contexts, strict=True) if c.purpose == "compaction"
    )
    assert str(asked.model) == "fake:other" and asked.tools == ()
    assert "kept above all: the port number" in asked.messages[0].text
    text = event.message.text
    assert "SUM" in text and "GOAL: all tests pass" in text and "☐ write it down" in text
    shown = bench.all(Shown)
    assert "SUM" in str(shown[0].view) and "summary" in str(shown[1].view)
    assert bench.client.requests[-1].messages[-1].text == "go on"


def test_compact_says_when_there_is_nothing_to_do(tmp_path: Path) -> None:
    from agent.chat.events import Refused

    bench = ChatBench(tmp_path, ["hello"])
    bench.run("/compact", "hi", "/compact")
    assert [event.message for event in bench.all(Refused)] == ["there is not enough to summarize yet"] * 2
    assert len(bench.client.requests) == 1


def test_undo_goes_back_behind_a_compaction(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, ["a", "b", "c", "d", "SUM"])
    talk(bench, "/compact", "/undo")
    typed = [message.text[:6] for message in bench.history if message.role == "user"]
    assert typed == ["task 0", "task 1", "task 2"]


# The gauge


def test_the_gauge_is_the_endpoints_count_and_what_came_since(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, [full("a", 4_000)], facts=WINDOW)

    async def look() -> None:
        agent = bench.chat.host.agent
        empty = measure(agent)
        assert empty.counted == 0 and empty.used == estimate((agent.opening.system(),), agent.tools.specs)
        await bench.chat.submit("hi")
        await bench.chat.idle()
        assert measure(agent) == (4_050, 10_000, 4_050)
        note = user(LONG)
        agent.session.add(note)
        assert measure(agent).used == 4_050 + estimate_message(note)

    bench.run(look, "/context")
    assert "4,050" in str(bench.view()) and "guidance included" in str(bench.view())


def test_reasoning_that_is_not_sent_again_does_not_count(tmp_path: Path) -> None:
    reply = reply_of("a", usage=Usage(prompt=1_000, completion=900, reasoning=800))
    bench = ChatBench(tmp_path, [reply], facts=WINDOW)
    bench.run("hi")
    found = bench.session.measured()
    assert found is not None and found[0] == 1_100


def test_one_means_never(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, [full("a", 9_900)], facts=WINDOW, config=CONFIG + "\n[context]\ncompact_at = 1.0\n")
    talk(bench)
    assert bench.all(Compacted) == []
    assert not any(context.purpose == "compaction" for context in bench.client.contexts)


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("compact_at = 3", "context.compact_at is 3.0"),
        ('model = "main"', "context.model is 'main'"),
        ('model = "nowhere:x"', "context.model: there is no endpoint 'nowhere'"),
        ("compactat = 0.5", "compactat is not a known key"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, setting: str, told: str) -> None:
    bench = ChatBench(tmp_path, config=CONFIG + f"\n[context]\n{setting}\n", scripted=False)
    with pytest.raises(UsageError) as caught:
        bench.chat.open()
    assert told in caught.value.message and "config.toml" in caught.value.message


def test_an_active_goal_survives_word_for_word(tmp_path: Path) -> None:
    from agent.goal.plugin import Goal, make
    from agent.goal.state import GoalState

    bench = ChatBench(tmp_path, ["a", "b", "c", "d", "SUM"], plugins={"goal": make})

    async def aim() -> None:
        (goal,) = bench.chat.host.plugins
        assert isinstance(goal, Goal)
        goal.set(GoalState(text="ship it by noon", criteria=("tests pass",), status="paused"))

    bench.run(*(f"task {number} {LONG}" for number in range(4)), aim, "/compact")
    (event,) = bench.all(Compacted)
    assert "ship it by noon\n- tests pass" in event.message.text
    state = bench.session.get_state("goal")
    assert state is not None and state["text"] == "ship it by noon"
