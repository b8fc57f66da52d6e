"""What Inspect finds here by its entry-point group `inspect_ai`: the provider `moa`, the solver `moa/agent`, and what it tells us of its runs.

Importing this loads Inspect and little else; what does the work is imported when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inspect_ai.hooks import Hooks, RunEnd, SampleEnd, hooks
from inspect_ai.model import modelapi
from inspect_ai.solver import solver

if TYPE_CHECKING:
    from inspect_ai.model import ModelAPI
    from inspect_ai.solver import Solver


AGENT = "agent" if "site-packages" in __file__ else "moa/agent"
"""Inspect puts the package's name before it, but where it runs from a checkout whose distribution is called otherwise."""


@modelapi(name="moa")
def moa() -> type[ModelAPI]:
    """`moa/PRESET`, `moa/PRESET/ENDPOINT:MODEL`, `moa/fuse/PRESET`, `moa/ENDPOINT:MODEL`."""
    from moa.bench.inspecting.model import Served

    return Served


@solver(name=AGENT)
def agent(preset: str | None = None, model: str | None = None, max_iterations: int = 90) -> Solver:
    """moa's own agent: its loop, its tools, and counsel by the preset's cadence. `model` is ENDPOINT:MODEL (None: as `moa run` has it)."""
    from moa.bench.inspecting.agent import solve

    return solve(preset, model, max_iterations)


@hooks(name="moa_runs", description="Hands samples to a bench of moa, and closes its connections at a run's end.")
class Runs(Hooks):
    """See the module."""

    def enabled(self) -> bool:
        """Only where moa takes part: other runs of Inspect are no business of ours."""
        from moa.bench.inspecting import serving

        return serving.server() is not None

    async def on_sample_end(self, data: SampleEnd) -> None:
        """A sample is done: a bench that waits for it writes it down."""
        from moa.bench.inspecting import tasks

        tasks.ended(data.sample)

    async def on_run_end(self, data: RunEnd) -> None:
        """A run is over: what it opened is closed."""
        from moa.bench.inspecting import serving

        await serving.close()
