"""How `copilot kb` shows what it found and did. Progress goes to stderr, so that what is printed can be piped."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from copilot.cli.lines import plain_console, print_lines, width_of, wrapped

if TYPE_CHECKING:
    from copilot.core.knowledge import Passage
    from copilot.kb.ingestion import Base, Job
    from copilot.kb.sync import Sync


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
