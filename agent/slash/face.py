"""Commands about the program itself: /approve, /theme, /help, /quit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.approval.approval import MODES, parse_mode
from agent.commands import Act, Command, CommandContext, Completion, Result, Said
from agent.errors import UsageError
from agent.slash.arguments import nothing, said
from agent.text.nearest import did_you_mean
from agent.views import TableView

if TYPE_CHECKING:
    from agent.host import Host


def commands(host: Host) -> tuple[Command, ...]:
    """The four of them."""

    async def approve(context: CommandContext, args: str) -> Result:
        return _approve(host, args)

    async def theme(context: CommandContext, args: str) -> Result:
        return Act("theme", args)

    async def help_(context: CommandContext, args: str) -> Result:
        return _help(host, args)

    async def quit_(context: CommandContext, args: str) -> Result:
        nothing("quit", args)
        return Act("quit")

    return (
        Command(
            "approve",
            "what may run without asking",
            approve,
            args_hint=f"[{' | '.join(MODES)}]",
            busy_ok=True,
            complete=lambda typed: [Completion(mode, does) for mode, does in MODES.items() if mode.startswith(typed)],
        ),
        Command("theme", "choose the colours", theme, args_hint="[NAME]", busy_ok=True),
        Command(
            "help",
            "all commands, or more about one",
            help_,
            args_hint="[COMMAND]",
            busy_ok=True,
            complete=lambda typed: [name for name in host.commands.commands if name.startswith(typed.lstrip("/"))],
        ),
        Command("quit", "end the program; the conversation is kept", quit_, busy_ok=True),
    )


def _approve(host: Host, args: str) -> Result:
    approvals = host.agent.tools.approvals
    if not args:
        rules = [("this session", str(rule)) for rule in approvals.session_rules]
        rules += [("always", str(rule)) for rule in approvals.rules]
        return Said(
            TableView(
                title=f"mode {approvals.mode}: {MODES[approvals.mode]}",
                columns=("allowed", "rule"),
                rows=tuple(rules),
                note=f"always-rules are in {host.config.paths.config_file}, under [approve] allow",
            )
        )
    approvals.mode = parse_mode(args, source="/approve")
    return said(MODES[approvals.mode])


def _help(host: Host, args: str) -> Result:
    table = host.commands.commands
    if not args:
        # The arguments last: one long list of verbs would push what everything does off the screen.
        rows = tuple((f"/{command.name}", command.summary, command.args_hint) for command in table.values())
        others = "!COMMAND runs a shell command and tells the model, !!COMMAND does not · @FILE names a file"
        return Said(TableView(columns=("command", "description", "arguments"), rows=rows, note=others))
    name = args.lstrip("/").split()[0]
    command = table.get(name)
    if command is None:
        raise UsageError(
            f"there is no command /{name}",
            remedy=did_you_mean(name, table, "/help shows all", before="/", cutoff=0.5),
            kind="unknown_command",
        )
    when = "at any time" if command.busy_ok else "when the agent is not working; while it works, it waits"
    facts = [
        ("description", command.summary),
        ("usage", f"/{command.name} {command.args_hint}".strip()),
        ("runs", when),
    ]
    if command.busy_verbs:
        facts.append(("at any time", ", ".join(f"/{command.name} {verb}" for verb in sorted(command.busy_verbs))))
    return Said(TableView(title=f"/{command.name}", columns=("", ""), rows=tuple(facts)))
