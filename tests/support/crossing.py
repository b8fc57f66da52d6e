"""A request over two wires without a network: the client's body in, the upstream's body out, the upstream's frames in, the client's bytes out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from agent.llm.dialects.registry import dialect_named
from agent.llm.errors import ModelError, StreamBroken
from agent.llm.models.endpoint import Endpoint
from agent.llm.net import sse
from agent.llm.request import ModelRef
from agent.llm.stream import Reply
from moa.serve.wires.kept import Kept, kept_of, marks_of
from moa.serve.wires.registry import wire_named
from moa.serve.wires.wire import Asked, Target
from tests.support import wire, wire_responses
from tests.support.script import Say

WIRES = ("messages", "responses", "chat")
DIALECTS = ("anthropic", "responses", "chat")
SAME = {"messages": "anthropic", "responses": "responses", "chat": "chat"}
PAIRS = [(name, dialect) for name in WIRES for dialect in DIALECTS if SAME[name] != dialect]
ENDPOINT = Endpoint("up", "http://127.0.0.1:9/v1", api_key="secret-key")


def frames(dialect: str, said: wire.Said) -> Iterator[wire.Frame]:
    """What an upstream of that dialect sends."""
    made = {"anthropic": wire.anthropic_frames, "responses": wire_responses.frames, "chat": wire.chat_frames}
    return made[dialect](said)


@dataclass
class Crossing:
    """A server between one client's wire and one upstream's dialect. It keeps what it has to, as the real one does."""

    name: str
    dialect: str
    model: str = "main"
    quirks: frozenset[str] = frozenset()
    kept: dict[str, Kept] = field(default_factory=dict)
    sent: list[dict[str, Any]] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)

    def read(self, body: dict[str, Any]) -> Asked:
        """The client's body as a request of ours."""
        marks = wire_named(self.name).marks(body)
        known = {mark: self.kept[mark] for mark in marks if mark in self.kept}
        return wire_named(self.name).read(
            body, Target(ModelRef("up", self.model), self.dialect, kept=known, quirks=self.quirks)
        )

    def upstream(self, body: dict[str, Any], left: list[str] | None = None) -> dict[str, Any]:
        """The client's body as the upstream gets it."""
        return dialect_named(self.dialect).encode(self.read(body).request, ENDPOINT, self.quirks, left)

    def answer(self, body: dict[str, Any], data: bytes, usage: Mapping[str, Any] | None = None) -> bytes:
        """The stream that the client gets for the upstream's bytes."""
        request = self.read(body).request
        dialect = dialect_named(self.dialect)
        sent = dialect.encode(request, ENDPOINT, self.quirks)
        self.sent.append(sent)
        decoder = dialect.decoder(request, ENDPOINT)
        encoder = wire_named(self.name).encoder(str(body.get("model")), body)
        out = b""
        try:
            for event, text in sse.events_of(data):
                for each in decoder.feed(event, text):
                    out += encoder.feed(each)
            reply = self._bound(decoder.finish(), sent)
        except ModelError as error:
            return out + encoder.fail(error, usage)
        self.keep(reply, encoder.mark)
        return out + encoder.end(reply, usage)

    def whole(self, body: dict[str, Any], data: bytes) -> tuple[int, dict[str, Any]]:
        """The body that the client gets, which did not ask for a stream."""
        request = self.read(body).request
        client, dialect = wire_named(self.name), dialect_named(self.dialect)
        decoder = dialect.decoder(request, ENDPOINT)
        self.sent.append(dialect.encode(request, ENDPOINT, self.quirks))
        try:
            for event, text in sse.events_of(data):
                decoder.feed(event, text)
            reply = self._bound(decoder.finish(), self.sent[-1])
        except ModelError as error:
            ended = client.refused(error, "main", body)
            return (200, ended) if ended is not None else client.error(error)[:2]
        mark = client.encoder("main", body).mark
        self.keep(reply, mark)
        return 200, client.whole(reply, "main", body, mark)

    def keep(self, reply: Reply, mark: str) -> None:
        """What the frame does behind an answer."""
        self.replies.append(reply)
        if (kept := kept_of(reply)) is not None:
            again = Kept.read(json.loads(json.dumps(kept.plain())))
            self.kept.update(dict.fromkeys(marks_of(reply.message, mark), again))

    def say(self, body: dict[str, Any], say: Say, **more: Any) -> bytes:
        """The stream that the client gets for a scripted answer."""
        return self.answer(body, self.bytes(say, **more))

    def bytes(self, say: Say, **more: Any) -> bytes:
        """A scripted answer as the upstream sends it."""
        fields: dict[str, Any] = {"prompt_tokens": 120, "cached_tokens": 100, "wants_usage": True, **more}
        text = say.text if isinstance(say.text, str) else ""
        said = wire.Said(f"up-{len(self.sent)}", self.model, self.model, text, say, **fields)
        return b"".join(frame.data for frame in frames(self.dialect, said))

    def _bound(self, reply: Reply, sent: dict[str, Any]) -> Reply:
        from agent.llm.binding import binding

        items = dialect_named(self.dialect).items(sent)
        return replace(reply, binding=binding(items, reply.message, ENDPOINT, reply.model_served, bare=False))


def events(data: bytes) -> list[dict[str, Any]]:
    """The JSON of a stream's events, `[DONE]` as a string in its place."""
    return [json.loads(text) if text != "[DONE]" else text for _event, text in sse.events_of(data)]


def broken(pieces: Iterable[bytes]) -> bytes:
    """A stream without its last event."""
    return b"".join(list(pieces)[:-1])


__all__ = ["DIALECTS", "PAIRS", "SAME", "WIRES", "Crossing", "StreamBroken", "broken", "events", "frames"]
