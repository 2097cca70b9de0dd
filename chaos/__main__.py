"""`python -m chaos`."""

import argparse
import random
import sys

from chaos.report import Report
from chaos.run import LONG, SHORT, run
from copilot.embedded.signals import run_until_signal
from copilot.errors import CopilotError

EXAMPLE = "Example: python -m chaos --short --seed 7, which does again what a run with that seed did."


def main(argv: list[str]) -> int:
    """Exit code: 0 every promise was kept, 1 one was broken, 2 it could not run or was ended."""
    parser = argparse.ArgumentParser(
        prog="python -m chaos",
        description="Kill the Copilot's own worker, API, PostgreSQL and Temporal at random moments under load, take "
        "the database and its disk away, step the clock, and count what became of the promises (docs/reliability.md). "
        "Takes twenty minutes; loopback only.",
        epilog=EXAMPLE,
    )
    parser.add_argument("--short", action="store_true", help="5 kills each instead of 20 and a short stop: two minutes")
    parser.add_argument("--seed", type=int, help="the order of the kills; otherwise a new one")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(argv)
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(1_000_000)
    reports: list[Report] = []

    async def work() -> None:
        reports.append(
            await run(SHORT if given.short else LONG, seed, lambda text: print(text, file=sys.stderr, flush=True))
        )

    print(f"seed {seed}", file=sys.stderr)
    try:
        run_until_signal(work())
    except CopilotError as error:
        print(error, file=sys.stderr)
        return 2
    for report in reports:
        print(report.as_json() if given.json else report.as_text())
    return 2 if not reports else int(reports[0].broken)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
