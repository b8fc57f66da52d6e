"""Short answers: where in a text one stands, and when two of them say the same.

No model is asked. Numbers are compared by value, LaTeX by what it says, letters of a choice by the letter, values of code by their
literal, and everything else word by word.
"""

from __future__ import annotations

import ast
import re
from fractions import Fraction
from typing import Literal

Kind = Literal["auto", "number", "letter", "code"]
"""`auto` decides by the answer's form. `number` takes the last number of the text, `letter` the choice, `code` a literal."""

_MAX_DIGITS = 60
"""Beyond so many digits a number is compared as text: no answer needs them, and their powers of ten are dear."""
_MAX_LITERAL = 2_000

_NAMED = re.compile(
    r"(?im)^\W*(?:final\s+)?(?:decision|verdict|answer|recommendation|conclusion)\W*:[^\S\n]*\W*?(?P<line>[^\s*].*?)[^\S\n]*$"
)
_SPOKEN = re.compile(r"(?i)\banswer\s+is\s*:?\s*(?P<said>[^\n]+?)\s*(?:\n|$)")
_HASHES = re.compile(r"(?m)^#{4}\s*(?P<hashes>\S.*)$")
_JSON_ANSWER = re.compile(r'"answer"\s*:\s*(?P<value>"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null)')

_NUMBER = re.compile(r"[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][-+]?\d{1,2})?")
_PLAIN = re.compile(r"[-+]?[$€£]?\s?(?P<number>" + _NUMBER.pattern + r")\s?%?")
_RATIO = re.compile(r"(?P<sign>-?)\(?(?P<top>-?\d+)\)?/\(?(?P<bottom>\d+)\)?")
_LETTER = re.compile(r"(?i)(?:option|choice|answer)?\s*[\(\[]?(?P<letter>[A-Z])[\)\]]?\s*[.:]?")
_LED_BY_LETTER = re.compile(r"(?:\((?P<round>[A-Z])\)|(?P<plain>[A-Z])[.):])\s+\S.*", re.DOTALL)
_EXPRESSION = re.compile(r"[+*/^=<>\\{}\[\]()]|-\w")
_WORDY = re.compile(r"(?i)(?!sqrt|frac|theta|alpha|beta|gamma|lambda)[a-z]{4,}")


def find(text: str) -> str:
    """The short answer that a text ends in.

    The last of: a line that begins with `Answer:`, `Decision:`, `Verdict:` or the like, `\\boxed{…}`, "the answer is …", `#### …`, the key
    `answer` of a JSON object. Where there is none, the last line. Empty only where the text is.
    """
    places: list[tuple[int, str]] = []
    for pattern, group in ((_NAMED, "line"), (_SPOKEN, "said"), (_HASHES, "hashes")):
        places += [(match.start(), match[group].strip()) for match in pattern.finditer(text)]
    places += [(match.start(), _json_value(match["value"])) for match in _JSON_ANSWER.finditer(text)]
    places += _boxed(text)
    if places:
        # Of two at one place the later pattern is the narrower: `Answer: \boxed{5}`.
        return max(places, key=lambda place: place[0])[1]
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


def normal(answer: str, kind: Kind = "auto") -> str:
    """A canonical form: two answers are the same where this is. Empty where there is nothing to compare."""
    text = _bare(answer)
    if kind == "number":
        found = _NUMBER.findall(_without_separators(text))
        return _value(found[-1]) if found else _words(text)
    if kind == "code":
        return re.sub(r"\s+", "", answer).strip("'\"")
    if kind == "letter":
        return _letter(text) or _words(text)
    return _number(text) or _letter(text) or _literal(text) or _text(text)


def _boxed(text: str) -> list[tuple[int, str]]:
    """What stands in each `\\boxed{…}`, braces counted."""
    found: list[tuple[int, str]] = []
    for match in re.finditer(r"\\boxed\s*\{", text):
        depth = 1
        for at in range(match.end(), len(text)):
            depth += (text[at] == "{") - (text[at] == "}")
            if depth == 0:
                found.append((match.end(), text[match.end() : at].strip()))
                break
    return found


