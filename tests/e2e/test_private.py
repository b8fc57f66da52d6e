"""Guidance is private: it stands where it was sent, in the session file once, and where the user looks for it; nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.chatbench import ChatBench
from tests.support.preserved import POINT, WIRES, BoundWorld, sequence, texts
from tests.support.script import Say


@pytest.mark.parametrize(
    "wire", [pytest.param(wire, marks=() if wire == "messages" else pytest.mark.slow) for wire in WIRES]
)
def test_two_markers_are_found_where_they_belong_and_nowhere_else(tmp_path: Path, wire: str) -> None:
    with BoundWorld(tmp_path, wire, sealed_items_bind=False) as world:
        world.configure(
            '[goal]\njudge = "fake:verdict"\n[context]\nmodel = "fake:summary"\n',
            endpoint='[delegate]\nmodels = ["fake:helper"]\n',
        )
        world.preset(cadence="iteration", members=("alpha", "beta"))
        verdict = {"reason": "more", "unmet": [], "verdict": "continue", "wait_s": 0}
        world.script(
            verdict=sequence(Say(analysis=verdict), Say(analysis={**verdict, "verdict": "done"})),
            summary=sequence(Say(text="They looked around.")),
            helper=sequence(Say(text="Nothing there.")),
            main=sequence(
                Say(tools=(("delegate", {"task": "Look.", "preset": "fake:helper"}),)),
                Say(text="A first answer."),
                Say(tools=(("glob", {"pattern": "*"}),)),
                Say(text="A second answer."),
            ),
        )
        done = world.stream("Look around.", "--goal")
        *events, result = done.lines
        session = result["session"]
        guidance = [counsel["guidance"] for counsel in result["counsel"] if counsel["guidance"]]
        assert len(guidance) == 4

        # Where it belongs.
        assert all(words in texts(world.calls()[-1]) for words in guidance)
        started = [
            event["guidance"] for event in events if event["type"] == "model_started" and event["source"] == "main"
        ]
        assert [words for words in guidance if words not in started] == []
        file = world.program.state_dir / "sessions" / f"{session}.jsonl"
        kept = file.read_text("utf-8")
        assert [kept.count(json.dumps(words, ensure_ascii=False)[1:-1]) for words in guidance] == [1] * 4

        # And nowhere else: neither the rendered words nor a point.
        bench = world.chat("/moa show", "/compact", "/export", session=session)
        frame = frame_of(guidance[0])
        assert frame in kept
        elsewhere = {
            name: "".join(texts(call) for call in world.calls(name)) for name in ("helper", "verdict", "summary")
        }
        elsewhere["answers"] = result["text"] + "".join(
            json.dumps(event)
            for event in events
            if event["type"] not in ("model_started", "record", "side_finished", "side_progress")
        )
        elsewhere["transcript"] = "".join(message.text for message in bench.session.transcript())
        for form in ("md", "json", "html"):
            elsewhere[form] = world.program("session", "export", session, "--format", form).out
        elsewhere["show"] = world.program("session", "show", session).out
        elsewhere["show --json"] = world.program("session", "show", session, "--json").out
        elsewhere["search"] = world.program("session", "search", frame).out
        for name, text in elsewhere.items():
            assert frame not in text.replace("\\n", "\n"), name
            if name not in ("json", "show --json", "search"):
                assert POINT.findall(text) == [], name
        for name in ("alpha", "beta", "judge"):
            assert frame not in "".join(texts(call) for call in world.calls(name)), name
        assert "POINT-" in shown(bench)
        world.holds(linear=False, epochs=[call.number for call in world.calls("summary")])


def frame_of(guidance: str) -> str:
    """The line of a guidance that says what it is, and has nothing of the panel's."""
    lines = [line.strip() for line in guidance.splitlines()]
    return max((line for line in lines[:4] if not POINT.search(line)), key=len)


def shown(bench: ChatBench) -> str:
    """What `/moa show` showed."""
    from agent.ui.text import render

    return render(bench.view(0))
