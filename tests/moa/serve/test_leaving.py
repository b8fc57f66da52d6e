"""Clients that leave at any moment: nothing goes on for them, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from moa.serve.counsel.panels import Advice, Panels
from moa.serve.reply import Reply
from tests.support.endpoint import ScriptedEndpoint
from tests.support.script import Say, Script
from tests.support.serving import KEY, PATHS, PRESET, WIRES, Serving, body
from tests.support.waiting import wait_until

PRESETS = {
    "raw": PRESET.format(main="chat:m", aggregate="raw"),
    "ahead": "lookahead = true\n" + PRESET.format(main="responses:m", aggregate="raw"),
    "late": "quorum = 1\ngrace_s = 0.01\n" + PRESET.format(main="messages:m", aggregate="raw"),
}
NONE_LEFT = "moa_requests_running 0.0"
MODELS = (*(f"moa/{name}" for name in PRESETS), "fuse/raw", "chat:m", "messages:m")


def test_a_request_that_is_stopped_as_its_answer_begins_is_stopped() -> None:
    """The stop once looked like that of the signs of life, and was lost: the request waited for an endpoint that said nothing more."""

    async def send(_message: Any) -> None:
        pass

    async def main() -> bool:
        begins = asyncio.Event()

        async def answer() -> None:
            async with Reply(send).waiting(60, lambda: b""):
                await begins.wait()
            await asyncio.Event().wait()

        task = asyncio.create_task(answer())
        await asyncio.sleep(0)
        begins.set()
        await asyncio.sleep(0)  # the answer is there, and the signs of life are being stopped
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=5)
        return bool(done) and task.cancelled()

    assert asyncio.run(main())


class Late:
    """A panel with a member still at work."""

    closed = False

    async def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("leaves", ["one", "first", "both"])
def test_late_members_go_on_only_for_somebody(leaves: str) -> None:
    late: Any = Late()

    async def main() -> list[Any]:
        come = asyncio.Event()

        async def take() -> Advice:
            await come.wait()
            return Advice({}, None, "c", late)

        panels = Panels(lambda _preset: late)
        asking = [asyncio.create_task(panels.share("same", take)) for _ in range(1 if leaves == "one" else 2)]
        await asyncio.sleep(0)
        come.set()
        await asyncio.sleep(0)  # the advice is there, and nobody has heard of it
        for task in asking if leaves == "both" else asking[:1]:
            task.cancel()
        found = await asyncio.gather(*asking, return_exceptions=True)
        return [each[2] for each in found if isinstance(each, tuple)]

    assert asyncio.run(main()) == ([late] if leaves == "first" else [])
    assert late.closed is (leaves != "first")


def says(chance: random.Random) -> Callable[[Mapping[str, Any], int], Say]:
    """Mostly an answer, of any length and at any speed; sometimes none, or half of one."""

    def say(_body: Mapping[str, Any], _earlier: int) -> Say:
        if chance.random() < 0.1:
            return Say(shape=chance.choice(["hang", "stall", "mute", "cut"]))
        text = f"CONCERN {chance.random()} " * chance.choice([1, 20, 300])
        return Say(text=text, ttft_s=chance.choice([0, 0.02, 0.1]), spread_s=chance.choice([0, 0.05, 0.3]))

    return say


async def client(port: int, chance: random.Random, stop: float) -> None:
    """Asks, and leaves when it likes, with a word or without."""
    while time.monotonic() < stop:
        wire = chance.choice(WIRES)
        asked = body(wire, chance.choice(MODELS), f"Look at {chance.randrange(4)}.", stream=chance.random() < 0.8)
        data = json.dumps(asked).encode()
        head = f"POST {PATHS[wire]} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {KEY}\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"{head}connection: close\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data)
        try:
            async with asyncio.timeout(chance.choice([0.001, 0.01, 0.05, 0.1, 0.2, 0.5, 2])):
                while await reader.read(chance.choice([100, 65_536])):
                    pass
        except (TimeoutError, ConnectionError):
            pass
        if chance.random() < 0.5:
            writer.transport.abort()
        writer.close()


@pytest.mark.slow
@pytest.mark.parametrize("uvloop", [True, False])
def test_many_leave_under_load(tmp_path: Path, uvloop: bool) -> None:
    chance = random.Random(3)
    script = Script(models=dict.fromkeys(("alpha", "beta", "gamma", "m"), says(chance)))
    more = '[serve]\nhead_s = 0.1\ncounsel_for = "all"\n'
    with (
        ScriptedEndpoint(script) as up,
        Serving(tmp_path, up, presets=PRESETS, config=more, uvloop=uvloop) as server,
    ):

        async def crowd() -> None:
            stop = time.monotonic() + 3
            await asyncio.gather(*(client(server.port, random.Random(n), stop) for n in range(40)))

        asyncio.run(crowd())
        wait_until(lambda: NONE_LEFT in server.get("/metrics").text)
        assert server.get("/health").status_code == 200
        ledger = server.ledger()
        outcomes = {call.outcome for call in ledger.calls()}
        ledger.close()
    assert "reserved" not in outcomes and "done" in outcomes
