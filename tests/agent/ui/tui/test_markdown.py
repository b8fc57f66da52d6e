import re
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.ui.columns import width as cells
from agent.ui.tui.text.blocks import Block, clean
from agent.ui.tui.text.diff import changed_lines, diff_blocks
from agent.ui.tui.text.markdown import MAX_NESTING, code, to_blocks, to_content
from agent.ui.tui.transcript.streaming import Streaming

PIECES = [
    "- a\n", "- b\n\n", "  - c\n", "1. x\n", "2. y\n", "\n", "para ", "text\n", "# h\n", "```py\ncode\n", "```\n", "> q\n",
    "| a | b |\n|--|--|\n", "| c | d |\n", "**bo", "ld**", "* s\n", "---\n", "    ind\n", "\t", "10) z\n", "===\n", "   1. n\n",
    "[l](u)", "<b>", "~~", "\r\n", "\r", "[/x]", "\x1b[31m", "漢字", "e\u0301", "\u202e", "\u2028",
]  # fmt: skip
MARKDOWN = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)


def looks(blocks: list[Block]) -> list[object]:
    """Everything about blocks that can be seen, at one width."""
    return [
        (
            block.content(60).plain,
            list(block.content(60).spans),
            block.first.plain,
            block.rest.plain,
            block.gap,
            block.above.plain,
            block.label,
        )
        for block in blocks
    ]


def plain(markdown: str, width: int | None = None) -> str:
    return to_content(markdown, width=width).plain


def styles(markdown: str, words: str) -> set[str]:
    content = to_content(markdown)
    start = content.plain.index(words)
    return {str(span.style) for span in content.spans if span.start <= start < span.end}


def test_what_markdown_says() -> None:
    assert plain("# Title\ntext") == "Title\ntext"
    assert "bold" in " ".join(styles("# Title", "Title"))
    assert styles("a *b* c", "b") == {"italic"}
    assert styles("a **b** c", "b") == {"bold"}
    assert styles("a ~~b~~ c", "b") == {"strike"}
    assert plain("use `a*b*`") == "use a*b*"
    assert styles("use `x`", "x") != set()


def test_lists_hang() -> None:
    text = "- one two three four\n  1. five six seven\n  1. eight\n\n     more\n"
    assert plain(text, 16).split("\n") == [
        "• one two three",
        "  four",
        "  1. five six",
        "     seven",
        "  2. eight",
        "",
        "     more",
    ]


def test_quotes_keep_their_bar() -> None:
    assert plain("a\n\n> one two three\n>\n> - four", 12).split("\n") == [
        "a",
        "",
        "▌ one two",
        "▌ three",
        "▌",
        "▌ • four",
    ]


def test_links_show_where_they_lead() -> None:
    assert plain("[here](http://a.example/ä)") == "here (http://a.example/ä)"
    assert plain("<http://a.example>") == "http://a.example"
    assert plain('![pic](p.png "title")') == 'pic (p.png "title")'
    assert plain("[x](javascript:alert)") == "x (javascript:alert)"
    assert plain("[a][1]\n\n[1]: http://b.example") == "[a][1]\n\n[1]: http://b.example"


def test_code_is_coloured_only_where_its_language_is_known() -> None:
    known, unknown = code("def f(): return 1\n", "python"), code("def f(): return 1\n", "no-such-language")
    assert known.plain == unknown.plain == "def f(): return 1"
    assert {str(span.style) for span in known.spans}
    assert not unknown.spans
    assert plain("```python title=x\na = 1\n```") == "  python title=x\n  a = 1"


@pytest.mark.parametrize("width", [20, 40, 80, 250])
def test_tables_fit(width: int) -> None:
    text = (
        "| name | what it says | n |\n|---|:-:|--:|\n"
        "| 漢字 | a rather long cell that has to wrap somewhere | 12 |\n| [/b] | | 3 |\n"
    )
    lines = plain(text, width).split("\n")
    assert max(cells(line) for line in lines) <= width
    joined = " ".join(lines)
    for word in ("name", "漢字", "rather", "somewhere", "12", "[/b]"):
        assert word in joined


def test_a_table_too_wide_for_the_screen_becomes_records() -> None:
    text = "| a | b | c | d | e | f |\n|-|-|-|-|-|-|\n| 1 | 2 | 3 | 4 | 5 | 6 |"
    assert plain(text, 20).split("\n") == ["a: 1", "b: 2", "c: 3", "d: 4", "e: 5", "f: 6"]


