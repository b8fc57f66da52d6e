"""Scripted models of known strength for the suite `repo`: a main model that knows some of the fixes, and members that advise rightly or not.

What they do depends on the repository and a seed alone, so the four cells of a bench on them are known beforehand.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

from moa.bench.repo.repository import Edit, Repository
from moa.bench.repo.suite import ALL
from tests.support.script import Decide, Say

RIGHT, WRONG = "Apply the fix of", "Apply the shortcut of"


def chance(kind: str, repository: Repository, seed: int) -> float:
    """A number between 0 and 1 that is always the same for this one."""
    return random.Random(f"{kind}/{repository.id}/{seed}").random()


def texts(body: Mapping[str, Any]) -> str:
    """All that a request says."""
    return json.dumps(body.get("messages", []), ensure_ascii=False)


def repository_of(body: Mapping[str, Any]) -> Repository:
    """Which repository a request is about: whose request stands in it first."""
    said = texts(body)
    found = [(said.find(json.dumps(each.request, ensure_ascii=False)[1:-1]), each.id) for each in ALL]
    first = min(place for place in found if place[0] >= 0)
    return next(each for each in ALL if each.id == first[1])


def member(*, right: float, seed: int = 1) -> Decide:
    """Advises the fix with this chance, else the shortcut."""

    def decide(body: Mapping[str, Any], _earlier: int) -> Say:
        repository = repository_of(body)
        good = chance("member", repository, seed) < right
        path = repository.fix[0].path
        return Say(text=f"CONCERN\n{RIGHT if good else WRONG} {repository.id} in `{path}` with the edit tool.")

    return decide


def main(*, knows: float, follows: float, seed: int = 1) -> Decide:
    """Knows the fix of a repository with this chance, else takes the shortcut; with this chance it follows advice on the repository."""

    def decide(body: Mapping[str, Any], _earlier: int) -> Say:
        repository, said = repository_of(body), texts(body)
        done = sum(len(message.get("tool_calls") or ()) for message in body["messages"])
        right = chance("main", repository, seed) < knows
        if chance("follows", repository, seed) < follows:
            if f"{RIGHT} {repository.id} " in said:
                right = True
            elif f"{WRONG} {repository.id} " in said:
                right = False
        edits: tuple[Edit, ...] = repository.fix if right else repository.wrong
        if done < len(edits):
            path, old, new = edits[done]
            return Say(text="I change it.", tools=(("edit", {"path": path, "old": old, "new": new}),))
        return Say(text="Done.")

    return decide


def expected(
    repository: Repository, *, knows: float, follows: float, advised: float, counsel: bool, seed: int = 1
) -> bool:
    """Whether the main model mends it, with counsel or without."""
    if counsel and chance("follows", repository, seed) < follows:
        return chance("member", repository, seed) < advised
    return chance("main", repository, seed) < knows
