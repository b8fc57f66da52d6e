"""The lines between two `---` at the head of a Markdown file: the few forms of YAML that skills and commands use for plain strings."""

from __future__ import annotations


def split(text: str) -> tuple[dict[str, str], str]:
    """The head's keys (in lower case) with their values on one line, and the body.

    Understood are plain and quoted values, values that go on over indented lines, and `|` and `>` blocks; anything else (lists, nested
    keys) is skipped. Unlike YAML it takes a colon within a plain value, which people write without thinking.
    """
    lines = text.split("\n")
    if lines[0].rstrip() != "---":
        return {}, text
    end = next((number for number, line in enumerate(lines) if number and line.rstrip() in ("---", "...")), None)
    if end is None:
        return {}, text
    values: dict[str, list[str]] = {}
    key = ""
    for line in lines[1:end]:
        if line[:1] in (" ", "\t") or not line.strip():
            if key:
                values[key].append(line.strip())
        elif not line.startswith(("#", "-")) and ":" in line:
            name, _, value = line.partition(":")
            key = name.strip().lower()
            values[key] = [value.strip()]
    found = {key: _joined(parts) for key, parts in values.items()}
    return {key: value for key, value in found.items() if value}, "\n".join(lines[end + 1 :])


def _joined(parts: list[str]) -> str:
    first, rest = parts[0], parts[1:]
    if first[:1] in ("|", ">") and len(first) <= 3:
        first = ""
    elif rest and not first and rest[0].startswith("- "):
        return ""
    text = " ".join(" ".join((first, *rest)).split())
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'":
        quote, text = text[0], text[1:-1]
        text = text.replace("''", "'") if quote == "'" else text.replace('\\"', '"').replace("\\\\", "\\")
    return text
