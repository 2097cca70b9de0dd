"""What a process logs: one line an event, JSON where wanted, and never a secret."""

import io
import json
import logging
from collections.abc import Mapping

import pytest

from copilot.errors import StoreError
from copilot.loops.worker import worker_facts
from copilot.settings.load import LogFormat
from copilot.telemetry.process_log import Facts, handler_on, no_facts

SECRET = "postgresql://copilot:hunter2hunter2@db.example.com/copilot"


class Log:
    """A logger like the root of a process that logs in this form."""

    def __init__(self, form: LogFormat, facts: Facts = no_facts) -> None:
        self._written = io.StringIO()
        self.logger = logging.Logger("copilot.test", logging.DEBUG)
        self.logger.addHandler(handler_on(self._written, "worker", form, facts))

    @property
    def text(self) -> str:
        return self._written.getvalue()

    @property
    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.text.splitlines()]


def failing() -> None:
    raise ValueError(f"cannot use {SECRET}")


@pytest.fixture(params=["text", "json"])
def log(request: pytest.FixtureRequest) -> Log:
    return Log(request.param)


def test_json_is_one_object_a_line_with_the_time_in_utc() -> None:
    log = Log("json")
    log.logger.info("read %d pages\nof two", 3)
    log.logger.warning("late")
    first, second = log.lines
    assert {k: v for k, v in first.items() if k != "time"} == {
        "level": "info", "logger": "copilot.test", "message": "read 3 pages\nof two", "process": "worker"
    }  # fmt: skip
    assert str(first["time"]).endswith("Z")
    assert second["level"] == "warning"


def test_an_event_is_shown_in_both_forms() -> None:
    text, as_json = Log("text"), Log("json")
    for log in (text, as_json):
        log.logger.warning(
            "the memory of another release is ignored", extra={"event": "memory.incompatible", "why": "x"}
        )
    assert text.text.endswith("copilot.test: the memory of another release is ignored event=memory.incompatible\n")
    assert (as_json.lines[0]["event"], as_json.lines[0]["why"]) == ("memory.incompatible", "x")


def test_a_name_neither_forges_a_line_nor_controls_a_terminal(log: Log) -> None:
    log.logger.warning("queue %s fails", "a\r\n2026 ERROR forged\x1b]8;;x\x07\u202e\ud800\0")
    assert log.text.count("\n") == 1
    assert all(c.isprintable() for c in log.text.removesuffix("\n"))
    assert log.text.encode()


def test_an_exception_is_a_field_of_its_line() -> None:
    log = Log("json")
    try:
        failing()
    except ValueError:
        log.logger.exception("it failed")
    (line,) = log.lines
    assert line["message"] == "it failed"
    assert "in failing" in str(line["exception"])


def test_no_secret_is_logged_in_message_exception_or_field(log: Log) -> None:
    try:
        failing()
    except ValueError:
        log.logger.exception("with %s", SECRET, extra={"asked": SECRET})
    log.logger.debug("Authorization: Bearer %s", "abcdefghijklmnop0123456789")
    assert "hunter2" not in log.text
    assert "abcdefghijklmnop" not in log.text
    assert "in failing" in log.text
    assert "‹" in log.text


def test_an_error_meant_for_people_is_its_one_line(log: Log) -> None:
    try:
        raise StoreError("the store is away")
    except StoreError:
        log.logger.exception("not stored")
    assert len(log.text.splitlines()) == 1
    assert "not stored: the store is away" in log.text
    assert "Traceback" not in log.text


@pytest.mark.parametrize(
    ("workflow_id", "cluster"),
    [("observe-east", "east"), ("observe-east-2", "east-2"), ("assess-east-2-170000-manual", "east-2"),
     ("store-east:170000", "east"), ("observe-west", None)],
)  # fmt: skip
def test_a_loop_s_line_names_loop_and_cluster(workflow_id: str, cluster: str | None) -> None:
    log = Log("json", worker_facts(("east", "east-2")))
    ids: Mapping[str, object] = {"workflow_id": workflow_id, "run_id": "r", "attempt": 1}
    log.logger.info("told", extra={"temporal_workflow": ids})
    (line,) = log.lines
    assert line["workflow_id"] == workflow_id
    assert line["run_id"] == "r"
    assert line.get("cluster") == cluster
    assert "temporal_workflow" not in line


def test_a_library_s_fields_do_not_hide_ours() -> None:
    log = Log("json")
    log.logger.info("said", extra={"level": "x", "request_id": "abc"})
    assert log.lines[0]["level"] == "info"
    assert log.lines[0]["request_id"] == "abc"
