"""docs/rules.md, written from the rules themselves: `python -m tools.docs.rules > docs/rules.md`."""

from collections.abc import Iterator

from pydantic_core import PydanticUndefined

from copilot.explain.templates import fill
from copilot.rules import state_machine
from copilot.rules.early import AT_ONCE, IN_A_ROW
from copilot.rules.evaluate import RULES_VERSION
from copilot.rules.findings.registry import EXPLAINS, FINDINGS
from copilot.rules.gates.context import RECOVERY_MARGIN
from copilot.rules.gates.registry import GATES, IMMEDIATE
from copilot.rules.model import Severity
from copilot.rules.signals.taxonomy import SPECS
from copilot.rules.thresholds import GRADES, Thresholds, Tolerance

INTRODUCTION = f"""# Rules

What decides the state, what is found, and every number that can be set. `make docs` writes this page from the code;
rules version {RULES_VERSION}.

Only primary signals decide ([signals.md](signals.md)); [adr/](adr/) has the reasons behind the rules. A gate that cannot
be judged, because its reading is missing or there is no traffic, neither fires nor clears. Rates are taken over one rate
window. Names in `code` are signals and thresholds.
"""

STATES = f"""## States

| from | to | when |
|---|---|---|
| happy | stressed | a gate is firing at {state_machine.TICKS_TO_STRESS} evaluations in a row; at 1 if it is {", ".join(sorted(IMMEDIATE))} |
| stressed | critical | a critical gate is firing at {state_machine.TICKS_TO_CRITICAL} evaluations in a row, or at {state_machine.TICKS_TO_STRESS} over {state_machine.HOLD_CRITICAL.total("seconds"):.0f} s |
| critical | stressed | no critical gate is firing at {state_machine.NOT_CRITICAL_TICKS} evaluations in a row |
| stressed | happy | {state_machine.CLEAR_TICKS} evaluations in a row with every gate at least {RECOVERY_MARGIN:.0%} inside its threshold, and work progresses (or nothing is wrong for {state_machine.QUIET_FOR.total("minutes"):.0f} min) |
| any | unknown | less than {state_machine.USABLE_COVERAGE:.0%} of the primaries can be read, or nothing of demand, backlog or progress, for max(3 intervals, 90 s); stale from 1.5 intervals on |

Happy never becomes critical directly. A single sample neither opens nor closes an incident.

The next evaluation comes after a third of the interval, at most {IN_A_ROW} times in a row, when a fault shows at once: a page
that was read is lost, requests begin to stay without an answer, or one of these gates begins to fire:
{", ".join(f"`{name}`" for name in sorted(AT_ONCE))}.
"""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _row(*cells: str) -> str:
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _gates() -> Iterator[str]:
    yield "## Gates\n"
    yield "| gate | can make it | fires when |"
    yield "|---|---|---|"
    for gate in GATES:
        state = "critical" if gate.worst is Severity.CRITICAL else "stressed"
        yield _row(f"`{gate.name}`", state, gate.judge.__doc__ or "")
    yield ""


def _findings() -> Iterator[str]:
    yield "## Findings\n"
    yield "In the order in which they are named: the earliest failing step is the cause, the others are its consequences.\n"
    yield "| finding | what is found | advice | explains | looks most like |"
    yield "|---|---|---|---|---|"
    for finding in FINDINGS:
        advice = " ".join(fill(action.text, {}) for action in finding.actions)
        explains = ", ".join(sorted(EXPLAINS.get(finding.name, ())))
        alike = "`{}`: {}".format(*finding.looks_like)
        yield _row(f"`{finding.name}`", finding.meaning, advice, explains, alike)
    yield ""


def _thresholds() -> Iterator[str]:
    yield "## Thresholds\n"
    yield "Set in `copilot.toml` under `[clusters.thresholds]`. A tolerance is a number of events in a rate\nwindow plus a share of the demand.\n"
    yield "| threshold | default | meaning |"
    yield "|---|---|---|"
    for name, field in Thresholds.model_fields.items():
        default = field.default
        if isinstance(default, Tolerance):
            text = f"{default.events:g} in a window + {default.share:.0%}"
        else:
            text = "none" if default is PydanticUndefined else f"{default:g}"
        yield _row(f"`{name}`", text, field.description or "")
    yield ""


def _grades() -> Iterator[str]:
    yield "## Pressure on components\n"
    yield "These color frontend, history, matching, persistence and workers, and never move the state.\n"
    yield "| signal | moderate | high |"
    yield "|---|---|---|"
    for signal_id, grade in GRADES.items():
        sign = "<" if grade.less_is_worse else ">"
        unit = SPECS[signal_id].unit if signal_id in SPECS else "share of all slots"
        at = "≤" if grade.less_is_worse else ">"
        yield _row(f"`{signal_id}`", f"{sign} {grade.moderate:g} {unit}", f"{at} {grade.high:g} {unit}")
    yield ""


def markdown() -> str:
    """docs/rules.md."""
    return "\n".join([INTRODUCTION, STATES, *_gates(), *_findings(), *_thresholds(), *_grades()])


if __name__ == "__main__":
    print(markdown(), end="")
