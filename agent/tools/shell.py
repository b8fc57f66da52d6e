"""shell: a command, in the foreground or looked after in the background."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, ClassVar

from agent.files.deny_paths import denial
from agent.llm.request import ToolSpec
from agent.text.secrets import SHORTEST
from agent.tools.base import Kind, Subject, Tool, ToolContext, ToolError, ToolResult

if TYPE_CHECKING:
    from agent.tools.lib.jobs import ShellJobs

DEFAULT_S = 120.0
MAX_S = 600.0
"""How many of our own programs are above this one. At 1 and more nothing fans out to a panel."""


class Shell(Tool):
    """Runs a command with bash where there is one, else sh, without standard input and without the user's API keys.

    `strip_env` names the environment variables that hold configured keys; any other in which such a key, or one of the `secrets`, is
    is left out, too.
    What a shell command touches can't be held to paths: `deny_paths` refuses a command that names a denied file, and only a sandbox
    can do more.
    """

    kind: ClassVar[Kind] = "execute"
    read_only: ClassVar[bool] = False
    spec: ClassVar[ToolSpec] = ToolSpec(
        name="shell",
        description=(
            "Run a shell command in the working folder and return its output and exit code. There is no input to type. Each call is a new "
            "shell: cd and variables don't carry over. Long output is cut in the middle; the whole is in the file that is named. A command "
            "still running at timeout_s is ended. For a server or a long job use timeout_s = 0 (or end the command with &): it goes on in "
            "the background as a numbered job. Look after jobs with these commands: `:jobs`, `:tail ID`, `:wait ID` (up to timeout_s), "
            "`:stop ID`. All jobs end with the session."
        ),
        parameters={
            "type": "object",
            "properties": {
                "command": {
                    "type": "string",
                    "minLength": 1,
                    "description": "The command, or :jobs, :tail ID, :wait ID, :stop ID.",
                },
                "timeout_s": {
                    "type": "number",
                    "minimum": 0,
                    "description": "Seconds until the command is ended: 120 if not given, 600 at most. 0: run in the background.",
                },
            },
            "required": ["command"],
            "additionalProperties": False,
        },
    )

    def __init__(self, *, strip_env: Collection[str] = (), secrets: Collection[str] = ()) -> None:
        self._strip_env = frozenset(strip_env)
        self._secrets = frozenset(secret for secret in secrets if len(secret) >= SHORTEST)
        self._jobs: ShellJobs | None = None

    @property
    def jobs(self) -> ShellJobs:
        """The background jobs. What runs commands is loaded with the first one, since every turn pays for what loads at its start."""
        if self._jobs is None:
            from agent.tools.lib.jobs import ShellJobs

            self._jobs = ShellJobs()
        return self._jobs

    def title(self, arguments: dict[str, Any]) -> str:
        """One line for people. Nothing in it is taken for a terminal's sequence, which could hide a part of the command."""
        command = " ".join(str(arguments.get("command", "")).split())
        return f"shell {command if len(command) <= 200 else command[:199] + '…'}"

    def reads_only(self, arguments: dict[str, Any]) -> bool:
        """Looking after jobs needs no approval: they were allowed when they began."""
        return str(arguments.get("command", "")).lstrip().startswith(":")

    def subject(self, arguments: dict[str, Any]) -> Subject:
        """The command."""
        return Subject(self.spec.name, "command", str(arguments.get("command", "")), arguments)

    async def run(self, context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
        """The output and how it ended. On cancellation the whole process group is ended within a second. Raises ToolError."""
        command = arguments["command"].strip()
        timeout_s = min(float(arguments.get("timeout_s", DEFAULT_S)), MAX_S)
        if command.startswith(":"):
            return ToolResult(await self.jobs.control(command, timeout_s or DEFAULT_S))
        if not command or "\0" in command:
            raise ToolError("the command is empty" if not command else "the command has a NUL character in it")
        if found := await asyncio.to_thread(context.deny_paths.match_command, command, context.cwd):
            raise ToolError(f"the command names a denied file: {denial(*found)}")
        from agent.tools.lib.command import run_command

        return await run_command(self.jobs, context, command, timeout_s, self._environment())

    async def aclose(self) -> None:
        """End all background jobs."""
        if self._jobs is not None:
            await self._jobs.aclose()

    def _environment(self) -> dict[str, str]:
        from agent.process.own_env import without_keys

        return without_keys(self._strip_env, self._secrets)
