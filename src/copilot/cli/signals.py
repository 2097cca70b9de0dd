"""`copilot signals`: the taxonomy as a table. `python -m copilot.cli.signals` prints docs/signals.md."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from copilot.cli.options import JsonOption

if TYPE_CHECKING:
    from rich.text import Text

    from copilot.rules.signals.taxonomy import Kind, SignalSpec

KINDS: dict["Kind", str] = {
    "primary": "Primary signals decide the state",
    "amplifier": "Amplifiers explain why",
    "worker": "Worker signals say whose problem it is",
}
WORSE = {"up": "more", "down": "less", None: "neither"}
_SOURCES = {"server metrics": "the server's metrics", "worker metrics": "the workers' metrics", "api": "Temporal's API"}
INTRODUCTION = """\
# Signals

Generated from the taxonomy by `make docs`; do not edit. `copilot signals` prints the same, `copilot doctor` says which
of them your cluster has.

*Worse* says which direction is worse. *Source* is `metrics` (a /metrics page and the families read of it), `api`
(Temporal's own API), both (the one named first is preferred; `copilot doctor` says whose reading it was), `logs`, or
`none`:
nothing measures it on server 1.32; such an id is no part of the coverage. *If missing* says what would turn it on.
Rates are per second over one window.
"""


def signals(
    as_json: JsonOption = False,
    promql: Annotated[bool, typer.Option("--promql", help="Print the PromQL of each signal instead.")] = False,
    dialect: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="With --promql: only signals of metrics so spelled, one dialect a role; else all, as by default.",
        ),
    ] = None,
    window: Annotated[str, typer.Option(metavar="60s", help="With --promql: the rate window.")] = "60s",
) -> None:
    """Print every signal: what it means, its unit, where it comes from, and what would turn it on if it is missing.

    Example: copilot signals --json, or copilot signals --promql --dialect "server opentelemetry" """
    from copilot.errors import SettingsError
    from copilot.rules.signals.taxonomy import SPECS

    if dialect and not promql:
        raise SettingsError(["--dialect goes with --promql"])
    if promql:
        from copilot.demo.faults import seconds
        from copilot.metrics.promql import signal_promql

        if not (window_sec := seconds(window)):
            raise SettingsError(["--window 0s is no rate window: write 60s"])
        found = signal_promql(SPECS.values(), dialect or (), window_sec)
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
    from copilot.rules.signals.expressions import leaves

    if spec.expression is None:
        return []
    return list(dict.fromkeys(leaf.series.family for leaf in leaves(spec.expression)))


def _print_table(specs: list["SignalSpec"]) -> None:
    from copilot.cli.output import plain_console, print_lines, width_of

    console = plain_console()
    print_lines(console, _lines(specs, width_of(console)))


def _lines(specs: list["SignalSpec"], width: int) -> Iterator["Text"]:
    """Per signal: name, unit and direction; meaning; where it comes from; what turns it on, unless that is what turns
    on all of its source, which is said once at the end."""
    from rich.text import Text

    from copilot.cli.output import wrapped
    from copilot.rules.signals.taxonomy import BY_SOURCE

    for kind, title in KINDS.items():
        yield Text(title, style="bold")
        for spec in specs:
            if spec.kind == kind:
                worse = f", {WORSE[spec.worse]} is worse" if spec.worse else ""
                yield Text.assemble("  ", (spec.id, "cyan"), f"  {spec.unit}{worse}")
                yield from wrapped(spec.meaning, width, " " * 6, " " * 6)
                yield from wrapped(f"from {_origin(spec)}", width, " " * 6, " " * 8)
                if spec.source != "none" and spec.hint not in BY_SOURCE.values():
                    yield from wrapped(f"if missing: {spec.hint}", width, " " * 6, " " * 8, "dim")
        yield Text()
    yield Text("What turns on those of which nothing else is said", style="bold")
    for source, hint in BY_SOURCE.items():
        if source != "none":
            yield from wrapped(f"{_SOURCES[source]}: {hint}", width, "  ", " " * 6)


def _origin(spec: "SignalSpec") -> str:
    """Who measures it, and by which metric families."""
    if spec.source == "none":
        return f"nowhere: {spec.hint}"
    if spec.source == "logs":
        return "the server's logs"
    api = _SOURCES["api"] if "api" in spec.source else ""
    families = f"{_SOURCES[f'{spec.role} metrics']} {', '.join(_families(spec))}" if spec.expression is not None else ""
    return ", else ".join(filter(None, (api, families)))


def markdown() -> str:
    """docs/signals.md."""
    return "\n".join([INTRODUCTION, *_sections()])


def _sections() -> Iterator[str]:
    from copilot.rules.signals.taxonomy import SPECS

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
