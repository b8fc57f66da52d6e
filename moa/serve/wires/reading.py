"""What the readers of all wires share: fields by name, images, thoughts that come back, and how a request is put together."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from agent.llm.messages import ImagePart, Message, Part, ReasoningPart, TextPart, ToolCallPart
from agent.llm.request import Controls, Effort, Request, Schema, ToolSpec
from moa.serve.wires.kept import by_content, is_mark
from moa.serve.wires.wire import Asked, Target, Unsayable

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[\w=.+-]+)*;base64,", re.IGNORECASE)
EFFORTS: tuple[Effort, ...] = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_EMPTY: tuple[object, ...] = (None, "", [], {}, False)
# OpenRouter documents these shares of max_tokens for its levels.
_SHARES: tuple[tuple[float, Effort], ...] = ((0.15, "minimal"), (0.35, "low"), (0.65, "medium"), (0.9, "high"))


class Body:
    """A client's body under reading. Every field is either read, or left out by name, or refused."""

    def __init__(self, body: Mapping[str, Any], target: Target) -> None:
        self.body = body
        self.target = target
        self.left_out: list[str] = []
        self._controls: dict[str, Any] = {}

    def fields(self, read: Iterable[str], hints: Iterable[str], harmless: Mapping[str, tuple[object, ...]]) -> None:
        """Account for each field: `read` are read elsewhere, `hints` change no answer and are left out by name, `harmless` ask for nothing
        with these values. All others are refused."""
        known, minor = frozenset(read), frozenset(hints)
        for name, value in self.body.items():
            if name in known or any(value is empty or value == empty for empty in _EMPTY):
                continue
            if name in minor:
                self.left_out.append(name)
            elif not (name in harmless and value in harmless[name]):
                raise Unsayable(name, f"this can't be said to {self.target.model}, whose endpoint speaks another wire")

    def inside(self, name: str, *read: str) -> dict[str, Any]:
        """A field that is an object. What is in it beside what is `read` is left out by name: vendors add settings to these, and each is a wish
        about how the answer is made. Raises Unsayable."""
        found = table(name, self.body.get(name))
        for key, value in found.items():
            if key not in read and not any(value is empty or value == empty for empty in _EMPTY):
                self.leave_out(f"{name}.{key}")
        return found

    def leave_out(self, name: str) -> None:
        """Something is not said, and changes no answer."""
        if name not in self.left_out:
            self.left_out.append(name)

    def number(self, name: str) -> float | None:
        """A number, or None."""
        value = self.body.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Unsayable(name, "this must be a number")
        return value

    def limit(self, *names: str) -> int:
        """The most tokens of the answer, by the first name that is there; raises Unsayable where it is none."""
        for name in names:
            if (value := self.number(name)) is not None:
                if value < 1 or value != int(value):
                    raise Unsayable(name, "this must be a whole number of tokens, at least 1")
                return int(value)
        return self.target.max_tokens

    def control(self, field: str, name: str, value: Any) -> None:
        """Say a control, where the target can. `name` is the client's."""
        if value is None or value == ():
            return
        if field not in self.target.says.controls:
            raise Unsayable(name, f"{self.target.model} can't be told this: its endpoint's wire has no word for it")
        self._controls[field] = value

    def verbosity(self, name: str, value: Any) -> None:
        """How long the answer shall be: a wish, which is left out where the target has no word for it."""
        if value and "verbosity" not in self.target.says.controls:
            self.leave_out(name)
        else:
            self.control("verbosity", name, value or None)

    def numbers(self, *names: str) -> None:
        """Controls that are numbers and have the same name everywhere; 0 is what penalties are anyway."""
        for name in names:
            value = self.number(name)
            if name.endswith("_penalty") and value == 0:
                continue
            self.control(name, name, int(value) if name in ("seed", "top_k") and value is not None else value)

    def tier(self, name: str, values: Mapping[str, str]) -> None:
        """The tier of service. `values`: the client's words as ours, which are OpenAI's."""
        value = self.body.get(name)
        if value in (None, "auto"):
            return
        ours = values.get(str(value), str(value))
        takes = self.target.says.tiers
        if takes is not None and ours not in takes:
            raise Unsayable(name, f"{self.target.model}'s endpoint has no tier {value!r}")
        self.control("service_tier", name, ours)

    def effort(self, name: str, value: Any) -> Effort | None:
        """How deep to think, by one of the seven words."""
        if value is None:
            return None
        if value not in EFFORTS:
            raise Unsayable(name, f"this must be one of {', '.join(EFFORTS)}")
        found: Effort = value
        return found

    def request(self, messages: list[Message], **fields: Any) -> Asked:
        """The whole request."""
        if not any(message.role != "system" for message in messages):
            raise Unsayable("messages", "there is nothing to answer")
        if messages[-1].role == "assistant":
            raise Unsayable("messages", "the last message is an answer, and continuing it is not possible here")
        self._known(messages, fields)
        controls = Controls(**self._controls) if self._controls else None
        return Asked(
            Request(self.target.model, tuple(settled(messages, self.target)), controls=controls, **fields),
            stream=self.body.get("stream") is True,
            left_out=tuple(self.left_out),
        )

    def _known(self, messages: list[Message], fields: dict[str, Any]) -> None:
        """What is known that the model does not take, which its dialect would leave out without a word."""
        model, quirks, words_alone = self.target.model, self.target.quirks, self.target.says.words_alone
        images = any(isinstance(part, ImagePart) for message in messages for part in message.parts)
        if images and (words_alone or "no_images" in quirks):
            raise Unsayable("messages", f"{model} does not accept images")
        if fields.get("tool_choice") == "required" and "no_forced_tool_choice" in quirks:
            raise Unsayable("tool_choice", f"{model} can't be made to call a tool")
        if fields.get("temperature") is not None and (words_alone or "no_temperature" in quirks):
            self.leave_out("temperature")
            fields["temperature"] = None
        if fields.get("reasoning") is not None and "no_reasoning" in quirks:
            self.leave_out("reasoning effort")


