"""What members of served panels look up: the web, under the domain policy of config.toml and of their preset.

They get `web_search` and `web_fetch` alone. `read`, `glob` and `grep` are not given here: the files that the client's agent works on are on
the client's machine, and those of the server's are nobody's business there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agent.web.plugin import NAMES
from agent.web.web import Asker, Web

if TYPE_CHECKING:
    from agent.config.config import Config
    from agent.config.domains import Domains
    from agent.llm.accounting import CallContext
    from agent.llm.client import ModelClient
    from agent.llm.messages import Message
    from agent.llm.request import ModelRef, Request
    from agent.llm.stream import Reply
    from agent.loop.tool_runner import ToolRunner
    from agent.web.engines.base import SearchEngine
    from agent.web.settings import WebSettings
    from moa.preset.preset import Preset


@dataclass(frozen=True, slots=True)
class Lookups:
    """Of one process. `tools` runs what a member calls; it has no tool of its own."""

    client: ModelClient
    tools: ToolRunner
    settings: WebSettings
    config: Config

    def begin(self, history: Sequence[Message], main: ModelRef, context: CallContext) -> Lookup:
        """For one panel over one history. `main` searches where the provider's own search is set, on the account `context`."""
        return Lookup(self, tuple(history), main, context)


@dataclass(slots=True)
class Lookup:
    """What the members of one panel look up. Its `run` is the `run_member` of `Council.take`."""

    own: Lookups
    messages: tuple[Message, ...]
    main: ModelRef
    account: CallContext
    web: Web = field(init=False)

    def __post_init__(self) -> None:
        cache = self.own.config.paths.cache / "pages"
        self.web = Web(self.own.settings, self, cache=cache, native=self._native)
        words = (message.text for message in reversed(self.messages) if message.role == "user")
        self.web.begin_turn(next(words, ""))

    def history(self) -> Sequence[Message]:
        """The conversation: the addresses that its user wrote may be fetched."""
        return self.messages

    def records(self, _kind: str) -> Sequence[Mapping[str, Any]]:
        """Nothing is kept of earlier requests: a search brings its addresses to this panel alone."""
        return ()

    def _native(self, context: CallContext | None) -> SearchEngine:
        from agent.web.engines.native import Native

        return Native(self.own.client, str(self.main), context or self.account)

    async def run(
        self,
        request: Request,
        context: CallContext,
        tools: Sequence[str],
        max_calls: int,
        on_event: Callable[[Any], None] | None = None,
        *,
        domains: Domains | None = None,
    ) -> Reply:
        """A member's call, with those of its tools that there are here."""
        from agent.config.domains import Domains
        from agent.loop.side_loop import SideLoop
        from agent.web.fetch_tool import WebFetch
        from agent.web.search_tool import WebSearch

        given = [name for name in tools if name in NAMES]
        if not given:
            return await self.own.client.complete(request, context, on_event=on_event)
        asker = Asker(context.slot or "member", domains or Domains(), context)
        runner = self.own.tools.with_tools([WebSearch(self.web, asker), WebFetch(self.web, asker)])
        return await SideLoop(self.own.client, runner.only(given)).run(
            request, context, max_calls=max_calls, on_event=on_event
        )

    def facts(self, preset: Preset) -> dict[str, Any]:
        """What the record of a counsel says of it: searches and pages with who asked, the sources, and which tools were not given."""
        found = self.web.sources
        missing = sorted({tool for member in preset.members for tool in member.reference.tools} - set(NAMES))
        facts: dict[str, Any] = {}
        if found.searches or found.pages:
            plain = found.plain("")
            facts["looked_up"] = {name: plain[name] for name in ("searches", "pages", "sources")}
        if missing and preset.tools_at != "never":
            facts["tools_not_given"] = missing
        return facts


def make(config: Config, client: ModelClient) -> Lookups:
    """Raises UsageError for a wrong `[web]`."""
    from agent.approval.approval import Approvals
    from agent.files.deny_paths import DenyPaths
    from agent.loop.tool_runner import ToolRunner
    from agent.tools.base import ToolContext
    from agent.web.settings import read

    settings = read(config.plugins.get("web", {}), config.paths.config_file, os.environ)
    nowhere = config.paths.state / "scratch"
    deny = DenyPaths(config.deny_paths, nowhere, file=str(config.paths.config_file))
    context = ToolContext(cwd=nowhere, scratch=nowhere, deny_paths=deny, redact=config.redact)
    return Lookups(client, ToolRunner([], context, Approvals("deny", deny_paths=deny)), settings, config)
