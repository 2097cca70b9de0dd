"""What doctor says of logs."""

import asyncio
from pathlib import Path

from whenever import Instant

from copilot.diagnosis import Check, CheckStatus
from copilot.doctor import check_logs, diagnose
from copilot.rules.signals.logs import TOP_PATTERN, LogReading
from copilot.rules.signals.readings import MissingCode
from copilot.settings.clusters import ClusterSettings, MetricsEndpoint
from copilot.settings.load import Settings
from copilot.settings.sources import LogSettings, LokiSettings
from tests.sources.loki_server import LokiServer

NOWHERE = MetricsEndpoint(url="http://127.0.0.1:1/metrics", role="server")


def cluster(logs: LogSettings | None) -> ClusterSettings:
    return ClusterSettings(metrics=(NOWHERE,), logs=logs)


def growing(file: Path, line: str) -> asyncio.Task[None]:
    file.touch()

    async def grow() -> None:
        while True:
            with file.open("a", encoding="utf-8") as out:
                out.write(line)
            await asyncio.sleep(0.1)

    return asyncio.create_task(grow())


async def checked(file: Path, line: str) -> tuple[tuple[Check, ...], LogReading | None]:
    writing = growing(file, line)
    try:
        return await check_logs(cluster(LogSettings(files=(file,))), quick=True)
    finally:
        writing.cancel()


async def test_a_log_is_summarized_or_doubted(tmp_path: Path) -> None:
    file = tmp_path / "server.log"
    ((check,), seen), ((doubt,), _) = await asyncio.gather(
        checked(file, '{"level":"error","msg":"x","error":"database is locked"}\n'),
        checked(tmp_path / "x.log", "GET /index.html 200\n"),
    )
    assert seen is not None
    assert seen.top_pattern_count > 2
    assert (check.name, check.status) == (f"logs {file}", CheckStatus.OK)
    assert check.found.endswith("with a level; most frequent: database locked")
    assert doubt.status is CheckStatus.WARNING
    assert "Temporal server's log" in doubt.fix


async def test_a_loki_that_refuses_is_told_with_what_to_do_and_the_signal_is_missing() -> None:
    async with LokiServer(multi_tenant=True).run() as server:
        logs = LogSettings(loki=LokiSettings(url=server.url, query='{app="temporal"}', delay_sec=0))
        found = (await diagnose(Settings(), [cluster(logs)], quick=True)).clusters[0]
    check = next(c for c in found.checks if c.name.startswith("logs of"))
    assert (check.status, check.found) == (CheckStatus.WARNING, "HTTP 401 Unauthorized: no org id: set tenant")
    assert check.fix == "set [clusters.logs.loki] tenant to the tenant that has the servers' logs"
    row = next(s for s in found.signals if s.id == TOP_PATTERN)
    assert row.code is MissingCode.FORBIDDEN


async def test_a_query_that_matches_nothing_is_no_silence() -> None:
    async with LokiServer().run() as server:
        logs = LogSettings(loki=LokiSettings(url=server.url, query='{app="temporal"}', delay_sec=0))
        (check,), seen = await check_logs(cluster(logs), quick=True)
    assert (check.status, check.found) == (
        CheckStatus.WARNING,
        'no stream matches {app="temporal"}: there are no streams at all',
    )
    assert check.fix == "change query to labels and values that there are, or set tenant"
    assert seen is not None
    assert seen.missing is not None


async def test_lines_that_the_loki_counts_are_said_with_the_switch() -> None:
    async with LokiServer().run() as server:
        soon = Instant.now().timestamp(unit="nanosecond") + 1_000_000_000
        for number in range(6_000):
            server.push(soon + number, f"database is locked {number}", app="temporal")
        logs = LogSettings(loki=LokiSettings(url=server.url, query='{app="temporal"}', delay_sec=0))
        (check,), seen = await check_logs(cluster(logs), quick=True)
    assert check.status is CheckStatus.OK
    assert check.found == (
        "6000 lines in 2 s, counted by the Loki: over 1000 lines/s they are not read, until they are under 500/s in 3 "
        "readings; most frequent: database locked"
    )
    assert seen is not None
    assert (seen.counted, seen.patterns[0].count) == (True, 6_000)


async def test_without_logs_nothing_is_checked_and_the_setting_is_named() -> None:
    found = (await diagnose(Settings(), [cluster(None)], quick=True)).clusters[0]
    assert not any(c.name.startswith("logs") for c in found.checks)
    row = next(s for s in found.signals if s.id == TOP_PATTERN)
    assert "[clusters.logs]" in row.hint
