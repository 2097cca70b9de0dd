"""Each panel against what it asks: the Copilot's own API, or a real Prometheus.

panels.txt has what the Copilot's dashboard shows of a happy, a stressed, a critical and a blind cluster:
`python -m tests.grafana.test_dashboards` writes it anew."""

import asyncio
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from whenever import Instant

from copilot.errors import SettingsError
from copilot.grafana.files import committed, dashboards, files, write
from copilot.grafana.signal_dashboards import INTERVAL, LIMITS, signal_dashboards
from copilot.metrics.dialects import dialect_by_name, raw_name
from copilot.metrics.resolve import leaves_of
from copilot.rules.signals.change import Change
from copilot.rules.signals.expressions import Gauge
from copilot.rules.signals.taxonomy import SPECS
from copilot.rules.thresholds import GRADES
from tests.api.conftest import client
from tests.api.standin import deps
from tests.evaluations import HEALTHY, NOON
from tests.grafana.infinity_standin import filled, refused, rows, shown
from tests.scraped import recorded
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
    "state": "'happy','stressed','critical','unknown'",
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
LEAVES = leaves_of(SPECS.values())


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


@pytest.mark.parametrize("state", ["happy", "stressed", "critical", "unknown"])
async def test_the_copilots_panels_show_what_is_written_down_column_by_column(state: str) -> None:
    assert PICTURES.read_text(encoding="utf-8").split("## ")[1:][STATES.index(state)] == await picture(state)


async def test_changes_are_annotations_with_time_text_and_kind() -> None:
    (target,) = [a["target"] for a in COPILOT["annotations"]["list"] if a["name"] == "Changes"]
    store, loop, clock = await lived("happy")
    await store.save_changes(
        [Change(cluster="default", at=NOON.subtract(hours=n), kind="deploy", text=f"v{n}", who="ci") for n in (1, 3)]
    )
    async with client(deps(loop, store, clock)) as api:
        shown_marks = await rows(api, target, CHOSEN)
    at = shown_marks[0].pop("time")
    assert shown_marks == [{"tags": "deploy", "text": "v1", "title": "ci"}]
    assert at is not None


STATES = ("happy", "stressed", "critical", "unknown")
PICTURES = Path(__file__).with_name("panels.txt")


