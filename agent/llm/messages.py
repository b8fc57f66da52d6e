"""A conversation: messages made of parts. The same values inside, on disk, and (through a dialect) on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Frozen(BaseModel):
    """A value that is built once and never changed. The schema is built on first use, which start-up time depends on."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class TextPart(Frozen):
    """Plain text."""

    type: Literal["text"] = "text"
    text: str


class ReasoningPart(Frozen):
    """What a model thought aloud. `extra` is the provider's own block (signature, encrypted data), sent back unmodified."""

    type: Literal["reasoning"] = "reasoning"
    text: str
    extra: dict[str, Any] | None = None


class ToolCallPart(Frozen):
    """A model asks for a tool. `arguments` is the JSON text exactly as the model wrote it, so that it goes back byte by byte."""

    type: Literal["tool_call"] = "tool_call"
    id: str
    name: str
    arguments: str
    extra: dict[str, Any] | None = None


class ImagePart(Frozen):
    """An image, base64."""

    type: Literal["image"] = "image"
    media_type: str
    data: str


Part = Annotated[TextPart | ReasoningPart | ToolCallPart | ImagePart, Field(discriminator="type")]

Role = Literal["system", "user", "assistant", "tool"]

# Why a message that nobody typed or generated is in the history.
Synthetic = Literal["continuation", "interrupted", "summary", "notice"]


class Message(Frozen):
    """One message.

    `tool_call_id`, `tool_name` and `is_error` belong to role tool. `origin` (ENDPOINT:MODEL) says which model wrote an assistant
    message: reasoning extras only go back there. `extra` holds provider fields of the whole message (`reasoning_details`).
    `incomplete` marks an answer that was cut off or stopped. `synthetic` marks, in the structure, what the program itself wrote.
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
