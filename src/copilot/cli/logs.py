"""What our processes log, and how: one line an event on stderr."""

import logging
from typing import Literal

from copilot.core.errors import CopilotError

Level = Literal["debug", "info", "warning", "error"]


def log_to_stderr(level: Level) -> None:
    """Log from now on. Errors meant for people are logged as their one line, without a traceback."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(_in_one_line)
    logging.basicConfig(level=level.upper(), handlers=[handler])
    logging.getLogger("httpx").setLevel(logging.WARNING)


def _in_one_line(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, CopilotError):
        record.msg, record.args, record.exc_info = f"{record.getMessage()}: {error}", (), None
    return True
