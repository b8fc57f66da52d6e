"""What a panel is asked to do: advise an agent on its next step, answer the question itself (`fuse`), or review a change or a plan.

A task is one row: the words that members and aggregator are addressed with, and whether silence is an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from agent.values import dataclass
from moa.panel import prompts

TaskName = Literal["advise", "answer", "review", "plan"]

ADVICE_TOKENS, CONSULT_TOKENS = 300, 600
"""What members are asked for in the loop, and where the agent put a question to them."""


@dataclass(frozen=True, slots=True)
class Task:
    """One task. `ask` ends a member's request, `question` stands before a question that is put in so many words,
    `brief` before a note that belongs to the conversation (for `answer` the assistant's own instructions), cut to `brief_chars`.

    `graded`: an answer begins with how much it matters, and may be NOTHING. `deep`: the analysis is the product, so the preset's deep
    aggregator makes it. `tokens` is the length that members are asked for, `question_tokens` the same where a question is put to them;
    None: as long as the question needs, within `max_tokens`.
    """

    name: TaskName
    system: str
    ask: str
    compare: str
    shape: str
    brief: str = prompts.BRIEF
    brief_chars: int = 2_000
    question: str = prompts.QUESTION
    compared_question: str = prompts.COMPARED_QUESTION
    graded: bool = False
    deep: bool = True
    tokens: int | None = None
    question_tokens: int | None = None


ADVISE = Task(
    name="advise",
    system=prompts.SYSTEM,
    ask=prompts.ADVISE,
    compare=prompts.COMPARE,
    shape=prompts.SHAPE,
    graded=True,
    deep=False,
    tokens=ADVICE_TOKENS,
    question_tokens=CONSULT_TOKENS,
)
ANSWER = Task(
    name="answer",
    system=prompts.SYSTEM_ANSWER,
    ask=prompts.ANSWER,
    compare=prompts.COMPARE_ANSWERS,
    shape=prompts.SHAPE_ANSWERS,
    brief=prompts.OPERATOR,
    brief_chars=24_000,
    question=prompts.ANSWER_QUESTION,
    compared_question=prompts.COMPARED_PROMPT,
)
REVIEW = Task(
    name="review",
    system=prompts.SYSTEM_REVIEW,
    ask=prompts.REVIEW_CHANGE,
    compare=prompts.COMPARE_FINDINGS,
    shape=prompts.SHAPE_FINDINGS,
)
PLAN = Task(
    name="plan",
    system=prompts.SYSTEM_REVIEW,
    ask=prompts.REVIEW_PLAN,
    compare=prompts.COMPARE_PLAN,
    shape=prompts.SHAPE_PLAN,
)

TASKS: Mapping[str, Task] = {task.name: task for task in (ADVISE, ANSWER, REVIEW, PLAN)}
