"""What the decoders of all dialects over HTTP share: from bytes to JSON objects, and the errors that stand in their place."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from agent.llm.answers.collect import Collector
from agent.llm.answers.reading import cut_object, first_object
from agent.llm.errors import ModelError, StreamBroken
from agent.llm.messages import Message
from agent.llm.models.endpoint import Endpoint
from agent.llm.net import sse
from agent.llm.request import Request
from agent.llm.stream import Alive, Reply, StreamEvent, Usage
from agent.text import foreign_json


class DecoderBase:
    """One answer. Raises as soon as the endpoint reports a fault; what had arrived is in the error.

    A dialect says what one event means (`event`), what a whole body does (`whole`), and which objects are answers (`is_answer`).
    It puts what it reads into `answer`.
    """

    def __init__(self, request: Request, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.answer = Collector(request)

    def event(self, name: str, payload: dict[str, Any]) -> list[StreamEvent]:
        """One event of a stream, read."""
        raise NotImplementedError

    def whole(self, payload: dict[str, Any]) -> list[StreamEvent]:
        """A whole answer."""
        raise NotImplementedError

    def is_answer(self, payload: dict[str, Any]) -> bool:
        """True for an object that has an answer in it."""
        raise NotImplementedError

    def headers(self, headers: Mapping[str, str]) -> None:
        """OpenRouter sends the id under which it bills the call in a header of its own."""
        self.answer.generation_id = headers.get("x-generation-id") or headers.get("X-Generation-Id")

    def feed(self, event: str, data: str) -> list[StreamEvent]:
        """One server-sent event. What is not a JSON object is passed over, unless it is one that was cut or can't be read."""
        data = data.strip()
        if not data or data == "[DONE]":
            return []
        try:
            payload = _read(data)
        except ValueError:
            if data.startswith("{"):
                # A chunk cut in two would silently lose words. What can be read of it is kept.
                if cut := cut_object(data):
                    with suppress(ModelError):
                        self.event(event, cut)
                raise self.answer.break_off(StreamBroken("the endpoint sent a damaged event")) from None
            return []
        return self.event(event, payload) if isinstance(payload, dict) else []

    def feed_body(self, body: bytes) -> list[StreamEvent]:
        """A whole body: one JSON object with whatever stands around it, or a stream that came under another content type."""
        if sse.looks_like_events(body[:65_536]):
            return [event for name, data in sse.events_of(body) for event in self.feed(name, data)]
        text = body.decode("utf-8", "replace").removeprefix("\ufeff")
        answer = first_object(text)
        if answer is None or not (self.is_answer(answer) or self.error_in(answer)):
            cut = cut_object(text)
            if cut is not None and self.is_answer(cut):
                with suppress(ModelError):
                    self.whole(cut)
                raise self.answer.break_off(StreamBroken("the answer broke off in the middle"))
        if answer is None:
            raise self.answer.break_off(StreamBroken("the answer is not JSON", remedy="check the endpoint's base_url"))
        if error := self.error_in(answer):
            raise self.answer.break_off(error)
        return self.whole(answer)

    def finish(self) -> Reply:
        """The whole answer.

        Raises StreamBroken where no finish reason came, Refused where it was declined, EmptyAnswer where nothing was said.
        """
        return self.answer.reply()

    @property
    def partial(self) -> Message | None:
        """What has arrived so far, marked incomplete."""
        return self.answer.partial()

    @property
    def usage(self) -> Usage | None:
        """What the endpoint has reported so far."""
        return self.answer.usage

    @property
    def generation_id(self) -> str | None:
        """The provider's id of this call."""
        return self.answer.generation_id

    def error_in(self, payload: dict[str, Any]) -> ModelError | None:
        """The error that a payload is, instead of an answer."""
        if self.is_answer(payload) and not payload.get("error"):
            return None
        # Most answers have no error, and need none of its tables.
        from agent.llm.refusals.envelope import is_error
        from agent.llm.refusals.refusal import error_in_stream

        return error_in_stream(payload, self.endpoint) if is_error(payload) else None


def _read(data: str) -> Any:
    try:
        return foreign_json.loads(data)
    except foreign_json.BeyondBounds:
        return foreign_json.kept(data)


def alive(events: list[StreamEvent], said: object) -> list[StreamEvent]:
    """The events; or a sign of life, where something was said and none of it is shown."""
    return events or ([Alive()] if said else [])
