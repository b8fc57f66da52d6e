"""Arms in which the main model answers with what a panel said before it, and their placebos."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agent.llm.messages import system, user
from agent.llm.request import Request
from moa.bench.items import Item

if TYPE_CHECKING:
    from agent.llm.accounting import CallContext
    from agent.llm.client import ModelClient
    from agent.llm.request import ModelRef
    from moa.counsel.counsel import Counsel
    from moa.preset.preset import Preset

KINDS = ("fuse", "counsel:turn", "placebo:other", "placebo:shuffled")
"""The placebos are of `fuse`: as many words of the same panel, of another item or out of order."""


async def consult(
    client: ModelClient, preset: Preset, main: ModelRef, kind: str, item: Item, context: CallContext
) -> Counsel:
    """Take counsel on an item, as the chat would before the first call of a turn. Never raises for a failure of a member."""
    from moa.counsel.cadence import Decision
    from moa.counsel.take import Council
    from moa.panel.tasks import ADVISE, ANSWER

    council = Council(preset, client)
    try:
        return await council.take(
            (system(""), *item.messages),
            main=main,
            context=context,
            decision=Decision(True, "fuse", f"the arm is {kind}"),
            emit=lambda _event: None,
            task=ADVISE if kind.startswith("counsel") else ANSWER,
        )
    finally:
        await council.close()


def text_of(client: ModelClient, counsel: Counsel, main: ModelRef, kind: str, item: Item) -> str | None:
    """What the main model is given of a counsel; None where there is nothing."""
    from moa.counsel.guidance import whole
    from moa.fuse import material

    if kind.startswith("counsel"):
        return whole(counsel, turn=1)
    text = material(counsel, window=client.facts(main).context_window, turn=1)
    return shuffled(text, item.id) if text is not None and kind == "placebo:shuffled" else text


def shuffled(text: str, seed: str) -> str:
    """The same words, those of each line that models wrote in another order: as long, under the same frame, and without the sense.

    What models wrote stands between bars of backticks; where there are none, each line is theirs.
    """
    chance = random.Random(seed)

    def mixed(line: str) -> str:
        mark, words = ("- ", line[2:].split()) if line.startswith("- ") else ("", line.split())
        chance.shuffle(words)
        return mark + " ".join(words)

    inside = whole = "\n```" not in f"\n{text}"
    lines = []
    for line in text.split("\n"):
        if line.startswith("```"):
            inside = not inside
            lines.append(line)
        else:
            lines.append(mixed(line) if inside or whole else line)
    return "\n".join(lines)


def final(main: ModelRef, item: Item, given: str | None, max_tokens: int) -> Request:
    """The main model's own call."""
    messages = item.messages if given is None else (*item.messages, user(given))
    return Request(main, messages, max_tokens=max_tokens)


def most(preset: Preset, main: ModelRef, item: Item, members: Sequence[Request], max_tokens: int) -> list[Request]:
    """Stand-ins that are at least as large as the calls of one item: the members', the comparison's, the main model's."""
    room = "word " * sum(request.max_tokens for request in members)
    comparing = Request(main, (user(item.request), user(room)), max_tokens=preset.aggregator.max_tokens)
    # The comparison may be tried a second time.
    return [*members, comparing, comparing, final(main, item, room, max_tokens + preset.aggregator.max_tokens)]
