"""`copilot read` and `copilot logs scan` on recorded pages and logs."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from copilot.cli.main import app
from copilot.errors import CopilotError
from tests.recorded_pages import EVERY_SEC, roll
from tests.scraped import DATA

SERVER, WORKER = str(DATA / "server.txt.gz"), str(DATA / "worker.txt.gz")


def run(*words: str, exit_code: int = 0) -> str:
    done = CliRunner().invoke(app, words)
    if isinstance(done.exception, CopilotError):
        raise done.exception
    assert done.exit_code == exit_code, done
    return done.output


def document(*words: str, exit_code: int = 0) -> dict[str, Any]:
    return dict(json.loads(run(*words, "--json", exit_code=exit_code)))


@pytest.fixture
def two_reads(tmp_path: Path) -> tuple[list[str], list[str]]:
    """Two reads of a server and a worker under load, as files."""
    reads: tuple[list[str], list[str]] = ([], [])
    for target in ("server", "worker-1"):
        bodies = roll("idle", target).bodies()
        for number, files in enumerate(reads):
            body = bodies[number]
            assert body is not None
            (tmp_path / f"{target}.{number}").write_bytes(body)
            files.append(str(tmp_path / f"{target}.{number}"))
    return reads


def test_one_read_has_gauges_and_says_why_there_are_no_rates() -> None:
    found = document("read", SERVER, WORKER)
    assert list(found) == ["version", "dialect", "readings", "no_traffic", "missing", "breakdowns"]
    assert found["version"] == "1.32.0"
    assert found["dialect"] == {"server": "server", "worker": "sdk default"}
    assert found["readings"]["runtime.goroutines"] > 100
    assert found["readings"]["frontend.request_rate_per_sec"] is None
    assert found["missing"]["frontend.request_rate_per_sec"] == {
        "code": "absent",
        "detail": "the server pages were read once so far, a rate needs two",
    }
    assert {row["labels"]["task_queue"] for row in found["breakdowns"]["poller.pending_polls"]} == {"orders"}


def test_two_reads_give_the_rates_of_the_counters(two_reads: tuple[list[str], list[str]]) -> None:
    before, after = two_reads
    found = document("read", *before, "--after", *after, "--seconds", f"{EVERY_SEC}")
    rolled = roll("idle", "server")
    requests = [rolled.total(n, "service_requests", 'service_name="frontend"', "PollActivityTaskQueue") for n in (0, 1)]
    assert None not in requests
    assert found["readings"]["state_transitions.throughput_per_sec"] is not None
    assert "frontend.request_rate_per_sec" not in found["missing"]
    repeated = document("read", *before, *(w for a in after for w in ("--after", a)), "--seconds", f"{EVERY_SEC}")
    assert repeated == found


def test_the_role_is_what_the_page_shows_unless_it_is_given() -> None:
    assert list(document("read", WORKER)["dialect"]) == ["worker"]
    assert list(document("read", WORKER, "--role", "worker")["dialect"]) == ["worker"]
    assert list(document("read", SERVER)["dialect"]) == ["server"]


def test_without_json_it_is_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    out = run("read", WORKER)
    assert out.startswith("server version unknown; worker dialect sdk default\n")
    assert "workers.workflow_pollers" in out
    assert "      the worker pages were read once so far, a rate needs two\n" in out


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "cut.gz").write_bytes(Path(SERVER).read_bytes()[:5000])
    (tmp_path / "other").write_text("up 1\n")
    for words, why in (
        (("read", str(tmp_path / "none")), "none: cannot be read: No such file or directory"),
        (("read", str(tmp_path / "cut.gz")), "cut.gz: cannot be read: "),
        (("read", str(tmp_path / "other")), "other: no metrics of a Temporal server or worker"),
        (("read", "http://127.0.0.1:1/metrics"), "http://127.0.0.1:1/metrics: "),
        (("read", SERVER, WORKER, "--after", SERVER), "2 pages, 1 after them"),
        (("logs", "scan", str(tmp_path / "none")), "none: cannot be read: No such file or directory"),
    ):
        with pytest.raises(CopilotError, match=why):
            run(*words)


def test_known_patterns_and_templates_are_counted_and_samples_redacted(tmp_path: Path) -> None:
    log = tmp_path / "own.log"
    lines = [f'{{"level":"error","msg":"gateway {n} lost, password=geheim{n}","service":"history"}}' for n in range(7)]
    log.write_text("\n".join([*lines, "  a continuation", "dial tcp: connection refused"]) + "\n")
    found = document("logs", "scan", str(log), str(DATA / "logs" / "server.json.log.gz"))
    counts = {(row["pattern"], row["service"]): row["count"] for row in found["patterns"]}
    assert counts["rate limit", "history"] > 50
    assert sum(count for (name, _), count in counts.items() if name == "connection refused") == 1
    assert [row["count"] for row in found["templates"] if row["pattern"].startswith("gateway")] == [7]
    assert "geheim" not in json.dumps(found)
    assert document("logs", "scan", str(log))["lines"] == 8
    assert "      7  gateway <*> lost" in run("logs", "scan", str(log))
    log.write_text("\n".join(lines), encoding="utf-16")
    [row] = document("logs", "scan", str(log))["templates"]
    assert (row["pattern"], row["service"], row["level"], row["count"]) == (
        "gateway <*> lost, password=‹secret-1›", "history", "error", 7,
    )  # fmt: skip


def test_a_saved_answer_of_a_loki_is_read_by_its_lines(tmp_path: Path) -> None:
    line = '{"level":"warn","msg":"Not enough hosts to serve the request"}'
    stream = {"stream": {"service": "matching"}, "values": [["1795348800000000000", line]]}
    answer = {"status": "success", "data": {"resultType": "streams", "result": [stream]}}
    (tmp_path / "loki.json").write_text(json.dumps(answer))
    [row] = document("logs", "scan", str(tmp_path / "loki.json"))["patterns"]
    assert (row["pattern"], row["service"], row["count"]) == ("not enough hosts", "matching", 1)
    # What a real Loki gave of an incident: wrappers, formats, a panic line by line and in one, lines cut off.
    found = document("logs", "scan", str(DATA / "loki" / "incident.json.gz"))
    counts = {(row["pattern"], row["service"]): row["count"] for row in found["patterns"]}
    assert (counts["panic", "history"], counts["not enough hosts", "history"], found["lines"]) == (2, 4, 27)
    assert {service for _, service in counts} == {"frontend", "history", "matching", "worker"}
    samples = "".join(row["sample"] + row["pattern"] for row in found["templates"] + found["patterns"])
    assert not {"\u202e", "\x1b"} & set(samples)
    assert not any(p in row["pattern"] for row in found["templates"] for p in ("goroutine", "serveStreams", "signal"))
    answer["data"] = {"resultType": "streams", "result": []}
    (tmp_path / "loki.json").write_text(json.dumps(answer))
    assert document("logs", "scan", str(tmp_path / "loki.json"), exit_code=1)["lines"] == 0
