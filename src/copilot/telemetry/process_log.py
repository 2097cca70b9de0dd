"""Logs of our processes: one line per event on stderr, as text or as a JSON object, without secrets."""

import logging
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from pythonjsonlogger.core import merge_record_extra
from pythonjsonlogger.json import JsonFormatter
from whenever import Instant

from copilot.errors import CopilotError
from copilot.redaction.redactor import redacted
from copilot.settings.load import LogFormat, LogLevel

Facts = Callable[[str | None], Mapping[str, str]]
"""Fields of the place that logs, such as the ids of an activity or of a request; given the id of the workflow that
logs, None outside of one."""

TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_TEMPORAL_EXTRAS = ("temporal_workflow", "temporal_activity")
_OMITTED = (*_TEMPORAL_EXTRAS, "temporal_log", "color_message")
log = logging.getLogger(__name__)


def no_facts(_workflow_id: str | None) -> Mapping[str, str]:
    """No fields."""
    return {}


def log_to_stderr(process: str, level: LogLevel, form: LogFormat = "text", facts: Facts = no_facts) -> None:
    """Log to stderr from now on, as the process of that name. A CopilotError is logged as its one line, without a
    traceback. Only JSON lines have `facts`."""
    handler = handler_on(sys.stderr, process, form, facts)
    logging.basicConfig(level=level.upper(), handlers=[handler])
    logging.getLogger("httpx").setLevel(logging.WARNING)


def handler_on(stream: TextIO, process: str, form: LogFormat, facts: Facts = no_facts) -> logging.Handler:
    """A handler that writes a process' log to a stream."""
    handler = logging.StreamHandler(stream)
    handler.addFilter(_without_secrets)
    handler.setFormatter(JsonLine(process, facts) if form == "json" else TextLine(TEXT))
    return handler


def say(text: str, form: LogFormat) -> None:
    """Print a line on stdout for the person who started the process; log it where logs are JSON."""
    if form == "json":
        log.info(text, extra={"event": "process.status"})
    else:
        print(text, flush=True)


class TextLine(logging.Formatter):
    """A line of text; `extra={"event": …}` ends it as `event=…`. A message of several lines is written as one: a name
    with a line feed forges no other line."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line without its traceback."""
        event = getattr(record, "event", None)
        return super().formatMessage(record).replace("\n", "\\n") + (f" event={event}" if event else "")


class JsonLine(JsonFormatter):
    """A JSON object: time (UTC), level, logger, message, process, then where they apply `event` and the other extras,
    cluster, workflow_id, activity, request_id, …, and exception."""

    def __init__(self, process: str, facts: Facts = no_facts) -> None:
        super().__init__(json_ensure_ascii=False)
        self._process = process
        self._facts = facts

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        """Fill in the fields of one line."""
        extras: dict[str, Any] = merge_record_extra(record, {}, reserved=self._skip_fields)
        ids: dict[str, Any] = {}
        for name in _TEMPORAL_EXTRAS:
            ids |= extras.get(name) or {}
        log_data.update(
            time=Instant.from_timestamp(record.created).format_iso(unit="millisecond"),
            level=record.levelname.lower(),
            logger=record.name,
            message=record.message,
            process=self._process,
            **self._facts(ids.get("workflow_id")),
        )
        log_data.update(ids)
        more = {k: v for k, v in extras.items() if k not in _OMITTED and k not in log_data}
        log_data.update({k: redacted(v) if isinstance(v, str) else v for k, v in more.items()})
        if exception := message_dict.get("exc_info"):
            log_data["exception"] = exception


def _without_secrets(record: logging.LogRecord) -> bool:
    """Redact message and traceback, which takes 0.05 to 0.3 ms a line."""
    message, error = record.getMessage(), record.exc_info[1] if record.exc_info else None
    if isinstance(error, CopilotError):
        message, record.exc_info = f"{message}: {error}", None
    record.msg, record.args = redacted(message), ()
    if record.exc_info:
        record.exc_text = redacted("".join(traceback.format_exception(*record.exc_info)).rstrip("\n"))
        record.exc_info = None
    return True
