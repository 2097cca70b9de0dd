import pytest

from copilot.api.live import VerdictCache
from copilot.errors import SourceError
from copilot.rules.model import Severity, Trigger
from copilot.rules.signals.readings import MissingCode
from copilot.rules.signals.taxonomy import ids
from tests.api.conftest import client
from tests.api.standin import Clock, ToldLoop, away_store, deps
from tests.evaluations import NOON, assessment, evaluation, in_a_models_words, issue, snapshot
from tests.fakes.memory_store import MemoryStore
from tests.web.stories import lived

LOOP_AWAY = SourceError(MissingCode.TIMEOUT, "the Copilot's own Temporal does not answer", asked="query verdict")


def telling(state: str = "happy", **changed: object) -> ToldLoop:
    loop = ToldLoop()
    loop.tell(evaluation(state).model_copy(update=changed))
    return loop


async def test_the_status_carries_the_verdict_and_its_evidence() -> None:
    clock = Clock(NOON.add(seconds=12))
    async with client(deps(telling("stressed"), clock=clock)) as api:
        body = (await api.get("/status")).json()
    assert body.items() >= {
        "cluster": "default", "health_state": "stressed", "evaluation_id": "default:1795348800", "issue_count": 1,
        "timestamp": "2026-11-22T12:00:00Z", "since": "2026-11-22T11:59:30Z", "age_sec": 12, "stale": False,
        "degraded": False, "bottleneck": "worker_limited", "top_factor": "no_pollers", "last_known_state": "stressed",
        "explained_by": "rules",
    }.items()  # fmt: skip
    assert body["coverage"]["primary"] == 1
    assert body["primary_signals"]["matching"]["backlog_count"] == 50
    assert 0 < body["amplifiers"]["cache"]["hit_rate"] < 1
    assert body["worker_signals"]["workers"]["workflow_pollers"] == 12
    assert [g["name"] for g in body["gates"] if g["fired"]] == ["work_stalled", "backlog_growing", "backlog_age"]
    assert body["recommended_actions"][0]["parameters"]["task_queue"] == "orders"


async def test_a_missing_reading_is_null_and_every_id_of_the_table_is_there() -> None:
    async with client(deps(telling("unknown"))) as api:
        body = (await api.get("/status")).json()
    assert body["primary_signals"]["demand"]["starts_per_sec"] is None
    assert body["amplifiers"]["connection_pool"]["wait_count"] is None
    shown = {f"{g}.{n}" for g, names in body["primary_signals"].items() for n in names}
    assert shown == set(ids("primary"))


async def test_before_the_first_evaluation_nothing_is_claimed() -> None:
    async with client(deps()) as api:
        body = (await api.get("/status")).json()
        assert (body["health_state"], body["timestamp"], body["coverage"], body["age_sec"]) == (
            "unknown",
            None,
            None,
            None,
        )
        first = await api.get("/status/evaluation")
        assert first.status_code == 404
        assert first.json()["error"]["code"] == "no_evaluation_yet"


async def test_the_evaluation_is_the_line_replay_would_print() -> None:
    said = evaluation("critical")
    async with client(deps(telling("critical"))) as api:
        body = (await api.get("/status/evaluation")).json()
    assert body == said.replay_line() | {"evaluation_id": said.evaluation_id}


async def test_services_and_words_are_those_of_the_same_tick() -> None:
    async with client(deps(telling("stressed"))) as api:
        services = (await api.get("/status/services")).json()
        summary = (await api.get("/status/summary")).json()
    assert services["evaluation_id"] == summary["evaluation_id"]
    assert {s["name"]: s["forward_progress"] for s in services["services"]}["workers"] == "blocked"
    assert "orders" in summary["narrative"]["watch_next"]


async def test_the_newest_tick_wins_whoever_tells_it() -> None:
    store = MemoryStore()
    await store.save_snapshots([snapshot(evaluation("stressed", NOON.add(seconds=30)))])
    loop = ToldLoop()
    cache = VerdictCache(deps(loop, store, Clock(NOON.add(seconds=61))))

    async def said() -> str:
        await cache.refresh("default")
        newest = cache.view("default").evaluation
        assert newest is not None
        return newest.verdict.health_state.value

    assert await said() == "stressed"
    loop.tell(evaluation("critical", NOON.add(seconds=60)))
    assert await said() == "critical"
    loop.tell(evaluation("happy", NOON))
    assert await said() == "critical"


