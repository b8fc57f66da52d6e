"""How foreign text is put into a prompt so that it stays a quotation: cleaned, clipped, flattened, fenced."""

from __future__ import annotations

import re

from agent.llm.tokens import estimate_tokens
from agent.session.sent import unmarked
from agent.text.cleaning import harmless

_BACKTICKS = re.compile("`+")
_LONGEST_RUN = 12
# The first character of a special token, by template: ChatML and its like (also in full-width bars, DeepSeek), Llama 2 and Mistral, Gemma, GLM,
# and the tags of thinking and of tool calls.
_SPECIAL = re.compile(
    r"<(?=[|｜][^|｜<>\n]{1,60}[|｜]>)"
    r"|<(?=<?/?SYS>>)"
    r"|\[(?=/?(?:INST|THINK|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|ARGS|CALL_ID)\])"
    r"|\[(?=[gs]?MASK\])"
    r"|<(?=/?(?:s|bos|eos|pad|unk|sop|eop|start_of_turn|end_of_turn|start_of_image|think|thinking|tool_calls?|tool_responses?|tool_results?"
    r"|function_calls?|invoke|minimax:tool_call|seed:think)>)",
    re.IGNORECASE,
)


def clean(text: str) -> str:
    """The text without lone surrogates, which JSON may spell and UTF-8 can't carry."""
    return text.encode("utf-8", "replace").decode("utf-8")


def defused(text: str) -> str:
    """The text without the special tokens of chat templates: a space after the first character makes ordinary words of them.

    A server that fills its template with text tokenizes `<|im_start|>` in it as what it looks like: the beginning of somebody's message.
    Nor may it end the guidance that it becomes a part of: the marks that guidance stands between are taken apart, too. What can't be seen
    goes first: a token with a control character in it is one as soon as that is taken out.
    """
    return unmarked(_SPECIAL.sub(lambda token: f"{token.group()} ", harmless(text)))


def flat(text: str, limit: int) -> str:
    """One line of at most `limit` characters: every kind of line break and white space becomes one space."""
    line = " ".join(clean(text).split())
    return line if len(line) <= limit else line[: max(0, limit - 1)].rstrip() + "…"


def head_and_tail(text: str, limit: int) -> str:
    """About `limit` characters of a text: its head and its tail, with the number of characters left out between them.

    The end of an output matters as much as its beginning (an error's last line, a test run's summary).
    """
    if len(text) <= limit:
        return text
    head = limit * 2 // 3
    tail = limit - head
    omitted = len(text) - head - tail
    return f"{text[:head]}\n[… {omitted} characters omitted …]\n{text[len(text) - tail :]}"


def fence(text: str) -> str:
    """The text between two bars of backticks that are longer than any run of backticks in it, so it can't close them.

    The rule is CommonMark's for fenced code. Unusual line separators become newlines, and runs of more than twelve backticks are
    shortened, because else a hostile text could make the bars as long as itself.
    """
    body = "\n".join(clean(text).splitlines())
    body = _BACKTICKS.sub(lambda run: run.group()[:_LONGEST_RUN], body)
    longest = max((len(run) for run in _BACKTICKS.findall(body)), default=0)
    bar = "`" * max(3, longest + 1)
    return f"{bar}\n{body}\n{bar}"


def within(text: str, tokens: int) -> str:
    """Head and tail of a text in about `tokens` tokens; the whole of it where it is no longer."""
    have = estimate_tokens(text)
    if have <= tokens:
        return text
    limit = max(0, len(text) * tokens // have)
    while limit > 0 and estimate_tokens(cut := head_and_tail(text, limit)) > tokens:
        limit = limit * 4 // 5  # the rest is denser than the average, or the mark of the cut is most of it
        if limit < 40:
            break
    return cut if limit >= 40 else text[: max(0, limit)]


_END = re.compile(r"[.!?。！？](?=[\s\"'”’)\]]|$)|\n")


def first_sentences(text: str, tokens: int) -> tuple[str, bool]:
    """The beginning of a text, in at most `tokens` tokens, and whether anything was cut.

    The cut falls at a sentence's end, or at a word's where no sentence fits, and is marked.
    """
    text = text.strip()
    if estimate_tokens(text) <= tokens:
        return text, False
    room = max(1, tokens - estimate_tokens(CUT) - 1)
    limit = max(1, len(text) * room // estimate_tokens(text))
    while limit > 1 and estimate_tokens(text[:limit]) > room:
        limit = limit * 9 // 10
    ends = [found.end() for found in _END.finditer(text, 0, limit)]
    # A short first sentence is no reason to lose two thirds.
    whole = ends[-1] if ends and ends[-1] * 3 >= limit else 0
    kept = text[:whole] or text[:limit].rpartition(" ")[0] or text[:limit]
    return f"{kept.rstrip()} {CUT}", True


CUT = "[… cut to length]"
"""Marks where a text was cut at its end."""