def _json_value(raw: str) -> str:
    if not raw.startswith('"'):
        return "" if raw == "null" else raw
    try:
        value = ast.literal_eval(raw)
    except (SyntaxError, ValueError):
        return raw.strip('"')
    return str(value)


def _bare(answer: str) -> str:
    """Without mark-up, the dollars of mathematics, a closing full stop, and what LaTeX only sets."""
    text = answer.strip().strip("*`").strip()
    for opening, closing in (("\\(", "\\)"), ("\\[", "\\]"), ("$$", "$$"), ("$", "$")):
        if text.startswith(opening) and text.endswith(closing) and len(text) > len(opening) + len(closing):
            text = text[len(opening) : -len(closing)]
    if boxed := _boxed(text):
        text = boxed[-1][1]
    if "\\" in text:
        text = _plain_latex(text)
    return text.strip().rstrip(".!?;,:").strip().strip("*`").strip()


def _plain_latex(text: str) -> str:
    text = re.sub(r"\\(?:left|right|displaystyle|[!,;: ])", "", text)
    text = re.sub(r"\\(?:text|mathrm|mathbf|textbf)\s*\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r"(\1)/(\2)", text)
    text = re.sub(r"\\[dt]?frac\s*(\d)\s*(\d)", r"\1/\2", text)
    text = re.sub(r"\^\s*\{?\\circ\}?", "", text).replace("{,}", ",")
    return text.replace("\\%", "%").replace("\\$", "$").replace("\\cdot", "*").replace("\\times", "*")


def _number(text: str) -> str:
    bare = _without_separators(text)
    if match := _PLAIN.fullmatch(bare):
        sign = "-" if bare.startswith("-") and not match["number"].startswith("-") else ""
        return _value(sign + match["number"])
    if match := _RATIO.fullmatch(re.sub(r"\s+", "", bare)):
        top, bottom = match["sign"] + match["top"].replace("-", "", bool(match["sign"])), match["bottom"]
        if max(len(top), len(bottom)) <= _MAX_DIGITS and int(bottom):
            return str(Fraction(int(top), int(bottom)))
    return ""


def _without_separators(text: str) -> str:
    return re.sub(r"(?<=\d),(?=\d{3})", "", text.replace("\u2212", "-").replace("$", ""))


def _value(digits: str) -> str:
    digits = digits.replace(",", "").rstrip(".")
    if len(digits) > _MAX_DIGITS:
        return digits
    try:
        return str(Fraction(digits))
    except ValueError:
        return digits


def _letter(text: str) -> str:
    if match := _LETTER.fullmatch(text):
        return match["letter"].upper()
    if match := _LED_BY_LETTER.fullmatch(text):
        return match["round"] or match["plain"]
    return ""


def _literal(text: str) -> str:
    """A value of code by its literal, so that spaces and kinds of quotes do not count; a text in quotes is the text."""
    if len(text) > _MAX_LITERAL or not re.match(r"[\[({'\"]|(?:True|False|None)$", text):
        return ""
    try:
        value = ast.literal_eval(text)
    except (SyntaxError, ValueError, MemoryError, RecursionError, TypeError):
        return ""
    if isinstance(value, bool) or value is None:
        return str(value).casefold()
    return _words(value) or repr(value) if isinstance(value, str) else repr(value)


def _text(text: str) -> str:
    # Taken word by word `x + 1` would be `x - 1`, and `C++` would be `C`.
    if _EXPRESSION.search(text) and not _WORDY.search(text):
        return re.sub(r"\s+", "", text).casefold()
    return _words(text)


def _words(text: str) -> str:
    words = " ".join(re.findall(r"[^\W_]+(?:[./:-][^\W_]+)*", text.casefold()))
    return words or re.sub(r"\s+", "", text)
