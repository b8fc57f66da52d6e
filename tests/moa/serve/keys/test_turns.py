"""Keys take turns before an endpoint that is busy: who asks once does not wait behind somebody else's many."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from moa.serve.keys import ring
from tests.support.endpoint import ScriptedEndpoint
from tests.support.script import Behaviour, Say, Script
from tests.support.serving import PRESET, UPSTREAM_KEY, Serving, body
from tests.support.waiting import wait_until

PLACES, MANY = 2, 40


def came(page: str) -> float:
    """How many requests there were, those under way included."""
    samples = [each for family in text_string_to_metric_families(page) for each in family.samples]
    return sum(each.value for each in samples if each.name in ("moa_requests_total", "moa_requests_running"))


@pytest.fixture
def up() -> Iterator[ScriptedEndpoint]:
    with ScriptedEndpoint(Script(api_key=UPSTREAM_KEY)) as endpoint:
        yield endpoint


def test_who_asks_once_does_not_wait_behind_somebody_elses_many(tmp_path: Path, up: ScriptedEndpoint) -> None:
    up.script = Script(models={"many": Behaviour(steps=(Say(ttft_s=0.3),))}, api_key=UPSTREAM_KEY)
    server = Serving(tmp_path, up, presets={"p": PRESET.format(main="chat:m", aggregate="raw")})
    config = tmp_path / "config" / "config.toml"
    config.write_text(config.read_text().replace("max_concurrency = 1000", f"max_concurrency = {PLACES}"))
    with server, ThreadPoolExecutor(MANY + 1) as pool:
        ledger = server.ledger()
        many, few = ({"x-api-key": ring.make(ledger, name)[1], "authorization": ""} for name in ("many", "few"))
        ledger.close()
        flood = [pool.submit(server.post, "chat", body("chat", "chat:many"), many) for _ in range(MANY)]
        wait_until(lambda: came(server.get("/metrics").text) == MANY)
        answer = server.post("chat", body("chat", "moa/p"), few)
        left = MANY - len(up.calls("many"))
        up.script = Script(api_key=UPSTREAM_KEY)
        assert all(each.result(60).status_code == 200 for each in flood)
    assert answer.status_code == 200, answer.text
    # Turn by turn, one of the many goes before each of its calls: those of members, too.
    assert left > MANY / 2
    assert len(up.calls()) == MANY + 4
