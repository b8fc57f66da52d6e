"""How an answer ends: every provider's words for it, as one of ours."""

from __future__ import annotations

from typing import Literal

End = Literal["stop", "tool_calls", "length", "refusal", "unknown"]
"""An answer ends well with the first three; "unknown" is a word that nobody knows."""

_STOP = frozenset(
    {"stop", "end_turn", "stop_sequence", "eos", "eos_token", "completed", "complete", "end", "finished", "done"}
)
_TOOLS = frozenset({"tool_calls", "tool_call", "tool_use", "function_call"})
_LENGTH = frozenset(
    {
        *("length", "max_tokens", "max_output_tokens", "max_length", "model_length", "token_limit"),
        *("model_context_window_exceeded", "context_length_exceeded", "pause_turn"),
    }
)
_REFUSAL = frozenset(
    {
        *("content_filter", "content_filtered", "refusal", "safety", "sensitive", "prohibited_content", "recitation"),
        *(
            "blocklist",
            "spii",
            "guardrail_intervened",
            "content_blocked",
            "image_safety",
            "ip_infringement",
            "moderation",
        ),
    }
)
# Parts of the words for an answer that a fault ended: to be asked for again.
_FAULTS = (
    *("error", "abort", "cancel", "timeout", "timed_out", "fail", "malformed", "insufficient", "interrupt", "overload"),
    *("unavailable", "exhausted", "unexpected_tool_call", "disconnect", "preempt"),
)


def finish_reason(word: str) -> End | None:
    """A provider's finish reason as one of ours; "unknown" for a word that nobody knows, None for a fault (`error`, `abort` …).

    What is not known to be an end is none: an answer that was cut would else pass for a whole one.
    """
    word = word.strip().lower().removeprefix("finish_reason_").replace("-", "_").replace(" ", "_")
    if word in _STOP:
        return "stop"
    if word in _TOOLS:
        return "tool_calls"
    if word in _LENGTH:
        return "length"
    if word in _REFUSAL:
        return "refusal"
    return None if any(fault in word for fault in _FAULTS) else "unknown"


def more_particular(finish: End | None, native: End | None) -> End | None:
    """What a gateway calls a plain stop may have been cut or refused, by the provider's own word; only known words count here."""
    return native if finish == "stop" and native in ("length", "refusal", None) else finish
