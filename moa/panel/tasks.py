"""What a panel is asked to do: advise an agent on its next step, answer the question itself (`fuse`), or review a change or a plan.

A task is one row: the words that members and aggregator are addressed with, and whether silence is an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

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
    brief: str
    brief_chars: int
    ask: str
    question: str
    compare: str
    compared_question: str
    shape: str
    graded: bool
    deep: bool
    tokens: int | None
    question_tokens: int | None


ADVISE = Task(
    name="advise",
    system=prompts.SYSTEM,
    brief=prompts.BRIEF,
    brief_chars=2_000,
    ask=prompts.ADVISE,
    question=prompts.QUESTION,
    compare=prompts.COMPARE,
    compared_question=prompts.COMPARED_QUESTION,
    shape=prompts.SHAPE,
    graded=True,
    deep=False,
    tokens=ADVICE_TOKENS,
    question_tokens=CONSULT_TOKENS,
)

ANSWER = Task(
    name="answer",
    system=prompts.SYSTEM_ANSWER,
    brief=prompts.OPERATOR,
    brief_chars=24_000,
    ask=prompts.ANSWER,
    question=prompts.ANSWER_QUESTION,
    compare=prompts.COMPARE_ANSWERS,
    compared_question=prompts.COMPARED_PROMPT,
    shape=prompts.SHAPE_ANSWERS,
    graded=False,
    deep=True,
    tokens=None,
    question_tokens=None,
)

REVIEW = Task(
    name="review",
    system=prompts.SYSTEM_REVIEW,
    brief=prompts.BRIEF,
    brief_chars=2_000,
    ask=prompts.REVIEW_CHANGE,
    question=prompts.QUESTION,
    compare=prompts.COMPARE_FINDINGS,
    compared_question=prompts.COMPARED_QUESTION,
    shape=prompts.SHAPE_FINDINGS,
    graded=False,
    deep=True,
    tokens=None,
    question_tokens=None,
)

PLAN = replace(
    REVIEW,
    name="plan",
    ask=prompts.REVIEW_PLAN,
    compare=prompts.COMPARE_PLAN,
    shape=prompts.SHAPE_PLAN,
)

TASKS: Mapping[str, Task] = {task.name: task for task in (ADVISE, ANSWER, REVIEW, PLAN)}
