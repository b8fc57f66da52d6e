"""How a real small model keeps to the first word, and what the program makes of the rest.

Needs a model's file: `MOA_BENCH_MODEL=/path/to/model.gguf python -m tests.bench first_word`. Thirty counsels of one member, on short
conversations that end well, badly, or in the middle; nothing here says whether its advice is any good.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from agent.client import make_client
from agent.config.config import load_config
from agent.events import AgentEvent, SideFinished
from agent.ledger.book import Ledger
from agent.llm.accounting import CallContext
from agent.llm.messages import Message, TextPart, ToolCallPart, assistant, user
from agent.llm.request import ModelRef
from moa.counsel.cadence import Decision
from moa.counsel.take import Council
from moa.panel.grades import read as graded
from moa.store.reading import read
from tests.bench.figures import Figure

COUNSELS = 30
VARIABLE = "MOA_BENCH_MODEL"
LEAST_SHARE = 0.5

SITUATIONS = (
    (
        "Fix the failing test in test_io.py.",
        "read",
        {"path": "test_io.py"},
        "def test_read():\n    assert load('a') == 1\n",
    ),
    (
        "Delete the temporary files.",
        "shell",
        {"command": "rm -rf / tmp"},
        "rm: it is dangerous to operate recursively on '/'",
    ),
    ("What does parse() return?", "grep", {"pattern": "def parse"}, "parser.py:12: def parse(text) -> list[str]:"),
    (
        "Rename the function foo to bar everywhere.",
        "edit",
        {"path": "a.py", "old": "foo", "new": "bar"},
        "1 replacement in a.py",
    ),
    ("Make the build pass.", "shell", {"command": "make"}, "error: missing separator. Stop."),
    ("Add 2 and 3.", "shell", {"command": "echo $((2+3))"}, "5"),
)
STATES = (
    "I look first.",
    "That is done; next I run the tests.",
    "Everything works, I am done.",
    "I will drop the table and start over.",
    "I try the same again.",
)


def measure(folder: Path, python: Path, rounds: int | None) -> Iterator[tuple[str, list[Figure]]]:
    """One table; a line that says why where there is no model."""
    del python
    model = os.environ.get(VARIABLE)
    if not model:
        yield f"first words: left out, {VARIABLE} names no model's file", []
        return
    answers = asyncio.run(ask(folder, model, rounds or COUNSELS))
    (folder.parent / "first-words.jsonl").write_text("".join(json.dumps(text) + "\n" for text in answers))
    found = [graded(text) for text in answers]
    grades = Counter(one.grade for one in found)
    named = sum(one.named for one in found)
    yield (
        f"first words of {Path(model).name}",
        [
            Figure("answers", len(found), ""),
            Figure("whose first word is one of the four", named / len(found), "", LEAST_SHARE, at_least=True),
            *(Figure(f"  counted as {grade}", count, "") for grade, count in grades.most_common()),
            Figure(
                "  without the word, taken for silence",
                sum(not one.named and one.grade == "nothing" for one in found),
                "",
            ),
            Figure(
                "  without the word, taken for a note", sum(not one.named and one.grade == "note" for one in found), ""
            ),
        ],
    )


async def ask(folder: Path, model: str, count: int) -> list[str]:
    """The member's answers as it wrote them."""
    names = {f"MOA_{kind}_DIR": str(folder / kind.lower()) for kind in ("CONFIG", "STATE", "CACHE")}
    config = load_config({**os.environ, **names}, plugins=frozenset())
    ledger = Ledger(folder / "ledger.db")
    client = make_client(config, ledger)
    ref = ModelRef("local", model)
    text = f'aggregate = "raw"\ntimeout_s = 600\nsoft_s = 600\n[[references]]\nmodel = "{ref}"\nmax_tokens = 160\ntemperature = 0.3\n'
    said: list[str] = []
    try:
        for number in range(count):
            council = Council(read(text, name="p", path=Path("p.toml")), client)
            heard: list[str] = []
            await council.take(
                situation(number),
                main=ref,
                context=replace(CallContext("main"), turn=f"t{number}"),
                decision=Decision(True, "iteration", "the bench asks"),
                emit=partial(_hear, heard),
            )
            said += heard
    finally:
        await client.aclose()
        ledger.close()
    return said


def _hear(heard: list[str], event: AgentEvent) -> None:
    if isinstance(event, SideFinished):
        heard.append(event.text)


def situation(number: int) -> list[Message]:
    """A conversation in the middle of its work."""
    task, tool, arguments, result = SITUATIONS[number % len(SITUATIONS)]
    call = ToolCallPart(id="1", name=tool, arguments=json.dumps(arguments))
    done = Message(role="tool", parts=(TextPart(text=result),), tool_call_id="1", tool_name=tool)
    return [user(task), assistant("I begin.", call), done, assistant(STATES[number % len(STATES)])]
