"""A recorded conversation: every event a face is told, kept as JSON lines, and read back as the same values.

    python -m tests.support.recorded        records it anew, into tests/data/conversation.jsonl

It has a counsel with a member that fails, an edit that is asked for, a tool that fails, a command, a shell command of the user's own,
a line that is refused, a queued message, a turn that is stopped, and a text that would be markup if anybody took it for that.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Union, get_args

from pydantic import Field, TypeAdapter

from agent.approval.approval import ApprovalRequest, UserAnswer
from agent.build import build
from agent.chat.chat import Chat
from agent.chat.events import Asked, ChatEvent, Opened
from agent.events import TextDeltaEvent, TurnFinished
from agent.host import Options
from agent.llm.messages import ToolCallPart
from agent.serialize import dumps
from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import endpoint_config, preset_text
from tests.support.script import ANALYSIS, Behaviour, Say, Script

FILE = Path(__file__).parent.parent / "data" / "conversation.jsonl"
HOSTILE = "Beware of [bold red]markup[/] and [/a/b], of \x1b[2Jescapes and \u202eturned\u202c words."

SCRIPT = Script(
    models={
        "main": Behaviour(
            steps=(
                Say(
                    text="I change the notes.",
                    reasoning="Line three is the odd one.",
                    tools=(("edit", {"path": "notes.txt", "old": "line 3: nothing", "new": "line 3: something"}),),
                    cost=0.01,
                ),
                Say(text="Now a look.", tools=(("read", {"path": "missing.txt"}),), cost=0.01),
                Say(text=f"# Done\n\n- the *notes* are changed\n- `missing.txt` is not there\n\n{HOSTILE}", cost=0.01),
            )
        ),
        "endless": Behaviour(steps=(Say(text="One moment, " * 200, spread_s=20.0),)),
        "first": Behaviour(steps=(Say(text="Change line three.", cost=0.001),)),
        "second": Behaviour(steps=(Say(text=f"Read the file. {HOSTILE}", cost=0.002),)),
        "broken": Behaviour(steps=(Say(status=400, error="no such thing"),)),
        "judge": Behaviour(steps=(Say(text="{}", analysis=ANALYSIS, cost=0.003),)),
    }
)


async def record(folder: Path) -> list[ChatEvent]:
    """Hold the conversation in a folder, and return its events."""
    seen: list[ChatEvent] = []

    def listen(event: ChatEvent) -> None:
        seen.append(event)
        if isinstance(event, Asked):
            chat.answer(event.id, UserAnswer("once"))
        if isinstance(event, TextDeltaEvent) and "One" in event.text:
            asyncio.get_running_loop().call_later(0.3, chat.stop)

    with ScriptedEndpoint(SCRIPT) as endpoint:
        for name in ("config/presets", "work"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "config" / "config.toml").write_text(endpoint_config(endpoint.base_url, model="fake:main"))
        panel = preset_text(["fake:first", "fake:second", "fake:broken"], cadence="turn")
        (folder / "config" / "presets" / "panel.toml").write_text(panel)
        (folder / "work" / "notes.txt").write_text("".join(f"line {n}: nothing\n" for n in range(1, 9)))
        env = {f"MOA_{kind}_DIR": str(folder / kind.lower()) for kind in ("CONFIG", "STATE", "CACHE")}
        options = Options(cwd=folder / "work", approve="ask")
        chat = Chat(lambda wanted: build(wanted, env={**os.environ, **env}), options, listen)
        chat.open()
        for line in (
            "/moa panel",
            "change the notes",
            "/moa off",
            "!echo from the shell",
            "/nosuch",
            "/model fake:endless",
        ):
            await chat.submit(line)
            await chat.idle()
        await chat.submit("say something long")
        await chat.submit("and then this")
        await chat.idle()
        await chat.aclose()
    return seen


def write(events: Iterable[ChatEvent], folder: Path, file: Path = FILE) -> None:
    """Keep events; where they were recorded is nobody's business."""
    file.parent.mkdir(exist_ok=True)
    places = {str(folder.resolve()): "/project", str(folder): "/project"}
    with file.open("w", encoding="utf-8") as out:
        for event in events:
            if isinstance(event, Opened):
                event = Opened(
                    session=event.session,
                    history=event.history[1:],
                    records=event.records,
                    todo=event.todo,
                    seen=event.seen,
                )
            line = dumps(event)
            for place, name in places.items():
                line = line.replace(place, name)
            out.write(line + "\n")


@cache
def _events() -> TypeAdapter[ChatEvent]:
    # All but Asked, whose request pydantic can't see into: its call is imported for type checkers alone.
    others = Union[tuple(kind for kind in get_args(ChatEvent) if kind is not Asked)]  # noqa: UP007 - made at run time
    return TypeAdapter(Annotated[others, Field(discriminator="type")])


def _event(line: dict[str, Any]) -> ChatEvent:
    if line["type"] != "asked":
        return _events().validate_python(line)
    call, *rest = line["request"]
    return Asked(id=line["id"], request=ApprovalRequest(ToolCallPart(**call), *rest))


def read(file: Path = FILE) -> list[ChatEvent]:
    """The recorded events."""
    lines: list[Any] = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    return [_event(line) for line in lines]


def main() -> None:
    """Record anew."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        events = asyncio.run(record(folder))
        write(events, folder)
    ends = [event.status for event in events if isinstance(event, TurnFinished)]
    print(f"{FILE}: {len(events)} events, turns ended: {', '.join(ends)}")


if __name__ == "__main__":
    main()
