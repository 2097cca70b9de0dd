"""The `copilot` command: all commands, each loaded on first use, and how errors end."""

import contextlib
import os
import sys
from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.main import get_group

from copilot import __version__

COMMANDS = {
    "demo": ("demo:demo", "Start a Temporal cluster with workers and load, and the Copilot watching it."),
    "fault": ("demo:fault", "Inject a fault into the running demo, or clear it."),
    "up": ("processes:up", "Run the Copilot for the clusters of copilot.toml: worker, API and page."),
    "worker": ("processes:worker", "Run the loops of all configured clusters, until SIGTERM or Ctrl-C."),
    "api": ("processes:api", "Serve the JSON API and the page, until SIGTERM or Ctrl-C."),
    "start": ("processes:start", "Start the loops of every configured cluster."),
    "alive": (
        "processes:alive",
        "Check whether the worker or the API on this machine is alive: a container's health check.",
    ),
    "status": ("status:status", "Print the state of the watched clusters, since when, why, and what to do."),
    "targets": ("targets:targets", "Print every process that is read, server and workers."),
    "executions": ("inspection:executions", "Print the executions in trouble, with links into Temporal's UI."),
    "workers": ("inspection:workers", "Print the workers by their heartbeats, by task queue, those in trouble first."),
    "doctor": ("doctor:doctor", "Check every connection and every signal, and say how to turn on the missing ones."),
    "signals": (
        "signals:signals",
        "Print every signal: its meaning, unit and source, and what turns it on if it is missing.",
    ),
    "read": ("read:read", "Print the signals on metrics pages."),
    "replay": (
        "replay:replay",
        "Evaluate the past tick by tick, of a recording or of any range a Prometheus still has.",
    ),
    "ack": ("mutes:ack", "Acknowledge what is wrong now: someone has it."),
    "silence": ("mutes:app", "Silences: what is known notifies no one, for a while."),
    "maintenance": ("mutes:planned", "Maintenance windows: planned silences, once or weekly."),
    "incident": ("incident:app", "Incidents: from leaving happy to happy again."),
    "report": ("report:report", "Print what a shift hands over: incidents, what is muted, near a limit, and changed."),
    "change": ("changes:app", "Changes of the watched clusters: deploys, restarts, settings."),
    "notify": ("notify:app", "The notification channels."),
    "mcp": ("mcp:mcp", "Serve the verdicts to an assistant as read-only tools (Model Context Protocol)."),
    "grafana": (
        "grafana:grafana",
        "Write Grafana's dashboards, provisioning and alert rules, and the alert rules for Prometheus.",
    ),
    "token": ("token:app", "Tokens for the API and the page."),
    "db": ("db:app", "The state store: its tables and its connection."),
    "kb": ("kb:app", "The runbooks, here and in an Amazon Bedrock Knowledge Base."),
    "logs": ("logs:app", "A Temporal server's logs."),
    "lab": ("lab:app", "The incident lab: scenarios on real servers, and the verdicts they should get."),
}
"""Each command's place below copilot.cli, and its line in the help: loading them all takes longer than most run."""


def load(name: str) -> Any:
    """The command of this name, for click."""
    module, _, attribute = COMMANDS[name][0].partition(":")
    loaded = import_module(f"copilot.cli.{module}")
    found = getattr(loaded, attribute)
    group = typer.Typer(rich_markup_mode=None, callback=lambda: None)
    if isinstance(found, typer.Typer):
        group.add_typer(found, name=name)
    else:
        group.command(name, cls=getattr(loaded, "COMMAND_CLASS", None))(found)
    return get_group(group).commands[name]


class _Loaded(MutableMapping[str, Any]):
    """All commands by name, each loaded on first use."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded[name] = load(name)
        return self._loaded[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class _Commands(TyperGroup):
    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        self.commands = _Loaded()

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_) for name, (_, help_) in COMMANDS.items()])


app = typer.Typer(
    cls=_Commands,
    help="Watches Temporal clusters: is each making progress, and if not, why, and what to do first.",
    epilog="Start with: copilot demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
    except SystemExit as end:
        _exit(end.code)
    except Exception as error:
        from copilot.errors import CopilotError  # What raises one has loaded it.

        if not isinstance(error, CopilotError):
            raise
        print(f"copilot: {error}", file=sys.stderr)
        _exit(2)


def _exit(code: str | int | None) -> NoReturn:
    """End the process. Threads of Temporal's SDK call into Python while it shuts down, which at times aborts the
    process: where the SDK is loaded, exit without that shutdown."""
    if "temporalio.bridge" in sys.modules and not isinstance(code, str):
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code or 0)
    sys.exit(code)
