"""Targets that Kubernetes' API lists, from a strict stand-in over HTTPS, and what people read where it refuses."""

from pathlib import Path
from typing import Any

import pytest
from whenever import Instant

from copilot.diagnosis import CheckStatus
from copilot.doctor import diagnose, pods_check
from copilot.settings.clusters import ClusterSettings, MetricsEndpoint
from copilot.settings.load import Settings
from copilot.sources.scrape.discovery import KEEP_SEC, LIST_EVERY_SEC, Discovery
from copilot.sources.scrape.pods import PodApi
from copilot.sources.scrape.source import ScrapeSource
from tests.fakes.kubernetes import ApiServer, pod
from tests.sources.metrics_server import MetricsServer
from tests.sources.test_targets import HISTORY, OWN

TEMPORAL = {"app.kubernetes.io/name": "temporal"}
SERVER = "kubernetes:temporal/app.kubernetes.io/name=temporal,app.kubernetes.io/component notin (web, admintools)"


def pods_of(discover: str, port: int | str = "metrics") -> MetricsEndpoint:
    return MetricsEndpoint.model_validate({"discover": discover, "port": port, "role": "server"})


def temporal(component: str, ip: str, *ports: tuple[str, int], phase: str = "Running") -> dict[str, Any]:
    labels = TEMPORAL | {"app.kubernetes.io/component": component}
    return pod(f"temporal-{component}", ip, labels, *(ports or (("rpc", 7233), ("metrics", 9090))), phase=phase)


def there() -> list[dict[str, Any]]:
    leaving = temporal("worker", "10.0.0.4")
    leaving["metadata"]["deletionTimestamp"] = "2026-11-30T10:00:00Z"
    return [
        temporal("matching", "10.0.0.2"),
        temporal("frontend", "fd00::1", ("metrics", 9091)),
        temporal("history", "10.0.0.3", ("rpc", 7234)),
        leaving,
        temporal("schema", "10.0.0.5", phase="Succeeded"),
        temporal("starting", ""),
        temporal("web", "10.0.0.6", ("metrics", 9090)),
        pod("postgres-0", "10.0.0.7", {"app": "postgres"}, ("metrics", 9187)),
    ]


async def test_running_pods_are_targets_and_what_is_refused_is_explained_while_the_last_list_holds(
    tmp_path: Path,
) -> None:
    now = 1000.0
    async with ApiServer.start(tmp_path) as server:
        server.pods["temporal"] = there()
        endpoint = pods_of(SERVER)
        discovery = Discovery([endpoint], pod_api=server.api, clock=lambda: now)
        pods = discovery.pods(endpoint)
        assert pods is not None

        async def urls(after_sec: float = LIST_EVERY_SEC) -> list[str]:
            nonlocal now
            now += after_sec
            return [each.url for each in await discovery.endpoints()]

        first = await urls()
        assert first == ["http://[fd00::1]:9091/metrics", "http://10.0.0.2:9090/metrics"]
        check = pods_check(endpoint, pods)
        assert (check.status, check.name) == (CheckStatus.OK, f"server pods {SERVER} port metrics")
        assert check.found == "2 pods: temporal-frontend, temporal-matching; without this port: temporal-history"

        server.pods["temporal"] = there()[:1]
        assert (await urls(1), server.lists) == (first, 1)
        discovery.list_again()
        assert (await urls(1), server.lists) == (first[1:], 2)

        (tmp_path / "token").write_text("of another cluster")
        assert await urls() == first[1:]
        assert "HTTP 401 Unauthorized: is " in str(pods.problem)
        server.rotate("second")
        assert (await urls(), pods.problem) == (first[1:], None)

        server.allowed = {"elsewhere"}
        assert await urls() == first[1:]
        why = pods_check(endpoint, pods)
        assert why.status is CheckStatus.FAILED
        assert 'cannot list resource "pods" in API group "" in the namespace "temporal"' in why.found
        assert why.found.endswith(
            "give this service account a Role in namespace temporal with verbs get and list on pods"
        )
        assert await urls(KEEP_SEC) == [endpoint.url]

        server.allowed, server.hang = {"temporal"}, True
        await urls()
        assert "timed out after 3 s: does a NetworkPolicy let this pod reach it?" in str(pods.problem)
        server.hang, server.answer = False, b'{"kind": "ServiceList"}'
        await urls()
        assert "answered with something else than a list of pods" in str(pods.problem)
        server.answer, server.pods["temporal"] = None, [temporal("matching", "10.0.0.9")] * 501
        await urls()
        assert "over 500 pods match" in str(pods.problem)
        server.pods["temporal"] = there()[2:3]
        await urls()
        assert "no pod in namespace temporal has a port named metrics: temporal-history" in str(pods.problem)
        server.pods["temporal"] = []
        await urls()
        assert "no running pod in namespace temporal matches app.kubernetes.io/name=temporal" in str(pods.problem)
        (tmp_path / "ca.crt").unlink()
        await urls()
        assert "set automountServiceAccountToken: true" in str(pods.problem)


async def test_a_pod_that_left_is_gone_and_not_down(tmp_path: Path) -> None:
    async with (
        ApiServer.start(tmp_path) as server,
        MetricsServer.start(HISTORY) as one,
        MetricsServer.start(OWN) as two,
    ):

        def of(name: str, page: MetricsServer) -> dict[str, Any]:
            return temporal(name, "127.0.0.1", ("metrics", int(page.url.removesuffix("/metrics").rpartition(":")[2])))

        server.pods["temporal"] = [of("history", one)]
        cluster = ClusterSettings(interval_sec=2, window_sec=10, metrics=(pods_of(SERVER),))
        source = ScrapeSource(cluster, pod_api=server.api)
        assert (await source.read(Instant.now())).targets == {"server": 1}
        server.pods["temporal"] = [of("worker", two)]
        one.status = "503 Service Unavailable"  # The page that is not answered has the pods listed again.
        await two.until_asked(2)
        left = await source.read(Instant.now())
        server.allowed = set()
        await source.aclose()
    assert ({p.name for p in left.processes}, left.targets, left.unread) == ({two.url}, {"server": 1}, {})


async def test_outside_of_kubernetes_doctor_and_readings_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)
    cluster = ClusterSettings(interval_sec=15, window_sec=30, metrics=(pods_of(SERVER),))
    (found,) = (await diagnose(Settings(), [cluster], quick=True)).clusters
    check = found.checks[0]
    assert check.status is CheckStatus.FAILED
    assert check.found == "this process runs in no pod of Kubernetes: give url, or dns:…"
    assert f"{cluster.metrics[0].name}: {check.found}" in {row.why for row in found.signals}


def test_a_pod_knows_its_api_server_by_its_environment() -> None:
    told = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    assert str(PodApi.of_this_pod(told)) == "Kubernetes' API at 10.96.0.1:443"
    assert PodApi.of_this_pod({}) is None


@pytest.mark.parametrize("selector", ["a=b", "a", "!a", "x.io/a!=b,c in (d,e), f notin (g)", "a==b,c="])
def test_selectors_are_those_of_kubectl(selector: str) -> None:
    assert pods_of(f"kubernetes:temporal/{selector}", "9090").pods == ("temporal", selector)
