"""What is seen of a server from outside: figures, spans and log, all of the same calls, and none with a word of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families

from agent.errors import UsageError
from moa.serve.keys import ring
from moa.serve.seen import spans
from tests.moa.serve.test_process import members
from tests.support.endpoint import ScriptedEndpoint
from tests.support.script import Behaviour, Say, Script
from tests.support.serving import PRESET, UPSTREAM_KEY, Serving, body

SECRET = "pineapple"
TOOLS = {"tools": [{"name": "read", "input_schema": {"type": "object"}}]}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Serving]:
    models = {"m": Behaviour(steps=(Say(text=f"Done, {SECRET}."),)), **members()}
    preset = PRESET.format(main="messages:m", aggregate="raw")
    with (
        ScriptedEndpoint(Script(models=models, api_key=UPSTREAM_KEY)) as up,
        Serving(tmp_path, up, presets={"p": preset}, config='[serve]\nlog = "json"\n') as serving,
    ):
        yield serving


def figures(server: Serving) -> dict[str, dict[tuple[str, ...], float]]:
    """The samples of the page by name and labels' values, once no request is under way: the client has its answer before that."""
    while "moa_requests_running 0.0" not in (page := server.get("/metrics")).text:
        pass
    assert page.status_code == 200 and SECRET not in page.text
    return samples(page.text)


