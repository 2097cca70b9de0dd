"""`copilot signals`: the taxonomy as a table. `python -m copilot.cli.signals` prints docs/signals.md."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from copilot.cli.options import JsonOption

if TYPE_CHECKING:
    from copilot.core.taxonomy import Kind, SignalSpec

KINDS: dict["Kind", str] = {
    "primary": "Primary signals decide the state",
    "amplifier": "Amplifiers explain why",
    "worker": "Worker signals say whose problem it is",
}
WORSE = {"up": "more", "down": "less", None: "neither"}
INTRODUCTION = """\
# Signals

Generated from the taxonomy by `make docs`; do not edit. `copilot signals` prints the same, `copilot doctor` says which
of them your cluster has.

*Worse* says which direction is worse. *Source* is `metrics` (a /metrics page and the families read of it), `api`
(Temporal's own API), both (the one named first is preferred; `copilot doctor` says whose reading it was), or `none`:
nothing measures it on server 1.32; such an id is no part of the coverage. *If missing* says what would turn it on.
Rates are per second over one window.
"""


def signals(
    as_json: JsonOption = False,
    promql: Annotated[bool, typer.Option("--promql", help="Print the PromQL of each signal instead.")] = False,
    dialect: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="With --promql: how the metrics are spelled, one a role; else as by default."
        ),
    ] = None,
    window: Annotated[str, typer.Option(metavar="60s", help="With --promql: the rate window.")] = "60s",
) -> None:
    """Print every signal: what it means, its unit, where it comes from, and what would turn it on if it is missing.

    Example: copilot signals --json, or copilot signals --promql --dialect "server opentelemetry" """
    from copilot.core.taxonomy import SPECS

    if promql:
        from copilot.cli.signals_promql import expressions
        from copilot.local.fault_plan import seconds

        found = expressions(SPECS.values(), dialect or (), seconds(window))
        lines = (f"# {SPECS[i].meaning}, {SPECS[i].unit}\n{i} = {text}\n" for i, text in found.items())
        typer.echo(json.dumps(found) if as_json else "\n".join(lines))
    elif as_json:
        typer.echo(json.dumps([_document(spec) for spec in SPECS.values()]))
    else:
        _print_table(list(SPECS.values()))


def _document(spec: "SignalSpec") -> dict[str, Any]:
    return {
        "id": spec.id,
        "kind": spec.kind,
        "unit": spec.unit,
        "worse": spec.worse,
        "source": spec.source,
        "role": spec.role if spec.expression is not None else None,
        "families": _families(spec),
        "meaning": spec.meaning,
        "hint": spec.hint,
    }


def _families(spec: "SignalSpec") -> list[str]:
    """The metric families it is computed from, as the server's own endpoint and the SDK's default reporter say them."""
    from copilot.core.expressions import leaves

    if spec.expression is None:
        return []
    return list(dict.fromkeys(leaf.series.family for leaf in leaves(spec.expression)))


def _print_table(specs: list["SignalSpec"]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    for kind, title in KINDS.items():
        table = Table(
            title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim"
        )
        for column in ("signal", "unit", "worse", "source"):
            table.add_column(column, no_wrap=True)
        table.add_column("meaning", ratio=2)
        table.add_column("if missing", ratio=3, style="dim")
        for spec in specs:
            if spec.kind == kind:
                table.add_row(spec.id, spec.unit, WORSE[spec.worse], spec.source, spec.meaning, spec.hint)
        console.print(table)
        console.print()


def markdown() -> str:
    """docs/signals.md."""
    return "\n".join([INTRODUCTION, *_sections()])


def _sections() -> Iterator[str]:
    from copilot.core.taxonomy import SPECS

    for kind, title in KINDS.items():
        yield f"## {title}\n"
        yield "| signal | unit | worse | meaning | source | if missing |"
        yield "|---|---|---|---|---|---|"
        for spec in SPECS.values():
            if spec.kind == kind:
                families = ", ".join(f"`{family}`" for family in _families(spec))
                source = f"{spec.source}: {families}" if families else spec.source
                cells = (f"`{spec.id}`", spec.unit, WORSE[spec.worse], spec.meaning, source, spec.hint)
                escaped = [cell.replace("|", "\\|") for cell in cells]
                yield f"| {' | '.join(escaped)} |"
        yield ""


if __name__ == "__main__":
    print(markdown(), end="")
