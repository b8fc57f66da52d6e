"""What models are called in front of people and of each other, and whose they are."""

from __future__ import annotations

import re
from collections.abc import Sequence

from moa.outcome import Answer
from moa.quoting import flat

_NAME_CHARS = 80


def display_names(answers: Sequence[Answer]) -> list[str]:
    """What each answer's model is called, in the answers' order: what the endpoint says it ran, with the slot where two are alike."""
    models = [safe_name(answer.model_served or answer.model_requested) for answer in answers]
    names = [
        f"{model} ({safe_name(answer.slot)})" if models.count(model) > 1 else model
        for model, answer in zip(models, answers, strict=True)
    ]
    return [f"{name} #{index + 1}" if names.count(name) > 1 else name for index, name in enumerate(names)]


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
    name = model.lower()
    # The model's own name says more than the endpoint's or the vendor's: a distilled Qwen may be sold by anybody.
    for part in (name.rsplit("/", 1)[-1], name):
        if found := _FAMILY.search(part):
            return found.lastgroup or part
    return name.rsplit("/", 1)[-1].split(":")[0]
