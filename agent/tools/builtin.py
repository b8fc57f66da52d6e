"""The agent's tools, one file each."""

from __future__ import annotations

from collections.abc import Collection

from agent.tools.base import Tool

__all__ = ["builtin_tools"]


def builtin_tools(*, strip_env: Collection[str] = (), secrets: Collection[str] = ()) -> tuple[Tool, ...]:
    """The tools that need nothing but this machine, always in the same order, since they are part of what a model's cache begins with.

    `strip_env` names environment variables that no command of the shell tool sees (configured API keys), nor any other in which one of the `secrets` is. The shell tool has an
    `aclose()` that ends its background jobs.
    """
    from agent.tools.edit import Edit
    from agent.tools.glob import GlobTool
    from agent.tools.grep import Grep
    from agent.tools.read import Read
    from agent.tools.shell import Shell
    from agent.tools.write import Write

    return Read(), Write(), Edit(), GlobTool(), Grep(), Shell(strip_env=strip_env, secrets=secrets)
