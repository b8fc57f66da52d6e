"""The JSON object that ends every `moa run --output-format json`, checked key by key against docs' contract."""

from __future__ import annotations

from typing import Any

from tests.support.program import Finished

EXIT_CODES = {
    "done": 0,
    "failed": 1,
    "usage": 2,
    "budget": 3,
    "limit": 3,
    "unmet": 3,
    "retryable": 75,
    "interrupted": 130,
}

TOP = {"schema", "session", "status", "error", "text", "usage", "cost", "calls", "counsel"}
CALL = {
    "id",
    "purpose",
    "slot",
    "endpoint",
    "model_requested",
    "model_served",
    "provider",
    "generation_id",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "cost_usd",
    "cost_source",
    "ttft_s",
    "duration_s",
    "outcome",
}
COUNSEL = {
    "iteration",
    "trigger",
    "preset",
    "answered",
    "failed",
    "late",
    "rung",
    "analysis",
    "guidance",
    "duration_s",
    "cost",
}
PURPOSES = {"main", "reference", "aggregator", "goal_judge", "compaction", "title", "delegate", "probe"}


def checked(done: Finished, status: str, kind: str | None = None) -> dict[str, Any]:
    """The result of a run that has to have ended with this status (and this kind of error), after checking the whole contract."""
    assert "Traceback" not in done.err + done.out, done.err + done.out
    result = done.result
    assert result.keys() >= TOP, TOP - result.keys()
    assert result["schema"] == 1
    assert result["status"] == status, (result["status"], result["error"], done.err)
    assert done.code == EXIT_CODES[status]
    error = result["error"]
    assert (error is None) == (status == "done"), error
    if error is not None:
        assert error.keys() == {"kind", "message", "remedy"}
        assert error["message"]
        assert kind in (None, error["kind"]), error
    assert isinstance(result["text"], str)
    assert result["cost"].keys() == {"usd", "lower_bound"}
    for call in result["calls"]:
        assert call.keys() >= CALL, CALL - call.keys()
        assert call["purpose"] in PURPOSES
    for counsel in result["counsel"]:
        assert counsel.keys() >= COUNSEL, COUNSEL - counsel.keys()
    return result
