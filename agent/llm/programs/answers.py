"""Reads what programs print: plain text, or the JSON forms of the command-line agents, and what they say of tokens, cost and failure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agent.llm.answers.decoding import DecoderBase
from agent.llm.answers.reading import as_dict, as_list, as_name, as_str, first_object
from agent.llm.errors import AuthError, BadAnswer, EmptyAnswer, ModelError, ProgramFailed, RateLimited
from agent.llm.programs.known import PROGRAMS, program_of
from agent.llm.stream import Alive, StreamEvent
from agent.text import foreign_json
from agent.text.cleaning import harmless

if TYPE_CHECKING:
    from agent.llm.models.endpoint import Endpoint
    from agent.llm.request import Request

# Colours, cursor moves, and titles (ECMA-48 control sequences, and operating system commands).
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_LIMIT = re.compile(
    r"rate.?limit|usage limit|quota|too many requests|\b429\b|limit reached|hit your .{0,20}limit", re.IGNORECASE
)
_LOGIN = re.compile(
    r"not logged in|log ?in\b|/login|sign in|unauthori[sz]ed|authenticat|api key|\b401\b|auth method", re.IGNORECASE
)
MOST_SAID = 600
"""Characters of a failed program's last words in an error."""


class ProgramDecoder(DecoderBase):
    """One answer. Fed `line`s as they come, and at last `exit` with the code and the end of standard error."""

    def __init__(self, request: Request, endpoint: Endpoint) -> None:
        super().__init__(request, endpoint)
        self._program = endpoint.program or program_of(endpoint.command)
        self._structured = PROGRAMS[self._program].structured
        self._body: list[str] = []
        self._final = ""
        self._complete = False
        self._error = ""
        self._reported: dict[str, Any] = {}
        self._waiting = ""

    def headers(self, headers: Mapping[str, str]) -> None:
        """A program has none."""

    def feed(self, event: str, data: str) -> list[StreamEvent]:
        """A line, or the end. Raises the program's fault by name."""
        if event == "exit":
            return self._exit(as_dict(foreign_json.loads(data)))
        if not self._structured:
            return self._plain(data)
        if (payload := _object(data)) is None:
            self._body.append(data)
            return []
        return self._event(payload)

    def feed_body(self, body: bytes) -> list[StreamEvent]:
        """All of it at once."""
        return [event for line in body.decode("utf-8", "replace").splitlines() for event in self.feed("line", line)]

    def _plain(self, line: str) -> list[StreamEvent]:
        """Each line as it comes; empty ones only before another, so that no answer begins or ends with them."""
        text = harmless(_ANSI.sub("", line)).rstrip()
        if not text:
            self._waiting += "\n" if self._waiting else ""
            return [Alive()]
        waiting, self._waiting = self._waiting, "\n"
        return self.answer.text("text", waiting + text)

    def _event(self, payload: dict[str, Any]) -> list[StreamEvent]:
        READERS[self._program](self, payload)
        return [Alive()]

    # What the readers of the known programs set

    def answered(self, text: str, *, complete: bool = True) -> None:
        """The answer; a later one replaces it. `complete`: the program says that it is done."""
        self._final = text or self._final
        self._complete = complete or self._complete

    def failed(self, message: str) -> None:
        """The program says that it failed, and why."""
        self._error = message or "it reported an error without saying which"

    def about(self, *, id: object = "", model: object = "", usage: dict[str, Any] | None = None) -> None:
        """Its id of the run, the model that it used, and its tokens and cost, as they are named elsewhere, too."""
        self.answer.generation_id = as_name(id) or self.answer.generation_id
        self.answer.model_served = as_name(model) or self.answer.model_served
        if usage:
            self._reported = usage
            self.answer.report.add(usage)

    def _exit(self, said: dict[str, Any]) -> list[StreamEvent]:
        code, stderr = said.get("code"), _ANSI.sub("", as_str(said.get("stderr"))).strip()
        events: list[StreamEvent] = []
        printed = "\n".join(self._body).strip()
        if self._structured and not self._complete and (payload := first_object(printed)) is not None:
            self._event(payload)
        if self._error:
            raise self._fault(self._error)
        if code != 0:
            how = (
                f"was ended by signal {-code}" if isinstance(code, int) and code < 0 else f"ended with exit code {code}"
            )
            last = stderr or _ANSI.sub("", printed) or (self.partial.text if self.partial else "")
            raise self._fault(f"{how}: {_end_of(last)}" if last else f"{how} and said nothing")
        if self._structured and not self._complete:
            raise self._garbage(printed, stderr)
        if self._structured:
            usage = self.answer.usage
            if not self._final.strip():
                raise EmptyAnswer(f"{self.endpoint.name}: the program ended without an answer", usage=usage)
            events = self.answer.text("text", harmless(_ANSI.sub("", self._final)))
            # What it reported was of the whole answer, which only now is told.
            self.answer.report.add(self._reported)
        self.answer.end("stop")
        return events

    def _garbage(self, printed: str, stderr: str) -> ModelError:
        what = _end_of(printed or stderr)
        if not what:
            return EmptyAnswer(f"{self.endpoint.name}: the program printed nothing")
        text = f"{self.endpoint.name}: what the program printed is not its JSON form: {what}"
        flag = {"codex": "--json"}.get(self._program, "--output-format json")
        return self.answer.break_off(
            BadAnswer(
                text,
                remedy=f'put {flag} into command under [endpoints.{self.endpoint.name}], or set program = "text" there',
            )
        )

    def _fault(self, message: str) -> ModelError:
        """The program's failure by the name that it would have at an endpoint."""
        text = f"{self.endpoint.name}: the program {message}" if message.startswith(("ended", "was ")) else message
        if text is message:
            text = f"{self.endpoint.name}: {_end_of(harmless(message))}"
        error: ModelError
        if _LIMIT.search(message):
            error = RateLimited(text, remedy="its subscription's limit is reached: wait, or take another member")
        elif _LOGIN.search(message):
            name = self.endpoint.command[0] if self.endpoint.command else self._program
            error = AuthError(text, remedy=f"start {name} once by itself and log in there")
        else:
            error = ProgramFailed(text, remedy="run the command by itself to see what it says")
        partial = self.answer.partial()
        error.partial = partial if partial is not None and partial.text.strip() else None
        error.usage, error.cost_nano = self.answer.usage, self.answer.report.cost_nano
        return error


