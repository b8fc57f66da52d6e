"""What an endpoint of Anthropic's really does with bound thoughts: about ten small requests, to be run by hand with a key of one's own.

    ANTHROPIC_API_KEY=… python -m tests.live.preserved --yes [--model claude-opus-5-5]

No test, no build and no bench runs it. It costs less than $0.10 on Opus 5.5 (each request about a thousand tokens in and 300 out, $4 and
$20 a million) and prints what was asked, what the documentation says, and what came. Nothing of ours is involved: only httpx.
"""

from __future__ import annotations

import argparse
import copy
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

URL = "https://api.anthropic.com/v1"
TOOLS_BETA = "inline-tools-2026-09-15"
BINDING_BETA = "thinking-binding-controls-2026-08-01"
PRICE = (4.0, 20.0)
"""US dollars a million tokens in and out: Opus 5.5, the dearest that this is meant for."""
SYSTEM = "You look after a lighthouse. Use the tools before you answer, one call at a time, and answer in one short sentence."
ADVICE = "[Unverified advice from a second reader: the lamp was cleaned yesterday; the log of Tuesday counts more.]"
LOG = {
    "name": "read_log",
    "description": "The log of one day of the week.",
    "input_schema": {"type": "object", "properties": {"day": {"type": "string"}}, "required": ["day"]},
}
TIDE = {
    "name": "read_tide",
    "description": "The height of the tide now, in metres.",
    "input_schema": {"type": "object", "properties": {}},
}

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    asked: str
    documented: str
    came: str


