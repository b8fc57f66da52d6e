"""A window that is too small, seen from outside: what the endpoint was sent before and after room was made."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.support.contract import checked
from tests.support.endpoint import ScriptedEndpoint
from tests.support.prefix_cache import items
from tests.support.program import Program, endpoint_config, preset_text
from tests.support.script import ANALYSIS, Behaviour, Say, Script

WINDOW = 24_000
READS = 5


def reading(number: int) -> Say:
    """A call of the read tool whose result has about 10,000 tokens, never the same twice."""
    return Say(text=f"Look {number}.", tools=(("read", {"path": "big.txt", "offset": 1 + number}),))


@pytest.fixture
def reader(program: Program, endpoint: ScriptedEndpoint) -> Program:
    (program.work_dir / "big.txt").write_text("".join(f"{n:>4} {'words and words ' * 6}\n" for n in range(400)))
    main = Behaviour(first=tuple(map(reading, range(READS))), steps=(Say(text="All read."),), window=WINDOW)
    endpoint.script = Script(
        models={
            "main": main,
            "summer": Behaviour(steps=(Say(text="THE SUMMARY: it is all words."),)),
            "small": Behaviour(steps=(Say(text="Mind the words."),), window=4_000),
            "judge": Behaviour(steps=(Say(analysis=ANALYSIS),)),
        }
    )
    return program


def config(program: Program, endpoint: ScriptedEndpoint, *, known: bool) -> None:
    facts = f"[endpoints.fake.models.main]\ncontext_window = {WINDOW}\nmax_output = 1000\n" if known else ""
    small = "[endpoints.fake.models.small]\ncontext_window = 4000\n"
    text = endpoint_config(endpoint.base_url, model="fake:main", more='[context]\nmodel = "fake:summer"\n')
    program.config(text + facts + small)


def test_a_window_nobody_knew_overflows_once_and_the_work_goes_on(reader: Program, endpoint: ScriptedEndpoint) -> None:
    config(reader, endpoint, known=False)
    result = checked(reader.run("Read it all.", "--no-moa"), "done")
    assert result["text"] == "All read."
    main = endpoint.calls("main")
    refused = [number for number, call in enumerate(main) if call.status == 400]
    assert refused and all(main[number + 1].status == 200 for number in refused), "each is answered by one more call"
    assert len(endpoint.calls("summer")) == len(refused)
    assert [call["purpose"] for call in result["calls"]].count("compaction") == len(refused)
    after = main[refused[0] + 1].body["messages"]
    assert [message["role"] for message in after[:3]] == ["system", "user", "user"]
    assert after[1]["content"] == "Read it all." and "THE SUMMARY" in after[2]["content"]
    for before, now in pairwise(main):
        if before.status == now.status == 200:
            assert items(now.body)[: len(items(before.body))] == items(before.body)


def test_a_known_window_is_never_overrun_and_counsel_begins_anew(reader: Program, endpoint: ScriptedEndpoint) -> None:
    config(reader, endpoint, known=True)
    reader.preset("panel", preset_text(["fake:small", "fake:large"]))
    done = reader("run", "--output-format", "stream-json", "--preset", "panel", "Read it all.")
    *events, result = done.lines
    assert (done.code, result["text"]) == (0, "All read."), done.err
    assert {call.status for call in endpoint.calls()} == {200}, "neither the main model nor the small member overflowed"
    compacted = [event for event in events if event["type"] == "compacted"]
    assert compacted and all(event["after_tokens"] < event["before_tokens"] for event in compacted)
    assert all(event["model"] == "fake:summer" and event["reason"] == "threshold" for event in compacted)
    assert {counsel["answered"] for counsel in result["counsel"]} == {2}
    for member in ("small", "large"):
        last = endpoint.calls(member)[-1].body["messages"]
        assert "THE SUMMARY" in str(last) and "written by the program" in str(last)
    breaks = [
        now.number
        for before, now in pairwise(endpoint.calls("large"))
        if items(now.body)[:-1][: len(items(before.body)) - 2] != items(before.body)[:-1][:-1]
    ]
    assert len(breaks) <= len(compacted), "a member's view begins anew with a compaction, and only then"


@pytest.mark.slow
def test_a_resumed_session_goes_on_from_its_summary(reader: Program, endpoint: ScriptedEndpoint) -> None:
    config(reader, endpoint, known=False)
    result = checked(reader.run("Read it all.", "--no-moa"), "done")
    endpoint.clear()
    again = checked(reader.run("And now?", "--no-moa", "--session", result["session"]), "done")
    first = endpoint.calls("main")[0].body["messages"]
    assert "THE SUMMARY" in str(first) and first[-1]["content"] == "And now?"
    assert again["session"] == result["session"]
    assert "Look 0." in reader("session", "export", result["session"]).out
