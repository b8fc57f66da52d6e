"""Requests as real clients make them: which of them are side calls."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from moa.serve.counsel.side_calls import SHAPES, known_shape, program, why_side_call
from moa.serve.guidance import anchors
from moa.serve.guidance.wires import wire_of

RECORDED = sorted((Path(__file__).parents[2] / "data" / "side_calls").glob("*.json"))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_recorded_requests(path: Path) -> None:
    """`…_step` is one of the loop; the others are side calls, known by their shape alone."""
    recorded = json.loads(path.read_text())
    wire, body, client = wire_of(recorded["wire"]), recorded["body"], recorded["client"]
    reading = anchors.read(wire, wire.items(body))
    shape = known_shape(body, reading, client)
    if path.stem.endswith("_step"):
        assert shape is None and why_side_call(body, reading, client, lambda: True) is None
        assert why_side_call({**body, "tools": []}, reading, client, lambda: True) is not None
        return
    assert shape is not None and path.stem.rpartition("_")[2] in shape.what
    assert shape.seen in client or program(client) in ("openai", "python")
    assert why_side_call(body, reading, client, lambda: False) == f"a side call: {shape.what}"
    assert known_shape(body, reading, "somebody/1.0") is None


def test_each_shape_has_its_recorded_request() -> None:
    assert len(SHAPES) == len([path for path in RECORDED if not path.stem.endswith("_step")])
