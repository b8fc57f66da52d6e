from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.llm.request import ToolSpec
from agent.tools.base import ToolError
from agent.tools.builtin import builtin_tools
from agent.tools.lib.validate import validate

SPEC = ToolSpec(
    "look",
    "",
    {
        "type": "object",
        "properties": {
            "path": {"type": "string"},
            "limit": {"type": "integer", "minimum": 1, "maximum": 10},
            "deep": {"type": "boolean"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "mode": {"type": "string", "enum": ["fast", "slow"]},
            "size": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "options": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
        },
        "required": ["path"],
        "additionalProperties": False,
    },
)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ('{"path": "a", "limit": 3}', {"path": "a", "limit": 3}),
        ('```json\n{"path": "a"}\n```', {"path": "a"}),
        ('"{\\"path\\": \\"a\\"}"', {"path": "a"}),
        ('{"path": "a"}}', {"path": "a"}),
        ("{'path': 'a', 'deep': True}", {"path": "a", "deep": True}),
        ('{"path": "line\nfeed"}', {"path": "line\nfeed"}),
        ('{"path": 7, "limit": "3", "deep": "True"}', {"path": "7", "limit": 3, "deep": True}),
        ('{"path": "a", "limit": 3.0, "tags": "one"}', {"path": "a", "limit": 3, "tags": ["one"]}),
        ('{"path": "a", "tags": "[\\"one\\", \\"two\\"]"}', {"path": "a", "tags": ["one", "two"]}),
        ('{"path": "a", "limit": null, "mode": "FAST", "size": null}', {"path": "a", "mode": "fast", "size": None}),
        ('{"path": "a", "options": "{\\"n\\": 1}"}', {"path": "a", "options": {"n": 1}}),
        ('{"path": "\\ud83d"}', {"path": "\ufffd"}),
    ],
)
def test_what_was_meant(text: str, meant: dict[str, Any]) -> None:
    assert validate(text, SPEC) == meant


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "",
            'look: the argument "path" is missing (a string). Expected: path (a string), limit (an integer, optional)',
        ),
        ('{"path": "a", "limit": 99}', 'the argument "limit" must be at most 10, not 99'),
        ('{"path": "a", "limit": "many"}', 'the argument "limit" must be an integer, not "many"'),
        ('{"path": "a", "limit": true}', 'the argument "limit" must be an integer, not true'),
        ('{"path": ["a"]}', 'the argument "path" must be a string, not ["a"]'),
        (
            '{"file_path": "a"}',
            'there is no argument "file_path" (did you mean "path"?); the argument "path" is missing',
        ),
        ('{"path": "a", "mode": "warp"}', 'the argument "mode" must be one of ["fast", "slow"], not "warp"'),
        ('{"path": "a", "options": {}}', 'the argument "options.n" is missing (an integer)'),
        ('{"path": "a", "size": "big"}', 'the argument "size" must be an integer or null, not "big"'),
        ("[1]", "the arguments must be a JSON object, not a list"),
        ('{"path": "a", limit: 1}', "no valid JSON: Expecting property name"),
        ('{"path": "a", "tags": ["on', "they were cut off before their end; send the whole call again"),
    ],
)
def test_what_is_wrong_is_said_exactly(text: str, said: str) -> None:
    with pytest.raises(ToolError) as caught:
        validate(text, SPEC)
    assert said in str(caught.value)


@given(st.text())
def test_any_text_is_arguments_or_an_error_for_the_model(text: str) -> None:
    for tool in builtin_tools():
        try:
            arguments = validate(text, tool.spec)
        except ToolError:
            continue
        assert set(tool.spec.parameters["required"]) <= set(arguments) <= set(tool.spec.parameters["properties"])


@given(
    st.fixed_dictionaries(
        {"path": st.text(st.characters(codec="utf-8"))}, optional={"limit": st.integers(1, 10), "deep": st.booleans()}
    )
)
def test_right_arguments_are_left_alone(arguments: dict[str, Any]) -> None:
    assert validate(json.dumps(arguments), SPEC) == arguments


KEYS = ("type", "properties", "required", "anyOf", "items", "enum", "minimum", "maximum", "minLength", "a")
ANY_SCHEMA = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=3), st.sampled_from(["string", "array"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)),
)


@given(st.dictionaries(st.sampled_from(KEYS), ANY_SCHEMA))
@example({"properties": {"a": True}, "required": ["a"]})
@example({"properties": {"a": {"type": 5, "minimum": "x", "minLength": "y", "anyOf": [5]}}, "required": 5})
@example({"properties": {"a": {"type": [["x"]]}, "n": {"type": "integer", "minimum": "x"}}})
def test_whatever_a_foreign_schema_says_nothing_breaks(schema: dict[str, Any]) -> None:
    for text in ('{"a": "x", "n": 3}', '{"a": [1, null]}', '{"a": {"a": 1}}', "{}"):
        with suppress(ToolError):
            validate(text, ToolSpec("look", "", schema))


def test_names_and_arguments_are_those_that_scripts_depend_on() -> None:
    assert {one.spec.name: list(one.spec.parameters["properties"]) for one in builtin_tools()} == {
        "read": ["path", "offset", "limit"],
        "write": ["path", "content"],
        "edit": ["path", "old", "new"],
        "glob": ["pattern", "path"],
        "grep": ["pattern", "path"],
        "shell": ["command", "timeout_s"],
    }
