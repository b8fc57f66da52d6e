"""The solver `moa/agent`: moa's own loop on a sample, in a copy of the files of its sandbox, which are put back when it is done."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moa.bench.inspecting.model import NOTE

if TYPE_CHECKING:
    from inspect_ai.solver import Generate, Solver, TaskState

_OUT_S, _IN_S = 120, 120


def solve(preset: str | None, model: str | None, max_iterations: int) -> Solver:
    """See `registry.agent`."""

    async def run(state: TaskState, generate: Generate) -> TaskState:
        from inspect_ai.model import ModelOutput
        from inspect_ai.util import sandbox
        from inspect_ai.util._sandbox.context import sandbox_environments_context_var

        from moa.library import Agent

        boxed = sandbox_environments_context_var.get(None) is not None
        work = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="moa-inspect-"))
        try:
            if boxed:
                await _fetch(sandbox(), work)
            async with Agent(
                model=model, preset=preset, cwd=work, approve="all", max_iterations=max_iterations
            ) as agent:
                answer = await agent.run(state.input_text)
                session = agent.session
            if boxed:
                await _bring(sandbox(), work)
        finally:
            await asyncio.to_thread(shutil.rmtree, work, ignore_errors=True)
        if answer.error is not None and answer.status not in ("done", "limit"):
            raise RuntimeError(f"{answer.error.kind}: {answer.error.message}")
        state.output = ModelOutput.from_content(f"moa/{preset or model or 'agent'}", answer.text)
        note = {"session": session, "counsels": len(answer.counsel), "usd": answer.cost.usd}
        state.output.metadata = {NOTE: {key: value for key, value in note.items() if value is not None}}
        state.messages.append(state.output.message)
        return state

    return run


async def _fetch(box: Any, work: Path) -> None:
    """The files of the sandbox's working folder."""
    name = f"/tmp/moa-{secrets.token_hex(6)}.tar"
    await _do(box, ["tar", "-cf", name, "--exclude", name, "."], _OUT_S)
    data: bytes = await box.read_file(name, text=False)
    await _do(box, ["rm", "-f", name], _OUT_S)
    with tarfile.open(fileobj=BytesIO(data)) as packed:
        packed.extractall(work, filter="data")


async def _bring(box: Any, work: Path) -> None:
    """What the folder has now; what is not there any more goes from the sandbox, too."""
    made = BytesIO()
    with tarfile.open(fileobj=made, mode="w") as packed:
        packed.add(work, arcname=".")
    name = f"/tmp/moa-{secrets.token_hex(6)}.tar"
    await box.write_file(name, made.getvalue())
    await _do(box, ["sh", "-c", f"find . -mindepth 1 -delete && tar -xf {name} && rm -f {name}"], _IN_S)


async def _do(box: Any, command: list[str], timeout: int) -> None:
    done = await box.exec(command, timeout=timeout)
    if not done.success:
        raise RuntimeError(f"the sandbox could not do {' '.join(command)[:100]}: {done.stderr[:300]}")