class Asking:
    """The requests, one conversation and its variations. `spent` is an upper bound in US dollars."""

    def __init__(self, http: httpx.Client, model: str) -> None:
        self.http, self.model = http, model
        self.rows: list[Row] = []
        self.requests = 0
        self.spent = 0.0

    def body(self, messages: Sequence[Body], **more: Any) -> Body:
        """A request with these messages."""
        thinking = {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "low"}}
        head = {"model": self.model, "max_tokens": 1000, "system": SYSTEM, "tools": [LOG]}
        return copy.deepcopy({**head, **thinking, "messages": list(messages), **more})

    def post(self, body: Mapping[str, Any], *, path: str = "/messages", beta: str = "") -> tuple[int, Body]:
        """Send it; the status and the JSON."""
        headers = {"anthropic-beta": beta} if beta else {}
        self.requests += 1
        response = self.http.post(path, json=body, headers=headers)
        value: Body = response.json()
        usage = value.get("usage") or {}
        tokens_in = sum(usage.get(name) or 0 for name in ("input_tokens", "cache_creation_input_tokens"))
        self.spent += (tokens_in * PRICE[0] + (usage.get("output_tokens") or 0) * PRICE[1]) / 1e6
        return response.status_code, value

    def note(self, asked: str, documented: str, answer: tuple[int, Body]) -> tuple[int, Body]:
        """Put a line into the table."""
        self.rows.append(Row(asked, documented, told(*answer)))
        return answer

    def all(self) -> None:
        """Everything. A first call that asks for no tool ends it: there is nothing to go on from."""
        start: list[Body] = [
            {"role": "user", "content": "Is the lamp in order? Read the log of Monday and of Tuesday."}
        ]
        status, first = self.note(
            "a first call, thoughts summarised", "thinking with text, a tool call", self.post(self.body(start))
        )
        calls = [block for block in first.get("content") or () if block["type"] == "tool_use"]
        if status != 200 or not calls:
            return
        said: list[Body] = [*start, {"role": "assistant", "content": first["content"]}]
        self._where_guidance_may_stand(said, calls)
        self._late_tools(said, calls)
        self._empty_thoughts(start)

    def _where_guidance_may_stand(self, said: list[Body], calls: list[Body]) -> None:
        note = {"type": "text", "text": ADVICE}
        inside = [*said, {"role": "user", "content": [*results(calls[:-1]), *results(calls[-1:], note)]}]
        behind = [*said, {"role": "user", "content": [*results(calls), note]}]
        apart = [*said, {"role": "user", "content": results(calls)}, {"role": "user", "content": [note]}]
        status, second = self.note("guidance at the end of the tool result", "goes on", self.post(self.body(inside)))
        _, after = self.note(
            "as a text block behind the tool result", "may be an empty end_turn", self.post(self.body(behind))
        )
        self.note("as a user message of its own behind it", "is read as one turn with it", self.post(self.body(apart)))
        if not after.get("content") and after.get("stop_reason") == "end_turn":
            more = [*behind, {"role": "user", "content": "Go on."}]
            self.note(
                "the empty end_turn, and a user message that asks to go on", "goes on", self.post(self.body(more))
            )
        if status != 200:
            return
        kept = [*inside, {"role": "assistant", "content": second["content"]}, *follow(second)]
        gone = [*said, {"role": "user", "content": results(calls)}, *kept[len(inside) :]]
        self.note("the same conversation, guidance kept", "goes on", self.post(self.body(kept)))
        self.note(
            "the same conversation, guidance taken out",
            "400: bound to a different conversation",
            self.post(self.body(gone)),
        )
        counting = {key: value for key, value in self.body(gone).items() if key not in ("max_tokens",)}
        self.note("the same in count_tokens", "400 as well", self.post(counting, path="/messages/count_tokens"))
        drop = {"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "drop_block"}}
        self.note(
            "the same with drop_block",
            "200, input_transformations",
            self.post(self.body(gone, thinking=drop), beta=BINDING_BETA),
        )

    def _late_tools(self, said: list[Body], calls: list[Body]) -> None:
        block = {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": TIDE}}
        late = [*said, {"role": "user", "content": results(calls)}, {"role": "system", "content": [block]}]
        answer = self.post(self.body(late, tools=[LOG]), beta=TOOLS_BETA)
        self.note("a tool that joins by tool_addition", "goes on", answer)

    def _empty_thoughts(self, start: list[Body]) -> None:
        omitted = {"type": "adaptive", "display": "omitted"}
        answer = self.post(self.body(start, thinking=omitted))
        status, first = self.note("thoughts without their text", "empty thinking with a signature", answer)
        calls = [block for block in first.get("content") or () if block["type"] == "tool_use"]
        if status != 200 or not calls:
            return
        back = [*start, {"role": "assistant", "content": first["content"]}, {"role": "user", "content": results(calls)}]
        self.note("they go back as they came", "goes on", self.post(self.body(back, thinking=omitted)))


def results(calls: Sequence[Body], *more: Body) -> list[Body]:
    """The results of these calls; `more` stands at the end of each."""
    text = {"type": "text", "text": "The lamp burned all night. Wind from the west."}
    return [{"type": "tool_result", "tool_use_id": call["id"], "content": [text, *more]} for call in calls]


def follow(answer: Body) -> list[Body]:
    """What has to come after an answer: the results of its calls, or another question."""
    calls = [block for block in answer["content"] if block["type"] == "tool_use"]
    return [{"role": "user", "content": results(calls) if calls else "And the wind?"}]


def told(status: int, value: Body) -> str:
    """An answer in one line."""
    if status != 200:
        return f"{status}: {(value.get('error') or {}).get('message', value)}"
    if "input_tokens" in value:
        return f"200: {value['input_tokens']} tokens"
    kinds = []
    for block in value.get("content") or ():
        empty = block["type"] == "thinking" and not block.get("thinking")
        kinds.append(f"{block['type']}{' (empty, signed)' if empty and block.get('signature') else ''}")
    changed = value.get("input_transformations")
    return f"200: {', '.join(kinds) or 'nothing'}; {value.get('stop_reason')}{f'; {changed}' if changed else ''}"


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    lines = ["| asked | documented | came |", "| --- | --- | --- |"]
    return "\n".join([*lines, *(f"| {row.asked} | {row.documented} | {row.came} |" for row in rows)])


def main(argv: Sequence[str] | None = None) -> int:
    """Ask, and print the table. Needs ANTHROPIC_API_KEY and `--yes`."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.live.preserved", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--model", default="claude-opus-5-5")
    parser.add_argument("--yes", action="store_true", help="about twelve requests, less than $0.10, go to Anthropic")
    options = parser.parse_args(argv)
    key = os.environ.get("ANTHROPIC_API_KEY", "")
    if not key or not options.yes:
        missing = (
            "--yes: this sends about twelve requests, for less than $0.10"
            if key
            else "ANTHROPIC_API_KEY in the environment"
        )
        print(f"it needs {missing}", file=sys.stderr)
        return 2
    headers = {"x-api-key": key, "anthropic-version": "2023-06-01"}
    with httpx.Client(base_url=URL, headers=headers, timeout=120) as http:
        asking = Asking(http, options.model)
        try:
            asking.all()
        finally:
            print(table(asking.rows))
            print(f"\n{options.model}: {asking.requests} requests, at most ${asking.spent:.3f} (Opus 5.5's prices)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
