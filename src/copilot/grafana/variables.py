"""What a person chooses at the top of a dashboard."""

from copilot.grafana.infinity import PLUGIN, ask, variable
from copilot.grafana.panels import COLOURS, Json


def data_source(name: str, label: str, plugin: str) -> Json:
    """Which data source of a kind."""
    return {"name": name, "label": label, "type": "datasource", "query": plugin, "refresh": 1, "regex": "",
            "multi": False, "includeAll": False, "hide": 0}  # fmt: skip


COPILOT = data_source("copilot", "Copilot", PLUGIN)
PROMETHEUS = data_source("prometheus", "Prometheus", "prometheus")
CLUSTER = variable(
    "cluster", "Cluster", ask("/clusters", {"__text": "cluster", "__value": "cluster"}, root="clusters"),
)  # fmt: skip
STATE: Json = {
    "name": "state",
    "label": "State",
    "type": "custom",
    "query": ",".join(COLOURS),
    "options": [{"text": word, "value": word, "selected": False} for word in COLOURS],
    "current": {"text": ["All"], "value": ["$__all"]},
    "multi": True,
    "includeAll": True,
}
PAGE: Json = {
    "name": "page",
    "label": "Copilot's address for your browser",
    "type": "textbox",
    "query": "http://localhost:8765",
    "current": {"text": "http://localhost:8765", "value": "http://localhost:8765"},
    "hide": 0,
}
