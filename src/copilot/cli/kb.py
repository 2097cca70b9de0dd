"""`copilot kb`: the runbooks, here and in an Amazon Bedrock Knowledge Base."""

import asyncio
import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from copilot.cli import kb_view as view
from copilot.cli.options import ConfigOption, JsonOption

if TYPE_CHECKING:
    from copilot.kb.ingestion import Ingestion
    from copilot.knowledge_settings import KnowledgeSettings

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
    from copilot.core.errors import SourceError
    from copilot.core.signals import MissingCode

    found = asyncio.run(knowledge(_settings(config)).retrieve(" ".join(question)))
    if found.reason:
        raise SourceError(MissingCode.TARGET_DOWN, found.reason)
    passages = found.passages[:most]
    if as_json:
        typer.echo(json.dumps({"passages": [p.model_dump() for p in passages]}))
    else:
        view.show_passages(passages)
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
    from copilot.kb.sync import sync as run

    with view.files_shown() as shown:
        result = run(_settings(config), delete=delete, dry_run=dry_run, done=shown)
    if as_json:
        typer.echo(json.dumps(asdict(result)))
    else:
        view.show_sync(result)
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
        with view.job_shown() as shown:
            shown(job)
            while job.running:
                time.sleep(every)
                job = source.job(job.id)
                shown(job)
    if as_json:
        typer.echo(job.model_dump_json())
    else:
        view.show_job(job)
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
        view.show_base(settings.source, base)
        for found in newest:
            view.show_job(found)
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
        view.show_jobs(jobs)
    else:
        typer.echo("no ingestion yet: run `copilot kb sync`, then `copilot kb start-ingestion`")


def _local_status(settings: "KnowledgeSettings", as_json: bool) -> None:
    from copilot.core.errors import SettingsError
    from copilot.sources.runbooks import LocalKnowledge, shipped_folder

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
    from copilot.settings import load_settings

    return load_settings(config).knowledge


def _ingestion(config: ConfigOption) -> "Ingestion":
    from copilot.kb.ingestion import Ingestion

    return Ingestion(_settings(config))
