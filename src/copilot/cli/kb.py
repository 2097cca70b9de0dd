"""How `copilot kb` shows what it found and did. Progress goes to stderr, so that what is printed can be piped."""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from copilot.cli.options import ConfigOption, JsonOption
from copilot.cli.output import plain_console, print_lines, width_of, wrapped

if TYPE_CHECKING:
    from copilot.explain.model.knowledge import Passage
    from copilot.sources.knowledge.ingestion import Base, Job
    from copilot.sources.knowledge.sync import Sync


def show_passages(passages: Sequence["Passage"]) -> None:
    """Each passage under its title, with its place and score."""
    console = plain_console()
    for passage in passages:
        console.print(passage.title, style="bold", soft_wrap=True)
        console.print(f"{passage.source}  {passage.score:.2f}", style="dim", soft_wrap=True)
        for line in passage.text.splitlines():
            print_lines(console, wrapped(line, width_of(console), "  ", "  "))
        console.print()
    if not passages:
        console.print("nothing fits", soft_wrap=True)


def show_sync(result: "Sync") -> None:
    """What was done, name by name where something changed."""
    console = plain_console()
    would = "would be " if result.dry_run else ""
    for names, what in ((result.uploaded, "uploaded"), (result.deleted, "deleted")):
        for name in names:
            console.print(f"{would}{what}: {name}", soft_wrap=True)
    for name in result.stale:
        console.print(f"no longer a runbook, and still there (--delete removes it): {name}", soft_wrap=True)
    for name, query in result.refused.items():
        console.print(f"refused: {name} holds PromQL ({query})", soft_wrap=True)
    place = f"s3://{result.bucket}/{result.prefix}"
    new, same, gone = len(result.uploaded), len(result.unchanged), len(result.deleted)
    console.print(f"{place}: {new} {would}uploaded, {same} unchanged, {gone} {would}deleted", soft_wrap=True)
    if (result.uploaded or result.deleted) and not result.dry_run:
        console.print("next: copilot kb start-ingestion", soft_wrap=True)


def show_base(source: str, base: "Base") -> None:
    """The knowledge base in a line, and why it is not well."""
    console = plain_console()
    used = "runbooks are looked up there" if source == "bedrock" else 'not looked up: [knowledge] source is "local"'
    console.print(f"knowledge base {base.id} ({base.name}): {base.status}; {used}", soft_wrap=True)
    for reason in base.reasons:
        console.print(f"  {reason}", soft_wrap=True)


def show_job(job: "Job") -> None:
    """A job in a line, and why it failed."""
    console = plain_console()
    console.print(f"ingestion {job.id}, started {job.started_at}: {job.status}; {_counts(job)}", soft_wrap=True)
    for reason in job.reasons:
        console.print(f"  {reason}", soft_wrap=True)


def show_jobs(jobs: Sequence["Job"]) -> None:
    """A line a job."""
    console = plain_console()
    for job in jobs:
        console.print(f"{job.id:<12}{job.started_at:<29}{job.status:<13}{_counts(job)}", soft_wrap=True)


def _counts(job: "Job") -> str:
    changes = f"{job.added} new, {job.changed} changed, {job.removed} removed, {job.failed} failed"
    return f"{job.scanned} documents read: {changes}"


@contextmanager
def files_shown() -> Iterator[Callable[[str, int, int], None]]:
    """A bar over the files on a terminal, else nothing."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    columns = (TextColumn("runbooks"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True, highlight=False), transient=True) as bars:
        task = bars.add_task("", total=None)
        yield lambda name, done, total: bars.update(task, completed=done, total=total, description=name)


@contextmanager
def job_shown() -> Iterator[Callable[["Job"], None]]:
    """How far an ingestion is: on a terminal in place, else a line for each new state. Bedrock does not say how many
    documents there will be, so there is no bar to fill."""
    console, said = Console(stderr=True, highlight=False), set[str]()
    if not sys.stderr.isatty():

        def say(job: "Job") -> None:
            if job.status not in said:
                said.add(job.status)
                console.print(f"ingestion {job.id}: {job.status}", soft_wrap=True)

        yield say
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task("ingestion", total=None)
        yield lambda job: bars.update(task, description=f"ingestion {job.id}: {job.status}; {_counts(job)}")


if TYPE_CHECKING:
    from copilot.settings.models import KnowledgeSettings
    from copilot.sources.knowledge.ingestion import Ingestion

app = typer.Typer(help="The runbooks, here and in an Amazon Bedrock Knowledge Base.", no_args_is_help=True)


@app.command()
def search(
    question: Annotated[list[str], typer.Argument(help="What to look for, in your own words.")],
    most: Annotated[int, typer.Option("--limit", min=1, max=5, help="How many passages at most.")] = 5,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look the runbooks up: the passages that fit best, with where they are from. Needs no AWS unless the configuration
    names a knowledge base. Exit 1 when nothing fits.

    Example: copilot kb search workers crashed, tasks pile up"""
    from copilot.bootstrap import knowledge
    from copilot.errors import SourceError
    from copilot.rules.signals.readings import MissingCode

    found = asyncio.run(knowledge(_settings(config)).retrieve(" ".join(question)))
    if found.reason:
        raise SourceError(MissingCode.TARGET_DOWN, found.reason)
    passages = found.passages[:most]
    if as_json:
        typer.echo(json.dumps({"passages": [p.model_dump() for p in passages]}))
    else:
        show_passages(passages)
    if not passages:
        raise typer.Exit(1)


