"""What came of a panel, in Fusion's shapes, and each reason of failure."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.llm.accounting import CallContext
from agent.llm.request import ModelRef
from moa.aggregate.analysis import from_record
from moa.aggregate.result import Aggregation
from moa.counsel.cadence import Decision
from moa.counsel.counsel import Counsel
from moa.panel.outcome import Answer, Failure
from moa.serve.fusion.results import Fused
from tests.support.script import ANALYSIS

ANSWERS = (
    Answer("1", "openrouter:a/one", "a/one", "One says.", "c1", 1),
    Answer("2", "openrouter:b/two", "b/two", "Two says.", "c2", 1),
)
COMPARED = Aggregation("json_schema", analysis=from_record(ANALYSIS))


def failed(kind: str, status: int | None = None) -> Failure:
    return Failure("3", "openrouter:c/three", kind, "no luck", status)


def counsel(
    answers: tuple[Answer, ...] = ANSWERS, failures: tuple[Failure, ...] = (), found: Any = COMPARED
) -> Counsel:
    return Counsel(
        id="c", preset="p", step=1, decision=Decision(True, "fuse", ""), members=(), calling=CallContext("main"),
        main=ModelRef("fake", "main"), answers=answers, failures=failures, aggregation=found,
    )  # fmt: skip


def test_all_is_well() -> None:
    fused = Fused(counsel(), sources=(("https://x.org", ""), ("https://y.org", "Y"), ("https://x.org", "X")))
    result = json.loads(fused.text())
    assert list(result) == ["status", "analysis", "responses"] and result["status"] == "ok"
    # Fusion's five keys, and none of ours.
    assert list(result["analysis"]) == [
        "consensus",
        "contradictions",
        "partial_coverage",
        "unique_insights",
        "blind_spots",
    ]
    assert result["analysis"]["contradictions"][0] == ANALYSIS["contradictions"][0]
    assert result["responses"] == [
        {"model": "a/one", "content": "One says."},
        {"model": "b/two", "content": "Two says."},
    ]
    item = fused.item("f1")
    assert (item["type"], item["id"], item["status"]) == ("openrouter:fusion", "f1", "completed")
    assert {key: item[key] for key in ("analysis", "responses")} == {
        key: result[key] for key in ("analysis", "responses")
    }
    assert item["sources"] == [{"url": "https://x.org", "title": "X"}, {"url": "https://y.org", "title": "Y"}]
    assert not {"failed_models", "failure_reason", "error"} & set(item)


def test_some_fail() -> None:
    fused = Fused(counsel(failures=(failed("overloaded", 529), failed("timed_out"))))
    for found in (fused.tool_result(), fused.item("f1")):
        assert found["failed_models"] == [
            {"model": "c/three", "error": "overloaded: no luck", "status_code": 529},
            {"model": "c/three", "error": "timed_out: no luck"},
        ]
    assert fused.tool_result()["status"] == "ok"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (("not_valid_json", "x"), "judge_not_valid_json"),
        (("schema_mismatch", "x"), "judge_schema_mismatch"),
        (("overloaded", "x"), "judge_upstream_error"),
        (("timed_out", "x"), "judge_upstream_error"),
        (("empty_answer", "x"), "judge_empty_completion"),
    ],
)
def test_the_analyst_fails(error: tuple[str, str], reason: str) -> None:
    fused = Fused(counsel(found=Aggregation("raw", error=error)))
    result, item = fused.tool_result(), fused.item("f1")
    assert (result["status"], item["status"], item["failure_reason"]) == ("ok", "completed", reason)
    assert "analysis" not in result and "analysis" not in item and len(result["responses"]) == 2
    assert "failure_reason" not in result


def test_one_answer_is_not_compared_and_that_is_no_failure() -> None:
    item = Fused(counsel(ANSWERS[:1], found=Aggregation("raw"))).item("f1")
    assert item["status"] == "completed" and not {"analysis", "failure_reason"} & set(item)


@pytest.mark.parametrize(
    ("failures", "on_tool", "on_item"),
    [
        ((failed("overloaded"), failed("timed_out")), "all_panels_failed", "all_panels_failed"),
        ((failed("overloaded"), failed("payment_required", 402)), "insufficient_credits", "insufficient_credits"),
        ((failed("budget"),), "insufficient_credits", "insufficient_credits"),
        ((failed("overloaded"), failed("rate_limited", 429)), "rate_limited", "rate_limited"),
        # Undocumented: which of the two it is.
        (
            (failed("rate_limited", 429), failed("payment_required", 402)),
            "insufficient_credits",
            "insufficient_credits",
        ),
        ((failed("model_not_found", 404),), "all_panels_failed", "invalid_model"),
        ((failed("model_not_found", 404), failed("overloaded")), "all_panels_failed", "all_panels_failed"),
        ((failed("cancelled"),), "cancelled", "cancelled"),
        ((), "unexpected_error", "unexpected_error"),
    ],
)
def test_nobody_answers(failures: tuple[Failure, ...], on_tool: str, on_item: str) -> None:
    fused = Fused(counsel((), failures, None))
    result, item = fused.tool_result(), fused.item("f1")
    assert (result["status"], result["failure_reason"], set(result)) == (
        "error",
        on_tool,
        {"status", "error", "failure_reason"},
    )
    assert (item["status"], item["failure_reason"]) == ("incomplete", on_item)
    assert item["error"] and "responses" not in item


@pytest.mark.parametrize("reason", ["fusion_invocation_capped", "unexpected_error", "cancelled"])
def test_the_panel_is_not_asked(reason: str) -> None:
    result = Fused(reason=reason).tool_result()
    assert (result["status"], result["failure_reason"]) == ("error", reason) and result["error"]
    assert Fused(reason=reason, detail="because").tool_result()["error"] == "because"
