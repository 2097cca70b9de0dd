"""The `copilot` command: all commands, and how errors end."""

import contextlib
import os
import sys
from typing import NoReturn

import typer

from copilot import __version__
from copilot.cli import (
    changes,
    db,
    demo,
    doctor,
    grafana,
    incident,
    inspection,
    kb,
    lab,
    logs,
    mcp,
    mutes,
    notify,
    processes,
    read,
    replay,
    signals,
    status,
    targets,
    token,
)
from copilot.errors import CopilotError

app = typer.Typer(
    help="Watches Temporal clusters: is each making progress, and if not, why, and what to do first.",
    epilog="Start with: copilot demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (demo.demo, demo.fault, processes.up, processes.worker, processes.api, processes.start, processes.alive,
                status.status, targets.targets, mcp.mcp, doctor.doctor, replay.replay, signals.signals,
                inspection.executions, inspection.workers, grafana.grafana, mutes.ack):  # fmt: skip
    app.command()(command)
app.command(cls=read.ReadCommand)(read.read)
for name, group in (("db", db.app), ("lab", lab.lab_app()), ("kb", kb.app), ("logs", logs.app), ("token", token.app),
                    ("notify", notify.app), ("incident", incident.app), ("change", changes.app),
                    ("silence", mutes.app), ("maintenance", mutes.planned)):  # fmt: skip
    app.add_typer(group, name=name)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"copilot {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
) -> None:
    pass


def run() -> None:
    """The entry point. Exit 0: fine; 1: bad news; 2: the command could not run, and one line on stderr says why."""
    try:
        app(prog_name="copilot")
    except CopilotError as error:
        print(f"copilot: {error}", file=sys.stderr)
        _exit(2)
    except SystemExit as end:
        _exit(end.code)


def _exit(code: str | int | None) -> NoReturn:
    """End the process. Threads of Temporal's SDK call into Python while it shuts down, which at times aborts the
    process: where the SDK is loaded, exit without that shutdown."""
    if "temporalio.bridge" in sys.modules and not isinstance(code, str):
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code or 0)
    sys.exit(code)
