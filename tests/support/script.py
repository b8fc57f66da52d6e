"""What the scripted endpoint says: plain values, writable in Python or as JSON.

A `Script` maps model names to `Behaviour`s. A behaviour is a list of `Say`s, one for each step of a tool loop, and the conditions under
which it refuses. A name that the script does not mention is read by convention, so that most tests need no script at all:

    worker, worker-5      that many tool calls (three, if no number), then an answer
    slow-0.3              answers; its last token leaves 0.3 s after the request came
    fail-429              refuses with that status, always
    shape-error_chunk     fails in that way (see SHAPES) after its first words
    missing-…             no such model (404)
    anything else         a short answer that names the model
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

CHARS_PER_TOKEN = 4

SHAPES = frozenset(
    {
        "error_chunk",  # words, then a chunk with a top-level error and finish_reason "error"
        "error_chunk_string",  # the same with a string code
        "error_chunk_no_choices",  # the error chunk has an empty `choices`
        "native_network_error",  # finish_reason "stop", native_finish_reason "network_error", no content, no usage
        "finish_network_error",  # finish_reason "network_error" itself
        "no_finish",  # words, then a clean end without any finish reason
        "body_error",  # one JSON body: choices[0].error, partial content, finish_reason "error"
        "billed_empty",  # finish_reason "stop", nothing said, usage billed (reasoning ate the budget)
        "cut",  # words, then the connection breaks
        "refuse",  # the connection closes before a byte of the answer
        "hang",  # headers, then nothing until the client leaves
        "stall",  # words, then keep-alive comments for ever
        "mute",  # keep-alive comments for ever, and never a word
        "junk",  # a data line that is not JSON
    }
)

REFUSALS = frozenset(
    {
        "strict_alternation",
        "no_json_schema",
        "no_json_object",
        "no_logprobs",
        "no_tools",
        "no_stream_options",
        "no_temperature",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """One answer.

    Times are seconds: the first token leaves `ttft_s` after the request arrived, the others are spread evenly over `spread_s`.
    `tools` are (name, arguments) pairs, all in this one reply. `status` refuses instead, with `retry_after` as a header.
    `body` answers with one JSON body although a stream was asked for; `padding` puts blank lines and comments before it, and a
    trailing `[DONE]` behind. `keepalives` comments go out before the first token. `analysis` is the instance for a request that
    asks for a JSON schema (without it: a minimal instance of that schema). `tokens` spell the answer instead, each with the
    log-probabilities of it and its alternatives, which come as llama.cpp gives them to who asks. `cost` is the reply's own figure in US dollars.
    """

    text: str | None = None
    reasoning: str = ""
    tools: tuple[tuple[str, dict[str, Any]], ...] = ()
    ttft_s: float = 0.0
    spread_s: float = 0.0
    status: int | None = None
    error: str | None = None
    retry_after: float | None = None
    shape: str | None = None
    finish: str | None = None
    body: bool = False
    padding: bool = False
    keepalives: int = 0
    analysis: Any = None
    tokens: tuple[tuple[str, Mapping[str, float]], ...] = ()
    cost: float | None = None
    served: str | None = None

    def __post_init__(self) -> None:
        if self.shape is not None and self.shape not in SHAPES:
            raise ValueError(f"no failure shape {self.shape!r}; there are {', '.join(sorted(SHAPES))}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How one model behaves: `steps[i]` answers the request that follows the i-th tool call of a turn; the last one repeats.

    `first` answers the very first requests instead, one each (a 429 twice, then in order). `refuses` names features that get a
    400. A prompt of more than `window` tokens gets a 400 as well.
    """

    steps: tuple[Say, ...] = (Say(),)
    first: tuple[Say, ...] = ()
    refuses: frozenset[str] = frozenset()
    window: int | None = None
    context_length: int | None = None
    pricing: dict[str, str] | None = None

    def __post_init__(self) -> None:
        if unknown := self.refuses - REFUSALS:
            raise ValueError(f"no refusals {sorted(unknown)}; there are {', '.join(sorted(REFUSALS))}")


