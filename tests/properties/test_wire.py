"""What is decided survives its way: assessments as JSON (property 6), answers (9), suggested actions (11)."""

import asyncio
import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from whenever import Instant

from copilot.api.app import create_app
from copilot.explain import ExplainedEvaluation, explained
from copilot.rules.model import ActionType, Evaluation, HealthAssessment, Severity, SuggestedAction, Trigger
from copilot.rules.signals.readings import Signals
from copilot.rules.signals.taxonomy import ids
from copilot.sources.knowledge.runbooks import runbook
from copilot.store.rows import join_snapshot, split_evaluation
from tests.api.standin import deps
from tests.cluster_signals import judged
from tests.evaluations import NOON, assessment, evaluation, issue, snapshot
from tests.properties.test_state_machine import runs
from tests.web.stories import lived

words = st.text(max_size=40)
PATHS = ("/status", "/status/services", "/status/issues", "/status/summary", "/status/timeline", "/status/evaluation",
         "/clusters", "/targets", "/logs/patterns", *(f"/signals/{i}" for i in ids("primary")[:4]))  # fmt: skip
moments = st.integers(-7 * 3600, 3600)


def newest(run: list[Signals]) -> Evaluation:
    """The last evaluation of a run, as the rules make it."""
    return judged(run)[0][-1]


@given(runs, st.sampled_from(Trigger), words)
def test_6_an_assessment_its_words_and_a_snapshot_are_the_same_after_json_and_the_stores_columns(
    run: list[Signals], trigger: Trigger, subject: str
) -> None:
    last = newest(run)
    odd = evaluation("critical").findings[0].model_copy(update={"subject": subject})
    made = HealthAssessment(**{**dict(last), "findings": (*last.findings, odd)}, trigger=trigger)
    read = HealthAssessment.model_validate_json(made.model_dump_json())
    assert read == HealthAssessment.model_validate(json.loads(json.dumps(made.model_dump(mode="json")))) == made
    assert explained(read) == explained(made)

    kept = snapshot(last)
    judged, readings = split_evaluation(last)
    row = {**kept.model_dump(mode="json"), "evaluation": judged, "readings": readings}
    assert join_snapshot({**row, "memory_before": json.dumps(kept.memory_before)}) == kept


@pytest.fixture(scope="module")
def asked() -> "Iterator[Asked]":
    with asyncio.Runner() as runner:
        yield Asked(runner)


class Asked:
    """The API over six hours of a cluster's life, and its own description."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner
        store, loop, clock = runner.run(lived("critical"))
        for n, severity in enumerate((Severity.WARNING, Severity.CRITICAL, Severity.WARNING)):
            found = tuple(issue(subject=f"queue-{n}-{i}", severity=severity) for i in range(n + 1))
            runner.run(store.save_assessment(assessment("stressed", NOON.subtract(minutes=9 - n), findings=found)))
        self._app = create_app(deps(loop, store, clock))
        runner.run(self._app.state.live.refresh("default"))
        self.now: Instant = clock.now
        said = self.get("/openapi.json", {}).json()
        self._checks = {path: _answer_check(said, path) for path in said["paths"] if "get" in said["paths"][path]}

    def get(self, path: str, parameters: dict[str, Any]) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as web:
                return await web.get(path, params=parameters)

        return self._runner.run(ask())

    def checked(self, path: str, parameters: dict[str, Any]) -> Any:
        """The answer, which obeys the description."""
        answer = self.get(path, parameters)
        assert answer.status_code == 200, answer.text
        described = "/signals/{signal_id}" if path.startswith("/signals/") else path
        self._checks[described].validate(answer.json())
        return answer.json()


def _answer_check(said: dict[str, Any], path: str) -> Draft202012Validator:
    content = said["paths"][path]["get"]["responses"]["200"].get("content", {})
    schema = content.get("application/json", {}).get("schema", {})
    return Draft202012Validator({"components": said["components"], **schema})


@given(path=st.sampled_from(PATHS), extra=st.dictionaries(st.sampled_from(["x", "limit_", "Cluster"]), words))
def test_9_every_answer_obeys_its_schema_and_is_of_the_same_tick(
    asked: Asked, path: str, extra: dict[str, str]
) -> None:
    body = asked.checked(path, extra)
    if "evaluation_id" in body:
        assert body["evaluation_id"] == asked.checked("/status", {})["evaluation_id"]


@given(severity=st.none() | st.sampled_from(Severity), limit=st.integers(1, 8), resolved=st.booleans())
def test_9_issues_obey_their_filters_and_come_the_worst_first_then_the_last_resolved(
    asked: Asked, severity: Severity | None, limit: int, resolved: bool
) -> None:
    every = asked.checked("/status/issues", {"limit": 500, "resolved": True})["issues"]
    wanted = {"severity": severity.value} if severity else {}
    told = asked.checked("/status/issues", {**wanted, "limit": limit, "resolved": resolved})["issues"]
    fitting = [
        i for i in every if (not severity or i["severity"] == severity) and (resolved or i["resolved_at"] is None)
    ]
    assert told == fitting[:limit]
    still = [i["severity"] for i in told if i["resolved_at"] is None]
    assert still == sorted(i["severity"] for i in told[: len(still)])
    over = [Instant.parse_iso(i["resolved_at"]) for i in told[len(still) :]]
    assert over == sorted(over, reverse=True)


@given(one=moments, other=moments, signals=st.booleans(), most=st.integers(1, 2000))
def test_9_a_timeline_obeys_its_range_and_bounds(asked: Asked, one: int, other: int, signals: bool, most: int) -> None:
    start, end = (asked.now.add(seconds=s) for s in sorted((one, other)))
    asking = {"start": start.format_iso(), "end": end.format_iso(), "signals": signals, "max_points": most}
    points = asked.checked("/status/timeline", asking)["timeline"]
    assert len(points) <= min(most, 200 if signals else 2000)
    times = [Instant.parse_iso(p["timestamp"]) for p in points]
    assert all(a < b for a, b in pairwise(times))
    assert all(start <= t <= end for t in times)
    assert all(("primary_signals" in p) is signals for p in points)
    every = asked.checked("/status/timeline", {**asking, "signals": False, "max_points": 2000})["timeline"]
    assert {(p["timestamp"], p["health_state"]) for p in points} <= {(p["timestamp"], p["health_state"]) for p in every}
    assert bool(points) is bool(every)


@given(runs)
def test_11_every_suggested_action_says_what_to_do_to_what_how_surely_and_where_to_read_on(run: list[Signals]) -> None:
    for told in judged(run)[0][::3]:
        _complete(explained(told))


def _complete(told: ExplainedEvaluation) -> None:
    # Advice about workers is withheld while the server is to blame: then some finding about the server has advice.
    assert bool(told.findings) is any(f.suggested_actions for f in told.findings)
    for finding in told.findings:
        for action in finding.suggested_actions:
            assert action.action_type in ActionType
            assert action.target_service
            assert action.description.endswith(".")
            assert 0 < action.confidence <= 1
            assert action.risk_level in ("low", "medium", "high")
            assert action.source == "rules"
            assert runbook(action.runbook) is not None
            assert action.action_type is not ActionType.SCALE or action.parameters["direction"] == "up"
            assert SuggestedAction.model_validate_json(action.model_dump_json()) == action
