"""The reader of foreign JSON: what it takes can be used everywhere, and what it refuses is a ValueError."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.llm.answers.loose_json import find_object
from agent.llm.answers.reading import first_object
from agent.llm.dialects.history import arguments_object, valid_arguments
from agent.llm.request import ToolSpec
from agent.text.foreign_json import MOST_DEPTH, MOST_DIGITS, ForeignJsonError, decode_at, kept, loads, within_bounds
from agent.tools.base import ToolError
from agent.tools.lib.validate import validate

NESTED = '{"a":' * 900 + "1" + "}" * 900
LISTS = '{"a": ' + "[" * 700 + "]" * 700 + "}"
DIGITS = '{"a": ' + "9" * 5000 + "}"
TOOL = ToolSpec("t", "", {"type": "object", "properties": {"a": {"type": "integer"}}})
FOREIGN = [
    NESTED,
    LISTS,
    DIGITS,
    '{"a": 1e999}',
    '{"a": NaN}',
    '{"a": -Infinity}',
    '{"a": ' + "9" * (MOST_DIGITS + 1) + "}",
]


@pytest.mark.parametrize("text", [*FOREIGN, "", "{", '{"a": 1} 2', b"\xff\xfe{\x00}\x00"])
def test_what_is_beyond_the_bounds_is_refused(text: str | bytes) -> None:
    with pytest.raises(ForeignJsonError):
        loads(text, tolerant=False)


@pytest.mark.parametrize("text", FOREIGN)
def test_each_use_keeps_what_is_refused_as_text(text: str) -> None:
    assert arguments_object(text) == {"unreadable_arguments": text}
    assert json.loads(valid_arguments(text)) == {"unreadable_arguments": text}
    found = first_object(text)
    assert found is not None
    assert within_bounds(found), "an answer is not lost for one odd field"
    with pytest.raises(ToolError):
        validate(text, TOOL)
    try:
        found, _ = find_object(text, ["a"])
    except ValueError:
        pass
    else:
        assert within_bounds(found)


def test_the_bounds_themselves_are_within() -> None:
    deep = "[" * MOST_DEPTH + "]" * MOST_DEPTH
    assert within_bounds(loads(deep))
    with pytest.raises(ForeignJsonError, match="deeper than"):
        loads(f"[{deep}]")
    assert float(loads("9" * MOST_DIGITS)) > 1e299
    assert loads("[" + "[]," * 500 + "1]")[-1] == 1
    assert loads(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}
    assert loads('{"logprob": -Infinity, "b": NaN}') == {"logprob": None, "b": None}
    assert decode_at('x{"a": "1\n2"} rest', 1, strict=False) == ({"a": "1\n2"}, 13)
    with pytest.raises(ForeignJsonError, match="longer than"):
        loads('"' + "a" * 50 + '"', most=50)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_whatever_is_sound_is_read_as_the_library_reads_it(value: Any) -> None:
    text = json.dumps(value)
    assert loads(text) == json.loads(text) == copy.deepcopy(value)
    assert within_bounds(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (DIGITS, {"a": "9" * 5000}),
        ('{"a": 1e999, "b": 1}', {"a": "1e999", "b": 1}),
        ('{"a": NaN}', {"a": None}),
        ('{"a": "[{\\"[["} rest', {"a": '[{"[['}),
    ],
)
def test_what_is_kept_stands_as_its_text(text: str, expected: Any) -> None:
    assert kept(text) == expected
    assert kept(f"x {text}", 2) == expected


def test_what_is_nested_too_deeply_is_kept_as_its_text() -> None:
    for levels in (MOST_DEPTH, 200, 900, 100_000):
        text = '{"before": 1, "a": ' + "[" * levels + '"]"' + "]" * levels + ', "after": "]"}'
        value = kept(text + " and more")
        assert within_bounds(value)
        assert (value["before"], value["after"]) == (1, "]")
        inner, depth = value["a"], 0
        while isinstance(inner, list):
            inner, depth = inner[0], depth + 1
        rest = inner.strip("[]").strip('"') if depth < levels else inner
        assert depth + inner.count("[") == levels
        assert rest == "]" or inner.endswith('"]"' + "]" * (levels - depth))
    for cut in ("[" * 300, '{"a": ' * 200 + '"x'):
        with pytest.raises(ForeignJsonError):
            kept(cut)
