"""`copilot executions` and `copilot workers`: what is read beside the verdict, from the running API."""

import contextlib
import json
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.text import Text
from whenever import Instant

from copilot.cli.options import ApiOption, ClusterOption, ConfigOption, JsonOption
from copilot.cli.output import plain_console, print_lines
from copilot.cli.status import client_of
from copilot.explain.numbers import NOTHING, duration, quantity
from copilot.inspection.executions import ExecutionsKind

NamespaceOption = Annotated[str | None, typer.Option(metavar="NAME", help="Only this namespace.")]
COLUMNS = ("task queue", "worker", "SDK", "version", "slots used", "pollers", "CPU", "memory", "cache", "failed",
           "started", "last heartbeat", "state")  # fmt: skip
Answer = dict[str, Any]


def executions(
    cluster: ClusterOption = None,
    kind: Annotated[ExecutionsKind | None, typer.Option(help="Only this kind.")] = None,
    namespace: NamespaceOption = None,
    limit: Annotated[int, typer.Option(min=0, max=10, help="Executions listed of each kind.")] = 10,
    api: ApiOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the executions in trouble: those that report problems, failed ones against the window before, those open
    for longer than usual, and the oldest, each with a link into Temporal's UI. Exit 1 when some are in trouble.

    Example: copilot executions --kind reported_problems

    Example: copilot executions --cluster production --namespace orders --json"""
    asked = {"cluster": cluster, "kind": kind.value if kind else None, "namespace": namespace, "limit": str(limit)}
    answer = _read("/executions", api, config, asked)
    _print(answer, _executions_lines(answer), as_json=as_json)
    if any(_in_trouble(part) for part in answer["parts"]):
        raise typer.Exit(1)


def workers(
    cluster: ClusterOption = None,
    namespace: NamespaceOption = None,
    task_queue: Annotated[str | None, typer.Option(metavar="NAME", help="Only this task queue.")] = None,
    api: ApiOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the workers by their heartbeats, by task queue, those in trouble first; one that vanished stays listed for
    an hour. Exit 1 when one is in trouble.

    Example: copilot workers --task-queue orders

    Example: copilot workers --cluster production --json"""
    asked = {"cluster": cluster, "namespace": namespace, "task_queue": task_queue}
    answer = _read("/workers", api, config, asked)
    _print(answer, _workers_lines(answer["workers"]), as_json=as_json)
    if any(row["trouble"] for row in answer["workers"]):
        raise typer.Exit(1)


def _read(path: str, api: str | None, config: Any, asked: dict[str, str | None]) -> Answer:
    with contextlib.closing(client_of(api, config)) as client:
        return client.get(path, **{name: value for name, value in asked.items() if value is not None})


def _print(answer: Answer, lines: Iterator[Text], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(answer))
        return
    age = "" if answer["age_sec"] is None else f"  (read {duration(round(answer['age_sec']))} ago)"
    head = [Text.assemble((answer["cluster"], "bold"), "  ", answer["summary"].replace("`", ""), (age, "dim"))]
    if answer["problem"]:
        head.append(Text(answer["problem"], style="magenta"))
    print_lines(plain_console(), [*head, *lines])


def _in_trouble(part: Answer) -> bool:
    return bool(part["count"]) and part["kind"] not in (ExecutionsKind.OPEN, ExecutionsKind.OLDEST_OPEN)


def _executions_lines(answer: Answer) -> Iterator[Text]:
    for part in answer["parts"]:
        if part["count"] or part["problem"]:
            yield from _part_lines(part)


def _part_lines(part: Answer) -> Iterator[Text]:
    number = NOTHING if part["count"] is None else f"{'over ' if part['at_least'] else ''}{part['count']:,}"
    before = "" if part["before"] is None else f" ({part['before']:,} in the window before)"
    name = part["kind"].replace("_", " ") + (f" {part['workflow_type']}" if part["workflow_type"] else "")
    style = "red" if _in_trouble(part) else ""
    yield Text.assemble((f"{name}: {number}{before}", style), f"  in {part['namespace']}")
    if part["problem"]:
        age = f"; this is of {part['read_at'][:19]}Z" if part["read_at"] else ""
        yield Text(f"  cannot be read now: {part['problem']}{age}", style="magenta")
    if part["url"] and part["count"]:
        yield Text(f"  {part['url']}", style="dim")
    for group in part["groups"]:
        cause = f": {group['cause']}" if group["cause"] else ""
        yield Text(f"  {group['count']} of {group['workflow_type']} on {group['task_queue']}{cause}")
    for each in part["executions"]:
        started = (Instant.now() - Instant.parse_iso(each["started"])).total("seconds")
        yield Text(f"    {each['workflow_id'] or '(hidden)'}  open for {duration(round(max(0.0, started)))}")
        if each["url"]:
            yield Text(f"      {each['url']}", style="dim")


def _workers_lines(rows: list[Answer]) -> Iterator[Text]:
    """A table whose names are never cut."""
    cells = [_cells(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(COLUMNS, *cells, strict=True)]
    styles = ["dim", *("red" if row["trouble"] else "dim" if row["state"] == "gone" else "" for row in rows)]
    for row, style in zip((COLUMNS, *cells), styles, strict=True):
        if rows:
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            yield Text(line.rstrip(), style=style)


def _cells(row: Answer) -> tuple[str, ...]:
    kinds = {"w": row["workflow"], "a": row["activity"], "n": row["nexus"]}
    shown = {name: each for name, each in kinds.items() if each["slots"] != 0 or each["pollers"]}
    at = f"gone {row['gone_at'][11:19]}" if row["gone_at"] else row["state"]
    version = "/".join(filter(None, (row["deployment"], row["build"])))
    return (
        row["task_queue"],
        row["identity"] or row["host"],
        row["sdk"],
        version or NOTHING,
        " ".join(f"{n} {e['used']}/{NOTHING if e['slots'] is None else e['slots']}" for n, e in shown.items()),
        " ".join(f"{n} {e['pollers']}" for n, e in shown.items()),
        quantity(row["cpu"], "ratio"),
        quantity(row["memory"], "ratio"),
        str(row["cache"]),
        str(sum(each["failed"] for each in kinds.values())),
        (row["started"] or NOTHING)[:19],
        row["last_heartbeat"][11:19],
        ": ".join(filter(None, (at, "; ".join(row["trouble"])))),
    )
