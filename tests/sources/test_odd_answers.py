"""Answers that are whole and well formed and mean nothing: each cycle ends with every reading accounted for."""

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
from hypothesis import example, given, settings
from hypothesis import strategies as st
from whenever import Instant

from copilot.errors import SourceError
from copilot.pipeline import cleaned
from copilot.rules.signals.readings import Signals
from copilot.settings.clusters import ClusterSettings, PrometheusSettings
from copilot.sources.prometheus.instant import PrometheusSource
from tests.scraped import Pages, read

NUMBERS = ["0", "1", "-1", "2.5", "NaN", "+Inf", "-Inf", "1e308", "-1e308", "1e999", "1_0"]
LABELS = {
    "__name__": [
        "service_requests",
        "service_latency_count",
        "temporal_request",
        "temporal_num_pollers",
    ],
    "job": ["temporal", ""],
    "instance": ["s:1", "w:1", "a|b(", "", "s\ud800:1"],
    "copilot_part": ["names", "samples", "up", "exported_namespace", "0", "1", "17", "17+", "x"],
    "copilot_name": ["service_errors", "workflow_failed", "nobody"],
    "le": ["0.1", "1", "10", "+Inf", "NaN", "", "many", "-1"],
    "namespace": ["default", "temporal_system", "\0\x9b", "x" * 5_000],
    "taskqueue": ["orders", "", "a\ud800", "[/x]\x1b]8;;\r\u202e"],
}
SAMPLE = st.builds(
    lambda labels, value: {"metric": labels, "value": value},
    st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in LABELS.items()}),
    st.sampled_from(NUMBERS),
)


def accounted_for(signals: Signals) -> bool:
    return all(signals.covered(i) or signals.why_missing(i) is not None for i in signals.readings)


def names_in(*documents: Any) -> Iterator[str]:
    """The strings anywhere in these documents."""
    for document in documents:
        if isinstance(document, str):
            yield document
        elif isinstance(document, dict | list):
            yield from names_in(*(document.values() if isinstance(document, dict) else document))


async def cycle(answers: list[list[Any]]) -> Signals:
    """Two reads, the questions answered in turn."""
    turn = 0

    def answer(_: httpx.Request) -> httpx.Response:
        nonlocal turn
        turn += 1
        result = [{**sample, "value": [time.time(), sample["value"]]} for sample in answers[turn % len(answers)]]
        whole = {"status": "success", "data": {"resultType": "vector", "result": result}}
        return httpx.Response(200, stream=httpx.ByteStream(json.dumps(whole).encode()))

    there = PrometheusSettings(url="http://there")
    source = PrometheusSource(ClusterSettings(prometheus=there), there, transport=httpx.MockTransport(answer))
    await source.read(Instant.now())
    signals = await source.read(Instant.now())
    await source.aclose()
    return signals


def up(value: str, instance: str = "s:1") -> list[Any]:
    names = ("service_requests", "service_latency_count")
    target: dict[str, Any] = {"job": "temporal", "instance": instance}
    return [
        *({"metric": target | {"__name__": n, "copilot_part": "names"}, "value": "1"} for n in names),
        {"metric": {"copilot_part": "samples", **target}, "value": value},
        {"metric": {"copilot_part": "up", **target}, "value": value},
    ]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(SAMPLE, max_size=8), min_size=1, max_size=4))
@example([up("NaN")])
@example([up("+Inf")])
@example([up("-1"), []])
@example([[*up("1"), *up("0", "s\ud800:2")]])
def test_any_vectors_are_readings(answers: list[list[Any]]) -> None:
    signals = asyncio.run(cycle(answers))
    assert accounted_for(signals)
    told = json.loads(cleaned(signals).model_dump_json())
    assert all(len(name) <= 1_000 and name.isprintable() for name in names_in(told["breakdowns"], told["unread"]))


NAMES = ["service_requests", "service_latency_bucket", "service_latency_count", "pending_polls", "num_goroutines",
         "task_latency_queue_bucket", "service_errors", "approximate_backlog_age_seconds"]  # fmt: skip
LINE = st.builds(
    lambda name, le, queue, value: f'{name}{{le="{le}",taskqueue="{queue}",namespace="default"}} {value}\n',
    st.sampled_from(NAMES), st.sampled_from(LABELS["le"]), st.sampled_from(LABELS["taskqueue"]),
    st.sampled_from([n for n in NUMBERS if n != "1_0"]),
)  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(LINE, max_size=12).map("".join), min_size=1, max_size=3))
def test_any_pages_are_readings_or_our_error(texts: list[str]) -> None:
    pages = Pages()
    for n, text in enumerate(texts):
        try:
            pages.add_bytes(10 * n, text.encode(errors="replace"))
        except SourceError:
            return
    assert accounted_for(read(pages, at=10 * len(texts)))
