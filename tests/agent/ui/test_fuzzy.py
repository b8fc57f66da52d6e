"""The scorer behind every list that is narrowed by typing."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.ui import fuzzy
from agent.ui.fuzzy import match, rank

LETTERS = st.text(alphabet="abAB/_. 1", max_size=9)
ANYTHING = st.text(max_size=30)


@pytest.mark.parametrize(
    ("query", "better", "worse"),
    [
        ("ses", "agent/session/session.py", "agent/classes_used.py"),  # in one piece at a word start
        ("cp", "agent/chat_panel.py", "agent/scope.py"),  # word starts
        ("cp", "ChatPanel", "chatpanel"),  # camel case is word starts
        ("test", "tests/x.py", "latest/x.py"),
        ("R", "README.md", "agent/render.py"),  # the case that was typed
        ("moa", "/moa", "/moan"),  # of equals the shorter
        ("loop", "agent/loop/turn.py", "agent/tools/lo/op.py"),
        ("v2", "api_v2.py", "api_v12.py"),
    ],
)
def test_what_people_mean_comes_first(query: str, better: str, worse: str) -> None:
    for items in ([better, worse], [worse, better]):
        assert [item for item, _ in rank(query, items, 5)] == [better, worse]


def test_the_positions_are_those_a_person_would_mark() -> None:
    hit = match("agco", "agent/commands.py")
    assert hit is not None
    assert hit.positions == (0, 1, 6, 7)


def test_words_match_in_any_order() -> None:
    hit = match("py session", "agent/session/session.py")
    assert hit is not None
    assert "".join("agent/session/session.py"[at] for at in hit.positions) == "sessionpy"
    assert match("session zz", "agent/session/session.py") is None


def test_nothing_typed_matches_all_in_the_order_they_came() -> None:
    assert rank("", ["b", "a", "c"], 2) == [("b", (0, ())), ("a", (0, ()))]


def test_a_key_and_a_limit() -> None:
    found = rank("a", [(1, "ba"), (2, "a"), (3, "x")], 1, key=lambda item: item[1])
    assert [item for item, _ in found] == [(2, "a")]


def test_letters_whose_small_form_is_longer_keep_positions_in_place() -> None:
    hit = match("zb", "İİzİb")
    assert hit is not None
    assert hit.positions == (2, 4)


def test_a_very_long_text_costs_little_and_matches_by_its_beginning() -> None:
    assert match("ab", "a" * 1_000_000 + "b") is None
    hit = match("aaaa", "a" * 1_000_000)
    assert hit is not None
    assert hit.positions == (0, 1, 2, 3)


@given(LETTERS, LETTERS)
def test_it_matches_exactly_where_the_characters_stand_in_order(query: str, text: str) -> None:
    hit = match(query, text)
    words = query.split()
    assert (hit is not None) == all(_in_order(word.lower(), text.lower()) for word in words)
    if hit is not None:
        assert list(hit.positions) == sorted(set(hit.positions))
        assert len(hit.positions) <= sum(map(len, words))
        if len(words) == 1:
            assert "".join(text[at] for at in hit.positions).lower() == words[0].lower()


@given(ANYTHING, ANYTHING)
def test_any_text_is_taken(query: str, text: str) -> None:
    hit = match(query, text)
    assert hit is None or all(0 <= at < len(text) for at in hit.positions)


@given(st.text(alphabet="abA", min_size=1, max_size=3), LETTERS)
def test_no_other_layout_scores_higher(query: str, text: str) -> None:
    hit = match(query, text)
    layouts = [
        _score(query, text, layout)
        for layout in combinations(range(len(text)), len(query))
        if all(text[at].lower() == char.lower() for at, char in zip(layout, query, strict=True))
    ]
    assert (hit.score if hit else None) == max(layouts, default=None)
    if hit:
        assert _score(query, text, hit.positions) == hit.score


def _in_order(word: str, text: str) -> bool:
    rest = iter(text)
    return all(char in rest for char in word)


def _score(query: str, text: str, layout: tuple[int, ...]) -> int:
    """The rule as it is written down, for one layout: the scorer has to find the best of all."""
    score = 0
    for index, at in enumerate(layout):
        score += fuzzy.worth(query[index], text, at)
        if index and at == layout[index - 1] + 1:
            score += fuzzy.RUN
        elif index:
            score -= fuzzy.GAP_OPEN + (at - layout[index - 1]) * fuzzy.GAP_MORE
    return score
