"""Scores that take more than a look at the text: a command, a program's tests, a rubric, a comparison with another arm's answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agent.llm.request import ModelRef
from moa.bench import scorers
from moa.bench.judge.judge import FAILURES, Bill, Met, together

if TYPE_CHECKING:
    from agent.config.config import Config
    from agent.llm.accounting import CallContext
    from agent.llm.client import ModelClient
    from moa.bench.arms import Result
    from moa.bench.check import Checker
    from moa.bench.items import Item
    from moa.bench.judge.judge import Judges

PROGRAM_S = 20.0
"""Seconds that a program's tests may take."""
_BLOCK = re.compile(r"^```[^\n`]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


class Marker:
    """Scores results. What can't be judged is `blocked`: it counts as wrong and is shown apart."""

    def __init__(self, checker: Checker | None, judges: Judges | None) -> None:
        self._checker = checker
        self._judges = judges

    async def mark(self, result: Result, item: Item, context: CallContext, against: Result | None = None) -> None:
        """Set the score of a result whose scorer is one of `scorers.LATER`. `against` is the answer that it is compared with.

        Raises BudgetReached, and UsageError for an endpoint or key that is not there.
        """
        if result.status != "done" or item.files:
            return
        if against is not None and against.status != "done":
            result.score = 1.0  # the other one gave no answer to compare with
            return
        try:
            match item.scorer:
                case "command" | "python":
                    await self._run(result, item)
                case "rubric":
                    await self._rubric(result, item, context)
                case "pairwise":
                    await self._compare(result, item, context, against)
        except (*FAILURES, OSError, ValueError) as error:
            result.status, result.score = "blocked", 0.0
            result.error = f"not judged: {error}"[:300]

    async def _run(self, result: Result, item: Item) -> None:
        assert self._checker is not None
        if item.scorer == "python":
            files = {"program.py": program(item.prompt, result.text, item.expected)}
            checked = await self._checker.run("exec python3 program.py", files, timeout_s=PROGRAM_S)
        else:
            checked = await self._checker.run(item.expected, {"answer.txt": result.text}, said=result.text)
        if not checked.started:
            raise ValueError(checked.output.strip() or "there is no such command")
        result.score = float(checked.passed)

    async def _rubric(self, result: Result, item: Item, context: CallContext) -> None:
        judges, bill = self._judges, Bill()
        assert judges is not None
        try:
            found = await together(
                judges.criterion(item.prompt, result.text, each.requirement, context, bill) for each in item.rubric
            )
        finally:
            _charge(result, bill)
        values = {each.id: value for each, (value, _said) in zip(item.rubric, found, strict=True)}
        said: list[Met] = [met for _value, each in found for met in each]
        result.marks = values
        result.unverified = sum(met.verified is False for met in said)
        result.score = scorers.weighted(values, {each.id: each.weight for each in item.rubric}) / 100

    async def _compare(self, result: Result, item: Item, context: CallContext, against: Result | None) -> None:
        judges, bill = self._judges, Bill()
        if against is None:
            result.score = 0.5  # what the others are compared with
            return
        assert judges is not None
        try:
            found = await judges.prefer(item.prompt, result.text, against.text, context, bill)
        finally:
            _charge(result, bill)
        result.score, result.swayed = found.score, found.swayed


def marker_for(
    items: Sequence[Item], config: Config, client: ModelClient, judges: Sequence[str], passes: int
) -> Marker | None:
    """Who scores what takes more than a look; None where nothing does. `judges` are ENDPOINT:MODEL."""
    if not any(item.scorer in scorers.LATER for item in items):
        return None
    from moa.bench.check import Checker
    from moa.bench.judge.judge import Judges

    models = [ModelRef.parse(name) for name in judges]
    return Marker(Checker(config), Judges(client, models, passes=passes) if models else None)


def _charge(result: Result, bill: Bill) -> None:
    """What judging cost is no part of what answering did."""
    result.judge_calls += bill.calls
    result.judge_nano += bill.nano
    result.judge_unknown += bill.unknown
    result.verdicts += bill.verdicts
    result.soft += bill.soft


def program(prompt: str, reply: str, tests: str) -> str:
    """A program out of a prompt that begins a function (in its last block of code), a reply that completes it, and tests that end the process with an error.

    A reply may repeat the beginning, or only go on; its code is in its longest block, or it is code as a whole.
    """
    begun = _BLOCK.findall(prompt)
    prompt = begun[-1] if begun else prompt
    blocks = _BLOCK.findall(reply)
    code = max(blocks, key=len) if blocks else reply
    name = re.findall(r"^def (\w+)", prompt, re.MULTILINE)[-1:]
    whole = bool(name) and re.search(rf"^(async )?def {name[0]}\b", code, re.MULTILINE) is not None
    before = prompt[: prompt.rfind(f"def {name[0]}")] if whole and name else prompt
    if not whole and code.strip() and not code.startswith((" ", "\t", "\n")):
        code = "\n".join(f"    {line}" if line.strip() else line for line in code.split("\n"))
    return f"{before}{code}\n\n{tests}\n"
