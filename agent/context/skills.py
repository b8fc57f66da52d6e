"""Skills: folders with a SKILL.md (YAML head with `name` and `description`, then instructions), in the common format.

A model is told a line of each; it reads the rest with its read tool when the work calls for it. The user's are in `skills/` of the
configuration, a project's in `.moa/skills/`, where the project is trusted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from agent.files import frontmatter, instructions

if TYPE_CHECKING:
    from agent.files.deny_paths import DenyPaths

FILE = "SKILL.md"
HEAD = 8_000
"""Characters of a SKILL.md in which its head must end."""
MOST = 60
MOST_DESCRIPTION = 300

TOLD = """\


Skills are instructions for certain kinds of work. Before you do work that one of these fits, read its file with the read tool and follow \
it; paths in it count from its folder.
"""


class Skill(NamedTuple):
    """One skill; with a `problem` it is not offered, and this is why."""

    name: str
    description: str
    path: Path
    problem: str = ""


def discover(config_dir: Path | None, project_dir: Path | None, *, deny: DenyPaths | None = None) -> tuple[Skill, ...]:
    """The skills of the user, then those of a trusted project's `.moa` folder, by name. Blocking."""
    found: list[Skill] = []
    names: dict[str, Path] = {}
    for folder, within in ((config_dir, None), (project_dir, project_dir.parent if project_dir else None)):
        for path in _files(folder):
            skill = _read(path, deny, within)
            if skill is None:
                continue
            if not skill.problem and skill.name in names:
                skill = skill._replace(problem=f"left out: {names[skill.name]} has the same name")
            elif not skill.problem and len(names) == MOST:
                skill = skill._replace(problem=f"left out: there are more than {MOST}")
            if not skill.problem:
                names[skill.name] = path
            found.append(skill)
    return tuple(found)


def told(skills: Sequence[Skill]) -> str:
    """What the system prompt says of them; empty where none is offered."""
    lines = [f"- {skill.name}: {skill.description} ({skill.path})" for skill in skills if not skill.problem]
    return TOLD + "\n".join(lines) if lines else ""


def _files(folder: Path | None) -> list[Path]:
    try:
        return sorted(each / FILE for each in (folder / "skills").iterdir()) if folder else []
    except OSError:  # most often there is none
        return []


def _read(path: Path, deny: DenyPaths | None, within: Path | None) -> Skill | None:
    name = path.parent.name
    try:
        read = instructions.read(path, limit=HEAD, deny=deny, within=within)
    except OSError:  # a file where a folder is looked for
        return None
    if read is None:
        return None
    if not read.text:
        return Skill(name, "", path, read.problem or "left out: it is empty")
    head, _ = frontmatter.split(read.text)
    description = head.get("description", "")
    if not description:
        return Skill(name, "", path, "left out: its head (between two lines of ---) has no description")
    if len(description) > MOST_DESCRIPTION:
        description = description[: MOST_DESCRIPTION - 1] + "…"
    return Skill(head.get("name", name)[:64], description, path)
