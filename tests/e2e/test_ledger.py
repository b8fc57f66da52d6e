"""The ledger as two programs, a user in another time zone and a provider that repeats our key meet it."""

from __future__ import annotations

import json
import sqlite3

import pytest

from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import Program, preset_text
from tests.support.rounds import rounds
from tests.support.script import Behaviour, Say, Script

ROUNDS = 30
KEY = "sk-fake-0123456789"
PRICED = """
model = "fake:worker"
max_tokens = 100
{more}
[endpoints.fake]
base_url = "{url}"
[endpoints.fake.models.worker]
price = {{ prompt = 100.0, completion = 100.0, cache_write = 100.0 }}
"""


@pytest.mark.slow
def test_no_row_is_lost_beside_another_program(program: Program, endpoint: ScriptedEndpoint) -> None:
    """The bench does so a thousand times."""
    found = rounds(program, endpoint, ROUNDS)
    assert found.requests == found.rows
    assert found.requests.total() >= 2 * ROUNDS
    assert found.integrity == "ok"


def held_nano(program: Program) -> int:
    """What the last call's reservation was, nano-dollars."""
    with sqlite3.connect(program.state_dir / "ledger.db") as ledger:
        (nano,) = ledger.execute("SELECT reserved_nano FROM calls ORDER BY started DESC").fetchone()
    ledger.close()
    return int(nano)


def test_room_for_guidance_is_held_only_where_a_panel_is_armed(program: Program, endpoint: ScriptedEndpoint) -> None:
    endpoint.script = Script(models={"worker": Behaviour(steps=(Say(text="done"),))})
    program.config(PRICED.format(url=endpoint.base_url, more=""))
    program.preset("panel", preset_text(["fake:worker"], aggregate="raw"))
    assert program.run("hello", "--no-moa").code == 0
    fits = str(held_nano(program) / 1e9 + 0.001)
    assert program.run("hello", "--no-moa", "--budget", fits).result["status"] == "done"
    assert program.run("hello", "--preset", "panel", "--budget", fits).result["status"] == "budget"


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Etc/GMT+12", "UTC"])
def test_another_zone_makes_no_room_under_the_cap_of_a_day(
    program: Program, endpoint: ScriptedEndpoint, zone: str
) -> None:
    endpoint.script = Script(models={"worker": Behaviour(steps=(Say(text="done"),))})
    program.config(PRICED.format(url=endpoint.base_url, more=""))
    assert program.run("hello", "--no-moa", env={"TZ": "UTC"}).code == 0
    program.config(PRICED.format(url=endpoint.base_url, more=f"[budget]\nday_usd = {held_nano(program) / 1e9 + 0.001}"))
    refused = program.run("hello", "--no-moa", env={"TZ": zone})
    assert (refused.code, refused.result["status"]) == (3, "budget")


def test_a_key_that_comes_back_as_a_name_is_kept_nowhere(program: Program, endpoint: ScriptedEndpoint) -> None:
    endpoint.script = Script(models={"worker": Behaviour(steps=(Say(text="done", served=f"worker-{KEY}"),))})
    program.config(
        f'model = "fake:worker"\n[endpoints.fake]\nbase_url = "{endpoint.base_url}"\napi_key_env = "FAKE_KEY"\n'
    )
    env = {"FAKE_KEY": KEY}
    said = [
        program.run("hello", env=env).out,
        program("run", "--output-format", "stream-json", "hello", env=env).out,
        program("activity", env=env).out,
        program("activity", "--json", env=env).out,
    ]
    assert [KEY in text for text in said] == [False] * 4
    assert json.loads(said[0])["calls"][0]["model_served"] == "worker-[key]"
    kept = [path for path in program.state_dir.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert kept == []
