"""What arms are compared on: an item, and a suite of them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from agent.llm.messages import Message, assistant, user
from moa.bench import scorers

WHOLE = ("exact", "regex", *scorers.LATER)
"""Scorers that judge the whole text: it must not be told how to end."""

INSPECT = "inspect"
"""In place of a scorer: Inspect scores."""

ENDING = (
    "\n\nWork it out step by step first. Then end with one line of the form `Answer: …`, with the answer alone in it."
)
"""Asked for the last line alone, a small model writes nothing before it, and so gets little right."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """A line of a rubric. A negative `weight` is for a mistake: meeting it costs points."""

    id: str
    requirement: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Item:
    """One item. `scorer` is a name of `moa.bench.scorers`; `expected` is what that compares with, or the command that judges.

    With `files` (path and text) it is a task: the agent's loop works on them, and the command judges what they are like then, with `checks`
    put in place. `group` is what it is counted with. `turns` are what the person says after each reply, `history` what was said before
    (role and text), `max_tokens` how long a reply may be (None: as the bench has it). `text` is what a judge is asked about, where that is
    what the item is.
    """

    id: str
    prompt: str
    expected: str
    scorer: str
    files: tuple[tuple[str, str], ...] = ()
    checks: tuple[tuple[str, str], ...] = ()
    group: str = ""
    rubric: tuple[Criterion, ...] = ()
    turns: tuple[str, ...] = ()
    history: tuple[tuple[str, str], ...] = ()
    max_tokens: int | None = None
    text: str = ""

    @property
    def messages(self) -> tuple[Message, ...]:
        """What was said before, and the request."""
        said = (user(text) if role == "user" else assistant(text) for role, text in self.history)
        return (*said, user(self.request))

    def after(self, reply: str) -> Item:
        """The next turn of an item that has `turns`: what was said so far stands before it."""
        said = (*self.history, ("user", self.request), ("assistant", reply))
        return replace(self, history=said, prompt=self.turns[0], turns=self.turns[1:])

    @property
    def more(self) -> list[Any]:
        """What it has beside prompt, expectation and scorer."""
        return [self.files, self.checks, [asdict(each) for each in self.rubric], self.turns, self.text]

    @property
    def request(self) -> str:
        """The words that a model gets."""
        return self.prompt if self.scorer in WHOLE else self.prompt + ENDING


@dataclass(frozen=True, slots=True)
class Suite:
    """Items in the order in which they are run. `digest` names exactly these: another person's run of the same suite has it, too."""

    name: str
    items: tuple[Item, ...]

    @property
    def tasks(self) -> bool:
        """Whether its items are tasks for the agent's loop."""
        return any(item.files for item in self.items)

    @property
    def of_inspect(self) -> bool:
        """Whether Inspect asks and scores."""
        return any(item.scorer == INSPECT for item in self.items)

    @property
    def pairwise(self) -> bool:
        """Whether its answers are compared in pairs."""
        return any(item.scorer == "pairwise" for item in self.items)

    @property
    def digest(self) -> str:
        """SHA-256 over ids, prompts, expectations and scorers, and the files of tasks."""
        lines = (
            json.dumps([i.id, i.prompt, i.expected, i.scorer, *(each for each in i.more if each)], ensure_ascii=False)
            for i in self.items
        )
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()
