"""Caps: what one refuses and says, and that no order of events, in one process or several, takes one over."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.ledger.book import Ledger
from agent.llm.accounting import Bound, CallContext, Cap, Settlement
from agent.llm.errors import BudgetReached
from agent.llm.money import Total
from agent.llm.request import ModelRef
from agent.llm.stream import Usage
from tests.support.databases import place

MODEL = ModelRef("e", "m")
DOLLAR = 1_000_000_000
ROOT = Path(__file__).parents[3]  # where a child finds this file


class Clock:
    def __init__(self, *local: int) -> None:
        self.now = time.mktime((*local, 0, 0, 0, -1)[:9])

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ledger(tmp_path: Path):
    ledger = Ledger(place(tmp_path / "ledger.db"))
    yield ledger
    ledger.close()


def asks(*caps: Cap, **ids) -> CallContext:
    return replace(CallContext("main", session="s", run="r", turn="t", caps=caps), **ids)


def test_a_refusal_names_the_cap_and_says_what_is_spent_held_left_and_needed(ledger: Ledger) -> None:
    context = asks(
        Cap("session", "session_usd", nano=100 * DOLLAR),
        Cap("turn", "[budget] turn_usd in config.toml", nano=DOLLAR // 2),
    )
    spent = ledger.reserve(MODEL, context, Bound(1, 1, DOLLAR // 4))
    ledger.settle(spent, Settlement("done", cost_nano=DOLLAR // 5, cost_source="reply"))
    ledger.reserve(MODEL, context, Bound(1, 1, DOLLAR // 10))
    with pytest.raises(BudgetReached) as refused:
        ledger.reserve(MODEL, context, Bound(1, 1, DOLLAR // 4))
    assert refused.value.cap == "[budget] turn_usd in config.toml"
    assert refused.value.message == (
        "[budget] turn_usd in config.toml leaves no room for this call: limit $0.500 for this turn, spent $0.200, "
        "held for calls under way $0.100, left $0.200, needed at most $0.250"
    )
    assert "raise [budget] turn_usd in config.toml" in refused.value.remedy
    assert len(ledger.calls()) == 1  # the refusal wrote nothing


def test_tokens_are_capped_likewise(ledger: Ledger) -> None:
    context = asks(Cap("turn", "turn_tokens", tokens=2_000))
    ledger.settle(
        ledger.reserve(MODEL, context, Bound(900, 600, None)), Settlement("done", Usage(prompt=700, completion=300))
    )
    ledger.reserve(MODEL, context, Bound(900, 100, None))
    with pytest.raises(
        BudgetReached, match=r"limit 2,000 tokens for this turn, spent 1,000 tokens.* needed at most 1 tokens"
    ):
        ledger.reserve(MODEL, context, Bound(1, 0, None))


def test_a_dollar_cap_on_an_unpriced_model_needs_a_token_cap(ledger: Ledger) -> None:
    unpriced = Bound(10, 10, None)
    dollars, tokens = Cap("turn", "turn_usd", nano=DOLLAR), Cap("share", "the preset's turn_tokens", tokens=30)
    with pytest.raises(BudgetReached, match="turn_usd can't be kept") as refused:
        ledger.reserve(MODEL, asks(dollars), unpriced)
    assert "set a cap on tokens" in refused.value.remedy
    with pytest.raises(BudgetReached, match="can't be kept"):
        ledger.reserve(MODEL, asks(dollars, tokens), unpriced)  # a share's cap does not hold for a call outside of it
    ledger.reserve(MODEL, asks(dollars, tokens, share="counsel"), unpriced)
    with pytest.raises(BudgetReached, match="the preset's turn_tokens leaves no room"):
        ledger.reserve(MODEL, asks(dollars, tokens, share="counsel"), unpriced)
    ledger.reserve(MODEL, asks(), unpriced)  # no cap, no question


def test_a_used_up_dollar_cap_stops_unpriced_calls_but_not_free_ones(ledger: Ledger) -> None:
    context = asks(Cap("turn", "turn_usd", nano=100), Cap("turn", "turn_tokens", tokens=1_000))
    ledger.reserve(MODEL, context, Bound(1, 1, 100))
    ledger.reserve(MODEL, context, Bound(1, 1, 0))
    with pytest.raises(BudgetReached, match="an amount that is not known"):
        ledger.reserve(MODEL, context, Bound(1, 1, None))


@pytest.mark.parametrize(
    ("scope", "elsewhere"),
    [
        ("run", {"run": "r2"}),
        ("turn", {"turn": "t2"}),
        ("session", {"session": "s2"}),
        ("share", {"turn": "t2"}),
        ("share", {"share": "x"}),
    ],
)
def test_a_cap_counts_its_own_scope_alone(ledger: Ledger, scope, elsewhere) -> None:
    context = asks(Cap(scope, "the cap", nano=10), share="counsel")
    ledger.reserve(MODEL, context, Bound(1, 1, 10))
    with pytest.raises(BudgetReached):
        ledger.reserve(MODEL, context, Bound(1, 1, 1))
    ledger.reserve(MODEL, replace(context, **elsewhere), Bound(1, 1, 10))


def test_a_day_is_a_local_day_across_all_sessions(tmp_path: Path) -> None:
    clock = Clock(2026, 11, 1, 23, 59)
    ledger = Ledger(place(tmp_path / "l.db"), clock=clock)
    cap = Cap("day", "day_usd", nano=10)
    held = ledger.reserve(MODEL, asks(cap, session="a"), Bound(1, 1, 4))
    ledger.reserve(MODEL, asks(cap, session="b"), Bound(1, 1, 6))
    with pytest.raises(BudgetReached):
        ledger.reserve(MODEL, asks(cap, session="c"), Bound(1, 1, 1))
    clock.now += 120
    ledger.adjust(held, asks(cap), Bound(1, 1, 4))  # goes out today, counts today
    with pytest.raises(BudgetReached, match=r"left \$0.000000006"):
        ledger.reserve(MODEL, asks(cap), Bound(1, 1, 7))
    ledger.reserve(MODEL, asks(cap), Bound(1, 1, 6))


def test_calls_that_belong_to_no_turn_share_a_cap_with_those_of_this_process_alone(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    script = "import sys; from tests.agent.ledger.test_ledger_caps import *; from tests.support.databases import where; Ledger(where(sys.argv[1])).reserve(MODEL, asks(turn=''), Bound(1, 1, 10))"
    subprocess.run([sys.executable, "-c", script, str(place(path))], check=True, cwd=ROOT)
    ledger, context = Ledger(place(path)), asks(Cap("turn", "turn_usd", nano=10), turn="")
    ledger.reserve(MODEL, context, Bound(1, 1, 10))
    with pytest.raises(BudgetReached):
        ledger.reserve(MODEL, context, Bound(1, 1, 1))


def test_an_adjusted_hold_obeys_the_caps_and_stays_as_it_was_when_refused(ledger: Ledger) -> None:
    context = asks(Cap("turn", "turn_usd", nano=100))
    hold = ledger.reserve(MODEL, context, Bound(1, 1, 60))
    ledger.adjust(hold, context, Bound(1, 1, 100))
    ledger.adjust(hold, context, Bound(1, 1, 70))
    ledger.reserve(MODEL, context, Bound(1, 1, 30))
    with pytest.raises(BudgetReached, match=r"left \$0.000000070, needed at most \$0.000000071"):
        ledger.adjust(hold, context, Bound(1, 1, 71))
    ledger.sent(hold)
    assert [(row.id, row.reserved_nano) for row in ledger.calls()] == [(hold, 70)]
    with pytest.raises(BudgetReached):
        ledger.reserve(MODEL, context, Bound(1, 1, 1))


# Steps of calls that are under way side by side: (which call, what happens, how much, of which turn).
STEPS = st.lists(
    st.tuples(
        st.integers(0, 7),
        st.sampled_from(["reserve", "reserve", "adjust", "sent", "done", "cancelled", "refused", "release"]),
        st.integers(0, 60),
        st.sampled_from(["t1", "t2"]),
    ),
    max_size=50,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(STEPS, st.integers(0, 150), st.integers(0, 250))
def test_no_interleaving_takes_a_cap_over_and_none_is_refused_while_there_is_room(steps, turn_cap, session_cap) -> None:
    caps = (Cap("turn", "turn", nano=turn_cap), Cap("session", "session", nano=session_cap, tokens=2 * session_cap))
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(place(Path(folder) / "l.db"))
        seats: dict[int, tuple[str, str]] = {}  # call id and turn of each call that is open
        counts: dict[str, tuple[str, int]] = {}  # what should count: turn and amount, by call id
        sent: set[str] = set()

        def fits(turn: str, amount: int, without: str | None = None) -> bool:
            others = [value for call, value in counts.items() if call != without]
            in_turn = sum(value for of_turn, value in others if of_turn == turn)
            return not amount or (
                in_turn + amount <= turn_cap and sum(value for _, value in others) + amount <= session_cap
            )

        for seat, event, amount, turn in steps:
            if event == "reserve":
                if seat in seats:
                    continue
                expected = fits(turn, amount)
                try:
                    call = ledger.reserve(MODEL, asks(*caps, turn=turn), Bound(amount, amount, amount))
                except BudgetReached:
                    assert not expected
                    continue
                assert expected
                seats[seat], counts[call] = (call, turn), (turn, amount)
                continue
            if seat not in seats:
                continue
            call, turn = seats[seat]
            bound = counts[call][1]
            actual = amount % (bound + 1)
            if event == "adjust":
                expected = fits(turn, amount, without=call)
                try:
                    ledger.adjust(call, asks(*caps, turn=turn), Bound(amount, amount, amount))
                except BudgetReached:
                    assert not expected
                    continue
                assert expected
                counts[call] = (turn, amount)
            elif event == "sent":
                ledger.sent(call)
                sent.add(call)
            elif event == "release":
                ledger.release(call)
                if call not in sent:
                    del seats[seat], counts[call]
            else:
                del seats[seat]
                if event == "done":
                    ledger.settle(call, Settlement("done", Usage(actual, 0, 0, actual, 0), actual, "reply"))
                    counts[call] = (turn, actual)
                elif event == "cancelled":
                    ledger.settle(call, Settlement("cancelled"))
                else:
                    ledger.settle(call, Settlement("failed", cost_nano=0, cost_source="reply"))
                    counts[call] = (turn, 0)
            assert ledger.total(session="s").nano <= session_cap
            assert ledger.total(turn=turn).nano <= turn_cap
        for turn in ("t1", "t2"):
            assert ledger.total(turn=turn) == Total.of(row.cost_nano for row in ledger.calls(turn=turn))
        ledger.close()


SPENDER = """
import json, random, sys
from tests.agent.ledger.test_ledger_caps import *
from tests.support.databases import where
context = asks(Cap("run", "run_usd", nano=10_000), run="r")
random.seed(int(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
ledger, under_way, made, spent = Ledger(where(sys.argv[1])), [], 0, 0
while True:
    try:
        under_way.append(ledger.reserve(MODEL, context, Bound(1, 1, 100)))
    except BudgetReached:
        if not under_way:
            break
    if len(under_way) == 8 or random.random() < 0.5:
        call = under_way.pop(0)
        cost = random.randrange(50, 101)
        ledger.sent(call)
        ledger.settle(call, Settlement("done", cost_nano=cost, cost_source="reply"))
        made, spent = made + 1, spent + cost
print(json.dumps([made, spent]))
"""


def test_several_processes_at_once_share_one_cap_to_the_last_call(tmp_path: Path) -> None:
    path = tmp_path / "state" / "ledger.db"  # which does not exist yet: they make it at the same moment
    spenders = [
        subprocess.Popen(
            [sys.executable, "-c", SPENDER, str(place(path)), str(seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for seed in range(4)
    ]
    for spender in spenders:
        assert spender.stdout is not None and spender.stdout.readline() == "ready\n"
    for spender in spenders:
        assert spender.stdin is not None
        spender.stdin.write("go\n")
        spender.stdin.flush()
    told = [json.loads(spender.communicate(timeout=30)[0]) for spender in spenders]
    assert all(spender.returncode == 0 for spender in spenders)
    ledger = Ledger(place(path))
    total = ledger.total(run="r")
    assert (total.known, total.nano, total.unknown) == (
        sum(made for made, _ in told),
        sum(spent for _, spent in told),
        0,
    )
    assert 10_000 - 100 < total.nano <= 10_000
