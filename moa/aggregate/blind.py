"""The answers as the aggregator sees them: without their names, in a shuffled order, and no longer than its window allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.llm.tokens import SAFETY, answer_room, estimate_tokens
from agent.text.numbers import plural
from moa.panel import prompts, tasks
from moa.panel.names import display_names
from moa.panel.quoting import clean, fence, head_and_tail, within

if TYPE_CHECKING:
    from agent.llm.messages import Message
    from moa.panel.outcome import Answer

View = Callable[[int | None, int], "tuple[Message, ...]"]
"""`view(window, reserve)`: the conversation as the aggregator gets it, cut to its window (None: unknown) less `reserve` tokens."""

_ANSWER_CHARS = 16_000
_LEAST_ANSWER = 60
_OVERHEAD = 200
"""Tokens of roles, fences and headings, and of a window's own marks."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One request's text. `cut` says what was left out to fit it into the window; empty where nothing was."""

    messages: tuple[Message, ...]
    tail: str
    max_tokens: int
    cut: str = ""


@dataclass(frozen=True, slots=True)
class Blind:
    """The answers in the order the aggregator sees them: (label, answer), and each label's real name.

    `in_force` are the points that the agent has before it already.
    """

    answers: tuple[tuple[str, Answer], ...]
    names: Mapping[str, str]
    draft: str | None = None
    question: str | None = None
    in_force: tuple[str, ...] = ()
    task: tasks.Task = tasks.ADVISE

    @classmethod
    def of(
        cls,
        answers: Sequence[Answer],
        seed: int,
        *,
        draft: str | None = None,
        question: str | None = None,
        in_force: Sequence[str] = (),
        task: tasks.Task = tasks.ADVISE,
    ) -> Blind:
        """Shuffled by `seed`, under the labels Answer A, Answer B …"""
        from random import Random

        order = list(zip(answers, display_names(answers), strict=True))
        Random(seed).shuffle(order)
        labels = [f"Answer {chr(ord('A') + index)}" for index in range(len(order))]
        return cls(
            tuple(zip(labels, (answer for answer, _ in order), strict=True)),
            dict(zip(labels, (name for _, name in order), strict=True)),
            draft,
            question,
            tuple(in_force),
            task,
        )

    @property
    def labels(self) -> list[str]:
        """The labels, in the order of the answers."""
        return [label for label, _ in self.answers]

    def prompt(
        self, view: View, *, role: str | None, small: bool, max_tokens: int, window: int | None, schema_tokens: int
    ) -> Prompt:
        """The request's text, fitted to the window where that is known.

        The answer may take a quarter of a small window. Of the rest the advisers' answers have two thirds, where they need so much,
        and the conversation has what is left.
        """
        if window is None:
            return Prompt(view(None, 0), self._tail(role, small, None), max_tokens)
        output = answer_room(window, max_tokens)
        room = int((window - output - schema_tokens) / SAFETY) - _OVERHEAD - estimate_tokens(prompts.COMPARER)
        fixed = estimate_tokens(self._tail(role, small, 0))
        longest = [min(estimate_tokens(head_and_tail(a.text, _ANSWER_CHARS)), 2**31) for _, a in self.answers]
        each = _share(longest, max(_LEAST_ANSWER * len(longest), (room - fixed) * 2 // 3))
        tail = self._tail(role, small, each)
        used = int(estimate_tokens(tail) * SAFETY) + output + schema_tokens + _OVERHEAD
        messages = view(window, used)
        shortened = sum(tokens > each for tokens in longest)
        cut = ""
        if shortened:
            cut = f"{shortened} of {plural(len(longest), 'answer')} cut to {each} tokens each, to fit its window of {window:,}"
        if output < max_tokens:
            cut = f"{cut}{'; ' if cut else ''}its answer may have {output} tokens instead of {max_tokens}"
        return Prompt(messages, tail, output, cut)

    def _tail(self, role: str | None, small: bool, each: int | None) -> str:
        """`each` is how many tokens of every answer (and of a draft or a question) are shown; None: as many as there are."""

        def shown(text: str) -> str:
            whole = head_and_tail(text, _ANSWER_CHARS)
            return fence(whole if each is None else within(whole, each))

        newest = max(answer.step for _, answer in self.answers)
        paragraphs = [self.task.compare]
        if self.in_force:
            from moa.panel.briefing import points_within

            most = 1_500 if each is None else max(_LEAST_ANSWER, min(1_500, each * 2)) if each else 0
            paragraphs.append(f"{prompts.COMPARED_IN_FORCE}\n{fence(points_within(self.in_force, most))}")
        if self.draft is not None:
            paragraphs.append(f"{prompts.COMPARED_DRAFT}\n{shown(self.draft)}")
        if self.question is not None:
            paragraphs.append(f"{self.task.compared_question}\n{shown(self.question)}")
        for label, answer in self.answers:
            about = [f"given at step {answer.step}, now {newest}"] if answer.step != newest else []
            about += ["cut off"] if answer.incomplete else []
            heading = f"{label} ({', '.join(about)}):" if about else f"{label}:"
            paragraphs.append(f"{heading}\n{shown(answer.text)}")
        if role and role.strip():
            paragraphs.append(clean(role).strip())
        paragraphs.append(prompts.SHAPE_SMALL if small else self.task.shape)
        return "\n\n".join(paragraphs)


def _share(wanted: Sequence[int], room: int) -> int:
    """How many tokens each may have, so that all together have `room`: what the short ones leave over goes to the long ones."""
    left, count = room, len(wanted)
    for tokens in sorted(wanted):
        if tokens * count > left:
            return max(_LEAST_ANSWER, left // count)
        left -= tokens
        count -= 1
    return max(wanted, default=0)
