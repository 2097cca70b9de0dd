"""`copilot kb`: the runbooks, on this machine and in an Amazon Bedrock Knowledge Base."""

import asyncio
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TimeElapsedColumn
from rich.text import Text

from copilot.cli.options import ConfigOption, JsonOption, configuration
from copilot.cli.output import print_result, progress, prose_width, say, wrapped
from copilot.errors import SettingsError, SourceError
from copilot.rules.signals.readings import MissingCode

if TYPE_CHECKING:
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

    found = asyncio.run(knowledge(configuration(config).knowledge).retrieve(" ".join(question)))
    if found.reason:
        raise SourceError(MissingCode.TARGET_DOWN, found.reason)
    passages, width = found.passages[:limit], prose_width()
    lines: list[Text | str] = [] if passages else ["no passage matches"]
    for passage in passages:
        lines += [Text(passage.title, style="bold"), Text(f"{passage.source}  {passage.score:.2f}", style="dim")]
        lines += [part for line in passage.text.splitlines() for part in wrapped(line, width, "  ", "  ")]
        lines += [""]
    document = {"passages": [p.model_dump() for p in passages]}
    print_result(document, lines, as_json=as_json, fine=bool(passages))


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

    with progress("runbooks", BarColumn(), MofNCompleteColumn(), "{task.description}") as bars:
        task = bars.add_task("", total=None)

        def show(name: str, done: int, total: int) -> None:
            bars.update(task, completed=done, total=total, description=name)

        result = run(configuration(config).knowledge, delete=delete, dry_run=dry_run, progress=show)
    would = "would be " if dry_run else ""
    new, same, gone = len(result.uploaded), len(result.unchanged), len(result.deleted)
    lines = [
        *(f"{would}uploaded: {name}" for name in result.uploaded),
        *(f"{would}deleted: {name}" for name in result.deleted),
        *(f"no longer a runbook, still in the bucket (remove it with --delete): {name}" for name in result.stale),
        *(f"refused: {name} contains PromQL ({query})" for name, query in result.refused.items()),
        f"s3://{result.bucket}/{result.prefix}: {new} {would}uploaded, {same} unchanged, {gone} {would}deleted",
        *(["next: copilot kb start-ingestion"] if (new or gone) and not dry_run else []),
    ]
    print_result(asdict(result), lines, as_json=as_json, fine=not result.refused)


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
    job, shown = source.start(), ""
    # The states are shown in place on a terminal, else in a line each. Bedrock does not report the number of documents,
    # so there is no bar.
    with progress(SpinnerColumn(), "{task.description}", TimeElapsedColumn(), hidden=not wait) as states:
        task = states.add_task("", total=None)
        while wait:
            states.update(task, description=f"ingestion {job.id}: {job.status}; {_counts(job)}")
            if states.disable and job.status != shown:
                say(f"ingestion {job.id}: {job.status}", stderr=True)
            if not job.running:
                break
            shown = job.status
            time.sleep(every)
            job = source.job(job.id)
    print_result(job.model_dump(mode="json"), _job_lines(job), as_json=as_json, fine=job.ok)


@app.command()
def status(
    job: Annotated[str | None, typer.Option(metavar="ID", help="This ingestion job instead of the newest.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print where runbooks are searched, and the state of the knowledge base and its newest ingestion. Exit 1 when one
    of them has failed.

    Example: copilot kb status --json"""
    settings = configuration(config).knowledge
    if settings.knowledge_base_id is None and job is None:
        from copilot.sources.knowledge.local import LocalKnowledge
        from copilot.sources.knowledge.runbooks import shipped_folder

        try:
            runbooks, passages = LocalKnowledge(settings.folder).size()
        except OSError as error:
            raise SettingsError([f"the runbooks in {error.filename} cannot be read: {error.strerror}"]) from error
        folders = [str(f) for f in (shipped_folder(), settings.folder) if f is not None]
        local = {"source": "local", "folders": folders, "runbooks": runbooks, "passages": passages}
        line = f"runbooks are searched here: {runbooks} with {passages} passages, from {' and '.join(folders)}"
        print_result(local, [line], as_json=as_json)
        return
    source = _ingestion(config)
    base = source.base()
    newest = [source.job(job)] if job else [source.job(j.id) for j in source.jobs(1)]
    used = "runbooks are searched there" if settings.source == "bedrock" else 'not used: [knowledge] source is "local"'
    lines = [
        f"knowledge base {base.id} ({base.name}): {base.status}; {used}",
        *(f"  {reason}" for reason in base.reasons),
        *(_job_lines(newest[0]) if newest else [NO_JOBS]),
    ]
    document = {
        "source": settings.source,
        "knowledge_base": base.model_dump(),
        "job": newest[0].model_dump() if newest else None,
    }
    fine = base.status in ("ACTIVE", "UPDATING") and all(j.ok for j in newest)
    print_result(document, lines, as_json=as_json, fine=fine)


@app.command()
def list_jobs(
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="Maximum number of jobs.")] = 10,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the newest ingestion jobs.

    Example: copilot kb list-jobs --limit 3"""
    jobs = _ingestion(config).jobs(limit)
    lines = [f"{job.id:<12}{job.started_at:<29}{job.status:<13}{_counts(job)}" for job in jobs]
    print_result([job.model_dump() for job in jobs], lines or [NO_JOBS], as_json=as_json)


def _job_lines(job: "IngestionJob") -> list[str]:
    line = f"ingestion {job.id}, started {job.started_at}: {job.status}; {_counts(job)}"
    return [line, *(f"  {reason}" for reason in job.reasons)]


def _counts(job: "IngestionJob") -> str:
    changes = f"{job.added} new, {job.changed} changed, {job.removed} removed, {job.failed} failed"
    return f"{job.scanned} documents read: {changes}"


def _ingestion(config: Path | None) -> "Ingestion":
    from copilot.sources.knowledge.ingestion import Ingestion

    return Ingestion(configuration(config).knowledge)
