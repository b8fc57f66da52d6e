"""The first word of a member's answer: how much it matters, or that there is nothing to add.

Members are asked to begin with NOTHING, NOTE, CONCERN or BLOCKER. Models put marks around the word, write it small, or leave it out;
what they meant is read here, and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple, get_args

from moa.panel import prompts
from moa.preset.preset import Severity

Grade = Literal["nothing", "note", "concern", "blocker"]

GRADES: tuple[Grade, ...] = get_args(Grade)
"""From silence to what must be dealt with first."""


class Graded(NamedTuple):
    """An answer with its grade taken off. `text` is empty for `nothing`; `named` says whether the first word was one of the four."""

    grade: Grade
    text: str
    named: bool


def read(answer: str) -> Graded:
    """An answer's grade and its text without the word. No such word is a note; one that only says that there is nothing is silence."""
    grade, text, named = _first_word(_own_words(answer.strip()))
    while grade != "nothing" and (more := re.match(r"(NOTE|CONCERN|BLOCKER)[ \t]*\n", text)):
        grade, text = highest((grade, more[1].lower())), text[more.end() :].strip()  # type: ignore[arg-type]
    if grade == "nothing" or says_nothing(text):
        return Graded("nothing", "", named)
    return Graded(grade, text, named)


def _own_words(answer: str) -> str:
    """The answer without lines that only repeat what its first word was said to mean: small models copy the question."""
    meanings = [_bare(meaning) for meaning in prompts.MEANINGS.values()]
    lines = [line for line in answer.splitlines() if not any(_bare(line).endswith(meaning) for meaning in meanings)]
    return answer if len(lines) == len(answer.splitlines()) else "\n".join(lines).strip()


def says_nothing(text: str) -> bool:
    """True for a text whose every sentence says that there is nothing to add, or that all is well. True for an empty one, too."""
    if len(text) > _MOST_CHARS:
        return False
    sentences = [_bare(sentence) for sentence in re.split(_SENTENCE, text)]
    return all(re.fullmatch(_EMPTY, sentence) for sentence in sentences if sentence)


def highest(grades: Iterable[Grade]) -> Grade:
    """The gravest of them; `nothing` where there is none."""
    return max(grades, key=GRADES.index, default="nothing")


def reaches(grade: Grade, threshold: Severity) -> bool:
    """Whether something of this grade is sent where a preset's `severity` is `threshold`."""
    return grade != "nothing" and GRADES.index(grade) >= GRADES.index(threshold)


# Patterns are compiled at first use (and kept by `re`): this module is on the way to the first byte.
_MARKS = r"[\s*_#>`~\"'“”‘’«»\[\](){}<|.•–—-]*"
_CLOSE = r"[*_`~\"'“”‘’«»\])}>|]*"
_LABEL = r"(?:(?:severity|grade|verdict|level)\W{1,4})?"
_WORD = rf"{_MARKS}{_LABEL}(nothing|note|concern|blocker)\b({_CLOSE}\s*[:：.,;!–—-]*{_CLOSE})"


def _first_word(answer: str) -> Graded:
    found = re.match(_WORD, answer, re.IGNORECASE)
    if found is None:
        return Graded("note", answer, False)
    word, after = found[1], found[2]
    rest = answer[found.end() :]
    if re.match(r"[-'’]\w", answer[found.end(1) :]):  # note-taking, nothing's: the word goes on
        return Graded("note", answer, False)
    grade: Grade = word.lower()  # type: ignore[assignment]
    # The word stands for itself where it is in capitals, has a mark of its own, or stands alone on its line.
    alone = word.isupper() or bool(after.strip()) or not rest or "\n" in after or rest.startswith("\n")
    if alone:
        return Graded(grade, rest.strip(), True)
    if grade in ("nothing", "note"):  # "Nothing stops the loop", "Note that …": the first word of a sentence
        return Graded("note", answer, False)
    return Graded(grade, answer, True)


_MOST_CHARS = 300
_SENTENCE = r"[.;!\n]+|,\s*(?:and|so|but)\s+|(?<!\s)\s+[–—-]\s+"
_THING = (
    r"(?:objections?|concerns?|comments?|issues?|points?|notes?|blockers?|problems?|advice|remarks?|additions?|changes?|"
    r"suggestions?|corrections?|feedback|notes)"
)
_MORE = r"(?:further |other |more |new |additional |major |serious |significant |specific )*"
_LEAD = r"(?:i |we |there |currently |so far |ok(?:ay)? |for now )*(?:have |see |find |found |has |is |are |am |'?m )?(?:no reason |)?"
_WHEN = r"(?: (?:here|now|at this (?:point|time|step|stage)|from (?:me|my side)|for now|so far|yet|on this step|for this step|to that|at all))*"
_EMPTY = "|".join(
    (
        rf"{_LEAD}(?:nothing|none|nil)(?: (?:else|further|more|new|important|material|significant))*"
        rf"(?: (?:to|worth|needs?|that needs?) ?(?:be )?(?:add(?:ing|ed)?|say(?:ing)?|report(?:ing)?|object(?: to)?|flag(?:ging)?|note|noting|"
        rf"mention(?:ing)?|chang(?:e|ing)|correct(?:ing)?|comment(?: on)?|raise|raising|advise|suggest))?{_WHEN}",
        rf"{_LEAD}(?:no|not any|without|zero) ?{_MORE}{_THING}(?:(?:,| or| and| nor) {_MORE}{_THING})*(?: to (?:add|raise|report|make|give))?{_WHEN}",
        rf"{_THING}\W+(?:none|nothing|no|nil|n/?a)",
        r"n/?a",
        r"(?:i )?(?:agree|concur|approve|approved|agreed)(?: with (?:the|this|that) (?:plan|course|step|approach|draft))?",
        rf"(?:it |this |that |everything |all |(?:the |this |your )?(?:plan|course|step|approach|draft|work|next step|code|change) )?"
        rf"(?:looks?|seems?|is|are|appears?|sounds?)(?: all)? (?:good|fine|ok(?:ay)?|well|sound|right|correct|on track|complete|reasonable)"
        rf"(?: to me)?(?: as (?:it is|planned|is))?{_WHEN}",
        r"(?:all|sounds|looks) (?:good|fine|well|clear)(?: to me)?",
        r"lgtm|ok(?:ay)?|fine|good|none|proceed|continue|carry on|go on|go ahead|keep going",
        r"(?:please |you (?:can|may|should) |the agent (?:can|may|should) )?(?:proceed|continue|carry on|go on|go ahead|keep going)"
        r"(?: as (?:planned|is|before)| with (?:the|this|your) (?:plan|next step|step|work|approach))?",
    )
)
_AROUND = "".join(dict.fromkeys(" \t\r*_#>`~\"'“”‘’«»[](){}<>|.,:!•–—-"))


def _bare(sentence: str) -> str:
    """A sentence in small letters, without the marks around it."""
    return " ".join(sentence.lower().strip(_AROUND).split())
