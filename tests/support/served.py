"""Clients of a served panel, and what an endpoint that binds thoughts saw of them, without a network and without a frame around it.

    with Desk(tmp_path, "messages") as desk:
        client = desk.client()
        client.say("Look around.")
        client.loop(3)             # answers the model's tool calls, three rounds
        other = client.branch()    # a second conversation with the same beginning
        desk.restart()             # another process on the same database
        desk.holds()

The panel has something new to say each time (`POINT-n.`), or is silent where `desk.silent` says so.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from agent.ledger.book import Ledger
from agent.llm.accounting import CallContext
from agent.llm.models.endpoint import Endpoint
from agent.llm.request import ModelRef
from moa.aggregate.methods import raw
from moa.counsel.cadence import Decision
from moa.counsel.counsel import Counsel
from moa.counsel.take import Council
from moa.panel.outcome import Answer
from moa.preset.preset import Preset, Reference
from moa.serve.counsel.panels import Panels
from moa.serve.counsel.served import Asked, Served, Serving
from moa.serve.counsel.taking import take
from tests.support import prompt
from tests.support.databases import place
from tests.support.script import Say, Script
from tests.support.signing import SigningEndpoint

PATHS = {"messages": "/v1/messages", "chat": "/v1/chat/completions", "responses": "/v1/responses"}
WIRES = tuple(PATHS)
PRESET = Preset("panel", "panel.toml", (Reference("fake:alpha"),), aggregate="raw", guidance_tokens=0)
MAIN = ModelRef("up", "main")


class Panel:
    """Stands for a panel: what it says comes from `say`, and each time it is asked counts."""

    def __init__(self, preset: Preset, desk: Desk) -> None:
        self.preset = preset
        self.closed = False
        self._desk = desk
        desk.panels.append(self)

    def window(self, _main: ModelRef) -> int | None:
        return None

    async def take(self, history: Sequence[Any], *, context: CallContext, decision: Decision, **more: Any) -> Counsel:
        desk = self._desk
        desk.asked += 1
        number = desk.asked
        desk.seen.append((list(history), more | {"panel": self, "context": context}))
        if desk.waits is not None:
            await desk.waits.wait()
        grade = desk.grade(number)
        words = f"Look at place {number} again: " + " ".join(f"w{number}x{at}" for at in range(6))
        answer = Answer("1", "fake:alpha", "alpha", f"POINT-{number}. {words}", "c", context.iteration, grade=grade)  # type: ignore[arg-type]
        counsel = Counsel(
            id="c", preset=self.preset.name, step=context.iteration, decision=decision, members=self.preset.members,
            calling=context, main=more["main"], answers=(answer,),
        )  # fmt: skip
        counsel.running = desk.late
        if grade != "nothing":
            counsel.aggregation = raw([answer])
        return counsel

    async def close(self) -> None:
        self.closed = True


@dataclass
class Desk:
    """A server's core between scripted clients and a signing endpoint. `clock` is what time it is, Unix seconds."""

    folder: Path
    wire: str = "messages"
    preset: Preset = PRESET
    script: Callable[[dict[str, Any], int], Say] | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.asked = 0
        self.seen: list[tuple[list[Any], dict[str, Any]]] = []
        self.grade: Callable[[int], str] = lambda _number: "note"
        self.waits: asyncio.Event | None = None
        self.late: tuple[str, ...] = ()
        self.panels: list[Panel] = []
        self.now = 1_000_000.0
        self.log: list[Logged] = []
        self.endpoint = SigningEndpoint(**{"sealed_items_bind": True, **self.options})
        self.endpoint.script = Script(models={"main": self.script or self._work})
        self.http = httpx.AsyncClient(transport=self.endpoint.transport(), base_url="http://up")
        self.upstream = Endpoint(name="up", base_url="http://up/v1", api_key="account-one-0123456789")
        self.server = self._server()
        self.loop = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.loop.run(self.server.panels.close())
        self.loop.close()
        self.server.ledger.close()

    def _server(self) -> Serving:
        ledger = Ledger(place(self.folder / "ledger.db"), clock=lambda: self.now)
        make: Callable[[Preset], Council] = lambda preset: Panel(preset, self)  # type: ignore[assignment, return-value]  # noqa: E731
        return Serving(ledger, Panels(make))

    def restart(self) -> None:
        """Another process on the same database: nothing of this one's memory is left."""
        self.server.ledger.close()
        self.server = self._server()

    def _work(self, body: dict[str, Any], earlier: int) -> Say:
        """A tool call or two as long as the last words ask for work."""
        said = prompt.texts(body.get("messages", body.get("input")))
        if "stop here" in said.rpartition("»")[0].rpartition("«")[2]:
            return Say(text=f"Answer {earlier}.")
        tools = tuple(("read", {"path": f"{earlier}.{n}"}) for n in range(1 + earlier % 2))
        return Say(text=f"Step {earlier}." if earlier % 3 else "", tools=tools)

    def client(self, **asked: Any) -> Client:
        """A conversation."""
        return Client(self, asked=asked)

    def holds(self, *, since: int = 0) -> None:
        """Nothing was refused, no thought lost, and each request extends the ones before it on its branch."""
        found = [f"refused: {refusal}" for refusal in self.endpoint.found if refusal.request >= since]
        found += [finding.what for finding in self.endpoint.losses(since=since)]
        found += list(self._breaks(since))
        assert not found, "\n".join(found)

    def _breaks(self, since: int) -> Iterator[str]:
        """Of two requests of which the later one goes on from the earlier, with its answer or without one, what was sent has to do so, too."""
        log = [each for each in self.log if each.number >= since]
        answered = [each.came for each in log if each.answer]
        for at, later in enumerate(log):
            path = [each for each in log[:at] if each.answer and later.goes_on_from(each)]
            for number, earlier in enumerate(log[:at]):
                known = len(earlier.came)
                if later.came[:known] != earlier.came or len(later.came) == known or earlier in path:
                    continue
                newest = all(other.came != earlier.came for other in log[number + 1 : at])
                aside = any(other.number < earlier.number and len(other.came) > known for other in path)
                if earlier.came not in answered and newest and not aside and prompt.is_of_the_user(later.came[known]):
                    path.append(earlier)  # it got no answer, and the client went on
            for earlier in path:
                if later.sent[: len(earlier.sent)] != earlier.sent:
                    yield f"request {later.number} does not extend request {earlier.number}"


