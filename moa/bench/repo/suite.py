"""All repositories of the suite."""

from __future__ import annotations

from pathlib import Path

from moa.bench.repo import ambiguous, misleading, one_file, several_files
from moa.bench.repo.repository import Repository

ALL: tuple[Repository, ...] = (
    *one_file.REPOSITORIES,
    *several_files.REPOSITORIES,
    *ambiguous.REPOSITORIES,
    *misleading.REPOSITORIES,
)


def write(folder: Path) -> None:
    """Write each repository to a folder of its own below `folder`, to be looked at. What is there is written over."""
    for repository in ALL:
        for path, text in repository.files.items():
            target = folder / repository.id / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, "utf-8")
