"""Text as blocks of Textual content: Markdown, diffs, tables, trees, and the widgets that draw them."""
