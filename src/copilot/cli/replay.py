"""`copilot replay`: evaluate a recording, or the past of a Prometheus, with today's rules."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic_core import to_json
from whenever import Instant

from copilot.cli.options import ConfigOption, configuration, duration, moment
from copilot.cli.output import progress, say
from copilot.errors import SettingsError

DEFAULT_STEP = "30s"


def replay(
    recording: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A recording; gzipped if its name ends in .gz.")
    ] = None,
    prometheus: Annotated[
        str | None, typer.Option(metavar="URL", help="A Prometheus: its address before /api/v1/query.")
    ] = None,
    start: Annotated[
        str | None, typer.Option(metavar="TIME", help="2026-11-22T12:00:00Z, a date, epoch seconds, or -6h.")
    ] = None,
    end: Annotated[str | None, typer.Option(metavar="TIME", help="The same, or now.")] = None,
    step: Annotated[
        str | None, typer.Option(metavar="TIME", help=f"Time between two evaluations. Default: {DEFAULT_STEP}.")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The configured cluster whose credentials and thresholds are used."),
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Add the explanation that the page shows.")] = False,
    format_: Annotated[Literal["jsonl"], typer.Option("--format", help="One JSON object a line.")] = "jsonl",  # noqa: ARG001
    config: ConfigOption = None,
) -> None:
    """Evaluate the past tick by tick, of a recording or of any range a Prometheus still has. Prints one JSON object per
    evaluation.

    A recording is evaluated with the default thresholds, or those of its cluster in --config. A Prometheus is queried
    with the credentials, selector and thresholds of --cluster, or of the configured cluster with its address.

    Example: copilot replay --recording night.jsonl.gz --explain

    Example: copilot replay --prometheus http://127.0.0.1:9090 --start 2026-11-21 --end 2026-11-22 --format jsonl

    Example: copilot replay --prometheus https://prometheus.example --cluster production --start -6h --end now"""
    if (recording is None) == (prometheus is None):
        raise SettingsError(["give either --recording FILE or --prometheus URL with --start and --end"])
    if recording is not None:
        if start or end or step or cluster:
            raise SettingsError(["--start, --end, --step and --cluster go with --prometheus: a recording has its own"])
        _replay_recording(recording, config, explain=explain)
    elif prometheus is not None:
        if start is None or end is None:
            raise SettingsError(["--prometheus needs --start and --end, for example --start -6h --end now"])
        from copilot.replay import cluster_at, evaluation_times, replay_prometheus

        now, step_sec = Instant.now(), duration("--step", step or DEFAULT_STEP)
        chosen = cluster_at(configuration(config), prometheus, cluster, step_sec)
        times = evaluation_times(moment("--start", start, now), moment("--end", end, now), step_sec, now)

        def note(sentence: str) -> None:
            say(f"copilot: note: {sentence}", stderr=True)

        async def run() -> None:
            with progress(hidden=sys.stdout.isatty()) as bar:
                task = bar.add_task("replaying", total=len(times))
                async for line in replay_prometheus(chosen, times, note, explain=explain):
                    print(to_json(line, ensure_ascii=True).decode())
                    bar.advance(task)

        asyncio.run(run())


def _replay_recording(recording: Path, config: Path | None, *, explain: bool) -> None:
    from copilot import pipeline
    from copilot.replay import replay_recording
    from copilot.rules.evaluate import Context
    from copilot.sources.recorded import read_recording

    header, ticks = read_recording(recording)
    context = Context(cluster=header.cluster, interval_sec=header.interval_sec, window_sec=header.window_sec)
    if config is not None:
        context = pipeline.with_rules_of(context, configuration(config))
    for line in replay_recording(ticks, context, explain=explain):
        print(to_json(line, ensure_ascii=True).decode())
