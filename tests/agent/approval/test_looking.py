"""What a call is about is looked up once, and what can't be looked up is asked about."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from agent.approval.approval import Approvals, Mode
from agent.files.deny_paths import DenyPaths
from agent.llm.messages import ToolCallPart
from agent.tools.base import ToolContext, ToolError
from tests.agent.tools.support import make_context, tool
from tests.agent.tools.test_hostile import git, repository


async def use(approvals: Approvals, context: ToolContext, name: str, **arguments: object) -> str | None:
    """Decide about a call, and run it where it may; what decided."""
    decision = await approvals.decide(tool(name), ToolCallPart(id="c1", name=name, arguments="{}"), arguments, context)
    if decision.allowed:
        with contextlib.suppress(ToolError):
            return (await tool(name).run(replace(context, allowed=decision.place), arguments)).text
    return None


def circle(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).symlink_to(Path(name).name)


# What somebody else's project, or a setting of one's own, can have in it that is hard to look at.
OBSTACLES: dict[str, Callable[[Path], object]] = {
    "nothing": lambda project: None,
    "a link in a circle": circle(".idea"),
    "a folder's link in a circle": circle(".vscode"),
    "a link in a circle at home": lambda project: circle(".x")(project.parent / "home"),
    "a long word that is run": lambda project: git(project, "config", "alias.x", f"!python3 -c 'print({'1+' * 200}1)'"),
    "a long name": lambda project: git(project, "config", "alias.x", f"!/opt/{'x' * 300}"),
    "a way back": lambda project: git(project, "config", "alias.x", "!sh src/../../x.sh"),
}


@pytest.mark.parametrize("path", ["tools/hooks/pre-commit", "tools/filter.sh", "~/.bashrc"])
@pytest.mark.parametrize("kind", OBSTACLES)
@pytest.mark.parametrize("mode", ["edits", "all"])
@pytest.mark.sample(8)
def test_what_is_hard_to_look_at_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: Mode, kind: str, path: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    project = repository(tmp_path / "project")
    git(project, "config", "core.hooksPath", "tools/hooks")
    git(project, "config", "filter.x.clean", "sh tools/filter.sh")
    OBSTACLES[kind](project)
    approvals = Approvals(mode, deny_paths=DenyPaths((), project))
    assert asyncio.run(use(approvals, make_context(project), "write", path=path, content="x")) is None
    assert asyncio.run(use(approvals, make_context(project), "write", path="fine.txt", content="x"))


@pytest.mark.parametrize("mode", ["edits", "all"])
@pytest.mark.parametrize("elsewhere", ["src", "x"], ids=["a folder", "a circle"])
def test_a_link_that_leads_elsewhere_at_each_look_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: Mode, elsewhere: str
) -> None:
    """Whoever turns a link all the time, a job in the background, finds no moment in which the file that is judged is another one."""
    project = repository(tmp_path / "project")
    (project / ".git/hooks").mkdir(exist_ok=True)
    (project / "src").mkdir(exist_ok=True)
    (project / ".git/hooks/secret").write_text("secret")
    resolve, turns = Path.resolve, iter(())

    def turned(path: Path, strict: bool = False) -> Path:
        if path.name in ("pre-commit", "secret"):
            (project / "x").unlink(missing_ok=True)
            (project / "x").symlink_to(".git/hooks" if next(turns, True) else elsewhere)
        return resolve(path, strict)

    monkeypatch.setattr(Path, "resolve", turned)
    approvals = Approvals(mode, deny_paths=DenyPaths((".git/hooks/secret",), project))
    for each in product((True, False), repeat=6):
        turns = iter(each)
        asyncio.run(use(approvals, make_context(project), "write", path="x/pre-commit", content="x"))
        assert not (project / ".git/hooks/pre-commit").exists(), each
        turns = iter(each)
        assert "secret" not in (asyncio.run(use(approvals, make_context(project), "read", path="x/secret")) or ""), each


ENDLESS: list[tuple[str, dict[str, Any]]] = [
    ("read", {"path": "a/" * 3_000}),
    ("read", {"path": "../" * 3_000 + "etc/passwd"}),
    ("write", {"path": "a/" * 3_000, "content": ""}),
    ("grep", {"path": "a/" * 3_000, "pattern": "x"}),
    ("glob", {"pattern": "/" + "a/" * 3_000 + "*"}),
    ("shell", {"command": "echo " + "a/" * 3_000}),
]


@pytest.mark.parametrize(("name", "arguments"), ENDLESS)
def test_a_path_without_end_is_none(tmp_path: Path, name: str, arguments: dict[str, Any]) -> None:
    approvals = Approvals("ask", deny_paths=DenyPaths(("~/private/**", ".env", "a/b"), tmp_path))
    assert asyncio.run(use(approvals, make_context(tmp_path), name, **arguments)) is None
