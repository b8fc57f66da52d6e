"""A dialect is one file and one row: registered here, it speaks for a member, for the main model with tools, and behind the server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from agent.chat.events import Shown
from agent.events import Record, TurnFinished
from agent.host import Options
from agent.ledger.book import Ledger
from agent.llm.answers.decoding import DecoderBase
from agent.llm.dialects import structure
from agent.llm.dialects.history import settle
from agent.llm.dialects.over_http import HttpDialect
from agent.llm.dialects.registry import DIALECTS
from agent.llm.messages import TextPart
from agent.llm.models.endpoint import Endpoint
from agent.llm.request import Request
from agent.llm.stream import StreamEvent
from agent.ui.text import render
from moa.plugin import make
from tests.support.chatbench import ChatBench
from tests.support.endpoint import ScriptedEndpoint
from tests.support.serving import Serving

# The file of the dialect


class LineDialect(HttpDialect):
    """A conversation is lines of who and what; an answer comes in words."""

    name = "line"
    path = "/talk"
    controls = frozenset({"top_p"})

    def is_last(self, event: str, data: str) -> bool:
        return event == "over"

    def compose(
        self, request: Request, endpoint: Endpoint, quirks: frozenset[str], left: list[str] | None = None
    ) -> dict[str, Any]:
        lines: list[dict[str, Any]] = []
        for message in settle(request.messages):
            said = "".join(part.text for part in message.parts if isinstance(part, TextPart))
            calls = [[call.id, call.name, call.arguments] for call in message.tool_calls]
            lines.append({"who": message.role, "says": said, "calls": calls, "to": message.tool_call_id})
        if tail := structure.tail(request, quirks | {"no_json_schema", "no_json_object"}):
            lines.append({"who": "user", "says": tail, "calls": [], "to": None})
        controls = {} if request.controls is None else {"top_p": request.controls.top_p}
        tools = [tool.name for tool in request.tools]
        return {"model": request.wire_model, "tools": tools, "lines": lines, "most": request.max_tokens, **controls}

    def items(self, body: dict[str, Any]) -> list[Any]:
        return [body["tools"], *body["lines"]]

    def decoder(self, request: Request, endpoint: Endpoint) -> LineDecoder:
        return LineDecoder(request, endpoint)


class LineDecoder(DecoderBase):
    def event(self, name: str, payload: dict[str, Any]) -> list[StreamEvent]:
        if error := self.error_in(payload):
            raise self.answer.break_off(error)
        if name == "over":
            self.answer.report.add(payload["tokens"])
            self.answer.end(payload["why"])
            return []
        if "call" in payload:
            at, called, arguments = payload["call"]
            return self.answer.call(("call", at), arguments, id=at, name=called)
        return self.answer.text("text", payload["word"])

    def whole(self, payload: dict[str, Any]) -> list[StreamEvent]:
        return self.event("word", payload)

    def is_answer(self, payload: dict[str, Any]) -> bool:
        return not payload.keys().isdisjoint(("word", "call", "tokens"))


# A server that speaks it


class Lines(BaseHTTPRequestHandler):
    """`main` looks into a file once, then answers; `grave` grades its advice; everybody else says who it is."""

    seen: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.seen.append(body)
        events: list[tuple[str, Mapping[str, Any]]] = [("word", {"word": f"I am {body['model']}."})]
        if body["model"] == "grave":
            events = [("word", {"word": "CONCERN\n"}), ("word", {"word": "Read b.txt, too."})]
        elif body["model"] == "main" and not any(line["who"] == "tool" for line in body["lines"]):
            events = [("word", {"call": ["c1", "read", json.dumps({"path": "a.txt"})]})]
        why = "tool_calls" if "call" in events[0][1] else "stop"
        events.append(("over", {"why": why, "tokens": {"prompt_tokens": 40, "completion_tokens": 5}}))
        said = "".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in events).encode()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def lines() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The server's address, and what came in."""
    seen: list[dict[str, Any]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Lines,), {"seen": seen}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


