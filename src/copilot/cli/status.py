"""`copilot status`: what the API says now."""

import asyncio
import contextlib
import json
import os
import ssl
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from copilot.cli.options import ConfigOption, JsonOption
from copilot.core.errors import SettingsError, SourceError
from copilot.core.signals import MissingCode

if TYPE_CHECKING:
    from copilot.settings import Settings

ANSWER_SEC = 5.0
BAD_NEWS = ("stressed", "critical", "unknown")


def status(
    cluster: Annotated[str | None, typer.Option(metavar="NAME", help="Only this cluster.")] = None,
    api: Annotated[str | None, typer.Option(metavar="URL", help="Where the API is; otherwise from the config.")] = None,
    config: ConfigOption = None,
    loops: Annotated[
        bool, typer.Option("--loops", help="How the Copilot's own loops do instead; asks its Temporal, not its API.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Print the state of the watched clusters, since when, why, and what to do. Exit 1 when one is not happy; with
    --loops, when a loop does not run or no worker answers for it. The API's token, where it wants one, is read from
    COPILOT_TOKEN.

    Example: copilot status --cluster production"""
    from copilot.settings import load_settings

    settings = load_settings(config)
    if loops:
        _loops(settings, cluster, as_json=as_json)
        return
    host = "127.0.0.1" if settings.api.host in ("0.0.0.0", "::") else settings.api.host
    base = api or f"{settings.api.scheme}://{f'[{host}]' if ':' in host else host}:{settings.api.port}"
    answers = list(_asked(base.rstrip("/"), cluster, settings.api.cert_file))
    if as_json:
        for answer in answers:
            print(json.dumps(answer))
    else:
        from copilot.cli.status_view import print_status

        for answer in answers:
            print_status(answer)
    if any(answer["health_state"] in BAD_NEWS for answer in answers):
        raise typer.Exit(1)


def _loops(settings: "Settings", cluster: str | None, *, as_json: bool) -> None:
    from copilot.cli.status_view import print_loops
    from copilot.loops import seen

    found = asyncio.run(seen(settings, cluster))
    if not found:
        raise SettingsError(
            [f"the configuration has no cluster named {cluster!r}" if cluster else "no cluster is configured"]
        )
    if as_json:
        for loop in found:
            print(json.dumps(asdict(loop)))
    else:
        print_loops(found)
    if not all(loop.well for loop in found):
        raise typer.Exit(1)


def _asked(base: str, cluster: str | None, cert_file: Path | None) -> Iterator[dict[str, Any]]:
    import httpx

    token = os.environ.get("COPILOT_TOKEN")
    headers = {"authorization": f"Bearer {token}"} if token else {}
    trusted = httpx.create_ssl_context()
    if cert_file is not None and base.startswith("https:"):
        with contextlib.suppress(OSError):  # ours may not be readable to whoever asks, and need not be
            trusted.load_verify_locations(cert_file)
            trusted.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    with httpx.Client(base_url=base, timeout=ANSWER_SEC, trust_env=False, headers=headers, verify=trusted) as client:
        try:
            names = [cluster] if cluster else [c["cluster"] for c in _answer(client, "/clusters", {})["clusters"]]
            for name in names:
                yield _answer(client, "/status", {"cluster": name})
        except httpx.HTTPError as error:
            raise SourceError(
                MissingCode.TARGET_DOWN,
                f"no answer from {base} ({str(error) or type(error).__name__}): does `copilot api` run there? "
                "--api says where it is",
            ) from error


def _answer(client: Any, path: str, parameters: dict[str, str]) -> dict[str, Any]:
    answer = client.get(path, params=parameters)
    try:
        body = answer.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise SourceError(MissingCode.PARSE, f"what answers at {client.base_url} is not the Copilot's API")
    if answer.status_code == 401:
        shown = "authorization" in client.headers
        why = "does not know the token in COPILOT_TOKEN" if shown else "wants a token, which COPILOT_TOKEN is to hold"
        raise SettingsError([f"{client.base_url} {why}"])
    if answer.status_code != 200:
        raise SourceError(MissingCode.ABSENT, body.get("error", {}).get("message") or f"{path}: {answer.status_code}")
    return body