@pytest.mark.parametrize(
    "text",
    [
        "[red]not markup[/red] [/a/b] [@click=app.quit]x[/]",
        "\x1b[2J\x1b]0;title\x07 gone",
        "safe \u202etxt.exe",
        "lone \ud800 surrogate",
        "<script>alert(1)</script>",
        "x" * 50_000,
        "> " * 500 + "deep",
        "- " * 300 + "deep",
        "*" * 3_000,
        "[" * 3_000,
        "`" * 3_000,
        "a\u0300" * 5_000,
        "|" * 2_000 + "\n" + "|-" * 2_000,
    ],
)
def test_hostile_text_is_data(text: str) -> None:
    shown = plain(text, 60)
    assert not [char for char in shown if unicodedata.category(char) in ("Cc", "Cs") and char != "\n"]
    assert "\u202e" not in shown
    shown.encode()
    for word in ("[red]not markup[/red]", "[@click=app.quit]x[/]", "<script>alert(1)</script>", "deep"):
        assert (word in shown.replace("\n", " ")) == (word in text)


def test_what_is_nested_deeper_than_the_parser_goes_is_shown_as_it_stands() -> None:
    text = "> " * (MAX_NESTING + 5) + "treasure"
    assert "treasure" in plain(text)


WORDS = st.lists(
    st.tuples(
        st.sampled_from(["", "# ", "- ", "1. ", "> ", "    ", "* ", "| ", "  - ", "```\n", "\n", "**", "[", "![", "~~", "<"]),
        st.text(alphabet="abcXYZäß", min_size=1, max_size=4),  # no digits: "00)" begins a list, and shows as "0."
        st.sampled_from(["\n", " ", "\n\n", "**", "](", ")", " | ", "\n---\n", "`", "\n```\n", ">"]),
    ),
    max_size=20,
)  # fmt: skip


@settings(deadline=None, max_examples=300)
@example([("| ", "X", "\n---\n"), ("", "X", " | "), ("", "XX", "\n")], None)
@given(WORDS, st.sampled_from([None, 12, 60]))
def test_no_word_is_lost(parts: list[tuple[str, str, str]], width: int | None) -> None:
    text = "".join(f"{before}{word}{after}" for before, word, after in parts)
    shown = re.sub(r"[\s▌]", "", plain(text, width))  # a quote has its bar before each wrapped line
    for _, word, _ in parts:
        assert word in shown


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=300), st.integers(1, 120))
def test_nothing_breaks_it(text: str, width: int) -> None:
    to_content(text, width=width).plain.encode()


@settings(deadline=None, max_examples=300)
@given(MARKDOWN, st.lists(st.integers(1, 9), min_size=1))
def test_in_pieces_it_is_the_same(text: str, sizes: list[int]) -> None:
    stream, start, number = Streaming(), 0, 0
    while start < len(text):
        size = sizes[number % len(sizes)]
        stream.append(text[start : start + size])
        stream.blocks()
        start, number = start + size, number + 1
    assert looks(stream.blocks(final=True)) == looks(to_blocks(text))


def test_what_is_finished_is_not_made_again() -> None:
    stream = Streaming()
    stream.append("para\n\n" + "".join(f"- item {n}\n" for n in range(50)))
    before = stream.blocks()
    stream.append("- the next\n")
    after = stream.blocks()
    assert len(after) == 52
    assert [one is other for one, other in zip(before, after, strict=False)].count(False) <= 2


def test_open_code_is_plain_until_it_closes_and_only_its_end_is_made_again() -> None:
    stream = Streaming()
    stream.append("```python\n" + "x = 1\n" * 100)
    before = stream.blocks()
    assert not [span for block in before for span in block.content(80).spans]
    stream.append("y = 2\n")
    after = stream.blocks()
    assert sum(one is other for one, other in zip(before, after, strict=True)) == len(before) - 1
    stream.append("```\n")
    (closed,) = stream.blocks()
    assert closed.content(80).plain == "x = 1\n" * 100 + "y = 2"
    assert closed.content(80).spans


def test_a_diff_has_the_numbers_of_both_files() -> None:
    diff = "--- a/x\n+++ b/x\n@@ -8,3 +8,4 @@\n same\n-old [/b]\n+new\n+--- more\n last\n@@ -90 +91 @@\n-x\n+y\n"
    lines = [block.first.plain + block.content(80).plain for block in diff_blocks(diff)]
    assert [" ".join(line.split()) for line in lines] == [
        "8 same", "9 - old [/b]", "9 + new", "10 + --- more", "11 last", "⋯", "90 - x", "91 + y",
    ]  # fmt: skip
    assert changed_lines(diff) == (3, 2)
    assert [block.content(80).plain for block in diff_blocks("no diff at all")] == ["no diff at all"]


def test_clean_text_has_one_kind_of_line_end() -> None:
    assert clean("a\r\nb\rc\u2028d") == "a\nb\nc\nd"
