"""Questions to the Copilot's API through the Infinity data source. The answers are shown as they come: no panel
derives a state."""

from collections.abc import Mapping
from typing import Any

from copilot.grafana.panels import Json

PLUGIN = "yesoreyeram-infinity-datasource"
SOURCE: Json = {"type": PLUGIN, "uid": "${copilot}"}
CLUSTER = {"cluster": "${cluster}"}
RANGE = {"start": "${__from}", "end": "${__to}"}
"""Epoch milliseconds, which the API takes."""


Columns = dict[str, str | tuple[str, str]]
"""Shown name → selector, or (selector, type: string, number or timestamp)."""


def ask(
    path: str,
    columns: Columns,
    *,
    root: str = "",
    keep: str = "",
    made: Columns | None = None,
    given: Mapping[str, str] | None = None,
) -> Json:
    """GET `path` of the API. `root`: where the rows are, the whole answer if empty; `keep`: only rows for which this is
    true; `made`: columns of the data source's own making, from those shown; `given`: parameters."""
    return {
        "type": "json",
        "source": "url",
        "parser": "backend",
        "format": "table",
        "url": path,
        "url_options": {
            "method": "GET",
            "data": "",
            "params": [{"key": key, "value": value} for key, value in (given or {}).items()],
        },
        "root_selector": root,
        "columns": [_column(text, given) for text, given in columns.items()],
        "computed_columns": [_column(text, given) for text, given in (made or {}).items()],
        "filters": [],
        "filterExpression": keep,
        "global_query_id": "",
    }


def _column(text: str, given: str | tuple[str, str]) -> Json:
    selector, kind = given if isinstance(given, tuple) else (given, "string")
    return {"selector": selector, "text": text, "type": kind}


def variable(name: str, label: str, query: Json, **more: Any) -> Json:
    """A variable whose values the API says; its columns are `__text` and `__value`."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "query": {"queryType": "infinity", "query": "", "infinityQuery": {**query, "refId": "variable"}},
        "definition": "",
        "refresh": 1,
        "sort": 0,
        "multi": False,
        "includeAll": False,
        **more,
    }
