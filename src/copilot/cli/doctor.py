"""`copilot doctor`: check every connection and signal of a cluster, or record what is read."""

import asyncio
import logging
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.control import Control
from rich.progress import BarColumn, TaskID, TimeElapsedColumn
from rich.segment import ControlType
from rich.text import Text

from copilot.cli.options import ConfigOption, JsonOption, configuration, demo_settings, duration, is_unconfigured
from copilot.cli.output import check_lines, plain_console, print_result, progress, prose_width, wrapped
from copilot.diagnosis import ClusterDiagnosis, Diagnosis, SignalDiagnosis, SignalStatus
from copilot.errors import SettingsError, StartError
from copilot.explain.numbers import bounded, quantity
from copilot.rules.signals.readings import MissingCode, Signals
from copilot.rules.signals.spec import Kind

if TYPE_CHECKING:
    from copilot.settings.clusters import ClusterSettings

TITLES: dict[Kind, str] = {"primary": "Primary signals", "amplifier": "Amplifiers", "worker": "Worker signals"}
NOTES = {
    SignalStatus.MISSING: "How to turn on the missing signals",
    SignalStatus.UNMEASURED: "Not measured by any source, by no server up to 1.32 (not part of the coverage)",
}
WITHOUT_VALUE = {
    SignalStatus.NO_TRAFFIC: ("no traffic", "dim"),
    SignalStatus.MISSING: ("missing", "yellow"),
    SignalStatus.UNMEASURED: ("–", "dim"),
}
NAMED = 3
"""A note names up to this many signals; the table shows which the others are."""