def settled(messages: list[Message], target: Target) -> list[Message]:
    """The messages as the target can say them: images of tools behind the results where it has no place for them there, errors in words."""
    said: list[Message] = []
    moved: list[Part] = []
    for message in messages:
        if moved and message.role != "tool":
            said.append(Message(role="user", parts=tuple(moved)))
            moved = []
        if message.role == "tool":
            message, images = _result(message, target)
            moved += images
        said.append(message)
    return [*said, Message(role="user", parts=tuple(moved))] if moved else said


def _result(message: Message, target: Target) -> tuple[Message, list[Part]]:
    images = [part for part in message.parts if isinstance(part, ImagePart)]
    parts = list(message.parts)
    moved: list[Part] = []
    if images and not target.says.tool_images:
        name = message.tool_name or "the tool"
        told = TextPart(text=f"[{len(images)} image(s) of this result stand in the message after the results]")
        parts = [*(part for part in parts if not isinstance(part, ImagePart)), told]
        moved = [TextPart(text=f"[image(s) of the result of {name}]"), *images]
    if message.is_error and not target.says.result_errors:
        words = "".join(part.text for part in parts if isinstance(part, TextPart))
        if not words.lstrip().lower().startswith("error"):
            parts = [TextPart(text="Error: "), *parts]
    return replace(message, parts=tuple(parts)), moved


def image(param: str, url: Any) -> ImagePart:
    """An image by its address, which may be a data URL. Raises Unsayable for what is none."""
    if not isinstance(url, str) or not url:
        raise Unsayable(param, "this must be an address or a data URL")
    if match := _DATA_URL.match(url):
        return based(param, match[1].lower(), url[match.end() :])
    if not url.lower().startswith(("https://", "http://")):
        raise Unsayable(param, "this must be an http(s) address, or data:MEDIA/TYPE;base64,…")
    return ImagePart(media_type="image/*", data="", url=url)


def based(param: str, media_type: Any, data: Any) -> ImagePart:
    """An image in base64. Raises Unsayable for what is none."""
    if not isinstance(media_type, str) or not media_type.startswith("image/") or not isinstance(data, str):
        raise Unsayable(param, "this is not an image")
    try:
        base64.b64decode(data[:64], validate=len(data) % 4 == 0 and len(data) <= 64)
    except (binascii.Error, ValueError):
        raise Unsayable(param, "this is not base64") from None
    return ImagePart(media_type=media_type, data=data)


def joined(texts: list[str]) -> str:
    """Text blocks of one message as one text: the wires show them apart, and our dialects one behind the other."""
    text = ""
    for more in texts:
        text += f"\n{more}" if text and not text.endswith("\n") else more
    return text


def content_of(param: str, content: Any, read: Callable[[str, Any, dict[str, Any]], Part]) -> tuple[Part, ...]:
    """What a message says: nothing, a text, or parts, each of which `read` is given with its path and its type."""
    if content is None:
        return ()
    if isinstance(content, str):
        return (TextPart(text=content),)
    return merged([read(at, part.get("type"), part) for at, part in dicts(param, content)])


