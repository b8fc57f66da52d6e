"""The books by themselves: what is kept of a call, what is left of it after each end, and what the sums say."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from agent.ledger.book import Ledger
from agent.llm.accounting import Bound, CallContext, Cap, Settlement
from agent.llm.errors import BudgetReached
from agent.llm.money import Total
from agent.llm.request import ModelRef
from agent.llm.stream import Usage
from tests.support.databases import place

MODEL = ModelRef("openrouter", "some/model:free")
MAIN = CallContext("main", session="s", run="r", turn="t", iteration=3)
BOUND = Bound(prompt_tokens=900, completion_tokens=100, nano=5_000_000)

# contracts.md, calls[]
CONTRACT = [
    *("id", "purpose", "slot", "endpoint", "model_requested", "model_served", "provider", "generation_id"),
    *("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens"),
    *("cost_usd", "cost_source", "ttft_s", "duration_s", "outcome"),
]


@pytest.fixture
def ledger(tmp_path: Path):
    ledger = Ledger(place(tmp_path / "state" / "ledger.db"))
    yield ledger
    ledger.close()


def room(ledger: Ledger, nano: int | None = None, tokens: int | None = None) -> bool:
    """Whether a tiny call in turn t fits under a cap on the turn."""
    context = CallContext("main", session="s", run="r", turn="t", caps=(Cap("turn", "[budget] turn", nano, tokens),))
    try:
        ledger.release(ledger.reserve(MODEL, context, Bound(1, 0, 1)))
    except BudgetReached:
        return False
    return True


def test_a_call_is_one_row_with_all_that_is_known_of_it(ledger: Ledger) -> None:
    context = CallContext("reference", session="s", run="r", turn="t", iteration=3, slot="skeptic", share="counsel")
    call = ledger.reserve(MODEL, context, BOUND)
    assert ledger.calls() == []  # not sent: no call yet
    ledger.sent(call)
    assert [row.outcome for row in ledger.calls()] == ["reserved"]
    assert str(ledger.total()) == "unknown"
    ledger.sent(call, generation_id="gen-1")
    ledger.settle(
        call,
        Settlement(
            "done",
            usage=Usage(prompt=800, cached=700, cache_write=50, completion=90, reasoning=40),
            cost_nano=2_500_000,
            cost_source="reply",
            model_served="some/model-0901",
            provider="Somebody",
            ttft_s=0.5,
            duration_s=1.5,
            retries=1,
        ),
    )
    (row,) = ledger.calls(session="s", run="r", turn="t")
    assert row.usage == Usage(800, 700, 50, 90, 40)
    assert row.sent is not None and row.ended is not None and row.started <= row.sent <= row.ended
    said = row.as_json()
    assert [said[key] for key in CONTRACT] == [
        *(call, "reference", "skeptic", "openrouter", "some/model:free", "some/model-0901", "Somebody", "gen-1"),
        *(800, 700, 90, 40, 0.0025, "reply", 0.5, 1.5, "done"),
    ]
    assert (said["turn"], said["iteration"], said["retries"], said["error"]) == ("t", 3, 1, None)
    assert ledger.total(turn="t") == Total(2_500_000, known=1)
    assert ledger.usage(turn="t") == row.usage
    assert ledger.calls(turn="other") == []
    assert ledger.total(since=row.started + 1) == Total()


def test_a_file_is_opened_again_with_all_that_was_in_it(tmp_path: Path) -> None:
    first = Ledger(place(tmp_path / "ledger.db"))
    call = first.reserve(MODEL, MAIN, BOUND)
    first.settle(call, Settlement("done", cost_nano=7, cost_source="reply"))
    first.close()
    assert [row.id for row in Ledger(place(tmp_path / "ledger.db")).calls()] == [call]


def test_only_the_first_settlement_holds(ledger: Ledger) -> None:
    call = ledger.reserve(MODEL, MAIN, BOUND)
    ledger.sent(call)
    ledger.settle(call, Settlement("done", cost_nano=10, cost_source="reply"))
    ledger.settle(call, Settlement("cancelled", cost_nano=99, cost_source="reply"))
    assert [(row.outcome, row.cost_nano) for row in ledger.calls()] == [("done", 10)]


def test_release_leaves_no_row_unless_the_call_was_sent(ledger: Ledger) -> None:
    unsent, sent = ledger.reserve(MODEL, MAIN, BOUND), ledger.reserve(MODEL, MAIN, BOUND)
    ledger.sent(sent)
    ledger.release(unsent)
    ledger.release(sent)
    assert [row.id for row in ledger.calls()] == [sent]
    assert not room(ledger, nano=5_000_000) and room(ledger, nano=5_000_001)


@pytest.mark.parametrize("caps", [(), (Cap("day", "the day's cap", 10**10),)], ids=["no cap", "a cap"])
def test_what_goes_out_at_once_is_said_with_its_reservation(ledger: Ledger, caps: tuple[Cap, ...]) -> None:
    first, second = (ledger.reserve(MODEL, replace(MAIN, caps=caps), BOUND, sends=True) for _ in range(2))
    assert [(row.id, row.outcome, row.sent == row.started) for row in ledger.calls()] == [
        (first, "reserved", True),
        (second, "reserved", True),
    ]
    ledger.release(first)
    ledger.release(second, marked=True)  # it did not go out after all
    assert [row.id for row in ledger.calls()] == [first]
    assert ledger.sums()[0].calls == 1
    assert not room(ledger, nano=5_000_000) and room(ledger, nano=5_000_001)


@pytest.mark.parametrize("outcome", ["cancelled", "unknown", "incomplete", "failed", "done"])
def test_an_unknown_cost_makes_the_total_a_lower_bound_and_counts_as_the_bound(ledger: Ledger, outcome) -> None:
    known = ledger.reserve(MODEL, MAIN, BOUND)
    ledger.settle(known, Settlement("done", Usage(prompt=10, completion=5), cost_nano=1_000, cost_source="reply"))
    call = ledger.reserve(MODEL, MAIN, BOUND)
    ledger.sent(call)
    ledger.settle(call, Settlement(outcome))
    total = ledger.total()
    assert (total.nano, total.lower_bound, str(total)) == (1_000, True, "≥ $0.000001")
    assert not room(ledger, nano=5_001_000) and room(ledger, nano=5_001_001)
    assert not room(ledger, tokens=1_015) and room(ledger, tokens=1_016)


def test_usage_without_a_cost_counts_its_own_tokens_and_the_bound_in_dollars(ledger: Ledger) -> None:
    call = ledger.reserve(MODEL, MAIN, BOUND)
    ledger.settle(call, Settlement("cancelled", usage=Usage(prompt=100, completion=20)))
    assert not room(ledger, tokens=120) and room(ledger, tokens=121)
    assert not room(ledger, nano=5_000_000)


def test_a_refused_call_costs_nothing_and_takes_nothing_from_a_cap(ledger: Ledger) -> None:
    call = ledger.reserve(MODEL, MAIN, BOUND)
    ledger.settle(call, Settlement("failed", cost_nano=0, cost_source="reply", error_kind="auth", error="no"))
    assert str(ledger.total()) == "$0"
    assert room(ledger, nano=1, tokens=1)


def test_what_can_cost_nothing_has_cost_nothing(ledger: Ledger) -> None:
    call = ledger.reserve(ModelRef("local", "smollm2"), MAIN, Bound(900, 100, nano=0))
    ledger.sent(call)
    ledger.settle(call, Settlement("cancelled"))
    assert ledger.total() == Total(0, known=1)
    assert not room(ledger, tokens=1_000)  # but it took tokens


@pytest.mark.parametrize("absurd", [-1, 10**30])
def test_an_amount_that_cannot_be_is_unknown(ledger: Ledger, absurd: int) -> None:
    call = ledger.reserve(MODEL, MAIN, BOUND)
    ledger.settle(call, Settlement("done", Usage(prompt=-5, completion=10**30), absurd, "reply"))
    (row,) = ledger.calls()
    assert (row.cost_nano, row.cost_source, row.prompt_tokens) == (None, "unknown", 0)
    assert not room(ledger, nano=5_000_000)


def test_bounds_and_outcomes_that_make_no_sense_are_refused(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="negative"):
        ledger.reserve(MODEL, MAIN, Bound(10, 10, nano=-1))
    with pytest.raises(ValueError, match="no open reservation"):
        ledger.adjust("c0", MAIN, BOUND)
    with pytest.raises(ValueError, match="reserved"):
        ledger.settle(ledger.reserve(MODEL, MAIN, BOUND), Settlement("reserved"))


def test_secrets_are_taken_out_of_error_messages_before_they_are_cut(tmp_path: Path) -> None:
    ledger = Ledger(place(tmp_path / "l.db"), redact=lambda text: text.replace("sk-secret", "…"))
    call = ledger.reserve(MODEL, MAIN, BOUND)
    ledger.settle(
        call, Settlement("failed", cost_nano=0, error_kind="auth", error="x" * 1_995 + "sk-secret is not a key" * 9)
    )
    (row,) = ledger.calls()
    assert row.error is not None and "sk-" not in row.error and len(row.error) == 2_000
    assert row.as_json()["error"] == {"kind": "auth", "message": row.error}


def test_half_a_character_of_an_endpoint_harms_no_book(ledger: Ledger) -> None:
    call = ledger.reserve(ModelRef("openrouter", "odd\ud83d"), MAIN, BOUND)
    ledger.sent(call, generation_id="gen-\ud83d")
    ledger.settle(call, Settlement("failed", cost_nano=0, model_served="m\udc00", error_kind="auth", error="no \ud83d"))
    (row,) = ledger.calls()
    assert (row.model_requested, row.generation_id, row.model_served, row.error) == (
        "odd\ufffd",
        "gen-\ufffd",
        "m\ufffd",
        "no \ufffd",
    )


def test_the_file_is_the_users_alone_and_so_it_is_made_where_it_is_not(tmp_path: Path) -> None:
    path = tmp_path / "state" / "ledger.db"
    for _ in range(2):
        ledger = Ledger(path)
        ledger.sent(ledger.reserve(MODEL, MAIN, BOUND))
        assert {file.stat().st_mode & 0o077 for file in (path.parent, *path.parent.iterdir())} == {0}
        ledger.close()
        path.chmod(0o644)


def test_groups_add_up_to_the_total(ledger: Ledger) -> None:
    for number, (endpoint, slot, cost) in enumerate(
        [("a", None, 5), ("b", "one", 7), ("b", "two", None), ("a", None, 1)]
    ):
        context = CallContext("reference" if slot else "main", session=f"s{number % 2}", turn="t", slot=slot)
        call = ledger.reserve(ModelRef(endpoint, "m"), context, BOUND)
        ledger.sent(call)
        usage = Usage(prompt=10 * number, completion=1)
        ledger.settle(call, Settlement("done" if cost else "cancelled", usage, cost, "reply", duration_s=0.5))
    assert [(group.key, str(group.total), group.unfinished) for group in ledger.sums("model")] == [
        ("b:m", "≥ $0.000000007", 1),
        ("a:m", "$0.000000006", 0),
    ]
    assert [group.key for group in ledger.sums("role")] == ["reference/one", "main", "reference/two"]
    for by in ("session", "model", "role", "day"):
        groups = ledger.sums(by)
        assert sum(group.calls for group in groups) == 4
        assert sum(group.total.nano for group in groups) == ledger.total().nano == 13
        assert sum((group.usage for group in groups), Usage()) == ledger.usage() == Usage(60, 0, 0, 4, 0)
        assert sum(group.duration_s for group in groups) == 2.0
    assert ledger.total() == Total.of(row.cost_nano for row in ledger.calls())


def test_a_provider_is_asked_about_calls_whose_cost_nobody_knows(ledger: Ledger) -> None:
    ids = {}
    for name, generation_id in (
        ("known", "gen-1"),
        ("priced", "gen-2"),
        ("silent", "gen-3"),
        ("broken", "gen-4"),
        ("none", None),
    ):
        ids[name] = ledger.reserve(MODEL, MAIN, BOUND)
        ledger.sent(ids[name], generation_id=generation_id)
        ledger.settle(ids[name], Settlement("cancelled", cost_nano=1 if name == "known" else None, cost_source="reply"))
    asked = []

    async def lookup(endpoint: str, generation_id: str) -> tuple[Usage, int] | None:
        asked.append((endpoint, generation_id))
        if generation_id == "gen-4":
            raise OSError("no network")
        return (Usage(prompt=40, completion=2), 44) if generation_id == "gen-2" else None

    assert asyncio.run(ledger.reconcile(lookup)) == 1
    assert sorted(asked) == [("openrouter", f"gen-{n}") for n in (2, 3, 4)]
    rows = {row.id: row for row in ledger.calls()}
    priced = rows[ids["priced"]]
    assert (priced.outcome, priced.cost_nano, priced.cost_source, priced.prompt_tokens) == (
        "cancelled",
        44,
        "generation",
        40,
    )
    assert [rows[ids[name]].cost_nano for name in ("known", "silent", "broken", "none")] == [1, None, None, None]
    assert not room(ledger, nano=45 + 3 * 5_000_000) and room(ledger, nano=46 + 3 * 5_000_000)
