"""/sandbox: see what confines the commands of the shell tool, and change it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.commands import Command, CommandContext, Result, Said
from agent.errors import UsageError
from agent.sandbox.sandbox import MODES, Mode, Sandbox
from agent.slash.arguments import one_of, said
from agent.views import TableView

if TYPE_CHECKING:
    from agent.host import Host

WORDS = (*MODES, "network on", "network off")


def commands(host: Host) -> tuple[Command, ...]:
    """The one of them."""

    async def run(context: CommandContext, args: str) -> Result:
        sandbox = host.agent.tools.context.sandbox
        if sandbox is None:
            raise UsageError("there is no sandbox here", remedy="start the program with moa")
        if args:
            return await _change(sandbox, args)
        return await _show(host, sandbox)

    return (
        Command(
            "sandbox",
            "what keeps shell commands from the network and from your files",
            run,
            args_hint="[auto | on | off | network on | network off]",
            busy_ok=True,
            complete=lambda typed: [word for word in WORDS if word.startswith(typed)],
        ),
    )


async def _change(sandbox: Sandbox, args: str) -> Result:
    word, _, rest = " ".join(args.split()).partition(" ")
    if word == "network":
        sandbox.change(network=one_of("sandbox network", rest, ("on", "off")) == "on")
        text = "Confined commands may use the network." if sandbox.network else "Confined commands have no network."
    else:
        modes: dict[str, Mode] = {mode: mode for mode in MODES}
        mode = modes[one_of("sandbox", " ".join(args.split()), [*modes, "network on", "network off"])]
        sandbox.change(mode=mode)
        text = MODES[mode]
    # Whoever turns it on is told now that it can't be had, not by the first command that fails.
    problem = await sandbox.check() if sandbox.mode != "off" else None
    end = f" **It does not work here:** {problem}." if problem else ""
    return said(f"{text} This holds from the next command on, in this conversation.{end}")


async def _show(host: Host, sandbox: Sandbox) -> Result:
    problem = await sandbox.check()
    now = "the next command is confined" if sandbox.wanted else "the next command is not confined"
    if not sandbox.wanted and sandbox.confines(seen=False):
        now = "the next command is confined, unless you have allowed that very one"
    if sandbox.wanted and problem:
        now = "the next command is refused" if sandbox.mode == "on" else "the next command runs WITHOUT the sandbox"
    show = host.agent.tools.context.show
    cwd = host.agent.tools.context.cwd
    rows = [
        ("mode", f"{sandbox.mode}: {MODES[sandbox.mode]}"),
        ("now", now),
        ("works here", problem or "yes"),
        ("network", "open" if sandbox.network else "none"),
        ("may write", ", ".join((str(cwd), "/tmp (its own)", *sandbox.settings.write))),
        ("may read", ", ".join(("the system, toolchains", *sandbox.settings.read))),
        ("hidden", ", ".join(("home folders", "keys", *map(show, sandbox.private), *sandbox.deny_paths.patterns))),
    ]
    note = f"in {host.config.paths.config_file}: [sandbox] mode, network, read, write"
    return Said(TableView(title="sandbox", columns=("", ""), rows=tuple(rows), note=note))
