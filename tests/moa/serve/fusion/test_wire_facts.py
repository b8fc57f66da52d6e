"""Fusion's wire, fact by fact: each parameter with its range and default in both forms, each packaging on each wire, each reason of
failure, each event with its fields.

The sections are those of the vendor's pages as they were read (see moa/serve/fusion/parameters.py): 1.1 packagings, 1.2 parameters,
1.3 invocation (limits: test_lower.py), 1.4 result and reasons, 1.5 item, 1.6 events, 1.7 earlier calls (test_lower.py), 1.8 recursion and
cost (test_served.py). What is not a range but a shape of its own (`tools`, `reasoning`, `cache_control`) has more rows in test_parameters.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.errors import UsageError
from agent.llm.errors import EmptyAnswer, ModelError, ModelNotFound, Overloaded, PaymentRequired, RateLimited
from agent.llm.messages import ToolCallPart
from agent.llm.request import Request
from agent.llm.stream import ReasoningDelta
from moa.preset.preset import Preset
from moa.serve.fusion.encoders import encoder_for
from moa.serve.fusion.panel import preset_for
from moa.serve.fusion.parameters import Fusion, find_plugin, read_tool
from moa.serve.fusion.prepare import prepare
from moa.serve.fusion.results import Fused
from moa.serve.wires.registry import wire_named
from moa.store.store import load
from tests.moa.serve.fusion.test_results import counsel, failed
from tests.support.fusion import ASKS, FUSION, OUTER, PRESET, FusionBench
from tests.support.script import ANALYSIS

ENDPOINTS = ("openrouter", "fake")
QUALITY = ("~anthropic/claude-opus-latest", "~openai/gpt-latest", "~google/gemini-pro-latest")
WEB = [{"type": "openrouter:web_search"}, {"type": "openrouter:web_fetch"}]
WIRES = ("chat", "responses", "messages")


def shipped(name: str) -> Preset:
    return load(name, config_dir=Path("/nowhere"))


def read(form: str, **parameters: Any) -> Fusion:
    if form == "tool":
        return read_tool(parameters, "tools[0].parameters")
    found = find_plugin([{"id": "fusion", **parameters}])
    assert found is not None
    return found


def panel(form: str, **parameters: Any) -> Preset:
    outer = OUTER if form == "tool" else None
    return preset_for(read(form, **parameters), load=shipped, endpoints=ENDPOINTS, outer=outer)


def members(preset: Preset) -> tuple[str, ...]:
    return tuple(str(member.model).removeprefix("openrouter:") for member in preset.members)


def of_members(name: str) -> Any:
    return lambda preset: {getattr(member.reference, name) for member in preset.members}


def of_all(name: str) -> Any:
    """Of the panel and of the analyst."""
    return lambda preset: of_members(name)(preset) | {getattr(preset.aggregator, name)}


ANALYST = "the analyst"
BOTH, TOOL, PLUGIN = ("tool", "plugin"), ("tool",), ("plugin",)

# 1.2: the parameter, the forms that have it, what it is without being said, what it may be, with what that comes to, and what it may not.
PARAMETERS: dict[str, tuple[tuple[str, ...], Any, Any, list[tuple[Any, Any]], list[Any]]] = {
    "analysis_models": (
        BOTH, members, QUALITY,
        [(["a/b"], ("a/b",)), (["a/b"] * 8, ("a/b",) * 8), (["fake:x", "~a/b-latest"], ("fake:x", "~a/b-latest"))],
        [[], ["a/b"] * 9, "a/b", [1], [""], ["openrouter/fusion"], ["openrouter/fusion-flash"], ["fuse/p"], ["moa/p"]],
    ),
    "model": (
        BOTH, lambda preset: preset.deep, ANALYST,
        [("a/b", "openrouter:a/b"), ("fake:x", "fake:x")],
        ["", 7, ["a/b"], "openrouter/fusion", "fuse/p"],
    ),
    "preset": (
        PLUGIN, lambda preset: preset.name, "quality",
        [("general-high", "quality"), ("general-budget", "budget"), ("general-fast", "fast")],
        ["general-huge", "", 1],
    ),
    "max_tool_calls": (
        BOTH, of_all("max_tool_calls"), {4},
        [(1, {1}), (16, {16}), (4.0, {4})],
        [0, 17, -1, 1.5, "4", True],
    ),
    "max_completion_tokens": (
        TOOL, of_all("max_tokens"), {16_000},
        [(1, {1}), (200_000, {200_000})],
        [0, -1, 1.5, "9", float("inf"), False],
    ),
    "reasoning": (
        TOOL, of_all("reasoning"), {"low", None},  # as the preset has it; of the preset's own, the analyst's is its model's
        [
            *(({"effort": effort}, {effort}) for effort in ("max", "xhigh", "high", "medium", "low", "minimal", "none")),
            ({"max_tokens": 8_000}, {"medium"}), ({"max_tokens": 0}, {"none"}), ({}, {None}),
        ],
        [{"effort": "huge"}, {"max_tokens": -1}, {"enabled": True}, "high"],
    ),
    "temperature": (
        TOOL, of_members("temperature"), {None},
        [(0, {0.0}), (2, {2.0}), (0.7, {0.7})],
        [-0.1, 2.1, "0", True, float("nan")],
    ),
    "tools": (
        BOTH, of_members("tools"), {("web_search", "web_fetch")},
        [([], {()}), (WEB[:1], {("web_search",)}), (WEB[1:], {("web_fetch",)}), (WEB * 4, {("web_search", "web_fetch")})],
        [WEB * 5, "web", [{"type": "openrouter:fusion"}], [{"type": "function"}], [{}], [7]],
    ),
    "cache_control": (
        TOOL, members, QUALITY,
        [({"type": "ephemeral"}, QUALITY), ({"type": "ephemeral", "ttl": "5m"}, QUALITY), ({"type": "ephemeral", "ttl": "1h"}, QUALITY)],
        [{}, {"type": "x"}, {"type": "ephemeral", "ttl": "2h"}, "ephemeral"],
    ),
}  # fmt: skip
DEFAULT_ANALYST = {"tool": str(OUTER), "plugin": f"openrouter:{QUALITY[0]}"}


def rows(place: int) -> list[tuple[str, str, Any]]:
    return [(name, form, value) for name, row in PARAMETERS.items() for form in row[0] for value in row[place]]


@pytest.mark.parametrize("form", BOTH)
@pytest.mark.parametrize("name", PARAMETERS)
def test_a_default_and_null(name: str, form: str) -> None:
    _forms, seen, default, _good, _bad = PARAMETERS[name]
    expected = DEFAULT_ANALYST[form] if default is ANALYST else default
    assert seen(panel(form)) == expected
    assert seen(panel(form, **{name: None})) == expected


@pytest.mark.parametrize(("name", "form", "row"), rows(3))
def test_what_a_parameter_may_be(name: str, form: str, row: tuple[Any, Any]) -> None:
    value, expected = row
    preset = panel(form, **{name: value})
    assert PARAMETERS[name][1](preset) == expected
    assert (preset.aggregator.temperature, preset.layers, preset.quorum) == (0.0, 1, None), "whatever a request says"


@pytest.mark.parametrize(("name", "form", "value"), rows(4))
def test_what_a_parameter_may_not_be(name: str, form: str, value: Any) -> None:
    with pytest.raises(UsageError, match=rf"(parameters|plugins\[0\]|the request)\.{name}\b") as caught:
        panel(form, **{name: value})
    assert caught.value.kind == "invalid_request" and caught.value.remedy


@pytest.mark.parametrize(
    ("name", "form"),
    [*((name, form) for name, row in PARAMETERS.items() for form in BOTH if form not in row[0]), ("enabled", "tool")],
)
def test_a_parameter_of_the_other_form_is_named(name: str, form: str) -> None:
    with pytest.raises(UsageError, match=rf"\.{name} is a parameter of the (plugin|server tool)"):
        read(form, **{name: True if name == "enabled" else PARAMETERS[name][3][0][0]})


@pytest.mark.parametrize("form", BOTH)
def test_a_parameter_that_nobody_knows_is_named(form: str) -> None:
    with pytest.raises(UsageError, match=r"\.quorum is not known"):
        read(form, quorum=2)


# 1.1: who answers, whose panel is offered, who analyses.

FLASH = {"id": "fusion", "preset": "general-budget"}


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    ("model", "body", "writer", "analyst", "offered"),
    [
        ("openrouter/fusion", {}, QUALITY[0], QUALITY[0], "quality"),
        ("openrouter/fusion:free", {}, QUALITY[0], QUALITY[0], "quality"),
        ("openrouter/fusion-flash", {}, "members", "members", "fast"),
        ("openrouter/fusion-flash:free", {}, "members", "members", "fast"),
        ("openrouter/fusion-flash", {"plugins": [FLASH]}, QUALITY[0], QUALITY[0], "budget"),
        ("openrouter/fusion", {"plugins": [{"id": "fusion", "model": "a/b"}]}, "a/b", "a/b", "quality"),
        ("x/y", {"plugins": [{"id": "fusion"}]}, None, str(OUTER), "quality"),
        ("x/y", {"plugins": [{"id": "fusion", "model": "a/b"}]}, None, "a/b", "quality"),
        ("x/y", {"plugins": [{"id": "fusion", "enabled": True}]}, None, str(OUTER), "quality"),
        ("x/y", {"tools": [{"type": "openrouter:fusion"}]}, None, str(OUTER), "quality"),
        ("x/y", {"tools": [{"type": "openrouter:fusion", "parameters": {"model": "a/b"}}]}, None, "a/b", "quality"),
        ("x/y", {"plugins": [{"id": "fusion", "enabled": False}]}, None, None, None),
        ("openrouter/fusion", {"plugins": [{"id": "fusion", "enabled": False}]}, QUALITY[0], None, None),
        ("x/y", {}, None, None, None),
    ],
)  # fmt: skip
def test_a_packaging(
    wire: str, model: str, body: dict[str, Any], writer: str | None, analyst: str | None, offered: str | None
) -> None:
    words = {"input" if wire == "responses" else "messages": [{"role": "user", "content": "Should we?"}]}
    found = prepare(wire, {"model": model, **words, **body}, model=model, load=shipped, endpoints=ENDPOINTS)
    first = str(shipped("fast").members[0].model)
    named = {"members": first, None: None, str(OUTER): str(OUTER)}
    assert found.main == named.get(writer, f"openrouter:{writer}")
    assert "plugins" not in found.body and [tool.type for tool in found.lowered.tools] == (
        ["openrouter:fusion"] if offered else []
    )
    for tool in found.lowered.tools:
        asked = preset_for(tool.fusion, load=shipped, endpoints=ENDPOINTS, outer=None if found.routed else OUTER)
        assert (asked.name, asked.deep) == (offered, named.get(analyst, f"openrouter:{analyst}"))


# 1.4: the reasons, each from what really happens. The result is what the model sees; the Responses item knows more words.

TWO: dict[str, type[ModelError]] = {"402": PaymentRequired, "404": ModelNotFound, "429": RateLimited, "529": Overloaded}
PROSE = "I think that both are right."


def errors(one: str, two: str) -> dict[str, Any]:
    return {
        f"fake:{name}": [TWO[code]("no luck", status=int(code))]
        for name, code in zip(("one", "two"), (one, two), strict=True)
    }


@pytest.mark.parametrize(
    ("script", "status", "on_tool", "on_item"),
    [
        (errors("529", "529"), "error", "all_panels_failed", "all_panels_failed"),
        (errors("529", "402"), "error", "insufficient_credits", "insufficient_credits"),
        (errors("529", "429"), "error", "rate_limited", "rate_limited"),
        (
            errors("429", "402"),
            "error",
            "insufficient_credits",
            "insufficient_credits",
        ),  # which of both is undocumented
        (errors("404", "404"), "error", "all_panels_failed", "invalid_model"),
        (errors("404", "529"), "error", "all_panels_failed", "all_panels_failed"),
        ({"fake:judge": [PROSE]}, "ok", None, "judge_not_valid_json"),
        ({"fake:judge": ['{"verdict": "both"}']}, "ok", None, "judge_schema_mismatch"),
        ({"fake:judge": [Overloaded("busy", status=529)]}, "ok", None, "judge_upstream_error"),
        ({"fake:judge": ['{"consensus": []}']}, "ok", None, "judge_schema_mismatch"),
        ({"fake:judge": [EmptyAnswer("it wrote nothing")]}, "ok", None, "judge_empty_completion"),
        ({}, "ok", None, None),
    ],
)
def test_a_reason_of_failure(script: Any, status: str, on_tool: str | None, on_item: str | None) -> None:
    bench = FusionBench([ASKS, "Yes."], script)
    assert bench.run(bench.prepared(FUSION)).message.text == "Yes.", "the model that asked goes on by itself"
    result = json.loads(bench.to("outer")[1].messages[-1].text)
    item = bench.served.calls[0].item()
    assert (result["status"], result.get("failure_reason")) == (status, on_tool)
    assert (item["status"], item.get("failure_reason")) == ("completed" if status == "ok" else "incomplete", on_item)
    if status == "error":
        assert result.keys() == {"status", "error", "failure_reason"} and result["error"] == item["error"] != ""
        assert [each["model"] for each in item["failed_models"]] == ["fake:one", "fake:two"]
    else:
        assert [each["content"] for each in result["responses"]] == ["One says.", "Two says."]
        assert ("analysis" in result, "analysis" in item) == (on_item is None, on_item is None), (
            "left out, and not null"
        )


class Goes:
    """A preset that can be read once, and then is gone from the disk."""

    def __init__(self) -> None:
        self.reads = 0

    def __call__(self, _name: str) -> Preset:
        self.reads += 1
        if self.reads > 1:
            raise UsageError("there is no preset", remedy="make one")
        return PRESET


@pytest.mark.parametrize("reason", ["fusion_invocation_capped", "unexpected_error", "cancelled"])
def test_a_reason_why_nobody_was_asked(reason: str) -> None:
    bench = FusionBench([ASKS, ASKS, "Yes."] if reason == "fusion_invocation_capped" else [ASKS, "Yes."])
    if reason == "cancelled":
        fused = Fused(counsel((), (failed("cancelled"),), None))
        assert (fused.tool_result()["failure_reason"], fused.item("f")["failure_reason"]) == (reason, reason)
        return
    prepared = bench.prepared(FUSION)
    if reason == "unexpected_error":
        bench.tools.load = Goes()
    bench.run(prepared)
    result = json.loads(bench.to("outer")[-1].messages[-1].text)
    assert (result["status"], result["failure_reason"]) == ("error", reason) and result["error"]
    assert bench.served.calls[-1].item()["status"] == "incomplete"


# 1.6: the events, each with what it has to carry.

COMMON = {"type", "item_id", "output_index", "sequence_number"}
EVENTS: dict[str, set[str]] = {
    "in_progress": set(),
    "panel.added": {"model"},
    "panel.delta": {"model", "delta"},
    "panel.reasoning.delta": {"model", "delta"},
    "panel.completed": {"model", "content"},
    "panel.failed": {"model", "error", "status_code"},
    "analysis.in_progress": {"analyst_model", "judge_model"},
    "analysis.completed": {"analysis"},
    "completed": set(),
}


@pytest.fixture
def told() -> list[dict[str, Any]]:
    """The fusion events of a panel of three, of which one thinks aloud and one fails."""
    script = {"fake:two": [Overloaded("busy", status=529)], "fake:three": "Three says."}
    bench = FusionBench([ASKS, "Yes."], script)
    stream_of = bench.client.stream

    async def thinking(request: Request, context: Any, *, hold: Any = None) -> Any:
        async for event in stream_of(request, context, hold=hold):
            if getattr(event, "text", "") == "Three says.":
                yield ReasoningDelta("Hm.")
            yield event

    bench.client.stream = thinking  # type: ignore[assignment, method-assign]
    three = {**FUSION["parameters"], "analysis_models": ["fake:one", "fake:two", "fake:three"]}
    bench.run(bench.prepared({**FUSION, "parameters": three}))
    encoder = encoder_for("responses", wire_named("responses").encoder("x", {}), bench.served)
    data = encoder.start() + b"".join(encoder.feed(event) for event in bench.events[:-1])
    said = [json.loads(line[6:]) for line in data.decode().splitlines() if line.startswith("data: {")]
    assert [event["sequence_number"] for event in said] == list(range(len(said)))
    return [event for event in said if event["type"].startswith("response.fusion_call.")]


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_and_its_fields(told: list[dict[str, Any]], name: str) -> None:
    found = [event for event in told if event["type"] == f"response.fusion_call.{name}"]
    assert found and all(set(event) == COMMON | EVENTS[name] for event in found)
    assert {(event["item_id"], event["output_index"]) for event in found} == {(ASKS.message.tool_calls[0].id, 0)}
    if name == "analysis.in_progress":
        assert found[0]["analyst_model"] == found[0]["judge_model"] == "fake:judge"
    if name == "analysis.completed":
        analysis = found[0]["analysis"]
        assert tuple(analysis) == FIVE, "all five, and none of ours"
        assert analysis["consensus"] == ANALYSIS["consensus"]
        assert analysis["contradictions"][0].keys() == {"topic", "stances"}
        assert analysis["contradictions"][0]["stances"][0] == {"model": "one", "stance": "with the notes"}
        assert analysis["partial_coverage"][0].keys() == {"models", "point"}
        assert analysis["unique_insights"][0].keys() == {"model", "insight"}


FIVE = ("consensus", "contradictions", "partial_coverage", "unique_insights", "blind_spots")


def test_the_order_of_the_events(told: list[dict[str, Any]]) -> None:
    names = [event["type"].removeprefix("response.fusion_call.") for event in told]
    assert set(names) == set(EVENTS), "no other, and each of them"
    assert names[0] == "in_progress" and names[-3:] == ["analysis.in_progress", "analysis.completed", "completed"]
    for model in ("fake:one", "fake:two", "fake:three"):
        own = [name for name, event in zip(names, told, strict=True) if event.get("model") == model]
        last = "panel.failed" if model == "fake:two" else "panel.completed"
        assert (own[0], own[-1]) == ("panel.added", last)
        assert {*own[1:-1]} <= {"panel.delta", "panel.reasoning.delta"}


def test_a_failed_member_without_a_status_has_none() -> None:
    """`status_code` is there only where there was one: a member that timed out got no answer."""
    item = Fused(counsel(failures=(failed("timed_out"),))).item("f")
    assert item["failed_models"] == [{"model": "c/three", "error": "timed_out: no luck"}]


# 1.5: the item.


def test_an_item_from_its_beginning(told: list[dict[str, Any]]) -> None:
    call = ToolCallPart(id="f1", name="openrouter_fusion", arguments="{}")
    begun = Fused(counsel()).item("f1", status="in_progress")
    assert (begun["type"], begun["id"], begun["status"]) == ("openrouter:fusion", call.id, "in_progress")
    known = {"type", "id", "status", "analysis", "responses", "failed_models", "failure_reason", "error", "sources"}
    for fused in (Fused(counsel()), Fused(counsel((), (failed("overloaded", 529),), None)), Fused(reason="cancelled")):
        item = fused.item("f1")
        assert item.keys() <= known and item["status"] in ("completed", "incomplete")