def doctor(
    config: ConfigOption = None,
    cluster: Annotated[str | None, typer.Option(metavar="NAME", help="Only this cluster.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Read only twice, not for a whole rate window.")] = False,
    record: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Record what is read instead; gzipped if the name ends in .gz.")
    ] = None,
    for_: Annotated[str | None, typer.Option("--for", metavar="10m", help="With --record: how long to record.")] = None,
    interval: Annotated[
        str | None, typer.Option(metavar="10s", help="With --record: time between ticks; by default the cluster's.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check every connection and every signal, and say how to turn on the missing ones. Exit 1 when a verdict could not
    be trusted. Without a configuration it checks the running demo.

    Example: copilot doctor --config copilot.toml, or copilot doctor --record night.jsonl.gz --for 10m"""
    settings = configuration(config)
    if is_unconfigured(settings, config):
        try:
            settings = demo_settings()
        except StartError as error:
            raise SettingsError(
                ["no ./copilot.toml and no running demo: use --config PATH, or start `copilot demo`"]
            ) from error
    if not settings.clusters:
        raise SettingsError(["no cluster is configured: add a [[clusters]] section to copilot.toml"])
    chosen = [c for c in settings.clusters if cluster in (None, c.name)]
    if not chosen:
        names = ", ".join(c.name for c in settings.clusters)
        raise SettingsError([f"no cluster is named {cluster}; there is {names}"])
    if record is not None:
        _record(chosen, record, for_, interval, hide_addresses=settings.redact_addresses)
        return
    if for_ is not None or interval is not None:
        raise SettingsError(["--for and --interval need --record FILE"])
    from copilot.doctor import diagnose

    logging.getLogger("copilot.sources").setLevel(logging.ERROR)  # The checks report it.
    tasks: dict[str, TaskID] = {}
    with progress("reading {task.description} for {task.total:.0f} s", BarColumn(), TimeElapsedColumn()) as bars:

        def show(cluster: str, elapsed: float, total: float) -> None:
            if cluster not in tasks:
                tasks[cluster] = bars.add_task(cluster, total=total)
                if bars.disable:
                    typer.echo(f"reading {cluster} for {total:.0f} s", err=True)
            bars.update(tasks[cluster], completed=elapsed)

        found = asyncio.run(diagnose(settings, chosen, quick=quick, progress=show))
    document = {"fine": found.fine, **found.model_dump(mode="json")}
    print_result(document, diagnosis_lines(found, prose_width()), as_json=as_json, fine=found.fine)


def _record(
    clusters: list["ClusterSettings"], file: Path, for_: str | None, interval: str | None, *, hide_addresses: bool
) -> None:
    if for_ is None:
        raise SettingsError(["--record needs --for, the time to record: --for 10m"])
    if len(clusters) > 1:
        names = ", ".join(c.name for c in clusters)
        raise SettingsError([f"a recording is of one cluster: choose one with --cluster, of {names}"])
    for_sec = duration("--for", for_)
    from copilot.doctor import record_cluster
    from copilot.embedded.signals import run_until_signal
    from copilot.replay import with_interval

    cluster = clusters[0] if interval is None else with_interval(clusters[0], duration("--interval", interval))
    console, written = plain_console(stderr=True), 0
    if cluster.window != clusters[0].window:
        text = f"rates are over {cluster.window:g} s instead of {clusters[0].window:g} s: set window_sec to keep it"
        console.print(text, soft_wrap=True)

    def show(number: int, tick: Signals) -> None:
        nonlocal written
        if not written:
            console.print(f"recording to {file} for {for_sec:g} s; Ctrl-C ends and keeps it", soft_wrap=True)
        written = number
        read = sum(tick.covered(i) for i in tick.readings)
        line = f"{tick.time.format_iso()[11:19]}  tick {number}: {read} of {len(tick.readings)} signals"
        console.print(line, soft_wrap=True, end="" if console.is_terminal else "\n")
        console.control(Control(ControlType.CARRIAGE_RETURN))

    try:
        run_until_signal(record_cluster(cluster, file, for_sec, show, hide_addresses=hide_addresses))
    finally:
        if written:
            text = f"{file} has {written} ticks: judge it with copilot replay --recording {file}"
            console.print(text, soft_wrap=True)


def diagnosis_lines(diagnosis: Diagnosis, width: int) -> Iterator[Text]:
    """Checks, signals and coverage of every cluster, and last whether verdicts can be trusted."""
    yield from check_lines("The Copilot", diagnosis.own, width)
    for cluster in diagnosis.clusters:
        yield Text()
        yield from check_lines(f"Cluster {cluster.cluster}", cluster.checks, width)
        yield Text()
        yield from _signals(cluster, width)
    for cluster in diagnosis.clusters:
        if cluster.distrust:
            yield Text(f"{cluster.cluster}: a verdict cannot be trusted:", style="bold red")
        else:
            yield Text(f"{cluster.cluster}: a verdict can be trusted", style="green")
        for reason in cluster.distrust:
            yield from wrapped(reason, width, "  - ", "    ", "red")


def _signals(cluster: ClusterDiagnosis, width: int) -> Iterator[Text]:
    notes = _notes(cluster.signals)
    numbers = {signal.id: number for number, rows in enumerate(notes, 1) for signal in rows}
    shares = (cluster.coverage.primary, cluster.coverage.amplifiers, cluster.coverage.worker)
    for (kind, title), share in zip(TITLES.items(), shares, strict=True):
        rows = [signal for signal in cluster.signals if signal.kind == kind]
        # Rounded down: 1.00 only when nothing is missing.
        coverage = "none expected" if share is None else f"coverage {int(share * 100 + 1e-9) / 100:.2f}"
        yield Text.assemble((title, "bold"), f": {coverage}")
        widest = max(len(signal.id) for signal in rows)
        for signal in rows:
            shown = bounded(quantity(signal.value, signal.unit), at_least=signal.at_least)
            value, style = WITHOUT_VALUE.get(signal.status, (shown, ""))
            note = f"  ({numbers[signal.id]})" if signal.id in numbers else ""
            by = f"  by {signal.source}" if signal.source and not note else ""
            yield Text.assemble(f"  {signal.id:<{widest}}  ", (f"{value:>11}{note}", style), (by, "dim"))
        yield Text()
    for status, numbered in groupby(enumerate(notes, 1), key=lambda note: note[1][0].status):
        yield Text(NOTES[status], style="bold")
        for number, rows in numbered:
            why = "; ".join(dict.fromkeys(row.why for row in rows))
            missing, hint, indent = status is SignalStatus.MISSING, rows[0].hint, " " * 7
            names = ", ".join(row.id for row in rows[:NAMED])
            if len(rows) > NAMED:
                names = f"{len(rows)} signals ({names}, …)"
            yield from wrapped(f"{names}: {why if missing else hint}", width, f"{f'({number})':>6} ", indent)
            if missing:
                yield from wrapped(hint, width, f"{indent}→ ", f"{indent}  ", "dim")
        yield Text()


def _notes(signals: Iterable[SignalDiagnosis]) -> list[list[SignalDiagnosis]]:
    """The signals without a value, those with one reason and hint together: first those that can be turned on."""
    notes: dict[SignalStatus, dict[tuple[str, str], list[SignalDiagnosis]]] = {status: {} for status in NOTES}
    for signal in signals:
        if signal.status in notes:
            # Absent signals share a note whatever their family: what to do is the same.
            key = signal.hint, "" if signal.code is MissingCode.ABSENT else signal.why
            notes[signal.status].setdefault(key, []).append(signal)
    return [rows for of in notes.values() for rows in of.values()]
