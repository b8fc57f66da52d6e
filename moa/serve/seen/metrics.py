"""`/metrics`, in Prometheus' text format.

Calls, tokens and money are read from the ledger's sums, so they are what `/v1/activity` and the answers say, over all workers and machines
and since the ledger began. How long things took, and what became of counsel, each process counts itself since its start; the workers of one
server count together (`prometheus_client`'s files in a folder that they share).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from agent.ledger.schema import VISIBLE
from agent.llm.money import NANO
from agent.text.cleaning import visible

if TYPE_CHECKING:
    from agent.ledger.book import Ledger

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
SECONDS = (0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300, 600)
OTHER = "other"
"""The model of calls to a name that has never answered: what clients make up is no label."""

_SUMS = (
    "WITH answered AS (SELECT DISTINCT endpoint AS at, model_requested AS name, endpoint || ':' || model_requested AS model"
    " FROM sums WHERE account <> '' AND calls > unfinished),"
    # What is under way may be taken back: a counter that went down would be a restart to whoever reads it.
    " every AS (SELECT purpose, endpoint, model_requested, preset, 0 AS running, calls, unfinished, known, cost_nano, duration_s,"
    " prompt_tokens, cached_tokens, cache_write_tokens, completion_tokens, reasoning_tokens FROM sums WHERE account <> ''"
    " UNION ALL SELECT purpose, endpoint, model_requested, preset, 1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0 FROM calls"
    f" WHERE cost_nano IS NULL AND outcome = 'reserved' AND account <> '' AND {VISIBLE.format(row='')})"
    f" SELECT purpose, coalesce(model, '{OTHER}'), preset,"
    " sum(running), sum(calls), sum(unfinished), sum(calls - known), sum(cost_nano), sum(duration_s),"
    " sum(prompt_tokens), sum(cached_tokens), sum(cache_write_tokens), sum(completion_tokens), sum(reasoning_tokens)"
    " FROM every LEFT JOIN answered ON at = endpoint AND name = model_requested GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
)
_LABELS = ("purpose", "model", "preset")
_TOKENS = ("prompt", "cached", "cache_write", "completion", "reasoning")


class _ByLabels:
    """The parts of a metric by their labels, which are looked up with each request."""

    def __init__(self, metric: Any) -> None:
        self._metric = metric
        self._parts: dict[tuple[str, ...], Any] = {}

    def labels(self, *values: str) -> Any:
        """The part of these labels."""
        found = self._parts.get(values)
        if found is None:
            found = self._parts[values] = self._metric.labels(*map(visible, values))
        return found


class Metrics:
    """Of one process. `shared`: the processes of this server count together."""

    def __init__(self) -> None:
        import prometheus_client as prometheus

        prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.shared = bool(os.environ.get(FOLDER))
        self._own = own = prometheus.CollectorRegistry()
        self.requests = _ByLabels(
            prometheus.Counter("moa_requests", "Requests that were answered.", ("wire", "status"), registry=own)
        )
        self.running = prometheus.Gauge(
            "moa_requests_running", "Requests under way.", registry=own, multiprocess_mode="livesum"
        )
        self.started = prometheus.Gauge(
            "moa_start_time_seconds", "When it began to serve.", registry=own, multiprocess_mode="min"
        )
        self.request_seconds = _ByLabels(
            prometheus.Histogram(
                "moa_request_seconds",
                "From a request to the last of its answer.",
                ("wire", "preset"),
                registry=own,
                buckets=SECONDS,
            )
        )
        self.call_seconds = _ByLabels(
            prometheus.Histogram(
                "moa_call_seconds", "Calls of models that have answered.", _LABELS, registry=own, buckets=SECONDS
            )
        )
        self.first_seconds = _ByLabels(
            prometheus.Histogram(
                "moa_call_first_token_seconds",
                "From a call to the first of its answer.",
                _LABELS,
                registry=own,
                buckets=SECONDS,
            )
        )
        self.counsel = _ByLabels(
            prometheus.Counter("moa_counsel", "What became of counsel.", ("preset", "outcome"), registry=own)
        )
        self.counsel_seconds = _ByLabels(
            prometheus.Histogram(
                "moa_counsel_seconds", "Counsels that were taken.", ("preset",), registry=own, buckets=SECONDS
            )
        )

    def text(self, sums: Iterable[tuple[Any, ...]]) -> str:
        """The page. `sums` is what `read` gives."""
        import prometheus_client as prometheus

        registry = self._own
        if self.shared:
            from prometheus_client.multiprocess import MultiProcessCollector

            registry = prometheus.CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        ledger = prometheus.CollectorRegistry()
        ledger.register(_Books(list(sums)))
        return (prometheus.generate_latest(registry) + prometheus.generate_latest(ledger)).decode()


def read(ledger: Ledger) -> list[tuple[Any, ...]]:
    """What served calls were, by purpose, model and preset. Raises StateError."""
    return ledger.database.rows(_SUMS)


def forget_process(pid: int) -> None:
    """A worker is no more: what was under way in it is not any longer."""
    if os.environ.get(FOLDER):
        with suppress(ImportError, OSError):
            from prometheus_client.multiprocess import mark_process_dead

            mark_process_dead(pid)  # type: ignore[no-untyped-call]


class _Books:
    """The ledger's sums as a collector."""

    def __init__(self, sums: list[tuple[Any, ...]]) -> None:
        self._sums = sums

    def collect(self) -> Iterable[Any]:
        from prometheus_client.core import CounterMetricFamily as Counter
        from prometheus_client.core import GaugeMetricFamily as Gauge

        running = Gauge("moa_calls_running", "Calls of models that are under way.", labels=_LABELS)
        calls = Counter("moa_calls", "Calls of models that have ended.", labels=_LABELS)
        unfinished = Counter("moa_calls_unfinished", "Those that did not end as done.", labels=_LABELS)
        unknown = Gauge("moa_calls_of_unknown_cost", "Those whose cost is not known, or not yet.", labels=_LABELS)
        money = Counter(
            "moa_cost_usd",
            "What they cost, US dollars; a lower bound where the cost of one is unknown.",
            labels=_LABELS,
        )
        time = Counter("moa_calls_seconds", "Their own times, added up.", labels=_LABELS)
        tokens = Counter(
            "moa_tokens",
            "Their tokens; cached and cache_write are part of prompt, reasoning of completion.",
            labels=(*_LABELS, "kind"),
        )
        for purpose, model, preset, *figures in self._sums:
            labels = tuple(map(visible, (purpose, model, preset)))
            open, count, broken, not_known, nano, duration, *kinds = figures
            for family, value in (
                (running, open),
                (calls, count),
                (unfinished, broken),
                (unknown, not_known),
                (money, nano / NANO),
                (time, duration),
            ):
                family.add_metric(labels, value)
            for kind, value in zip(_TOKENS, kinds, strict=True):
                tokens.add_metric((*labels, kind), value)
        return (running, calls, unfinished, unknown, money, time, tokens)
