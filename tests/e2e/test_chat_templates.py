"""What an open reasoning model reads of a turn with counsel: its own template shows a reply's reasoning only behind the last user message.

So guidance at each step must be no user message, or the model loses all of its reasoning, and a local server its cache.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import jinja2
import pytest

from tests.support import prompt
from tests.support.endpoint import ScriptedEndpoint
from tests.support.preserved import POINT, adviser, judging, sequence
from tests.support.program import Program, preset_text
from tests.support.script import Say, Script

FOLDER = Path(__file__).parent.parent / "data" / "chat_templates"
TEMPLATES = sorted(path.stem for path in FOLDER.glob("*.jinja"))
STEPS = 6
GENERATION = {"messages": [{"role": "user", "content": "x"}], "tools": None}


def thought(number: int) -> str:
    return f"Thought number {number}: what next?"


def rendered(name: str, body: Mapping[str, Any]) -> str:
    """The prompt of a request, without the words that open the reply."""
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    environment.filters["tojson"] = lambda value, **_more: json.dumps(value, ensure_ascii=False)
    environment.globals["raise_exception"] = pytest.fail
    template = environment.from_string((FOLDER / f"{name}.jinja").read_text("utf-8"))
    messages = [dict(message) for message in body["messages"]]
    for message in messages:
        calls = message.get("tool_calls") or ()
        # Servers read the arguments before they render, as these templates want it.
        message["tool_calls"] = [
            {**call, "function": {**call["function"], "arguments": json.loads(call["function"]["arguments"])}}
            for call in calls
        ]
        message["content"] = message.get("content") or ""
    return template.render(messages=messages, tools=body.get("tools"), add_generation_prompt=False, bos_token="<BOS>")


@pytest.fixture(scope="module")
def requests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Mapping[str, Any]]]:
    """The requests of one turn with counsel at each step, to a model whose reasoning goes back."""
    with ScriptedEndpoint() as endpoint:
        program = Program(tmp_path_factory.mktemp("templates"), endpoint.base_url)
        program.config(
            f'model = "deepseek:main"\n[endpoints.fake]\nbase_url = "{endpoint.base_url}"\n'
            f'[endpoints.deepseek]\nbase_url = "{endpoint.base_url}"\napi_key_env = "FAKE_KEY"\n'
        )
        program.preset("panel", preset_text(["fake:alpha", "fake:beta"]))
        steps = [Say(reasoning=thought(n), tools=(("glob", {"pattern": f"*{n}*"}),)) for n in range(STEPS)]
        main = sequence(*steps, Say(reasoning=thought(STEPS), text="Done."))
        endpoint.script = Script(
            models={"main": main, "alpha": adviser("alpha"), "beta": adviser("beta"), "judge": judging}
        )
        done = program.run("Look around.", "--preset", "panel", env={"FAKE_KEY": "k-0123456789"})
        program.close()
        assert done.code == 0, done.err + done.out
        yield [call.body for call in endpoint.calls("main")]


@pytest.mark.sample(3)
@pytest.mark.parametrize("name", TEMPLATES)
def test_no_reasoning_disappears_and_each_prompt_begins_the_next(name: str, requests: list[Mapping[str, Any]]) -> None:
    prompts = [rendered(name, body) for body in requests]
    assert len(prompts) == STEPS + 1
    for number, text in enumerate(prompts):
        assert [thought(n) in text for n in range(number)] == [True] * number
        assert len(set(POINT.findall(text))) == number + 1
    for before, after in pairwise(prompts):
        assert after.startswith(before)


def test_a_user_message_at_each_step_would_cost_all_of_it(requests: list[Mapping[str, Any]]) -> None:
    messages = []
    for message in requests[-1]["messages"]:
        messages.append(message)
        if message["role"] == "tool":
            messages.append({"role": "user", "content": "guidance"})
    for name in ("qwen3", "glm4moe", "deepseek_rule"):
        text = rendered(name, {**requests[-1], "messages": messages})
        assert not any(thought(n) in text for n in range(STEPS))
    assert thought(0) in prompt.texts(messages)
