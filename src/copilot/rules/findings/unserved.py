"""Task queues that get tasks and were never seen to have a poller: left over by tests and single runs, most often."""

from copilot.rules.findings.context import Action, Finding, FindingContext, Found, backlog_of, present
from copilot.rules.flow import random_name
from copilot.rules.gates.registry import BACKLOG
from copilot.rules.model import ActionType
from copilot.rules.signals.readings import MAX_BREAKDOWN_ROWS

NAMED_QUEUES = 5


def _unserved_queue(context: FindingContext) -> Found | None:
    """Task queues with a small part of the work, or with random names, get tasks and were never seen to have a poller."""
    view = context.view
    flows = [f for f in view.queues.values() if (f.backlog or f.spooled) and view.unserved(f) and not view.abandoned(f)]
    gates = context.firing(*BACKLOG)
    if not flows or not gates or context.server_refuses:
        return None
    names = sorted({f.task_queue for f in flows})
    random = [name for name in names if random_name(name)]
    named = tuple(name for name in names if name not in random)
    few, count = len(named) <= NAMED_QUEUES, float(min(len(random), MAX_BREAKDOWN_ROWS))
    evidence = backlog_of(flows) | {"queues": named if few else ()}
    evidence |= {"many": 0.0 if few else float(len(named)), ("also" if named else "random"): count}
    evidence |= {
        "sample": random[0] if random else "",
        "at_least": ("also", "random") if count >= MAX_BREAKDOWN_ROWS else (),
    }
    return Found(gates, present(**evidence), "" if random else ", ".join(named), signals=("poller.pending_polls",))


UNSERVED_QUEUE = Finding(
    "unserved_queue", _unserved_queue, "application",
    title="No worker polls[ {queues:code}][ {many:count task queue}][ and {also:count task queue} with random names]"
    "[ {random:count task queue} with random names][: {backlog:count task} in the backlog][, oldest {age:span}]",
    cause="Tasks are added there, and no poller was ever seen.[{sample:flag} Names such as {sample:code} come from tests and "
    "single runs: left over, most likely.][{queues:flag} A name is misspelled on one side, or the workers were never "
    "deployed.] Other queues are not affected.",
    actions=(
        Action("stop_what_adds", ActionType.CONFIGURE, "application", "Find out what adds these tasks.[{sample:flag} On queues with random names: end the schedule, cron workflow or test that still starts work there.][{queues:flag} If the tasks of {queues:code} are wanted, start workers there; otherwise end what adds them, or list the queue in `ignore_task_queues`.]", 0.75),
    ),
    looks_like=("no_pollers", "Here no poller was ever seen, and little of the work is concerned; there workers polled and are gone."),
)  # fmt: skip
