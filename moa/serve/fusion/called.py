"""A server tool's call: what is told of it while it runs, and what the client gets of it on its wire."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agent.llm.money import Total
from moa.serve.fusion.lower import DETAIL, RESULT_BLOCKS
from moa.serve.fusion.offered import ANTHROPIC_ADVISOR, CONSULT, FUSION

if TYPE_CHECKING:
    from agent.llm.messages import ToolCallPart
    from moa.serve.fusion.offered import Offered
    from moa.serve.fusion.results import Fused


@dataclass(frozen=True, slots=True)
class CallStarted:
    """A server tool begins to run."""

    offered: Offered
    call: ToolCallPart


@dataclass(frozen=True, slots=True)
class MemberAdded:
    """A model of Fusion's panel was asked."""

    call: str
    model: str


@dataclass(frozen=True, slots=True)
class MemberDelta:
    """A piece of its answer, or of its thoughts."""

    call: str
    model: str
    text: str
    thought: bool = False


@dataclass(frozen=True, slots=True)
class MemberCompleted:
    """It has answered; `text` is the whole."""

    call: str
    model: str
    text: str


@dataclass(frozen=True, slots=True)
class MemberFailed:
    """It gave no answer."""

    call: str
    model: str
    error: str
    status: int | None = None


@dataclass(frozen=True, slots=True)
class AnalysisStarted:
    """The answers are being compared."""

    call: str
    model: str


@dataclass(frozen=True, slots=True)
class CallFinished:
    """The tool has ended."""

    called: Called


ServerEvent = CallStarted | MemberAdded | MemberDelta | MemberCompleted | MemberFailed | AnalysisStarted | CallFinished


@dataclass(frozen=True, slots=True)
class Called:
    """A call that has ended. `text` is what the model got, `code` why there is no advice (a word of Anthropic's), `fused` what came of
    Fusion. `prompt` is what the model asked."""

    offered: Offered
    call: ToolCallPart
    text: str
    prompt: str = ""
    code: str = ""
    fused: Fused | None = None
    cost: Total = field(default_factory=Total)
    searches: int = 0
    models: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it brought anything."""
        return self.fused.ok if self.fused is not None else not self.code

    def detail(self, index: int) -> dict[str, Any]:
        """For `reasoning_details` of Chat Completions: what a later turn brings back."""
        return {
            "type": DETAIL,
            "tool_name": self.offered.type,
            "arguments": self.call.arguments or "{}",
            "result": self.text,
            "tool_call_id": self.call.id,
            "index": index,
        }

    def item(self) -> dict[str, Any]:
        """For the Responses API."""
        if self.fused is not None:
            return self.fused.item(self.call.id)
        offered = self.offered
        item: dict[str, Any] = {
            "type": offered.type,
            "id": self.call.id,
            "status": "completed" if self.ok else "incomplete",
        }
        if "__" in offered.function:
            item["instance_name"] = offered.function
        if self.prompt:
            item["question" if offered.type == CONSULT else "prompt"] = self.prompt
        if offered.advisor.model:
            item["model"] = offered.advisor.model
        item["advice" if self.ok else "error"] = self.text
        return item

    def begun(self) -> dict[str, Any]:
        """The same item while it runs."""
        return begun(self.offered, self.call)

    def blocks(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """For the Messages API: the call, and its result."""
        return use_block(self.offered, self.call), {
            "type": RESULT_BLOCKS[self.offered.function.partition("__")[0]],
            "tool_use_id": self.call.id,
            "content": self._content(),
        }

    def _content(self) -> dict[str, Any]:
        if self.offered.type == FUSION and self.fused is not None:
            return self.fused.tool_result()
        if self.offered.type == ANTHROPIC_ADVISOR and not self.ok:
            return {"type": "advisor_tool_result_error", "error_code": self.code}
        return {"type": "advisor_result", "text": self.text}


def begun(offered: Offered, call: ToolCallPart) -> dict[str, Any]:
    """An item of the Responses API whose tool runs."""
    return {"type": offered.type, "id": call.id, "status": "in_progress"}


def use_block(offered: Offered, call: ToolCallPart) -> dict[str, Any]:
    """The call as a block of the Messages API."""
    return {"type": "server_tool_use", "id": call.id, "name": offered.function, "input": arguments_of(call)}


def arguments_of(call: ToolCallPart) -> dict[str, Any]:
    """A call's arguments; none where the model wrote no object."""
    from agent.text import foreign_json

    try:
        found = foreign_json.loads(call.arguments or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
