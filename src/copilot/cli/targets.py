"""`copilot targets`: every process of a cluster that is read, from the running API."""

import contextlib
import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from whenever import Instant

from copilot.cli.options import ConfigOption, JsonOption, configuration, current_settings
from copilot.cli.status import api_client
from copilot.explain.numbers import NOTHING, bounded, duration, quantity

COLUMNS = ("process", "address", "version", "shards", "up for", "last read", "restarts in 1 h", "state")
NUMBERS = COLUMNS[3:5] + COLUMNS[6:7]
STYLES = {"read": "", "not_read": "bold red", "gone": "dim"}


def targets(
    cluster: Annotated[str | None, typer.Option(metavar="NAME", help="Only this cluster.")] = None,
    api: Annotated[
        str | None, typer.Option(metavar="URL", help="Address of the API; by default from the configuration.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print every process that is read, server and workers: service, address, version, shards, since when it is up, its
    last read and restarts. Exit 1 when one is not read. The API's token, if it needs one, is read from COPILOT_TOKEN.

    Example: copilot targets --cluster production"""
    settings = current_settings(config) if api is None else configuration(config)
    with contextlib.closing(api_client(settings, api)) as client:
        answers = client.targets(cluster)
    out = Console(highlight=False)
    for answer in answers:
        print(json.dumps(answer)) if as_json else _print(answer, out)
    if any(row["state"] == "not_read" for answer in answers for row in answer["targets"]):
        raise typer.Exit(1)


def _print(answer: dict[str, Any], out: Console) -> None:
    out.print(Text.assemble((str(answer["cluster"]), "bold"), "  ", str(answer["summary"]).replace("`", "")))
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in COLUMNS:
        table.add_column(column, no_wrap=column != "state", justify="right" if column in NUMBERS else "left")
    for row in answer["targets"]:
        age, state = row["last_read_age_sec"], str(row["state"])
        up = None if row["up_since"] is None else (Instant.now() - Instant.parse_iso(row["up_since"])).total("seconds")
        table.add_row(
            row["kind"],
            f"{row['instance']} ({row['job']})" if row["job"] else row["instance"],
            row["version"] or NOTHING,
            quantity(row["shards"], "count"),
            NOTHING if up is None else bounded(duration(round(max(0.0, up))), at_least=row["up_at_least"]),
            "never" if age is None else f"{duration(round(age))} ago",
            str(row["restarts"]),
            ": ".join(filter(None, (state.replace("_", " "), str(row["why"])))),
            style=STYLES.get(state, ""),
        )
    if answer["targets"]:
        out.print(table)
