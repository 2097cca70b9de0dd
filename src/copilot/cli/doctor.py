"""A diagnosis for people, in lines that fit the terminal. Names, addresses and settings are never broken, so that they
can be copied."""

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
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from copilot.cli.options import ConfigOption, JsonOption, demo_settings, told_nothing
from copilot.cli.output import plain_console, print_lines, width_of, wrapped
from copilot.diagnosis import Check, ClusterDiagnosis, Diagnosis, SignalDiagnosis, SignalStatus
from copilot.errors import SettingsError
from copilot.explain.numbers import quantity
from copilot.rules.signals.readings import MissingCode
from copilot.rules.signals.taxonomy import Kind

STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red", "skipped": "dim"}
TITLES: dict[Kind, str] = {"primary": "Primary signals", "amplifier": "Amplifiers", "worker": "Worker signals"}
NAMED = 3
"""Up to so many signals a note names them all; the table says which the others are."""


def print_diagnosis(diagnosis: Diagnosis, console: Console | None = None) -> None:
    """Checks, signals and coverage of every cluster, and last whether verdicts can be trusted."""
    out = console or plain_console()
    width = width_of(out)
    lines = [*check_lines("The Copilot", diagnosis.own, width)]
    for cluster in diagnosis.clusters:
        lines += [Text(), *check_lines(f"Cluster {cluster.cluster}", cluster.checks, width), Text()]
        lines += _signals(cluster, width)
    for cluster in diagnosis.clusters:
        lines += _conclusion(cluster, width)
    print_lines(out, lines)


def check_lines(title: str, checks: Sequence[Check], width: int) -> Iterator[Text]:
    """Checks under their title, each with what to do about it."""
    yield Text(title, style="bold")
    for check in checks:
        status = check.status.value
        lines = wrapped(f"{check.name}: {check.found}", width, f"  {status:<7}  ", " " * 11)
        lines[0].stylize(STYLES[status], 2, 2 + len(status))
        yield from lines
        if check.fix:
            yield from wrapped(check.fix, width, f"{' ' * 11}→ ", " " * 13, "dim")


def _signals(cluster: ClusterDiagnosis, width: int) -> Iterator[Text]:
    notes = Notes(cluster.signals)
    shares = (cluster.coverage.primary, cluster.coverage.amplifiers, cluster.coverage.worker)
    for (kind, title), share in zip(TITLES.items(), shares, strict=True):
        rows = [signal for signal in cluster.signals if signal.kind == kind]
        coverage = "none is expected" if share is None else f"coverage {_share(share)}"
        yield Text.assemble((title, "bold"), f": {coverage}")
        widest = max(len(signal.id) for signal in rows)
        for signal in rows:
            value = _value(signal)
            note = notes.number(signal)
            said = f"{value.plain:>11}" + (f"  ({note})" if note else "")
            by = f"  by {signal.source}" if signal.source and not note else ""
            yield Text.assemble(f"  {signal.id:<{widest}}  ", (said, value.style), (by, "dim"))
        yield Text()
    yield from notes.lines(width)


def _share(share: float) -> str:
    """Rounded down: 1.00 is said only when nothing lacks."""
    return f"{int(share * 100 + 1e-9) / 100:.2f}"


class Notes:
    """Why signals have no value and what would turn them on, said once for all to which it applies."""

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
        """Signals that are merely absent differ in the family that is not there, not in what to do."""
        return signal.hint, "" if signal.code is MissingCode.ABSENT else f"{signal.status.value} {signal.why}"

    def number(self, signal: SignalDiagnosis) -> int | None:
        """The note that belongs to a signal; None where it has a value."""
        if signal.status not in (SignalStatus.MISSING, SignalStatus.UNMEASURED):
            return None
        key = self._key(signal)
        return self._missing.get(key) or self._unmeasured.get(key)

    def lines(self, width: int) -> Iterator[Text]:
        """The notes: first what can be turned on, then what cannot."""
        for title, numbers in (
            ("What would turn the missing ones on", self._missing),
            ("What nothing measures (outside the coverage)", self._unmeasured),
        ):
            if not numbers:
                continue
            yield Text(title, style="bold")
            for key, number in numbers.items():
                rows = self._of[key]
                indent = " " * 7
                why = "; ".join(dict.fromkeys(row.why for row in rows))
                told = f"{_names(rows)}: {why if numbers is self._missing else rows[0].hint}"
                yield from wrapped(told, width, f"{f'({number})':>6} ", indent)
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
    yield Text(f"{cluster.cluster}: a verdict could not be trusted:", style="bold red")
    for reason in cluster.distrust:
        yield from wrapped(reason, width, "  - ", "    ", "red")


if TYPE_CHECKING:
    from copilot.rules.signals.readings import Signals


