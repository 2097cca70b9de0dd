"""`copilot status` against the real API over a store in memory."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from threading import Thread

import pytest
import uvicorn
from rich.console import Console
from typer.testing import CliRunner, Result
from whenever import Instant

from copilot.api.app import create_app
from copilot.api.deps import Deps
from copilot.api.serve import listening_socket
from copilot.api.tokens import token_hash
from copilot.api_settings import ApiSettings
from copilot.cli.main import app
from copilot.cli.status_view import print_status
from copilot.core.assessment import Evaluation
from copilot.store.memory import MemoryStore
from tests.evaluations import evaluation


class Said:
    """A loop that says what the test wants."""

    def __init__(self, states: dict[str, str]) -> None:
        self.states = states

    async def evaluation(self, cluster: str) -> Evaluation | None:
        return evaluation(self.states[cluster], Instant.now(), cluster=cluster)

    async def cycle_sec(self, cluster: str) -> float | None:  # noqa: ARG002
        return None


@contextmanager
def served(settings: ApiSettings | None = None, **states: str) -> Iterator[str]:
    deps = Deps(store=MemoryStore(), live=Said(states), clusters=tuple(states), now=Instant.now)
    listening = listening_socket("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(create_app(deps, settings), log_config=None, log_level="error"))
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
    assert "1,204 tasks wait" in text
    assert "work_stalled" in text
    assert "1. Start workers for task queue orders" in text
    assert "\x1b" not in text


def test_the_apis_token_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(ApiSettings(tokens={"me": token_hash("cop_mine")}), east="happy") as url:
        without = status("--api", url)
        monkeypatch.setenv("COPILOT_TOKEN", "cop_other")
        wrong = status("--api", url)
        monkeypatch.setenv("COPILOT_TOKEN", "cop_mine")
        assert status("--api", url).exit_code == 0
    assert "wants a token, which COPILOT_TOKEN is to hold" in str(without.exception)
    assert "does not know the token in COPILOT_TOKEN" in str(wrong.exception)
