"""Run all benchmarks but the long ones, or those named: `python -m benchmarks [--strict] [MODULE …]`. With --strict,
exit 1 when a limit is passed; without it the table alone tells."""

import importlib
import pkgutil
import sys
from collections.abc import Sequence

import benchmarks
from benchmarks import Row

ONLY_WHEN_NAMED = ("ablation", "api_load", "growth", "loki", "long_run", "root_causes", "static_alerts", "store_day",
                   "temporal_api")  # fmt: skip


def main(wanted: Sequence[str]) -> int:
    """Measure and print; the exit code."""
    strict, wanted = "--strict" in wanted, [word for word in wanted if word != "--strict"]
    modules = [m.name for m in pkgutil.iter_modules(benchmarks.__path__) if not m.name.startswith("_")]
    if unknown := sorted(set(wanted) - set(modules)):
        print(f"no benchmark is named {', '.join(unknown)}: there are {', '.join(modules)}", file=sys.stderr)
        return 2
    over = False
    for name in wanted or (m for m in modules if m not in ONLY_WHEN_NAMED):
        rows: list[Row] = list(importlib.import_module(f"benchmarks.{name}").rows())
        print(f"{name}\n  {'':52} {'measured':>12} {'limit':>12} {'share':>7}")
        for row in rows:
            limit = f"{row.limit:g} {row.unit}" if row.limit is not None else ""
            share = f"{row.share:.2f}" if row.share is not None else ""
            measured = f"{row.measured:.4g} {row.unit}"
            print(f"  {row.name:52} {measured:>12} {limit:>12} {share:>7}  {row.note}".rstrip())
            over = over or (row.share or 0) > 1
    return int(over and strict)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
