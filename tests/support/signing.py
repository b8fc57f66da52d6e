"""A scripted model server whose thoughts are signed together with everything before them, on all three wires.

    with SigningEndpoint(Script(models={"m": Behaviour(steps=tool_loop(3))})) as endpoint:
        …  # run the program
        assert endpoint.refusals == [] and endpoint.losses() == []

It is the scripted endpoint (endpoint.py) with a second opinion. Each answer carries signed thoughts: `thinking` blocks on Messages,
`reasoning_details` on Chat Completions, sealed reasoning items on Responses. Each request's thoughts are checked over the strictest
reading of the rule: every item's JSON as it came, cache marks out, earlier thoughts, `system` and `tools` included.

`mode` says what becomes of a thought that does not hold: `refuse` (a 400 in the documented words), `drop_block` (it is taken out, and
counted as lost) or `record` (it is only noted). `joined` reads consecutive user messages as one. `sealed_items_bind` holds Responses'
sealed items to what stands before them, too; OpenAI's own are not, but go back always. `text_after_results` "empty" answers a text
block behind tool results with an empty `end_turn`, a documented habit of such models.
`GET`s, keys, delays and ways to break are the scripted endpoint's. `transport()` serves it inside the process, without a socket.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import httpx

from tests.support import appended, binder, decide, prompt, wire
from tests.support.endpoint import BODIES, FRAMES, ScriptedEndpoint, keys_of, model_list
from tests.support.exchange import Exchange
from tests.support.script import Say, Script

Mode = Literal["refuse", "drop_block", "record"]
Thought = Literal["summary", "empty", "sealed", "two", "none"]
THOUGHTS: tuple[Thought, ...] = ("summary", "empty", "sealed", "two")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that was refused for its thoughts (or would have been: `mode`)."""

    request: int
    faults: tuple[binder.Fault, ...]

    def __str__(self) -> str:
        first = self.faults[0]
        return f"request {self.request}: {first.why}: {first.message}"


@dataclass(slots=True)
class Issued:
    """An answer with its thoughts: which request it belongs to, and how it is known again."""

    request: int
    model: str
    key: str
    dialect: str
    before: list[str]
    signatures: tuple[str, ...]
    calls: frozenset[str]
    text: str
    whole: bool


