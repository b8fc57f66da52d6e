"""Taking secrets out of text that leaves the program's own folders: patterns of well-known kinds of keys."""

from __future__ import annotations

import re
from typing import Any

MASK = "[secret]"

# Every repetition that can fail after having matched has a bound, so that no text takes more than linear time. Prefixes as their issuers document them: OpenAI, Anthropic, OpenRouter and their like (sk-), GitHub, GitLab, AWS, Google, Slack,
# Hugging Face, Stripe, npm, and JSON web tokens. A bearer token and a private key are known by what stands around them.
_KEYS = re.compile(
    r"""
      \bsk-[A-Za-z0-9_-]{16,}
    | \b(?:gh[pousr]_[A-Za-z0-9]{20,} | github_pat_[A-Za-z0-9_]{20,})
    | \bglpat-[A-Za-z0-9_-]{16,}
    | \b(?:AKIA|ASIA)[A-Z0-9]{16}\b
    | \bAIza[A-Za-z0-9_-]{30,}
    | \bxox[abeoprs]-[A-Za-z0-9-]{10,}
    | \bhf_[A-Za-z0-9]{20,}
    | \b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}
    | \bnpm_[A-Za-z0-9]{30,}
    | \beyJ[A-Za-z0-9_-]{8,400}\.eyJ[A-Za-z0-9_-]{8,8000}\.[A-Za-z0-9_-]{8,}
    | -----BEGIN[ ](?:[A-Z]+[ ])*PRIVATE[ ]KEY-----.*?(?:-----END[ ](?:[A-Z]+[ ])*PRIVATE[ ]KEY-----|\Z)
    """,
    re.VERBOSE | re.DOTALL,
)
_BEARER = re.compile(r"(\bbearer[ \t]+)[A-Za-z0-9._~+/-]{12,}=*", re.IGNORECASE)
_ASSIGNED = re.compile(
    r"""((?:api_?key|secret_?(?:access_?)?key|access_?token|auth_?token|password)\w{0,20}["']?\s{0,3}[=:]\s{0,3}["']?)[^\s"',;]{8,}""",
    re.IGNORECASE,
)


def mask(text: str) -> str:
    """The text with every known kind of secret in it replaced."""
    text = _KEYS.sub(MASK, text)
    text = _BEARER.sub(lambda found: found[1] + MASK, text)
    return _ASSIGNED.sub(lambda found: found[1] + MASK, text)


def mask_all(value: Any) -> Any:
    """The same for every string within plain JSON; keys of objects stay."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {key: mask_all(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [mask_all(item) for item in value]
    return value
