"""`copilot targets`: every process of a cluster that is read, from the running API."""

import contextlib
import json
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.text import Text
from whenever import Instant

from copilot.cli.options import ApiOption, ConfigOption, JsonOption
from copilot.cli.output import plain_console, print_lines
from copilot.cli.status import client_of
from copilot.explain.numbers import NOTHING, bounded, duration, quantity

COLUMNS = ("process", "address", "version", "shards", "up for", "last read", "restarts in 1 h", "state")
NUMBERS = COLUMNS[3:5] + COLUMNS[6:7]
STYLES = {"header": "dim", "not_read": "bold red", "gone": "dim"}


def targets(
    cluster: Annotated[str | None, typer.Option(metavar="NAME", help="Only this cluster.")] = None,
    api: ApiOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print every process that is read, server and workers: service, address, version, shards, since when it is up, its
    last read and restarts. Exit 1 when one is not read. The API's token, if it needs one, is read from COPILOT_TOKEN.

    Example: copilot targets --cluster production"""
    with contextlib.closing(client_of(api, config)) as client:
        answers = client.targets(cluster)
    for answer in answers:
        print(json.dumps(answer)) if as_json else print_lines(plain_console(), _lines(answer))
    if any(row["state"] == "not_read" for answer in answers for row in answer["targets"]):
        raise typer.Exit(1)


def _lines(answer: dict[str, Any]) -> Iterator[Text]:
    """The sentence, and a table whose names and addresses are never cut."""
    yield Text.assemble((str(answer["cluster"]), "bold"), "  ", str(answer["summary"]).replace("`", ""))
    rows = [_row(row) for row in answer["targets"]]
    widths = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]
    for row, state in zip((COLUMNS, *rows), ("header", *(row["state"] for row in answer["targets"])), strict=True):
        cells = (c.rjust(w) if h in NUMBERS else c.ljust(w) for h, c, w in zip(COLUMNS, row, widths, strict=True))
        if rows:
            yield Text("  ".join(cells).rstrip(), style=STYLES.get(str(state), ""))


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    age, up = row["last_read_age_sec"], row["up_since"]
    lasted = None if up is None else max(0.0, (Instant.now() - Instant.parse_iso(up)).total("seconds"))
    return (
        row["kind"],
        f"{row['instance']} ({row['job']})" if row["job"] else row["instance"],
        row["version"] or NOTHING,
        quantity(row["shards"], "count"),
        NOTHING if lasted is None else bounded(duration(round(lasted)), at_least=row["up_at_least"]),
        "never" if age is None else f"{duration(round(age))} ago",
        str(row["restarts"]),
        ": ".join(filter(None, (row["state"].replace("_", " "), row["why"]))),
    )
