"""Trusting a project: its `.moa` folder takes effect only when the user has said so."""

from __future__ import annotations

from pathlib import Path

from agent.admin import configuration
from agent.errors import StateError, UsageError


def trust(folder: Path) -> str:
    """Write a project's folder into config.toml; returns what to say. Raises UsageError where there is no `.moa` in that very folder."""
    import tomlkit

    from agent.tools.files import write_atomically

    root = folder.expanduser().resolve()
    if not root.is_dir():
        raise UsageError(f"there is no folder {root}", remedy="give the folder that has the .moa folder")
    if not (root / ".moa").is_dir():
        raise UsageError(
            f"{root} has no .moa folder", remedy="give the folder that has it: trust is not inherited from below"
        )
    config = configuration()  # a broken file is reported, not rewritten
    file = config.paths.config_file
    if str(root) in config.trusted:
        return f"{root} is trusted already ({file})"
    document = tomlkit.parse(file.read_text("utf-8") if file.exists() else "")
    document.setdefault("trust", tomlkit.table()).setdefault("folders", tomlkit.array()).append(str(root))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, tomlkit.dumps(document).encode())
    except OSError as error:
        raise StateError(f"{file} can't be written: {error.strerror}", remedy="check its permissions") from error
    return f"{root} is trusted from now on ({file}); its presets can name only endpoints that you have opened yourself"
