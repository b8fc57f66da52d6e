"""Guidance that was inserted once stands at its place in every later request of its branch, and of no other."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.errors import UsageError
from agent.llm.accounting import CallContext
from agent.llm.request import ModelRef
from moa.serve.counsel.taking import take
from moa.serve.guidance import rows
from tests.support import prompt
from tests.support.databases import kept
from tests.support.script import Say
from tests.support.served import WIRES, Client, Desk, Refused


def points(body: dict[str, Any]) -> list[int]:
    """Which guidance stands in a body, in order."""
    text = prompt.texts(prompt.items_of(body))
    return [int(each.split(".")[0]) for each in text.split("POINT-")[1:]]


def worked(desk: Desk, rounds: int = 3, **asked: Any) -> Client:
    """A conversation after so many rounds of a tool loop."""
    client = desk.client(**asked).say("go")
    client.loop(rounds)
    return client


@pytest.mark.parametrize("wire", WIRES)
def test_it_stands_where_the_agent_puts_it(tmp_path: Path, wire: str) -> None:
    with Desk(tmp_path, wire) as desk:
        client = worked(desk, 2)
        sent = prompt.items_of(client.read().body())
        assert points(client.read().body()) == [1, 2]
        own, *_rest, result = [item for item in sent if "POINT-" in prompt.texts(item)]
        assert own["role"] == "user" and prompt.texts(own).index("<private-guidance>\n") < 40
        ended = prompt.texts(result)
        assert result.get("role") in ("user", "tool", None) and "found toolu_1_0" in ended
        assert ended.rstrip().endswith("</private-guidance>")
        desk.holds()


def test_behind_results_and_a_programs_reminder_it_is_still_the_end_of_the_last_result(tmp_path: Path) -> None:
    with Desk(tmp_path) as desk:
        client = worked(desk, 1)
        client.items[-1]["content"].append({"type": "text", "text": "<system-reminder>\nBe brief.\n</system-reminder>"})
        client.ask()
        last = next(item for item in reversed(client.sent["messages"]) if item["role"] == "user")
        assert "POINT-2" in prompt.texts(last["content"][0]) and len(last["content"]) == 2
        client.work()
        client.items[-1]["content"].append({"type": "text", "text": "«No, look elsewhere.»"})
        client.ask()
        assert (
            "POINT-3" in prompt.texts(client.sent["messages"][-1]) and len(client.sent["messages"][-1]["content"]) == 1
        )


def test_a_system_message_in_the_middle_stays_directly_before_the_reply(tmp_path: Path) -> None:
    """It may stand nowhere else (Claude Code sends such messages)."""
    with Desk(tmp_path) as desk:
        client = desk.client().say("go")
        client.items.append({"role": "system", "content": "Agents: none."})
        client.loop(2)
        assert [item["role"] for item in client.sent["messages"][:4]] == ["user", "user", "system", "assistant"]
        desk.holds()


def test_where_roles_must_alternate_it_joins_the_users_words(tmp_path: Path) -> None:
    with Desk(tmp_path, "chat") as desk:
        client = worked(desk, 2, alternate=True)
        assert [item["role"] for item in client.sent["messages"]] == ["system", "user", "assistant", "tool"]
        assert points(client.sent) == [1, 2]
        desk.holds()


@pytest.mark.parametrize("wire", WIRES)
def test_a_retry_pays_no_second_panel(tmp_path: Path, wire: str) -> None:
    with Desk(tmp_path, wire) as desk:
        client = worked(desk, 1)
        before = prompt.items_of(client.sent)
        script = desk.endpoint.script.models
        kept = script["main"]
        script["main"] = lambda _body, _earlier: Say(status=529)  # type: ignore[index]
        for _ in range(2):
            with pytest.raises(Refused):
                client.ask()
        first = prompt.items_of(client.sent)
        script["main"] = kept  # type: ignore[index]
        desk.restart()
        client.ask()
        assert (desk.asked, client.said) == (2, "reused") and prompt.items_of(client.sent) == first != before
        again = client.branch()
        again.items = client.items[: len(first) - 1 - (wire == "chat")]
        again.ask()  # its reply had ended: this is another branch
        assert (desk.asked, again.said) == (3, "taken")
        desk.holds()


def test_after_ten_minutes_a_retry_is_a_new_question(tmp_path: Path) -> None:
    with Desk(tmp_path) as desk:
        client = desk.client().say("go")
        for minutes, said in ((0, "taken"), (9, "reused"), (11, "taken")):
            desk.now += minutes * 60
            client.ask(keep=False, cut=2)
            assert client.said == said


def test_requests_that_are_the_same_at_the_same_time_share_one_panel(tmp_path: Path) -> None:
    with Desk(tmp_path) as desk:

        async def both() -> list[Any]:
            desk.waits = asyncio.Event()
            client = desk.client().say("go")
            served = [client.read() for _ in range(3)]
            context = CallContext("main")
            asks = [asyncio.create_task(take(each, context, lambda _event: None)) for each in served]
            while desk.server.panels.waiting < 3:  # noqa: ASYNC110 - there is no such event
                await asyncio.sleep(0)
            asks[0].cancel()  # the first client leaves; the panel goes on for the others
            await asyncio.wait(asks[:1])
            desk.waits.set()
            await asyncio.gather(*asks[1:])
            return served

        _gone, *served = desk.loop.run(both())
        sent = [prompt.items_of(each.body()) for each in served]
        assert desk.asked == 1 and sent[0] == sent[1] and points(served[0].body()) == [1]
        assert {each.said for each in served} == {"reused"}


def test_a_client_that_leaves_stops_its_panel(tmp_path: Path) -> None:
    with Desk(tmp_path) as desk:

        async def leave() -> None:
            desk.waits = asyncio.Event()
            ask = asyncio.create_task(take(desk.client().say("go").read(), CallContext("main"), lambda _event: None))
            for _ in range(20):
                await asyncio.sleep(0)
            assert desk.asked == 1
            ask.cancel()
            with pytest.raises(asyncio.CancelledError):
                await ask
            assert len(asyncio.all_tasks()) == 1

        desk.loop.run(leave())


def test_nobody_gets_another_keys(tmp_path: Path) -> None:
    with Desk(tmp_path) as desk:
        client = worked(desk)
        other = client.branch()
        other.asked = {"key": "k2"}
        other.ask()
        assert points(other.sent) == [4], "the conversation is the same, word for word, but it was not this key's"
        client.ask()
        assert points(client.sent) == [1, 2, 3, 5]


@pytest.mark.parametrize("wire", WIRES)
def test_a_client_that_compacts_gets_none_behind_it(tmp_path: Path, wire: str) -> None:
    """Not even where it keeps the newest replies as they were; their thoughts can't hold any more."""
    with Desk(tmp_path, wire, options={"sealed_items_bind": False}) as desk:
        client = worked(desk, 4)
        ours = [at for at, item in enumerate(client.items) if not prompt.is_of_the_user(prompt.canonical(item))]
        tail = client.items[[at for at in ours if at - 1 not in ours][-2] :]
        client.items.clear()
        client.say("a summary")
        client.items += tail
        client.ask()
        assert points(client.sent) == [5]
        assert client.read().left == ([] if wire == "responses" else ["what stood before them has changed"] * 2)
        since = len(desk.endpoint.exchanges)
        client.work()
        client.loop(3)
        assert points(client.sent)[0] == 5 and not desk.endpoint.refusals
        desk.holds(since=since)


