"""A program that reads a prompt and prints an answer, as a model: command-line agents with a subscription, or anything else.

No HTTP: what goes out is a command line, a text on standard input and an environment; what comes back are lines. The wire is therefore
this dialect's own (`exchange`, in `agent.llm.programs`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agent.llm.dialects import structure
from agent.llm.dialects.history import settle
from agent.llm.dialects.over_http import HttpDialect
from agent.llm.messages import ImagePart, Message, TextPart, ToolCallPart

if TYPE_CHECKING:
    from agent.llm.dialects.base import Decoder, Exchange
    from agent.llm.models.endpoint import Endpoint
    from agent.llm.request import Request

ONLY_PROMPT = frozenset({"no_json_schema", "no_json_object", "no_images"})
"""What no program's prompt can carry beside words."""


_HEADS = {"system": "Instructions", "user": "User", "assistant": "Assistant", "tool": "Tool result"}


class CommandDialect(HttpDialect):
    """The conversation goes as one text: the system's instructions, then each message under its role."""

    name = "command"
    path = ""
    list_path = ""
    words_alone = True

    def is_last(self, event: str, data: str) -> bool:
        """The program's end."""
        return event == "exit"

    def headers(self, endpoint: Endpoint) -> dict[str, str]:
        """There are none."""
        return {}

    def compose(
        self, request: Request, endpoint: Endpoint, quirks: frozenset[str], left: list[str] | None = None
    ) -> dict[str, Any]:
        """`prompt` and `argv`. What has grown since the last prompt stands at its end."""
        from agent.llm.programs.known import arguments

        sections = [_section(message) for message in settle(request.messages)]
        tail = structure.tail(request, quirks | ONLY_PROMPT)
        texts = [f"# {head}\n\n{text}" for head, text in sections if text]
        if tail:
            texts.append(f"# User\n\n{tail}")
        prompt = "\n\n".join(texts)
        return {"argv": arguments(endpoint, request), "prompt": prompt}

    def items(self, body: dict[str, Any]) -> list[Any]:
        """The prompt: no program's thoughts are bound to it."""
        return [body["prompt"]]

    def decoder(self, request: Request, endpoint: Endpoint) -> Decoder:
        """A fresh decoder for one answer, by the program that prints it."""
        from agent.llm.programs.answers import ProgramDecoder

        return ProgramDecoder(request, endpoint)

    def exchange(self, decoder: Decoder, endpoint: Endpoint, headers: Mapping[str, str] | None = None) -> Exchange:
        """One run of the program."""
        from agent.llm.programs.run import ProgramRun

        return ProgramRun(self, decoder, endpoint, headers)


def _section(message: Message) -> tuple[str, str]:
    texts: list[str] = []
    for part in message.parts:
        if isinstance(part, TextPart):
            texts.append(part.text)
        elif isinstance(part, ImagePart):
            texts.append(f"[image: {part.media_type}]")
        elif isinstance(part, ToolCallPart):
            texts.append(f"[calls {part.name} with {part.arguments}]")
    return _HEADS[message.role], "\n".join(text for text in texts if text.strip())