def samples(page: str) -> dict[str, dict[tuple[str, ...], float]]:
    """The samples of a page by name and labels' values."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(value for _name, value in sorted(sample.labels.items()))] = (
                sample.value
            )
    return found


def test_money_is_the_same_wherever_it_is_said(server: Serving) -> None:
    ledger = server.ledger()
    try:
        _account, key = ring.make(ledger, "alice")
        asked = [server.post("messages", body("messages", "moa/p", text=f"{SECRET} {at}", **TOOLS)) for at in range(2)]
        asked.append(
            server.post("messages", body("messages", "moa/p", **TOOLS), headers={"x-api-key": key, "authorization": ""})
        )
        assert server.post("chat", body("chat", "chat:m")).status_code == 200
        assert server.post("messages", body("messages", "messages:m")).status_code == 200
        rows = ledger.calls()
        seen = figures(server)
        for wire in ({}, {"x-api-key": key, "authorization": ""}):
            told = server.get("/v1/activity", headers=wire).json()
            assert told["cost"]["usd"] > 0
        nano = {
            name: round(sum(values.values()) * 1e9) for name, values in seen.items() if name == "moa_cost_usd_total"
        }
        assert nano == {"moa_cost_usd_total": sum(row.cost_nano or 0 for row in rows)}
        runs = {answer.headers["x-moa-run"]: round(answer.json()["usage"]["cost"] * 1e9) for answer in asked}
        assert runs == {run: sum(row.cost_nano or 0 for row in rows if row.run == run) for run in runs}
    finally:
        ledger.close()
    assert sum(seen["moa_calls_total"].values()) == len(rows) == 3 * 4 + 2
    assert seen["moa_calls_total"]["messages:m", "p", "serve"] == 3
    assert seen["moa_tokens_total"]["prompt", "messages:m", "p", "serve"] > 0
    assert seen["moa_counsel_total"]["taken", "p"] == 3 and seen["moa_counsel_seconds_count"][("p",)] == 3
    assert seen["moa_call_seconds_count"]["chat:alpha", "p", "reference"] == 3
    assert seen["moa_requests_total"]["200", "messages"] == 4 and seen["moa_requests_running"][()] == 0


def test_no_counter_goes_down(server: Serving) -> None:
    """A call that is under way is in none of them: it may be taken back."""
    up = server.up
    up.script = Script(models={"m": Behaviour(steps=(Say(text="Done. " * 9, spread_s=600),))}, api_key=UPSTREAM_KEY)
    counters = ("moa_calls_total", "moa_calls_unfinished_total", "moa_cost_usd_total", "moa_tokens_total")
    label = ("messages:m", "", "serve")
    assert server.post("chat", body("chat", "chat:fail-400")).status_code == 400
    with server.streamed("messages", body("messages", "messages:m", stream=True)) as answer:
        pieces = answer.iter_raw()  # let go, it would close the answer
        next(pieces)
        page = samples(server.get("/metrics").text)
        assert [sum(page[name].values()) for name in counters] == [1, 1, 0, 0]
        assert page["moa_calls_running"]["other", "", "serve"] == 1
    later = figures(server)
    assert [sum(later[name].values()) for name in counters[:2]] == [2, 2]
    assert sum(later["moa_calls_running"].values()) == 0 and sum(later["moa_calls_of_unknown_cost"].values()) == 1
    up.script = Script(api_key=UPSTREAM_KEY)
    server.post("messages", body("messages", "messages:m"))
    assert figures(server)["moa_calls_unfinished_total"][label] == 1


def test_a_model_that_never_answered_is_no_label(server: Serving) -> None:
    asked = body("chat", "chat:fail-400")
    assert server.post("chat", asked).status_code == 400
    seen = figures(server)
    assert list(seen["moa_calls_total"]) == [("other", "", "serve")]
    assert seen["moa_calls_unfinished_total"]["other", "", "serve"] == 1


def test_a_request_is_a_line_without_a_word_of_it(server: Serving, capfd: pytest.CaptureFixture[str]) -> None:
    answer = server.post("messages", body("messages", "moa/p", text=SECRET, **TOOLS))
    server.post("chat", body("chat", "chat:fail-429", text=SECRET))
    server.post("chat", body("chat", "nothing:at-all", text=SECRET), headers={"authorization": f"Bearer {SECRET}"})
    figures(server)
    written = capfd.readouterr().err
    lines = [json.loads(line) for line in written.splitlines()]
    assert SECRET not in written
    first, second, third = (line for line in lines if line["event"] == "request")
    assert first["run"] == answer.headers["x-moa-run"] and first["counsel"] == "taken" and first["status"] == 200
    assert first["key"] == "the server's own" and first["preset"] == "p" and first["model"] == "messages:m"
    assert (second["status"], second["error"]) == (429, "upstream") and third["status"] == 401
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"]) for line in lines)


def test_calls_are_spans_below_that_of_their_request(server: Serving) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    server.server.seen.spans = spans.Spans(provider)
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = server.post("messages", body("messages", "moa/p", text=SECRET, **TOOLS), headers={"traceparent": parent})
    figures(server)
    found = exporter.get_finished_spans()
    calls = [each for each in found if each.kind.name == "CLIENT"]
    (request,) = [each for each in found if each.kind.name == "SERVER"]
    assert (
        request.name == "POST /v1/messages"
        and request.parent is not None
        and request.parent.trace_id == 0x0AF7651916CD43DD8448EB211C80319C
    )
    assert len(calls) == 4 and all(each.parent and each.parent.span_id == request.context.span_id for each in calls)
    (main,) = [each for each in calls if (each.attributes or {})["moa.purpose"] == "serve"]
    facts: dict[str, Any] = dict(main.attributes or {})
    assert (
        main.name == "chat m"
        and facts["gen_ai.operation.name"] == "chat"
        and facts["gen_ai.provider.name"] == "messages"
    )
    assert facts["gen_ai.request.model"] == "m" and facts["gen_ai.response.model"] == "m"
    usage = answer.json()["usage"]
    assert facts["gen_ai.usage.output_tokens"] == usage["output_tokens"] and facts["gen_ai.usage.input_tokens"] > 0
    assert facts["moa.run"] == answer.headers["x-moa-run"] and facts["moa.cost_usd"] > 0
    assert SECRET not in " ".join(each.to_json() for each in found)


@pytest.mark.parametrize(
    ("env", "exporter"),
    [
        ({}, ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, "otlp"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318"}, "otlp"),
        ({"OTEL_TRACES_EXPORTER": "console"}, "console"),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, ""),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp"}, ""),
    ],
)
def test_the_environment_says_whether_there_are_spans(env: dict[str, str], exporter: str) -> None:
    assert spans.wanted(env) == exporter
    with pytest.raises(UsageError, match="OTEL_TRACES_EXPORTER"):
        spans.wanted({"OTEL_TRACES_EXPORTER": "smoke"})
