"""The dialect `replay`: stored answers in the place of a server."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from agent.errors import UsageError
from agent.llm.accounting import CallContext
from agent.llm.client import ModelClient
from agent.llm.errors import ModelNotFound
from agent.llm.messages import user
from agent.llm.models.catalogue import Catalogue
from agent.llm.models.endpoint import Endpoint, ModelFacts, Price
from agent.llm.models.learned_quirks import QuirkMemory
from agent.llm.net.replay import replay_file
from agent.llm.request import ModelRef, Request
from tests.agent.llm.doors import Books

ROWS: list[dict[str, Any]] = [
    {"model": "a", "prompt": "How many legs has a spider?", "text": "Answer: 8"},
    {"model": "b", "prompt": "How many legs has a spider?", "text": "Six. " * 30 + "Answer: 6",
     "prompt_tokens": 9, "completion_tokens": 33, "ttft_s": 0.1, "duration_s": 0.5},
]  # fmt: skip


def endpoint(folder: Path, **more: Any) -> Endpoint:
    path = folder / "answers.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(json.dumps(row) for row in ROWS).encode()))
    return Endpoint("replay", "replay:answers", dialect="replay", answers=str(path), **more)


def ask(place: Endpoint, model: str, text: str) -> Any:
    async def main() -> Any:
        books = Books()
        client = ModelClient({"replay": place}, books, catalogue=Catalogue(None), memory=QuirkMemory(None))
        try:
            request = Request(ModelRef("replay", model), (user(text),))
            return await client.complete(request, CallContext("reference"))
        finally:
            await client.aclose()

    return asyncio.run(main())


def test_what_was_recorded_is_told_and_what_was_not_is_called_simulated(tmp_path: Path) -> None:
    facts = ModelFacts(context_window=1000, price=Price(1.0, 2.0))
    place = endpoint(tmp_path, models={"b": facts}, speed=100.0)
    known = ask(place, "b", "How many legs has a spider?")
    assert known.message.text.endswith("Answer: 6") and known.provider == "replay (recorded)"
    assert (known.usage.prompt, known.usage.completion, known.cost_nano) == (9, 33, 75_000)
    guessed = ask(place, "a", "A question follows.\n\nHow many legs has a spider?\n\nBe brief.")
    assert guessed.message.text == "Answer: 8" and guessed.provider == "replay (tokens and times simulated)"
    assert guessed.usage.completion > 0


@pytest.mark.parametrize(
    ("model", "text", "word"), [("a", "Who?", "to this prompt of a"), ("z", "How many legs has a spider?", "of z")]
)
def test_what_is_not_stored_is_an_error_that_says_so(tmp_path: Path, model: str, text: str, word: str) -> None:
    with pytest.raises(ModelNotFound, match=f"no stored answer {word}"):
        ask(endpoint(tmp_path), model, text)


def test_a_damaged_file_is_named_with_its_line(tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text(json.dumps(ROWS[0]) + '\n{"model": 3}\n')
    with pytest.raises(UsageError, match="line 2"):
        replay_file(str(bad))
