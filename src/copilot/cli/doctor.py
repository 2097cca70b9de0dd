"""`copilot doctor`: what of a cluster can be read, what cannot and why; or a recording of it."""

import asyncio
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from copilot.cli.demo_found import demo_settings, told_nothing
from copilot.cli.options import ConfigOption, JsonOption
from copilot.core.errors import SettingsError

if TYPE_CHECKING:
    from copilot.settings import ClusterSettings, Settings


def doctor(
    config: ConfigOption = None,
    cluster: Annotated[str | None, typer.Option(metavar="NAME", help="Only this cluster.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Read twice only, not for a whole rate window.")] = False,
    record: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Instead, record what is read; gzipped if the name ends in .gz."),
    ] = None,
    for_: Annotated[str | None, typer.Option("--for", metavar="10m", help="How long to record.")] = None,
    interval: Annotated[
        str | None, typer.Option(metavar="10s", help="Time between two ticks of the recording; else the cluster's.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check every connection and every signal, and say what would turn on the missing ones. Exit 1 when a verdict could
    not be trusted. Without a configuration it looks at the demo that runs.

    Example: copilot doctor --config copilot.toml, or copilot doctor --record night.jsonl.gz --for 10m"""
    # Imports stand below, not at the top: Temporal's SDK takes a second, which --help need not wait for.
    settings = _settings(config)
    chosen = _clusters(settings, cluster)
    if record is not None:
        _record(chosen, record, for_, interval, hide_addresses=settings.redact_addresses)
        return
    if for_ is not None or interval is not None:
        raise SettingsError(["--for and --interval go with --record FILE"])
    from copilot.cli.doctor_progress import reading_shown
    from copilot.cli.doctor_view import print_diagnosis
    from copilot.doctor import diagnose

    logging.getLogger("copilot.sources").setLevel(logging.ERROR)  # The checks say it.
    with reading_shown() as progress:
        found = asyncio.run(diagnose(settings, chosen, quick=quick, progress=progress))
    if as_json:
        print(json.dumps({"fine": found.fine, **found.model_dump(mode="json")}))
    else:
        print_diagnosis(found)
    if not found.fine:
        raise typer.Exit(1)


def _settings(config: Path | None) -> "Settings":
    from copilot.core.errors import StartError
    from copilot.settings import CONFIG_FILE, load_settings

    settings = load_settings(config)
    if not told_nothing(settings, config):
        return settings
    try:
        return demo_settings()
    except StartError as error:
        raise SettingsError(
            [f"there is no ./{CONFIG_FILE} and no demo runs: say --config PATH, or start `copilot demo`"]
        ) from error


def _clusters(settings: "Settings", name: str | None) -> list["ClusterSettings"]:
    if not settings.clusters:
        raise SettingsError(["no cluster is configured: add a [[clusters]] section to copilot.toml"])
    if name is None:
        return list(settings.clusters)
    names = [c.name for c in settings.clusters]
    if name not in names:
        raise SettingsError([f"no cluster is named {name}: there is {', '.join(names)}"])
    return [settings.cluster(name)]


def _record(
    clusters: list["ClusterSettings"], file: Path, for_: str | None, interval: str | None, *, hide_addresses: bool
) -> None:
    if for_ is None:
        raise SettingsError(["--record needs --for: how long, 10m say"])
    if len(clusters) > 1:
        names = ", ".join(c.name for c in clusters)
        raise SettingsError([f"a recording is of one cluster: say --cluster, one of {names}"])
    from copilot.cli.doctor_progress import recording_shown
    from copilot.doctor import record_cluster
    from copilot.local.demo_run import until_told_to_end
    from copilot.local.fault_plan import seconds
    from copilot.recording import with_interval

    cluster = clusters[0] if interval is None else with_interval(clusters[0], seconds(interval))
    for_sec = seconds(for_)
    with recording_shown(file, for_sec) as shown:
        until_told_to_end(record_cluster(cluster, file, for_sec, shown, hide_addresses=hide_addresses))
