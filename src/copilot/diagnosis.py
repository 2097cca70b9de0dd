"""The result of `copilot doctor`: checks of connections, every signal as read, and whether a verdict can be trusted."""

from collections.abc import Sequence
from enum import StrEnum

from pydantic import FiniteFloat

from copilot.redaction.redactor import Clean
from copilot.rules.flow import BACKLOG, DEMAND, PROGRESS
from copilot.rules.model import Coverage
from copilot.rules.signals.readings import Frozen, MissingCode, Signals
from copilot.rules.signals.spec import Kind, SignalSpec, Unit
from copilot.rules.signals.taxonomy import SPECS
from copilot.rules.state_machine import USABLE_COVERAGE, coverage

UNCONFIGURED = {"api": "no [clusters.temporal] address is configured", "logs": "no [clusters.logs] are configured"}
FIX_CONNECTION = "fix the connection that the reason names: the checks show how"


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
        status, code = SignalStatus.MISSING, MissingCode.NO_SOURCE
    hint = spec.full_hint if code in (MissingCode.ABSENT, MissingCode.NO_SOURCE) else FIX_CONNECTION if code else ""
    return SignalDiagnosis(
        id=spec.id, kind=spec.kind, unit=spec.unit, status=status, value=value,
        at_least=spec.id in signals.at_least, source=signals.sources.get(spec.id, ""), code=code, why=why, hint=hint,
    )  # fmt: skip


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