@pytest.mark.parametrize("wire", WIRES)
def test_rows_that_were_lost_are_known_to_be_lost(tmp_path: Path, wire: str) -> None:
    """Then signed thoughts stay behind from there on, and that is said; nothing is refused."""
    with Desk(tmp_path, wire, options={"sealed_items_bind": False}) as desk:
        client = worked(desk, 4)
        desk.server.ledger.database.write(
            "DELETE FROM served_replies WHERE id IN (SELECT id FROM served_replies ORDER BY rowid LIMIT 1 OFFSET 1)"
        )
        served = client.read()
        assert points(served.body()) == [1]
        if wire != "responses":
            assert served.left == ["this server does not know the reply", *["what stood before them has changed"] * 2]
        since = len(desk.endpoint.exchanges) + 1
        client.loop(3)
        assert points(client.sent)[:2] == [1, 5] and not desk.endpoint.refusals
        desk.holds(since=since)


def test_after_the_named_refusal_the_request_goes_once_more_without_thoughts(tmp_path: Path) -> None:
    with Desk(tmp_path) as desk:
        client = worked(desk)
        desk.endpoint.salt = "the vendor's own doing"
        client.ask()
        assert len(desk.endpoint.refusals) == 1
        assert not list(prompt.thoughts_of(client.sent, "messages")) and points(client.sent) == [1, 2, 3, 4]
        client.work()
        client.loop(3)
        assert len(desk.endpoint.refusals) == 1, "the row remembers it"
        desk.holds(since=desk.endpoint.found[0].request + 1)


