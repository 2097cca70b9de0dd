"""What Grafana reads at its start: where the data are, and where the dashboards lie."""

from copilot.grafana.alerts import SOURCE_UID, as_yaml
from copilot.grafana.infinity import PLUGIN


def data_sources() -> str:
    """The Copilot's API, Prometheus and Loki; addresses and the token come from Grafana's environment."""
    api = {
        "name": "Temporal SRE Copilot",
        "type": PLUGIN,
        "uid": "copilot-infinity",
        "access": "proxy",
        "url": "$COPILOT_API_URL",
        "jsonData": {"auth_method": "bearerToken", "allowedHosts": ["$COPILOT_API_URL"], "timeoutInSeconds": 10},
        "secureJsonData": {"bearerToken": "$COPILOT_API_TOKEN"},
    }
    prometheus = {"name": "Prometheus", "type": "prometheus", "uid": SOURCE_UID, "access": "proxy",
                  "url": "$PROMETHEUS_URL", "isDefault": True}  # fmt: skip
    loki = {"name": "Loki", "type": "loki", "uid": "copilot-loki", "access": "proxy", "url": "$LOKI_URL"}
    return as_yaml({"apiVersion": 1, "datasources": [api, prometheus, loki]})


def dashboard_folders() -> str:
    """All dashboards of one folder on disk, into Grafana's folder Temporal."""
    provider = {"name": "temporal-sre-copilot", "folder": "Temporal", "type": "file", "disableDeletion": True,
                "allowUiUpdates": False, "updateIntervalSeconds": 30,
                "options": {"path": "/var/lib/grafana/dashboards/temporal-sre-copilot"}}  # fmt: skip
    return as_yaml({"apiVersion": 1, "providers": [provider]})
