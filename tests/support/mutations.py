"""Sound bytes made unsound, at random but always the same for the same seed: what servers, disks and editors do to them, and worse."""

from __future__ import annotations

import json
from random import Random
from typing import Any

# Tokens of JSON that stand in for a sound value. They are written as text: some have no form as a Python value.
HOSTILE = (
    *(
        "null",
        "true",
        "-1",
        "0",
        "1e999",
        "-1e999",
        "NaN",
        "-Infinity",
        "1e308",
        '""',
        '" "',
        "[]",
        "{}",
        "[[]]",
        "[null]",
        "[1,2]",
    ),
    *(
        "9" * 400,
        "9" * 5000,
        "1" + "0" * 20,
        "0.1",
        '"\\ud83d"',
        '"\\u0000"',
        '"\\u2028"',
        '"<think>"',
        '"</think>"',
        '"```"',
    ),
    *("[" * 90 + "]" * 90, "[" * 600 + "]" * 600, '{"a":' * 800 + "1" + "}" * 800, '"' + "x" * 30_000 + '"'),
    *(
        '{"type":"text","text":"x"}',
        '[{"type":"thinking","thinking":[{"text":"x"}]}]',
        '{"error":{"message":"x"}}',
        '"error"',
        '"stop"',
    ),
)
SPLICES = (
    *(b"\x00", b"\xff", b"\xef\xbb\xbf", b"\r", b"\n", b"\r\n\r\n", b"\n\n", b"data: ", b"event: error\n", b": x\n", b"data: [DONE]\n\n"),
    *(b"{", b"}", b'"', b"\\", b"\\u", b"\xf0\x9f", b"\xe2\x80\xa8", b"data: {}\n\n", b'data: {"error": {"message": "x"}}\n\n', b"id", b"9" * 500),
    *(b"[" * 2000, b"{" * 500, b"x" * 70_000, b"retry: 99999999999999999999\n", b"data:\n", b"<html>", b"null"),
)  # fmt: skip
_MARK = "@@hostile@@"


def mutated_json(text: str, random: Random) -> str:
    """JSON in which a few values are hostile, missing, doubled or moved."""
    value = json.loads(text)
    tokens: list[str] = []
    for _ in range(random.randint(1, 3)):
        value = _changed(value, random, tokens)
    written = json.dumps(value, ensure_ascii=random.random() < 0.5)
    for number, token in enumerate(tokens):
        written = written.replace(f'"{_MARK}{number}"', token)
    return written


def mutated(data: bytes, random: Random, times: int | None = None) -> bytes:
    """Bytes with a few cuts, splices, flips and repeats."""
    for _ in range(random.randint(1, 4) if times is None else times):
        at = random.randrange(len(data) + 1)
        to = min(len(data), at + random.choice((1, 3, 20, 200)))
        match random.randrange(7):
            case 0:
                data = data[:at]
            case 1:
                data = data[:at] + data[to:]
            case 2:
                data = data[:to] + data[at:]
            case 3:
                data = data[:at] + random.choice(SPLICES) + data[at:]
            case 4:
                data = data[:at] + random.choice(SPLICES) + data[to:]
            case 5 if at < len(data):
                data = data[:at] + bytes([data[at] ^ (1 << random.randrange(8))]) + data[at + 1 :]
            case _:
                data = data[:at] + bytes(random.randrange(256) for _ in range(random.randrange(8))) + data[at:]
    return data


def pieces(data: bytes, random: Random) -> list[bytes]:
    """The bytes as a network brings them."""
    if random.random() < 0.3 or not data:
        return [data]
    cuts = sorted(random.randrange(len(data)) for _ in range(random.randint(1, 12)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def _changed(value: Any, random: Random, tokens: list[str]) -> Any:
    """One place somewhere in the value is changed; how deep is chance."""
    if isinstance(value, dict) and value and random.random() < 0.85:
        name = random.choice(list(value))
        if random.random() < 0.12:
            return {key: item for key, item in value.items() if key != name}
        if random.random() < 0.06:
            return {
                **value,
                random.choice(("error", "type", "index", "id", "code", "usage", "content", "text")): _hostile(
                    random, tokens
                ),
            }
        return {**value, name: _changed(value[name], random, tokens)}
    if isinstance(value, list) and value and random.random() < 0.85:
        at = random.randrange(len(value))
        if random.random() < 0.1:
            return [*value, value[at]]
        return [*value[:at], _changed(value[at], random, tokens), *value[at + 1 :]]
    return _hostile(random, tokens)


def _hostile(random: Random, tokens: list[str]) -> str:
    tokens.append(random.choice(HOSTILE))
    return f"{_MARK}{len(tokens) - 1}"
