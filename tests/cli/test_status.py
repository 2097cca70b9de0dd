"""`copilot status` against the real API over a store in memory."""

import asyncio
import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from io import StringIO
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import uvicorn
from rich.console import Console
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from typer.testing import CliRunner, Result
from whenever import Instant

from copilot.api.app import create_app
from copilot.api.auth import token_hash
from copilot.api.deps import Deps
from copilot.api.serve import listening_socket
from copilot.cli.main import app
from copilot.cli.status import ApiClient, print_status, watch_view
from copilot.embedded.data_folder import owned_folder
from copilot.errors import SettingsError, SourceError
from copilot.rules.model import Evaluation
from copilot.settings.api import ApiSettings
from tests.api.standin import ToldLoop
from tests.evaluations import evaluation
from tests.fakes.memory_store import MemoryStore
from tests.local.test_data_folder import described
from tests.web.stories import story


class Said(ToldLoop):
    """A loop that says what the test wants, anew whenever it is asked."""

    def __init__(self, states: dict[str, str]) -> None:
        super().__init__()
        self.states = states

    async def evaluation(self, cluster: str) -> Evaluation | None:
        return evaluation(self.states[cluster], Instant.now(), cluster=cluster)

    async def revision(self, cluster: str) -> str:  # noqa: ARG002
        return Instant.now().format_iso()


def served(settings: ApiSettings | None = None, **states: str) -> AbstractContextManager[str]:
    return served_of(states, settings)


@contextmanager
def served_of(states: dict[str, str], settings: ApiSettings | None = None) -> Iterator[str]:
    deps = Deps(store=MemoryStore(), live=Said(states), clusters=tuple(states), now=Instant.now)
    with serving(create_app(deps, settings)) as base:
        yield base


@contextmanager
def serving(app: Any) -> Iterator[str]:
    listening = listening_socket("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, log_level="error"))
    thread = Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def status(*words: str) -> Result:
    return CliRunner().invoke(app, ["status", *words])


@pytest.mark.parametrize(("state", "code"), [("happy", 0), ("stressed", 1), ("critical", 1), ("unknown", 1)])
def test_the_exit_code_says_whether_it_is_bad_news(state: str, code: int) -> None:
    with served(east=state) as url:
        done = status("--api", url)
    assert done.exit_code == code, done.output
    assert state.upper() in done.output


def test_without_a_configuration_it_asks_the_demo_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.chdir(tmp_path)
    with served(demo="happy") as url, owned_folder(tmp_path / "demo") as folder:
        described(folder).model_copy(update={"page": url}).write()
        (folder / "copilot.toml").write_text(f"[api]\nport = {url.rpartition(':')[2]}\n", encoding="utf-8")
        done = status()
    assert done.exit_code == 0, done.output
    assert "demo  ● HAPPY" in done.stdout
    assert done.stderr == f"no copilot.toml here: using the demo at {url}\n"


def test_all_clusters_are_shown_and_one_can_be_chosen() -> None:
    with served(east="happy", west="critical") as url:
        both = status("--api", url, "--json")
        east = status("--api", url, "--json", "--cluster", "east")
        absent = status("--api", url, "--cluster", "north")
    assert both.exit_code == 1
    assert {json.loads(line)["cluster"] for line in both.output.splitlines()} == {"east", "west"}
    assert east.exit_code == 0
    assert json.loads(east.output)["health_state"] == "happy"
    assert "north" in str(absent.exception)


def test_a_person_reads_what_fired_and_what_to_do() -> None:
    with served(east="critical") as url:
        answer = json.loads(status("--api", url, "--json").output)
    out = StringIO()
    print_status(answer, Console(file=out, width=160))
    text = out.getvalue()
    assert "east  ● CRITICAL  since " in text
    assert "tasks in the backlog" in text
    assert "work_stalled" in text
    assert "1. Start workers for `orders`, or fix their deployment" in text
    assert "\x1b" not in text


def test_the_targets_are_a_table_and_one_that_is_not_read_is_bad_news() -> None:
    with served(east="happy", west="critical") as url:
        both, east, one = (
            CliRunner().invoke(app, ["targets", "--api", url, *words])
            for words in ([], ["--cluster", "east"], ["--cluster", "west", "--json"])
        )
    assert (both.exit_code, east.exit_code) == (1, 0), both.output
    title, head, *rows = both.output.splitlines()[:4]
    assert title.startswith("west  The worker process is not read: http://10.0.0.2:9464/metrics, last read ")
    assert head.split("  ")[0] == "process"
    assert [row.split()[:2] for row in rows] == [
        ["worker", "http://10.0.0.2:9464/metrics"], ["server", "http://10.0.0.1:9090/metrics"]
    ]  # fmt: skip
    assert rows[0].endswith("not read: Connection refused")
    assert "2 processes are read." in east.output
    assert json.loads(one.output)["targets"][0]["state"] == "not_read"


def test_incidents_are_listed_shown_exported_and_handed_over(tmp_path: Path) -> None:
    def run(*words: str) -> Result:
        return CliRunner().invoke(app, ["incident", *words, "--api", url])

    with serving(create_app(asyncio.run(story("critical")))) as url:
        listed = run("list", "--since", "999999999d")
        incident = listed.output.split()[-1]
        noted = run("note", incident, "scaled to zero")
        shown, file = run("show", incident), tmp_path / "incident.md"
        exported, again = run("export", incident, "-o", str(file)), run("export", incident, "-o", str(file))
        wrong, other = run("list", "--since", "soon"), run("show", "default:1")
        handed_over = [
            CliRunner().invoke(app, ["report", "--since", "9999d", "--api", url, *more])
            for more in ([], ["--markdown"], ["--json"])
        ]
    plain, markdown, document = (each.output for each in handed_over)
    assert [each.exit_code for each in handed_over] == [1, 1, 1]
    assert "default: critical since" in plain
    for line in listed.output.splitlines():
        assert f"\n  {line}\n" in plain
        assert f"\n- {line}\n" in markdown
    assert "Muted now: none" in plain
    assert "\n## Muted now\n\n- none\n" in markdown
    (cluster,) = json.loads(document)["clusters"]
    assert incident in [i["id"] for i in cluster["incidents"]]
    assert listed.exit_code == 1, listed.output
    assert "open  critical  no_pollers  default:" in listed.output
    assert shown.output.startswith("# default: ")
    assert noted.output == "noted by someone on this machine: scaled to zero\n"
    assert "note someone on this machine: scaled to zero" in shown.output
    assert exported.output == f"wrote {file}\n"
    assert file.read_text().splitlines() == [line.rstrip() for line in shown.output.splitlines()]
    assert "File exists" in str(again.exception)
    assert "write 30s, 1.5m or 2h" in str(wrong.exception)
    assert "no incident of default" in str(other.exception)


def test_the_apis_token_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(ApiSettings(tokens={"me": token_hash("cop_mine")}), east="happy") as url:
        without = status("--api", url)
        monkeypatch.setenv("COPILOT_TOKEN", "cop_other")
        wrong = status("--api", url)
        monkeypatch.setenv("COPILOT_TOKEN", "cop_mine")
        assert status("--api", url).exit_code == 0
    assert "needs a token in COPILOT_TOKEN" in str(without.exception)
    assert "rejects the token in COPILOT_TOKEN" in str(wrong.exception)


def watching(*words: str) -> list[str]:
    return [sys.executable, "-m", "copilot", "status", "--watch", *words]


@pytest.mark.servers
@pytest.mark.parametrize(
    ("status", "body"),
    [(200, {"status": "ok"}), (200, {"clusters": None}), (200, {"clusters": [{"name": "x"}]}), (502, {"error": "bad"})],
    ids=["a health page", "no clusters", "other clusters", "a gateway"],
)
def test_another_api_is_told_in_one_line(status: int, body: dict[str, Any]) -> None:
    async def stranger(_: Request) -> JSONResponse:
        return JSONResponse(body, status)

    with (
        serving(Starlette(routes=[Route("/{path:path}", stranger)])) as base,
        closing(ApiClient(base)) as client,
        pytest.raises(SourceError, match=rf"{base} \(HTTP {status}\) is not the Copilot's API"),
    ):
        client.statuses()


def test_what_is_no_address_and_what_is_no_token_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="not a valid URL"):
        ApiClient("http://[::1")
    monkeypatch.setenv("COPILOT_TOKEN", "schlüssel")
    with pytest.raises(SettingsError, match="COPILOT_TOKEN"):
        ApiClient("http://127.0.0.1:1")


