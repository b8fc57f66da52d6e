"""Answers of a panel, for tests of what becomes of them."""

from __future__ import annotations

from moa.panel.outcome import Answer


def answer(text: str, model: str = "test:alpha", *, slot: str = "r1", step: int = 1, **more: object) -> Answer:
    """One member's advice; `model` is ENDPOINT:MODEL, served as asked for."""
    served = model.partition(":")[2]
    return Answer(slot, model, served, text, f"call-{slot}", step, **more)  # type: ignore[arg-type]


def three(step: int = 1) -> list[Answer]:
    """Three models that differ."""
    return [
        answer("You should run the tests first, then fix the parser.", "test:alpha", slot="r1", step=step),
        answer("Fix the caller. You should run the tests first.", "test:beta", slot="r2", step=step),
        answer("The lock file is older than the manifest, look there.", "test:gamma", slot="r3", step=step),
    ]
