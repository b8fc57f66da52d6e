"""Hostile repositories: looking at files runs nothing of theirs. Each plants a program that git would run, and is listed and searched."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.tools.lib import listing
from agent.tools.lib.listing import list_files
from agent.ui.file_index import FileIndex
from tests.agent.tools.support import call, make_context


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def repository(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "-q")
    (folder / "src").mkdir()
    (folder / "src" / "a.py").write_text("needle")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return folder


def promisor(folder: Path, plant: str) -> Path:
    """A sparse index with a missing tree, and a remote that git would ask for it."""
    repository(folder)
    (folder / "sub").mkdir()
    (folder / "sub" / "b.py").touch()
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "second")
    git(folder, "sparse-checkout", "set", "--cone", "--sparse-index", "src")
    tree = git(folder, "rev-parse", "HEAD:sub")
    (folder / ".git" / "objects" / tree[:2] / tree[2:]).unlink()
    for key, value in (
        ("core.repositoryformatversion", "1"),
        ("extensions.partialClone", "evil"),
        ("remote.evil.url", str(folder)),
        ("remote.evil.promisor", "true"),
        ("remote.evil.uploadpack", plant),
    ):
        git(folder, "config", key, value)
    return folder


def by_setting(*settings: tuple[str, str]) -> Callable[[Path, str], Path]:
    def make(folder: Path, plant: str) -> Path:
        repository(folder)
        for key, value in settings:
            git(folder, "config", key, value.format(plant=plant, folder=folder))
        return folder

    return make


def bare_inside(folder: Path, plant: str) -> Path:
    """A clone with an embedded bare repository, the work tree of which is the folder itself."""
    repository(folder)
    sub = folder / "sub"
    sub.mkdir()
    git(sub, "init", "-q", "--bare", ".")
    git(sub, "config", "core.bare", "false")
    git(sub, "config", "core.worktree", "..")
    git(sub, "config", "core.fsmonitor", plant)
    (sub / "a.py").write_text("needle")
    return sub


def nested(folder: Path, plant: str) -> Path:
    repository(folder)
    sub = by_setting(("core.fsmonitor", "{plant}"))(folder / "sub", plant)
    promisor(folder / "other", plant)
    return sub


def common_elsewhere(folder: Path, plant: str) -> Path:
    repository(folder)
    evil = by_setting(("core.fsmonitor", "{plant}"))(folder / "evil", plant)
    (folder / ".git" / "commondir").write_text(f"{evil}/.git\n")
    return folder


def pointer(folder: Path, plant: str) -> Path:
    evil = by_setting(("core.fsmonitor", "{plant}"), ("core.worktree", "{folder}"))(folder / "evil", plant)
    (folder / ".git").write_text(f"gitdir: {evil}/.git\n")
    (folder / "a.py").write_text("needle")
    return folder


def included(folder: Path, plant: str) -> Path:
    repository(folder)
    (folder / "inc").write_text(f'[core]\nfsmonitor = "{plant}"\n')
    git(folder, "config", "include.path", str(folder / "inc"))
    return folder


def per_worktree(folder: Path, plant: str) -> Path:
    repository(folder)
    git(folder, "config", "extensions.worktreeConfig", "true")
    (folder / ".git" / "config.worktree").write_text(f'[core]\nfsmonitor = "{plant}"\n')
    return folder


def hooked(folder: Path, plant: str) -> Path:
    repository(folder)
    for name in ("post-index-change", "fsmonitor-watchman", "post-checkout", "reference-transaction"):
        hook = folder / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\n{plant}\n")
        hook.chmod(0o755)
    return folder


HOSTILE: dict[str, Callable[[Path, str], Path]] = {
    "a promisor remote": promisor,
    "a file monitor": by_setting(("core.fsmonitor", "{plant}")),
    "a file monitor, version 1": by_setting(("core.fsmonitor", "{plant}"), ("core.fsmonitorHookVersion", "1")),
    "a filter": by_setting(("filter.x.clean", "{plant}"), ("filter.x.process", "{plant}")),
    "a pager and an editor": by_setting(
        ("core.pager", "{plant}"), ("core.editor", "{plant}"), ("pager.ls-files", "{plant}")
    ),
    "an alias of the command": by_setting(("alias.ls-files", "!{plant}")),
    "hooks elsewhere": by_setting(("core.hooksPath", "{folder}/hooks")),
    "an embedded bare repository": bare_inside,
    "a nested repository": nested,
    "a commondir": common_elsewhere,
    "a pointer to another repository": pointer,
    "an included file": included,
    "settings of the work tree": per_worktree,
    "hooks": hooked,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_looking_at_files_runs_nothing_of_the_repositorys(tmp_path: Path, kind: str) -> None:
    ran = tmp_path / "ran"
    program = tmp_path / "plant"
    program.write_text(f"#!/bin/sh\ntouch {ran}\nexit 1\n")
    program.chmod(0o755)
    folder = HOSTILE[kind](tmp_path / "project", str(program))
    ran.unlink(missing_ok=True)  # what making it has run
    for place in (folder, tmp_path / "project"):
        context = make_context(place)
        assert "a.py" in call(context, "glob", pattern="*.py").text
        assert "needle" in call(context, "grep", pattern="needle").text
        call(context, "read", path=".")
        index = FileIndex(place)
        asyncio.run(index.refresh())
        assert index.entries
    assert not ran.exists()


def test_the_plants_would_run_otherwise(tmp_path: Path) -> None:
    """The rows above prove nothing where git itself would not run them."""
    ran = tmp_path / "ran"
    for kind in (
        "a promisor remote",
        "a file monitor",
        "an embedded bare repository",
        "a commondir",
        "an included file",
    ):
        program = tmp_path / "plant"
        program.write_text(f"#!/bin/sh\ntouch {ran}\nexit 1\n")
        program.chmod(0o755)
        folder = HOSTILE[kind](tmp_path / kind.replace(" ", "-"), str(program))
        ran.unlink(missing_ok=True)
        env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        subprocess.run(
            ["git", "ls-files", "--others", "--cached"], cwd=folder, env=env, capture_output=True, timeout=20
        )
        assert ran.exists(), kind
        ran.unlink()


def test_what_is_listed_is_what_git_would_list(tmp_path: Path) -> None:
    folder = repository(tmp_path / "project")
    (folder / ".gitignore").write_text("*.log\nbuild/\n")
    (folder / ".git" / "info" / "exclude").write_text("private.txt\n")
    for name in ("a.log", "tracked.log", "build/x.o", "private.txt", "new.txt", "src/b.log"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    git(folder, "add", "-f", "tracked.log")
    git(folder, "worktree", "add", "-q", str(tmp_path / "tree"))
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    for place in (folder, folder / "src", tmp_path / "tree"):
        done = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate"],
            cwd=place, env=env, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert asyncio.run(list_files(make_context(place), place)).files == sorted(done.stdout.split())


@pytest.mark.parametrize(
    "what", [*(f".git/{name}" for name in ("index", "info/exclude", "config", "HEAD")), ".gitignore", "src/.gitignore", "linked/.gitignore", "z/.rgignore", ".ignore"]
)  # fmt: skip
@pytest.mark.timeout(60)
def test_a_pipe_in_the_repository_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.setattr(
        listing, "GIT_S", 1_000.0
    )  # git alone may take as long as it likes, and a search is stopped with a word
    folder = repository(tmp_path / "project")
    (folder / "src" / "a.py").write_text("needle\n")
    place = folder / what
    place.parent.mkdir(exist_ok=True)
    place.unlink(missing_ok=True)
    if what == "linked/.gitignore":
        place.symlink_to("/dev/zero")
    else:
        os.mkfifo(place)
    assert call(make_context(folder), "glob", pattern="*.py").text == "src/a.py"
    assert call(make_context(folder), "grep", pattern="needle").text == "src/a.py:1:needle"


def test_a_broken_index_hides_nothing(tmp_path: Path) -> None:
    folder = repository(tmp_path / "project")
    (folder / ".git" / "index").write_bytes(b"DIRC" + b"\xff" * 200)
    assert call(make_context(folder), "glob", pattern="*.py").text == "src/a.py"