def test_thoughts_of_models_that_bind_none_go_back_whatever_is_lost(tmp_path: Path) -> None:
    with Desk(tmp_path) as desk:
        client = worked(desk)
        rows.forget_key(desk.server.ledger.database, "k1")
        for model, thoughts in (("main", 0), ("claude-opus-5-5", 0), ("claude-opus-4-8", 3), ("claude-sonnet-5", 3)):
            served = client.read()
            served.asked = replace(served.asked, main=ModelRef("up", model))
            assert len(list(prompt.thoughts_of(served.body(), "messages"))) >= thoughts, model
            assert bool(served.left) == (not thoughts)


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("more", [{"wanted": "off"}, {"preset": None}, {"counting": True}, {"depth": 1}])
def test_it_is_inserted_again_whatever_the_request_says_of_counsel(
    tmp_path: Path, wire: str, more: dict[str, Any]
) -> None:
    """A model without a panel, the count of tokens, a request that wants none."""
    with Desk(tmp_path, wire) as desk:
        client = worked(desk)
        asked, client.asked = client.asked, more
        client.ask()
        assert points(client.sent) == [1, 2, 3] and desk.asked == 3
        client.work()
        client.asked = asked
        client.ask()
        if more != {"counting": True}:
            assert points(client.sent) == [1, 2, 3, 4]
            desk.holds()


def test_a_request_that_is_on_its_way_counts_with_its_guidance(tmp_path: Path) -> None:
    with Desk(tmp_path) as desk:
        client = worked(desk, 1)
        client.ask(keep=False, cut=1)
        assert points(client.read(counting=True).body()) == [1, 2]


def test_a_body_in_which_nothing_is_to_be_done_is_the_clients_own(tmp_path: Path) -> None:
    with Desk(tmp_path) as desk:
        client = desk.client(preset=None).say("go")
        body = client.body()
        kept = copy.deepcopy(body)
        assert client.read(body).body() is body
        client = worked(desk)
        body = client.body()
        client.ask(body=body)
        assert client.sent is not body and {**body, "messages": []} == {**client.sent, "messages": []}
        assert kept["messages"] == [client.items[0]] or kept["messages"][0]["content"][0]["text"] == "«go»"


@pytest.mark.parametrize("wire", WIRES)
def test_ids_that_are_counters_are_of_their_own_conversation(tmp_path: Path, wire: str) -> None:
    """Some servers number their calls from the start in each conversation (`functions.read:0`)."""
    with Desk(tmp_path, wire, options={"thinks": lambda _model: False}) as desk:

        def counted(value: Any) -> Any:
            if isinstance(value, dict):
                named = {"item_id": "", "id": ""} if "call" in str(value.get("type")) and "call_id" in value else {}
                return {
                    key: f"functions.read:{item.rpartition('_')[2]}"
                    if str(item).startswith("toolu_")
                    else counted(item)
                    for key, item in value.items()
                    if key not in named
                }
            return [counted(item) for item in value] if isinstance(value, list) else value

        clients = [desk.client().say(f"task {n}") for n in range(2)]
        for _ in range(3):
            for client in clients:
                client.rewrite = counted
                client.ask()
                client.work()
        assert [points(client.read().body()) for client in clients] == [[1, 3, 5], [2, 4, 6]]


def test_what_was_said_twice_is_told_apart_by_what_follows(tmp_path: Path) -> None:
    with Desk(
        tmp_path, "chat", script=lambda _body, _n: Say(text="Done."), options={"thinks": lambda _m: False}
    ) as desk:
        clients = [desk.client().say("hi") for _ in range(2)]
        for client in clients:
            client.ask()
        for number, client in enumerate(clients):
            client.say(f"more {number}").ask()
        assert [points(client.sent) for client in clients] == [[2, 3], [2, 4]], "nothing tells them apart: the newest"
        desk.now += 1
        clients[0].say("and more").ask()
        assert points(clients[0].sent) == [2, 3, 5]


