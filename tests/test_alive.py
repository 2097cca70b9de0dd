"""What a container's health check learns of the worker and of the API."""

import asyncio
import os
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import trustme
from typer.testing import CliRunner

from copilot.cli.main import app
from copilot.embedded.ports import free_ports
from copilot.errors import StartError
from copilot.healthcheck import STALE_AFTER_SEC, api_silent, touched, worker_silent
from copilot.settings.api import ApiSettings


async def test_a_running_worker_touches_its_file_again_and_again_and_takes_it_away(tmp_path: Path) -> None:
    file = tmp_path / "alive"
    async with touched(file, every_sec=0.01):
        assert worker_silent(file) is None
        os.utime(file, (0, 0))
        async with asyncio.timeout(10):
            while worker_silent(file) is not None:  # noqa: ASYNC110  (nobody tells of a touch)
                await asyncio.sleep(0.01)
    assert "does not exist" in str(worker_silent(file))


def test_a_worker_whose_loop_hangs_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "alive"
    file.touch()
    before = file.stat().st_mtime - STALE_AFTER_SEC - 5
    os.utime(file, (before, before))
    assert "has not touched" in str(worker_silent(file))


async def test_a_worker_that_evaluates_nothing_touches_nothing(tmp_path: Path) -> None:
    file, asked = tmp_path / "alive", asyncio.Event()

    def well() -> bool:
        asked.set()
        return False

    async with touched(file, every_sec=0.01, well=well), asyncio.timeout(10):
        os.utime(file, (0, 0))
        await asked.wait()
        assert "it hangs, or evaluates no cluster" in str(worker_silent(file))


async def test_a_file_that_cannot_be_written_is_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"worker.alive_file .* cannot be written \(No such file or directory\)"):
        async with touched(tmp_path / "none" / "alive"):
            pass


async def test_without_a_file_nothing_is_touched() -> None:
    async with touched(None):
        pass


@pytest.mark.parametrize(
    ("host", "here"), [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("::1", "[::1]"), ("box.example", "box.example")]
)
def test_the_address_at_which_an_api_answers_here(host: str, here: str) -> None:
    assert ApiSettings(host=host).host_here == here


def test_an_api_that_does_not_answer_is_an_error() -> None:
    port = free_ports(1)[0]
    assert f"the API at 127.0.0.1:{port} does not answer" in str(api_silent(f"127.0.0.1:{port}"))


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize(("status", "alive"), [(200, True), (503, False)])
def test_an_api_that_answers_is_alive_over_http_and_https(tls: bool, status: int, alive: bool) -> None:
    class Healthz(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return None

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """The other scheme's greeting."""

    with Server(("127.0.0.1", 0), Healthz) as server:
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            trustme.CA().issue_cert("copilot.example.org").configure_cert(context)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        assert (api_silent(f"127.0.0.1:{server.server_port}") is None) == alive
        server.shutdown()
        thread.join()


def test_the_command_answers_by_its_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = CliRunner().invoke(app, ["alive", "worker"])
    assert "alive_file is not set" in str(asked.exception)
    monkeypatch.setenv("COPILOT_WORKER__ALIVE_FILE", "alive")
    assert CliRunner().invoke(app, ["alive", "worker"]).exit_code == 1
    (tmp_path / "alive").touch()
    assert CliRunner().invoke(app, ["alive", "worker"]).output == "the worker is alive\n"
