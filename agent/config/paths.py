"""The program's own folders, and a project's (contracts.md, "Places")."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from agent.values import dataclass


@dataclass(frozen=True, slots=True)
class Paths:
    """The program's own folders (contracts.md, "Places")."""

    config: Path
    state: Path
    cache: Path

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Paths:
        """MOA_CONFIG_DIR, MOA_STATE_DIR, MOA_CACHE_DIR; else the platform's own places."""
        named = [env.get(f"MOA_{kind}_DIR") for kind in ("CONFIG", "STATE", "CACHE")]
        if all(named):
            return cls(*(Path(str(name)).expanduser().absolute() for name in named))
        import platformdirs

        defaults = (
            platformdirs.user_config_path("moa", appauthor=False),
            platformdirs.user_state_path("moa", appauthor=False),
            platformdirs.user_cache_path("moa", appauthor=False),
        )
        return cls(
            *(Path(name).expanduser().absolute() if name else path for name, path in zip(named, defaults, strict=True))
        )

    @property
    def config_file(self) -> Path:
        """config.toml."""
        return self.config / "config.toml"

    @property
    def keys_file(self) -> Path:
        """keys.toml: keys that the user pasted (`agent.config.keys`)."""
        return self.config / "keys.toml"

    @property
    def sessions(self) -> Path:
        """The folder of the sessions."""
        return self.state / "sessions"


def project_folder(cwd: Path) -> Path | None:
    """The nearest `.moa` folder at or above `cwd` and below the home folder, trusted or not."""
    home = Path.home()
    for folder in (cwd, *cwd.parents):
        if folder == home or folder == folder.parent:
            return None
        if (folder / ".moa").is_dir():
            return folder / ".moa"
    return None
