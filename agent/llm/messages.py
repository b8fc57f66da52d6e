"""A conversation: messages made of parts. The same values inside, on disk, and (through a dialect) on the wire.

Plain dataclasses: nothing on the way to the first byte loads pydantic, which costs more than the rest of the start (docs/decisions/
0002-start-up.md). What is read back from a disk or a wire is checked by pydantic all the same, in `agent.serialize`.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, Literal

from agent.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPart:
    """Plain text."""

    type: Literal["text"] = "text"
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningPart:
    """What a model thought aloud. `extra` is the provider's own block (signature, encrypted data), sent back unmodified."""

    type: Literal["reasoning"] = "reasoning"
    text: str
    extra: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallPart:
    """A model asks for a tool. `arguments` is the JSON text exactly as the model wrote it, so that it goes back byte by byte."""

    type: Literal["tool_call"] = "tool_call"
    id: str
    name: str
    arguments: str
    extra: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePart:
    """An image, base64; or where it came by the server, perhaps its address alone (`data` is empty then)."""

    type: Literal["image"] = "image"
    media_type: str
    data: str
    url: str | None = field(default=None, metadata={"private": True})

    @property
    def address(self) -> str:
        """Its URL, which for an image in base64 holds all of it."""
        return self.url or f"data:{self.media_type};base64,{self.data}"


Part = TextPart | ReasoningPart | ToolCallPart | ImagePart

Role = Literal["system", "user", "assistant", "tool"]

# Why a message that nobody typed or generated is in the history.
# `shell`: a command that the user ran with `!`, and its output. `report`: what another command came to. `guidance`: what plugins told the model; only requests carry it.
Synthetic = Literal["continuation", "interrupted", "summary", "notice", "shell", "report", "guidance"]


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class Message:
    """One message.

    `tool_call_id`, `tool_name` and `is_error` belong to role tool. `origin` (ENDPOINT:MODEL) says which model wrote an assistant
    message: reasoning extras only go back there. `extra` holds provider fields of the whole message (`reasoning_details`); in a notice its
    `tools` are those that join the conversation with it, as `ToolSpec`s in plain form.
    `incomplete` marks an answer that was cut off or stopped, `draft` a reply that was held back and never was the user's answer.
    `synthetic` marks, in the structure, what the program itself wrote.
    """

    role: Role
    parts: tuple[Part, ...] = ()
    tool_call_id: str | None = None
    tool_name: str | None = None
    is_error: bool = False
    origin: str | None = None
    extra: dict[str, Any] | None = None
    incomplete: bool = False
    synthetic: Synthetic | None = None
    draft: bool = False
    binding: str | None = field(default=None, repr=False, compare=False, metadata={"private": True})
    """What request a reply was made on (see `agent.llm.binding`): it decides whether its signed thoughts go back."""
    command: str = field(default="", repr=False, compare=False, metadata={"private": True})
    """The slash command that the user typed, where one made the text: people see it and get it back, models are sent the text."""

    @property
    def typed(self) -> str:
        """What the user typed: the command that made the text, or else the text."""
        return self.command or self.text

    @property
    def text(self) -> str:
        """All text parts, joined."""
        return "".join(part.text for part in self.parts if isinstance(part, TextPart))

    @property
    def reasoning(self) -> str:
        """All reasoning parts, joined."""
        return "".join(part.text for part in self.parts if isinstance(part, ReasoningPart))

    @property
    def tool_calls(self) -> tuple[ToolCallPart, ...]:
        """The tool calls, in order."""
        return tuple(part for part in self.parts if isinstance(part, ToolCallPart))


def system(text: str) -> Message:
    """A system message."""
    return Message(role="system", parts=(TextPart(text=text),))


def user(text: str, *, synthetic: Synthetic | None = None) -> Message:
    """A user message of plain text."""
    return Message(role="user", parts=(TextPart(text=text),), synthetic=synthetic)


def assistant(text: str, *calls: ToolCallPart, origin: str | None = None) -> Message:
    """An assistant message of plain text and tool calls."""
    parts: tuple[Part, ...] = (TextPart(text=text), *calls) if text else calls
    return Message(role="assistant", parts=parts, origin=origin)


def tool_result(call: ToolCallPart, text: str, *, is_error: bool = False) -> Message:
    """The answer to a tool call."""
    return Message(
        role="tool", parts=(TextPart(text=text),), tool_call_id=call.id, tool_name=call.name, is_error=is_error
    )
