"""What our processes log, and how: one line an event on stderr, as text or as a JSON object, never with a secret."""

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
"""What holds where a line is logged: an activity's ids, a request's id. It is told the id of the workflow that logs,
if one does."""

TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_OF_TEMPORAL = ("temporal_workflow", "temporal_activity")
_NOT_SAID = (*_OF_TEMPORAL, "temporal_log", "color_message")
log = logging.getLogger(__name__)


def nothing_more(_workflow_id: str | None) -> Mapping[str, str]:
    """For processes whose lines need no ids."""
    return {}


def log_to_stderr(process: str, level: LogLevel, form: LogFormat = "text", facts: Facts = nothing_more) -> None:
    """Log from now on, as the process of that name. Errors meant for people are logged as their one line, without a
    traceback. Only JSON has `facts`."""
    handler = handler_on(sys.stderr, process, form, facts)
    logging.basicConfig(level=level.upper(), handlers=[handler])
    logging.getLogger("httpx").setLevel(logging.WARNING)


def handler_on(stream: TextIO, process: str, form: LogFormat, facts: Facts = nothing_more) -> logging.Handler:
    """What writes a process' log to a stream."""
    handler = logging.StreamHandler(stream)
    handler.addFilter(_in_one_line)
    handler.addFilter(_without_secrets)
    handler.setFormatter(OneObjectALine(process, facts) if form == "json" else logging.Formatter(TEXT))
    return handler


def say(text: str, form: LogFormat) -> None:
    """Tell whoever started the process: a line on stdout, or where logs are JSON one of them."""
    if form == "json":
        log.info(text)
    else:
        print(text, flush=True)


class OneObjectALine(JsonFormatter):
    """time (UTC), level, logger, message, process; then what holds: cluster, workflow_id, activity, request_id, …, and
    exception."""

    def __init__(self, process: str, facts: Facts = nothing_more) -> None:
        super().__init__(json_ensure_ascii=False)
        self._process = process
        self._facts = facts

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        """The fields of one line."""
        extras: dict[str, Any] = merge_record_extra(record, {}, reserved=self._skip_fields)
        ids: dict[str, Any] = {}
        for name in _OF_TEMPORAL:
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
        log_data.update({k: _clean(v) for k, v in extras.items() if k not in _NOT_SAID and k not in log_data})
        if exception := message_dict.get("exc_info"):
            log_data["exception"] = exception


def _clean(value: object) -> object:
    return redacted(value) if isinstance(value, str) else value


def _in_one_line(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, CopilotError):
        record.msg, record.args, record.exc_info = f"{record.getMessage()}: {error}", (), None
    return True


def _without_secrets(record: logging.LogRecord) -> bool:
    """Costs 0.05 to 0.3 ms a line."""
    record.msg, record.args = redacted(record.getMessage()), ()
    if record.exc_info:
        record.exc_text = redacted("".join(traceback.format_exception(*record.exc_info)).rstrip("\n"))
        record.exc_info = None
    return True