@dataclass
class Logged:
    """A request as it came from the client, and as it was sent on; what the client kept of the answer to its end."""

    number: int
    came: list[str]
    sent: list[str]
    answer: list[str] = field(default_factory=list)

    def goes_on_from(self, earlier: Logged) -> bool:
        """Whether it has the whole of an earlier request and its answer."""
        whole = [*earlier.came, *earlier.answer]
        return len(self.came) > len(whole) and self.came[: len(whole)] == whole


@dataclass
class Client:
    """One conversation of one client, in its own wire's items."""

    desk: Desk
    items: list[Any] = field(default_factory=list)
    asked: dict[str, Any] = field(default_factory=dict)
    said: str = ""
    sent: dict[str, Any] = field(default_factory=dict)
    stream: bool = True
    requests: int = 0
    response: str = ""
    receipt: dict[str, Any] = field(default_factory=dict)
    rewrite: Callable[[Any], Any] = lambda value: value
    """What a server in between does to answers before anybody sees them."""

    def branch(self) -> Client:
        """Another conversation with the same beginning."""
        return replace(self, items=copy.deepcopy(self.items))

    def say(self, words: str) -> Client:
        """The user says something; nothing is sent yet."""
        text = f"«{words}»"
        if self.desk.wire == "responses":
            self.items.append({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]})
        elif self.desk.wire == "messages":
            self.items.append({"role": "user", "content": [{"type": "text", "text": text}]})
        else:
            self.items.append({"role": "user", "content": text})
        return self

    def body(self) -> dict[str, Any]:
        """The request, with what clients change in each."""
        self.requests += 1
        items = copy.deepcopy(self.items)
        tool = {"name": "read", "description": "Reads.", "input_schema": {"type": "object"}}
        if self.desk.wire == "responses":
            return {
                "model": "main", "instructions": "S", "input": items, "stream": self.stream, "store": False,
                "tools": [{"type": "function", "name": "read", "parameters": {"type": "object"}}],
                "include": ["reasoning.encrypted_content"],
            }  # fmt: skip
        if self.desk.wire == "chat":
            function = {"name": "read", "parameters": {"type": "object"}}
            tools = [{"type": "function", "function": function}]
            items = [{"role": "system", "content": "S"}, *items]
            return {"model": "main", "messages": items, "tools": tools, "stream": self.stream}
        for item in items[-1:]:
            if isinstance(item["content"], list):  # the mark moves on with each request
                item["content"][-1]["cache_control"] = {"type": "ephemeral"}
        billing = f"x-anthropic-billing-header: cc_version=2; cch={self.requests};"
        system = [{"type": "text", "text": billing}, {"type": "text", "text": "S"}]
        return {
            "model": "main", "max_tokens": 4000, "system": system, "messages": items, "tools": [tool],
            "stream": self.stream,
        }  # fmt: skip

    def read(self, body: dict[str, Any] | None = None, **more: Any) -> Served:
        """The request as the server reads it."""
        desk = self.desk
        settings = {"preset": desk.preset, "key": "k1", **self.asked, **more}
        asked = Asked(wire=desk.wire, body=body or self.body(), main=MAIN, endpoint=desk.upstream, **settings)
        return desk.server.read(asked)

    def ask(self, *, keep: bool = True, cut: int | None = None, body: dict[str, Any] | None = None) -> list[Any]:
        """Make the request, and join the answer's items to the conversation. `cut`: the client leaves after so many events."""
        return self.desk.loop.run(self._ask(body or self.body(), keep=keep, cut=cut))

    async def _ask(self, body: dict[str, Any], *, keep: bool, cut: int | None) -> list[Any]:
        served = self.read(body)
        await take(served, CallContext("main", run="r"), lambda _event: None)
        self.said, self.receipt = served.said, served.receipt
        self.sent = served.body()
        answer = await self._post(self.sent)
        if served.goes_bare(answer.status_code, answer.text):
            self.sent = served.bare()
            answer = await self._post(self.sent)
        came, sent = (list(map(prompt.canonical, prompt.items_of(each))) for each in (body, self.sent))
        logged = Logged(len(self.desk.endpoint.exchanges), came, sent)
        self.desk.log.append(logged)
        if answer.status_code != 200:
            await served.ended("cut")
            raise Refused(answer.status_code, answer.text)
        items = await self._taken(served, answer, cut)
        self.response = served.answer.response
        if served.row is None or served.row.state == "done":
            logged.answer = list(map(prompt.canonical, items))
        if keep:
            self.items += items
        return items

    async def _taken(self, served: Served, answer: httpx.Response, cut: int | None) -> list[Any]:
        if not self.stream:
            whole = self.rewrite(answer.json())
            served.answer.whole(whole)
            await served.ended("done")
            return items_of_answer(self.desk.wire, whole)
        lines = [line[6:] for line in answer.text.splitlines() if line.startswith("data: {")]
        events = [self.rewrite(json.loads(line)) for line in lines]
        for event in events[:cut]:
            served.answer.event(event)
        await served.ended("done" if cut is None or cut >= len(events) else "cut")
        return items_of_stream(self.desk.wire, events[:cut])

    async def _post(self, body: dict[str, Any]) -> httpx.Response:
        return await self.desk.http.post(
            PATHS[self.desk.wire], json=body, headers={"x-api-key": self.desk.upstream.api_key or ""}
        )

    def work(self) -> bool:
        """The client's tools answer the calls of the last reply. Whether there were some."""
        calls = calls_in(self.desk.wire, self.items)
        for call in calls:
            self._result(call, f"found {call}")
        return bool(calls)

    def _result(self, call: str, text: str) -> None:
        if self.desk.wire == "responses":
            self.items.append({"type": "function_call_output", "call_id": call, "output": text})
        elif self.desk.wire == "chat":
            self.items.append({"role": "tool", "tool_call_id": call, "content": text})
        else:
            block = {"type": "tool_result", "tool_use_id": call, "content": text}
            last = self.items[-1]
            if last["role"] == "user":
                last["content"].append(block)
            else:
                self.items.append({"role": "user", "content": [block]})

    def loop(self, rounds: int) -> None:
        """Ask, and answer the calls of the reply, as long as it has some; at most so many requests."""
        for _ in range(rounds):
            self.ask()
            if not self.work():
                return


