"""The static alert rules beside us: what is stored is theirs, `for` is honored, and an alert is judged fairly."""

import pytest

from benchmarks.static_alerts import Alert, alerts_of, of_lab, results, rules, rules_digest
from lab.recorded_run import RECORDINGS, find_runs
from tools.docs.public_cases import THREADS, Beside, public_cases


def test_the_stored_alerts_are_of_the_rules_and_of_every_recording() -> None:
    stored = results()
    assert stored.rules_sha256 == rules_digest(), "run: python -m benchmarks static_alerts"
    assert {n for n in stored.alerts if n.startswith("lab/")} == {f"lab/{name}" for name in find_runs(RECORDINGS)}
    assert {rule for found in stored.alerts.values() for rule in found} < {rule.name for rule in rules()}
    assert all(rule.source.startswith("https://") for rule in rules())
    told = {t.name for t in public_cases()}
    assert {n for n in stored.alerts if n.startswith("public/")} == {f"public/{n}" for n in told if not _of_the_api(n)}
    assert set(THREADS) <= told


def _of_the_api(name: str) -> bool:
    return name.endswith("-api") or name == "monitor-clock-skew-small-wait"


def test_a_recording_alerts_in_a_real_prometheus_as_it_is_stored() -> None:
    assert dict(of_lab({"slots-exhausted": RECORDINGS / "slots-exhausted.jsonl.gz"})) == {
        "lab/slots-exhausted": results().alerts["lab/slots-exhausted"]
    }


@pytest.mark.parametrize(
    ("times", "hold", "expected"),
    [
        ([0, 15, 30], 0, [(0, 0, 30)]),
        ([0, 15, 30], 30, [(0, 30, 30)]),
        ([0, 15, 30], 45, [(0, None, 30)]),
        ([0, 15, 45, 60], 30, [(0, None, 15), (45, None, 60)]),
        ([0, 45, 60, 75], 30, [(0, None, 0), (45, 75, 75)]),
    ],
)
def test_an_alert_fires_once_its_condition_has_held_without_a_gap(
    times: list[float], hold: float, expected: list[tuple[float, float | None, float]]
) -> None:
    assert list(alerts_of(times, hold)) == [Alert(*e) for e in expected]


@pytest.mark.parametrize(
    ("due", "alert", "right", "false"),
    [
        (True, Alert(15, 75, 90), True, False),
        (True, Alert(15, None, 90), True, False),
        (True, Alert(-15, 45, 90), False, True),
        (True, Alert(-15, None, 90), False, False),
        (True, Alert(15, 315, 330), False, False),
        (False, Alert(15, 75, 90), False, True),
        (None, Alert(15, 75, 90), True, False),
    ],
)
def test_an_alert_is_right_within_an_incident_and_false_before_it_or_without_one(
    due: bool | None, alert: Alert, right: bool, false: bool
) -> None:
    case = Beside("lab/x", due, end=300.0, spoke=None, critical=None, wrongly=False)
    assert (case.right(alert), case.false(alert)) == (right, false)
