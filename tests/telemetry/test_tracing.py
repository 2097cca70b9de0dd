"""What traces tell, and what they must not."""

import subprocess
import sys
from collections.abc import Iterator
from typing import cast

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel

from copilot.api.app import create_app
from copilot.telemetry.spans import SourceClient, span, trace_with
from copilot.telemetry.tracing import OpenTelemetryTracing
from tests.api.standin import deps

NAMES_OF_PEOPLE = "ask Ada Lovelace about orders"
PASSWORD = "hunter2hunter2"


class Traced:
    """This process, traced. There is one tracer provider a process."""

    def __init__(self) -> None:
        self._kept = InMemorySpanExporter()
        self.tracing = OpenTelemetryTracing("test", self._kept)
        self.provider = cast(TracerProvider, trace.get_tracer_provider())

    def forget(self) -> None:
        """Begin anew."""
        self.provider.force_flush()
        self._kept.clear()

    def sent(self) -> dict[str, str]:
        """All spans so far, by name, as JSON."""
        self.provider.force_flush()
        return {s.name: s.to_json() for s in self._kept.get_finished_spans()}


@pytest.fixture(scope="module")
def tracer() -> Iterator[Traced]:
    begun = Traced()
    yield begun
    begun.tracing.close()


@pytest.fixture
def traced(tracer: Traced) -> Iterator[Traced]:
    tracer.forget()
    trace_with(tracer.tracing)
    yield tracer
    trace_with(None)
    Agent.instrument_all(False)


async def test_a_call_of_a_model_is_traced_without_prompt_and_answer(traced: Traced) -> None:
    traced.tracing.instrument_models()
    agent = Agent(TestModel(custom_output_text="Ada knows"), name="researcher", instructions="Know Ada.")
    await agent.run(NAMES_OF_PEOPLE)
    sent = traced.sent()
    assert "invoke_agent researcher" in sent
    assert "chat test" in sent
    assert "Ada" not in "".join(sent.values())
    assert "gen_ai.usage.input_tokens" in sent["chat test"]


async def test_a_request_to_a_source_is_traced_without_path_query_and_secret(traced: Traced) -> None:
    def refused(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError(f"password={PASSWORD} refused")

    client = SourceClient("prometheus", transport=httpx.MockTransport(refused))
    with pytest.raises(httpx.ConnectError):
        await client.get("http://db.example.com/secret-path?token=secret-query")
    (sent,) = traced.sent().values()
    assert "db.example.com" in sent
    assert "ConnectError" in sent
    for hidden in (PASSWORD, "secret-path", "secret-query"):
        assert hidden not in sent


async def test_a_request_to_the_api_is_named_for_its_route(traced: Traced) -> None:
    app = create_app(deps())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        await client.get("/healthz?password=secret-query")
    (sent,) = traced.sent().items()
    assert sent[0] == "GET /healthz"
    assert "secret-query" not in sent[1]


def test_queries_of_the_loops_are_left_out(traced: Traced) -> None:
    with span("HandleQuery:live", {}), span("QueryWorkflow:live", {}), span("RunActivity:fetch_signals", {}):
        pass
    assert set(traced.sent()) == {"RunActivity:fetch_signals"}


def test_a_worker_imports_opentelemetry_only_for_an_endpoint_and_agents_only_for_a_model() -> None:
    code = """
import os, sys
sys.path[:0] = os.environ["OUR_PATH"].split(os.pathsep)
import copilot.loops.worker
from copilot.bootstrap import models
from copilot.settings.models import ModelSettings
from copilot.telemetry.spans import client_plugins, traced
def loaded():
    with traced("worker"):
        print(any(m.startswith("opentelemetry") for m in sys.modules), bool(client_plugins()))
loaded()
models(ModelSettings())
heavy = {"pydantic_ai", "genai_prices", "openai", "anthropic", "boto3"}
print(*sorted(heavy & {m.partition(".")[0] for m in sys.modules}))
os.environ |= {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"}
loaded()
del os.environ["OTEL_SDK_DISABLED"]
loaded()
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={"OUR_PATH": ":".join(sys.path)}, capture_output=True, text=True, timeout=240, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["False False", "", "False False", "True True"]
