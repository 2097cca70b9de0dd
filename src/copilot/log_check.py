"""`copilot doctor` on logs: can they be read, are they a Temporal server's, and what do they say."""

import asyncio
from dataclasses import dataclass

from whenever import Instant

from copilot import bootstrap
from copilot.core.diagnosis import Check, CheckStatus
from copilot.core.errors import SettingsError
from copilot.core.log_counting import LogMemory, counted
from copilot.core.log_lines import NO_LEVEL
from copilot.core.log_patterns import PatternBook
from copilot.core.logs import LogsSeen
from copilot.core.redaction import redacted
from copilot.core.signals import MissingCode
from copilot.settings import ClusterSettings

DEADLINE_SEC = 10.0
_FIXES = {
    MissingCode.TARGET_DOWN: "does the Loki run, and listen there? Without logs the Copilot judges by metrics alone",
    MissingCode.FORBIDDEN: "let this account read them; for a Loki give tenant and credentials",
    MissingCode.ABSENT: "check the path, or the url (what stands before /loki/api/v1/query_range)",
    MissingCode.PARSE: "check the url and the query, which selects lines and computes nothing",
    MissingCode.TIMEOUT: "is the network open from here? Select fewer lines",
    MissingCode.DROPPED: "select fewer lines, or raise the Loki's limits",
}


@dataclass(frozen=True)
class LogsChecked:
    """What was found; `seen` is None where no logs are configured."""

    checks: tuple[Check, ...] = ()
    seen: LogsSeen | None = None


async def check_logs(cluster: ClusterSettings, quick: bool) -> LogsChecked:
    """Read a cluster's logs for one rate window (`quick`: two seconds)."""
    if cluster.logs is None:
        return LogsChecked()
    where = f"logs of {cluster.logs.loki.url}" if cluster.logs.loki else f"logs {cluster.logs.files[0]}"
    try:
        source = bootstrap.log_source(cluster.logs)
    except SettingsError as error:
        return LogsChecked((Check(name=where, status=CheckStatus.WARNING, found=str(error)),))
    try:
        began = Instant.now()
        first = await source.read(None, began, DEADLINE_SEC)
        await asyncio.sleep(2.0 if quick else cluster.window)
        now = Instant.now()
        batch = await source.read(first.cursor, now, DEADLINE_SEC)
    finally:
        await source.aclose()
    if batch.missing is not None:
        fix = _FIXES.get(batch.missing.code, "")
        seen = LogsSeen(time=now, missing=batch.missing)
        return LogsChecked((Check(name=where, status=CheckStatus.WARNING, found=batch.missing.detail, fix=fix),), seen)
    span = batch.span_sec or 1.0
    _, seen = counted(
        LogMemory(),
        batch.lines,
        now,
        span_sec=span,
        window_sec=cluster.window,
        book=PatternBook([p.pattern() for p in cluster.logs.patterns]),
        redact=redacted,
    )
    levelled = sum(line.level != NO_LEVEL for line in batch.lines)
    found = f"{len(batch.lines)} lines in {span:.0f} s" + (f", {levelled} with a level" if batch.lines else "")
    if batch.lines and not levelled:
        fix = "is it a Temporal server's log? Its lines are JSON or text with a level"
        return LogsChecked((Check(name=where, status=CheckStatus.WARNING, found=found, fix=fix),), seen)
    said = f"; most of all {seen.patterns[0].pattern}" if seen.patterns else ""
    return LogsChecked((Check(name=where, status=CheckStatus.OK, found=found + said),), seen)
