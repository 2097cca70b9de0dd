"""The `copilot` command: all commands, and how errors end."""

import sys

import typer

from copilot import __version__
from copilot.cli import db, demo, fault, processes, replay, status, up
from copilot.core.errors import CopilotError

app = typer.Typer(
    help="Tells you whether a Temporal cluster is making forward progress on the work it has, and why not.",
    epilog="Begin with: copilot demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (demo.demo, fault.fault, up.up, processes.worker, processes.api, processes.start, status.status,
                replay.replay):  # fmt: skip
    app.command()(command)
app.add_typer(db.app, name="db")


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
        sys.exit(2)
