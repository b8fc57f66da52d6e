"""Five calls of the main model over 2,000 messages: the processor's time until each has gone out and its answer is kept, beside the older commit in one run."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.bench import older
from tests.bench.figures import Figure, median

ROUNDS = 3
OF_THE_FIRST, OF_THE_OLDER, MARGIN = 0.4, 0.6, 0.1
DIALECTS = {"anthropic": "claude-opus-5-5", "openrouter": "anthropic/claude-opus-5.5", "deepseek": "deepseek-chat"}

NOW = Path(__file__).parents[2]

SCRIPT = """
import asyncio, json, random, sys, tempfile, time
from pathlib import Path
import httpx
from agent.context.prompt import build_request
from agent.llm.accounting import CallContext
from agent.llm.models.catalogue import Catalogue
from agent.llm.client import ModelClient
from agent.llm.models.endpoint import WELL_KNOWN
from agent.llm.models.learned_quirks import QuirkMemory
from agent.llm.messages import Message, TextPart, ToolCallPart, assistant, system, user
from agent.llm.request import ModelRef, ToolSpec
from agent.llm.tokens import estimate_message
from agent.session.session import Session

name, model = sys.argv[1:]
ref = ModelRef(name, model)
endpoint = WELL_KNOWN[name].with_(api_key="k", base_url="http://there/v1")
random.seed(1)

class Later(str):
    def __await__(self):
        return self
        yield

class Books:
    def __getattr__(self, asked):
        return lambda *_, **__: Later("call")

def event(value):
    return f"event: {value.get('type', 'message')}\\ndata: {json.dumps(value)}\\n\\n"

def answer(request):
    if name == "anthropic":
        blocks = [
            ({"type": "thinking", "thinking": "", "signature": ""}, {"type": "thinking_delta", "thinking": "hm"}),
            ({"type": "text", "text": ""}, {"type": "text_delta", "text": "done"}),
        ]
        events = [{"type": "message_start", "message": {"model": model, "usage": {"input_tokens": 9, "output_tokens": 1}}}]
        for at, (begun, delta) in enumerate(blocks):
            events += [{"type": "content_block_start", "index": at, "content_block": begun}]
            events += [{"type": "content_block_delta", "index": at, "delta": delta}]
            if at == 0:
                events += [{"type": "content_block_delta", "index": at, "delta": {"type": "signature_delta", "signature": "s"}}]
            events += [{"type": "content_block_stop", "index": at}]
        events += [{"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}}]
        text = "".join(map(event, [*events, {"type": "message_stop"}]))
    else:
        details = [{"type": "reasoning.text", "text": "hm", "signature": "s", "format": "anthropic-claude-v1"}]
        delta = {"content": "done"} | ({"reasoning_details": details} if name == "openrouter" else {})
        choice = {"index": 0, "delta": delta, "finish_reason": "stop"}
        text = event({"model": model, "choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 9}})
        text += "data: [DONE]\\n\\n"
    return httpx.Response(200, text=text, headers={"content-type": "text/event-stream"})

tools = (ToolSpec("read", "Reads a file.", {"type": "object", "properties": {"path": {"type": "string"}}}),)
session = Session.create(Path(tempfile.mkdtemp()))
session.add(system("You are careful."))
for n in range(500):
    call = ToolCallPart(id=f"call{n:05}", name="read", arguments='{"path": "a.txt"}')
    session.add(user(f"do thing {n} " + "word " * random.randint(5, 80)))
    session.add(Message(role="assistant", parts=(TextPart(text="I look. " + "word " * 30), call), origin=str(ref)))
    result = TextPart(text="line of text, größer\\n" * random.randint(10, 400))
    session.add(Message(role="tool", parts=(result,), tool_name="read", tool_call_id=call.id))
    if hasattr(session, "guide") and n % 5 == 0:
        session.guide("moa", "think of the edge cases " * 20, turn="t", iteration=n)
        session.went_out()
    session.add(assistant("done " * 20, origin=str(ref)))
sent = getattr(session, "sent", session.history)

async def measure():
    client = ModelClient({name: endpoint}, Books(), catalogue=Catalogue(), memory=QuirkMemory(), transport=httpx.MockTransport(answer))
    context = CallContext("main", session="s", run="r", turn="t")
    def request(messages):
        return build_request(messages, model=ref, tools=tools, max_tokens=4_000)
    await client.complete(request([user("hi")]), context)  # what is loaded with the first call is another bench's
    times = []
    for n in range(5):
        session.add(user(f"go on {n}"))
        began = time.process_time()
        found = session.measured()  # how full the window is
        sum(map(estimate_message, found[1] if found else sent()))
        session.history()
        hold = client.hold(request(sent()), context)
        hold = await hold if hasattr(hold, "__await__") else hold
        if hasattr(session, "guide"):
            session.guide("moa", f"think of {n}", turn="t", iteration=n)
            assert sent()[-1].role == "user"
        async for last in client.stream(request(sent()), context, hold=hold):
            pass
        reply = last.reply
        session.add(reply.message)
        times.append(time.process_time() - began)
    await client.aclose()
    return times

print(json.dumps(asyncio.run(measure())))
"""


def measure(folder: Path, python: Path, rounds: int | None) -> Iterator[tuple[str, list[Figure]]]:
    """One table for each dialect: the first call, the four after it, and the same at the older commit; the rounds alternate."""
    before = older.unpacked(folder / "older")
    for endpoint, model in DIALECTS.items():
        times: dict[Path, list[list[float]]] = {NOW: [], **({before: []} if before else {})}
        for _ in range(rounds or ROUNDS):
            for root, found in times.items():
                found.append(once(python, root, endpoint, model))
        first, later = _figures(times[NOW])
        figures = [
            Figure("the first call, all messages new", first, "ms"),
            Figure("each of the four after it", later, "ms"),
            Figure("÷ the first", later / first, "×", OF_THE_FIRST, MARGIN),
        ]
        if before:
            _, older_later = _figures(times[before])
            figures.append(Figure(f"each of the four after it ({older.COMMIT})", older_later, "ms"))
            figures.append(Figure("ratio", later / older_later, "×", OF_THE_OLDER, MARGIN))
        yield f"a call over a conversation of 2,000 messages, {endpoint}:{model}", figures


def once(python: Path, root: Path, endpoint: str, model: str) -> list[float]:
    """Seconds of each call, in a process of its own with the program at `root`."""
    script = SCRIPT if root == NOW else older.spelt(SCRIPT)
    done = subprocess.run(
        [str(python), "-P", "-c", script, endpoint, model],
        env={"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    times: list[float] = json.loads(done.stdout)
    return times


def _figures(rounds: list[list[float]]) -> tuple[float, float]:
    """The first call and a later one, medians, ms."""
    return median([times[0] for times in rounds]) * 1e3, median([each for times in rounds for each in times[1:]]) * 1e3
