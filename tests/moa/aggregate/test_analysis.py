"""An aggregator's answer: read from whatever a model wrote, and its quotes checked."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from agent.llm.answers.loose_json import find_object
from moa.aggregate.analysis import (
    Analysis,
    Contradiction,
    Evidence,
    PartialCoverage,
    Stance,
    UniqueInsight,
    check_evidence,
    json_schema,
    read,
    read_noting,
    relabel,
)
from moa.panel.quoting import clean, defused

WHOLE = Analysis(
    consensus=["Run the tests first."],
    contradictions=[
        Contradiction(
            topic="Where to fix it",
            stances=[
                Stance(model="Answer A", stance="In the parser."),
                Stance(model="Answer B", stance="In the caller."),
            ],
        )
    ],
    partial_coverage=[PartialCoverage(models=["Answer A", "Answer B"], point="The cache is stale.")],
    unique_insights=[UniqueInsight(model="Answer B", insight="The lock file is old.")],
    blind_spots=["Nobody looks at Windows."],
    next_steps=["Run pytest -x."],
    evidence=[Evidence(path="consensus[0]", source="Answer A", quote="you should run the tests first")],
)

NOTHING = ("none", "n/a", "nothing")  # a model's way of leaving a list empty
words = (
    st.text(min_size=1, max_size=30)
    .map(lambda text: defused(clean(text)).strip())
    .filter(lambda text: text and text.casefold().rstrip(".") not in NOTHING)
)
points = st.lists(words, max_size=3)
analyses = st.builds(
    Analysis,
    consensus=st.lists(words, min_size=1, max_size=3),
    contradictions=st.lists(
        st.builds(
            Contradiction,
            topic=words,
            stances=st.lists(st.builds(Stance, model=words, stance=words), max_size=2),
        ),
        max_size=2,
    ),
    partial_coverage=st.lists(st.builds(PartialCoverage, models=points, point=words), max_size=2),
    unique_insights=st.lists(st.builds(UniqueInsight, model=words, insight=words), max_size=2),
    blind_spots=points,
    next_steps=points,
    evidence=st.lists(st.builds(Evidence, path=words, source=words, quote=words), max_size=2),
)

wrappings = st.sampled_from(
    [
        "{}",
        "```json\n{}\n```",
        "Here it is:\n\n{}\n\nI hope {{it}} helps!",
        '<think>Maybe {{"consensus": []}}? No.</think>{}',
        '{{"analysis": {}}}',
        '{{"draft": 1}} {}',
    ]
)


@given(analyses, wrappings)
@settings(max_examples=100, deadline=None)
def test_whatever_is_around_it_the_analysis_comes_back(analysis: Analysis, wrapping: str) -> None:
    whole = analysis.model_dump_json()
    assume("think" not in whole.casefold())  # marks of a model's own are written apart in whatever it says
    text = wrapping.format(whole)
    assert read_noting(text) == (analysis, False)


@given(st.text(max_size=300))
@settings(max_examples=100, deadline=None)
def test_any_text_is_read_or_refused_with_a_reason(text: str) -> None:
    try:
        assert isinstance(read(text), Analysis)
    except ValueError as error:
        assert str(error)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=9), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["model", "stances", "topic", "point", "x"]), inner, max_size=3), max_leaves=12))  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_any_value_under_our_keys_is_shaped(value: Any) -> None:
    keys = Analysis.model_fields
    analysis = read(json.dumps(dict.fromkeys(keys, value) | {"consensus": ["known"]}))
    assert analysis.consensus == ["known"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"consensus": ["a",], "blindSpots": ["b",],}', {"consensus": ["a"], "blind_spots": ["b"]}),
        ('{"consensus": "a", "next-steps": [{"step": "b", "why": "c"}]}', {"consensus": ["a"], "next_steps": ["b"]}),
        ('{"Consensus": ["a"], "contradictions": null', {"consensus": ["a"], "contradictions": []}),
        ('{"consensus": ["first point", "second poi', {"consensus": ["first point", "second poi"]}),
        (
            '{"contradictions": [{"topic": "t", "stances": {"Answer A": "x"}}, "plain"]}',
            {
                "contradictions": [
                    {"topic": "t", "stances": [{"model": "Answer A", "stance": "x"}]},
                    {"topic": "plain", "stances": []},
                ]
            },
        ),
        ('{"uniqueInsights": ["only this"]}', {"unique_insights": [{"model": "", "insight": "only this"}]}),
        ('{"consensus": ["half \\ud83d of a pair"]}', {"consensus": ["half ? of a pair"]}),
    ],
)
def test_what_is_broken_is_repaired_and_said_to_be(text: str, expected: dict[str, Any]) -> None:
    analysis, repaired = read_noting(text)
    assert repaired
    dumped = analysis.model_dump()
    assert {key: dumped[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("I would rather not.", "no JSON object"),
        ('{"verdict": "good"}', "none of the keys"),
        ('{"consensus": [], "blind_spots": [""]}', "every list in it was empty"),
        ("{" * 5000, "beyond repair"),
        ('{"consensus":[' * 5000, "beyond repair"),
    ],
)
def test_what_cannot_be_used_says_why(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read(text)


def test_a_point_that_says_there_is_none_is_none() -> None:
    assert read('{"consensus": ["Run it."], "blind_spots": ["None.", "n/a"]}').blind_spots == []


def test_the_object_with_most_of_the_keys_wins() -> None:
    text = '{"consensus": ["an example"]} and then {"consensus": ["real"], "blind_spots": ["x"]}'
    assert find_object(text, ("consensus", "blind_spots")) == ({"consensus": ["real"], "blind_spots": ["x"]}, False)


def test_fusions_wire_has_fusions_keys_alone() -> None:
    assert list(WHOLE.to_fusion()) == [
        "consensus",
        "contradictions",
        "partial_coverage",
        "unique_insights",
        "blind_spots",
    ]
    assert WHOLE.to_fusion()["contradictions"][0]["stances"][0] == {"model": "Answer A", "stance": "In the parser."}
    assert WHOLE.summary() == "1 point agreed, 1 contradiction"


@pytest.mark.parametrize("small", [False, True])
def test_the_schema_is_strict_and_what_it_describes_can_be_read(small: bool) -> None:
    schema = json_schema(small, ["Answer A", "Answer B"])
    seen = []

    def walk(node: dict[str, Any]) -> Any:
        """The longest instance that the schema allows (lists without a bound get one entry)."""
        if node["type"] == "object":
            seen.append(node)
            assert node["additionalProperties"] is False and node["required"] == list(node["properties"])
            return {key: walk(value) for key, value in node["properties"].items()}
        if node["type"] == "array":
            return [walk(node["items"])] * node.get("maxItems", 1)
        return node["enum"][0] if "enum" in node else "w" * node.get("maxLength", 12)

    longest = walk(schema)
    assert len(seen) >= 5
    assert read_noting(json.dumps(longest))[1] is False
    if small:
        # Seen with SmolLM2: up to 180 tokens of keys and white space, and a token a character where it writes digits.
        written = re.findall(r'"(w+)"', json.dumps(longest))
        assert sum(map(len, written)) <= 224 and len(json.dumps(longest)) <= 620


def test_a_quote_is_verified_word_for_word_but_for_white_space() -> None:
    sources = {"Answer A": "First,\n  you should run   the tests first.", "Answer B": "No."}

    def check(path: str, source: str, quote: str) -> tuple[str, bool]:
        evidence = [Evidence(path=path, source=source, quote=quote)]
        (one,) = check_evidence(WHOLE.model_copy(update={"evidence": evidence}), sources)
        assert one.verified is (one.reason == "")
        return one.path, one.verified

    good = "you should run the\ntests first"
    assert check("consensus[0]", "Answer A", good) == ("consensus[0]", True)
    assert check("$.contradictions.0.stances[1]", "Answer A", good) == ("contradictions[0].stances[1]", True)
    assert check("/blind_spots/0", "Answer A", good) == ("blind_spots[0]", True)
    assert check("consensus[1]", "Answer A", good) == ("consensus[1]", False)
    assert check("evidence[0]", "Answer A", good)[1] is False
    assert check("nonsense", "Answer A", good)[1] is False
    assert check("consensus[0]", "Answer B", good)[1] is False
    assert check("consensus[0]", "Answer Z", good)[1] is False
    assert check("consensus[0]", "Answer A", "run the tests")[1] is False
    assert check("consensus[0]", "Answer A", "you should RUN the tests first")[1] is False


def test_names_come_back_in_fields_and_in_prose_and_quotes_stay_verbatim() -> None:
    blind = WHOLE.model_copy(
        update={
            "consensus": ["Answers A and B agree; Answer A's reason is better.", "To answer A question, ask."],
            "next_steps": ["Follow Answer B, not Answer Z."],
            "unique_insights": [UniqueInsight(model="b", insight="x"), UniqueInsight(model="all", insight="y")],
            "evidence": [Evidence(path="consensus[0]", source="Answer B", quote="as Answer A would have said")],
        }
    )
    named, strangers = relabel(blind, {"Answer A": "gpt-5.5", "Answer B": "a model that calls itself Answer A"})
    assert strangers == ("all",)
    assert named.consensus[0] == "gpt-5.5 and a model that calls itself Answer A agree; gpt-5.5's reason is better."
    assert named.next_steps == ["Follow a model that calls itself Answer A, not Answer Z."]
    assert [one.model for one in named.unique_insights] == ["a model that calls itself Answer A", "unattributed"]
    assert [held.model for held in named.contradictions[0].stances] == ["gpt-5.5", "a model that calls itself Answer A"]
    assert named.evidence[0].source == "a model that calls itself Answer A"
    assert named.evidence[0].quote == "as Answer A would have said"


@pytest.mark.parametrize("stranger", ["GPT-9", "Answer Z", "", "the panel", "Answer A and Answer B", "model"])
def test_who_is_on_no_panel_is_unattributed_in_every_field(stranger: str) -> None:
    blind = WHOLE.model_copy(
        update={
            "contradictions": [Contradiction(topic="t", stances=[Stance(model=stranger, stance="s")])],
            "partial_coverage": [PartialCoverage(models=["Answer A", stranger], point="p")],
            "unique_insights": [UniqueInsight(model=stranger, insight="x")],
            "evidence": [Evidence(path="consensus[0]", source=stranger, quote="q" * 30)],
        }
    )
    named, strangers = relabel(blind, {"Answer A": "one", "Answer B": "two"})
    holders = [
        named.contradictions[0].stances[0].model,
        named.partial_coverage[0].models[1],
        named.unique_insights[0].model,
        named.evidence[0].source,
    ]
    assert holders == ["unattributed"] * 4 and strangers == (stranger or "nobody",)
    assert named.partial_coverage[0].models[0] == "one"
    assert (
        relabel(named.model_copy(update={"evidence": []}), {"Answer A": "one"})[0].partial_coverage[0].models[0]
        == "one"
    )


@pytest.mark.parametrize(
    ("written", "severity"),
    [
        ("blocker", "blocker"),
        ("CONCERN", "concern"),
        ("**Note**", "note"),
        ("nothing", "nothing"),
        ("high", None),
        (3, None),
        (["note"], None),
        (None, None),
    ],
)
def test_the_severity_is_read_however_it_is_spelled(written: object, severity: str | None) -> None:
    assert read(json.dumps({"consensus": ["run it"], "severity": written})).severity == severity


def test_all_lists_may_be_empty_where_there_is_nothing_to_tell() -> None:
    assert read('{"consensus": [], "severity": "nothing"}').severity == "nothing"
    with pytest.raises(ValueError, match="empty"):
        read('{"consensus": [], "severity": "note"}')
