"""The commands that the host itself brings, a family in a file. Plugins bring theirs; all meet in one `CommandTable`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.slash import context, effort, face, mcp, model, money, overview, project, sandbox, session, share

if TYPE_CHECKING:
    from agent.commands import Command
    from agent.host import Host

__all__ = ["builtin_commands"]


def builtin_commands(host: Host) -> tuple[Command, ...]:
    """The commands of contracts.md, in the order in which help shows them."""
    return (
        *model.commands(host),
        *effort.commands(host),
        *money.commands(host),
        *context.commands(host),
        *overview.commands(host),
        *project.commands(host),
        *session.commands(host),
        *share.commands(host),
        *sandbox.commands(host),
        *mcp.commands(host),
        *face.commands(host),
    )
