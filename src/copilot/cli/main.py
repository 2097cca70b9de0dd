"""The `copilot` command: all commands, and how errors end."""

import contextlib
import os
import sys
from typing import NoReturn

import typer

from copilot import __version__
from copilot.cli import (
    alive,
    db,
    demo,
    doctor,
    fault,
    grafana,
    kb,
    lab,
    logs,
    notify,
    processes,
    read,
    replay,
    signals,
    status,
    token,
    up,
)
from copilot.errors import CopilotError

app = typer.Typer(
    help="Tells you whether a Temporal cluster is making forward progress on the work it has, and why not.",
    epilog="Begin with: copilot demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (demo.demo, fault.fault, up.up, processes.worker, processes.api, processes.start, alive.alive,
                status.status, doctor.doctor, replay.replay, signals.signals,
                grafana.grafana):  # fmt: skip
    app.command()(command)
app.command(cls=read.ReadCommand)(read.read)
app.add_typer(db.app, name="db")
app.add_typer(lab.lab_app(), name="lab")
app.add_typer(kb.app, name="kb")
app.add_typer(logs.app, name="logs")
app.add_typer(token.app, name="token")
app.add_typer(notify.app, name="notify")


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
    """The entry point. Exit 0: fine; 1: the answer is bad news; 2: it could not run, one line on stderr says why."""
    try:
        app(prog_name="copilot")
    except CopilotError as error:
        print(f"copilot: {error}", file=sys.stderr)
        _leave(2)
    except SystemExit as end:
        _leave(end.code)


def _leave(code: str | int | None) -> NoReturn:
    """End the process. Temporal's SDK has threads that call into Python while it shuts down, which aborts the process
    once in a few dozen times: where the SDK is loaded, leave without that shutdown."""
    if "temporalio.bridge" in sys.modules and not isinstance(code, str):
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code or 0)
    sys.exit(code)