def _claude(decoder: ProgramDecoder, payload: dict[str, Any]) -> None:
    """`claude -p --output-format json | stream-json`: the last object has the answer, its tokens and what it would cost at list prices."""
    if payload.get("type") == "assistant":
        message = as_dict(payload.get("message"))
        texts = [as_str(as_dict(block).get("text")) for block in as_list(message.get("content"))]
        decoder.answered("".join(texts), complete=False)
        return
    if payload.get("type") != "result":
        return
    models = as_dict(payload.get("modelUsage"))
    usage = dict(as_dict(payload.get("usage")))
    if "total_cost_usd" in payload:
        usage["cost"] = payload["total_cost_usd"]
    decoder.about(id=payload.get("session_id"), model=next(iter(models), ""), usage=usage)
    if payload.get("is_error") or as_str(payload.get("subtype")).startswith("error"):
        errors = "; ".join(as_str(each) for each in as_list(payload.get("errors")))
        decoder.failed(as_str(payload.get("result")) or errors or as_str(payload.get("subtype")))
    else:
        decoder.answered(as_str(payload.get("result")))


def _codex(decoder: ProgramDecoder, payload: dict[str, Any]) -> None:
    """`codex exec --json`: events; the last `agent_message` is the answer, `turn.completed` has the tokens."""
    kind, item = payload.get("type"), as_dict(payload.get("item"))
    if kind == "thread.started":
        decoder.about(id=payload.get("thread_id"))
    elif kind == "item.completed" and item.get("type") == "agent_message":
        decoder.answered(as_str(item.get("text")), complete=False)
    elif kind == "turn.completed":
        usage = dict(as_dict(payload.get("usage")))
        usage["cached_tokens"] = usage.pop("cached_input_tokens", 0)
        usage["reasoning_tokens"] = usage.pop("reasoning_output_tokens", 0)
        decoder.about(usage=usage)
        decoder.answered("")
    elif kind == "turn.failed":
        decoder.failed(_inner_message(as_str(as_dict(payload.get("error")).get("message"))))


def _gemini(decoder: ProgramDecoder, payload: dict[str, Any]) -> None:
    """`gemini --output-format json`: one object with `response`, `stats` by model, or `error`."""
    if not {"response", "error", "stats"} & payload.keys():
        return
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "cached_tokens": 0, "reasoning_tokens": 0}
    models = as_dict(as_dict(payload.get("stats")).get("models"))
    for figures in models.values():
        tokens = as_dict(as_dict(figures).get("tokens"))
        counts = {name: value for name, value in tokens.items() if isinstance(value, int)}
        thoughts = counts.get("thoughts", 0)
        usage["prompt_tokens"] += counts.get("prompt", 0) + counts.get("tool", 0)
        usage["completion_tokens"] += counts.get("candidates", 0) + thoughts
        usage["cached_tokens"] += counts.get("cached", 0)
        usage["reasoning_tokens"] += thoughts
    decoder.about(id=payload.get("session_id"), model=next(iter(models), ""), usage=usage)
    if error := as_dict(payload.get("error")):
        decoder.failed(as_str(error.get("message")))
    else:
        decoder.answered(as_str(payload.get("response")))


READERS = {"claude": _claude, "codex": _codex, "gemini": _gemini}


def _object(line: str) -> dict[str, Any] | None:
    if not line.lstrip().startswith("{") or not line.rstrip().endswith("}"):
        return None
    try:
        value = foreign_json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _inner_message(text: str) -> str:
    """The words of an error that is the provider's own JSON."""
    payload = _object(text)
    return text if payload is None else as_str(as_dict(payload.get("error")).get("message")) or text


def _end_of(text: str) -> str:
    flat = " ".join(harmless(text).split())
    return flat if len(flat) <= MOST_SAID else f"… {flat[-MOST_SAID:]}"
