"""Targets that are discovered by DNS, from a name server on loopback."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest
from whenever import Instant

from copilot.errors import SettingsError
from copilot.settings.clusters import ClusterSettings, MetricsEndpoint
from copilot.settings.load import load_settings
from copilot.sources.scrape.discovery import Discovery
from copilot.sources.scrape.source import ScrapeSource
from tests.sources.metrics_server import MetricsServer
from tests.sources.test_targets import HISTORY, OWN


class NameServer(asyncio.DatagramProtocol):
    """Answers from `zone`: (name, type) → records; another name does not exist. `silent`: answers nothing."""

    def __init__(self) -> None:
        self.zone: dict[tuple[str, str], list[str]] = {}
        self.silent = False
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if self.silent:
            return
        query = dns.message.from_wire(data)
        asked = query.question[0]
        name, kind = asked.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(asked.rdtype)
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        if records := self.zone.get((name, kind)):
            answer.answer.append(dns.rrset.from_text(asked.name, 5, "IN", kind, *records))
        elif not any(known == name for known, _ in self.zone):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        self.transport.sendto(answer.to_wire(), addr)

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.transport.get_extra_info("sockname")
        return str(host), int(port)


@asynccontextmanager
async def name_server() -> AsyncIterator[NameServer]:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", 0))
    try:
        yield server
    finally:
        transport.close()


def named(*names: str) -> list[MetricsEndpoint]:
    return [MetricsEndpoint.model_validate({"discover": name, "role": "server"}) for name in names]


async def test_a_name_is_one_target_per_address_and_the_last_answer_holds_while_there_is_none() -> None:
    async with name_server() as server:
        server.zone = {
            ("history.test", "A"): ["10.0.0.2", "10.0.0.1"], ("history.test", "AAAA"): ["fd00::1"],
            ("six.test", "AAAA"): ["fd00::2"],
            ("_metrics._tcp.all.test", "SRV"): ["0 0 9091 a.test.", "0 0 9092 b.test."],
            ("a.test", "A"): ["10.0.0.3"], ("b.test", "A"): ["10.0.0.4"],
        }  # fmt: skip
        names = ("dns:history.test:9090", "dns:six.test:9090", "dns:_metrics._tcp.all.test", "dns:none.test:9090")
        discovery = Discovery(named(*names), [server.address])

        async def urls() -> list[str]:
            return [endpoint.url for endpoint in await discovery.endpoints()]

        first = await urls()
        assert first == [
            "http://10.0.0.1:9090/metrics", "http://10.0.0.2:9090/metrics", "http://[fd00::2]:9090/metrics",
            "http://10.0.0.3:9091/metrics", "http://10.0.0.4:9092/metrics", "http://none.test:9090/metrics",
        ]  # fmt: skip
        server.zone["history.test", "A"] = ["10.0.0.2"]
        assert (await urls())[:2] == ["http://10.0.0.2:9090/metrics", "http://[fd00::2]:9090/metrics"]
        server.silent = True
        assert await urls() == first[1:]


async def test_a_process_that_comes_is_read_and_one_that_left_is_no_target_any_more() -> None:
    async with (
        name_server() as names,
        MetricsServer.start(HISTORY) as one,
        MetricsServer.start(OWN) as two,
    ):

        def there(servers: Iterable[MetricsServer]) -> list[str]:
            ports = [server.url.removesuffix("/metrics").rpartition(":")[2] for server in servers]
            return [f"0 0 {port} host.test." for port in ports]

        service = ("_metrics._tcp.test", "SRV")
        names.zone = {("host.test", "A"): ["127.0.0.1"], service: there([one])}
        cluster = ClusterSettings(interval_sec=2, window_sec=10, metrics=tuple(named("dns:_metrics._tcp.test")))
        source = ScrapeSource(cluster, nameservers=[names.address])
        assert (await source.read(Instant.now())).targets == {"server": 1}
        names.zone[service] = there([one, two])
        await two.until_asked(2)
        both = await source.read(Instant.now())
        names.zone[service] = there([two])
        before = two.asked
        await two.until_asked(before + 2)
        left = await source.read(Instant.now())
        await source.aclose()
    assert {p.name for p in both.processes} == {one.url, two.url}
    assert ({p.name for p in left.processes}, left.unread) == ({two.url}, {})


@pytest.mark.parametrize(
    ("page", "why"),
    [
        ('{ discover = "temporal:9090", role = "server" }', "is not a name to discover: write dns:NAME:PORT"),
        ('{ discover = "dns:a:9", url = "http://a:9/metrics", role = "server" }', "has a url, or discover: choose one"),
        ('{ role = "server" }', "url"),
        ('{ discover = "kubernetes:temporal", port = 9090, role = "server" }', "write kubernetes:NAMESPACE/SELECTOR"),
        ('{ discover = "kubernetes:temporal/", port = 9090, role = "server" }', "selects no pods"),
        ('{ discover = "kubernetes:Temporal/a=b", port = 9090, role = "server" }', "selects no pods"),
        ('{ discover = "kubernetes:temporal/a=b c", port = 9090, role = "server" }', "selects no pods"),
        ('{ discover = "kubernetes:temporal/a in b", port = 9090, role = "server" }', "selects no pods"),
        ('{ discover = "kubernetes:temporal/a=b", role = "server" }', "pods need a port"),
        ('{ discover = "kubernetes:temporal/a=b", port = 0, role = "server" }', "0 is not a port"),
        ('{ discover = "kubernetes:temporal/a=b", port = "Metrics", role = "server" }', "'Metrics' is not a port"),
        ('{ discover = "dns:temporal:9090", port = 9090, role = "server" }', "port goes with discover"),
    ],
)
def test_a_mistake_in_what_to_discover_is_named(page: str, why: str, tmp_path: Path) -> None:
    file = tmp_path / "copilot.toml"
    file.write_text(f"[[clusters]]\nmetrics = [{page}]\n")
    with pytest.raises(SettingsError, match=why):
        load_settings(file)
