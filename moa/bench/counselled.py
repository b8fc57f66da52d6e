"""Arms in which the main model answers with what a panel said before it, and their placebos."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agent.errors import UsageError
from agent.llm.messages import system, user
from agent.llm.request import Request
from agent.llm.stream import Finished
from agent.web.plugin import NAMES
from moa.bench.items import Item

if TYPE_CHECKING:
    from agent.config.config import Config
    from agent.llm.accounting import CallContext
    from agent.llm.client import ModelClient
    from agent.llm.request import ModelRef
    from agent.llm.stream import Reply
    from moa.counsel.counsel import Counsel
    from moa.preset.preset import Preset
    from moa.serve.counsel.lookups import Lookups

KINDS = ("fuse", "no-web", "counsel:turn", "placebo:other", "placebo:shuffled")
"""The placebos are of `fuse`: as many words of the same panel, of another item or out of order."""


PAGE_TOKENS = 4_000
"""What a page that a member reads is taken to have where a run is quoted."""


def looks_up(preset: Preset) -> bool:
    """Whether members use the web in a turn's first counsel."""
    return preset.tools_at != "never" and any(set(each.reference.tools) & set(NAMES) for each in preset.members)


def without_web(preset: Preset) -> Preset:
    """The same panel, whose members look nothing up in the web. Raises UsageError where they don't anyway."""
    if not looks_up(preset):
        raise UsageError(
            f"no member of {preset.name} looks things up, so no-web would be fuse",
            remedy='leave it out, or give members tools = ["web_search", "web_fetch"] and the preset tools_at = "first"',
        )
    bare = (replace(each, tools=tuple(name for name in each.tools if name not in NAMES)) for each in preset.references)
    return replace(preset, references=tuple(bare))


def lookups_for(presets: Iterable[Preset | None], config: Config, client: ModelClient) -> Lookups | None:
    """What members look things up with; None where none of these does. Raises UsageError for a wrong `[web]`."""
    if not any(preset is not None and looks_up(preset) for preset in presets):
        return None
    from moa.serve.counsel.lookups import make

    return make(config, client)


async def consult(
    client: ModelClient,
    preset: Preset,
    main: ModelRef,
    kind: str,
    item: Item,
    context: CallContext,
    *,
    lookups: Lookups | None = None,
    on_reply: Callable[[Reply], None] = lambda _reply: None,
) -> Counsel:
    """Take counsel on an item, as the chat would before the first call of a turn. Never raises for a failure of a member.

    `on_reply` hears each reply of a member that may look things up: an answer tells of the last one alone.
    """
    from moa.counsel.cadence import Decision
    from moa.counsel.take import Council
    from moa.panel.tasks import ADVISE, ANSWER

    lookup = lookups.begin(item.messages, main, context) if lookups is not None and looks_up(preset) else None

    async def run(
        request: Request,
        context: CallContext,
        tools: Sequence[str],
        max_calls: int,
        on_event: Callable[[Any], None] | None = None,
        **more: Any,
    ) -> Reply:
        def hear(event: Any) -> None:
            if isinstance(event, Finished):
                on_reply(event.reply)
            if on_event is not None:
                on_event(event)

        assert lookup is not None
        return await lookup.run(request, context, tools, max_calls, hear, **more)

    council = Council(preset, client)
    try:
        return await council.take(
            (system(""), *item.messages),
            main=main,
            context=context,
            decision=Decision(True, "fuse", f"the arm is {kind}"),
            emit=lambda _event: None,
            tools=lookup is not None,
            task=ADVISE if kind.startswith("counsel") else ANSWER,
            run_member=None if lookup is None else run,
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
    looking: list[Request] = []
    if looks_up(preset):
        for member, request in zip(preset.resolved(main).members, members, strict=True):
            calls = member.reference.max_tool_calls if set(member.reference.tools) & set(NAMES) else 0
            pages = user("word " * PAGE_TOKENS * calls)
            looking += [replace(request, messages=(*request.messages, pages))] * calls
    # The comparison may be tried a second time.
    return [
        *members,
        *looking,
        comparing,
        comparing,
        final(main, item, room, max_tokens + preset.aggregator.max_tokens),
    ]
