"""Clients are built from settings, and say clearly when the other side is not there."""

import ast
import asyncio
from pathlib import Path

import pytest

from copilot import bootstrap
from copilot.errors import SettingsError, SourceError, StartError
from copilot.loops.live import LoopLive
from copilot.loops.worker import close, log_activities, observe_activities
from copilot.rules.signals.readings import MissingCode
from copilot.settings.clusters import ClusterSettings, MetricsEndpoint, TemporalSettings, WatchedTemporal
from copilot.settings.load import Settings, StoreSettings
from tests.test_tree import ROOT, tracked

NOBODY = TemporalSettings(address="127.0.0.1:1")


async def test_a_temporal_that_is_not_there_is_waited_for_and_then_said_in_one_line() -> None:
    waited: list[str] = []
    with pytest.raises(StartError) as error:
        await bootstrap.connected(NOBODY, patience_sec=0.6, waiting=waited.append)
    assert waited == ["waiting for Temporal at 127.0.0.1:1"]
    assert "127.0.0.1:1 cannot be reached (connection refused)" in str(error.value)
    assert "\n" not in str(error.value)


async def test_a_live_verdict_cannot_be_had_while_temporal_is_away() -> None:
    client = await bootstrap.temporal_client(NOBODY, lazy=True)
    with pytest.raises(SourceError) as error:
        await asyncio.wait_for(LoopLive(client, timeout_sec=1).evaluation("x"), 5)
    assert error.value.code is MissingCode.TARGET_DOWN


async def test_a_store_must_be_configured() -> None:
    with pytest.raises(SettingsError, match=r"store\.url is not set"):
        bootstrap.store(Settings())


async def test_a_cluster_has_the_sources_its_settings_name() -> None:
    cluster = ClusterSettings(
        temporal=WatchedTemporal(address="127.0.0.1:1"),
        metrics=(MetricsEndpoint(url="http://127.0.0.1:1/metrics", role="server"),),
    )
    deps = observe_activities(
        Settings(clusters=(cluster,), store=StoreSettings(url="postgresql://nobody@127.0.0.1:1/none"))
    )
    assert {source.name for source in deps.sources["default"]} == {"api", "metrics"}
    assert deps.contexts["default"].window_sec == cluster.window
    await close(deps, log_activities(Settings()))


@pytest.mark.parametrize(
    ("settings", "address"),
    [
        pytest.param(TemporalSettings(), "10.0.0.1:7233", id="the profile's"),
        pytest.param(TemporalSettings(address="10.0.0.2:7233"), "10.0.0.2:7233", id="copilot.toml's, if it has one"),
    ],
)
async def test_the_address_comes_from_the_file_and_else_from_the_environment(
    settings: TemporalSettings, address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "10.0.0.1:7233")
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(tmp_path / "none.toml"))
    client = await bootstrap.temporal_client(settings, lazy=True)
    assert client.service_client.config.target_host == address


def test_only_loops_and_the_demo_import_workflow_and_activity() -> None:
    """import-linter cannot forbid a part of a package that is not ours."""
    parts = {"temporalio.workflow", "temporalio.activity"}
    found = set()
    for file in tracked("src/copilot/**/*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                names = {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
            elif isinstance(node, ast.Import):
                names = {alias.name for alias in node.names}
            else:
                continue
            if names & parts:
                found.add(file.relative_to(ROOT / "src" / "copilot").parts[0])
    assert found == {"loops", "demo"}
