"""`copilot signals`: the signal table, or each signal's PromQL."""

from collections.abc import Iterator
from typing import Annotated

import typer
from rich.text import Text

from copilot.cli.options import JsonOption, duration
from copilot.cli.output import print_result, prose_width, wrapped
from copilot.errors import SettingsError
from copilot.rules.signals.expressions import leaves
from copilot.rules.signals.spec import API, CLOUD, LOGS, SERVER_PAGE, SETUPS, WORKER_PAGE, Kind, SignalSpec
from copilot.rules.signals.taxonomy import SPECS

KINDS: dict[Kind, str] = {
    "primary": "Primary signals decide the state",
    "amplifier": "Amplifiers explain why",
    "worker": "Worker signals show whose problem it is",
}
WORSE = {"up": "more", "down": "less", None: "neither"}


def signals(
    as_json: JsonOption = False,
    promql: Annotated[bool, typer.Option("--promql", help="Print the PromQL of each signal instead.")] = False,
    dialect: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="With --promql: only signals of metrics in this dialect, one per role. Default: all signals.",
        ),
    ] = None,
    window: Annotated[str, typer.Option(metavar="60s", help="With --promql: the rate window.")] = "60s",
) -> None:
    """Print every signal: its meaning, unit and source, and what turns it on if it is missing.

    Example: copilot signals --json, or copilot signals --promql --dialect "server opentelemetry" """
    if dialect and not promql:
        raise SettingsError(["--dialect goes with --promql"])
    if promql:
        from copilot.metrics.promql import signal_promql

        if not (window_sec := duration("--window", window)):
            raise SettingsError(["--window 0s is not a rate window: write 60s"])
        found = signal_promql(SPECS.values(), dialect or (), window_sec)
        lines = (f"# {SPECS[i].meaning}, {SPECS[i].unit}\n{i} = {text}\n" for i, text in found.items())
        print_result(found, lines, as_json=as_json)
    else:
        specs = list(SPECS.values())
        print_result([_document(spec) for spec in specs], _lines(specs, prose_width()), as_json=as_json)


def families_of(spec: SignalSpec) -> list[str]:
    """The metric families it is computed from, as the server's endpoint and the SDK's default reporter name them."""
    if spec.expression is None:
        return []
    return list(dict.fromkeys(leaf.series.family for leaf in leaves(spec.expression)))


def _document(spec: SignalSpec) -> dict[str, str | list[str] | None]:
    return {
        **{name: getattr(spec, name) for name in ("id", "kind", "unit", "worse", "source")},
        "role": spec.role if spec.expression is not None else None,
        "families": families_of(spec),
        "emitted_by": spec.emitted_by or None,
        "meaning": spec.meaning,
        "hint": spec.full_hint,
    }


def _lines(specs: list[SignalSpec], width: int) -> Iterator[Text]:
    """Each signal with unit, direction, meaning, source and own hint; the setup of each source follows once, at the
    end."""
    for kind, title in KINDS.items():
        yield Text(title, style="bold")
        for spec in specs:
            if spec.kind == kind:
                worse = f", {WORSE[spec.worse]} is worse" if spec.worse else ""
                yield Text.assemble("  ", (spec.id, "cyan"), f"  {spec.unit}{worse}")
                yield from wrapped(spec.meaning, width, " " * 6, " " * 6)
                yield from wrapped(f"from {_origin(spec)}", width, " " * 6, " " * 8)
                if spec.source != "none" and spec.hint:
                    yield from wrapped(f"if missing: {spec.hint}", width, " " * 6, " " * 8, "dim")
        yield Text()
    yield Text("What turns on the signals of a source", style="bold")
    for source, setup in SETUPS.items():
        yield from wrapped(f"{source}: {setup}", width, "  ", " " * 6)


def _origin(spec: SignalSpec) -> str:
    """Its sources, the preferred one first, with the metric families."""
    names = {setup: name for name, setup in SETUPS.items()}
    if spec.source == "none":
        return f"nowhere: {spec.hint}"
    if spec.source in ("logs", "cloud"):
        return names[LOGS if spec.source == "logs" else CLOUD]
    api = names[API] if "api" in spec.source else ""
    metrics = names[SERVER_PAGE if spec.role == "server" else WORKER_PAGE]
    families = f"{metrics} {', '.join(families_of(spec))}" if spec.expression is not None else ""
    ordered = (families, api) if spec.source.startswith("metrics") else (api, families)
    return ", else ".join(filter(None, ordered))
