"""`copilot doctor`: check every connection and signal of a cluster, or record what is read."""

import asyncio
import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from copilot.cli.options import ConfigOption, JsonOption, demo_settings, duration, is_unconfigured
from copilot.cli.output import check_lines, plain_console, print_lines, width_of, wrapped
from copilot.diagnosis import ClusterDiagnosis, Diagnosis, SignalDiagnosis, SignalStatus
from copilot.errors import SettingsError, StartError
from copilot.explain.numbers import quantity
from copilot.rules.signals.readings import MissingCode

if TYPE_CHECKING:
    from rich.progress import TaskID

    from copilot.rules.signals.readings import Signals
    from copilot.rules.signals.taxonomy import Kind
    from copilot.settings.clusters import ClusterSettings
    from copilot.settings.load import Settings

TITLES: "dict[Kind, str]" = {
    "primary": "Primary signals", "amplifier": "Amplifiers", "worker": "Worker signals"
}  # fmt: skip
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
    settings = _settings(config)
    chosen = _clusters(settings, cluster)
    if record is not None:
        _record(chosen, record, for_, interval, hide_addresses=settings.redact_addresses)
        return
    if for_ is not None or interval is not None:
        raise SettingsError(["--for and --interval need --record FILE"])
    from copilot.doctor import diagnose

    logging.getLogger("copilot.sources").setLevel(logging.ERROR)  # The checks report it.
    with _reading_progress() as progress:
        found = asyncio.run(diagnose(settings, chosen, quick=quick, progress=progress))
    if as_json:
        print(json.dumps({"fine": found.fine, **found.model_dump(mode="json")}))
    else:
        print_diagnosis(found)
    if not found.fine:
        raise typer.Exit(1)


def _settings(config: Path | None) -> "Settings":
    from copilot.settings.load import CONFIG_FILE, load_settings

    settings = load_settings(config)
    if not is_unconfigured(settings, config):
        return settings
    try:
        return demo_settings()
    except StartError as error:
        raise SettingsError(
            [f"no ./{CONFIG_FILE} and no running demo: use --config PATH, or start `copilot demo`"]
        ) from error


def _clusters(settings: "Settings", name: str | None) -> list["ClusterSettings"]:
    if not settings.clusters:
        raise SettingsError(["no cluster is configured: add a [[clusters]] section to copilot.toml"])
    if name is None:
        return list(settings.clusters)
    names = [c.name for c in settings.clusters]
    if name not in names:
        raise SettingsError([f"no cluster is named {name}; there is {', '.join(names)}"])
    return [settings.cluster(name)]


def _record(
    clusters: list["ClusterSettings"], file: Path, for_: str | None, interval: str | None, *, hide_addresses: bool
) -> None:
    if for_ is None:
        raise SettingsError(["--record needs --for, the time to record: --for 10m"])
    if len(clusters) > 1:
        names = ", ".join(c.name for c in clusters)
        raise SettingsError([f"a recording is of one cluster: choose one with --cluster, of {names}"])
    for_sec, interval_sec = duration("--for", for_), None if interval is None else duration("--interval", interval)
    from copilot.doctor import record_cluster
    from copilot.embedded.processes import run_until_signal
    from copilot.replay import with_interval

    cluster = clusters[0] if interval_sec is None else with_interval(clusters[0], interval_sec)
    with _recording_progress(file, for_sec) as progress:
        run_until_signal(record_cluster(cluster, file, for_sec, progress, hide_addresses=hide_addresses))


def print_diagnosis(diagnosis: Diagnosis, console: Console | None = None) -> None:
    """Print checks, signals and coverage of every cluster, and last whether verdicts can be trusted."""
    out = console or plain_console()
    width = width_of(out)
    lines = [*check_lines("The Copilot", diagnosis.own, width)]
    for cluster in diagnosis.clusters:
        lines += [Text(), *check_lines(f"Cluster {cluster.cluster}", cluster.checks, width), Text()]
        lines += _signals(cluster, width)
    for cluster in diagnosis.clusters:
        lines += _conclusion(cluster, width)
    print_lines(out, lines)


def _signals(cluster: ClusterDiagnosis, width: int) -> Iterator[Text]:
    notes = Notes(cluster.signals)
    shares = (cluster.coverage.primary, cluster.coverage.amplifiers, cluster.coverage.worker)
    for (kind, title), share in zip(TITLES.items(), shares, strict=True):
        rows = [signal for signal in cluster.signals if signal.kind == kind]
        coverage = "none expected" if share is None else f"coverage {_share(share)}"
        yield Text.assemble((title, "bold"), f": {coverage}")
        widest = max(len(signal.id) for signal in rows)
        for signal in rows:
            value = _value(signal)
            note = notes.number(signal)
            cell = f"{value.plain:>11}" + (f"  ({note})" if note else "")
            by = f"  by {signal.source}" if signal.source and not note else ""
            yield Text.assemble(f"  {signal.id:<{widest}}  ", (cell, value.style), (by, "dim"))
        yield Text()
    yield from notes.lines(width)