async def test_the_tick_that_was_assessed_is_served_as_its_assessment() -> None:
    store = MemoryStore()
    await store.save_assessment(
        in_a_models_words("Longer words.", "stressed").model_copy(update={"trigger": Trigger.LOG_SPIKE})
    )
    async with client(deps(telling("stressed"), store)) as api:
        body = (await api.get("/status")).json()
    assert (body["trigger"], body["explained_by"], body["summary"]) == ("log_spike", "model", "Longer words.")


async def test_a_loop_that_is_away_leaves_the_stores_verdict_and_says_so() -> None:
    store = MemoryStore()
    await store.save_snapshots([snapshot(evaluation("stressed"))])
    async with client(deps(ToldLoop(away=LOOP_AWAY), store)) as api:
        body = (await api.get("/status")).json()
    assert (body["health_state"], body["degraded"]) == ("stressed", True)
    assert "does not answer" in body["degraded_because"]


async def test_a_store_that_is_away_leaves_the_live_verdict_everywhere() -> None:
    async with client(deps(telling("critical"), away_store())) as api:
        for path in ("/status", "/status/services", "/status/issues", "/status/summary", "/status/timeline",
                     "/signals/demand.starts_per_sec", "/logs/patterns", "/targets"):  # fmt: skip
            answer = await api.get(path)
            assert answer.status_code == 200, path
            body = answer.json()
            assert body["degraded"] is True, path
            assert "the state store at 127.0.0.1:1/copilot" in body["degraded_because"], path
            assert "secret" not in answer.text
        assert len((await api.get("/status/timeline")).json()["timeline"]) == 1
        assert (await api.get("/status/issues")).json()["issues"][0]["finding"] == "no_pollers"


async def test_the_targets_are_each_process_as_the_newest_evaluation_knows_it() -> None:
    clock = Clock(NOON.add(seconds=12))
    async with client(deps(telling("critical"), clock=clock)) as api:
        body = (await api.get("/targets")).json()
        nowhere = await api.get("/targets?cluster=north")
    lost, server = body["targets"]
    assert body["evaluation_id"] == "default:1795348800"
    assert body["summary"].startswith("The worker process is not read: `http://10.0.0.2:9464/metrics`, last read ")
    assert lost.items() >= {
        "instance": "http://10.0.0.2:9464/metrics", "kind": "worker", "version": "Core SDK", "state": "not_read",
        "why": "Connection refused", "up_since": None, "restarts": 0,
    }.items()  # fmt: skip
    assert lost["last_read_age_sec"] > 12
    assert server.items() >= {
        "kind": "server", "version": "1.32.0", "shards": 4, "state": "read", "up_at_least": True,
        "last_read_age_sec": 12, "services": ["frontend", "history", "matching", "worker"],
    }.items()  # fmt: skip
    assert nowhere.status_code == 404


@pytest.mark.parametrize(("age", "state", "stale"), [(40, "happy", False), (46, "happy", True), (91, "unknown", True)])
async def test_an_old_verdict_is_stale_then_unknown_by_its_time_or_since_it_was_received_from_a_clock_ahead(
    age: int, state: str, stale: bool
) -> None:
    async with client(deps(telling("happy"), clock=Clock(NOON.add(seconds=age)))) as api:
        body = (await api.get("/status")).json()
        line = (await api.get("/status/evaluation")).json()
    assert (body["health_state"], body["stale"], body["last_known_state"]) == (state, stale, "happy")
    assert (line["health_state"], line["stale"]) == (state, stale)
    behind = Clock(NOON.subtract(hours=1), ran=1000)
    async with client(deps(telling("happy"), clock=behind)) as api:
        assert (await api.get("/status")).json()["stale"] is False
        behind.ran += age
        body = (await api.get("/status")).json()
    assert (body["health_state"], body["stale"], body["age_sec"]) == (state, stale, age)