class SigningEndpoint(ScriptedEndpoint):
    """The server. `thinks` says which models do; all of them, if not told otherwise. `thoughts` are the forms, in turn."""

    def __init__(
        self,
        script: Script | None = None,
        *,
        mode: Mode = "refuse",
        joined: bool = False,
        sealed_items_bind: bool = False,
        thoughts: Sequence[Thought] = THOUGHTS,
        thinks: Callable[[str], bool] = lambda _model: True,
        text_after_results: Literal["answer", "empty"] = "answer",
        port: int = 0,
    ) -> None:
        super().__init__(script, port=port)
        self.mode: Mode = mode
        self.joins_users = joined
        self.aliases: dict[str, str] = {}
        """What a moving name stands for now: thoughts are bound to the model itself."""
        self.salt = ""
        """Another one, and no thought signed before holds any more (a vendor's own doing): for how a refusal is taken."""
        self.sealed_items_bind = sealed_items_bind
        self.thoughts = tuple(thoughts)
        self.thinks = thinks
        self.text_after_results = text_after_results
        self.takes_late_tools = True
        self.found: list[Refusal] = []
        self.issued: list[Issued] = []
        self.dropped: set[str] = set()

    # What was seen

    @property
    def refusals(self) -> list[str]:
        """Every request with a thought that does not hold, in words. In the modes that do not refuse, what they let pass."""
        return [str(refusal) for refusal in self.found]

    def losses(self, *, model: str | None = None, since: int = 0) -> list[appended.Finding]:
        """Signed thoughts that a later request on their branch, to the same model under the same key, no longer carries.

        `since`: only those of answers to requests from this number on. Thoughts that `drop_block` took out count.
        """
        return appended.losses(self, model=model, since=since)

    def breaks(self, *, model: str | None = None, since: int = 0) -> list[appended.Finding]:
        """Requests that do not extend the one before them on their branch, item by item and byte by byte."""
        return appended.breaks(self, model=model, since=since)

    def clear(self) -> None:
        """Forget what was seen; what was signed still holds."""
        super().clear()
        self.found.clear()
        self.issued.clear()

    # How it answers

    def counted(self, exchange: Exchange) -> tuple[int, dict[str, Any]]:
        """`count_tokens`: the same check, then a figure."""
        if refusal := self.objection(exchange):
            return 400, decide.error_body(400, refusal, anthropic=True)
        return 200, {"input_tokens": len("".join(prompt.prompt(exchange.body))) // 4}

    def objection(self, exchange: Exchange) -> str | None:
        """The refusal's words where a thought of this request does not hold."""
        dialect, body = prompt.dialect_of(exchange.path), exchange.body
        binding = (body.get("thinking") or {}).get("block_binding")
        if fault := self._misplaced(exchange):
            return fault
        controls = binder.HEADER in exchange.headers.get("anthropic-beta", "")
        if binding is not None and not controls:
            return "thinking.block_binding: Extra inputs are not permitted"
        gone = frozenset(self.dropped) if self.mode == "drop_block" else frozenset()
        found = binder.faults(body, dialect, key=key_of(exchange), joined=self.joins_users, gone=gone, salt=self.salt)
        if dialect == "responses" and not self.sealed_items_bind:
            found = [fault for fault in found if fault.why != "prefix"]
        if not found:
            return None
        self.found.append(Refusal(exchange.number, tuple(found)))
        drops = self.mode == "drop_block" or (binding or {}).get("prefix_mismatch_behavior") == "drop_block"
        if drops:
            self.dropped.update(fault.signature for fault in found)
        if drops or self.mode == "record":
            return None
        if dialect == "responses":
            return "The encrypted content for item could not be verified. Reason: Encrypted content could not be decrypted."
        return found[0].message

    def _misplaced(self, exchange: Exchange) -> str | None:
        """Why this endpoint refuses a tool that joins within the messages; None where it takes it, or none does.

        As Anthropic documents it: definitions by value, behind the user's last words, before a reply or at the end, behind a beta's header.
        """
        messages = exchange.body.get("messages") or []
        for at, message in enumerate(messages):
            if at == 0 or message.get("role") != "system" or prompt.dialect_of(exchange.path) != "messages":
                continue
            if isinstance(content := message.get("content"), str) or all(each["type"] == "text" for each in content):
                continue  # words, which this endpoint takes from a client of its own wire
            if not self.takes_late_tools or "inline-tools-2026-09-15" not in exchange.headers.get("anthropic-beta", ""):
                return f"messages.{at}.role: Input should be 'user' or 'assistant'"
            around = messages[at - 1]["role"], messages[at + 1]["role"] if at + 1 < len(messages) else "assistant"
            if around != ("user", "assistant"):
                return f"messages.{at}: role 'system' must precede an 'assistant' message or end the array"
            for block in message["content"]:
                tool = block["tool"]
                if block["type"] != "tool_addition" or tool["type"] != "tool_definition":
                    return f"messages.{at}.content: Input tag is not known"
                if set(tool["definition"]) != {"name", "description", "input_schema"}:
                    return f"messages.{at}.content: a definition lacks something, or has too much"
        return None

    def real(self, model: str) -> str:
        """The model behind a name."""
        return self.aliases.get(model, model)

    def silent(self, exchange: Exchange) -> bool:
        """True where the answer is an empty `end_turn`, because text stands right behind tool results."""
        if self.text_after_results != "empty" or prompt.dialect_of(exchange.path) != "messages":
            return False
        last = prompt.items_of(exchange.body)[-1]
        kinds = [block.get("type") for block in last["content"]] if isinstance(last.get("content"), list) else []
        return "tool_result" in kinds and kinds[-1] == "text"

    def answered(self, exchange: Exchange, said: wire.Said) -> wire.Said:
        """The answer with its signed thoughts, known from now on."""
        dialect = prompt.dialect_of(exchange.path)
        if self.silent(exchange):
            said = replace(said, say=Say(shape="billed_empty"), text="", calls=())
        calls = tuple((f"toolu_{exchange.number}_{at}", *rest) for at, (_id, *rest) in enumerate(said.calls))
        said = replace(said, calls=calls)  # type: ignore[arg-type]
        if exchange.model in self.aliases:
            said = replace(said, served=self.real(exchange.model))
        before = [*binder.salted(self.salt), *prompt.prompt(exchange.body, joined=self.joins_users)]
        if self.thinks(exchange.model) and said.say.shape != "billed_empty":
            said = replace(said, blocks=self._blocks(exchange, said, dialect, before))
        self.issued.append(
            Issued(
                request=exchange.number,
                model=self.real(exchange.model),
                key=key_of(exchange),
                dialect=dialect,
                before=prompt.prompt(exchange.body),
                signatures=tuple(filter(None, map(prompt.signature_of, said.blocks))),
                calls=frozenset(call[0] for call in calls),
                text=said.text,
                whole=said.say.shape is None,
            )
        )
        return said

    def _blocks(
        self, exchange: Exchange, said: wire.Said, dialect: str, before: list[str]
    ) -> tuple[dict[str, Any], ...]:
        form = self.thoughts[
            sum(issued.model == self.real(exchange.model) for issued in self.issued) % len(self.thoughts)
        ]
        if form == "none":
            return ()
        words = said.say.reasoning or (
            "" if form == "empty" else f"What to do after request {exchange.number}? One thing."
        )
        who = {"model": self.real(exchange.model), "key": key_of(exchange)}
        number = f"{exchange.number}"
        if dialect == "responses":
            first = binder.reasoning_item(words, before, number=number, **who)
            if form != "two":
                return (first,)
            return (
                first,
                binder.reasoning_item("Again.", [*before, prompt.canonical(first)], number=f"{number}b", **who),
            )
        if dialect == "chat":
            first = binder.detail(words, before, 0, sealed=form == "sealed", number=number, **who)
            if form != "two":
                return (first,)
            return (first, binder.detail("Again.", [*before, prompt.canonical(first)], 1, number=f"{number}b", **who))
        blocks = [binder.thinking(words, before, sealed=form == "sealed", number=number, **who)]
        spoken = wire.spoken(said)
        if form == "two":
            if len(spoken) > 1:  # between the words and the calls, or between two calls
                blocks.append(spoken.pop(0))
            behind = [*before, *map(prompt.canonical, blocks)]
            blocks.append(binder.thinking("Again.", behind, number=f"{number}b", **who))
        return (*blocks, *spoken)

    # Inside the process

    def transport(self) -> httpx.MockTransport:
        """The same server below httpx: no socket, no thread, and no delays."""
        return httpx.MockTransport(self._handle)

    def _handle(self, request: httpx.Request) -> httpx.Response:
        now = time.monotonic()
        exchange = Exchange(
            number=len(self.exchanges) + 1,
            method=request.method,
            path=request.url.path,
            headers={name.lower(): value for name, value in request.headers.items()},
            body=json.loads(request.content or b"{}"),
            first_byte=now,
            arrived=now,
        )
        self.exchanges.append(exchange)
        response = self._respond(exchange)
        exchange.status, exchange.finished = response.status_code, time.monotonic()
        return response

    def _respond(self, exchange: Exchange) -> httpx.Response:
        if exchange.path.endswith("/models"):
            return httpx.Response(200, json=model_list(self.script))
        if exchange.path.endswith("/count_tokens"):
            status, value = self.counted(exchange)
            return httpx.Response(status, json=value)
        dialect = prompt.dialect_of(exchange.path)
        say, said, refusal, code = self.decided(exchange)
        if said is None:
            status, words = say.status or 400, refusal or say.error or "scripted refusal"
            return httpx.Response(
                status, json=decide.error_body(status, words, anthropic=dialect == "messages", code=code)
            )
        if say.shape == "refuse":
            raise httpx.ConnectError("scripted")
        if say.body or say.shape == "body_error" or not exchange.body.get("stream"):
            return httpx.Response(200, json=BODIES[dialect](said))
        frames = b"".join(frame.data for frame in FRAMES[dialect](said))
        return httpx.Response(200, content=frames, headers={"content-type": "text/event-stream"})


def key_of(exchange: Exchange) -> str:
    """The account that a request belongs to: its key."""
    return next((key for key in keys_of(exchange) if key), "")
