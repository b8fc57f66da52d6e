"""The panel on a plan: what it objects, for the user who decides and for the model that planned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import UsageError
from agent.plugin import Reviewed
from agent.views import TreeView
from moa.counsel import points
from moa.counsel.telling import line_of
from moa.counsel.view import members_tree, said_tree
from moa.panel import tasks
from moa.review import asking

if TYPE_CHECKING:
    from agent.events import Emit
    from agent.llm.accounting import CallContext
    from agent.session.session import Session
    from moa.armed import Armed


async def review(moa: Armed, named: str | None, session: Session, context: CallContext, emit: Emit) -> Reviewed | None:
    """Ask the panel on the plan in the last reply, on the account of the turn that made it. None where none is armed and none was wanted; where it can't be asked, the view says why."""
    name = named or moa.armed or (moa.settings.preset if named is not None else None)
    if name is None:
        return None
    try:
        preset = asking.ready(moa, name)
    except UsageError as error:
        return Reviewed(
            TreeView(label="The panel was not asked", mark="failed", text=f"{error.message}\n{error.remedy or ''}")
        )
    counsel, record = await asking.ask(
        moa,
        preset,
        tasks.PLAN,
        session=session,
        account=context,
        history=session.history(),
        emit=emit,
        reason="a plan is to be decided on",
    )
    if not counsel.answers:
        return Reviewed(TreeView(label=line_of(record).line, mark="failed"))
    shown = said_tree(record)
    children = shown.children if shown is not None else members_tree(record).children
    said = "\n".join(f"- {point.text}" for point in points.of(counsel))
    return Reviewed(TreeView(label=line_of(record).line, children=children), said)
