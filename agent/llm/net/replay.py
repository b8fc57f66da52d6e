"""The file behind an endpoint of the dialect `replay`, and the telling of one answer from it.

Each line of the file (JSON Lines, plain or gzip) is one stored answer: `model`, `prompt`, `text`, and where they were recorded
`prompt_tokens`, `completion_tokens`, `ttft_s`, `duration_s` and `finish`. What was not recorded is simulated, and the reply's provider says so.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.errors import UsageError
from agent.llm.dialects.base import Exchange
from agent.llm.errors import ModelNotFound
from agent.llm.messages import TextPart
from agent.llm.tokens import estimate_tokens
from agent.text import foreign_json

if TYPE_CHECKING:
    from agent.llm.dialects.base import Decoder, Dialect
    from agent.llm.models.endpoint import Endpoint
    from agent.llm.net.http import Http
    from agent.llm.request import Request
    from agent.llm.stream import Reply, StreamEvent

SIMULATED_TTFT_S = 0.3
SIMULATED_TOKENS_PER_S = 60.0
PIECES = 20
LEAST_PROMPT = 16
"""A shorter stored prompt is only found whole: it would stand by chance in many a request."""


class StoredAnswer(NamedTuple):
    """One answer. Tokens and seconds are None where nobody recorded them."""

    text: str
    finish: str
    prompt_tokens: int | None
    completion_tokens: int | None
    ttft_s: float | None
    duration_s: float | None


class ReplayFile:
    """All answers of a file, by model and prompt; of several to the same prompt the first holds. Raises UsageError for a damaged file."""

    def __init__(self, path: Path) -> None:
        self._answers: dict[str, dict[str, StoredAnswer]] = {}
        self._heads: dict[tuple[str, str], list[str]] = {}
        for row in _rows(path):
            model, prompt = str(row["model"]), str(row["prompt"]).strip()
            stored = self._answers.setdefault(model, {})
            if prompt not in stored:
                stored[prompt] = _answer(row)
                if len(prompt) >= LEAST_PROMPT:
                    self._heads.setdefault((model, prompt[:LEAST_PROMPT]), []).append(prompt)

    @property
    def models(self) -> tuple[str, ...]:
        """Whose answers there are."""
        return tuple(self._answers)

    def find(self, model: str, texts: Sequence[str]) -> StoredAnswer | None:
        """The answer to the prompt that is one of these texts, or stands in one of them (of several: the longest). The later text goes first."""
        stored = self._answers.get(model, {})
        for text in reversed(texts):
            if (found := stored.get(text.strip())) is not None:
                return found
        for text in reversed(texts):
            lines = [0, *(newline.end() for newline in re.finditer("\n", text))]
            # Nearly always it begins a line; only where none does, every place is looked at.
            if inside := self._inside(model, text, lines) or self._inside(model, text, range(len(text))):
                return stored[max(inside, key=len)]
        return None

    def _inside(self, model: str, text: str, places: Iterable[int]) -> list[str]:
        """The stored prompts that begin at one of these places. However many are stored, it takes as long as the text is."""
        return [
            prompt
            for at in places
            for prompt in self._heads.get((model, text[at : at + LEAST_PROMPT]), ())
            if text.startswith(prompt, at)
        ]


_files: dict[str, ReplayFile] = {}
_reading = threading.Lock()


def replay_file(path: str) -> ReplayFile:
    """The answers of a file, read once a process, however many ask for it at the same time. Raises UsageError where it can't be read."""
    with _reading:
        if path not in _files:
            _files[path] = ReplayFile(Path(path))
        return _files[path]


def told_at_once(endpoint: Endpoint, request: Request) -> Reply | None:
    """The reply that a call would come to whose answer is told at once, without a stream's detours; None where none is stored.

    Blocks while the file is read for the first time. Raises UsageError where it can't be.
    """
    from agent.llm.messages import assistant
    from agent.llm.stream import Reply, Usage

    texts = _asked(request)
    found = replay_file(endpoint.answers).find(request.model.model, texts)
    if found is None or not found.text.strip() or found.finish != "stop":
        return None
    prompt, completion, provider = _figures(found, texts)
    return Reply(
        assistant(found.text, origin=str(request.model)),
        "stop",
        Usage(prompt=prompt, completion=completion),
        model_served=request.model.model,
        provider=provider,
    )


