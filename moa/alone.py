"""A counsel that no turn asked for: of a program (`moa.Panel`) or of another agent (`moa mcp serve`). It is kept as a turn's is.

Each is a conversation of one question, in a folder of its own: it is no conversation that anybody goes on with (`moa -c`), and the next
question knows nothing of it.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.errors import StateError
from agent.llm.accounting import CallContext
from agent.llm.request import ModelRef
from moa.counsel import keep
from moa.counsel.cadence import Decision
from moa.panel.tasks import ADVISE

if TYPE_CHECKING:
    from agent.events import Emit
    from agent.host import Host, Options
    from agent.llm.messages import Message
    from moa.counsel.counsel import Counsel
    from moa.counsel.take import Council
    from moa.panel.tasks import Task
    from moa.plugin import Moa


FOLDER = "counsels"
"""In the state folder."""


def opened(options: Options, env: Mapping[str, str]) -> tuple[Host, Moa]:
    """An agent that takes no turn, and its panels. All installed plugins are there: their sections of config.toml are known, and their tools
    are what members may be given. Raises UsageError and StateError as `build` does."""
    from agent.build import build
    from agent.installed import plugin_makers
    from moa.plugin import make

    host = build(options, env=env, makers={**plugin_makers(), "moa": make})
    found: Any = next(plugin for plugin in host.plugins if plugin.name == "moa")
    return host, found


class Taken(NamedTuple):
    """The counsel, and the name by which `moa replay` finds it; None where it could not be kept (its warnings say why)."""

    counsel: Counsel
    run: str | None


async def take(
    host: Host,
    council: Council,
    messages: Sequence[Message],
    *,
    reason: str,
    emit: Emit,
    question: str | None = None,
    task: Task = ADVISE,
) -> Taken:
    """Take it, keep it and close the council. What is stopped on the way is kept as far as it came."""
    agent, preset = host.agent, council.preset
    if preset.tools_at != "never":
        _give_addresses(host, [*(message.text for message in messages), question or ""])
    turn = f"{agent.session.id}-{secrets.token_hex(4)}:1"
    try:
        counsel = await council.take(
            messages,
            main=ModelRef.parse(preset.main) if preset.main and ":" in preset.main else agent.model,
            context=CallContext(
                "main", session=agent.session.id, run=agent.run, turn=turn, iteration=1, caps=agent.caps
            ),
            decision=Decision(True, "consult", reason),
            emit=emit,
            question=question,
            tools=preset.tools_at != "never",
            task=task,
        )
    finally:
        await council.close()
        if council.broken_off is not None:
            _keep(host, messages, council.broken_off, turn)
    return Taken(counsel, counsel.id if _keep(host, messages, counsel, turn) else None)


def _give_addresses(host: Host, texts: Sequence[str]) -> None:
    """Members may fetch what the one who asks has written, as they may what a user has."""
    from agent.web.plugin import WebTools

    for plugin in host.plugins:
        if isinstance(plugin, WebTools):
            plugin.web.give("\n".join(texts))


def _keep(host: Host, messages: Sequence[Message], counsel: Counsel, turn: str) -> bool:
    from agent.session.session import Session

    path = host.config.paths.state / FOLDER / f"{turn.partition(':')[0]}.jsonl"
    record = keep.full(counsel, iteration=1, turn=1, guidance=None, receipt=None)
    session = Session(path, redact=host.config.redact)
    try:
        for message in messages:
            session.add(message, turn=turn)
        session.add_record(record, turn=turn, iteration=1)
    except StateError as error:
        counsel.warnings.append(f"it is not kept: {error}")
        return False
    finally:
        session.close()
    return True