@contextmanager
def reading_shown() -> Iterator[Callable[[str, float, float], None]]:
    """Show how far the readings are: a bar per cluster on a terminal, else a line per cluster."""
    console = Console(stderr=True, highlight=False)
    tasks: dict[str, TaskID] = {}
    if not sys.stderr.isatty():

        def say(cluster: str, elapsed: float, total: float) -> None:
            if not elapsed:
                console.print(f"reading {cluster} for {total:.0f} s", soft_wrap=True)

        yield say
        return
    columns = (TextColumn("reading {task.description} for {task.total:.0f} s"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bars:

        def show(cluster: str, elapsed: float, total: float) -> None:
            if cluster not in tasks:
                tasks[cluster] = bars.add_task(cluster, total=total)
            bars.update(tasks[cluster], completed=elapsed)

        yield show


@contextmanager
def recording_shown(file: Path, for_sec: float) -> Iterator[Callable[[int, "Signals"], None]]:
    """Say on stderr what is being recorded, and at the end how much there is, however it ends."""
    console = Console(stderr=True, highlight=False)
    written = 0

    def show(number: int, tick: "Signals") -> None:
        nonlocal written
        if not written:
            console.print(
                f"recording to {file} for {for_sec:g} s; Ctrl-C ends it and keeps what was read", soft_wrap=True
            )
        written = number
        read = sum(tick.covered(i) for i in tick.readings)
        line = f"{tick.time.format_iso()[11:19]}  tick {number}: {read} of {len(tick.readings)} signals"
        console.print(line, soft_wrap=True, end="\r" if console.is_terminal else "\n")

    try:
        yield show
    finally:
        if written:
            console.print(
                f"{file} holds {written} ticks: copilot replay --recording {file} judges them", soft_wrap=True
            )


if TYPE_CHECKING:
    from copilot.settings.clusters import ClusterSettings
    from copilot.settings.load import Settings


def doctor(
    config: ConfigOption = None,
    cluster: Annotated[str | None, typer.Option(metavar="NAME", help="Only this cluster.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Read twice only, not for a whole rate window.")] = False,
    record: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Instead, record what is read; gzipped if the name ends in .gz."),
    ] = None,
    for_: Annotated[str | None, typer.Option("--for", metavar="10m", help="How long to record.")] = None,
    interval: Annotated[
        str | None, typer.Option(metavar="10s", help="Time between two ticks of the recording; else the cluster's.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check every connection and every signal, and say what would turn on the missing ones. Exit 1 when a verdict could
    not be trusted. Without a configuration it looks at the demo that runs.

    Example: copilot doctor --config copilot.toml, or copilot doctor --record night.jsonl.gz --for 10m"""
    # Imports stand below, not at the top: Temporal's SDK takes a second, which --help need not wait for.
    settings = _settings(config)
    chosen = _clusters(settings, cluster)
    if record is not None:
        _record(chosen, record, for_, interval, hide_addresses=settings.redact_addresses)
        return
    if for_ is not None or interval is not None:
        raise SettingsError(["--for and --interval go with --record FILE"])
    from copilot.doctor import diagnose

    logging.getLogger("copilot.sources").setLevel(logging.ERROR)  # The checks say it.
    with reading_shown() as progress:
        found = asyncio.run(diagnose(settings, chosen, quick=quick, progress=progress))
    if as_json:
        print(json.dumps({"fine": found.fine, **found.model_dump(mode="json")}))
    else:
        print_diagnosis(found)
    if not found.fine:
        raise typer.Exit(1)


def _settings(config: Path | None) -> "Settings":
    from copilot.errors import StartError
    from copilot.settings.load import CONFIG_FILE, load_settings

    settings = load_settings(config)
    if not told_nothing(settings, config):
        return settings
    try:
        return demo_settings()
    except StartError as error:
        raise SettingsError(
            [f"there is no ./{CONFIG_FILE} and no demo runs: say --config PATH, or start `copilot demo`"]
        ) from error


def _clusters(settings: "Settings", name: str | None) -> list["ClusterSettings"]:
    if not settings.clusters:
        raise SettingsError(["no cluster is configured: add a [[clusters]] section to copilot.toml"])
    if name is None:
        return list(settings.clusters)
    names = [c.name for c in settings.clusters]
    if name not in names:
        raise SettingsError([f"no cluster is named {name}: there is {', '.join(names)}"])
    return [settings.cluster(name)]


def _record(
    clusters: list["ClusterSettings"], file: Path, for_: str | None, interval: str | None, *, hide_addresses: bool
) -> None:
    if for_ is None:
        raise SettingsError(["--record needs --for: how long, 10m say"])
    if len(clusters) > 1:
        names = ", ".join(c.name for c in clusters)
        raise SettingsError([f"a recording is of one cluster: say --cluster, one of {names}"])
    from copilot.demo.faults import seconds
    from copilot.demo.run import until_told_to_end
    from copilot.doctor import record_cluster
    from copilot.replay import with_interval

    cluster = clusters[0] if interval is None else with_interval(clusters[0], seconds(interval))
    for_sec = seconds(for_)
    with recording_shown(file, for_sec) as shown:
        until_told_to_end(record_cluster(cluster, file, for_sec, shown, hide_addresses=hide_addresses))
