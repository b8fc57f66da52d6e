"""What is known of the command-line agents that people have subscriptions for. A new one is one row here and one reader in `answers`.

Sources: `claude --help` of @anthropic-ai/claude-code 2.1.197, `codex exec --help` of @openai/codex 0.171.0, `gemini --help` of
@google/gemini-cli 0.61.0, each tried against an endpoint on the loopback interface that showed which tools still came.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING

from agent.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.llm.models.endpoint import Endpoint
    from agent.llm.request import Request

ADVISER = "You are asked for your opinion. Answer the message in text. You have no tools and no files."

# Features of Codex that are, or bring, tools. A name that a version does not know is passed over by it when given this way.
_CODEX_FEATURES = (
    *("shell_tool", "unified_exec", "view_image", "apps", "plugins", "goals", "multi_agent", "hooks"),
    *("skill_search", "image_generation", "tool_suggest", "sleep_tool"),
)
LONGEST_ARGUMENT = 100_000
"""Bytes of one argument; Linux takes 131,072 (execve(2), MAX_ARG_STRLEN)."""

DEFAULT_MODEL = "default"
"""The program's own choice: the argument with {model}, and the option before it, are then left out."""


@dataclass(frozen=True, slots=True)
class Program:
    """`quiet`: arguments that switch its own tools, servers, hooks and memory off. `effort`: how its thinking is set. `after`: quiet
    arguments go behind these words of the command (a subcommand). `stdin` names standard input where the program has to be told.
    `environment`: what it is told that way. `files` are written beside its folder; `{beside}` in `quiet` is that place."""

    quiet: tuple[str, ...] = ()
    effort: tuple[str, ...] = ()
    efforts: tuple[str, ...] = ()
    stdin: str | None = None
    structured: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


PROGRAMS: Mapping[str, Program] = {
    "claude": Program(
        quiet=(
            *("--tools", "", "--strict-mcp-config", "--disable-slash-commands", "--no-chrome"),
            *("--no-session-persistence", "--settings", '{"disableAllHooks": true}', "--system-prompt", ADVISER),
        ),
        effort=("--effort", "{effort}"),
        efforts=("low", "medium", "high", "xhigh", "max"),
        environment={
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
            "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
        },
    ),
    "codex": Program(
        quiet=(
            *("--sandbox", "read-only", "--skip-git-repo-check", "--ephemeral"),
            *("--ignore-user-config", "--ignore-rules", "-c", 'web_search="disabled"'),
            *(word for feature in _CODEX_FEATURES for word in ("-c", f"features.{feature}=false")),
        ),
        effort=("-c", 'model_reasoning_effort="{effort}"'),
        efforts=("minimal", "low", "medium", "high", "xhigh"),
        stdin="-",
    ),
    "gemini": Program(
        quiet=("--skip-trust", "--extensions", "none", "--policy", "{beside}/no-tools.toml"),
        files={"no-tools.toml": '[[rule]]\ntoolName = "*"\ndecision = "deny"\npriority = 999\n'},
    ),
    "text": Program(structured=False),
}
"""By the name that `program` has in config.toml; where it is not given, by the name of the command itself."""


def program_of(command: Sequence[str]) -> str:
    """Which known program a command is, by its name; `text` where it is none of them."""
    name = PurePath(command[0]).name.lower().removesuffix(".exe").removesuffix(".cmd") if command else ""
    return name if name in PROGRAMS else "text"


def arguments(endpoint: Endpoint, request: Request) -> list[str]:
    """The command line for one request. `{prompt}`, `{folder}` and `{beside}` are filled in when it is started."""
    known = PROGRAMS[endpoint.program or program_of(endpoint.command)]
    model = "" if request.wire_model == DEFAULT_MODEL else request.wire_model
    if model.startswith("-"):
        raise UsageError(
            f"{request.model} is not a name of a model: a program would take it for an option",
            remedy=f"write the model's name as the program knows it, or {endpoint.name}:{DEFAULT_MODEL}",
        )
    effort = request.reasoning or ""
    argv = placed(endpoint.command, {"model": model, "effort": effort})
    if effort in known.efforts and not any("{effort}" in word for word in endpoint.command):
        argv += placed(known.effort, {"effort": effort})
    if not endpoint.own_tools:
        argv += known.quiet
    if known.stdin is not None and known.stdin not in argv and not any("{prompt}" in word for word in argv):
        argv.append(known.stdin)
    return argv


def placed(argv: Sequence[str], places: Mapping[str, str]) -> list[str]:
    """A command line with `{model}` and the like filled in. An argument whose value is missing goes, with the option before it."""
    filled: list[str] = []
    for argument in argv:
        missing = [name for name, value in places.items() if f"{{{name}}}" in argument and not value]
        if missing:
            if filled[1:] and filled[-1].startswith("-") and "=" not in filled[-1]:
                filled.pop()
            continue
        for name, value in places.items():
            argument = argument.replace(f"{{{name}}}", value)
        filled.append(argument)
    return filled
