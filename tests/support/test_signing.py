"""The signing endpoint judges the program: it must itself hold to the vendor's rule, and must not be fooled."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.support import appended, binder, prompt
from tests.support.script import Behaviour, Say, Script, tool_loop
from tests.support.signing import SigningEndpoint

Body = dict[str, Any]
DIALECTS = {"messages": "/v1/messages", "chat": "/v1/chat/completions", "responses": "/v1/responses"}
BOUND = ("messages", "chat")
SCHEMA = {"type": "object", "properties": {}}


class Client:
    """A conversation that sends everything back as it came: what a careful program does."""

    def __init__(self, server: SigningEndpoint, dialect: str, *, key: str = "one", model: str = "m") -> None:
        self.dialect, self.key, self.model = dialect, key, model
        self.http = httpx.Client(transport=server.transport(), base_url="http://model")
        self.items: list[Body] = []
        tool = {"name": "read", "input_schema": SCHEMA}
        function = {"name": "read", "parameters": SCHEMA}
        self.head: Body = {
            "messages": {"system": [{"type": "text", "text": "Be brief."}], "tools": [tool], "max_tokens": 99},
            "chat": {"tools": [{"type": "function", "function": function}]},
            "responses": {"instructions": "Be brief.", "tools": [{"type": "function", **function}], "store": False},
        }[dialect]
        if dialect == "chat":
            self.items.append({"role": "system", "content": "Be brief."})

    def say(self, text: str) -> None:
        content: Any = [{"type": "text", "text": text}] if self.dialect == "messages" else text
        self.items.append({"role": "user", "content": content})

    @property
    def body(self) -> Body:
        name = "input" if self.dialect == "responses" else "messages"
        return copy.deepcopy({"model": self.model, **self.head, name: self.items})

    def post(self, body: Body | None = None, *, path: str = "", **headers: str) -> httpx.Response:
        headers = {"x-api-key" if self.dialect == "messages" else "authorization": self.key, **headers}
        return self.http.post(DIALECTS[self.dialect] + path, json=body or self.body, headers=headers)

    def call(self) -> httpx.Response:
        """One call; its answer joins the conversation, and so do results of the tools that it asks for."""
        response = self.post()
        assert response.status_code == 200, response.text
        self.take(collect(self.dialect, response))
        return response

    def take(self, answer: list[Body]) -> None:
        self.items += answer
        calls = sorted(set().union(*(prompt.call_ids(item) for item in answer)))
        if self.dialect == "responses":
            self.items += [{"type": "function_call_output", "call_id": call, "output": "ok"} for call in calls]
        elif self.dialect == "chat":
            self.items += [{"role": "tool", "tool_call_id": call, "content": "ok"} for call in calls]
        elif calls:
            results = [{"type": "tool_result", "tool_use_id": call, "content": "ok"} for call in calls]
            self.items.append({"role": "user", "content": results})

    def turn(self, text: str, calls: int) -> None:
        self.say(text)
        for _ in range(calls):
            self.call()


def collect(dialect: str, response: httpx.Response) -> list[Body]:
    """The items of an answer in one piece (the requests here do not stream)."""
    return collected(dialect, response.json())


def collected(dialect: str, value: Body) -> list[Body]:
    if dialect == "responses":
        return list(value["output"])
    if dialect == "messages":
        return [{"role": "assistant", "content": value["content"]}]
    message = value["choices"][0]["message"]
    return [{key: entry for key, entry in message.items() if key != "reasoning"}]


def server(**more: Any) -> SigningEndpoint:
    return SigningEndpoint(Script(models={"m": Behaviour(steps=tool_loop(3))}), **more)


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_conversation_that_only_grows_is_never_refused_and_loses_nothing(dialect: str, joined: bool) -> None:
    endpoint = server(joined=joined, sealed_items_bind=True)
    client = Client(endpoint, dialect)
    client.turn("Look around.", 4)
    client.turn("And again.", 4)
    assert endpoint.refusals == endpoint.losses() == endpoint.breaks() == []
    assert appended.chain(endpoint.calls("m")) == []
    assert sum(len(issued.signatures) for issued in endpoint.issued) >= 8


def edit_system(body: Body) -> None:
    body["system"][0]["text"] = "Be brief. It is Thursday."


def edit_tools(body: Body) -> None:
    body["tools"].append({"name": "late", "input_schema": SCHEMA})


def drop_message(body: Body) -> None:
    del body["messages"][0]


def edit_result(body: Body) -> None:
    body["messages"][2]["content"][0]["content"] = "other"


def add_text(body: Body) -> None:
    body["messages"][0]["content"].append({"type": "text", "text": "a reminder"})


def insert_message(body: Body) -> None:
    body["messages"].insert(3, {"role": "user", "content": "a reminder"})


def drop_first_thought(body: Body) -> None:
    body["messages"][1]["content"] = [b for b in body["messages"][1]["content"] if not prompt.signature_of(b)]


def string_for_blocks(body: Body) -> None:
    body["messages"][0]["content"] = body["messages"][0]["content"][0]["text"]


def reorder_keys(body: Body) -> None:
    body["tools"][0] = dict(reversed(body["tools"][0].items()))


def edit_thought(body: Body) -> None:
    block = next(b for m in body["messages"] for b in m["content"] if b.get("type") == "thinking")
    block["thinking"] = "Something else."


def other_model(body: Body) -> None:
    body["model"] = "another"


EDITS: dict[Callable[[Body], None], str] = dict.fromkeys(
    (edit_system, edit_tools, drop_message, edit_result, add_text, insert_message, drop_first_thought), "prefix"
)
EDITS |= {string_for_blocks: "prefix", reorder_keys: "prefix", edit_thought: "damaged", other_model: "model"}


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
def test_each_edit_is_refused_in_the_documented_words_in_count_tokens_too(edit: Callable[[Body], None]) -> None:
    endpoint = server()
    client = Client(endpoint, "messages")
    client.turn("Look around.", 3)
    body = client.body
    edit(body)
    for path in ("", "/count_tokens"):
        refused = client.post(body, path=path)
        assert refused.status_code == 400
        error = refused.json()["error"]
        assert error["type"] == "invalid_request_error"
        assert error["message"].startswith("messages.")
        assert "block" in error["message"] and "Invalid `" in error["message"]
        assert ("The block is bound to a different conversation." in error["message"]) == (EDITS[edit] != "damaged")
    assert [refusal.faults[0].why for refusal in endpoint.found] == [EDITS[edit]] * 2
    assert client.post(path="/count_tokens").json()["input_tokens"] > 0


@pytest.mark.parametrize("dialect", BOUND)
def test_a_thought_holds_under_its_own_key_alone(dialect: str) -> None:
    endpoint = server()
    client = Client(endpoint, dialect)
    client.turn("Look around.", 2)
    client.key = "two"
    refused = client.post()
    assert "bound to a different conversation" in refused.json()["error"]["message"]
    assert endpoint.found[0].faults[0].why == "key"


@pytest.mark.parametrize("dialect", BOUND)
def test_without_any_thought_everything_is_taken_and_is_lost(dialect: str) -> None:
    endpoint = server(thoughts=["summary"])
    client = Client(endpoint, dialect)
    client.turn("Look around.", 3)
    for item in client.items:
        item.pop("reasoning_details", None)
        if item.get("role") == "assistant" and isinstance(item["content"], list):
            item["content"] = [block for block in item["content"] if not prompt.signature_of(block)]
    assert client.post().status_code == 200
    assert endpoint.refusals == []
    assert len(endpoint.losses()) == 3
    assert endpoint.losses(since=4) == []
    assert endpoint.breaks()[0].what.startswith("request 4 does not extend request 3: item ")


def test_marks_and_the_billing_line_are_no_part_of_the_prefix() -> None:
    endpoint = server()
    client = Client(endpoint, "messages")
    for number in range(3):
        line = {"type": "text", "text": f"{prompt.BILLING}: cc_version=1; cch={number};"}
        client.head["system"] = [line, {"type": "text", "text": "Be brief."}]
        client.turn("more", 1)
        client.items[-1]["content"][0]["cache_control"] = {"type": "ephemeral"}
    assert endpoint.refusals == endpoint.losses() == endpoint.breaks() == []


def test_joined_user_messages_are_one_only_under_the_switch() -> None:
    for joined in (True, False):
        endpoint = server(joined=joined)
        client = Client(endpoint, "messages")
        client.say("Look")
        client.turn("around.", 1)
        first, second = client.items[:2]
        client.items[:2] = [{"role": "user", "content": first["content"] + second["content"]}]
        assert client.post().status_code == (200 if joined else 400)


def test_blocks_are_dropped_by_mode_or_by_the_request_and_count_as_lost() -> None:
    for mode in ("drop_block", "refuse"):
        endpoint = server(mode=mode)
        client = Client(endpoint, "messages")
        client.turn("Look around.", 2)
        client.head["system"] = [{"type": "text", "text": "Other."}]
        more = {}
        if mode == "refuse":
            client.head["thinking"] = {"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "drop_block"}}
            assert "Extra inputs are not permitted" in client.post().json()["error"]["message"]
            more = {"anthropic-beta": binder.HEADER}
        assert client.post(**more).status_code == 200
        assert len(endpoint.losses()) == 2


def test_recording_refuses_nothing() -> None:
    endpoint = server(mode="record")
    client = Client(endpoint, "chat")
    client.turn("Look around.", 2)
    client.items[0]["content"] = "Other."
    assert client.post().status_code == 200
    assert len(endpoint.refusals) == 1


def test_sealed_items_go_back_always_but_not_to_another_account_or_changed() -> None:
    endpoint = server()
    client = Client(endpoint, "responses")
    client.turn("Look around.", 2)
    client.head["instructions"] = "Other."
    assert client.post().status_code == 200
    changed = client.body
    item = next(item for item in changed["input"] if item.get("type") == "reasoning")
    item["encrypted_content"] = "x" + item["encrypted_content"][1:]
    assert "could not be verified" in client.post(changed).json()["error"]["message"]
    client.key = "two"
    assert client.post().status_code == 400


def test_text_behind_tool_results_is_answered_with_an_empty_end() -> None:
    endpoint = server(text_after_results="empty")
    client = Client(endpoint, "messages")
    client.turn("Look around.", 1)
    body = client.body
    body["messages"][-1]["content"].append({"type": "text", "text": "advice"})
    body["stream"] = True
    empty = client.post(body).text
    assert "end_turn" in empty and "content_block_start" not in empty
    body["messages"] = [*client.items, {"role": "user", "content": "go on"}]
    assert "content_block_start" in client.post(body).text
    assert endpoint.refusals == endpoint.losses() == []


@pytest.mark.parametrize("dialect", DIALECTS)
def test_it_serves_a_real_socket_and_streams_what_the_whole_answer_has(dialect: str) -> None:
    with server() as endpoint:
        client = Client(endpoint, dialect)
        client.http = httpx.Client(base_url=endpoint.url, trust_env=False, timeout=5)
        client.turn("Look around.", 4)
        client.say("And now?")
        streamed = client.post({**client.body, "stream": True}).text
        assert client.post().status_code == 200
        signature = endpoint.issued[-2].signatures[0]
        assert signature in streamed.replace("\\/", "/")
    assert endpoint.refusals == []


def test_a_failed_call_must_be_extended_too() -> None:
    endpoint = server()
    client = Client(endpoint, "messages")
    client.turn("Look around.", 1)
    client.say("advice of a call that failed")
    endpoint.script = Script(models={"m": Behaviour(steps=(Say(status=500),))})
    assert client.post().status_code == 500
    endpoint.script = server().script
    client.items[-1] = {"role": "user", "content": "other advice"}
    assert client.post().status_code == 200
    assert "request 3 does not extend request 2 (no answer)" in endpoint.breaks()[0].what


def test_marks_are_counted_and_may_not_go_back() -> None:
    endpoint = server()
    client = Client(endpoint, "messages")
    mark = {"cache_control": {"type": "ephemeral"}}
    client.head["system"][0] |= mark
    client.turn("Look around.", 1)
    client.items[0]["content"][0] |= mark
    client.items[2]["content"][0] |= mark
    client.call()
    assert appended.marks_moved(endpoint, model="m", since=0) == []
    for item in (client.items[2], client.items[4]):
        item["content"][0].pop("cache_control", None)
    client.call()
    assert len(appended.marks_moved(endpoint, model="m", since=0)) == 1
    client.head["tools"] = [{"name": f"t{n}", **mark} for n in range(4)]
    client.post()
    assert "6 cache marks" in appended.marks_moved(endpoint, model="m", since=4)[0].what


def test_words_have_to_stay() -> None:
    endpoint = server()
    client = Client(endpoint, "chat")
    client.turn("Look around: line\none.", 2)
    assert appended.missing("line\none", endpoint.calls()) == []
    client.items[1]["content"] = "Look."
    client.post()
    assert appended.missing("line\none", endpoint.calls()) == ["request 3 lacks 'line\\none'"]
    assert appended.missing("never said", endpoint.calls()) == ["no request has 'never said'"]