async def test_issues_have_the_life_the_store_gave_them_and_the_words_of_the_newest_tick() -> None:
    store = MemoryStore()
    await store.save_assessment(
        assessment("stressed", NOON.subtract(minutes=10), findings=(issue("no_pollers"), issue("shard_churn", "")))
    )
    newest = evaluation("critical").findings[0]
    loop = telling("critical", findings=(newest, issue("slots_exhausted", "x", severity=Severity.WARNING)))
    async with client(deps(loop, store)) as api:
        body = (await api.get("/status/issues")).json()
        resolved = (await api.get("/status/issues?resolved=true")).json()["issues"]
        warnings = (await api.get("/status/issues?severity=warning")).json()["issues"]
        assert len((await api.get("/status/issues?limit=1")).json()["issues"]) == 1
    first, second = body["issues"]
    assert (first["title"], first["first_seen"], first["last_seen"]) == (
        issue().title, "2026-11-22T11:50:00Z", "2026-11-22T12:00:00Z",
    )  # fmt: skip
    assert (second["finding"], second["first_seen"]) == ("slots_exhausted", "2026-11-22T12:00:00Z")
    assert {i["finding"]: i["resolved_at"] for i in resolved}["shard_churn"] == "2026-11-22T12:00:00Z"
    assert [i["finding"] for i in warnings] == ["slots_exhausted"]


async def test_many_open_critical_issues_hide_no_warning_and_what_is_left_out_is_said() -> None:
    store = MemoryStore()
    critical = [issue().model_copy(update={"subject": f"queue-{n}"}) for n in range(600)]
    slots = issue("slots_exhausted", "x", severity=Severity.WARNING)
    await store.save_assessment(assessment("critical", NOON.subtract(minutes=3), findings=(issue("gone", ""),)))
    await store.save_assessment(assessment("critical", NOON.subtract(minutes=2), findings=(*critical, slots)))
    loop = telling("critical", findings=(*critical, slots))
    async with client(deps(loop, store)) as api:
        body = (await api.get("/status/issues")).json()
        warnings = (await api.get("/status/issues?severity=warning")).json()
        most = (await api.get("/status/issues?severity=critical&resolved=true&limit=500")).json()
    assert body["open"] == warnings["open"] == most["open"] == {"critical": 600, "warning": 1}
    assert (len(body["issues"]), body["truncated"]) == (100, True)
    assert ([i["finding"] for i in warnings["issues"]], warnings["truncated"]) == (["slots_exhausted"], False)
    assert warnings["issues"][0]["first_seen"] == "2026-11-22T11:58:00Z"
    assert (len(most["issues"]), most["truncated"]) == (500, True)


async def test_of_more_resolved_issues_than_are_listed_it_is_said_that_there_are_more() -> None:
    store = MemoryStore()
    await store.save_assessment(assessment("stressed", NOON.subtract(minutes=3), findings=(issue(), issue("gone", ""))))
    await store.save_assessment(assessment("happy", NOON.subtract(minutes=2)))
    async with client(deps(telling("happy"), store)) as api:
        one = (await api.get("/status/issues?resolved=true&limit=1")).json()
        both = (await api.get("/status/issues?resolved=true&limit=2")).json()
    assert (len(one["issues"]), one["truncated"]) == (1, True)
    assert (len(both["issues"]), both["truncated"]) == (2, False)


async def test_a_timeline_is_bounded_and_ends_with_the_newest_tick() -> None:
    store, loop, clock = await lived("critical")
    loop.tell(evaluation("stressed", NOON.add(seconds=3)))
    async with client(deps(loop, store, clock)) as api:
        body = (await api.get("/status/timeline?max_points=40")).json()
        withs = (await api.get("/status/timeline?signals=true")).json()["timeline"]
    points = body["timeline"]
    assert len(points) == 40
    assert points[-1] == {
        "timestamp": "2026-11-22T12:00:03Z", "health_state": "stressed", "stale": False,
        "bottleneck": "worker_limited", "top_factor": "no_pollers",
    }  # fmt: skip
    assert {"happy", "stressed", "critical"} == {p["health_state"] for p in points}
    assert len(withs) == 200
    assert withs[0]["primary_signals"]["demand"]["starts_per_sec"] > 0


@pytest.mark.parametrize("asked", ["start=2026-11-22T12:00:07Z", "end=0001-01-01T01:00:00Z", "start=0&end=9999-12-31"])
async def test_a_range_may_begin_by_a_clock_ahead_of_ours_and_reach_as_far_as_time(asked: str) -> None:
    async with client(deps(telling())) as api:
        for path in ("/status/timeline", "/signals/demand.starts_per_sec"):
            assert (await api.get(f"{path}?{asked}")).status_code == 200


async def test_a_verdict_that_has_grown_old_stays_in_the_timeline_what_it_was() -> None:
    async with client(deps(telling("happy"), clock=Clock(NOON.add(seconds=200)))) as api:
        assert (await api.get("/status")).json()["health_state"] == "unknown"
        (point,) = (await api.get("/status/timeline")).json()["timeline"]
    assert (point["health_state"], point["stale"]) == ("happy", False)
