"""A counsel judged anew: the answers of its panel as they were, or with some members exchanged, and the aggregator of your choice."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.errors import UsageError
from agent.host import Options
from agent.llm.request import ModelRef
from moa import alone
from moa.counsel import keep, restore
from moa.preset.preset import Preset, Reference, ref
from moa.replay import runs

if TYPE_CHECKING:
    from agent.events import Emit
    from agent.host import Host
    from moa.counsel.counsel import Counsel
    from moa.counsel.record import FindingRecord
    from moa.plugin import Moa
    from moa.replay.runs import Run


async def replay(
    name: str, *, aggregator: str | None, members: Mapping[str, str], budget_usd: float | None, emit: Emit
) -> Run:
    """Judge a run anew, and keep what comes of it. Nobody of the panel is asked but the exchanged `members` (slot to ENDPOINT:MODEL).

    Raises UsageError where the run, a slot or a model is wrong, StateError.
    """
    host, plugin = alone.opened(Options(approve="deny", budget_usd=budget_usd), os.environ)
    try:
        run = runs.find(host.config, name)
        counsel = await _again(host, plugin, run, aggregator, members, emit)
    finally:
        await host.aclose()
    changed = [f"member {slot}: {model}" for slot, model in members.items()]
    changed += [f"aggregator: {aggregator}"] if aggregator else []
    turn = run.record.turn or 1
    findings: tuple[FindingRecord, ...] = ()
    if counsel.task.name == "review":
        from moa.review import changes
        from moa.review import findings as found

        findings = found.of(counsel, changes.reread(counsel.material or ""))
    entry = keep.full(
        counsel, iteration=run.record.iteration, turn=turn, guidance=None, receipt=None, findings=findings
    )
    kept = runs.keep(host.config, run, dict(entry.data), changed)
    return replace(run, name=kept, data=dict(entry.data))


async def _again(
    host: Host, plugin: Moa, run: Run, aggregator: str | None, members: Mapping[str, str], emit: Emit
) -> Counsel:
    from moa.counsel.take import Council

    record = run.record
    preset = preset_of(plugin, run, aggregator, members)
    main = ModelRef.parse(record.main) if record.main else host.agent.model
    exchanged = {seat.slot: seat for seat in preset.members if seat.slot in members}
    for key, model in [(f"--member {slot}", seat.model) for slot, seat in exchanged.items()]:
        try:
            host.agent.client.require_key(model.endpoint)
        except UsageError as error:
            raise UsageError(f"{key}: {error.message}", remedy=error.remedy, kind=error.kind) from None
    account = replace(plugin.host.account, session=run.session or plugin.host.account.session)
    try:
        earlier = restore.counsel(run.data, preset, account=account, history=run.history, main=main)
    except (KeyError, ValueError, TypeError) as error:
        raise UsageError(
            f"{run.name} can't be replayed: its record lacks {error}", remedy="an older version kept less of it"
        ) from None
    if not earlier.answers and not exchanged:
        raise UsageError(f"nobody answered in {run.name}", remedy="exchange a member: --member SLOT=REF")
    council = Council(
        preset,
        host.agent.client,
        run_member=plugin.host.run_member,
    )
    turn = f"{run.session}:replay-{secrets.token_hex(4)}"
    earlier = replace(earlier, main=main, calling=replace(earlier.calling, turn=turn))
    try:
        return await council.again(earlier, emit=emit, exchanged=exchanged, seed=earlier.seed, reason="moa replay")
    finally:
        await council.close()


def preset_of(plugin: Moa, run: Run, aggregator: str | None, members: Mapping[str, str]) -> Preset:
    """The preset of a run, with the panel that it had then: what its file says of the rest holds where it is still there. Raises UsageError."""
    record = run.record
    try:
        now: Preset | None = plugin.load(record.preset)
    except UsageError:
        now = None
    known = {seat.slot: seat.reference for seat in now.members} if now is not None else {}
    slots = [seat.slot for seat in record.panel]
    if unknown := [slot for slot in members if slot not in slots]:
        raise UsageError(f"--member {unknown[0]}: {run.name} has no such slot", remedy=f"its slots: {', '.join(slots)}")
    references = []
    for seat in record.panel:
        base = known.get(seat.slot, Reference(seat.model))
        model = members.get(seat.slot, seat.model)
        _checked(model, f"--member {seat.slot}")
        references.append(replace(base, model=model, role=seat.role, count=1, enabled=True))
    if not references:
        raise UsageError(
            f"the record of {run.name} does not say who was on the panel", remedy="an older version kept less"
        )
    chosen = now or Preset(record.preset or "replayed", "the record", tuple(references))
    chosen = replace(chosen, references=tuple(references), layers=1, quorum=None)
    if aggregator is None:
        return chosen
    _checked(aggregator, "--aggregator")
    return replace(
        chosen,
        aggregate="analysis",
        aggregator=replace(chosen.aggregator, model=aggregator, temperature=None, reasoning=None),
        deep=aggregator,
        fallback=None,
    )


def _checked(model: str, option: str) -> None:
    try:
        ref(model, None)
    except ValueError as error:
        raise UsageError(f"{option}: {error}", remedy="ENDPOINT:MODEL, or main") from None