def _share(share: float) -> str:
    """Rounded down: 1.00 only when nothing is missing."""
    return f"{int(share * 100 + 1e-9) / 100:.2f}"


class Notes:
    """Numbered notes: why signals have no value and how to turn them on, once for all signals to which it applies."""

    def __init__(self, signals: Iterable[SignalDiagnosis]) -> None:
        self._of: dict[tuple[str, str], list[SignalDiagnosis]] = {}
        for signal in signals:
            if signal.status in (SignalStatus.MISSING, SignalStatus.UNMEASURED):
                self._of.setdefault(self._key(signal), []).append(signal)
        missing = [k for k, rows in self._of.items() if rows[0].status is SignalStatus.MISSING]
        self._missing = {key: number for number, key in enumerate(missing, 1)}
        unmeasured = [k for k in self._of if k not in self._missing]
        self._unmeasured = {key: number for number, key in enumerate(unmeasured, len(missing) + 1)}

    @staticmethod
    def _key(signal: SignalDiagnosis) -> tuple[str, str]:
        """Absent signals share a note whatever their family: what to do is the same."""
        return signal.hint, "" if signal.code is MissingCode.ABSENT else f"{signal.status.value} {signal.why}"

    def number(self, signal: SignalDiagnosis) -> int | None:
        """The number of a signal's note; None if it has a value."""
        if signal.status not in (SignalStatus.MISSING, SignalStatus.UNMEASURED):
            return None
        key = self._key(signal)
        return self._missing.get(key) or self._unmeasured.get(key)

    def lines(self, width: int) -> Iterator[Text]:
        """The notes: first on signals that can be turned on, then on those that cannot."""
        for title, numbers in (
            ("How to turn on the missing signals", self._missing),
            ("Not measured by any source (not part of the coverage)", self._unmeasured),
        ):
            if not numbers:
                continue
            yield Text(title, style="bold")
            for key, number in numbers.items():
                rows = self._of[key]
                indent = " " * 7
                why = "; ".join(dict.fromkeys(row.why for row in rows))
                note = f"{_names(rows)}: {why if numbers is self._missing else rows[0].hint}"
                yield from wrapped(note, width, f"{f'({number})':>6} ", indent)
                if numbers is self._missing:
                    yield from wrapped(rows[0].hint, width, f"{indent}→ ", f"{indent}  ", "dim")
            yield Text()


def _names(rows: Sequence[SignalDiagnosis]) -> str:
    names = ", ".join(row.id for row in rows[:NAMED])
    return names if len(rows) <= NAMED else f"{len(rows)} signals ({names}, …)"


def _value(signal: SignalDiagnosis) -> Text:
    match signal.status:
        case SignalStatus.VALUE:
            return Text(quantity(signal.value, signal.unit))
        case SignalStatus.NO_TRAFFIC:
            return Text("no traffic", style="dim")
        case SignalStatus.MISSING:
            return Text("missing", style="yellow")
        case SignalStatus.UNMEASURED:
            return Text("–", style="dim")


def _conclusion(cluster: ClusterDiagnosis, width: int) -> Iterator[Text]:
    if not cluster.distrust:
        yield Text(f"{cluster.cluster}: a verdict can be trusted", style="green")
        return
    yield Text(f"{cluster.cluster}: a verdict cannot be trusted:", style="bold red")
    for reason in cluster.distrust:
        yield from wrapped(reason, width, "  - ", "    ", "red")


@contextmanager
def _reading_progress() -> Iterator[Callable[[str, float, float], None]]:
    """Progress of the readings on stderr: a bar per cluster on a terminal, else a line per cluster."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    if not sys.stderr.isatty():

        def show_line(cluster: str, elapsed: float, total: float) -> None:
            if not elapsed:
                typer.echo(f"reading {cluster} for {total:.0f} s", err=True)

        yield show_line
        return
    columns = (TextColumn("reading {task.description} for {task.total:.0f} s"), BarColumn(), TimeElapsedColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=plain_console(stderr=True), transient=True) as bars:

        def show_bar(cluster: str, elapsed: float, total: float) -> None:
            if cluster not in tasks:
                tasks[cluster] = bars.add_task(cluster, total=total)
            bars.update(tasks[cluster], completed=elapsed)

        yield show_bar


@contextmanager
def _recording_progress(file: Path, for_sec: float) -> Iterator[Callable[[int, "Signals"], None]]:
    """Progress of a recording on stderr, and at the end, however it ends, the number of recorded ticks."""
    console = plain_console(stderr=True)
    written = 0

    def show(number: int, tick: "Signals") -> None:
        nonlocal written
        if not written:
            console.print(f"recording to {file} for {for_sec:g} s; Ctrl-C ends and keeps it", soft_wrap=True)
        written = number
        read = sum(tick.covered(i) for i in tick.readings)
        line = f"{tick.time.format_iso()[11:19]}  tick {number}: {read} of {len(tick.readings)} signals"
        console.print(line, soft_wrap=True, end="\r" if console.is_terminal else "\n")

    try:
        yield show
    finally:
        if written:
            console.print(
                f"{file} has {written} ticks: judge it with copilot replay --recording {file}", soft_wrap=True
            )
