"""Spans for OpenTelemetry: one for each request, and below it one for each call of a model, with the GenAI attributes.

They are made where the environment says so, as every program with OpenTelemetry does it: `OTEL_EXPORTER_OTLP_ENDPOINT`,
`OTEL_TRACES_EXPORTER`, `OTEL_SERVICE_NAME`, … No span has a word that anybody wrote. The conventions are in development: their names are
those of `opentelemetry-semantic-conventions` in the version that the extra `otel` names (schema 1.44).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agent.errors import UsageError
from agent.extras import missing
from moa import __version__

if TYPE_CHECKING:
    from agent.llm.accounting import CallContext, Settlement
    from agent.llm.request import ModelRef

SCHEMA = "https://opentelemetry.io/schemas/1.44.0"
PROVIDERS = {"gemini": "gcp.gemini", "xai": "x_ai", "mistral": "mistral_ai"}
"""What the conventions call a provider, where our name of the endpoint is another."""
_ADDRESSES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def wanted(env: Mapping[str, str]) -> str:
    """The exporter that the environment asks for: otlp or console; empty: none. Raises UsageError for another."""
    if env.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return ""
    named = env.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if named == "none":
        return ""
    if named not in ("", "otlp", "console"):
        raise UsageError(f"OTEL_TRACES_EXPORTER is {named[:40]!r}", remedy="use otlp, console or none", kind="otel")
    return named or ("otlp" if any(env.get(name) for name in _ADDRESSES) else "")


def make(env: Mapping[str, str]) -> Spans | None:
    """As the environment says; None: no spans. Raises UsageError where OpenTelemetry is not installed."""
    exporter = wanted(env)
    if not exporter:
        return None
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter

        found: SpanExporter
        if exporter == "console":
            found = ConsoleSpanExporter()
        else:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            found = OTLPSpanExporter()
    except ImportError:
        raise missing("otel", "a server whose environment asks for spans (OTEL_…)", "OpenTelemetry") from None
    name = env.get("OTEL_SERVICE_NAME") or "moa-serve"
    provider = TracerProvider(resource=Resource.create({"service.name": name, "service.version": __version__}))
    provider.add_span_processor(BatchSpanProcessor(found))
    return Spans(provider)


class Spans:
    """Of one process."""

    def __init__(self, provider: Any) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("moa.serve", __version__, schema_url=SCHEMA)

    def request(self, method: str, path: str, headers: Mapping[str, str]) -> Any:
        """A request begins; what is done within `current` is below it."""
        from opentelemetry.propagate import extract
        from opentelemetry.trace import SpanKind

        attributes = {"http.request.method": method, "url.path": path}
        return self._tracer.start_span(
            f"{method} {path}", context=extract(dict(headers)), kind=SpanKind.SERVER, attributes=attributes
        )

    def current(self, span: Any) -> Any:
        """A context manager."""
        from opentelemetry.trace import use_span

        # What is raised is told by `answered`, without any key in it.
        return use_span(span, end_on_exit=False, record_exception=False, set_status_on_exception=False)

    def answered(self, span: Any, status: int, facts: Mapping[str, Any]) -> None:
        """It has ended. `facts` are ours."""
        from opentelemetry.trace import Status, StatusCode

        span.set_attribute("http.response.status_code", status)
        for name, value in facts.items():
            span.set_attribute(f"moa.{name}", value)
        if status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        span.end()

    def here(self) -> Any:
        """Where a call begins: below which span it will be."""
        from opentelemetry import context

        return context.get_current()

    def call(
        self, where: Any, model: ModelRef, context: CallContext, settled: Settlement, began_ns: int, ended_ns: int
    ) -> None:
        """A call of a model, whole."""
        from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as gen_ai
        from opentelemetry.trace import SpanKind, Status, StatusCode

        attributes: dict[str, Any] = {
            gen_ai.GEN_AI_OPERATION_NAME: "chat",
            gen_ai.GEN_AI_PROVIDER_NAME: PROVIDERS.get(model.endpoint, model.endpoint),
            gen_ai.GEN_AI_REQUEST_MODEL: model.model,
            gen_ai.GEN_AI_RESPONSE_MODEL: settled.model_served,
            gen_ai.GEN_AI_RESPONSE_ID: settled.generation_id,
            gen_ai.GEN_AI_CONVERSATION_ID: context.session or None,
            gen_ai.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK: settled.ttft_s,
            "moa.purpose": context.purpose,
            "moa.slot": context.slot,
            "moa.preset": context.preset or None,
            "moa.run": context.run,
            "moa.outcome": settled.outcome,
            "moa.cost_usd": None if settled.cost_nano is None else settled.cost_nano / 1e9,
            "error.type": settled.error_kind,
        }
        if (usage := settled.usage) is not None:
            attributes |= {
                gen_ai.GEN_AI_USAGE_INPUT_TOKENS: usage.prompt,
                gen_ai.GEN_AI_USAGE_OUTPUT_TOKENS: usage.completion,
                gen_ai.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: usage.cached,
                gen_ai.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS: usage.reasoning,
            }
        span = self._tracer.start_span(
            f"chat {model.model}",
            context=where,
            kind=SpanKind.CLIENT,
            attributes={name: value for name, value in attributes.items() if value is not None},
            start_time=began_ns,
        )
        if settled.error_kind is not None:
            span.set_status(Status(StatusCode.ERROR, settled.error_kind))
        span.end(ended_ns)

    def close(self) -> None:
        """Send what has not been sent."""
        self._provider.shutdown()
