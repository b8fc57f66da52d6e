"""`moa trust`: what trusting a project would let in, and taking it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from agent.admin.sessions import configuration
from agent.config.edit import add_to_list
from agent.config.trust import (
    Digests,
    changes,
    digests,
    instructions_digest,
    one_line,
    read_seen,
    seen_file,
    whole_line,
    write_seen,
)
from agent.context import skills
from agent.errors import StateError, UsageError
from agent.slash.user_commands import described
from agent.text.cleaning import visible


class Offer(NamedTuple):
    """What trusting a project would let in. `lines` say it to the user; `known`: it is trusted as it is."""

    root: Path
    lines: tuple[str, ...]
    digests: Digests
    known: bool

    @property
    def text(self) -> str:
        """All of it, for people."""
        lines = self.lines or ("nothing that takes effect",)
        return "\n".join((visible(f"{self.root / '.moa'} brings:"), *(f"  {line}" for line in lines)))


def look(folder: Path, *, presets: Callable[[Path], list[str]] = lambda _folder: []) -> Offer:
    """What a project's `.moa` folder would let in; `presets` describes those in it. Raises UsageError where there is none in that very
    folder, or too much in it."""
    root = folder.expanduser().resolve()
    if not root.is_dir():
        raise UsageError(f"there is no folder {root}", remedy="give the folder that has the .moa folder")
    inside = root / ".moa"
    if not inside.is_dir() and not (root / "AGENTS.md").is_file():
        raise UsageError(
            f"{root} has no .moa folder and no AGENTS.md",
            remedy="give the folder that has them: trust is not inherited from below",
        )
    config = configuration()  # a broken file is reported, not rewritten
    found = digests(inside)
    if found is None:
        raise UsageError(
            f"{inside} has more in it than can be looked through", remedy="move what is no setting out of it"
        )
    lines = [f"skill {each.name}: {each.problem or each.description}" for each in skills.discover(None, inside)]
    lines += [f"command /{name}: {summary}" for name, summary in described(inside)]
    lines += presets(inside)
    runs = list(_runs(inside))
    if scripts := [name.removeprefix("../") for name in found if name.startswith("../")]:
        runs.append(f"scripts that these run: {', '.join(scripts)}")
    if (root / "AGENTS.md").is_file():
        lines.append("AGENTS.md: instructions for the model")
    found = found | instructions_digest(root)
    before = read_seen(config).get(str(root))
    if before is not None and (changed := changes(before, found)):
        lines += [f"since you trusted it: {one}" for one in changed]
    known = str(root) in config.trusted and before == found
    return Offer(root, (*map(one_line, lines), *map(whole_line, runs)), found, known)


def _runs(inside: Path) -> Iterator[str]:
    """What of a project is started or reached when the agent works. Raises UsageError for settings that are wrong."""
    from agent.config.mcp import read_project
    from agent.userhooks import project_hooks

    for server in read_project(inside).values():
        yield f"MCP server {server.name}, which is started or reached: {server.whole()}"
    for hook in project_hooks(inside):
        yield f"runs at {hook}"


def trust(offer: Offer) -> str:
    """Take an offer: write the project's folder into config.toml and what it has into the state folder; returns what to say.

    Raises UsageError where config.toml is wrong, StateError where a file can't be written.
    """
    config = configuration()
    file, root = config.paths.config_file, str(offer.root)
    if offer.known:
        return f"{root} is trusted already ({file})"
    if not write_seen(config, {**read_seen(config), root: offer.digests}):
        raise StateError(f"{seen_file(config)} can't be written", remedy="check its permissions")
    if root not in config.trusted:
        add_to_list(file, ("trust", "folders"), root)
    return (
        f"{root} is trusted from now on, as it is ({file}); its presets can name only endpoints that you have opened yourself, and after a change of "
        ".moa, AGENTS.md or a script that they run you are asked again"
    )
