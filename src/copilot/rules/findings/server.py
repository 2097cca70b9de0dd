"""Findings about the server, its database, and our sight of it."""

from collections import Counter

from copilot.explain.numbers import count, per_sec, took
from copilot.rules.bottleneck import SERVER_REFUSES, STUCK_IN_HISTORY
from copilot.rules.findings.context import Facts, issue
from copilot.rules.model import Issue

_STARVE = "Polls go first, so workers starve while idle."
_LIMITS = {
    "RpsLimit": "The limit of requests a second (RpsLimit)",
    "ConcurrentLimit": "The limit of concurrent requests (ConcurrentLimit)",
    "PersistenceLimit": "The limit of database calls (PersistenceLimit)",
    "SystemOverloaded": "The server, which is overloaded (SystemOverloaded),",
}


def server_unreachable(facts: Facts) -> Issue | None:
    """The frontend does not answer its health check."""
    if not (gates := facts.fired("unreachable")):
        return None
    why = "The server is down, frozen, or cut off from here. What else is read now may be old."
    return issue("server_unreachable", facts, gates, "The Temporal frontend does not answer", why)


def metrics_blind(facts: Facts) -> Issue | None:
    """Too little can be read to stand by a verdict."""
    if not facts.blind or facts.fired("unreachable"):
        return None
    reasons = Counter(m.detail or m.code.value for m in facts.view.signals.missing.values())
    lost = [f"{count(n, 'signal')} cannot be read ({reason})" for reason, n in reasons.most_common(2)]
    why = f"{'; '.join(lost)}." if lost else "Nothing was read."
    title, said = (
        "Too much of the cluster's metrics cannot be read",
        "Whether the cluster makes progress cannot be told.",
    )
    return issue("metrics_blind", facts, [], title, why, description=said)


def persistence_failing(facts: Facts) -> Issue | None:
    """Calls to the database fail."""
    if not (gates := facts.fired("persistence_errors")):
        return None
    row = facts.top_row("persistence.error_rate_per_sec")
    what = f" Most often {row.said('operation')} fails ({row.said('error_type')})." if row else ""
    why = f"The database is locked, full, away, or refuses the server.{what}"
    consequences = facts.fired("turned_away", "frontend_errors", "work_stalled")
    return issue("persistence_failing", facts, [*gates, *consequences], "Database calls fail", why)


def persistence_throttled(facts: Facts) -> Issue | None:
    """The server's own persistence rate limit refuses database calls."""
    gates = facts.fired("persistence_throttled")
    if facts.throttle_cause().startswith("Persistence"):
        gates += facts.fired("history_throttled")
    if not gates:
        return None
    why = (
        "The server refuses its own database calls by its persistence rate limit: tasks are retried inside history "
        "while workers sit idle. An empty backlog is expected here and means nothing."
    )
    return issue("persistence_throttled", facts, gates, "The persistence rate limit holds work back", why)


def rate_limited(facts: Facts) -> Issue | None:
    """A request rate limit refuses requests and polls."""
    gates = facts.fired("rate_limited")
    if not facts.throttle_cause().startswith("Persistence") and not facts.fired("persistence_throttled"):
        gates += facts.fired("history_throttled")
    if not gates:
        return None
    row = facts.top_row("frontend.throttled_per_sec")
    cause = (row.labels.get("resource_exhausted_cause", "") if row else "") or facts.throttle_cause()
    operation = f", most often {row.labels['operation']}" if row and row.labels.get("operation") else ""
    limit = _LIMITS.get(cause, f"A rate limit ({cause or 'unnamed'})")
    why = f"{limit} refuses requests{operation}. {_STARVE}"
    return issue("rate_limited", facts, gates, "A rate limit refuses requests and polls", why)


def frontend_errors(facts: Facts) -> Issue | None:
    """Requests fail by the server's fault, and nothing says that the database does."""
    gates = facts.fired("turned_away", "frontend_errors")
    if not gates or facts.fired("persistence_errors") or facts.fired("rate_limited"):
        return None
    row = facts.top_row("frontend.error_rate_per_sec")
    most = f" Most often: {row.said('operation')}." if row else ""
    why = f"The server fails requests by its own fault, often because its database or a shard is away.{most}"
    return issue("frontend_errors", facts, gates, "Requests fail by the server's fault", why)


def membership_change(facts: Facts) -> Issue | None:
    """A server process started or left: what follows for a minute is its wake."""
    changes = facts.view.signals.value("deploy.membership_changes_per_min")
    gates = [g for g in facts.gates.values() if g.fired]
    if not changes or not gates:
        return None
    why = "A server process started or left less than a window ago: caches are cold, polls come back one by one."
    ids = ("deploy.membership_changes_per_min",)
    return issue("membership_change", facts, gates, "A server process started or left", why, signals=ids)


def shard_churn(facts: Facts) -> Issue | None:
    """Shards are opened and closed on history hosts."""
    if not (gates := facts.fired("shard_churn")):
        return None
    why = "Shards are opened and closed: history hosts come and go, or lose their leases."
    return issue("shard_churn", facts, gates, "Shards move between history hosts", why)


def persistence_slow(facts: Facts) -> Issue | None:
    """Database calls take long."""
    if not (gates := facts.fired("persistence_latency")):
        return None
    why = "Database calls take long; everything the server does waits for them."
    return issue("persistence_slow", facts, gates, "The database is slow", why)


def history_backlog(facts: Facts) -> Issue | None:
    """History finishes its tasks late or not at all, and nothing refuses them."""
    gates = facts.fired("history_latency")
    stalled = facts.gates["work_stalled"]
    if stalled.fired and STUCK_IN_HISTORY in stalled.evidence:
        gates = [stalled, *gates]
    if not gates or facts.fired(*SERVER_REFUSES):
        return None
    why = "History finishes its tasks late or not at all; nothing downstream can be faster."
    return issue("history_backlog", facts, gates, "History is behind with its tasks", why)


def frontend_slow(facts: Facts) -> Issue | None:
    """The frontend answers slowly."""
    gates = facts.fired("frontend_latency")
    if not gates:
        return None
    wait = facts.view.signals.value("shard.semaphore_latency_p99_ms")
    shard = f"Requests wait {took(wait)} (p99) for their turn to write to their shard." if wait and wait > 100 else ""
    why = shard or "What the frontend waits for, history or the database, is slow."
    return issue("frontend_slow", facts, gates, "The frontend answers slowly", why)


def client_mistakes(facts: Facts) -> Issue | None:
    """Clients ask for what is not there or already is: theirs to mend, no fault of the server (requirements §3.5)."""
    signals = facts.view.signals
    mistakes, requests = signals.value("clients.mistakes_per_sec"), signals.value("frontend.request_rate_per_sec")
    if not mistakes or not requests or mistakes * facts.view.window_sec < 10 or mistakes < 0.1 * requests:
        return None
    row = facts.top_row("clients.mistakes_per_sec")
    most = f"Most often {row.said('operation')}: {row.said('error_type')}. " if row else ""
    why = f"{most}The server answers them as it should."
    return issue(
        "client_mistakes",
        facts,
        [],
        f"Clients make {per_sec(mistakes, 'mistake')}",
        why,
        signals=("clients.mistakes_per_sec",),
    )
