"""Each panel against what it asks: the Copilot's own API, or a real Prometheus."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest

from copilot.errors import SettingsError
from copilot.grafana.files import committed, dashboards, files, write
from copilot.grafana.signal_dashboards import INTERVAL
from copilot.metrics.dialects import dialect_by_name
from copilot.rules.signals.taxonomy import SPECS
from tests.api.conftest import client
from tests.api.standin import deps
from tests.evaluations import HEALTHY, NOON
from tests.grafana.infinity_standin import filled, rows
from tests.scraped import grown, recorded
from tests.sources.metrics_server import MetricsServer
from tests.sources.prometheus_server import prometheus
from tests.test_tree import ROOT
from tests.web.stories import lived

UNTOLD = set(SPECS) - set(HEALTHY)
"""Signals the story has no values of."""
MAY_BE_EMPTY = {"Log patterns"}
CHOSEN = {
    "cluster": "default",
    "page": "http://copilot",
    "state": "'critical'",
    "__from": str(NOON.subtract(hours=2).timestamp(unit="millisecond")),
    "__to": str(NOON.add(seconds=60).timestamp(unit="millisecond")),
}
OWN_WORKER = b"""# A worker with metrics_port (tests/telemetry/test_worker.py has the real thing), and what models took.
copilot_worker_cycle_seconds_bucket{cluster="default",le="0.5"} 3
copilot_worker_cycle_seconds_bucket{cluster="default",le="+Inf"} 4
copilot_fetches_total{cluster="default",source="metrics"} 4
copilot_failed_fetches_total{cluster="default",source="metrics"} 1
copilot_evaluations_total{cluster="default",state="happy"} 4
copilot_pending_writes{cluster="default"} 0
copilot_cycle_duration_seconds{cluster="default"} 0.3
copilot_model_cost_usd_total 0.5
copilot_model_daily_cap_usd 2
copilot_model_tokens_total{direction="input"} 900
"""


COPILOT = dashboards()["temporal-copilot"]


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (p for p in dashboard["panels"] if p["type"] != "row")


def test_what_is_committed_is_fresh() -> None:
    folder = ROOT / "deploy" / "grafana"
    there = {str(f.relative_to(folder)): f.read_text(encoding="utf-8") for f in folder.rglob("*.*")}
    assert there == committed(), "run: make docs"


@pytest.mark.parametrize("dashboard", dashboards().values(), ids=lambda d: str(d["uid"]))
def test_no_panel_lies_on_another_and_all_have_an_id_and_a_source_by_uid(dashboard: dict[str, Any]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    ids = [p["id"] for p in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in panels(dashboard):
        assert panel["datasource"]["uid"] in ("${copilot}", "${prometheus}")
        assert len({t["refId"] for t in panel["targets"]}) == len(panel["targets"])
    assert dashboard["refresh"] == "30s"


async def test_every_question_to_the_api_has_rows_of_the_right_types() -> None:
    store, loop, clock = await lived("critical")
    async with client(deps(loop, store, clock)) as api:
        for panel in panels(COPILOT):
            for target in panel["targets"]:
                found = await rows(api, target, CHOSEN)
                if panel["title"] not in MAY_BE_EMPTY:
                    assert found, panel["title"]
                    for column in target["columns"]:
                        if column["text"] in UNTOLD:
                            continue
                        assert any(r[column["text"]] is not None for r in found), (panel["title"], column)
        clusters = next(v for v in COPILOT["templating"]["list"] if v["name"] == "cluster")
        assert await rows(api, clusters["query"]["infinityQuery"], {}) == [{"__text": "default", "__value": "default"}]


async def test_the_robot_of_every_state_is_on_the_page() -> None:
    robot = next(p for p in panels(COPILOT) if p["targets"][0]["computed_columns"])
    made = filled(robot["targets"][0]["computed_columns"][0]["selector"], CHOSEN)
    async with client(deps()) as api:
        for state in ("happy", "stressed", "critical", "unknown"):
            address = made.replace("' + state + '", state).strip("'")
            assert (await api.get(address.removeprefix("http://copilot"))).headers["content-type"] == "image/svg+xml"


def test_all_promql_can_be_parsed() -> None:
    for dialects in ((), ("server opentelemetry", "sdk suffixed")):
        for dashboard in dashboards(dialects).values():
            for target in (t for p in panels(dashboard) for t in p["targets"] if "expr" in t):
                promql_parser.parse(target["expr"].replace(INTERVAL, "[1m]"))


@pytest.mark.servers
@pytest.mark.needs_debian("prometheus")
async def test_a_real_prometheus_answers_the_panels(tmp_path: Path) -> None:
    """Those of the Copilot itself all; of the signals most: a counter that never counted is on no page."""
    store, loop, clock = await lived("critical")
    async with client(deps(loop, store, clock)) as api:
        own = (await api.get("/metrics")).content
    async with (
        MetricsServer.start() as server,
        MetricsServer.start() as worker,
        MetricsServer.start(own) as copilot,
        MetricsServer.start(OWN_WORKER) as own_worker,
    ):
        targets = {"server": server, "worker": worker, "copilot": copilot, "own": own_worker}
        async with prometheus(tmp_path, {job: [s.url.split("/")[2]] for job, s in targets.items()}) as there:
            for n in range(4):
                server.body = grown(recorded("server"), dialect_by_name("server"), n)
                worker.body = grown(recorded("worker"), dialect_by_name("sdk default"), n)
                await server.until_asked(1)
            await there.until('count_over_time(up{job="copilot"}[1m]) >= 2')
            answered: dict[str, list[bool]] = {}
            for uid, dashboard in dashboards().items():
                for target in (t for p in panels(dashboard) for t in p["targets"] if "expr" in t):
                    found = await there.query(target["expr"].replace(INTERVAL, "[1m]"))
                    answered.setdefault(uid, []).append(bool(found))
    assert all(answered.pop("temporal-copilot-itself"))
    shares = {uid: sum(each) / len(each) for uid, each in answered.items()}
    assert set(shares) == {"temporal-server", "temporal-persistence", "temporal-workers"}
    assert min(shares.values()) >= 0.4, shares


def test_files_are_written_for_the_dialects_asked_for_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    write(tmp_path, files(("server opentelemetry",)))
    text = (tmp_path / "dashboards" / "temporal-server.json").read_text(encoding="utf-8")
    assert "service_requests_total" in json.dumps(json.loads(text))
    with pytest.raises(SettingsError, match="no dialect is named 'klingon'"):
        files(("klingon",))
