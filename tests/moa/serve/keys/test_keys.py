"""Keys of a team: what each opens, costs and sees, through the server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moa.serve.keys import ring
from tests.support.databases import kept
from tests.support.endpoint import ScriptedEndpoint
from tests.support.script import Script
from tests.support.serving import PRESET, UPSTREAM_KEY, Serving, body

DOLLAR = 1_000_000_000
RAW = PRESET.format(main="messages:m", aggregate="raw")


class Team:
    """A server, and its people by name."""

    def __init__(self, server: Serving, up: ScriptedEndpoint) -> None:
        self.server = server
        self.up = up
        self.values: dict[str, str] = {}

    def new(self, name: str, **limits: Any) -> None:
        ledger = self.server.ledger()
        try:
            self.values[name] = ring.make(ledger, name, **limits)[1]
        finally:
            ledger.close()

    def headers(self, name: str | None) -> dict[str, str]:
        return self.server.headers if name is None else {"authorization": f"Bearer {self.values[name]}"}

    def ask(self, name: str | None, model: str, wire: str = "messages", **more: Any) -> Any:
        return self.server.post(wire, body(wire, model, **more), headers=self.headers(name))

    def activity(self, name: str | None, query: str = "") -> dict[str, Any]:
        found: dict[str, Any] = self.server.get(f"/v1/activity{query}", headers=self.headers(name)).json()
        return found


@pytest.fixture
def team(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Team]:
    monkeypatch.setattr(ring, "FRESH_S", 0.0)
    with (
        ScriptedEndpoint(Script(api_key=UPSTREAM_KEY)) as up,
        Serving(tmp_path, up, presets={"p": RAW, "other": RAW}) as server,
    ):
        yield Team(server, up)


def test_each_key_sees_its_own_alone(team: Team) -> None:
    for name in ("alice", "bob"):
        team.new(name)
    runs = {name: team.ask(name, "moa/p").headers["x-moa-run"] for name in ("alice", "bob", None)}
    for name, run in runs.items():
        own = team.activity(name)
        assert {call["run"] for call in own["calls"]} == {run} and len(own["calls"]) == 4
        others = [team.activity(name, f"?run={other}") for other in runs.values() if other != run]
        assert all(each["calls"] == [] and each["counsel"] == [] for each in others)
    assert team.server.get("/metrics", headers=team.headers("alice")).status_code == 403
    assert team.server.get("/metrics").status_code == 200


def test_a_revoked_key_opens_nothing_and_its_name_is_free(team: Team) -> None:
    team.new("alice")
    old = team.headers("alice")
    assert team.ask("alice", "moa/p").status_code == 200
    ledger = team.server.ledger()
    try:
        gone = ring.revoke(ledger, "alice")
        assert ledger.database.rows("SELECT 1 FROM served_conversations WHERE key = ?", (gone.id,)) == []
        assert len(ledger.calls(account=gone.id)) == 4, "the ledger forgets nothing"
    finally:
        ledger.close()
    assert team.server.get("/v1/models", headers=old).status_code == 401
    team.new("alice")
    assert team.activity("alice")["calls"] == []


def test_no_key_is_kept(team: Team) -> None:
    team.new("alice")
    team.ask("alice", "moa/p")
    stored = kept(team.server.folder / "state" / "ledger.db")
    assert b"alice" in stored and team.values["alice"].encode() not in stored


@pytest.mark.parametrize("limits", [{"day_nano": DOLLAR // 100}, {"day_tokens": 5_000}], ids=["money", "tokens"])
def test_a_budget_is_its_keys_alone(team: Team, limits: dict[str, int]) -> None:
    team.new("alice", **limits)
    team.new("bob")
    assert team.ask("alice", "messages:m", max_tokens=500).status_code == 200
    refusal = team.ask("alice", "messages:m", max_tokens=8_000)
    assert refusal.status_code == 402 and "the budget of the key 'alice'" in refusal.text
    assert team.ask("bob", "messages:m", max_tokens=8_000).status_code == 200
    ledger = team.server.ledger()
    try:
        account = next(each.account.id for each in ring.every(ledger) if each.account.name == "alice")
        nano, tokens = ring.spent_today(ledger, account)
        calls = ledger.calls(account=account)
        assert nano == sum(call.cost_nano or 0 for call in calls) > 0
        assert tokens == sum(call.usage.prompt + call.usage.completion for call in calls if call.usage)
    finally:
        ledger.close()


# limits, what is asked, whether it may be
LIMITS: list[tuple[dict[str, Any], str, int]] = [
    ({"presets": ("p",)}, "moa/p", 200),
    ({"presets": ("p",)}, "fuse/p", 200),
    ({"presets": ("p",)}, "moa/other", 403),
    ({"presets": ("p",)}, "moa/p/chat:m", 403),
    ({"presets": ("p",)}, "messages:m", 403),
    ({"models": ("messages:*",)}, "messages:m", 200),
    ({"models": ("messages:*",)}, "moa/p", 200),
    ({"models": ("messages:*",)}, "moa/p/chat:m", 403),
    ({"models": ("chat:*",)}, "moa/p", 403),
    ({"models": ("chat:*",), "presets": ("p",)}, "moa/p", 200),
    ({"models": ("chat:*",), "presets": ("p",)}, "moa/p/chat:m", 200),
    ({"models": ("chat:*",), "presets": ("p",)}, "moa/other/chat:m", 403),
    ({"models": ("chat:*",), "presets": ("p",)}, "messages:m", 403),
]


def test_limits_hold_for_every_name(team: Team) -> None:
    made: dict[str, str] = {}
    for limits, model, status in LIMITS:
        name = made.setdefault(repr(limits), f"k{len(made)}")
        if name not in team.values:
            team.new(name, **limits)
        answer = team.ask(name, model)
        assert answer.status_code == status, (limits, model, answer.text)
        assert status == 200 or answer.json()["error"]["type"] == "permission_error"
        listed = {each["id"] for each in team.server.get("/v1/models", headers=team.headers(name)).json()["data"]}
        if model in ("moa/p", "moa/other", "fuse/p"):
            assert (model in listed) == (status == 200), (limits, model, listed)
    # Nor is there a way around them.
    for name, limits, status in (("k0", "messages:m", 403), ("k1", "messages:m", 200)):
        headers = {**team.headers(name), "x-moa-preset": "other"}
        answer = team.server.post("messages", body("messages", limits), headers=headers)
        assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"tools": [{"type": "openrouter:fusion", "parameters": {"analysis_models": ["chat:alpha"]}}]}, 403),
        ({"plugins": [{"id": "fusion", "preset": "other"}]}, 400),  # as one that there is not
        ({"plugins": [{"id": "fusion", "preset": "p"}]}, 200),
        ({"plugins": [{"id": "fusion", "preset": "p", "model": "chat:m"}]}, 403),
    ],
)
def test_limits_hold_for_panels_of_server_tools(team: Team, more: dict[str, Any], status: int) -> None:
    team.new("alice", models=("messages:*",), presets=("p",))
    answer = team.ask("alice", "messages:m", wire="chat", **more)
    assert answer.status_code == status, answer.text


PNG = "iVBORw0KGgoAAAANSUhEUgAA" * 20
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"model": {"enum": ["dear"]}}}}}


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"models": ["dear"], "route": "fallback"}, 403),
        ({"models": ["m"]}, 200),
        ({"fallbacks": [{"model": "dear"}]}, 403),
        ({"tools": [{"type": "openrouter:subagent", "parameters": {"model": "dear"}}]}, 403),
        ({"tools": [{"type": "openrouter:subagent", "parameters": {"model": "dear"}, "input_schema": {}}]}, 403),
        ({"tools": [FUNCTION], "metadata": {"model": "dear"}}, 200),
        # What looks like a client's tool is one in its place alone, and has a schema there and nothing else.
        ({"fallbacks": [{"type": "function", "model": "dear"}]}, 403),
        ({"plugins": [{"id": "x", "type": "function", "model": "dear"}]}, 403),
        ({"plugins": [{"id": "auto-router", "allowed_models": ["dear"]}]}, 403),
        ({"tools": [{"type": "custom", "model": "dear"}]}, 403),
        ({"tools": [{**FUNCTION, "model": "dear"}]}, 403),
        ({"functions": [{"name": "f", "parameters": {"examples": [{"model": "dear"}]}}]}, 200),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "schema": {"default": {"model": "dear"}}},
                }
            },
            200,
        ),
        ({"models": {"a": "dear"}}, 403),
        ({"fallbacks": [{"model": "m", "thinking": {"type": "adaptive"}}]}, 200),
        ({"fallbacks": [{"model": "m", "x": ["dear"]}]}, 403),
        ({"preset": "dear"}, 403),
        ({"Model": "dear"}, 403),
        ({"context_window_fallbacks": [{"m": ["dear"]}]}, 403),
        ({"extra_body": {"model": "dear"}}, 403),
        ({"min_p": 0.1, "cache_prompt": True, "provider": {"sort": "price"}}, 200),
    ],
)
def test_limits_hold_for_models_that_a_request_names_beside(team: Team, more: dict[str, Any], status: int) -> None:
    team.new("alice", models=("chat:m",))
    answer = team.ask("alice", "chat:m", wire="chat", **more)
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    ("query", "status"),
    [
        *(("?model=dear", 403), ("?beta=true&model=dear", 403), ("?beta=true;model=dear", 403), ("?mod%65l=dear", 403)),
        *(("?beta=true%26model=dear", 403), ("?&model=dear", 403), ("?api_base=http://127.0.0.1:9", 403), ("?fallbacks=dear", 403)),
        *(("?beta=true", 200), ("?api-version=2026-10-01&beta=true", 200), ("?", 200)),
    ],
)  # fmt: skip
def test_limits_hold_for_what_stands_behind_the_path(team: Team, query: str, status: int) -> None:
    team.new("alice", models=("messages:m",))
    team.new("bob")
    body = {"model": "messages:m", "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]}
    for path in ("/v1/messages", "/v1/messages/count_tokens"):
        for name in ("alice", "bob"):
            answer = team.server.post(path, body, team.headers(name), query)
            assert answer.status_code == status, answer.text
    assert team.server.post("messages", body, query=query).status_code == 200, "the server's own key"


def test_limits_let_known_clients_through(team: Team) -> None:
    team.new("alice", models=("*:m",))
    recorded = sorted((Path(__file__).parents[3] / "data" / "side_calls").glob("*.json"))
    assert recorded
    for path in recorded:
        found = json.loads(path.read_text("utf-8"))
        wire = found["wire"]
        answer = team.server.post(wire, {**found["body"], "model": f"{wire}:m"}, headers=team.headers("alice"))
        assert answer.status_code == 200, (path.name, answer.text)
    # Presets of the endpoint's have models of their own.
    assert team.ask("alice", "chat:x@preset/m", wire="chat").status_code == 403
    team.new("bob", models=("chat:*",))
    assert team.ask("bob", "chat:x@preset/m", wire="chat").status_code == 403


@pytest.mark.parametrize(
    "more",
    [
        *({"max_completion_tokens": 100_000}, {"n": 100}, {"max_tokens": 100, "n": 100}),
        *({"max_tokens": 1e5}, {"max_tokens": "100000"}, {"max_tokens": 100, "n": 100.0}),
        *({"max_tokens": -1}, {"max_completion_tokens": -1}, {"n": 10**30}),
        {"messages": [{"role": "user", "content": "write_a_book_" * 3_000}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": PNG * 200}]}]},
    ],
)
def test_a_budget_holds_for_the_most_that_a_request_can_cost(team: Team, more: dict[str, Any]) -> None:
    team.new("alice", day_tokens=5_000)
    answer = team.ask("alice", "chat:m", wire="chat", **{"max_tokens": 1, "max_completion_tokens": 100, **more})
    assert answer.status_code == 402, answer.text


PDF = "JVBERi0xLjQK"
# What is asked of a key with 6,000 tokens, and whether it may. One picture fits, whatever its length.
MEDIA: list[tuple[str, dict[str, Any], int]] = [
    ("chat", {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG * 2_000}"}}, 200),
    ("chat", {"type": "image_url", "image_url": {"url": "https://host.example/a.png"}}, 200),
    ("chat", {"type": "image_url", "image_url": {"url": "https://host.example/a.png", "detail": "original"}}, 402),
    ("chat", {"type": "image_url", "image_url": {"url": f"data:application/pdf;base64,{PDF}"}}, 402),
    ("chat", {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PDF}"}}, 402),
    ("chat", {"type": "file", "file": {"file_data": "https://host.example/a.pdf"}}, 402),
    ("chat", {"file": {"file_data": "https://host.example/a.pdf"}}, 402),
    ("chat", {"type": "audio_url", "audio_url": {"url": "https://host.example/a.mp3"}}, 402),
    ("responses", {"type": "input_image", "image_url": f"data:image/png;base64,{PNG * 2_000}"}, 200),
    ("responses", {"type": "input_file", "file_url": "https://host.example/a.pdf"}, 402),
    ("messages", {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG * 2_000}}, 200),
    ("messages", {"type": "document", "source": {"type": "url", "url": "https://host.example/a.pdf"}}, 402),
    ("messages", {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "short"}}, 200),
    ("messages", {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "long_" * 5_000}}, 402),
]  # fmt: skip


def test_pictures_and_files_count_as_what_they_may_cost(team: Team) -> None:
    for number, (wire, part, status) in enumerate(MEDIA):
        team.new(f"k{number}", day_tokens=6_000)
        limit = {"max_output_tokens" if wire == "responses" else "max_tokens": 100}
        answer = team.ask(f"k{number}", f"{wire}:m", wire=wire, **user(part, wire), **limit)
        assert answer.status_code == status, (part, answer.text)
    asked = {"input": "hi", "store": True, "max_output_tokens": 100}
    team.new("alice", day_tokens=6_000)
    first = team.ask("alice", "responses:m", wire="responses", **asked)
    assert first.status_code == 200, first.text
    more = {"previous_response_id": first.json()["id"]}
    answer = team.ask("alice", "responses:m", wire="responses", **asked, **more)
    assert answer.status_code == 402, answer.text


@pytest.mark.parametrize("limits", [{"presets": ("p",)}, {"models": ("messages:*",)}], ids=["presets", "models"])
def test_no_refusal_tells_a_key_of_what_is_not_for_it(team: Team, limits: dict[str, Any]) -> None:
    (team.server.folder / "config" / "presets" / "hush.toml").write_text(PRESET.format(main="chat:m", aggregate="raw"))
    team.new("alice", **limits)
    consult = [{"type": "moa:consult", "parameters": {"preset": "x"}}]
    asked: list[tuple[str, dict[str, Any]]] = [
        *((name, {}) for name in ("x", "moa/x", "fuse/x", "moa/hus", "moa/p/chta:m")),
        ("messages:m", {"plugins": [{"id": "fusion", "preset": "x"}]}),
        ("messages:m", {"tools": consult}),
        ("moa/p", {"tools": consult}),
    ]
    told = [team.ask("alice", model, wire="chat", **more) for model, more in asked]
    told.append(team.server.get("/v1/models/x", headers=team.headers("alice")))
    for answer in told:
        assert 400 <= answer.status_code < 500, answer.text
        assert "hush" not in answer.text and "chat:m" not in answer.text and "'chat'" not in answer.text, answer.text
    assert "hush" in team.ask(None, "x").text


@pytest.mark.parametrize("limits", [{}, {"models": ("chat:m",)}, {"presets": ("bad", "away")}], ids=str)
def test_what_is_wrong_with_a_preset_is_told_to_the_servers_own_key(team: Team, limits: dict[str, Any]) -> None:
    team.new("alice", **limits)
    folder = team.server.folder / "config" / "presets"
    (folder / "bad.toml").write_text("main = 7\n")
    (folder / "away.toml").write_text(RAW.replace("chat:alpha", "nowhere:hush"))
    consult = {"tools": [{"type": "moa:consult", "parameters": {"preset": "away"}}]}
    for model, more in (("moa/bad", {}), ("moa/away", {}), ("fuse/away", {}), ("chat:m", consult)):
        own, told = (team.ask(name, model, wire="chat", **more) for name in (None, "alice"))
        assert own.status_code == 400 and str(folder) in own.text, own.text
        assert told.status_code in (400, 403) and str(team.server.folder) not in told.text, told.text
        assert "nowhere" not in told.text and "hush" not in told.text


def user(part: dict[str, Any], wire: str = "responses") -> dict[str, Any]:
    item = {"role": "user", "content": [part]}
    return {"input": [{"type": "message", **item}]} if wire == "responses" else {"messages": [item]}


CITED = {"type": "file_citation", "file_id": "file-1", "filename": "a", "index": 0}
SAID = {"type": "message", "role": "assistant", "id": "msg_1", "content": [{"type": "output_text", "text": "t", "annotations": [CITED]}]}  # fmt: skip
HELLO = {"type": "message", "role": "user", "content": "hello"}
KEPT: list[tuple[str, dict[str, Any], int]] = [
    ("responses", {"conversation": "conv_1"}, 403),
    ("responses", {"conversation": {"id": "conv_1"}}, 403),
    ("responses", {"prompt": {"id": "pmpt_1"}}, 403),
    ("responses", user({"type": "input_file", "file_id": "file-1"}), 403),
    ("responses", user({"type": "input_image", "file_id": "file-1"}), 403),
    ("responses", {"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]}, 403),
    ("responses", {"tools": [{"type": "code_interpreter", "container": "cntr_1"}]}, 403),
    ("responses", {"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"], "input_schema": {}}]}, 403),
    ("responses", {"tools": [{"type": "shell", "environment": {"type": "container_reference", "container_id": "cntr_1"}}]}, 403),
    ("responses", {"tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["file-1"]}}]}, 403),
    ("responses", {"input": [HELLO, {"type": "item_reference", "id": "msg_1"}]}, 400),
    ("responses", {"input": [HELLO, {"id": "msg_1"}]}, 400),
    ("responses", {"input": [HELLO, {"type": "reasoning", "id": "rs_1", "summary": []}]}, 400),
    ("responses", {"input": [HELLO, {"type": "image_generation_call", "id": "ig_1"}]}, 400),
    ("responses", {"input": [{"type": "function_call_output", "call_id": "c", "output": [{"type": "input_file", "file_id": "file-1"}]}]}, 403),
    ("responses", {"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]}, 200),
    ("responses", {"input": [HELLO, SAID, HELLO]}, 200),
    ("responses", {"input": [HELLO, {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "t"}]}, SAID, HELLO]}, 200),
    ("chat", user({"type": "file", "file": {"file_id": "file-1"}}, "chat"), 403),
    ("chat", {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}, {"role": "user", "content": "so?"}]}, 403),
    ("responses", {"tools": [{"type": "function", "name": "f", "parameters": {}, "container": "cntr_1"}]}, 403),
    ("responses", {"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f", "parameters": {"container": "c"}}]}]}, 200),
    ("chat", {"audio": {"voice": "alloy", "format": "wav"}, "metadata": {"conversation": "x"}}, 200),
    ("chat", {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"file_id": {"type": "string"}}}}}]}, 200),
    ("messages", user({"type": "document", "source": {"type": "file", "file_id": "file_1"}}, "messages"), 403),
    ("messages", user({"type": "container_upload", "file_id": "file_1"}, "messages"), 403),
    ("messages", {"container": "container_1"}, 403),
    ("messages", {"container": {"skills": [{"type": "custom", "skill_id": "skill_1"}]}}, 403),
    ("messages", {"container": {"skills": [{"type": "anthropic", "skill_id": "pdf"}]}}, 200),
]  # fmt: skip


def test_no_key_reaches_what_the_endpoint_keeps_of_others(team: Team) -> None:
    team.new("alice")
    team.new("bob")
    for wire, more, status in KEPT:
        answer = team.ask("alice", f"{wire}:m", wire=wire, **more)
        assert answer.status_code == status, (more, answer.text)
        if status == 403:
            assert team.ask(None, f"{wire}:m", wire=wire, **more).status_code == 200, "the server's own key"
    # What this server gave to a key is its own.
    given = team.ask("alice", "responses:m", wire="responses", store=True).json()
    back = {
        "input": [HELLO, *({"type": "item_reference", "id": item["id"]} for item in given["output"])],
        "store": True,
    }
    assert given["output"] and team.ask("alice", "responses:m", wire="responses", **back).status_code == 200
    assert team.ask("bob", "responses:m", wire="responses", **back).status_code == 400


def test_types_that_are_none(team: Team) -> None:
    team.new("alice", models=("*",))
    for odd in ([], {}, 5):
        for wire, key in (("chat", "messages"), ("responses", "input"), ("messages", "messages")):
            said = {"role": "user", "content": "hi"}
            items = [
                {"role": role, "type": odd, "content": [{"type": odd, "source": odd}]} for role in ("assistant", "user")
            ]
            more = {key: [said, *items], "tools": [{"type": odd}], "tool_choice": {"type": odd}}
            answer = team.ask("alice", f"{wire}:m", wire=wire, **more)
            assert answer.status_code < 500, (wire, odd, answer.text)


TWICE = [
    b'{"model": "chat:m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1000000, "max_tokens": 1}',
    rb'{"model": "chat:dear", "model": "chat:m", "messages": [{"role": "user", "content": "hi"}]}',
    b'{"model": "chat:m", "messages": [{"role": "user", "role": "system", "content": "hi"}]}',
]


def test_the_endpoint_reads_what_the_server_has_read(team: Team) -> None:
    team.new("alice", models=("chat:m",))
    headers = {**team.headers("alice"), "content-type": "application/json"}
    for data in TWICE:
        answer = team.server.http.post("/v1/chat/completions", content=data, headers=headers)
        assert answer.status_code == 400 and "twice" in answer.text
    nested = rb'{"mod\u0065l": "chat:m", "x": {"model": "chat:m"}, "messages": [{"role": "user", "content": "hi"}]}'
    assert team.server.http.post("/v1/chat/completions", content=nested, headers=headers).status_code == 403
    own = {**team.server.headers, "content-type": "application/json"}
    assert team.server.http.post("/v1/chat/completions", content=nested, headers=own).status_code == 200
    sent = team.up.exchanges[-1].body
    assert sent["model"] == "m" and sent["x"] == {"model": "chat:m"}