class Refused(Exception):
    """The endpoint said no."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")


def items_of_answer(wire: str, body: dict[str, Any]) -> list[Any]:
    """What a client keeps of a whole answer."""
    if wire == "responses":
        return list(body["output"])
    if wire == "chat":
        message = body["choices"][0]["message"]
        return [{key: value for key, value in message.items() if value is not None}]
    return [{"role": "assistant", "content": body["content"]}] if body["content"] else []


def items_of_stream(wire: str, events: Sequence[dict[str, Any]]) -> list[Any]:
    """What a client keeps of a stream, cut off or not."""
    if wire == "responses":
        return [event["item"] for event in events if event.get("type") == "response.output_item.done"]
    return _chat_message(events) if wire == "chat" else _blocks(events)


def _blocks(events: Sequence[dict[str, Any]]) -> list[Any]:
    blocks: dict[int, dict[str, Any]] = {}
    arguments: dict[int, str] = {}
    for event in events:
        if event["type"] == "content_block_start":
            blocks[event["index"]] = dict(event["content_block"])
        elif event["type"] == "content_block_delta":
            block, delta = blocks[event["index"]], event["delta"]
            for key in ("text", "thinking", "signature"):
                if key in delta:
                    block[key] = block.get(key, "") + delta[key]
            arguments[event["index"]] = arguments.get(event["index"], "") + delta.get("partial_json", "")
    for index, text in arguments.items():
        if blocks[index]["type"] == "tool_use":
            blocks[index]["input"] = json.loads(text or "{}") if _whole(text) else {}
    content = [block for block in blocks.values() if block.get("type") != "text" or block.get("text")]
    return [{"role": "assistant", "content": content}] if content else []


def _whole(text: str) -> bool:
    try:
        json.loads(text or "{}")
    except ValueError:
        return False
    return True


def _chat_message(events: Sequence[dict[str, Any]]) -> list[Any]:
    text, calls, details = "", dict[int, dict[str, Any]](), dict[int, dict[str, Any]]()
    for event in events:
        for choice in event.get("choices", ()):
            delta = choice.get("delta", {})
            text += delta.get("content") or ""
            for call in delta.get("tool_calls") or ():
                known = calls.setdefault(
                    call["index"], {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
                )
                known["id"] += call.get("id") or ""
                for key in ("name", "arguments"):
                    known["function"][key] += call.get("function", {}).get(key) or ""
            for detail in delta.get("reasoning_details") or ():
                known = details.setdefault(detail["index"], {})
                for key, value in detail.items():
                    known[key] = known.get(key, "") + value if key in ("text", "data", "signature") else value
    message: dict[str, Any] = {"role": "assistant", "content": text or None}
    if details:
        message["reasoning_details"] = list(details.values())
    if calls:
        message["tool_calls"] = list(calls.values())
    return [message] if text or calls or details else []


def calls_in(wire: str, items: Sequence[Any]) -> list[str]:
    """The calls of the reply at the end."""
    found: list[str] = []
    for item in reversed(items):
        if wire == "responses":
            if item.get("type") == "function_call":
                found.insert(0, item["call_id"])
            elif item.get("type") not in ("reasoning", "message") or item.get("role") == "user":
                break
        elif item.get("role") != "assistant":
            break
        elif wire == "chat":
            return [call["id"] for call in item.get("tool_calls", ())]
        else:
            return [block["id"] for block in item["content"] if block["type"] == "tool_use"]
    return found
