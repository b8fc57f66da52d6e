"""What a reference sees of a conversation: text, append-only, and small enough for its window.

A message's rendering depends on that message alone, so what was sent once is sent again byte for byte, and a provider's prefix cache
holds over a turn. Tool results are folded into the assistant's turns: whatever a page or a file says, it never has the user's role.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from agent.llm.messages import ImagePart, Message, TextPart
from agent.llm.tokens import EACH_MESSAGE, SAFETY, estimate_tokens
from moa.panel import prompts, tasks
from moa.panel.quoting import clean, fence, flat, head_and_tail

_MARKER_TOKENS = 40


class _Limits(NamedTuple):
    """How many characters are kept of a tool result, of a text, of a call's arguments (which may hold a whole file)."""

    result: int
    text: int = sys.maxsize
    call: int = 1000

    def at_most(self, limit: int) -> _Limits:
        return _Limits(min(self.result, limit), min(self.text, limit), min(self.call, limit))


class _Turn(NamedTuple):
    """One message of the history, rendered. `typed`: the user's own words. `tokens` is what it takes at most."""

    role: str
    text: str
    typed: bool
    tokens: int = 0


class Rendering:
    """A conversation as text, made once for all who are to see it: what depends on a reader's window is only what is left out.

    Every message of `history` becomes one text part; turns of the same role are merged as further parts of one message, so the
    rendering of a longer history begins with that of the shorter one, part by part. The agent's own system prompt and all reasoning
    are left out. `brief` is a short note on the project, quoted as data; `task` says how its readers are addressed.
    """

    def __init__(
        self,
        history: Sequence[Message],
        *,
        brief: str = "",
        tool_result_chars: int = 4000,
        task: tasks.Task = tasks.ADVISE,
    ) -> None:
        self.history = history
        self._head = _system(brief, task)
        self._limits = _Limits(result=tool_result_chars)
        self._turns: list[tuple[Message, _Turn]] | None = None
        self._seen: dict[tuple[int | None, int], tuple[Message, ...]] = {}

    def for_window(self, window_tokens: int | None, reserve_tokens: int = 1200) -> tuple[Message, ...]:
        """What one reader gets: a common system message, then user and assistant messages of plain text.

        `window_tokens` is its context window (None: unknown, nothing is cut), `reserve_tokens` what its tail and its answer need of it.
        A history that does not fit loses messages from the front, in steps of a quarter of the window, so that the cut stays where it
        is for a while and the cache with it. The first user message is kept, and so is the last user message among those cut: in a
        long tool loop that is the task. Tokens are estimated on the high side.
        """
        if window_tokens is None or self.fits(window_tokens, reserve_tokens):
            return self._kept((None, 0), lambda: [turn for _, turn in self._rendered])
        available, step = self._room(window_tokens, reserve_tokens)
        return self._kept((available, step), lambda: _fit(self._shortened(step), available, step))

    def fits(self, window_tokens: int, reserve_tokens: int) -> bool:
        """Whether all of it goes into such a window, so that nothing is left out."""
        return self._whole <= self._room(window_tokens, reserve_tokens)[0]

    def _room(self, window_tokens: int, reserve_tokens: int) -> tuple[int, int]:
        """The tokens that are left for the history, and the most that one message may have of them."""
        available = window_tokens - reserve_tokens - _tokens(self._head.text)
        return available, max(_MARKER_TOKENS, min(window_tokens // 4, (available - _MARKER_TOKENS) // 4))

    def _kept(self, key: tuple[int | None, int], turns: Callable[[], Sequence[_Turn]]) -> tuple[Message, ...]:
        if key not in self._seen:
            self._seen[key] = (self._head, *_merged(turns()))
        return self._seen[key]

    def _shortened(self, most: int) -> list[_Turn]:
        return [
            turn if turn.tokens <= most else _shorter(message, turn, self._limits, most)
            for message, turn in self._rendered
        ]

    @property
    def _rendered(self) -> list[tuple[Message, _Turn]]:
        if self._turns is None:
            made = ((message, _turn(message, self._limits)) for message in self.history)
            self._turns = [(message, turn._replace(tokens=_tokens(turn.text))) for message, turn in made if turn]
            self._sum = sum(turn.tokens for _, turn in self._turns)
        return self._turns

    @property
    def _whole(self) -> int:
        return self._sum if self._rendered else 0


def render(
    history: Sequence[Message],
    *,
    brief: str = "",
    window_tokens: int | None = None,
    reserve_tokens: int = 1200,
    tool_result_chars: int = 4000,
) -> tuple[Message, ...]:
    """The conversation as one reader gets it (see `Rendering`)."""
    return Rendering(history, brief=brief, tool_result_chars=tool_result_chars).for_window(
        window_tokens, reserve_tokens
    )


def render_message(message: Message, *, result_chars: int = 16_000) -> str:
    """One message as text that ends with a newline; empty where it says nothing."""
    turn = _turn(message, _Limits(result=result_chars))
    return turn.text if turn else ""


def tail(
    role: str | None,
    *,
    draft: str | None = None,
    earlier: Sequence[tuple[str, str]] = (),
    question: str | None = None,
    decide: bool = False,
    silence: bool = False,
    in_force: Sequence[str] = (),
    blockers_only: bool = False,
    task: tasks.Task = tasks.ADVISE,
) -> str:
    """The text for `Request.tail`: what is asked of one member. It is the only part of its request that differs between members.

    `role` is its brief from the preset. `draft` is a reply that is about to end the turn, to be reviewed. `earlier` holds (neutral
    label, answer) of the panel's last layer. `question` is one that the agent asks in so many words. `decide` asks for a final line that
    a vote can count. `silence` offers to say nothing, and asks for the grade as the first word. `in_force` are the points that the
    agent has before it already, newest last; `blockers_only` says that nothing less will reach it. `task`: advise or answer.
    """
    paragraphs = []
    if earlier:
        paragraphs.append(prompts.EARLIER)
        paragraphs += [f"{flat(label, 60)}:\n{fence(text)}" for label, text in earlier]
    if in_force:
        paragraphs.append(f"{prompts.IN_FORCE}\n{fence(points_within(in_force, IN_FORCE_TOKENS))}")
    if draft is not None:
        paragraphs.append(f"{prompts.REVIEW}\n{prompts.DRAFT}\n{fence(draft)}")
    elif question is None or task is tasks.ADVISE:
        paragraphs.append(task.ask)
    if question is not None:
        paragraphs.append(f"{task.question}\n{fence(question)}")
    if role and role.strip():
        paragraphs.append(f"{prompts.ROLE} {clean(role).strip()}")
    length = task.tokens if question is None else task.question_tokens
    if length is not None:
        paragraphs.append(prompts.LENGTH.format(tokens=length))
    if decide:
        paragraphs.append(prompts.DECIDE)
    if blockers_only:
        paragraphs.append(prompts.BLOCKERS_ONLY)
    if silence:
        paragraphs.append(prompts.SILENCE)
    return "\n\n".join(paragraphs)


IN_FORCE_TOKENS = 300


def points_within(points: Sequence[str], tokens: int) -> str:
    """Points as a list of one line each, newest last, in at most `tokens` tokens: the oldest are left out first."""
    lines: list[str] = []
    left = tokens
    for point in reversed(points):
        line = f"- {flat(point, 240)}"
        left -= estimate_tokens(line) + 1
        if left < 0:
            break
        lines.insert(0, line)
    return "\n".join(lines)


def _tokens(text: str) -> int:
    """What a message of this text takes at most."""
    return EACH_MESSAGE + int(estimate_tokens(text) * SAFETY) + 1


def _system(brief: str, task: tasks.Task) -> Message:
    text = task.system
    if brief.strip():
        text = f"{text}\n\n{task.brief}\n{fence(head_and_tail(brief.strip(), task.brief_chars))}"
    return Message(role="system", parts=(TextPart(text=text),))


def _turn(message: Message, limits: _Limits) -> _Turn | None:
    """One message as text that ends with a newline (parts are joined without a separator); None where it says nothing."""
    if message.role == "system":
        return None
    if message.role == "tool":
        heading = f"Result of {flat(message.tool_name or 'a tool', 60)}{' (an error)' if message.is_error else ''}:"
        body = "\n".join([message.text, *_images(message)]).strip("\n")
        return _Turn("assistant", f"{heading}\n{fence(head_and_tail(body, limits.result))}\n", typed=False)

    lines = [head_and_tail(clean(message.text).strip("\n"), limits.text)] if message.text.strip() else []
    lines += _images(message)
    lines += [f"Call: {flat(call.name, 60)} {flat(call.arguments, limits.call)}" for call in message.tool_calls]
    if not lines:
        return None
    if message.role == "assistant":
        if message.incomplete:
            lines.append("[cut off here]")
        if message.draft:
            lines.insert(0, "[a draft: it was held back, and the user has not seen it]")
        return _Turn("assistant", "\n".join(lines) + "\n", typed=False)
    if message.synthetic:
        lines.insert(0, f"[written by the program, not by the user: {message.synthetic}]")
    return _Turn("user", "\n".join(lines) + "\n", typed=message.synthetic is None)


def _images(message: Message) -> list[str]:
    return [f"[an image, {part.media_type}, not shown]" for part in message.parts if isinstance(part, ImagePart)]


def _merged(turns: Sequence[_Turn]) -> list[Message]:
    groups: list[tuple[str, list[TextPart]]] = []
    for turn in turns:
        if not groups or groups[-1][0] != turn.role:
            groups.append((turn.role, []))
        groups[-1][1].append(TextPart(text=turn.text))
    return [Message(role="user" if role == "user" else "assistant", parts=tuple(parts)) for role, parts in groups]


def _shorter(message: Message, turn: _Turn, limits: _Limits, most: int) -> _Turn:
    """A message's rendering cut to `most` tokens. It depends on the message and the window, never on its neighbours."""
    limit, tokens = len(turn.text), turn.tokens
    while tokens > most and limit > 8:
        limit = min(limit * 3 // 4, most * 3)
        turn = _turn(message, limits.at_most(limit)) or turn
        if limit < 100 and message.role != "tool":
            # A great many calls or images: their number alone is too much.
            turn = _Turn(turn.role, head_and_tail(turn.text.rstrip("\n"), limit) + "\n", turn.typed)
        tokens = _tokens(turn.text)
    return turn._replace(tokens=tokens)


def _fit(turns: Sequence[_Turn], available: int, step: int) -> list[_Turn]:
    """Cut from the front what does not fit into `available` tokens.

    How much is cut is the excess rounded up to whole steps, and where the cut falls depends only on that and on the messages before
    it: between two steps it stays put. No turn is longer than a step, so at least one always remains. (Where even a few dozen tokens
    are not available, the request goes out too long and the endpoint's refusal is the member's named failure.)
    """
    if sum(turn.tokens for turn in turns) <= available:
        return list(turns)
    first = next((turn for turn in turns if turn.role == "user"), None)
    rest = [turn for turn in turns if turn is not first]
    # A step each, at most, for the first user message and for one more that may have to be kept.
    room = max(2 * step, available - 2 * step - _MARKER_TOKENS)
    excess = sum(turn.tokens for turn in rest) - room
    drop = -(-excess // step) * step
    cut = gone = 0
    while gone < drop and cut < len(rest) - 1:
        gone += rest[cut].tokens
        cut += 1
    if not cut:
        return list(turns)
    marker = _Turn("user", f"[the program left out {cut} messages here]\n", typed=False)
    task = next((turn for turn in reversed(rest[:cut]) if turn.typed), None)
    return [*([first] if first else []), marker, *([task] if task else []), *rest[cut:]]