Decide = Callable[[Mapping[str, Any], int], Say]
"""A behaviour in code: the request's body and how many requests this model has had before, to what is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """All models of one endpoint. `api_key` set: other keys get a 401. `only` True: unmentioned models get a 404."""

    models: Mapping[str, Behaviour | Decide] = field(default_factory=dict)
    api_key: str | None = None
    only: bool = False


def say_from(data: Mapping[str, Any]) -> Say:
    """A `Say` from its JSON form. Raises ValueError for an unknown key."""
    known = {f.name for f in fields(Say)}
    if unknown := set(data) - known:
        raise ValueError(f"unknown keys in a step: {', '.join(sorted(unknown))}")
    values = dict(data)
    values["tools"] = tuple((name, arguments) for name, arguments in values.get("tools", ()))
    return Say(**values)


def behaviour_from(data: Mapping[str, Any]) -> Behaviour:
    """A `Behaviour` from its JSON form; a list is short for its steps."""
    if isinstance(data, list):
        data = {"steps": data}
    values = dict(data)
    for key in ("steps", "first"):
        if key in values:
            values[key] = tuple(say_from(step) for step in values[key])
    values["refuses"] = frozenset(values.get("refuses", ()))
    return Behaviour(**values)


def read_script(path: Path) -> Script:
    """A script file: `{"models": {NAME: {"steps": [{…}], …}}, "api_key": …, "only": …}`."""
    data = json.loads(path.read_text(encoding="utf-8"))
    models = {name: behaviour_from(entry) for name, entry in data.pop("models", {}).items()}
    return Script(models=models, **data)


def by_convention(model: str) -> Behaviour:
    """What a model does that the script does not mention; the table is this module's docstring."""
    kind, _, rest = model.partition("-")
    if kind == "worker" and (not rest or rest.isdigit()):
        return Behaviour(steps=tool_loop(int(rest or 3)))
    if kind == "slow":
        return Behaviour(
            steps=(slow(float(rest), f"Advice of {model}: look at the tests before you change anything."),)
        )
    if kind == "fail":
        return Behaviour(steps=(Say(status=int(rest)),))
    if kind == "shape":
        return Behaviour(steps=(Say(text="These words arrive and then it breaks.", shape=rest),))
    if kind == "missing":
        return Behaviour(steps=(Say(status=404),))
    return Behaviour(steps=(Say(text=f"Answer of {model}."),))


def slow(seconds: float, text: str) -> Say:
    """An answer whose first token comes at half time and whose last one leaves after `seconds`."""
    return Say(text=text, ttft_s=seconds / 2, spread_s=seconds / 2)


def tool_loop(
    calls: int, answer: str = "All done.", tools: tuple[tuple[str, dict[str, Any]], ...] = ()
) -> tuple[Say, ...]:
    """`calls` replies with one tool call each (cycling through `tools`), then an answer. No two calls are the same."""
    offered = tools or (("glob", {"pattern": "*.txt"}), ("read", {"path": "notes.txt"}), ("grep", {"pattern": "line"}))
    steps = []
    for number in range(calls):
        name, arguments = offered[number % len(offered)]
        if name == "read" and "offset" not in arguments:
            arguments = {**arguments, "offset": 1 + number}
        if name == "grep":
            arguments = {**arguments, "pattern": f"{arguments['pattern']} {number}"}
        if name == "glob" and number:
            arguments = {**arguments, "pattern": f"*{number % 10}*"}
        steps.append(Say(text=f"Step {number + 1}: I look with {name}.", tools=((name, arguments),)))
    return (*steps, Say(text=answer))


ANALYSIS: dict[str, Any] = {
    "consensus": ["Look at the tests before changing anything."],
    "contradictions": [
        {
            "topic": "where to begin",
            "stances": [
                {"model": "Answer A", "stance": "with the notes"},
                {"model": "Answer B", "stance": "with the code"},
            ],
        }
    ],
    "partial_coverage": [{"models": ["Answer A"], "point": "the notes may be out of date"}],
    "unique_insights": [{"model": "Answer B", "insight": "line seven is odd"}],
    "blind_spots": ["Nobody asked who reads the notes."],
    "next_steps": ["Read the notes to their end."],
    "evidence": [],
}
"""A plausible comparison of two answers or more, for a scripted aggregator."""


def analysis_of(number: int) -> dict[str, Any]:
    """`ANALYSIS` with something new for each number: what was said already is not sent again, and makes counsel rarer."""
    fresh = " ".join(f"{word}{number}" for word in ("before", "you", "touch", "the", "parser", "or", "its", "callers"))
    return {**ANALYSIS, "consensus": [f"{ANALYSIS['consensus'][0]} {fresh}"]}
