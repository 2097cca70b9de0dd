"""`copilot replay` as a person or a script sees it."""

from pathlib import Path

import pytest
from whenever import Instant

from copilot.cli.options import duration, moment
from copilot.errors import SettingsError
from copilot.replay import cluster_at, evaluation_times, replay_recording
from copilot.settings.clusters import ClusterSettings, PrometheusSettings
from copilot.settings.load import Settings
from lab.recorded_run import RECORDINGS, find_runs, load_run
from tests.cli.forked import assert_refused
from tests.cli.test_main import copilot
from tests.evaluations import NOON

NOWHERE = "http://127.0.0.1:1"
RANGE = ("--start", "2026-11-21T12:00:00Z", "--end", "2026-11-21T13:00:00Z")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((), "either --recording FILE or --prometheus URL"),
        (("--recording", "r.jsonl", "--prometheus", NOWHERE), "either --recording FILE or --prometheus URL"),
        (("--recording", "r.jsonl", "--start", "-6h"), "go with --prometheus"),
        (("--prometheus", NOWHERE), "needs --start and --end"),
        (("--prometheus", NOWHERE, *RANGE[:2]), "needs --start and --end"),
        (("--prometheus", NOWHERE, "--start", "yesterday", "--end", "now"), "--start 'yesterday' is not a time"),
        (("--prometheus", NOWHERE, "--start", "-1h", "--end", "-2h"), "is not after --start"),
        (("--prometheus", NOWHERE, "--start", "-1h", "--end", "-1h"), "is not after --start"),
        (("--prometheus", NOWHERE, "--start", "2999-01-01", "--end", "2999-01-02"), "is in the future"),
        (("--prometheus", NOWHERE, *RANGE, "--step", "soon"), "--step 'soon' is not a duration"),
        (("--prometheus", NOWHERE, *RANGE, "--step", "1s"), "--step 1s cannot be used"),
        (("--prometheus", "prometheus:9090", *RANGE), "is not an http:// or https:// URL"),
        (("--prometheus", NOWHERE, *RANGE), f"{NOWHERE}: "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_replayed_is_one_line_and_exit_2(tmp_path: Path, words: tuple[str, ...], why: str) -> None:
    assert_refused(copilot("replay", *words, folder=tmp_path), why)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOON),
        ("-6h", NOON.subtract(hours=6)),
        ("-90s", NOON.subtract(seconds=90)),
        ("-1.5d", NOON.subtract(hours=36)),
        ("2026-11-21", Instant.from_utc(2026, 11, 21)),
        ("2026-11-21T12:00:00+02:00", Instant.from_utc(2026, 11, 21, 10)),
        ("1795348800", Instant.from_timestamp(1795348800)),
        ("1795348800000", Instant.from_timestamp(1795348800)),
    ],
)
def test_a_moment_may_be_written_as_people_do(text: str, expected: Instant) -> None:
    assert moment("--start", text, NOON) == expected


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("1m", 60), ("15", 15), ("2.5s", 2.5), ("1h", 3600)])
def test_a_step_may_be_written_as_people_do(text: str, seconds: float) -> None:
    assert duration("--step", text) == seconds


def test_the_steps_begin_at_the_start_and_end_no_later_than_the_end_or_now() -> None:
    noon = NOON.timestamp(unit="millisecond")
    assert list(evaluation_times(NOON, NOON.add(seconds=70), 30, NOON.add(hours=1))) == [
        noon,
        noon + 30_000,
        noon + 60_000,
    ]
    assert len(evaluation_times(NOON, NOON.add(hours=5), 30, NOON.add(seconds=60))) == 3


def _configured(url: str = "https://east.example/", **more: object) -> Settings:
    prometheus = PrometheusSettings.model_validate({"url": url, "selector": 'env="prod"', "bearer_token": "secret"})
    east = ClusterSettings.model_validate(
        {"name": "east", "prometheus": prometheus, "ignore_task_queues": ("old",), **more}
    )
    west = ClusterSettings(name="west", prometheus=PrometheusSettings(url="https://west.example"))
    return Settings(clusters=(east, west))


def test_the_cluster_of_that_name_lends_its_credentials_and_rules_to_another_address() -> None:
    found = cluster_at(_configured(), "https://archive.example", "east", 60)
    assert found.prometheus is not None
    assert (found.name, found.interval_sec, found.window, found.ignore_task_queues) == ("east", 60, 120, ("old",))
    assert (found.prometheus.url, found.prometheus.selector) == ("https://archive.example", 'env="prod"')
    assert found.prometheus.bearer_token is not None
    assert found.prometheus.bearer_token.get_secret_value() == "secret"


def test_a_window_that_was_set_is_kept_at_another_step() -> None:
    assert cluster_at(_configured(window_sec=300), "https://east.example", None, 60).window == 300


def test_without_a_name_credentials_go_to_the_address_they_are_for_and_nowhere_else() -> None:
    assert cluster_at(_configured(), "https://east.example", None, 30).name == "east"
    stranger = cluster_at(_configured(), "https://stranger.example", None, 30)
    assert stranger == ClusterSettings(prometheus=PrometheusSettings(url="https://stranger.example"), interval_sec=30)


def test_a_name_nobody_configured_is_an_error_unless_nothing_is_configured() -> None:
    with pytest.raises(SettingsError, match="no cluster is named north: there is east, west"):
        cluster_at(_configured(), "https://east.example", "north", 30)
    assert cluster_at(Settings(), "https://east.example", "north", 30).name == "north"


def test_an_explanation_has_the_pages_words_for_every_finding() -> None:
    run = load_run("workers-down", find_runs(RECORDINGS)["workers-down"])
    explained = list(replay_recording(run.ticks, run.context(), explain=True))
    assert [{k: v for k, v in line.items() if k != "explanation"} for line in explained] == list(
        replay_recording(run.ticks, run.context())
    )
    told = next(line["explanation"] for line in explained if line["top_factor"] == "no_pollers")
    assert list(told) == ["summary", "narrative", "missing", "findings"]
    assert list(told["findings"][0]) == ["finding", "subject", "title", "cause", "actions"]
    assert told["findings"][0]["title"] in told["summary"]
    assert all(finding["actions"] and finding["cause"] for finding in told["findings"])
    assert told["narrative"].count(". ") > 4
    assert told["missing"]["connection_pool.utilization_pct"] == "persistence_sql_in_use is not on the server pages"
