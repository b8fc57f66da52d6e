"""`moa whatif`: a finished conversation done again from the beginning of its turns, with another panel and without one.

Each turn is forked: the conversation as it was before the turn, and a scratch copy of the folder with the files that the agent wrote set
back to what they were then. The loop runs to the turn's end twice. What a shell command had changed is as it is now: nobody kept it.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.errors import UsageError
from agent.files.own_files import make_folder, read_bytes, write_atomically
from agent.llm.errors import BudgetReached
from agent.llm.money import show_cost
from agent.process import children
from agent.session.clean import Redact
from agent.session.file import read_lines
from agent.session.session import Session
from agent.session.snapshots import Snapshots
from agent.text.cleaning import visible
from agent.views import MarkdownView, StackView, TableView, TreeView, View
from moa.bench.arms import Arm, Result
from moa.bench.check import Checker
from moa.bench.items import Item
from moa.bench.loop.runner import Loops

if TYPE_CHECKING:
    from agent.llm.messages import Message
    from agent.llm.request import ModelRef
    from moa.preset.preset import Preset

MOST_FILES, MOST_BYTES = 20_000, 300_000_000
MOST_SHOWN = 1_000
"""Characters of an answer that are shown; the whole of it is in the conversation."""
"""A folder with more is not copied."""
LEFT_OUT = frozenset({".git", ".venv", "venv", "node_modules", "__pycache__", ".mypy_cache", ".pytest_cache", "target"})


@dataclass(frozen=True, slots=True)
class Forkable:
    """A turn that can be done again: its number from 1, its entry and id, what the user said, and the ids of it and all later turns."""

    number: int
    entry: str
    parent: str | None
    prompt: str
    later: tuple[str, ...]


@dataclass(slots=True)
class Way:
    """What came of a turn in one way. `gates`: whether each passed. `calls` are the tool calls, in words; `changed` the files."""

    name: str
    status: str = ""
    steps: int = 0
    usd: float | None = None
    lower_bound: bool = False
    counsel: dict[str, int] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    gates: list[bool] = field(default_factory=list)
    text: str = ""


@dataclass(slots=True)
class Compared:
    """A turn, done again. `turned` is the first step (from 1) at which both ways do something else; None: they never do."""

    turn: int
    prompt: str
    ways: list[Way]
    turned: int | None


class Source:
    """The conversation that is gone back over. Raises UsageError where there is none, or it can't be done again."""

    def __init__(self, folder: Path, name: str, state: Path, *, redact: Redact) -> None:
        self.session = Session.open(folder, name)
        self._redact = redact
        lines, _problems = read_lines(self.session.path)
        opened: dict[str, Any] = next((line.entry for line in lines if line.entry.get("type") == "opened"), {})
        self.model = opened.get("model")
        self.cwd = Path(str(opened.get("cwd", "")))
        self.snapshots = Snapshots(state / "snapshots" / self.session.id)
        if not self.cwd.is_absolute() or not self.cwd.is_dir():
            raise UsageError(
                f"the folder of session {self.session.id} is gone ({self.cwd})",
                remedy="name a session whose folder is there",
            )
        goal = self.session.get_state("goal") or {}
        self.gates = tuple(str(gate) for gate in goal.get("gates", ()) if isinstance(gate, str))

    def turns(self) -> list[Forkable]:
        """The turns that the user began, oldest first."""
        placed = self.session.turns()
        ids = [turn.id for turn in placed]
        return [
            Forkable(number, turn.entry, turn.before, turn.prompt.text, tuple(filter(None, ids[number - 1 :])))
            for number, turn in enumerate(placed, 1)
            if not turn.prompt.synthetic
        ]

    def restore(self, turn: Forkable, work: Path) -> None:
        """Copy the folder as it was before a turn. Blocking. Raises UsageError for one that is too large."""
        copy(self.cwd, work)
        root = self.cwd.resolve()
        for path, content in self.snapshots.originals(*turn.later).items():
            if not path.is_relative_to(root):
                continue
            target = work / path.relative_to(root)
            if content is None:
                target.unlink(missing_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)

    def fork(self, turn: Forkable, path: Path) -> Session:
        """The conversation up to the turn, in a file of its own."""
        make_folder(path.parent)
        write_atomically(path, read_bytes(self.session.path))
        twin = Session.open(path.parent, path.stem, redact=self._redact, claim=True)
        twin.rewind(turn.parent, reason="what if")
        return twin


def copy(source: Path, target: Path) -> None:
    """What is in a folder, but for what tools make: in a Git repository the files that Git knows or would take, else all."""
    listed = children.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        env=children.environment(project=source),
        cwd=source,
        timeout_s=30,
    )
    if listed is not None and listed.returncode == 0:
        names = [Path(name) for name in listed.stdout.decode("utf-8", "surrogateescape").split("\0") if name]
    else:
        names = [
            path.relative_to(source) for path in source.rglob("*") if not LEFT_OUT & set(path.relative_to(source).parts)
        ]
    total = 0
    for number, name in enumerate(names):
        path = source / name
        if path.is_symlink() or not path.is_file():
            continue
        total += path.stat().st_size
        if number > MOST_FILES or total > MOST_BYTES:
            raise UsageError(
                f"{source} is too large to copy (more than {MOST_FILES:,} files or {MOST_BYTES // 1_000_000} MB)",
                remedy="name a session of a smaller folder",
            )
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target / name)


