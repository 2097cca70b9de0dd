"""`copilot kb`: the runbooks, on this machine and in an Amazon Bedrock Knowledge Base."""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from copilot.cli.options import ConfigOption, JsonOption
from copilot.cli.output import plain_console, print_lines, width_of, wrapped

if TYPE_CHECKING:
    from pathlib import Path

    from copilot.settings.models import KnowledgeSettings
    from copilot.sources.knowledge.ingestion import Ingestion, IngestionJob

NO_JOBS = "no ingestion yet: run `copilot kb sync`, then `copilot kb start-ingestion`"

app = typer.Typer(help="The runbooks, here and in an Amazon Bedrock Knowledge Base.", no_args_is_help=True)


@app.command()
def search(
    question: Annotated[list[str], typer.Argument(help="Words to search for.")],
    limit: Annotated[int, typer.Option("--limit", min=1, max=5, help="Maximum number of passages.")] = 5,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search the runbooks and print the best passages with their source. Needs no AWS unless the configuration names a
    knowledge base. Exit 1 when nothing matches.

    Example: copilot kb search workers crashed, backlog growing"""
    from copilot.bootstrap import knowledge
    from copilot.errors import SourceError
    from copilot.rules.signals.readings import MissingCode

    found = asyncio.run(knowledge(_settings(config)).retrieve(" ".join(question)))
    if found.reason:
        raise SourceError(MissingCode.TARGET_DOWN, found.reason)
    passages = found.passages[:limit]
    out = plain_console()
    if as_json:
        typer.echo(json.dumps({"passages": [p.model_dump() for p in passages]}))
    elif not passages:
        typer.echo("no passage matches")
    else:
        for passage in passages:
            out.print(passage.title, style="bold", soft_wrap=True)
            out.print(f"{passage.source}  {passage.score:.2f}", style="dim", soft_wrap=True)
            for line in passage.text.splitlines():
                print_lines(out, wrapped(line, width_of(out), "  ", "  "))
            out.print()
    if not passages:
        raise typer.Exit(1)


@app.command()
def sync(
    delete: Annotated[bool, typer.Option("--delete", help="Also delete files that are no longer runbooks.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Upload changed runbooks to the knowledge base's S3 bucket; start an ingestion afterwards. Files with PromQL are
    refused by name, and the exit code is 1.

    Example: copilot kb sync --delete --config copilot.toml"""
    from copilot.sources.knowledge.ingestion import sync as run

    with _files_progress() as progress:
        result = run(_settings(config), delete=delete, dry_run=dry_run, progress=progress)
    if as_json:
        typer.echo(json.dumps(asdict(result)))
    else:
        would = "would be " if dry_run else ""
        for names, what in ((result.uploaded, "uploaded"), (result.deleted, "deleted")):
            for name in names:
                typer.echo(f"{would}{what}: {name}")
        for name in result.stale:
            typer.echo(f"no longer a runbook, still in the bucket (remove it with --delete): {name}")
        for name, query in result.refused.items():
            typer.echo(f"refused: {name} contains PromQL ({query})")
        new, same, gone = len(result.uploaded), len(result.unchanged), len(result.deleted)
        place = f"s3://{result.bucket}/{result.prefix}"
        typer.echo(f"{place}: {new} {would}uploaded, {same} unchanged, {gone} {would}deleted")
        if (result.uploaded or result.deleted) and not dry_run:
            typer.echo("next: copilot kb start-ingestion")
    if result.refused:
        raise typer.Exit(1)


@app.command()
def start_ingestion(
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end; exit 1 if the ingestion fails.")] = False,
    every: Annotated[
        float, typer.Option(min=0.01, max=600, metavar="SEC", help="With --wait: time between two polls.")
    ] = 5.0,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let Bedrock read the files in the bucket.

    Example: copilot kb start-ingestion --wait"""
    source = _ingestion(config)
    job = source.start()
    if wait:
        with _job_progress() as progress:
            progress(job)
            while job.running:
                time.sleep(every)
                job = source.job(job.id)
                progress(job)
    if as_json:
        typer.echo(job.model_dump_json())
    else:
        _print_job(job)
    if not job.ok:
        raise typer.Exit(1)


@app.command()
def status(
    job: Annotated[str | None, typer.Option(metavar="ID", help="This ingestion job instead of the newest.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print where runbooks are searched, and the state of the knowledge base and its newest ingestion. Exit 1 when one
    of them has failed.

    Example: copilot kb status --json"""
    settings = _settings(config)
    if settings.knowledge_base_id is None and job is None:
        _local_status(settings, as_json)
        return
    source = _ingestion(config)
    base = source.base()
    newest = [source.job(job)] if job else [source.job(j.id) for j in source.jobs(1)]
    if as_json:
        jobs = [j.model_dump() for j in newest]
        about = {"source": settings.source, "knowledge_base": base.model_dump(), "job": next(iter(jobs), None)}
        typer.echo(json.dumps(about))
    else:
        used = (
            "runbooks are searched there" if settings.source == "bedrock" else 'not used: [knowledge] source is "local"'
        )
        typer.echo(f"knowledge base {base.id} ({base.name}): {base.status}; {used}")
        for reason in base.reasons:
            typer.echo(f"  {reason}")
        for found in newest:
            _print_job(found)
        if not newest:
            typer.echo(NO_JOBS)
    if base.status not in ("ACTIVE", "UPDATING") or not all(j.ok for j in newest):
        raise typer.Exit(1)


@app.command()
def list_jobs(
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="Maximum number of jobs.")] = 10,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the newest ingestion jobs.

    Example: copilot kb list-jobs --limit 3"""
    jobs = _ingestion(config).jobs(limit)
    if as_json:
        typer.echo(json.dumps([j.model_dump() for j in jobs]))
    elif not jobs:
        typer.echo(NO_JOBS)
    for job in () if as_json else jobs:
        typer.echo(f"{job.id:<12}{job.started_at:<29}{job.status:<13}{_counts(job)}")


def _local_status(settings: "KnowledgeSettings", as_json: bool) -> None:
    from copilot.errors import SettingsError
    from copilot.sources.knowledge.local import LocalKnowledge
    from copilot.sources.knowledge.runbooks import shipped_folder

    try:
        runbooks, passages = LocalKnowledge(settings.folder).size()
    except OSError as error:
        raise SettingsError([f"the runbooks in {error.filename} cannot be read: {error.strerror}"]) from error
    folders = [str(f) for f in (shipped_folder(), settings.folder) if f is not None]
    if as_json:
        typer.echo(json.dumps({"source": "local", "folders": folders, "runbooks": runbooks, "passages": passages}))
    else:
        typer.echo(f"runbooks are searched here: {runbooks} with {passages} passages, from {' and '.join(folders)}")


def _print_job(job: "IngestionJob") -> None:
    typer.echo(f"ingestion {job.id}, started {job.started_at}: {job.status}; {_counts(job)}")
    for reason in job.reasons:
        typer.echo(f"  {reason}")


def _counts(job: "IngestionJob") -> str:
    changes = f"{job.added} new, {job.changed} changed, {job.removed} removed, {job.failed} failed"
    return f"{job.scanned} documents read: {changes}"


@contextmanager
def _files_progress() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar of the files on a terminal's stderr."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("runbooks"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    console, disable = plain_console(stderr=True), not sys.stderr.isatty()
    with Progress(*columns, console=console, transient=True, disable=disable) as bars:
        task = bars.add_task("", total=None)
        yield lambda name, done, total: bars.update(task, completed=done, total=total, description=name)


@contextmanager
def _job_progress() -> Iterator[Callable[["IngestionJob"], None]]:
    """The state of an ingestion on stderr: in place on a terminal, else a line per new state. Bedrock does not report
    the number of documents, so there is no bar."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    if not sys.stderr.isatty():
        printed = set[str]()

        def show(job: "IngestionJob") -> None:
            if job.status not in printed:
                printed.add(job.status)
                typer.echo(f"ingestion {job.id}: {job.status}", err=True)

        yield show
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=plain_console(stderr=True), transient=True) as bars:
        task = bars.add_task("ingestion", total=None)
        yield lambda job: bars.update(task, description=f"ingestion {job.id}: {job.status}; {_counts(job)}")


def _settings(config: "Path | None") -> "KnowledgeSettings":
    from copilot.settings.load import load_settings

    return load_settings(config).knowledge


def _ingestion(config: "Path | None") -> "Ingestion":
    from copilot.sources.knowledge.ingestion import Ingestion

    return Ingestion(_settings(config))
