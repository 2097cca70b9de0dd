"""`copilot replay`: judge a recording by today's rules."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from copilot.cli.options import ConfigOption


class Format(StrEnum):
    """How evaluations are printed."""

    JSONL = "jsonl"


def replay(
    recording: Annotated[Path, typer.Option(metavar="FILE", help="A recording; gzipped if its name ends in .gz.")],
    format_: Annotated[Format, typer.Option("--format", help="One JSON object a line.")] = Format.JSONL,  # noqa: ARG001
    config: ConfigOption = None,
) -> None:
    """Judge a recording tick by tick and print what would have been said, one JSON object per evaluation.

    Thresholds are the defaults, or those of the recording's cluster in the configuration if one is given.

    Example: copilot replay --recording night.jsonl.gz --format jsonl"""
    from copilot import pipeline
    from copilot.core.evaluation import Context
    from copilot.settings import load_settings
    from copilot.sources.recorded import read_recording

    header, ticks = read_recording(recording)
    context = Context(cluster=header.cluster, interval_sec=header.interval_sec, window_sec=header.window_sec)
    if config is not None:
        context = pipeline.with_rules_of(context, load_settings(config))
    for evaluation in pipeline.replay(ticks, context):
        print(json.dumps(evaluation.replay_line()))
