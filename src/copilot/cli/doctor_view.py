"""A diagnosis for people, in lines that fit the terminal. Names, addresses and settings are never broken, so that they
can be copied."""

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.text import Text

from copilot.cli.lines import plain_console, print_lines, width_of, wrapped
from copilot.core.diagnosis import Check, ClusterDiagnosis, Diagnosis, SignalFound, SignalStatus
from copilot.core.figures import quantity
from copilot.core.signals import MissingCode
from copilot.core.taxonomy import Kind

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

    def __init__(self, signals: Iterable[SignalFound]) -> None:
        self._of: dict[tuple[str, str], list[SignalFound]] = {}
        for signal in signals:
            if signal.status in (SignalStatus.MISSING, SignalStatus.UNMEASURED):
                self._of.setdefault(self._key(signal), []).append(signal)
        missing = [k for k, rows in self._of.items() if rows[0].status is SignalStatus.MISSING]
        self._missing = {key: number for number, key in enumerate(missing, 1)}
        unmeasured = [k for k in self._of if k not in self._missing]
        self._unmeasured = {key: number for number, key in enumerate(unmeasured, len(missing) + 1)}

    @staticmethod
    def _key(signal: SignalFound) -> tuple[str, str]:
        """Signals that are merely absent differ in the family that is not there, not in what to do."""
        return signal.hint, "" if signal.code is MissingCode.ABSENT else f"{signal.status.value} {signal.why}"

    def number(self, signal: SignalFound) -> int | None:
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


def _names(rows: Sequence[SignalFound]) -> str:
    names = ", ".join(row.id for row in rows[:NAMED])
    return names if len(rows) <= NAMED else f"{len(rows)} signals ({names}, …)"


def _value(signal: SignalFound) -> Text:
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
