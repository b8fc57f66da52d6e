"""The user decides on a plan: what others object to it, the question, and what comes of the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.approval.approval import MODES, parse_mode
from agent.commands import CommandContext, Result, RunTurn, Said
from agent.errors import UsageError
from agent.forms import Choice, Choices
from agent.llm.messages import user
from agent.plugin import Continue, Reviewed
from agent.views import MarkdownView, StackView, TreeView, View

if TYPE_CHECKING:
    from agent.approval.approval import Mode
    from agent.events import Emit
    from agent.forms import Ask
    from agent.llm.accounting import CallContext
    from agent.plan.mode import PlanMode
    from agent.session.session import Session

APPROVED = "I approve the plan. Carry it out now, and say so where you have to leave it."
REVISE = "I don't approve the plan yet. Revise it, and answer with the whole plan once more."
OBJECTIONS = "Other models read the plan; what they say follows, unverified. Take up what convinces you, and say what you did not take up:"


async def command(plan: PlanMode, context: CommandContext, args: str) -> Result:
    """`/plan …`. Raises UsageError."""
    word, _, rest = args.partition(" ")
    if word == "off" and not rest:
        if not plan.on:
            raise UsageError("plan mode is not on", remedy="/plan TASK")
        plan.leave(plan.before)
        return _said(f"Plan mode is off. {MODES[plan.approvals.mode]}")
    if word == "go":
        return _go(plan, context.session, rest.strip())
    named = ""
    if word.startswith("@"):
        named, args = word[1:], rest.strip()
    plan.enter(named)
    if args:
        return RunTurn(args)
    return _said(
        "Plan mode is on: nothing is changed until you have approved a plan. Say what is to be planned; "
        "/plan go carries the last answer out, /plan off leaves this mode."
    )


def _said(text: str) -> Said:
    return Said(MarkdownView(text=text))


def _go(plan: PlanMode, session: Session, word: str) -> Result:
    mode: Mode = "ask"
    if word:
        mode = parse_mode(word, source="/plan go")
    if mode in ("deny", "plan"):
        raise UsageError(
            f"/plan go {mode}: nothing could be carried out like that", remedy="/plan go ask | edits | all"
        )
    if not plan.on:
        raise UsageError("plan mode is not on", remedy="/plan TASK; or just say what is to be done")
    if not any(message.role == "assistant" for message in session.history()):
        raise UsageError("there is no plan yet", remedy="say what is to be planned")
    plan.leave(mode)
    return RunTurn(APPROVED)


async def decide(
    plan: PlanMode, session: Session, text: str, ask: Ask | None, context: CallContext, emit: Emit
) -> Continue | None:
    """Have the plan read by whoever reads plans, and let the user decide. None: nothing more happens now, and plan mode stays on."""
    reviews = [
        reviewed
        for review in plan.host.registry.reviewers
        if (reviewed := await review(plan.named, session, context, emit)) is not None
    ]
    objections = "\n".join(review.text for review in reviews if review.text)
    if ask is None:
        return None
    answer = await ask(_form(plan, text, reviews, objections=bool(objections)))
    chosen = answer[0] if answer else "stay"
    if not plan.on or chosen == "stay":  # left meanwhile, by a key
        return None
    if chosen == "revise":
        return _continue(f"{REVISE}\n{_fenced(objections)}")
    if chosen == "off":
        plan.leave(plan.before)
        return None
    plan.leave(parse_mode(chosen, source="the answer"))
    return _continue(f"{APPROVED}\n{_fenced(objections)}" if objections else APPROVED)


def _continue(text: str) -> Continue:
    return Continue(message=user(text, synthetic="continuation"), reason="the user decided on the plan")


def _fenced(objections: str) -> str:
    from agent.session.export import fenced

    return f"{OBJECTIONS}\n{fenced(objections)}"


def _form(plan: PlanMode, text: str, reviews: list[Reviewed], *, objections: bool) -> Choices:
    rows = [Choice(id="stay", label="Keep planning", note="then say what is to be different")]
    if objections:
        rows.append(Choice(id="revise", label="Have it revised", note="with what is objected to it"))
    rows += [
        Choice(id="ask", label="Carry it out", note="changes are asked about"),
        Choice(id="edits", label="Carry it out, edits unasked", note="files in this folder; the rest is asked about"),
    ]
    if plan.before == "all":
        rows.append(Choice(id="all", label="Carry it out, nothing asked", note="mode all, as before"))
    rows.append(Choice(id="off", label="Leave plan mode", note="nothing is carried out"))
    views: list[View] = [TreeView(label="The plan", text=text), *(review.view for review in reviews)]
    view = StackView(views=tuple(views))
    return Choices(title="Is this plan to be carried out?", choices=tuple(rows), view=view, sudden=True)
