"""The colours of code. A module of its own because it loads pygments, which the first frame does not need."""

from __future__ import annotations

from textual.content import Content
from textual.highlight import HighlightTheme, highlight


class Colours(HighlightTheme):
    """Textual's colours, with the theme's own foreground: `$text` is worked out from the background by CSS alone."""

    STYLES = {  # noqa: RUF012 - as Textual declares it
        token: style.replace("$text ", "$foreground ") for token, style in HighlightTheme.STYLES.items()
    }


def coloured_code(text: str, language: str) -> Content:
    """The text in colours; as it stands where no lexer knows the language. Lexers may change a text: compare."""
    coloured = highlight(text, language=language, theme=Colours)
    return Content(coloured.plain, [span for span in coloured.spans if span.style != "$text"])
