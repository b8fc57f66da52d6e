"""Markdown as blocks of Textual content: a pure function of the text.

Models write it, so everything in it is data: HTML and reference definitions are shown as they stand, a link shows its address, no
word is ever lost, and nothing becomes a key, a link to click or markup.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from textual.content import Content, Span

from agent.ui.tui.text.blocks import EMPTY, Block, clean
from agent.ui.tui.text.table import lay_out

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

MAX_NESTING = 60
"""Levels of quotes and lists; the parser drops what is deeper, so a text that gets there is shown as it stands."""
MAX_HIGHLIGHTED = 20_000
"""Characters of a code block that are coloured."""
MAX_LINE = 4_000
"""Characters of a code line from which a block is not coloured: lexers are regular expressions."""
QUOTE = Content.styled("▌ ", "$foreground-muted")
HEADINGS = {"h1": "bold underline $text-primary", "h2": "bold $text-primary", "h3": "bold $text-secondary"}
INLINE = {"strong_open": "bold", "em_open": "italic", "s_open": "strike"}
CODE = "$text-accent"
FAINT = "$foreground-muted"
"""Not `$text-muted`: that is worked out from the background by CSS alone, and white in content."""
INSET = "  "
"""Before the lines of code; not copied with them."""


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt  # 16 ms, and the first frame has no Markdown

    from agent.text.markdown import with_tables

    parser = with_tables(MarkdownIt("commonmark", {"html": False, "maxNesting": MAX_NESTING}).enable("strikethrough"))
    # A definition would vanish from the text, and a reference could mean something that is not written yet.
    parser.disable("reference")
    # Addresses are shown, not followed: as they were written.
    parser.normalizeLink = lambda url: url  # type: ignore[method-assign]
    parser.normalizeLinkText = lambda link: link  # type: ignore[method-assign]
    parser.validateLink = lambda url: True  # type: ignore[method-assign]
    return parser


def tokens_of(text: str) -> list[Token]:
    """The parser's tokens of clean text."""
    return _parser().parse(text)


def to_content(markdown: str, *, width: int | None = None) -> Content:
    """Markdown as one piece of content; with a width, wrapped for it with hanging indents and tables laid out."""
    lines: list[Content] = []
    for block in to_blocks(markdown):
        if block.gap:
            lines.append(block.above.rstrip())
        if block.label:
            lines.append(Content.assemble(block.rest, (block.label, FAINT)))
        body = block.content(width or 80)
        wrapped = body.wrap(block.room(width)) if width else body.split("\n", allow_blank=True)
        for index, line in enumerate(wrapped or [EMPTY]):
            lines.append(Content.assemble(block.rest if index else block.first, line))
    return Content("\n").join(lines)


def to_blocks(markdown: str) -> list[Block]:
    """Markdown as blocks."""
    text = clean(markdown)
    return render(text, tokens_of(text))


def literal(text: str, *, style: str = "", first: Content = EMPTY, rest: Content = EMPTY, gap: bool = False) -> Block:
    """Text as it stands, as a block."""
    return Block(Content.styled(clean(text), style), first=first, rest=rest, gap=gap)


@dataclass(slots=True)
class Nest:
    """A quote or a list item that blocks stand in: what comes before their first line, once, and before the others."""

    rest: Content
    marker: Content | None = None

    def take(self) -> Content:
        """What comes before the next block's first line."""
        marker, self.marker = self.marker, None
        return self.rest if marker is None else marker