class ReplayExchange(Exchange):
    """Tells one stored answer as a stream of Chat Completions, at the endpoint's `speed` times its own pace (0: at once)."""

    def __init__(self, dialect: Dialect, decoder: Decoder, endpoint: Endpoint) -> None:
        super().__init__(dialect, decoder, endpoint)
        self._chunks: Iterator[tuple[float, dict[str, Any]]] = iter(())

    async def open(self, http: Http, request: Request, quirks: frozenset[str], connect_s: float) -> None:
        """Look the answer up. Raises ModelNotFound where none is stored for this model and prompt."""
        self.items = self._dialect.items(self._dialect.compose(request, self._endpoint, quirks, self.left))
        texts = _asked(request)
        path = self._endpoint.answers
        file = _files[path] if path in _files else await asyncio.to_thread(replay_file, path)
        model = request.model.model
        found = file.find(model, texts)
        if found is None:
            known = model in file.models
            what = f"to this prompt of {model}" if known else f"of {model}"
            remedy = "ask one of the stored prompts" if known else f"stored are: {', '.join(file.models[:8])}"
            raise ModelNotFound(f"{self._endpoint.name} has no stored answer {what}", remedy=remedy)
        self.chargeable = True
        self._chunks = _chunks(found, model, texts, self._endpoint.speed)

    async def read(self) -> list[StreamEvent] | None:
        """The next piece, when its time has come; None behind the last."""
        chunk = next(self._chunks, None)
        if chunk is None:
            return None
        wait_s, payload = chunk
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        return self.decoder.feed("message", json.dumps(payload))

    async def aclose(self) -> None:
        """There is nothing to close."""


def _asked(request: Request) -> list[str]:
    texts = [p.text for m in request.messages if m.role == "user" for p in m.parts if isinstance(p, TextPart)]
    return [*texts, request.tail] if request.tail else texts


def _figures(answer: StoredAnswer, texts: Sequence[str]) -> tuple[int, int, str]:
    """Tokens of the prompt and of the answer, and a provider that says what of it all is simulated."""
    completion = answer.completion_tokens
    tokens = max(1, estimate_tokens(answer.text)) if completion is None else completion
    prompt = sum(map(estimate_tokens, texts)) if answer.prompt_tokens is None else answer.prompt_tokens
    simulated = [
        *(["tokens"] if None in (answer.prompt_tokens, answer.completion_tokens) else []),
        *(["times"] if answer.duration_s is None else []),
    ]
    return prompt, tokens, f"replay ({' and '.join(simulated)} simulated)" if simulated else "replay (recorded)"


def _chunks(
    answer: StoredAnswer, model: str, texts: Sequence[str], speed: float
) -> Iterator[tuple[float, dict[str, Any]]]:
    """Pairs of seconds to wait and what then comes."""
    prompt, tokens, provider = _figures(answer, texts)
    ttft = SIMULATED_TTFT_S if answer.ttft_s is None else answer.ttft_s
    whole = ttft + tokens / SIMULATED_TOKENS_PER_S if answer.duration_s is None else answer.duration_s
    head = {"id": "", "model": model, "provider": provider}
    size = max(1, -(-len(answer.text) // (PIECES if speed else 1)))
    pieces = [answer.text[at : at + size] for at in range(0, len(answer.text), size)]
    between = max(0.0, whole - min(ttft, whole)) / max(1, len(pieces))
    for at, piece in enumerate(pieces):
        wait_s = (min(ttft, whole) if at == 0 else between) / speed if speed else 0.0
        yield wait_s, {**head, "choices": [{"index": 0, "delta": {"content": piece}}]}
    usage = {"prompt_tokens": prompt, "completion_tokens": tokens}
    ended = {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": answer.finish}], "usage": usage}
    yield (between / speed if speed else 0.0), ended


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    remedy = 'each line is {"model": …, "prompt": …, "text": …}; `moa bench replay SUITE` writes such a file'
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                row = foreign_json.loads(line)
                if not isinstance(row, dict) or not all(
                    isinstance(row.get(k), str) for k in ("model", "prompt", "text")
                ):
                    raise UsageError(f"{path}, line {number}: not a stored answer", remedy=remedy, kind="config")
                yield row
    except (OSError, EOFError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} can't be read as stored answers: {error}", remedy=remedy, kind="config") from error


def _answer(row: dict[str, Any]) -> StoredAnswer:
    def count(key: str) -> int | None:
        value = row.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None

    def seconds(key: str) -> float | None:
        value = row.get(key)
        real = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e6
        return float(value) if real else None  # type: ignore[arg-type]

    finish = row.get("finish")
    return StoredAnswer(
        row["text"],
        finish if isinstance(finish, str) else "stop",
        count("prompt_tokens"),
        count("completion_tokens"),
        seconds("ttft_s"),
        seconds("duration_s"),
    )