@app.command()
def sync(
    delete: Annotated[bool, typer.Option("--delete", help="Also remove what is no longer among the runbooks.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Upload the runbooks that changed to the S3 bucket of the knowledge base. Files with PromQL are refused by
    name, and then the exit code is 1. Start an ingestion afterwards.

    Example: copilot kb sync --delete --config copilot.toml"""
    from copilot.sources.knowledge.sync import sync as run

    with files_shown() as shown:
        result = run(_settings(config), delete=delete, dry_run=dry_run, done=shown)
    if as_json:
        typer.echo(json.dumps(asdict(result)))
    else:
        show_sync(result)
    if result.refused:
        raise typer.Exit(1)


@app.command()
def start_ingestion(
    wait: Annotated[bool, typer.Option("--wait", help="Stay until it ends; exit 1 if it does not end well.")] = False,
    every: Annotated[
        float, typer.Option(min=0.01, max=600, metavar="SEC", help="With --wait: time between looks.")
    ] = 5.0,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have Bedrock read what lies in the bucket.

    Example: copilot kb start-ingestion --wait"""
    source = _ingestion(config)
    job = source.start()
    if wait:
        with job_shown() as shown:
            shown(job)
            while job.running:
                time.sleep(every)
                job = source.job(job.id)
                shown(job)
    if as_json:
        typer.echo(job.model_dump_json())
    else:
        show_job(job)
    if not job.well:
        raise typer.Exit(1)


@app.command()
def status(
    job: Annotated[str | None, typer.Option(metavar="ID", help="This ingestion job instead of the newest.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say where runbooks are looked up, and how the knowledge base and its newest ingestion are. Exit 1 when one of
    them is not well.

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
        typer.echo(
            json.dumps({"source": settings.source, "knowledge_base": base.model_dump(), "job": next(iter(jobs), None)})
        )
    else:
        show_base(settings.source, base)
        for found in newest:
            show_job(found)
        if not newest:
            typer.echo("no ingestion yet: run `copilot kb sync`, then `copilot kb start-ingestion`")
    if base.status not in ("ACTIVE", "UPDATING") or not all(j.well for j in newest):
        raise typer.Exit(1)


@app.command()
def list_jobs(
    most: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many at most.")] = 10,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the newest ingestion jobs.

    Example: copilot kb list-jobs --limit 3"""
    jobs = _ingestion(config).jobs(most)
    if as_json:
        typer.echo(json.dumps([j.model_dump() for j in jobs]))
    elif jobs:
        show_jobs(jobs)
    else:
        typer.echo("no ingestion yet: run `copilot kb sync`, then `copilot kb start-ingestion`")


def _local_status(settings: "KnowledgeSettings", as_json: bool) -> None:
    from copilot.errors import SettingsError
    from copilot.sources.knowledge.local import LocalKnowledge, shipped_folder

    try:
        runbooks, passages = LocalKnowledge(settings.folder).size()
    except OSError as error:
        raise SettingsError([f"the runbooks in {error.filename} cannot be read: {error.strerror}"]) from error
    folders = [str(f) for f in (shipped_folder(), settings.folder) if f is not None]
    if as_json:
        typer.echo(json.dumps({"source": "local", "folders": folders, "runbooks": runbooks, "passages": passages}))
    else:
        typer.echo(f"runbooks are looked up here: {runbooks} with {passages} passages, from {' and '.join(folders)}")


def _settings(config: ConfigOption) -> "KnowledgeSettings":
    from copilot.settings.load import load_settings

    return load_settings(config).knowledge


def _ingestion(config: ConfigOption) -> "Ingestion":
    from copilot.sources.knowledge.ingestion import Ingestion

    return Ingestion(_settings(config))