@dataclass(slots=True)
class Lists:
    """Numbers of the lists that are open: None for bullets."""

    numbers: list[int | None] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a piece of a longer text stands: whether something, and an empty line, comes before it, and which number a list that
    it begins with goes on with."""

    after: bool = False
    blank: bool = False
    number: int | None = None


START = Place()


def render(text: str, tokens: Sequence[Token], place: Place = START) -> list[Block]:
    """Tokens of `text` as blocks."""
    if any(token.level >= MAX_NESTING - 1 for token in tokens):
        return [literal(text, gap=place.after and place.blank)]
    source = text.split("\n")
    blocks: list[Block] = []
    nests: list[Nest] = []
    lists = Lists()

    within: list[Nest] = []  # what the last block stood in

    def add(token: Token, body: Content, *, label: str = "", space: bool = False, inset: str = "") -> None:
        marks = Content("").join([nest.take() for nest in nests])
        first = Content.assemble(marks, inset)
        rest = Content("").join([nest.rest for nest in nests] + [Content(inset)])
        apart = (bool(blocks) or place.after) and (space or _blank_before(source, token, place))
        above = Content("").join([nest.rest for nest, other in zip(nests, within, strict=False) if nest is other])
        within[:] = nests
        blocks.append(Block(body, first=first, rest=rest, gap=apart, above=above, label=label, copied=len(marks)))

    index = 0
    while index < len(tokens):
        token = tokens[index]
        match token.type:
            case "blockquote_open":
                nests.append(Nest(QUOTE))
            case "bullet_list_open":
                lists.numbers.append(None)
            case "ordered_list_open":
                start = token.attrGet("start")
                goes_on = index == 0 and place.number is not None
                lists.numbers.append(place.number if goes_on else int(1 if start is None else start))
            case "bullet_list_close" | "ordered_list_close":
                lists.numbers.pop()
            case "list_item_open":
                nests.append(_item(lists, token))
                if _closes(tokens, index):
                    add(token, EMPTY)
            case "blockquote_close" | "list_item_close":
                nests.pop()
            case "heading_open":
                style = HEADINGS.get(token.tag, "bold")
                add(token, inline(tokens[index + 1]).stylize_before(style), space=True)
            case "paragraph_open":
                add(token, inline(tokens[index + 1]))
            case "fence" | "code_block":
                body = code(token.content, token.info.split(" ")[0])
                add(token, body, label=token.info.strip(), inset=INSET)
            case "hr":
                add(token, Content.styled("─" * 24, FAINT))
            case "table_open":
                end = _table_end(tokens, index)
                blocks_of_table = _table(tokens[index:end])
                add(token, EMPTY)
                blocks[-1].body = blocks_of_table
                index = end
            case _:
                pass
        index += 1
    return blocks


def _closes(tokens: Sequence[Token], index: int) -> bool:
    return index + 1 < len(tokens) and tokens[index + 1].type == "list_item_close"


def _item(lists: Lists, token: Token) -> Nest:
    number = lists.numbers[-1]
    if number is None:
        mark = ("•", "◦", "▪")[min(len([n for n in lists.numbers if n is None]) - 1, 2)]
    else:
        mark = f"{number}."
        lists.numbers[-1] = number + 1
    return Nest(Content(" " * (len(mark) + 1)), Content.styled(mark + " ", "$text-primary"))


def _blank_before(source: Sequence[str], token: Token, place: Place) -> bool:
    if token.map is None:
        return False
    if token.map[0] == 0:
        return place.blank
    return not source[token.map[0] - 1].strip(" \t>")


def _table_end(tokens: Sequence[Token], start: int) -> int:
    return next(index for index in range(start, len(tokens)) if tokens[index].type == "table_close")


def _table(tokens: Sequence[Token]) -> partial[Content]:
    rows: list[list[Content]] = []
    align: list[str] = []
    for index, token in enumerate(tokens):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in ("th_open", "td_open"):
            rows[-1].append(inline(tokens[index + 1]))
            if token.type == "th_open":
                align.append(str(token.attrGet("style") or "text-align:left").removeprefix("text-align:")[0])
    return partial(lay_out, rows[0] if rows else [], rows[1:], align)


def code(text: str, language: str = "") -> Content:
    """A piece of code, coloured where its language is known."""
    text = text.removesuffix("\n")
    if not language or len(text) > MAX_HIGHLIGHTED or max(map(len, text.split("\n"))) > MAX_LINE:
        return Content(text)
    from agent.ui.tui.text.colours import coloured_code  # brings pygments

    coloured = coloured_code(text, language)
    # Lexers may add or drop characters (byte order marks, form feeds); then what was written counts.
    return coloured if coloured.plain == text else Content(text)


def inline(token: Token) -> Content:
    """The inside of a paragraph, a heading or a cell."""
    text: list[str] = []
    spans: list[Span] = []
    opened: list[tuple[int, str]] = []
    links: list[tuple[int, str]] = []
    position = 0

    def put(piece: str, style: str = "") -> None:
        nonlocal position
        if style and piece:
            spans.append(Span(position, position + len(piece), style))
        text.append(piece)
        position += len(piece)

    for child in token.children or ():
        match child.type:
            case "text" | "text_special" | "html_inline":
                put(child.content)
            case "code_inline":
                put(child.content, CODE)
            case "softbreak" | "hardbreak":
                put("\n")
            case "strong_open" | "em_open" | "s_open":
                opened.append((position, INLINE[child.type]))
            case "strong_close" | "em_close" | "s_close":
                start, style = opened.pop()
                if position > start:
                    spans.append(Span(start, position, style))
            case "link_open":
                links.append((position, _address(child, "href")))
            case "link_close":
                start, address = links.pop()
                if position > start:
                    spans.append(Span(start, position, "underline"))
                if address and address.removeprefix("mailto:") != "".join(text)[start:]:
                    put(f" ({address})", FAINT)
            case "image":
                put(f"{child.content} ({_address(child, 'src')})" if child.content else _address(child, "src"), FAINT)
            case _:
                put(child.content)
    return Content("".join(text), spans, strip_control_codes=False)


def _address(token: Token, name: str) -> str:
    title = token.attrGet("title")
    return str(token.attrGet(name) or "") + (f' "{title}"' if title else "")


def top_level(tokens: Sequence[Token]) -> Iterator[tuple[int, Token]]:
    """The tokens that open the text's top-level blocks, with their index."""
    for index, token in enumerate(tokens):
        if token.level == 0 and token.nesting >= 0 and token.map is not None:
            yield index, token
