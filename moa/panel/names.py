"""What models are called in front of people and of each other, and whose they are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

from moa.panel.quoting import flat

_NAME_CHARS = 80


class Named(Protocol):
    """Somebody on the panel who has answered."""

    @property
    def slot(self) -> str:
        """The place on the panel."""
        ...

    @property
    def model_requested(self) -> str:
        """ENDPOINT:MODEL."""
        ...

    @property
    def model_served(self) -> str:
        """What the endpoint says it ran; may be empty."""
        ...


def display_names(answers: Sequence[Named]) -> list[str]:
    """What each answer's model is called, in the answers' order: what the endpoint says it ran, with the slot where two are alike."""
    models = [safe_name(answer.model_served or answer.model_requested) for answer in answers]
    names = [
        f"{model} ({safe_name(answer.slot)})" if models.count(model) > 1 else model
        for model, answer in zip(models, answers, strict=True)
    ]
    return [f"{name} #{index + 1}" if names.count(name) > 1 else name for index, name in enumerate(names)]


def short_name(model: str, *, served: bool = False) -> str:
    """A model without its endpoint and its vendor: `kimi-k2` for `openrouter:moonshotai/kimi-k2`, `qwen3:8b` for `ollama:qwen3:8b`.

    `served`: it is the endpoint's own word for what it ran, which names no endpoint.
    """
    name = safe_name(model)
    return (name if served else name.partition(":")[2] or name).rpartition("/")[2]


@lru_cache(maxsize=1024)
def safe_name(name: str) -> str:
    """A name cut down to the characters of a model id: an endpoint says what it serves, and could say anything."""
    return re.sub(r"[^\w./:~@+#-]", "_", flat(name, _NAME_CHARS))


_FAMILIES = {
    "anthropic": r"claude|anthropic",
    "openai": r"gpt|chatgpt|openai|o[1-9](?![0-9a-z])",
    "google": r"gemini|gemma|google",
    "meta": r"llama(?!cpp|\.cpp)|meta-",
    "qwen": r"qwen|qwq|qvq",
    "deepseek": r"deepseek",
    "moonshot": r"kimi|moonshot",
    "zhipu": r"glm|chatglm|z-ai",
    "mistral": r"[a-z]*stral|mixtral|mistralai",
    "xai": r"grok|x-ai",
    "microsoft": r"phi-?[0-9]|microsoft",
    "minimax": r"minimax",
    "cohere": r"command-|cohere",
    "amazon": r"nova-|amazon",
    "huggingface": r"smollm",
}
_FAMILY = re.compile("(?<![a-z])(?:" + "|".join(f"(?P<{name}>{words})" for name, words in _FAMILIES.items()) + ")")


def family(model: str) -> str:
    """Whose model it is, by name: `anthropic` for `openrouter:anthropic/claude-opus-4.8`. An unknown one is a family of its own."""
    return known_family(model) or model.lower().rsplit("/", 1)[-1].split(":")[0]


def related(one: str, other: str) -> bool:
    """Whether two models are known to be of one family. Two of whom nobody knows anything are not, unless they are the same."""
    known = known_family(one)
    return one == other or (known is not None and known == known_family(other))


def known_family(model: str) -> str | None:
    """Whose model it is, where its name tells."""
    name = model.lower()
    # The model's own name says more than the endpoint's or the vendor's: a distilled Qwen may be sold by anybody.
    for part in (name.rsplit("/", 1)[-1], name):
        if found := _FAMILY.search(part):
            return found.lastgroup
    return None