def test_watching_through_a_pipe_prints_a_line_for_each_change_until_told_to_end() -> None:
    states = {"east": "happy", "west": "critical"}
    with served_of(states) as url, subprocess.Popen(
        watching("--api", url), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:  # fmt: skip
        assert running.stdout is not None
        first, second = running.stdout.readline(), running.stdout.readline()
        states["east"] = "stressed"
        changed = running.stdout.readline()
        running.send_signal(signal.SIGINT)
        rest, errors = running.communicate()
    assert "west  critical" in first, "the worst comes first"
    assert "east  happy" in second
    assert "east  stressed" in changed
    assert (running.returncode, rest, errors) == (0, "", "")


@pytest.mark.servers
def test_watching_on_a_terminal_leaves_it_as_it_was() -> None:
    leader, follower = pty.openpty()
    with served_of({"east": "critical"}) as url, subprocess.Popen(
        watching("--api", url), stdin=follower, stdout=follower, stderr=follower, env={**os.environ, "TERM": "xterm"}
    ) as running:  # fmt: skip
        os.close(follower)
        seen = b""
        while b"CRITICAL" not in seen or b"Ctrl-C ends" not in seen:
            seen += os.read(leader, 65_536)
        running.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):
            while more := os.read(leader, 65_536):
                seen += more
    os.close(leader)
    assert running.returncode == 0
    for begun, ended in ((b"\x1b[?1049h", b"\x1b[?1049l"), (b"\x1b[?25l", b"\x1b[?25h")):
        assert seen.rindex(ended) > seen.index(begun)
    assert b"Traceback" not in seen


def test_an_api_that_goes_away_is_said_on_the_screen() -> None:
    out = StringIO()
    answers = [{"cluster": c, "health_state": s, "summary": ""} for c, s in (("east", "critical"), ("west", "happy"))]
    console = Console(file=out, width=200)
    console.print(watch_view(answers, "no answer from there", Instant.from_timestamp(0), Instant.from_timestamp(9)))
    assert "CONNECTION LOST for 9 s: this view is old. no answer from there" in out.getvalue()
    assert "1 critical  1 happy" in out.getvalue()
