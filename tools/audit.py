"""Known vulnerabilities of the locked packages: `python -m tools.audit`, on the environment that `make audit` makes.

pip-audit says "no known vulnerabilities" also of packages that its service does not know, and of none at all. Here what
was not looked up is counted and said. It is no failure: many machines reach a mirror of packages and no advisories.
"""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TOOL = ROOT / ".audit" / "bin" / "python"
LOCKS = ("dev", "run", "checkov", "audit")
"""Together they name every locked package: `dev` has all of `deploy`."""
TIMEOUT_SEC = "5"


def asked(lock: str) -> tuple[list[dict[str, Any]], str]:
    """What pip-audit says of each package of a lock; if it failed, why instead, in one line."""
    argv: list[str | Path] = [TOOL, "-m", "pip_audit", "--requirement", ROOT / "requirements" / f"{lock}.txt"]
    argv += ["--require-hashes", "--disable-pip", "--format", "json", "--progress-spinner", "off"]
    argv += ["--timeout", TIMEOUT_SEC]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
        return found, ""
    except (json.JSONDecodeError, KeyError):
        return [], (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1][:200]


def vulnerable(found: list[dict[str, Any]]) -> Iterator[str]:
    """A sentence for each vulnerability."""
    for package in found:
        for known in package.get("vulns", ()):
            fixed = ", ".join(known.get("fix_versions", ())) or "no version"
            yield f"{package['name']} {package['version']}: {known['id']}, fixed in {fixed}"


def summary(lock: str, found: list[dict[str, Any]], failed: str) -> str:
    """One line: how many packages were looked up, and how many were not and why."""
    if failed:
        return f"{lock}: NOT AUDITED: pip-audit failed: {failed}"
    reasons = Counter(p["skip_reason"].partition(":")[0] for p in found if "skip_reason" in p)
    known = len(found) - reasons.total()
    why = "; ".join(f"{n} NOT AUDITED: {reason}" for reason, n in reasons.items())
    return f"{lock}: {known} of {len(found)} packages looked up" + (f"; {why}" if why else "")


def main() -> int:
    """Exit code 1 for a known vulnerability, 0 also where none could be looked up."""
    wrong: set[str] = set()
    for lock in LOCKS:
        found, failed = asked(lock)
        print(f"audit: {summary(lock, found, failed)}")
        wrong.update(vulnerable(found))
    print("\n".join(sorted(wrong)), end="\n" if wrong else "", file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
