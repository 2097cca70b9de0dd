"""Readings without secrets: labels can hold anything, and a reason may quote an address with its password."""

import re

from copilot.core.redaction import redacted, redacted_name
from copilot.core.signals import BreakdownRow, Missing, ServerFacts, Signals

_UNSAFE = re.compile(r"\W", re.ASCII)


def cleaned(signals: Signals, *, addresses: bool = False) -> Signals:
    """The signals as they may be judged, kept and shown. `addresses`: without IP addresses too."""
    update: dict[str, object] = {}
    if renamed := _renamed(signals, addresses):
        update["breakdowns"] = {i: tuple(_row(r, renamed) for r in rows) for i, rows in signals.breakdowns.items()}
    if addresses and signals.missing:
        update["missing"] = {i: _missing(m) for i, m in signals.missing.items()}
    if signals.server is not None and (server := _server(signals.server, addresses)) != signals.server:
        update["server"] = server
    return signals.model_copy(update=update) if update else signals


def names_of(name: str) -> tuple[str, ...]:
    """What a name the operator wrote may be called in cleaned signals."""
    return (name, redacted_name(name), redacted_name(name, addresses=True))


def _renamed(signals: Signals, addresses: bool) -> dict[str, str]:
    """New names of the labels that held a secret, as the API spells them and as metrics do."""
    names = {value for rows in signals.breakdowns.values() for row in rows for value in row.labels.values()}
    changed = {n: clean for n in names if (clean := redacted_name(n, addresses=addresses)) != n}
    if not changed:
        return {}
    spelled = {s: clean for name, clean in changed.items() if (s := _UNSAFE.sub("_", name)) != name}
    return {**changed, **{n: spelled[n] for n in names if n in spelled}}


def _row(row: BreakdownRow, renamed: dict[str, str]) -> BreakdownRow:
    if renamed.keys().isdisjoint(row.labels.values()):
        return row
    return row.model_copy(update={"labels": {k: renamed.get(v, v) for k, v in row.labels.items()}})


def _missing(missing: Missing) -> Missing:
    return missing.model_copy(update={"detail": redacted(missing.detail, addresses=True)})


def _server(server: ServerFacts, addresses: bool) -> ServerFacts:
    said = {"version": server.version, "cluster_name": server.cluster_name}
    return server.model_copy(update={k: redacted(v, addresses=addresses) for k, v in said.items()})
