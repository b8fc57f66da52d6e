"""Whether there is a model to talk to, and whether a line is for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import UsageError

if TYPE_CHECKING:
    from agent.chat.chat import Chat
    from agent.host import Host


def missing(host: Host) -> str | None:
    """Why there is no model to talk to, in words; empty where nothing is set up at all; None where there is one."""
    error = host.model_error
    if error is None:
        try:
            host.agent.client.require_key(host.agent.model.endpoint)
        except UsageError as problem:
            return f"{host.agent.model} can't be called yet: {problem.message}."
        return None
    return "" if error.kind == "no_model" else f"{error.message}."


def why_lead(host: Host) -> str:
    """What stands over the way to a model; empty where nothing is set up at all."""
    why = missing(host)
    if why is not None:
        return why
    return f"The main model is {host.agent.model_name}. What you choose takes its place, here and in new conversations; /moa can take both."


def is_message(chat: Chat, line: str) -> bool:
    """Whether a line is for the model: no command, and none of the user's own shell."""
    try:
        return not line.startswith("!") and chat.host.commands.parse(line) is None
    except UsageError:
        return False
