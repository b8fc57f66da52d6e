"""Rich's Markdown, for text that scrolls by: our own parser's tokens, headings on the left, addresses of links written out."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.markdown import Heading, Markdown

if TYPE_CHECKING:
    from markdown_it.token import Token
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.markdown import MarkdownElement


class LeftHeading(Heading):
    """A heading where everything else begins, too: centred ones are lost in a wide terminal."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self.text.justify = "left"
        yield self.text


class Document(Markdown):
    """A block of Markdown that is parsed already."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = {**Markdown.elements, "heading_open": LeftHeading}

    def __init__(self, tokens: list[Token]) -> None:
        # No hyperlinks: an address that can't be seen before it is opened would be one that a model chose.
        super().__init__("", hyperlinks=False, code_theme="ansi_dark")
        self.parsed = tokens
