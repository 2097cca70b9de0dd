"""The result of `copilot doctor`: checks of connections, every signal as read, and whether a verdict can be trusted."""

from collections.abc import Sequence
from enum import StrEnum

from pydantic import FiniteFloat

from copilot.redaction.redactor import Clean
from copilot.rules.flow import BACKLOG, DEMAND, PROGRESS
from copilot.rules.model import Coverage
from copilot.rules.signals.expressions import leaves
from copilot.rules.signals.readings import Frozen, MissingCode, Signals
from copilot.rules.signals.spec import Kind, SignalSpec, Unit
from copilot.rules.signals.taxonomy import SPECS
from copilot.rules.signals.versions import SINCE, Release
from copilot.rules.state_machine import USABLE_COVERAGE, coverage

UNCONFIGURED = {
    "api": "no [clusters.temporal] address is configured",
    "logs": "no [clusters.logs] are configured",
    "cloud": "only Temporal Cloud has it",
}
FIX_CONNECTION = "the checks say what to do about this connection"
FIX_VERSION = "an upgrade of the server adds it"
FIX_FILTER = "these metrics are read: ask again in a minute; does a filter (metric_relabel_configs) drop it?"


class CheckStatus(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"  # a verdict is possible, but it needs attention
    FAILED = "failed"  # without it no verdict can be trusted, or stored
    SKIPPED = "skipped"  # not configured, or not tried because an earlier check failed


class Check(Frozen):
    """One connection, permission or clock: what was found, and what to do (empty when it is fine)."""

    name: Clean
    status: CheckStatus
    found: Clean
    fix: str = ""


class SignalStatus(StrEnum):
    """How a signal was read."""

    VALUE = "value"
    NO_TRAFFIC = "no_traffic"
    MISSING = "missing"
    UNMEASURED = "unmeasured"  # nothing measures it; the coverage does not count it


class SignalDiagnosis(Frozen):
    """One signal: its value in `unit`, or why there is none and what turns it on. `at_least`: the value is a lower
    bound. `source`: where its reading is from, if two sources have it."""

    id: str
    kind: Kind
    unit: Unit
    status: SignalStatus
    value: FiniteFloat | None = None
    at_least: bool = False
    source: str = ""
    code: MissingCode | None = None
    why: str = ""
    hint: str = ""


class ClusterDiagnosis(Frozen):
    """One watched cluster. `distrust`: why a verdict cannot be trusted; empty when it can."""

    cluster: str
    checks: tuple[Check, ...]
    signals: tuple[SignalDiagnosis, ...]
    coverage: Coverage
    distrust: tuple[str, ...]


class Diagnosis(Frozen):
    """The Copilot's own connections, and the clusters it watches."""

    own: tuple[Check, ...]
    clusters: tuple[ClusterDiagnosis, ...]

    @property
    def fine(self) -> bool:
        """Whether verdicts are possible, can be stored, and can be trusted."""
        failed = any(check.status is CheckStatus.FAILED for check in self.own)
        return not failed and not any(cluster.distrust for cluster in self.clusters)


def diagnose_cluster(cluster: str, checks: Sequence[Check], signals: Signals) -> ClusterDiagnosis:
    """The diagnosis of a cluster from its checks and one reading."""
    failed = tuple(f"{check.name}: {check.found}" for check in checks if check.status is CheckStatus.FAILED)
    return ClusterDiagnosis(
        cluster=cluster,
        checks=tuple(checks),
        signals=tuple(diagnose_signal(spec, signals) for spec in SPECS.values()),
        coverage=coverage(signals),
        distrust=(*failed, *distrust_reasons(signals)),
    )


def diagnose_signal(spec: SignalSpec, signals: Signals) -> SignalDiagnosis:
    """One signal of a reading."""
    value, code, why = signals.value(spec.id), None, ""
    if value is not None:
        status = SignalStatus.VALUE
    elif signals.quiet(spec.id):
        status = SignalStatus.NO_TRAFFIC
    elif spec.source == "none":
        status, code, why = SignalStatus.UNMEASURED, MissingCode.NO_SOURCE, "nothing measures it"
    elif missing := signals.why_missing(spec.id):
        status, code, why = SignalStatus.MISSING, missing.code, missing.detail
    else:
        why = UNCONFIGURED.get(spec.source, f"no {spec.role} metrics are configured")
        status = SignalStatus.UNMEASURED if spec.source == "cloud" else SignalStatus.MISSING
        code = MissingCode.NO_SOURCE
    return SignalDiagnosis(
        id=spec.id, kind=spec.kind, unit=spec.unit, status=status, value=value,
        at_least=spec.id in signals.at_least, source=signals.sources.get(spec.id, ""), code=code, why=why,
        hint=_hint(spec, signals, code),
    )  # fmt: skip


def _hint(spec: SignalSpec, signals: Signals, code: MissingCode | None) -> str:
    """What turns the signal on; empty where it was read."""
    if code is MissingCode.NO_SOURCE and spec.id in signals.missing:
        return FIX_VERSION
    if code is MissingCode.ABSENT and spec.source == "metrics" and signals.targets.get(spec.role):
        return spec.hint or FIX_FILTER
    return spec.full_hint if code in (MissingCode.ABSENT, MissingCode.NO_SOURCE) else FIX_CONNECTION if code else ""


def upgrade_adds(server: Release, signals: Signals) -> str:
    """What the release that emits all families adds to what this one can have; empty where that is nothing. A signal
    that has a reading has it from the API, or from a family that stands in."""
    since = {
        spec.id: first
        for spec in SPECS.values()
        if spec.expression is not None and spec.id in signals.readings
        if (first := max(SINCE.get(leaf.series.family, server) for leaf in leaves(spec.expression))) > server
    }
    missing, otherwise = (", ".join(i for i in since if signals.covered(i) is read) for read in (False, True))
    adds = f"adds: {missing}" if missing else "adds no signal"
    directly = f"; measured directly from then on: {otherwise}" if otherwise else ""
    return "{}.{} ".format(*max(since.values())) + adds + directly if since else ""


def distrust_reasons(signals: Signals) -> tuple[str, ...]:
    """Why the rules would not judge such a reading (see `state_machine.usable`); empty when they would."""
    share = coverage(signals).primary
    few = f"{share:.0%} of the primary signals were read, a verdict needs {USABLE_COVERAGE:.0%}"
    return (
        *([few] if share < USABLE_COVERAGE else []),
        *(
            f"no signal of {what}: one of {', '.join(part)} is needed"
            for what, part in (("demand", DEMAND), ("backlog", BACKLOG), ("completed work", PROGRESS))
            if not any(map(signals.covered, part))
        ),
    )
