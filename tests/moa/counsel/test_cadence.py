from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.llm.money import Total
from moa.counsel.cadence import Receipts, decide, decide_stop
from moa.preset.cadence import Cadence

SIGNALS = st.lists(st.sampled_from(["tool_error", "same_result"]), unique=True)


def taken(cadence: str, calls: int, signals: dict[int, str] | None = None) -> list[int]:
    """The calls (from 0) of a turn before which counsel is taken."""
    found: list[int] = []
    since = 0
    for call in range(calls):
        now = (signals or {}).get(call)
        decision = decide(Cadence.parse(cadence), first=not found, since=since, signals=(now,) if now else ())  # type: ignore[arg-type]
        since += 1
        if decision.take:
            found.append(call)
            since = 1
    return found


def test_each_cadence_takes_counsel_when_it_says() -> None:
    assert taken("iteration", 4) == [0, 1, 2, 3]
    assert taken("turn", 4) == [0]
    assert taken("every:3", 8) == [0, 3, 6]
    assert taken("every:1", 3) == [0, 1, 2]
    assert taken("signal", 6) == [0]
    assert taken("signal", 6, {2: "tool_error", 4: "same_result"}) == [0, 2, 4]


@given(
    cadence=st.sampled_from(["iteration", "turn", "every:2", "every:7", "signal"]),
    signals=SIGNALS,
    since=st.integers(0, 99),
)
def test_a_turns_first_call_always_has_counsel_and_every_decision_a_reason(
    cadence: str, signals: list[str], since: int
) -> None:
    when = Cadence.parse(cadence)
    assert decide(when, first=True, since=since, signals=tuple(signals)).trigger == "turn_start"  # type: ignore[arg-type]
    assert decide(when, first=False, since=since, signals=tuple(signals)).reason  # type: ignore[arg-type]
    assert str(when) == cadence


@pytest.mark.parametrize("text", ["", "every", "every:", "every:0", "every:-1", "every:x", "every:²", "turn:2", "Turn"])
def test_anything_else_is_no_cadence(text: str) -> None:
    with pytest.raises(ValueError, match="not a cadence"):
        Cadence.parse(text)


def test_a_draft_is_held_back_once_and_only_where_something_was_written() -> None:
    signal = Cadence("signal")
    assert decide_stop(signal, wrote=True, held=False).take
    assert not decide_stop(signal, wrote=False, held=False).take
    assert not decide_stop(signal, wrote=True, held=True).take
    assert not decide_stop(Cadence("iteration"), wrote=True, held=False).take


def test_a_receipt_says_what_leaving_counsel_out_saved() -> None:
    receipts = Receipts()
    yes, no = decide(Cadence("turn"), first=True, since=0), decide(Cadence("turn"), first=False, since=1)
    assert receipts.skipped("t", 1, no).saved_s is None
    receipts.taken("t", 1, yes, Total(3_000, 1), 2.0)
    receipts.taken("t", 2, yes, Total(1_000, 1), 4.0)
    saved = receipts.skipped("t", 3, no)
    assert (saved.saved_nano, saved.saved_s) == (2_000, 3.0)
    assert "saved" in str(saved) and saved.as_json()["taken"] is False
    # A counsel of unknown cost does not count as a cheap one.
    receipts.taken("t", 4, yes, Total(0, 0, 1), 3.0)
    assert receipts.skipped("t", 5, no).saved_nano == 2_000