def brief(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


async def picture(state: str) -> str:
    """What each panel shows: its columns, and at most three rows (those of a series are numbers over time)."""
    store, loop, clock = await lived(state)
    lines = [state]
    async with client(deps(loop, store, clock)) as api:
        for panel in panels(COPILOT):
            for target in panel["targets"]:
                frame = shown(panel, await rows(api, target, CHOSEN))
                names = [c["text"] for c in target["columns"]]
                if panel["type"] != "stat":
                    assert all(list(row) == names for row in frame), (panel["title"], names)
                said = [" | ".join(map(brief, row.values())) for row in frame]
                empty = panel["fieldConfig"]["defaults"]["noValue"]
                lines += ["", f"{panel['title'] or panel['description'][:30]} ({len(said)}): {', '.join(names)}"]
                lines += [f"  {line}" for line in said[-3:] or [f"({empty})"]]
    return "\n".join(lines) + "\n\n"


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
        choices = await rows(api, clusters["query"]["infinityQuery"], {})
        assert choices == [{"__text": "default", "__value": "default"}]
        for path in ("/readyz", "//status"):
            assert (await api.get(path)).is_success, path


def test_the_provisioned_source_works_without_a_token_and_its_test_asks_the_api() -> None:
    source = yaml.safe_load(committed()["provisioning/datasources/copilot.yaml"])["datasources"][0]
    assert refused(source) == ""
    without = {**source, "secureJsonData": {k: v.replace("$COPILOT_API_TOKEN", "") for k, v in
               source["secureJsonData"].items()}}  # fmt: skip
    assert refused(without) == ""
    assert source["jsonData"]["customHealthCheckUrl"] == "$COPILOT_API_URL/readyz"


@pytest.mark.parametrize("dashboard", dashboards().values(), ids=lambda d: str(d["uid"]))
def test_every_panel_says_what_it_is_what_an_empty_one_means_and_leads_to_the_page(dashboard: dict[str, Any]) -> None:
    known = {v["name"] for v in dashboard["templating"]["list"]} | {
        "__rate_interval",
        "__value",
        "__from",
        "__to",
        "__all",
    }
    for panel in panels(dashboard):
        assert panel["description"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["noValue"]
        assert panel["links"][0]["url"].startswith("${page}/")
    assert set(re.findall(r"\$\{?(\w+)", json.dumps(dashboard))) <= known
    assert dashboard["annotations"]["list"]


def test_limits_are_lines_on_the_panels_of_signals_that_exist() -> None:
    assert {*LIMITS, *GRADES} - set(SPECS) <= {"workers.activity_slots_free", "workers.workflow_slots_free"}
    steps = {p["description"].split(":")[0]: p["fieldConfig"]["defaults"]["thresholds"]["steps"]
             for d in signal_dashboards().values() for p in panels(d)}  # fmt: skip
    assert [s["value"] for s in steps["matching.workflow_backlog_age_sec"]] == [None, 30, 120]
    assert [s["color"] for s in steps["cache.hit_rate"]] == ["red", "orange", "green"]
    assert sum(len(s) > 1 for s in steps.values()) >= 20


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
async def test_a_real_prometheus_answers_the_panels_of_the_copilot_itself(tmp_path: Path) -> None:
    store, loop, clock = await lived("critical")
    async with client(deps(loop, store, clock)) as api:
        first = loop.newest["default"]
        tick = {"time": first.time.add(seconds=10), "evaluation_id": f"{first.evaluation_id}0"}
        loop.tell(first.model_copy(update=tick))
        own = b""
        async with asyncio.timeout(60):
            while not all(seen in own for seen in (b"copilot_clock_ahead_seconds{", b"copilot_loop_problem{")):
                own = (await api.get("/metrics")).content
                await asyncio.sleep(0.1)
    async with MetricsServer.start(own) as copilot, MetricsServer.start(OWN_WORKER) as own_worker:
        targets = {"copilot": copilot, "own": own_worker}
        async with prometheus(tmp_path, {job: [s.url.split("/")[2]] for job, s in targets.items()}) as there:
            await there.until('count_over_time(up{job="copilot"}[1m]) >= 2 and on () up{job="own"}')
            await there.until("rate(copilot_evaluations_total[1m])")
            itself = dashboards()["temporal-copilot-itself"]
            marks = itself["annotations"]["list"][0]["expr"]
            for expr in [marks, *(t["expr"] for p in panels(itself) for t in p["targets"])]:
                assert await there.query(expr.replace(INTERVAL, "[1m]")), expr


HISTORY = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "-q", "pages.om", "tsdb"]
DIALECTS = {"": ("server", "sdk default"), "otel ": ("server opentelemetry", "sdk opentelemetry")}
EVERY = {"15s": (15, "1m"), "60s": (60, "4m")}
"""Seconds between scrapes, and the rate interval Grafana makes of it."""
NOT_HERE = {
    "connection_pool.utilization_pct",
    "replication.delay_p99_sec",
}
"""SQLite has no pool of connections; one cluster has no replication."""


@pytest.mark.servers
@pytest.mark.needs_debian("prometheus")
async def test_panels_show_a_healthy_cluster_scraped_each_15_or_60_seconds_and_nothing_of_one_that_is_not_scraped(
    tmp_path: Path,
) -> None:
    end = Instant.now().timestamp() // 60 * 60 - 120
    with (tmp_path / "pages.om").open("w", encoding="utf-8") as file:
        for prefix, dialects in DIALECTS.items():
            for job, (step, _) in EVERY.items():
                file.writelines(past(prefix + job, dialects, end, step))
        file.write("# EOF\n")
    made = await asyncio.create_subprocess_exec(*HISTORY, cwd=tmp_path, stdout=subprocess.DEVNULL)
    assert await made.wait() == 0
    async with prometheus(tmp_path, {}) as there:
        for prefix, dialects in DIALECTS.items():
            for dashboard in signal_dashboards(dialects).values():
                for panel in panels(dashboard):
                    (target,) = panel["targets"]
                    signal_id = panel["description"].split(":")[0]
                    for job, (_, interval) in EVERY.items():
                        asked = target["expr"].replace(INTERVAL, f"[{interval}]")
                        found = await there.query(asked.replace("$job", prefix + job), end)
                        assert signal_id in NOT_HERE or [v for r in found if (v := r["value"][1]) != "NaN"], (
                            job,
                            asked,
                        )
                    assert not await there.query(asked.replace("$job", "nobody"), end), asked


def past(job: str, dialects: tuple[str, str], end: float, step: int) -> Iterator[str]:
    """Ten minutes of a healthy cluster that is busy at an even pace, as OpenMetrics lines: pages of a real one, in the
    names of two dialects."""
    for page, *names in zip(("server", "worker"), DIALECTS[""], dialects, strict=True):
        usual, spoken = map(dialect_by_name, names)
        named = {raw_name(leaf, usual): raw_name(leaf, spoken) for leaf in LEAVES if leaf.series.role == page}
        named |= {n: n + spoken.counter for n in ("service_requests",) if page == "server"}
        counters = {raw_name(leaf, usual) for leaf in LEAVES if not isinstance(leaf, Gauge)} | {"service_requests"}
        for text in recorded(page).decode().splitlines():
            series, _, value = text.rpartition(" ")
            name, brace, labels = series.partition("{")
            if name in named:
                grows = 0.001 * float(value) if name in counters else 0.0
                for at in range(-600, 1, step):
                    labelled = f'{named[name]}{{job="{job}",page="{page}"' + ("," + labels if brace else "}")
                    yield f"{labelled} {float(value) + grows * (at + 600):.10g} {end + at:.0f}\n"


def test_files_are_written_for_the_dialects_and_the_page_asked_for_and_unknown_dialects_are_refused(
    tmp_path: Path,
) -> None:
    write(tmp_path, files(("server opentelemetry",), "https://sre.example.com/"))
    text = (tmp_path / "dashboards" / "temporal-server.json").read_text(encoding="utf-8")
    assert "service_requests_total" in json.dumps(json.loads(text))
    assert "https://sre.example.com/?cluster=" in (tmp_path / "prometheus-rules.yaml").read_text(encoding="utf-8")
    assert not [f for f in tmp_path.rglob("*.*") if "localhost:8765" in f.read_text(encoding="utf-8")]
    with pytest.raises(SettingsError, match="no dialect is named 'klingon'"):
        files(("klingon",))


if __name__ == "__main__":
    PICTURES.write_text("".join(f"## {asyncio.run(picture(state))}" for state in STATES), encoding="utf-8")