@pytest.fixture(autouse=True)
def row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DIALECTS, "line", f"{__name__}:LineDialect")


def table(url: str) -> str:
    price = "price = { prompt = 1.0, completion = 1.0 }"
    return f'[endpoints.odd]\nbase_url = "{url}"\ndialect = "line"\n[endpoints.odd.models.main]\n{price}\n'


PRESET = '[[references]]\nmodel = "odd:grave"\n[[references]]\nmodel = "odd:quiet"\n[aggregator]\nmodel = "odd:judge"\n'


def test_it_speaks_for_the_main_model_and_for_members(tmp_path: Path) -> None:
    with lines() as (url, seen):
        (tmp_path / "config" / "presets").mkdir(parents=True)
        (tmp_path / "config" / "presets" / "p.toml").write_text(PRESET)
        (tmp_path / "work").mkdir()
        (tmp_path / "work" / "a.txt").write_text("the first file")
        options = Options(cwd=tmp_path / "work", plugins={"moa": {"preset": "p"}})
        config = f'model = "odd:main"\n{table(url)}'
        chat = ChatBench(tmp_path, config=config, plugins={"moa": make}, scripted=False, options=options)
        chat.run("What is in the file?", "/moa show 1")
    (turn,) = chat.all(TurnFinished)
    assert (turn.status, turn.text) == ("done", "I am main.")
    first, last = [body for body in seen if body["model"] == "main"]
    assert "read" in first["tools"] and "Read b.txt, too." in json.dumps(first["lines"]), "guidance stands in its place"
    assert last["lines"][: len(first["lines"])] == first["lines"], "what was sent stays sent"
    assert any(line["who"] == "tool" and "the first file" in line["says"] for line in last["lines"])
    assert {body["model"] for body in seen} == {"main", "grave", "quiet", "judge"}
    # The judge knows no JSON: the answers go as they are, and that is said.
    records = [record.data for record in chat.all(Record)]
    assert [record["rung"] for record in records] == ["raw"] * len(records) and records[0]["aggregator"]["error"]
    assert "Read b.txt, too." in render(chat.all(Shown)[-1].view)
    calls = Ledger(tmp_path / "state" / "ledger.db").calls(session=chat.session.id)
    assert [call.cost_nano for call in calls if call.purpose == "main"] == [45_000, 45_000]


@pytest.mark.parametrize("wire", ["messages", "chat", "responses"])
def test_it_stands_behind_the_server(tmp_path: Path, wire: str) -> None:
    asked = [{"role": "user", "content": "Who are you?"}]
    body: dict[str, Any] = {"max_tokens": 4000, "top_p": 0.5, "messages": asked}
    if wire == "responses":
        body = {"max_output_tokens": 4000, "top_p": 0.5, "input": asked}
    presets = {"p": f'main = "odd:m"\n{PRESET}'}
    with (
        lines() as (url, seen),
        ScriptedEndpoint() as up,
        Serving(tmp_path, up, config=table(url), presets=presets) as server,
    ):
        answer = server.post(wire, {"model": "odd:m", **body})
        assert answer.status_code == 200 and "I am m." in answer.text, answer.text
        assert (seen[-1]["most"], seen[-1]["top_p"]) == (4000, 0.5)
        with server.streamed(wire, {"model": "odd:m", "stream": True, **body}) as streamed:
            assert "I am m." in "".join(streamed.iter_text())
        counselled = server.post(wire, {"model": "moa/p", **body})
        assert counselled.headers["x-moa-counsel"] == "taken" and "I am m." in counselled.text
        assert "Read b.txt, too." in json.dumps(seen[-1]["lines"])
        if wire == "chat":
            refused = server.post(wire, {"model": "odd:m", "seed": 7, **body})
            assert refused.status_code == 400 and "no word for it" in refused.text
