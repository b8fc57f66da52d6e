"""A chat with the goal plugin on scripted models: `fake:main` works, `fake:judge` judges."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from agent.goal.plugin import Goal
from agent.host import Options
from agent.plugin import JudgeSeat, Plugin, PluginHost
from tests.support.agent import CONFIG
from tests.support.chatbench import ChatBench
from tests.support.scripted import Line, ScriptedClient

SETTINGS = """
[goal]
judge = "fake:judge"
retry_s = 0.02
"""


def verdict(kind: str, reason: str = "because", *unmet: str, wait_s: float = 0) -> str:
    """What a judge answers."""
    return json.dumps({"reason": reason, "unmet": list(unmet), "verdict": kind, "wait_s": wait_s})


class GoalBench(ChatBench):
    """`lines` are the main model's, `judge` the judge's; `more` has further models by ENDPOINT:MODEL."""

    def __init__(
        self,
        folder: Path,
        lines: Sequence[Line],
        judge: Sequence[Line] = (),
        *,
        more: dict[str, Sequence[Line]] | None = None,
        options: Options | None = None,
        config: str = CONFIG + SETTINGS,
        panels: dict[str, Sequence[JudgeSeat]] | None = None,
        plugins: dict[str, Callable[[PluginHost], Plugin]] | None = None,
    ) -> None:
        folder.mkdir(exist_ok=True)
        script: dict[str, Any] = {"fake:main": list(lines), "fake:judge": list(judge or [verdict("done")])}
        client = ScriptedClient(script | {name: list(said) for name, said in (more or {}).items()})
        self.goals: list[Goal] = []

        def make(host: PluginHost) -> Goal:
            host.registry.judges.add((panels or {}).get, lambda: list(panels or {}))
            self.goals.append(Goal(host))
            return self.goals[-1]

        options = options or Options(approve="all", cwd=folder / "work")
        super().__init__(
            folder, options=options, client=client, plugins={"goal": make, **(plugins or {})}, config=config
        )

    @property
    def goal(self) -> Goal:
        """The plugin of the host that was built last."""
        return self.goals[-1]

    @property
    def state(self) -> Any:
        """The goal's state; there has to be one."""
        assert self.goal.state is not None
        return self.goal.state

    def records(self) -> list[dict[str, Any]]:
        """The decisions that the session keeps."""
        return self.session.records("goal")

    def asked(self, model: str = "fake:main") -> list[str]:
        """The last message of each request to a model."""
        return [request.messages[-1].text for request in self.client.requests if str(request.model) == model]
