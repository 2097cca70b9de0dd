"""What `copilot doctor` says of Temporal Cloud's metrics."""

from whenever import Instant

from copilot import bootstrap
from copilot.diagnosis import Check
from copilot.errors import SettingsError, SourceError
from copilot.frontend_checks import FAILED, OK, WARNING, checked
from copilot.rules.signals.readings import MissingCode
from copilot.settings.clusters import ClusterSettings

_FIXES = {
    MissingCode.FORBIDDEN: "set the API key of a service account with the role Metrics Read-Only",
    MissingCode.TARGET_DOWN: "is metrics.temporal.io (443) open from here? A proxy is taken from HTTPS_PROXY",
    MissingCode.DROPPED: "an account allows 180 reads an hour: scrape it less often elsewhere, or let the Copilot read "
    'the Prometheus that does (cloud.metrics = "prometheus")',
    MissingCode.PARSE: "check cloud.namespaces (whole ids, as payments.a1b2c), and that the key may read their metrics",
    MissingCode.ABSENT: "let this Prometheus scrape metrics.temporal.io/v1/metrics",
    MissingCode.TIMEOUT: "ask again in a minute",
}


async def check_cloud(cluster: ClusterSettings) -> Check:
    """Read the account's newest minute once: a read of the 180 an hour that the account allows."""
    cloud, there = cluster.cloud, cluster.prometheus
    assert cloud is not None
    scraped = cloud.metrics == "prometheus" and there is not None
    name = f"Temporal Cloud's metrics, by {there.url if there is not None and scraped else cloud.metrics_url}"
    try:
        minutes = bootstrap.cloud_minutes(cluster, bootstrap.CloudAccounts([cluster]))
    except SettingsError as error:
        return checked(FAILED, name, str(error), "create a key for a service account in Temporal Cloud's settings")
    try:
        minute = await minutes.newest()
    except SourceError as error:
        return checked(FAILED, name, error.detail, _FIXES.get(error.code, ""))
    finally:
        await minutes.aclose()
    age = (Instant.now() - minute.at).total("seconds") / 60
    mine = minute.of(cloud.namespaces)
    seen = f"the minute of {age:.0f} min ago, {len(mine.samples)} series of {len(mine.namespaces)} namespaces"
    if mine.incomplete:
        return checked(WARNING, name, f"{seen}; {mine.incomplete}", _FIXES[MissingCode.PARSE])
    return checked(OK, name, f"{seen}; readings of the API are live")
