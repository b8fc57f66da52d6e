"""The `/plan` plugin: in the approval mode `plan` only tools that look may run, and a reply that is a plan is put to the user.

It is a plugin like anybody's. Who else reads the plan (a panel) is in the registry.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.commands import Command
from agent.plan.mode import PlanMode
from agent.plugin import Contribution, Plugin

if TYPE_CHECKING:
    from agent.commands import CommandContext, Result
    from agent.events import Emit
    from agent.llm.accounting import CallContext
    from agent.plugin import Continue, Ending, ModelCall, PluginHost, TurnState

NAME = "plan"
VERBS = {"go": "carry the last plan out", "off": "leave plan mode; nothing is carried out"}

INSTRUCTIONS = """\
Plan mode is on, in turn {turn} and until you are told that a plan is approved: look around with the tools that only read, and change nothing. \
Ask the user what you can't find out. When you know what to do, answer with a plan whose first line is the word Plan: and which names, step by \
step, the files and commands, how it is checked, and what you are unsure of. The user decides on it; don't begin before."""

_PLAN = re.compile(
    r"^[\s#*_>`-]*(?:here(?: is|.s) )?(?:the |my |a )?(?:\w+ )?plan\b[\s:*_—–-]*(?:for [^\n]{0,80}|\([^\n]{0,80})?$",
    re.IGNORECASE | re.MULTILINE,
)
_TITLED = re.compile(r"\A[\s#*_>`]*plan[*_`]*\s*[:—–-]\s*[^\n?]{1,160}$", re.IGNORECASE | re.MULTILINE)
"""A first line that names what is planned, as models like to write it."""


def make(host: PluginHost) -> Plan:
    """The plugin, as the entry point `agent.plugins` names it."""
    return Plan(host)


class Plan(Plugin):
    """Its hooks. What it knows is in `mode`."""

    name = NAME
    carries_over = False

    def __init__(self, host: PluginHost) -> None:
        self.mode = PlanMode(host)

    def commands(self) -> Sequence[Command]:
        """`/plan`."""
        return (
            Command(
                name=NAME,
                summary="look only, until you have approved a plan; the panel is asked on it (bare: turn it on)",
                run=self._command,
                args_hint="[[@PRESET] TASK | go [ask | edits | all] | off]",
                complete=self._complete,
            ),
        )

    async def _command(self, context: CommandContext, args: str) -> Result:
        from agent.plan.deciding import command

        return await command(self.mode, context, args)

    def _complete(self, typed: str) -> Iterable[str]:
        return [verb for verb in VERBS if verb.startswith(typed)]

    def advises(self) -> bool:
        """What it says costs nothing that would have to be set aside."""
        return False

    async def before_model(self, call: ModelCall, emit: Emit) -> Contribution | None:
        """What plan mode asks for, at the beginning of each turn."""
        if not self.mode.on or call.iteration > 1:
            return None
        return Contribution(INSTRUCTIONS.format(turn=call.turn.number))

    async def next_turn(
        self, turn: TurnState, ending: Ending, context: CallContext, emit: Emit
    ) -> Continue | Ending | None:
        """A reply that is a plan is put to the user, with what others object to it."""
        if not self.mode.on or ending.status != "done" or turn.reply is None or not is_plan(turn.reply.text):
            return None
        from agent.plan.deciding import decide

        # It is the turn's, after its last step.
        account = replace(context, iteration=turn.iteration + 1)
        return await decide(self.mode, turn.session, turn.reply.text, turn.ask, account, emit)


def is_plan(reply: str) -> bool:
    """Whether a reply is a plan, and no question or remark: it says so on a line of its own, and something follows."""
    found = _PLAN.search(reply) or _TITLED.match(reply)
    return found is not None and len(reply[found.end() :].split()) >= 3
