"""The bench's mutated answers, a few of them at each run (`python -m tests.bench fuzz` tries 100,000)."""

from __future__ import annotations

import asyncio
import json
from random import Random

from tests.bench.fuzz import tried
from tests.support.fuzzed_streams import Streams
from tests.support.mutations import HOSTILE, mutated, mutated_json, pieces


def test_mutated_answers_are_answers_or_named_errors_and_nothing_is_lost() -> None:
    assert asyncio.run(tried(Streams(), range(600))) == {}


def test_a_seed_always_gives_the_same() -> None:
    sound = json.dumps({"a": [1, {"b": "text"}], "c": None})
    for seed in range(50):
        first, second = Random(seed), Random(seed)
        data = mutated_json(sound, first).encode("utf-8", "surrogatepass")
        assert data == mutated_json(sound, second).encode("utf-8", "surrogatepass")
        assert b"".join(pieces(data, first)) == data
        assert mutated(data, Random(seed)) == mutated(data, Random(seed))
    assert len(HOSTILE) > 30
