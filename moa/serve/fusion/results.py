"""What came of a panel, in Fusion's shapes: the result that the calling model sees, the item of the Responses API, and the reasons of failure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moa.panel.names import display_names, safe_name
from moa.serve.fusion.panel import slug_of

if TYPE_CHECKING:
    from moa.counsel.counsel import Counsel
    from moa.panel.outcome import Failure

TOOL = "openrouter:fusion"
CAPPED = "fusion_invocation_capped"
UNEXPECTED = "unexpected_error"
CANCELLED = "cancelled"

_CREDIT = frozenset({"payment_required", "budget"})
_JUDGE: Mapping[str, str] = {
    "not_valid_json": "judge_not_valid_json",
    "schema_mismatch": "judge_schema_mismatch",
    "empty_answer": "judge_empty_completion",
}
_SAYS: Mapping[str, str] = {
    "all_panels_failed": "no model of the panel answered",
    "insufficient_credits": "no model of the panel answered, for want of credit",
    "rate_limited": "no model of the panel answered, because of rate limits",
    "invalid_model": "no model of the panel is offered",
    CAPPED: "the panel was asked already in this turn; answer with what it said",
    UNEXPECTED: "the panel could not be asked",
    CANCELLED: "the panel was stopped",
}


@dataclass(frozen=True, slots=True)
class Fused:
    """One call of Fusion and how it ended: with a `counsel` (None: the panel was not asked), or with a `reason`. `detail` is an error's own
    text, `sources` are pages that members have searched and read: (URL, title)."""

    counsel: Counsel | None = None
    reason: str | None = None
    detail: str = ""
    sources: tuple[tuple[str, str], ...] = ()

    @property
    def ok(self) -> bool:
        """Whether there is anything to write an answer from."""
        return self.reason is None and self.counsel is not None and bool(self.counsel.answers)

    @property
    def failure_reason(self) -> str | None:
        """Why there is nothing, or (on the item alone) why there is no analysis; None where nothing went wrong."""
        if self.ok:
            return judge_reason(self.counsel)
        return self.reason or panel_reason(() if self.counsel is None else self.counsel.failures)

    @property
    def error(self) -> str:
        """The failure in words."""
        reason = self.reason or panel_reason(() if self.counsel is None else self.counsel.failures)
        return self.detail or _SAYS.get(reason, _SAYS[UNEXPECTED])

    def tool_result(self) -> dict[str, Any]:
        """What the calling model sees."""
        if not self.ok:
            reason = self.failure_reason or UNEXPECTED
            known = "all_panels_failed" if reason == "invalid_model" else reason  # the tool's list has no such word
            return {"status": "error", "error": self.error, "failure_reason": known}
        assert self.counsel is not None
        return {"status": "ok", **_found(self.counsel)}

    def text(self) -> str:
        """The same as the tool's text."""
        return json.dumps(self.tool_result(), ensure_ascii=False)

    def item(self, id: str, *, status: str | None = None) -> dict[str, Any]:
        """The item of the Responses API. It is `incomplete` where the panel brought nothing, or was stopped."""
        item: dict[str, Any] = {
            "type": TOOL,
            "id": id,
            "status": status or ("completed" if self.ok else "incomplete"),
        }
        if self.ok:
            assert self.counsel is not None
            item |= _found(self.counsel)
        else:
            item["error"] = self.error
            if self.counsel is not None and self.counsel.failures:
                item["failed_models"] = list(map(_failed, self.counsel.failures))
        if (reason := self.failure_reason) is not None:
            item["failure_reason"] = reason
        if self.sources:
            item["sources"] = [{"url": url, "title": title or url} for url, title in unique(self.sources)]
        return item


def _found(counsel: Counsel) -> dict[str, Any]:
    names = map(slug_of, display_names(counsel.answers))
    found: dict[str, Any] = {}
    analysis = counsel.aggregation.analysis if counsel.aggregation is not None else None
    if analysis is not None:
        found["analysis"] = analysis.to_fusion()
    found["responses"] = [
        {"model": name, "content": answer.text} for name, answer in zip(names, counsel.answers, strict=True)
    ]
    if counsel.failures:
        found["failed_models"] = list(map(_failed, counsel.failures))
    return found


def _failed(failure: Failure) -> dict[str, Any]:
    failed: dict[str, Any] = {
        "model": slug_of(safe_name(failure.model_requested)),
        "error": f"{failure.kind}: {failure.message}",
    }
    if failure.status is not None:
        failed["status_code"] = failure.status
    return failed


def panel_reason(failures: Sequence[Failure]) -> str:
    """Why nobody answered. Where some lacked credit and others were rate limited, it is the credit: waiting alone would not help."""
    kinds = [failure.kind for failure in failures]
    statuses = [failure.status for failure in failures]
    if _CREDIT & set(kinds) or 402 in statuses:
        return "insufficient_credits"
    if "rate_limited" in kinds or 429 in statuses:
        return "rate_limited"
    if kinds and all(kind == "model_not_found" for kind in kinds):
        return "invalid_model"
    if kinds and all(kind == "cancelled" for kind in kinds):
        return CANCELLED
    return "all_panels_failed" if kinds else UNEXPECTED


def judge_reason(counsel: Counsel | None) -> str | None:
    """Why there are answers and no analysis; None where there is one, or where there was nothing to compare."""
    found = None if counsel is None else counsel.aggregation
    if found is None or found.analysis is not None or found.error is None:
        return None
    return _JUDGE.get(found.error[0], "judge_upstream_error")


def unique(sources: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The pages, each URL once, in order of first sight; a later title stands where the first had none."""
    found: dict[str, str] = {}
    for url, title in sources:
        found[url] = found.get(url) or title
    return tuple(found.items())