async def compare(
    source: Source, turn: Forkable, loops: Loops, main: ModelRef, preset: Preset, gates: Sequence[str]
) -> Compared:
    """Do one turn again without counsel and with it. Raises BudgetReached and UsageError."""
    arms = [
        Arm("without", "loop", main, effort=preset.effort),
        Arm(f"with {preset.name}", "loop", main, preset=preset, effort=preset.effort),
    ]
    ways = [await _way(source, turn, loops, arm, gates) for arm in arms]
    return Compared(turn.number, turn.prompt, ways, turned(ways[0].calls, ways[1].calls))


async def _way(source: Source, turn: Forkable, loops: Loops, arm: Arm, gates: Sequence[str]) -> Way:
    work = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="moa-whatif-"))
    name = "with" if arm.preset is not None else "without"
    path = loops.folder / "sessions" / f"{loops.account}.turn-{turn.number}.{name}.jsonl"
    session = await asyncio.to_thread(source.fork, turn, path)
    try:
        await asyncio.to_thread(source.restore, turn, work)
        before = await asyncio.to_thread(_files, work)
        known = len(session.transcript())
        result = await loops.turn(arm, Item(f"turn {turn.number}", turn.prompt, "", "command"), work, session)
        after = await asyncio.to_thread(_files, work)
        way = _of(arm.name, result, session.transcript()[known:])
        way.changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        checker = Checker(loops.config)
        for gate in gates:
            way.gates.append((await checker.run(gate, {}, folder=work)).passed)
        return way
    finally:
        session.close()
        await asyncio.to_thread(loops.tidy, work, session)


def _of(name: str, result: Result, said: Sequence[Message]) -> Way:
    return Way(
        name,
        status=result.error or result.status,
        steps=result.steps,
        usd=None if result.unknown and not result.cost_nano else result.cost_nano / 1e9,
        lower_bound=result.unknown > 0,
        counsel=result.counsel,
        calls=[f"{call.name} {call.arguments}" for message in said for call in message.tool_calls],
        text=result.text,
    )


def _files(folder: Path) -> dict[str, bytes]:
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and not LEFT_OUT & set(path.relative_to(folder).parts):
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
    return found


def turned(one: Sequence[str], other: Sequence[str]) -> int | None:
    """At which tool call, from 1, two ways part; None where they do the same."""
    for at, (mine, theirs) in enumerate(zip(one, other, strict=False), 1):
        if mine != theirs:
            return at
    return None if len(one) == len(other) else min(len(one), len(other)) + 1


async def go(
    source: Source,
    chosen: Sequence[Forkable],
    loops: Loops,
    main: ModelRef,
    preset: Preset,
    gates: Sequence[str],
    tell: Callable[[str], None],
) -> tuple[list[Compared], BudgetReached | None]:
    """All turns, one after the other, and the budget that ended it; each is kept in the folder as soon as it is done. Raises UsageError."""
    found: list[Compared] = []
    for turn in chosen:
        tell(f"· turn {turn.number}: {visible(' '.join(turn.prompt.split()))[:80]}")
        try:
            found.append(await compare(source, turn, loops, main, preset, gates))
        except BudgetReached as reached:
            return found, reached
        rows = {"whatif": [asdict(each) for each in found]}
        write_atomically(loops.folder / "report.json", (json.dumps(rows, indent=1, ensure_ascii=False) + "\n").encode())
    return found, None


def view(found: Sequence[Compared], gates: Sequence[str], folder: Path) -> View:
    """For people."""
    rows = []
    for each in found:
        for way in each.ways:
            passed = f"{sum(way.gates)} of {len(gates)}" if gates else ""
            sent = str(way.counsel.get("sent", "")) if way.counsel else ""
            cost = show_cost(way.usd, way.lower_bound)
            rows.append(
                (
                    f"turn {each.turn}",
                    way.name,
                    way.status,
                    str(way.steps),
                    sent,
                    passed,
                    cost,
                    ", ".join(way.changed[:6]),
                )
            )
    parted = tuple((f"turn {each.turn}", _where(each)) for each in found)
    columns = ("turn", "way", "ended", "calls", "counsels sent", "gates passed", "cost", "files changed")
    told = "" if gates else "No gate judges these turns: give one with --gate COMMAND.\n\n"
    return StackView(
        views=(
            TableView(columns=columns, rows=tuple(rows), align="lllrrrrl"),
            TableView(columns=("turn", "the difference"), rows=parted),
            *(_answers(each) for each in found if not any(way.calls for way in each.ways)),
            MarkdownView(text=f"{told}The conversations: `{folder / 'sessions'}`"),
        )
    )


def _answers(found: Compared) -> TreeView:
    """What a turn without tool calls comes to: its answers."""
    said = tuple(TreeView(label=way.name, text=way.text.strip()[:MOST_SHOWN]) for way in found.ways)
    return TreeView(label=f"turn {found.turn}: {visible(' '.join(found.prompt.split()))[:80]}", children=said)


def _where(found: Compared) -> str:
    if found.turned is None:
        same = len({way.text.strip() for way in found.ways}) == 1
        called = "the same tool calls" if found.ways[0].calls else "no tool is called"
        return f"{called}, {'and the same answer' if same else 'and another answer'}"
    steps = []
    for way in found.ways:
        at = found.turned - 1
        call = way.calls[at] if at < len(way.calls) else "ends"
        steps.append(f"{way.name}: {visible(' '.join(call.split()))[:90]}")
    return f"at tool call {found.turned}; " + " · ".join(steps)
