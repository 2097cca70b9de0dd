"""The same pages as of test_sdk_pages.py, through a real Prometheus: one target a set, one stretch of time a phase."""

import gzip
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from copilot.metrics.dialects import DIALECTS, anchor_names, known_names
from copilot.metrics.resolve import PRESENCE_METRIC, leaves_of
from copilot.rules.signals.taxonomy import SPECS
from copilot.settings.clusters import ClusterSettings, PrometheusSettings
from lab.cases import prometheus
from tests.sources.prometheus_server import live
from tests.sources.test_sdk_pages import PHASES, SETS, wrong

BEGAN, APART_SEC = 1_790_000_000, 300
READ = {"up", *(name for dialect in DIALECTS for name in anchor_names(dialect))}
READ |= known_names("worker", leaves_of(SPECS.values()), [PRESENCE_METRIC["worker"]]).keys()
"""The sample names that are read. Java's pages have more than a megabyte of others."""


def backfilled(folder: Path) -> Iterator[str]:
    """A set's pages as OpenMetrics with timestamps, as a Prometheus scraped them, with `up`."""
    seconds = tomllib.loads((folder / "expected.toml").read_text("utf-8"))["seconds"]
    scraped: dict[str, list[str]] = {}
    for number, phase in enumerate(PHASES):
        began = BEGAN + number * APART_SEC
        for n, at in (("1", began - 5.0), ("1", float(began)), ("2", began + seconds.get(phase, 0.0))):
            if (page := folder / f"{phase}-{n}.prom.gz").exists():
                of = f'job="{folder.name}",instance="worker:9000"'
                for line in ["up 1", *gzip.decompress(page.read_bytes()).decode().splitlines()]:
                    series, _, value = line.rpartition(" ")
                    name, _, labels = series.partition("{")
                    if name in READ:
                        labels = labels.rstrip(",}").lstrip()
                        labelled = f"{name}{{{of}{',' if labels else ''}{labels}}}"
                        scraped.setdefault(name, []).append(f"{labelled} {value} {at:.3f}\n")
    for lines in scraped.values():
        yield from lines


@pytest.fixture(scope="module")
def of_all_sets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prometheus that scraped every set."""
    text = tmp_path_factory.mktemp("sdk") / "sets.om.gz"
    text.write_bytes(gzip.compress("".join([*(line for f in SETS for line in backfilled(f)), "# EOF\n"]).encode(), 1))
    with prometheus([text]) as url:
        yield url


@pytest.mark.parametrize("folder", SETS, ids=lambda folder: folder.name)
async def test_a_workers_metrics_are_read_from_a_prometheus_as_from_its_page(folder: Path, of_all_sets: str) -> None:
    expected = tomllib.loads((folder / "expected.toml").read_text("utf-8"))
    found: list[str] = []
    for number, phase in enumerate(PHASES):
        if phase in expected and (folder / f"{phase}-1.prom.gz").exists():
            sec = expected["seconds"][phase]
            settings = PrometheusSettings.model_validate({"url": of_all_sets, "selector": f'job="{folder.name}"'})
            cluster = ClusterSettings(name=folder.name, prometheus=settings, window_sec=sec + 0.002)
            at = round(1000 * (BEGAN + number * APART_SEC + sec)) + 1
            (signals,) = await live(cluster, [at])
            found += wrong(folder.name, phase, signals, expected[phase])
    assert "\n".join(found) == ""