def test_the_items_of_one_reply_need_not_stand_in_a_row(tmp_path: Path) -> None:
    """A client may put each result right behind its call."""
    with Desk(tmp_path, "responses", options={"sealed_items_bind": False}) as desk:
        client = desk.client().say("go")
        client.loop(4)
        at = next(n for n, item in enumerate(client.items) if item["type"] == "function_call_output")
        while client.items[at - 2].get("type") != "function_call":
            at = next(n for n, item in enumerate(client.items) if n > at and item["type"] == "function_call_output")
        client.items[at - 1], client.items[at] = client.items[at], client.items[at - 1]
        served = client.read()
        assert points(served.body()) == [1, 2, 3, 4] and len(served.path.steps) == 4


def test_a_conversation_that_the_endpoint_keeps_goes_on_from_a_reply_of_this_key(tmp_path: Path) -> None:
    with Desk(tmp_path, "responses") as desk:
        client = desk.client().say("go")
        client.stream = False
        body = {**client.body(), "store": True}
        client.ask(body=body)
        [own] = desk.server.ledger.database.rows("SELECT id, turn, step FROM served_replies")
        name = client.response
        client.items.clear()
        client.say("and now?")
        further = {**client.body(), "store": True, "previous_response_id": name}
        served = client.read(further)
        assert (served.path.node, served.standing.turn, served.standing.step) == (own[0], 2, 1)
        client.ask(body=further)
        assert client.said.startswith("skipped; the endpoint keeps the conversation") and points(client.sent) == []
        for key, unknown in (("k1", "resp_unknown"), ("k2", name)):
            with pytest.raises(UsageError, match="previous_response_id") as caught:
                client.read({**further, "previous_response_id": unknown}, key=key)
            assert caught.value.kind == "previous_response_not_found"


def test_a_reply_that_said_nothing_leaves_its_guidance_where_it_was(tmp_path: Path) -> None:
    empty = lambda _body, earlier: Say(shape="billed_empty") if earlier == 1 else Say(text=f"Done {earlier}.")  # noqa: E731
    with Desk(tmp_path, script=empty) as desk:
        client = desk.client().say("go")
        for words in ("on", "further", "and on"):
            client.ask()
            client.say(words)
        assert points(client.read().body()) == [1, 2, 3]
        desk.holds()


def test_the_response_says_what_became_of_it(tmp_path: Path) -> None:
    with Desk(tmp_path) as desk:
        client = worked(desk, 2)
        assert client.read().headers == {"x-moa-counsel": "skipped; not asked yet"}
        rows.forget_key(desk.server.ledger.database, "k1")
        client.ask()
        left = "this server does not know the reply"
        assert (client.receipt["counsel"], client.receipt["left"]) == ("taken", [left, left])
        assert client.receipt["answered"] == 1 and client.receipt["cost"] == {"usd": 0.0, "lower_bound": False}
        assert client.read().headers["x-moa-thoughts"] == f"left 2; {left}"


def test_the_database_holds_nothing_that_the_client_wrote(tmp_path: Path) -> None:
    with Desk(tmp_path) as desk:
        client = desk.client().say("my secret plan")
        client.loop(3)
        stored = kept(tmp_path / "ledger.db")
        assert b"secret plan" not in stored and b"found toolu" not in stored and b"POINT-2" in stored


def test_rows_go_when_nobody_uses_them(tmp_path: Path) -> None:
    with Desk(tmp_path) as desk:
        database = desk.server.ledger.database

        def left() -> list[int]:
            tables = ("served_conversations", "served_replies", "served_anchors")
            return [database.rows(f"SELECT count(*) FROM {table}")[0][0] for table in tables]

        old, used = worked(desk), worked(desk)
        desk.now += 29 * 86400.0
        used.ask()
        used.work()
        assert rows.sweep(database, most_bytes=10**9, now=desk.now) == 0
        desk.now += 2 * 86400.0
        assert rows.sweep(database, most_bytes=10**9, now=desk.now) == 1
        assert points(used.read().body()) == [4, 5, 6, 7] and points(old.read().body()) == []
        assert rows.sweep(database, most_bytes=100, now=desk.now) == 1
        assert left() == [0, 0, 0]
        worked(desk, key="k1")
        assert rows.forget_key(database, "k1") == 1 and left() == [0, 0, 0]