def merged(parts: list[Part]) -> tuple[Part, ...]:
    """The parts, in which texts that follow each other are one."""
    found: list[Part] = []
    for part in parts:
        last = found[-1] if found else None
        if isinstance(part, TextPart) and isinstance(last, TextPart):
            found[-1] = TextPart(text=joined([last.text, part.text]))
        elif not isinstance(part, TextPart) or part.text:
            found.append(part)
    return tuple(found)


def reply_marks(tokens: Iterable[Any], calls: Iterable[tuple[Any, Any, Any]], text: str) -> list[str]:
    """Under what one reply of a body may be kept: the tokens in it first, then what it says of itself."""
    marks = [token for token in tokens if is_mark(token)]
    return [*marks, *by_content([(call[0], str(call[1]), call[2]) for call in calls if isinstance(call[0], str)], text)]


def restored(message: Message, tokens: Iterable[Any], target: Target) -> Message:
    """A reply with what was kept of it; without it as it came, but no token of ours is ever sent on."""
    parts = tuple(
        part
        for part in message.parts
        if not (isinstance(part, ReasoningPart) and part.extra and _ours(part.extra) and not part.text)
    )
    message = replace(message, parts=tuple(_untokened(part) for part in parts))
    text = "".join(part.text for part in message.parts if isinstance(part, TextPart))
    calls = [(call.id, call.name, call.arguments) for call in message.tool_calls]
    for mark in reply_marks(tokens, calls, text):
        if kept := target.kept.get(mark):
            return kept.restored(message)
    return message


def _untokened(part: Part) -> Part:
    return replace(part, extra=None) if isinstance(part, ReasoningPart) and part.extra and _ours(part.extra) else part


def _ours(extra: Mapping[str, Any]) -> bool:
    return any(is_mark(extra.get(name)) for name in ("signature", "data", "encrypted_content"))


def tool_names(messages: Iterable[Message]) -> dict[str, str]:
    """The names of tools by the ids of their calls."""
    return {part.id: part.name for message in messages for part in message.parts if isinstance(part, ToolCallPart)}


def tool(param: str, name: Any, description: Any, parameters: Any, strict: Any = None) -> ToolSpec:
    """A tool of the client's. Raises Unsayable where it has no name or its parameters are no schema."""
    if not isinstance(name, str) or not name:
        raise Unsayable(f"{param}.name", "a tool needs a name")
    if parameters is None:
        parameters = {"type": "object", "properties": {}}
    if not isinstance(parameters, dict):
        raise Unsayable(f"{param}.parameters", "this must be a JSON schema")
    return ToolSpec(
        name, description if isinstance(description, str) else "", parameters, strict if strict is True else None
    )


def schema(param: str, name: Any, wanted: Any, strict: Any) -> Schema:
    """A JSON schema that the answer must hold to."""
    if not isinstance(wanted, dict):
        raise Unsayable(param, "this must be a JSON schema")
    return Schema(name if isinstance(name, str) and name else "answer", wanted, strict=strict is True)


def any_object() -> Schema:
    """Any JSON object."""
    return Schema("answer", {"type": "object"}, mode="json_object")


def dicts(param: str, value: Any) -> list[tuple[str, dict[str, Any]]]:
    """The objects of a list, each with its path. Raises Unsayable where one is none."""
    if not isinstance(value, list):
        raise Unsayable(param, "this must be a list")
    for at, item in enumerate(value):
        if not isinstance(item, dict):
            raise Unsayable(f"{param}.{at}", "this must be an object")
    return [(f"{param}.{at}", item) for at, item in enumerate(value)]


def effort_of(budget: int, limit: int) -> Effort:
    """The level of thinking that a budget of so many tokens is, of an answer of at most `limit`."""
    return next((level for most, level in _SHARES if budget / max(1, limit) <= most), "xhigh")


def table(param: str, value: Any) -> dict[str, Any]:
    """An object, or nothing as an empty one. Raises Unsayable for anything else."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Unsayable(param, "this must be an object")
    return value


def strings(param: str, value: Any) -> tuple[str, ...]:
    """Strings in a list, or one alone. Raises Unsayable for anything else."""
    if value is None or value == "":
        return ()
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or any(not isinstance(each, str) for each in found):
        raise Unsayable(param, "this must be a list of strings")
    return tuple(found)


def listed(value: Any) -> list[dict[str, Any]]:
    """The objects of a list, whatever the value is."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
