"""/init: a first AGENTS.md for this project, or a better one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.commands import Command, CommandContext, Result, RunTurn

if TYPE_CHECKING:
    from agent.host import Host

ASK = """\
{begin} for this repository: what an agent that works here for the first time has to know, and can't see at once.

Look around first: the readme, the build and package files, the configuration of tests, linters and CI, the layout of the folders, a few \
typical source files, and rules that other tools keep (CLAUDE.md, .cursorrules, .github/copilot-instructions.md). Then write AGENTS.md:

- the commands that build, check and test, and the one that runs a single test; only such as you have seen in a file, or tried;
- how the code is laid out, in a few lines: which parts there are, and how they hang together;
- the rules of the house that are not obvious: style, naming, what must not be done, how errors are handled, how a commit is written;
- what a newcomer gets wrong.

Leave out what every project has, what a look at the folders shows, and advice that would hold anywhere. Make nothing up. At most about sixty \
lines.{keep}"""
KEEP = """

There is an AGENTS.md already. Keep what is right in it, in its own words; mend what is wrong, add what is missing, and say at the end what \
you changed and why."""


def commands(host: Host) -> tuple[Command, ...]:
    """The one."""

    async def init(context: CommandContext, args: str) -> Result:
        there = (host.agent.tools.context.cwd / "AGENTS.md").is_file()
        text = ASK.format(begin="Improve AGENTS.md" if there else "Write AGENTS.md", keep=KEEP if there else "")
        return RunTurn(f"{text}\n\n{args}" if args else text)

    return (Command("init", "write AGENTS.md for this project, or improve it", init, args_hint="[WHAT TO MIND]"),)
