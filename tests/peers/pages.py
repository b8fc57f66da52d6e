"""What the pages of docs/serve say to paste, for a server, a key and a model of a test: so the pages are what the tests run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs" / "serve"


@dataclass(frozen=True, slots=True)
class Page:
    """One page, with the places of its examples filled in."""

    text: str

    @property
    def exports(self) -> dict[str, str]:
        """The variables that it exports."""
        return dict(re.findall(r"^    export (\w+)=(.+)$", self.text, re.MULTILINE))

    def block(self, language: str) -> str:
        """The first fenced block in a language."""
        found = re.search(rf"^```{language}\n(.*?)^```$", self.text, re.MULTILINE | re.DOTALL)
        assert found is not None, f"the page has no block of {language}"
        return found[1]

    def command(self, program: str) -> list[str]:
        """The arguments behind the program in the first command line that calls it."""
        found = re.search(rf"^    {program} (.*)$", self.text, re.MULTILINE)
        assert found is not None, f"the page does not call {program}"
        return shlex.split(found[1])


def page(name: str, url: str, key: str, model: str = "moa/p", more: Mapping[str, str] | None = None) -> Page:
    """A page of docs/serve. `more` are replacements of words in it; each has to be there."""
    text = (FOLDER / f"{name}.md").read_text()
    words = {"http://127.0.0.1:8484": url, "moa/budget": model, **(more or {})}
    for word, other in words.items():
        assert word in text, f"{word} is not on the page of {name}"
        text = text.replace(word, other)
    return Page(re.sub(r"\bKEY\b", key, text))
