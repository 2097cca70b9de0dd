"""`python -m chaos`."""

import argparse
import random
import sys
import time
from pathlib import Path

from whenever import Instant

from chaos.report import Report, has_place
from chaos.run import LONG, SHORT, run
from chaos.whole import FAULTS, whole
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
    only = f"only these of what is done to a whole `copilot up`: {', '.join(FAULTS)}"
    parser.add_argument("--only", nargs="+", choices=FAULTS, default=(), metavar="FAULT", help=only)
    before = "the code to upgrade from; otherwise the newest tag, or an older commit"
    parser.add_argument("--previous", metavar="REVISION", help=before)
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the tables into docs/reliability.md")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(argv)
    if given.write and not (given.write.is_file() and has_place(given.write)):
        parser.error(f"{given.write} has no place for the tables: it needs the two marks that docs/reliability.md has")
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(1_000_000)
    reports: list[Report] = []

    def tell(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    async def work() -> None:
        if given.only:
            began = time.monotonic()
            deeds, checks, left = await whole(tuple(given.only), tell, given.previous)
            reports.append(Report(seed, time.monotonic() - began, deeds, left, checks, answers=0, unanswered=0))
        else:
            reports.append(await run(SHORT if given.short else LONG, seed, tell, given.previous))

    print(f"seed {seed}", file=sys.stderr)
    try:
        run_until_signal(work())
    except CopilotError as error:
        print(error, file=sys.stderr)
        return 2
    for report in reports:
        print(report.as_json() if given.json else report.as_text())
        if given.write:
            report.write(given.write, Instant.now().to_tz("UTC").date().format_iso())
    return 2 if not reports else int(reports[0].broken)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
