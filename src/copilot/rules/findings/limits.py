"""Findings about limits that are near, before anything is throttled."""

from copilot.rules.findings.context import Action, Finding, FindingContext, Found, present
from copilot.rules.gates import pressure
from copilot.rules.limits import NEAR_FOR_SEC
from copilot.rules.model import ActionType


def _near_limit(context: FindingContext) -> Found | None:
    """At least 80 % of a limit (of requests, actions, operations or pollers) have been used for ten minutes, and nothing
    is throttled yet."""
    if context.firing(pressure.RATE_LIMITED):
        return None
    signals = context.view.signals
    now = signals.metrics_at or signals.time
    near = {
        i: n for i, n in context.view.memory.limits.items() if context.value(i) and n.near_for_sec(now) >= NEAR_FOR_SEC
    }
    if not near:
        return None
    first = max(near, key=lambda i: context.value(i) or 0.0)
    row = context.top_row(first)
    namespace, instance = (row.label("namespace"), row.label("instance")) if row else (None, None)
    evidence = present(
        share=context.value(first),
        what=first.removeprefix("limits.").removesuffix("_used_share"),
        namespace=namespace,
        instance=instance,
        unnamed=not (namespace or instance),
        left=near[first].left_sec(),
        since=near[first].near_for_sec(now),
    )
    return Found([], evidence, subject=first, signals=tuple(near))


NEAR_LIMIT = Finding(
    "near_limit", _near_limit, "frontend",
    title="{share:percent} of the limit of {what} is used",
    cause="[The namespace {namespace:code}][The frontend at {instance:code}][{unnamed:flag}The cluster] has been over 80 % of its limit of {what} for {since:span}[; at this "
    "trend all of it is used in about {left:span}]. Beyond it, calls are throttled, background work first.",
    actions=(
        Action("raise_limit", ActionType.CONFIGURE, "frontend", "Have the limit raised in time, or find out what calls so often and let it call less. More workers use more of it.", 0.7),
    ),
    note=True,
    looks_like=("rate_limited", "Here nothing is refused yet; there the limit refuses."),
)  # fmt: skip
