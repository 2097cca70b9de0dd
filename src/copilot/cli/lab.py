"""`copilot lab`: the incident lab, which is in the repository and not in the installed package."""

import sys
from pathlib import Path

import typer

import copilot
from copilot.errors import StartError

CHECKOUT = Path(copilot.__file__).resolve().parents[2]


def _lab() -> typer.Typer:
    """The lab's commands in a checkout; elsewhere a command that says where they work (StartError)."""
    if not (CHECKOUT / "lab" / "cli.py").is_file():
        help_ = "The incident lab (works in a checkout of the repository)."
        return typer.Typer(help=help_, invoke_without_command=True, callback=_elsewhere)
    if str(CHECKOUT) not in sys.path:
        sys.path.append(str(CHECKOUT))
    from lab.cli import app as commands

    return commands


def _elsewhere() -> None:
    """Run, list and score the lab's scenarios in a checkout of the repository.

    Example: copilot lab list"""
    raise StartError("copilot lab works in a checkout of the repository: clone it, run `make demo` once, and try there")


app = _lab()
