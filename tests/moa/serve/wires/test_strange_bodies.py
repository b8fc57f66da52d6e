"""Bodies in which anything may stand anywhere are read, or refused by name; nothing else happens."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moa.serve.wires.registry import wire_named
from moa.serve.wires.wire import Unsayable
from tests.moa.serve.wires.test_features import FEATURES, body
from tests.support.crossing import PAIRS, WIRES, Crossing

ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    "",
    "x",
    [],
    [None],
    ["x"],
    [[]],
    {},
    {"type": "text"},
    {"type": 5},
    {"x": {}},
    [{"type": []}],
]
SAID = {wire: [body(wire, **feature.said[wire]) for feature in FEATURES if wire in feature.said] for wire in WIRES}


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a body."""
    found = [path] if path else []
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        found += places(item, (*path, key))
    return found


def put(value: Any, path: tuple[Any, ...], odd: Any) -> Any:
    """The body with something else in one place."""
    changed = copy.deepcopy(value)
    at = changed
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = odd
    return changed


@settings(max_examples=150, deadline=None)
@given(data=st.data(), pair=st.sampled_from(PAIRS))
def test_anything_anywhere(data: st.DataObject, pair: tuple[str, str]) -> None:
    wire, dialect = pair
    asked = data.draw(st.sampled_from(SAID[wire]))
    asked = put(asked, data.draw(st.sampled_from(places(asked))), data.draw(st.sampled_from(ODD)))
    check(wire, dialect, asked)


@pytest.mark.slow
@pytest.mark.parametrize(("wire", "dialect"), PAIRS)
def test_each_odd_thing_in_each_place(wire: str, dialect: str) -> None:
    for asked in SAID[wire]:
        for path in places(asked):
            for odd in ODD:
                check(wire, dialect, put(asked, path, odd))


def check(wire: str, dialect: str, asked: dict[str, Any]) -> None:
    crossing = Crossing(wire, dialect)
    try:
        sent = crossing.upstream(asked)
    except Unsayable as refusal:
        assert refusal.param and refusal.message
    else:
        json.dumps(sent)
    encoder = wire_named(wire).encoder("main", asked)
    assert encoder.start() + encoder.fail(ValueError())
