"""Keys of a team: what each opens, costs and sees, through the server."""

from __future__ import annotations

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

    def __init__(self, server: Serving) -> None:
        self.server = server
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
        yield Team(server)


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
        ({"plugins": [{"id": "fusion", "preset": "other"}]}, 403),
        ({"plugins": [{"id": "fusion", "preset": "p"}]}, 200),
        ({"plugins": [{"id": "fusion", "preset": "p", "model": "chat:m"}]}, 403),
    ],
)
def test_limits_hold_for_panels_of_server_tools(team: Team, more: dict[str, Any], status: int) -> None:
    team.new("alice", models=("messages:*",), presets=("p",))
    answer = team.ask("alice", "messages:m", wire="chat", **more)
    assert answer.status_code == status, answer.text


FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"model": {"enum": ["dear"]}}}}}


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"models": ["dear"], "route": "fallback"}, 403),
        ({"models": ["m"]}, 200),
        ({"fallbacks": [{"model": "dear"}]}, 403),
        ({"tools": [{"type": "openrouter:subagent", "parameters": {"model": "dear"}}]}, 403),
        ({"tools": [FUNCTION], "metadata": {"model": "dear"}}, 200),
    ],
)
def test_limits_hold_for_models_that_a_request_names_beside(team: Team, more: dict[str, Any], status: int) -> None:
    team.new("alice", models=("chat:m",))
    answer = team.ask("alice", "chat:m", wire="chat", **more)
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize("more", [{"max_completion_tokens": 100_000}, {"n": 100}, {"max_tokens": 100, "n": 100}])
def test_a_budget_holds_for_the_most_that_a_request_can_cost(team: Team, more: dict[str, int]) -> None:
    team.new("alice", day_tokens=5_000)
    answer = team.ask("alice", "chat:m", wire="chat", **{"max_tokens": 1, "max_completion_tokens": 100, **more})
    assert answer.status_code == 402, answer.text
