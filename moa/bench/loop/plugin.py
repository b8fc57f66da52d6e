"""The plugins with which an arm's loop runs: counsel as the chat has it, and the placebos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from agent.events import Record
from agent.plugin import Contribution, Plugin
from agent.session.session import Session
from moa.bench.counselled import shuffled
from moa.counsel.cadence import KIND
from moa.plugin import Moa

if TYPE_CHECKING:
    from agent.events import Emit
    from agent.plugin import ModelCall, PluginHost
    from agent.session.sent import Guidance
    from moa.preset.preset import Preset

NAME = "moa"


@dataclass(frozen=True, slots=True)
class Given:
    """Guidance that went out with a call of the main model; `steps` are what it said to do."""

    iteration: int
    text: str
    steps: tuple[str, ...] = ()

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Given:
        """From a counsel's record."""
        analysis = data.get("analysis")
        steps = analysis.get("next_steps", ()) if isinstance(analysis, dict) else data.get("points", ())
        return cls(int(data["iteration"]), str(data["guidance"]), tuple(str(step) for step in steps))


class Fixed(Moa):
    """`/moa` with the preset of the run, whatever its file says by now; with None it is off. `shuffles`: what it says is out of order."""

    def __init__(self, host: PluginHost, preset: Preset | None, *, shuffles: str | None = None) -> None:
        self._fixed = preset
        self._shuffles = shuffles
        super().__init__(host)
        self.settings = replace(self.settings, worth=0.0)  # what the arm says is sent

    def load(self, name: str) -> Preset:
        """The run's own, whichever is asked for."""
        return super().load(name) if self._fixed is None else self._fixed

    def unattended(self) -> bool:
        """Nobody watches a bench: what it runs is confined, and no file outside of its folder is touched."""
        return True

    async def before_model(self, call: ModelCall, emit: Emit) -> Contribution | None:
        """Counsel, as it is or with its words out of order."""
        found = await super().before_model(call, emit)
        if self._shuffles is None or found is None or found.text is None:
            return found
        text = shuffled(found.text, f"{self._shuffles}/{call.iteration}")
        kept = found.record
        if kept is not None:
            kept = replace(kept, data={**kept.data, "guidance": text})
        return replace(found, text=text, record=kept)


class Donated(Plugin):
    """Guidance that was written for somebody else, each at the call that it went out with there."""

    name = NAME
    records = (KIND,)

    def __init__(self, given: Sequence[Given], preset: str) -> None:
        self._given = {each.iteration: each for each in given}
        self._preset = preset

    def unattended(self) -> bool:
        """As `Fixed`."""
        return True

    async def before_model(self, call: ModelCall, emit: Emit) -> Contribution | None:
        """What the other one was told before this call."""
        found = self._given.get(call.iteration)
        if found is None:
            return None
        data = {
            "id": f"{call.turn.turn}/c{call.iteration}",
            "iteration": call.iteration,
            "preset": self._preset,
            "trigger": "placebo",
            "guidance": found.text,
            "points": list(found.steps),
        }
        return Contribution(found.text, Record(source=NAME, kind=KIND, data=data))


class LastOnly(Session):
    """A conversation of whose guidance only the newest is sent (`counsel:last`): what was sent does not stay sent."""

    def guidance(self) -> list[Guidance]:
        """The newest alone."""
        return super().guidance()[-1:]
